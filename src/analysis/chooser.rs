//! Which cells the next cycle of an adaptive schedule measures, and how often each.
//!
//! Requests go where they can still change an answer. Draws nothing: the same knowledge
//! gives the same cycle.

use std::collections::{BTreeMap, BTreeSet};

use super::estimate::RateEstimates;
use super::optimum::believe;
use super::surface::{Belief, distance};
use crate::domain::{Cell, Grid, ReferenceCell};

/// Requests of an adaptive cycle, as a share of those of a full one: enough to settle on an
/// optimum as good as that of three full cycles in a third of their requests.
pub const SHARE_OF_FULL_CYCLE: f64 = 0.25;
/// Cells that every cycle measures.
pub const SENTINELS: usize = 4;
/// Samples of one cell in one cycle at most: what follows at once remembers the last.
const MOST_REPEATS: u32 = 3;
/// Every so many choices one serves the best batch of a row, the others the best of all.
const ROW_TURN: usize = 4;
/// What one sample is taken to scatter before anything was repeated, relative.
const ASSUMED_NOISE: f64 = 0.03;

/// What a cycle is chosen from.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    pub grid: &'a Grid,
    pub rates: &'a RateEstimates,
    /// Worker counts whose rows answer no question: they queue, or did not get their slots.
    /// They are measured for their age alone.
    pub skipped_rows: &'a BTreeSet<u32>,
    /// How many cycles ended since each cell was measured, or since the epoch began.
    pub ages: &'a BTreeMap<Cell, u32>,
    /// Measured in every cycle.
    pub sentinels: &'a [Cell],
    /// No cell is left out for more cycles than this.
    pub most_age: u32,
    /// Requests of the cycle, warm-ups not counted. What age and sentinels need is measured
    /// even where it is more.
    pub requests: u64,
}

/// The cells of the next cycle with how often to measure each, by workers and batch.
///
/// First the sentinels and the oldest cells, so many that all come round in time. What is
/// left of the budget is given out one sample at a time by a top-two rule, EB-TC of Jourdan,
/// Degenne, Baudry, de Heide and Kaufmann, "Top Two Algorithms Revisited" (2022): of the
/// believed best and the rival that is the least surely worse, the one whose sample tells
/// them apart better for its requests. A chosen sample narrows the belief as if it had been
/// taken. What that rule would never look at again comes round by its age.
pub fn choose(knowledge: &Knowledge<'_>) -> BTreeMap<Cell, u32> {
    let mut cycle = Cycle::new(knowledge);
    for &cell in knowledge.sentinels {
        cycle.take(cell);
    }
    cycle.take_the_oldest();
    cycle.take_the_telling();
    cycle.chosen
}

struct Cycle<'a> {
    knowledge: &'a Knowledge<'a>,
    cells: Vec<Cell>,
    beliefs: BTreeMap<Cell, Belief>,
    /// Variance of one sample.
    noise: f64,
    left: u64,
    chosen: BTreeMap<Cell, u32>,
}

impl<'a> Cycle<'a> {
    fn new(knowledge: &'a Knowledge<'a>) -> Self {
        let noise = if knowledge.rates.noise > 0.0 { knowledge.rates.noise } else { ASSUMED_NOISE };
        Self {
            knowledge,
            cells: knowledge.grid.measured(),
            beliefs: believe(knowledge.grid, knowledge.rates, knowledge.skipped_rows),
            noise: noise * noise,
            left: knowledge.requests,
            chosen: BTreeMap::new(),
        }
    }

    fn take(&mut self, cell: Cell) {
        self.left = self.left.saturating_sub(u64::from(cell.batch));
        *self.chosen.entry(cell).or_insert(0) += 1;
        if let Some(belief) = self.beliefs.get_mut(&cell) {
            belief.variance = narrowed(belief.variance, self.noise);
        }
    }

    fn age(&self, cell: Cell) -> u32 {
        self.knowledge.ages.get(&cell).copied().unwrap_or(0)
    }

    /// The cells that are due, and of the others the oldest, so that as many requests are
    /// spent each cycle as bring all cells round within the bound, and none come in a crowd.
    /// Of equally old ones the farthest from all that is known, and while nothing is known as
    /// many as the budget allows.
    fn take_the_oldest(&mut self) {
        let most_age = self.knowledge.most_age.max(1);
        let round: u64 = self.cells.iter().map(|cell| u64::from(cell.batch)).sum();
        let share = if self.beliefs.is_empty() { self.left } else { round.div_ceil(u64::from(most_age)) };
        let mut known: Vec<Cell> = self.knowledge.rates.cells.keys().chain(self.chosen.keys()).copied().collect();
        let mut waiting: Vec<Cell> =
            self.cells.iter().copied().filter(|cell| !self.chosen.contains_key(cell)).collect();
        let mut spent = 0;
        while let Some(oldest) = waiting.iter().map(|&cell| self.age(cell)).max() {
            if spent >= share && oldest + 1 < most_age {
                break;
            }
            let equals: Vec<Cell> = waiting.iter().copied().filter(|&cell| self.age(cell) == oldest).collect();
            let Some(cell) = farthest(&equals, &known) else { break };
            waiting.retain(|&other| other != cell);
            known.push(cell);
            spent += u64::from(cell.batch);
            self.take(cell);
        }
    }

