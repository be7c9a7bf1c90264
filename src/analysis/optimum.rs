//! The best batch for each worker count and the best cell of the grid, by objective, with
//! how sure that is.
//!
//! Over the rate of whole batches, the legacy report's. Rates of different cells are taken as
//! independent, which makes ties a little wider than they are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::estimate::{RateEstimate, RateEstimates};
use super::interval::{CONFIDENCE, Interval, normal_below, normal_quantile};
use super::surface::{self, Belief, Observed};
use crate::domain::{Cell, Grid, NamedCells, ServiceLevel};

/// A rate of at least this share of the best one is as good.
const AS_GOOD: f64 = 0.99;
/// A cell is tied when it is as good as the best with at least this probability.
const TIED: f64 = 0.05;
/// What is published moves when another is better with at least this probability.
const SURELY_BETTER: f64 = 0.9;
/// What is published is held on to once it has this many samples, and no cell is unmeasured.
const SETTLED_SAMPLES: usize = 3;
/// No belief is sharper than this relative deviation: the integral below sees no finer one.
const LEAST_DEVIATION: f64 = 5e-4;
/// Points of the integral over the best rate.
const POINTS: u32 = 200;
/// How many deviations about the beliefs it reaches.
const REACH: f64 = 5.0;

/// What is known of a measured cell beside its rate: medians over its samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CellService {
    pub steady_tokens_per_second: Option<f64>,
    /// Seconds.
    pub time_to_first_token_p95: Option<f64>,
    pub inter_token_latency_p95: Option<f64>,
}

impl CellService {
    /// Whether the cell keeps the limits. What was not measured keeps none.
    fn keeps(&self, level: ServiceLevel) -> bool {
        let within = |seconds: Option<f64>, limit: Option<Duration>| {
            limit.is_none_or(|limit| seconds.is_some_and(|seconds| seconds <= limit.as_secs_f64()))
        };
        within(self.time_to_first_token_p95, level.time_to_first_token_p95)
            && within(self.inter_token_latency_p95, level.inter_token_latency_p95)
    }
}

/// A named cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    pub cell: Cell,
    /// The believed rate: the median of the samples, drawn towards the neighbours.
    pub tokens_per_second: f64,
    /// 95 %.
    pub interval: Interval,
    /// That its rate is within 1 % of the best one.
    pub probability: f64,
    /// The cells that may be as good, by workers and batch, itself among them.
    pub tied: Vec<Cell>,
}

/// The steady rate beside the rate of whole batches, which a half-empty last wave lowers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SteadyBest {
    /// The cell with the highest steady rate.
    pub cell: Cell,
    pub tokens_per_second: f64,
    /// The steady rate of the cell that is named for the rate of whole batches.
    pub named_tokens_per_second: f64,
    /// Whether the two rates crown different cells, and that is not noise.
    pub disagrees: bool,
}

/// What is best, by objective.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// The highest believed rate.
    pub throughput: Best,
    /// Of the cells tied with it the fewest workers, then the smallest batch.
    pub frugal: Best,
    /// The highest believed rate of the cells that keep the service level.
    pub slo: Option<Best>,
    /// The best of each worker count that has an estimate, by worker count.
    pub rows: Vec<Best>,
    pub steady: Option<SteadyBest>,
    /// Whether no row got its slots, so that the named cells are of rows that did not.
    pub is_warned: bool,
}

impl Optimum {
    /// The cells, without what makes them the best.
    pub fn named(&self) -> NamedCells {
        NamedCells {
            throughput: self.throughput.cell,
            frugal: self.frugal.cell,
            slo: self.slo.as_ref().map(|best| best.cell),
            rows: self.rows.iter().map(|best| (best.cell.workers, best.cell)).collect(),
        }
    }
}

