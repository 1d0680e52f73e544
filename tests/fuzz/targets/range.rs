//! Nagios ranges, beside a plain model of the guidelines.

use check_nats_service::values::range::Range;

use super::{Target, text};

pub const TARGET: Target = Target {
    name: "range",
    run,
    seeds: &[
        "10", "10:", "~:10", "10:20", "@10:20", "@1:", ":5", "-5:-2", "0.5:1.5", "~:", "+1:+2", "1e3", "-0", "00:1",
        ".:5",
    ],
    samples: None,
    words: &[
        "@",
        "~",
        ":",
        "~:",
        "inf",
        "nan",
        "-0",
        "1e9",
        "99999999999999999999999999",
        ".5",
        "5.",
    ],
};

/// Values to ask a range about.
const VALUES: [f64; 12] = [
    -1e300,
    -10.0,
    -1.0,
    -0.5,
    0.0,
    0.5,
    1.0,
    3.0,
    10.0,
    20.0,
    1e9,
    f64::INFINITY,
];

fn run(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let (read, model) = (Range::parse(text), model(text));
    assert_eq!(read.is_ok(), model.is_some(), "{text:?}: {read:?}, expected {model:?}");
    let (Ok(range), Some((inside, start, end))) = (read, model) else {
        return;
    };
    for value in VALUES.into_iter().chain([start, end]) {
        let is_inside = value >= start && value <= end;
        assert_eq!(range.alerts(value), is_inside == inside, "{text:?} at {value}");
    }
    assert!(range.alerts(f64::NAN), "a value that is none alerts");
    let told = range.to_string();
    assert_eq!(Range::parse(&told), Ok(range), "{text:?} is told as {told:?}");
    assert!(
        told.bytes().all(|b| b.is_ascii_digit() || b"@~:.-".contains(&b)),
        "{told:?}"
    );
}

/// Returns the meaning of a range: alert inside, from, to.
fn model(text: &str) -> Option<(bool, f64, f64)> {
    let inside = text.starts_with('@');
    let rest = if inside { &text[1..] } else { text };
    let (start, end) = match rest.find(':') {
        None => (Some(0.0), number(rest)),
        Some(_) if rest == ":" => (None, None),
        Some(at) => {
            let (start, end) = (&rest[..at], &rest[at + 1..]);
            let start = if start == "~" {
                Some(f64::NEG_INFINITY)
            } else if start.is_empty() {
                Some(0.0)
            } else {
                number(start)
            };
            (
                start,
                if end.is_empty() {
                    Some(f64::INFINITY)
                } else {
                    number(end)
                },
            )
        }
    };
    let (start, end) = (start?, end?);
    (start <= end).then_some((inside, start, end))
}

/// A sign, digits, a point, digits; not without a digit.
fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let points = digits.matches('.').count();
    let plain = digits.chars().all(|c| c == '.' || c.is_ascii_digit());
    let is_number = plain && points <= 1 && digits.len() > points;
    text.parse().ok().filter(|number: &f64| is_number && number.is_finite())
}
