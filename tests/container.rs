//! The image: from scratch, read-only, as somebody without a name, it does what the program does.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::image::{CREATED, Image, REVISION, SOURCE};
use super::support::jwt::{Account, Operator, User};
use super::support::manifest::{parse, validate};
use super::support::{Certs, Check, Server, Service, TempDir, Version, each, is_root, markdown};

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

    // Every label is true: what is not known is left out.
    let labels = image.buildah(&["inspect", &image.name]);
    let labels = serde_json::from_str::<Value>(&labels).unwrap()["OCIv1"]["config"]["Labels"].take();
    let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].as_str();
    assert_eq!(label("version"), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(label("licenses"), Some("Apache-2.0"));
    assert_eq!(label("created"), Some(CREATED.1));
    assert_eq!((label("source"), label("url")), (Some(SOURCE), Some(SOURCE)));
    assert_eq!(label("documentation"), Some(format!("{SOURCE}#readme").as_str()));
    assert_eq!(label("revision"), Some(REVISION));

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
    for part in ["nats", "clap", "rust-std", "glibc", "libgcc", "ca-certificates"] {
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

    let bundle = sbom["components"]
        .as_array()
        .unwrap()
        .iter()
        .find(|part| part["name"] == "ca-certificates");
    let digest = Check::program("sha256sum", [certs.path("ca.pem")]).run().stdout;
    assert_eq!(
        (&bundle.unwrap()["type"], &bundle.unwrap()["hashes"][0]["content"]),
        (&json!("file"), &json!(digest.split(' ').next()))
    );

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

/// The commands that packaging/container/README.md gives to whoever publishes, and to whoever checks what was published.
#[test]
#[ignore = "needs minisign"]
fn a_release_is_signed_and_checked_as_documented() {
    let section = markdown::section("packaging/container/README.md", "## Signatures");
    let blocks = markdown::blocks(&section, "");
    let [publish, check] = &blocks[..] else {
        panic!("two blocks: {section}")
    };
    let dir = TempDir::new();
    std::os::unix::fs::symlink(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging"),
        dir.join("packaging"),
    )
    .unwrap();
    fs::create_dir(dir.join("out")).unwrap();
    let archive = dir.join("out/check_nats_service-0.1.0-x86_64-linux.tar.gz");
    fs::write(&archive, "the archive").unwrap();
    let run = |script: &str, cwd: &str| Check::program("bash", ["-euc", script]).cwd(cwd).run();
    // A key without a password, since nobody is there to type it. release.sh builds for minutes, and signs with this at its end.
    let key = "minisign -G -W -s minisign.key -p minisign.pub";
    assert!(
        publish.contains("minisign -G -s minisign.key -p minisign.pub"),
        "{publish}"
    );
    assert!(
        publish.contains("MINISIGN_KEY=minisign.key packaging/release.sh out"),
        "{publish}"
    );
    let out = run(&format!("{key}\npackaging/sign.sh out minisign.key"), &dir.join(""));
    assert_eq!(out.code, Some(0), "{out:?}");
    fs::copy(dir.join("minisign.pub"), dir.join("out/minisign.pub")).unwrap();
    let out = run(check, &dir.join("out"));
    assert_eq!(out.code, Some(0), "{out:?}");
    assert!(
        out.stdout.contains("Signature and comment signature verified"),
        "{out:?}"
    );
    assert!(
        out.stdout.contains("Trusted comment: check_nats_service-0.1.0\n"),
        "{out:?}"
    );
    assert!(out.stdout.contains("x86_64-linux.tar.gz: OK"), "{out:?}");
    // What was changed after that is found, with or without its checksum.
    fs::write(&archive, "another archive").unwrap();
    assert_eq!(run(check, &dir.join("out")).code, Some(1));
    run("sha256sum check* >SHA256SUMS", &dir.join("out"));
    let out = run(check, &dir.join("out"));
    assert!(
        out.code == Some(1) && out.stderr.contains("Signature verification failed"),
        "{out:?}"
    );
}

/// The pods and the service of packaging/container/README.md are valid, and what they run is there.
#[test]
#[ignore = "needs kubernetes-validate"]
fn the_ways_to_take_the_binary_are_valid() {
    let section = markdown::read("packaging/container/README.md");
    let (pods, others): (Vec<_>, Vec<_>) = markdown::blocks(&section, "yaml")
        .into_iter()
        .partition(|block| block.starts_with("spec:"));
    assert_eq!((pods.len(), others.len()), (2, 1));
    let dir = TempDir::new();
    let path = dir.join("block.yaml");
    for pod in pods {
        fs::write(
            &path,
            format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: orders}}\n{pod}"),
        )
        .unwrap();
        validate(&path, 0);
    }
    // Docker Compose runs the words after CMD in the container.
    fs::write(&path, &others[0]).unwrap();
    let orders = parse(&path).remove(0)["services"]["orders"].take();
    let test: Vec<String> = serde_json::from_value(orders["healthcheck"]["test"].clone()).unwrap();
    assert_eq!(test[..2], ["CMD", "/check_nats_service"]);
    assert_eq!(orders["environment"]["NATS_URL"], "nats://nats:4222");
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let out = Check::new(&test[2..]).env("NATS_URL", server.url()).run();
    out.assert(0, "liveness pass: orders: * (1.0.0) answered in *");
    let copy = markdown::blocks(&section, "dockerfile");
    assert_eq!(
        copy,
        ["COPY --from=registry.example.org/check_nats_service:0.1.0 /check_nats_service /check_nats_service\n"]
    );
}
