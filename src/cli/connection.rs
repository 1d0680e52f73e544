//! The connection options: flags beat variables, variables beat the context of the nats CLI.

use std::ffi::OsStr;
use std::path::PathBuf;

use super::flag_values::{ConfigError, FlagValues, Origin, SECRET_ITSELF};
use crate::connect::context::{self, Context, Plain, Setting};
use crate::connect::credentials::{Credentials, Nkey};
use crate::connect::target::{Auth, DEFAULT_PORT, DEFAULT_SERVER, Prefix, ServerUrl, Target, Tls};
use crate::files::read::{read_text, shown};
use crate::values::secret::{Secret, is_secret};
use crate::values::text::clean;

/// Where a setting came from: the later of these beats the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Nowhere,
    Context,
    Variables,
    Flags,
}

pub(super) fn target(values: &FlagValues<'_>) -> Result<Target, ConfigError> {
    let context = context(values)?;
    let (mut servers, servers_from) = servers(values, &context)?;
    let (auth, auth_from) = login(values, &context)?;
    // User info in a URL has the precedence of the URL, before other logins of that level, as for the nats CLI.
    if auth_from > servers_from {
        servers.iter_mut().for_each(|server| server.auth = None);
    } else if auth_from == Level::Flags && servers.iter().any(|server| server.auth.is_some()) {
        return Err("credentials twice: in the URL of --server and in flags of their own, give them once".into());
    }
    let tls = tls(values, &context)?;
    // As in the official clients: each TLS option requires TLS, and one tls:// URL requires it of all servers.
    let by_url = servers.iter().any(|server| server.tls);
    if by_url || values.has("tls") || tls.ca.is_some() || tls.identity.is_some() {
        servers.iter_mut().for_each(|server| server.tls = true);
    }
    let inbox = |origin: Origin, text: &str| match is_secret(text) {
        true => Err(origin.problem(SECRET_ITSELF)),
        false => Prefix::parse(text).map_err(|why| origin.problem(why)),
    };
    let inbox_prefix = match (values.text("inbox-prefix")?, &context.inbox_prefix) {
        (Some(prefix), _) => inbox(Origin::Flag("inbox-prefix"), prefix)?,
        (None, Some(prefix)) => inbox(Origin::Context("inbox_prefix"), prefix)?,
        (None, None) => Prefix::parse(Prefix::INBOX)?,
    };
    let target = Target {
        prefix: values
            .read("srv-prefix", Prefix::parse)?
            .map_or(Prefix::parse(Prefix::SERVICES), Ok)?,
        servers,
        auth,
        tls,
        inbox_prefix,
        connection_name: values
            .text("connection-name")?
            .unwrap_or(env!("CARGO_PKG_NAME"))
            .to_owned(),
        request: super::request::read(values)?,
        hint: hint(values, &context, servers_from.max(auth_from)),
        remarks: values.remarks.take(),
    };
    let limits = ["creds-warning", "creds-critical"];
    match limits.into_iter().find(|flag| values.raw(flag).is_some()) {
        Some(flag) if target.expiry().is_none() => Err(format!(
            "--{flag}: no creds file is used, and no other login expires, give --creds, or leave it out"
        )
        .into()),
        _ => Ok(target),
    }
}

/// Where nothing says how to connect, the nats CLI uses the context that was selected with it, and this program does not.
fn hint(values: &FlagValues<'_>, context: &Context, level: Level) -> Option<String> {
    if level != Level::Nowhere || *context != Context::default() {
        return None;
    }
    let text = read_text(&context::selection(values.env)?, 4096, values.deadline).ok()?;
    let name = Some(text.trim()).filter(|name| !name.is_empty() && !is_secret(name))?;
    let name = clean(name, 80);
    values.remark(format!(
        "no server is given, the nats CLI would use its selected context {name}: give --context {name}"
    ));
    Some(format!(
        "no server was given, did you mean --context {name}, which the nats CLI has selected?"
    ))
}

fn context(values: &FlagValues<'_>) -> Result<Context, ConfigError> {
    let (origin, name) = match (values.text("context")?, values.setting("NATS_CONTEXT")?) {
        (Some(name), _) => (Origin::Flag("context"), name.to_owned()),
        (None, Some(name)) => (Origin::Variable("NATS_CONTEXT"), name),
        (None, None) => return Ok(Context::default()),
    };
    if is_secret(&name) {
        return Err(origin.problem(SECRET_ITSELF));
    }
    let path = context::path(&name, values.env).map_err(|why| origin.problem(why))?;
    let text = match values.read_file(origin, &path) {
        Err(ConfigError::File(_)) if !name.ends_with(".json") && !path.exists() => {
            return Err(ConfigError::File(format!(
                "{origin}: {}",
                context::not_there(&name, &path)
            )));
        }
        text => text?,
    };
    let context = context::parse(&name, &text)
        .map_err(|why| ConfigError::File(format!("{origin} {}: it {why}", shown(&path))))?;
    if context.has_secrets() {
        values.remark_readers(origin, &path);
    }
    Ok(context)
}

