use super::*;
use crate::commands::handover::{self, TextWriter};
use crate::commands::outcome::{ServedCheck, ServedIndex};
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(second)
}

fn served(status: Status, seen: Value) -> Served {
    let check = json!({
        "time": at(1000).to_string(),
        "service": "orders",
        "seen": seen,
        "never_seen": false,
        "reason": "service_up",
        "text": "1 instance",
    });
    let file = handover::file().expect("a file");
    let mut writer = TextWriter::new(&file).expect("a writer");
    let mut add = |text| writer.add(text).expect("written");
    let texts = ServedTexts {
        json: add("{}"),
        metrics: add("up 1\n"),
        html: add("<p>up</p>"),
    };
    let check = serde_json::from_value(check).expect("a check");
    let result = ServedResult::One(ServedCheck { status, check, texts });
    let index = ServedIndex {
        result,
        check_requests: 1,
    };
    writer.finish(&index).expect("written");
    Served::read(file).expect("a whole result")
}

/// Checked at second 1000, with the instance A.
fn site() -> Site {
    let seen = json!({"Ok": {"count": 1, "listed": [{"id": "A", "metadata": {"pod": "orders-1"}}]}});
    Site {
        service: "orders".into(),
        is_of_many: false,
        interval: Duration::from_secs(15),
        max_age: Duration::from_secs(45),
        unreachable: None,
        selector: None,
        started: at(1000),
        check_requests: 1,
        served: Some(served(Status::Ok, seen)),
    }
}

fn ask(site: &Site, path: &str, own: Option<Result<&str, &str>>, now: i64) -> (HttpStatus, Content, String) {
    let request = HttpRequest {
        path,
        head_only: false,
        query: "",
        host: None,
    };
    let own = own.map(|own| own.map(|id| Wanted::Id(id.into())).map_err(str::to_owned));
    let response = site.answer(&request, || own, 0, at(now));
    (response.status, response.content, response.body.to_string())
}

#[test]
fn a_probe_passes_or_fails() {
    let site = site();
    let nothing = Site {
        served: None,
        ..site.clone()
    };
    let own = |id| Some(Ok(id));
    let excused = "liveness pass: orders: cannot ask, which is not this pod's fault: ";
    let stale = "the last check is 46s old, more than 45s (do the checks hang?)";
    for (site, path, own, now, status, body) in [
        (
            &site,
            "/livez",
            own("A"),
            1010,
            HttpStatus::Ok,
            "liveness pass: orders: A answered 10s ago".to_owned(),
        ),
        (
            &site,
            "/readyz",
            own("A"),
            1045,
            HttpStatus::Ok,
            "readiness pass: orders: A answered 45s ago".into(),
        ),
        (
            &site,
            "/startupz",
            own("A"),
            1000,
            HttpStatus::Ok,
            "startup pass: orders: A answered 0.0s ago".into(),
        ),
        (
            &site,
            "/livez",
            own("B"),
            1010,
            HttpStatus::Unavailable,
            "liveness fail: orders: instance B did not answer the check of 10s ago, though others did".into(),
        ),
        (
            &site,
            "/livez",
            own("B"),
            1046,
            HttpStatus::Ok,
            format!("{excused}{stale}"),
        ),
        (
            &site,
            "/readyz",
            own("A"),
            1046,
            HttpStatus::Unavailable,
            format!("readiness fail: orders: cannot ask: {stale}"),
        ),
        (
            &site,
            "/startupz",
            own("A"),
            1046,
            HttpStatus::Unavailable,
            format!("startup fail: orders: cannot ask: {stale}"),
        ),
        (
            &nothing,
            "/livez",
            own("A"),
            0,
            HttpStatus::Ok,
            format!("{excused}no check has ended yet"),
        ),
        (
            &nothing,
            "/readyz",
            own("A"),
            0,
            HttpStatus::Unavailable,
            "readiness fail: orders: cannot ask: no check has ended yet".into(),
        ),
        (
            &site,
            "/livez",
            Some(Err("no instance yet")),
            1000,
            HttpStatus::Unavailable,
            "liveness fail: orders: no instance yet".into(),
        ),
        (
            &site,
            "/livez",
            None,
            1000,
            HttpStatus::NotFound,
            NO_INSTANCE.trim_end().into(),
        ),
        (
            &nothing,
            "/readyz",
            None,
            1000,
            HttpStatus::NotFound,
            NO_INSTANCE.trim_end().into(),
        ),
    ] {
        assert_eq!(
            ask(site, path, own, now),
            (status, Content::Text, body + "\n"),
            "{path}"
        );
    }
}

