//! Reads entries of a file in whichever form it is.

use std::io::{self, BufRead, Read};

use jiff::Timestamp;

use super::{Malformed, csv, jsonl, legacy};
use crate::domain::Entry;

/// A legacy report is read whole: it is never so long.
const LONGEST_REPORT: u64 = 16 << 20;

/// The forms that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Legacy,
    Jsonl,
    /// A table of samples.
    Csv,
}

/// The form of a file that begins with that text; an error says what it is not.
pub fn format_of(beginning: &str) -> Result<Format, Malformed> {
    let lines = beginning.trim_start_matches('\u{feff}').lines().zip(1..);
    let Some((first, line)) = lines.map(|(line, number)| (line.trim(), number)).find(|(line, _)| !line.is_empty())
    else {
        return Err(Malformed::new(1, "the file is empty"));
    };
    if first.starts_with('{') {
        Ok(Format::Jsonl)
    } else if legacy::is_title(first) {
        Ok(Format::Legacy)
    } else if csv::is_head_of_samples(first) {
        Ok(Format::Csv)
    } else {
        Err(Malformed::new(
            line,
            "neither the title of a legacy report, nor an export as JSON lines, nor the column names of a table of \
             samples",
        ))
    }
}

/// What a file does not tell by itself.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    /// The name of the target of a legacy report.
    pub target: &'a str,
    /// When its measurements ended.
    pub measured_until: Timestamp,
}

/// Entries with their lines; the first error is the last item.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<(u64, Entry), Malformed>> + 'a>;

/// The entries of a file of that form. `open` opens it from its beginning, once or twice.
pub fn entries<'a, R: BufRead + 'a>(
    format: Format,
    reading: &Reading<'_>,
    open: impl Fn() -> io::Result<R>,
) -> io::Result<Entries<'a>> {
    Ok(match format {
        Format::Jsonl => Box::new(jsonl::Lines::new(open()?)),
        Format::Csv => match csv::epochs(open()?) {
            Ok(epochs) => {
                let epochs = epochs.into_iter().map(|entry| Ok((1, entry)));
                Box::new(epochs.chain(csv::samples(open()?)))
            }
            Err(malformed) => Box::new(std::iter::once(Err(malformed))),
        },
        Format::Legacy => {
            let mut text = Vec::new();
            open()?.take(LONGEST_REPORT).read_to_end(&mut text)?;
            match String::from_utf8(text) {
                Ok(text) => match legacy::entries(&text, reading) {
                    Ok(entries) => Box::new(entries.into_iter().map(Ok)),
                    Err(malformed) => Box::new(std::iter::once(Err(malformed))),
                },
                Err(error) => {
                    let (text, wrong) = (error.as_bytes(), error.utf8_error().valid_up_to());
                    let line = text.iter().take(wrong).filter(|&&byte| byte == b'\n').count() + 1;
                    Box::new(std::iter::once(Err(Malformed::new(line as u64, "not UTF-8"))))
                }
            }
        }
    })
}
