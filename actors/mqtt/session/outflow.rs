//! The sending half of a Session: PUBLISH packets at QoS 1 and 2 on their way to the other side, their
//! Packet Identifiers, and what must be sent again when the Session resumes.

mod resending;

use std::collections::VecDeque;

use super::in_flight::InFlight;
use crate::{PacketId, QoS};

/// Where one sent message stands.
///
/// ```text
/// QoS 1:  send ──> AwaitPubAck ── PUBACK ─────────────────────────────> gone
/// QoS 2:  send ──> AwaitPubRec ── PUBREC ──> AwaitPubComp ── PUBCOMP ──> gone
///                       └──────── PUBREC with a failure ──────────────> gone
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    AwaitPubAck,
    AwaitPubRec,
    AwaitPubComp,
    /// The identifier of a SUBSCRIBE or UNSUBSCRIBE, which share the numbers with PUBLISH `[MQTT-2.2.1-3]`.
    Reserved,
}

#[derive(Debug)]
struct Entry<T> {
    stage: Stage,
    item: Option<T>,
    /// Whether the current connection has seen its PUBLISH or PUBREL.
    sent: bool,
    /// Whether its PUBLISH went out on the current connection, so that it counts towards the Receive Maximum: that begins
    /// anew with each connection (section 4.9).
    counts: bool,
}

/// Messages in flight to the other side, each with an item of the caller's (the message, or its offset). The window is
/// the Receive Maximum of the other side `[MQTT-3.3.4-9]`.
#[derive(Debug)]
pub struct Outflow<T> {
    entries: InFlight<Entry<T>>,
    /// Messages, as opposed to identifiers of SUBSCRIBE and UNSUBSCRIBE.
    in_flight: usize,
    /// Messages that count towards the Receive Maximum.
    counting: usize,
    /// Messages that a resumed connection has not seen yet.
    unsent: usize,
    /// These, in the order in which they go out; some may be done with already.
    to_resend: VecDeque<PacketId>,
    /// How many of them are PUBREL.
    unsent_releases: usize,
    /// Whether a message whose PUBREC came on an earlier connection counts towards the Receive Maximum of this one.
    counts_released: bool,
    receive_maximum: u16,
    /// QoS 2 messages among those in flight, and how many there may be.
    in_flight_qos_2: usize,
    qos_2_maximum: u16,
}

/// One packet to send again after a resumed connection, in this order `[MQTT-4.4.0-1]`, `[MQTT-4.6.0-1]`; but a PUBREL
/// does not wait for a PUBLISH before it that has to wait for the window.
#[derive(Debug, PartialEq, Eq)]
pub enum Resend<'a, T> {
    /// PUBLISH with DUP set and the identifier of the first time `[MQTT-3.3.1-1]`.
    Publish(PacketId, &'a T),
    /// PUBREL, since PUBREC had arrived.
    PubRel(PacketId),
}

/// What a PUBREC leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum PubRecOutcome<T> {
    /// Answer with PUBREL `[MQTT-4.3.3-4]`; also for a PUBREC that came again.
    Release,
    /// The other side refused the message: it is done with, no PUBREL follows.
    Refused(T),
    /// No such message: PUBREL with "Packet Identifier not found" is the answer.
    NotFound,
}

/// An acknowledgement for a message that does not wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnexpectedAcknowledgement {
    /// No message in flight has the identifier: late or repeated, harmless.
    NotFound,
    /// The message was sent at another QoS or stands elsewhere in its flow: a Protocol Error.
    WrongPacket,
}

impl<T> Outflow<T> {
    /// Nothing in flight, at most `receive_maximum` (at least 1) at a time.
    pub fn new(receive_maximum: u16) -> Outflow<T> {
        Outflow::starting_at(PacketId::FIRST, receive_maximum)
    }

    /// The same with a first identifier: who has forgotten which identifiers the other side still knows starts
    /// anywhere.
    pub fn starting_at(first: PacketId, receive_maximum: u16) -> Outflow<T> {
        Outflow {
            entries: InFlight::starting_at(first),
            in_flight: 0,
            counting: 0,
            unsent: 0,
            to_resend: VecDeque::new(),
            unsent_releases: 0,
            counts_released: false,
            receive_maximum: receive_maximum.max(1),
            in_flight_qos_2: 0,
            qos_2_maximum: u16::MAX,
        }
    }

