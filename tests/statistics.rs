//! The statistics of endpoints: error rates and processing times since the run before.

use super::support::service::Builder;
use super::support::{Check, Metrics, Monitor, Output, Server, Service, TempDir, Version, raw, wait_for};

type Start = fn(&str, &str) -> Builder;

/// Three implementations that count, and how each of them tells an error.
const KINDS: [(Start, &str); 3] = [
    (Service::nats_py, "*asked to fail*"),
    (Service::nats_js, "asked to fail"),
    (Service::async_nats, "*asked to fail*"),
];

/// Sends so many requests, of which so many fail.
fn requests(url: &str, number: usize, failing: usize) {
    for n in 0..number {
        let payload = if n < failing { "fail" } else { "well" };
        let replies = raw::request(url, "orders.echo", payload, 1).expect("a reply");
        assert_eq!(replies.len(), 1);
    }
}

#[test]
#[ignore = "needs nats-server"]
fn errors_since_the_previous_run_are_reported() {
    for (start, error) in KINDS {
        let server = Server::start(Version::Newest);
        let url = server.url();
        let _service = start(&url, "orders").count(2).start();
        // What happened before the first run is not of this time.
        requests(&url, 20, 20);
        let monitor = Monitor::new(&url);
        let check = |flags: &[&str]| {
            monitor
                .check(["--error-rate-warning", "1", "--error-rate-critical", "20%"])
                .args(flags)
                .run()
        };
        check(&["-v"])
            .assert_first(
                0,
                "NATS_SERVICE OK - orders: 2 instances, slowest answer * | instances=2;;;0; * error_rate=U latency=U \
                 requests=0c;;;0; errors=0c;;;0;",
            )
            .assert_line("no rates yet: they need the counters of two checks");

        requests(&url, 20, 0);
        let out = check(&["-v"]).assert_line("endpoint echo: 20 requests in *s, 0.0% errors, mean processing time *");
        assert_eq!(
            (out.code, out.perfdata("error_rate"), out.perfdata("requests")),
            (Some(0), Some(0.0), Some(20.0))
        );

        requests(&url, 20, 2);
        let out = check(&[]).assert_first(
            1,
            &format!(
                "NATS_SERVICE WARNING - orders: 10.0% errors of 20 requests in *s to all endpoints, warning above 1%, last \
                 error: {error}, 2 instances, slowest answer * | instances=2;;;0; * error_rate=10.00%;1;20;0;100 latency=*"
            ),
        );
        assert_eq!(
            (out.perfdata("requests"), out.perfdata("errors")),
            (Some(40.0), Some(2.0))
        );

        // With other instances in their places, nothing is counted twice, and nothing is lost.
        requests(&url, 30, 30);
        check(&["-v"])
            .assert_first(2, "NATS_SERVICE CRITICAL - orders: 100.0% errors of 30 requests in *s to all endpoints, critical above 20%, *")
            .assert_finding("CRITICAL error_rate: *");
        requests(&url, 5, 0);
        check(&[]).assert_first(
            2,
            "NATS_SERVICE CRITICAL - orders: 100.0% errors of 30 requests in *s until *s ago to all *",
        );
        requests(&url, 5, 0);
        let out = check(&[]);
        assert_eq!(
            (out.code, out.perfdata("requests"), out.perfdata("errors")),
            (Some(0), Some(80.0), Some(32.0))
        );
    }
}

