//! Seeded choices: the order of a cycle's cells, and the generator of a sample.

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom as _;

use crate::domain::Cell;
use crate::domain::plan::CellOrder;

/// The cells of a cycle, by workers and batch, in the order in which it measures them. The
/// same seed and cycle give the same order.
pub fn arranged(mut cells: Vec<Cell>, order: CellOrder, seed: u64, cycle: u64) -> Vec<Cell> {
    if order == CellOrder::Shuffled {
        cells.shuffle(&mut generator(seed, &[cycle]));
    }
    cells
}

/// The same cells in the same order, but for one that is among them twice or more: it comes
/// first, last, and evenly in between.
pub fn with_reference(cells: Vec<Cell>, reference: Cell) -> Vec<Cell> {
    let (references, others): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(|cell| *cell == reference);
    let parts = references.len().saturating_sub(1).max(1);
    let mut arranged = vec![reference];
    for part in others.chunks(others.len().div_ceil(parts).max(1)) {
        arranged.extend_from_slice(part);
        arranged.push(reference);
    }
    arranged
}

/// The cells where each row needs a server of its own: all of a row before the next, and
/// the row that the server has slots for first. So a cycle switches as seldom as it can.
pub fn by_rows(mut cells: Vec<Cell>, running: Option<u32>) -> Vec<Cell> {
    let rows: Vec<u32> = running.into_iter().chain(cells.iter().map(|cell| cell.workers)).collect();
    let place = |cell: &Cell| rows.iter().position(|&workers| workers == cell.workers);
    // Stable: within a row the order stays.
    cells.sort_by_key(place);
    cells
}

/// A generator of its own for each list of numbers, the same on every machine and version.
pub fn generator(seed: u64, purpose: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(purpose.iter().fold(mix(seed), |state, &number| mix(state ^ number)))
}

/// One step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): near seeds give far states.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Grid;

    #[test]
    fn a_shuffled_cycle_holds_every_cell_once_and_is_reproducible() {
        let grid = Grid::legacy(true);
        let order = |seed, cycle| arranged(grid.measured(), CellOrder::Shuffled, seed, cycle);
        assert_eq!(order(7, 1), order(7, 1));
        assert_ne!(order(7, 1), order(7, 2));
        assert_ne!(order(7, 1), order(8, 1));
        let mut sorted = order(7, 1);
        sorted.sort();
        assert_eq!(sorted, arranged(grid.measured(), CellOrder::Ascending, 7, 1));
    }

    #[test]
    fn each_row_comes_once_and_the_running_one_first() {
        let grid = Grid::legacy(false);
        let shuffled = |cycle| arranged(grid.measured(), CellOrder::Shuffled, 7, cycle);
        for cycle in 1..20 {
            let cells = by_rows(shuffled(cycle), Some(12));
            let mut rows: Vec<u32> = cells.iter().map(|cell| cell.workers).collect();
            rows.dedup();
            assert_eq!((rows.len(), rows.first()), (14, Some(&12)));
            let batches = |cells: &[Cell]| {
                cells.iter().filter(|cell| cell.workers == 4).map(|cell| cell.batch).collect::<Vec<_>>()
            };
            assert_eq!(batches(&cells), batches(&shuffled(cycle)));
        }
        assert_ne!(by_rows(shuffled(1), None), by_rows(shuffled(2), None));
        assert_eq!(by_rows(grid.measured(), None), grid.measured());
    }

    #[test]
    fn the_reference_cell_comes_first_last_and_in_between() {
        let cells: Vec<Cell> = (1..=7).map(|batch| Cell::new(8, batch)).collect();
        let batches = |times| {
            let reference = Cell::new(8, 3);
            let cells = cells.iter().copied().chain((1..times).map(|_| reference)).collect();
            let arranged = with_reference(cells, reference);
            arranged.iter().map(|cell| cell.batch).collect::<Vec<_>>()
        };
        assert_eq!(batches(2), [3, 1, 2, 4, 5, 6, 7, 3]);
        assert_eq!(batches(3), [3, 1, 2, 4, 3, 5, 6, 7, 3]);
        assert_eq!(batches(4), [3, 1, 2, 3, 4, 5, 3, 6, 7, 3]);
    }
}
