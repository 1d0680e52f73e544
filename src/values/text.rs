//! Text that came from somewhere else, made safe to print.

/// How alike two names are when one was meant for the other (Jaro-Winkler, 0 to 1).
pub const LIKE: f64 = 0.85;

/// What Nagios itself strips from plugin output, and the backslash. `|` would start perfdata, `<` a tag in a web page.
const ILLEGAL: &str = "`~$&|'\"<>\\";

/// Stands at the end of a text that was cut.
pub const CUT: &str = "...";

/// The text with everything replaced by `?` that could forge a second line, perfdata, markup or a terminal command,
/// and cut to `max` characters.
///
/// Letters and digits of any script stay; invisible and combining characters, which can turn a line around, do not.
pub fn clean(text: &str, max: usize) -> String {
    let mut cleaned: String = text
        .chars()
        .take(max)
        .map(|c| match c {
            ' '..='~' if !ILLEGAL.contains(c) => c,
            _ if c.is_alphanumeric() => c,
            _ => '?',
        })
        .collect();
    if text.chars().nth(max).is_some() {
        cleaned.push_str(CUT);
    }
    cleaned
}

/// A digest of the bytes (FNV-1a, 64 bits): stable for ever, and no secret.
pub fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
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

    #[test]
    fn long_text_is_cut() {
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdefg", 6), "abcdef...");
        assert_eq!(clean("ééééééé", 6), "éééééé...");
    }

    #[test]
    fn counts_read_well() {
        assert_eq!(count(0, "instance"), "0 instances");
        assert_eq!(count(1, "instance"), "1 instance");
        assert_eq!(count(2, "instance"), "2 instances");
    }
}
