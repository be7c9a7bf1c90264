//! One series of many cells: each row the mean log-ratio of the cells of a scope.
//!
//! Each cell is paired with itself: its level is taken out first, so that a cell that is
//! missing in a cycle moves no mean. Cells count by their noise, and one that is far off in
//! a cycle counts as if it were near.

use super::scope::parts_of;
use super::view::CellFigures;
use crate::domain::{Cell, Measure, Scope};

/// The most cells that are followed; more are not looked at.
const MOST_CELLS: usize = 4096;
/// The autocorrelation of a cell's own noise, as far as its scale goes.
const CELL_PHI: f64 = 0.35;
/// How many rows the grid's usual scale is worth against a cell's own.
const SCALE_PRIOR_ROWS: f64 = 8.0;
/// The least scale of a cell, as a log-ratio: nothing is measured better.
const LEAST_SCALE: f64 = 1e-4;
/// How far from the others a cell counts in full, in its own scale.
const CLIP: f64 = 2.5;
/// The least part of a scope's weight that makes a row of it.
const LEAST_PRESENT: f64 = 0.5;

/// The cells that were ever seen, and which parts of the grid they make.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    pub cells: Vec<Cell>,
    /// Of each cell with at least as many workers as requests: the first such cell of its
    /// batch, which is the same work.
    originals: Vec<Option<usize>>,
    pub parts: Vec<Part>,
}

/// A scope with the places of its cells.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub scope: Scope,
    pub members: Vec<usize>,
}

impl Registry {
    /// Gives new cells their places; says whether there were any.
    pub(super) fn learn(&mut self, figures: &[CellFigures]) -> bool {
        let known = self.cells.len();
        for figures in figures {
            if self.cells.len() < MOST_CELLS && self.place(figures.cell).is_none() {
                self.cells.push(figures.cell);
            }
        }
        if self.cells.len() == known {
            return false;
        }
        let is_wide = |cell: Cell| cell.workers >= cell.batch;
        let original = |cell: Cell| {
            let same_work = |(_, other): &(usize, &Cell)| other.batch == cell.batch && is_wide(**other);
            let first = self.cells.iter().enumerate().filter(same_work).min_by_key(|(_, other)| other.workers);
            first.filter(|(_, other)| is_wide(cell) && **other != cell).map(|(place, _)| place)
        };
        self.originals = self.cells.iter().map(|&cell| original(cell)).collect();
        let places = || self.cells.iter().enumerate();
        let part = |scope: Scope| Part {
            scope,
            members: places().filter(|(_, cell)| scope.contains(**cell)).map(|(place, _)| place).collect(),
        };
        self.parts = parts_of(&self.cells).into_iter().map(part).collect();
        true
    }

    fn place(&self, cell: Cell) -> Option<usize> {
        self.cells.iter().position(|&known| known == cell)
    }

    /// The logarithms of one measure by place; NaN is missing. A copy of an equivalent cell,
    /// which has the very value of the measured one, is left out: it says nothing new.
    pub(super) fn logs(&self, figures: &[CellFigures], measure: Measure) -> Vec<f64> {
        let mut logs = vec![f64::NAN; self.cells.len()];
        for (index, figures) in figures.iter().enumerate() {
            // Cells mostly come in the order in which they came first.
            let in_order = self.cells.get(index) == Some(&figures.cell);
            let place = if in_order { Some(index) } else { self.place(figures.cell) };
            if let Some((entry, log)) = place.and_then(|place| logs.get_mut(place)).zip(figures.log(measure)) {
                *entry = log;
            }
        }
        let is_copy = |(place, original): (usize, &Option<usize>)| {
            let value = |place: usize| logs.get(place).copied().filter(|log| !log.is_nan());
            let original = (*original)?;
            (value(place)? == value(original)?).then_some(place)
        };
        let copies: Vec<usize> = self.originals.iter().enumerate().filter_map(is_copy).collect();
        for copy in copies {
            if let Some(entry) = logs.get_mut(copy) {
                *entry = f64::NAN;
            }
        }
        logs
    }
}

/// The usual level of a cell and the deviation of its own noise, as logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual {
    pub level: f64,
    pub scale: f64,
}

/// What the cells of a window usually measure; NaN levels are not known yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Usuals(Vec<Usual>);

