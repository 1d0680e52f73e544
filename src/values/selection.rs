//! Which services are watched, by patterns of their names.

use crate::values::text::clean;

/// Maximum number of characters of a pattern.
const MAX_CHARS: usize = 200;

/// A pattern of names: `*` stands for any text, `?` for one character, everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<char>);

impl Glob {
    /// # Errors
    ///
    /// The error: no name of a service could match.
    pub fn parse(text: &str) -> Result<Glob, String> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*' | '?');
        match !text.is_empty() && text.len() <= MAX_CHARS && text.chars().all(good) {
            true => Ok(Glob(text.chars().collect())),
            false => Err(format!(
                "'{}' is not a pattern of names: letters, digits, - and _, * for any text, ? for one character",
                clean(text, 80)
            )),
        }
    }

    /// Returns whether the whole name is as the pattern wants it.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (&[char], Vec<char>) = (&self.0, name.chars().collect());
        // Position of the latest `*`, and the length of the name that it covers: the point to backtrack to.
        let (mut at, mut read, mut star) = (0, 0, None);
        while read < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, read));
                    at += 1;
                }
                Some(c) if *c == '?' || *c == name[read] => (at, read) = (at + 1, read + 1),
                _ => match &mut star {
                    Some((begin, covered)) => {
                        *covered += 1;
                        (at, read) = (*begin + 1, *covered);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|c| *c == '*')
    }
}

/// Which services are watched: those that match one of `only`, where there are any, and none of `exclude`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub only: Vec<Glob>,
    pub exclude: Vec<Glob>,
}

impl Selection {
    /// Returns whether the service with this name is watched.
    pub fn includes(&self, name: &str) -> bool {
        let any = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(name));
        (self.only.is_empty() || any(&self.only)) && !any(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::parse(text).expect(text)
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("orders", "orders", true),
            ("orders", "orders-v2", false),
            ("orders*", "orders", true),
            ("orders*", "orders-v2", true),
            ("*orders", "my-orders", true),
            ("*orders", "orders-v2", false),
            ("*", "x", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**c", "abc", true),
            ("order?", "orders", true),
            ("order?", "order", false),
            ("?", "ab", false),
            ("*-?", "x-1", true),
            ("Orders", "orders", false),
        ] {
            assert_eq!(glob(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = glob(&"*a".repeat(90));
        assert!(!pattern.matches(&"a".repeat(89)));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(2000))));
    }

    #[test]
    fn patterns_that_match_no_name_are_refused() {
        for bad in ["", "a b", "a.b", "[ab]", "größe", &"a".repeat(201)] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn exclude_flag_beats_all_others() {
        let selection = Selection {
            only: vec![glob("orders*"), glob("mail")],
            exclude: vec![glob("*-test")],
        };
        for (name, expected) in [
            ("orders", true),
            ("orders-test", false),
            ("mail", true),
            ("billing", false),
        ] {
            assert_eq!(selection.includes(name), expected, "{name}");
        }
        assert!(Selection::default().includes("anything"));
    }
}
