//! The static program of the tarball and the image (packaging/static.sh).

use std::fs;
use std::path::Path;

use crate::support::{Check, Server, Service, TempDir, Version, from_env, is_root};

fn program() -> String {
    from_env("CHECK_NATS_SERVICE_STATIC")
}

#[test]
#[ignore = "needs the release build"]
fn it_is_position_independent() {
    let out = Check::program("file", ["-b", &program()]).run();
    assert!(out.stdout.contains(" static-pie linked"), "{out:?}");
    let out = Check::program("readelf", ["-ldW", &program()]).run();
    for (wanted, is_there) in [
        ("INTERP", false),
        ("(NEEDED)", false),
        ("(RELR)", true),
        ("GNU_RELRO", true),
    ] {
        assert_eq!(out.stdout.contains(wanted), is_there, "{wanted}: {}", out.stdout);
    }
    assert!(!out.stdout.contains(" RWE "), "{}", out.stdout);
}

/// Those of an nsswitch.conf would be made for another C library.
#[test]
#[ignore = "needs nats-server"]
fn it_loads_no_library_of_the_host() {
    if !is_root() {
        return;
    }
    let server = Server::start(Version::Newest);
    let _service = Service::async_nats(&server.url(), "orders").start();
    let dir = TempDir::new();
    let nsswitch =
        "hosts: mymachines resolve [!UNAVAIL=return] myhostname\npasswd: files systemd\ngroup: files systemd\n";
    fs::write(dir.join("nsswitch.conf"), nsswitch).unwrap();
    fs::write(dir.join("hosts"), "127.0.0.1 localhost nats.test\n").unwrap();
    let script = r#"
        for file in nsswitch.conf hosts; do mount --bind "$1/$file" /etc/$file; done
        exec strace -f -qq -e trace=open,openat -o "$1/trace" "$2" -s "$3" -n orders -c 1: --state-dir "$1/state" "#;
    let url = server.url().replace("127.0.0.1", "nats.test");
    let run = |program: &str| {
        let out = Check::program(
            "unshare",
            ["-m", "sh", "-c", script, "sh", &dir.join(""), program, &url],
        )
        .run();
        let trace = fs::read_to_string(dir.join("trace")).unwrap();
        (out, trace)
    };
    let (out, trace) = run(&program());
    out.assert(0, "NATS_SERVICE OK - orders: 1 instance*");
    let libraries: Vec<&str> = trace.lines().filter(|line| line.contains(".so")).collect();
    assert!(libraries.is_empty(), "{libraries:#?}");
    assert!(trace.contains("\"/etc/hosts\""), "{trace}");
    // The dynamic one asks the modules of its host, so the test sees when one is loaded.
    let (_, trace) = run(env!("CARGO_BIN_EXE_check_nats_service"));
    assert!(trace.contains("libnss_resolve.so"), "{trace}");
}

#[test]
fn every_published_binary_is_built_by_one_script() {
    let read = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    for (path, words) in [
        ("packaging/container/context.sh", "packaging/static.sh"),
        ("packaging/release.sh", "packaging/container/context.sh"),
        ("tests/bench/run.sh", "packaging/container/context.sh"),
        ("tests/run.sh", "packaging/static.sh"),
    ] {
        assert!(read(path).contains(words), "{path} names no {words}");
    }
}
