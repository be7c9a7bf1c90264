//! The best batch for each worker count and the best cell of the grid, over the medians
//! of the running epoch.

use std::collections::BTreeMap;

use super::quantile::{median, quantile, sorted};
use crate::domain::{Cell, Grid};

/// What the valid samples of one measured cell say of its token rate, tokens per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateEstimate {
    pub median: f64,
    /// Quartiles: the spread of the repeats.
    pub lower_quartile: f64,
    pub upper_quartile: f64,
    pub samples: usize,
}

impl RateEstimate {
    /// `None` where there is no sample.
    pub fn of(rates: &[f64]) -> Option<Self> {
        let sorted = sorted(rates);
        Some(Self {
            median: median(rates)?,
            lower_quartile: quantile(&sorted, 0.25)?,
            upper_quartile: quantile(&sorted, 0.75)?,
            samples: rates.len(),
        })
    }
}

/// Estimates by canonical cell.
pub type RateEstimates = BTreeMap<Cell, RateEstimate>;

/// One named cell with its median token rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    pub cell: Cell,
    pub tokens_per_second: f64,
}

/// The best of each row and of all rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// One a worker count that has an estimate, by worker count.
    pub rows: Vec<Best>,
    pub overall: Best,
}

/// Names the optimum, or `None` while no cell has an estimate.
///
/// A row's candidates are all its cells, copies of equivalent cells among them. The overall
/// best is a measured cell, so that of equivalent cells the one with the fewest workers is
/// named. Of exactly equal rates the smaller batch wins.
pub fn optimum(grid: &Grid, estimates: &RateEstimates) -> Option<Optimum> {
    let rate_of = |cell: Cell| estimates.get(&grid.canonical(cell)).map(|estimate| estimate.median);
    let best_of = |cells: &mut dyn Iterator<Item = Cell>| {
        cells
            .filter_map(|cell| Some(Best { cell, tokens_per_second: rate_of(cell)? }))
            .reduce(|best, next| if next.tokens_per_second > best.tokens_per_second { next } else { best })
    };
    let rows = grid
        .workers()
        .iter()
        .filter_map(|&workers| best_of(&mut grid.batch().iter().map(|&batch| Cell { workers, batch })))
        .collect();
    let overall = best_of(&mut grid.measured().into_iter())?;
    Some(Optimum { rows, overall })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimates(rates: &[(u32, u32, &[f64])]) -> RateEstimates {
        rates
            .iter()
            .map(|&(workers, batch, rates)| (Cell::new(workers, batch), RateEstimate::of(rates).expect("has samples")))
            .collect()
    }

    #[test]
    fn a_lucky_sample_does_not_win_over_a_better_median() {
        let grid = Grid::new(&[1, 2], &[1, 2], true).expect("sound");
        let estimates = estimates(&[(1, 1, &[10.0]), (1, 2, &[10.0, 90.0, 11.0]), (2, 2, &[20.0, 21.0, 19.0])]);
        let optimum = optimum(&grid, &estimates).expect("has estimates");
        assert_eq!(optimum.overall, Best { cell: Cell::new(2, 2), tokens_per_second: 20.0 });
        assert_eq!(optimum.rows[0], Best { cell: Cell::new(1, 2), tokens_per_second: 11.0 });
    }

    #[test]
    fn a_row_may_win_with_a_shared_cell_but_overall_the_measured_one_is_named() {
        let grid = Grid::new(&[1, 2, 4], &[1, 2], true).expect("sound");
        let estimates = estimates(&[(1, 1, &[10.0]), (1, 2, &[11.0]), (2, 2, &[20.0])]);
        let optimum = optimum(&grid, &estimates).expect("has estimates");
        assert_eq!(optimum.overall.cell, Cell::new(2, 2));
        assert_eq!(optimum.rows.last().map(|row| row.cell), Some(Cell::new(4, 2)));
    }

    #[test]
    fn without_estimates_there_is_no_optimum() {
        assert_eq!(optimum(&Grid::legacy(true), &RateEstimates::new()), None);
    }
}
