//! Durations as people write them: `5s`, `300ms`, `2m`, `1h30m`, `7d`.

use std::time::Duration;

/// The units and their length in milliseconds, the longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Whole numbers with their units, the longer units first.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (mut rest, mut millis, mut longer) = (text, 0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let length = UNITS.iter().find(|(name, _)| *name == unit).map(|&(_, length)| length)?;
        // `1m1m` and `5s1h` are slips of the pen rather than durations.
        if length >= longer {
            return None;
        }
        millis = number.parse::<u64>().ok()?.checked_mul(length)?.checked_add(millis)?;
        (rest, longer) = (tail, length);
    }
    (!text.is_empty()).then(|| Duration::from_millis(millis))
}

/// The shortest text that [`parse`] reads as `duration`, to the millisecond.
pub(super) fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, length) in UNITS {
        if rest >= length {
            text += &format!("{}{unit}", rest / length);
            rest %= length;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected_millis: Option<u64>) {
        assert_eq!(parse(text), expected_millis.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn durations_are_numbers_with_units() {
        check("5s", Some(5000));
        check("300ms", Some(300));
        check("1h30m", Some(5_400_000));
        check("7d", Some(604_800_000));
        check("0s", Some(0));
    }

    #[test]
    fn anything_else_is_none() {
        for text in ["", "5", "s", "5 s", "1.5s", "-1s", "5m1h", "1s1s", "5µs", "5sec", "99999999999999999999s"] {
            check(text, None);
        }
        check(&format!("{}d", u64::MAX), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(millis in 0..u64::MAX) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&show(duration)), Some(duration));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