#[test]
#[ignore = "needs nats-server"]
fn errors_counted_beside_the_requests_are_requests_too() {
    // Options of the service, instances, how the text begins, and the rates that may be measured.
    let cases: [(&[&str], usize, &str, std::ops::RangeInclusive<f64>); 5] = [
        (
            &["requests=5", "errors_per_s=30"],
            1,
            "100.0% errors of *, critical above 10%, last error: 500:boom,",
            100.0..=100.0,
        ),
        (
            &["per_s=30", "errors_per_s=30"],
            3,
            "50.0% errors of *, critical above 10%, last error: 500:boom,",
            50.0..=50.0,
        ),
        (
            &["per_s=10", "errors_per_s=30"],
            1,
            "*% errors of *, critical above 10%, last error: 500:boom,",
            70.0..=80.0,
        ),
        // So are these, and maybe they are none.
        (
            &["per_s=20", "errors_per_s=20", "last_error="],
            1,
            "50.0% errors of *, critical above 10% (no last error is reported: the client library may count each success as an error),",
            50.0..=50.0,
        ),
        // These are counted among the requests, and maybe are none.
        (
            &["per_s=20", "errors_per_s=20", "among=1", "last_error="],
            1,
            "100.0% errors of *, critical above 10% (no last error is reported: the client library may count each success as an error),",
            100.0..=100.0,
        ),
    ];
    let server = Server::start(Version::Newest);
    for (n, (options, instances, text, rates)) in cases.into_iter().enumerate() {
        let service = format!("odd{n}");
        let _service = Service::odd(&server.url(), &service, instances, options).start();
        let monitor = Monitor::new(server.url()).service(&service);
        let check = || {
            monitor
                .check(["--error-rate-warning", "1", "--error-rate-critical", "10"])
                .run()
        };
        check().assert_first(0, &format!("NATS_SERVICE OK - {service}: * error_rate=U *"));
        // Windows have at least ten requests; the first ones can be uneven.
        let mut out = check();
        let enough = |out: &Output| out.perfdata("requests").is_some_and(|requests| requests >= 100.0);
        wait_for("requests enough", || {
            out = check();
            enough(&out).then_some(())
        });
        let out = out.assert_first(2, &format!("NATS_SERVICE CRITICAL - {service}: {text} *"));
        let rate = out.perfdata("error_rate").expect("it is known");
        assert!(rates.contains(&rate), "{rate} {out:?}");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn instances_that_restart_are_accounted_for() {
    let server = Server::start(Version::V2_10);
    let url = server.url();
    let first = Service::async_nats(&url, "orders").start();
    let monitor = Monitor::new(&url);
    let check = || monitor.check(["--stats"]).run();
    check();
    requests(&url, 12, 3);
    assert_eq!(check().perfdata("requests"), Some(12.0));
    first.kill();
    server.wait_for_instances("orders", 0);
    check().assert_first(
        2,
        "NATS_SERVICE CRITICAL - orders: down, no responders, * | instances=0;* error_rate=U latency=U requests=12c*",
    );
    let _second = Service::async_nats(&url, "orders").start();
    requests(&url, 4, 1);
    let out = check().assert_first(0, "NATS_SERVICE OK - orders: 1 instance, recovered after *");
    assert_eq!(
        (out.perfdata("requests"), out.perfdata("errors")),
        (Some(16.0), Some(4.0))
    );
}

#[test]
#[ignore = "needs nats-server"]
fn a_slow_endpoint_is_found_by_its_mean_processing_time() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let _service = Service::nats_py(&url, "orders").start();
    let monitor = Monitor::new(&url);
    let check = |flags: [&str; 2]| monitor.check(flags).run();
    check(["--latency-warning", "0s"]);
    requests(&url, 10, 0);
    check(["--latency-warning", "0s"]).assert_first(
        1,
        "NATS_SERVICE WARNING - orders: mean processing time * of 10 requests in *s to all endpoints, warning above 0.00ms, 1 \
         instance, slowest answer * | * latency=0.*s;0;;0; requests=10c;;;0; errors=0c;;;0;",
    );
    requests(&url, 10, 0);
    let out = check(["--latency-critical", "1m"]);
    assert_eq!(out.code, Some(0));
}

#[test]
#[ignore = "needs nats-server"]
fn processing_times_are_those_of_the_service() {
    for start in [Service::nats_py, Service::async_nats] {
        let server = Server::start(Version::Newest);
        let url = server.url();
        let _service = start(&url, "orders").start();
        let monitor = Monitor::new(&url);
        let check = || monitor.check(["--latency-warning", "20ms", "-v"]).run();
        check();
        requests(&url, 10, 0);
        assert_eq!(check().code, Some(0));
        for _ in 0..10 {
            raw::request(&url, "orders.slow", "30", 1).expect("a reply");
        }
        let out = check()
            .assert_first(1, "NATS_SERVICE WARNING - orders: mean processing time * of 10 requests in *s to *, warning above 20ms, *")
            .assert_line("endpoint slow: 10 requests in *s, 0.0% errors, mean processing time *");
        let mean = out.perfdata("latency").expect("a mean");
        assert!((0.03..1.0).contains(&mean), "{mean}");
        // Once more, and fast again.
        check().assert_first(
            1,
            "NATS_SERVICE WARNING - orders: mean processing time * of 10 requests in *s until *s ago to *",
        );
        for _ in 0..10 {
            raw::request(&url, "orders.slow", "0", 1).expect("a reply");
        }
        assert_eq!(check().code, Some(0));
    }
}

/// The statistics leave in the same write as the question, and the run ends when both have come.
#[test]
#[ignore = "needs nats-server"]
fn statistics_cost_no_round_trip() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let _service = Service::async_nats(&url, "orders").count(3).start();
    let monitor = Monitor::new(&url);
    monitor.check(["--stats"]).run();
    // A machine that is too busy makes no second question of it.
    let out = monitor.check(["--stats", "-vvv", "--stall", "4s"]).run();
    let steps = |word: &str| out.stdout.lines().filter(|line| line.contains(word)).count();
    assert_eq!((out.code, steps("asking")), (Some(0), 1), "{}", out.stdout);
    // Three answers and three times statistics.
    assert_eq!(steps("a reply, "), 6, "{}", out.stdout);
}

