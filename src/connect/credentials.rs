//! Credentials files and NKey seeds: read, checked before they are used, and never shown. Pure: it is given the text.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use nkeys::{KeyPair, KeyPairType};
use serde_json::Value;

use crate::values::secret::Secret;
use crate::values::text::clean;
use crate::values::timestamp::Timestamp;

/// When the credentials in use expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The credentials file. Clean.
    pub file: String,
    /// `None`: never.
    pub at: Option<Timestamp>,
}

/// An NKey that signs what the server sends, so that the seed never leaves this process.
#[derive(Clone)]
pub struct Nkey {
    key: Arc<KeyPair>,
}

impl Nkey {
    /// Reads a seed file: the first line that begins with `S`, as the nats tools write it.
    ///
    /// # Errors
    ///
    /// The error in it, without its text.
    pub fn parse(text: &str) -> Result<Nkey, String> {
        let mut lines = text.lines().map(str::trim);
        let seed = lines
            .find(|line| line.starts_with('S'))
            .ok_or("there is no NKey seed in it (a line that begins with SU)")?;
        let key = KeyPair::from_seed(seed).map_err(|_| "the NKey seed in it is malformed")?;
        match key.key_pair_type() {
            KeyPairType::User => Ok(Nkey { key: Arc::new(key) }),
            _ => Err("the NKey seed in it is not that of a user: it must begin with SU".into()),
        }
    }

    /// The public half, which names the user.
    pub fn public(&self) -> String {
        self.key.public_key()
    }

    /// Signs the nonce of the server, which [`is_nonce`]. Empty if that fails, which the server then refuses.
    pub fn sign(&self, nonce: &[u8]) -> Vec<u8> {
        self.key.sign(nonce).unwrap_or_default()
    }
}

/// Returns `true` if a server can have sent this as a nonce: nats-server sends 11 random bytes in URL-safe base64, or nothing if
/// it needs no login. Anything else may be a document, such as a JWT, whose signature is worth more than a login.
pub fn is_nonce(nonce: &[u8]) -> bool {
    const LENGTHS: std::ops::RangeInclusive<usize> = 11..=64;
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    nonce.is_empty() || LENGTHS.contains(&nonce.len()) && nonce.iter().all(is_base64)
}

impl PartialEq for Nkey {
    fn eq(&self, other: &Nkey) -> bool {
        self.public() == other.public()
    }
}

impl Eq for Nkey {}

impl fmt::Debug for Nkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nkey({})", self.public())
    }
}

/// A credentials file: a user JWT, and the seed of the NKey that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub jwt: Secret,
    pub nkey: Nkey,
    pub claims: Claims,
}

/// Claims of the JWT, not verified: that is the server's task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The public NKey of the user.
    pub subject: String,
    /// The public NKey of the account that the user belongs to. Clean.
    pub account: String,
    /// Clean; empty where there is none.
    pub name: String,
    pub not_before: Option<Timestamp>,
    pub expires: Option<Timestamp>,
}

impl Credentials {
    /// Reads a credentials file.
    ///
    /// # Errors
    ///
    /// The error in it, without any of its text.
    pub fn parse(text: &str) -> Result<Credentials, String> {
        let jwt = block(text, "JWT").ok_or("there is no user JWT in it (-----BEGIN NATS USER JWT-----)")?;
        let seed = block(text, "SEED").ok_or("there is no NKey seed in it (-----BEGIN USER NKEY SEED-----)")?;
        let nkey = Nkey::parse(seed)?;
        let claims = read_claims(jwt).ok_or("the user JWT in it is malformed")?;
        if claims.subject != nkey.public() {
            return Err("the user JWT and the NKey seed in it do not belong together".into());
        }
        Ok(Credentials {
            jwt: Secret::new(jwt),
            nkey,
            claims,
        })
    }
}

