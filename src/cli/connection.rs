//! How to connect: flags beat variables, variables beat the context of the nats CLI.

use std::path::{Path, PathBuf};

use super::given::{Given, Problem};
use crate::files::read::shown;
use crate::probe::context::{self, Context};
use crate::probe::credentials::{Credentials, Nkey};
use crate::probe::target::{Auth, DEFAULT_PORT, DEFAULT_SERVER, Prefix, ServerUrl, ServiceName, Target, Tls};
use crate::values::secret::Secret;
use crate::values::text::clean;

/// Where a setting came from: the later of these beats the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Nowhere,
    Context,
    Variables,
    Flags,
}

pub(super) fn target(service: ServiceName, given: &Given<'_>) -> Result<Target, Problem> {
    let context = context(given)?;
    let (mut servers, servers_from) = servers(given, &context)?;
    let (auth, auth_from) = login(given, &context)?;
    // User info in a URL belongs to the level of the URL, and beats the rest of its level, as for the nats CLI.
    if auth_from > servers_from {
        servers.iter_mut().for_each(|server| server.auth = None);
    } else if auth_from == Level::Flags && servers.iter().any(|server| server.auth.is_some()) {
        return Err("credentials twice: in the URL of --server and in flags of their own; give them once".into());
    }
    let inbox = |source: &str, text: &str| Prefix::parse(text).map_err(|why| format!("{source}: {why}"));
    let inbox_prefix = match (given.text("inbox-prefix")?, &context.inbox_prefix) {
        (Some(prefix), _) => inbox("--inbox-prefix", prefix)?,
        (None, Some(prefix)) => inbox("the inbox_prefix of the context", prefix).map_err(Problem::File)?,
        (None, None) => Prefix::parse(Prefix::INBOX)?,
    };
    let target = Target {
        service,
        prefix: given
            .read("srv-prefix", Prefix::parse)?
            .map_or(Prefix::parse(Prefix::SERVICES), Ok)?,
        servers,
        auth,
        tls: tls(given, &context)?,
        inbox_prefix,
        connection_name: given
            .text("connection-name")?
            .unwrap_or(env!("CARGO_PKG_NAME"))
            .to_owned(),
        request: super::request::read(given)?,
    };
    let limits = ["creds-warning", "creds-critical"];
    match limits.into_iter().find(|flag| given.raw(flag).is_some()) {
        Some(flag) if target.expiry().is_none() => Err(format!(
            "--{flag}: no creds file is used, and no other login expires; give --creds, or leave it out"
        )
        .into()),
        _ => Ok(target),
    }
}

fn context(given: &Given<'_>) -> Result<Context, Problem> {
    let (source, name) = match (given.text("context")?, given.variable("NATS_CONTEXT")?) {
        (Some(name), _) => ("--context", name.to_owned()),
        (None, Some(name)) => ("NATS_CONTEXT", name),
        (None, None) => return Ok(Context::default()),
    };
    let path = context::path(&name, given.env).map_err(|why| format!("{source}: {why}"))?;
    let text = match given.read_file(source, &path) {
        Err(Problem::File(_)) if !name.ends_with(".json") && !path.exists() => {
            return Err(Problem::File(format!("{source}: {}", context::not_there(&name, &path))));
        }
        text => text?,
    };
    context::parse(&name, &text, given.env).map_err(|why| Problem::File(format!("{source} {}: it {why}", shown(&path))))
}

fn servers(given: &Given<'_>, context: &Context) -> Result<(Vec<ServerUrl>, Level), Problem> {
    if let Some(host) = given.text("hostname")? {
        return Ok((vec![server_of(host, given.text("port")?)?], Level::Flags));
    }
    if let Some(list) = given.text("server")? {
        return Ok((server_list("--server", list)?, Level::Flags));
    }
    if let Some(list) = given.variable("NATS_URL")? {
        return Ok((server_list("NATS_URL", &list)?, Level::Variables));
    }
    match &context.url {
        Some(list) => {
            let servers = server_list("the url of the context", list).map_err(Problem::File)?;
            Ok((servers, Level::Context))
        }
        None => Ok((server_list("--server", DEFAULT_SERVER)?, Level::Nowhere)),
    }
}

