//! The budget of a run, in counts that do not depend on how fast or how busy the machine is. Of the static program, which has the
//! same C library everywhere. The marks of a single check were 3.2 MiB of memory, 3.4 MB static and 2.6 MB dynamic; what came
//! since (all services at once, the exporter, its page and its metrics) is in the same program.

use std::fmt::Write;
use std::fs;

use super::support::cost::Calls;
use super::support::{Check, Crowd, Program, Server, Service, TempDir, Version, from_env, wait_for};

/// Costs of a run today. More than that and the tolerance is a budget crossed: make it cheaper, or say here that it is worth its
/// price. `tests/bench/run.sh` shows it all, and times.
struct Budget {
    run: &'static str,
    /// System calls; `None` where their number depends on who is faster, the server or the reader.
    calls: Option<u64>,
    /// Instructions outside of the kernel, in thousands.
    instructions: u64,
    peak_kib: u64,
    threads: u64,
    descriptors: u64,
}

/// Three instances, plain, all of them known.
const USUAL: Budget = Budget {
    run: "a usual run (USUAL)",
    calls: Some(670),
    instructions: 2_200,
    peak_kib: 3_700,
    threads: 5,
    descriptors: 9,
};

/// A Kubernetes probe of one instance.
const PROBE: Budget = Budget {
    run: "`probe` (PROBE)",
    calls: Some(600),
    instructions: 2_230,
    peak_kib: 3_700,
    threads: 5,
    descriptors: 6,
};

/// The same from the file of a sidecar.
const PROBE_FROM: Budget = Budget {
    run: "`probe --from` (PROBE_FROM)",
    calls: Some(97),
    instructions: 2_000,
    peak_kib: 3_370,
    threads: 2,
    descriptors: 6,
};

/// All of them known.
const TEN_THOUSAND: Budget = Budget {
    run: "a usual run with 10,000 instances (TEN_THOUSAND)",
    // A reader that keeps pace with the server reads in smaller parts.
    calls: None,
    instructions: 506_000,
    peak_kib: 16_500,
    threads: 5,
    descriptors: 9,
};

/// A thousand services with ten instances each, all of them known.
const ALL_SERVICES: Budget = Budget {
    run: "a usual run for 1000 services (ALL_SERVICES)",
    calls: None,
    // 140,000 of them only where valgrind makes it so slow that it asks the services by name, too.
    instructions: 1_094_000,
    peak_kib: 23_000,
    threads: 5,
    descriptors: 9,
};

/// The program itself, linked dynamically.
const BINARY_BYTES: u64 = 3_410_000;

/// That of the tarball and the image.
const STATIC_BYTES: u64 = 4_350_000;

/// In percent: another compiler, another libc. Threads and descriptors have none.
const TOLERANCE: u64 = 10;

/// That of the bytes.
const TOLERANCE_OF_BYTES: u64 = 2;

/// Maximum number of times that a run is measured until it keeps to its budget.
const LOOKS: usize = 5;

/// Measured costs, beside those allowed.
#[derive(Default)]
struct Ledger {
    crossed: String,
}

impl Ledger {
    fn enter(&mut self, run: &str, what: &str, measured: u64, budget: u64, tolerance: u64) {
        let allowed = budget + budget * tolerance / 100;
        let loose = if measured < budget * 4 / 5 { ": lower it" } else { "" };
        println!("{run}: {measured} {what}, budget {budget}{loose}");
        if measured > allowed {
            let _ = writeln!(
                self.crossed,
                "{run}: {measured} {what}, but {allowed} are allowed (a budget of {budget} and {tolerance} %)"
            );
        }
    }

    /// Looks at the run until it keeps to its budget, and enters the least that was seen.
    fn run(&mut self, budget: &Budget, program: &Program) -> Cost {
        let mut cost = Cost::of(program);
        let mut look = 1;
        loop {
            let mut ledger = Ledger::default();
            ledger.enter_cost(budget, &cost);
            if ledger.crossed.is_empty() || look == LOOKS {
                self.crossed += &ledger.crossed;
                return cost;
            }
            look += 1;
            println!("look {look} at {}", budget.run);
            cost = cost.min(Cost::of(program));
        }
    }

