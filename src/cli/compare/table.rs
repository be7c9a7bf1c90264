//! A comparison for people.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{Judged, Outcome};
use crate::analysis::regression::compare::{LEAST_BASELINE_CYCLES, LEAST_CURRENT_CYCLES};
use crate::domain::{CellChange, Comparison, Direction, Epoch, percent_change};

/// The cells that are named.
const MOST_CELLS: usize = 8;

/// A comparison as lines of text.
pub(super) fn text(judged: &Judged, limit: f64) -> String {
    let mut text = format!("target {}, model {}\n", judged.target.name, judged.target.model);
    let cycles = judged.comparisons().first();
    if let Some(baseline) = &judged.baseline {
        let note = if baseline.is_pinned { ", pinned" } else { "" };
        let line = epoch_line(&baseline.epoch, cycles.map(|comparison| comparison.baseline_cycles));
        let _ = writeln!(text, "  baseline  {line}{note}");
    }
    let _ = writeln!(
        text,
        "  current   {}",
        epoch_line(&judged.current, cycles.map(|comparison| comparison.current_cycles))
    );
    let changes = judged.changes();
    let mut head = "changed";
    for change in &changes {
        let _ = writeln!(text, "  {head:<9} {change}");
        head = "";
    }
    if judged.baseline.is_some() && changes.is_empty() {
        text += "  changed   nothing that is known\n";
    }
    if let Some(source) = judged.baseline.as_ref().and_then(|baseline| baseline.epoch.source()) {
        let _ = writeln!(text, "  warning   the baseline was imported ({source}): its load is known in part only");
    }
    text.push('\n');
    match &judged.outcome {
        Outcome::NoBaseline => {
            let _ = writeln!(
                text,
                "no baseline: no earlier epoch has the same load, {LEAST_BASELINE_CYCLES} complete cycles and no \
                 regression that nobody accepted\n  hint: name one with --baseline; `llmsoak baseline list` shows them"
            );
        }
        Outcome::OtherLoad(differences) => {
            let _ = writeln!(text, "not comparable: the load differs in {}", differences.join("; "));
        }
        Outcome::Compared(measures) => {
            text += &measures_table(measures.as_slice(), limit);
            text += &cells_table(measures.as_slice());
        }
    }
    text
}

fn epoch_line(epoch: &Epoch, cycles: Option<usize>) -> String {
    let time = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M").to_string();
    let cycles = cycles.map(|cycles| format!(", {cycles} cycles compared")).unwrap_or_default();
    format!("epoch {}, {} to {} UTC{cycles}", epoch.id, time(epoch.first_seen), time(epoch.last_seen))
}

fn measures_table(measures: &[Comparison], limit: f64) -> String {
    let mut text = format!("  {:<20} {:>8}   {:<20} {}\n", "measure", "change", "95 % interval", "verdict");
    for comparison in measures {
        let (change, interval) = comparison.ratio().map_or_else(
            || ("–".to_owned(), "–".to_owned()),
            |ratio| {
                (
                    percent_change(ratio.value),
                    format!("{} to {}", percent_change(ratio.lower), percent_change(ratio.upper)),
                )
            },
        );
        let name = comparison.measure.words();
        let _ = writeln!(text, "  {name:<20} {change:>8}   {interval:<20} {}", verdict(comparison, limit));
    }
    text
}

fn verdict(comparison: &Comparison, limit: f64) -> String {
    let is_known = comparison.ratio().is_some();
    match comparison.beyond(0.0) {
        None if !is_known => too_few(comparison),
        None => "no change is certain".to_owned(),
        Some(Direction::Improvement) => "better".to_owned(),
        Some(Direction::Regression) if comparison.is_regression(limit) => {
            format!("worse, beyond the limit of {}", limit_text(limit))
        }
        Some(Direction::Regression) => format!("worse, within the limit of {}", limit_text(limit)),
    }
}

fn too_few(comparison: &Comparison) -> String {
    let (old, new) = (comparison.baseline_cycles, comparison.current_cycles);
    if old == 0 && new == 0 {
        return "not measured by both in a cell".to_owned();
    }
    format!("too few cycles: {old} and {new}, needed {LEAST_BASELINE_CYCLES} and {LEAST_CURRENT_CYCLES}")
}

/// The cells that moved most, by the measure of which most is known.
fn cells_table(measures: &[Comparison]) -> String {
    let Some(comparison) = measures.iter().find(|comparison| comparison.cells.iter().any(|cell| cell.is_affected))
    else {
        return String::new();
    };
    let mut cells: Vec<&CellChange> = comparison.cells.iter().filter(|cell| cell.is_affected).collect();
    let affected = cells.len();
    cells.sort_by(|a, b| b.ratio.ln().abs().total_cmp(&a.ratio.ln().abs()));
    let mut text = format!(
        "\n  most affected in {}, {affected} of {} cells\n",
        comparison.measure.words(),
        comparison.cells.len()
    );
    for cell in cells.into_iter().take(MOST_CELLS) {
        let name = format!("{} workers, batch {}", cell.cell.workers, cell.cell.batch);
        let _ = writeln!(text, "  {name:<20} {:>8}", percent_change(cell.ratio));
    }
    text
}

fn limit_text(limit: f64) -> String {
    let text = format!("{:.2}", limit * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}
