//! What a target has spent, and when it may spend more.
//!
//! Each limit holds for every span of its length, so that no edge of a calendar lets twice
//! the limit through.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::domain::plan::BudgetPlan;
use crate::domain::{Cost, Spent};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// The longest span that a limit is for: what was spent before it counts no more.
pub const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The spending of the last day against its limits.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    plan: BudgetPlan,
    /// The oldest first.
    entries: VecDeque<Spent>,
}

impl Ledger {
    /// `entries`: what was spent before, the oldest first.
    pub fn new(plan: BudgetPlan, entries: impl IntoIterator<Item = Spent>) -> Self {
        Self { plan, entries: entries.into_iter().collect() }
    }

    /// The same spending under other limits.
    pub fn under(self, plan: BudgetPlan) -> Self {
        Self { plan, ..self }
    }

    /// Enters what is about to be spent, or what was.
    pub fn enter(&mut self, spent: Spent) {
        self.entries.push_back(spent);
        while self.entries.front().is_some_and(|first| spent.at.duration_since(first.at) >= DAY) {
            self.entries.pop_front();
        }
    }

    /// Takes the entry of a time out again: what it came to is entered in its place.
    pub fn strike(&mut self, at: Timestamp) {
        if let Some(index) = self.entries.iter().rposition(|entry| entry.at == at) {
            self.entries.remove(index);
        }
    }

    /// When so much may be spent, `now` at the earliest; `None`: never.
    pub fn affordable_at(&self, cost: Cost, now: Timestamp) -> Option<Timestamp> {
        let limits = [
            (HOUR, self.plan.requests_per_hour, (|cost| cost.requests) as fn(Cost) -> u64),
            (DAY, self.plan.requests_per_day, |cost| cost.requests),
            (HOUR, self.plan.tokens_per_hour, |cost| cost.tokens),
            (DAY, self.plan.tokens_per_day, |cost| cost.tokens),
        ];
        let mut earliest = now;
        for (span, limit, read) in limits {
            if let Some(limit) = limit {
                earliest = earliest.max(self.has_room_at(span, limit, read(cost), read, now)?);
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
        // A clock that was ahead for a while leaves entries of times to come; they count for
        // nothing, or they would block the target until then.
        let recent = || self.entries.iter().filter(|spent| spent.at <= now && now.duration_since(spent.at) < span);
        let mut sum: u64 = recent().map(|spent| read(spent.cost)).sum();
        let mut at = now;
        for spent in recent() {
            if sum <= room {
                break;
            }
            sum = sum.saturating_sub(read(spent.cost));
            at = spent.at.checked_add(span).unwrap_or(Timestamp::MAX);
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

    fn spent(minute: i64, requests: u64, tokens: u64) -> Spent {
        Spent { at: at(minute), cost: cost(requests, tokens) }
    }

    #[test]
    fn a_limit_holds_for_every_span_of_its_length() {
        let plan = BudgetPlan { requests_per_hour: Some(10), ..BudgetPlan::default() };
        let ledger = Ledger::new(plan, [spent(0, 4, 0), spent(30, 4, 0), spent(50, 2, 0)]);
        assert_eq!(ledger.affordable_at(cost(0, 99), at(50)), Some(at(50)));
        assert_eq!(ledger.affordable_at(cost(1, 0), at(50)), Some(at(60)), "the first must be an hour old");
        assert_eq!(ledger.affordable_at(cost(4, 0), at(50)), Some(at(60)));
        assert_eq!(ledger.affordable_at(cost(5, 0), at(50)), Some(at(90)));
        assert_eq!(ledger.affordable_at(cost(10, 0), at(50)), Some(at(110)));
        assert_eq!(ledger.affordable_at(cost(11, 0), at(50)), None);
        assert_eq!(ledger.affordable_at(cost(4, 0), at(61)), Some(at(61)));
        assert_eq!(ledger.affordable_at(cost(6, 0), at(29)), Some(at(29)), "entries of times to come do not count");
    }

    #[test]
    fn the_tightest_limit_decides() {
        let plan = BudgetPlan { requests_per_hour: Some(10), tokens_per_day: Some(100), ..BudgetPlan::default() };
        let mut ledger = Ledger::new(plan, []);
        ledger.enter(spent(0, 1, 60));
        assert_eq!(ledger.affordable_at(cost(1, 40), at(1)), Some(at(1)));
        assert_eq!(ledger.affordable_at(cost(1, 41), at(1)), Some(at(24 * 60)));
        assert_eq!(Ledger::default().affordable_at(cost(u64::MAX, u64::MAX), at(1)), Some(at(1)));
    }

    #[test]
    fn what_was_reserved_gives_way_to_what_it_came_to() {
        let plan = BudgetPlan { requests_per_hour: Some(10), ..BudgetPlan::default() };
        let mut ledger = Ledger::new(plan, [spent(0, 1, 0)]);
        ledger.enter(spent(1, 9, 0));
        assert_eq!(ledger.affordable_at(cost(1, 0), at(1)), Some(at(60)));
        ledger.strike(at(1));
        ledger.enter(spent(2, 3, 0));
        assert_eq!(ledger.affordable_at(cost(6, 0), at(2)), Some(at(2)));
        assert_eq!(ledger.affordable_at(cost(7, 0), at(2)), Some(at(60)));
    }
}
