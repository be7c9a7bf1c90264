//! Whether the named optimum is the best, and the tied set no larger than it must be, after
//! three full cycles.

use std::collections::{BTreeMap, BTreeSet};

use llmsoak::analysis::estimate::RateEstimates;
use llmsoak::analysis::optimum::{Contest, Optimum, optimum};
use llmsoak::analysis::quantile::{median, quantile, sorted};
use llmsoak::domain::{Cell, ServiceLevel};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal};

use super::truth::{Surface, surfaces};
use super::{mean, verdict};

/// Relative standard deviation of a sample.
pub(super) const NOISE: f64 = 0.04;
pub(super) const CYCLES: usize = 3;
pub(super) const SEEDS: u64 = 200;

const MOST_MEAN_REGRET: f64 = 0.02;
const MOST_REGRET: f64 = 0.04;
/// The share of seeds for which that, and the winners' ties, must hold.
const SURELY: f64 = 0.95;
const MOST_TIES: f64 = 1.3;

/// The samples of each cell.
pub(super) type Rates = BTreeMap<Cell, Vec<f64>>;

/// A named cell with those that it says are as good.
type Answer = (Cell, Vec<Cell>);
type Method = fn(&Surface, &Rates) -> Answer;

const METHODS: [(&str, Method); 6] = [
    ("llmsoak", ours),
    ("who knows the noise", oracle),
    ("medians, 1 % tied", medians),
    ("one sample", one_sample),
    ("everything tied", everything),
    ("the first cell", first),
];
const ORACLE: &str = "who knows the noise";

/// What the program concludes, given what it published before.
pub(super) fn publish(surface: &Surface, rates: &Rates, published: Option<&Optimum>) -> Optimum {
    let published = published.map(Optimum::named);
    optimum(&Contest {
        grid: &surface.grid,
        rates: &RateEstimates::of(rates),
        services: &BTreeMap::new(),
        service_level: ServiceLevel::default(),
        warned_rows: &BTreeSet::new(),
        published: published.as_ref(),
    })
    .expect("was measured")
}

/// Full cycles of a surface.
pub(super) fn full_cycles(surface: &Surface, seed: u64) -> Rates {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut samples = |cell| (0..CYCLES).map(|_| surface.sample(cell, NOISE, &mut rng)).collect();
    surface.grid.measured().into_iter().map(|cell| (cell, samples(cell))).collect()
}

fn ours(surface: &Surface, rates: &Rates) -> Answer {
    let best = publish(surface, rates, None).throughput;
    (best.cell, best.tied)
}

/// Means with the true noise, and the same rule of what is tied.
fn oracle(_: &Surface, rates: &Rates) -> Answer {
    let normal = Normal::standard();
    let cells: Vec<(Cell, f64)> =
        rates.iter().map(|(cell, rates)| (*cell, mean(rates.iter().map(|rate| rate.ln())))).collect();
    let deviation = NOISE / (CYCLES as f64).sqrt();
    let &(best, top) = cells.iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("was measured");
    let (steps, reach, slack) = (400, 5.0 * deviation, -f64::ln(0.99));
    let mut as_good = vec![0.0; cells.len()];
    for step in 0..=steps {
        let x = top + reach * (2.0 * f64::from(step) / f64::from(steps) - 1.0);
        let below: Vec<f64> =
            cells.iter().map(|(_, log)| normal.cdf((x + slack - log) / deviation).max(1e-300).ln()).collect();
        let all: f64 = below.iter().sum();
        for ((good, (_, log)), own) in as_good.iter_mut().zip(&cells).zip(below) {
            let z = (x - log) / deviation;
            let density = (-0.5 * z * z).exp() / (deviation * std::f64::consts::TAU.sqrt());
            *good += density * (all - own).exp() * 2.0 * reach / f64::from(steps);
        }
    }
    let tied = cells.iter().zip(as_good).filter(|(_, good)| *good >= 0.05).map(|((cell, _), _)| *cell).collect();
    (best, tied)
}

fn highest(rates: &Rates, of: impl Fn(&[f64]) -> f64) -> Cell {
    *rates.iter().max_by(|a, b| of(a.1).total_cmp(&of(b.1))).expect("was measured").0
}

fn medians(_: &Surface, rates: &Rates) -> Answer {
    let middle = |rates: &[f64]| median(rates).expect("has samples");
    let best = highest(rates, middle);
    let least = 0.99 * middle(&rates[&best]);
    (best, rates.iter().filter(|(_, rates)| middle(rates) >= least).map(|(cell, _)| *cell).collect())
}

/// The legacy report's rule: one sample of each cell, and no doubt.
fn one_sample(_: &Surface, rates: &Rates) -> Answer {
    let best = highest(rates, |rates| rates[0]);
    (best, vec![best])
}

fn everything(surface: &Surface, rates: &Rates) -> Answer {
    (medians(surface, rates).0, rates.keys().copied().collect())
}

fn first(_: &Surface, rates: &Rates) -> Answer {
    let first = *rates.keys().next().expect("was measured");
    (first, vec![first])
}

struct Score {
    mean_regret: f64,
    regret_surely: f64,
    /// The share of the truly best cells that are in the tied set.
    winners_tied: f64,
    ties: f64,
}

fn score(method: Method, surface: &Surface) -> Score {
    let winners = surface.winners();
    let answers: Vec<Answer> = (0..SEEDS).map(|seed| method(surface, &full_cycles(surface, seed))).collect();
    let regrets: Vec<f64> = answers.iter().map(|(cell, _)| surface.regret(*cell)).collect();
    let found = |tied: &[Cell]| winners.iter().filter(|winner| tied.contains(winner)).count() as f64;
    Score {
        mean_regret: mean(regrets.iter().copied()),
        regret_surely: quantile(&sorted(&regrets), SURELY).expect("has seeds"),
        winners_tied: mean(answers.iter().map(|(_, tied)| found(tied) / winners.len() as f64)),
        ties: mean(answers.iter().map(|(_, tied)| tied.len() as f64)),
    }
}

/// Prints the table; whether our method holds on all surfaces and each that knows nothing
/// misses on one.
pub(super) fn run() -> bool {
    println!("The named optimum after {CYCLES} full cycles at {:.0} % noise, {SEEDS} seeds.\n", 100.0 * NOISE);
    println!("| surface | method | mean regret | 95 % of seeds | best in the tied set | tied cells | × oracle's | |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut all_hold = BTreeMap::new();
    for surface in surfaces() {
        let scores = METHODS.map(|(name, method)| (name, score(method, &surface)));
        let oracle = scores.iter().find(|(name, _)| *name == ORACLE).map_or(f64::NAN, |(_, score)| score.ties);
        for (name, score) in scores {
            let holds = score.mean_regret <= MOST_MEAN_REGRET
                && score.regret_surely <= MOST_REGRET
                && score.winners_tied >= SURELY
                && score.ties <= MOST_TIES * oracle;
            *all_hold.entry(name).or_insert(true) &= holds;
            println!(
                "| {} | {name} | {:.2} % | {:.2} % | {:.1} % | {:.1} | {:.2} | {} |",
                surface.name,
                100.0 * score.mean_regret,
                100.0 * score.regret_surely,
                100.0 * score.winners_tied,
                score.ties,
                score.ties / oracle,
                verdict(holds)
            );
        }
    }
    println!();
    METHODS.iter().filter(|(name, _)| *name != ORACLE).all(|(name, _)| all_hold[name] == (*name == "llmsoak"))
}