/// What an optimum is named from.
#[derive(Clone, Copy, Debug)]
pub struct Contest<'a> {
    pub grid: &'a Grid,
    pub rates: &'a RateEstimates,
    pub services: &'a BTreeMap<Cell, CellService>,
    pub service_level: ServiceLevel,
    /// Worker counts of rows that did not get their slots.
    pub warned_rows: &'a BTreeSet<u32>,
    /// What was named before.
    pub published: Option<&'a NamedCells>,
}

impl Contest<'_> {
    /// What was published, where no cell is unmeasured any more.
    fn published(&self) -> Option<&NamedCells> {
        let mut cells = self.grid.measured().into_iter().filter(|cell| !self.warned_rows.contains(&cell.workers));
        self.published.filter(|_| cells.all(|cell| self.rates.get(cell).is_some()))
    }

    /// The published cell, where it was named from so much that it is worth holding on to.
    fn held(&self, of: impl Fn(&NamedCells) -> Option<Cell>) -> Option<Cell> {
        let cell = of(self.published()?)?;
        let samples = self.rates.get(self.grid.canonical(cell))?.samples;
        (samples >= SETTLED_SAMPLES).then_some(cell)
    }
}

/// Names the optimum, or `None` while no cell has an estimate.
///
/// Cells of rows that did not get their slots are named only where there are no others, and
/// as the best of their own row.
pub fn optimum(contest: &Contest<'_>) -> Option<Optimum> {
    let beliefs = believe(contest.grid, contest.rates, contest.warned_rows);
    let is_warned = |cell: &Cell| contest.warned_rows.contains(&cell.workers);
    let all: Vec<Cell> = contest.rates.cells.keys().copied().filter(|cell| beliefs.contains_key(cell)).collect();
    let granted: Vec<Cell> = all.iter().copied().filter(|cell| !is_warned(cell)).collect();
    let only_warned = granted.is_empty();
    let field = Field::of(&beliefs, if only_warned { all } else { granted });
    let throughput = field.best(contest.held(|named| Some(named.throughput)))?;
    let frugal = field.frugal(&throughput, contest.held(|named| Some(named.frugal)));
    let keeps = |cell: &Cell| contest.services.get(cell).is_some_and(|service| service.keeps(contest.service_level));
    let keeping = field.cells.iter().copied().filter(keeps).collect();
    let slo = Field::of(&beliefs, keeping).best(contest.held(|named| named.slo));
    let rows = contest.grid.workers().iter().filter_map(|&workers| row(contest, &beliefs, workers)).collect();
    let steady = steady(contest, &field, throughput.cell);
    Some(Optimum { throughput, frugal, slo, rows, steady, is_warned: only_warned })
}

/// Beliefs in all cells that a cycle may measure. One that has no sample is expected from its
/// neighbours; a row that did not get its slots says nothing of them, nor they of it.
pub(super) fn believe(grid: &Grid, rates: &RateEstimates, warned_rows: &BTreeSet<u32>) -> BTreeMap<Cell, Belief> {
    let (warned, granted): (Vec<Cell>, Vec<Cell>) =
        grid.measured().into_iter().partition(|cell| warned_rows.contains(&cell.workers));
    let observed: Vec<Observed> = granted.iter().filter_map(|&cell| observe(rates, cell)).collect();
    let believed = granted.iter().copied().zip(surface::beliefs(&observed, &granted));
    let alone = warned.into_iter().map(|cell| {
        let own = observe(rates, cell).map(|own| Belief { log_rate: own.log_rate, variance: own.variance });
        (cell, own)
    });
    believed.chain(alone).filter_map(|(cell, belief)| Some((cell, heavier(belief?, rates.get(cell))))).collect()
}

/// A normal belief of Student's variance: a noise that is known badly has heavier tails.
fn heavier(belief: Belief, rate: Option<&RateEstimate>) -> Belief {
    let factor = match rate.map(|rate| rate.freedom) {
        Some(freedom) if freedom > 3.0 => freedom / (freedom - 2.0),
        Some(_) => 3.0,
        None => 1.0,
    };
    Belief { variance: belief.variance * factor, ..belief }
}

