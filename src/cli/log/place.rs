//! Places in the log as people write them: an offset, or a time.

use std::str::FromStr;

use jiff::Timestamp;

use super::{Failure, Files, unreadable};

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The record at this offset, or the first one behind it.
    Offset(u64),
    /// The first record that was received then or later, in microseconds since the Unix epoch.
    Time(u64),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if let Ok(offset) = text.parse() {
            return Ok(Place::Offset(offset));
        }
        let time = text.parse::<Timestamp>().ok().and_then(|time| u64::try_from(time.as_microsecond()).ok());
        time.map(Place::Time)
            .ok_or_else(|| "must be an offset, or a time such as 2026-07-31T08:00:00Z".to_owned())
    }
}

impl Place {
    /// The offset of the place; behind everything where there is no record so late.
    pub fn offset(self, files: &Files) -> Result<u64, Failure> {
        match self {
            Place::Offset(offset) => Ok(offset),
            Place::Time(at_micros) => files.offset_at_time(at_micros).map_err(|error| unreadable(&error)),
        }
    }
}

/// A time as RFC 3339 writes it.
pub fn shown_time(at_micros: u64) -> String {
    let time = i64::try_from(at_micros).ok().and_then(|micros| Timestamp::from_microsecond(micros).ok());
    // Later than jiff goes, the year 9999, is no time that any clock showed.
    time.map_or_else(|| at_micros.to_string(), |time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times_are_told_apart_and_come_back() {
        assert_eq!("42".parse(), Ok(Place::Offset(42)));
        for text in ["2026-07-31T08:00:00.000001Z", "2026-07-31T10:00:00.000001+02:00"] {
            let Ok(Place::Time(at_micros)) = text.parse() else { panic!("{text} is a time") };
            assert_eq!(shown_time(at_micros), "2026-07-31T08:00:00.000001Z");
        }
        assert_eq!(shown_time(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(shown_time(u64::MAX), u64::MAX.to_string());
        for text in ["", "-1", "yesterday", "2026-07-31", "1969-01-01T00:00:00Z"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
