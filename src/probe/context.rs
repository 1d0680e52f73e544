//! Contexts of the nats CLI: JSON files that hold how to connect. Pure but for reading the file.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files::read::shown;
use crate::values::env::Env;
use crate::values::text::{LIKE, clean};

/// The settings of a context; an empty string in the file counts as not set. Paths are expanded.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// As the user named it, for messages.
    pub name: String,
    pub url: Option<String>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub token: Option<String>,
    pub creds: Option<PathBuf>,
    pub nkey: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub inbox_prefix: Option<String>,
    /// Keys that say how to log in, in ways that this program does not know.
    pub foreign_logins: Vec<&'static str>,
}

/// Where the context of this name is: a path if it ends in `.json`, else in the folder of the nats CLI.
///
/// # Errors
///
/// What is wrong with the name, or with the environment.
pub fn path(name: &str, env: Env<'_>) -> Result<PathBuf, String> {
    if name.ends_with(".json") {
        return Ok(expand(name, env));
    }
    if name.contains('/') || name.starts_with('.') {
        return Err(format!(
            "'{}' is neither the name of a context nor a file ending in .json",
            clean(name, 80)
        ));
    }
    let var = |name: &str| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = var("XDG_CONFIG_HOME").or_else(|| var("HOME").map(|home| home.join(".config")));
    let config =
        config.ok_or("neither HOME nor XDG_CONFIG_HOME is set; give the path of the context, ending in .json")?;
    Ok(config.join("nats/context").join(format!("{name}.json")))
}

/// How many contexts are named where another one was asked for.
const NAMED: usize = 5;

/// There is no context of this name at its path: says which ones there are, the nearest first.
pub fn not_there(name: &str, path: &Path) -> String {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()));
    let mut names: Vec<(f64, String)> = names.map(|other| (strsim::jaro_winkler(name, &other), other)).collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let named: Vec<String> = names.iter().take(NAMED).map(|(_, other)| clean(other, 80)).collect();
    let there_are = match (named.len(), names.len().saturating_sub(NAMED)) {
        (0, _) => "there are none".to_owned(),
        (_, 0) => format!("there are {}", named.join(", ")),
        (_, more) => format!("there are {} and {more} more", named.join(", ")),
    };
    let meant = match names.first() {
        Some((like, other)) if *like > LIKE => format!("; did you mean {}?", clean(other, 80)),
        _ => String::new(),
    };
    format!("no context {} in {}: {there_are}{meant}", clean(name, 80), shown(dir))
}

/// Reads the text of a context.
///
/// # Errors
///
/// What is wrong with it, without showing any of it.
pub fn parse(name: &str, text: &str, env: Env<'_>) -> Result<Context, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("is not JSON: {e}"))?;
    let object = value.as_object().ok_or("is not a JSON object")?;
    let string = |key: &str| match &object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("has a {key} that is not a string")),
    };
    let file = |key: &str| Ok::<_, String>(string(key)?.map(|path| expand(&path, env)));
    if object
        .get("tls_first")
        .is_some_and(|first| first != &Value::Bool(false))
    {
        return Err("has tls_first, which this client cannot do; connect to a server without handshake_first".into());
    }
    if string("socks_proxy")?.is_some() {
        return Err("has a socks_proxy, which this client cannot use".into());
    }
    let mut foreign_logins = Vec::new();
    for key in ["user_jwt", "user_seed", "nsc"] {
        if string(key)?.is_some() {
            foreign_logins.push(key);
        }
    }
    Ok(Context {
        name: name.to_owned(),
        url: string("url")?,
        user: string("user")?,
        password: string("password")?,
        token: string("token")?,
        creds: file("creds")?,
        nkey: file("nkey")?,
        cert: file("cert")?,
        key: file("key")?,
        ca: file("ca")?,
        inbox_prefix: string("inbox_prefix")?,
        foreign_logins,
    })
}

/// Expands a leading `~`, `$VAR` and `${VAR}`, as the nats CLI does; an unknown variable is empty.
fn expand(path: &str, env: Env<'_>) -> PathBuf {
    let var = |name: &str| env(name).and_then(|value| value.into_string().ok()).unwrap_or_default();
    let mut rest = path;
    let mut expanded = String::new();
    if rest == "~" || rest.starts_with("~/") {
        expanded.push_str(&var("HOME"));
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
        assert!(path("prod", &|_| None).is_err());
        let xdg = |name: &str| (name == "XDG_CONFIG_HOME").then(|| "/c".into());
        assert_eq!(path("prod", &xdg), Ok("/c/nats/context/prod.json".into()));
    }

    #[test]
    fn a_context_of_the_nats_cli_is_read() {
        let text = r#"{"description":"","url":"nats://h:1","token":"","user":"u","password":"p","creds":"~/c.creds","nkey":"",
            "cert":"","key":"","ca":"$HOME/ca.pem","nsc":"","jetstream_domain":"","jetstream_api_prefix":"",
            "jetstream_event_prefix":"","inbox_prefix":"_INBOX_mon","user_jwt":"","color_scheme":"","tls_first":false}"#;
        let context = parse("prod", text, &env).expect("a good context");
        assert_eq!(context.url.as_deref(), Some("nats://h:1"));
        assert_eq!(context.token, None);
        assert_eq!(context.creds.as_deref(), Some(Path::new("/home/mon/c.creds")));
        assert_eq!(context.ca.as_deref(), Some(Path::new("/home/mon/ca.pem")));
        assert_eq!(context.inbox_prefix.as_deref(), Some("_INBOX_mon"));
        assert!(context.foreign_logins.is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_context_is_told() {
        let cases = [
            ("", "is not JSON: EOF while parsing a value at line 1 column 0"),
            ("[]", "is not a JSON object"),
            (r#"{"url":7}"#, "has a url that is not a string"),
            (
                r#"{"tls_first":true}"#,
                "has tls_first, which this client cannot do; connect to a server without handshake_first",
            ),
            (
                r#"{"socks_proxy":"x"}"#,
                "has a socks_proxy, which this client cannot use",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(parse("x", text, &env).err().as_deref(), Some(message), "{text}");
        }
        let jwt = parse("x", r#"{"user_jwt":"e30"}"#, &env).map(|context| context.foreign_logins);
        assert_eq!(jwt, Ok(vec!["user_jwt"]));
    }
}
