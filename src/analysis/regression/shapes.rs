//! What moves a pooled series without being a change, and the shapes of changes.
//!
//! The deviations are what is believed before a row is seen: they decide how much of a step
//! the test may lay to drift, the day or a warm-up.

use std::f64::consts::TAU;

use super::fit::Nuisance;

/// Any level at all.
const LEVEL: f64 = 1.0;
/// The drift of a window, log-ratio in 60 cycles.
const DRIFT: f64 = 0.010;
const DRIFT_CYCLES: f64 = 60.0;
/// How much the drift bends: the powers of half such a window.
const BENDS: [(i32, f64); 2] = [(2, 0.002), (3, 0.0012)];
/// The cosine and the sine of the day, and of half a day.
const DAY: f64 = 0.006;
const HALF_DAY: f64 = 0.002;
const DAY_SECONDS: f64 = 86_400.0;
/// What is left of a warm-up or of heating up: after the first cycle of all, and after a
/// change of identity, which is mostly a restart.
const WARMUP_AT_START: f64 = 0.012;
const WARMUP_AT_CHANGE: f64 = 0.0042;
const WARMUP_CYCLES: f64 = 4.0;
/// Warm-ups that are kept apart.
const MOST_WARMUPS: usize = 4;
/// How much of an accepted change may still be on its way, as a part of it.
const SETTLING: f64 = 0.03;
const SETTLING_CYCLES: f64 = 10.0;

/// Where a warm-up began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Warmup {
    /// Cycles, as the rows' positions.
    pub position: f64,
    pub is_start: bool,
}

/// How much more than usual a series is moved by drift, by the day and by warm-ups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Restless {
    pub drift: f64,
    pub day: f64,
    pub warmup: f64,
}

impl Restless {
    pub(super) const USUAL: Self = Self { drift: 1.0, day: 1.0, warmup: 1.0 };
}

impl Default for Restless {
    fn default() -> Self {
        Self::USUAL
    }
}

/// The rows of a series and what is known of their surroundings.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// Where each row is, in cycles.
    pub positions: Vec<f64>,
    /// When each row was, in seconds of UTC.
    pub seconds: Vec<f64>,
    pub warmups: Vec<Warmup>,
    /// The log-ratio of the accepted change that the window begins with.
    pub settling: Option<f64>,
    /// How much more this measure drifts than a token rate.
    pub factor: f64,
    /// How much more than usual this series moves by itself.
    pub restless: Restless,
}

impl Surroundings {
    /// What is no change, as columns with their prior deviations.
    pub(super) fn nuisance(&self) -> Nuisance {
        let positions = || self.positions.iter();
        let (first, last) =
            (self.positions.first().copied().unwrap_or(0.0), self.positions.last().copied().unwrap_or(0.0));
        let middle = f64::midpoint(first, last);
        let (drift, day) = (self.factor * self.restless.drift, self.factor * self.restless.day);
        let mut columns = vec![
            (vec![1.0; self.positions.len()], LEVEL),
            (positions().map(|position| (position - middle) / DRIFT_CYCLES).collect(), DRIFT * drift),
        ];
        for (power, deviation) in BENDS {
            let bend = |position: &f64| ((position - middle) / (DRIFT_CYCLES / 2.0)).powi(power);
            columns.push((positions().map(bend).collect(), deviation * drift));
        }
        for (harmonic, deviation) in [(1.0, DAY), (2.0, HALF_DAY)] {
            for turn in [0.0, 0.25] {
                let wave = |seconds: &f64| (TAU * (harmonic * (seconds / DAY_SECONDS).fract() + turn)).cos();
                columns.push((self.seconds.iter().map(wave).collect(), deviation * day));
            }
        }
        let warmups = self.warmups.iter().rev().filter(|warmup| last - warmup.position < 120.0).take(MOST_WARMUPS);
        for warmup in warmups {
            let left = |position: &f64| match position - warmup.position {
                before if before < 0.0 => 0.0,
                since => (-since / WARMUP_CYCLES).exp(),
            };
            let deviation = if warmup.is_start { WARMUP_AT_START } else { WARMUP_AT_CHANGE };
            columns.push((positions().map(left).collect(), deviation * self.factor * self.restless.warmup));
        }
        if let Some(change) = self.settling {
            columns.push((
                positions().map(|position| ((position - first) / SETTLING_CYCLES).min(1.0)).collect(),
                change.abs().max(SETTLING),
            ));
            // The change may have begun a row later than was found.
            columns.push((positions().map(|position| f64::from(*position <= first)).collect(), change.abs()));
        }
        columns
    }

    /// The distances of the rows from the ones before, in cycles.
    pub(super) fn gaps(&self) -> Vec<f64> {
        let before = self.positions.first().into_iter().chain(&self.positions);
        self.positions.iter().zip(before).map(|(position, before)| position - before).collect()
    }
}

/// How a change goes on from its first row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Step,
    /// Reaches its size in so many cycles.
    Ramp(f64),
}

