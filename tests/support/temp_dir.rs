//! A folder of a test's own, which goes when the test ends.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A new empty folder, mode 0700, removed on drop with all that is in it.
pub struct TempDir(PathBuf);

impl TempDir {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        TempDir::new_in(std::env::temp_dir())
    }

    /// In another folder: /dev/shm, where the disk is not to be the slow part.
    pub fn new_in(parent: impl AsRef<Path>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("check_nats_service-test-{}-{number}", std::process::id());
            let path = parent.as_ref().join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return TempDir(path),
                // Left by a killed run with our process id.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(error) => panic!("cannot make {}: {error}", path.display()),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of `name` in it, as text: for arguments.
    pub fn join(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    /// Gives the folder itself (not what is in it) to another user and their group of the same number.
    pub fn give_to(&self, uid: u32) {
        chown(&self.0, Some(uid), Some(uid)).unwrap();
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn is_private_and_goes_with_all_that_is_in_it() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let path = dir.path().to_path_buf();
    assert_ne!(TempDir::new().path(), path);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    fs::create_dir(dir.join("a")).unwrap();
    fs::write(dir.join("a/b"), "").unwrap();
    drop(dir);
    assert!(!path.exists());
}
