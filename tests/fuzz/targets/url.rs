//! The URL of a server; names and prefixes, which become protocol lines.

use check_nats_service::connect::request::Subject;
use check_nats_service::connect::target::{Auth, Prefix, ServerUrl, ServiceName};
use check_nats_service::probe::reply::is_id;
use check_nats_service::values::secret::redact;

use super::{SECRET, Target, assert_clean, text};

pub const TARGET: Target = Target {
    name: "url",
    run,
    seeds: &[
        "nats://localhost",
        "u:zq9Zq9@h:1",
        "nats://u%40x:zq9Zq9%2F@h",
        "tls://[::1]:4333/",
        "nats://:zq9Zq9@h",
        "nats://zq9Zq9@h?x",
        "ws://u:zq9Zq9@h",
        "nats://u:zq9Zq9@h/x#y",
        "nats://%ff:zq9Zq9@h",
        "orders",
        "APP.$SRV",
        "a.b.>",
        "zq9Zq9@nats://h",
        "ws://@F-\u{61e}h",
        "nats://u:zq9Zq9@[h",
        "http://a@b:zq9Zq9@c:99999",
    ],
    samples: None,
    words: &[
        "nats://", "tls://", "ws://", "://", "@", ":", "[", "]", "[::1]", "/", "?", "#", "%", "%40", "%2C", "%00", ",",
        SECRET, "$SRV", "_INBOX", ".", "*", ">", "\r\n", "'", "\\",
    ],
};

fn run(input: &[u8]) {
    let Some(text) = text(input) else { return };
    match ServerUrl::parse(text) {
        Ok(url) => check(text, &url),
        Err(why) => {
            // User info is what stands before the last '@' and behind a scheme, and nothing of it is told.
            let (before, host) = text.rsplit_once('@').unwrap_or(("", text));
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            let elsewhere = [scheme, host].map(str::to_lowercase).concat();
            let elsewhere = elsewhere.contains(&SECRET.to_lowercase()) || !before.contains(SECRET);
            assert!(elsewhere || !why.contains(SECRET), "{text:?}: {why}");
            assert!(
                !why.contains(char::is_control) && why.chars().count() < 400,
                "{text:?}: {why}"
            );
        }
    }
    let redacted = redact(text);
    assert!(redacted.len() <= text.len() + 4 * text.matches('@').count());
    // What becomes part of a protocol line breaks none: no blank, no line end, and no wildcard.
    if let Ok(name) = ServiceName::parse(text) {
        assert!(
            name.as_str() == text
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "{text:?}"
        );
    }
    let is_token = |token: &str| !token.is_empty() && token != "*" && token != ">";
    let is_subject = || text.split('.').all(is_token) && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if let Ok(prefix) = Prefix::parse(text) {
        assert!(
            prefix.as_str() == text && is_subject() && text.len() < 256 && !text.contains(['*', '>']),
            "{text:?}"
        );
    }
    if let Ok(subject) = Subject::parse(text) {
        assert!(
            subject.as_str() == text && is_subject() && text.len() <= 1024,
            "{text:?}"
        );
        assert!(
            subject
                .shown()
                .chars()
                .all(|c| !c.is_control() && !"|<\"'`\\".contains(c)),
            "{:?}",
            subject.shown()
        );
    }
    if is_id(text) {
        assert!(
            is_subject() && !text.contains(['.', '|', '*', '>']) && text.len() <= 128,
            "{text:?}"
        );
    }
}

fn check(text: &str, url: &ServerUrl) {
    // It is dialled, and it is printed.
    assert_clean(&url.host, 255.max(text.len()));
    assert!(
        !url.host.is_empty() && !url.host.contains(['[', ']', '@', '/', ' ']),
        "{text:?} has the host {}",
        url.host
    );
    let address = url.address();
    assert!(
        address.ends_with(&format!(":{}", url.port)) && address.contains(&url.host),
        "{address}"
    );
    let again = ServerUrl::parse(&address).unwrap_or_else(|why| panic!("{text:?} has the address {address}: {why}"));
    assert_eq!((&again.host, again.port), (&url.host, url.port), "{text:?}");
    assert_eq!(
        url.auth.is_some(),
        text.contains('@') && url.auth.is_some(),
        "{text:?} has a login"
    );
    if let Some(Auth::UserPassword { password, .. } | Auth::Token(password)) = &url.auth {
        // A word of a handful of letters may stand anywhere in the debug text.
        let shown = format!("{url:?}");
        let telling = password.reveal().len() > 12 && !url.host.contains(password.reveal());
        let user = matches!(&url.auth, Some(Auth::UserPassword { user, .. }) if user.contains(password.reveal()));
        assert!(!telling || user || !shown.contains(password.reveal()), "{shown}");
    }
}
