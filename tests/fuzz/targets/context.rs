//! Contexts of the nats CLI: no message shows anything of the file.

use std::ffi::OsString;

use check_nats_service::connect::context::{Plain, Setting, parse, path, resolve};

use super::{SECRET, Target, text};

pub const TARGET: Target = Target {
    name: "context",
    run,
    seeds: &[
        r#"{"description":"","url":"nats://h:1","token":"","user":"u","password":"zq9Zq9","creds":"~/c.creds","nkey":"","cert":"","key":"","ca":"$HOME/ca.pem","nsc":"","inbox_prefix":"_INBOX_mon","user_jwt":"","tls_first":false}"#,
        r#"{"token":"zq9Zq9","tls_first":true}"#,
        r#"{"password":["zq9Zq9"],"creds":"${X}/$Y$"}"#,
        r#"{"password":"zq9Zq9"#,
        r#"{"password":"env://zq9Zq9","creds":"data:;base64,enE5WnE5","nkey":"op://zq9Zq9","token":"file://~/zq9Zq9"}"#,
        "prod",
        "~/prod.json",
        "../prod",
        "${HOME}x.json",
    ],
    samples: None,
    words: &[
        "\"url\":",
        "\"password\":",
        "\"token\":",
        "\"creds\":",
        "\"nkey\":",
        "\"tls_first\":",
        "\"socks_proxy\":",
        "\"user_jwt\":",
        "\"user_seed\":",
        "\"inbox_prefix\":",
        "${",
        "}",
        "$",
        "~/",
        "$HOME",
        "null",
        "false",
        ".json",
        SECRET,
    ],
};

fn env(name: &str) -> Option<OsString> {
    ["HOME", "X"].contains(&name).then(|| "/home/mon".into())
}

fn run(input: &[u8]) {
    let Some(text) = text(input) else { return };
    match parse("prod", text) {
        Err(why) => assert!(
            !why.contains(SECRET) && why.len() < 200 && !why.contains(char::is_control),
            "{why}"
        ),
        Ok(context) => {
            let texts = [&context.url, &context.user, &context.inbox_prefix];
            assert!(
                texts.into_iter().flatten().all(|text| !text.is_empty()),
                "an empty text counts as none"
            );
            let secrets = [
                &context.password,
                &context.token,
                &context.creds,
                &context.nkey,
                &context.ca,
            ];
            for secret in secrets.into_iter().flatten() {
                for plain in [Plain::Path, Plain::Text] {
                    match resolve(secret, plain, &env) {
                        // A variable has nine characters here, and is named by two at least.
                        Ok(Setting::File(path)) => assert!(path.as_os_str().len() <= text.len() * 9),
                        Ok(Setting::Text(found)) => assert!(found.reveal().len() <= text.len().max(9)),
                        Err(why) => assert!(
                            !why.contains(SECRET) && why.len() < 200 && !why.contains(char::is_control),
                            "{why}"
                        ),
                    }
                }
            }
        }
    }
    if let Err(why) = path(text, &env) {
        assert!(why.len() < 500 && !why.contains(char::is_control), "{why}");
    }
}
