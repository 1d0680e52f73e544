//! Credentials that expire (`--creds-warning`, `--creds-critical`): told before they do, whatever else is the matter.

use std::fs;

use serde_json::{Value, json};

use super::support::jwt::{Account, Operator, User, now};
use super::support::prometheus::assert_clean;
use super::support::server::on;
use super::support::{Check, Metrics, Server, Service, Sidecar, TempDir, Version, wait_for};

const HOUR: i64 = 3600;

/// A server that wants JWTs, a service that has one for ever, and a place for other files.
struct Bench {
    server: Server,
    account: Account,
    files: TempDir,
    _service: Service,
}

impl Bench {
    fn new(version: Version) -> Bench {
        let (operator, account) = (Operator::new(), Account::new("APP"));
        let server = Server::with_config(version, &operator.config(&[&account]));
        let files = TempDir::new();
        let creds = files.join("svc.creds");
        fs::write(&creds, account.creds(&User::new("svc"))).unwrap();
        let service = Service::async_nats(&server.url(), "orders").creds(&creds).start();
        Bench {
            server,
            account,
            files,
            _service: service,
        }
    }

    /// A credentials file of this user; its path.
    fn creds(&self, user: User) -> String {
        let path = self.files.join("mon.creds");
        fs::write(&path, self.account.creds(&user)).unwrap();
        path
    }

    /// One that expires in so many seconds.
    fn expiring(&self, seconds: i64) -> String {
        self.creds(User::new("mon").expires(now() + seconds))
    }

    fn check(&self, flags: &[&str]) -> Check {
        Check::new([
            "-s",
            &self.server.url(),
            "-n",
            "orders",
            "--no-state",
            "--stall",
            "20ms",
        ])
        .args(flags)
    }
}

const LIMITS: [&str; 4] = ["--creds-warning", "1d", "--creds-critical", "1h"];

#[test]
#[ignore = "needs nats-server"]
fn credentials_that_expire_soon_are_reported() {
    on(&Version::ALL, |version| {
        let bench = Bench::new(version);
        let run = |creds: &str, flags: &[&str]| bench.check(&[&["--creds", creds, "-v"], flags].concat()).run();
        let up = "1 instance, slowest answer *";

        let far = bench.expiring(48 * HOUR);
        let told = format!("credentials {far} expire in 1d 23h, at 20*Z");
        let fine = format!("NATS_SERVICE OK - orders: {up} | instances=1;;;0; * probe=*s;;;0;");
        let out = run(&far, &[]).assert_first(0, &fine).assert_line(&told);
        assert!(!out.stdout.contains("creds_expiry"), "{out:?}");
        let out = run(&far, &LIMITS).assert_first(0, &(fine + " creds_expiry=*s;86400:;3600:;0;"));
        let left = out.perfdata("creds_expiry").unwrap();
        assert!((47.9 * 3600.0..48.0 * 3600.0).contains(&left), "{out:?}");
        out.assert_line(&told);

        let soon = bench.expiring(12 * HOUR);
        let text = format!("credentials {soon} expire in 11h 59m, at 20*Z, warning below 1d");
        run(&soon, &LIMITS)
            .assert_first(1, &format!("NATS_SERVICE WARNING - orders: {text}, {up} | *"))
            .assert_finding(&format!("WARNING credentials_expiring: {text}"));
        run(&soon, &["--creds-critical", "1h"])
            .assert_first(0, &format!("NATS_SERVICE OK - orders: {up} | *s;;3600:;0;"));
        run(&soon, &[]).assert_first(0, &format!("NATS_SERVICE OK - orders: {up} | *"));

        let now_or_never = bench.expiring(HOUR / 2);
        let text = format!("credentials {now_or_never} expire in 29m *s, at 20*Z, critical below 1h");
        run(&now_or_never, &LIMITS).assert_first(2, &format!("NATS_SERVICE CRITICAL - orders: {text}, {up} | *"));
        let text = format!("credentials {now_or_never} expire in 29m *s, at 20*Z, warning below 1d");
        let out = run(&now_or_never, &["--creds-warning", "1d"]);
        out.assert_first(
            1,
            &format!("NATS_SERVICE WARNING - orders: {text}, {up} | *s;86400:;;0;"),
        );

        // Expired: what the server says counts, and it is said once.
        let expired = bench.expiring(-2 * HOUR);
        let text = format!(
            "NATS at * refused the credentials of {expired}: the user JWT expired 2h ago (Authorization Violation)"
        );
        let line =
            format!("NATS_SERVICE UNKNOWN - orders: {text} | instances=U * creds_expiry=0.000000s;86400:;3600:;0;");
        run(&expired, &LIMITS).assert_first(3, &line);

        for user in [
            User::new("mon"),
            User::new("mon").expires(0),
            User::new("mon").claims("exp", json!(null)),
        ] {
            let never = bench.creds(user);
            let line = format!("NATS_SERVICE OK - orders: {up} | * creds_expiry=U");
            let told = format!("credentials of {never} never expire");
            run(&never, &LIMITS).assert_first(0, &line).assert_line(&told);
            run(&never, &[]).assert_line(&told);
        }
    });
}

