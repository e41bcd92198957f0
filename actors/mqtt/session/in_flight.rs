//! What is in flight under which Packet Identifier, in the order of sending.

use std::collections::VecDeque;

use crate::PacketId;

/// All Packet Identifiers that there are.
const IDENTIFIERS: usize = u16::MAX as usize;

/// A list in the order of sending, whose entries have Packet Identifiers.
///
/// Identifiers are taken in turn, so an entry is found by counting from the oldest one: no table, and an identifier comes
/// back into use only after the round of all 65,535. An entry that is still there when the round comes back to it is put
/// aside, and its identifier is passed over `[MQTT-2.2.1-3]`.
#[derive(Debug)]
pub(super) struct InFlight<E> {
    /// Entries that are older than a round.
    aside: Vec<(PacketId, E)>,
    /// One bit for each identifier, set for those of `aside`; nothing where that is empty.
    is_aside: Vec<u64>,
    /// The others; `None` where one is gone already, or where the identifier was passed over.
    round: VecDeque<Option<E>>,
    /// The Packet Identifier of `round[0]`, or of the next entry where there is none.
    first: PacketId,
    len: usize,
}

impl<E> InFlight<E> {
    /// Nothing; the first entry gets `first`, if it is free then.
    pub fn starting_at(first: PacketId) -> InFlight<E> {
        InFlight { aside: Vec::new(), is_aside: Vec::new(), round: VecDeque::new(), first, len: 0 }
    }

    /// Whether every identifier is in use.
    pub fn is_full(&self) -> bool {
        self.len >= IDENTIFIERS
    }

    /// One more entry, under the next identifier that is free; `None` where none is.
    pub fn push(&mut self, entry: E) -> Option<PacketId> {
        if self.is_full() {
            return None;
        }
        loop {
            if self.round.len() >= IDENTIFIERS {
                self.put_aside();
            }
            let packet_id = self.id_at(self.round.len());
            if self.is_aside(packet_id) {
                match self.round.is_empty() {
                    true => self.first = packet_id.next(),
                    false => self.round.push_back(None),
                }
                continue;
            }
            self.round.push_back(Some(entry));
            self.len += 1;
            return Some(packet_id);
        }
    }

    /// One more entry, under the identifier that it had in an earlier life. One that is in use is left out: `false`.
    pub fn restore(&mut self, packet_id: PacketId, entry: E) -> bool {
        if self.get(packet_id).is_some() {
            return false;
        }
        if !self.round.is_empty() && packet_id.steps_after(self.first) < self.round.len() {
            self.put_aside();
        }
        if self.round.is_empty() {
            self.first = packet_id;
        }
        let index = packet_id.steps_after(self.first);
        self.round.resize_with(index, || None);
        self.round.push_back(Some(entry));
        self.len += 1;
        true
    }

    /// The entry of an identifier.
    pub fn get(&self, packet_id: PacketId) -> Option<&E> {
        let in_round = self.round.get(packet_id.steps_after(self.first)).and_then(Option::as_ref);
        in_round.or_else(|| self.aside_index(packet_id).map(|index| &self.aside[index].1))
    }

    /// The entry of an identifier, to be changed.
    pub fn get_mut(&mut self, packet_id: PacketId) -> Option<&mut E> {
        let index = packet_id.steps_after(self.first);
        match self.round.get(index).is_some_and(Option::is_some) {
            true => self.round[index].as_mut(),
            false => self.aside_index(packet_id).map(|index| &mut self.aside[index].1),
        }
    }

    /// Takes an entry out; its identifier is free.
    pub fn remove(&mut self, packet_id: PacketId) -> Option<E> {
        let index = packet_id.steps_after(self.first);
        let removed = self.round.get_mut(index).and_then(Option::take).or_else(|| {
            let index = self.aside_index(packet_id)?;
            Some(self.take_aside(packet_id, index))
        })?;
        self.len -= 1;
        while self.round.front().is_some_and(Option::is_none) {
            self.round.pop_front();
            self.first = self.first.next();
        }
        Some(removed)
    }

    /// Takes everything out, in order; identifiers go on where they are.
    pub fn drain(&mut self) -> impl Iterator<Item = E> {
        self.first = self.id_at(self.round.len());
        self.len = 0;
        self.is_aside = Vec::new();
        let aside = std::mem::take(&mut self.aside).into_iter().map(|(_, entry)| entry);
        aside.chain(std::mem::take(&mut self.round).into_iter().flatten())
    }

    /// Everything with its identifier, in order.
    pub fn iter(&self) -> impl Iterator<Item = (PacketId, &E)> {
        let aside = self.aside.iter().map(|(packet_id, entry)| (*packet_id, entry));
        let round = self.round.iter().enumerate();
        let round = round.filter_map(|(index, entry)| Some((self.id_at(index), entry.as_ref()?)));
        aside.chain(round)
    }

