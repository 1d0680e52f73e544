//! What a run costs, beside other programs: wall time, CPU time and peak memory, run in turn since machines are noisy.
//!
//! `benchmark RUNS NAME=COMMAND…` runs each command (split at blanks) RUNS times, in turn, and prints the medians, and
//! their ratios to the first one. A command that ends with another status than 0 ends the benchmark.

use std::io;
use std::mem::zeroed;
use std::process::{Command, Stdio, exit};
use std::time::Instant;

/// What one run took.
struct Cost {
    wall_ms: f64,
    cpu_ms: f64,
    /// Not below that of this program, which the kernel counts in.
    rss_kib: f64,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let runs: usize = args
        .next()
        .and_then(|runs| runs.parse().ok())
        .unwrap_or_else(|| usage());
    let programs: Vec<(String, Vec<String>)> = args
        .map(|arg| match arg.split_once('=') {
            Some((name, command)) => (name.to_owned(), command.split_whitespace().map(str::to_owned).collect()),
            None => usage(),
        })
        .collect();
    let mut costs: Vec<Vec<Cost>> = programs.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for ((_, words), costs) in programs.iter().zip(&mut costs) {
            costs.push(run(words).unwrap_or_else(|error| {
                eprintln!("benchmark: {words:?}: {error}");
                exit(1)
            }));
        }
    }
    let medians: Vec<[f64; 3]> = costs
        .iter()
        .map(|costs| {
            [
                median(costs, |c| c.wall_ms),
                median(costs, |c| c.cpu_ms),
                median(costs, |c| c.rss_kib),
            ]
        })
        .collect();
    println!("medians of {runs} runs, in turn; in brackets the ratio to the first");
    println!("| program | wall ms | CPU ms | peak RSS KiB |");
    println!("|---|---|---|---|");
    for ((name, _), [wall, cpu, rss]) in programs.iter().zip(&medians) {
        let [first_wall, first_cpu, first_rss] = medians[0];
        println!(
            "| {name} | {wall:.2} ({:.2}) | {cpu:.2} ({:.2}) | {rss:.0} ({:.2}) |",
            wall / first_wall,
            cpu / first_cpu,
            rss / first_rss
        );
    }
}

fn usage() -> ! {
    eprintln!("usage: benchmark RUNS NAME=COMMAND...");
    exit(2)
}

fn run(words: &[String]) -> io::Result<Cost> {
    let (program, args) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let child = command.spawn()?;
    let mut status = 0;
    // SAFETY: a zeroed rusage is valid, and both pointers are to variables of ours. The child is waited for only here.
    let usage = unsafe {
        let mut usage: libc::rusage = zeroed();
        if libc::wait4(child.id() as i32, &mut status, 0, &mut usage) < 0 {
            return Err(io::Error::last_os_error());
        }
        usage
    };
    let wall_ms = start.elapsed().as_secs_f64() * 1000.0;
    if status != 0 {
        return Err(io::Error::other(format!("wait status {status:#x}")));
    }
    let ms = |time: libc::timeval| time.tv_sec as f64 * 1000.0 + time.tv_usec as f64 / 1000.0;
    Ok(Cost {
        wall_ms,
        cpu_ms: ms(usage.ru_utime) + ms(usage.ru_stime),
        rss_kib: usage.ru_maxrss as f64,
    })
}

fn median(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
