//! Prints the man page: the flags and the reasons from their definitions, the rest from sections.roff. A test keeps the committed
//! page so.
//!
//! `cargo run --example make_man >man/check_nats_service.8`

use std::io::{self, Write};

use check_nats_service::cli::{self, COMMANDS};
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
    page.write_all(synopsis().as_bytes())?;
    page.write_all(DESCRIPTION.as_bytes())?;
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

/// One line for each way to call a command.
fn synopsis() -> String {
    let ways = COMMANDS
        .iter()
        .flat_map(|spec| spec.ways.iter().map(|way| (spec.name, way)));
    let lines = ways.map(|(name, way)| {
        let name = match name {
            "check" => "[\\fBcheck\\fR]".to_owned(),
            name => format!("\\fB{name}\\fR"),
        };
        let word = |word: &str| match word.strip_prefix('-') {
            Some(flag) => format!(" \\fB\\-{}\\fR", flag.replace('-', "\\-")),
            None => format!(" \\fI{word}\\fR"),
        };
        let flags: String = way.split_whitespace().map(word).collect();
        format!("\\fBcheck_nats_service\\fR {name}{flags} [\\fIOPTIONS\\fR]\n")
    });
    format!(".SH SYNOPSIS\n{}", lines.collect::<Vec<_>>().join(".br\n"))
}

const DESCRIPTION: &str = ".SH DESCRIPTION
Asks NATS itself whether a micro service (ADR\\-32) is up, and tells Nagios, Icinga or whatever else runs its plugins. Zero
instances after some were there is CRITICAL, in every run until one answers again. \\fBtextfile\\fR writes the same as metrics for
the textfile collector of node_exporter. \\fBprobe\\fR is a probe of Kubernetes, \\fBwatch\\fR a sidecar. \\fBstate show\\fR prints the
state of a service; \\fBstate reset\\fR removes it, an open outage too; \\fBstate list\\fR prints all states of the folder. With
\\fB\\-\\-all\\fR they are about every service of the account; \\fBlist\\fR prints which there are.
";
