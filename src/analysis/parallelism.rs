//! How many streams the server really decoded at once, whatever it was asked.
//!
//! A request decodes from its first to its last token. The level at a time is the number
//! of requests that decode then; everything here is read off that step function.

use std::time::Duration;

use crate::domain::RequestRecord;

/// The number of decoding streams over time, as a step function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecodingLevel {
    /// `(since, level)`, ascending; a level holds until the next step, which may be at once. The
    /// last level is 0.
    steps: Vec<(Duration, u32)>,
}

impl DecodingLevel {
    /// The level of a sample's successful requests.
    pub fn of(records: &[RequestRecord]) -> Self {
        let mut edges: Vec<(Duration, i64)> = records
            .iter()
            .filter(|record| record.succeeded())
            .filter_map(|record| Some((record.first_token_at()?, record.last_token_at()?)))
            .filter(|(first, last)| first < last)
            .flat_map(|(first, last)| [(first, 1), (last, -1)])
            .collect();
        edges.sort_unstable();
        let mut level = 0;
        let step = |(at, change): (Duration, i64)| {
            level += change;
            (at, u32::try_from(level).unwrap_or(0))
        };
        Self { steps: edges.into_iter().map(step).collect() }
    }

    /// `(start, end, level)` of each stretch of one level.
    fn stretches(&self) -> impl Iterator<Item = (Duration, Duration, u32)> + '_ {
        self.steps.iter().zip(self.steps.iter().skip(1)).map(|(&(start, level), &(end, _))| (start, end, level))
    }

    /// The stretches of time in which at least `level` streams decode, ascending and apart.
    pub fn at_least(&self, level: u32) -> Vec<(Duration, Duration)> {
        let mut windows: Vec<(Duration, Duration)> = Vec::new();
        for (start, end, _) in self.stretches().filter(|&(_, _, held)| held >= level.max(1)) {
            match windows.last_mut() {
                Some(last) if last.1 == start => last.1 = end,
                _ => windows.push((start, end)),
            }
        }
        windows
    }

    /// Time integral of the level over the time in which it is above 0.
    pub fn mean(&self) -> Option<f64> {
        let (mut integral, mut span) = (0, 0);
        for (start, end, level) in self.stretches().filter(|&(_, _, level)| level > 0) {
            let nanoseconds = (end - start).as_nanos();
            integral += nanoseconds * u128::from(level);
            span += nanoseconds;
        }
        (span > 0).then(|| integral as f64 / span as f64)
    }

    /// The highest level that was held, or exceeded, for at least `hold` without a break.
    ///
    /// The shorter of two streams that touch for an instant does not make a peak.
    pub fn peak(&self, hold: Duration) -> Option<u32> {
        let is_held = |level: u32| self.at_least(level).iter().any(|&(start, end)| end - start >= hold);
        let highest = self.steps.iter().map(|&(_, level)| level).max()?;
        // Whoever holds a level holds the lower ones: the held levels are 1..=peak.
        let (mut held, mut refused) = (0, highest + 1);
        while held + 1 < refused {
            let middle = held + (refused - held) / 2;
            if is_held(middle) { held = middle } else { refused = middle }
        }
        (held > 0).then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::measure::tests::stream;

    fn level(spans: &[(u64, u64)]) -> DecodingLevel {
        let records: Vec<_> = spans.iter().map(|&(first, last)| stream(0, &[first, last], last)).collect();
        DecodingLevel::of(&records)
    }

    const HOLD: Duration = Duration::from_millis(5);

    #[test]
    fn the_mean_is_over_the_time_in_which_anything_decodes() {
        // One stream for 10 ms, two for 10 ms, a gap, one for 10 ms.
        let level = level(&[(0, 20), (10, 20), (50, 60)]);
        assert_eq!(level.mean(), Some(40.0 / 30.0));
        assert_eq!(level.peak(HOLD), Some(2));
    }

    #[test]
    fn a_touch_is_not_a_peak() {
        let level = level(&[(0, 20), (18, 40)]);
        assert_eq!(level.peak(HOLD), Some(1));
        assert_eq!(level.peak(Duration::from_millis(2)), Some(2));
    }

    #[test]
    fn a_peak_may_be_held_by_changing_streams() {
        // The second stream hands over to the third without a break.
        assert_eq!(level(&[(0, 30), (10, 13), (13, 16)]).peak(HOLD), Some(2));
    }

    #[test]
    fn nothing_decoded_has_no_level() {
        assert_eq!(level(&[]).mean(), None);
        assert_eq!(level(&[(5, 5)]).peak(HOLD), None);
        assert_eq!(level(&[(0, 3)]).peak(HOLD), None, "nothing was held so long");
    }

    #[test]
    fn windows_join_where_they_touch() {
        let ms = Duration::from_millis;
        assert_eq!(level(&[(0, 10), (0, 20), (10, 30)]).at_least(2), [(ms(0), ms(20))]);
        assert_eq!(level(&[(0, 10), (20, 30)]).at_least(1), [(ms(0), ms(10)), (ms(20), ms(30))]);
    }
}
