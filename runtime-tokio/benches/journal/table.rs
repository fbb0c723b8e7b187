//! Prints what was measured.

use std::io::{self, Write};

use crate::contender::Row;

pub(crate) fn print(out: &mut impl Write, title: &str, rows: &[Row]) -> io::Result<()> {
    writeln!(out, "\n{title}")?;
    writeln!(out, "{:<24} {:>10} {:>10} {:>9} {:>8}", "", "us", "MB/s", "syncs", "ratio")?;
    for row in rows {
        let (micros, megabytes) = (row.time.as_secs_f64() * 1e6, row.bytes_a_second / 1e6);
        writeln!(
            out,
            "{:<24} {micros:>10.0} {megabytes:>10.2} {:>9.2} {:>8.2}",
            row.name, row.syncs, row.ratio
        )?;
    }
    Ok(())
}