fn observe(rates: &RateEstimates, cell: Cell) -> Option<Observed> {
    let rate = rates.get(cell)?;
    Some(Observed { cell, log_rate: rate.log_centre, variance: rate.log_variance })
}

/// The best batch of one worker count; its candidates are all its cells, copies among them.
fn row(contest: &Contest<'_>, beliefs: &BTreeMap<Cell, Belief>, workers: u32) -> Option<Best> {
    let cells = contest.grid.batch().iter().map(|&batch| Cell { workers, batch });
    let believed: BTreeMap<Cell, Belief> =
        cells.filter_map(|cell| Some((cell, *beliefs.get(&measured(contest, cell)?)?))).collect();
    let held = contest.held(|named| named.rows.get(&workers).copied());
    Field::of(&believed, believed.keys().copied().collect()).best(held)
}

/// The cell whose samples `cell` shows, if it has any.
fn measured(contest: &Contest<'_>, cell: Cell) -> Option<Cell> {
    let canonical = contest.grid.canonical(cell);
    contest.rates.get(canonical).map(|_| canonical)
}

fn steady(contest: &Contest<'_>, field: &Field<'_>, named: Cell) -> Option<SteadyBest> {
    let rate_of = |cell: Cell| contest.services.get(&cell)?.steady_tokens_per_second;
    let rates = field.cells.iter().filter_map(|&cell| Some((cell, rate_of(cell)?)));
    let (cell, tokens_per_second) = rates.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let named_tokens_per_second = rate_of(named)?;
    // The steady rates of a cell scatter as its rates do.
    let variance_of = |cell: Cell| contest.rates.get(cell).map_or(f64::INFINITY, |rate| rate.log_variance);
    let deviation = (variance_of(cell) + variance_of(named)).sqrt();
    let surplus = (tokens_per_second / named_tokens_per_second).ln() + AS_GOOD.ln();
    let disagrees = cell != named && normal_below(surplus / deviation) >= SURELY_BETTER;
    Some(SteadyBest { cell, tokens_per_second, named_tokens_per_second, disagrees })
}

/// The cells of one contest.
struct Field<'a> {
    beliefs: &'a BTreeMap<Cell, Belief>,
    cells: Vec<Cell>,
    /// That a cell's rate is within 1 % of the best one, in the order of the cells.
    as_good: Vec<f64>,
}

impl<'a> Field<'a> {
    fn of(beliefs: &'a BTreeMap<Cell, Belief>, cells: Vec<Cell>) -> Self {
        let believed: Vec<Belief> = cells.iter().filter_map(|cell| beliefs.get(cell).copied()).collect();
        Self { beliefs, cells, as_good: as_good_as_the_best(&believed) }
    }

    fn belief(&self, cell: Cell) -> Option<Belief> {
        self.cells.contains(&cell).then(|| self.beliefs.get(&cell).copied()).flatten()
    }

    fn best(&self, published: Option<Cell>) -> Option<Best> {
        let rated = self.cells.iter().filter_map(|&cell| Some((cell, self.beliefs.get(&cell)?.log_rate)));
        // Of exactly equal rates the smaller cell wins.
        let (leader, _) = rated.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        let stays = published.filter(|&cell| self.belief(cell).is_some() && self.better(leader, cell) < SURELY_BETTER);
        Some(self.name(stays.unwrap_or(leader)))
    }

    /// The cheapest tied cell. The published one stays while it is tied, unless a cheaper one
    /// is as good with the probability that moves the others.
    fn frugal(&self, throughput: &Best, published: Option<Cell>) -> Best {
        let cheapest = throughput.tied.iter().copied().min().unwrap_or(throughput.cell);
        let stays =
            published.filter(|cell| throughput.tied.contains(cell) && self.as_good(cheapest, *cell) < SURELY_BETTER);
        self.name(stays.unwrap_or(cheapest))
    }

    /// The probability that one cell's rate is above another's.
    fn better(&self, one: Cell, other: Cell) -> f64 {
        self.above(one, other, 0.0)
    }

