//! What was asked of the server at once, what it told, and what it was seen to do.

use super::super::chart;
use super::super::figures::Figures;
use super::super::markdown::{Align, Table};
use super::super::number::{NOTHING, seconds, significant, whole};
use super::super::words::Words;
use super::Page;
use crate::analysis::slots::{EffectiveSlots, RowSlots, SlotsVerdict};
use crate::domain::{Cell, SlotsMode};

/// Digits of a mean of small counts.
const MEAN_DIGITS: usize = 3;

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    page.heading(2, words.parallelism);
    page.paragraph(match (figures.input.epoch.slots_mode(), figures.slots()) {
        (SlotsMode::Server, _) => words.slots_of_each_row.to_owned(),
        (SlotsMode::Client, Some(slots)) => (words.slots_known)(slots),
        (SlotsMode::Client, None) => words.slots_unknown.to_owned(),
    });
    page.paragraph(words.parallelism_note);
    let [workers, possible, reported, mean, peak, effective, queue_wait, note] = words.parallelism_columns;
    let numbers = [workers, possible, reported, mean, peak, effective, queue_wait];
    let mut table = Table::of_numbers(numbers).and(note, Align::Left);
    for &workers in figures.input.grid.workers() {
        let seen = Seen::of(figures, workers);
        let row = figures.row(workers);
        let nothing = || NOTHING.to_owned();
        table.row([
            workers.to_string(),
            seen.possible.to_string(),
            row.and_then(|row| row.reported).map_or_else(nothing, |slots| slots.to_string()),
            seen.mean.map_or_else(nothing, |mean| significant(mean, MEAN_DIGITS)),
            seen.peak.map_or_else(nothing, whole),
            row.and_then(|row| row.effective).map_or_else(nothing, |slots| effective_slots(&slots)),
            seconds(seen.queue_wait_seconds),
            row.map_or("", |row| note_of(row, words)).to_owned(),
        ]);
    }
    page.table(&table);
    page.chart(words.charts.parallelism_title, chart::PARALLELISM_FILE);
}

/// Slots that were seen, with their interval; at least so many where no batch could show more.
pub(super) fn effective_slots(slots: &EffectiveSlots) -> String {
    let (seen, lower, upper) = (slots.slots, slots.interval.lower, slots.interval.upper);
    if upper.is_finite() { format!("{seen:.1} ({lower:.1} – {upper:.1})") } else { format!("≥ {seen:.1}") }
}

fn note_of(row: &RowSlots, words: &Words) -> &'static str {
    match row.verdict {
        SlotsVerdict::Granted | SlotsVerdict::Unknown => "",
        SlotsVerdict::Queueing => words.queueing,
        SlotsVerdict::Mismatch => words.not_granted,
        SlotsVerdict::OutOfLine => words.out_of_line,
    }
}

/// One worker count and the most that was seen of it.
struct Seen {
    possible: u32,
    mean: Option<f64>,
    peak: Option<f64>,
    queue_wait_seconds: Option<f64>,
}

impl Seen {
    fn of(figures: &Figures<'_>, workers: u32) -> Self {
        let batches = || figures.input.grid.batch().iter().copied();
        let measured = || batches().filter_map(|batch| figures.measured_at(Cell { workers, batch }));
        Self {
            possible: batches().max().unwrap_or(0).min(workers),
            mean: measured().filter_map(|cell| cell.observed_parallelism).max_by(f64::total_cmp),
            peak: measured().filter_map(|cell| cell.observed_parallelism_peak).max_by(f64::total_cmp),
            queue_wait_seconds: measured().filter_map(|cell| cell.queue_wait_seconds).max_by(f64::total_cmp),
        }
    }
}
