//! The number of instances in the last checks: a drawing, its legend, and the same in words.

use std::fmt::Write;
use std::time::Duration;

use super::markup::moment;
use crate::state::memory::{MAX_HISTORY, Memory};
use crate::values::text::count;
use crate::values::timestamp::Timestamp;

/// Heights in the drawing, in pixels; widths are in percent. A bar of all instances ends below the upper edge.
const HEIGHT: usize = 72;
const TOP: usize = 4;
const BAR: usize = HEIGHT - TOP;

/// Height of the cross of a check in which no instance answered.
const CROSS: usize = 12;

/// A slot of the drawing.
enum Slot {
    /// A check that got an answer.
    Check { at: Timestamp, instances: usize },
    /// A time of which nothing is known.
    Gap { from: Timestamp, to: Timestamp, why: Gap },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Gap {
    NotAsked,
    NoCheck,
}

impl Gap {
    fn text(self) -> &'static str {
        match self {
            Gap::NotAsked => "NATS could not be asked",
            Gap::NoCheck => "no answer of a check",
        }
    }
}

/// Appearance of a slot, which is also its name in the style.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Normal,
    Fewer,
    None,
    Gap,
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Look::Normal => "bar",
            Look::Fewer => "fewer",
            Look::None => "none",
            Look::Gap => "gap",
        }
    }
}

/// `max_age`: between two checks that lie further apart nothing is known.
pub fn history(memory: &Memory, now: Timestamp, max_age: Duration) -> String {
    let slots = slots(memory, now, max_age);
    let checks = memory.history.len();
    let (Some(first), Some(_)) = (memory.history.first(), memory.history.last()) else {
        return String::new();
    };
    let normal = memory.baseline.as_ref().map_or(0, |baseline| baseline.count());
    let counts = memory.history.iter().map(|epoch| epoch.count);
    let most = counts.chain([normal, 1]).max().unwrap_or(1);
    let look = |slot: &Slot| match slot {
        Slot::Gap { .. } => Look::Gap,
        Slot::Check { instances: 0, .. } => Look::None,
        Slot::Check { instances, .. } if *instances < normal => Look::Fewer,
        Slot::Check { .. } => Look::Normal,
    };
    let height = |instances: usize| instances.saturating_mul(BAR) / most;
    // The latest one is at the right edge.
    let room = slots.len().max(MAX_HISTORY);
    let mut drawn = String::new();
    for (n, slot) in (room - slots.len()..).zip(&slots) {
        let x = n as f64 * 100.0 / room as f64;
        drawn += &draw(slot, look(slot), x, 80.0 / room as f64, height);
    }
    if normal > 0 {
        let y = HEIGHT - height(normal);
        let _ = writeln!(
            drawn,
            "<line class=\"normal\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>"
        );
    }
    let legend: String = [Look::Normal, Look::Fewer, Look::None, Look::Gap]
        .into_iter()
        .filter(|shown| slots.iter().any(|slot| look(slot) == *shown))
        .map(|shown| legend(shown, &key(shown)))
        .collect();
    let normal = match normal {
        0 => String::new(),
        normal => legend_item(
            "<line class=\"normal\" x1=\"0\" x2=\"100%\" y1=\"6\" y2=\"6\"/>",
            &format!("the normal number: {}", count(normal, "instance")),
        ),
    };
    let begin = moment(slots.first().map_or(first.at, Slot::begin));
    let end = moment(slots.last().map_or(first.at, Slot::end));
    let ends = match slots.len() == room {
        true => format!("<span>{begin}</span> <span>{end}</span>"),
        false => format!("<span></span> <span>{begin} to {end}</span>"),
    };
    format!(
        "<h2>Instances in the last {checks}</h2>\n<figure>\n<svg class=\"history\" role=\"img\" aria-label=\"{words}\">\n\
         <defs><pattern id=\"lines\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
         <line class=\"line\" x1=\"0\" x2=\"0\" y1=\"0\" y2=\"5\"/></pattern></defs>\n{drawn}</svg>\n\
         <p class=\"ends\">{ends}</p>\n<ul class=\"legend\">\n{legend}{normal}</ul>\n</figure>\n",
        checks = count(checks, "check"),
        words = in_words(&slots),
    )
}

/// The checks, and the gaps between them and up to `now`.
fn slots(memory: &Memory, now: Timestamp, max_age: Duration) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut before: Option<Timestamp> = None;
    let gap = |before: Option<Timestamp>, not_asked: Option<Timestamp>, at: Timestamp| {
        let (from, why) = match (not_asked, before) {
            (Some(since), _) => (since, Gap::NotAsked),
            (None, Some(before)) if at.since(before) > max_age => (before, Gap::NoCheck),
            _ => return None,
        };
        Some(Slot::Gap { from, to: at, why })
    };
    for epoch in &memory.history {
        slots.extend(gap(before, epoch.not_asked_since, epoch.at));
        slots.push(Slot::Check {
            at: epoch.at,
            instances: epoch.count,
        });
        before = Some(epoch.at);
    }
    let not_asked = memory.unreachable.map(|unreachable| unreachable.since);
    slots.extend(gap(before, not_asked, now));
    slots
}

