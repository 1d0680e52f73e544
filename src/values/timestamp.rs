//! A moment of the wall clock, as the state file and the outputs tell it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime, UtcOffset};

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

/// The Julian day of 1970-01-01.
const EPOCH_DAY: i64 = 2_440_588;

/// Microseconds since 1970-01-01 00:00 UTC; RFC 3339 in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        deserializer.deserialize_str(TimestampVisitor)
    }
}

struct TimestampVisitor;

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        Timestamp::parse(text).ok_or_else(|| E::custom("no time"))
    }
}

impl Timestamp {
    /// The wall clock. A clock before 1970 reads as 1970.
    pub fn now() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// A moment this long after 1970-01-01 00:00 UTC, for tests and simulations.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// A moment this many seconds after 1970-01-01 00:00 UTC, as a JWT tells it.
    pub const fn from_seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970-01-01 00:00 UTC.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds since 1970-01-01 00:00 UTC, with their fraction.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// RFC 3339 in UTC with milliseconds, all of them of one length, as lines of a log have it.
    pub fn to_millis(self) -> String {
        let text = self.to_string();
        format!("{}.{:03}Z", &text[..19], self.0.rem_euclid(1_000_000) / 1000)
    }

    /// Returns the time since `earlier`; zero if the clock went back meanwhile.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339. A moment that its offset puts outside of the years 0 to 9999 of UTC, in which it could not be told,
    /// is none.
    pub fn parse(text: &str) -> Option<Timestamp> {
        Timestamp::parse_own(text).or_else(|| Timestamp::parse_any(text))
    }

    /// Reads what `Display` has written, faster than the library: the state of 1000 services has 35,000 times.
    fn parse_own(text: &str) -> Option<Timestamp> {
        let number = |digits: &[u8]| {
            let add = |sum: i64, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'));
            digits.iter().try_fold(0, add)
        };
        let (whole, fraction) = text.as_bytes().split_at_checked(19)?;
        let separators = [4, 7, 10, 13, 16].map(|at| whole[at]);
        let [year, month, day, hour, minute, second] =
            [0..4, 5..7, 8..10, 11..13, 14..16, 17..19].map(|digits| number(&whole[digits]));
        let micros = match fraction {
            [b'Z'] => 0,
            [b'.', digits @ .., b'Z'] if (1..=6).contains(&digits.len()) => {
                number(digits)? * 10_i64.pow(6 - digits.len() as u32)
            }
            _ => return None,
        };
        let (hour, minute, second) = (hour?, minute?, second?);
        if &separators != b"--T::" || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let month = Month::try_from(month? as u8).ok()?;
        let date = Date::from_calendar_date(year? as i32, month, day? as u8).ok()?;
        let days = i64::from(date.to_julian_day()) - EPOCH_DAY;
        Some(Timestamp(
            days * DAY + ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros,
        ))
    }

    fn parse_any(text: &str) -> Option<Timestamp> {
        let moment = OffsetDateTime::parse(text, &Rfc3339)
            .ok()?
            .checked_to_offset(UtcOffset::UTC)?;
        let micros = moment.unix_timestamp_nanos().div_euclid(1000);
        let is_told = (0..=9999).contains(&moment.year());
        i64::try_from(micros).ok().filter(|_| is_told).map(Timestamp)
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, duration: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the microsecond; it reads back as the same moment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, micros) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let date = i32::try_from(days + EPOCH_DAY)
            .ok()
            .and_then(|day| Date::from_julian_day(day).ok());
        let Some(date) = date.filter(|date| (0..=9999).contains(&date.year())) else {
            // RFC 3339 ends with the year 9999.
            return f.write_str("9999-12-31T23:59:59Z");
        };
        let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |digits: std::ops::Range<usize>, mut number: i64| {
            for digit in text[digits].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        };
        put(0..4, date.year().into());
        put(5..7, u8::from(date.month()).into());
        put(8..10, date.day().into());
        put(11..13, seconds / 3600);
        put(14..16, seconds / 60 % 60);
        put(17..19, seconds % 60);
        put(20..26, fraction);
        let mut end = if fraction == 0 { 19 } else { 26 };
        while text[end - 1] == b'0' && fraction > 0 {
            end -= 1;
        }
        text[end] = b'Z';
        f.write_str(std::str::from_utf8(&text[..=end]).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_writes() {
        for micros in [0, 1, 999_999, 1_790_000_000_123_456] {
            let moment = Timestamp::from_micros(micros);
            assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment));
        }
        assert_eq!(Timestamp::from_micros(1_500_000).to_string(), "1970-01-01T00:00:01.5Z");
        assert_eq!(
            Timestamp::parse("1970-01-01T01:00:00+01:00"),
            Some(Timestamp::from_micros(0))
        );
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    /// Against the library, at all places of the calendar.
    #[test]
    fn writes_and_reads_as_the_library_does() {
        // From the year 0 to the end of 9999, in steps that meet each day of the year and each length of a fraction.
        for step in 0..200_000 {
            let micros = -62_167_219_200_000_000 + step * 1_577_847_601_237 + step % 7 * 1000;
            let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).expect("a time");
            let text = moment.format(&Rfc3339).expect("RFC 3339");
            assert_eq!(Timestamp(micros).to_string(), text);
            assert_eq!(Timestamp::parse_own(&text), Some(Timestamp(micros)), "{text}");
            assert_eq!(Timestamp::parse_any(&text), Some(Timestamp(micros)), "{text}");
        }
        for text in [
            "",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00.1234567Z",
            "2026-01-01T00:00:0\u{e9}Z",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse_own(text), None, "{text}");
        }
    }

    #[test]
    fn only_printable_times_are_parsed() {
        for (text, told) in [
            ("9999-12-31T23:59:59.999999999Z", Some("9999-12-31T23:59:59.999999Z")),
            ("9999-12-31T23:59:59-00:01", None),
            ("0000-01-01T00:00:00Z", Some("0000-01-01T00:00:00Z")),
            ("0000-01-01T00:00:00+00:01", None),
            // To the microsecond before, on both sides of 1970.
            ("1970-01-01T00:00:00.000000999Z", Some("1970-01-01T00:00:00Z")),
            ("1969-12-31T23:59:59.999999999Z", Some("1969-12-31T23:59:59.999999Z")),
        ] {
            let read = Timestamp::parse(text);
            assert_eq!(read.map(|moment| moment.to_string()).as_deref(), told, "{text}");
            assert_eq!(
                read.and_then(|moment| Timestamp::parse(&moment.to_string())),
                read,
                "{text}"
            );
        }
    }

    #[test]
    fn lines_of_a_log_have_milliseconds() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_500_999, "1970-01-01T00:00:01.500Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.775Z"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).to_millis(), text);
        }
    }

    #[test]
    fn ages_never_go_below_zero() {
        let (early, late) = (Timestamp::from_micros(1_000_000), Timestamp::from_micros(3_000_000));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    #[test]
    fn no_moment_is_too_far_to_be_written() {
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp::from_micros(i64::MAX) + Duration::MAX, Timestamp(i64::MAX));
    }
}