/// Returns `true` if a flag or a variable names a server, a login or a prefix.
pub(super) fn is_given(values: &FlagValues<'_>) -> Result<bool, String> {
    const FLAGS: [&str; 10] = [
        "server",
        "hostname",
        "context",
        "user",
        "password",
        "token",
        "token-file",
        "creds",
        "nkey",
        "srv-prefix",
    ];
    const VARIABLES: [&str; 6] = [
        "NATS_URL",
        "NATS_CONTEXT",
        "NATS_USER",
        "NATS_TOKEN",
        "NATS_CREDS",
        "NATS_NKEY",
    ];
    let mut is_given = values.first_given(&FLAGS).is_some();
    for name in VARIABLES {
        is_given |= values.setting(name)?.is_some();
    }
    Ok(is_given)
}

fn servers(values: &FlagValues<'_>, context: &Context) -> Result<(Vec<ServerUrl>, Level), ConfigError> {
    if let Some(host) = values.text("hostname")? {
        let mut server = server_of(host, values.text("port")?)?;
        // Only the host changes: a password is not sent without TLS because of it.
        server.tls = configured_servers(values, context)?.0.iter().any(|server| server.tls);
        return Ok((vec![server], Level::Flags));
    }
    if let Some(list) = values.text("server")? {
        // clap does not say so: --port needs --hostname, which contradicts --server.
        if values.raw("port").is_some() {
            return Err("--server and --port: write the port into the URL, like nats://nats.example.org:4223".into());
        }
        return Ok((server_list("--server", list)?, Level::Flags));
    }
    configured_servers(values, context)
}

/// Returns the servers where no flag names one.
fn configured_servers(values: &FlagValues<'_>, context: &Context) -> Result<(Vec<ServerUrl>, Level), ConfigError> {
    if let Some(list) = values.setting("NATS_URL")? {
        return Ok((server_list("NATS_URL", &list)?, Level::Variables));
    }
    match &context.url {
        Some(list) => {
            let servers = server_list("the url of the context", list).map_err(ConfigError::File)?;
            Ok((servers, Level::Context))
        }
        None => Ok((server_list("--server", DEFAULT_SERVER)?, Level::Nowhere)),
    }
}

/// Value of the metrics' label `nats`, which tells two NATS systems apart: `--nats-label`, else the name of the context, else the
/// first server as values. Nothing that differs between the nodes of one cluster, and nothing out of a file: it also labels a run
/// that cannot read its context. `None`: no label.
pub fn nats_label(values: &FlagValues<'_>) -> Result<Option<String>, String> {
    let label = match (
        values.text("nats-label")?,
        values.text("context")?,
        values.setting("NATS_CONTEXT")?,
    ) {
        (Some(label), _, _) => label.to_owned(),
        (None, Some(context), _) => context::name(context).to_owned(),
        (None, None, Some(context)) => context::name(&context).to_owned(),
        (None, None, None) => match servers(values, &Context::default()) {
            Ok((servers, _)) => servers.first().map(ServerUrl::as_given).unwrap_or_default(),
            Err(_) => String::new(),
        },
    };
    Ok(Some(label).filter(|label| !label.is_empty() && !is_secret(label)))
}

