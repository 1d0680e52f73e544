//! Contexts of the nats CLI: JSON files that hold how to connect, read as its package natscontext reads them.

use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use serde_json::Value;

use crate::files::read::shown;
use crate::process::user;
use crate::values::env::Env;
use crate::values::secret::{Secret, is_secret};
use crate::values::text::{LIKE, clean};

/// The settings of a context as they are written; an empty string counts as not set.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// As the user named it, for messages. Clean.
    pub name: String,
    pub url: Option<String>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub token: Option<Secret>,
    pub creds: Option<Secret>,
    pub nkey: Option<Secret>,
    pub cert: Option<Secret>,
    pub key: Option<Secret>,
    pub ca: Option<Secret>,
    pub inbox_prefix: Option<String>,
    /// A key that says how to log in, in a way that this program does not know, and that the nats CLI prefers to `nkey`.
    pub nsc: bool,
    /// The same for one that it prefers to `token` only.
    pub user_jwt: bool,
}

impl Context {
    /// Returns `true` if the file itself contains a secret.
    pub fn has_secrets(&self) -> bool {
        let is_inline = |value: &Option<Secret>| {
            let value = value.as_ref().map_or("", Secret::reveal);
            !value.is_empty() && !["env://", "file://"].iter().any(|start| value.starts_with(start))
        };
        let is_data = |value: &Option<Secret>| value.as_ref().is_some_and(|value| is_secret(value.reveal()));
        is_inline(&self.password)
            || is_inline(&self.token)
            || is_data(&self.creds)
            || is_data(&self.nkey)
            || self.url.as_ref().is_some_and(|url| url.contains('@'))
    }
}

/// A setting of a context, with its reference followed.
#[derive(Debug, PartialEq, Eq)]
pub enum Setting {
    /// It is in this file.
    File(PathBuf),
    /// It is the text itself.
    Text(Secret),
}

/// Meaning of a value that is no reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    Path,
    Text,
}

/// Follows a reference as the nats CLI does: `env://NAME`, `file://PATH`, `data:;base64,...`. Anything else is a path, or the text
/// itself.
///
/// # Errors
///
/// The error in it, without its text.
pub fn resolve(value: &Secret, plain: Plain, env: Env<'_>) -> Result<Setting, String> {
    let value = value.reveal();
    let (scheme, rest) = value.split_once(':').unwrap_or_default();
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    match (scheme.to_ascii_lowercase().as_str(), plain) {
        ("file", _) => Ok(Setting::File(expand(rest, env))),
        ("env", _) => match env(rest).map(|value| value.into_string()) {
            Some(Ok(value)) if !value.is_empty() => Ok(Setting::Text(without_line_break(&value))),
            Some(Err(_)) => Err(format!("the variable {}of its env:// is not UTF-8", variable(rest))),
            _ => Err(format!("the variable {}of its env:// is not set", variable(rest))),
        },
        ("data", _) => read_data(rest).map(|text| Setting::Text(without_line_break(&text))),
        ("op", _) => {
            Err("it is a reference to 1Password (op://), which this program cannot read, use file:// or env://".into())
        }
        ("nsc", _) => {
            Err("it is a reference for nsc (nsc://), which this program does not run, use file:// or env://".into())
        }
        (_, Plain::Path) => Ok(Setting::File(expand(value, env))),
        (_, Plain::Text) => Ok(Setting::Text(Secret::new(value))),
    }
}

/// The name of a variable with a blank behind it, where it is plainly one.
fn variable(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    match name.len() <= 64 && name.chars().all(is_plain) && !is_secret(name) {
        true => format!("{name} "),
        false => String::new(),
    }
}

fn without_line_break(text: &str) -> Secret {
    Secret::new(text.trim_end_matches(['\r', '\n']))
}

/// The text in what is behind `data:`: `[MEDIA TYPE];base64,...`.
fn read_data(uri: &str) -> Result<String, String> {
    let (header, payload) = uri.split_once(',').ok_or("its data: has no comma before the data")?;
    if !header.split(';').any(|part| part.trim() == "base64") {
        return Err("its data: does not say that it is base64".into());
    }
    let bytes = BASE64.decode(payload.as_bytes());
    let bytes = bytes.map_err(|_| "its data: is malformed: not base64")?;
    String::from_utf8(bytes).map_err(|_| "its data: is not text".into())
}

/// Where the context of this name is: a path if it ends in `.json`, else in the folder of the nats CLI.
///
/// # Errors
///
/// The error in the name, or in the environment.
pub fn path(name: &str, env: Env<'_>) -> Result<PathBuf, String> {
    if name.ends_with(".json") {
        return Ok(expand(name, env));
    }
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Err("it is neither the name of a context nor a file ending in .json".into());
    }
    let folder = folder(env);
    let folder =
        folder.ok_or("neither HOME nor XDG_CONFIG_HOME is set, give the path of the context, ending in .json")?;
    Ok(folder.join("context").join(format!("{name}.json")))
}

