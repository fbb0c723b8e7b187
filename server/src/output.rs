//! Standard output: lines for programs, tables for people.

use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

/// Buffered standard output. A reader that has gone is an error like any other.
#[derive(Debug)]
pub struct Output {
    writer: BufWriter<Stdout>,
}

impl Output {
    /// The process' standard output.
    pub fn new() -> Self {
        Self { writer: BufWriter::new(io::stdout()) }
    }

    /// Writes a line of text.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn line(&mut self, text: impl std::fmt::Display) -> io::Result<()> {
        writeln!(self.writer, "{text}")
    }

    /// Writes a value as one line of JSON.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.writer, value)?;
        self.writer.write_all(b"\n")
    }

    /// Hands everything to the reader.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

/// Rows under a header, columns aligned; columns of numbers to the right.
#[derive(Debug, Clone, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names.
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { rows: vec![header.map(str::to_owned).to_vec()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// Whether there is no row under the header.
    pub fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    fn is_number(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().skip(1).filter_map(|row| row.get(column)).peekable();
        cells.peek().is_some()
            && cells.all(|cell| cell == "none" || cell.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = 0..self.rows[0].len();
        let shapes: Vec<_> =
            columns.map(|column| (self.width(column), self.is_number(column))).collect();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, &(width, is_number))) in row.iter().zip(&shapes).enumerate() {
                let gap = if column == 0 { "" } else { "  " };
                if is_number {
                    line += &format!("{gap}{cell:>width$}");
                } else {
                    line += &format!("{gap}{cell:<width$}");
                }
            }
            let end = if index + 1 == self.rows.len() { "" } else { "\n" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let mut table = Table::new(["partition", "hwm", "state"]);
        table.row(["p0".into(), "9".into(), "open".into()]);
        table.row(["p10".into(), "120".into(), "opening".into()]);
        assert_eq!(
            table.to_string(),
            "partition  hwm  state\np0           9  open\np10        120  opening"
        );
    }
}
