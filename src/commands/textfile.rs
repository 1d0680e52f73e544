//! Metrics for the textfile collector of node_exporter: the file is written, whatever the verdict. With `--verbose`, what is wrong
//! is printed too, for the journal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check_report::AbortReport;
use super::run_check::Limits;
use super::scope::Question;
use crate::cli::TextfileOptions;
use crate::files::replace;
use crate::process::exit::Output;
use crate::process::watchdog;
use crate::render::prometheus::Style;

/// Maximum time that is kept for the state and the file when the network uses up all of its own.
const MAX_WRITING: Duration = Duration::from_millis(500);

pub fn run(question: &Question, start: Instant, style: &Style, options: &TextfileOptions) -> Output {
    let path = options.output.as_path();
    let shown = path.display().to_string();
    let not_written = move |cause: &str| Output::failure(&format!("cannot write {shown}: {cause}"));
    let not_run = not_written.clone();
    let last_words: AbortReport = Arc::new(move |_, cause| not_run(cause));
    let end = start + question.timeout();
    let limits = Limits {
        start,
        network: end - (question.timeout() / 10).min(MAX_WRITING),
        end,
    };
    let report = question.check(limits, &last_words);
    let text = report.metrics(style);
    watchdog::set_last_words(Box::new(move |cause| not_written(&cause.to_string())));
    let stdout = if options.verbose { report.lines() } else { String::new() };
    let written = match replace::write(path, &text) {
        Ok(()) if options.exit_status => Output {
            exit_code: report.status().exit_code(),
            ..Output::default()
        },
        Ok(()) => Output::default(),
        Err(problem) => Output::failure(&problem),
    };
    Output { stdout, ..written }
}
