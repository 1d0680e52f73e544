//! A request to an endpoint itself (`--request`): none, an error, slow, not as wanted, right; sent once, and never again when
//! somebody may have received it.

use std::fs;
use std::io;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::fake::Request;
use super::support::server::on;
use super::support::service::Builder;
use super::support::{
    Certs, Check, Conn, Fake, LIMIT, Metrics, Monitor, Output, SLACK, Server, Service, TempDir, Version, each,
    from_env, raw, wait_for,
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The rest of a line that has another finding in front.
const AND_UP: &str = ", 2 instances, slowest answer * | instances=2;;;0; * request=";

fn check(url: &str, flags: &[&str]) -> Check {
    Check::new(["-s", url, "-n", "orders"]).args(flags)
}

// --- Real services. ---

type Start = fn(&str, &str) -> Builder;

/// Three implementations that tell the names of their endpoints, each at another server.
const KINDS: [(Start, Version); 3] = [
    (Service::nats_py, Version::V2_9),
    (Service::nats_js, Version::V2_10),
    (Service::async_nats, Version::Newest),
];

#[test]
#[ignore = "needs nats-server"]
fn each_end_of_a_request_to_a_real_service() {
    each(KINDS, |(start, version)| {
        let server = Server::start(version);
        let url = server.url();
        let _two = start(&url, "orders").count(2).start();
        let monitor = Monitor::new(&url);
        let run = |flags: &[&str]| monitor.check(["-v"]).args(flags).run();

        run(&[
            "--request",
            "echo",
            "--payload",
            "{\"ok\": true}",
            "--reply-contains",
            "\"ok\": true",
        ])
        .assert_first(
            0,
            "NATS_SERVICE OK - orders: 2 instances, slowest answer * | instances=2;;;0; * request=0.*s;;;0;",
        )
        .assert_line("request to orders.echo (endpoint echo) answered in *, 12 bytes");
        // The same by the subject, with headers, which change nothing here.
        run(&[
            "--subject",
            "orders.echo",
            "--header",
            "X-Check: 1",
            "--header",
            "X-Check:2",
        ])
        .assert_first(0, "NATS_SERVICE OK - orders: 2 instances, *")
        .assert_line("request to orders.echo answered in *, 0 bytes");

        let failed = |text: &str| format!("NATS_SERVICE CRITICAL - orders: request failed: {text}{AND_UP}*");
        run(&["--request", "fail"])
            .assert_first(
                2,
                &failed("orders.fail answered with error 500: no database: kaputt ünï"),
            )
            .assert_finding("CRITICAL request_failed: *");
        run(&["--request", "echo", "--payload", "good", "--reply-contains", "bad"])
            .assert_first(2, &failed("the reply of orders.echo (4 bytes) does not contain: bad"))
            .assert_line("the reply begins: good");
        run(&["--request", "ecco"]).assert_first(
            2,
            &failed("no endpoint is named ecco, did you mean echo?").replace("request=*", "request=U"),
        );
        run(&["--request", "zzz"]).assert_first(
            2,
            &failed("no endpoint is named zzz, there are: echo, fail, never, slow"),
        );
        run(&["--subject", "orders.nothing"]).assert_first(
            2,
            &failed("no responders on orders.nothing, though 2 instances answered PING"),
        );

        let slow = ["--request", "slow", "--payload", "400"];
        run(&slow).assert_first(0, "NATS_SERVICE OK - orders: 2 instances, * request=*s;;;0;");
        let late = run(&[&slow[..], &["--request-warning", "200ms"]].concat());
        late.assert_first(
            1,
            &format!(
                "NATS_SERVICE WARNING - orders: request slow: orders.slow took *, warning above 200ms{AND_UP}*s;0.2;;0;"
            ),
        )
        .assert_finding("WARNING request_slow: *");
        let late = run(&[
            &slow[..],
            &["--request-warning", "100ms", "--request-critical", "200ms"],
        ]
        .concat());
        assert!(late.perfdata("request").is_some_and(|took| took > 0.4), "{late:?}");
        late.assert_first(
            2,
            "NATS_SERVICE CRITICAL - orders: request slow: orders.slow took *, critical above 200ms, *s;0.1;0.2;0;",
        );
        run(&[&slow[..], &["--request-critical", "20s"]].concat()).assert_first(0, "NATS_SERVICE OK - *s;;20;0;");

        // Nothing of it is left behind.
        run(&[]).assert_first(0, "NATS_SERVICE OK - orders: 2 instances, *");
        assert!(!run(&[]).stdout.contains("request"), "only with the flags");
    });
}

#[test]
#[ignore = "needs nats-server"]
fn timed_no_reply_ends_in_time() {
    each(KINDS, |(start, version)| {
        let server = Server::start(version);
        let url = server.url();
        let _one = start(&url, "orders").start();
        let limit = ms(2000);
        let out = check(&url, &["--request", "never", "-t", "2s", "-v"]).run();
        out.assert_within(limit + SLACK)
            .assert_first(
                2,
                "NATS_SERVICE CRITICAL - orders: request failed: no reply on orders.never within 1.*s, though 1 instance \
                 answered PING: hung, overloaded, or not allowed to publish to our inbox, 1 instance, * | instances=1;;;0; * \
                 request=U",
            )
            .assert_line("request to orders.never (endpoint never) not answered");
    });
}

#[test]
#[ignore = "needs nats-server"]
fn an_old_library_has_a_default_endpoint() {
    let server = Server::start(Version::V2_10);
    let _one = Service::nats_go(&server.url(), "orders").start();
    let run = |flags: &[&str]| check(&server.url(), &["-v"]).args(flags).run();
    run(&["--request", "default", "--payload", "x"])
        .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, * request=0.*s;;;0;")
        .assert_line("request to orders.echo (endpoint default) answered in *, 1 byte");
    run(&["--request", "echo"]).assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: request failed: no endpoint is named echo, there are: default, *",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn endpoints_that_are_an_object_are_found() {
    let server = Server::start(Version::Newest);
    let options = ["object=1", "endpoint=ping:v1.ping+find:v1.find"];
    let _php = Service::odd(&server.url(), "orders", 1, &options).start();
    check(&server.url(), &["-v", "--request", "find", "--payload", "x"])
        .run()
        .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, * request=0.*s;;;0;")
        .assert_line("request to v1.find (endpoint find) answered in *, 6 bytes");
}

#[test]
#[ignore = "needs nats-server"]
fn a_group_that_info_leaves_out_is_hinted_at() {
    let server = Server::start(Version::V2_10);
    let _one = Service::odd(&server.url(), "orders", 1, &["endpoint=echo:echo", "real=group.echo"]).start();
    check(&server.url(), &["--request", "echo"]).run().assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: request failed: no responders on echo, though 1 instance answered PING (if the \
         endpoint is in a group, give --subject GROUP.echo)* | instances=1;;;0; * request=U",
    );
    check(&server.url(), &["--subject", "group.echo"])
        .run()
        .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
}

