//! The messages that deliveries need: each stands in the store once, whatever the number of its deliveries, and goes
//! with the last of them.

use mqtt::Message;

use super::fields::MessageParts;
use super::tables::{Tables, damaged};
use super::{OffsetMap, sorted};

/// Where a message is that came with the records.
pub enum Source<'a> {
    /// In the record itself.
    Record(MessageParts<'a>),
    /// It was decoded out of a change.
    Change(Message),
}

/// Which messages a group of records makes necessary, and which it makes superfluous.
#[derive(Default)]
pub struct Bodies<'a> {
    fresh: OffsetMap<(Source<'a>, u32)>,
    /// Messages in the store, and how many deliveries fewer need them.
    released: OffsetMap<u32>,
}

impl<'a> Bodies<'a> {
    /// Takes in a message of the records that this many deliveries need.
    pub fn add(&mut self, offset: u64, source: Source<'a>, holders: u32) {
        if holders > 0 {
            self.fresh.insert(offset, (source, holders));
        }
    }

    /// A delivery does not need its message any more.
    pub fn release(&mut self, offset: u64) {
        let Some((_, holders)) = self.fresh.get_mut(&offset) else {
            *self.released.entry(offset).or_default() += 1;
            return;
        };
        *holders -= 1;
        if *holders == 0 {
            self.fresh.remove(&offset);
        }
    }

    /// Writes what is different in the end. Returns whether anything was.
    pub fn write(self, tables: &mut Tables<'_>) -> Result<bool, redb::Error> {
        let changed = !self.fresh.is_empty() || !self.released.is_empty();
        for (offset, count) in sorted(self.released) {
            release_stored(tables, offset, count)?;
        }
        for (offset, (source, holders)) in sorted(self.fresh) {
            let parts = match &source {
                Source::Record(parts) => *parts,
                Source::Change(message) => MessageParts::from(message),
            };
            let mut place = tables.messages.insert_reserve(offset, parts.encoded_len())?;
            parts.put(&mut place.as_mut());
            if holders > 1 {
                tables.holders.insert(offset, holders)?;
            }
        }
        Ok(changed)
    }
}

fn release_stored(tables: &mut Tables<'_>, offset: u64, count: u32) -> Result<(), redb::Error> {
    let holders = tables.holders.remove(offset)?.map_or(1, |holders| holders.value());
    match holders.checked_sub(count) {
        None => return Err(damaged("holders")),
        Some(0) => {
            tables.messages.remove(offset)?;
        }
        Some(1) => {}
        Some(left) => {
            tables.holders.insert(offset, left)?;
        }
    }
    Ok(())
}
