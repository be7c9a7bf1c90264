//! The life of an alarm: raised, going on, and over.
//!
//! An alarm is about the level that was last accepted, not about the last step: it outlives
//! restarts and harmless changes, and two steps that undo each other end it. All of it follows
//! from the events in their order, so that the history restores it.

use crate::analysis::interval::normal_quantile;
use crate::domain::{ActiveAlarm, ChangeEvent, CycleRef, Direction, Measure, Ratio, Turn};

/// The alarm of one measure of one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    pub measure: Measure,
    /// The log-ratio of the level to the accepted one.
    level: f64,
    /// How unsure the level is: the variances of the changes that led to it.
    variance: f64,
    /// What is told, while something is.
    active: Option<(Direction, CycleRef)>,
    /// The last change's part of the level, and of its variance, while it may be a dip.
    last: f64,
    last_variance: f64,
    /// The least log-ratio that mattered when the last change was told.
    minimum_effect: f64,
}

impl Alarm {
    pub fn new(measure: Measure) -> Self {
        Self { measure, level: 0.0, variance: 0.0, active: None, last: 0.0, last_variance: 0.0, minimum_effect: 0.0 }
    }

    /// The alarm, while it is on.
    pub fn active(&self) -> Option<ActiveAlarm> {
        self.active.map(|(direction, since)| ActiveAlarm {
            measure: self.measure,
            direction,
            since,
            ratio: self.ratio(),
        })
    }

    /// The level, as a ratio to the accepted one.
    pub fn ratio(&self) -> f64 {
        self.level.exp()
    }

    /// A change of this measure was found.
    pub fn change(&mut self, event: &ChangeEvent) -> Turn {
        let Ratio { value, lower, upper } = event.ratio;
        self.last = value.ln();
        self.last_variance = ((upper / lower).ln() / 2.0 / normal_quantile(0.975)).powi(2);
        self.minimum_effect = event.minimum_effect.ln_1p();
        self.level += self.last;
        self.variance += self.last_variance;
        self.settle(event.detected)
    }

    /// The last change was a dip.
    pub fn withdraw(&mut self, returned: CycleRef) -> Turn {
        self.level -= self.last;
        self.variance -= self.last_variance;
        (self.last, self.last_variance) = (0.0, 0.0);
        match self.settle(returned) {
            Turn::Recovered => Turn::Transient,
            turn => turn,
        }
    }

    /// The user takes the level as it is.
    pub fn accept(&mut self) -> Option<Turn> {
        (self.level, self.variance) = (0.0, 0.0);
        (self.last, self.last_variance) = (0.0, 0.0);
        self.active.take().map(|_| Turn::Accepted)
    }

