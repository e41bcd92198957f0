//! Points in time as users write them (RFC 3339), and as the log keeps them: microseconds since the Unix epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that says less has not been set: 2020-01-01. Gateways without a battery start in 1970.
const PLAUSIBLE_MICROS: u64 = 1_577_836_800_000_000;

/// The wall clock.
pub fn unix_micros() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

/// How long ago something happened. Nothing is old because the clock was set meanwhile: what happened before that, or
/// after `now`, has no age that anybody knows.
pub fn age(at_micros: u64, now_micros: u64) -> Duration {
    if at_micros < PLAUSIBLE_MICROS && now_micros >= PLAUSIBLE_MICROS {
        return Duration::ZERO;
    }
    Duration::from_micros(now_micros.saturating_sub(at_micros))
}

const MICROS_PER_SEC: i64 = 1_000_000;
const SECS_PER_DAY: i64 = 24 * 60 * 60;

/// Microseconds since the Unix epoch of a time such as `2026-01-31T08:00:00Z` or `2026-01-31T09:00:00.25+01:00`;
/// `None` for anything else, and for a time before 1970. Digits behind the microseconds are cut off.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let (year, month, day) = parse_date(date)?;
    let zone_at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at(zone_at);
    let offset_secs = parse_zone(zone)?;
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, parse_fraction(fraction)?),
        None => (clock, 0),
    };
    let [hours, minutes, secs] = parse_fields(clock, ':', [2, 2, 2])?;
    if hours > 23 || minutes > 59 || secs > 59 {
        return None;
    }
    let secs_of_day = hours * 3_600 + minutes * 60 + secs;
    let secs = days_before(year, month, day) * SECS_PER_DAY + secs_of_day - offset_secs;
    u64::try_from(secs * MICROS_PER_SEC + fraction).ok()
}

/// The time in UTC, with as many digits behind the second as it needs.
pub fn format_rfc3339(micros: u64) -> String {
    // 64 bits of microseconds are half a million years: too long for the form, never too large for the sums.
    let (secs, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let (days, secs_of_day) = (secs / 86_400, secs % 86_400);
    let (year, month, day) = date_of(days.cast_signed());
    let (hours, minutes, secs) = (secs_of_day / 3_600, secs_of_day / 60 % 60, secs_of_day % 60);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    let fraction = fraction.trim_end_matches('0');
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{secs:02}{fraction}Z")
}

fn parse_date(text: &str) -> Option<(i64, i64, i64)> {
    let [year, month, day] = parse_fields(text, '-', [4, 2, 2])?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    };
    (1..=days).contains(&day).then_some((year, month, day))
}

/// `Z`, or hours and minutes ahead of UTC or behind it, as seconds ahead.
fn parse_zone(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let [hours, minutes] = parse_fields(text.get(1..)?, ':', [2, 2])?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// The digits behind the second as microseconds.
fn parse_fraction(digits: &str) -> Option<i64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let micros = format!("{:0<6}", digits.get(..6).unwrap_or(digits));
    is_number.then(|| micros.parse().ok()).flatten()
}

/// Exactly N numbers of these widths.
fn parse_fields<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut fields = text.split(separator);
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let field = fields.next().filter(|field| field.len() == width)?;
        *number = field.bytes().all(|byte| byte.is_ascii_digit()).then(|| field.parse().ok())??;
    }
    fields.next().is_none().then_some(numbers)
}

/// Days from 1970-01-01 to a date. Years are counted from March here, so that a leap day is a year's last day, and
/// eras of 400 years from 0000-03-01.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date so many days after 1970-01-01: the reverse of [`days_before`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let (era, day_of_era) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_or_put_back_makes_nothing_old() {
        let (in_1970, now) = (5_000_000, PLAUSIBLE_MICROS + 9_000_000);
        assert_eq!(age(in_1970, now), Duration::ZERO);
        assert_eq!(age(in_1970, in_1970 + 3_000_000), Duration::from_secs(3), "both by the unset clock");
        assert_eq!(age(now, now - 1_000_000), Duration::ZERO);
        assert_eq!(age(now - 2_000_000, now), Duration::from_secs(2));
    }

    #[test]
    fn times_are_read_as_microseconds_since_the_epoch() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00.000001z", 1),
            ("2026-01-31T08:00:00Z", 1_769_846_400_000_000),
            ("2026-01-31T09:00:00+01:00", 1_769_846_400_000_000),
            ("2026-01-30T23:30:00-08:30", 1_769_846_400_000_000),
            ("2026-01-31T08:00:00.25Z", 1_769_846_400_250_000),
            ("2026-01-31T08:00:00.1234567Z", 1_769_846_400_123_456),
            ("2000-02-29T23:59:59Z", 951_868_799_000_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799_000_000),
        ] {
            assert_eq!(parse_rfc3339(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "T",
            "2026-01-31",
            "2026-01-31T08:00:00",
            "2026-01-31 08:00:00Z",
            "2026-01-31T08:00Z",
            "2026-1-31T08:00:00Z",
            "2026-01-31T8:00:00Z",
            "2026-13-01T08:00:00Z",
            "2026-00-01T08:00:00Z",
            "2026-02-29T08:00:00Z",
            "1900-02-29T08:00:00Z",
            "2026-04-31T08:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T08:60:00Z",
            "2026-01-31T08:00:60Z",
            "2026-01-31T08:00:00.Z",
            "2026-01-31T08:00:00.+1Z",
            "2026-01-31T08:00:00.ééZ",
            "2026-01-31T08:00:00+0100",
            "2026-01-31T08:00:00+24:00",
            "2026-01-31T08:00:00Z ",
            "2026-01-31T08:00:00:00Z",
            "+026-01-31T08:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_reads_as_the_same_time() {
        for (text, written) in [
            ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00Z"),
            ("2026-01-31T08:00:00.500Z", "2026-01-31T08:00:00.5Z"),
            ("2026-01-31T00:30:00+01:00", "2026-01-30T23:30:00Z"),
        ] {
            assert_eq!(parse_rfc3339(text).map(format_rfc3339).as_deref(), Some(written));
        }
        // A step of a little more than 50 days meets every month and every day of it.
        for micros in (0..253_402_300_799_999_999).step_by(4_321_098_765_432) {
            let text = format_rfc3339(micros);
            assert_eq!(parse_rfc3339(&text), Some(micros), "{text}");
        }
        assert_eq!(format_rfc3339(u64::MAX), "586524-01-19T08:01:49.551615Z");
    }
}
