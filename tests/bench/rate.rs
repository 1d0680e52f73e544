//! A monitoring host that checks 1000 services a minute at one server of a cluster.

use std::fs;
use std::mem::zeroed;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::support::server::free_port;
use super::support::{Program, Server, Service, TempDir, Version, http, wait_for};

const CHECKS: u32 = 1000;
const TIME: Duration = Duration::from_secs(60);

/// So many services, of three instances each, on the other two servers of the cluster.
const SERVICES: usize = 20;

/// Maximum number of checks at once: as many as a monitoring system allows.
const AT_ONCE: usize = 4;

pub fn measure(check: &str, dir: &TempDir) {
    let (routes, monitoring) = ([free_port(), free_port(), free_port()], free_port());
    let start = |node: usize| {
        let others: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let http = if node == 0 {
            format!("http: \"127.0.0.1:{monitoring}\"")
        } else {
            String::new()
        };
        let config = format!(
            "cluster {{ name: c, listen: \"127.0.0.1:{}\", routes: [{}] }}\n{http}",
            routes[node],
            others.join(", ")
        );
        Server::with_config(Version::Newest, &config)
    };
    let servers = [start(0), start(1), start(2)];
    let services: Vec<Service> = (0..SERVICES)
        .map(|n| {
            Service::async_nats(&servers[1 + n % 2].url(), &name(n))
                .count(3)
                .start()
        })
        .collect();
    (0..SERVICES).for_each(|n| servers[0].wait_for_instances(&name(n), 3));

    let programs: Vec<Program> = (0..CHECKS as usize)
        .map(|n| {
            let state = dir.join(&format!("rate-{n}"));
            Program::new([
                check,
                "-s",
                &servers[0].url(),
                "-n",
                &name(n % SERVICES),
                "--state-dir",
                &state,
            ])
        })
        .collect();
    // The first runs wait for more instances; what counts is the usual run.
    round(&programs, TIME / 4);
    let before = (children(), server(&servers[0]), connections(monitoring));
    let (missed, took) = round(&programs, TIME);
    let after = (children(), server(&servers[0]), connections(monitoring));
    wait_for("the connections end", || (open(monitoring) == 0).then_some(()));
    drop(services);

    println!("## {CHECKS} checks in a minute, {SERVICES} clustered services of 3 instances, one server asked\n");
    println!("| what | |\n|---|---|");
    println!("| time | {:.1} s |", took.as_secs_f64());
    println!("| checks that were not OK | {missed} |");
    println!(
        "| CPU of all checks | {:.2} s, {:.2} % of one processor |",
        after.0 - before.0,
        percent(after.0 - before.0, took)
    );
    println!(
        "| CPU of a check | {:.2} ms |",
        (after.0 - before.0) * 1000.0 / f64::from(CHECKS)
    );
    println!(
        "| CPU of the server | {:.2} s, {:.2} % of one processor |",
        after.1 - before.1,
        percent(after.1 - before.1, took)
    );
    println!(
        "| CPU of the server for a check | {:.2} ms |",
        (after.1 - before.1) * 1000.0 / f64::from(CHECKS)
    );
    println!("| connections made at the server | {} |", after.2 - before.2);
    println!("| connections left open | {} |", open(monitoring));
    println!();
}

fn name(number: usize) -> String {
    format!("service-{number}")
}

fn percent(cpu: f64, wall: Duration) -> f64 {
    100.0 * cpu / wall.as_secs_f64()
}

/// Runs all of them, evenly spread over the time; how many were not OK, and how long it took.
fn round(programs: &[Program], time: Duration) -> (usize, Duration) {
    let start = Instant::now();
    let every = time / programs.len() as u32;
    let missed = thread::scope(|scope| {
        let workers = (0..AT_ONCE).map(|worker| {
            scope.spawn(move || {
                let mut missed = 0;
                for (number, program) in programs.iter().enumerate().skip(worker).step_by(AT_ONCE) {
                    thread::sleep((every * number as u32).saturating_sub(start.elapsed()));
                    missed += usize::from(program.run().is_err());
                }
                missed
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
    });
    (missed, start.elapsed())
}

/// CPU seconds of all children that have ended.
fn children() -> f64 {
    // SAFETY: a zeroed rusage is valid, and is written by the call.
    let usage = unsafe {
        let mut usage: libc::rusage = zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// CPU seconds of a server.
fn server(server: &Server) -> f64 {
    // In nanoseconds, of each thread.
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
    let spent = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    spent.sum::<f64>() / 1e9
}

fn varz(port: u16, field: &str) -> u64 {
    let text = http::get(port, "/varz").expect("the server tells about itself");
    let varz: Value = serde_json::from_str(&text).expect("JSON");
    varz[field].as_u64().expect(field)
}

fn connections(port: u16) -> u64 {
    varz(port, "total_connections")
}

fn open(port: u16) -> u64 {
    varz(port, "connections")
}
