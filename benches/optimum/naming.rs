//! Whether the named optimum is the best, after three full cycles.

use std::collections::{BTreeMap, BTreeSet};

use llmsoak::analysis::estimate::RateEstimates;
use llmsoak::analysis::objective::{Contest, Optimum, ServiceLevel, optimum};
use llmsoak::domain::Cell;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::truth::{Surface, surfaces};

pub const NOISE: f64 = 0.04;
const CYCLES: usize = 3;
const SEEDS: u64 = 200;

pub type Rates = BTreeMap<Cell, Vec<f64>>;

pub fn name(surface: &Surface, rates: &Rates) -> (Cell, Vec<Cell>) {
    let named = publish(surface, &RateEstimates::of(rates), None);
    (named.throughput.cell, named.throughput.tied)
}

pub fn publish(surface: &Surface, rates: &RateEstimates, published: Option<&Optimum>) -> Optimum {
    optimum(&Contest {
        grid: &surface.grid,
        rates,
        services: &BTreeMap::new(),
        service_level: ServiceLevel { time_to_first_token_p95: None, inter_token_latency_p95: None },
        warned_rows: &BTreeSet::new(),
        published,
    })
    .expect("was measured")
}

fn phi(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}
fn erfc(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let y = t
        * (-x * x - 1.26551223
            + t * (1.00002368
                + t * (0.37409196
                    + t * (0.09678418
                        + t * (-0.18628806
                            + t * (0.27886807
                                + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))))
            .exp();
    if x >= 0.0 { y } else { 2.0 - y }
}

fn oracle(rates: &Rates) -> Vec<Cell> {
    let cells: Vec<(Cell, f64, f64)> = rates
        .iter()
        .map(|(c, r)| (*c, r.iter().map(|x| x.ln()).sum::<f64>() / r.len() as f64, NOISE / (r.len() as f64).sqrt()))
        .collect();
    let top = cells.iter().map(|c| c.1).fold(f64::MIN, f64::max);
    let sd = cells[0].2;
    let (lo, hi) = (top - 5.0 * sd, top + 5.0 * sd);
    let d = -(0.99_f64).ln();
    let n = 400;
    let mut p = vec![0.0; cells.len()];
    for i in 0..=n {
        let x = lo + (hi - lo) * i as f64 / n as f64;
        let f: Vec<f64> = cells.iter().map(|c| phi((x + d - c.1) / c.2).max(1e-300)).collect();
        let all: f64 = f.iter().map(|f| f.ln()).sum();
        for (j, c) in cells.iter().enumerate() {
            let z = (x - c.1) / c.2;
            p[j] += (-0.5 * z * z).exp() / (c.2 * std::f64::consts::TAU.sqrt()) * (all - f[j].ln()).exp() * (hi - lo)
                / n as f64;
        }
    }
    cells.iter().zip(p).filter(|(_, p)| *p >= 0.05).map(|(c, _)| c.0).collect()
}

pub fn run() {
    for surface in surfaces() {
        println!("{}: winners {:?}", surface.name, surface.winners().iter().map(|c| c.to_string()).collect::<Vec<_>>());
        let near = surface.rates.values().filter(|r| **r > surface.best() * 0.95).count();
        println!("  cells within 5 %: {near}");
        let mut scores: BTreeMap<&str, (Vec<f64>, f64, f64)> = BTreeMap::new();
        let mut oracle_size = 0.0;
        for seed in 0..SEEDS {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let rates: Rates = surface
                .grid
                .measured()
                .into_iter()
                .map(|c| (c, (0..CYCLES).map(|_| surface.sample(c, NOISE, &mut rng)).collect()))
                .collect();
            let o = oracle(&rates);
            oracle_size += o.len() as f64;
            let (cell, tied) = name(&surface, &rates);
            let first = surface.grid.measured()[0];
            let all = surface.grid.measured();
            let lucky = *rates.iter().max_by(|a, b| a.1[0].total_cmp(&b.1[0])).unwrap().0;
            let med = |r: &Vec<f64>| {
                let mut r = r.clone();
                r.sort_by(f64::total_cmp);
                r[1]
            };
            let best = *rates.iter().max_by(|a, b| med(a.1).total_cmp(&med(b.1))).unwrap().0;
            let obest = *rates
                .iter()
                .max_by(|a, b| {
                    a.1.iter().map(|x| x.ln()).sum::<f64>().total_cmp(&b.1.iter().map(|x| x.ln()).sum::<f64>())
                })
                .unwrap()
                .0;
            for (who, cell, tied) in [
                ("llmsoak", cell, tied),
                ("oracle", obest, o),
                ("first cell", first, vec![first]),
                ("all tied", cell, all),
                ("one sample", lucky, vec![lucky]),
                (
                    "median",
                    best,
                    rates.iter().filter(|r| med(r.1) >= 0.99 * med(&rates[&best])).map(|r| *r.0).collect(),
                ),
            ] {
                let s = scores.entry(who).or_default();
                s.0.push(surface.regret(cell));
                let w = surface.winners();
                s.1 += w.iter().filter(|w| tied.contains(w)).count() as f64 / w.len() as f64;
                s.2 += tied.len() as f64;
            }
        }
        for (who, (mut regrets, tied, size)) in scores {
            regrets.sort_by(f64::total_cmp);
            let n = SEEDS as f64;
            println!(
                "  {who:<12} regret mean {:.2} % p95 {:.2} %  winners tied {:.1} %  size {:.1} = {:.2} x oracle",
                100.0 * regrets.iter().sum::<f64>() / n,
                100.0 * regrets[(n * 0.95) as usize],
                100.0 * tied / n,
                size / n,
                size / oracle_size
            );
        }
    }
}
