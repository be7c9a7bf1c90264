//! CSV: a table of one kind of entries with a line of column names.
//!
//! A table of samples can be read again. It tells neither identity nor load nor the grid: those
//! are in the other tables, or together in JSON lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use csv::{Reader, ReaderBuilder, Writer};

use super::Malformed;
use super::rows::{CellRow, CycleRow, EpochRow, EventRow, GridRow};
use super::sample_row::SampleRow;
use crate::domain::environment::SOURCE;
use crate::domain::{Cell, CycleEntry, Entry, EntryKind, Epoch, EpochEntry, EpochId, Facts, Grid, Sample};

/// Writes the entries of one kind and passes over the others.
pub(super) struct Table<W: Write> {
    out: Writer<W>,
    kind: EntryKind,
}

fn json(value: &impl serde::Serialize) -> String {
    // Maps of strings and lists of numbers always have a JSON form.
    serde_json::to_string(value).unwrap_or_default()
}

impl<W: Write> Table<W> {
    pub(super) fn new(out: W, kind: EntryKind) -> Self {
        Self { out: Writer::from_writer(out), kind }
    }

    pub(super) fn write(&mut self, entry: &Entry) -> io::Result<()> {
        let written = match (self.kind, entry) {
            (EntryKind::Epochs, Entry::Epoch(epoch)) => self.out.serialize(EpochRow::of(epoch, json)),
            (EntryKind::Cycles, Entry::Cycle(cycle)) => {
                self.out.serialize(CycleRow::of(cycle, |grid| json(&GridRow::of(grid))))
            }
            (EntryKind::Samples, Entry::Sample(sample)) => self.out.serialize(SampleRow::of(sample)),
            (EntryKind::Cells, Entry::Cell(epoch, cell)) => self.out.serialize(CellRow::of(*epoch, cell)),
            (EntryKind::Events, Entry::Event(event)) => self.out.serialize(EventRow::of(event)),
            _ => return Ok(()),
        };
        written.map_err(io_error)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.out.into_inner().map_err(|error| io_error(error.into_error()))
    }
}

/// The error of the writer below, whose kind tells a closed pipe from a full disk.
fn io_error(error: impl Into<csv::Error>) -> io::Error {
    match error.into().into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Whether these are the column names of a table of samples.
pub(super) fn is_head_of_samples(line: &str) -> bool {
    let names: BTreeSet<&str> = line.trim().split(',').map(|name| name.trim_matches('"')).collect();
    ["target", "model", "epoch", "workers", "batch", "tokens_per_second"].iter().all(|name| names.contains(name))
}

fn reader<R: Read>(text: R) -> Reader<R> {
    ReaderBuilder::new().from_reader(text)
}

/// The samples of a table, each with its line.
struct Samples<R: Read> {
    rows: csv::DeserializeRecordsIntoIter<R, SampleRow>,
    ended: bool,
}

impl<R: Read> Samples<R> {
    fn new(text: R) -> Self {
        Self { rows: reader(text).into_deserialize(), ended: false }
    }
}

impl<R: Read> Iterator for Samples<R> {
    type Item = Result<(u64, Sample), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let line = self.rows.reader().position().line();
        let row = match self.rows.next()? {
            Ok(row) => row.sample().map_err(|what| Malformed::new(line, what)),
            Err(error) => Err(told(&error, line)),
        };
        self.ended = row.is_err();
        Some(row.map(|sample| (line, sample)))
    }
}

/// What the reader says, without the place, which comes in front.
fn told(error: &csv::Error, line: u64) -> Malformed {
    let what = match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => {
            // The fault of a name is in the first line, that of a value where it stands.
            err.kind().to_string()
        }
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} columns where the first line has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    Malformed::new(line, what)
}

/// What the rows of one epoch tell of it together.
struct Outline {
    first: Sample,
    last_seen: jiff::Timestamp,
    cells: BTreeSet<Cell>,
    /// When each cycle began and ended.
    cycles: BTreeMap<u64, (jiff::Timestamp, jiff::Timestamp)>,
}

impl Outline {
    fn of(sample: Sample) -> Self {
        let mut outline = Self {
            last_seen: sample.completed_at,
            cells: BTreeSet::new(),
            cycles: BTreeMap::new(),
            first: sample.clone(),
        };
        outline.add(sample);
        outline
    }

    fn add(&mut self, sample: Sample) {
        self.last_seen = self.last_seen.max(sample.completed_at);
        self.cells.insert(sample.cell);
        let span = self.cycles.entry(sample.cycle).or_insert((sample.started_at, sample.completed_at));
        *span = (span.0.min(sample.started_at), span.1.max(sample.completed_at));
        if sample.started_at < self.first.started_at {
            self.first = sample;
        }
    }

    /// The grid that has these cells and, where it can be, measures none that another stands
    /// for.
    fn grid(&self) -> Option<Grid> {
        let workers: Vec<u32> = self.cells.iter().map(|cell| cell.workers).collect();
        let batch: Vec<u32> = self.cells.iter().map(|cell| cell.batch).collect();
        let sharing = Grid::new(&workers, &batch, true).ok()?;
        if self.cells.iter().any(|&cell| sharing.is_copy(cell)) {
            return Grid::new(&workers, &batch, false).ok();
        }
        Some(sharing)
    }

    /// A cycle is complete that has a sample of as many cells as the epoch ever had.
    fn entries(self, id: EpochId) -> Vec<Entry> {
        let first_seen = self.first.started_at;
        let source = format!("samples of epoch {id} since {first_seen:.3}");
        let load: Facts = [(SOURCE.to_owned(), source)].into();
        let identity: Facts = [("model".to_owned(), self.first.target.model.to_string())].into();
        let epoch = Epoch { id, identity, load, first_seen, last_seen: self.last_seen };
        let head = EpochEntry { target: self.first.target.clone(), url: String::new(), epoch };
        let grid = self.grid();
        let cycles = self.cycles.into_iter().filter_map(|(number, (started_at, ended_at))| {
            let (epoch, grid, completed_at) = (id, grid.clone()?, Some(ended_at));
            Some(Entry::Cycle(CycleEntry { epoch, number, grid, seed: 0, started_at, completed_at }))
        });
        [Entry::Epoch(head)].into_iter().chain(cycles).collect()
    }
}

/// What a table of samples tells of its epochs: a first look at all of it.
pub(super) fn epochs(text: impl Read) -> Result<Vec<Entry>, Malformed> {
    let mut outlines: BTreeMap<EpochId, Outline> = BTreeMap::new();
    for sample in Samples::new(text) {
        let (line, sample) = sample?;
        match outlines.get_mut(&sample.epoch) {
            Some(outline) if outline.first.target != sample.target => {
                return Err(Malformed::new(line, format!("epoch {} is of two targets", sample.epoch)));
            }
            Some(outline) => outline.add(sample),
            None => drop(outlines.insert(sample.epoch, Outline::of(sample))),
        }
    }
    Ok(outlines.into_iter().flat_map(|(id, outline)| outline.entries(id)).collect())
}

/// The samples of a table as entries.
pub(super) fn samples<R: Read>(text: R) -> impl Iterator<Item = Result<(u64, Entry), Malformed>> + use<R> {
    Samples::new(text).map(|sample| sample.map(|(line, sample)| (line, Entry::Sample(Box::new(sample)))))
}
