//! What was asked of the server at once, and what it was seen to do.

use super::super::figures::Figures;
use super::super::markdown::{Align, Table};
use super::super::number::{NOTHING, seconds, significant, whole};
use super::super::words::Words;
use super::Page;
use crate::domain::Cell;

/// A peak below this share of what was possible is fewer than was asked.
const AS_ASKED: f64 = 0.9;
/// Digits of a mean of small counts.
const MEAN_DIGITS: usize = 3;

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    page.heading(2, words.parallelism);
    let slots = figures.slots();
    page.paragraph(slots.map_or_else(|| words.slots_unknown.to_owned(), words.slots_known));
    page.paragraph(words.parallelism_note);
    let [workers, possible, mean, peak, queue_wait, note] = words.parallelism_columns;
    let mut table = Table::of_numbers([workers, possible, mean, peak, queue_wait]).and(note, Align::Left);
    for &workers in figures.input.grid.workers() {
        let row = Row::of(figures, workers);
        table.row([
            workers.to_string(),
            row.possible.to_string(),
            row.mean.map_or_else(|| NOTHING.to_owned(), |mean| significant(mean, MEAN_DIGITS)),
            row.peak.map_or_else(|| NOTHING.to_owned(), whole),
            seconds(row.queue_wait_seconds),
            row.note(workers, slots, words),
        ]);
    }
    page.table(&table);
}

/// One worker count and the most that was seen of it.
struct Row {
    possible: u32,
    mean: Option<f64>,
    peak: Option<f64>,
    queue_wait_seconds: Option<f64>,
}

impl Row {
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

    fn note(&self, workers: u32, slots: Option<u32>, words: &Words) -> String {
        let asked = f64::from(self.possible.min(slots.unwrap_or(u32::MAX)));
        let queueing = slots.is_some_and(|slots| workers > slots).then_some(words.queueing);
        let fewer = self.peak.is_some_and(|peak| peak < asked * AS_ASKED).then_some(words.fewer_than_asked);
        let more = self.peak.is_some_and(|peak| peak > f64::from(workers)).then_some(words.more_than_asked);
        [queueing, fewer, more].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}
