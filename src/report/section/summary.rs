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
use crate::analysis::slots::SlotsVerdict;
use crate::domain::{Cause, ChangeEvent, Comparison, Direction};

/// A change that is told, as a ratio.
pub(super) const LEAST_CHANGE: f64 = 0.01;

/// A rate whose interval reaches further than this to both sides is known roughly.
const ROUGH: f64 = 0.05;

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
        is_rough: interval.is_some_and(|interval| interval.upper > (1.0 + 2.0 * ROUGH) * interval.lower),
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
pub(super) fn baseline(change: Change<'_>, words: &Words) -> String {
    (words.summary.baseline)(change.baseline.epoch.id.0, &time(change.baseline.epoch.last_seen))
}

/// Whether it is slower than before, since when, and why.
fn change(figures: &Figures<'_>, words: &Words) -> String {
    let (past, epoch) = (&figures.input.past, &figures.input.epoch);
    let texts = &words.summary;
    let change = past.change();
    let after = change.map_or(epoch.first_seen, |change| change.baseline.epoch.last_seen);
    let told = past.newest_of_the_rate(after);
    let compared = change.and_then(|change| Some((change, change.rate().ratio()?)));
    match (compared, told) {
        (Some((change, ratio)), told) => {
            let (value, interval) = (ratio.value, signed_range(ratio.lower, ratio.upper));
            let Some(direction) = change.rate().beyond(LEAST_CHANGE) else {
                let same = (texts.unchanged)(&baseline(change, words), &signed_percent(value), &interval);
                let [_, latencies @ ..] = change.compared;
                let worse = latencies.iter().filter_map(|comparison| worse(comparison, words));
                let within = told.map(|told| found(told, words));
                return [same].into_iter().chain(worse).chain(within).collect::<Vec<_>>().join(" ");
            };
            let size = percent((value - 1.0).abs());
            let changed = (texts.changed)(direction, &baseline(change, words), &size, &interval);
            let told = told.filter(|told| told.direction == direction && told.cause != Cause::EnvironmentChange);
            let since = told.map_or_else(|| since_the_epoch(figures, change, words), |told| found(told, words));
            format!("{changed} {since}")
        }
        (None, Some(told)) => format!("{} {}", (texts.within)(told.direction), found(told, words)),
        (None, None) if change.is_some() => texts.too_few_cycles.to_owned(),
        (None, None) => texts.no_baseline.to_owned(),
    }
}

/// The epoch began when its identity changed.
fn since_the_epoch(figures: &Figures<'_>, change: Change<'_>, words: &Words) -> String {
    let epoch = &figures.input.epoch;
    let changes: Vec<String> = change.baseline.epoch.changes_to(epoch).iter().map(|change| code(change)).collect();
    let since = time(epoch.first_seen);
    if changes.is_empty() {
        (words.summary.since_without_changes)(&since)
    } else {
        (words.summary.since)(&since, &changes.join(", "))
    }
}

/// A change that the detector found.
fn found(told: &ChangeEvent, words: &Words) -> String {
    let at = time(told.changed.at);
    let components: Vec<&str> = told.components.iter().map(|component| component.as_str()).collect();
    let cause = (words.changes.cause)(told.cause, &code(&components.join(", ")));
    (words.summary.found)(&at, &signed_percent(told.ratio.value), &cause)
}

fn worse(comparison: &Comparison, words: &Words) -> Option<String> {
    let ratio = comparison.ratio()?;
    let is_worse = comparison.beyond(LEAST_CHANGE) == Some(Direction::Regression);
    is_worse.then(|| (words.summary.latency_worse)(comparison.measure, &signed_percent(ratio.value)))
}