#[test]
#[ignore = "needs nats-server"]
fn statistics_that_may_not_be_asked_for_are_never_ok() {
    let config = r#"authorization { users: [
        { user: service, password: s }
        { user: monitor, password: m, permissions: {
            publish: ["$SRV.PING.orders", "$SRV.PING.orders.*"], subscribe: "_INBOX.>" } }
    ] }"#;
    for version in Version::ALL {
        let server = Server::with_config(version, config);
        let _service = Service::nats_py(&format!("nats://service:s@127.0.0.1:{}", server.port()), "orders").start();
        let monitor = Monitor::new(format!("nats://monitor:m@127.0.0.1:{}", server.port()));
        monitor.check(["--stats"]).run().assert_first(
            3,
            "NATS_SERVICE UNKNOWN - orders: no statistics: NATS at * does not let us publish to $SRV.STATS.orders*, 1 instance, \
             slowest answer * | instances=1;;;0; * error_rate=U latency=U requests=0c;;;0; errors=0c;;;0;",
        );
        // The service itself is judged all the same.
        monitor
            .check(["-c", "1:"])
            .run()
            .assert_first(0, "NATS_SERVICE OK - orders: 1 instance, *");
    }
}

#[test]
#[ignore = "needs nats-server"]
fn the_metrics_are_counters_that_only_grow() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let service = Service::async_nats(&url, "orders").start();
    let dir = TempDir::new();
    let file = dir.join("orders.prom");
    let textfile = || {
        let check = Check::new(["textfile", "-n", "orders", "-s", &url, "--stats", "-o", &file]).home(&dir);
        check.run().assert(0, "");
        let text = std::fs::read_to_string(&file).expect("the metrics");
        let counter = "# TYPE nats_service_requests_total counter\n";
        assert!(text.contains(counter) || !text.contains("_total"), "{text}");
        let value = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
            assert!(line.contains(",endpoint=\"echo\"}"), "{line}");
            line.rsplit_once(' ')?.1.parse::<f64>().ok()
        };
        assert_eq!(Metrics::parse(&text).of("orders", "nats_service_status"), Some(0.0));
        (
            value("nats_service_requests_total"),
            value("nats_service_errors_total"),
            value("nats_service_processing_seconds_total"),
        )
    };
    assert_eq!(textfile(), (None, None, None));
    requests(&url, 6, 2);
    let (requests_total, errors_total, seconds) = textfile();
    assert_eq!((requests_total, errors_total), (Some(6.0), Some(2.0)));
    assert!(seconds.is_some_and(|seconds| seconds > 0.0));
    service.kill();
    server.wait_for_instances("orders", 0);
    let _service = Service::async_nats(&url, "orders").start();
    requests(&url, 1, 0);
    let (requests_total, errors_total, later) = textfile();
    assert_eq!((requests_total, errors_total), (Some(7.0), Some(2.0)));
    assert!(later > seconds);
}

#[test]
fn bad_limits_are_usage_errors() {
    let check = |args: &[&str]| {
        let dir = TempDir::new();
        Check::new(["-n", "orders"]).args(args).home(&dir).run()
    };
    for (args, text) in [
        (
            ["--error-rate-warning", "101"],
            "--error-rate-warning: '101' is not a percentage from 0 to 100",
        ),
        (
            ["--stats", "--error-rate-critical=-1"],
            "--error-rate-critical: '-1' is not a percentage from 0 to 100",
        ),
        (
            ["--error-rate-critical", "nan"],
            "--error-rate-critical: 'nan' is not a percentage from 0 to 100",
        ),
        (
            ["--latency-warning", "soon"],
            "--latency-warning: 'soon' is not a duration like 500ms, 10s, 15m or 1h30m",
        ),
        (
            ["--min-requests", "1.5"],
            "--min-requests: '1.5' is not a whole number from 0 to 1000000000",
        ),
        (
            ["--no-state", "--stats"],
            "--stats: rates are made of two runs, so something must be remembered, leave out --no-state",
        ),
        (
            ["--no-state", "--error-rate-warning=5"],
            "--error-rate-warning: rates are made of two runs, so something must be remembered, leave out --no-state",
        ),
    ] {
        check(&args).assert(3, &format!("NATS_SERVICE UNKNOWN - {text} (see --help)\n"));
    }
}
