//! Metrics for the textfile collector of node_exporter: the file is written, whatever the verdict.

use std::sync::Arc;
use std::time::Instant;

use super::run_check::{AbortReport, run_check};
use crate::cli::{Config, TextfileOptions};
use crate::files::replace;
use crate::process::exit::Output;
use crate::process::watchdog;
use crate::render;
use crate::state::store::Store;

pub fn run(config: &Config, store: &Store, start: Instant, options: &TextfileOptions) -> Output {
    let path = options.output.as_path();
    let shown = path.display().to_string();
    let not_written = move |cause: &str| Output::failure(&format!("cannot write {shown}: {cause}"));
    let not_run = not_written.clone();
    let last_words: AbortReport = Arc::new(move |_, cause| not_run(cause));
    let report = run_check(config, store, start, &last_words);
    let text = render::prometheus::render(&report, &config.settings.output.metrics);
    watchdog::set_last_words(Box::new(move |cause| not_written(&cause.to_string())));
    match replace::write(path, &text) {
        Ok(()) if options.exit_status => Output {
            exit_code: report.verdict.status().exit_code(),
            ..Output::default()
        },
        Ok(()) => Output::default(),
        Err(problem) => Output::failure(&problem),
    }
}
