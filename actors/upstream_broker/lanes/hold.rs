//! Holding back what is for a broker: a paused one gets nothing new, one that is drained nothing from an offset on.

use super::Lanes;

impl Lanes {
    /// Holds back everything from `offset` on: 0 for a pause, `u64::MAX` for nothing. Answers whether a hold was ended
    /// on a connection.
    pub fn hold_from(&mut self, offset: u64) -> bool {
        if offset == self.held_from {
            return false;
        }
        self.held_from = offset;
        self.reader.set_connected(self.is_connected && !self.is_held());
        self.is_connected && !self.is_held()
    }

    /// Whether anything is held back.
    pub fn is_held(&self) -> bool {
        self.held_from < u64::MAX
    }

    /// The offset of the first message that is held back.
    pub fn held_from(&self) -> u64 {
        self.held_from
    }

    /// A connection is there, or not any more. Publishers wait for no reader that is held.
    pub fn set_connected(&mut self, is_connected: bool) {
        self.is_connected = is_connected;
        self.reader.set_connected(is_connected && !self.is_held());
    }

    /// Whether everything has been read that is not held back.
    pub fn are_at_end(&mut self) -> bool {
        let held_from = self.held_from;
        if held_from == 0 {
            return true;
        }
        match &mut self.live {
            Some(live) => {
                let to = held_from.min(live.from);
                has_passed(&mut self.reader, to) && has_passed(&mut live.reader, held_from)
            }
            None => has_passed(&mut self.reader, held_from),
        }
    }
}

/// Whether a reader has nothing left before `offset`. What lies there need not be a record: not all of them are in files.
fn has_passed(reader: &mut crate::message_log::LogReader, offset: u64) -> bool {
    if reader.position() >= offset {
        return true;
    }
    match reader.peek() {
        Some((next, _)) => next >= offset,
        None => reader.is_at_end(),
    }
}
