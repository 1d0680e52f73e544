//! The image: from scratch, read-only, as somebody without a name, it does what the program does.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::support::jwt::{Account, Operator, User};
use super::support::{Certs, Check, Output, Server, Service, TempDir, Version, each, from_env, is_root};

const UID: &str = "65532";

/// An image, built in storage of its own, and a container of it.
struct Image {
    dir: TempDir,
    name: String,
    root: String,
}

impl Image {
    /// With these authorities in the place of the system's.
    fn build(ca: &str) -> Image {
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

    /// What it says, in one word.
    #[track_caller]
    fn buildah(&self, args: &[&str]) -> String {
        let out = self.run_buildah(args);
        assert_eq!(out.code, Some(0), "{out:?}");
        out.stdout.trim().to_owned()
    }

    fn run_buildah(&self, args: &[&str]) -> Output {
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
    fn give(&self, path: &str, text: &[u8]) {
        let path = format!("{}{path}", self.root);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Runs it in the file system of the container, which is read-only.
    fn run(&self, args: &[&str]) -> Output {
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

#[test]
#[ignore = "needs the release build"]
fn the_image_does_what_the_program_does() {
    if !is_root() {
        return;
    }
    let certs = Certs::new();
    let image = Image::build(&certs.path("ca.pem"));

    // Nothing is in it that is not needed.
    let listed = Check::program("find", [".", "-type", "f"]).cwd(&image.root).run();
    let mut files: Vec<&str> = listed.stdout.lines().collect();
    files.sort_unstable();
    let doc = "./usr/share/doc/check_nats_service";
    assert_eq!(
        files,
        [
            "./check_nats_service",
            "./etc/ssl/certs/ca-certificates.crt",
            &format!("{doc}/LICENSE"),
            &format!("{doc}/sbom.cdx.json")
        ]
    );
    let user = image.buildah(&[
        "inspect",
        "--format",
        "{{.OCIv1.Config.User}} {{.OCIv1.Config.Entrypoint}}",
        &image.name,
    ]);
    assert_eq!(user, "65532:65532 [/check_nats_service]");

    let elf = Check::program("readelf", ["-ld", &format!("{}/check_nats_service", image.root)]).run();
    assert!(
        !elf.stdout.contains("INTERP") && !elf.stdout.contains("(NEEDED)"),
        "{}",
        elf.stdout
    );

    let sbom = fs::read_to_string(format!("{}/{doc}/sbom.cdx.json", image.root)).unwrap();
    let sbom: Value = serde_json::from_str(&sbom).unwrap();
    assert_eq!(
        (&sbom["bomFormat"], &sbom["specVersion"]),
        (&"CycloneDX".into(), &"1.5".into())
    );
    let names: Vec<&str> = sbom["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|part| part["name"].as_str())
        .collect();
    for part in ["nats", "clap", "rust-std", "glibc", "libgcc"] {
        assert!(names.contains(&part), "{part} is missing: {names:?}");
    }
    assert!(
        !names.contains(&"async-nats"),
        "what only tests need is not in it: {names:?}"
    );
    for part in sbom["components"].as_array().unwrap() {
        let hash = part["hashes"][0]["content"].as_str().unwrap_or_default();
        assert!(
            hash.len() == 64 && part["licenses"][0]["expression"].is_string(),
            "{part}"
        );
    }

    let server = Server::start(Version::Newest);
    let tls = Server::with_config(Version::Newest, &certs.config("server", ""));
    let operator = Operator::new();
    let account = Account::new("APP");
    let locked = Server::with_config(Version::V2_10, &operator.config(&[&account]));
    let creds = account.creds(&User::new("mon"));
    image.give("/secrets/mon.creds", creds.as_bytes());
    image.give("/secrets/other-ca.pem", &fs::read(certs.path("other-ca.pem")).unwrap());
    image.give("/secrets/ca.pem", &fs::read(certs.path("ca.pem")).unwrap());
    image.give("/dev/null", b"");
    image.give("/etc/hosts", b"127.0.0.1 localhost nats.test\n");
    // 0400 would be another one's.
    let keys = TempDir::new();
    let creds_path = keys.join("svc.creds");
    fs::write(&creds_path, account.creds(&User::new("svc"))).unwrap();
    let tls_url = tls.url().replace("nats://127.0.0.1", "tls://localhost");
    let _services = [
        Service::async_nats(&server.url(), "orders").start(),
        Service::async_nats(&tls_url, "orders")
            .tlsca(&certs.path("ca.pem"))
            .start(),
        Service::async_nats(&locked.url(), "orders").creds(&creds_path).start(),
    ];
    let by_name = server.url().replace("127.0.0.1", "nats.test");
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("plain", &["-s", &server.url()], "pass", "* (1.0.0) answered in *"),
        ("by name", &["-s", &by_name], "pass", "* (1.0.0) answered in *"),
        (
            "TLS",
            &["-s", &tls_url, "--tlsca", "/secrets/ca.pem"],
            "pass",
            "* (1.0.0) answered in *",
        ),
        (
            "the authorities of the image",
            &["-s", &tls_url],
            "pass",
            "* (1.0.0) answered in *",
        ),
        (
            "TLS of others",
            &["-s", &tls_url, "--tlsca", "/secrets/other-ca.pem"],
            "fail",
            "cannot ask: TLS with NATS at *",
        ),
        (
            "creds",
            &["-s", &locked.url(), "--creds", "/secrets/mon.creds"],
            "pass",
            "* (1.0.0) answered in *",
        ),
        (
            "no creds",
            &["-s", &locked.url()],
            "fail",
            "cannot ask: NATS at * wants credentials *",
        ),
        (
            "no such name",
            &["-s", "nats://elsewhere.test"],
            "fail",
            "cannot ask: cannot resolve elsewhere.test: *",
        ),
    ];
    each(cases, |(what, args, answer, text)| {
        let out = image.run(
            &[
                &[
                    "probe",
                    "readiness",
                    "-n",
                    "orders",
                    "--any-instance",
                    "--timeout",
                    "3s",
                ][..],
                args,
            ]
            .concat(),
        );
        assert!(out.stdout.contains(answer), "{what}: {out:?}");
        out.assert(
            i32::from(*answer == "fail"),
            &format!("readiness {answer}: orders: {text}"),
        );
    });
    // As a container's process, with the image's user and what buildah makes of its network.
    let run = ["run", "--isolation", "chroot", "--network", "host", &image.name, "--"];
    let probe = [
        "/check_nats_service",
        "probe",
        "liveness",
        "-n",
        "orders",
        "--any-instance",
        "--timeout",
        "3s",
        "-s",
    ];
    let out = image.run_buildah(&[&run[..], &probe, &[&server.url()]].concat());
    out.assert(0, "liveness pass: orders: * (1.0.0) answered in *");
    // A check says where to keep its state.
    let out = image.run(&["-s", &server.url(), "-n", "orders"]);
    out.assert(3, "NATS_SERVICE UNKNOWN - orders: *1 instance*");
}