#[test]
#[ignore = "needs nats-server"]
fn a_hundred_endpoints_with_schemas_are_read() {
    let server = Server::start(Version::V2_10);
    let url = server.url();
    let options = ["endpoints=100", "endpoint_pad=3000", "pad=66000", "requests=7"];
    let _big = Service::odd(&url, "orders", 1, &options).start();
    let sizes =
        ["PING", "INFO", "STATS"].map(|verb| raw::ask(&url, &format!("$SRV.{verb}.orders"), 1).unwrap()[0].len());
    assert!(
        sizes[0] > 65_536 && sizes[1] > 262_144 && sizes[2] > 262_144,
        "{sizes:?}"
    );
    check(&url, &["-v", "--request", "echo", "--stats", "-c", "1:"])
        .run()
        .assert_first(
            0,
            "NATS_SERVICE OK - orders: 1 instance, * requests=0c;;;0; * request=0.*s;;;0;",
        )
        .assert_line("request to orders.echo (endpoint echo) answered in *, 5 bytes")
        .assert_line("no rates yet: they need the counters of two checks");
}

#[test]
#[ignore = "needs nats-server"]
fn a_reply_with_headers_that_are_not_utf8_is_read() {
    const CUSTOMER: &str = "header=X-Customer: M\\xfcller";
    const ERROR: &str = "header=Nats-Service-Error: Kunde M\\xfcller fehlt";
    let server = Server::start(Version::V2_9);
    let url = server.url();
    for ping_header in [None, Some("ping_header=1")] {
        let options = |header| [Some(header), ping_header].into_iter().flatten().collect::<Vec<_>>();
        let one = Service::odd(&url, "orders", 1, &options(CUSTOMER)).start();
        check(&url, &["-v", "--request", "echo", "--payload", "x"])
            .run()
            .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, * request=0.*s;;;0;")
            .assert_line("request to orders.echo (endpoint echo) answered in *, 6 bytes")
            .assert_line("headers that are not UTF-8, or malformed, in replies of: *");
        one.stop();
        let _one = Service::odd(&url, "orders", 1, &options(ERROR)).start();
        check(&url, &["--request", "echo"]).run().assert_first(
            2,
            "NATS_SERVICE CRITICAL - orders: request failed: orders.echo answered with an error: Kunde M?ller fehlt*",
        );
    }
}

/// The client cannot read them there, and somebody has received the request, so it is sent once and not judged.
#[test]
#[ignore = "needs nats-server"]
fn over_tls_a_reply_with_headers_that_are_not_utf8_is_not_judged() {
    let certs = Certs::new();
    let server = Server::with_config(Version::Newest, &certs.config("server", ""));
    let url = format!("tls://127.0.0.1:{}", server.port());
    let ca = certs.path("ca.pem");
    for options in [&["header=X: \\xfc"][..], &["header=X: \\xfc", "ping_header=1"]] {
        let _one = Service::odd(&url, "orders", 1, options).option("tlsca", &ca).start();
        check(&url, &["--tlsca", &ca, "--request", "echo"]).run().assert_first(
            3,
            "NATS_SERVICE UNKNOWN - orders: request not judged: *1 instance, * request=U",
        );
    }
}

