//! Which cells moved, once it is settled that something did.
//!
//! Never the trigger: with a family of cells tested every cycle for ever, a rate of false
//! discoveries is kept in each cycle and in none of a thousand.

use super::pool::Usuals;
use crate::domain::{Cell, CellChange};

/// The false discovery rate at which cells are named.
const RATE: f64 = 0.1;
/// What autocorrelation adds to the variance of a cell's mean: (1 + φ) / (1 − φ) at φ = 0.35.
const AUTOCORRELATION: f64 = 2.08;
/// The rows before a change that a cell's level is taken from.
const MOST_BEFORE: usize = 24;

/// How the cells moved that were measured at least twice on either side of a change. Rows are
/// logarithms by the cells' places; NaN is missing.
pub(super) fn cell_changes(cells: &[Cell], usuals: &Usuals, before: &[&[f64]], after: &[&[f64]]) -> Vec<CellChange> {
    let before = before.get(before.len().saturating_sub(MOST_BEFORE)..).unwrap_or_default();
    let moved: Vec<(Cell, f64, f64)> = cells
        .iter()
        .enumerate()
        .filter_map(|(place, &cell)| {
            let usual = usuals.get(place)?;
            let ((old, n), (new, m)) = (mean(before, place)?, mean(after, place)?);
            let error = usual.scale * (AUTOCORRELATION * (1.0 / n + 1.0 / m)).sqrt();
            Some((cell, new - old, two_sided_p((new - old) / error)))
        })
        .collect();
    let ps: Vec<f64> = moved.iter().map(|(_, _, p)| *p).collect();
    let bound = benjamini_hochberg(&ps, RATE);
    moved.into_iter().map(|(cell, moved, p)| CellChange { cell, ratio: moved.exp(), is_affected: p <= bound }).collect()
}

/// The mean of a cell's values, and how many there are, if two at least.
fn mean(rows: &[&[f64]], place: usize) -> Option<(f64, f64)> {
    let values = rows.iter().filter_map(|row| row.get(place)).filter(|value| !value.is_nan());
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count >= 2.0).then(|| (sum / count, count))
}

/// The probability of a normal value at least this far from 0: Abramowitz and Stegun, 7.1.26,
/// good to 1.5e-7.
fn two_sided_p(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let polynomial =
        t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    polynomial * (-x * x).exp()
}

/// The largest p-value that is still a discovery (Benjamini and Hochberg, 1995); below 0 where
/// none is.
fn benjamini_hochberg(ps: &[f64], rate: f64) -> f64 {
    let mut sorted = ps.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len() as f64;
    let is_discovery = |(index, p): &(usize, &f64)| **p <= rate * (*index as f64 + 1.0) / count;
    sorted.iter().enumerate().filter(is_discovery).map(|(_, p)| *p).next_back().unwrap_or(-1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_normal_distribution() {
        for (z, expected) in [(0.0, 1.0), (1.0, 0.317_311), (-1.96, 0.049_996), (3.3, 0.000_967)] {
            assert!((two_sided_p(z) - expected).abs() < 1e-6, "{z}: {}", two_sided_p(z));
        }
    }

    #[test]
    fn discoveries_are_as_in_the_paper() {
        // The fifteen p-values of Benjamini and Hochberg's example; at 5 % the first four.
        let ps = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
            0.7590, 1.0000,
        ];
        assert_eq!(benjamini_hochberg(&ps, 0.05), 0.0095);
        assert!(benjamini_hochberg(&[0.5, 0.9], 0.05) < 0.0);
        assert!(benjamini_hochberg(&[], 0.05) < 0.0);
        assert_eq!(benjamini_hochberg(&[0.04], 0.05), 0.04);
        assert_eq!(benjamini_hochberg(&[0.06, 0.07, 0.04], 0.08), 0.07);
    }

    #[test]
    fn a_cell_has_moved_when_its_means_are_further_apart_than_autocorrelated_noise_goes() {
        let rows: Vec<[f64; 1]> = (0..12).map(|row| [0.02 * f64::from(row % 2)]).collect();
        let rows: Vec<&[f64]> = rows.iter().map(<[f64; 1]>::as_slice).collect();
        let usuals = Usuals::of(&rows, 1);
        let scale = usuals.get(0).expect("is known").scale;
        // Of one cell alone, one in ten is a discovery: 1.645 deviations.
        let deviation = scale * (2.08 * (1.0 / 3.0 + 1.0 / 6.0_f64)).sqrt();
        let check = |deviations: f64, expected: bool| {
            let (old, new) = ([0.1], [0.1 + deviations * deviation]);
            let [change] =
                cell_changes(&[Cell::new(1, 1)], &usuals, &[&old[..]; 3], &[&new[..]; 6]).try_into().expect("one cell");
            assert_eq!(change.is_affected, expected, "{deviations}");
            assert!((change.ratio - f64::exp(new[0] - old[0])).abs() < 1e-12);
        };
        check(1.64, false);
        check(1.65, true);
        check(-1.64, false);
        check(-1.65, true);
    }

    #[test]
    fn only_the_cells_that_moved_are_named() {
        let cells = [Cell::new(1, 1), Cell::new(1, 2), Cell::new(1, 4)];
        let row = |index: usize, step: f64| -> Vec<f64> {
            (0..3)
                .map(|cell| 0.001 * ((index * 5 + cell * 3) % 4) as f64 + if cell == 2 { step } else { 0.0 })
                .collect()
        };
        let (old, new): (Vec<_>, Vec<_>) =
            ((0..12).map(|index| row(index, 0.0)).collect(), (12..16).map(|index| row(index, -0.1)).collect());
        let (old, new): (Vec<&[f64]>, Vec<&[f64]>) =
            (old.iter().map(Vec::as_slice).collect(), new.iter().map(Vec::as_slice).collect());
        let usuals = Usuals::of(&[old.as_slice(), new.as_slice()].concat(), 3);
        let changes = cell_changes(&cells, &usuals, &old, &new);
        let named: Vec<bool> = changes.iter().map(|change| change.is_affected).collect();
        assert_eq!(named, [false, false, true]);
        assert!((changes[2].ratio - 0.905).abs() < 0.002, "{changes:?}");
    }
}
