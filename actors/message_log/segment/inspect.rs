//! Looks the log's files through for people: what each one holds, and what is damaged. Changes nothing.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::disk::{DiskFile, read_full};
use super::files::{Segment, SegmentFiles};
use super::header::HEADER_BYTES;
use super::walk::{Allowed, Step, Walk};
use crate::message_log::record;

/// How much of a file's end is looked at in one go.
const LOOK_BYTES: usize = 256 * 1024;

/// What a file of the log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDetails {
    /// The file.
    pub path: PathBuf,
    /// The offset that it is named by.
    pub named: u64,
    /// Its length.
    pub bytes: u64,
    /// How many records it has.
    pub records: u64,
    /// The offsets of the first record and the last one.
    pub offsets: Option<(u64, u64)>,
    /// When the first record was received and the latest, in microseconds since the Unix epoch.
    pub times: Option<(u64, u64)>,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub damage: Damage,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A stretch without a whole record.
    Corrupt {
        /// Where it starts.
        position: u64,
        /// How long it is.
        bytes: u64,
    },
    /// The last file's end is a write that is still going on or that a crash interrupted: nothing was lost.
    TornTail {
        /// Where it starts.
        position: u64,
        /// How long it is.
        bytes: u64,
    },
    /// The file before it, named by this offset, is gone.
    NothingBefore(u64),
    /// It cannot be read, and why.
    Unreadable(String),
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Files.
    pub files: u64,
    /// Whole records.
    pub records: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl SegmentFiles {
    /// What each file holds, oldest first. Files without an index are read through.
    pub fn details(&self) -> io::Result<Vec<SegmentDetails>> {
        let segments: Vec<Arc<Segment>> = self.segments().iter().cloned().collect();
        let mut all = Vec::new();
        for segment in segments {
            let details = self.with_index(&segment, |index| {
                let has_records = |_: &u64| index.records > 0;
                let first = index.before_offset(0).map(|mark| mark.offset);
                SegmentDetails {
                    path: segment.path.clone(),
                    named: segment.first_offset,
                    bytes: segment.written(),
                    records: index.records,
                    offsets: first.filter(has_records).map(|first| (first, index.end_offset - 1)),
                    times: index.first_at_micros().map(|first| (first, index.latest_at_micros)),
                }
            });
            match details {
                // It was removed in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                details => all.push(details?),
            }
        }
        Ok(all)
    }

    /// Reads every file and checks every checksum; tells each finding as soon as it is made, until `tell` says stop.
    pub fn check(&self, tell: &mut dyn FnMut(Finding) -> bool) -> Checked {
        let segments: Vec<Arc<Segment>> = self.segments().iter().cloned().collect();
        let mut checked = Checked::default();
        for (place, segment) in segments.iter().enumerate() {
            let is_last = place + 1 == segments.len();
            let mut goes_on = true;
            let mut found = |damage| {
                goes_on = goes_on && tell(Finding { path: segment.path.clone(), damage });
                goes_on
            };
            match self.check_one(segment, is_last, &mut checked, &mut found) {
                Err(error) if is_gone(segment, &error) => {}
                Err(error) => _ = found(Damage::Unreadable(error.to_string())),
                Ok(()) => {}
            }
            if !goes_on {
                break;
            }
        }
        checked
    }

    fn check_one(
        &self,
        segment: &Segment,
        is_last: bool,
        checked: &mut Checked,
        found: &mut dyn FnMut(Damage) -> bool,
    ) -> io::Result<()> {
        let file = segment.opened(&*self.disk)?;
        checked.files += 1;
        checked.bytes += segment.written();
        let header = segment.read_header(&*file)?;
        if let Some(previous) = header.as_ref().and_then(|header| self.missing_before(header)) {
            found(Damage::NothingBefore(previous));
        }
        let start = if header.is_some() { HEADER_BYTES } else { 0 };
        if header.is_none() && segment.written() == 0 && !is_last {
            found(Damage::Corrupt { position: 0, bytes: 0 });
        }
        let allowed = Allowed { floor: segment.first_offset, bound: segment.bound() };
        let mut walk = Walk::new(&*file, start, segment.written(), allowed);
        loop {
            match walk.step().map_err(|error| segment.explain(&error))? {
                Step::Record(..) => checked.records += 1,
                Step::Corrupt(position, end) => {
                    let bytes = end - position;
                    let is_tail = is_last && end == segment.written();
                    let damage = match is_tail && is_torn(&*file, position, end)? {
                        true => Damage::TornTail { position, bytes },
                        false => Damage::Corrupt { position, bytes },
                    };
                    if !found(damage) {
                        return Ok(());
                    }
                }
                Step::End => return Ok(()),
            }
        }
    }
}

fn is_gone(segment: &Segment, error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || segment.is_removed.load(Ordering::Acquire)
}

/// Whether the end of the last file looks like a write that did not come to its end: a record or a header that is not
/// all there, or room that was taken and not filled. A whole record with a wrong checksum does not.
fn is_torn(file: &dyn DiskFile, position: u64, end: u64) -> io::Result<bool> {
    if end < HEADER_BYTES {
        return Ok(true);
    }
    let mut buffer = vec![0; LOOK_BYTES.min((end - position) as usize)];
    let filled = read_full(file, &mut buffer, position)?;
    let claimed = record::claimed_len(&buffer[..filled]);
    if claimed.is_none_or(|claimed| claimed as u64 > end - position) {
        return Ok(true);
    }
    let mut place = position;
    while place < end {
        let wanted = buffer.len().min((end - place) as usize);
        let filled = read_full(file, &mut buffer[..wanted], place)?;
        if buffer[..filled].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        // A file that became shorter has nothing there any more.
        place += wanted as u64;
    }
    Ok(true)
}