    fn take_the_telling(&mut self) {
        for turn in 1.. {
            let best_of_all = || self.duel(|_| true);
            let duel = if turn % ROW_TURN == 0 { self.least_sure_row().or_else(best_of_all) } else { best_of_all() };
            let Some(duel) = duel else { break };
            let cell = self.telling(&duel);
            if self.left < u64::from(cell.batch) {
                break;
            }
            self.take(cell);
        }
    }

    /// The closest duel of all rows. Taking a sample widens it, so that rows take turns.
    fn least_sure_row(&self) -> Option<Duel> {
        let grid = self.knowledge.grid;
        let rows = grid.workers().iter().filter(|row| !self.knowledge.skipped_rows.contains(row));
        let duels =
            rows.filter_map(|&workers| self.duel(|cell| grid.canonical(Cell { workers, batch: cell.batch }) == cell));
        duels.min_by(|a, b| a.cost.total_cmp(&b.cost))
    }

    /// The believed best of some cells against the rival that is the least surely worse.
    fn duel(&self, is_in: impl Fn(Cell) -> bool) -> Option<Duel> {
        let competes = |cell: &Cell| !self.knowledge.skipped_rows.contains(&cell.workers) && is_in(*cell);
        let believed: Vec<(Cell, Belief)> = self
            .cells
            .iter()
            .filter(|cell| competes(cell))
            .filter_map(|&cell| Some((cell, *self.beliefs.get(&cell)?)))
            .collect();
        let &(leader, best) = believed.iter().max_by(|a, b| a.1.log_rate.total_cmp(&b.1.log_rate))?;
        let cost = |belief: &Belief| (best.log_rate - belief.log_rate).powi(2) / (best.variance + belief.variance);
        believed
            .iter()
            .filter(|(cell, _)| *cell != leader && self.is_open(*cell))
            .map(|&(rival, belief)| Duel { leader, rival, cost: cost(&belief) })
            .min_by(|a, b| a.cost.total_cmp(&b.cost))
    }

    fn is_open(&self, cell: Cell) -> bool {
        self.chosen.get(&cell).copied().unwrap_or(0) < MOST_REPEATS
    }

    /// Of the two the one whose sample narrows their difference more for its requests.
    fn telling(&self, duel: &Duel) -> Cell {
        let gain = |cell: Cell| {
            let variance = self.beliefs.get(&cell).map_or(0.0, |belief| belief.variance);
            (variance - narrowed(variance, self.noise)) / f64::from(cell.batch)
        };
        let leads = self.is_open(duel.leader) && gain(duel.leader) >= gain(duel.rival);
        if leads { duel.leader } else { duel.rival }
    }
}

struct Duel {
    leader: Cell,
    /// Open for one more sample.
    rival: Cell,
    /// How surely the rival is worse: the squared gap in units of its variance.
    cost: f64,
}

/// The variance of a belief after one more sample.
fn narrowed(variance: f64, noise: f64) -> f64 {
    variance * noise / (variance + noise)
}

/// The cell that is measured several times within a cycle, so that the machine's drift shows.
///
/// One wave of a middle worker count: no queue, no half-empty wave, and short. `slots`: more
/// workers than the server has slots measure its queue.
pub fn reference_cell(grid: &Grid, slots: Option<u32>) -> Option<Cell> {
    let granted: Vec<u32> = grid.workers().iter().copied().filter(|&w| slots.is_none_or(|slots| w <= slots)).collect();
    let workers = *granted.get(granted.len().saturating_sub(1) / 2).or(grid.workers().first())?;
    let one_wave = grid.batch().iter().copied().rfind(|&batch| batch <= workers);
    let batch = one_wave.or(grid.batch().first().copied())?;
    Some(grid.canonical(Cell { workers, batch }))
}

/// The cell that the plan says, as the grid measures it.
pub fn reference_of(plan: ReferenceCell, grid: &Grid, slots: Option<u32>) -> Option<Cell> {
    match plan {
        ReferenceCell::Off => None,
        ReferenceCell::Of(cell) if grid.contains(cell) => Some(grid.canonical(cell)),
        ReferenceCell::Auto | ReferenceCell::Of(_) => reference_cell(grid, slots),
    }
}

/// The cells that every cycle measures: the reference cell, and those that lie the farthest
/// from it and from each other. They depend on the grid alone, so that they stay.
pub fn sentinels(grid: &Grid, reference: Option<Cell>, count: usize) -> Vec<Cell> {
    let first = reference.or_else(|| reference_cell(grid, None));
    let mut sentinels: Vec<Cell> = first.into_iter().take(count).collect();
    let mut others = grid.measured();
    while sentinels.len() < count {
        others.retain(|cell| !sentinels.contains(cell));
        let Some(next) = farthest(&others, &sentinels) else { break };
        sentinels.push(next);
    }
    sentinels
}

