//! The grid of workers × batch, and which of its cells are the same work.

use std::collections::BTreeSet;
use std::fmt;

/// One pair of the grid: a batch of `batch` requests, at most `workers` of them in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    pub workers: u32,
    pub batch: u32,
}

impl Cell {
    pub const fn new(workers: u32, batch: u32) -> Self {
        Self { workers, batch }
    }

    /// The most requests of this cell that can be in flight at once: min(W, B).
    pub fn concurrency(self) -> u32 {
        self.workers.min(self.batch)
    }

    /// The warm-ups before a sample of this cell: so many for each worker that has work.
    pub fn warmups(self, of_each_worker: u32) -> u32 {
        self.concurrency().saturating_mul(of_each_worker)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.workers, self.batch)
    }
}

/// All cells of a target: the product of its worker counts and its batch sizes.
///
/// Both axes are sorted, free of repeats and not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    workers: Vec<u32>,
    batch: Vec<u32>,
    share_equivalent_cells: bool,
}

/// Why two lists of numbers are not the axes of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GridError {
    #[error("must name at least one number")]
    Empty,
    #[error("must be numbers from 1 to {}", Grid::LARGEST)]
    OutOfRange,
}

/// Worker counts of the legacy script's grid.
const LEGACY_WORKERS: [u32; 14] = [4, 6, 8, 10, 12, 15, 18, 20, 22, 24, 30, 35, 40, 50];
/// Batch sizes of the legacy script's grid.
const LEGACY_BATCH: [u32; 9] = [1, 2, 4, 8, 16, 24, 32, 40, 48];
/// What the slots of a server count as where it does not tell them.
const ASSUMED_SLOTS: u32 = 4;

impl Grid {
    /// The largest worker count and batch size: a bound on what one sample may hold in memory.
    pub const LARGEST: u32 = 65_536;

    pub fn new(workers: &[u32], batch: &[u32], share_equivalent_cells: bool) -> Result<Self, GridError> {
        Ok(Self { workers: Self::axis(workers)?, batch: Self::axis(batch)?, share_equivalent_cells })
    }

    /// Sorts one axis and drops its repeats.
    pub fn axis(numbers: &[u32]) -> Result<Vec<u32>, GridError> {
        let axis: BTreeSet<u32> = numbers.iter().copied().collect();
        if axis.is_empty() {
            return Err(GridError::Empty);
        }
        if axis.iter().any(|n| !(1..=Self::LARGEST).contains(n)) {
            return Err(GridError::OutOfRange);
        }
        Ok(axis.into_iter().collect())
    }

    /// The 14 × 9 cells of the script that this program replaces.
    pub fn legacy(share_equivalent_cells: bool) -> Self {
        Self { workers: LEGACY_WORKERS.to_vec(), batch: LEGACY_BATCH.to_vec(), share_equivalent_cells }
    }

    /// The most slots of a server that [`Grid::automatic`] believes in, or a cycle would take days:
    /// SGLang takes thousands of requests at once. A larger grid is named by the user.
    pub const MOST_SLOTS: u32 = 256;

    /// Powers of two: workers up to twice the server's slots, batch up to four times.
    pub fn automatic(slots: Option<u32>, share_equivalent_cells: bool) -> Self {
        let slots = slots.unwrap_or(ASSUMED_SLOTS).clamp(1, Self::MOST_SLOTS);
        let powers =
            |top: u32| std::iter::successors(Some(1_u32), |n| n.checked_mul(2)).take_while(|n| *n <= top).collect();
        Self { workers: powers(2 * slots), batch: powers(4 * slots), share_equivalent_cells }
    }

    pub fn workers(&self) -> &[u32] {
        &self.workers
    }

    pub fn batch(&self) -> &[u32] {
        &self.batch
    }

    /// Every cell, by workers and then by batch.
    pub fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        self.workers.iter().flat_map(|&workers| self.batch.iter().map(move |&batch| Cell { workers, batch }))
    }

    pub fn shares_equivalent_cells(&self) -> bool {
        self.share_equivalent_cells
    }

    pub fn contains(&self, cell: Cell) -> bool {
        self.workers.contains(&cell.workers) && self.batch.contains(&cell.batch)
    }

    /// The cell that is measured in the place of `cell`.
    ///
    /// Cells of one batch with W ≥ B are the same work: all their requests are in flight
    /// at once. The one with the smallest such W stands for all of them.
    pub fn canonical(&self, cell: Cell) -> Cell {
        if !self.share_equivalent_cells || cell.workers < cell.batch {
            return cell;
        }
        let smallest = self.workers.iter().copied().find(|&workers| workers >= cell.batch);
        Cell { workers: smallest.unwrap_or(cell.workers), batch: cell.batch }
    }

    /// Whether `cell` shows what another cell measured.
    pub fn is_copy(&self, cell: Cell) -> bool {
        self.canonical(cell) != cell
    }

    /// The cells that a cycle measures, by workers and then by batch.
    pub fn measured(&self) -> Vec<Cell> {
        self.cells().filter(|&cell| !self.is_copy(cell)).collect()
    }

    /// The cells that show what `canonical` measured, itself first.
    pub fn shown_by(&self, canonical: Cell) -> impl Iterator<Item = Cell> + '_ {
        self.workers
            .iter()
            .map(move |&workers| Cell { workers, batch: canonical.batch })
            .filter(move |&cell| self.canonical(cell) == canonical)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legacy_grid_needs_62_measurements_for_its_126_cells() {
        let grid = Grid::legacy(true);
        assert_eq!(grid.cells().count(), 126);
        assert_eq!(grid.measured().len(), 62);
        assert_eq!(Grid::legacy(false).measured().len(), 126);
    }

    #[test]
    fn every_cell_is_shown_by_exactly_one_measured_cell() {
        let grid = Grid::legacy(true);
        let mut shown: Vec<Cell> =
            grid.measured().into_iter().flat_map(|cell| grid.shown_by(cell).collect::<Vec<_>>()).collect();
        shown.sort();
        assert_eq!(shown, grid.cells().collect::<Vec<_>>());
    }

    #[test]
    fn the_smallest_sufficient_worker_count_stands_for_the_rest() {
        let grid = Grid::new(&[8, 2, 4, 4], &[4, 16], true).expect("axes are sound");
        assert_eq!(grid.workers(), [2, 4, 8]);
        assert_eq!(grid.canonical(Cell::new(8, 4)), Cell::new(4, 4));
        assert_eq!(grid.canonical(Cell::new(2, 4)), Cell::new(2, 4));
        assert_eq!(grid.canonical(Cell::new(8, 16)), Cell::new(8, 16));
    }

    #[test]
    fn an_automatic_grid_follows_the_slots() {
        let grid = Grid::automatic(Some(4), true);
        assert_eq!(grid.workers(), [1, 2, 4, 8]);
        assert_eq!(grid.batch(), [1, 2, 4, 8, 16]);
        assert_eq!(Grid::automatic(None, true), grid);
        assert_eq!(Grid::automatic(Some(6), true).workers(), [1, 2, 4, 8]);
        assert_eq!(Grid::automatic(Some(0), true).workers(), [1, 2]);
    }

    #[test]
    fn no_server_makes_an_automatic_grid_endless() {
        let grid = Grid::automatic(Some(u32::MAX), true);
        assert_eq!((grid.workers().last(), grid.batch().last()), (Some(&512), Some(&1024)));
    }

    #[test]
    fn unsound_axes_are_refused() {
        assert_eq!(Grid::new(&[], &[1], true), Err(GridError::Empty));
        assert_eq!(Grid::new(&[1], &[0], true), Err(GridError::OutOfRange));
    }
}