    /// Everything, in order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.aside.iter_mut().map(|(_, entry)| entry).chain(self.round.iter_mut().flatten())
    }

    fn put_aside(&mut self) {
        let (first, next) = (self.first, self.id_at(self.round.len()));
        let round = std::mem::take(&mut self.round).into_iter().enumerate();
        for (index, entry) in round.filter_map(|(index, entry)| Some((index, entry?))) {
            let packet_id = id_behind(first, index);
            self.is_aside.resize(IDENTIFIERS / 64 + 1, 0);
            let (word, bit) = place_of(packet_id);
            self.is_aside[word] |= bit;
            self.aside.push((packet_id, entry));
        }
        self.first = next;
    }

    fn is_aside(&self, packet_id: PacketId) -> bool {
        let (word, bit) = place_of(packet_id);
        self.is_aside.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn aside_index(&self, packet_id: PacketId) -> Option<usize> {
        self.is_aside(packet_id).then(|| self.aside.iter().position(|(id, _)| *id == packet_id))?
    }

    fn take_aside(&mut self, packet_id: PacketId, index: usize) -> E {
        let (word, bit) = place_of(packet_id);
        self.is_aside[word] &= !bit;
        let (_, entry) = self.aside.remove(index);
        if self.aside.is_empty() {
            (self.aside, self.is_aside) = (Vec::new(), Vec::new());
        }
        entry
    }

    fn id_at(&self, index: usize) -> PacketId {
        id_behind(self.first, index)
    }
}

/// The word and the bit in it that stand for an identifier.
fn place_of(packet_id: PacketId) -> (usize, u64) {
    let number = usize::from(packet_id.get());
    (number / 64, 1 << (number % 64))
}

/// The identifier so many steps behind another one.
fn id_behind(first: PacketId, steps: usize) -> PacketId {
    let zero_based = (usize::from(first.get()) - 1 + steps) % IDENTIFIERS;
    let number = u16::try_from(zero_based + 1).unwrap_or(u16::MAX);
    PacketId::new(number).unwrap_or(PacketId::FIRST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    fn all(in_flight: &InFlight<u32>) -> Vec<(u16, u32)> {
        in_flight.iter().map(|(packet_id, entry)| (packet_id.get(), *entry)).collect()
    }

    #[test]
    fn what_is_older_than_a_round_keeps_its_identifier_and_its_place() {
        let mut in_flight = InFlight::starting_at(PacketId::FIRST);
        for entry in [0, 1, 2] {
            in_flight.push(entry);
        }
        in_flight.remove(id(2));
        for round in 0..3 {
            for _ in 0..65_535 {
                let packet_id = in_flight.push(9).unwrap();
                assert!(![1, 3].contains(&packet_id.get()), "round {round}");
                assert_eq!(in_flight.remove(packet_id), Some(9));
            }
        }
        let newest = in_flight.push(7).unwrap().get();
        assert_eq!(all(&in_flight), [(1, 0), (3, 2), (newest, 7)]);
        assert_eq!(in_flight.remove(id(3)), Some(2));
        assert_eq!(in_flight.get_mut(id(1)), Some(&mut 0));
        assert_eq!(in_flight.drain().collect::<Vec<_>>(), [0, 7]);
        assert_eq!(in_flight.push(1).map(PacketId::get), Some(newest + 1));
    }

    #[test]
    fn every_identifier_can_be_in_use_at_once() {
        let mut in_flight = InFlight::starting_at(id(1_000));
        for entry in 0..65_535 {
            assert!(in_flight.push(entry).is_some());
        }
        assert_eq!(in_flight.push(0), None);
        assert_eq!(in_flight.remove(id(7)), Some(64_542));
        assert_eq!(in_flight.push(5), Some(id(7)));
    }

    #[test]
    fn an_earlier_life_comes_back_in_its_order() {
        let mut in_flight = InFlight::starting_at(PacketId::FIRST);
        for (number, entry) in [(5, 0), (65_530, 1), (65_535, 2), (2, 3), (6, 4), (6, 5)] {
            assert_eq!(in_flight.restore(id(number), entry), entry != 5);
        }
        assert_eq!(all(&in_flight), [(5, 0), (65_530, 1), (65_535, 2), (2, 3), (6, 4)]);
        assert_eq!(in_flight.push(9), Some(id(7)));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list(first in 1_u16.., steps in prop::collection::vec((0..3_u8, any::<prop::sample::Index>()), 0..300)) {
            let mut in_flight = InFlight::starting_at(id(first));
            let mut list: Vec<(u16, u32)> = Vec::new();
            for (entry, (step, index)) in (0_u32..).zip(steps) {
                if step > 0 || list.is_empty() {
                    let packet_id = in_flight.push(entry).unwrap();
                    prop_assert!(list.iter().all(|(other, _)| *other != packet_id.get()));
                    list.push((packet_id.get(), entry));
                } else {
                    let (number, entry) = list.remove(index.index(list.len()));
                    prop_assert_eq!(in_flight.get(id(number)), Some(&entry));
                    prop_assert_eq!(in_flight.remove(id(number)), Some(entry));
                    prop_assert_eq!(in_flight.remove(id(number)), None);
                }
                prop_assert_eq!(all(&in_flight), list.clone());
            }
        }
    }
}
