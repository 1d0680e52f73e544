//! Help for a terminal of 80 columns. clap could wrap it too, but with a crate that asks the terminal.

const COLUMNS: usize = 80;

/// Breaks lines that are longer; what follows stands below the column where the text of the flag begins.
pub fn wrapped(help: &str) -> String {
    help.split('\n').map(wrap).collect::<Vec<_>>().join("\n")
}

fn wrap(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    let column = text_column(line);
    let mut lines = vec![line[..column].to_owned()];
    for word in line[column..].split(' ') {
        let last = lines.last_mut().map(|last| (last.chars().count(), last));
        match last {
            Some((width, last)) if width == column || width + 1 + word.chars().count() <= COLUMNS => {
                if width > column {
                    last.push(' ');
                }
                last.push_str(word);
            }
            _ => lines.push(format!("{:column$}{word}", "")),
        }
    }
    lines.join("\n")
}

/// Where the text begins: behind the gap after a flag, or after the blanks at the begin.
fn text_column(line: &str) -> usize {
    let indent = line.len() - line.trim_start().len();
    match line[indent..].find("  ") {
        Some(gap) if line.is_ascii() => {
            let gap = indent + gap;
            gap + line[gap..].len() - line[gap..].trim_start().len()
        }
        _ => indent,
    }
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_wrapped_below_their_text() {
        let long = "1234567 ".repeat(9);
        for (help, expected) in [
            (String::new(), String::new()),
            ("a\n\nb\n".into(), "a\n\nb\n".into()),
            (format!("{long}12345678"), format!("{long}12345678")),
            (format!("{long}1234567890"), format!("{}\n1234567890", long.trim_end())),
            (format!("  {long}1234567"), format!("  {}\n  1234567", long.trim_end())),
            (
                format!("  -a, --all <ALL>  {} tail\n  -b", "x".repeat(60)),
                format!("  -a, --all <ALL>  {}\n{:19}tail\n  -b", "x".repeat(60), ""),
            ),
            // A word that is too long stays whole.
            ("x".repeat(90), "x".repeat(90)),
            (format!("ä {}", "x".repeat(80)), format!("ä\n{}", "x".repeat(80))),
        ] {
            assert_eq!(wrapped(&help), expected, "{help:?}");
        }
    }
}