/// Also where nobody could be asked: the credentials are to be renewed all the same.
#[test]
#[ignore = "needs nats-server"]
fn expiry_is_reported_beside_other_findings() {
    let mut bench = Bench::new(Version::Newest);
    let soon = bench.expiring(HOUR / 2);
    let text = format!("credentials {soon} expire in 29m *s, at 20*Z, critical below 1h");
    let flags = [&["--creds", &soon], &LIMITS[..]].concat();
    bench.check(&flags).args(["-c", "5:"]).run().assert_first(
        2,
        &format!("NATS_SERVICE CRITICAL - orders: 1 instance, fewer than 5 (range 5:), {text} | *"),
    );
    bench.server.stop();
    bench.check(&flags).run().assert_first(
        2,
        &format!("NATS_SERVICE CRITICAL - orders: {text}, cannot reach NATS at *: connection refused * | *"),
    );
    let soon = bench.expiring(12 * HOUR);
    bench.check(&[&["--creds", &soon], &LIMITS[..]].concat()).run().assert_first(
        3,
        "NATS_SERVICE UNKNOWN - orders: cannot reach NATS at *: connection refused *, credentials * expire in 11h 59m, at *",
    );
    let expired = bench.expiring(-2 * HOUR);
    bench
        .check(&[&["--creds", &expired], &LIMITS[..]].concat())
        .run()
        .assert_first(
            2,
            &format!(
                "NATS_SERVICE CRITICAL - orders: credentials {expired} expired 2h ago, at 20*Z, cannot reach NATS at *"
            ),
        );
}

/// It is our clock that says so, or a server that does not look.
#[test]
#[ignore = "needs nats-server"]
fn expired_credentials_that_the_server_accepts_are_reported() {
    let bench = Bench::new(Version::Newest);
    let open = Server::start(Version::Newest);
    let _service = Service::async_nats(&open.url(), "orders").start();
    let expired = bench.expiring(-2 * HOUR);
    let check = |flags: &[&str]| {
        Check::new(["-s", &open.url(), "-n", "orders", "--no-state", "--creds", &expired])
            .args(flags)
            .run()
    };
    let text = format!(
        "credentials {expired} expired 2h ago, at 20*Z, yet NATS accepts them: does it verify the JWT, and are the clocks right?"
    );
    check(&LIMITS).assert_first(2, &format!("NATS_SERVICE CRITICAL - orders: {text}, 1 instance, * | *"));
    check(&["--creds-warning", "1d"])
        .assert_first(1, &format!("NATS_SERVICE WARNING - orders: {text}, 1 instance, * | *"));
    check(&["-v"]).assert_first(0, "NATS_SERVICE OK - *").assert_line(&text);
}

