//! Nagios ranges, as the Monitoring Plugins guidelines define them.

use std::fmt;
use std::time::Duration;

/// A range of values that are fine, or, turned around with `@`, of values that are not. Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    start: f64,
    end: f64,
    /// Alert inside instead of outside.
    inside: bool,
}

impl Range {
    /// Alert above `end`; what a threshold on a duration means (none is below 0).
    pub fn at_most(end: f64) -> Range {
        Range {
            start: 0.0,
            end,
            inside: false,
        }
    }

    /// Alert above this duration, in seconds.
    pub fn up_to(limit: Duration) -> Range {
        Range::at_most(limit.as_secs_f64())
    }

    /// Alert below `start`; what a threshold on the time that is left means.
    pub fn at_least(start: f64) -> Range {
        Range {
            start,
            end: f64::INFINITY,
            inside: false,
        }
    }

    /// Reads `[@][start:][end]`: `10` alerts below 0 or above 10, `10:` below 10, `~:10` above 10, `10:20` outside,
    /// `@10:20` inside.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong, for the user who typed the range.
    pub fn parse(text: &str) -> Result<Range, String> {
        let (inside, bare) = match text.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (start, end) = bare.split_once(':').unwrap_or(("0", bare));
        if bare.is_empty() || bare == ":" {
            return Err("a range is START:END, START:, ~:END, END or @START:END".into());
        }
        let start = match start {
            "~" => f64::NEG_INFINITY,
            "" => 0.0,
            number => parse_number(number)?,
        };
        let end = match end {
            "" => f64::INFINITY,
            number => parse_number(number)?,
        };
        if start > end {
            return Err(format!("the start {start} is above the end {end}"));
        }
        Ok(Range { start, end, inside })
    }

    /// The limits outside of which it alerts; `None`: it alerts inside.
    pub fn limits(&self) -> Option<(f64, f64)> {
        (!self.inside).then_some((self.start, self.end))
    }

    /// Returns the words for a number that raises the alert: `fewer than 3 (range 3:)`.
    ///
    /// A plain `N` alerts above N. Who types it often means what `N:` says; so the words tell both.
    pub fn in_words(&self, number: usize) -> String {
        let Range { start, end, inside } = *self;
        let value = number as f64;
        match inside {
            true if start == end => format!("exactly {start} (range {self})"),
            true if start <= 0.0 && end == f64::INFINITY => format!("any number (range {self})"),
            true if start <= 0.0 => format!("at most {end} (range {self})"),
            true if end == f64::INFINITY => format!("at least {start} (range {self})"),
            true => format!("from {start} to {end} (range {self})"),
            false if value < start => format!("fewer than {start} (range {self})"),
            false if start == 0.0 && end > 0.0 => {
                format!("more than {end} (range {self}), for fewer than {end} write {end}:")
            }
            false => format!("more than {end} (range {self})"),
        }
    }

    /// Returns `true` if this value raises the alert. A value that is no number always does.
    pub fn alerts(&self, value: f64) -> bool {
        if value.is_nan() {
            return true;
        }
        (self.start <= value && value <= self.end) == self.inside
    }
}

fn parse_number(text: &str) -> Result<f64, String> {
    // `parse` would also take inf, nan and 1e5; a range of the guidelines is made of plain decimals.
    let plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'));
    match text.parse::<f64>() {
        Ok(number) if plain && number.is_finite() => Ok(number),
        _ => Err(format!("'{text}' is not a number")),
    }
}