    fn settle(&mut self, now: CycleRef) -> Turn {
        // The sizes of two changes are known no better than their intervals say; but most of a
        // change is not made up for by doubt.
        let doubt = (2.0 * self.variance.max(0.0).sqrt()).clamp(self.last.abs() / 4.0, self.last.abs() / 2.0);
        let is_back = self.level.abs() <= self.minimum_effect.max(doubt);
        let direction = Direction::of(self.measure, self.level);
        match self.active {
            Some(_) if is_back => {
                self.active = None;
                // What is left is error of the estimates, which must not add up.
                (self.level, self.variance) = (0.0, 0.0);
                Turn::Recovered
            }
            Some((before, _)) if before == direction => Turn::Persists,
            None if is_back => Turn::Recovered,
            _ => {
                self.active = Some((direction, now));
                Turn::Raised
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{Cause, Component, Scope};

    fn at(cycle: u64) -> CycleRef {
        CycleRef { cycle, at: Timestamp::UNIX_EPOCH }
    }

    fn change(cycle: u64, ratio: f64) -> ChangeEvent {
        ChangeEvent {
            measure: Measure::TokensPerSecond,
            direction: Direction::of(Measure::TokensPerSecond, ratio.ln()),
            detected: at(cycle),
            changed: at(cycle),
            ratio: Ratio { value: ratio, lower: ratio - 0.01, upper: ratio + 0.01 },
            cause: Cause::EnvironmentChange,
            components: vec![Component::Driver],
            scope: Scope::All,
            cycles_before: 20,
            cycles_after: 2,
            affected: Vec::new(),
            minimum_effect: 0.01,
        }
    }

    fn is_on(alarm: &Alarm) -> Option<(Direction, CycleRef)> {
        alarm.active().map(|alarm| (alarm.direction, alarm.since))
    }

    fn alarm() -> Alarm {
        Alarm::new(Measure::TokensPerSecond)
    }

    #[test]
    fn it_outlives_what_does_not_bring_the_level_back() {
        let mut alarm = alarm();
        assert_eq!(alarm.change(&change(10, 0.92)), Turn::Raised);
        assert_eq!(alarm.change(&change(20, 1.02)), Turn::Persists);
        assert_eq!(alarm.change(&change(30, 0.95)), Turn::Persists);
        assert_eq!(is_on(&alarm), Some((Direction::Regression, at(10))));
        assert!((alarm.ratio() - 0.891).abs() < 0.001);
    }

    #[test]
    fn it_recovers_when_the_level_is_back() {
        let mut alarm = alarm();
        alarm.change(&change(10, 0.92));
        assert_eq!(alarm.change(&change(20, 1.08)), Turn::Recovered);
        assert_eq!((is_on(&alarm), alarm.ratio()), (None, 1.0));
    }

    #[test]
    fn it_ends_when_the_level_is_accepted_and_begins_anew_from_there() {
        let mut alarm = alarm();
        assert_eq!(alarm.accept(), None);
        alarm.change(&change(10, 0.92));
        assert_eq!(alarm.accept(), Some(Turn::Accepted));
        assert_eq!(is_on(&alarm), None);
        assert_eq!(alarm.change(&change(20, 1.09)), Turn::Raised);
        assert_eq!(is_on(&alarm), Some((Direction::Improvement, at(20))));
    }

    #[test]
    fn it_recovers_as_far_as_one_can_tell() {
        let rough = |cycle, value: f64, error: f64| {
            let ratio = Ratio { value, lower: value * (1.0 - error), upper: value * (1.0 + error) };
            ChangeEvent { ratio, ..change(cycle, value) }
        };
        let ended = |error| {
            let mut alarm = alarm();
            alarm.change(&rough(10, 0.70, error));
            alarm.change(&rough(20, 1.28, error))
        };
        assert_eq!(ended(0.12), Turn::Recovered);
        assert_eq!(ended(0.01), Turn::Persists, "a tenth is surely lost");
        let mut alarm = alarm();
        alarm.change(&rough(10, 0.60, 0.3));
        assert_eq!(alarm.change(&rough(20, 1.15, 0.3)), Turn::Persists, "doubt alone makes up for no third");
    }

    #[test]
    fn a_dip_leaves_nothing_behind() {
        let mut alarm = alarm();
        alarm.change(&change(10, 0.8));
        assert_eq!(alarm.withdraw(at(15)), Turn::Transient);
        assert_eq!((is_on(&alarm), alarm.ratio()), (None, 1.0));
    }

    #[test]
    fn a_step_beyond_the_old_level_turns_it_round() {
        let mut alarm = alarm();
        alarm.change(&change(10, 0.92));
        assert_eq!(alarm.change(&change(20, 1.3)), Turn::Raised);
        assert_eq!(is_on(&alarm), Some((Direction::Improvement, at(20))));
    }

    #[test]
    fn what_does_not_matter_raises_nothing() {
        let mut alarm = alarm();
        assert_eq!(alarm.change(&change(10, 0.995)), Turn::Recovered);
        assert_eq!(is_on(&alarm), None);
    }

    #[test]
    fn a_quarter_of_a_change_may_be_left_when_the_level_is_back_and_no_more_than_half() {
        let check = |doubt: f64, back: f64, expected: Turn| {
            let event = |cycle: u64, log: f64| {
                let ratio = Ratio { value: log.exp(), lower: (log - doubt).exp(), upper: (log + doubt).exp() };
                ChangeEvent { ratio, ..change(cycle, log.exp()) }
            };
            let mut alarm = alarm();
            alarm.change(&event(10, -0.2));
            assert_eq!(alarm.change(&event(20, back)), expected, "{doubt} {back}");
        };
        // Known exactly: 0.16 leaves 0.04, a quarter of itself.
        check(1e-6, 0.161, Turn::Recovered);
        check(1e-6, 0.159, Turn::Persists);
        // Not known at all: two thirds leave a third, half of themselves.
        check(9.0, 0.134, Turn::Recovered);
        check(9.0, 0.133, Turn::Persists);
    }

    #[test]
    fn a_dip_ends_its_alarm_however_little_matters() {
        for ratio in [0.8, 1.25] {
            let mut alarm = alarm();
            assert_eq!(alarm.change(&ChangeEvent { minimum_effect: 0.0, ..change(10, ratio) }), Turn::Raised);
            assert_eq!(alarm.withdraw(at(15)), Turn::Transient);
            assert_eq!((is_on(&alarm), alarm.ratio()), (None, 1.0));
        }
    }

    #[test]
    fn the_doubts_of_changes_add_up_and_a_dip_takes_its_own_away() {
        let doubt = |ratio: f64| (((ratio + 0.01) / (ratio - 0.01)).ln() / 2.0 / 1.959_964).powi(2);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
        let mut alarm = alarm();
        alarm.change(&change(10, 0.8));
        alarm.change(&change(20, 0.7));
        close(alarm.variance, doubt(0.8) + doubt(0.7));
        close(alarm.ratio(), 0.8 * 0.7);
        assert_eq!(alarm.withdraw(at(25)), Turn::Persists);
        close(alarm.variance, doubt(0.8));
        close(alarm.ratio(), 0.8);
    }
}
