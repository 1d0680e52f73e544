//! The page for people in a real browser: narrow and wide, light and dark, whatever the state of the service.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::support::browser::Browser;
use super::support::check::Running;
use super::support::server::free_port;
use super::support::{Check, Server, Service, Version, http, wait_for};

/// Script that measures a page; its value has the problems.
const MEASURE: &str = include_str!("page/measure.js");

/// A word that fits into no line of a narrow window, and names as they are in a cloud.
const POD: &str = "pod=orders-7c9d8b6f5-x2x4k.ip-10-131-24-7.eu-central-1.internal";
const LONG_NAME: &str = "warehouse_inventory_reservation_service_eu_central_1";

/// Checks twice a second, and soon knows that an instance does not answer.
const FLAGS: [&str; 12] = [
    "--interval",
    "500ms",
    "--stall",
    "100ms",
    "--confirm",
    "200ms",
    "--timeout",
    "2s",
    "--max-age",
    "3s",
    "--lost-warning",
    "1",
];

/// `watch --listen` for one service or all.
struct Watch {
    running: Running,
    port: u16,
}

impl Watch {
    fn start(server: &str, scope: &[&str]) -> Watch {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let words = ["watch", "-s", server, "--listen", &address];
        let check = Check::new(words).args(scope).args(FLAGS);
        Watch {
            running: check.limit(Duration::from_secs(180)).spawn(),
            port,
        }
    }

    fn wait_for_title(&self, path: &str, title: &str) {
        let title = format!("<title>{title}</title>");
        wait_for(&format!("{path}: {title}"), || {
            http::get(self.port, path).ok().filter(|page| page.contains(&title))
        });
    }
}

/// Opens the page, and measures it in each look. Returns what it says.
#[track_caller]
fn assert_readable(browser: &mut Browser, port: u16, path: &str, state: &str) -> Value {
    browser.open(&format!("http://127.0.0.1:{port}{path}"));
    let mut measured = Value::Null;
    let on_paper = (state == "down").then_some((700, false, "print"));
    let on_screen = [(390, false), (390, true), (1200, true), (1200, false)];
    let on_screen = on_screen.map(|(width, dark)| (width, dark, "screen"));
    for (width, dark, medium) in on_screen.into_iter().chain(on_paper) {
        browser.look(width, dark, medium);
        measured = wait_for("a whole page", || {
            Some(browser.evaluate(MEASURE)).filter(|page| !page.is_null())
        });
        let what = format!("{state} {path} {width} dark={dark} {medium}");
        // To look at them oneself: PAGE_PICTURES=FOLDER tests/run.sh page
        if let Ok(folder) = std::env::var("PAGE_PICTURES") {
            let scheme = if dark { "dark" } else { "light" };
            let subject = match measured["title"].as_str() {
                Some(title) if title.ends_with("All services") => "all",
                _ if path == "/" => "one",
                _ => "one_of_all",
            };
            let name = format!("{state}-{subject}-{width}-{scheme}-{medium}.png");
            browser.picture(&format!("{folder}/{name}"));
        }
        assert_eq!(
            measured["problems"],
            serde_json::json!([]),
            "{what}: {}",
            measured["text"]
        );
        assert!(measured["texts"].as_u64() > Some(5), "{what}: {measured}");
    }
    assert_eq!(browser.messages(), Vec::<String>::new(), "{state} {path}");
    measured
}

#[test]
#[ignore = "needs nats-server and chromium"]
fn every_state_can_be_read_on_any_screen() {
    let browser = thread::spawn(Browser::start);
    let mut server = Server::start(Version::Newest);
    let url = server.url();
    let (key, value) = POD.split_once('=').unwrap();
    let start = |name: &str| Service::async_nats(&url, name).metadata(key, value);
    let two = start("orders").count(2).start();
    let third = start("orders").start();
    let _other = start(LONG_NAME).start();
    let one = Watch::start(&url, &["-n", "orders"]);
    let all = Watch::start(&url, &["--all"]);
    let mut browser = browser.join().expect("a browser");
    let mut assert_state = |state: &str, title: &str| {
        one.wait_for_title("/", &format!("{title} - orders"));
        all.wait_for_title("/", &format!("{title} - All services"));
        let pages = [(&one, "/"), (&all, "/"), (&all, "/service/orders")];
        pages.map(|(watch, path)| {
            // On a busy machine, a check may not be done in time now and then.
            let page = wait_for(&format!("{state} {path}: {title}"), || {
                let page = assert_readable(&mut browser, watch.port, path, state);
                page["title"]
                    .as_str()
                    .is_some_and(|shown| shown.starts_with(title))
                    .then_some(page)
            });
            let text = page["text"].as_str().unwrap_or_default();
            assert!(text.contains(title), "{state} {path}: {text}");
            assert!(!text.to_lowercase().contains("epoch"), "{state} {path}: {text}");
            // All that is green is OK.
            if title != "OK" && page["title"] != format!("{title} - All services") {
                assert_eq!(page["greens"], 0, "{state} {path}: {text}");
            }
            page
        })
    };
    assert_state("up", "OK");
    third.kill();
    let [degraded, ..] = assert_state("degraded", "WARNING");
    assert!(
        degraded["looks"]
            .as_array()
            .is_some_and(|looks| looks.contains(&"fewer".into())),
        "{degraded}"
    );
    server.stop();
    let [unknown, ..] = assert_state("unknown", "UNKNOWN");
    assert!(
        unknown["text"]
            .as_str()
            .is_some_and(|text| text.contains("There were 2 instances at the last answer, ")),
        "{unknown}"
    );
    server.start_again();
    one.wait_for_title("/", "WARNING - orders");
    // They die at once for those who check all the time: while NATS is away.
    server.stop();
    let ids = two.ids().to_vec();
    two.kill();
    server.start_again();
    for page in assert_state("down", "CRITICAL") {
        let text = page["text"].as_str().unwrap_or_default();
        for id in &ids {
            assert!(text.contains(id) && text.contains(POD), "{id}: {text}");
        }
    }
    // Nobody checks any more: the page says so, and its ages go on.
    for watch in [&one, &all] {
        watch.running.signal(libc::SIGSTOP);
    }
    let [stale, ..] = assert_state("stale", "UNKNOWN");
    let text = stale["text"].as_str().unwrap_or_default();
    let between = |begin: &str, end: &str| {
        let behind = text.split(begin).nth(1).unwrap_or_default();
        behind.split(end).next().unwrap_or_default().to_owned()
    };
    let down_for = between("still down for ", ",");
    assert!(
        stale["ages"]
            .as_array()
            .is_some_and(|ages| ages.contains(&down_for.into())),
        "{stale}"
    );
    let checked = between("Checked ", " ago");
    assert!(text.contains(&format!("The last check is {checked} old.")), "{text}");
}
