//! A moment of the wall clock, as the state file and the outputs tell it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// Microseconds since 1970-01-01 00:00 UTC; RFC 3339 in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp(i64);

impl From<Timestamp> for String {
    fn from(moment: Timestamp) -> String {
        moment.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Timestamp, Self::Error> {
        Timestamp::parse(&text).ok_or("no time")
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

    /// How long ago `earlier` was; zero if the clock went back meanwhile.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339. A moment that its offset puts outside of the years 0 to 9999 of UTC, in which it could not be told,
    /// is none.
    pub fn parse(text: &str) -> Option<Timestamp> {
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
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000);
        let Some(moment) = moment.ok().filter(|moment| (0..=9999).contains(&moment.year())) else {
            // Beyond the year 9999 there is no RFC 3339.
            return f.write_str("9999-12-31T23:59:59Z");
        };
        f.write_str(&moment.format(&Rfc3339).map_err(|_| fmt::Error)?)
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

    #[test]
    fn what_could_not_be_told_is_not_read() {
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
