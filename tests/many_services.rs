//! All services over one connection, as the probe sees them: without judge and state, which have tests of their own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use check_nats_service::connect::target::{Auth, Prefix, ServerUrl, Target, Tls};
use check_nats_service::probe::client::{ProbeRequest, probe_all};
use check_nats_service::probe::discovery::MAX_SERVICES;
use check_nats_service::probe::known::KnownInstances;
use check_nats_service::probe::observation::{AllObservation, Observation, Outcome};
use check_nats_service::probe::plan::{DiscoveryPlan, LEAST_CENSUS, PingPlan, ProbePlan, Wanted};
use check_nats_service::values::selection::Selection;
use check_nats_service::values::status::Reason;

use super::support::check::matches as like;
use super::support::fake::Request;
use super::support::net::{STREAM, import};
use super::support::{Certs, Conn, Crowd, Fake, Server, Service, Version, crowd, wait_for};

const STALL: Duration = Duration::from_millis(500);

/// The services that are known, each with the ids of its instances, and how to ask for all.
struct Run {
    target: Target,
    plan: ProbePlan,
    timeout: Duration,
}

impl Run {
    fn new(url: &str) -> Run {
        Run {
            target: Target {
                prefix: Prefix::parse(Prefix::SERVICES).unwrap(),
                servers: vec![ServerUrl::parse(url).unwrap()],
                auth: Auth::None,
                tls: Tls::default(),
                inbox_prefix: Prefix::parse(Prefix::INBOX).unwrap(),
                connection_name: "many".into(),
                request: None,
                hint: None,
                remarks: Vec::new(),
            },
            plan: ProbePlan {
                services: Vec::new(),
                discovery: Some(DiscoveryPlan {
                    newcomer: PingPlan {
                        census: true,
                        ..PingPlan::new("", Wanted::All, Duration::from_secs(1), STALL)
                    },
                    selection: Selection::default(),
                    census: true,
                    stall: STALL,
                    least: LEAST_CENSUS,
                }),
            },
            timeout: Duration::from_secs(20),
        }
    }

    fn knows(mut self, service: &str, ids: &[&str]) -> Run {
        self.plan.services.push(PingPlan {
            known: KnownInstances::Ids(ids.iter().map(|id| id.to_string()).collect()),
            ..PingPlan::new(service, Wanted::All, Duration::from_secs(1), STALL)
        });
        self
    }

    fn timeout(mut self, seconds: u64) -> Run {
        self.timeout = Duration::from_secs(seconds);
        self
    }

    fn run(&self) -> AllObservation {
        let start = Instant::now();
        probe_all(&ProbeRequest {
            target: &self.target,
            plan: self.plan.clone(),
            start,
            deadline: start + self.timeout,
            alarms: &crossbeam_channel::never(),
        })
    }
}

/// Returns the observation of a service, in short.
#[track_caller]
fn told(seen: &AllObservation, service: &str) -> String {
    let seen: &Arc<Observation> = seen
        .services
        .get(service)
        .unwrap_or_else(|| panic!("{service}: {seen:?}"));
    match &seen.outcome {
        Outcome::Answered(replies) => {
            let ids: BTreeSet<&str> = replies.iter().map(|reply| reply.instance.id.as_str()).collect();
            ids.into_iter().collect::<Vec<_>>().join(" ")
        }
        Outcome::NoResponders => "no responders".into(),
        Outcome::Silent(_) => "silent".into(),
        Outcome::Failed(failure) => format!("{}: {}", failure.reason.name(), failure.text),
    }
}

fn names(seen: &AllObservation) -> Vec<&str> {
    seen.services.keys().map(String::as_str).collect()
}

fn could_ask(seen: &AllObservation) -> bool {
    !matches!(seen.common.outcome, Outcome::Failed(_))
}

/// A user `mon` with these permissions beside one that may do everything.
fn with_permissions(permissions: &str) -> Server {
    let users = format!(
        "authorization {{ users: [{{user: app, password: app}}, {{user: mon, password: pw, permissions: {{ {permissions} }}}}] }}"
    );
    Server::with_config(Version::Newest, &users)
}

fn login(server: &Server, user: &str) -> String {
    format!("nats://{user}@127.0.0.1:{}", server.port())
}

