//! The rules by which a cycle is chosen, one by one, from beliefs that are given.

use super::*;

/// A grid without equivalent cells: each of its cells is measured.
struct Stage {
    grid: Grid,
    rates: RateEstimates,
    skipped_rows: BTreeSet<u32>,
    ages: BTreeMap<Cell, u32>,
}

impl Stage {
    fn new(workers: &[u32], batch: &[u32]) -> Self {
        Self {
            grid: Grid::new(workers, batch, false).expect("sound"),
            rates: RateEstimates::default(),
            skipped_rows: BTreeSet::new(),
            ages: BTreeMap::new(),
        }
    }

    fn knowledge(&self, requests: u64) -> Knowledge<'_> {
        Knowledge {
            grid: &self.grid,
            rates: &self.rates,
            skipped_rows: &self.skipped_rows,
            ages: &self.ages,
            sentinels: &[],
            most_age: 10,
            requests,
        }
    }
}

/// Logarithm of the rate and its variance, by cell. A sample has the variance 1.
fn believing<'a>(knowledge: &'a Knowledge<'a>, beliefs: &[(Cell, f64, f64)]) -> Cycle<'a> {
    let mut cycle = Cycle::new(knowledge);
    cycle.noise = 1.0;
    cycle.beliefs = beliefs.iter().map(|&(cell, log_rate, variance)| (cell, Belief { log_rate, variance })).collect();
    cycle
}

const A: Cell = Cell::new(1, 2);
const B: Cell = Cell::new(1, 4);
const C: Cell = Cell::new(8, 2);
const D: Cell = Cell::new(8, 4);

fn stage() -> Stage {
    Stage::new(&[1, 8], &[2, 4])
}

#[test]
fn a_sample_narrows_a_belief_as_the_mean_of_two_would() {
    assert_eq!(narrowed(1.0, 1.0), 0.5);
    assert_eq!(narrowed(6.0, 3.0), 2.0);
    assert_eq!(narrowed(0.0, 1.0), 0.0);
}

#[test]
fn the_rival_is_the_least_surely_worse() {
    let stage = stage();
    let knowledge = stage.knowledge(0);
    // C is farther below than B, and much less is known of it.
    let beliefs = [(A, 1.0, 0.01), (B, 0.8, 0.01), (C, 0.5, 2.0), (D, 0.1, 0.1)];
    let duel = believing(&knowledge, &beliefs).duel(|_| true).expect("rivals");
    assert_eq!((duel.leader, duel.rival), (A, C));
    assert!((duel.cost - 0.25 / 2.01).abs() < 1e-12, "{}", duel.cost);
    let duel = believing(&knowledge, &beliefs).duel(|cell| cell != C).expect("rivals");
    assert_eq!((duel.leader, duel.rival), (A, B));
    // Alone there is none.
    assert!(believing(&knowledge, &beliefs).duel(|cell| cell == B).is_none());
}

#[test]
fn a_row_that_is_skipped_has_neither_leader_nor_rival() {
    let mut stage = stage();
    stage.skipped_rows.insert(1);
    let beliefs = [(A, 1.0, 0.01), (B, 0.9, 0.01), (C, 0.5, 0.01), (D, 0.4, 0.01)];
    let knowledge = stage.knowledge(0);
    let duel = believing(&knowledge, &beliefs).duel(|_| true).expect("rivals");
    assert_eq!((duel.leader, duel.rival), (C, D));
    let duel = believing(&knowledge, &beliefs).least_sure_row().expect("a row");
    assert_eq!((duel.leader, duel.rival), (C, D));
}

#[test]
fn a_cell_that_had_its_samples_is_no_rival_any_more() {
    let stage = stage();
    let knowledge = stage.knowledge(100);
    let mut cycle = believing(&knowledge, &[(A, 1.0, 0.1), (B, 0.9, 0.1), (C, 0.5, 0.1)]);
    for times in 0..MOST_REPEATS {
        assert_eq!(cycle.duel(|_| true).expect("rivals").rival, B, "{times}");
        cycle.chosen.insert(B, times + 1);
    }
    assert_eq!(cycle.duel(|_| true).expect("rivals").rival, C);
}