impl Slot {
    fn begin(&self) -> Timestamp {
        match self {
            Slot::Check { at, .. } => *at,
            Slot::Gap { from, .. } => *from,
        }
    }

    fn end(&self) -> Timestamp {
        match self {
            Slot::Check { at, .. } => *at,
            Slot::Gap { to, .. } => *to,
        }
    }

    /// Of the slot itself, for whoever points at it.
    fn title(&self) -> String {
        match self {
            Slot::Check { at, instances } => format!("{}: {}", moment(*at), count(*instances, "instance")),
            Slot::Gap { from, to, why } => format!("{} to {}: {}", moment(*from), moment(*to), why.text()),
        }
    }
}

/// One slot: a bar, a cross where no instance answered, or an empty frame with a question mark.
fn draw(slot: &Slot, look: Look, x: f64, width: f64, height: impl Fn(usize) -> usize) -> String {
    let (class, end) = (look.class(), x + width);
    let shape = match slot {
        Slot::Check { instances: 0, .. } => {
            let (top, bottom) = (HEIGHT - CROSS, HEIGHT - 1);
            format!(
                "<line x1=\"{x:.2}%\" x2=\"{end:.2}%\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <line x1=\"{x:.2}%\" x2=\"{end:.2}%\" y1=\"{bottom}\" y2=\"{top}\"/>"
            )
        }
        Slot::Check { instances, .. } => {
            // One of thousands is visible, too.
            let height = height(*instances).max(2);
            let y = HEIGHT - height;
            format!("<rect x=\"{x:.2}%\" y=\"{y}\" width=\"{width:.2}%\" height=\"{height}\"/>")
        }
        Slot::Gap { .. } => {
            let middle = x + width / 2.0;
            format!(
                "<rect x=\"{x:.2}%\" y=\"{TOP}\" width=\"{width:.2}%\" height=\"{BAR}\"/>\
                 <text x=\"{middle:.2}%\" y=\"{}\">?</text>",
                HEIGHT / 2 + 6
            )
        }
    };
    format!("<g class=\"{class}\"><title>{}</title>{shape}</g>\n", slot.title())
}

/// The drawing of a slot in the legend, 14 pixels wide and 12 high.
fn key(look: Look) -> String {
    let shape = match look {
        Look::Normal | Look::Fewer => "<rect x=\"3\" y=\"1\" width=\"8\" height=\"10\"/>",
        Look::None => "<line x1=\"2\" x2=\"12\" y1=\"1\" y2=\"11\"/><line x1=\"2\" x2=\"12\" y1=\"11\" y2=\"1\"/>",
        Look::Gap => "<rect x=\"2\" y=\"0.5\" width=\"10\" height=\"11\"/><text x=\"7\" y=\"10.5\">?</text>",
    };
    format!("<g class=\"{}\">{shape}</g>", look.class())
}

fn legend(look: Look, key: &str) -> String {
    let text = match look {
        Look::Normal => "one check, its height is the number of instances that answered",
        Look::Fewer => "fewer instances than are normal now",
        Look::None => "no instance answered",
        Look::Gap => "not known: NATS could not be asked, or no check had an answer",
    };
    legend_item(key, text)
}

fn legend_item(key: &str, text: &str) -> String {
    format!("<li><svg class=\"key\" aria-hidden=\"true\">{key}</svg>{text}</li>\n")
}

/// The same in words: how many instances there were from when to when.
fn in_words(slots: &[Slot]) -> String {
    let same = |a: &Slot, b: &Slot| match (a, b) {
        (Slot::Check { instances: a, .. }, Slot::Check { instances: b, .. }) => a == b,
        _ => false,
    };
    let runs = slots.chunk_by(same).filter_map(|run| {
        let what = match run.first()? {
            Slot::Check { instances: 0, .. } => "no instance".to_owned(),
            Slot::Check { instances, .. } => count(*instances, "instance"),
            Slot::Gap { why, .. } => why.text().to_owned(),
        };
        let (begin, end) = (run.first()?.begin(), run.last()?.end());
        Some(match begin == end {
            true => format!("{what} at {}", moment(begin)),
            false => format!("{what} from {} to {}", moment(begin), moment(end)),
        })
    });
    runs.collect::<Vec<_>>().join("; ")
}