/// The ramps that are looked for: a server that slows within hours, and one within a day.
pub(super) const RAMPS: [f64; 2] = [10.0, 30.0];

impl Shape {
    /// How much of the change is there, a given number of cycles after the one before it.
    pub(super) fn part(self, cycles: f64) -> f64 {
        match self {
            Self::Step => f64::from(cycles > 0.0),
            Self::Ramp(length) => (cycles / length).clamp(0.0, 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTOR: f64 = 2.0;
    const RESTLESS: Restless = Restless { drift: 3.0, day: 5.0, warmup: 7.0 };

    /// Three rows: at the start of a window, five cycles later and sixty, in three hours of a day.
    fn surroundings() -> Surroundings {
        Surroundings {
            positions: vec![10.0, 15.0, 70.0],
            seconds: [3.0, 3.125, 7.5].map(|days| days * DAY_SECONDS).to_vec(),
            factor: FACTOR,
            restless: RESTLESS,
            ..Surroundings::default()
        }
    }

    fn check(columns: &[(Vec<f64>, f64)], expected: &[([f64; 3], f64)]) {
        assert_eq!(columns.len(), expected.len(), "{columns:?}");
        for ((column, deviation), (rows, expected)) in columns.iter().zip(expected) {
            assert!((deviation - expected).abs() < 1e-12, "{deviation} is not {expected}: {rows:?}");
            let is_close = column.iter().zip(rows).all(|(a, b)| (a - b).abs() < 1e-9);
            assert!(is_close && column.len() == rows.len(), "{column:?} is not {rows:?}");
        }
    }

    #[test]
    fn level_drift_and_day_are_always_there() {
        let (drift, day, diagonal) = (FACTOR * RESTLESS.drift, FACTOR * RESTLESS.day, 0.5_f64.sqrt());
        let expected = [
            ([1.0, 1.0, 1.0], 1.0),
            ([-0.5, -25.0 / 60.0, 0.5], 0.010 * drift),
            ([1.0, 25.0 / 36.0, 1.0], 0.002 * drift),
            ([-1.0, -125.0 / 216.0, 1.0], 0.0012 * drift),
            ([1.0, diagonal, -1.0], 0.006 * day),
            ([0.0, -diagonal, 0.0], 0.006 * day),
            ([1.0, 0.0, 1.0], 0.002 * day),
            ([0.0, -1.0, 0.0], 0.002 * day),
        ];
        check(&surroundings().nuisance(), &expected);
    }

    #[test]
    fn the_newest_warm_ups_fade() {
        let warmups = |starts: &[(f64, bool)]| {
            let warmups = starts.iter().map(|&(position, is_start)| Warmup { position, is_start }).collect();
            Surroundings { warmups, ..surroundings() }.nuisance().split_off(8)
        };
        let deviation = FACTOR * RESTLESS.warmup;
        let since = |cycles: f64| (-cycles / 4.0).exp();
        let at_15 = ([0.0, 1.0, since(55.0)], 0.0042 * deviation);
        check(&warmups(&[(15.0, false)]), &[at_15]);
        check(&warmups(&[(6.0, true)]), &[([since(4.0), since(9.0), since(64.0)], 0.012 * deviation)]);
        // Over after 120 cycles; and four at most.
        check(&warmups(&[(-50.0, false), (15.0, false)]), &[at_15]);
        assert_eq!(warmups(&[(-49.0, false), (15.0, false)]).len(), 2);
        let five: Vec<(f64, bool)> = (11..=15).map(|position| (f64::from(position), false)).collect();
        let newest = warmups(&five);
        check(&newest[..1], &[at_15]);
        check(&newest[3..], &[([0.0, since(3.0), since(58.0)], 0.0042 * deviation)]);
    }

    #[test]
    fn an_accepted_change_settles_and_may_have_begun_a_row_later() {
        let settling = |change: f64| Surroundings { settling: Some(change), ..surroundings() }.nuisance().split_off(8);
        check(&settling(-0.2), &[([0.0, 0.5, 1.0], 0.2), ([1.0, 0.0, 0.0], 0.2)]);
        check(&settling(0.01), &[([0.0, 0.5, 1.0], 0.03), ([1.0, 0.0, 0.0], 0.01)]);
    }

    #[test]
    fn gaps_are_from_the_row_before() {
        assert_eq!(surroundings().gaps(), [0.0, 5.0, 55.0]);
        assert!(Surroundings::default().gaps().is_empty());
    }

    #[test]
    fn a_step_is_there_at_once_and_a_ramp_by_and_by() {
        let parts = |shape: Shape| [-1.0, 0.0, 1.0, 5.0, 10.0, 40.0].map(|cycles| shape.part(cycles));
        assert_eq!(parts(Shape::Step), [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(parts(Shape::Ramp(10.0)), [0.0, 0.0, 0.1, 0.5, 1.0, 1.0]);
    }
}
