//! Whether the 95 % intervals of the token rates hold, over cells of known truth.

use std::collections::BTreeMap;

use llmsoak::analysis::estimate::RateEstimates;
use llmsoak::domain::{Cell, Moments};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::chance::Noise;
use super::verdict;

const CELLS: usize = 10_000;
/// Cells of one target.
const OF_TARGET: usize = 30;
const SAMPLES: [usize; 3] = [5, 10, 30];
const LEAST_COVERAGE: f64 = 0.93;
const MOST_COVERAGE_OF_WHITE: f64 = 0.985;
const MOST_WIDTH: f64 = 1.5;

/// An interval of the logarithm of a rate.
type Answer = (f64, f64);
/// From the cells of a target, logarithms, to an interval for each.
type Method = fn(&[Vec<f64>]) -> Vec<Answer>;

const METHODS: [(&str, Method); 3] =
    [("llmsoak", pooled), ("each cell alone, Student", alone), ("always ± 20 %", always)];

fn pooled(cells: &[Vec<f64>]) -> Vec<Answer> {
    let name = |n: usize| Cell::new(u32::try_from(n).expect("few") + 1, 1);
    let rates: BTreeMap<Cell, Vec<f64>> =
        cells.iter().enumerate().map(|(n, logs)| (name(n), logs.iter().map(|log| log.exp()).collect())).collect();
    let estimates = RateEstimates::of(&rates);
    estimates.cells.values().map(|cell| (cell.interval.lower.ln(), cell.interval.upper.ln())).collect()
}

/// What is usually printed: mean ± t · s / √n.
fn alone(cells: &[Vec<f64>]) -> Vec<Answer> {
    let of = |logs: &Vec<f64>| {
        let mut moments = Moments::default();
        logs.iter().for_each(|&log| moments.add(log));
        let freedom = (moments.count - 1) as f64;
        let t = StudentsT::new(0.0, 1.0, freedom).expect("two samples").inverse_cdf(0.975);
        let half = t * (moments.m2 / freedom / moments.count as f64).sqrt();
        (moments.mean - half, moments.mean + half)
    };
    cells.iter().map(of).collect()
}

fn always(cells: &[Vec<f64>]) -> Vec<Answer> {
    cells.iter().map(|logs| (logs[0] - 0.2, logs[0] + 0.2)).collect()
}

/// Coverage and width relative to the oracle's, for one method, noise and number of samples.
fn score(method: Method, noise: Noise, truth: f64, samples: usize, of_each_cell: bool) -> (f64, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(samples as u64);
    let (mut covered, mut cells, mut width, mut oracle) = (0.0, 0, 0.0, 0.0);
    while cells < CELLS {
        let variation = |rng: &mut ChaCha8Rng| 0.01 + 0.04 * rng.random::<f64>();
        let of_target = variation(&mut rng);
        let mut drawn = || {
            let scale = if of_each_cell { variation(&mut rng) } else { of_target };
            (scale, noise.draw(samples, &mut rng).into_iter().map(|x| 5.0 + scale * x).collect())
        };
        let (scales, logs): (Vec<f64>, Vec<Vec<f64>>) = (0..OF_TARGET).map(|_| drawn()).unzip();
        for (scale, (lower, upper)) in scales.into_iter().zip(method(&logs)) {
            covered += f64::from(u8::from((lower..=upper).contains(&(5.0 + scale * truth))));
            width += upper - lower;
            oracle += 2.0 * scale * noise.oracle_half_width(samples);
            cells += 1;
        }
    }
    (covered / cells as f64, width / oracle)
}

/// Prints the table; whether our method holds and the others do not.
pub(super) fn run() -> bool {
    println!("95 % intervals of the token rate, {CELLS} cells a number, {OF_TARGET} cells a target, CV 1 to 5 %.");
    println!("Coverage, and width / that of one who knows the noise, at 5, 10 and 30 samples.\n");
    println!("| method | noise | CV | 5 samples | 10 samples | 30 samples | |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut all_hold = BTreeMap::new();
    for (name, method) in METHODS {
        for (noise, noise_name) in Noise::ALL {
            let truth = noise.median();
            for (of_each_cell, variation) in [(false, "of the target"), (true, "of each cell")] {
                let scores = SAMPLES.map(|samples| score(method, noise, truth, samples, of_each_cell));
                let holds = scores.iter().all(|&(coverage, width)| {
                    let most = if noise == Noise::White { MOST_COVERAGE_OF_WHITE } else { 1.0 };
                    (LEAST_COVERAGE..=most).contains(&coverage) && width <= MOST_WIDTH
                });
                *all_hold.entry(name).or_insert(true) &= holds;
                let [few, some, many] = scores.map(|(c, w)| format!("{:.1} %, {w:.2}", 100.0 * c));
                println!("| {name} | {noise_name} | {variation} | {few} | {some} | {many} | {} |", verdict(holds));
            }
        }
    }
    println!();
    METHODS.iter().all(|(name, _)| all_hold[name] == (*name == "llmsoak"))
}