    /// The probability that one cell's rate is within 1 % of another's, or above it.
    fn as_good(&self, one: Cell, other: Cell) -> f64 {
        self.above(one, other, -AS_GOOD.ln())
    }

    fn above(&self, one: Cell, other: Cell, slack: f64) -> f64 {
        let (Some(one), Some(other)) = (self.beliefs.get(&one), self.beliefs.get(&other)) else { return 0.0 };
        let deviation = (one.variance + other.variance).sqrt().max(LEAST_DEVIATION);
        normal_below((one.log_rate - other.log_rate + slack) / deviation)
    }

    fn name(&self, cell: Cell) -> Best {
        let belief = self.beliefs.get(&cell).copied().unwrap_or(Belief { log_rate: f64::NAN, variance: f64::NAN });
        let half_width = normal_quantile(0.5 + CONFIDENCE / 2.0) * belief.variance.sqrt();
        let judged = || self.cells.iter().zip(&self.as_good);
        Best {
            cell,
            tokens_per_second: belief.log_rate.exp(),
            interval: Interval {
                lower: (belief.log_rate - half_width).exp(),
                upper: (belief.log_rate + half_width).exp(),
            },
            probability: judged().find(|(other, _)| **other == cell).map_or(0.0, |(_, probability)| *probability),
            tied: judged().filter(|(other, p)| **p >= TIED || **other == cell).map(|(&other, _)| other).collect(),
        }
    }
}

/// The probability of each belief to be within 1 % of the highest of all, or to be it.
///
/// ∫ f(x) Π F(x + δ) dx, the product over all others: the normal density of one belief and
/// the distributions of the rest, by the trapezoidal rule.
fn as_good_as_the_best(beliefs: &[Belief]) -> Vec<f64> {
    let deviation = |belief: &Belief| belief.variance.sqrt().max(LEAST_DEVIATION);
    let slack = -AS_GOOD.ln();
    let highest =
        |sign: f64| beliefs.iter().map(|b| b.log_rate + sign * REACH * deviation(b)).fold(f64::NEG_INFINITY, f64::max);
    // Below the start the product is nothing, above the end the density.
    let (start, end) = (highest(-1.0) - slack, highest(1.0));
    let width = (end - start) / f64::from(POINTS);
    // A belief that does not reach so far is never the best, and hinders none.
    let mut contenders: Vec<(usize, Belief, f64)> = beliefs
        .iter()
        .enumerate()
        .filter(|(_, belief)| belief.log_rate + REACH * deviation(belief) > start)
        .map(|(index, belief)| (index, *belief, 0.0))
        .collect();
    for point in 0..=POINTS {
        let x = start + f64::from(point) * width;
        let below = |belief: &Belief| normal_below((x + slack - belief.log_rate) / deviation(belief)).max(1e-300).ln();
        let logs: Vec<f64> = contenders.iter().map(|(_, belief, _)| below(belief)).collect();
        let all: f64 = logs.iter().sum();
        for ((_, belief, probability), own) in contenders.iter_mut().zip(logs) {
            let z = (x - belief.log_rate) / deviation(belief);
            let density = (-0.5 * z * z).exp() / (deviation(belief) * std::f64::consts::TAU.sqrt());
            *probability += density * (all - own).exp() * width;
        }
    }
    let found: BTreeMap<usize, f64> =
        contenders.into_iter().map(|(index, _, probability)| (index, probability)).collect();
    (0..beliefs.len()).map(|index| found.get(&index).copied().unwrap_or(0.0).min(1.0)).collect()
}

#[cfg(test)]
#[path = "optimum_tests.rs"]
mod fields;

#[cfg(test)]
mod tests {
    use super::*;

    const REPEATS: [f64; 5] = [0.99, 1.01, 1.0, 0.985, 1.015];

    struct Stage {
        grid: Grid,
        rates: BTreeMap<Cell, Vec<f64>>,
        services: BTreeMap<Cell, CellService>,
        warned_rows: BTreeSet<u32>,
    }

