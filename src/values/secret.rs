//! Texts that must never be printed: a password or token, the user info of a URL, and a key or JWT in the place of a name.

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

/// Returns `true` if the text has the form of a secret: a key in PEM form, the text of a credentials file, a JWT, an NKey seed,
/// or a `data:` URI. A password has no such form.
pub fn is_secret(text: &str) -> bool {
    text.contains("-----") || has_secret_word(text.trim())
}

fn has_secret_word(text: &str) -> bool {
    let is_seed_letter = |c: char| c.is_ascii_uppercase() || ('2'..='7').contains(&c);
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
    is_data_uri(text)
        || words.any(|word| {
            let is_jwt = word.starts_with("eyJ") && word.len() >= JWT_LENGTH;
            let is_seed = word.starts_with(['S', 'P']) && word.len() >= SEED_LENGTH && word.chars().all(is_seed_letter);
            is_jwt || is_seed
        })
}

/// Shortest header of a JWT that is taken for one, in characters.
const JWT_LENGTH: usize = 16;

/// Shortest NKey seed that is taken for one, in characters; a whole one has 58.
const SEED_LENGTH: usize = 50;

fn is_data_uri(text: &str) -> bool {
    text.len() > 5 && text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// The text before and behind a block in PEM form, or what was left of it; `None` where only the line is named that begins one.
fn around_pem(text: &str) -> Option<(&str, &str)> {
    const BEGIN: &str = "-----BEGIN";
    let (before, block) = text.split_at(text.find(BEGIN)?);
    let body = block[BEGIN.len()..].split_once("-----")?.1;
    let is_body = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    let first = body
        .trim_start_matches(|c: char| !is_body(c))
        .split(|c| !is_body(c))
        .next()?;
    let is_named = body.starts_with([')', '\'', '"']);
    (first.len() >= 4 && !is_named).then(|| (before, body.rfind('\'').map_or("", |end| &body[end..])))
}

/// Returns `true` if the whole text, or one part of a path, has the form of bytes in base64.
pub fn is_base64(text: &str) -> bool {
    const WHOLE: usize = 40;
    const PART: usize = 60;
    let text = text.trim();
    let is_mixed = |text: &str| {
        let has = |is: fn(&char) -> bool| text.chars().any(|c| is(&c));
        has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit)
    };
    let all = |text: &str, more: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    let whole = text.len() >= WHOLE && all(text, "+/=") && text.contains(['+', '=']) && is_mixed(text);
    let mut parts = text.split('/');
    let url_safe = text.len() >= WHOLE && all(text, "_-=") && is_mixed(text);
    whole || url_safe || parts.any(|part| part.len() >= PART && all(part, "+=") && is_mixed(part))
}

/// The text with the user info of every URL in it, and each word that has the form of a secret, replaced by `***`. For messages
/// about what a user typed.
pub fn redact(text: &str) -> String {
    if let Some((before, behind)) = around_pem(text) {
        return redact(before) + "***" + behind;
    }
    let is_end = |c: char| c.is_whitespace() || matches!(c, '\'' | '"');
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| !is_end(c)) {
        let (gap, from_word) = rest.split_at(at);
        let end = from_word.find(is_end).unwrap_or(from_word.len());
        let (word, behind) = from_word.split_at(end);
        redacted.push_str(gap);
        match has_secret_word(word) {
            true => redacted.push_str("***"),
            false => redacted.push_str(&redact_url(word)),
        }
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
            ("'eyJ0eXAiOiJKV1QifQ.e30.x' is none", "'***' is none"),
            ("'-----BEGIN PRIVATE KEY-----?MIGH AgEA' is none", "'***' is none"),
            ("'data:;base64,U1VB' is none", "'***' is none"),
            (
                "no JWT in it (-----BEGIN NATS USER JWT-----)",
                "no JWT in it (-----BEGIN NATS USER JWT-----)",
            ),
        ];
        for (text, redacted) in cases {
            assert_eq!(redact(text), redacted);
        }
    }

    #[test]
    fn secrets_are_recognized_by_their_form() {
        let seed = nkeys::KeyPair::new_user().seed().expect("a seed");
        let padded = format!("  {seed}\n");
        for secret in [
            "-----BEGIN PRIVATE KEY-----\nMIGH\n-----END PRIVATE KEY-----\n",
            "-----BEGIN NATS USER JWT-----\neyJ0\n",
            "data:;base64,U1VB",
            "DATA:text/plain;base64,U1VB",
            "eyJ0eXAiOiJKV1QifQ.e30.x",
            "nats://eyJ0eXAiOiJKV1QifQ.e30.x@h",
            &seed,
            &padded,
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        let public = nkeys::KeyPair::new_user().public_key();
        for name in [
            "",
            "orders",
            "data",
            "data:",
            "eyJ",
            "/etc/nats/mon.creds",
            "OrderProcessingServiceForEuropeanCustomersV2",
            &public,
        ] {
            assert!(!is_secret(name), "{name}");
        }
        for base64 in [
            "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIB+w==",
            "/9j4AAQSkZJRgABAQEAYABgAAD2wBDAAgGBgcGBQgHBwcJCQ=",
            "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MQ",
        ] {
            assert!(is_base64(base64), "{base64}");
        }
        for path in [
            "/var/lib/kubelet/pods/3F2504E0-4F89-11D3-9A0C-0305E82C3301/volumes/kubernetes.io~secret/Mon",
            "/nix/store/k1j2h3g4f5d6s7a8q9w0e1r2t3y4u5i6-nats-creds/Mon",
            "/x/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "mon",
        ] {
            assert!(!is_base64(path), "{path}");
        }
    }
}
