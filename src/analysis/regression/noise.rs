//! How much a pooled series moves by itself from one cycle to the next.
//!
//! All of it from jumps between neighbouring rows: a step, a drift and the day hardly show
//! in them. Jumps that are far too large count as large ones.

use super::pool::median;

/// The autocorrelation of pooled rows that is expected, and for how many rows that counts.
const PHI_PRIOR: (f64, f64) = (0.42, 150.0);
const PHI_BOUNDS: (f64, f64) = (0.2, 0.7);
/// Jumps count up to so many deviations.
const CLIP: f64 = 3.0;
/// What the clipped normal distribution's mean square falls short of 1.
const CLIP_LOSS: f64 = 0.973;

/// A pooled series: values with their distances, in cycles, from the value before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jumps<'a> {
    pub y: &'a [f64],
    pub gaps: &'a [f64],
}

impl Jumps<'_> {
    /// The mean square of clipped values, and of how many.
    fn mean_square(values: &mut [f64]) -> (f64, f64) {
        if values.is_empty() {
            return (0.0, 0.0);
        }
        let bound = CLIP * 1.4826 * median(values);
        let count = values.len() as f64;
        (values.iter().map(|value| value.min(bound).powi(2)).sum::<f64>() / count / CLIP_LOSS, count)
    }

    /// The autocorrelation at one cycle: the mean square of jumps over two rows is 1 + φ times
    /// that of jumps over one.
    pub(super) fn phi(self) -> f64 {
        let is_next = |gap: &f64| *gap < 1.5;
        let pairs = self.y.iter().zip(self.y.iter().skip(1)).zip(self.gaps.iter().skip(1));
        let mut near: Vec<f64> = pairs.filter(|(_, gap)| is_next(gap)).map(|((a, b), _)| (b - a).abs()).collect();
        let triples =
            self.y.iter().zip(self.y.iter().skip(2)).zip(self.gaps.iter().skip(1).zip(self.gaps.iter().skip(2)));
        let mut far: Vec<f64> = triples
            .filter(|(_, (first, second))| is_next(first) && is_next(second))
            .map(|((a, b), _)| (b - a).abs())
            .collect();
        let ((near, _), (far, count)) = (Self::mean_square(&mut near), Self::mean_square(&mut far));
        let (prior, weight) = PHI_PRIOR;
        let own = if near > 0.0 { (far / near - 1.0).clamp(0.0, 0.95) } else { prior };
        ((own * count + prior * weight) / (count + weight)).clamp(PHI_BOUNDS.0, PHI_BOUNDS.1)
    }

    /// The variance of a row, with a prior worth `weight` rows; and the rows in all.
    pub(super) fn variance(self, phi: f64, prior: f64, weight: f64) -> (f64, f64) {
        let pairs = self.y.iter().zip(self.y.iter().skip(1)).zip(self.gaps.iter().skip(1));
        let mut jumps: Vec<f64> =
            pairs.map(|((a, b), gap)| (b - a).abs() / (2.0 * (1.0 - phi.powf(*gap))).sqrt()).collect();
        let (own, count) = Self::mean_square(&mut jumps);
        ((own * count + prior * weight) / (count + weight), count + weight)
    }
}

/// The longest dip: what lasts longer is a change.
const LONGEST_DIP: usize = 3;
/// Rows on each side of a dip that say what is usual.
const NEIGHBOURS: usize = 5;
/// Rows that have to be there before a dip.
const LEAST_NEIGHBOURS: usize = 3;
/// Deviations that a dip is away from both sides.
const DIP_DEPTH: f64 = 3.2;