    impl Stage {
        /// Five samples with a noise of 1 % of each cell that has a rate.
        fn new(rates: &[(u32, u32, f64)]) -> Self {
            let rates =
                rates.iter().map(|&(w, b, rate)| (Cell::new(w, b), REPEATS.map(|r| r * rate).to_vec())).collect();
            let grid = Grid::new(&[1, 2, 4], &[4, 8], true).expect("sound");
            Self { grid, rates, services: BTreeMap::new(), warned_rows: BTreeSet::new() }
        }

        fn optimum(&self, published: Option<&Optimum>) -> Option<Optimum> {
            optimum(&Contest {
                grid: &self.grid,
                rates: &RateEstimates::of(&self.rates),
                services: &self.services,
                service_level: ServiceLevel::default(),
                warned_rows: &self.warned_rows,
                published: published.map(Optimum::named).as_ref(),
            })
        }
    }

    fn clear() -> Stage {
        Stage::new(&[(1, 4, 10.0), (1, 8, 10.0), (2, 4, 18.0), (2, 8, 19.0), (4, 4, 25.0), (4, 8, 30.0)])
    }

    fn close() -> Stage {
        Stage::new(&[(1, 4, 10.0), (1, 8, 10.0), (2, 4, 18.0), (2, 8, 29.9), (4, 4, 25.0), (4, 8, 30.0)])
    }

    #[test]
    fn a_clear_winner_is_named_for_every_objective_but_the_service_level() {
        let optimum = clear().optimum(None).expect("was measured");
        assert_eq!(optimum.throughput.cell, Cell::new(4, 8));
        assert_eq!(optimum.throughput.tied, [Cell::new(4, 8)]);
        assert!(optimum.throughput.probability > 0.99);
        assert!(optimum.throughput.interval.contains(30.0));
        assert_eq!(optimum.frugal.cell, Cell::new(4, 8));
        assert_eq!(optimum.slo, None, "no latency was measured");
        let rows: Vec<Cell> = optimum.rows.iter().map(|row| row.cell).collect();
        assert_eq!(rows[1..], [Cell::new(2, 8), Cell::new(4, 8)]);
    }

    #[test]
    fn of_tied_cells_the_frugal_one_has_the_fewest_workers() {
        let optimum = close().optimum(None).expect("was measured");
        assert_eq!(optimum.throughput.tied, [Cell::new(2, 8), Cell::new(4, 8)]);
        assert_eq!(optimum.frugal.cell, Cell::new(2, 8));
    }

    #[test]
    fn what_is_published_moves_only_for_one_that_is_surely_better() {
        let mut stage = close();
        let published = stage.optimum(None).expect("was measured");
        let rise = |stage: &mut Stage, rate: f64| {
            stage.rates.insert(Cell::new(2, 8), REPEATS.map(|r| r * rate).to_vec());
            stage.optimum(Some(&published)).expect("was measured").throughput.cell
        };
        assert_eq!(published.throughput.cell, Cell::new(4, 8));
        assert_eq!(rise(&mut stage, 30.05), Cell::new(4, 8));
        assert_eq!(rise(&mut stage, 33.0), Cell::new(2, 8));
        stage.rates.remove(&Cell::new(4, 8));
        assert_eq!(rise(&mut stage, 20.0), Cell::new(4, 4), "its cell is gone");
    }

    #[test]
    fn the_service_level_bars_what_makes_wait() {
        let mut stage = clear();
        let waits = |seconds| CellService {
            time_to_first_token_p95: Some(seconds),
            inter_token_latency_p95: Some(0.05),
            ..CellService::default()
        };
        stage.services =
            [(Cell::new(2, 8), waits(1.0)), (Cell::new(4, 8), waits(2.5)), (Cell::new(2, 4), waits(0.5))].into();
        let optimum = stage.optimum(None).expect("was measured");
        assert_eq!(optimum.slo.map(|best| best.cell), Some(Cell::new(2, 8)));
    }

