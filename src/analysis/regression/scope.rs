//! The nested parts of a grid that a change may be confined to.

use std::fmt;

use crate::domain::Cell;

/// A part of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    All,
    BatchAtLeast(u32),
    WorkersAtLeast(u32),
}

/// Parts along one axis: more of them cost time, and false alarms.
const MOST_PARTS: usize = 13;
/// A change of fewer cells is not told from their own noise.
const FEWEST_CELLS: usize = 2;

impl Scope {
    pub const fn contains(self, cell: Cell) -> bool {
        match self {
            Self::All => true,
            Self::BatchAtLeast(batch) => cell.batch >= batch,
            Self::WorkersAtLeast(workers) => cell.workers >= workers,
        }
    }

    /// The whole of a grid, then its nested parts; each of two cells or more, and no two of
    /// the same cells.
    pub(super) fn of_grid(cells: &[Cell]) -> Vec<Self> {
        let mut scopes = vec![Self::All];
        let parts = |axis: fn(&Cell) -> u32, part: fn(u32) -> Self| {
            let mut bounds: Vec<u32> = cells.iter().map(axis).collect();
            bounds.sort_unstable();
            bounds.dedup();
            let stride = bounds.len().div_ceil(MOST_PARTS).max(1);
            // The first bound holds all cells.
            bounds.into_iter().skip(1).step_by(stride).map(part).collect::<Vec<_>>()
        };
        let nested = parts(|cell| cell.batch, Self::BatchAtLeast).into_iter();
        for scope in nested.chain(parts(|cell| cell.workers, Self::WorkersAtLeast)) {
            if cells.iter().filter(|&&cell| scope.contains(cell)).count() >= FEWEST_CELLS {
                scopes.push(scope);
            }
        }
        scopes
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::BatchAtLeast(batch) => write!(f, "batch>={batch}"),
            Self::WorkersAtLeast(workers) => write!(f, "workers>={workers}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_nested_and_hold_two_cells() {
        let cells: Vec<Cell> =
            [1, 4].into_iter().flat_map(|workers| [1, 8, 16].map(|batch| Cell::new(workers, batch))).collect();
        let scopes: Vec<String> = Scope::of_grid(&cells).iter().map(Scope::to_string).collect();
        assert_eq!(scopes, ["all", "batch>=8", "batch>=16", "workers>=4"]);
        assert_eq!(Scope::of_grid(&[Cell::new(1, 1)]), [Scope::All]);
        assert_eq!(Scope::of_grid(&[]), [Scope::All]);
    }
}
