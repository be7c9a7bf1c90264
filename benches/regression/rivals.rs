//! What else could be done with the same series: the ways of other tools, and two that no
//! scorer may pass.
//!
//! Each looks at the mean log-ratio of all cells, one series a measure, and begins anew
//! after an alarm, which is kinder than most of their originals.

use llmsoak::analysis::regression::Measure;

use super::scorer::Told;
use super::series::Series;

/// The mean over the cells of each cycle, paired by the cells' medians: what the rivals see.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    /// By measure: cycle and mean log-ratio.
    rows: [Vec<(usize, f64)>; 3],
    changes: Vec<usize>,
}

impl Means {
    pub(crate) fn new(series: &Series) -> Self {
        let rows = Measure::ALL.map(|measure| {
            let logs = |place: usize| {
                let cell = series.nature.cells[place];
                let figures = move |cells: &[llmsoak::analysis::regression::CellFigures]| {
                    cells.iter().find(|figures| figures.cell == cell).and_then(|figures| figures.log(measure))
                };
                series.cycles.iter().map(move |cycle| figures(&cycle.cells))
            };
            let places = 0..series.nature.cells.len();
            let paired: Vec<Vec<Option<f64>>> = places
                .map(|place| {
                    // The first cycles alone: nothing of the future.
                    let first: Vec<f64> = logs(place).take(12).flatten().collect();
                    let level = llmsoak::analysis::quantile::median(&first).unwrap_or_default();
                    logs(place).map(|log| log.map(|log| log - level)).collect()
                })
                .collect();
            let mean = |cycle: usize| {
                let here: Vec<f64> = paired.iter().filter_map(|cell| cell[cycle]).collect();
                (here.len() * 2 >= paired.len()).then(|| (cycle, here.iter().sum::<f64>() / here.len() as f64))
            };
            (0..series.cycles.len()).filter_map(mean).collect()
        });
        Self { rows, changes: series.nature.changes.clone() }
    }

    fn each(&self, find: impl Fn(&[(usize, f64)]) -> Vec<Jump>) -> Vec<Told> {
        let measures = Measure::ALL.iter().zip(&self.rows);
        measures
            .flat_map(|(&measure, rows)| {
                find(rows).into_iter().map(move |jump| Told {
                    measure,
                    detected: jump.detected,
                    changed: jump.changed,
                    ratio: jump.size.exp(),
                    cause: None,
                    scope: None,
                })
            })
            .collect()
    }
}

struct Jump {
    detected: usize,
    changed: usize,
    size: f64,
}

/// A way to decide, with the settings that are not the threshold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rival {
    /// The latest value against a t interval of so many before it (Bencher).
    Latest {
        history: usize,
    },
    /// A two-sided CUSUM of that allowance, in deviations of the first rows.
    Cusum {
        allowance: f64,
        first: usize,
    },
    /// The split that E-divisive finds in the last 50 rows, tested by Student's t, with so
    /// many rows on each side (Otava).
    EDivisive {
        least: usize,
    },
    Silent,
    EveryChange,
}

impl Rival {
    pub(crate) const NAMES: [&str; 5] =
        ["latest value, t interval", "CUSUM", "E-divisive, t-test", "always silent", "every change of identity"];

    /// The settings that are tried.
    pub(crate) fn settings() -> [Vec<Self>; 5] {
        let cusum = |&allowance: &f64| [15, 25].map(|first| Self::Cusum { allowance, first });
        [
            [10, 20, 30, 64].map(|history| Self::Latest { history }).to_vec(),
            [0.5, 1.0, 1.5].iter().flat_map(cusum).collect(),
            [3, 4, 6].map(|least| Self::EDivisive { least }).to_vec(),
            vec![Self::Silent],
            vec![Self::EveryChange],
        ]
    }

    pub(crate) fn told(self, means: &Means, threshold: f64) -> Vec<Told> {
        match self {
            Self::Latest { history } => means.each(|rows| latest(rows, history, threshold)),
            Self::Cusum { allowance, first } => means.each(|rows| cusum(rows, allowance, first, threshold)),
            Self::EDivisive { least } => means.each(|rows| e_divisive(rows, least, threshold)),
            Self::Silent => Vec::new(),
            Self::EveryChange => means.each(|rows| every_change(rows, &means.changes)),
        }
    }

    /// Whether it has a threshold to set.
    pub(crate) fn is_tuned(self) -> bool {
        !matches!(self, Self::Silent | Self::EveryChange)
    }
}

