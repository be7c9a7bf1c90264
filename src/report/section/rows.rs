//! One chart, one table and one optimum for each worker count.

use super::super::chart;
use super::super::figures::{CellFigures, Figures, Known};
use super::super::markdown::{Align, Table};
use super::super::number::{NOTHING, figure, milliseconds, seconds, significant, whole};
use super::super::words::Words;
use super::Page;
use super::conclusions::warn_of_row;
use super::confidence::range;
use crate::domain::Cell;

/// Digits of the observed parallelism: a mean of small counts.
const PARALLELISM_DIGITS: usize = 3;

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    page.heading(2, words.details);
    for &workers in figures.input.grid.workers() {
        row(page, figures, words, workers);
        page.rule();
    }
}

fn row(page: &mut Page, figures: &Figures<'_>, words: &Words, workers: u32) {
    let grid = &figures.input.grid;
    page.heading(3, &(words.row_title)(workers));
    warn_of_row(page, figures, words, workers);
    page.chart(&(words.row_chart)(workers), &chart::row_file(workers));
    page.heading(4, words.row_table);
    let cells = || grid.batch().iter().map(move |&batch| Cell { workers, batch });
    let mut table = Table::of_numbers(words.row_columns).and(words.row_note_column, Align::Left);
    for cell in cells() {
        table.row(table_row(figures, words, cell));
    }
    page.table(&table);
    if cells().any(|cell| grid.is_copy(cell)) {
        page.paragraph((words.copy_note)(workers));
    }
    let best = figures.best().map(|(best, _)| best);
    if cells().map(|cell| grid.canonical(cell)).any(|cell| figures.tied().contains(&cell) && Some(cell) != best) {
        page.paragraph(words.tied_note);
    }
    match figures.best_of_row(workers) {
        Some((cell, best)) => {
            page.paragraph((words.row_best_batch)(cell.batch));
            page.paragraph((words.row_best_rate)(&figures.shown(best.tokens_per_second.median)));
        }
        None => page.paragraph(words.row_without_best),
    }
}

fn table_row(figures: &Figures<'_>, words: &Words, cell: Cell) -> Vec<String> {
    let canonical = figures.input.grid.canonical(cell);
    let known = figures.at(cell);
    let mut row = vec![cell.batch.to_string()];
    match known {
        Known::Measured(measured) => row.extend(measured_row(figures, cell, measured)),
        Known::Rejected(_) | Known::Unmeasured => {
            // One for each column after the batch, the number of samples being the last.
            row.extend(words.row_columns.iter().skip(2).map(|_| NOTHING.to_owned()));
            row.push("0".to_owned());
        }
    }
    let state = match known {
        Known::Measured(_) => None,
        Known::Rejected(samples) => Some((words.only_rejected)(samples)),
        Known::Unmeasured => Some(words.unmeasured.to_owned()),
    };
    let copy = (canonical != cell).then(|| (words.copy_mark)(canonical));
    let best = figures.best().map(|(best, _)| best);
    let rank = match known {
        Known::Measured(_) if best == Some(canonical) => Some(words.best_mark.to_owned()),
        Known::Measured(_) if figures.tied().contains(&canonical) => Some(words.tied_mark.to_owned()),
        _ => None,
    };
    row.push([rank, copy, state].into_iter().flatten().collect::<Vec<_>>().join(", "));
    row
}

fn measured_row(figures: &Figures<'_>, cell: Cell, measured: &CellFigures) -> [String; 13] {
    let (first, between) = (measured.time_to_first_token, measured.inter_token_latency);
    let mean = measured.observed_parallelism;
    let nothing = || NOTHING.to_owned();
    [
        figures.shown(measured.total_seconds.median),
        figures.shown(measured.seconds_per_request.median),
        figures.shown(measured.tokens_per_second.median),
        whole(measured.output_tokens.median),
        figures.interval(cell).map_or_else(nothing, range),
        measured.steady_tokens_per_second.map_or_else(nothing, figure),
        seconds(first.map(|quantiles| quantiles.p50)),
        seconds(first.map(|quantiles| quantiles.p95)),
        milliseconds(between.map(|quantiles| quantiles.p50)),
        milliseconds(between.map(|quantiles| quantiles.p95)),
        mean.map_or_else(nothing, |mean| significant(mean, PARALLELISM_DIGITS)),
        measured.observed_parallelism_peak.map_or_else(nothing, whole),
        measured.tokens_per_second.samples.to_string(),
    ]
}
