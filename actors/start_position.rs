//! Places in the log as users write them: an offset, or a point in time as in RFC 3339.

use crate::timestamp::{format_rfc3339, parse_rfc3339};

/// A place in the log that somebody names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogPoint {
    /// The record with this offset.
    Offset(u64),
    /// The first record received at this time or later, in microseconds since the Unix epoch.
    Time(u64),
}

impl LogPoint {
    /// Reads digits as an offset, and anything else as an RFC 3339 time from 1970 on.
    pub fn parse(text: &str) -> Option<LogPoint> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().ok().map(LogPoint::Offset);
        }
        parse_rfc3339(text).map(LogPoint::Time)
    }
}

impl std::fmt::Display for LogPoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            LogPoint::Offset(offset) => offset.fmt(formatter),
            LogPoint::Time(micros) => formatter.write_str(&format_rfc3339(micros)),
        }
    }
}

/// Where a new upstream broker begins to read the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartPosition {
    /// Behind the newest record: it gets what is published from now on.
    #[default]
    Now,
    /// At the oldest record that is still there.
    Earliest,
    /// At the record with this offset, or the oldest one after it that is still there.
    Offset(u64),
    /// At the first record received at this time or later, in microseconds since the Unix epoch.
    Time(u64),
}

impl StartPosition {
    /// What users may write, for messages.
    pub const ALLOWED: &'static str =
        "\"now\", \"earliest\", an offset or a time such as 2026-01-31T08:00:00Z";

    /// Reads what [`StartPosition::ALLOWED`] says.
    pub fn parse(text: &str) -> Option<StartPosition> {
        match text {
            "now" => Some(StartPosition::Now),
            "earliest" => Some(StartPosition::Earliest),
            _ => LogPoint::parse(text).map(StartPosition::from),
        }
    }
}

impl From<LogPoint> for StartPosition {
    fn from(place: LogPoint) -> StartPosition {
        match place {
            LogPoint::Offset(offset) => StartPosition::Offset(offset),
            LogPoint::Time(micros) => StartPosition::Time(micros),
        }
    }
}

impl std::fmt::Display for StartPosition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            StartPosition::Now => formatter.write_str("now"),
            StartPosition::Earliest => formatter.write_str("earliest"),
            StartPosition::Offset(offset) => LogPoint::Offset(offset).fmt(formatter),
            StartPosition::Time(micros) => LogPoint::Time(micros).fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_is_written_as_it_is_read() {
        for (text, position) in [
            ("now", StartPosition::Now),
            ("earliest", StartPosition::Earliest),
            ("0", StartPosition::Offset(0)),
            ("18446744073709551615", StartPosition::Offset(u64::MAX)),
            ("2026-01-31T08:00:00Z", StartPosition::Time(1_769_846_400_000_000)),
        ] {
            assert_eq!(StartPosition::parse(text), Some(position), "{text}");
            assert_eq!(position.to_string(), text);
        }
        for text in ["", "Now", "latest", "-1", "+1", "1.5", "18446744073709551616", "2026-01-31", " now"] {
            assert_eq!(StartPosition::parse(text), None, "{text:?}");
        }
    }
}
