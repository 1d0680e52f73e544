//! The Nagios check: a verdict on stdout in the format that was asked for, and its status as the exit code.

use std::sync::Arc;
use std::time::Instant;

use super::run_check::{AbortReport, run_check};
use crate::cli::{Config, Format, OutputOptions};
use crate::process::exit::Output;
use crate::render;
use crate::render::report::Report;
use crate::state::store::Store;
use crate::values::status::Reason;

pub fn run(config: &Config, store: &Store, start: Instant) -> Output {
    let options = config.settings.output.clone();
    let last_words: AbortReport = Arc::new(move |report, _| output(report, &options));
    output(&run_check(config, store, start, &last_words), &config.settings.output)
}

/// The report in the format that was asked for.
pub fn output(report: &Report, options: &OutputOptions) -> Output {
    let verdict = &report.verdict;
    Output {
        exit_code: verdict.status().exit_code(),
        ..Output::success(match options.format {
            Format::Nagios => render::nagios::render(verdict, options.verbosity),
            Format::Json => render::json::render(report),
            Format::Text => render::text::render(verdict, options.verbosity),
            Format::Checkmk => render::checkmk::render(verdict, options.verbosity),
            Format::Prometheus => render::prometheus::render(report, &options.metrics),
        })
    }
}

/// UNKNOWN before there is a service to speak of.
pub fn bare(reason: Reason, text: impl Into<String>, options: &OutputOptions) -> Output {
    output(&Report::unknown("", reason, text), options)
}

/// The same in the format for people and Nagios.
pub fn unknown(reason: Reason, text: impl Into<String>) -> Output {
    bare(reason, text, &OutputOptions::default())
}