    fn enter_cost(&mut self, budget: &Budget, cost: &Cost) {
        let run = budget.run;
        match budget.calls {
            Some(calls) => self.enter(run, "system calls", cost.calls, calls, TOLERANCE),
            None => println!("{run}: {} system calls, no budget", cost.calls),
        }
        self.enter(run, "threads", cost.threads, budget.threads, 0);
        self.enter(run, "descriptors", cost.descriptors, budget.descriptors, 0);
        let thousands = cost.instructions / 1000;
        self.enter(run, "thousand instructions", thousands, budget.instructions, TOLERANCE);
        self.enter(run, "KiB of memory", cost.peak_kib, budget.peak_kib, TOLERANCE);
    }

    #[track_caller]
    fn close(self) {
        assert!(
            self.crossed.is_empty(),
            "over budget:\n{}{}Make it cheaper, or change the budget in {}; tests/bench/run.sh measures more.",
            self.crossed,
            another_toolchain(),
            file!(),
        );
    }
}

/// The compiler that the figures were taken with: another one makes other instructions and other sizes.
const TOOLCHAIN: &str = "rustc 1.95.0 (59807616e 2026-04-14)";

/// A remark for the failure, if this is another compiler.
fn another_toolchain() -> String {
    let rustc = std::process::Command::new("rustc").arg("--version").output();
    remark_on(&rustc.map_or(String::new(), |out| String::from_utf8_lossy(&out.stdout).into_owned()))
}

fn remark_on(rustc: &str) -> String {
    match rustc.trim() {
        TOOLCHAIN => String::new(),
        other => {
            format!("The budgets were taken with {TOOLCHAIN}, and this is {other}: the compiler may be the reason.\n")
        }
    }
}

/// Minimum costs of a run: the order of the threads only ever adds to them.
#[derive(Debug)]
struct Cost {
    calls: u64,
    threads: u64,
    descriptors: u64,
    instructions: u64,
    peak_kib: u64,
}

impl Cost {
    fn of(program: &Program) -> Cost {
        let calls: Calls = program.calls().expect("a trace");
        Cost {
            calls: calls.count() as u64,
            threads: calls.threads as u64,
            descriptors: calls.descriptors as u64,
            instructions: program.instructions().expect("a count"),
            peak_kib: program.peak_kib().expect("a peak"),
        }
    }

    /// The least of both.
    fn min(self, other: Cost) -> Cost {
        Cost {
            calls: self.calls.min(other.calls),
            threads: self.threads.min(other.threads),
            descriptors: self.descriptors.min(other.descriptors),
            instructions: self.instructions.min(other.instructions),
            peak_kib: self.peak_kib.min(other.peak_kib),
        }
    }

    fn instructions(&self) -> u64 {
        self.instructions
    }

    fn bytes(&self) -> u64 {
        self.peak_kib << 10
    }
}

/// The static program, which tests/run.sh makes.
fn released(args: &[&str]) -> Program {
    Program::new([from_env("CHECK_NATS_SERVICE_STATIC")]).args(args)
}

/// A run of this kind whose state is known, with time enough for being looked at. It asks once: valgrind makes it so slow that it would
/// ask again before the first reply is there, or not, which depends on what else the machine does.
fn known(words: &[&str], dir: &TempDir) -> Program {
    let state = dir.join("state");
    let words = [words, &["--state-dir", &state]].concat();
    for _ in 0..2 {
        released(&words).run().expect("a run that is OK");
    }
    released(&words).args(["-t", "240s", "--confirm", "0"])
}

fn usual(url: &str, dir: &TempDir) -> Program {
    known(&["-n", "orders", "-s", url], dir)
}

#[test]
#[ignore = "needs nats-server"]
fn each_run_keeps_to_its_budget() {
    let dir = TempDir::new();
    let server = Server::start(Version::Newest);
    let url = server.url();
    let service = Service::async_nats(&url, "orders").count(3).start();
    let mut ledger = Ledger::default();
    ledger.run(&USUAL, &usual(&url, &dir));

    let probe = ["probe", "liveness", "-n", "orders", "--id", &service.ids()[0]];
    // Looked at, it takes longer than a probe has by default.
    let network = released(&probe).args(["-s", &url, "--timeout", "240s", "--confirm", "0"]);
    network.run().expect("a pass");
    ledger.run(&PROBE, &network);

    let status = dir.join("status");
    write_status_file(&url, &status, &dir);
    let from = released(&["probe", "liveness", "-n", "orders", "--any-instance"]);
    let from = from.args(["--from", &status, "--max-age", "1h", "--timeout", "240s"]);
    from.run().expect("a pass");
    ledger.run(&PROBE_FROM, &from);
    ledger.close();
}

