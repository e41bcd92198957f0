//! `mqtt-proxy log segments`: a table of the log's files.

use actors::message_log::segment::SegmentDetails;

use super::place::shown_time;
use super::{Failure, Files, unreadable};
use crate::cli::output;

const HEAD: [&str; 7] =
    ["file", "first offset", "last offset", "records", "bytes", "first time", "last time"];

/// What stands where a file has no record.
const NOTHING: &str = "-";

/// Prints the table.
pub fn run(files: &Files) -> Result<(), Failure> {
    let details = files.details().map_err(|error| unreadable(&error))?;
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(details.iter().map(row));
    output::write(table(&rows).as_bytes()).map(drop)
}

fn row(details: &SegmentDetails) -> [String; 7] {
    let name = details.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let number = |number: Option<u64>| number.map_or_else(|| NOTHING.to_owned(), |number| number.to_string());
    let time = |time: Option<u64>| time.map_or_else(|| NOTHING.to_owned(), shown_time);
    [
        name.unwrap_or_default(),
        number(details.offsets.map(|(first, _)| first)),
        number(details.offsets.map(|(_, last)| last)),
        details.records.to_string(),
        details.bytes.to_string(),
        time(details.times.map(|(first, _)| first)),
        time(details.times.map(|(_, last)| last)),
    ]
}

/// Columns as wide as their longest word, numbers to the right.
fn table(rows: &[[String; 7]]) -> String {
    let mut text = String::new();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            1..=4 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_below_each_other() {
        let empty = SegmentDetails {
            path: "a.log".into(),
            named: 7,
            bytes: 40,
            records: 0,
            offsets: None,
            times: None,
        };
        let full =
            SegmentDetails { records: 3, offsets: Some((7, 1_234)), times: Some((0, 1)), ..empty.clone() };
        let text = table(&[row(&empty), row(&full)]);
        assert_eq!(
            text,
            "a.log  -     -  0  40  -                            -\n\
             a.log  7  1234  3  40  1970-01-01T00:00:00.000000Z  1970-01-01T00:00:00.000001Z\n"
        );
    }
}
