//! Ages in a text that is read later than it is written: each stands there with its moment, so that it can count from the time of
//! reading.

use super::text::CUT;
use super::{duration, timestamp::Timestamp};

/// Begin an age that grows, and the time that is left until a moment. No other text has control characters.
const PAST: char = '\u{1}';
const FUTURE: char = '\u{2}';

/// Stands between the moment, in hexadecimal, and its age at the time of writing; and behind that.
const AGE: char = '\u{3}';
const END: char = '\u{4}';

/// Returns the age of the moment at `now`, with the moment.
pub fn age(moment: Timestamp, now: Timestamp) -> String {
    mark(PAST, moment, &distance(PAST, moment, now))
}

/// Returns the time that was left at `now` until the moment, with the moment.
pub fn time_left(moment: Timestamp, now: Timestamp) -> String {
    mark(FUTURE, moment, &distance(FUTURE, moment, now))
}

fn mark(direction: char, moment: Timestamp, at_writing: &str) -> String {
    format!("{direction}{:x}{AGE}{at_writing}{END}", moment.as_micros())
}

fn distance(direction: char, moment: Timestamp, now: Timestamp) -> String {
    duration::age(match direction {
        FUTURE => moment.since(now),
        _ => now.since(moment),
    })
}

enum Part<'t> {
    Text(&'t str),
    Age {
        direction: char,
        moment: Timestamp,
        at_writing: &'t str,
    },
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let pieces = text.split_inclusive(END);
    pieces
        .flat_map(|piece| match read_mark(piece) {
            Some((before, age)) => [Some(Part::Text(before)), Some(age)],
            None => [Some(Part::Text(piece)), None],
        })
        .flatten()
}

/// The age at the end of a text that ends with [`END`], and what stands before it.
fn read_mark(piece: &str) -> Option<(&str, Part<'_>)> {
    let (before, mark) = piece.strip_suffix(END)?.rsplit_once([PAST, FUTURE])?;
    let direction = piece[before.len()..].chars().next()?;
    let (moment, at_writing) = mark.split_once(AGE)?;
    let moment = u64::from_str_radix(moment, 16).ok()?;
    let age = Part::Age {
        direction,
        moment: Timestamp::from_micros(moment.cast_signed()),
        at_writing,
    };
    Some((before, age))
}

/// The text with its ages as of the time of writing.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for part in parts(text) {
        plain += match part {
            Part::Text(text) => text,
            Part::Age { at_writing, .. } => at_writing,
        };
    }
    plain
}

/// Appends the text to `page` with its ages as of `now`.
pub fn append(page: &mut String, text: &str, now: Timestamp) {
    for part in parts(text) {
        match part {
            Part::Text(text) => page.push_str(text),
            Part::Age { direction, moment, .. } => page.push_str(&distance(direction, moment, now)),
        }
    }
}

/// The text, cut to `max` characters as it reads at the time of writing; never within an age.
pub fn shorten(text: &str, max: usize) -> String {
    let mut short = String::with_capacity(text.len());
    let mut left = max;
    for part in parts(text) {
        let length = match &part {
            Part::Text(text) => text.chars().count(),
            Part::Age { at_writing, .. } => at_writing.chars().count(),
        };
        match part {
            Part::Text(text) if length > left => {
                short.extend(text.chars().take(left));
                return short + CUT;
            }
            _ if length > left => return short + CUT,
            Part::Text(text) => short += text,
            Part::Age {
                direction,
                moment,
                at_writing,
            } => short += &mark(direction, moment, at_writing),
        }
        left -= length;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(second)
    }

    fn read_at(text: &str, now: Timestamp) -> String {
        let mut page = String::new();
        append(&mut page, text, now);
        page
    }

    #[test]
    fn age_counts_from_the_time_of_reading() {
        for (moment, written, plain_text, read, text) in [
            (0, 62, "until 62s ago", 62, "until 62s ago"),
            (0, 62, "until 62s ago", 724, "until 12m 4s ago"),
            (-5, 62, "until 67s ago", 70, "until 75s ago"),
            // The clock was set back.
            (62, 60, "until 0.0s ago", 61, "until 0.0s ago"),
        ] {
            let until = format!("until {} ago", age(at(moment), at(written)));
            assert_eq!(plain(&until), plain_text);
            assert_eq!(read_at(&until, at(read)), text);
        }
    }

    #[test]
    fn time_that_is_left_shrinks() {
        let text = format!("expire in {}, {}", time_left(at(100), at(0)), age(at(-20), at(0)));
        assert_eq!(plain(&text), "expire in 1m 40s, 20s");
        assert_eq!(read_at(&text, at(70)), "expire in 30s, 90s");
        assert_eq!(read_at(&text, at(101)), "expire in 0.0s, 2m 1s");
    }

    #[test]
    fn text_without_ages_stays() {
        for text in [
            "",
            "3 instances",
            "\u{1}",
            "\u{4}",
            "a\u{1}zz\u{3}b\u{4}c",
            "\u{1}ff\u{4}",
            "größe\u{3}",
        ] {
            assert_eq!(plain(text), text);
            assert_eq!(read_at(text, at(0)), text);
            assert_eq!(shorten(text, 100), text);
        }
    }

    #[test]
    fn no_age_is_cut() {
        let text = format!("until {} ago", age(at(0), at(62)));
        for (max, short) in [
            (0, "..."),
            (3, "unt..."),
            (6, "until ..."),
            (8, "until ..."),
            (9, "until 62s..."),
            (13, "until 62s ago"),
        ] {
            assert_eq!(plain(&shorten(&text, max)), short);
        }
        assert_eq!(read_at(&shorten(&text, 9), at(63)), "until 63s...");
    }
}