#[test]
#[ignore = "needs nats-server"]
fn over_tls_and_with_a_file_of_any_bytes() {
    let certs = Certs::new();
    let server = Server::with_config(Version::Newest, &certs.config("server", ""));
    let url = format!("tls://127.0.0.1:{}", server.port());
    let ca = certs.path("ca.pem");
    let _one = Service::async_nats(&url, "orders").tlsca(&ca).start();
    let dir = TempDir::new();
    let payload: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    fs::write(dir.join("payload"), &payload).unwrap();
    for _ in 0..10 {
        let flags = [
            "--tlsca",
            &ca,
            "--request",
            "echo",
            "--payload-file",
            &dir.join("payload"),
            "-v",
        ];
        check(&url, &flags)
            .run()
            .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, * request=0.*s;;;0;")
            .assert_line("request to orders.echo (endpoint echo) answered in *, 200000 bytes");
    }
    let flags = ["--tlsca", &ca, "--request", "never", "-t", "2s"];
    check(&url, &flags).run().assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: request failed: no reply on orders.never within *",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn statistics_and_endpoints_are_requested_with_the_ping() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let _two = Service::async_nats(&url, "orders").count(2).start();
    let monitor = Monitor::new(&url);
    for _ in 0..3 {
        let flags = ["--stats", "--request", "echo", "--payload", "x", "-vvv"];
        let out = monitor.check(flags).run();
        assert!(!out.stdout.contains("a message that answers no request"), "{out:?}");
        out.assert_first(0, "NATS_SERVICE OK - orders: 2 instances, *")
            .assert_line("request to orders.echo (endpoint echo) answered in *, 1 byte");
    }
    // Neither denial is taken for the other, or for that of the question.
    let user = "{user: mon, password: pw, permissions: {publish: {allow: [\"$SRV.PING.orders\"]}}}";
    let server = Server::with_config(
        Version::V2_10,
        &format!("authorization {{ users: [{{user: app, password: app}}, {user}] }}"),
    );
    let url = |who: &str| server.url().replace("//", &format!("//{who}@"));
    let _one = Service::async_nats(&url("app:app"), "orders").start();
    check(&url("mon:pw"), &["--stats", "--request", "echo"])
        .run()
        .assert_first(
            3,
            "NATS_SERVICE UNKNOWN - orders: no statistics: NATS at * does not let us publish to $SRV.STATS.orders, *, request not \
             judged: NATS at * does not let us publish to $SRV.INFO.orders, *, 1 instance, slowest answer *",
        );
}

#[test]
#[ignore = "needs nats-server"]
fn no_request_is_sent_during_an_outage() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let monitor = Monitor::new(&url);
    let flags = ["--request", "echo", "--request-warning", "1s"];
    let one = Service::async_nats(&url, "orders").start();
    monitor
        .check(flags)
        .run()
        .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
    one.kill();
    server.wait_for_instances("orders", 0);
    for text in ["down, no responders, ", "still down for *, no responders, "] {
        let out = monitor.check(flags).arg("-v").run();
        assert!(!out.stdout.contains("request failed"), "{out:?}");
        out.assert_first(
            2,
            &format!("NATS_SERVICE CRITICAL - orders: {text}* outage=*s;;;0; * request=U"),
        );
    }
    let _again = Service::async_nats(&url, "orders").start();
    monitor.check(flags).run().assert_first(
        0,
        "NATS_SERVICE OK - orders: 1 instance, recovered after * request=0.*s;1;;0;",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn denied_request_is_no_failure_of_the_service() {
    let with = |publish: &str| {
        let user = format!("{{user: mon, password: pw, permissions: {{publish: {{allow: [{publish}]}}}}}}");
        format!("authorization {{ users: [{{user: app, password: app}}, {user}] }}")
    };
    on(&Version::ALL, |version| {
        let ping = "\"$SRV.PING.orders\"";
        let mut server = Server::with_config(version, &with(ping));
        let (app, mon) = (
            server.url().replace("//", "//app:app@"),
            server.url().replace("//", "//mon:pw@"),
        );
        let _one = Service::async_nats(&app, "orders").start();
        let back = || {
            wait_for("the service", || {
                (raw::ping(&app, "orders", 2).ok()?.len() == 1).then_some(())
            })
        };
        let denied = |subject: &str| {
            format!(
                "NATS_SERVICE UNKNOWN - orders: request not judged: NATS at 127.0.0.1:* does not let us publish to {subject}, \
                 add to the user*s permissions: publish: {{allow: [*{subject}*]}}, 1 instance, slowest answer *"
            )
        };
        let out = check(&mon, &["--request", "echo", "-v"]).run();
        out.assert_first(3, &denied("$SRV.INFO.orders"))
            .assert_finding("UNKNOWN permission_denied: *");
        check(&mon, &["--subject", "orders.echo"])
            .run()
            .assert_first(3, &denied("orders.echo"));
        server.restart(&with(&format!("{ping}, \"$SRV.INFO.orders\"")));
        back();
        check(&mon, &["--request", "echo"])
            .run()
            .assert_first(3, &denied("orders.echo"));
        server.restart(&with(&format!("{ping}, \"$SRV.INFO.orders\", \"orders.echo\"")));
        back();
        check(&mon, &["--request", "echo"])
            .run()
            .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
    });
}

#[test]
#[ignore = "needs nats-server"]
fn a_payload_that_the_server_does_not_take_is_not_sent() {
    let server = Server::with_config(Version::Newest, "max_payload: 1000");
    let url = server.url();
    let _one = Service::async_nats(&url, "orders").start();
    let run = |size: usize| check(&url, &["--request", "echo", "--payload", &"x".repeat(size), "-v"]).run();
    run(1000).assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
    run(1001)
        .assert_first(
            3,
            "NATS_SERVICE UNKNOWN - orders: request not sent: it has 1001 bytes, and the server takes 1000 (max_payload), *",
        )
        .assert_finding("UNKNOWN usage: *");
    // The headers count: 24 bytes.
    let run = |size: usize| {
        let payload = "x".repeat(size);
        let flags = [
            "--subject",
            "orders.echo",
            "--header",
            "Key:value",
            "--payload",
            &payload,
        ];
        check(&url, &flags).run()
    };
    run(977).assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
    run(978).assert_first(
        3,
        "NATS_SERVICE UNKNOWN - orders: request not sent: it has 1001 bytes, *",
    );
}

#[test]
#[ignore = "needs nats-server"]
fn through_an_import_the_subject_may_have_another_name() {
    let config = |imports: &[&str]| {
        let of = |(from, to): (&str, &str)| format!("{{service: {{account: APP, subject: \"{from}\"}}, to: \"{to}\"}}");
        let imports: Vec<String> = imports.iter().map(|name| of((name, &format!("APP.{name}")))).collect();
        format!(
            r#"accounts {{
                 APP {{ users: [{{user: app, password: app}}]
                       exports: [ {{service: "$SRV.>", response_type: stream}}, {{service: "orders.>"}} ] }}
                 MON {{ users: [{{user: mon, password: pw}}], imports: [ {} ] }}
               }}"#,
            imports.join(", ")
        )
    };
    let ping = "$SRV.PING.>";
    let mut server = Server::with_config(Version::Newest, &config(&[ping]));
    let app = server.url().replace("//", "//app:app@");
    let mon = server.url().replace("//", "//mon:pw@");
    let _one = Service::async_nats(&app, "orders").start();
    let run = |flags: &[&str]| check(&mon, &["--srv-prefix", "APP.$SRV"]).args(flags).run();
    run(&["--request", "echo"]).assert_first(
        3,
        "NATS_SERVICE UNKNOWN - orders: request not judged: the endpoints are unknown: no responders on APP.$SRV.INFO.orders, \
         though 1 instance answered PING, import it too, or give --subject, *",
    );
    server.restart(&config(&[ping, "$SRV.INFO.>", "orders.>"]));
    wait_for("the service", || {
        (raw::ping(&app, "orders", 2).ok()?.len() == 1).then_some(())
    });
    run(&["--request", "echo"]).assert_first(
        3,
        "NATS_SERVICE UNKNOWN - orders: request not judged: no responders on orders.echo, which may have another name here, \
         through an import: give it with --subject, *",
    );
    run(&["--subject", "APP.orders.echo"]).assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
}