#[test]
fn verbose_parameter_adds_lines_to_a_probe() {
    let request = HttpRequest {
        path: "/livez",
        head_only: false,
        query: "verbose",
        host: None,
    };
    let own = || Some(Ok(Wanted::Any));
    assert_eq!(
        &*site().answer(&request, own, 0, at(1010)).body,
        "liveness pass: orders: A answered 10s ago\nOK service_up: 1 instance\nchecked 10s ago, every 15s; counts for 45s\n"
    );
    let nothing = Site { served: None, ..site() };
    assert_eq!(
        &*nothing.answer(&request, own, 0, at(1010)).body,
        "liveness pass: orders: cannot ask, which is not this pod's fault: no check has ended yet\nno check has ended yet\n"
    );
}

/// The container may have ended and started again since the last check.
#[test]
fn startup_passes_only_with_a_check_that_began_after_its_request() {
    let ask = |site: &Site, path, check_request| {
        let own = || Some(Ok(Wanted::Id("A".into())));
        let response = site.answer(&HttpRequest::get(path), own, check_request, at(1010));
        (response.status, response.body.trim_end().to_owned())
    };
    let old = "startup fail: orders: the last check began before this start of the container, waiting for the next";
    let passes = |kind: &str| (HttpStatus::Ok, format!("{kind} pass: orders: A answered 10s ago"));
    assert_eq!(ask(&site(), "/startupz", 1), passes("startup"));
    assert_eq!(ask(&site(), "/startupz", 2), (HttpStatus::Unavailable, old.into()));
    assert_eq!(ask(&site(), "/livez", 2), passes("liveness"));
    assert_eq!(ask(&site(), "/readyz", 2), passes("readiness"));
    // NATS being away excuses a start, whenever that was found.
    let away = Site {
        served: Some(served(Status::Unknown, json!({"Err": "refused"}))),
        ..site()
    };
    assert_eq!(ask(&away, "/startupz", 2).0, HttpStatus::Ok);
}

#[test]
fn unreachable_parameter_sets_the_result_of_a_probe() {
    let away = Site {
        unreachable: Some(ProbeResult::Fail),
        served: Some(served(Status::Unknown, json!({"Err": "refused"}))),
        ..site()
    };
    let ask = |query, own: Option<Wanted>| {
        let request = HttpRequest {
            query,
            ..HttpRequest::get("/readyz")
        };
        let response = away.answer(&request, || own.map(Ok), 0, at(1010));
        (
            response.status,
            response.body.lines().next().unwrap_or_default().to_owned(),
        )
    };
    let excused = "readiness pass: orders: cannot ask, which is not this pod's fault: refused";
    let blamed = "readiness fail: orders: cannot ask: refused";
    for (query, status, line) in [
        ("unreachable=pass", HttpStatus::Ok, excused),
        ("verbose&unreachable=pass", HttpStatus::Ok, excused),
        ("unreachable=fail", HttpStatus::Unavailable, blamed),
        ("", HttpStatus::Unavailable, blamed),
        ("unreachable=PASS", HttpStatus::BadRequest, BAD_UNREACHABLE.trim_end()),
        ("unreachable", HttpStatus::BadRequest, BAD_UNREACHABLE.trim_end()),
    ] {
        assert_eq!(ask(query, Some(Wanted::Any)), (status, line.to_owned()), "{query}");
    }
    assert_eq!(ask("unreachable=pass", None).0, HttpStatus::NotFound);
}