    #[test]
    fn a_row_that_did_not_get_its_slots_is_named_only_where_there_is_no_other() {
        let mut stage = clear();
        stage.warned_rows.insert(4);
        let optimum = stage.optimum(None).expect("was measured");
        assert_eq!(optimum.throughput.cell, Cell::new(2, 8));
        assert_eq!(optimum.rows.last().map(|row| row.cell), Some(Cell::new(4, 8)));
        assert!(!optimum.is_warned);
        stage.warned_rows.extend([1, 2]);
        let optimum = stage.optimum(None).expect("was measured");
        assert_eq!((optimum.throughput.cell, optimum.is_warned), (Cell::new(4, 8), true));
    }

    #[test]
    fn the_steady_rate_that_crowns_another_cell_is_told() {
        let mut stage = clear();
        let steady = |rate| CellService { steady_tokens_per_second: Some(rate), ..CellService::default() };
        stage.services = [(Cell::new(4, 8), steady(31.0)), (Cell::new(4, 4), steady(36.0))].into();
        let told = stage.optimum(None).and_then(|optimum| optimum.steady).expect("both have one");
        assert_eq!((told.cell, told.disagrees), (Cell::new(4, 4), true));
        // As good, and better by less than such rates scatter.
        for rate in [31.2, 31.4] {
            stage.services.insert(Cell::new(4, 4), steady(rate));
            let told = stage.optimum(None).and_then(|optimum| optimum.steady).expect("both have one");
            assert_eq!((told.cell, told.disagrees), (Cell::new(4, 4), false), "{rate}");
        }
    }

    #[test]
    fn what_was_published_is_forgotten_while_a_cell_is_unmeasured() {
        let mut stage = close();
        let mut published = stage.optimum(None).expect("was measured");
        published.throughput.cell = Cell::new(2, 8);
        let named = |stage: &Stage| stage.optimum(Some(&published)).expect("was measured").throughput.cell;
        assert_eq!(named(&stage), Cell::new(2, 8), "as good as the leader");
        stage.rates.remove(&Cell::new(1, 4));
        assert_eq!(named(&stage), Cell::new(4, 8));
        // A row that is warned of is not waited for.
        stage.warned_rows.insert(1);
        assert_eq!(named(&stage), Cell::new(2, 8));
    }

    #[test]
    fn a_noise_that_is_known_badly_widens_a_belief() {
        let rates = |freedom| {
            let rates = RateEstimates::of(&clear().rates);
            let rate = *rates.get(Cell::new(4, 8)).expect("was measured");
            RateEstimate { freedom, ..rate }
        };
        let variance = |freedom: Option<f64>| {
            let rate = freedom.map(rates);
            heavier(Belief { log_rate: 1.0, variance: 0.5 }, rate.as_ref()).variance
        };
        assert_eq!(variance(None), 0.5);
        for (freedom, factor) in [(1.0, 3.0), (3.0, 3.0), (4.0, 2.0), (10.0, 1.25)] {
            assert_eq!(variance(Some(freedom)), 0.5 * factor, "{freedom}");
        }
    }

    #[test]
    fn without_estimates_there_is_no_optimum() {
        assert_eq!(Stage::new(&[]).optimum(None), None);
    }

    #[test]
    fn equal_beliefs_are_equally_probable() {
        let belief = Belief { log_rate: 1.0, variance: 0.03 * 0.03 };
        let far = Belief { log_rate: 0.5, variance: 0.001 };
        let [one, other, none] = as_good_as_the_best(&[belief, belief, far])[..] else { panic!("three") };
        assert!((one - other).abs() < 1e-12 && one > 0.5 && one < 0.7, "{one}");
        assert!(none < 1e-6);
        // Two cells: the difference is normal.
        let sure = normal_below(AS_GOOD.ln().abs() / (0.03 * 2.0_f64.sqrt()));
        assert!((one - sure).abs() < 1e-3, "{one} is not {sure}");
    }
}
