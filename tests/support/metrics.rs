//! Metrics in the text format of Prometheus, ours or those that an exporter serves.

use std::collections::BTreeMap;

/// The samples of a text.
#[derive(Debug)]
pub struct Metrics(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    /// Panics if a line is malformed, the last one has no end, or a series is there twice.
    #[track_caller]
    pub fn parse(text: &str) -> Metrics {
        assert!(text.ends_with('\n'), "not whole: {text:?}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| parse_sample(line).unwrap_or_else(|| panic!("malformed: {line:?}")));
        let metrics = Metrics(samples.collect());
        for (n, sample) in metrics.0.iter().enumerate() {
            let again = |other: &Sample| (&other.name, &other.labels) == (&sample.name, &sample.labels);
            assert!(!metrics.0[..n].iter().any(again), "twice: {sample:?}");
        }
        metrics
    }

    /// The value of a metric of this service, if it is there.
    #[track_caller]
    pub fn of(&self, service: &str, name: &str) -> Option<f64> {
        let is_it =
            |sample: &&Sample| sample.name == name && sample.labels.get("service").is_some_and(|s| s == service);
        let found: Vec<f64> = self.0.iter().filter(is_it).map(|sample| sample.value).collect();
        assert!(found.len() < 2, "several: {name} of {service}");
        found.first().copied()
    }

    /// A metric without labels.
    pub fn plain(&self, name: &str) -> Option<f64> {
        let sample = self
            .0
            .iter()
            .find(|sample| sample.name == name && sample.labels.is_empty());
        sample.map(|sample| sample.value)
    }

    /// The reasons that are given for the status of a service.
    pub fn reasons(&self, service: &str) -> Vec<&str> {
        let given = self.0.iter().filter(|sample| {
            sample.name == "nats_service_reason" && sample.labels["service"] == service && sample.value == 1.0
        });
        given.map(|sample| sample.labels["reason"].as_str()).collect()
    }

    /// Returns the number of samples of this program.
    pub fn count(&self) -> usize {
        let ours = self.0.iter().filter(|sample| sample.name.starts_with("nats_service_"));
        ours.count()
    }
}

/// `name value` or `name{label="value",...} value`.
fn parse_sample(line: &str) -> Option<Sample> {
    let (name, mut rest) = line.split_at(line.find(['{', ' '])?);
    let mut labels = BTreeMap::new();
    if rest.starts_with('{') {
        loop {
            let (label, text) = rest[1..].split_once("=\"")?;
            let (value, end) = parse_quoted(text)?;
            labels.insert(label.to_owned(), value);
            rest = end;
            if !rest.starts_with(',') {
                break;
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: rest.strip_prefix(' ')?.parse().ok()?,
    })
}

/// The text up to the closing quote, and what is behind it.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                c => c,
            }),
            (_, c) => value.push(c),
        }
    }
}

#[test]
fn a_text_is_read() {
    let metrics = Metrics::parse(
        "# HELP a b\na 1\nb{service=\"x\",l=\"q\\\"\\\\\\n},\"} 2.5e+00\nb{service=\"y\"} -3\n\
         nats_service_reason{reason=\"slow\",service=\"x\"} 1\nnats_service_reason{reason=\"usage\",service=\"x\"} 0\n",
    );
    assert_eq!((metrics.plain("a"), metrics.plain("b")), (Some(1.0), None));
    assert_eq!((metrics.of("x", "b"), metrics.of("y", "b")), (Some(2.5), Some(-3.0)));
    assert_eq!((metrics.of("z", "b"), metrics.count()), (None, 2));
    assert_eq!(metrics.reasons("x"), ["slow"]);
    assert_eq!(metrics.0[1].labels["l"], "q\"\\\n},");
    for bad in [
        "a",
        "a 1\nb 2",
        "a{ 1\n",
        "a{b=\"c} 1\n",
        "a x\n",
        "a 1 2\n",
        "a 1\na 1\n",
    ] {
        assert!(std::panic::catch_unwind(|| Metrics::parse(bad)).is_err(), "{bad:?}");
    }
}
