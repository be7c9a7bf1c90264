//! Whether adaptive cycles name as good an optimum for fewer requests.

use std::collections::{BTreeMap, BTreeSet};

use llmsoak::analysis::chooser::{Knowledge, choose, sentinels};
use llmsoak::analysis::estimate::RateEstimates;
use llmsoak::domain::Cell;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::naming::{NOISE, Rates, name, publish};
use super::truth::{Surface, surfaces};

const SEEDS: u64 = 200;
const MOST_AGE: u32 = 10;

fn env(name: &str, default: f64) -> f64 {
    std::env::var(name).map_or(default, |v| v.parse().unwrap())
}

/// (requests spent, regret of the named cell) after each cycle.
fn adaptive(surface: &Surface, seed: u64, cycles: usize) -> (Vec<(u64, f64)>, u32) {
    let mut rng = ChaCha8Rng::seed_from_u64(1_000_000 + seed);
    let full: u64 = surface.grid.measured().iter().map(|c| u64::from(c.batch)).sum();
    let fixed = sentinels(&surface.grid, None, env("SENT", 6.0) as usize);
    let skipped = BTreeSet::new();
    let mut rates = Rates::new();
    let mut published = None;
    let mut ages: BTreeMap<Cell, u32> = surface.grid.measured().into_iter().map(|c| (c, 0)).collect();
    let (mut spent, mut path, mut oldest) = (0, vec![], 0);
    for _ in 0..cycles {
        let estimates = RateEstimates::of(&rates);
        let chosen = choose(&Knowledge {
            grid: &surface.grid,
            rates: &estimates,
            skipped_rows: &skipped,
            ages: &ages,
            sentinels: &fixed,
            most_age: MOST_AGE,
            requests: (full as f64 * env("SHARE", 0.25)) as u64,
        });
        for age in ages.values_mut() {
            *age += 1;
        }
        for (&cell, &times) in &chosen {
            ages.insert(cell, 0);
            spent += u64::from(cell.batch * times);
            for _ in 0..times {
                rates.entry(cell).or_default().push(surface.sample(cell, NOISE, &mut rng));
            }
        }
        oldest = oldest.max(*ages.values().max().unwrap());
        let now = publish(surface, &RateEstimates::of(&rates), published.as_ref());
        path.push((spent, surface.regret(now.throughput.cell)));
        published = Some(now);
    }
    (path, oldest)
}

pub fn run() {
    for surface in surfaces() {
        let full: u64 = 3 * surface.grid.measured().iter().map(|c| u64::from(c.batch)).sum::<u64>();
        let mut full_regret = 0.0;
        for seed in 0..SEEDS {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let rates: Rates = surface
                .grid
                .measured()
                .into_iter()
                .map(|c| (c, (0..3).map(|_| surface.sample(c, NOISE, &mut rng)).collect()))
                .collect();
            full_regret += surface.regret(name(&surface, &rates).0) / SEEDS as f64;
        }
        let cycles = env("CYC", 7.0) as usize;
        let mut at = vec![(0.0, 0.0); cycles];
        let mut settled = vec![];
        let mut oldest = 0;
        for seed in 0..SEEDS {
            let (path, old) = adaptive(&surface, seed, cycles);
            oldest = oldest.max(old);
            for (i, (s, r)) in path.iter().enumerate() {
                at[i].0 += *s as f64 / full as f64 / SEEDS as f64;
                at[i].1 += r / SEEDS as f64;
            }
            let last_bad = path.iter().rposition(|p| p.1 > full_regret.max(0.0));
            let s = match last_bad {
                None => path[0].0,
                Some(i) if i + 1 < path.len() => path[i + 1].0,
                _ => u64::MAX,
            };
            settled.push(s as f64 / full as f64);
        }
        settled.sort_by(f64::total_cmp);
        println!(
            "{}: full {:.2} %, oldest {oldest}; settled median {:.2} p80 {:.2}",
            surface.name,
            100.0 * full_regret,
            settled[SEEDS as usize / 2],
            settled[SEEDS as usize * 4 / 5]
        );
        for a in at {
            print!("  {:.2}:{:.2}%", a.0, 100.0 * a.1);
        }
        println!();
    }
}
