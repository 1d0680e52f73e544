//! Versions and what is required of them; labels of metrics; words for status, reason and format.

use check_nats_service::cli::Format;
use check_nats_service::render::prometheus::Label;
use check_nats_service::values::status::{Reason, Status};
use check_nats_service::values::version::{Fit, Requirement};

use super::{Target, text};

pub const TARGET: Target = Target {
    name: "version",
    run,
    seeds: &[
        "^1.4\n1.4.2",
        ">=1.2, <2\n1.9.0-rc.1+b",
        "*\n",
        "~1.4.2\nlatest",
        "=1.5.0-rc.2\n1.5.0-rc.2+x...",
        "1.*\n1.2",
        "env=prod",
        "__x=1",
        "service=x",
        "critical",
    ],
    samples: None,
    words: &[
        "\n",
        "^",
        "~",
        ">=",
        "<",
        ", ",
        "*",
        "x",
        "-rc.1",
        "+b",
        "...",
        ".0",
        "1",
        "18446744073709551616",
        "=",
        "__",
        "instance_id",
        "OK",
        "json",
    ],
};

fn run(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    match Requirement::parse(first) {
        Ok(requirement) => {
            let told = requirement.to_string();
            assert_eq!(
                Requirement::parse(&told).as_ref(),
                Ok(&requirement),
                "{first:?} is told as {told:?}"
            );
            let fit = requirement.fit(second);
            assert_eq!(fit == Fit::Missing, second.is_empty());
            let digits = second.starts_with(|c: char| c.is_ascii_digit());
            assert!(
                digits || matches!(fit, Fit::Missing | Fit::Malformed),
                "{second:?} is {fit:?}"
            );
        }
        Err(why) => assert!(why.chars().count() < 400, "{why}"),
    }
    match Label::parse(text) {
        Ok(label) => {
            let mut letters = label.name.chars();
            let begins = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            assert!(
                begins && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') && !label.name.starts_with("__"),
                "{text:?}"
            );
            assert_eq!(text, format!("{}={}", label.name, label.value));
        }
        Err(why) => assert!(why.len() <= text.len() + 400, "{why}"),
    }
    assert!(Status::parse(text).is_none_or(|status| status.name().eq_ignore_ascii_case(text)));
    assert!(Reason::parse(text).is_none_or(|reason| reason.name() == text));
    assert!(Format::parse(text).is_none() || Format::words(&Format::ALL).contains(text));
}
