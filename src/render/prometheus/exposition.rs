//! The text exposition format of Prometheus: labels, families and samples.

use std::fmt::Write;

use crate::judge::verdict::Verdict;
use crate::values::status::Reason;
use crate::values::text::clean;

/// A label of every sample, as the user said. The name is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub name: String,
    pub value: String,
}

impl Label {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    ///
    /// The error in it.
    pub fn parse(text: &str) -> Result<Label, String> {
        const OURS: [&str; 9] = [
            "service",
            "reason",
            "instance_id",
            "version",
            "endpoint",
            "pod",
            "host",
            "fate",
            "code",
        ];
        let Some((name, value)) = text.split_once('=') else {
            return Err("a label is NAME=VALUE".into());
        };
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!(
                "'{}' is no label name: it has letters, digits and '_' only, and no digit first",
                clean(name, 80)
            ));
        }
        if name.starts_with("__") {
            return Err(format!("'{name}': names that begin with __ belong to Prometheus"));
        }
        if name == "nats" {
            return Err("'nats' is a label of the metrics themselves: set it with --nats-label".into());
        }
        if OURS.contains(&name) {
            return Err(format!("'{name}' is a label of the metrics themselves"));
        }
        Ok(Label {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// A text with metrics.
pub struct Page<'s, S> {
    text: String,
    /// Subjects of the samples, each with its labels as they are written between the braces.
    subjects: &'s [(String, S)],
}

impl<'s, S> Page<'s, S> {
    pub fn new(subjects: &'s [(String, S)]) -> Page<'s, S> {
        Page {
            text: String::new(),
            subjects,
        }
    }

    pub fn into_text(self) -> String {
        self.text
    }

    /// HELP, TYPE and samples of a metric; nothing if it has none.
    pub fn family<const N: usize, V, I>(&mut self, name: &str, kind: &str, help: &str, samples: impl Fn(&'s S) -> I)
    where
        V: AsRef<str>,
        I: IntoIterator<Item = ([(&'static str, V); N], f64)>,
    {
        let mut is_first = true;
        for (labels, subject) in self.subjects {
            for (more, value) in samples(subject) {
                if is_first {
                    let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
                    is_first = false;
                }
                self.sample(name, labels, more, value);
            }
        }
    }

    fn sample<const N: usize, V: AsRef<str>>(&mut self, name: &str, labels: &str, more: [(&str, V); N], value: f64) {
        self.text += name;
        if N > 0 || !labels.is_empty() {
            self.text.extend(["{", labels]);
            for (n, (label, text)) in more.into_iter().enumerate() {
                let comma = if n == 0 && labels.is_empty() { "" } else { "," };
                let _ = write!(self.text, "{comma}{label}=\"{}\"", escape(text.as_ref()));
            }
            self.text += "}";
        }
        let _ = writeln!(self.text, " {value}");
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: impl Fn(&'s S) -> Option<f64>) {
        self.family(name, "gauge", help, |subject| {
            value(subject).map(|value| (NO_LABELS, value))
        });
    }

    /// Each reason, and whether the verdict has it.
    pub fn reasons(&mut self, name: &str, help: &str, verdict: impl Fn(&'s S) -> &'s Verdict) {
        self.family(name, "gauge", help, |subject| {
            let findings = verdict(subject).findings();
            Reason::of_services().map(move |reason| {
                let given = findings.iter().any(|finding| finding.reason == reason);
                ([("reason", reason.name())], flag(given))
            })
        });
    }
}

/// Labels of a sample that has only those of all samples.
pub const NO_LABELS: [(&str, &str); 0] = [];

/// Returns 1 for `true`, 0 for `false`.
pub fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

/// Returns the labels as they are written between the braces.
pub fn labels(labels: &[Label]) -> String {
    let label = |Label { name, value }: &Label| format!("{name}=\"{}\"", escape(value));
    labels.iter().map(label).collect::<Vec<_>>().join(",")
}

/// The value of a label, as the exposition format wants it.
pub fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
