//! How sure the figures are: repeats, quartiles, and the cells that are as good as the best.

use super::super::figures::Figures;
use super::super::markdown::Table;
use super::super::number::{NOTHING, figure, percent};
use super::super::words::Words;
use super::Page;
use crate::analysis::interval::Interval;
use crate::analysis::optimum::Optimum;
use crate::analysis::quantile::median;

/// The most cells that may be as good as the best that are named.
const TIES_NAMED: usize = 6;
/// The fewest repeats that say something of the spread.
pub(super) const ENOUGH_REPEATS: usize = 3;

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    page.heading(2, words.confidence);
    if figures.optimum().is_none() {
        page.paragraph(words.nothing_to_conclude);
        return;
    }
    page.paragraph(verdict(figures, words));
    page.paragraph(words.confidence_note);
    let mut table = Table::of_numbers(words.confidence_columns);
    for (cell, measured) in figures.measured() {
        let rate = measured.tokens_per_second;
        table.row([
            cell.workers.to_string(),
            cell.batch.to_string(),
            rate.samples.to_string(),
            figures.rejected_at(cell).to_string(),
            figure(rate.lowest),
            figure(rate.lower_quartile),
            figure(rate.median),
            figure(rate.upper_quartile),
            figure(rate.highest),
            figures.interval(cell).map_or_else(|| NOTHING.to_owned(), range),
            rate.relative_width().map_or_else(|| NOTHING.to_owned(), percent),
        ]);
    }
    page.table(&table);
}

fn verdict(figures: &Figures<'_>, words: &Words) -> String {
    let rates = || figures.measured().map(|(_, measured)| measured.tokens_per_second);
    let fewest = rates().map(|rate| rate.samples).min().unwrap_or(0);
    let mut sentences = vec![(words.fewest_repeats)(fewest)];
    if fewest < ENOUGH_REPEATS {
        sentences.push(words.few_repeats.to_owned());
    }
    let spreads: Vec<f64> = rates().filter_map(|rate| rate.relative_width()).collect();
    sentences.extend(median(&spreads).map(|spread| (words.typical_spread)(&percent(spread))));
    if let Some(optimum) = figures.optimum() {
        sentences.push(ties(optimum, figures, words));
        if optimum.frugal.cell != optimum.throughput.cell {
            sentences.push((words.frugal_cell)(optimum.frugal.cell));
        }
        sentences.extend(
            optimum
                .steady
                .filter(|steady| steady.disagrees)
                .map(|steady| (words.steady_disagrees)(steady.cell, &figure(steady.tokens_per_second))),
        );
    }
    sentences.join(" ")
}

/// An interval of rates; none where nothing bounds it.
pub(super) fn range(interval: Interval) -> String {
    if !interval.upper.is_finite() {
        return NOTHING.to_owned();
    }
    format!("{} – {}", figure(interval.lower), figure(interval.upper))
}

fn ties(optimum: &Optimum, figures: &Figures<'_>, words: &Words) -> String {
    let best = &optimum.throughput;
    let rate_of = |cell| Some((cell, figures.measured_at(cell)?.tokens_per_second.median));
    let mut tied: Vec<_> =
        best.tied.iter().filter(|cell| **cell != best.cell).filter_map(|&cell| rate_of(cell)).collect();
    tied.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    if tied.is_empty() {
        return words.no_ties.to_owned();
    }
    let named = tied.iter().take(TIES_NAMED).map(|(cell, rate)| format!("{cell} ({})", figure(*rate)));
    let more = tied.len().saturating_sub(TIES_NAMED);
    let more = (more > 0).then(|| (words.more_cells)(more));
    (words.ties)(&named.chain(more).collect::<Vec<_>>().join(", "))
}
