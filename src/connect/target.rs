//! Whom to ask about what: validated, so that nothing in here can be wrong or be printed by mistake.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use url::{ParseError, Url};

use crate::connect::credentials::{Credentials, Expiry, Nkey};
use crate::connect::request::EndpointRequest;
use crate::values::secret::{Secret, is_secret, redact_url};
use crate::values::text::clean;

/// The port of a NATS server where none is given.
pub const DEFAULT_PORT: u16 = 4222;

/// The server of the nats CLI where none is given.
pub const DEFAULT_SERVER: &str = "nats://127.0.0.1:4222";

/// Kind of login, with its credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    #[default]
    None,
    UserPassword {
        user: String,
        password: Secret,
    },
    Token(Secret),
    /// From the credentials file of this path.
    Credentials {
        path: String,
        credentials: Box<Credentials>,
    },
    /// From the seed file of this path.
    Nkey {
        path: String,
        nkey: Nkey,
    },
}

impl Auth {
    /// The user, who is part of the question: by name, or by public NKey. A token is a secret and is not. Of credentials it is the
    /// account: they may have another user each time that they are renewed.
    pub fn user(&self) -> Option<String> {
        match self {
            Auth::UserPassword { user, .. } => Some(user.clone()),
            Auth::Credentials { credentials, .. } => Some(credentials.claims.account.clone()),
            Auth::Nkey { nkey, .. } => Some(nkey.public()),
            Auth::None | Auth::Token(_) => None,
        }
    }
}

/// TLS options; the PEM files were checked before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Whom to believe; `None`: the authorities that the system believes.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// One NATS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerUrl {
    pub tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// From the user info of the URL.
    pub auth: Option<Auth>,
}

