//! Numbers as people read them: significant digits, no noise.

use jiff::Timestamp;

/// What stands where there is no number.
pub(super) const NOTHING: &str = "–";

/// Digits of a measured figure.
const FIGURE_DIGITS: usize = 4;
/// Digits of a figure in the legacy report.
const PRINTED_DIGITS: usize = 6;
/// Digits of a latency quantile, which is less sure.
const LATENCY_DIGITS: usize = 3;

/// `value` with that many significant digits; digits before the point are never dropped.
pub(super) fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    // Scientific notation rounds first, so that 9.9999 counts as 10.
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let exponent: i32 = scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let decimals = i32::try_from(digits).unwrap_or(i32::MAX).saturating_sub(1).saturating_sub(exponent);
    with_decimals(value, usize::try_from(decimals).unwrap_or(0))
}

/// A number with a typographer's minus, which nothing that is 0 as it is shown has.
fn with_decimals(value: f64, decimals: usize) -> String {
    let size = format!("{:.decimals$}", value.abs());
    let is_below_zero = value < 0.0 && size.chars().any(|c| c.is_ascii_digit() && c != '0');
    if is_below_zero { format!("−{size}") } else { size }
}

/// A rate, a number of seconds: a figure of a sample.
pub(super) fn figure(value: f64) -> String {
    significant(value, FIGURE_DIGITS)
}

/// A figure that was printed with six digits elsewhere, as it was printed there.
pub(super) fn as_printed(value: f64) -> String {
    let text = significant(value, PRINTED_DIGITS);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A latency in seconds, shown in seconds.
pub(super) fn seconds(value: Option<f64>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |seconds| significant(seconds, LATENCY_DIGITS))
}

/// A latency in seconds, shown in milliseconds.
pub(super) fn milliseconds(value: Option<f64>) -> String {
    seconds(value.map(|seconds| seconds * 1e3))
}

/// A count, or the median of counts.
pub(super) fn whole(value: f64) -> String {
    if value.is_finite() { format!("{value:.0}") } else { NOTHING.to_owned() }
}

/// A ratio as a percentage with two significant digits.
pub(super) fn percent(ratio: f64) -> String {
    format!("{} %", significant(ratio * 100.0, 2))
}

/// By how much a ratio differs from 1, with its sign.
pub(super) fn signed_percent(ratio: f64) -> String {
    let sign = if ratio > 1.0 { "+" } else { "" };
    format!("{sign}{} %", significant(100.0 * (ratio - 1.0), 2))
}

/// Two numbers with the decimals that tell them apart.
pub(super) fn range_of(lower: f64, upper: f64) -> String {
    match decimals_of_range(lower, upper) {
        // Beside a minus a dash would be one more.
        Some(decimals) => {
            let between = if lower < 0.0 { "…" } else { "–" };
            format!("{} {between} {}", with_decimals(lower, decimals), with_decimals(upper, decimals))
        }
        None => NOTHING.to_owned(),
    }
}

/// A value and the range that it is in, with the digits of the range.
pub(super) fn with_range(value: f64, lower: f64, upper: f64) -> String {
    match decimals_of_range(lower, upper) {
        Some(decimals) => format!("{} ({})", with_decimals(value, decimals), range_of(lower, upper)),
        None => figure(value),
    }
}

/// By how much two ratios differ from 1. No dash, which would be one more minus.
pub(super) fn signed_range(lower: f64, upper: f64) -> String {
    let (lower, upper) = (100.0 * (lower - 1.0), 100.0 * (upper - 1.0));
    let Some(decimals) = decimals_of_range(lower, upper) else { return NOTHING.to_owned() };
    let text = |value: f64| {
        let number = with_decimals(value, decimals);
        let is_above_zero = value > 0.0 && number.chars().any(|c| c.is_ascii_digit() && c != '0');
        if is_above_zero { format!("+{number}") } else { number }
    };
    format!("{} … {} %", text(lower), text(upper))
}

/// Two significant digits of the width of a range.
fn decimals_of_range(lower: f64, upper: f64) -> Option<usize> {
    let width = (upper - lower).max(1e-3 * upper.abs().max(lower.abs()));
    let decimals = || significant(width, 2).split_once('.').map_or(0, |(_, decimals)| decimals.len());
    width.is_finite().then(decimals)
}

/// A time in UTC, to the second.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_their_significant_digits_and_no_more() {
        let check = |value: f64, expected: &str| assert_eq!(figure(value), expected, "{value}");
        check(345.392, "345.4");
        check(0.587979, "0.5880");
        check(14.1115, "14.11");
        check(9.99996, "10.00");
        check(12345.678, "12346");
        check(0.0, "0");
        check(-2.5, "−2.500");
        check(f64::NAN, NOTHING);
        check(f64::INFINITY, NOTHING);
    }

    #[test]
    fn printed_figures_are_shown_as_they_were() {
        let check = |value: f64, expected: &str| assert_eq!(as_printed(value), expected);
        check(4.86047, "4.86047");
        check(0.90349, "0.90349");
        check(28.385, "28.385");
        check(282.1, "282.1");
        check(117.0, "117");
        check(10049.0, "10049");
        check(1_234_567.0, "1234567");
        check(0.0, "0");
        check(f64::NAN, NOTHING);
    }

    #[test]
    fn latencies_and_ratios_have_fewer_digits() {
        assert_eq!(milliseconds(Some(0.021_234)), "21.2");
        assert_eq!(seconds(Some(1.2345)), "1.23");
        assert_eq!(seconds(None), NOTHING);
        assert_eq!(percent(0.012_34), "1.2 %");
        assert_eq!(whole(4873.5), "4874");
    }

    #[test]
    fn changes_carry_their_sign_and_ranges_their_decimals() {
        assert_eq!(signed_percent(0.9187), "−8.1 %");
        assert_eq!(signed_percent(1.002), "+0.20 %");
        assert_eq!(signed_percent(1.0), "0 %");
        assert_eq!(signed_range(0.909_63, 0.9279), "−9.0 … −7.2 %");
        assert_eq!(signed_range(0.9958, 1.0081), "−0.4 … +0.8 %");
        assert_eq!(signed_range(1.0, 1.025), "0.0 … +2.5 %");
        assert_eq!(range_of(18.91, 19.142), "18.91 – 19.14");
        assert_eq!(range_of(-18.91, 2.0), "−19 … 2");
        assert_eq!(range_of(18.0, 18.0), "18.000 – 18.000");
        assert_eq!(range_of(1180.0, 1301.0), "1180 – 1301");
        assert_eq!(with_range(18.9, 18.474, 19.302), "18.90 (18.47 – 19.30)");
        assert_eq!(with_range(18.9, 0.0, f64::INFINITY), figure(18.9));
        assert_eq!(range_of(0.0, f64::INFINITY), NOTHING);
    }
}