#[test]
#[ignore = "needs nats-server"]
fn the_acknowledgement_of_a_stream_is_no_reply() {
    let server = Server::with_config(Version::Newest, "jetstream { store_dir: js }");
    let url = server.url();
    let _one = Service::async_nats(&url, "orders").start();
    let stream = r#"{"name":"CAP","subjects":["orders.gone","orders.echo"],"storage":"memory"}"#;
    wait_for("JetStream", || {
        let made = raw::request(&url, "$JS.API.STREAM.CREATE.CAP", stream, 1).ok()?;
        String::from_utf8_lossy(made.first()?)
            .contains("\"created\"")
            .then_some(())
    });
    check(&url, &["--subject", "orders.gone", "-t", "2s"]).run().assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: request failed: no reply on orders.gone within *s, but the acknowledgement of a \
         JetStream stream that captures it, *",
    );
    // Where the endpoint is there, its own reply counts, whichever comes first.
    for _ in 0..10 {
        check(
            &url,
            &["--request", "echo", "--payload", "hello", "--reply-contains", "hello"],
        )
        .run()
        .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
    }
    // Unless it is what is wanted.
    check(&url, &["--subject", "orders.gone", "--reply-contains", "CAP"])
        .run()
        .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
}

// --- The other outputs. ---

#[test]
#[ignore = "needs nats-server"]
fn json_and_metrics_say_the_same() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let _one = Service::nats_py(&url, "orders").start();
    let object = |flags: &[&str]| -> Value {
        let out = check(&url, &["--format", "json"]).args(flags).run();
        serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
    };
    let good = object(&["--request", "echo", "--payload", "hi"]);
    let took = good["request"]["reply_seconds"].as_f64().expect("a time");
    assert!(took > 0.0 && took < 5.0, "{good}");
    assert_eq!(
        good["request"],
        json!({"endpoint": "echo", "subject": "orders.echo", "success": true, "reply_seconds": took, "reply_bytes": 2,
               "reply_from": null, "error": null})
    );
    let bad = object(&["--subject", "orders.fail"]);
    assert_eq!(
        (&bad["reason"], &bad["exit_code"]),
        (&json!("request_failed"), &json!(2))
    );
    assert_eq!(bad["request"]["endpoint"], Value::Null);
    assert_eq!(
        (&bad["request"]["success"], &bad["request"]["error"]),
        (
            &json!(false),
            &json!({"code": "500", "text": "no database: kaputt ünï"})
        )
    );
    assert_eq!(object(&[])["request"], Value::Null);

    let dir = TempDir::new();
    let file = dir.join("orders.prom");
    let metrics = |flags: &[&str]| {
        Check::new(["textfile", "-s", &url, "-n", "orders", "-o", &file])
            .args(flags)
            .run()
            .assert(0, "");
        let script = format!("{} check metrics <{file}", from_env("PROMTOOL"));
        Check::program("sh", ["-c", &script]).run().assert(0, "");
        Metrics::parse(&fs::read_to_string(&file).unwrap())
    };
    let success = |metrics: &Metrics| metrics.of("orders", "nats_service_request_success");
    let seconds = |metrics: &Metrics| metrics.of("orders", "nats_service_request_duration_seconds");
    let good = metrics(&["--request", "echo"]);
    assert_eq!(
        (success(&good), good.reasons("orders")),
        (Some(1.0), vec!["service_up"])
    );
    assert!(seconds(&good).is_some_and(|seconds| seconds > 0.0));
    let slow = metrics(&["--request", "echo", "--request-critical", "0"]);
    assert_eq!(success(&slow), Some(1.0));
    assert_eq!(slow.reasons("orders"), ["request_slow", "service_up"]);
    let none = metrics(&["--subject", "orders.none"]);
    assert_eq!((success(&none), seconds(&none)), (Some(0.0), None));
    let without = metrics(&[]);
    assert_eq!((success(&without), seconds(&without)), (None, None));
}