#[test]
fn every_path_has_its_page_and_no_other_path_has_one() {
    let site = site();
    let nothing = Site {
        served: None,
        ..site.clone()
    };
    let page = |site: &Site, path: &str| ask(site, path, None, 1010);
    assert_eq!(
        page(&site, "/metrics"),
        (HttpStatus::Ok, Content::Metrics, "up 1\n".into())
    );
    let (status, content, json) = page(&site, "/status");
    assert_eq!((status, content), (HttpStatus::Ok, Content::Json));
    assert!(json.starts_with('{') && json.ends_with('}'), "{json}");
    for path in ["/metrics", "/status"] {
        let none = (HttpStatus::Unavailable, Content::Text, format!("{NO_CHECK}\n"));
        assert_eq!(page(&nothing, path), none);
    }
    let (status, content, html) = page(&site, "/");
    assert_eq!((status, content), (HttpStatus::Ok, Content::Html));
    assert!(
        html.contains("<p>up</p>") && html.contains("<title>OK - orders</title>"),
        "{html}"
    );
    let (status, _, html) = page(&nothing, "/");
    assert!(status == HttpStatus::Ok && html.contains(NO_CHECK), "{html}");
    for path in [
        "/livez/",
        "//livez",
        "/LIVEZ",
        "/%6civez",
        "/../livez",
        "/favicon.ico",
        "/healthz/",
        "/<b>",
    ] {
        let none = (HttpStatus::NotFound, Content::Text, NO_PAGE.to_owned());
        assert_eq!(page(&site, path), none, "{path}");
    }
}

#[test]
fn unreachable_flag_sets_the_result_of_each_probe() {
    let site = |unreachable| Site {
        unreachable,
        served: Some(served(Status::Unknown, json!({"Err": "refused"}))),
        ..site()
    };
    for (unreachable, passing) in [
        (None, &["/livez", "/startupz"][..]),
        (Some(ProbeResult::Pass), &["/livez", "/readyz", "/startupz"]),
        (Some(ProbeResult::Fail), &[]),
    ] {
        for path in ["/livez", "/readyz", "/startupz"] {
            let (status, _, body) = ask(&site(unreachable), path, Some(Ok("A")), 1010);
            assert_eq!(
                status == HttpStatus::Ok,
                passing.contains(&path),
                "{unreachable:?} {path}: {body}"
            );
            assert!(body.ends_with(": refused\n"), "{body}");
        }
    }
}

#[test]
fn healthz_is_ok_while_checks_are_recent() {
    let site = site();
    let nothing = Site {
        served: None,
        ..site.clone()
    };
    for (site, now, status, body) in [
        (
            &site,
            1045,
            HttpStatus::Ok,
            "ok: orders: the last check is 45s old, every 15s\n",
        ),
        (
            &site,
            1046,
            HttpStatus::Unavailable,
            "fail: orders: the last check is 46s old, every 15s\n",
        ),
        (
            &nothing,
            1045,
            HttpStatus::Ok,
            "ok: orders: no check has ended yet, every 15s\n",
        ),
        (
            &nothing,
            1046,
            HttpStatus::Unavailable,
            "fail: orders: no check has ended yet, every 15s\n",
        ),
    ] {
        assert_eq!(ask(site, "/healthz", None, now), (status, Content::Text, body.into()));
    }
}

/// A page that is old does not look as if all were well.
#[test]
fn an_old_page_says_so() {
    let (_, _, html) = ask(&site(), "/", None, 1046);
    assert!(html.contains("<title>UNKNOWN - orders</title>"), "{html}");
    assert!(html.contains("The last check is 46s old"), "{html}");
}