/// Returns the login, and where it was given.
fn login(values: &FlagValues<'_>, context: &Context) -> Result<(Auth, Level), ConfigError> {
    const USER: Origin = Origin::Variable("NATS_USER");
    let user_variable = values.setting("NATS_USER")?;
    let password_variable = values.setting("NATS_PASSWORD")?.map(Secret::new);

    let user = values.text("user")?;
    let password = values.secret("password", "password-file")?;
    let file = |path: &OsStr| Setting::File(path.into());
    let by_flag = match (user, password, values.secret("token", "token-file")?) {
        (_, _, Some(token)) => Some(Auth::Token(token)),
        (Some(""), _, _) => return Err("--user: it is empty".into()),
        (Some(user), password, _) => Some(login_of(
            Origin::Flag("user"),
            user,
            password.or(password_variable.clone()),
        )?),
        (None, Some(password), _) => match (&user_variable, &context.user) {
            (Some(user), _) => Some(login_of(USER, user, Some(password))?),
            (None, Some(user)) => Some(login_of(Origin::Context("user"), user, Some(password))?),
            (None, None) => return Err("a password needs a user: give --user".into()),
        },
        (None, None, None) => match (values.raw("creds"), values.raw("nkey")) {
            (Some(path), _) => Some(creds(values, Origin::Flag("creds"), &file(path))?),
            (_, Some(path)) => Some(nkey(values, Origin::Flag("nkey"), &file(path))?),
            (None, None) => None,
        },
    };
    if let Some(auth) = by_flag {
        return Ok((auth, Level::Flags));
    }

    let variables = ["NATS_CREDS", "NATS_NKEY", "NATS_TOKEN", "NATS_USER"];
    let set: Vec<&str> = variables
        .into_iter()
        .filter(|name| (values.env)(name).is_some_and(|v| !v.is_empty()))
        .collect();
    if let [one, other, ..] = set[..] {
        return Err(format!("{one} and {other} are both set, unset one").into());
    }
    let file = |path: String| Setting::File(path.into());
    let auth = if let Some(user) = user_variable {
        login_of(USER, &user, password_variable)?
    } else if let Some(token) = values.setting("NATS_TOKEN")? {
        Auth::Token(Secret::new(token))
    } else if let Some(path) = values.setting("NATS_CREDS")? {
        creds(values, Origin::Variable("NATS_CREDS"), &file(path))?
    } else if let Some(path) = values.setting("NATS_NKEY")? {
        nkey(values, Origin::Variable("NATS_NKEY"), &file(path))?
    } else {
        return Ok(match login_of_context(values, context, password_variable)? {
            Auth::None => (Auth::None, Level::Nowhere),
            auth => (auth, Level::Context),
        });
    };
    Ok((auth, Level::Variables))
}

/// In the order of the nats CLI: user, creds, nkey, user JWT, token. `password_variable` beats the password of the context.
fn login_of_context(
    values: &FlagValues<'_>,
    context: &Context,
    password_variable: Option<Secret>,
) -> Result<Auth, ConfigError> {
    let resolve = |key: &'static str, value: &Secret, plain: Plain| {
        context::resolve(value, plain, values.env).map_err(|why| Origin::Context(key).problem(why))
    };
    let text = |key: &'static str, value: &Secret| match resolve(key, value, Plain::Text)? {
        Setting::Text(text) => Ok(text),
        Setting::File(path) => {
            let text = values.read_secret_file(Origin::Context(key), &path)?;
            Ok::<_, ConfigError>(Secret::new(text.trim_end_matches(['\r', '\n'])))
        }
    };
    let unknown = |key: &str| {
        let name = &context.name;
        ConfigError::File(format!(
            "the context {name} logs in by {key}, which this program cannot, give --creds"
        ))
    };
    match context {
        Context {
            user: Some(user),
            password,
            ..
        } => {
            let password = match (password_variable, password) {
                (Some(password), _) => password,
                (None, Some(password)) => text("password", password)?,
                (None, None) => Secret::new(""),
            };
            login_of(Origin::Context("user"), user, Some(password))
        }
        Context { creds: Some(value), .. } => {
            creds(values, Origin::Context("creds"), &resolve("creds", value, Plain::Path)?)
        }
        Context { nsc: true, .. } => Err(unknown("nsc")),
        Context { nkey: Some(value), .. } => {
            nkey(values, Origin::Context("nkey"), &resolve("nkey", value, Plain::Path)?)
        }
        Context { user_jwt: true, .. } => Err(unknown("user_jwt")),
        Context { token: Some(value), .. } => Ok(Auth::Token(text("token", value)?)),
        _ => Ok(Auth::None),
    }
}

/// A user without a password is a token, as for the nats CLI.
fn login_of(origin: Origin, user: &str, password: Option<Secret>) -> Result<Auth, ConfigError> {
    match password {
        // The user name is printed and saved in the state.
        Some(_) if is_secret(user) => {
            Err(origin.problem("the value is a secret, and no name of a user, give --token, --creds or --nkey"))
        }
        Some(password) => Ok(Auth::UserPassword {
            user: user.to_owned(),
            password,
        }),
        None => Ok(Auth::Token(Secret::new(user))),
    }
}

/// The text of a setting, and its name in messages.
fn text_of(values: &FlagValues<'_>, origin: Origin, setting: &Setting) -> Result<(String, String), ConfigError> {
    Ok(match setting {
        Setting::File(path) => (values.read_secret_file(origin, path)?, shown(path)),
        Setting::Text(text) => (text.reveal().to_owned(), "the context".to_owned()),
    })
}