#[test]
#[ignore = "needs nats-server"]
fn the_sidecar_reads_its_payload_anew_each_time() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let _one = Service::async_nats(&url, "orders").start();
    let dir = TempDir::new();
    let (payload, status) = (dir.join("payload"), dir.join("status.json"));
    // Whole, whenever it is read.
    let write = |text: &str| {
        fs::write(dir.join("new"), text).unwrap();
        fs::rename(dir.join("new"), &payload).unwrap();
    };
    write("good");
    let flags = [
        "--request",
        "echo",
        "--payload-file",
        &payload,
        "--reply-contains",
        "good",
    ];
    let sidecar = Check::new([
        "watch",
        "-s",
        &url,
        "-n",
        "orders",
        "--interval",
        "100ms",
        "--status-file",
        &status,
    ])
    .args(flags)
    .spawn();
    let wait_until = |word: &str| {
        wait_for(word, || {
            let object: Value = serde_json::from_str(&fs::read_to_string(&status).ok()?).ok()?;
            (object["reason"] == word).then_some(())
        });
    };
    wait_until("service_up");
    write("bad");
    wait_until("request_failed");
    fs::remove_file(&payload).unwrap();
    wait_until("config_unusable");
    write("good again");
    wait_until("service_up");
    sidecar.signal(libc::SIGTERM);
    let out = sidecar.wait();
    let lines: Vec<&str> = out.stderr.lines().collect();
    // The first line is that of the start.
    for (line, text) in lines.iter().skip(1).zip([
        " orders OK service_up: 1 instance, ",
        " orders CRITICAL request_failed: request failed: the reply of orders.echo (3 bytes) does not contain: good",
        " orders UNKNOWN config_unusable: --payload-file ",
    ]) {
        assert!(line.contains(text), "{text}: {out:?}");
    }
    assert!(lines.len() >= 5 && out.code == Some(0), "{out:?}");
}

// --- What services may do. ---

const PING: &[u8] = br#"{"name":"orders","id":"A"}"#;

/// A server with one instance that tells its endpoint, where the script deals with the requests to it.
fn endpoint(reply: impl Fn(&mut Conn, &Request, usize) -> io::Result<()> + Send + Sync + 'static) -> Fake {
    Fake::start(move |conn| {
        conn.handshake()?;
        let mut nth = 0;
        loop {
            let request = conn.read_request()?;
            match request.subject.as_str() {
                "$SRV.PING.orders" => conn.reply(&request, PING)?,
                "$SRV.INFO.orders" => conn.reply(
                    &request,
                    br#"{"name":"orders","id":"A","endpoints":[{"name":"echo","subject":"orders.echo"}]}"#,
                )?,
                _ => {
                    nth += 1;
                    reply(conn, &request, nth)?;
                }
            }
        }
    })
}

/// Returns the number of requests to the endpoint.
fn requests(fake: &Fake) -> usize {
    let lines = fake.received();
    let is_request = |line: &&String| line.starts_with("PUB orders.echo ") || line.starts_with("HPUB orders.echo ");
    lines.iter().filter(is_request).count()
}

fn ask(fake: &Fake, flags: &[&str]) -> Output {
    check(&fake.url(), &["--no-state", "--request", "echo"])
        .args(flags)
        .run()
}