fn ping_reply(service: &str, id: &str) -> Vec<u8> {
    format!(r#"{{"name":"{service}","id":"{id}"}}"#).into_bytes()
}

#[test]
#[ignore = "needs nats-server"]
fn services_of_several_libraries_are_found_and_missed_over_one_connection() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let orders = Service::nats_py(&url, "orders").count(3).start();
    let billing = Service::async_nats(&url, "billing").count(2).start();
    let _mail = Service::nats_js(&url, "mail").start();
    for (name, count) in [("orders", 3), ("billing", 2), ("mail", 1)] {
        server.wait_for_instances(name, count);
    }
    let first = Run::new(&url).run();
    assert_eq!(names(&first), ["billing", "mail", "orders"]);
    assert!(first.common.census && could_ask(&first), "{first:?}");
    let ids = |service: &str| told(&first, service).split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((ids("orders").len(), ids("billing").len()), (3, 2));

    let ids_of_billing = ids("billing");
    billing.kill();
    server.wait_for_instances("billing", 0);
    orders.freeze();
    let (mail, gone): (Vec<String>, Vec<&str>) = (ids("mail"), ids_of_billing.iter().map(String::as_str).collect());
    let ids_of_orders = ids("orders");
    let frozen: Vec<&str> = ids_of_orders.iter().map(String::as_str).collect();
    let second = Run::new(&url)
        .knows("billing", &gone)
        .knows("mail", &[&mail[0]])
        .knows("orders", &frozen)
        .timeout(8)
        .run();
    assert_eq!(told(&second, "billing"), "no responders");
    assert_eq!(told(&second, "mail"), mail[0]);
    assert_eq!(told(&second, "orders"), "silent");
    assert!(
        second.services["mail"].rounds == 1 && second.services["billing"].rounds > 2,
        "{second:?}"
    );
    assert!(could_ask(&second) && second.common.denied.is_empty());
    let server = second.common.server.as_ref().expect("a server");
    assert!(server.rtt.is_some() && second.services["mail"].server.as_ref() == Some(server));
}

