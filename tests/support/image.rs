//! The image of packaging/container, built by buildah, and a container of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Check, Output, TempDir, from_env};

const UID: &str = "65532";

/// Labels of the image: its source, commit and time.
pub const SOURCE: &str = "https://git.example.org/check_nats_service";
pub const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";
pub const CREATED: (&str, &str) = ("1700000000", "2023-11-14T22:13:20Z");

/// An image, built in storage of its own, and a container of it.
pub struct Image {
    pub dir: TempDir,
    /// That of the container.
    pub name: String,
    pub root: String,
}

impl Image {
    /// With these authorities in the place of the system's.
    pub fn build(ca: &str) -> Image {
        let dir = TempDir::new();
        let context = dir.join("context");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/container/context.sh");
        // Cargo is asked for the parts of the SBOM only.
        let home = std::env::var("HOME").unwrap_or_default();
        let cargo = std::env::var("CARGO_HOME").unwrap_or(format!("{home}/.cargo"));
        let rustup = std::env::var("RUSTUP_HOME").unwrap_or(format!("{home}/.rustup"));
        Check::program(script.to_str().unwrap(), [&context])
            .env("STATIC_BINARY", from_env("CHECK_NATS_SERVICE_STATIC"))
            .env("CA_BUNDLE", ca)
            .env("SOURCE_URL", SOURCE)
            .env("SOURCE_DATE_EPOCH", CREATED.0)
            .env("REVISION", REVISION)
            .env("CARGO_HOME", cargo)
            .env("RUSTUP_HOME", rustup)
            .limit(Duration::from_secs(600))
            .run()
            .assert(0, "");
        let mut image = Image {
            dir,
            name: String::new(),
            root: String::new(),
        };
        image.buildah(&["build", "--isolation", "chroot", "-q", "-t", "probe", &context]);
        image.name = image.buildah(&["from", "probe"]);
        image.root = image.buildah(&["mount", &image.name]);
        image
    }

    /// Returns the output of buildah, in one word.
    #[track_caller]
    pub fn buildah(&self, args: &[&str]) -> String {
        let out = self.run_buildah(args);
        assert_eq!(out.code, Some(0), "{out:?}");
        out.stdout.trim().to_owned()
    }

    pub fn run_buildah(&self, args: &[&str]) -> Output {
        let (root, run) = (self.dir.join("storage"), self.dir.join("run"));
        Check::program(
            "buildah",
            ["--storage-driver", "vfs", "--root", &root, "--runroot", &run],
        )
        .args(args)
        .limit(Duration::from_secs(120))
        .run()
    }

    /// Gives the container a file, as a mounted secret.
    pub fn give(&self, path: &str, text: &[u8]) {
        let path = format!("{}{path}", self.root);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs it in the file system of the container, which is read-only.
    pub fn run(&self, args: &[&str]) -> Output {
        // Every runtime gives it /dev/null.
        let script = format!(
            "mount --bind {0} {0} && mount --bind /dev/null {0}/dev/null && mount -o remount,bind,ro {0} && \
             exec env -i /usr/sbin/chroot --userspec={UID}:{UID} --groups= {0} /check_nats_service \"$@\"",
            self.root
        );
        Check::program("unshare", ["-m", "sh", "-c", &script, "sh"])
            .args(args)
            .run()
    }
}