#[test]
fn request_follows_the_ping_in_order() {
    let fake = endpoint(|conn, request, _| conn.reply(request, b"x"));
    ask(&fake, &["--header", "B: 2", "--payload", "hello"]).assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
    let lines = fake.received();
    let at = |start: &str| {
        let found = lines.iter().position(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start}: {lines:?}"))
    };
    let asked = at("PUB $SRV.PING.orders ");
    assert_eq!(at("PUB $SRV.INFO.orders "), asked + 1, "{lines:?}");
    assert_eq!(lines[asked + 2], "PING", "{lines:?}");
    let request = at("HPUB orders.echo ");
    // NATS/1.0, B:2, an empty line.
    assert!(lines[request].ends_with(" 17 22"), "{lines:?}");
    assert_eq!(requests(&fake), 1);
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_request_that_may_have_been_received_is_sent_once() {
    type Script = fn(&mut Conn, &Request, usize) -> io::Result<()>;
    let cases: [(&str, Script, i32, &str); 7] = [
        (
            "silence",
            |_, _, _| Ok(()),
            2,
            "CRITICAL - orders: request failed: no reply on orders.echo within *",
        ),
        (
            "a 503 of the service",
            |conn, request, _| conn.reply_with_headers(request, "NATS/1.0 503\r\nX-Id: 7\r\n\r\n", b""),
            2,
            "CRITICAL - orders: request failed: orders.echo answered with error 503, *",
        ),
        (
            "a late 503 of somebody",
            |conn, request, _| {
                // The passing of time is what is tested: a reply that is late.
                std::thread::sleep(ms(300));
                conn.send_raw(b"PONG\r\n")?;
                // The client's threads may tell of both in any order, when they come at once.
                conn.hold(ms(300))?;
                conn.no_responders(request)
            },
            2,
            "CRITICAL - orders: request failed: no reply on orders.echo within *",
        ),
        (
            "the end of the connection",
            |conn, _, _| conn.close(),
            3,
            "UNKNOWN - orders: request not judged: the connection to NATS at * broke while waiting for the reply of an \
             endpoint, a reply that breaks the protocol does that, 1 instance, *",
        ),
        (
            "a broken header",
            |conn, request, _| conn.reply_with_headers(request, "NATS/1.0\r\nno colon\r\n\r\n", b"x"),
            0,
            "OK - orders: 1 instance, * request=0.*",
        ),
        (
            "an error of the server",
            |conn, _, _| conn.send_raw(b"-ERR 'Maximum Payload Violation'\r\n"),
            3,
            "UNKNOWN - orders: request not judged: NATS at * said: Maximum Payload Violation, 1 instance, *",
        ),
        (
            "silence of the server, too",
            |conn, _, _| {
                conn.answer_pings(false);
                Ok(())
            },
            3,
            "UNKNOWN - orders: request not judged: NATS at * took the request but stopped answering, *, 1 instance, *",
        ),
    ];
    each(cases, |(name, script, code, line)| {
        let fake = endpoint(script);
        let limit = ms(2000);
        let out = ask(&fake, &["-t", "2s"]);
        let runs = fake
            .received()
            .iter()
            .filter(|line| line.starts_with("CONNECT "))
            .count();
        assert!(!out.stdout.contains("interrupted"), "{name}: {out:?}");
        out.assert_within(limit + SLACK)
            .assert_first(code, &format!("NATS_SERVICE {line}"));
        assert_eq!(requests(&fake), runs, "{name}");
    });
}

#[test]
fn request_without_receiver_is_sent_again() {
    let fake = endpoint(|conn, request, nth| match nth {
        1 => conn.no_responders(request),
        // The forms that servers use.
        2 => conn.reply_with_headers(request, "NATS/1.0 503\r\nNats-Subject: orders.echo\r\n\r\n", b""),
        _ => conn.reply(request, b"x"),
    });
    ask(&fake, &[]).assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
    let inboxes = |fake: &Fake| -> usize {
        let lines = fake.received();
        let asked = lines.iter().filter(|line| line.starts_with("PUB orders.echo "));
        let inboxes = asked.filter_map(|line| line.split(' ').nth(2).map(str::to_owned));
        inboxes.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!((requests(&fake), inboxes(&fake)), (3, 3), "a fresh inbox for each");

    let fake = endpoint(|conn, request, _| conn.no_responders(request));
    ask(&fake, &[]).assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: request failed: no responders on orders.echo, though 1 instance answered PING \
         (if the endpoint is in a group, give --subject GROUP.orders.echo)*",
    );
    assert_eq!(requests(&fake), 3);
}

/// A script that keeps the first request, to answer it later.
fn reply_to(conn: &mut Conn, inbox: &str, sid: &str, payload: &[u8]) -> io::Result<()> {
    let head = format!("MSG {inbox} {sid} {}\r\n", payload.len());
    conn.send_raw(&[head.as_bytes(), payload, b"\r\n"].concat())
}

#[test]
fn wrong_inboxes_late_replies_and_floods_are_survived() {
    // Each message that is published has a number, which ends its reply subject.
    let other = |inbox: &str, number: &str| {
        let (start, _) = inbox.rsplit_once('.').expect("a number");
        format!("{start}.{number}")
    };
    let fake = endpoint(move |conn, request, nth| {
        if nth == 1 {
            return conn.no_responders(request);
        }
        // To the first one, to those never sent, to no inbox of ours, and to the question itself.
        let number = request
            .reply
            .rsplit('.')
            .next()
            .and_then(|number| number.parse::<usize>().ok());
        let first = number.expect("a number") - 1;
        for inbox in [
            other(&request.reply, &first.to_string()),
            other(&request.reply, "99"),
            format!("{}9", request.reply),
            other(&request.reply, "x"),
            other(&request.reply, ""),
            other(&request.reply, "0"),
        ] {
            reply_to(conn, &inbox, &request.sid, b"forged")?;
        }
        conn.reply(request, b"right")?;
        for _ in 0..2000 {
            conn.reply(request, b"too late")?;
        }
        conn.reply_with_headers(request, "NATS/1.0 503\r\n\r\n", b"")
    });
    ask(&fake, &["--reply-contains", "right"]).assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
    assert_eq!(requests(&fake), 2);
}

#[test]
fn hostile_replies_cannot_forge_or_grow() {
    let fake = endpoint(|conn, request, _| {
        let long = "y".repeat(5000);
        let headers = format!(
            "NATS/1.0\r\nNats-Service-Error: down | instances=99 \x1b[2J<b>$(id) {long}\r\nNats-Service-Error-Code: 5|00\r\n\r\n"
        );
        conn.reply_with_headers(request, &headers, b"")
    });
    let out = ask(&fake, &["-v"]);
    assert!(
        out.stdout.len() < 1500 && out.stdout.matches('|').count() == 1,
        "{out:?}"
    );
    assert!(!out.stdout.contains(['\x1b', '<', '$']), "{out:?}");
    out.assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: request failed: orders.echo answered with error 5?00: down ? instances=99 ?[2J?b??(id) *",
    );

    // 20 MiB is within the bound on memory.
    let fake = endpoint(|conn, request, _| conn.reply(request, &vec![b'|'; 20 << 20]));
    let out = ask(&fake, &["-v", "--reply-contains", "x", "-t", "60s"]);
    assert!(
        out.stdout.len() < 1500 && out.stdout.matches('|').count() == 1,
        "{out:?}"
    );
    out.assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: request failed: the reply of orders.echo (20971520 bytes) does not contain: x, *",
    );
    // What is not, is told.
    let fake = endpoint(|conn, request, _| conn.reply(request, &vec![b'|'; 200 << 20]));
    let out = ask(&fake, &[]);
    assert_eq!(out.code, Some(3), "{out:?}");
}