/// As a sidecar leaves it.
fn write_status_file(url: &str, path: &str, dir: &TempDir) {
    let state = dir.join("watch");
    let words = [
        "watch",
        "-n",
        "orders",
        "-s",
        url,
        "--interval",
        "1h",
        "--status-file",
        path,
    ];
    let watch = Check::program(&from_env("CHECK_NATS_SERVICE_STATIC"), words);
    let watch = watch.args(["--state-dir", &state]).spawn();
    wait_for("the status file", || fs::exists(path).ok().filter(|there| *there));
    drop(watch);
}

/// The cost of one more instance does not grow with their number.
#[test]
#[ignore = "needs nats-server"]
fn ten_thousand_instances_keep_to_their_budget_and_cost_is_linear() {
    let mut ledger = Ledger::default();
    let mut cost = |count| {
        let dir = TempDir::new();
        let server = Server::start(Version::Newest);
        let _crowd = Crowd::start(&server.url(), "orders", count);
        let program = usual(&server.url(), &dir);
        match count {
            10_000 => ledger.run(&TEN_THOUSAND, &program),
            _ => Cost::of(&program).min(Cost::of(&program)),
        }
    };
    let costs = [100, 1000, 10_000].map(|count| (count as u64, cost(count)));
    ledger.close();
    assert_linear("instance", &costs);
}

/// The cost of one more service does not grow with their number.
#[test]
#[ignore = "needs nats-server"]
fn a_thousand_services_keep_to_their_budget_and_cost_is_linear() {
    let mut ledger = Ledger::default();
    let mut cost = |count| {
        let dir = TempDir::new();
        let server = Server::start(Version::Newest);
        let names: Vec<String> = (0..count).map(|number| format!("service-{number:04}")).collect();
        let _crowd = Crowd::of_services(&server.url(), &names, 10);
        let program = known(&["--all", "-s", &server.url()], &dir);
        match count {
            1000 => ledger.run(&ALL_SERVICES, &program),
            _ => Cost::of(&program).min(Cost::of(&program)),
        }
    };
    let costs = [10, 100, 1000].map(|count| (count as u64, cost(count)));
    ledger.close();
    assert_linear("service", &costs);
}

/// Asserts that one more costs no more among many than among few. The costs are those of three numbers.
#[track_caller]
fn assert_linear(one: &str, [(least, cheap), (middle, medium), (most, costly)]: &[(u64, Cost); 3]) {
    for (what, of) in [
        ("instructions", Cost::instructions as fn(&Cost) -> u64),
        ("bytes", Cost::bytes),
    ] {
        let each = |less: u64, more: u64, number: u64| more.saturating_sub(less) / number;
        let few = each(of(cheap), of(medium), middle - least);
        let many = each(of(medium), of(costly), most - middle);
        println!("one more {one} costs {few} {what} up to {middle}, {many} beyond");
        assert!(
            many <= few * 3 / 2,
            "one more {one} costs {few} {what} up to {middle}, but {many} beyond"
        );
    }
}

#[test]
#[ignore = "needs the release build"]
fn the_programs_keep_to_their_sizes() {
    let mut ledger = Ledger::default();
    for (what, variable, budget) in [
        ("the program (BINARY_BYTES)", "CHECK_NATS_SERVICE_RELEASE", BINARY_BYTES),
        (
            "the static program (STATIC_BYTES)",
            "CHECK_NATS_SERVICE_STATIC",
            STATIC_BYTES,
        ),
    ] {
        let size = fs::metadata(from_env(variable)).expect("a program").len();
        ledger.enter(what, "bytes", size, budget, TOLERANCE_OF_BYTES);
    }
    ledger.close();
}

#[test]
fn a_budget_that_is_crossed_says_which_and_by_how_much() {
    let mut ledger = Ledger::default();
    ledger.enter("a usual run (USUAL)", "system calls", 110, 100, 10);
    ledger.enter("a usual run (USUAL)", "threads", 6, 5, 0);
    assert_eq!(
        ledger.crossed,
        "a usual run (USUAL): 6 threads, but 5 are allowed (a budget of 5 and 0 %)\n"
    );
    assert_eq!(remark_on(&format!("{TOOLCHAIN}\n")), "");
    assert!(remark_on("rustc 1.0.0").contains("this is rustc 1.0.0: the compiler may be the reason"));
    let panic = std::panic::catch_unwind(|| ledger.close()).expect_err("a panic");
    let text = panic.downcast_ref::<String>().expect("a text");
    assert!(
        text.contains("6 threads, but 5 are allowed") && text.contains("tests/budgets.rs"),
        "{text}"
    );
}
