//! Whether the 95 % intervals of the token rates hold, over simulated cells of known truth.

use super::chance::normal;
use llmsoak::analysis::estimate::RateEstimates;
use llmsoak::domain::Cell;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug)]
enum Kind {
    White,
    Ar,
    Outliers,
}

fn series(kind: Kind, n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut last = normal(rng);
    (0..n)
        .map(|_| match kind {
            Kind::White => normal(rng),
            Kind::Ar => {
                let now = last;
                last = 0.5 * last + 0.75_f64.sqrt() * normal(rng);
                now
            }
            Kind::Outliers => {
                let x = normal(rng);
                if rng.random::<f64>() < 0.05 { x - 10.0 * normal(rng).abs() } else { x }
            }
        })
        .collect()
}

pub fn run() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut many = series(Kind::Outliers, 1_000_000, &mut rng);
    many.sort_by(f64::total_cmp);
    let outlier_median = many[500_000];
    println!("outlier median {outlier_median}");
    let per_target = std::env::var("CELLS").map_or(30, |c| c.parse().unwrap());
    for mixed in [false, true] {
        for kind in [Kind::White, Kind::Ar, Kind::Outliers] {
            for n in [3usize, 5, 10, 30] {
                let truth = if matches!(kind, Kind::Outliers) { outlier_median } else { 0.0 };
                let (mut covered, mut total, mut width, mut oracle, mut phis) = (0.0, 0.0, 0.0, 0.0, 0.0);
                let mut oracle_cover = 0.0;
                while total < 10_000.0 {
                    let target_cv = 0.01 + 0.04 * rng.random::<f64>();
                    let mut cvs = vec![];
                    let mut rates = BTreeMap::new();
                    let mut means = vec![];
                    for i in 0..per_target {
                        let cv = if mixed { 0.01 + 0.04 * rng.random::<f64>() } else { target_cv };
                        let x = series(kind, n, &mut rng);
                        means.push(x.iter().sum::<f64>() / n as f64 * cv);
                        rates.insert(Cell::new(i + 1, 1), x.iter().map(|x| 100.0 * (cv * x).exp()).collect());
                        cvs.push(cv);
                    }
                    let est = RateEstimates::of(&rates);
                    phis += est.autocorrelation * per_target as f64;
                    let v = match kind {
                        Kind::Ar => {
                            (0..n)
                                .map(|i| (0..n).map(|j| 0.5_f64.powi((i as i32 - j as i32).abs())).sum::<f64>())
                                .sum::<f64>()
                                / (n * n) as f64
                        }
                        Kind::White => 1.0 / n as f64,
                        Kind::Outliers => 1.0 / (n as f64 * 0.95),
                    };
                    for (i, e) in est.cells.values().enumerate() {
                        let t = 100.0 * (cvs[i] * truth).exp();
                        covered += f64::from(u8::from(e.interval.contains(t)));
                        width += (e.interval.upper / e.interval.lower).ln();
                        oracle += 2.0 * 1.96 * cvs[i] * v.sqrt();
                        oracle_cover += f64::from(u8::from(means[i].abs() < 1.96 * cvs[i] * v.sqrt()));
                        total += 1.0;
                    }
                }
                println!(
                    "mixed {mixed} {kind:?} n={n} coverage {:.2} width/oracle {:.3} phi {:.3} (oracle cov {:.2})",
                    100.0 * covered / total,
                    width / oracle,
                    phis / total,
                    100.0 * oracle_cover / total
                );
            }
        }
    }
}