/// Tells these endpoints, and answers whatever is asked.
fn telling(info: &'static str) -> Fake {
    Fake::start(move |conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            match request.subject.as_str() {
                "$SRV.PING.orders" => conn.reply(&request, PING)?,
                "$SRV.INFO.orders" => conn.reply(&request, info.as_bytes())?,
                _ => conn.reply(&request, b"")?,
            }
        }
    })
}

#[test]
fn no_request_is_sent_to_a_hostile_subject() {
    let cases = [
        (
            r#"{"name":"orders","id":"A","endpoints":[{"name":"echo","subject":"x 0\r\n\r\nPUB victim 5\r\nhello\r\nPUB y"}]}"#,
            "UNKNOWN - orders: request not sent: the endpoint echo reports the subject x?0????PUB?victim?5??hello??PUB?y, which has \
             wildcards or belongs to NATS itself: give a subject with --subject, *",
        ),
        (
            r#"{"name":"orders","id":"A","endpoints":[{"name":"echo","subject":"orders.*.echo"}]}"#,
            "UNKNOWN - orders: request not sent: the endpoint echo reports the subject orders.*.echo, which has wildcards *",
        ),
        (
            r#"{"name":"orders","id":"A","endpoints":[{"name":"echo","subject":"$JS.API.STREAM.DELETE.ORDERS"}]}"#,
            "UNKNOWN - orders: request not sent: the endpoint echo reports the subject $JS.API.STREAM.DELETE.ORDERS, which *",
        ),
        (
            r#"{"name":"orders","id":"A","endpoints":[{"name":"a|b=1\nX","subject":"s"}]}"#,
            "CRITICAL - orders: request failed: no endpoint is named echo, there are: a?b=1?X, *",
        ),
        (
            r#"{"name":"orders","id":"A","endpoints":[]}"#,
            "CRITICAL - orders: request failed: no endpoint is named echo, the service has none at all, *",
        ),
        (
            "nonsense",
            "UNKNOWN - orders: request not judged: no answer on $SRV.INFO.orders, though 1 instance answered PING, *",
        ),
        (
            r#"{"name":"billing","id":"A","endpoints":[{"name":"echo","subject":"billing.echo"}]}"#,
            "UNKNOWN - orders: request not judged: no answer on $SRV.INFO.orders, *",
        ),
    ];
    each(cases, |(info, line)| {
        let fake = telling(info);
        let out = ask(&fake, &["-t", "2s"]);
        let code = if line.starts_with("CRITICAL") { 2 } else { 3 };
        out.assert_first(code, &format!("NATS_SERVICE {line}"));
        for line in fake.received() {
            let ours = ["PUB $SRV.PING.orders ", "PUB $SRV.INFO.orders "];
            assert!(
                !line.contains("PUB ") || ours.iter().any(|start| line.starts_with(start)),
                "{line}"
            );
        }
    });
}

