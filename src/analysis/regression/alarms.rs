//! All alarms of a target, from what was found and what the user said.
//!
//! The live alarms and those that the history restores take the same steps in the same order.

use jiff::Timestamp;

use super::alarm::Alarm;
use crate::domain::{
    ActiveAlarm, BaselineOrder, ChangeEvent, CycleRef, Direction, Epoch, Measure, OrderKind, Ratio, ToldChange, Turn,
};

/// An alarm from its first cycle on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Life {
    measure: Measure,
    direction: Direction,
    /// Since when the level is another one.
    from: Timestamp,
    /// When and how it ended.
    ended: Option<(Timestamp, Turn)>,
}

/// What became of an alarm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Turned {
    pub measure: Measure,
    pub turn: Turn,
    /// Of the alarm that was raised, goes on, or ended.
    pub direction: Direction,
    /// What is on from now on.
    pub active: Option<ActiveAlarm>,
}

/// Whether a level that was measured anew, as a ratio to the one before the alarm, ends the
/// alarm: it may be the old one, it cannot be that of the alarm, and little is left between.
pub fn is_back(alarm: &ActiveAlarm, level: Ratio) -> bool {
    /// What may be left of the alarm's size. A change of the rest of it ends the alarm.
    const LEFT: f64 = 0.2;
    let is_within = |ratio: f64| (level.lower..=level.upper).contains(&ratio);
    is_within(1.0) && !is_within(alarm.ratio) && level.value.ln().abs() <= LEFT * alarm.ratio.ln().abs()
}

/// The alarms of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarms {
    each: [Alarm; 3],
    lives: Vec<Life>,
}

impl Default for Alarms {
    fn default() -> Self {
        Self { each: Measure::ALL.map(Alarm::new), lives: Vec::new() }
    }
}

