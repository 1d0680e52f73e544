//! Durations as they are typed, beside a plain model; and how they are told.

use std::time::Duration;

use check_nats_service::values::duration::{age, latency, parse};
use check_nats_service::values::timestamp::Timestamp;

use super::{Target, assert_clean, text};

pub const TARGET: Target = Target {
    name: "duration",
    run,
    seeds: &[
        "500ms",
        "10s",
        "1h30m",
        "2d",
        "0",
        "1.5",
        ".5s",
        "3650d",
        "3651d",
        "1..5s",
        "5ss",
        "2026-11-22T07:14:46.123Z",
        "1970-01-01T01:00:00+01:00",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999999-23:59",
    ],
    samples: None,
    words: &[
        "ms",
        "us",
        "s",
        "m",
        "h",
        "d",
        ".",
        "1e3",
        "inf",
        "99999999999999999999",
        "T",
        "Z",
        "+00:00",
        "-23:59",
        "9999-12-31",
    ],
};

const MAX_DURATION: Duration = Duration::from_secs(3650 * 86_400);

fn run(input: &[u8]) {
    let Some(text) = text(input) else { return };
    match (parse(text), model(text)) {
        (Ok(duration), Some(seconds)) => {
            assert!(duration <= MAX_DURATION, "{text:?} is {duration:?}");
            let off = (duration.as_secs_f64() - seconds).abs();
            assert!(
                off <= 1e-9 + seconds * 1e-12,
                "{text:?} is {duration:?}, expected {seconds} s"
            );
            for told in [age(duration), latency(duration)] {
                assert_clean(&told, 12);
            }
        }
        (Err(_), None) => {}
        (read, model) => {
            // What is beyond the longest is no duration either.
            let too_long = model.is_some_and(|seconds| seconds > MAX_DURATION.as_secs_f64());
            assert!(read.is_err() && too_long, "{text:?}: {read:?}, expected {model:?}");
        }
    }
    if let Some(moment) = Timestamp::parse(text) {
        let told = moment.to_string();
        assert_eq!(Timestamp::parse(&told), Some(moment), "{text:?} is told as {told:?}");
        assert_clean(&told, 32);
        assert!(moment.since(moment + Duration::from_secs(1)).is_zero());
    }
}

/// In seconds: a plain number, or numbers with units behind them.
fn model(text: &str) -> Option<f64> {
    let number = |text: &str| -> Option<f64> {
        let plain = text.chars().all(|c| c == '.' || c.is_ascii_digit());
        text.parse().ok().filter(|_| plain)
    };
    if let Some(seconds) = number(text) {
        return Some(seconds);
    }
    let (mut seconds, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').count();
        let value = number(&rest[..digits])?;
        rest = &rest[digits..];
        let units = [
            ("ms", 1e-3),
            ("us", 1e-6),
            ("d", 86400.0),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let (unit, worth) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        seconds += value * worth;
        rest = &rest[unit.len()..];
    }
    (!text.is_empty()).then_some(seconds)
}