impl Usuals {
    /// Of rows of logarithms by place.
    pub(super) fn of(rows: &[&[f64]], cells: usize) -> Self {
        const UNKNOWN: Usual = Usual { level: f64::NAN, scale: f64::NAN };
        // A cell that is hardly ever there cannot be paired with itself.
        let least = (rows.len() / 4).max(3);
        let mut scratch = Vec::with_capacity(rows.len());
        let values = |place: usize| rows.iter().map(move |row| row.get(place).copied().unwrap_or(f64::NAN));
        let mut usuals: Vec<Usual> = (0..cells)
            .map(|place| {
                scratch.clear();
                scratch.extend(values(place).filter(|value| !value.is_nan()));
                if scratch.len() < least {
                    return UNKNOWN;
                }
                let level = median(&mut scratch);
                scratch.clear();
                scratch.extend(
                    values(place).zip(values(place).skip(1)).map(|(a, b)| (b - a).abs()).filter(|jump| !jump.is_nan()),
                );
                // The jumps' median absolute value, as the deviation of a row.
                let scale = median(&mut scratch) * 1.4826 / (2.0 * (1.0 - CELL_PHI)).sqrt();
                Usual { level, scale }
            })
            .collect();
        let mut scales: Vec<f64> = usuals.iter().map(|usual| usual.scale).filter(|scale| !scale.is_nan()).collect();
        let grid = median(&mut scales).max(LEAST_SCALE);
        let own = rows.len() as f64;
        for usual in &mut usuals {
            let scale = if usual.scale.is_nan() { grid } else { usual.scale };
            let shrunk = (own * scale * scale + SCALE_PRIOR_ROWS * grid * grid) / (own + SCALE_PRIOR_ROWS);
            usual.scale = shrunk.sqrt();
        }
        let mut usuals = Self(usuals);
        usuals.balance(rows);
        usuals
    }

    /// Levels again, of what is left when each row's common move is taken out: a cell that
    /// was there only for a part of the rows has another median, not another level.
    fn balance(&mut self, rows: &[&[f64]]) {
        let all: Vec<usize> = (0..self.0.len()).collect();
        let mut scratch = Vec::with_capacity(all.len());
        let moves: Vec<f64> = rows.iter().map(|row| self.pooled(row, &all, &mut scratch)).collect();
        for (place, usual) in self.0.iter_mut().enumerate() {
            scratch.clear();
            let values = rows.iter().map(|row| row.get(place).copied().unwrap_or(f64::NAN));
            scratch.extend(values.zip(&moves).map(|(value, common)| value - common).filter(|rest| !rest.is_nan()));
            if !usual.level.is_nan() && !scratch.is_empty() {
                usual.level = median(&mut scratch);
            }
        }
    }

    /// The mean log-ratio of the members to their levels, weighted by one over the square of
    /// their scale; NaN where too few are there.
    pub(super) fn pooled(&self, logs: &[f64], members: &[usize], scratch: &mut Vec<f64>) -> f64 {
        let member = |&place: &usize| {
            let usual = self.0.get(place).filter(|usual| !usual.level.is_nan())?;
            Some((logs.get(place).copied().unwrap_or(f64::NAN) - usual.level, usual.scale))
        };
        scratch.clear();
        scratch.extend(members.iter().filter_map(member).map(|(move_, _)| move_).filter(|move_| !move_.is_nan()));
        if scratch.is_empty() {
            return f64::NAN;
        }
        let centre = median(scratch);
        let (mut sum, mut present, mut usual) = (0.0, 0.0, 0.0);
        for (move_, scale) in members.iter().filter_map(member) {
            let weight = 1.0 / (scale * scale);
            usual += weight;
            if !move_.is_nan() {
                sum += weight * (move_ - centre).clamp(-CLIP * scale, CLIP * scale);
                present += weight;
            }
        }
        if present >= LEAST_PRESENT * usual { centre + sum / present } else { f64::NAN }
    }

    /// The variance that the members' own noise leaves in their mean.
    pub(super) fn variance(&self, members: &[usize]) -> f64 {
        let weights = members.iter().filter_map(|&place| self.0.get(place)).filter(|usual| !usual.level.is_nan());
        weights.map(|usual| 1.0 / (usual.scale * usual.scale)).sum::<f64>().recip()
    }

    pub(super) fn get(&self, place: usize) -> Option<Usual> {
        self.0.get(place).copied().filter(|usual| !usual.level.is_nan())
    }
}

/// The middle of values, NaN of none; their order is lost.
pub(super) fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return f64::NAN;
    }
    let is_even = values.len().is_multiple_of(2);
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = if is_even { below.iter().copied().fold(f64::NEG_INFINITY, f64::max) } else { *upper };
    f64::midpoint(lower, *upper)
}
