//! The Nagios check: a verdict on stdout in the format that was asked for, and its status as the exit code.

use std::sync::Arc;
use std::time::Instant;

use super::check_report::AbortReport;
use super::run_check::Limits;
use super::scope::Question;
use crate::cli::OutputOptions;
use crate::process::exit::Output;

pub fn run(question: &Question, start: Instant, options: &OutputOptions) -> Output {
    let of_abort = options.clone();
    let last_words: AbortReport = Arc::new(move |report, _| report.output(&of_abort));
    let limits = Limits::of_output(start, question.timeout());
    question.check(limits, &last_words).output(options)
}