impl ServerUrl {
    /// Reads `[nats://|tls://][USER[:PASSWORD]@]HOST[:PORT]`. User info is percent-decoded; a user without a password is
    /// a token, as for the nats CLI.
    ///
    /// # Errors
    ///
    /// The error, without the user info.
    pub fn parse(text: &str) -> Result<ServerUrl, String> {
        let shown = clean(&redact_url(text), 200);
        // Checked before the rest is parsed: for http:// and similar schemes, a host that is not ASCII is parsed differently.
        let with_scheme = match text.split_once("://") {
            None => format!("nats://{text}"),
            Some((scheme, _)) if ["nats", "tls"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) => {
                text.to_owned()
            }
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                return Err(format!(
                    "'{shown}': the scheme {}:// is not supported, use nats:// or tls://",
                    clean(scheme, 80)
                ));
            }
            // The text may be user info, which belongs after the scheme.
            Some(_) => {
                return Err(format!(
                    "'{shown}' is not a server URL: it begins with nats:// or tls://"
                ));
            }
        };
        let host = with_scheme.split_once("://").map_or("", |(_, rest)| rest);
        if host.parse::<Ipv6Addr>().is_ok() {
            return Err(format!(
                "'{host}' is an IPv6 address: in a URL it stands in brackets, [{host}]"
            ));
        }
        let url = Url::parse(&with_scheme).map_err(|e| match e {
            // The text may be a password whose host is missing.
            ParseError::InvalidPort => "a server URL ends with a port from 1 to 65535, or with the host".to_owned(),
            e => format!("'{shown}' is not a server URL: {e}"),
        })?;
        let tls = url.scheme() == "tls";
        let host = url.host_str().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(format!("'{shown}' names no host"));
        }
        // The name is printed and saved in the state.
        if is_secret(host) {
            return Err("a secret stands in the place of a host".into());
        }
        if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b)) {
            return Err(format!(
                "'{shown}': the host may have letters, digits, '-', '_' and '.' only"
            ));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(format!("'{shown}' has something behind the port"));
        }
        let decode = |part: &str| {
            percent_decode_str(part)
                .decode_utf8()
                .map(|part| part.into_owned())
                .map_err(|_| format!("'{shown}': the user info is not UTF-8"))
        };
        let user_info = with_scheme.rsplit_once('@').map_or("", |(before, _)| before);
        let user_info = user_info.split_once("://").map_or("", |(_, user_info)| user_info);
        // The parser treats an empty password as none.
        let password = url.password().or(user_info.contains(':').then_some(""));
        let auth = match (url.username(), password) {
            ("", None) => None,
            ("", Some(_)) => return Err(format!("'{shown}' has a password without a user")),
            (token, None) => Some(Auth::Token(Secret::new(decode(token)?))),
            (user, Some(password)) => Some(Auth::UserPassword {
                user: decode(user)?,
                password: Secret::new(decode(password)?),
            }),
        };
        Ok(ServerUrl {
            tls,
            host: host.to_owned(),
            port: url.port().unwrap_or(DEFAULT_PORT),
            auth,
        })
    }

    /// The host, and the port where it is not the usual one.
    pub fn as_given(&self) -> String {
        let address = self.address();
        let usual = format!(":{DEFAULT_PORT}");
        address.strip_suffix(&usual).map_or(address.clone(), str::to_owned)
    }

    /// `host:port`, with the brackets that an IPv6 address needs.
    pub fn address(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The name of a service, as ADR-32 allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName(String);

impl ServiceName {
    /// # Errors
    ///
    /// The error. The server reports none: a name with a blank or a wildcard simply has no responders, which looks
    /// like an outage, and one with a line break would be a protocol line of its own.
    pub fn parse(text: &str) -> Result<ServiceName, String> {
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if text.is_empty() {
            return Err("the service name is empty".into());
        }
        if text.len() > 255 || !text.chars().all(good) {
            return Err(format!(
                "'{}' is no service name: it has letters, digits, '-' and '_' only (ADR-32)",
                clean(text, 80)
            ));
        }
        Ok(ServiceName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The first tokens of a subject: `$SRV` for services, or `APP.$SRV` through an account import; `_INBOX` for replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Of the services (ADR-32).
    pub const SERVICES: &'static str = "$SRV";

    /// Of replies.
    pub const INBOX: &'static str = "_INBOX";

    /// Returns `true` if the services below this prefix belong to another account, and are imported.
    pub fn is_imported(&self) -> bool {
        self.as_str() != Prefix::SERVICES
    }

    /// # Errors
    ///
    /// The error; see [`ServiceName::parse`].
    pub fn parse(text: &str) -> Result<Prefix, String> {
        let good =
            |token: &str| !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '*' | '>'));
        if text.len() > 255 || !text.split('.').all(good) {
            return Err(format!(
                "'{}' is no subject prefix: it has tokens with dots between them, without blanks and wildcards, like APP.$SRV",
                clean(text, 80)
            ));
        }
        Ok(Prefix(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whom to ask about what.
#[derive(Clone, Debug)]
pub struct Target {
    pub prefix: Prefix,
    /// Tried one by one, in this order.
    pub servers: Vec<ServerUrl>,
    /// For servers whose URL has no user info.
    pub auth: Auth,
    pub tls: Tls,
    /// The subject below which replies come.
    pub inbox_prefix: Prefix,
    /// Name of this client at the server.
    pub connection_name: String,
    /// Request to an endpoint, sent if an instance answers.
    pub request: Option<EndpointRequest>,
    /// Stands behind the text of a connection that failed: how to connect that may have been meant. Clean.
    pub hint: Option<String>,
    /// Remarks on how to connect, for `-v`. Clean.
    pub remarks: Vec<String>,
}

impl Target {
    /// When what we log in with expires; `None` where nothing of it can, as far as we can know.
    pub fn expiry(&self) -> Option<Expiry> {
        let is_used = self.servers.iter().any(|server| server.auth.is_none());
        match &self.auth {
            Auth::Credentials { path, credentials } if is_used => Some(Expiry {
                file: path.clone(),
                at: credentials.claims.expires,
            }),
            _ => None,
        }
    }

    /// The subject to which every instance of the service answers (ADR-32), for a verb like `STATS`.
    pub fn subject(&self, verb: &str, service: &str) -> String {
        format!("{}.{verb}.{service}", self.prefix.as_str())
    }

    /// The subject to which every instance of every service answers (ADR-32).
    pub fn discovery_subject(&self, verb: &str) -> String {
        format!("{}.{verb}", self.prefix.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: u16, auth: Option<Auth>) -> Result<ServerUrl, String> {
        Ok(ServerUrl {
            tls: false,
            host: host.into(),
            port,
            auth,
        })
    }

    fn user(user: &str, password: &str) -> Option<Auth> {
        Some(Auth::UserPassword {
            user: user.into(),
            password: Secret::new(password),
        })
    }

    #[test]
    fn server_urls_are_read() {
        let cases = [
            ("nats://localhost", server("localhost", 4222, None)),
            ("localhost", server("localhost", 4222, None)),
            ("10.0.0.1:4333", server("10.0.0.1", 4333, None)),
            ("nats://n1.example.org:4333/", server("n1.example.org", 4333, None)),
            ("nats://[::1]:4333", server("::1", 4333, None)),
            ("a_b:1", server("a_b", 1, None)),
            ("nats://u:p@h", server("h", 4222, user("u", "p"))),
            ("u:p@h:1", server("h", 1, user("u", "p"))),
            ("nats://u%40x:p%40s%3A%2Fs@h", server("h", 4222, user("u@x", "p@s:/s"))),
            ("nats://u:@h", server("h", 4222, user("u", ""))),
            (
                "nats://t0k3n@h",
                server("h", 4222, Some(Auth::Token(Secret::new("t0k3n")))),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(ServerUrl::parse(text), expected, "{text}");
        }
        assert!(ServerUrl::parse("tls://h").is_ok_and(|url| url.tls));
        assert_eq!(
            ServerUrl::parse("[::1]:1").map(|url| url.address()),
            Ok("[::1]:1".into())
        );
    }

    #[test]
    fn bad_server_urls_are_named_without_their_secrets() {
        let cases = [
            ("", "'' names no host"),
            (
                "ws://h:1",
                "'ws://h:1': the scheme ws:// is not supported, use nats:// or tls://",
            ),
            // The crate allows Unicode in the host of such a scheme, and asserts something that does not hold.
            (
                "ws://@F-\u{61e}h",
                "'ws://***@F-?h': the scheme ws:// is not supported, use nats:// or tls://",
            ),
            (
                "t0k3n@nats://h",
                "'***@nats://h' is not a server URL: it begins with nats:// or tls://",
            ),
            (
                "user:s3cret@nats://h",
                "'***@nats://h' is not a server URL: it begins with nats:// or tls://",
            ),
            (
                "nats://F-\u{61e}h",
                "'nats://F-?h': the host may have letters, digits, '-', '_' and '.' only",
            ),
            ("::1", "'::1' is an IPv6 address: in a URL it stands in brackets, [::1]"),
            (
                "tls://2001:db8::1:4222",
                "'2001:db8::1:4222' is an IPv6 address: in a URL it stands in brackets, [2001:db8::1:4222]",
            ),
            (
                "nats://h:99999",
                "a server URL ends with a port from 1 to 65535, or with the host",
            ),
            (
                "nats://u:s3cret",
                "a server URL ends with a port from 1 to 65535, or with the host",
            ),
            ("nats://:s3cret@h", "'nats://***@h' has a password without a user"),
            ("nats://:s3 s3'cret@h", "'nats://***@h' has a password without a user"),
            ("nats://h/x", "'nats://h/x' has something behind the port"),
            ("nats://h?x", "'nats://h?x' has something behind the port"),
            (
                "nats://h%20x",
                "'nats://h%20x': the host may have letters, digits, '-', '_' and '.' only",
            ),
            ("nats://%ff:x@h", "'nats://***@h': the user info is not UTF-8"),
        ];
        for (text, message) in cases {
            assert_eq!(ServerUrl::parse(text), Err(message.into()), "{text}");
        }
    }

    #[test]
    fn names_and_prefixes_cannot_break_the_protocol() {
        for good in ["orders", "A-b_9", "0"] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        let long = "x".repeat(256);
        for bad in [
            "",
            "a b",
            "a.b",
            "*",
            "a>",
            "a\r\nPUB x 0",
            "é",
            "a\0",
            "$SRV",
            long.as_str(),
        ] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["$SRV", "APP.$SRV", "a.b.c"] {
            assert!(Prefix::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a.*",
            ">",
            "x 0\r\n\r\nPUB victim 5\r\n",
            "é",
            long.as_str(),
        ] {
            assert!(Prefix::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let url = ServerUrl::parse("nats://user:s3cret@h,x").or(ServerUrl::parse("nats://user:s3cret@h"));
        assert!(!format!("{url:?}").contains("s3cret"));
    }
}