#[test]
#[ignore = "needs nats-server"]
fn where_asking_for_all_is_denied_the_known_are_asked_by_name() {
    let server = with_permissions(r#"publish: {allow: ["$SRV.PING.>"]}"#);
    let app = login(&server, "app:app");
    let orders = Service::async_nats(&app, "orders").start();
    let _new = Service::async_nats(&app, "new").start();
    let mon = login(&server, "mon:pw");
    let seen = Run::new(&mon)
        .knows("billing", &["a"])
        .knows("orders", &[orders.id()])
        .run();
    assert_eq!(names(&seen), ["billing", "orders"]);
    assert_eq!(told(&seen, "orders"), orders.id());
    assert_eq!(told(&seen, "billing"), "no responders");
    assert!(could_ask(&seen) && !seen.common.census, "{seen:?}");
    let allow = r#"does not let us publish to $SRV.PING, add to the user's permissions: publish: {allow: ["$SRV.PING", "$SRV.PING.>"]}"#;
    assert!(seen.common.denied.ends_with(allow), "{}", seen.common.denied);
    // Nobody is known, so there is nobody to ask for.
    let seen = Run::new(&mon).run();
    match &seen.common.outcome {
        Outcome::Failed(failure) => assert!(failure.text.ends_with(allow), "{}", failure.text),
        other => panic!("{other:?}"),
    }
}

/// The server sends an error for each of them: none may get lost and make a service look silent.
#[test]
#[ignore = "needs nats-server"]
fn services_that_may_not_be_asked_by_name_fail_alone_however_many_they_are() {
    let server = with_permissions(r#"publish: {allow: ["$SRV.PING"]}"#);
    let orders = Service::async_nats(&login(&server, "app:app"), "orders").start();
    let mut run = Run::new(&login(&server, "mon:pw")).knows("orders", &[orders.id()]);
    for n in 0..1000 {
        run = run.knows(&format!("gone-{n}"), &["a"]);
    }
    let seen = run.run();
    assert_eq!(told(&seen, "orders"), orders.id());
    assert!(could_ask(&seen) && seen.common.denied.is_empty(), "{:?}", seen.common);
    for n in 0..1000 {
        let told = told(&seen, &format!("gone-{n}"));
        let allow = r#"publish: {allow: ["$SRV.PING", "$SRV.PING.>"]}"#;
        assert!(
            told.starts_with("permission_denied: ") && told.ends_with(allow),
            "{told}"
        );
    }
}

#[test]
#[ignore = "needs nats-server"]
fn through_an_import_the_known_are_right() {
    let to_all = |lets_through: &str| {
        let also = format!(r#"{{service: "$SRV.PING"{lets_through}}}"#);
        import(STREAM)
            .replace("exports: [", &format!("exports: [{also}, "))
            .replace(
                "imports: [",
                r#"imports: [{service: {account: APP, subject: "$SRV.PING"}, to: "APP.$SRV.PING"}, "#,
            )
            .replace(r#"["APP.$SRV.PING.>"]"#, r#"["APP.$SRV.PING", "APP.$SRV.PING.>"]"#)
    };
    let cases = [
        // Whether newcomers are seen; what is told where they are not.
        (to_all(", response_type: stream"), true, ""),
        (
            to_all(""),
            false,
            "not all services reply to APP.$SRV.PING, * by name, its export needs response_type: stream *",
        ),
        (import(STREAM), false, "*does not let us publish to APP.$SRV.PING, *"),
    ];
    for (config, sees_new, denied) in cases {
        let server = Server::with_config(Version::Newest, &config);
        let app = login(&server, "app:app");
        let orders = Service::async_nats(&app, "orders").count(2).start();
        let billing = Service::async_nats(&app, "billing").count(2).start();
        let [a, b] = orders.ids() else { panic!("two") };
        let [c, d] = billing.ids() else { panic!("two") };
        let mut run = Run::new(&login(&server, "mon:s3cret"))
            .knows("billing", &[c, d])
            .knows("gone", &["e"])
            .knows("orders", &[a, b]);
        run.target.prefix = Prefix::parse("APP.$SRV").unwrap();
        let _new = Service::async_nats(&app, "zebra").start();
        let seen = run.run();
        let both = |ids: &[String]| {
            ids.iter()
                .map(String::as_str)
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(told(&seen, "orders"), both(orders.ids()), "{config}");
        assert_eq!(told(&seen, "billing"), both(billing.ids()), "{config}");
        // A server before 2.10.26 hides who is gone; this one does not.
        assert_eq!(told(&seen, "gone"), "no responders", "{config}");
        if sees_new {
            assert_eq!(names(&seen), ["billing", "gone", "orders", "zebra"], "{config}");
        }
        wait_for("it is told", || like(denied, &run.run().common.denied).then_some(()));
    }
}

/// As such an import has it for the first run, and as it is for one that has a single service.
#[test]
#[ignore = "needs nats-server"]
fn one_reply_through_an_import_is_remarked_where_nobody_else_is_known() {
    let export = r#"service: "$SRV.>""#;
    let config = import(export)
        .replace(
            r#"subject: "$SRV.PING.>"}, to: "APP.$SRV.PING.>""#,
            r#"subject: "$SRV.>"}, to: "APP.$SRV.>""#,
        )
        .replace(r#"["APP.$SRV.PING.>"]"#, r#"["APP.$SRV.>"]"#);
    let server = Server::with_config(Version::Newest, &config);
    let app = login(&server, "app:app");
    let _services = ["billing", "orders"].map(|name| Service::async_nats(&app, name).start());
    let mut run = Run::new(&login(&server, "mon:s3cret"));
    run.target.prefix = Prefix::parse("APP.$SRV").unwrap();
    // Now and then more than one reply comes through.
    let seen = wait_for("one reply", || {
        let seen = run.run();
        (names(&seen).len() == 1).then_some(seen)
    });
    let remark = "one reply to APP.$SRV.PING: does its export say response_type: stream? *--expect*";
    assert!(seen.common.remarks.iter().any(|said| like(remark, said)), "{seen:?}");
}

/// As with nats.net 2.0.0 to 2.0.2.
#[test]
#[ignore = "needs nats-server"]
fn services_that_share_a_queue_group_are_known_to_hide_new_ones() {
    let server = Server::start(Version::Newest);
    let start = |name: &str| Service::odd(&server.url(), name, 1, &["queue=q"]).start();
    let services = ["billing", "mail", "orders"].map(|name| (name, start(name)));
    let mut run = Run::new(&server.url());
    for (name, service) in &services {
        run = run.knows(name, &[service.id()]);
    }
    for _ in 0..3 {
        let seen = run.run();
        for (name, service) in &services {
            assert_eq!(told(&seen, name), service.id());
        }
        let denied = "not all services reply to $SRV.PING, * only by name, do services share a queue group, *";
        assert!(like(denied, &seen.common.denied), "{}", seen.common.denied);
    }
}

/// The replies to the query to all are in hand; by name, nothing may be asked.
#[test]
#[ignore = "needs nats-server"]
fn new_instances_are_learned_where_only_the_query_to_all_is_allowed() {
    let server = with_permissions(r#"publish: {allow: ["$SRV.PING"]}"#);
    let orders = Service::async_nats(&login(&server, "app:app"), "orders").start();
    let seen = Run::new(&login(&server, "mon:pw")).knows("orders", &["gone"]).run();
    assert_eq!(told(&seen, "orders"), orders.id());
    assert!(
        could_ask(&seen) && seen.services["orders"].denied.contains("$SRV.PING.orders"),
        "{seen:?}"
    );
}

#[test]
#[ignore = "needs nats-server"]
fn run_fails_if_the_inbox_is_denied() {
    let server = with_permissions(r#"subscribe: {deny: ["_INBOX.>"]}"#);
    let orders = Service::async_nats(&login(&server, "app:app"), "orders").start();
    let mon = login(&server, "mon:pw");
    for run in [Run::new(&mon), Run::new(&mon).knows("orders", &[orders.id()])] {
        match run.run().common.outcome {
            Outcome::Failed(failure) => assert!(
                failure.reason == Reason::PermissionDenied
                    && failure.text.contains(r#"subscribe: {allow: ["_INBOX.>"]}"#),
                "{failure:?}"
            ),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
#[ignore = "needs nats-server"]
fn full_count_finds_a_service_that_is_slower_than_the_others() {
    let server = Server::start(Version::Newest);
    let orders = Service::async_nats(&server.url(), "orders").start();
    let slow = Service::odd(&server.url(), "slow", 1, &["delay=700"]).start();
    let mut run = Run::new(&server.url()).knows("orders", &[orders.id()]);
    assert_eq!(told(&run.run(), "slow"), slow.id());
    // Where the time is short, no longer than for a quarter of it.
    run = run.timeout(2);
    assert_eq!(names(&run.run()), ["orders"]);
}

/// Exported and imported as for single checks, and the user may ask for all.
#[test]
#[ignore = "needs nats-server"]
fn import_that_leaves_out_the_query_to_all_is_reported() {
    let config = import(STREAM).replace(r#"["APP.$SRV.PING.>"]"#, r#"["APP.$SRV.PING", "APP.$SRV.PING.>"]"#);
    let server = Server::with_config(Version::Newest, &config);
    let orders = Service::async_nats(&login(&server, "app:app"), "orders").start();
    let mut run = Run::new(&login(&server, "mon:s3cret")).knows("orders", &[orders.id()]);
    run.target.prefix = Prefix::parse("APP.$SRV").unwrap();
    let seen = run.run();
    assert_eq!(told(&seen, "orders"), orders.id());
    let denied =
        "nobody is subscribed to APP.$SRV.PING, though services reply to APP.$SRV.PING.NAME, export and import it, too";
    assert_eq!(seen.common.denied, denied);
}

#[test]
#[ignore = "needs nats-server"]
fn over_tls_all_are_seen_at_each_run() {
    let certs = Certs::new();
    let server = Server::with_config(Version::Newest, &certs.config("server", ""));
    let url = format!("tls://127.0.0.1:{}", server.port());
    let start = |name: &str, count| {
        Service::async_nats(&url, name)
            .tlsca(certs.path("ca.pem").as_str())
            .count(count)
            .start()
    };
    let services = [
        ("orders", start("orders", 10)),
        ("billing", start("billing", 1)),
        ("mail", start("mail", 3)),
    ];
    let mut run = Run::new(&url);
    run.target.tls.ca = Some(certs.path("ca.pem").into());
    for (name, service) in &services {
        run = run.knows(name, &service.ids().iter().map(String::as_str).collect::<Vec<_>>());
    }
    run = run.knows("gone", &["a"]);
    for _ in 0..10 {
        let seen = run.run();
        for (name, service) in &services {
            assert_eq!(told(&seen, name).split(' ').count(), service.ids().len(), "{seen:?}");
        }
        assert_eq!(told(&seen, "gone"), "no responders");
    }
}

/// The only way to see them is over TLS without headers, where nobody says that a service is gone.
#[test]
#[ignore = "needs nats-server"]
fn an_instance_with_unreadable_headers_hides_no_other_service() {
    const HEADER: &str = "header=X-Customer: M\\xfcller";
    let certs = Certs::new();
    let server = Server::with_config(Version::Newest, &(certs.config("server", "") + "allow_non_tls: true"));
    let odd = Service::odd(&server.url(), "odd", 1, &[HEADER, "ping_header=1"]).start();
    let orders = Service::async_nats(&server.url(), "orders").start();
    for secure in [false, true] {
        let scheme = if secure { "tls" } else { "nats" };
        let mut run = Run::new(&format!("{scheme}://127.0.0.1:{}", server.port()))
            .knows("gone", &["a"])
            .knows("odd", &[odd.id()])
            .knows("orders", &[orders.id()]);
        run.target.tls.ca = Some(certs.path("ca.pem").into());
        let seen = run.run();
        assert_eq!(
            (told(&seen, "odd").as_str(), told(&seen, "orders").as_str()),
            (odd.id(), orders.id())
        );
        let of = |name: &str| (seen.services[name].headerless, seen.services[name].unreadable.clone());
        match secure {
            true => {
                assert!(
                    told(&seen, "gone").starts_with("nats_unreachable: "),
                    "{}",
                    told(&seen, "gone")
                );
                assert_eq!((of("odd"), of("orders")), ((true, vec![]), (true, vec![])));
            }
            false => {
                assert_eq!(told(&seen, "gone"), "no responders");
                assert_eq!(
                    (of("odd"), of("orders")),
                    ((false, vec![odd.id().to_owned()]), (false, vec![]))
                );
                assert_eq!(seen.common.unreadable, [odd.id()]);
            }
        }
    }
}

/// The script of a fake server: it takes the query to all services, and then does this.
fn fake(script: impl Fn(&mut Conn, &Request) -> std::io::Result<()> + Send + Sync + 'static) -> Fake {
    Fake::start(move |conn| {
        conn.handshake()?;
        let request = conn.read_request()?;
        assert_eq!(request.subject, "$SRV.PING");
        script(conn, &request)
    })
}

#[test]
fn a_server_that_freezes_takes_no_answer_away() {
    let fake = fake(|conn, request| {
        conn.reply(request, &ping_reply("orders", "c"))?;
        conn.answer_pings(false);
        conn.hold(Duration::from_secs(20))
    });
    let seen = Run::new(&fake.url())
        .knows("billing", &["a"])
        .knows("orders", &["c"])
        .timeout(2)
        .run();
    assert_eq!(told(&seen, "orders"), "c");
    assert!(
        told(&seen, "billing").starts_with("nats_unreachable: "),
        "{}",
        told(&seen, "billing")
    );
    let stopped = |outcome: &Outcome| match outcome {
        Outcome::Failed(failure) => {
            failure.reason == Reason::NatsUnreachable && failure.text.contains("stopped answering")
        }
        _ => false,
    };
    assert!(stopped(&seen.common.outcome), "{:?}", seen.common.outcome);
}

#[test]
fn a_connection_that_breaks_is_made_again_and_all_are_asked_again() {
    let connections = std::sync::atomic::AtomicUsize::new(0);
    let fake = fake(move |conn, request| {
        conn.reply(request, &ping_reply("orders", "c"))?;
        if connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
            return conn.close();
        }
        conn.reply(request, &ping_reply("billing", "a"))?;
        conn.hold(Duration::from_secs(20))
    });
    let seen = Run::new(&fake.url())
        .knows("billing", &["a"])
        .knows("orders", &["c"])
        .run();
    assert_eq!(
        (told(&seen, "billing"), told(&seen, "orders")),
        ("a".into(), "c".into())
    );
    assert!(could_ask(&seen));
    assert_eq!(fake.connections(), 2);
}

#[test]
fn names_without_end_hide_no_known_service() {
    let fake = fake(|conn, request| {
        let mut text = Vec::new();
        for n in 0..MAX_SERVICES + 2000 {
            let payload = ping_reply(&format!("name-{n}"), "x");
            text.extend(format!("MSG {} {} {}\r\n", request.reply, request.sid, payload.len()).into_bytes());
            text.extend(payload);
            text.extend(b"\r\n");
        }
        conn.send_raw(&text)?;
        conn.reply(request, &ping_reply("orders", "c"))?;
        conn.hold(Duration::from_secs(20))
    });
    let seen = Run::new(&fake.url()).knows("orders", &["c"]).run();
    assert_eq!(told(&seen, "orders"), "c");
    assert_eq!((seen.services.len(), seen.too_many), (MAX_SERVICES + 1, 2000));
}

/// Ten thousand replies to one query.
#[test]
#[ignore = "needs nats-server"]
fn a_large_service_beside_small_ones_is_counted() {
    let server = Server::start(Version::Newest);
    let url = server.url();
    let _many = Crowd::start(&url, "orders", 10_000);
    let billing = Service::async_nats(&url, "billing").start();
    let ids: Vec<String> = (0..10_000).map(crowd::id).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let seen = Run::new(&url).knows("orders", &ids).run();
    assert_eq!(told(&seen, "orders").split(' ').count(), 10_000);
    assert_eq!(told(&seen, "billing"), billing.id());
}