/// The name of a context that may be given as a path: `prod` for `/etc/nats/prod.json`.
pub fn name(given: &str) -> &str {
    let file = given.rsplit('/').next().unwrap_or_default();
    file.strip_suffix(".json").unwrap_or(file)
}

/// The folder of the nats CLI.
fn folder(env: Env<'_>) -> Option<PathBuf> {
    let config = env("XDG_CONFIG_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from);
    let config = config.or_else(|| Some(user::home(env)?.join(".config")))?;
    Some(config.join("nats"))
}

/// The file with the name of the context that the nats CLI uses where none is given.
pub fn selection(env: Env<'_>) -> Option<PathBuf> {
    Some(folder(env)?.join("context.txt"))
}

/// Maximum number of contexts that are named if the wanted one does not exist.
const MAX_NAMED: usize = 5;

/// There is no context of this name at its path: says which ones there are, the nearest first.
pub fn not_there(name: &str, path: &Path) -> String {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
    let mut names: Vec<(f64, String)> = names.map(|other| (strsim::jaro_winkler(name, &other), other)).collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let named: Vec<String> = names
        .iter()
        .take(MAX_NAMED)
        .map(|(_, other)| clean(other, 80))
        .collect();
    let there_are = match (named.len(), names.len().saturating_sub(MAX_NAMED)) {
        (0, _) => "there are none".to_owned(),
        (_, 0) => format!("there are {}", named.join(", ")),
        (_, more) => format!("there are {} and {more} more", named.join(", ")),
    };
    let meant = match names.first() {
        Some((like, other)) if *like > LIKE => format!(", did you mean {}?", clean(other, 80)),
        _ => String::new(),
    };
    format!("no context of this name in {}: {there_are}{meant}", shown(dir))
}

/// Reads the text of a context.
///
/// # Errors
///
/// The error in it, without any of its text.
pub fn parse(name: &str, text: &str) -> Result<Context, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("is not JSON: {e}"))?;
    let object = value.as_object().ok_or("is not a JSON object")?;
    let string = |key: &str| match &object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("has a {key} that is not a string")),
    };
    let secret = |key: &str| Ok::<_, String>(string(key)?.map(Secret::new));
    if object
        .get("tls_first")
        .is_some_and(|first| first != &Value::Bool(false))
    {
        return Err("has tls_first, which this client cannot do, connect to a server without handshake_first".into());
    }
    if string("socks_proxy")?.is_some() {
        return Err("has a socks_proxy, which this client cannot use".into());
    }
    Ok(Context {
        name: clean(name, 80),
        url: string("url")?,
        user: string("user")?,
        password: secret("password")?,
        token: secret("token")?,
        creds: secret("creds")?,
        nkey: secret("nkey")?,
        cert: secret("cert")?,
        key: secret("key")?,
        ca: secret("ca")?,
        inbox_prefix: string("inbox_prefix")?,
        nsc: string("nsc")?.is_some(),
        user_jwt: string("user_jwt")?.or(string("user_seed")?).is_some(),
    })
}