impl Alarms {
    /// The alarms after all that was found and said, each in its own order.
    pub fn restored(changes: &[ToldChange], orders: &[BaselineOrder]) -> Self {
        enum Step<'a> {
            Found(&'a ChangeEvent),
            Withdrawn(&'a ChangeEvent, CycleRef),
            Said(&'a BaselineOrder),
        }
        let found = changes.iter().map(|change| (change.event.detected.at, Step::Found(&change.event)));
        let withdrawn = changes.iter().filter_map(|change| {
            // A dip is known to be one only after it was told.
            change
                .returned
                .map(|returned| (returned.at.max(change.event.detected.at), Step::Withdrawn(&change.event, returned)))
        });
        let said = orders.iter().map(|order| (order.at, Step::Said(order)));
        let mut steps: Vec<(Timestamp, Step<'_>)> = found.chain(withdrawn).chain(said).collect();
        steps.sort_by_key(|(at, _)| *at);
        let mut alarms = Self::default();
        for (_, step) in steps {
            match step {
                Step::Found(event) => _ = alarms.change(event),
                Step::Withdrawn(event, returned) => _ = alarms.withdraw(event.measure, returned),
                Step::Said(order) => _ = alarms.obey(order),
            }
        }
        alarms
    }

    /// Those that are on.
    pub fn active(&self) -> impl Iterator<Item = ActiveAlarm> {
        self.each.iter().filter_map(Alarm::active)
    }

    /// A change was found.
    pub fn change(&mut self, event: &ChangeEvent) -> Option<Turned> {
        self.turn(event.measure, event.changed.at, event.detected.at, |alarm| alarm.change(event))
    }

    /// The last change of a measure was a dip.
    pub fn withdraw(&mut self, measure: Measure, returned: CycleRef) -> Option<Turned> {
        self.turn(measure, returned.at, returned.at, |alarm| alarm.withdraw(returned))
    }

    /// The user spoke: who accepts a level or pins a baseline ends all alarms.
    pub fn obey(&mut self, order: &BaselineOrder) -> Vec<Turned> {
        if order.kind == OrderKind::Unpinned {
            return Vec::new();
        }
        let accept = |measure| self.turn(measure, order.at, order.at, |alarm| alarm.accept().unwrap_or(Turn::Accepted));
        Measure::ALL.into_iter().filter_map(accept).collect()
    }

    /// Whether an epoch ended inside a regression that nobody accepted.
    pub fn is_regressed(&self, epoch: &Epoch) -> bool {
        let is_in = |life: &Life| {
            let is_over = match life.ended {
                Some((_, Turn::Accepted)) => true,
                Some((at, _)) => at <= epoch.last_seen,
                None => false,
            };
            life.direction == Direction::Regression && life.from <= epoch.last_seen && !is_over
        };
        self.lives.iter().any(is_in)
    }

    /// Has an alarm take a step. `None`: it neither is nor was on.
    fn turn(
        &mut self,
        measure: Measure,
        from: Timestamp,
        now: Timestamp,
        step: impl FnOnce(&mut Alarm) -> Turn,
    ) -> Option<Turned> {
        let alarm = self.each.get_mut(measure.index())?;
        let before = alarm.active();
        let turn = step(alarm);
        let active = alarm.active();
        let direction = active.or(before)?.direction;
        if turn != Turn::Persists {
            let going_on = self.lives.iter_mut().filter(|life| life.measure == measure && life.ended.is_none());
            going_on.for_each(|life| life.ended = Some((now, turn)));
            self.lives.extend(active.map(|_| Life { measure, direction, from, ended: None }));
        }
        Some(Turned { measure, turn, direction, active })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::{Cause, EpochId, Facts, Ratio, Scope};

    fn at(hour: u64) -> CycleRef {
        CycleRef { cycle: hour, at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour as i64) }
    }

    fn told(hour: u64, ratio: f64, returned: Option<u64>) -> ToldChange {
        let measure = Measure::TokensPerSecond;
        let event = ChangeEvent {
            measure,
            direction: Direction::of(measure, ratio.ln()),
            detected: at(hour + 1),
            changed: at(hour),
            ratio: Ratio { value: ratio, lower: ratio - 0.01, upper: ratio + 0.01 },
            cause: Cause::UnexplainedStep,
            components: Vec::new(),
            scope: Scope::All,
            cycles_before: 20,
            cycles_after: 2,
            affected: Vec::new(),
            minimum_effect: 0.01,
        };
        ToldChange { event: event.into(), returned: returned.map(at) }
    }

    fn order(hour: u64, kind: OrderKind) -> BaselineOrder {
        BaselineOrder { kind, at: at(hour).at, epoch: None }
    }

    fn active(alarms: &Alarms) -> Vec<(Direction, u64)> {
        alarms.active().map(|alarm| (alarm.direction, alarm.since.cycle)).collect()
    }

    #[test]
    fn a_level_is_back_where_it_is_the_old_one_and_not_that_of_the_alarm() {
        let since = at(1);
        let (measure, direction) = (Measure::TokensPerSecond, Direction::Regression);
        let alarm = ActiveAlarm { measure, direction, since, ratio: 0.9 };
        let check = |value: f64, lower: f64, upper: f64, expected: bool| {
            assert_eq!(is_back(&alarm, Ratio { value, lower, upper }), expected, "{value} ({lower} to {upper})");
        };
        check(0.99, 0.97, 1.01, true);
        check(1.01, 0.99, 1.03, true);
        check(0.99, 0.89, 1.09, false);
        check(0.97, 0.93, 1.01, false);
        check(0.99, 0.985, 0.995, false);
    }

    #[test]
    fn the_history_restores_what_is_on() {
        let regression = [(Direction::Regression, 11)];
        let check = |changes: &[ToldChange], orders: &[BaselineOrder], expected: &[(Direction, u64)]| {
            assert_eq!(active(&Alarms::restored(changes, orders)), expected, "{changes:?} {orders:?}");
        };
        check(&[], &[], &[]);
        check(&[told(10, 0.92, None)], &[], &regression);
        check(&[told(10, 0.92, None), told(20, 1.02, None)], &[], &regression);
        check(&[told(10, 0.92, None), told(20, 1.087, None)], &[], &[]);
        check(&[told(10, 0.92, Some(14))], &[], &[]);
        check(&[told(10, 0.92, None)], &[order(12, OrderKind::Accepted)], &[]);
        check(&[told(10, 0.92, None)], &[order(12, OrderKind::Pinned)], &[]);
        check(&[told(10, 0.92, None)], &[order(12, OrderKind::Unpinned)], &regression);
        check(&[told(10, 0.92, None)], &[order(9, OrderKind::Accepted)], &regression);
        let turned = [told(10, 0.92, None), told(20, 1.087, None)];
        check(&turned, &[order(12, OrderKind::Accepted)], &[(Direction::Improvement, 21)]);
    }

    #[test]
    fn an_alarm_tells_each_turn_and_nothing_where_it_is_not_on() {
        let mut alarms = Alarms::default();
        assert_eq!(alarms.obey(&order(1, OrderKind::Accepted)), []);
        let raised = alarms.change(&told(10, 0.92, None).event).expect("is raised");
        assert_eq!((raised.turn, raised.direction), (Turn::Raised, Direction::Regression));
        let persists = alarms.change(&told(20, 0.97, None).event).expect("is on");
        assert_eq!((persists.turn, persists.active.map(|alarm| alarm.since)), (Turn::Persists, Some(at(11))));
        let [accepted] = alarms.obey(&order(30, OrderKind::Accepted)).try_into().expect("one was on");
        assert_eq!((accepted.turn, accepted.direction, accepted.active), (Turn::Accepted, Direction::Regression, None));
        assert_eq!(alarms.obey(&order(31, OrderKind::Accepted)), []);
    }

    #[test]
    fn an_epoch_is_regressed_while_nobody_accepted_what_it_ended_in() {
        let check = |last_seen: u64, changes: &[ToldChange], orders: &[BaselineOrder], expected: bool| {
            let (first_seen, last_seen) = (at(0).at, at(last_seen).at);
            let epoch = Epoch { id: EpochId(1), identity: Facts::new(), load: Facts::new(), first_seen, last_seen };
            assert_eq!(Alarms::restored(changes, orders).is_regressed(&epoch), expected, "{changes:?} {orders:?}");
        };
        check(9, &[told(10, 0.92, None)], &[], false);
        check(15, &[told(10, 0.92, None)], &[], true);
        check(15, &[told(10, 1.08, None)], &[], false);
        check(15, &[told(10, 0.92, None), told(20, 1.087, None)], &[], true);
        check(25, &[told(10, 0.92, None), told(20, 1.087, None)], &[], false);
        // Another alarm that comes and goes does not change when the first one ended.
        let twice = [told(10, 0.92, None), told(20, 1.087, None), told(30, 0.92, None), told(40, 1.087, None)];
        check(25, &twice, &[], false);
        check(35, &twice, &[], true);
        check(15, &[told(10, 0.92, None)], &[order(20, OrderKind::Accepted)], false);
        check(25, &[told(10, 0.92, None), told(20, 0.95, None)], &[order(30, OrderKind::Accepted)], false);
    }
}
