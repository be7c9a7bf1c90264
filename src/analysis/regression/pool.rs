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

#[cfg(test)]
mod tests {
    use super::*;

    const MISSING: f64 = f64::NAN;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    fn usuals(levels_and_scales: &[(f64, f64)]) -> Usuals {
        Usuals(levels_and_scales.iter().map(|&(level, scale)| Usual { level, scale }).collect())
    }

    fn pooled(usuals: &Usuals, logs: &[f64]) -> f64 {
        let members: Vec<usize> = (0..logs.len()).collect();
        usuals.pooled(logs, &members, &mut Vec::new())
    }

    #[test]
    fn cells_count_by_their_noise() {
        let usuals = usuals(&[(1.0, 0.1), (2.0, 0.1), (3.0, 0.2)]);
        close(pooled(&usuals, &[1.0, 2.0, 3.0]), 0.0);
        close(pooled(&usuals, &[1.3, 2.3, 3.3]), 0.3);
        // Weights of 100, 100 and 25.
        close(pooled(&usuals, &[1.0, 2.1, 3.2]), (10.0 + 5.0) / 225.0);
        close(usuals.variance(&[0, 2]), 1.0 / 125.0);
    }

    #[test]
    fn a_cell_that_is_far_off_counts_as_if_it_were_near() {
        let usuals = usuals(&[(1.0, 0.1), (2.0, 0.1), (3.0, 0.1)]);
        close(pooled(&usuals, &[1.0, 2.0, 9.0]), CLIP * 0.1 / 3.0);
        close(pooled(&usuals, &[1.0, 2.0, -9.0]), -CLIP * 0.1 / 3.0);
    }

    #[test]
    fn a_row_needs_half_of_the_weight_of_its_cells() {
        let usuals = usuals(&[(1.0, 0.1), (2.0, 0.1), (f64::NAN, 0.1)]);
        close(pooled(&usuals, &[1.5, MISSING, 7.0]), 0.5);
        assert!(pooled(&usuals, &[MISSING, MISSING, 7.0]).is_nan());
        let unequal = self::usuals(&[(1.0, 0.2), (2.0, 0.1)]);
        assert!(pooled(&unequal, &[1.5, MISSING]).is_nan(), "a fifth");
        close(pooled(&unequal, &[MISSING, 2.5]), 0.5);
    }

    #[test]
    fn a_cell_that_was_there_for_a_part_has_its_level_all_the_same() {
        // Two cells that move together; the second one is missing while both are slow.
        let rows: Vec<[f64; 2]> = (0..12).map(|n| if n < 6 { [1.0, MISSING] } else { [1.5, 2.5] }).collect();
        let rows: Vec<&[f64]> = rows.iter().map(<[f64; 2]>::as_slice).collect();
        let usuals = Usuals::of(&rows, 3);
        let level = |place| usuals.get(place).map(|usual| usual.level);
        let (one, two) = (level(0).expect("is known"), level(1).expect("is known"));
        // Their medians are 1.25 apart.
        assert!((two - one - 1.0).abs() < 0.1, "{one} {two}");
        assert_eq!(level(2), None, "never seen");
    }

    #[test]
    fn a_scale_is_that_of_the_jumps_drawn_towards_the_usual_one() {
        // One jumps by 0.02 each time, the other by 0.04: the usual scale lies between.
        let rows: Vec<[f64; 2]> = (0..8).map(|n| f64::from(n % 2)).map(|n| [0.02 * n, 0.04 * n]).collect();
        let rows: Vec<&[f64]> = rows.iter().map(<[f64; 2]>::as_slice).collect();
        let usuals = Usuals::of(&rows, 2);
        let factor = 1.4826 / (2.0 * 0.65_f64).sqrt();
        let usual = (0.03 * factor).powi(2);
        for (place, jump) in [(0, 0.02), (1, 0.04)] {
            // Eight rows count as much as the prior.
            let expected = (((jump * factor).powi(2) + usual) / 2.0).sqrt();
            close(usuals.get(place).expect("is known").scale, expected);
        }
    }

    #[test]
    fn a_cell_that_is_there_less_than_a_quarter_of_the_time_has_no_level() {
        let check = |rows: usize, seen: usize, expected: bool| {
            let rows: Vec<[f64; 2]> = (0..rows).map(|n| [0.0, if n < seen { 0.5 } else { MISSING }]).collect();
            let rows: Vec<&[f64]> = rows.iter().map(<[f64; 2]>::as_slice).collect();
            assert_eq!(Usuals::of(&rows, 2).get(1).is_some(), expected, "{seen} of {}", rows.len());
        };
        check(20, 4, false);
        check(20, 5, true);
        check(23, 5, true);
        check(8, 2, false);
        check(8, 3, true);
    }

    #[test]
    fn only_a_cell_with_a_worker_for_each_request_is_the_same_work_as_another() {
        let figures = |cell: Cell| CellFigures { cell, figures: [Some(10.0), None, None] };
        let mut registry = Registry::default();
        let seen = [(1, 1), (1, 4), (4, 4), (8, 4), (6, 4)].map(|(workers, batch)| figures(Cell::new(workers, batch)));
        registry.learn(&seen);
        let logs = registry.logs(&seen, Measure::TokensPerSecond);
        let is_copy: Vec<bool> = logs.iter().map(|log| log.is_nan()).collect();
        assert_eq!(is_copy, [false, false, false, true, true]);
    }

    #[test]
    fn so_many_cells_are_followed_and_no_more() {
        let figures = |n: u32| CellFigures { cell: Cell::new(1, n + 1), figures: [None; 3] };
        let mut registry = Registry { cells: (0..4095).map(|n| Cell::new(1, n + 1)).collect(), ..Registry::default() };
        assert!(registry.learn(&[figures(4095)]));
        assert!(!registry.learn(&[figures(4096)]));
        assert_eq!(registry.cells.len(), 4096);
    }

    #[test]
    fn a_copy_of_a_measured_cell_says_nothing_new() {
        let figures = |cell: Cell, rate: f64| CellFigures { cell, figures: [Some(rate), None, None] };
        let mut registry = Registry::default();
        let seen = [figures(Cell::new(2, 2), 10.0), figures(Cell::new(4, 2), 10.0), figures(Cell::new(4, 8), 10.0)];
        assert!(registry.learn(&seen));
        assert!(!registry.learn(&seen));
        let logs = registry.logs(&seen, Measure::TokensPerSecond);
        close(logs[0], 10.0_f64.ln());
        assert!(logs[1].is_nan());
        close(logs[2], 10.0_f64.ln());
        // Measured for itself, or in another order.
        let own = [figures(Cell::new(4, 8), 30.0), figures(Cell::new(4, 2), 20.0)];
        let logs = registry.logs(&own, Measure::TokensPerSecond);
        assert!(logs[0].is_nan());
        close(logs[1], 20.0_f64.ln());
        close(logs[2], 30.0_f64.ln());
    }
}