fn moments(rows: &[(usize, f64)]) -> (f64, f64) {
    let count = rows.len() as f64;
    let mean = rows.iter().map(|row| row.1).sum::<f64>() / count;
    let squares: f64 = rows.iter().map(|row| (row.1 - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

fn latest(rows: &[(usize, f64)], history: usize, threshold: f64) -> Vec<Jump> {
    let (mut jumps, mut start) = (Vec::new(), 0);
    for now in 0..rows.len() {
        let before = &rows[start.max(now.saturating_sub(history))..now];
        if before.len() < 8 {
            continue;
        }
        let (mean, deviation) = moments(before);
        let size = rows[now].1 - mean;
        // A wide tail for few rows, as Student's t has.
        let width = deviation * (1.0 + 1.0 / before.len() as f64).sqrt() * (1.0 + 4.0 / before.len() as f64);
        if size.abs() > threshold * width {
            jumps.push(Jump { detected: rows[now].0, changed: rows[now].0, size });
            start = now;
        }
    }
    jumps
}

fn cusum(rows: &[(usize, f64)], allowance: f64, first: usize, threshold: f64) -> Vec<Jump> {
    let (mut jumps, mut start) = (Vec::new(), 0);
    'window: while start + first < rows.len() {
        let (mean, deviation) = moments(&rows[start..start + first]);
        // The sums upwards and downwards, and where each began.
        let mut sums = [(0.0, start + first); 2];
        for now in start + first..rows.len() {
            let z = (rows[now].1 - mean) / deviation;
            for (sum, sign) in sums.iter_mut().zip([1.0, -1.0]) {
                let next = sum.0 + sign * z - allowance;
                *sum = if next > 0.0 { (next, sum.1) } else { (0.0, now + 1) };
            }
            if let Some(&(_, begin)) = sums.iter().find(|sum| sum.0 > threshold) {
                let size = moments(&rows[begin..=now.max(begin + 1).min(rows.len() - 1)]).0 - mean;
                jumps.push(Jump { detected: rows[now].0, changed: rows[begin].0, size });
                start = begin;
                // What follows is looked at only when its level is known again.
                while start + first <= now {
                    start += 1;
                }
                continue 'window;
            }
        }
        break;
    }
    jumps
}

fn e_divisive(rows: &[(usize, f64)], least: usize, threshold: f64) -> Vec<Jump> {
    const WINDOW: usize = 50;
    let (mut jumps, mut start) = (Vec::new(), 0);
    for now in 0..rows.len() {
        let window = &rows[start.max((now + 1).saturating_sub(WINDOW))..=now];
        let Some(split) = energy_split(window, least) else { continue };
        let (before, after) = window.split_at(split);
        let ((m, s), (n, t)) = (moments(before), moments(after));
        let (a, b) = (before.len() as f64, after.len() as f64);
        let pooled = (((a - 1.0) * s * s + (b - 1.0) * t * t) / (a + b - 2.0)).sqrt();
        if (n - m).abs() > threshold * pooled * (1.0 / a + 1.0 / b).sqrt() {
            jumps.push(Jump { detected: rows[now].0, changed: after[0].0, size: n - m });
            start = now + 1 - after.len();
        }
    }
    jumps
}

/// The split with the largest energy statistic (Matteson and James, 2014, with α = 1).
fn energy_split(window: &[(usize, f64)], least: usize) -> Option<usize> {
    let size = window.len();
    if size < 2 * least.max(4) {
        return None;
    }
    let distance = |i: usize, j: usize| (window[i].1 - window[j].1).abs();
    // Sums of distances within the left, within the right and across, as the split moves.
    let (mut left, mut across) = (0.0, 0.0);
    let mut right: f64 = (0..size).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| distance(i, j)).sum();
    let mut best: Option<(f64, usize)> = None;
    for split in 1..size {
        let moved = split - 1;
        let to_left: f64 = (0..moved).map(|i| distance(i, moved)).sum();
        let to_right: f64 = (split..size).map(|i| distance(i, moved)).sum();
        left += to_left;
        right -= to_right;
        across += to_right - to_left;
        if split < least || size - split < least {
            continue;
        }
        let (m, n) = (split as f64, (size - split) as f64);
        let energy = 2.0 * across / (m * n) - 2.0 * left / (m * (m - 1.0)) - 2.0 * right / (n * (n - 1.0));
        let q = m * n / (m + n) * energy;
        if best.is_none_or(|(most, _)| q > most) {
            best = Some((q, split));
        }
    }
    best.map(|(_, split)| split)
}

fn every_change(rows: &[(usize, f64)], changes: &[usize]) -> Vec<Jump> {
    let jump = |&change: &usize| {
        let now = rows.iter().position(|row| row.0 >= change)?;
        let before = rows.get(now.checked_sub(8)?..now)?;
        Some(Jump { detected: rows[now].0, changed: rows[now].0, size: rows[now].1 - moments(before).0 })
    };
    changes.iter().filter_map(jump).collect()
}
