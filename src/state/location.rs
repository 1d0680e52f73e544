//! Where the state is kept, by the user's word or by the environment (SPEC, section 2).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::files::folder::Ancestors;
use crate::files::replace::parent;

/// The name of the folder in folders that other programs use too.
const PLUGIN: &str = "check_nats_service";

/// Where to keep the state, as the user said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateLocation {
    /// `--no-state`
    Nowhere,
    /// `--state FILE`
    File(PathBuf),
    /// `--state-dir DIR`
    Dir(PathBuf),
    /// Wherever the environment says.
    Default,
}

/// The environment variables that say where state belongs, and the user's id.
pub struct StateEnvironment<'a> {
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
    /// The folder that the package makes for all users of the host.
    pub package_dir: &'a Path,
    pub euid: u32,
}

impl StateEnvironment<'_> {
    /// The first folder that applies, whether it can be used or not. `files`: the names of the state file, and of others in
    /// which the state may be: the first that exists stays where it is.
    fn default_dir(&self, files: &[&str]) -> Option<PathBuf> {
        let var = |name| (self.var)(name).filter(|value| !value.is_empty());
        if let Some(list) = var("STATE_DIRECTORY") {
            // systemd lists several folders with colons between them.
            let first = list.to_string_lossy().split(':').next().unwrap_or_default().to_owned();
            return Some(first.into());
        }
        if let Some(dir) = var("MP_STATE_PATH").or_else(|| var("NAGIOS_PLUGIN_STATE_DIRECTORY")) {
            return Some(Path::new(&dir).join(self.euid.to_string()).join(PLUGIN));
        }
        let home = match var("XDG_STATE_HOME") {
            Some(dir) => Some(Path::new(&dir).join(PLUGIN)),
            None => var("HOME").map(|home| Path::new(&home).join(".local/state").join(PLUGIN)),
        };
        if !self.package_dir.is_dir() {
            return home;
        }
        let packaged = self.package_dir.join(self.euid.to_string());
        // Only root creates folders there. An existing state below the home stays in use after that.
        let is_there = packaged.is_dir() || self.euid == 0;
        let Some(home) = home else { return Some(packaged) };
        if !is_there {
            return Some(home);
        }
        for file in files {
            if let Some(dir) = [&packaged, &home].into_iter().find(|dir| dir.join(file).exists()) {
                return Some(dir.clone());
            }
        }
        Some(packaged)
    }

    /// Returns the users who may own the folders above: in a pod, all containers share the volumes.
    pub fn ancestors(&self) -> Ancestors {
        match (self.var)("KUBERNETES_SERVICE_HOST") {
            Some(_) => Ancestors::SharedInPod,
            None => Ancestors::Private,
        }
    }
}

impl StateLocation {
    /// The state file: the first of these names. The state may be in one of the others, too. `None`: nothing is to be
    /// remembered.
    ///
    /// # Errors
    ///
    /// There is no folder for it, and what to do.
    pub fn file(&self, names: &[&str], state_environment: &StateEnvironment<'_>) -> Result<Option<PathBuf>, String> {
        Ok(match self {
            StateLocation::File(path) => Some(path.clone()),
            _ => self.dir(names, state_environment)?.map(|dir| dir.join(names[0])),
        })
    }

    /// The folder of the states, or of the state with one of these names. `None`: nothing is to be remembered.
    ///
    /// # Errors
    ///
    /// As for [`StateLocation::file`].
    pub fn dir(&self, names: &[&str], state_environment: &StateEnvironment<'_>) -> Result<Option<PathBuf>, String> {
        Ok(match self {
            StateLocation::Nowhere => None,
            StateLocation::File(path) => Some(parent(path).to_owned()),
            StateLocation::Dir(dir) => Some(dir.clone()),
            StateLocation::Default => Some(state_environment.default_dir(names).ok_or(
                "no folder for the state: neither HOME nor XDG_STATE_HOME is set, \
                 give --state-dir, or --no-state to go without",
            )?),
        })
    }
}
