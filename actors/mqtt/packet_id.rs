//! Packet Identifiers.

use std::num::NonZeroU16;

/// A Packet Identifier: 1 to 65,535, never 0 `[MQTT-2.2.1-3]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The lowest Packet Identifier.
    pub const FIRST: PacketId = PacketId(NonZeroU16::MIN);

    /// The identifier with this number, or `None` for 0.
    pub const fn new(number: u16) -> Option<PacketId> {
        match NonZeroU16::new(number) {
            Some(number) => Some(PacketId(number)),
            None => None,
        }
    }

    /// The number on the wire.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; 65,535 is followed by 1.
    pub const fn next(self) -> PacketId {
        match self.0.checked_add(1) {
            Some(next) => PacketId(next),
            None => PacketId::FIRST,
        }
    }

    /// How many steps of [`PacketId::next`] lead from `earlier` to this identifier (0 to 65,534).
    pub const fn steps_after(self, earlier: PacketId) -> usize {
        let (this, earlier) = (self.0.get() as usize, earlier.0.get() as usize);
        if this >= earlier { this - earlier } else { this + 65_535 - earlier }
    }
}

impl std::fmt::Display for PacketId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_identifier_is_followed_by_the_first() {
        let last = PacketId::new(u16::MAX).unwrap();
        assert_eq!(last.next(), PacketId::FIRST);
        assert_eq!(PacketId::new(0), None);
    }

    #[test]
    fn steps_count_across_the_wrap() {
        let (a, b) = (PacketId::new(65_535).unwrap(), PacketId::new(2).unwrap());
        assert_eq!(b.steps_after(a), 2);
        assert_eq!(a.steps_after(a), 0);
        assert_eq!(a.steps_after(a.next()), 65_534);
    }
}
