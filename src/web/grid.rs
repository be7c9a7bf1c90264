//! The grid of a target as a table: the token rate of every cell as a number and as a colour.

use super::html::{counted, escaped, rate, repeats};
use crate::analysis::slots::{EffectiveSlots, SlotsVerdict};
use crate::domain::{Cell, Grid};
use crate::soak::TargetSnapshot;
use crate::soak::board::CellSnapshot;

/// Steps of the colour scale; the style sheet has a class for each.
const STEPS: u8 = 16;

/// What the colours run over.
struct Scale {
    lowest: f64,
    highest: f64,
}

impl Scale {
    /// Over all estimates of the grid; `None` while there is none.
    fn of(target: &TargetSnapshot) -> Option<Self> {
        let rates = || target.conclusions.rates.cells.values().map(|estimate| estimate.median);
        let lowest = rates().reduce(f64::min)?;
        Some(Self { lowest, highest: rates().reduce(f64::max)? })
    }

    /// The class of a rate's colour, from `h0` to `hf`.
    fn class(&self, rate: f64) -> String {
        let width = self.highest - self.lowest;
        let share = if width > 0.0 { ((rate - self.lowest) / width).clamp(0.0, 1.0) } else { 1.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lies between 0 and 15")]
        let step = (share * f64::from(STEPS - 1)).round() as u8;
        format!("h{step:x}")
    }
}

/// The table with its heading and legend. The target's number keeps names within a page apart.
pub(super) fn heat_map(target: &TargetSnapshot, grid: &Grid, number: usize) -> String {
    let scale = Scale::of(target);
    let columns = grid.batch().len();
    let batches: String = grid.batch().iter().map(|batch| format!("<th scope=\"col\">{batch}</th>")).collect();
    let rows: String = grid.workers().iter().map(|&workers| row(target, grid, workers, scale.as_ref())).collect();
    format!(
        "<h3 id=\"grid-{number}\">Tokens per second <small>median of each cell</small></h3>\n\
         <div class=\"grid\" role=\"region\" tabindex=\"0\" aria-labelledby=\"grid-{number}\">\n<table>\n<thead>\n\
         <tr><td></td><th scope=\"colgroup\" colspan=\"{columns}\">batch</th>\
         <th scope=\"colgroup\" colspan=\"2\" class=\"best\">best of the row</th>\
         <th scope=\"colgroup\" colspan=\"2\" class=\"best\">slots</th></tr>\n\
         <tr><th scope=\"col\">workers</th>{batches}<th scope=\"col\" class=\"best\">batch</th>\
         <th scope=\"col\">tokens/s</th><th scope=\"col\" class=\"best\">told</th>\
         <th scope=\"col\">seen</th></tr>\n</thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n{}",
        legend(target, grid, scale.as_ref())
    )
}

fn row(target: &TargetSnapshot, grid: &Grid, workers: u32, scale: Option<&Scale>) -> String {
    let cells: String =
        grid.batch().iter().map(|&batch| cell(target, grid, Cell::new(workers, batch), scale)).collect();
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

fn cell(target: &TargetSnapshot, grid: &Grid, cell: Cell, scale: Option<&Scale>) -> String {
    let known = target.cell(cell);
    let estimate = target.estimate(cell);
    let is_best_of_row = target.optimum().is_some_and(|optimum| optimum.rows.iter().any(|row| row.cell == cell));
    let marks = [
        ("copy", grid.is_copy(cell)),
        ("row-best", is_best_of_row),
        ("optimum", target.optimum().is_some_and(|optimum| optimum.throughput.cell == cell)),
        ("running", target.current == Some(cell)),
    ];
    let mut classes = vec!["cell".to_owned()];
    classes.extend(scale.zip(estimate).map(|(scale, estimate)| scale.class(estimate.median)));
    classes.extend(marks.iter().filter(|(_, is_so)| *is_so).map(|(class, _)| (*class).to_owned()));
    let text = match (known, estimate) {
        (_, Some(estimate)) if grid.is_copy(cell) => format!("= {}", rate(estimate.median)),
        (_, Some(estimate)) => rate(estimate.median),
        // Attempted, and nothing that counts came of it.
        (Some(_), None) => "×".to_owned(),
        (None, None) => "·".to_owned(),
    };
    let current = if target.current == Some(cell) { " aria-current=\"true\"" } else { "" };
    format!(
        "<td class=\"{}\" title=\"{}\"{current}>{text}</td>",
        classes.join(" "),
        escaped(&story(target, grid, cell, known))
    )
}

/// A cell in words.
fn story(target: &TargetSnapshot, grid: &Grid, cell: Cell, known: Option<&CellSnapshot>) -> String {
    let mut story = format!("{}, batch {}: ", counted(cell.workers.into(), "worker"), cell.batch);
    match target.estimate(cell) {
        Some(estimate) => {
            story += &format!("{} tokens/s, median of {}", rate(estimate.median), repeats(estimate));
        }
        None => story += "no valid sample yet",
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
fn legend(target: &TargetSnapshot, grid: &Grid, scale: Option<&Scale>) -> String {
    let ramp = scale.filter(|scale| scale.highest > scale.lowest).map(|scale| {
        let steps: String = (0..STEPS).map(|step| format!("<i class=\"h{step:x}\"></i>")).collect();
        let (lowest, highest) = (rate(scale.lowest), rate(scale.highest));
        format!("<li>{lowest} <span class=\"ramp\" aria-hidden=\"true\">{steps}</span> {highest} tokens/s</li>")
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
