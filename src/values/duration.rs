//! Durations as people type them and as they like to read them.

use std::time::Duration;

/// Units of a typed duration, in seconds. The order matters: `ms` before `m`.
const UNITS: [(&str, f64); 6] = [
    ("ms", 0.001),
    ("us", 0.000_001),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];

/// Nothing that is waited for takes longer than ten years; beyond it, sums of times could overflow.
const MAX_SECONDS: f64 = 3650.0 * 86_400.0;

/// Reads `500ms`, `10s`, `15m`, `1h30m`, `2d`; a bare number is seconds.
///
/// # Errors
///
/// A text that says what is wrong, for the user who typed it.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration like 500ms, 10s, 15m or 1h30m");
    let mut seconds = 0.0;
    let mut rest = text;
    loop {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        if rest.is_empty() && digits == text.len() {
            seconds = number;
            break;
        }
        let (unit, worth) = UNITS
            .iter()
            .find(|(unit, _)| rest.starts_with(unit))
            .ok_or_else(wrong)?;
        seconds += number * worth;
        rest = &rest[unit.len()..];
        if rest.is_empty() {
            break;
        }
    }
    if seconds > MAX_SECONDS {
        return Err(format!("'{text}' is longer than ten years"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// For how long something has been so: two units at most, and none finer than an operator needs.
pub fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_millis() as f64 / 1000.0),
        10..100 => format!("{seconds}s"),
        100..3600 => two(seconds, 60, "m", 1, "s"),
        3600..86_400 => two(seconds, 3600, "h", 60, "m"),
        _ => two(seconds, 86_400, "d", 3600, "h"),
    }
}

fn two(seconds: u64, big: u64, big_name: &str, small: u64, small_name: &str) -> String {
    match seconds % big / small {
        0 => format!("{}{big_name}", seconds / big),
        rest => format!("{}{big_name} {rest}{small_name}", seconds / big),
    }
}

/// Prints the time of an answer with two significant digits.
pub fn latency(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        _ if ms < 1.0 => format!("{ms:.2}ms"),
        _ if ms < 10.0 => format!("{ms:.1}ms"),
        _ if ms < 1000.0 => format!("{ms:.0}ms"),
        _ => format!("{:.1}s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_durations_are_read() {
        let cases = [
            ("500ms", 500),
            ("10s", 10_000),
            ("15m", 900_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
            ("0", 0),
            ("10", 10_000),
            ("1.5", 1500),
            ("1.5s", 1500),
            ("0.25", 250),
            (".5s", 500),
            ("1m500ms", 60_500),
            ("3650d", 315_360_000_000),
        ];
        for (text, ms) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("250us"), Ok(Duration::from_micros(250)));
    }

    #[test]
    fn bad_durations_are_named() {
        for text in [
            "", "s", "-1s", "1x", "10 s", "1s5", "1..5s", "inf", "1e3", "ten", "5ss", "١s",
        ] {
            let message = format!("'{text}' is not a duration like 500ms, 10s, 15m or 1h30m");
            assert_eq!(parse(text), Err(message), "{text:?}");
        }
        assert_eq!(parse("3651d"), Err("'3651d' is longer than ten years".into()));
        let huge = "9".repeat(400);
        assert_eq!(parse(&huge), Err(format!("'{huge}' is longer than ten years")));
    }

    #[test]
    fn ages_are_short() {
        let cases = [
            (0, "0.0s"),
            (1_234, "1.2s"),
            (9_999, "10.0s"),
            (62_000, "62s"),
            (99_999, "99s"),
            (724_000, "12m 4s"),
            (600_000, "10m"),
            (7_200_000, "2h"),
            (7_500_000, "2h 5m"),
            (86_400_000, "1d"),
            (273_600_000, "3d 4h"),
        ];
        for (ms, text) in cases {
            assert_eq!(age(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn latencies_keep_what_matters() {
        let cases = [
            (0, "0.00ms"),
            (340, "0.34ms"),
            (1_204, "1.2ms"),
            (47_700, "48ms"),
            (999_000, "999ms"),
            (2_340_000, "2.3s"),
        ];
        for (us, text) in cases {
            assert_eq!(latency(Duration::from_micros(us)), text);
        }
    }
}
