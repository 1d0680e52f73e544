//! Prints the man page: the flags and the reasons from their definitions, the rest from sections.roff. A test keeps the committed
//! page so.
//!
//! `cargo run --example make_man >man/check_nats_service.8`

use std::io::{self, Write};

use check_nats_service::cli;
use check_nats_service::values::reason::Reason;
use clap_mangen::Man;

/// Of the page: of the release, or of the latest change before it.
const DATE: &str = "2026-11-25";

fn main() -> io::Result<()> {
    let man = Man::new(cli::whole_command())
        .section("8")
        .date(DATE)
        .manual("Monitoring Plugins");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    page.write_all(
        b".SH SYNOPSIS
\\fBcheck_nats_service\\fR [\\fBcheck\\fR] \\fB\\-n\\fR \\fINAME\\fR [\\fIOPTIONS\\fR]
.br
\\fBcheck_nats_service textfile\\fR \\fB\\-n\\fR \\fINAME\\fR \\fB\\-o\\fR \\fIFILE\\fR [\\fIOPTIONS\\fR]
.br
\\fBcheck_nats_service probe liveness\\fR|\\fBreadiness\\fR|\\fBstartup\\fR \\fB\\-n\\fR \\fINAME\\fR \\fIINSTANCE\\fR [\\fIOPTIONS\\fR]
.br
\\fBcheck_nats_service watch\\fR \\fB\\-n\\fR \\fINAME\\fR [\\fIOPTIONS\\fR]
.br
\\fBcheck_nats_service state show\\fR|\\fBreset\\fR \\fB\\-n\\fR \\fINAME\\fR [\\fIOPTIONS\\fR]
.br
\\fBcheck_nats_service state list\\fR [\\fIOPTIONS\\fR]
.SH DESCRIPTION
Asks NATS itself whether a micro service (ADR\\-32) is up, and tells Nagios, Icinga or whatever else runs its plugins. Zero
instances after some were there is CRITICAL, in every run until one answers again. \\fBtextfile\\fR writes the same as metrics for
the textfile collector of node_exporter. \\fBprobe\\fR is a probe of Kubernetes, \\fBwatch\\fR a sidecar. \\fBstate show\\fR prints what is remembered
about a service; \\fBstate reset\\fR forgets it, an open outage too; \\fBstate list\\fR prints all states of the folder.
",
    )?;
    man.render_options_section(&mut page)?;
    let sections = include_str!("sections.roff").replace(".\\\" REASONS\n", &reasons());
    page.write_all(sections.as_bytes())?;
    io::stdout().write_all(&page)
}

/// The reasons, as a list of paragraphs.
fn reasons() -> String {
    let paragraph = |reason: &Reason| {
        let it = reason.explanation();
        let action = match it.action {
            "" => String::new(),
            action => format!(". What to do: {action}"),
        };
        let text = format!("When: {}. Status: {}{action}.", it.when, it.status);
        format!(".TP\n{}\n{}\n", reason.name(), roff(&text))
    };
    Reason::ALL.iter().map(paragraph).collect()
}

/// Markdown as roff: code in bold.
fn roff(text: &str) -> String {
    let code = |(n, part): (usize, &str)| match n % 2 {
        0 => part.to_owned(),
        _ => format!("\\fB{part}\\fR"),
    };
    text.replace('-', "\\-").split('`').enumerate().map(code).collect()
}
