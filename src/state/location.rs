//! Where the state is kept, by the user's word or by the environment (SPEC, section 2).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::key::StateKey;
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
    /// The first folder that applies, whether it can be used or not. `file`: the name of the state file, which stays where it is.
    fn default_dir(&self, file: Option<&str>) -> Option<PathBuf> {
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
        // Only root makes folders there. A state that is below the home already is not forgotten when that has been done.
        let is_there = packaged.is_dir() || self.euid == 0;
        let lies_in = |dir: &Path| file.is_some_and(|file| dir.join(file).exists());
        match home {
            Some(home) if !is_there || (lies_in(&home) && !lies_in(&packaged)) => Some(home),
            _ => Some(packaged),
        }
    }

    /// Who may change the way to the folder: in a pod, all containers share the volumes.
    pub fn ancestors(&self) -> Ancestors {
        match (self.var)("KUBERNETES_SERVICE_HOST") {
            Some(_) => Ancestors::SharedInPod,
            None => Ancestors::Private,
        }
    }
}

impl StateLocation {
    /// The state file of this question. `None`: nothing is to be remembered.
    ///
    /// # Errors
    ///
    /// There is no folder for it, and what to do.
    pub fn file(&self, key: &StateKey, state_environment: &StateEnvironment<'_>) -> Result<Option<PathBuf>, String> {
        Ok(match self {
            StateLocation::Nowhere => None,
            StateLocation::File(path) => Some(path.clone()),
            _ => {
                let name = key.file_name();
                self.dir(Some(&name), state_environment)?.map(|dir| dir.join(name))
            }
        })
    }

    /// The folder of the states, or of the state with this name. `None`: nothing is to be remembered.
    ///
    /// # Errors
    ///
    /// As for [`StateLocation::file`].
    pub fn dir(&self, file: Option<&str>, state_environment: &StateEnvironment<'_>) -> Result<Option<PathBuf>, String> {
        Ok(match self {
            StateLocation::Nowhere => None,
            StateLocation::File(path) => Some(parent(path).to_owned()),
            StateLocation::Dir(dir) => Some(dir.clone()),
            StateLocation::Default => Some(state_environment.default_dir(file).ok_or(
                "no folder for the state: neither HOME nor XDG_STATE_HOME is set, \
                 give --state-dir, or --no-state to go without",
            )?),
        })
    }
}
