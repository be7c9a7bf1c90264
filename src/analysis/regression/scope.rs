//! The nested parts of a grid that are looked at.

use crate::domain::{Cell, Scope};

/// Parts along one axis: more of them cost time, and false alarms.
const MOST_PARTS: usize = 13;
/// A change of fewer cells is not told from their own noise.
const FEWEST_CELLS: usize = 2;

/// The whole of a grid, then its nested parts; each of two cells or more, and no two of the
/// same cells.
pub(super) fn parts_of(cells: &[Cell]) -> Vec<Scope> {
    let mut scopes = vec![Scope::All];
    let parts = |axis: fn(&Cell) -> u32, part: fn(u32) -> Scope| {
        let mut bounds: Vec<u32> = cells.iter().map(axis).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let stride = bounds.len().div_ceil(MOST_PARTS).max(1);
        // The first bound holds all cells.
        bounds.into_iter().skip(1).step_by(stride).map(part).collect::<Vec<_>>()
    };
    let nested = parts(|cell| cell.batch, Scope::BatchAtLeast).into_iter();
    for scope in nested.chain(parts(|cell| cell.workers, Scope::WorkersAtLeast)) {
        if cells.iter().filter(|&&cell| scope.contains(cell)).count() >= FEWEST_CELLS {
            scopes.push(scope);
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_nested_and_hold_two_cells() {
        let cells: Vec<Cell> =
            [1, 4].into_iter().flat_map(|workers| [1, 8, 16].map(|batch| Cell::new(workers, batch))).collect();
        let scopes: Vec<String> = parts_of(&cells).iter().map(Scope::to_string).collect();
        assert_eq!(scopes, ["all", "batch>=8", "batch>=16", "workers>=4"]);
        assert_eq!(parts_of(&[Cell::new(1, 1)]), [Scope::All]);
        assert_eq!(parts_of(&[]), [Scope::All]);
    }
}
