//! Five lines for whoever reads nothing else: what to use, what to use instead, how sure that
//! is, how much the server does at once, and whether it is slower than before, since when, why.

use super::super::change::Change;
use super::super::figures::Figures;
use super::super::markdown::code;
use super::super::number::{figure, percent, signed_percent, signed_range, time};
use super::super::words::{Sureness, Words};
use super::Page;
use super::confidence::ENOUGH_REPEATS;
use super::parallelism::effective_slots;
use crate::analysis::regression::{Comparison, Direction, Verdict};
use crate::analysis::slots::SlotsVerdict;

/// A change that is told, as a ratio.
pub(super) const LEAST_CHANGE: f64 = 0.01;

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let Some((best, measured)) = figures.best() else {
        page.paragraph(words.nothing_to_conclude);
        return;
    };
    let lines = [
        (words.summary.best)(best, &figures.shown(measured.tokens_per_second.median)),
        frugal(figures, words),
        (words.summary.sureness)(&sureness(figures)),
        slots(figures, words),
        change(figures, words),
    ];
    page.list(lines);
}

fn frugal(figures: &Figures<'_>, words: &Words) -> String {
    let frugal = figures.optimum().map(|optimum| optimum.frugal.cell);
    let frugal = frugal.filter(|cell| figures.best().is_some_and(|(best, _)| best != *cell));
    let measured = frugal.and_then(|cell| Some((cell, figures.measured_at(cell)?)));
    measured.map_or_else(
        || words.summary.no_frugal.to_owned(),
        |(cell, measured)| (words.summary.frugal)(cell, &figures.shown(measured.tokens_per_second.median)),
    )
}

fn sureness(figures: &Figures<'_>) -> Sureness {
    let fewest = figures.measured().map(|(_, measured)| measured.tokens_per_second.samples).min().unwrap_or(0);
    let best = figures.best().map(|(best, _)| best);
    let interval = best.and_then(|best| figures.interval(best)).filter(|interval| interval.upper.is_finite());
    Sureness {
        fewest,
        is_enough: fewest >= ENOUGH_REPEATS,
        tied: figures.tied().iter().filter(|cell| Some(**cell) != best).count(),
        interval: interval.map(|interval| format!("{} – {}", figure(interval.lower), figure(interval.upper))),
    }
}

fn slots(figures: &Figures<'_>, words: &Words) -> String {
    let rows = &figures.conclusions.rows;
    let seen = rows.iter().filter_map(|row| row.effective).max_by(|one, other| one.slots.total_cmp(&other.slots));
    let reported = rows.iter().filter_map(|row| row.reported).max().or_else(|| figures.slots());
    let mut sentences = vec![(words.summary.slots)(seen.map(|slots| effective_slots(&slots)).as_deref(), reported)];
    if rows.iter().any(|row| row.verdict == SlotsVerdict::Queueing) {
        sentences.push(words.summary.slots_queueing.to_owned());
    }
    let warned: Vec<String> = figures.warned_rows().map(|row| row.requested.to_string()).collect();
    if !warned.is_empty() {
        sentences.push((words.summary.slots_not_granted)(&warned.join(", ")));
    }
    sentences.join(" ")
}

/// The baseline in words.
pub(super) fn baseline(change: &Change<'_>, words: &Words) -> String {
    (words.summary.baseline)(change.baseline.id.0, &time(change.baseline.last_seen))
}

fn change(figures: &Figures<'_>, words: &Words) -> String {
    let texts = &words.summary;
    let Some(change) = &figures.change else { return texts.no_baseline.to_owned() };
    let Verdict::Says(ratio) = change.rate().verdict else { return texts.too_few_cycles.to_owned() };
    let interval = signed_range(ratio.lower, ratio.upper);
    let mut sentences = Vec::new();
    match change.rate().beyond(LEAST_CHANGE) {
        None => {
            sentences.push((texts.unchanged)(&baseline(change, words), &signed_percent(ratio.value), &interval));
            let [_, latencies @ ..] = &change.comparisons;
            sentences.extend(latencies.iter().filter_map(|comparison| worse(comparison, words)));
        }
        Some(direction) => {
            let size = percent((ratio.value - 1.0).abs());
            sentences.push((texts.changed)(direction, &baseline(change, words), &size, &interval));
            sentences.push(since(figures, change, words));
        }
    }
    sentences.join(" ")
}

fn since(figures: &Figures<'_>, change: &Change<'_>, words: &Words) -> String {
    let epoch = &figures.input.epoch;
    let changes: Vec<String> = change.baseline.changes_to(epoch).iter().map(|change| code(change)).collect();
    let since = time(epoch.first_seen);
    if changes.is_empty() {
        (words.summary.since_without_changes)(&since)
    } else {
        (words.summary.since)(&since, &changes.join(", "))
    }
}

fn worse(comparison: &Comparison, words: &Words) -> Option<String> {
    let Verdict::Says(ratio) = comparison.verdict else { return None };
    let is_worse = comparison.beyond(LEAST_CHANGE) == Some(Direction::Regression);
    is_worse.then(|| (words.summary.latency_worse)(comparison.measure, &signed_percent(ratio.value)))
}
