//! Reads single families out of a page in Prometheus' text format.
//!
//! Not a parser of the format: what is not asked for is skipped, sound or not. The page is
//! bounded by whoever read it.

/// The sum of a family's samples over all their labels; `None` where the page has none.
pub fn sum(page: &[u8], family: &str) -> Option<f64> {
    page.split(|&byte| byte == b'\n').filter_map(|line| sample(line, family)).reduce(|sum, value| sum + value)
}

/// [`sum`] of what can only be counted: 0 or more, and small enough to be exact.
pub fn count(page: &[u8], family: &str) -> Option<u64> {
    /// 2⁵³: beyond it not all whole numbers are floats.
    const MOST: f64 = 9_007_199_254_740_992.0;
    let sum = sum(page, family).filter(|sum| (0.0..=MOST).contains(sum))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lies between 0 and 2⁵³")]
    let count = sum.round() as u64;
    Some(count)
}

/// The value of a line that is a sample of the family; no value that is no number.
fn sample(line: &[u8], family: &str) -> Option<f64> {
    let rest = line.trim_ascii_start().strip_prefix(family.as_bytes())?;
    let rest = match rest.first()? {
        b'{' => after_labels(rest)?,
        b' ' | b'\t' => rest,
        // A longer name.
        _ => return None,
    };
    // A time may follow.
    let value: f64 = std::str::from_utf8(rest).ok()?.split_ascii_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// What follows the labels; their values are quoted and may hold braces.
fn after_labels(labels: &[u8]) -> Option<&[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let end = labels.iter().position(|&byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_quoted,
            b'"' => is_quoted = !is_quoted,
            b'}' => return !is_quoted,
            _ => {}
        }
        false
    })?;
    labels.get(end + 1..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(page: &str, expected: Option<f64>) {
        assert_eq!(sum(page.as_bytes(), "a:b_total"), expected, "{page}");
    }

    #[test]
    fn a_sample_is_read_with_and_without_labels() {
        check("# HELP a:b_total 9\n# TYPE a:b_total counter\na:b_total 17\n", Some(17.0));
        check("a:b_total{x=\"1\",y=\"2\"} 1.5e+06\r\n", Some(1_500_000.0));
        check("  a:b_total\t3 1700000000000", Some(3.0));
        check("a:b_total{} -2", Some(-2.0));
        check("a:b_total{x=\"}\\\"} 5\",} 4", Some(4.0));
    }

    #[test]
    fn samples_of_all_labels_are_summed() {
        check("a:b_total{x=\"1\"} 1\na:b_total{x=\"2\"} 2\na:b_total 4", Some(7.0));
    }

    #[test]
    fn what_is_no_sample_of_the_family_is_skipped() {
        for page in [
            "",
            "a:b_total",
            "a:b_total ",
            "a:b_total{x=\"1\"}",
            "a:b_total{x=\"1\" 5",
            "a:b_total_sum 5",
            "a:b 5",
            "xa:b_total 5",
            "#a:b_total 5",
            "a:b_total NaN",
            "a:b_total +Inf",
            "a:b_total five",
            "a:b_total=5",
        ] {
            check(page, None);
        }
    }

    #[test]
    fn what_cannot_be_counted_is_no_count() {
        for (page, expected) in [
            ("a 7", Some(7)),
            ("a 1.234567e+06", Some(1_234_567)),
            ("a 2.0", Some(2)),
            ("a -1", None),
            ("a 1e300", None),
        ] {
            assert_eq!(count(page.as_bytes(), "a"), expected, "{page}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(page in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = count(&page, "a");
            let _ = count(&[b"a{", page.as_slice()].concat(), "a");
        }

        #[test]
        fn nothing_around_a_sample_changes_it(
            before in "[^\n]{0,20}",
            after in prop::collection::vec(any::<u8>(), 0..40),
            label in "[^\\\\\"\n]{0,10}",
            value in 0_u32..,
        ) {
            prop_assume!(!before.trim_ascii_start().starts_with('a'));
            let after: Vec<u8> = after.into_iter().filter(|&byte| byte != b'a').collect();
            let page = [format!("{before}\na{{x=\"{label}\"}} {value}\n").as_bytes(), &after].concat();
            prop_assert_eq!(count(&page, "a"), Some(value.into()));
        }
    }
}