#[test]
fn the_sample_that_tells_more_for_its_requests_is_taken() {
    let stage = stage();
    let knowledge = stage.knowledge(100);
    let telling = |beliefs: &[(Cell, f64, f64)], leader, rival| {
        let cycle = believing(&knowledge, beliefs);
        cycle.telling(&Duel { leader, rival, cost: 0.0 })
    };
    // As much is known of both, and one needs half the requests.
    assert_eq!(telling(&[(A, 1.0, 1.0), (B, 1.0, 1.0)], B, A), A);
    assert_eq!(telling(&[(A, 1.0, 1.0), (B, 1.0, 1.0)], A, B), A);
    // Little is known of the one that needs more.
    assert_eq!(telling(&[(A, 1.0, 0.5), (B, 1.0, 1.0)], A, B), B);
    assert_eq!(telling(&[(A, 1.0, 0.5), (B, 1.0, 9.0)], A, B), B);
    assert_eq!(telling(&[(A, 1.0, 0.5), (B, 1.0, 9.0)], B, A), B);
    // Of equals the leader, unless it had its samples.
    assert_eq!(telling(&[(A, 1.0, 1.0), (C, 1.0, 1.0)], A, C), A);
    let mut cycle = believing(&knowledge, &[(A, 1.0, 1.0), (C, 1.0, 1.0)]);
    cycle.chosen.insert(A, MOST_REPEATS);
    assert_eq!(cycle.telling(&Duel { leader: A, rival: C, cost: 0.0 }), C);
}

#[test]
fn the_least_sure_row_has_the_closest_duel() {
    let stage = stage();
    let knowledge = stage.knowledge(100);
    let beliefs = [(A, 1.0, 0.1), (B, 0.9, 0.1), (C, 0.5, 0.1), (D, 0.45, 0.1)];
    let duel = believing(&knowledge, &beliefs).least_sure_row().expect("a row");
    assert_eq!((duel.leader, duel.rival), (C, D));
    let beliefs = [(A, 1.0, 0.1), (B, 0.99, 0.1), (C, 0.5, 0.1), (D, 0.45, 0.1)];
    let duel = believing(&knowledge, &beliefs).least_sure_row().expect("a row");
    assert_eq!((duel.leader, duel.rival), (A, B));
}

#[test]
fn three_choices_serve_the_best_of_all_and_the_fourth_a_row() {
    let stage = stage();
    // A and C lead and cost two requests each; of D, which is in C's row, little is known.
    let beliefs = [(A, 1.0, 1.0), (B, -3.0, 1e-6), (C, 0.99, 1.0), (D, 0.2, 3.0)];
    let chosen = |requests| {
        let knowledge = stage.knowledge(requests);
        let mut cycle = believing(&knowledge, &beliefs);
        cycle.take_the_telling();
        (cycle.chosen, cycle.left)
    };
    assert_eq!(chosen(1), (BTreeMap::new(), 1));
    let three = BTreeMap::from([(A, 2), (C, 1)]);
    assert_eq!(chosen(6), (three.clone(), 0));
    assert_eq!(chosen(9), (three.clone(), 3), "too little for the fourth");
    let mut four = three;
    four.insert(D, 1);
    assert_eq!(chosen(10), (four, 0));
    // All of the budget is spent, or all that is worth a sample had as many as it may have.
    let (all, left) = chosen(1_000);
    assert!(all.values().all(|&times| times <= MOST_REPEATS), "{all:?}");
    assert!(left > 900 && all.get(&D) == Some(&MOST_REPEATS), "{all:?}");
}