/// The line between `-----BEGIN … kind-----` and the next line of dashes.
fn block<'t>(text: &'t str, kind: &str) -> Option<&'t str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains("BEGIN") && line.contains(kind))?;
    lines
        .find(|line| !line.is_empty())
        .filter(|line| !line.starts_with("---"))
}

fn read_claims(jwt: &str) -> Option<Claims> {
    let mut parts = jwt.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = BASE64URL_NOPAD.decode(payload.trim_end_matches('=').as_bytes()).ok()?;
    let claims: Value = serde_json::from_slice(&bytes).ok()?;
    // A signing key of the account may have issued it.
    let issuers = [&claims["nats"]["issuer_account"], &claims["iss"], &claims["sub"]];
    let account = issuers
        .into_iter()
        .filter_map(Value::as_str)
        .find(|key| !key.is_empty())?;
    Some(Claims {
        subject: claims["sub"].as_str()?.to_owned(),
        account: clean(account, 64),
        name: clean(claims["name"].as_str().unwrap_or(""), 64),
        not_before: read_time(&claims["nbf"])?,
        expires: read_time(&claims["exp"])?,
    })
}

/// Seconds since 1970, as a JWT tells them (RFC 7519): also with a fraction, which the present servers refuse. `Some(None)`:
/// there is no such limit, which is also said by 0. What is below is past, for servers too. `None`: this is no time.
fn read_time(claim: &Value) -> Option<Option<Timestamp>> {
    if claim.is_null() {
        return Some(None);
    }
    // A number that is too large for the type is cut to the largest one.
    let seconds = claim
        .as_i64()
        .or(claim.as_f64().map(|seconds| seconds.floor() as i64))?;
    Some(match seconds {
        0 => None,
        seconds => Some(Timestamp::from_seconds(seconds.max(0))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(key: &KeyPair) -> String {
        key.seed().expect("a seed")
    }

    fn file(jwt: &str, seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             ************************* IMPORTANT *************************\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    #[test]
    fn a_credentials_file_is_read() {
        let key = KeyPair::new_user();
        let claims = format!(
            r#"{{"sub":"{}","name":"mon","exp":1700000000,"nbf":0}}"#,
            key.public_key()
        );
        for text in [
            file(&jwt(&claims), &seed(&key)),
            file(&jwt(&claims), &seed(&key)).replace('\n', "\r\n"),
        ] {
            let credentials = Credentials::parse(&text).expect("a good file");
            assert_eq!(credentials.claims.subject, key.public_key());
            assert_eq!(credentials.claims.name, "mon");
            assert_eq!(credentials.claims.expires, Some(Timestamp::from_seconds(1_700_000_000)));
            assert_eq!(credentials.claims.not_before, None);
            assert_eq!(credentials.jwt.reveal(), jwt(&claims));
            key.verify(b"nonce", &credentials.nkey.sign(b"nonce"))
                .expect("its signature");
            let debug = format!("{credentials:?}");
            assert!(
                !debug.contains(&seed(&key)) && !debug.contains(&jwt(&claims)),
                "{debug}"
            );
        }
    }

    #[test]
    fn the_account_is_the_one_that_issued_the_credentials() {
        let key = KeyPair::new_user();
        for (issuers, account) in [
            (r#","iss":"AACC""#, "AACC"),
            (r#","iss":"ASIGN","nats":{"issuer_account":"AACC"}"#, "AACC"),
            (r#","iss":"AACC","nats":{"issuer_account":""}"#, "AACC"),
            ("", &key.public_key()),
        ] {
            let claims = format!(r#"{{"sub":"{}"{issuers}}}"#, key.public_key());
            let credentials = Credentials::parse(&file(&jwt(&claims), &seed(&key))).expect("a good file");
            assert_eq!(credentials.claims.account, account, "{issuers}");
        }
    }

    #[test]
    fn odd_times_are_read_as_servers_do() {
        let key = KeyPair::new_user();
        let read = |exp: &str| {
            let claims = format!(r#"{{"sub":"{}","exp":{exp}}}"#, key.public_key());
            read_claims(&jwt(&claims)).map(|claims| claims.expires.map(Timestamp::as_micros))
        };
        let second = 1_000_000;
        for (exp, expected) in [
            ("null", Some(None)),
            ("0", Some(None)),
            ("-0", Some(None)),
            ("1", Some(Some(second))),
            ("1700000000", Some(Some(1_700_000_000 * second))),
            ("1700000000.9", Some(Some(1_700_000_000 * second))),
            ("17e8", Some(Some(1_700_000_000 * second))),
            ("-1", Some(Some(0))),
            ("-0.5", Some(Some(0))),
            ("-1e300", Some(Some(0))),
            ("-9223372036854775808", Some(Some(0))),
            ("9223372036854775807", Some(Some(i64::MAX))),
            ("18446744073709551615", Some(Some(i64::MAX))),
            ("99999999999999999999999", Some(Some(i64::MAX))),
            ("1e300", Some(Some(i64::MAX))),
            // No JSON.
            ("1e999", None),
            ("NaN", None),
            ("Infinity", None),
            // No time.
            ("\"1700000000\"", None),
            ("\"soon\"", None),
            ("[1]", None),
            ("{}", None),
            ("true", None),
        ] {
            assert_eq!(read(exp), expected, "{exp}");
        }
    }

    #[test]
    fn errors_in_a_credentials_file_are_reported_without_its_text() {
        let (key, other, account) = (KeyPair::new_user(), KeyPair::new_user(), KeyPair::new_account());
        let good = jwt(&format!(r#"{{"sub":"{}"}}"#, key.public_key()));
        let cases = [
            (
                String::new(),
                "there is no user JWT in it (-----BEGIN NATS USER JWT-----)",
            ),
            (
                "-----BEGIN NATS USER JWT-----".into(),
                "there is no user JWT in it (-----BEGIN NATS USER JWT-----)",
            ),
            (seed(&key), "there is no user JWT in it (-----BEGIN NATS USER JWT-----)"),
            (
                format!("-----BEGIN NATS USER JWT-----\n{good}\n"),
                "there is no NKey seed in it (-----BEGIN USER NKEY SEED-----)",
            ),
            (file(&good, "S3CRET"), "the NKey seed in it is malformed"),
            (
                file(&good, "x"),
                "there is no NKey seed in it (a line that begins with SU)",
            ),
            (
                file(&good, &seed(&account)),
                "the NKey seed in it is not that of a user: it must begin with SU",
            ),
            (file("no jwt", &seed(&key)), "the user JWT in it is malformed"),
            (file("a.b.c", &seed(&key)), "the user JWT in it is malformed"),
            (
                file(&good, &seed(&other)),
                "the user JWT and the NKey seed in it do not belong together",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(Credentials::parse(&text).err().as_deref(), Some(message), "{text}");
        }
    }

    #[test]
    fn only_what_a_server_sends_is_a_nonce() {
        let long = [b'x'; 65];
        for (nonce, expected) in [
            (&b"QUP5UsVvXWiJQs0"[..], true),
            (b"a-b_c-d_e-f_g-h", true),
            (b"", true),
            (b"short", false),
            (b"eyJ0eXAiOiJKV1QifQ.eyJzdWIiOiJVIn0", false),
            (b"PUB victim 5 hello", false),
            (b"QUP5UsVvXWiJQs0\r\n", false),
            (&long, false),
        ] {
            assert_eq!(is_nonce(nonce), expected, "{nonce:?}");
        }
    }

    #[test]
    fn a_seed_file_is_read() {
        let key = KeyPair::new_user();
        for text in [seed(&key), format!("# comment\n  {}  \n", seed(&key))] {
            assert_eq!(Nkey::parse(&text).map(|nkey| nkey.public()), Ok(key.public_key()));
        }
        assert!(Nkey::parse("").is_err());
    }
}