    /// Takes over what an earlier life of the same Session had in flight, in the order of sending: identifier, QoS,
    /// whether PUBREC had come, and the item. It is sent again after [`Outflow::resume`]. Only for an empty flow.
    pub fn restore(&mut self, in_flight: Vec<(PacketId, QoS, bool, T)>) {
        for (packet_id, qos, is_received, item) in in_flight {
            let stage = match (qos, is_received) {
                (QoS::ExactlyOnce, true) => Stage::AwaitPubComp,
                (QoS::ExactlyOnce, false) => Stage::AwaitPubRec,
                _ => Stage::AwaitPubAck,
            };
            let entry = Entry { stage, item: Some(item), sent: true, counts: false };
            if self.entries.restore(packet_id, entry) {
                self.in_flight += 1;
                self.in_flight_qos_2 += usize::from(qos == QoS::ExactlyOnce);
            }
        }
    }

    /// Lets all that is in flight count towards the Receive Maximum. The window of the standard begins anew with each
    /// connection, but a 3.1.1 broker has one of its own that does not.
    pub fn count_released(mut self) -> Outflow<T> {
        self.counts_released = true;
        self
    }

    /// Bounds QoS 2 messages more tightly than the others: a 3.1.1 broker cannot say how many it bears.
    pub fn set_qos_2_maximum(&mut self, qos_2_maximum: u16) {
        self.qos_2_maximum = qos_2_maximum.max(1);
    }

    fn ids_at(&self, is_wanted: impl Fn(Stage) -> bool) -> Vec<PacketId> {
        let entries = self.entries.iter().filter(|(_, entry)| is_wanted(entry.stage));
        entries.map(|(packet_id, _)| packet_id).collect()
    }

    fn is_window_full(&self) -> bool {
        self.counting >= usize::from(self.receive_maximum)
    }

    /// How many messages wait for an acknowledgement.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many messages the Receive Maximum leaves room for.
    pub fn window(&self) -> usize {
        usize::from(self.receive_maximum).saturating_sub(self.counting + self.unsent)
    }

    /// How many messages the Receive Maximum allows in flight.
    pub fn receive_maximum(&self) -> u16 {
        self.receive_maximum
    }

    /// Whether one more may be sent now.
    pub fn has_room(&self) -> bool {
        self.unsent == 0 && !self.is_window_full() && !self.entries.is_full()
    }

    /// Another Receive Maximum for the connection that there is.
    pub fn set_receive_maximum(&mut self, receive_maximum: u16) {
        self.receive_maximum = receive_maximum.max(1);
    }

    /// The only message of QoS 1 or 2 that went out on this connection and that the other side has not received, as far as
    /// is known; `None` where there is none or more than one.
    pub fn sent_alone(&self) -> Option<(PacketId, &T)> {
        let is_under_way =
            |entry: &Entry<T>| entry.sent && matches!(entry.stage, Stage::AwaitPubAck | Stage::AwaitPubRec);
        let mut under_way = self.entries.iter().filter(|(_, entry)| is_under_way(entry));
        let (packet_id, entry) = under_way.next()?;
        if under_way.next().is_some() { None } else { Some((packet_id, entry.item.as_ref()?)) }
    }

    /// The item of the oldest message that is not acknowledged to the end.
    pub fn oldest(&self) -> Option<&T> {
        self.items().next()
    }

