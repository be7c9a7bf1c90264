//! The figures of the gauges without Prometheus: for who asks the API instead of scraping.
//!
//! Read off the same tables, so that a figure has one name and one value whoever asks.

use super::cells::{self, Crown, OBJECTIVES, OPTIMUM_READINGS, ROW_READINGS, SLOT_READINGS, STEP_READINGS, Shown};
use super::family::Reading;
use super::state;
use crate::analysis::optimum::Best;
use crate::analysis::slots::RowSlots;
use crate::domain::Cell;
use crate::domain::plan::CellDetail;
use crate::soak::TargetSnapshot;

/// Names of metrics, without their beginning, and values; `None` where a series is absent.
pub type Figures = Vec<(&'static str, Option<f64>)>;

const PREFIX: &str = "llmsoak_";

fn read<T: 'static>(readings: impl IntoIterator<Item = &'static Reading<T>>, prefix: &str, of: &T) -> Figures {
    let figure =
        |reading: &'static Reading<T>| (reading.name.strip_prefix(prefix).unwrap_or(reading.name), (reading.value)(of));
    readings.into_iter().map(figure).collect()
}

/// The state of a target's work. Names go on after `llmsoak_`.
pub fn of_target(target: &TargetSnapshot) -> Figures {
    read(state::READINGS, PREFIX, target)
}

/// A cell, all of it whatever the configuration exposes; `None` while it was not attempted.
/// Names go on after `llmsoak_cell_`.
pub fn of_cell(target: &TargetSnapshot, cell: Cell) -> Option<Figures> {
    let shown = Shown::of(target, cell)?;
    Some(read(cells::cell_readings(CellDetail::Full), "llmsoak_cell_", &shown))
}

/// The objectives with the cells that they name; `None` where there is none.
pub fn objectives(target: &TargetSnapshot) -> impl Iterator<Item = (&'static str, Option<&Best>)> {
    OBJECTIVES.iter().map(|&(objective, named)| (objective, target.optimum().and_then(named)))
}

/// A named cell. Names go on after `llmsoak_optimum_`.
pub fn of_optimum(target: &TargetSnapshot, best: &Best) -> Figures {
    read(OPTIMUM_READINGS, "llmsoak_optimum_", &Crown::of(target, best))
}

/// The best cell of a row. Names go on after `llmsoak_`.
pub fn of_row(best: &Best) -> Figures {
    read(ROW_READINGS, PREFIX, best)
}

/// The slots of a row. Names go on after `llmsoak_`.
pub fn of_slots(row: &RowSlots) -> Figures {
    read(SLOT_READINGS, PREFIX, row)
}

/// What a step of the server costs; empty while that is not known. Names go on after
/// `llmsoak_`.
pub fn of_step(target: &TargetSnapshot) -> Figures {
    target.conclusions.step.as_ref().map(|step| read(STEP_READINGS, PREFIX, step)).unwrap_or_default()
}
