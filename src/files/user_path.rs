//! The path of a file as a user gave it, by a flag, a variable or a field of a context.

use std::fmt;
use std::path::Path;

use crate::values::secret::{is_base64, is_secret};
use crate::values::text::clean;

/// A path whose `Display` shows only what is plainly one: people put the secret itself where the name of its file belongs.
#[derive(Clone, Copy, Debug)]
pub struct UserPath<'p>(pub &'p Path);

/// Endings of file names that no password has.
const EXTENSIONS: [&str; 14] = [
    "cer", "conf", "crt", "creds", "json", "jwt", "key", "nk", "nkey", "pem", "prom", "seed", "token", "txt",
];

/// Maximum length of what is shown, in characters.
const MAX_SHOWN: usize = 200;

impl UserPath<'_> {
    /// Returns `true` if the value is a key, a JWT or another secret in the place of a file name.
    pub fn is_secret(&self) -> bool {
        let text = self.0.to_string_lossy();
        let is_blob = is_base64(&text) || text.trim().contains(['\n', '\r']);
        is_secret(&text) || is_blob && !self.0.exists()
    }

    /// Returns `true` if the value may be printed: it has the form of a path, or there is such a file.
    pub fn is_plain(&self) -> bool {
        let text = self.0.to_string_lossy();
        let says_so = ["/", "./", "../", "~/"].iter().any(|start| text.starts_with(start));
        let extension = self.0.extension().and_then(|extension| extension.to_str());
        let is_known = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
        !self.is_secret() && (says_so || is_known || self.0.exists())
    }
}

impl fmt::Display for UserPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_plain() {
            true => f.write_str(&clean(&self.0.to_string_lossy(), MAX_SHOWN)),
            false => f.write_str("(a name that is not shown, since it may be a secret)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_values_that_look_like_paths_are_printed() {
        let long = "/".to_owned() + &"x".repeat(300);
        let cut = long[..200].to_owned() + "...";
        for (path, shown) in [
            ("/etc/nats/mon.creds", "/etc/nats/mon.creds"),
            ("/etc/na|ts", "/etc/na?ts"),
            ("../mon", "../mon"),
            ("mon.creds", "mon.creds"),
            ("src/files", "src/files"),
            (&long, &cut),
        ] {
            assert_eq!(UserPath(Path::new(path)).to_string(), shown);
        }
        let seed = nkeys::KeyPair::new_user().seed().expect("a seed");
        let below = format!("/{seed}");
        for path in [
            "hunter2",
            "p@ss/w0rd",
            "pass.word",
            "",
            "/a\nb",
            &seed,
            &below,
            "eyJ0eXAiOiJKV1QifQ.json",
        ] {
            let shown = UserPath(Path::new(path)).to_string();
            assert_eq!(shown, "(a name that is not shown, since it may be a secret)", "{path}");
        }
    }
}
