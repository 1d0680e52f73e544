//! Columns of text for people.

/// Maximum width of a column, in characters: a longer text pushes the rest of its line to the right.
const MAX_WIDTH: usize = 40;

/// The rows, one a line; all columns but the last have the width of their longest text.
pub fn render<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0).min(MAX_WIDTH)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(text, width)| format!("{text:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        // Texts of the network are clean; this is the last line of defence.
        line.trim_end().replace(|c: char| c.is_control(), "?") + "\n"
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_no_text_forges_a_line() {
        let long = "x".repeat(50);
        let rows = [["NAME", "WHAT"], ["größe", "fine\nOK"], ["b", ""], [&long, "long"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        let text = format!("{:40}  WHAT\n{:40}  fine?OK\nb\n{long}  long\n", "NAME", "größe");
        assert_eq!(render(&rows), text);
    }
}
