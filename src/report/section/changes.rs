//! What changed since the baseline, and how the best cell fared over time.

use super::super::change::{Change, Stretch};
use super::super::chart;
use super::super::figures::Figures;
use super::super::markdown::{Align, Table, code};
use super::super::number::{NOTHING, figure, signed_percent, signed_range, time};
use super::super::words::Words;
use super::Page;
use super::summary::{LEAST_CHANGE, baseline};
use crate::domain::{Comparison, Epoch, ToldChange};

/// The most cells that are named for how much they changed.
const CELLS_NAMED: usize = 8;
/// The most changes that were found that are told, the newest.
const CHANGES_NAMED: usize = 20;

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    page.heading(2, words.changes.heading);
    match figures.input.past.change() {
        Some(change) => since_the_baseline(page, figures, change, words),
        None => page.paragraph(words.changes.no_baseline),
    }
    found(page, figures, words);
    over_time(page, figures, words);
}

fn since_the_baseline(page: &mut Page, figures: &Figures<'_>, change: Change<'_>, words: &Words) {
    let texts = &words.changes;
    let pinned = change.baseline.is_pinned.then_some(texts.pinned);
    let compared = (texts.compared)(&baseline(change, words));
    page.paragraph([Some(compared.as_str()), pinned].into_iter().flatten().collect::<Vec<_>>().join(" "));
    let [measure, then, now, by, interval, verdict] = texts.columns;
    let columns = [(measure, Align::Left), (then, Align::Right), (now, Align::Right), (by, Align::Right)];
    let mut table = Table::new(columns).and(interval, Align::Right).and(verdict, Align::Left);
    for comparison in change.compared {
        table.row(compared_row(comparison, words));
    }
    page.table(&table);
    let mut cells: Vec<_> = change.rate().cells.iter().filter(|change| change.is_affected).collect();
    cells.sort_by(|one, other| other.ratio.ln().abs().total_cmp(&one.ratio.ln().abs()).then(one.cell.cmp(&other.cell)));
    let more = cells.len().saturating_sub(CELLS_NAMED);
    let named =
        cells.iter().take(CELLS_NAMED).map(|change| format!("{} ({})", change.cell, signed_percent(change.ratio)));
    let named: Vec<String> = named.chain((more > 0).then(|| (words.more_cells)(more))).collect();
    if !named.is_empty() {
        page.paragraph((texts.cells)(&named.join(", ")));
    }
    page.heading(3, texts.environment);
    environment(page, &change.baseline.epoch, &figures.input.epoch, words);
    if !figures.input.past.latencies.is_empty() {
        page.heading(3, texts.latencies);
        let alt = figures.best().map(|(best, _)| (words.charts.latency_title)(best));
        page.chart(&alt.unwrap_or_default(), chart::LATENCY_FILE);
    }
}

fn compared_row(comparison: &Comparison, words: &Words) -> [String; 6] {
    let (by, interval, verdict) = match comparison.ratio() {
        None => (NOTHING.to_owned(), NOTHING.to_owned(), words.changes.too_few),
        Some(ratio) => {
            let verdict = (words.changes.verdict)(comparison.beyond(LEAST_CHANGE));
            (signed_percent(ratio.value), signed_range(ratio.lower, ratio.upper), verdict)
        }
    };
    [
        (words.changes.measure)(comparison.measure).to_owned(),
        comparison.baseline_cycles.to_string(),
        comparison.current_cycles.to_string(),
        by,
        interval,
        verdict.to_owned(),
    ]
}

/// What differs of the identity; what only one side knows too, for it may be what changed.
fn environment(page: &mut Page, then: &Epoch, now: &Epoch, words: &Words) {
    let mut table = Table::new(words.changes.environment_columns.map(|column| (column, Align::Left)));
    let known = |value: Option<&String>| value.map_or_else(|| NOTHING.to_owned(), |value| code(value));
    let names: std::collections::BTreeSet<&String> = then.identity.keys().chain(now.identity.keys()).collect();
    let mut differs = false;
    for name in names {
        let (old, new) = (then.identity.get(name), now.identity.get(name));
        if old != new {
            table.row([code(name), known(old), known(new)]);
            differs = true;
        }
    }
    if differs {
        page.table(&table);
    } else {
        page.paragraph(words.changes.no_changes);
    }
}

/// What the detector found, the newest last.
fn found(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let changes = &figures.input.past.changes;
    if changes.is_empty() {
        return;
    }
    page.heading(3, words.changes.found);
    let [at, measure, by, interval, cause, note] = words.changes.found_columns;
    let columns = [(at, Align::Left), (measure, Align::Left), (by, Align::Right), (interval, Align::Right)];
    let mut table = Table::new(columns).and(cause, Align::Left).and(note, Align::Left);
    let surplus = changes.len().saturating_sub(CHANGES_NAMED);
    for change in changes.iter().skip(surplus) {
        table.row(found_row(change, words));
    }
    page.table(&table);
}

fn found_row(change: &ToldChange, words: &Words) -> [String; 6] {
    let event = &change.event;
    let components: Vec<&str> = event.components.iter().map(|component| component.as_str()).collect();
    [
        time(event.changed.at),
        (words.changes.measure)(event.measure).to_owned(),
        signed_percent(event.ratio.value),
        signed_range(event.ratio.lower, event.ratio.upper),
        (words.changes.cause)(event.cause, &code(&components.join(", "))),
        change.returned.map_or_else(String::new, |returned| (words.changes.returned)(&time(returned.at))),
    ]
}

fn over_time(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let Some((best, stretches)) = figures.trend() else { return };
    page.heading(3, words.changes.trend);
    page.chart(&(words.charts.trend_title)(best), chart::TREND_FILE);
    let [number, since, epoch, median, what] = words.changes.trend_columns;
    let columns = [(number, Align::Right), (since, Align::Left), (epoch, Align::Right), (median, Align::Right)];
    let mut table = Table::new(columns).and(what, Align::Left);
    for (number, stretch) in stretches.iter().enumerate() {
        table.row(trend_row(number, stretch));
    }
    page.table(&table);
}

fn trend_row(number: usize, stretch: &Stretch<'_>) -> [String; 5] {
    [
        if number == 0 { NOTHING.to_owned() } else { number.to_string() },
        time(stretch.epoch.first_seen),
        stretch.epoch.id.to_string(),
        stretch.median().map_or_else(|| NOTHING.to_owned(), figure),
        stretch.changes.iter().map(|change| code(change)).collect::<Vec<_>>().join(", "),
    ]
}
