//! Text that came from somewhere else, made safe to print.

use std::borrow::Borrow;

/// Minimum likeness of two names, one of which was meant for the other (Jaro-Winkler, 0 to 1).
pub const LIKE: f64 = 0.85;

/// Characters that Nagios itself strips from plugin output, and the backslash. `|` would start perfdata, `<` a tag in a web page.
const ILLEGAL: &str = "`~$&|'\"<>\\";

/// Stands at the end of a text that was cut.
pub const CUT: &str = "...";

/// Letters of Unicode that are shown as nothing (Default_Ignorable_Code_Point): fillers of Hangul.
const INVISIBLE_LETTERS: [char; 4] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];

/// The text with everything replaced by `?` that could forge a second line, perfdata, markup or a terminal command,
/// and cut to `max` characters.
///
/// Letters and digits of any script stay, each with one combining mark at most; invisible characters do not.
pub fn clean(text: &str, max: usize) -> String {
    cut(text, max, |c| matches!(c, ' '..='~') && !ILLEGAL.contains(c))
}

/// The same for readers that no punctuation can harm, such as `kubectl describe` and a log: all of ASCII stays that is
/// no control character.
pub fn readable(text: &str, max: usize) -> String {
    cut(text, max, |c| matches!(c, ' '..='~'))
}

fn cut(text: &str, max: usize, good: impl Fn(char) -> bool) -> String {
    let mut cleaned = keep(text, max, good);
    if text.chars().nth(max).is_some() {
        cleaned.push_str(CUT);
    }
    cleaned
}

/// The first `max` characters of the text, with `?` in place of those that are neither good nor a letter or digit.
pub fn keep(text: &str, max: usize, good: impl Fn(char) -> bool) -> String {
    let mut takes_a_mark = false;
    let kept = text.chars().take(max).map(|c| {
        // Among others, the standard library escapes characters that extend the previous one (Grapheme_Extend).
        let is_mark = !c.is_ascii() && c.is_alphanumeric() && c.escape_debug().len() > 1;
        let stays = match c.is_alphanumeric() && !INVISIBLE_LETTERS.contains(&c) {
            true => !is_mark || takes_a_mark,
            false => good(c),
        };
        takes_a_mark = stays && c.is_alphanumeric() && !is_mark;
        if stays { c } else { '?' }
    });
    kept.collect()
}

/// The text, cut to `max` characters.
pub fn shorten(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}{CUT}", &text[..at]),
        None => text.to_owned(),
    }
}

/// A digest of the bytes (FNV-1a, 64 bits): stable for ever, and no secret.
pub fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The first `max` names, and how many more of `all` there are: `A, B, C and 2 more`.
pub fn some_of<S: Borrow<str>>(names: &[S], max: usize, all: usize) -> String {
    let shown = &names[..names.len().min(max)];
    let text = shown.join(", ");
    match all.saturating_sub(shown.len()) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// The words of a choice: `nagios, json or text`.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.concat(),
    }
}

/// `1 instance`, `3 instances`.
pub fn count(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_be_forged() {
        let cases = [
            ("1.2.3-rc.1+build_7", "1.2.3-rc.1+build_7"),
            ("1.0|instances=99", "1.0?instances=99"),
            ("a\nNATS_SERVICE OK - b", "a?NATS_SERVICE OK - b"),
            ("a\r\tb\0c\x1b[31m", "a??b?c?[31m"),
            ("<b>$HOME`id`'\"&~\\", "?b??HOME?id??????"),
            ("Größe 数", "Größe 数"),
            ("evil\u{202e}txt\u{200b}\u{feff}", "evil?txt??"),
            ("a\u{85}b\u{2028}c", "a?b?c"),
            ("", ""),
        ];
        for (text, cleaned) in cases {
            assert_eq!(clean(text, 80), cleaned, "{text:?}");
        }
    }

    /// Every character of Unicode that is shown as nothing (DerivedCoreProperties, Default_Ignorable_Code_Point).
    #[test]
    fn invisible_characters_do_not_stay() {
        let ignorable = [
            0xad..=0xad,
            0x34f..=0x34f,
            0x61c..=0x61c,
            0x115f..=0x1160,
            0x17b4..=0x17b5,
            0x180b..=0x180f,
            0x200b..=0x200f,
            0x202a..=0x202e,
            0x2060..=0x206f,
            0x3164..=0x3164,
            0xfe00..=0xfe0f,
            0xfeff..=0xfeff,
            0xffa0..=0xffa0,
            0xfff0..=0xfff8,
            0x1bca0..=0x1bca3,
            0x1d173..=0x1d17a,
            0xe0000..=0xe0fff,
        ];
        for c in ignorable.into_iter().flatten().filter_map(char::from_u32) {
            assert_eq!(clean(&format!("a{c}b"), 80), "a?b", "{c:?}");
            assert_eq!(readable(&format!("a{c}b"), 80), "a?b", "{c:?}");
        }
    }

    #[test]
    fn a_letter_has_one_combining_mark_at_most() {
        let cases = [
            // Words of Hindi and Thai, whose vowels are marks.
            ("हिन्दी", "हिन?दी"),
            ("กำลัง", "กำลัง"),
            ("a\u{345}\u{345}\u{345}b", "a\u{345}??b"),
            ("\u{345}a", "?a"),
            ("-\u{5b0}", "-?"),
            ("e\u{301}\u{301}", "e??"),
        ];
        for (text, cleaned) in cases {
            assert_eq!(clean(text, 80), cleaned, "{text:?}");
        }
    }

    #[test]
    fn punctuation_stays_readable() {
        let text = "say 'allow: [\"$SRV.>\"]' | a\nb\x1b\u{202e}";
        assert_eq!(readable(text, 80), "say 'allow: [\"$SRV.>\"]' | a?b??");
        assert_eq!(readable("abcdefg", 6), "abcdef...");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdefg", 6), "abcdef...");
        assert_eq!(clean("ééééééé", 6), "éééééé...");
    }

    #[test]
    fn counts_are_singular_or_plural() {
        assert_eq!(count(0, "instance"), "0 instances");
        assert_eq!(count(1, "instance"), "1 instance");
        assert_eq!(count(2, "instance"), "2 instances");
    }
}
