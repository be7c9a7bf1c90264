//! Whether adaptive cycles name as good an optimum for fewer requests, and leave no cell out.

use std::collections::{BTreeMap, BTreeSet};

use llmsoak::analysis::chooser::{Knowledge, SENTINELS, SHARE_OF_FULL_CYCLE, choose, reference_cell, sentinels};
use llmsoak::analysis::estimate::RateEstimates;
use llmsoak::analysis::quantile::median;
use llmsoak::domain::Cell;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::naming::{CYCLES, NOISE, Rates, SEEDS, full_cycles, publish};
use super::truth::{Surface, surfaces};
use super::{mean, verdict};

/// Cycles that a cell may be left out.
const MOST_AGE: u32 = 10;
/// Of the requests of the full cycles.
const MOST_REQUESTS: f64 = 0.4;
/// Cycles of a path: more than the bound on requests allows, so that it can be missed.
const PATH: usize = 7;
/// Cycles over which the age is watched, and on how many seeds.
const WATCHED: (usize, u64) = (40, 3);

/// How a cycle's cells are chosen.
type Method = fn(&Soak<'_>) -> BTreeMap<Cell, u32>;

const METHODS: [(&str, Method); 3] =
    [("llmsoak", ours), ("every cell in turn", in_turn), ("the sentinels alone", sentinels_alone)];

/// A soak under way.
struct Soak<'a> {
    surface: &'a Surface,
    rates: Rates,
    ages: BTreeMap<Cell, u32>,
    sentinels: Vec<Cell>,
    requests_of_full_cycle: u64,
}

impl<'a> Soak<'a> {
    fn new(surface: &'a Surface) -> Self {
        let cells = surface.grid.measured();
        Self {
            surface,
            rates: Rates::new(),
            ages: cells.iter().map(|&cell| (cell, 0)).collect(),
            sentinels: sentinels(&surface.grid, reference_cell(&surface.grid, None), SENTINELS),
            requests_of_full_cycle: cells.iter().map(|cell| u64::from(cell.batch)).sum(),
        }
    }

    fn choose(&self, most_age: u32, share: f64) -> BTreeMap<Cell, u32> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a few thousand")]
        let requests = (self.requests_of_full_cycle as f64 * share) as u64;
        choose(&Knowledge {
            grid: &self.surface.grid,
            rates: &RateEstimates::of(&self.rates),
            skipped_rows: &BTreeSet::new(),
            ages: &self.ages,
            sentinels: &self.sentinels,
            most_age,
            requests,
        })
    }

    /// Measures a cycle and returns its requests.
    fn measure(&mut self, chosen: &BTreeMap<Cell, u32>, rng: &mut ChaCha8Rng) -> u64 {
        for (cell, age) in &mut self.ages {
            *age = if chosen.contains_key(cell) { 0 } else { *age + 1 };
        }
        for (&cell, &times) in chosen {
            let samples = (0..times).map(|_| self.surface.sample(cell, NOISE, rng));
            self.rates.entry(cell).or_default().extend(samples);
        }
        chosen.iter().map(|(cell, times)| u64::from(cell.batch * times)).sum()
    }
}

fn ours(soak: &Soak<'_>) -> BTreeMap<Cell, u32> {
    soak.choose(MOST_AGE, SHARE_OF_FULL_CYCLE)
}

/// As many requests, on the cells whose turn it is.
fn in_turn(soak: &Soak<'_>) -> BTreeMap<Cell, u32> {
    soak.choose(4, 0.0)
}

fn sentinels_alone(soak: &Soak<'_>) -> BTreeMap<Cell, u32> {
    soak.sentinels.iter().map(|&cell| (cell, 3)).collect()
}

/// After each cycle: requests until then, as a share of the full cycles', and the regret.
fn path(method: Method, surface: &Surface, seed: u64) -> Vec<(f64, f64)> {
    let mut rng = ChaCha8Rng::seed_from_u64(1_000_000 + seed);
    let mut soak = Soak::new(surface);
    let full = (CYCLES as u64 * soak.requests_of_full_cycle) as f64;
    let (mut requests, mut published) = (0, None);
    let mut cycle = |_| {
        let chosen = method(&soak);
        requests += soak.measure(&chosen, &mut rng);
        let optimum = publish(surface, &soak.rates, published.as_ref());
        let regret = surface.regret(optimum.throughput.cell);
        published = Some(optimum);
        (requests as f64 / full, regret)
    };
    (0..PATH).map(&mut cycle).collect()
}

/// The oldest that a cell grew.
fn oldest(method: Method, surface: &Surface) -> u32 {
    let (cycles, seeds) = WATCHED;
    let of_seed = |seed: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut soak = Soak::new(surface);
        let mut cycle = |_| {
            let chosen = method(&soak);
            soak.measure(&chosen, &mut rng);
            soak.ages.values().copied().max().unwrap_or(0)
        };
        (0..cycles).map(&mut cycle).max().unwrap_or(0)
    };
    (0..seeds).map(of_seed).max().unwrap_or(0)
}

struct Score {
    /// Mean regret when the allowed requests are spent.
    regret: f64,
    /// The median over the seeds of the share of requests after which the regret is that of
    /// the full cycles, or less, and stays so.
    settled: f64,
    oldest: u32,
}

fn score(method: Method, surface: &Surface, regret_of_full: f64) -> Score {
    let paths: Vec<Vec<(f64, f64)>> = (0..SEEDS).map(|seed| path(method, surface, seed)).collect();
    let at_most = |path: &Vec<(f64, f64)>| path.iter().rfind(|(share, _)| *share <= MOST_REQUESTS).map_or(1.0, |p| p.1);
    let settled = |path: &Vec<(f64, f64)>| {
        let last_worse = path.iter().rposition(|(_, regret)| *regret > regret_of_full);
        path.get(last_worse.map_or(0, |index| index + 1)).map_or(1.0, |(share, _)| *share)
    };
    Score {
        regret: mean(paths.iter().map(at_most)),
        settled: median(&paths.iter().map(settled).collect::<Vec<_>>()).expect("has seeds"),
        oldest: oldest(method, surface),
    }
}

/// Prints the table; whether our method holds on all surfaces and each that knows nothing
/// misses on one.
pub(super) fn run() -> bool {
    println!("Adaptive cycles against {CYCLES} full ones, at {:.0} % noise, {SEEDS} seeds.\n", 100.0 * NOISE);
    println!(
        "| surface | method | regret of full cycles | regret at 40 % of their requests | as good after | oldest cell | |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut all_hold = BTreeMap::new();
    for surface in surfaces() {
        let of_full = |seed| surface.regret(publish(&surface, &full_cycles(&surface, seed), None).throughput.cell);
        let regret_of_full = mean((0..SEEDS).map(of_full));
        for (name, method) in METHODS {
            let score = score(method, &surface, regret_of_full);
            let holds = score.regret <= regret_of_full && score.settled <= MOST_REQUESTS && score.oldest <= MOST_AGE;
            *all_hold.entry(name).or_insert(true) &= holds;
            println!(
                "| {} | {name} | {:.2} % | {:.2} % | {:.0} % | {} cycles | {} |",
                surface.name,
                100.0 * regret_of_full,
                100.0 * score.regret,
                100.0 * score.settled,
                score.oldest,
                verdict(holds)
            );
        }
    }
    println!();
    METHODS.iter().all(|(name, _)| all_hold[name] == (*name == "llmsoak"))
}
