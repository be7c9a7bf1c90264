//! What is known of the changes of a target: the newest, the alarms, the baseline.
//!
//! Built from events like all of the board; how a change is found is no matter of its.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::{
    ActiveAlarm, Baseline, Cause, ChangeEvent, ChangeRecord, Compared, CycleRef, Direction, EpochId, Happening,
    Measure, ToldChange,
};

/// Changes that a page shows; older ones are in the history.
const NEWEST: usize = 48;

/// The changes of one target.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The newest last.
    pub newest: VecDeque<ToldChange>,
    /// The alarms that are on.
    pub alarms: BTreeMap<Measure, ActiveAlarm>,
    /// When a change of a measure was last told.
    pub detected_at: BTreeMap<Measure, Timestamp>,
    /// What the running epoch is held against.
    pub baseline: Option<Arc<Baseline>>,
    pub compared: Option<Arc<Compared>>,
    counts: BTreeMap<(Direction, Measure, Cause), u64>,
}

impl Changes {
    /// How many changes of that kind were told, ever.
    pub fn count(&self, direction: Direction, measure: Measure, cause: Cause) -> u64 {
        self.counts.get(&(direction, measure, cause)).copied().unwrap_or(0)
    }

    /// Whether an alarm of that kind is on.
    pub fn is_active(&self, direction: Direction, measure: Measure) -> bool {
        self.alarms.get(&measure).is_some_and(|alarm| alarm.direction == direction)
    }

    /// Takes in what an event says of changes; others say nothing.
    pub(super) fn apply(&mut self, happening: &Happening) {
        match happening {
            Happening::ChangesRestored(record) => *self = Self::restored(record),
            Happening::ChangeFound(event) => self.add(&ToldChange { event: event.clone(), returned: None }),
            Happening::ChangeWithdrawn { measure, changed, returned } => self.withdraw(*measure, *changed, *returned),
            Happening::AlarmTurned { measure, active: Some(alarm), .. } => _ = self.alarms.insert(*measure, *alarm),
            Happening::AlarmTurned { measure, active: None, .. } => _ = self.alarms.remove(measure),
            Happening::BaselineChosen(baseline) => self.hold_against(baseline.clone()),
            Happening::Compared(compared) => self.compared = Some(compared.clone()),
            _ => {}
        }
    }

    /// Another epoch runs: what the last one was compared with says nothing of it.
    pub(super) fn enter(&mut self, epoch: EpochId) {
        if self.compared.as_ref().is_some_and(|compared| compared.current != epoch) {
            self.compared = None;
        }
        if self.baseline.as_ref().is_some_and(|baseline| baseline.epoch.id == epoch) {
            self.baseline = None;
        }
    }

    fn restored(record: &ChangeRecord) -> Self {
        let mut changes = Self {
            alarms: record.alarms.iter().map(|alarm| (alarm.measure, *alarm)).collect(),
            baseline: record.baseline.clone(),
            compared: record.compared.clone(),
            ..Self::default()
        };
        for change in &record.changes {
            changes.add(change);
        }
        changes
    }

    fn add(&mut self, change: &ToldChange) {
        let ChangeEvent { measure, direction, cause, detected, .. } = *change.event;
        *self.counts.entry((direction, measure, cause)).or_default() += 1;
        self.detected_at.insert(measure, detected.at);
        self.newest.push_back(change.clone());
        if self.newest.len() > NEWEST {
            self.newest.pop_front();
        }
    }

    fn withdraw(&mut self, measure: Measure, changed: CycleRef, returned: CycleRef) {
        let is_it = |told: &&mut ToldChange| told.event.measure == measure && told.event.changed == changed;
        if let Some(told) = self.newest.iter_mut().rev().find(is_it) {
            told.returned = Some(returned);
        }
    }

    fn hold_against(&mut self, baseline: Option<Arc<Baseline>>) {
        let id = baseline.as_ref().map(|baseline| baseline.epoch.id);
        if self.compared.as_ref().is_some_and(|compared| Some(compared.baseline) != id) {
            self.compared = None;
        }
        self.baseline = baseline;
    }
}