    /// The items of all messages that are not acknowledged to the end, in the order of sending.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|(_, entry)| entry.item.as_ref())
    }

    /// The Packet Identifiers of the QoS 2 messages, in the order of sending.
    pub fn exactly_once_ids(&self) -> impl Iterator<Item = PacketId> {
        let is_wanted = |stage| matches!(stage, Stage::AwaitPubRec | Stage::AwaitPubComp);
        self.entries.iter().filter(move |(_, entry)| is_wanted(entry.stage)).map(|(packet_id, _)| packet_id)
    }

    /// Takes a Packet Identifier for a message that is about to be sent, or `None` while the window is full.
    /// QoS 0 has no identifier, so there is none for it either.
    pub fn send(&mut self, qos: QoS, item: T) -> Option<PacketId> {
        let stage = match qos {
            QoS::AtMostOnce => return None,
            QoS::AtLeastOnce => Stage::AwaitPubAck,
            QoS::ExactlyOnce => Stage::AwaitPubRec,
        };
        let qos_2_full = self.in_flight_qos_2 >= usize::from(self.qos_2_maximum);
        if !self.has_room() || (qos == QoS::ExactlyOnce && qos_2_full) {
            return None;
        }
        let packet_id = self.entries.push(Entry { stage, item: Some(item), sent: true, counts: true })?;
        self.in_flight_qos_2 += usize::from(qos == QoS::ExactlyOnce);
        self.in_flight += 1;
        self.counting += 1;
        Some(packet_id)
    }

    /// PUBACK arrived: the message is done.
    ///
    /// # Errors
    /// Where no message waits for this PUBACK.
    pub fn puback(&mut self, packet_id: PacketId) -> Result<T, UnexpectedAcknowledgement> {
        self.finish(packet_id, Stage::AwaitPubAck)
    }

    /// PUBREC arrived, with a success or a failure.
    ///
    /// # Errors
    /// Where the message was sent at QoS 1.
    pub fn pubrec(
        &mut self,
        packet_id: PacketId,
        refused: bool,
    ) -> Result<PubRecOutcome<T>, UnexpectedAcknowledgement> {
        let Some(entry) = self.entries.get_mut(packet_id) else { return Ok(PubRecOutcome::NotFound) };
        match (entry.stage, refused) {
            (Stage::AwaitPubRec, false) => {
                entry.stage = Stage::AwaitPubComp;
                if !entry.sent {
                    // The PUBREL that answers is the one that the connection has not seen.
                    (entry.sent, entry.counts) = (true, self.counts_released);
                    self.unsent -= 1;
                    self.counting += usize::from(entry.counts);
                }
                Ok(PubRecOutcome::Release)
            }
            (Stage::AwaitPubRec, true) => {
                self.finish(packet_id, Stage::AwaitPubRec).map(PubRecOutcome::Refused)
            }
            (Stage::AwaitPubComp, _) => Ok(PubRecOutcome::Release),
            (Stage::AwaitPubAck | Stage::Reserved, _) => Err(UnexpectedAcknowledgement::WrongPacket),
        }
    }

    /// PUBCOMP arrived: the message is done.
    ///
    /// # Errors
    /// Where no message waits for this PUBCOMP.
    pub fn pubcomp(&mut self, packet_id: PacketId) -> Result<T, UnexpectedAcknowledgement> {
        self.finish(packet_id, Stage::AwaitPubComp)
    }

    /// Forgets all flows, because the other side lost the Session; gives the items back, oldest first.
    pub fn reset(&mut self, receive_maximum: u16) -> Vec<T> {
        self.receive_maximum = receive_maximum.max(1);
        (self.in_flight, self.in_flight_qos_2, self.counting, self.unsent) = (0, 0, 0, 0);
        self.unsent_releases = 0;
        self.to_resend = VecDeque::new();
        self.entries.drain().filter_map(|entry| entry.item).collect()
    }

    /// The Session rests, because its messages take another way: gives back all items, oldest first. What stays are the
    /// Packet Identifiers that the other side may know at QoS 2, with items of `stays`: a PUBREL releases each later.
    pub fn rest(&mut self, stays: impl Fn(&T) -> T) -> Vec<T> {
        let mut items = Vec::with_capacity(self.in_flight);
        for packet_id in self.ids_at(|_| true) {
            let Some(entry) = self.entries.get_mut(packet_id) else { continue };
            let is_kept = matches!(entry.stage, Stage::AwaitPubRec | Stage::AwaitPubComp);
            if is_kept && let Some(item) = entry.item.as_ref().map(&stays) {
                items.extend(entry.item.replace(item));
                (entry.stage, entry.sent, entry.counts) = (Stage::AwaitPubComp, true, false);
            } else {
                items.extend(self.entries.remove(packet_id).and_then(|entry| entry.item));
            }
        }
        self.in_flight = self.entries.iter().count();
        (self.in_flight_qos_2, self.counting, self.unsent) = (self.in_flight, 0, 0);
        (self.unsent_releases, self.to_resend) = (0, VecDeque::new());
        items
    }

    /// Takes one message out of the flow that can no longer be sent again (its bytes are gone).
    pub fn abandon(&mut self, packet_id: PacketId) -> Option<T> {
        let stage = self.entries.get(packet_id)?.stage;
        self.finish(packet_id, stage).ok()
    }

    /// Takes QoS 1 messages out of the flow that wait for PUBACK and that `wanted` picks, in the order of sending. For a
    /// flow without a connection: a PUBACK that comes for one of them later finds nothing.
    pub fn take_unacknowledged(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let ids = self.ids_at(|stage| stage == Stage::AwaitPubAck).into_iter();
        let mut taken = Vec::new();
        for packet_id in ids {
            if self.entries.get(packet_id).and_then(|entry| entry.item.as_ref()).is_some_and(&mut wanted) {
                taken.extend(self.finish(packet_id, Stage::AwaitPubAck).ok());
            }
        }
        taken
    }

    /// The items of all QoS 1 messages that wait for PUBACK, to be changed.
    pub fn unacknowledged_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let waiting = self.entries.iter_mut().filter(|entry| entry.stage == Stage::AwaitPubAck);
        waiting.filter_map(|entry| entry.item.as_mut())
    }

    /// Takes an identifier for a SUBSCRIBE or UNSUBSCRIBE; `None` while all are taken. It does not count
    /// towards the Receive Maximum.
    pub fn reserve(&mut self) -> Option<PacketId> {
        self.entries.push(Entry { stage: Stage::Reserved, item: None, sent: true, counts: false })
    }

    /// SUBACK or UNSUBACK arrived; `false` where nothing was reserved under the identifier.
    pub fn release(&mut self, packet_id: PacketId) -> bool {
        let reserved = self.entries.get(packet_id).is_some_and(|entry| entry.stage == Stage::Reserved);
        reserved && self.entries.remove(packet_id).is_some()
    }

    fn finish(&mut self, packet_id: PacketId, expected: Stage) -> Result<T, UnexpectedAcknowledgement> {
        let entry = self.entries.get(packet_id).ok_or(UnexpectedAcknowledgement::NotFound)?;
        if entry.stage != expected {
            return Err(UnexpectedAcknowledgement::WrongPacket);
        }
        let entry = self.entries.remove(packet_id).ok_or(UnexpectedAcknowledgement::NotFound)?;
        self.unsent -= usize::from(!entry.sent);
        self.unsent_releases -= usize::from(!entry.sent && entry.stage == Stage::AwaitPubComp);
        self.counting -= usize::from(entry.counts);
        let item = entry.item.ok_or(UnexpectedAcknowledgement::NotFound)?;
        self.in_flight -= 1;
        self.in_flight_qos_2 -= usize::from(expected != Stage::AwaitPubAck);
        Ok(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> PacketId {
        PacketId::new(number).unwrap()
    }

    #[test]
    fn a_message_is_alone_only_while_no_other_is_under_way_on_the_connection() {
        let mut outflow = Outflow::new(10);
        assert_eq!(outflow.sent_alone(), None);
        outflow.send(QoS::AtLeastOnce, "a");
        assert_eq!(outflow.sent_alone(), Some((id(1), &"a")));
        outflow.send(QoS::ExactlyOnce, "b");
        assert_eq!(outflow.sent_alone(), None);
        assert_eq!(outflow.pubrec(id(2), false), Ok(PubRecOutcome::Release));
        assert_eq!(outflow.sent_alone(), Some((id(1), &"a")), "b is received");
        outflow.send(QoS::AtLeastOnce, "c");
        // One at a time on the next connection, until somebody says otherwise.
        outflow.resume(1);
        assert_eq!(outflow.sent_alone(), None);
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(1), &"a")));
        assert_eq!(outflow.next_resend(), Some(Resend::PubRel(id(2))));
        assert_eq!(outflow.next_resend(), None);
        assert_eq!(outflow.sent_alone(), Some((id(1), &"a")));
        outflow.set_receive_maximum(10);
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(3), &"c")));
        assert_eq!(outflow.sent_alone(), None);
    }

    #[test]
    fn qos_1_is_done_at_puback() {
        let mut outflow = Outflow::new(10);
        assert_eq!(outflow.send(QoS::AtLeastOnce, "a"), Some(id(1)));
        assert_eq!(outflow.in_flight(), 1);
        assert_eq!(outflow.puback(id(1)), Ok("a"));
        assert_eq!(outflow.puback(id(1)), Err(UnexpectedAcknowledgement::NotFound));
        assert_eq!((outflow.in_flight(), outflow.oldest()), (0, None));
    }

    #[test]
    fn a_session_that_rests_keeps_what_the_other_side_may_remember_and_releases_it_later() {
        let mut outflow = Outflow::new(10);
        outflow.send(QoS::AtLeastOnce, "one");
        outflow.send(QoS::ExactlyOnce, "two");
        outflow.reserve();
        outflow.send(QoS::ExactlyOnce, "three");
        outflow.pubrec(id(4), false).unwrap();
        assert_eq!(outflow.rest(|_| "kept"), ["one", "two", "three"]);
        assert_eq!((outflow.in_flight(), outflow.window()), (2, 10));
        outflow.resume(10);
        assert!(outflow.is_resending());
        assert_eq!(outflow.next_resend(), Some(Resend::PubRel(id(2))));
        assert_eq!(outflow.next_resend(), Some(Resend::PubRel(id(4))));
        assert_eq!(outflow.next_resend(), None);
        assert_eq!(outflow.send(QoS::ExactlyOnce, "new"), Some(id(5)));
        assert_eq!(outflow.pubcomp(id(2)), Ok("kept"));
        assert_eq!(outflow.pubcomp(id(4)), Ok("kept"));
        assert_eq!((outflow.in_flight(), outflow.oldest()), (1, Some(&"new")));
    }

    #[test]
    fn qos_2_is_done_at_pubcomp() {
        let mut outflow = Outflow::new(10);
        let packet_id = outflow.send(QoS::ExactlyOnce, "a").unwrap();
        assert_eq!(outflow.pubcomp(packet_id), Err(UnexpectedAcknowledgement::WrongPacket));
        assert_eq!(outflow.pubrec(packet_id, false), Ok(PubRecOutcome::Release));
        assert_eq!(outflow.pubrec(packet_id, false), Ok(PubRecOutcome::Release), "again");
        assert_eq!(outflow.puback(packet_id), Err(UnexpectedAcknowledgement::WrongPacket));
        assert_eq!(outflow.pubcomp(packet_id), Ok("a"));
        assert_eq!(outflow.pubrec(packet_id, false), Ok(PubRecOutcome::NotFound));
    }

    #[test]
    fn a_refused_qos_2_message_ends_at_pubrec() {
        let mut outflow = Outflow::new(1);
        let packet_id = outflow.send(QoS::ExactlyOnce, "a").unwrap();
        assert!(!outflow.has_room());
        assert_eq!(outflow.pubrec(packet_id, true), Ok(PubRecOutcome::Refused("a")));
        assert!(outflow.has_room());
    }

    #[test]
    fn the_window_holds_back_what_exceeds_the_receive_maximum() {
        let mut outflow = Outflow::new(2);
        outflow.send(QoS::AtLeastOnce, 1).unwrap();
        outflow.send(QoS::ExactlyOnce, 2).unwrap();
        assert_eq!(outflow.send(QoS::AtLeastOnce, 3), None);
        outflow.puback(id(1)).unwrap();
        assert_eq!(outflow.send(QoS::AtLeastOnce, 3), Some(id(3)));
    }

    #[test]
    fn qos_2_can_have_a_smaller_window_of_its_own() {
        let mut outflow = Outflow::new(10);
        outflow.set_qos_2_maximum(1);
        let first = outflow.send(QoS::ExactlyOnce, 1).unwrap();
        assert_eq!(outflow.send(QoS::ExactlyOnce, 2), None);
        outflow.send(QoS::AtLeastOnce, 3).unwrap();
        outflow.pubrec(first, false).unwrap();
        assert_eq!(outflow.send(QoS::ExactlyOnce, 2), None, "until PUBCOMP");
        outflow.pubcomp(first).unwrap();
        assert!(outflow.send(QoS::ExactlyOnce, 2).is_some());
    }

    #[test]
    fn acknowledgements_out_of_order_do_not_stall_and_no_identifier_is_taken_twice() {
        let mut outflow = Outflow::new(3);
        for item in 1..=3 {
            outflow.send(QoS::AtLeastOnce, item).unwrap();
        }
        assert_eq!(outflow.puback(id(3)), Ok(3));
        assert_eq!(outflow.puback(id(2)), Ok(2));
        assert_eq!(outflow.oldest(), Some(&1));
        assert_eq!(outflow.send(QoS::AtLeastOnce, 4), Some(id(4)));
        assert_eq!(outflow.puback(id(1)), Ok(1));
        assert_eq!(outflow.oldest(), Some(&4));
        assert_eq!(outflow.puback(id(4)), Ok(4));
    }

    #[test]
    fn a_resumed_session_sends_again_in_the_original_order() {
        let mut outflow = Outflow::new(10);
        outflow.send(QoS::ExactlyOnce, 1).unwrap();
        outflow.send(QoS::AtLeastOnce, 2).unwrap();
        outflow.send(QoS::ExactlyOnce, 3).unwrap();
        outflow.send(QoS::AtLeastOnce, 4).unwrap();
        outflow.pubrec(id(1), false).unwrap();
        outflow.puback(id(2)).unwrap();
        outflow.resume(10);
        assert!(outflow.is_resending() && !outflow.has_room(), "nothing new before the old");
        assert_eq!(outflow.next_resend(), Some(Resend::PubRel(id(1))));
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(3), &3)));
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(4), &4)));
        assert_eq!(outflow.next_resend(), None);
        assert!(!outflow.is_resending() && outflow.has_room());
    }

    #[test]
    fn what_an_earlier_life_had_in_flight_goes_on_where_it_was() {
        let mut outflow = Outflow::new(10);
        outflow.restore(vec![
            (id(65_534), QoS::ExactlyOnce, true, 'a'),
            (id(1), QoS::AtLeastOnce, false, 'b'),
            (id(3), QoS::ExactlyOnce, false, 'c'),
        ]);
        outflow.resume(10);
        assert_eq!((outflow.in_flight(), outflow.oldest()), (3, Some(&'a')));
        assert_eq!(outflow.next_resend(), Some(Resend::PubRel(id(65_534))));
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(1), &'b')));
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(3), &'c')));
        assert_eq!(outflow.next_resend(), None);
        assert_eq!(outflow.send(QoS::AtLeastOnce, 'd'), Some(id(4)), "no identifier is taken twice");
        assert_eq!(outflow.pubcomp(id(65_534)), Ok('a'));
        assert_eq!(outflow.puback(id(1)), Ok('b'));
        assert_eq!(outflow.pubrec(id(3), false), Ok(PubRecOutcome::Release));
        assert_eq!(outflow.pubcomp(id(3)), Ok('c'));
        assert_eq!(outflow.puback(id(4)), Ok('d'));
        assert_eq!(outflow.in_flight(), 0);
    }

    #[test]
    fn a_smaller_window_of_the_new_connection_holds_for_what_is_sent_again() {
        let mut outflow = Outflow::new(10);
        for item in 1..=3 {
            outflow.send(QoS::AtLeastOnce, item).unwrap();
        }
        outflow.resume(1);
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(1), &1)));
        assert_eq!(outflow.next_resend(), None);
        outflow.puback(id(1)).unwrap();
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(2), &2)));
        outflow.puback(id(3)).unwrap();
        assert!(!outflow.is_resending(), "an answer to a packet of the old connection counts");
        assert!(!outflow.has_room());
        outflow.puback(id(2)).unwrap();
        assert!(outflow.has_room());
    }

    #[test]
    fn a_lost_session_gives_everything_unfinished_back_in_order() {
        let mut outflow = Outflow::new(10);
        for item in 1..=4 {
            outflow.send(QoS::ExactlyOnce, item).unwrap();
        }
        outflow.pubrec(id(1), false).unwrap();
        outflow.pubrec(id(2), false).unwrap();
        outflow.pubcomp(id(2)).unwrap();
        assert_eq!(outflow.reset(10), [1, 3, 4]);
        assert_eq!(outflow.in_flight(), 0);
        assert_eq!(outflow.send(QoS::AtLeastOnce, 5), Some(id(5)), "identifiers go on");
    }

    #[test]
    fn identifiers_wrap_past_65535_and_skip_0() {
        let mut outflow = Outflow::new(5);
        for round in 0..70_000_u32 {
            let packet_id = outflow.send(QoS::AtLeastOnce, round).unwrap();
            assert_eq!(u32::from(packet_id.get()), round % 65_535 + 1);
            assert_eq!(outflow.puback(packet_id), Ok(round));
        }
    }

    #[test]
    fn a_message_that_is_never_acknowledged_cannot_make_the_identifiers_overlap() {
        let mut outflow = Outflow::new(2);
        let stuck = outflow.send(QoS::AtLeastOnce, 0).unwrap();
        for number in 1..200_000 {
            let packet_id = outflow.send(QoS::AtLeastOnce, number).unwrap();
            assert_ne!(packet_id, stuck);
            outflow.puback(packet_id).unwrap();
        }
        assert_eq!(outflow.oldest(), Some(&0));
        outflow.resume(1);
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(stuck, &0)));
        assert_eq!(outflow.puback(stuck), Ok(0));
    }

    #[test]
    fn pubrel_waits_for_no_window_and_takes_none() {
        let mut outflow = Outflow::new(10);
        let ids: Vec<_> = (0..3).map(|item| outflow.send(QoS::ExactlyOnce, item).unwrap()).collect();
        assert_eq!(outflow.pubrec(ids[2], false), Ok(PubRecOutcome::Release));
        outflow.resume(1);
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(ids[0], &0)));
        assert_eq!(outflow.next_resend(), Some(Resend::PubRel(ids[2])));
        assert_eq!(outflow.next_resend(), None, "the window is full");
        assert_eq!(outflow.pubcomp(ids[2]), Ok(2));
        assert_eq!(outflow.next_resend(), None, "PUBCOMP of a PUBREL that took nothing gives nothing back");
        assert_eq!(outflow.pubrec(ids[0], false), Ok(PubRecOutcome::Release));
        assert_eq!(outflow.pubcomp(ids[0]), Ok(0));
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(ids[1], &1)));
    }

    #[test]
    fn identifiers_of_subscribe_are_apart_from_those_of_publish() {
        let mut outflow = Outflow::new(1);
        let subscribe = outflow.reserve().unwrap();
        let publish = outflow.send(QoS::AtLeastOnce, "a").unwrap();
        assert_ne!(subscribe, publish);
        assert_eq!((outflow.in_flight(), outflow.oldest()), (1, Some(&"a")));
        assert!(!outflow.release(publish), "a PUBLISH is not released by SUBACK");
        assert!(outflow.release(subscribe));
        assert!(!outflow.release(subscribe));
        let lost = outflow.reserve().unwrap();
        outflow.resume(1);
        assert!(!outflow.release(lost));
        assert_eq!(outflow.puback(publish), Ok("a"));
        assert_eq!(outflow.next_resend(), None);
    }

    #[test]
    fn unacknowledged_qos_1_messages_can_be_taken_out_and_the_others_go_on() {
        let mut outflow = Outflow::new(10);
        outflow.send(QoS::AtLeastOnce, 1).unwrap();
        outflow.send(QoS::ExactlyOnce, 2).unwrap();
        outflow.send(QoS::AtLeastOnce, 3).unwrap();
        outflow.send(QoS::AtLeastOnce, 4).unwrap();
        outflow.send(QoS::AtLeastOnce, 5).unwrap();
        outflow.puback(id(3)).unwrap();
        outflow.resume(10);
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(1), &1)));
        assert_eq!(outflow.take_unacknowledged(|item| *item != 4), [1, 5]);
        assert_eq!((outflow.in_flight(), outflow.window()), (2, 8));
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(2), &2)));
        assert_eq!(outflow.next_resend(), Some(Resend::Publish(id(4), &4)));
        assert_eq!(outflow.next_resend(), None);
        assert_eq!(outflow.puback(id(1)), Err(UnexpectedAcknowledgement::NotFound), "it came too late");
        assert_eq!(outflow.send(QoS::AtLeastOnce, 6), Some(id(6)), "identifiers go on");
        assert_eq!(outflow.puback(id(6)), Ok(6));
    }

    #[test]
    fn an_abandoned_message_frees_its_place() {
        let mut outflow = Outflow::new(1);
        let packet_id = outflow.send(QoS::AtLeastOnce, "gone").unwrap();
        assert_eq!(outflow.abandon(packet_id), Some("gone"));
        assert_eq!(outflow.abandon(packet_id), None);
        assert!(outflow.has_room());
    }
}