#[test]
fn instances_that_disagree_are_reported() {
    let fake = Fake::start(|conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            let told = |id: &str, subject: &str| {
                format!(r#"{{"name":"orders","id":"{id}","endpoints":[{{"name":"echo","subject":"{subject}"}}]}}"#)
            };
            match request.subject.as_str() {
                "$SRV.PING.orders" => {
                    for id in ["A", "B", "C", "D"] {
                        conn.reply(&request, format!(r#"{{"name":"orders","id":"{id}"}}"#).as_bytes())?;
                    }
                }
                "$SRV.INFO.orders" => {
                    conn.reply(&request, told("A", "v1.echo").as_bytes())?;
                    for id in ["B", "C"] {
                        conn.reply(&request, told(id, "v2.echo").as_bytes())?;
                    }
                    conn.reply(&request, br#"{"name":"orders","id":"D","endpoints":[]}"#)?;
                }
                // Some services do tell who they are.
                _ => conn.reply_with_headers(&request, "NATS/1.0\r\nX-Instance: B\r\n\r\n", b"ok")?,
            }
        }
    });
    ask(&fake, &["-v"])
        .assert_first(0, "NATS_SERVICE OK - orders: 4 instances, *")
        .assert_line("request to v2.echo (endpoint echo) answered in *, 2 bytes, from B")
        .assert_line("endpoint echo: 1 of 4 instances do not have it, of the same name: v1.echo");
}

#[test]
fn a_server_without_headers_is_reported() {
    let fake = Fake::start(|conn| {
        conn.handshake_with(json!({"headers": false}))?;
        loop {
            let request = conn.read_request()?;
            conn.reply(&request, PING)?;
        }
    });
    let flags = ["--no-state", "--subject", "orders.echo", "--header", "A:1"];
    check(&fake.url(), &flags).run().assert_first(
        3,
        "NATS_SERVICE UNKNOWN - orders: request not sent: the server takes no headers: leave out --header, *",
    );
}

#[test]
#[ignore = "timed: tests/run.sh runs it alone"]
fn timed_no_verdict_on_the_request_if_the_ping_took_all_the_time() {
    let fake = Fake::start(|conn| {
        conn.handshake()?;
        loop {
            let request = conn.read_request()?;
            if request.subject.starts_with("$SRV.PING.") {
                // The passing of time is what is tested: little of the timeout is left.
                std::thread::sleep(ms(2600));
                conn.reply(&request, PING)?;
            }
        }
    });
    let flags = [
        "--no-state",
        "--subject",
        "orders.echo",
        "-t",
        "4s",
        "--stall",
        "100ms",
        "--confirm",
        "0",
    ];
    let out = check(&fake.url(), &flags).run();
    assert!(out.stdout.contains("request not judged: no"), "{out:?}");
    out.assert_first(
        3,
        "NATS_SERVICE UNKNOWN - orders: request not judged: no *: raise --timeout, 1 instance, *",
    );
}

#[test]
fn a_signal_ends_the_wait_for_a_reply() {
    let fake = endpoint(|_, _, _| Ok(()));
    let running = check(&fake.url(), &["--request", "echo"]).spawn();
    wait_for("the request", || (requests(&fake) > 0).then_some(()));
    running.signal(libc::SIGTERM);
    running
        .wait()
        .assert_first(
            3,
            "NATS_SERVICE UNKNOWN - orders: interrupted *SIGTERM* | instances=U *",
        )
        .assert_within(LIMIT);
}

// --- Mistakes. ---

#[test]
fn mistakes_are_reported_in_one_line_without_secrets() {
    let dir = TempDir::new();
    let missing = dir.join("missing");
    let cases: &[(&[&str], &str)] = &[
        (
            &["--payload", "s3cret"],
            "--payload needs a request: give --request ENDPOINT, or --subject SUBJECT",
        ),
        (&["--payload-file", "x"], "--payload-file needs a request: *"),
        (&["--header", "A: s3cret"], "--header needs a request: *"),
        (&["--reply-contains", "x"], "--reply-contains needs a request: *"),
        (&["--request-warning", "1s"], "--request-warning needs a request: *"),
        (&["--request-critical", "1s"], "--request-critical needs a request: *"),
        (
            &["--request", "a", "--subject", "b"],
            "the argument '--request <ENDPOINT>' cannot be used with '--subject <SUBJECT>'",
        ),
        (
            &["--request", "a", "--payload", "s3cret", "--payload-file", "x"],
            "the argument '--payload <TEXT>' cannot be used with '--payload-file <FILE>'",
        ),
        (&["--request", ""], "--request: the name of the endpoint is empty"),
        (
            &["--request", "orders.echo"],
            "--request: 'orders.echo' is no name of an endpoint: it has letters, digits, '-' and '_' only (ADR-32), give a \
             subject with --subject",
        ),
        (
            &["--subject", "orders.*"],
            "--subject: 'orders.?' is no subject to ask on: it has tokens with dots between them, without blanks and wildcards, \
             like orders.echo",
        ),
        (&["--subject", "a b"], "--subject: 'a b' is no subject to ask on: *"),
        (
            &["--subject", "a\r\nPUB b 0"],
            "--subject: 'a??PUB b 0' is no subject to ask on: *",
        ),
        (
            &["--request", "a", "--header", "s3cret"],
            "--header: a header is KEY:VALUE",
        ),
        (
            &["--request", "a", "--header", ": s3cret"],
            "--header: the part before the colon must be a name of ASCII characters *",
        ),
        (
            &["--request", "a", "--header", "A\r\nB: s3cret"],
            "--header: the part before the colon must be a name *",
        ),
        (
            &["--request", "a", "--header", "A B: s3cret"],
            "--header: the part before the colon must be a name *",
        ),
        (
            &["--request", "a", "--header", "A: s3cret\r\nB: c"],
            "--header A: its value has a line break or another control character",
        ),
        (
            &["--request", "a", "--reply-contains", ""],
            "--reply-contains: the text is empty, which every reply contains",
        ),
        (
            &["--request", "a", "--request-warning", "soon"],
            "--request-warning: 'soon' is not a duration *",
        ),
        (
            &["--request", "a", "--payload-file", ""],
            "--payload-file: the name is empty",
        ),
    ];
    for (flags, line) in cases {
        let pattern = format!(
            "NATS_SERVICE UNKNOWN - {} (see --help)",
            line.replace("'orders.?'", "'orders.*'")
        );
        Check::new(["-n", "orders"]).args(*flags).run().assert(3, &pattern);
    }
    for (file, problem) in [
        (missing.as_str(), "*missing: No such file or directory (os error 2)"),
        ("/dev/zero", "/dev/zero: it is larger than 8388608 bytes"),
    ] {
        let run = Check::new(["-n", "orders", "--request", "a", "--payload-file", file]).run();
        run.assert(3, &format!("NATS_SERVICE UNKNOWN - --payload-file {problem}"));
    }
    for probe in [["probe", "liveness"], ["state", "show"]] {
        let out = Check::new(probe).args(["-n", "orders", "--request", "a"]).run();
        assert_eq!(out.code, Some(3), "{out:?}");
        assert!(
            format!("{}{}", out.stdout, out.stderr).contains("unexpected argument '--request'"),
            "{out:?}"
        );
    }
}

#[test]
fn no_output_shows_what_is_sent() {
    let fake = endpoint(|conn, request, _| conn.reply(request, b"thanks"));
    let flags = ["--header", "Authorization: Bearer s3cret-1", "--payload", "s3cret-2"];
    // Every output of a test is looked at for them.
    let out = ask(&fake, &flags).assert_first(0, "NATS_SERVICE OK - *");
    assert!(out.stderr.is_empty());
    for more in [&["-vvv"][..], &["--format", "json"], &["-vvv", "--reply-contains", "x"]] {
        ask(&fake, &[&flags[..], more].concat());
    }
}