#[test]
fn a_taken_cell_costs_its_requests_and_is_known_better() {
    let stage = stage();
    let knowledge = stage.knowledge(5);
    let mut cycle = believing(&knowledge, &[(B, 1.0, 1.0)]);
    cycle.take(B);
    assert_eq!((cycle.left, cycle.chosen[&B], cycle.beliefs[&B].variance), (1, 1, 0.5));
    cycle.take(B);
    assert_eq!((cycle.left, cycle.chosen[&B]), (0, 2), "sentinels may be more than the budget");
}

/// The cells that come for their age, where nothing is taken for what it tells.
fn oldest(stage: &Stage, most_age: u32) -> Vec<Cell> {
    let knowledge = Knowledge { most_age, ..stage.knowledge(0) };
    let mut cycle = believing(&knowledge, &[(A, 1.0, 1.0)]);
    cycle.take_the_oldest();
    cycle.chosen.into_keys().collect()
}

#[test]
fn so_many_of_the_oldest_are_taken_that_all_come_round() {
    // 3 + 5 + 7 requests in all.
    let (small, middle, large) = (Cell::new(1, 3), Cell::new(1, 5), Cell::new(1, 7));
    let mut stage = Stage::new(&[1], &[3, 5, 7]);
    stage.ages = [(small, 2), (middle, 1), (large, 0)].into();
    assert_eq!(oldest(&stage, 5), [small], "three requests a cycle");
    assert_eq!(oldest(&stage, 4), [small, middle], "four are more than the oldest has");
    assert_eq!(oldest(&stage, 3), [small, middle], "eight");
    // Who would be too old in the next cycle is taken whatever it costs.
    assert_eq!(oldest(&stage, 2), [small, middle], "eight, and both are due");
    assert_eq!(oldest(&stage, 1), [small, middle, large]);
    assert_eq!(oldest(&stage, 0), [small, middle, large]);
    stage.ages = [(small, 9), (middle, 9), (large, 8)].into();
    assert_eq!(oldest(&stage, 10), [small, middle]);
    stage.ages = [(small, 9), (middle, 9), (large, 9)].into();
    assert_eq!(oldest(&stage, 10), [small, middle, large]);
}

#[test]
fn of_equally_old_cells_the_farthest_from_what_is_known_comes_first() {
    let mut stage = Stage::new(&[1], &[1, 2, 4, 64]);
    let rate = |cell| (cell, vec![100.0; 3]);
    stage.rates = RateEstimates::of(&[rate(Cell::new(1, 1)), rate(Cell::new(1, 64))].into());
    // 71 requests in all: four or six of them in each cycle.
    assert_eq!(oldest(&stage, 18), [Cell::new(1, 4)]);
    assert_eq!(oldest(&stage, 12), [Cell::new(1, 2), Cell::new(1, 4)]);
}

#[test]
fn the_farthest_is_the_one_whose_nearest_is() {
    let cell = |batch| Cell::new(1, batch);
    assert_eq!(farthest(&[], &[cell(1)]), None);
    assert_eq!(farthest(&[cell(2), cell(8), cell(32)], &[cell(1), cell(64)]), Some(cell(8)));
    assert_eq!(farthest(&[cell(4), cell(16)], &[]), Some(cell(4)), "of equals the first");
}

#[test]
fn a_reference_cell_is_the_one_that_the_plan_says_where_the_grid_has_it() {
    let grid = Grid::new(&[1, 2, 4], &[1, 2, 4], true).expect("sound");
    assert_eq!(reference_of(ReferenceCell::Off, &grid, None), None);
    assert_eq!(reference_of(ReferenceCell::Of(Cell::new(2, 4)), &grid, None), Some(Cell::new(2, 4)));
    assert_eq!(reference_of(ReferenceCell::Of(Cell::new(4, 2)), &grid, None), Some(Cell::new(2, 2)));
    for plan in [ReferenceCell::Auto, ReferenceCell::Of(Cell::new(3, 4))] {
        assert_eq!(reference_of(plan, &grid, None), reference_cell(&grid, None));
    }
}