/// Expands a leading `~`, `$VAR` and `${VAR}`, as the nats CLI does; an unknown variable is empty.
fn expand(path: &str, env: Env<'_>) -> PathBuf {
    let var = |name: &str| env(name).and_then(|value| value.into_string().ok()).unwrap_or_default();
    let mut rest = path;
    let mut expanded = String::new();
    if rest == "~" || rest.starts_with("~/") {
        let home = user::home(env).unwrap_or_default();
        expanded.push_str(&home.to_string_lossy());
        rest = &rest[1..];
    }
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        rest = match after.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some((name, behind)) => {
                expanded.push_str(&var(name));
                behind
            }
            None => {
                let end = after
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                    .unwrap_or(after.len());
                match end {
                    0 => expanded.push('$'),
                    _ => expanded.push_str(&var(&after[..end])),
                }
                &after[end..]
            }
        };
    }
    expanded.push_str(rest);
    Path::new(&expanded).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn env(name: &str) -> Option<OsString> {
        match name {
            "HOME" => Some("/home/mon".into()),
            "ENVIRONMENT" => Some("prod".into()),
            "LINE" => Some("prod\r\n".into()),
            _ => None,
        }
    }

    #[test]
    fn paths_are_expanded() {
        let cases = [
            ("/etc/nats/mon.creds", "/etc/nats/mon.creds"),
            ("~/mon.creds", "/home/mon/mon.creds"),
            ("~", "/home/mon"),
            ("~other/x", "~other/x"),
            ("$HOME/$ENVIRONMENT.creds", "/home/mon/prod.creds"),
            ("${HOME}/${ENVIRONMENT}x", "/home/mon/prodx"),
            ("/a$NOTHING/b", "/a/b"),
            ("/costs/5$", "/costs/5$"),
            ("/${open", "/${open"),
        ];
        for (path, expanded) in cases {
            assert_eq!(expand(path, &env), Path::new(expanded), "{path}");
        }
    }

    #[test]
    fn a_context_is_found_by_name_or_path() {
        assert_eq!(
            path("prod", &env),
            Ok("/home/mon/.config/nats/context/prod.json".into())
        );
        assert_eq!(path("/x/prod.json", &env), Ok("/x/prod.json".into()));
        assert_eq!(path("~/prod.json", &env), Ok("/home/mon/prod.json".into()));
        assert!(path("../prod", &env).is_err());
        assert!(path("a\\b", &env).is_err());
        let xdg = |name: &str| (name == "XDG_CONFIG_HOME").then(|| "/c".into());
        assert_eq!(path("prod", &xdg), Ok("/c/nats/context/prod.json".into()));
    }

    #[test]
    fn a_context_of_the_nats_cli_is_read() {
        let text = r#"{"description":"","url":"nats://h:1","token":"","user":"u","password":"p","creds":"~/c.creds","nkey":"",
            "cert":"","key":"","ca":"$HOME/ca.pem","nsc":"","jetstream_domain":"","jetstream_api_prefix":"",
            "jetstream_event_prefix":"","inbox_prefix":"_INBOX_mon","user_jwt":"","color_scheme":"","tls_first":false}"#;
        let context = parse("prod", text).expect("a good context");
        assert_eq!(context.url.as_deref(), Some("nats://h:1"));
        assert_eq!(context.token, None);
        assert_eq!(context.creds, Some(Secret::new("~/c.creds")));
        assert_eq!(context.ca, Some(Secret::new("$HOME/ca.pem")));
        assert_eq!(context.inbox_prefix.as_deref(), Some("_INBOX_mon"));
        assert!(!context.nsc && !context.user_jwt);
    }

    #[test]
    fn references_are_followed_as_the_nats_cli_does() {
        let file = |path: &str| Ok(Setting::File(path.into()));
        let text = |text: &str| Ok(Setting::Text(Secret::new(text)));
        let cases = [
            ("~/mon.creds", Plain::Path, file("/home/mon/mon.creds")),
            ("~/mon.creds", Plain::Text, text("~/mon.creds")),
            ("file://~/$ENVIRONMENT", Plain::Text, file("/home/mon/prod")),
            ("FILE:///x", Plain::Path, file("/x")),
            ("env://ENVIRONMENT", Plain::Path, text("prod")),
            ("env://LINE", Plain::Text, text("prod")),
            ("data:;base64,cHJvZAo=", Plain::Path, text("prod")),
            ("data:text/plain; base64,cHJvZA==", Plain::Text, text("prod")),
            ("p:ss", Plain::Text, text("p:ss")),
            ("http://x", Plain::Text, text("http://x")),
        ];
        for (value, plain, expected) in cases {
            assert_eq!(resolve(&Secret::new(value), plain, &env), expected, "{value}");
        }
        for (value, why) in [
            ("env://NOTHING", "the variable NOTHING of its env:// is not set"),
            ("data:;base64", "its data: has no comma before the data"),
            ("data:,S3CRET", "its data: does not say that it is base64"),
            ("data:;base64,S3CRET!", "its data: is malformed: not base64"),
            ("data:;base64,/w==", "its data: is not text"),
            (
                "op://vault/S3CRET",
                "it is a reference to 1Password (op://), which this program cannot read, use file:// or env://",
            ),
            (
                "nsc://O/A/S3CRET",
                "it is a reference for nsc (nsc://), which this program does not run, use file:// or env://",
            ),
        ] {
            let resolved = resolve(&Secret::new(value), Plain::Path, &env);
            assert_eq!(resolved, Err(why.into()), "{value}");
        }
    }

    #[test]
    fn errors_in_a_context_are_reported() {
        let cases = [
            ("", "is not JSON: EOF while parsing a value at line 1 column 0"),
            ("[]", "is not a JSON object"),
            (r#"{"url":7}"#, "has a url that is not a string"),
            (
                r#"{"tls_first":true}"#,
                "has tls_first, which this client cannot do, connect to a server without handshake_first",
            ),
            (
                r#"{"socks_proxy":"x"}"#,
                "has a socks_proxy, which this client cannot use",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(parse("x", text).err().as_deref(), Some(message), "{text}");
        }
        let jwt = parse("x", r#"{"user_jwt":"e30"}"#).map(|context| context.user_jwt);
        assert_eq!(jwt, Ok(true));
    }
}
