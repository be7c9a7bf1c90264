//! Surfaces whose best cells are known, and noisy samples of them.

use std::collections::BTreeMap;

use llmsoak::domain::{Cell, Grid};
use rand::rngs::ChaCha8Rng;

use super::chance::normal;

/// A surface: a name and the true rate of each measured cell, tokens per second.
#[derive(Debug)]
pub(super) struct Surface {
    pub(super) name: &'static str,
    pub(super) grid: Grid,
    pub(super) rates: BTreeMap<Cell, f64>,
}

impl Surface {
    fn new(name: &'static str, grid: &Grid, rate: impl Fn(Cell) -> f64) -> Self {
        let rates = grid.measured().into_iter().map(|cell| (cell, rate(cell))).collect();
        Self { name, grid: grid.clone(), rates }
    }

    pub(super) fn best(&self) -> f64 {
        self.rates.values().copied().fold(0.0, f64::max)
    }

    /// The cells of the best rate.
    pub(super) fn winners(&self) -> Vec<Cell> {
        self.rates.iter().filter(|(_, rate)| **rate > self.best() * (1.0 - 1e-9)).map(|(cell, _)| *cell).collect()
    }

    /// What the best rate is above the cell's, as a share of it.
    pub(super) fn regret(&self, cell: Cell) -> f64 {
        1.0 - self.rates.get(&cell).copied().unwrap_or(0.0) / self.best()
    }

    /// One sample of a cell.
    pub(super) fn sample(&self, cell: Cell, noise: f64, rng: &mut ChaCha8Rng) -> f64 {
        self.rates[&cell] * (noise * normal(rng)).exp()
    }
}

/// Batches of equal answers through W slots: a token of each answer takes as long as the steps
/// of its waves.
fn waves(cell: Cell, step: impl Fn(u32) -> f64) -> f64 {
    let (full, rest) = (cell.batch / cell.workers, cell.batch % cell.workers);
    let last = if rest > 0 { step(rest) } else { 0.0 };
    f64::from(cell.batch) / (f64::from(full) * step(cell.workers) + last)
}

pub(super) fn surfaces() -> Vec<Surface> {
    let grid = Grid::legacy(true);
    let reference = |streams: u32| 0.019 + 0.002_15 * f64::from(streams);
    let knee = |streams: u32| reference(streams) + 0.004 * f64::from(streams.saturating_sub(24));
    // Two hills of one height, one of few workers and one of many, apart on both axes.
    let hill = |cell: Cell, workers: f64, batch: f64| {
        let (w, b) = ((f64::from(cell.workers) / workers).ln(), (f64::from(cell.batch) / batch).ln());
        (-(w * w + b * b) / (2.0 * 0.45 * 0.45)).exp()
    };
    let peaks = |cell: Cell| 120.0 + 200.0 * hill(cell, 6.0, 40.0).max(hill(cell, 24.0, 24.0));
    vec![
        Surface::new("reference", &grid, |cell| waves(cell, reference)),
        Surface::new("knee", &grid, |cell| waves(cell, knee)),
        Surface::new("two peaks", &grid, peaks),
    ]
}
