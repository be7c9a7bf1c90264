//! Quantiles of raw values.

use crate::domain::Quantiles;

/// The `q`-quantile (0 ≤ q ≤ 1) of ascending `sorted` values, or `None` of no values.
///
/// Linear interpolation between the closest ranks: definition 7 of Hyndman and Fan,
/// "Sample Quantiles in Statistical Packages" (1996), the default of R and NumPy.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let rank = q.clamp(0.0, 1.0) * last as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the rank lies in 0..=last")]
    let below = rank.floor() as usize;
    let low = *sorted.get(below)?;
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    Some(low + (rank - below as f64) * (high - low))
}

/// The middle of `values`, in whatever order they are.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(&sorted(values), 0.5)
}

/// The quantiles that a sample publishes, or `None` of no values.
pub fn quantiles(values: &[f64]) -> Option<Quantiles> {
    let sorted = sorted(values);
    Some(Quantiles { p50: quantile(&sorted, 0.5)?, p95: quantile(&sorted, 0.95)?, p99: quantile(&sorted, 0.99)? })
}

/// A sorted copy.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_ranks() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(median(&values), Some(2.5));
        assert_eq!(quantile(&sorted(&values), 0.0), Some(1.0));
        assert_eq!(quantile(&sorted(&values), 1.0), Some(4.0));
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 0.95), Some(2.9));
    }

    #[test]
    fn no_values_have_no_quantiles() {
        assert_eq!(median(&[]), None);
        assert_eq!(quantiles(&[]), None);
    }

    #[test]
    fn one_value_is_all_its_quantiles() {
        assert_eq!(quantiles(&[7.0]), Some(Quantiles { p50: 7.0, p95: 7.0, p99: 7.0 }));
    }
}