/// The meaning of an odd `exp` for servers was measured: less than 0 is expired; with one that is no number, nobody can log in.
#[test]
#[ignore = "needs nats-server"]
fn odd_times_are_read_as_servers_do() {
    let bench = Bench::new(Version::Newest);
    let run = |exp: Value, flags: &[&str]| {
        let creds = bench.creds(User::new("mon").claims("exp", exp));
        bench.check(&[&["--creds", &creds], flags].concat()).run()
    };
    for exp in [json!(-5), json!(-0.5), json!(i64::MIN), json!(-1e300)] {
        let out = run(exp, &LIMITS);
        // A server that takes it closes the connection at once, with a word that does not always arrive.
        let told = match out.stdout.contains("refused the credentials") {
            true => {
                "NATS_SERVICE UNKNOWN - orders: NATS at * refused the credentials of *: the user JWT expired 2*d* ago (*"
            }
            false => "NATS_SERVICE CRITICAL - orders: credentials * expired 2*d* ago, at 1970-01-01T00:00:00Z, *",
        };
        let code = if out.stdout.contains("refused the credentials") {
            3
        } else {
            2
        };
        assert_eq!(out.perfdata("creds_expiry"), Some(0.0));
        out.assert_first(code, told);
    }
    // The server refuses a fraction, with a word that does not always arrive. When it ends is told all the same.
    let half = run(json!(now() as f64 + 1800.5), &LIMITS);
    half.assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: credentials * expire in *m *s, at 20*Z, critical below 1h, *127.0.0.1:*",
    );
    for exp in [json!(i64::MAX), json!(u64::MAX), json!(1e300)] {
        let out = run(exp, &[&LIMITS[..], &["-v"]].concat());
        let out = out.assert_line("credentials * expire in 1*d*, at 9999-12-31T23:59:59Z");
        assert!(out.perfdata("creds_expiry") > Some(1e12), "{out:?}");
    }
    for exp in [
        json!("soon"),
        json!((now() + 9999).to_string()),
        json!([1]),
        json!(true),
        json!({}),
    ] {
        let problem = "NATS_SERVICE UNKNOWN - --creds *: the user JWT in it is malformed";
        run(exp, &LIMITS).assert(3, problem);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn expiry_is_reported_for_each_source_of_credentials() {
    let bench = Bench::new(Version::Newest);
    let soon = bench.expiring(12 * HOUR);
    let line = format!(
        "NATS_SERVICE WARNING - orders: credentials {soon} expire in 11h 59m, at 20*Z, warning below 1d, 1 instance, *"
    );
    bench
        .check(&LIMITS)
        .env("NATS_CREDS", &soon)
        .run()
        .assert_first(1, &line);
    let context = bench.files.join("mon.json");
    fs::write(&context, json!({"url": bench.server.url(), "creds": soon}).to_string()).unwrap();
    let check = Check::new(["-n", "orders", "--no-state", "--context", &context]);
    check.args(LIMITS).run().assert_first(1, &line);
    // One server is enough that they are for.
    let servers = format!("{},nats://u:s3cret@127.0.0.1:1", bench.server.url());
    let check = Check::new(["-n", "orders", "--no-state", "-s", &servers]).env("NATS_CREDS", &soon);
    check.args(LIMITS).run().assert_first(1, &line);
}

#[test]
#[ignore = "needs nats-server"]
fn limits_without_credentials_are_a_mistake() {
    let bench = Bench::new(Version::Newest);
    let soon = bench.expiring(12 * HOUR);
    let says = |flags: &[&str], env: &[(&str, &str)], problem: &str| {
        let problem = format!("{problem} (see --help)");
        let run = |mode: &[&str]| {
            let check = Check::new(mode)
                .args(["-n", "orders", "-s", "nats://127.0.0.1:1"])
                .args(flags);
            env.iter()
                .fold(check, |check, (name, value)| check.env(name, value))
                .run()
        };
        run(&["check"]).assert(3, &format!("NATS_SERVICE UNKNOWN - {problem}"));
        run(&["watch"]).assert_stderr(3, "", &format!("check_nats_service: {problem}"));
        let file = bench.files.join("orders.prom");
        run(&["textfile", "-o", &file]).assert_stderr(3, "", &format!("check_nats_service: {problem}"));
    };
    let none = |flag: &str| {
        format!("--{flag}: no creds file is used, and no other login expires, give --creds, or leave it out")
    };
    says(&LIMITS, &[], &none("creds-warning"));
    says(&["--creds-critical", "1d"], &[], &none("creds-critical"));
    let password = [("NATS_PASSWORD", "s3cret")];
    says(
        &["--user", "mon", "--creds-warning", "1d"],
        &password,
        &none("creds-warning"),
    );
    // Beaten by the user info of a URL.
    let beaten = ["--creds-warning", "1d"];
    let url = [
        ("NATS_CREDS", soon.as_str()),
        ("NATS_URL", "nats://u:s3cret@127.0.0.1:1"),
    ];
    let check = url.iter().fold(Check::new(["-n", "orders"]), |check, (name, value)| {
        check.env(name, value)
    });
    let line = format!("NATS_SERVICE UNKNOWN - {} (see --help)", none("creds-warning"));
    check.args(beaten).run().assert(3, &line);

    let creds = ["--creds", &soon];
    let with = |flags: &[&'static str]| [&creds[..], flags].concat();
    let swapped = "--creds-warning: it must be longer than --creds-critical, or it would never be told";
    says(
        &with(&["--creds-warning", "1h", "--creds-critical", "1d"]),
        &[],
        swapped,
    );
    says(
        &with(&["--creds-warning", "1d", "--creds-critical", "24h"]),
        &[],
        swapped,
    );
    says(
        &with(&["--creds-warning", "0"]),
        &[],
        "--creds-warning: it must be longer than 0",
    );
    let bad = "--creds-critical: '1w' is not a duration like 500ms, 10s, 15m or 1h30m";
    says(&with(&["--creds-critical", "1w"]), &[], bad);
    // A pod that restarts has no newer ones.
    let probe = Check::new(["probe", "liveness", "-n", "orders", "--any-instance"])
        .args(LIMITS)
        .run();
    probe.assert_stderr(
        3,
        "",
        "check_nats_service: unexpected argument '--creds-warning' found* (see --help)",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn other_outputs_tell_it_too() {
    let bench = Bench::new(Version::Newest);
    let at = now() + 12 * HOUR;
    let soon = bench.creds(User::new("mon").expires(at));
    let object = |flags: &[&str]| -> Value {
        let out = bench.check(&[&["--format", "json"], flags].concat()).run();
        serde_json::from_str(&out.stdout).unwrap()
    };
    let told = object(&["--creds", &soon]);
    let expires = time::OffsetDateTime::from_unix_timestamp(at).unwrap();
    let expires = expires.format(&time::format_description::well_known::Rfc3339).unwrap();
    assert_eq!(told["credentials"], json!({"file": soon, "expires": expires}));
    assert_eq!((&told["reason"], &told["status"]), (&json!("service_up"), &json!("OK")));
    let told = object(&["--creds", &soon, "--creds-critical", "1d"]);
    assert_eq!(
        (&told["reason"], &told["status"]),
        (&json!("credentials_expiring"), &json!("CRITICAL"))
    );
    let never = bench.creds(User::new("mon"));
    assert_eq!(
        object(&["--creds", &never])["credentials"],
        json!({"file": never, "expires": null})
    );
    assert_eq!(object(&["--user", "u"])["credentials"], json!(null));

    let gauge = |creds: &str| {
        let file = bench.files.join("orders.prom");
        let args = [
            "textfile",
            "-n",
            "orders",
            "-s",
            &bench.server.url(),
            "--creds",
            creds,
            "-o",
            &file,
        ];
        Check::new(args).run().assert(0, "");
        let text = fs::read_to_string(&file).unwrap();
        assert_clean(&text);
        Metrics::parse(&text).of("orders", "nats_service_credentials_expiry_timestamp_seconds")
    };
    assert_eq!(gauge(&never), None);
    let soon = bench.creds(User::new("mon").expires(at));
    assert_eq!(gauge(&soon), Some(at as f64));
    // Refused: it is the only one who knows why.
    let expired = bench.creds(User::new("mon").expires(at - 13 * HOUR));
    assert_eq!(gauge(&expired), Some((at - 13 * HOUR) as f64));
}

/// The whole way of credentials that nobody renews in time, and that somebody renews in the end.
#[test]
#[ignore = "needs nats-server"]
fn sidecar_logs_each_stage_of_the_expiry() {
    let bench = Bench::new(Version::Newest);
    let creds = bench.expiring(24);
    let limits = ["--creds-warning", "17s", "--creds-critical", "9s"];
    let flags = [&["--creds", &creds, "--interval", "500ms"], &limits[..]].concat();
    let sidecar = Sidecar::start(&bench.server.url(), &flags);
    for line in [
        "orders OK service_up: 1 instance, ".to_owned(),
        format!("orders WARNING credentials_expiring: credentials {creds} expire in 1"),
        format!("orders CRITICAL credentials_expiring: credentials {creds} expire in "),
        "orders UNKNOWN auth_rejected: NATS at ".to_owned(),
    ] {
        sidecar.wait_for_line(&line);
    }
    assert!(
        sidecar
            .log()
            .contains(&format!("refused the credentials of {creds}: the user JWT expired "))
    );
    bench.expiring(HOUR);
    wait_for("it is let in again", || {
        (sidecar.log().matches("orders OK service_up").count() > 1).then_some(())
    });
    sidecar.end(libc::SIGTERM);
}
