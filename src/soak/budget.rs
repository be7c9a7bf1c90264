//! What a target has spent, and when it may spend more.
//!
//! Each limit holds for every span of its length, so that no edge of a calendar lets twice
//! the limit through.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::domain::plan::BudgetPlan;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Requests and their tokens, prompt and output together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub requests: u64,
    pub tokens: u64,
}

/// The spending of the last day against its limits.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    plan: BudgetPlan,
    /// The oldest first.
    entries: VecDeque<(Timestamp, Cost)>,
}

impl Ledger {
    /// `entries`: what was spent before, the oldest first.
    pub fn new(plan: BudgetPlan, entries: impl IntoIterator<Item = (Timestamp, Cost)>) -> Self {
        Self { plan, entries: entries.into_iter().collect() }
    }

    pub fn is_kept(&self) -> bool {
        self.plan.limits_anything()
    }

    pub fn spend(&mut self, at: Timestamp, cost: Cost) {
        self.entries.push_back((at, cost));
        while self.entries.front().is_some_and(|&(then, _)| at.duration_since(then) >= DAY) {
            self.entries.pop_front();
        }
    }

    /// When so much may be spent, `now` at the earliest; `None`: never.
    pub fn affordable_at(&self, cost: Cost, now: Timestamp) -> Option<Timestamp> {
        let limits = [
            (HOUR, self.plan.requests_per_hour, cost.requests, (|cost| cost.requests) as fn(Cost) -> u64),
            (DAY, self.plan.requests_per_day, cost.requests, |cost| cost.requests),
            (HOUR, self.plan.tokens_per_hour, cost.tokens, |cost| cost.tokens),
            (DAY, self.plan.tokens_per_day, cost.tokens, |cost| cost.tokens),
        ];
        let mut earliest = now;
        for (span, limit, asked, read) in limits {
            if let Some(limit) = limit {
                earliest = earliest.max(self.has_room_at(span, limit, asked, read, now)?);
            }
        }
        Some(earliest)
    }

    /// When the entries of the last `span` leave room for `asked`.
    fn has_room_at(
        &self,
        span: SignedDuration,
        limit: u64,
        asked: u64,
        read: fn(Cost) -> u64,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let room = limit.checked_sub(asked)?;
        let recent = || self.entries.iter().filter(|&&(at, _)| now.duration_since(at) < span);
        let mut spent: u64 = recent().map(|&(_, cost)| read(cost)).sum();
        let mut at = now;
        for &(then, cost) in recent() {
            if spent <= room {
                break;
            }
            spent = spent.saturating_sub(read(cost));
            at = then.checked_add(span).unwrap_or(Timestamp::MAX);
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).expect("in range")
    }

    fn cost(requests: u64, tokens: u64) -> Cost {
        Cost { requests, tokens }
    }

    #[test]
    fn a_limit_holds_for_every_span_of_its_length() {
        let plan = BudgetPlan { requests_per_hour: Some(10), ..BudgetPlan::default() };
        let ledger = Ledger::new(plan, [(at(0), cost(4, 0)), (at(30), cost(4, 0)), (at(50), cost(2, 0))]);
        assert_eq!(ledger.affordable_at(cost(0, 99), at(50)), Some(at(50)));
        assert_eq!(ledger.affordable_at(cost(1, 0), at(50)), Some(at(60)), "the first must be an hour old");
        assert_eq!(ledger.affordable_at(cost(4, 0), at(50)), Some(at(60)));
        assert_eq!(ledger.affordable_at(cost(5, 0), at(50)), Some(at(90)));
        assert_eq!(ledger.affordable_at(cost(10, 0), at(50)), Some(at(110)));
        assert_eq!(ledger.affordable_at(cost(11, 0), at(50)), None);
        assert_eq!(ledger.affordable_at(cost(4, 0), at(61)), Some(at(61)));
    }

    #[test]
    fn the_tightest_limit_decides() {
        let plan = BudgetPlan { requests_per_hour: Some(10), tokens_per_day: Some(100), ..BudgetPlan::default() };
        let mut ledger = Ledger::new(plan, []);
        ledger.spend(at(0), cost(1, 60));
        assert_eq!(ledger.affordable_at(cost(1, 40), at(1)), Some(at(1)));
        assert_eq!(ledger.affordable_at(cost(1, 41), at(1)), Some(at(24 * 60)));
        assert!(!Ledger::default().is_kept());
        assert_eq!(Ledger::default().affordable_at(cost(u64::MAX, u64::MAX), at(1)), Some(at(1)));
    }
}