/// Of the candidates the one whose nearest of `known` is the farthest; of equals the first.
fn farthest(candidates: &[Cell], known: &[Cell]) -> Option<Cell> {
    let nearest = |cell: Cell| known.iter().map(|&other| distance(cell, other)).fold(f64::INFINITY, f64::min);
    let measured = candidates.iter().map(|&cell| (cell, nearest(cell)));
    measured.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(cell, _)| cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Known {
        grid: Grid,
        rates: RateEstimates,
        ages: BTreeMap<Cell, u32>,
        sentinels: Vec<Cell>,
    }

    impl Known {
        /// Every cell measured five times, rates growing with the workers, none old.
        fn new(best: Cell, second: Cell) -> Self {
            let grid = Grid::new(&[1, 2, 4, 8, 16], &[1, 2, 4, 8, 16, 32], true).expect("sound");
            let rate = |cell: Cell| match cell {
                cell if cell == best => 200.0,
                cell if cell == second => 199.0,
                cell => 20.0 * f64::from(cell.concurrency()).sqrt(),
            };
            let repeats = [0.99, 1.01, 1.0, 0.985, 1.015];
            let rates =
                grid.measured().into_iter().map(|cell| (cell, repeats.map(|r| r * rate(cell)).to_vec())).collect();
            let ages = grid.measured().into_iter().map(|cell| (cell, 1)).collect();
            let sentinels = sentinels(&grid, None, SENTINELS);
            Self { grid, rates: RateEstimates::of(&rates), ages, sentinels }
        }

        fn choose(&self, requests: u64, skipped: &[u32]) -> BTreeMap<Cell, u32> {
            let skipped_rows = skipped.iter().copied().collect();
            choose(&Knowledge {
                grid: &self.grid,
                rates: &self.rates,
                skipped_rows: &skipped_rows,
                ages: &self.ages,
                sentinels: &self.sentinels,
                most_age: 10,
                requests,
            })
        }
    }

    #[test]
    fn requests_go_to_the_best_and_its_rival() {
        let (best, second) = (Cell::new(16, 32), Cell::new(8, 32));
        let chosen = Known::new(best, second).choose(300, &[]);
        assert!(chosen.get(&best).max(chosen.get(&second)) >= Some(&2), "{chosen:?}");
    }

    #[test]
    fn sentinels_and_what_is_due_are_measured_whatever_the_budget() {
        let mut known = Known::new(Cell::new(16, 32), Cell::new(8, 32));
        known.ages.insert(Cell::new(2, 32), 9);
        let chosen = known.choose(0, &[]);
        assert!(known.sentinels.iter().all(|cell| chosen.contains_key(cell)), "{chosen:?}");
        assert!(chosen.contains_key(&Cell::new(2, 32)));
    }

    #[test]
    fn rows_that_queue_are_left_to_their_age() {
        let (best, second) = (Cell::new(16, 32), Cell::new(8, 32));
        let known = Known::new(best, second);
        let of_row = |chosen: &BTreeMap<Cell, u32>| chosen.get(&best).copied().unwrap_or(0);
        assert!(of_row(&known.choose(400, &[16])) < of_row(&known.choose(400, &[])));
    }

    #[test]
    fn no_cell_grows_older_than_the_bound_and_none_come_in_a_crowd() {
        let mut known = Known::new(Cell::new(16, 32), Cell::new(8, 32));
        let (mut oldest, mut most) = (0, 0);
        for _ in 0..40 {
            let chosen = known.choose(80, &[8]);
            for (cell, age) in &mut known.ages {
                *age = if chosen.contains_key(cell) { 0 } else { *age + 1 };
                oldest = oldest.max(*age);
            }
            most = most.max(chosen.len());
        }
        assert!(oldest <= 10, "{oldest}");
        assert!(most < known.ages.len() / 2, "{most} of {}", known.ages.len());
    }

    #[test]
    fn a_first_cycle_spreads_over_the_grid() {
        let mut known = Known::new(Cell::new(16, 32), Cell::new(8, 32));
        known.rates = RateEstimates::default();
        known.ages.clear();
        let chosen = known.choose(100, &[]);
        let workers: BTreeSet<u32> = chosen.keys().map(|cell| cell.workers).collect();
        assert!([1, 4, 16].iter().all(|w| workers.contains(w)), "{chosen:?}");
        assert!(chosen.values().all(|times| *times == 1));
    }

    #[test]
    fn the_reference_cell_is_one_wave_that_does_not_queue() {
        let check = |grid: &Grid, slots, expected| assert_eq!(reference_cell(grid, slots), Some(expected));
        check(&Grid::legacy(true), None, Cell::new(18, 16));
        check(&Grid::automatic(Some(4), true), Some(4), Cell::new(2, 2));
        check(&Grid::new(&[8], &[16, 32], true).expect("sound"), Some(4), Cell::new(8, 16));
        let sentinels = sentinels(&Grid::legacy(true), None, 4);
        assert_eq!(sentinels[0], Cell::new(18, 16));
        assert_eq!(sentinels.len(), 4);
    }
}

#[cfg(test)]
#[path = "chooser_tests.rs"]
mod rules;
