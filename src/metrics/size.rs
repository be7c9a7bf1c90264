//! How many series a configuration makes, from the tables that make them.
//!
//! Of each family that may be absent until something is known, such as an optimum, the
//! series are counted as if it were: the number is what a soak comes to.

use super::{cells, changes, environment, process, state, work};
use crate::domain::Grid;
use crate::domain::plan::MetricsPlan;

/// The series of the process and of a target for each of the grids.
pub fn series<'a>(plan: &MetricsPlan, grids: impl IntoIterator<Item = &'a Grid>) -> u64 {
    of_process() + grids.into_iter().map(|grid| of_target(plan, grid)).sum::<u64>()
}

/// The series that there are without any target.
pub fn of_process() -> u64 {
    process::series() as u64
}

/// The series of one target with that grid.
pub fn of_target(plan: &MetricsPlan, grid: &Grid) -> u64 {
    let of_each = [
        process::series_of_target(),
        state::series(),
        changes::series(),
        environment::series(),
        work::series(plan, grid),
        cells::series(plan.cells, grid),
    ];
    of_each.into_iter().sum::<usize>() as u64
}
