//! The title, how far the measurements have come, and what they say on the whole.

use super::super::chart;
use super::super::figures::Figures;
use super::super::markdown::{Table, code, text};
use super::super::number::{NOTHING, figure, percent, time};
use super::super::words::{Extent, Words};
use super::Page;
use super::confidence::range;
use super::parallelism::effective_slots;
use super::summary;

pub(super) fn write(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    page.heading(1, &(words.title)(&text(&figures.input.target.model)));
    introduction(page, figures, words);
    page.heading(2, words.conclusions);
    summary::write(page, figures, words);
    page.heading(3, words.optima);
    optima(page, figures, words);
    page.heading(3, words.best_configuration);
    best_configuration(page, figures, words);
    page.heading(3, words.whole_grid);
    let best = figures.best().map(|(cell, best)| (cell, figure(best.tokens_per_second.median)));
    let best = best.as_ref().map(|(cell, rate)| (*cell, rate.as_str()));
    page.chart(&(words.charts.heat_map_alt)(best), chart::HEAT_MAP_FILE);
    page.chart(&(words.charts.rows_alt)(figures.input.grid.workers().len()), chart::ROWS_FILE);
    if chart::has_latency_map(figures) {
        page.chart(words.charts.latency_map_alt, chart::LATENCY_MAP_FILE);
    }
    page.rule();
}

fn introduction(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let input = figures.input;
    // An old report does not tell where its server was.
    let url = if input.url.is_empty() { NOTHING.to_owned() } else { code(&input.url) };
    let about = (words.about)(&text(&input.target.name), &url, input.epoch.id.0);
    let valid = figures.valid_samples();
    let extent = (words.extent)(&Extent {
        cycles: input.complete_cycles,
        valid,
        rejected: input.samples.len() - valid,
        measured_cells: figures.measured().count(),
        cells: input.grid.measured().len(),
    });
    let measured = match figures.period() {
        Some((from, to)) => format!("{} {extent}", (words.period)(&time(from), &time(to))),
        None => words.no_sample_yet.to_owned(),
    };
    let written = (words.written)(&time(input.generated_at), &text(input.version));
    page.paragraph(format!("{about}\n{measured}\n{written}"));
    if let Some((samples, least)) = figures.partly_on_cpu() {
        page.paragraph((words.partly_on_cpu)(samples, &percent(least)));
    }
}

fn optima(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let mut table = Table::of_numbers(words.optima_columns);
    let rows = figures.optimum().into_iter().flat_map(|optimum| &optimum.rows);
    for (cell, best) in rows.filter_map(|best| figures.best_of_row(best.cell.workers)) {
        let rate = best.tokens_per_second;
        table.row([
            cell.workers.to_string(),
            cell.batch.to_string(),
            figures.shown(rate.median),
            figures.interval(cell).map_or_else(|| NOTHING.to_owned(), range),
            rate.samples.to_string(),
        ]);
    }
    if figures.optimum().is_some() {
        page.table(&table);
    } else {
        nothing_yet(page, figures, words);
    }
    let warned: Vec<String> = figures.warned_rows().map(|row| row.requested.to_string()).collect();
    if !warned.is_empty() {
        page.paragraph((words.warned_rows)(&warned.join(", ")));
    }
}

fn nothing_yet(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    match figures.input.samples.len() {
        0 => page.paragraph(words.no_sample_yet),
        rejected => page.paragraph((words.no_valid_sample_yet)(rejected)),
    }
}

fn best_configuration(page: &mut Page, figures: &Figures<'_>, words: &Words) {
    let Some((cell, best)) = figures.best() else {
        page.paragraph(words.nothing_to_conclude);
        return;
    };
    warn_of_row(page, figures, words, cell.workers);
    let steady = best.steady_tokens_per_second.map(|rate| (words.best_steady_rate)(&figure(rate)));
    let items = [
        (words.best_workers)(cell.workers),
        (words.best_batch)(cell.batch),
        (words.best_rate)(&figures.shown(best.tokens_per_second.median)),
        (words.best_time_per_request)(&figures.shown(best.seconds_per_request.median)),
    ];
    page.list(items.into_iter().chain(steady).chain([(words.best_repeats)(best.tokens_per_second.samples)]));
}

/// Says beside what is named of a row that it is of other slots.
pub(super) fn warn_of_row(page: &mut Page, figures: &Figures<'_>, words: &Words, workers: u32) {
    if let Some(row) = figures.warned_rows().find(|row| row.requested == workers) {
        let seen = row.effective.map(|slots| effective_slots(&slots));
        page.paragraph((words.warned_row)(workers, row.reported, seen.as_deref()));
    }
}
