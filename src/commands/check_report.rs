//! The report of a check of one service or of all, and its forms.

use std::sync::Arc;

use crate::cli::{Format, OutputOptions, Scope};
use crate::judge::verdict::{Finding, Verdict};
use crate::process::exit::Output;
use crate::render;
use crate::render::prometheus::Style;
use crate::render::report::{AllReport, Report};
use crate::values::status::{Reason, Status};

/// Reports for a command when its run is ended early, given the cause in words. It runs in a thread that must not wait
/// for anything any more, a file say.
pub type AbortReport = Arc<dyn Fn(&CheckReport, &str) -> Output + Send + Sync>;

/// The report of a check.
#[derive(Clone)]
pub enum CheckReport {
    One(Box<Report>),
    All(AllReport),
}

impl CheckReport {
    /// UNKNOWN for one reason, before anything was asked.
    pub fn unknown(scope: &Scope, reason: Reason, text: &str) -> CheckReport {
        match scope {
            Scope::One(service) => CheckReport::One(Box::new(Report::unknown(service.as_str(), reason, text))),
            Scope::All(_) => CheckReport::All(AllReport::unknown(reason, text)),
        }
    }

    /// The verdict; that over all services, where there are many.
    pub fn verdict(&self) -> &Verdict {
        match self {
            CheckReport::One(report) => &report.verdict,
            CheckReport::All(report) => &report.overview,
        }
    }

    pub fn status(&self) -> Status {
        self.verdict().status()
    }

    /// Adds what went wrong beside the check itself.
    pub fn add(&mut self, finding: Finding) {
        match self {
            CheckReport::One(report) => report.verdict.add(finding),
            CheckReport::All(report) => report.overview.add(finding),
        }
    }

    /// A line for each finding that is worth one.
    pub fn lines(&self) -> String {
        match self {
            CheckReport::One(report) => render::text::lines(&report.verdict),
            CheckReport::All(report) => render::text::lines_of_all(report),
        }
    }

    /// One JSON value.
    pub fn json(&self) -> String {
        match self {
            CheckReport::One(report) => render::json::render(report),
            CheckReport::All(report) => render::json::render_all(report),
        }
    }

    /// The metrics, in the text exposition format.
    pub fn metrics(&self, style: &Style) -> String {
        match self {
            CheckReport::One(report) => render::prometheus::render(report, style),
            CheckReport::All(report) => render::prometheus::render_all(report, style),
        }
    }

    /// The output of `check`, in the format that was asked for.
    pub fn output(&self, options: &OutputOptions) -> Output {
        let verbosity = options.verbosity;
        let text = match (options.format, self) {
            (Format::Json, _) => self.json(),
            (Format::Prometheus, _) => self.metrics(&options.metrics),
            (Format::Text, CheckReport::One(report)) => render::text::render(&report.verdict, verbosity),
            (Format::Text, CheckReport::All(report)) => render::text::render_all(report, verbosity),
            (Format::Checkmk, CheckReport::One(report)) => render::checkmk::render(&report.verdict, verbosity),
            (Format::Checkmk, CheckReport::All(report)) => render::checkmk::render_all(report, verbosity),
            // The parser refuses the formats of a list.
            (_, CheckReport::One(report)) => render::nagios::render(&report.verdict, verbosity),
            (_, CheckReport::All(report)) => render::nagios::render_all(report, verbosity),
        };
        Output {
            exit_code: self.status().exit_code(),
            ..Output::success(text)
        }
    }
}

/// Subject of a run that may have failed before its options were known.
#[derive(Clone, Copy, Debug, Default)]
pub enum Subject {
    #[default]
    Service,
    AllServices,
    /// NATS itself.
    Server,
}

/// UNKNOWN before there is a service to speak of.
#[derive(Clone, Copy, Debug, Default)]
pub struct BeforeAnyCheck {
    pub subject: Subject,
    pub format: Format,
}

impl BeforeAnyCheck {
    pub fn output(self, reason: Reason, text: &str) -> Output {
        let one = || Box::new(Report::unknown("", reason, text));
        let report = match self.subject {
            Subject::Service => CheckReport::One(one()),
            Subject::AllServices => CheckReport::All(AllReport::unknown(reason, text)),
            Subject::Server => return server_output(&one().verdict, 0),
        };
        report.output(&OutputOptions {
            format: self.format,
            ..OutputOptions::default()
        })
    }
}

/// The same of one service, in the format for people and Nagios.
pub fn unknown(reason: Reason, text: impl Into<String>) -> Output {
    BeforeAnyCheck::default().output(reason, &text.into())
}

/// Returns the output of a verdict on NATS itself.
pub fn server_output(verdict: &Verdict, verbosity: u8) -> Output {
    Output {
        exit_code: verdict.status().exit_code(),
        ..Output::success(render::nagios::render_server(verdict, verbosity))
    }
}
