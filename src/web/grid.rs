//! The grid of a target as a table: the chosen measure of every cell as a number and as a colour.

use jiff::Timestamp;

use super::html::{counted, escaped, rate, repeats};
use super::measure::{Measure, Scale};
use crate::analysis::slots::{EffectiveSlots, SlotsVerdict};
use crate::domain::{Cell, Grid};
use crate::soak::TargetSnapshot;
use crate::soak::board::CellSnapshot;

/// What is shown, and of when.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) measure: Measure,
    pub(super) now: Timestamp,
}

/// The table with its heading and legend. The target's number keeps names within a page apart.
pub(super) fn heat_map(target: &TargetSnapshot, grid: &Grid, view: View, number: usize) -> String {
    let values = || grid.cells().filter_map(|cell| view.measure.value(target, cell, view.now));
    let scale = Scale::over(view.measure, values().collect::<Vec<_>>().into_iter());
    let choice = choice(view.measure, number);
    let columns = grid.batch().len();
    let batches: String = grid.batch().iter().map(|batch| format!("<th scope=\"col\">{batch}</th>")).collect();
    let shown = Shown { target, grid, view, scale };
    let rows: String = grid.workers().iter().map(|&workers| row(&shown, workers)).collect();
    format!(
        "<h3 id=\"grid-{number}\">{} <small>{}</small></h3>\n{choice}\
         <div class=\"grid\" role=\"region\" tabindex=\"0\" aria-labelledby=\"grid-{number}\">\n<table>\n<thead>\n\
         <tr><td></td><th scope=\"colgroup\" colspan=\"{columns}\">batch</th>\
         <th scope=\"colgroup\" colspan=\"2\" class=\"best\">best of the row</th>\
         <th scope=\"colgroup\" colspan=\"2\" class=\"best\">slots</th></tr>\n\
         <tr><th scope=\"col\">workers</th>{batches}<th scope=\"col\" class=\"best\">batch</th>\
         <th scope=\"col\">median tokens/s</th><th scope=\"col\" class=\"best\">told</th>\
         <th scope=\"col\">seen</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n{}",
        view.measure.title(),
        view.measure.meaning(),
        legend(&shown)
    )
}

/// What all cells of a table share.
struct Shown<'a> {
    target: &'a TargetSnapshot,
    grid: &'a Grid,
    view: View,
    /// `None` while no cell has a value.
    scale: Option<Scale>,
}

impl Shown<'_> {
    fn value(&self, cell: Cell) -> Option<f64> {
        self.view.measure.value(self.target, cell, self.view.now)
    }
}

/// Links to the measures; the page's own address keeps the choice.
fn choice(measure: Measure, number: usize) -> String {
    let link = |other: Measure| {
        let current = if other == measure { " aria-current=\"true\"" } else { "" };
        format!("<a href=\"?measure={}#grid-{number}\"{current}>{}</a>", other.name(), other.title())
    };
    let links: Vec<String> = Measure::ALL.into_iter().map(link).collect();
    format!("<nav class=\"measures\" aria-label=\"What the grid shows\">{}</nav>\n", links.join(" "))
}

fn row(shown: &Shown<'_>, workers: u32) -> String {
    let target = shown.target;
    let cells: String = shown.grid.batch().iter().map(|&batch| cell(shown, Cell::new(workers, batch))).collect();
    let best = target.optimum().and_then(|optimum| optimum.rows.iter().find(|row| row.cell.workers == workers));
    let (batch, rate) = match best {
        Some(best) => {
            let median = target.estimate(best.cell).map_or(best.tokens_per_second, |estimate| estimate.median);
            (best.cell.batch.to_string(), rate(median))
        }
        None => ("–".to_owned(), "–".to_owned()),
    };
    format!(
        "<tr><th scope=\"row\">{workers}</th>{cells}<td class=\"best\">{batch}</td><td>{rate}</td>{}</tr>\n",
        slots(target, workers)
    )
}

/// What the server told and did of the slots that a row asked for.
fn slots(target: &TargetSnapshot, workers: u32) -> String {
    let row = target.row(workers);
    let told = row.and_then(|row| row.reported).map_or_else(|| "–".to_owned(), |slots| slots.to_string());
    let seen = row.and_then(|row| row.effective).map_or_else(|| "–".to_owned(), |effective| seen(&effective));
    let (class, sign) = match row.map(|row| row.verdict) {
        Some(verdict) if verdict.is_warned() => (" warned", " ⚠"),
        Some(SlotsVerdict::Queueing) => ("", " q"),
        _ => ("", ""),
    };
    format!("<td class=\"best{class}\">{told}</td><td class=\"slots{class}\">{seen}{sign}</td>")
}

/// Slots as they were seen: at least so many where no batch was large enough to show more.
pub(super) fn seen(effective: &EffectiveSlots) -> String {
    let bound = if effective.interval.upper.is_finite() { "" } else { "≥ " };
    format!("{bound}{}", effective.slots.round())
}

