//! Runs programs in turn, and prints what they cost.

use std::io;
use std::process::exit;

use super::support::Program;
use super::support::cost::Times;

/// A slow program is run once in so many rounds.
const SLOW: usize = 10;

/// Number of times that each count is taken: the least of them is what a program does when no other thread is in its way.
const COUNTS: usize = 3;

pub struct Row {
    name: String,
    program: Program,
    every: usize,
}

impl Row {
    pub fn new(name: impl Into<String>, program: Program) -> Row {
        Row {
            name: name.into(),
            program,
            every: 1,
        }
    }

    pub fn is_check_tcp(&self) -> bool {
        self.name == "check_tcp"
    }

    /// With which code it ends; 0 unless said otherwise.
    pub fn ends_with(mut self, code: i32) -> Row {
        self.program = self.program.ends_with(code);
        self
    }

    /// Not in each round, and its instructions are not counted.
    pub fn slow(mut self) -> Row {
        self.every = SLOW;
        self
    }
}

pub struct Table {
    title: String,
    runs: usize,
}

/// Costs of one program.
struct Cost {
    times: Times,
    peak_kib: u64,
    calls: usize,
    threads: usize,
    descriptors: usize,
    instructions: Option<u64>,
}

impl Table {
    pub fn new(title: impl Into<String>, runs: usize) -> Table {
        Table {
            title: title.into(),
            runs,
        }
    }

    /// The first row is the floor; `check_tcp` is found by its name.
    pub fn measure(&self, rows: &[Row]) {
        let mut times: Vec<Vec<Times>> = rows.iter().map(|_| Vec::new()).collect();
        for round in 0..self.runs {
            for (row, times) in rows.iter().zip(&mut times) {
                if round % row.every == 0 {
                    times.push(or_exit(row, row.program.time()));
                }
            }
        }
        let rows_with_times = rows.iter().zip(&times);
        let costs: Vec<Cost> = rows_with_times
            .map(|(row, times)| or_exit(row, count(row, median(times))))
            .collect();
        self.print(rows, &costs);
    }

    fn print(&self, rows: &[Row], costs: &[Cost]) {
        println!("## {}\n\nMedians of {} runs, in turn.\n", self.title, self.runs);
        println!(
            "| program | wall ms | CPU ms | wall : floor | CPU : floor | CPU : check_tcp | peak KiB | system calls | \
             threads | descriptors | 1000 instructions |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
        let tcp = rows.iter().position(Row::is_check_tcp).map(|at| &costs[at]);
        for (row, cost) in rows.iter().zip(costs) {
            let tcp = tcp.map_or("–".to_owned(), |tcp| {
                format!("{:.2}", cost.times.cpu_ms / tcp.times.cpu_ms)
            });
            let instructions = cost
                .instructions
                .map_or("–".to_owned(), |count| (count / 1000).to_string());
            println!(
                "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {tcp} | {} | {} | {} | {} | {instructions} |",
                row.name,
                cost.times.wall_ms,
                cost.times.cpu_ms,
                cost.times.wall_ms / costs[0].times.wall_ms,
                cost.times.cpu_ms / costs[0].times.cpu_ms,
                cost.peak_kib,
                cost.calls,
                cost.threads,
                cost.descriptors,
            );
        }
        println!();
    }
}

fn count(row: &Row, times: Times) -> io::Result<Cost> {
    let program = &row.program;
    let mut peaks = Vec::new();
    let mut calls = Vec::new();
    let mut instructions = Vec::new();
    for _ in 0..COUNTS {
        peaks.push(program.peak_kib()?);
        calls.push(program.calls()?);
        if row.every == 1 {
            instructions.push(program.instructions()?);
        }
    }
    peaks.sort_unstable();
    calls.sort_by_key(|calls| calls.count());
    Ok(Cost {
        times,
        peak_kib: peaks[COUNTS / 2],
        calls: calls[0].count(),
        threads: calls[0].threads,
        descriptors: calls[0].descriptors,
        instructions: instructions.into_iter().min(),
    })
}

fn or_exit<T>(row: &Row, result: io::Result<T>) -> T {
    result.unwrap_or_else(|error| {
        eprintln!("bench: {} ({:?}): {error}", row.name, row.program);
        exit(1)
    })
}

fn median(times: &[Times]) -> Times {
    let of = |value: fn(&Times) -> f64| {
        let mut values: Vec<f64> = times.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Times {
        wall_ms: of(|times| times.wall_ms),
        cpu_ms: of(|times| times.cpu_ms),
    }
}