impl fmt::Display for Range {
    /// The shortest way to write the range, as Nagios expects it in perfdata.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inside {
            f.write_str("@")?;
        }
        if self.start == f64::NEG_INFINITY {
            f.write_str("~:")?;
        } else if self.start != 0.0 || self.end == f64::INFINITY {
            write!(f, "{}:", self.start)?;
        }
        if self.end != f64::INFINITY {
            write!(f, "{}", self.end)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One table for reading, writing and judging: text, how it is written back, values that alert, values that do not.
    const CASES: &[(&str, &str, &[f64], &[f64])] = &[
        ("10", "10", &[-0.1, 10.1, f64::NAN, f64::INFINITY], &[0.0, 5.0, 10.0]),
        ("10:", "10:", &[9.99, -1.0], &[10.0, 1e9, f64::INFINITY]),
        ("~:10", "~:10", &[10.01], &[10.0, 0.0, -1e9]),
        ("10:20", "10:20", &[9.0, 21.0], &[10.0, 15.0, 20.0]),
        ("@10:20", "@10:20", &[10.0, 15.0, 20.0, f64::NAN], &[9.0, 21.0]),
        ("@10", "@10", &[0.0, 10.0], &[-1.0, 11.0]),
        ("1:", "1:", &[0.0], &[1.0, 3.0]),
        ("0:", "0:", &[-1.0], &[0.0, 7.0]),
        (":5", "5", &[-1.0, 6.0], &[0.0, 5.0]),
        ("0", "0", &[1.0, -1.0], &[0.0]),
        ("-5:-2", "-5:-2", &[-6.0, -1.0, 0.0], &[-5.0, -2.0]),
        ("0.5:1.5", "0.5:1.5", &[0.4, 1.6], &[0.5, 1.0, 1.5]),
        ("~:", "~:", &[f64::NAN], &[-1e9, 0.0, 1e9]),
        ("@3:3", "@3:3", &[3.0], &[2.0, 4.0]),
    ];

    #[test]
    fn ranges_read_write_and_judge() {
        for (text, written, alerting, fine) in CASES {
            let range = Range::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(range.to_string(), *written, "{text}");
            assert_eq!(Range::parse(written), Ok(range), "{text} reads back");
            for value in *alerting {
                assert!(range.alerts(*value), "{text} alerts at {value}");
            }
            for value in *fine {
                assert!(!range.alerts(*value), "{text} is fine at {value}");
            }
        }
    }

    #[test]
    fn alert_text_names_the_limit_that_was_crossed() {
        let cases = [
            ("3:", 2, "fewer than 3 (range 3:)"),
            ("2", 3, "more than 2 (range 2), for fewer than 2 write 2:"),
            (":2", 3, "more than 2 (range 2), for fewer than 2 write 2:"),
            ("0", 1, "more than 0 (range 0)"),
            ("~:10", 11, "more than 10 (range ~:10)"),
            ("2:5", 1, "fewer than 2 (range 2:5)"),
            ("2:5", 6, "more than 5 (range 2:5)"),
            ("@5", 5, "at most 5 (range @5)"),
            ("@~:5", 0, "at most 5 (range @~:5)"),
            ("@0:0", 0, "exactly 0 (range @0)"),
            ("@3:3", 3, "exactly 3 (range @3:3)"),
            ("@2:4", 3, "from 2 to 4 (range @2:4)"),
            ("@7:", 9, "at least 7 (range @7:)"),
            ("@0:", 9, "any number (range @0:)"),
            ("1.5:", 1, "fewer than 1.5 (range 1.5:)"),
        ];
        for (text, number, words) in cases {
            let range = Range::parse(text).expect("a range");
            assert!(range.alerts(number as f64), "{text} {number}");
            assert_eq!(range.in_words(number), words, "{text} {number}");
        }
    }

    #[test]
    fn bad_ranges_say_why() {
        let cases = [
            ("", "a range is START:END, START:, ~:END, END or @START:END"),
            ("@", "a range is START:END, START:, ~:END, END or @START:END"),
            (":", "a range is START:END, START:, ~:END, END or @START:END"),
            ("20:10", "the start 20 is above the end 10"),
            ("-1", "the start 0 is above the end -1"),
            ("three", "'three' is not a number"),
            ("1:two", "'two' is not a number"),
            ("1:2:3", "'2:3' is not a number"),
            ("nan:", "'nan' is not a number"),
            ("inf:", "'inf' is not a number"),
            ("1e3:", "'1e3' is not a number"),
            ("1: ", "' ' is not a number"),
        ];
        for (text, message) in cases {
            assert_eq!(Range::parse(text), Err(message.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn at_most_is_the_plain_form() {
        assert_eq!(Range::at_most(0.5).to_string(), "0.5");
        assert!(!Range::at_most(0.5).alerts(0.5));
        assert!(Range::at_most(0.5).alerts(0.51));
    }
}