fn malformed(origin: Origin, setting: &Setting, why: &str) -> ConfigError {
    ConfigError::File(match setting {
        Setting::File(path) => format!("{origin} {}: {why}", shown(path)),
        Setting::Text(_) => format!("{origin}: {why}"),
    })
}

fn creds(values: &FlagValues<'_>, origin: Origin, setting: &Setting) -> Result<Auth, ConfigError> {
    let (text, path) = text_of(values, origin, setting)?;
    let credentials = Credentials::parse(&text).map_err(|why| malformed(origin, setting, &why))?;
    Ok(Auth::Credentials {
        path,
        credentials: Box::new(credentials),
    })
}

fn nkey(values: &FlagValues<'_>, origin: Origin, setting: &Setting) -> Result<Auth, ConfigError> {
    let (text, path) = text_of(values, origin, setting)?;
    let nkey = Nkey::parse(&text).map_err(|why| malformed(origin, setting, &why))?;
    Ok(Auth::Nkey { path, nkey })
}

/// The files of TLS, looked at here: the client would take a file without PEM in it for an empty one.
fn tls(values: &FlagValues<'_>, context: &Context) -> Result<Tls, ConfigError> {
    let pem = |(origin, path): (Origin, PathBuf), what: &str, label: &str| {
        let text = match label {
            "CERTIFICATE" => values.read_file(origin, &path)?,
            _ => values.read_secret_file(origin, &path)?,
        };
        let found = text
            .lines()
            .any(|line| line.starts_with("-----BEGIN ") && line.contains(label));
        match found {
            true => Ok(path),
            false => Err(ConfigError::File(format!(
                "{origin} {}: there is no {what} in PEM form in it",
                shown(&path)
            ))),
        }
    };
    let cert = values.file("tlscert", "NATS_CERT", context.cert.as_ref())?;
    let key = values.file("tlskey", "NATS_KEY", context.key.as_ref())?;
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((
            pem(cert, "certificate", "CERTIFICATE")?,
            pem(key, "key", "PRIVATE KEY")?,
        )),
        (Some((origin, _)), None) => return Err(origin.problem("a certificate needs its key, give --tlskey")),
        (None, Some((origin, _))) => return Err(origin.problem("a key needs its certificate, give --tlscert")),
        (None, None) => None,
    };
    let ca = values.file("tlsca", "NATS_CA", context.ca.as_ref())?;
    Ok(Tls {
        ca: ca.map(|ca| pem(ca, "certificate", "CERTIFICATE")).transpose()?,
        identity,
    })
}

fn server_of(host: &str, port: Option<&str>) -> Result<ServerUrl, String> {
    let port = match port {
        None => DEFAULT_PORT,
        // The value is not shown: with other programs, a password follows -p.
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err("--port: it must be a number from 1 to 65535".into()),
        },
    };
    if host.contains("://") || host.contains('@') {
        return Err("--hostname takes a host only, give a URL with --server".into());
    }
    let bracketed = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let url = ServerUrl::parse(&format!("nats://{bracketed}:{port}"));
    url.map_err(|_| "--hostname: it is not a host name or address".to_owned())
}

fn server_list(source: &str, list: &str) -> Result<Vec<ServerUrl>, String> {
    let urls: Vec<&str> = list.split(',').map(str::trim).filter(|url| !url.is_empty()).collect();
    // A comma splits a token: its first half would be a host, which is looked up, printed and remembered.
    let is_split = |pair: &[&str]| {
        let host = pair[0].split_once("://").map_or(pair[0], |(_, rest)| rest);
        !host.contains(['@', '.', ':']) && pair[1].contains('@') && !pair[1].contains("://")
    };
    let is_split = urls.windows(2).any(is_split);
    let servers: Result<Vec<ServerUrl>, String> = urls.into_iter().map(ServerUrl::parse).collect();
    match servers {
        Ok(servers) if servers.is_empty() => Err(format!("{source}: it names no server")),
        Ok(_) if is_split => Err(format!(
            "{source}: in user info, write %2C for a comma, and before the user info of a further server nats:// or tls://"
        )),
        Ok(servers) => Ok(servers),
        // The message would print the second half.
        Err(_) if list.contains('@') && list.contains(',') => Err(format!(
            "{source}: not a list of server URLs, in user info, write %2C for a comma and %40 for an @"
        )),
        Err(why) => Err(format!("{source}: {why}")),
    }
}
