//! Seeded choices: the order of a cycle's cells, and the generator of a sample.

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom as _;

use crate::domain::plan::CellOrder;
use crate::domain::{Cell, Grid};

/// The cells that a cycle measures, in its order. The same seed and cycle give the same order.
pub fn cells_of_cycle(grid: &Grid, order: CellOrder, seed: u64, cycle: u64) -> Vec<Cell> {
    let mut cells = grid.measured();
    if order == CellOrder::Shuffled {
        cells.shuffle(&mut generator(seed, &[cycle]));
    }
    cells
}

/// The same cells where each row needs a server of its own: all of a row before the next, and
/// the row that the server has slots for first. So a cycle switches as seldom as it can.
pub fn rows_of_cycle(grid: &Grid, order: CellOrder, seed: u64, cycle: u64, running: Option<u32>) -> Vec<Cell> {
    let cells = cells_of_cycle(grid, order, seed, cycle);
    let mut rows: Vec<u32> = running.into_iter().collect();
    rows.extend(cells.iter().map(|cell| cell.workers));
    let place = |cell: &Cell| rows.iter().position(|&workers| workers == cell.workers);
    let mut cells = cells.clone();
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

    #[test]
    fn a_shuffled_cycle_holds_every_cell_once_and_is_reproducible() {
        let grid = Grid::legacy(true);
        let order = |seed, cycle| cells_of_cycle(&grid, CellOrder::Shuffled, seed, cycle);
        assert_eq!(order(7, 1), order(7, 1));
        assert_ne!(order(7, 1), order(7, 2));
        assert_ne!(order(7, 1), order(8, 1));
        let mut sorted = order(7, 1);
        sorted.sort();
        assert_eq!(sorted, cells_of_cycle(&grid, CellOrder::Ascending, 7, 1));
    }

    #[test]
    fn each_row_comes_once_and_the_running_one_first() {
        let grid = Grid::legacy(false);
        for cycle in 1..20 {
            let cells = rows_of_cycle(&grid, CellOrder::Shuffled, 7, cycle, Some(12));
            let mut rows: Vec<u32> = cells.iter().map(|cell| cell.workers).collect();
            rows.dedup();
            assert_eq!((rows.len(), rows.first()), (14, Some(&12)));
            let batches = |cells: &[Cell]| {
                cells.iter().filter(|cell| cell.workers == 4).map(|cell| cell.batch).collect::<Vec<_>>()
            };
            assert_eq!(batches(&cells), batches(&cells_of_cycle(&grid, CellOrder::Shuffled, 7, cycle)));
        }
        let shuffled = |cycle| rows_of_cycle(&grid, CellOrder::Shuffled, 7, cycle, None);
        assert_ne!(shuffled(1), shuffled(2));
        assert_eq!(rows_of_cycle(&grid, CellOrder::Ascending, 7, 1, None), grid.measured());
    }
}
