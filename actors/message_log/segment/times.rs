//! Finds records by the time when they were received.

use std::io;
use std::sync::Arc;

use super::files::{Segment, SegmentFiles};
use super::header::HEADER_BYTES;
use super::walk::{Allowed, Step, Walk};

impl SegmentFiles {
    /// The offset of the first record that was received at this time or later, in microseconds since the Unix epoch; the
    /// end of the log if there is none.
    pub fn offset_at_time(&self, at_micros: u64) -> io::Result<u64> {
        let end_offset = self.end_offset();
        let segments: Vec<Arc<Segment>> = self.segments().iter().cloned().collect();
        let first_later = self.first_later(&segments, at_micros)?;
        for segment in &segments[first_later.saturating_sub(1)..] {
            if let Some(offset) = gone_is_none(self.offset_in(segment, at_micros))?.flatten() {
                return Ok(offset);
            }
        }
        Ok(end_offset)
    }

    /// The place of the first segment whose first record is not before this time.
    fn first_later(&self, segments: &[Arc<Segment>], at_micros: u64) -> io::Result<usize> {
        let (mut low, mut high) = (0, segments.len());
        while low < high {
            let middle = (low + high) / 2;
            // Segments without a record say nothing, so the next one that has some is asked.
            let mut asked = middle;
            let mut first_at_micros = None;
            while asked < high && first_at_micros.is_none() {
                first_at_micros = self.first_at_micros(&segments[asked])?;
                asked += 1;
            }
            match first_at_micros {
                Some(first) if first < at_micros => low = asked,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    fn first_at_micros(&self, segment: &Segment) -> io::Result<Option<u64>> {
        let first = self.with_index(segment, |index| index.first_at_micros());
        Ok(gone_is_none(first)?.flatten())
    }

    /// The first record of one segment that was received at this time or later.
    fn offset_in(&self, segment: &Segment, at_micros: u64) -> io::Result<Option<u64>> {
        let mark = self.with_index(segment, |index| index.before_time(at_micros))?;
        let (position, floor) =
            mark.map_or((HEADER_BYTES, segment.first_offset), |mark| (mark.position, mark.offset));
        let file = segment.opened(&*self.disk)?;
        let allowed = Allowed { floor, bound: segment.bound() };
        let mut walk = Walk::new(&*file, position, segment.written(), allowed);
        loop {
            match walk.step().map_err(|error| segment.explain(&error))? {
                Step::Record(seen, _) if seen.received_at_micros >= at_micros => {
                    return Ok(Some(seen.offset));
                }
                Step::End => return Ok(None),
                Step::Record(..) | Step::Corrupt(..) => {}
            }
        }
    }
}

/// A file that was removed in the meantime holds nothing.
fn gone_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}
