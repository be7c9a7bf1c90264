//! JSON lines: one entry a line, each with the field `record` that says what it is. The first
//! line is the file's own.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};

use super::rows::{CellRow, CycleRow, EpochRow, EventRow, GridRow};
use super::sample_row::SampleRow;
use super::{Malformed, SCHEMA};
use crate::domain::environment::SOURCE;
use crate::domain::{Entry, EpochEntry, Facts};

/// A line is cut off beyond this: an entry is never so long.
const LONGEST_LINE: u64 = 1 << 20;

#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum Line {
    Llmsoak(Head),
    Epoch(EpochRow<Facts>),
    Cycle(CycleRow<GridRow>),
    Sample(Box<SampleRow>),
    Cell(CellRow),
    Event(EventRow),
}

/// The first line.
#[derive(Debug, Deserialize, Serialize)]
struct Head {
    schema: u32,
    /// Of the program that wrote it.
    version: String,
}

pub(super) fn write_head(out: &mut impl Write) -> io::Result<()> {
    write_line(out, &Line::Llmsoak(Head { schema: SCHEMA, version: env!("CARGO_PKG_VERSION").to_owned() }))
}

pub(super) fn write(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    let line = match entry {
        Entry::Epoch(epoch) => Line::Epoch(EpochRow::of(epoch, Facts::clone)),
        Entry::Cycle(cycle) => Line::Cycle(CycleRow::of(cycle, GridRow::of)),
        Entry::Sample(sample) => Line::Sample(Box::new(SampleRow::of(sample))),
        Entry::Cell(epoch, cell) => Line::Cell(CellRow::of(*epoch, cell)),
        Entry::Event(event) => Line::Event(EventRow::of(event)),
    };
    write_line(out, &line)
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// The entries of a text, each with its line.
pub(super) struct Lines<R> {
    text: R,
    line: u64,
    /// Whether the rest is not to be read.
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(text: R) -> Self {
        Self { text, line: 0, ended: false }
    }

    /// The next line that is not empty; `None` at the end.
    fn next_line(&mut self) -> Result<Option<Line>, String> {
        loop {
            let mut line = Vec::new();
            self.line += 1;
            let read = Read::take(&mut self.text, LONGEST_LINE).read_until(b'\n', &mut line);
            if read.map_err(|error| error.to_string())? == 0 {
                return Ok(None);
            }
            if line.len() as u64 == LONGEST_LINE {
                return Err(format!("longer than {LONGEST_LINE} bytes"));
            }
            if !line.trim_ascii().is_empty() {
                return serde_json::from_slice(&line).map(Some).map_err(|error| told(&error));
            }
        }
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, String> {
        if self.line == 0 {
            match self.next_line()? {
                Some(Line::Llmsoak(head)) => check_head(&head)?,
                _ => return Err("must be an export's first line, with \"record\":\"llmsoak\"".to_owned()),
            }
        }
        let Some(line) = self.next_line()? else { return Ok(None) };
        Ok(Some(match line {
            Line::Llmsoak(_) => return Err("a second export begins here".to_owned()),
            Line::Epoch(row) => Entry::Epoch(marked(row.entry()?)),
            Line::Cycle(row) => Entry::Cycle(row.entry()?),
            Line::Sample(row) => Entry::Sample(Box::new(row.sample()?)),
            Line::Cell(row) => row.entry().map(|(epoch, cell)| Entry::Cell(epoch, cell))?,
            Line::Event(row) => Entry::Event(row.entry()?),
        }))
    }
}

fn check_head(head: &Head) -> Result<(), String> {
    if (1..=SCHEMA).contains(&head.schema) {
        return Ok(());
    }
    let Head { schema, version } = head;
    Err(format!("schema {schema}, written by llmsoak {version}: this one knows schema {SCHEMA}"))
}

/// What serde says, without the place: of one line it knows columns alone.
fn told(error: &serde_json::Error) -> String {
    let (text, place) = (error.to_string(), format!(" at line {} column {}", error.line(), error.column()));
    let what = text.strip_suffix(&place).unwrap_or(&text);
    format!("{what} (column {})", error.column())
}

/// An epoch that says where it comes from. One that was imported before says it already.
fn marked(mut entry: EpochEntry) -> EpochEntry {
    let epoch = &mut entry.epoch;
    if epoch.source().is_none() {
        let source = format!("export of epoch {} since {:.3}", epoch.id, epoch.first_seen);
        epoch.load.insert(SOURCE.to_owned(), source);
    }
    entry
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<(u64, Entry), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_entry().map_err(|what| Malformed::new(self.line.max(1), what));
        self.ended = !matches!(next, Ok(Some(_)));
        next.transpose().map(|entry| entry.map(|entry| (self.line, entry)))
    }
}