/// Which rows are dips (or peaks): one to three that are far from what was before and what
/// came after, on the same side. They are put aside; they say nothing of the level.
pub(super) fn dips(y: &[f64], sigma: f64) -> Vec<bool> {
    let mut is_dip = vec![false; y.len()];
    let value = |row: usize| y.get(row).copied().unwrap_or(f64::NAN);
    let mut scratch = Vec::with_capacity(NEIGHBOURS);
    let mut around = |from: usize, to: usize| {
        scratch.clear();
        scratch.extend_from_slice(y.get(from..to).unwrap_or_default());
        median(&mut scratch)
    };
    for start in LEAST_NEIGHBOURS..y.len() {
        if (value(start) - value(start - 1)).abs() < 0.7 * DIP_DEPTH * sigma {
            continue;
        }
        for length in 1..=LONGEST_DIP {
            let end = start + length;
            if end >= y.len() || (value(end) - value(end - 1)).abs() < 0.5 * DIP_DEPTH * sigma {
                continue;
            }
            let before = around(start.saturating_sub(NEIGHBOURS), start);
            let after = around(end, (end + NEIGHBOURS).min(y.len()));
            let depth = |row: usize| {
                let (left, right) = (value(row) - before, value(row) - after);
                if left.signum() == right.signum() { left.abs().min(right.abs()) } else { 0.0 }
            };
            if (start..end).all(|row| depth(row) > DIP_DEPTH * sigma) {
                is_dip.iter_mut().take(end).skip(start).for_each(|is_dip| *is_dip = true);
            }
        }
    }
    is_dip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_tell_scale_and_autocorrelation() {
        // A sum of two alternating patterns: jumps of 2 each row, of 0 over two.
        let y: Vec<f64> = (0..40).map(|row| f64::from(row % 2) * 2.0).collect();
        let jumps = Jumps { y: &y, gaps: &[1.0; 40] };
        // 38 jumps over two rows, all of them 0.
        assert_eq!(jumps.phi(), PHI_PRIOR.0 * PHI_PRIOR.1 / (PHI_PRIOR.1 + 38.0));
        let (variance, rows) = jumps.variance(0.0, 2.0 / CLIP_LOSS, 8.0);
        assert!((variance - 2.0 / CLIP_LOSS).abs() < 1e-9, "{variance}");
        assert_eq!(rows, 47.0);
    }

    /// The mean square of jumps, none of them large.
    fn square(jumps: &[f64]) -> f64 {
        jumps.iter().map(|jump| jump * jump).sum::<f64>() / jumps.len() as f64 / CLIP_LOSS
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn large_jumps_count_as_three_deviations() {
        let bound = 3.0 * 1.4826 * 2.0;
        let (mean_square, count) = Jumps::mean_square(&mut [1.0, 2.0, 99.0, 2.0, 1.0, 2.0, bound - 0.1]);
        close(mean_square, (2.0 + 12.0 + bound.powi(2) + (bound - 0.1).powi(2)) / 7.0 / CLIP_LOSS);
        assert_eq!(count, 7.0);
        assert_eq!(Jumps::mean_square(&mut []), (0.0, 0.0));
    }

    #[test]
    fn memory_is_what_jumps_over_two_rows_are_more_than_over_one() {
        // Rows after a pause are not neighbours of those before it; half a cycle is a pause.
        let y = [10.0, 11.0, 13.0, 12.0, 13.5, 90.0, 91.0, 89.0, 70.0, 71.0];
        let gaps = [0.0, 1.0, 1.0, 1.0, 1.0, 7.0, 1.0, 1.4, 1.5, 1.0];
        let (near, far) = (square(&[1.0, 2.0, 1.0, 1.5, 1.0, 2.0, 1.0]), square(&[3.0, 1.0, 0.5, 1.0]));
        let own = far / near - 1.0;
        assert!((0.2..0.9).contains(&own), "{own}");
        close(Jumps { y: &y, gaps: &gaps }.phi(), (own * 4.0 + 0.42 * 150.0) / 154.0);
    }

    #[test]
    fn memory_is_held_to_what_is_possible_and_to_what_is_expected() {
        let phi = |y: &[f64]| Jumps { y, gaps: &vec![1.0; y.len()] }.phi();
        let rows = |count: u32, y: fn(u32) -> f64| (0..count).map(y).collect::<Vec<f64>>();
        // Jumps over two rows are twice as large: 3, as a square, is held to be 0.95.
        close(phi(&rows(12, f64::from)), (0.95 * 10.0 + 0.42 * 150.0) / 160.0);
        assert_eq!(phi(&rows(1000, f64::from)), 0.7);
        assert_eq!(phi(&rows(1000, |row| f64::from(row % 2))), 0.2);
        // What does not move says nothing of it.
        close(phi(&rows(12, |_| 5.0)), 0.42);
        close(phi(&[]), 0.42);
    }

    #[test]
    fn a_variance_is_that_of_jumps_that_forget_with_time() {
        let (y, gaps) = ([5.0, 6.0, 4.0, 7.0], [9.0, 1.0, 2.0, 3.0]);
        let phi: f64 = 0.5;
        let jump = |size: f64, gap: i32| size / (2.0 * (1.0 - phi.powi(gap))).sqrt();
        let own = square(&[jump(1.0, 1), jump(2.0, 2), jump(3.0, 3)]);
        let (variance, rows) = Jumps { y: &y, gaps: &gaps }.variance(phi, 2.0, 5.0);
        close(variance, (3.0 * own + 5.0 * 2.0) / 8.0);
        assert_eq!(rows, 8.0);
        assert_eq!(Jumps { y: &[1.0], gaps: &[0.0] }.variance(phi, 2.0, 5.0), (2.0, 5.0));
    }

    #[test]
    fn a_dip_is_as_deep_as_its_shallowest_row_on_its_shallower_side() {
        let found = |y: &[f64]| dips(y, 2.0).iter().map(|&is_dip| if is_dip { '!' } else { '.' }).collect::<String>();
        // 6.4 is deep enough, of which the way down takes 4.48 at once and the way back 3.2.
        let check = |levels: [f64; 5], expected: bool| {
            let [before, first, second, third, after] = levels;
            for sign in [1.0, -1.0] {
                let y = [[before; 6].as_slice(), &[first, second, third], &[after; 6]].concat();
                let y: Vec<f64> = y.iter().map(|value| 50.0 + sign * value).collect();
                assert_eq!(found(&y) == "......!!!......", expected, "{levels:?}");
                assert_eq!(found(&y) == "...............", !expected, "{levels:?}");
            }
        };
        check([0.0, -6.5, -6.5, -6.5, 0.0], true);
        check([0.0, -6.3, -6.3, -6.3, 0.0], false);
        check([0.0, -6.5, -6.3, -6.5, 0.0], false);
        check([1.0, -6.5, -6.5, -6.5, -0.2], false);
        check([-0.2, -6.5, -6.5, -6.5, 1.0], false);
        // A staircase is no dip.
        check([0.0, -7.0, -7.0, -7.0, -14.0], false);
    }

    #[test]
    fn a_dip_begins_and_ends_with_a_jump() {
        let check = |down: f64, up: f64, expected: bool| {
            // The rows around it slide, so that no other row begins or ends a dip.
            let before = [8.0, 8.0, 6.0, 4.2, down];
            let after = [0.0, 1.4, 2.8, 4.2, 5.6].map(|slope| up + slope);
            for sign in [1.0, -1.0] {
                let y: Vec<f64> = before.iter().chain(&[0.0]).chain(&after).map(|value| 50.0 + sign * value).collect();
                assert_eq!(dips(&y, 1.0)[5], expected, "{down} {up}");
            }
        };
        check(2.25, 1.61, true);
        check(2.23, 1.61, false);
        check(2.25, 1.59, false);
    }

    #[test]
    fn five_rows_on_each_side_say_what_is_usual() {
        let check = |before: &[f64], after: &[f64], expected: bool| {
            let y = [before, &[0.0], after].concat();
            assert_eq!(dips(&y, 1.0)[before.len()], expected, "{before:?} {after:?}");
        };
        let far = [9.0; 5];
        // The middle of the nearest five counts, older ones do not.
        check(&[1.0, 1.0, 1.0, 9.0, 9.0, 1.0, 1.0, 9.0], &far, true);
        check(&[9.0, 9.0, 9.0, 1.0, 1.0, 9.0, 1.0, 9.0], &far, false);
        check(&far, &[9.0, 1.0, 1.0, 9.0, 9.0, 1.0, 1.0, 1.0], true);
        check(&far, &[9.0, 1.0, 1.0, 9.0, 1.0, 9.0, 9.0, 9.0], false);
        // Three before are enough, and one after.
        check(&far[..3], &far[..1], true);
        check(&far[..2], &far, false);
        check(&far, &[], false);
    }

    /// Rows by their first letter: `.` is 0, `v` is −5.
    fn check(rows: &str, expected: &str) {
        let y: Vec<f64> = rows.chars().map(|row| if row == 'v' { -5.0 } else { 0.0 }).collect();
        let found: String = dips(&y, 1.0).iter().map(|&is_dip| if is_dip { '!' } else { '.' }).collect();
        assert_eq!(found, expected, "{rows}");
    }

    #[test]
    fn a_dip_is_over_before_it_is_one() {
        check(".....v....", ".....!....");
        check(".....vvv.", ".....!!!.");
        check(".....vvv", "........");
        check(".....vvvv.", "..........");
        check("v......", ".......");
        check(".....vvvvvvvvvv", "...............");
    }
}