fn cell(shown: &Shown<'_>, cell: Cell) -> String {
    let Shown { target, grid, .. } = shown;
    let (known, value) = (target.cell(cell), shown.value(cell));
    let is_best_of_row = target.optimum().is_some_and(|optimum| optimum.rows.iter().any(|row| row.cell == cell));
    let marks = [
        ("copy", grid.is_copy(cell)),
        ("row-best", is_best_of_row),
        ("optimum", target.optimum().is_some_and(|optimum| optimum.throughput.cell == cell)),
        ("running", target.current == Some(cell)),
    ];
    let mut classes = vec!["cell".to_owned()];
    classes.extend(shown.scale.zip(value).map(|(scale, value)| scale.class(value)));
    classes.extend(marks.iter().filter(|(_, is_so)| *is_so).map(|(class, _)| (*class).to_owned()));
    let text = match (known, value.map(|value| shown.view.measure.text(value))) {
        (_, Some(value)) if grid.is_copy(cell) => format!("= {value}"),
        (_, Some(value)) => value,
        // A valid sample that does not tell this.
        (Some(known), None) if known.last_valid.is_some() => "–".to_owned(),
        // Attempted, and nothing that counts came of it.
        (Some(_), None) => "×".to_owned(),
        (None, None) => "·".to_owned(),
    };
    let current = if target.current == Some(cell) { " aria-current=\"true\"" } else { "" };
    format!(
        "<td class=\"{}\" title=\"{}\"{current}>{text}</td>",
        classes.join(" "),
        escaped(&story(shown, cell, known))
    )
}

/// A cell in words.
fn story(shown: &Shown<'_>, cell: Cell, known: Option<&CellSnapshot>) -> String {
    let Shown { target, grid, view, .. } = shown;
    let mut story = format!("{}, batch {}: ", counted(cell.workers.into(), "worker"), cell.batch);
    match target.estimate(cell) {
        Some(estimate) => {
            story += &format!("{} tokens/s, median of {}", rate(estimate.median), repeats(estimate));
        }
        None => story += "no valid sample yet",
    }
    if let Some(value) = shown.value(cell).filter(|_| view.measure != Measure::TokenRate) {
        story += &format!("; {}", view.measure.words(value));
    }
    if let Some(attempt) = known.map(|known| &known.last_attempt).filter(|attempt| !attempt.is_valid()) {
        let reasons: Vec<&str> = attempt.invalid.iter().map(|reason| reason.as_str()).collect();
        story += &format!("; the last attempt was rejected: {}", reasons.join(", "));
    }
    if grid.is_copy(cell) {
        story += &format!("; the same work as with {}", counted(grid.canonical(cell).workers.into(), "worker"));
    }
    if target.optimum().is_some_and(|optimum| optimum.throughput.cell == cell) {
        story += "; the optimum";
    }
    if target.current == Some(cell) {
        story += "; being measured now";
    }
    story
}

/// What colours and marks mean; only the marks that are there.
fn legend(shown: &Shown<'_>) -> String {
    let Shown { target, grid, view, scale } = shown;
    let ramp = scale.filter(|scale| scale.worst != scale.best).map(|scale| {
        let steps: String = (0..Scale::STEPS).map(|step| format!("<i class=\"h{step:x}\"></i>")).collect();
        let (worst, best) = (view.measure.text(scale.worst), view.measure.text(scale.best));
        let unit = if view.measure == Measure::TokenRate { " tokens/s" } else { "" };
        format!("<li>{worst} <span class=\"ramp\" aria-hidden=\"true\">{steps}</span> {best}{unit}</li>")
    });
    let mark = |class: &str, sign: &str, meaning: &str, is_there: bool| {
        is_there.then(|| format!("<li><span class=\"key {class}\" aria-hidden=\"true\">{sign}</span> {meaning}</li>"))
    };
    let has = |is_so: fn(SlotsVerdict) -> bool| target.conclusions.rows.iter().any(|row| is_so(row.verdict));
    let has_optimum = target.optimum().is_some();
    let has_rejected = target.cells.values().any(|known| known.last_valid.is_none());
    let items: String = [
        ramp,
        mark("optimum", "", "optimum", has_optimum),
        mark("row-best", "123", "best of its row", has_optimum),
        mark("running", "", "being measured", target.current.is_some()),
        mark("", "⚠", "did not get the slots that it asked for", has(SlotsVerdict::is_warned)),
        mark(
            "",
            "q",
            "more workers than slots: the server's queue is measured",
            has(|verdict| verdict == SlotsVerdict::Queueing),
        ),
        mark("", "=", "the same work as the cell above, measured once", grid.cells().any(|cell| grid.is_copy(cell))),
        mark("", "×", "rejected so far", has_rejected),
        mark("", "·", "not measured yet", grid.measured().iter().any(|cell| !target.cells.contains_key(cell))),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("<ul class=\"legend\">{items}</ul>\n")
}