/// How to log in, and who said so.
fn login(given: &Given<'_>, context: &Context) -> Result<(Auth, Level), Problem> {
    let user_variable = given.variable("NATS_USER")?;
    let password_variable = given.variable("NATS_PASSWORD")?.map(Secret::new);

    let user = given.text("user")?;
    let password = given.secret("password", "password-file")?;
    let by_flag = match (user, password, given.secret("token", "token-file")?) {
        (_, _, Some(token)) => Some(Auth::Token(token)),
        (Some(""), _, _) => return Err("--user: it is empty".into()),
        (Some(user), password, _) => Some(login_of(user, password.or(password_variable.clone()))),
        (None, Some(password), _) => match &user_variable {
            Some(user) => Some(login_of(user, Some(password))),
            None => return Err("a password needs a user: give --user".into()),
        },
        (None, None, None) => match (given.raw("creds"), given.raw("nkey")) {
            (Some(path), _) => Some(creds(given, "--creds", Path::new(path))?),
            (_, Some(path)) => Some(nkey(given, "--nkey", Path::new(path))?),
            (None, None) => None,
        },
    };
    if let Some(auth) = by_flag {
        return Ok((auth, Level::Flags));
    }

    let variables = ["NATS_CREDS", "NATS_NKEY", "NATS_TOKEN", "NATS_USER"];
    let set: Vec<&str> = variables
        .into_iter()
        .filter(|name| (given.env)(name).is_some_and(|v| !v.is_empty()))
        .collect();
    if let [one, other, ..] = set[..] {
        return Err(format!("{one} and {other} are both set; unset one").into());
    }
    if let Some(user) = user_variable {
        return Ok((login_of(&user, password_variable), Level::Variables));
    }
    if let Some(token) = given.variable("NATS_TOKEN")? {
        return Ok((Auth::Token(Secret::new(token)), Level::Variables));
    }
    if let Some(path) = given.variable("NATS_CREDS")? {
        return Ok((creds(given, "NATS_CREDS", Path::new(&path))?, Level::Variables));
    }
    if let Some(path) = given.variable("NATS_NKEY")? {
        return Ok((nkey(given, "NATS_NKEY", Path::new(&path))?, Level::Variables));
    }

    let password = context.password.clone().map(Secret::new);
    let by_context = match context {
        Context { creds: Some(path), .. } => creds(given, "the creds of the context", path)?,
        Context { nkey: Some(path), .. } => nkey(given, "the nkey of the context", path)?,
        Context { token: Some(token), .. } => Auth::Token(Secret::new(token.as_str())),
        Context { user: Some(user), .. } => login_of(user, password),
        Context {
            foreign_logins, name, ..
        } => match foreign_logins.first() {
            Some(key) => {
                let name = clean(name, 80);
                return Err(Problem::File(format!(
                    "the context {name} logs in by {key}, which this program cannot; give --creds"
                )));
            }
            None => return Ok((Auth::None, Level::Nowhere)),
        },
    };
    Ok((by_context, Level::Context))
}

/// A user without a password is a token, as for the nats CLI.
fn login_of(user: &str, password: Option<Secret>) -> Auth {
    match password {
        Some(password) => Auth::UserPassword {
            user: user.to_owned(),
            password,
        },
        None => Auth::Token(Secret::new(user)),
    }
}

fn creds(given: &Given<'_>, source: &str, path: &Path) -> Result<Auth, Problem> {
    let credentials = Credentials::parse(&given.read_file(source, path)?);
    Ok(Auth::Credentials {
        path: shown(path),
        credentials: Box::new(credentials.map_err(|why| Problem::File(format!("{source} {}: {why}", shown(path))))?),
    })
}

fn nkey(given: &Given<'_>, source: &str, path: &Path) -> Result<Auth, Problem> {
    if Nkey::parse(&path.to_string_lossy()).is_ok() {
        return Err(format!("{source}: this is a seed itself; give the name of a file with the seed in it").into());
    }
    let nkey = Nkey::parse(&given.read_file(source, path)?);
    Ok(Auth::Nkey {
        path: shown(path),
        nkey: nkey.map_err(|why| Problem::File(format!("{source} {}: {why}", shown(path))))?,
    })
}

/// The files of TLS, looked at here: the client would take a file without PEM in it for an empty one.
fn tls(given: &Given<'_>, context: &Context) -> Result<Tls, Problem> {
    let pem = |(source, path): (String, PathBuf), what: &str, label: &str| {
        let text = given.read_file(&source, &path)?;
        let found = text
            .lines()
            .any(|line| line.starts_with("-----BEGIN ") && line.contains(label));
        match found {
            true => Ok(path),
            false => Err(Problem::File(format!(
                "{source} {}: there is no {what} in PEM form in it",
                shown(&path)
            ))),
        }
    };
    let cert = given.file("tlscert", "NATS_CERT", context.cert.as_ref());
    let key = given.file("tlskey", "NATS_KEY", context.key.as_ref());
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((
            pem(cert, "certificate", "CERTIFICATE")?,
            pem(key, "key", "PRIVATE KEY")?,
        )),
        (Some((source, _)), None) => return Err(format!("{source}: a certificate needs its key; give --tlskey").into()),
        (None, Some((source, _))) => {
            return Err(format!("{source}: a key needs its certificate; give --tlscert").into());
        }
        (None, None) => None,
    };
    let ca = given.file("tlsca", "NATS_CA", context.ca.as_ref());
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
        return Err("--hostname takes a host only; give a URL with --server".into());
    }
    let bracketed = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let url = ServerUrl::parse(&format!("nats://{bracketed}:{port}"));
    url.map_err(|_| format!("--hostname: '{}' is not a host name or address", clean(host, 200)))
}

fn server_list(source: &str, list: &str) -> Result<Vec<ServerUrl>, String> {
    let servers: Result<Vec<ServerUrl>, String> = list
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(ServerUrl::parse)
        .collect();
    match servers {
        Ok(servers) if servers.is_empty() => Err(format!("{source}: it names no server")),
        Ok(servers) => Ok(servers),
        // A comma in a password breaks it in two, and then the message would show its second half.
        Err(_) if list.contains('@') && list.contains(',') => Err(format!(
            "{source}: not a list of server URLs; in user info, write %2C for a comma and %40 for an @"
        )),
        Err(why) => Err(format!("{source}: {why}")),
    }
}
