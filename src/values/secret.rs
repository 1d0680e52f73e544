//! What must never be printed: a password or token, and the user info of a URL.

use std::fmt;

/// A password or a token. It has no way out but [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself, for the login only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The text with the user info of every URL in it replaced by `***`. For messages about what a user typed.
pub fn redact(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '\'' | '"');
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| !is_end(c)) {
        let (gap, from_word) = rest.split_at(at);
        let end = from_word.find(is_end).unwrap_or(from_word.len());
        let (word, behind) = from_word.split_at(end);
        redacted.push_str(gap);
        redacted.push_str(&redact_url(word));
        rest = behind;
    }
    redacted + rest
}

/// The same for a text that is one URL, whatever its user info is made of: what is behind the last '@' is no secret, and
/// neither is a scheme before it.
pub fn redact_url(text: &str) -> String {
    match text.rsplit_once('@') {
        None | Some(("", _)) => text.to_owned(),
        Some((before, host)) => {
            let scheme = before.split_once("://").map(|(scheme, _)| scheme);
            match scheme.filter(|scheme| scheme.chars().all(|c| c.is_ascii_alphanumeric())) {
                Some(scheme) => format!("{scheme}://***@{host}"),
                None => format!("***@{host}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "***");
        let cases = [
            ("nothing to hide", "nothing to hide"),
            ("'nats://u:p@h:1' and u:p@ss@h", "'nats://***@h:1' and ***@h"),
            ("nats://p/w:x@h", "nats://***@h"),
            ("u:s3://cret@h", "***@h"),
            ("@1:5", "@1:5"),
            ("  two  blanks ", "  two  blanks "),
        ];
        for (text, redacted) in cases {
            assert_eq!(redact(text), redacted);
        }
    }
}
