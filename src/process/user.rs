//! The user of this process.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use crate::values::env::Env;

/// The effective user id of this process.
pub fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The home folder of the user who runs this process: HOME, else what /etc/passwd says. That file is read as it is, since the
/// system's own look-up loads libraries, which a static program must not do.
pub fn home(env: Env<'_>) -> Option<PathBuf> {
    let variable = env("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    variable.or_else(|| Some(home_in(&fs::read_to_string("/etc/passwd").ok()?, euid())?.into()))
}

/// The home folder of a user in the text of /etc/passwd (passwd(5)).
fn home_in(passwd: &str, uid: u32) -> Option<OsString> {
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let user = users.find(|fields| fields.get(2).is_some_and(|field| field.parse() == Ok(uid)))?;
    user.get(5).filter(|home| home.starts_with('/')).map(OsString::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_a_user_is_in_passwd() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\n\nnagios:x:112:118::/var/lib/nagios:/bin/false\nodd:x:7\nnone:x:8:8:::\n";
        for (uid, home) in [
            (0, Some("/root")),
            (112, Some("/var/lib/nagios")),
            (7, None),
            (8, None),
            (9, None),
        ] {
            assert_eq!(home_in(passwd, uid), home.map(OsString::from), "{uid}");
        }
        let env = |name: &str| (name == "HOME").then(|| OsString::from("/home/mon"));
        assert_eq!(home(&env), Some("/home/mon".into()));
    }
}
