//! One target under watch: its detector, its alarms, its baseline.
//!
//! Events in, events out; no I/O.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use super::recall::{Held, Memory};
use crate::analysis::regression::compare::MOST_CYCLES;
use crate::analysis::regression::{Alarms, CellFigures, CycleView, Detector, Finding, Settings, Turned, is_back};
use crate::domain::{
    ActiveAlarm, BaselineOrder, Cause, Cell, ChangeEvent, ChangeRecord, Compared, Component, CycleRef, Epoch,
    Happening, Ratio, Sample, Scope, ToldChange,
};

/// The cycles whose numbers are remembered: more than the detector speaks of.
const NUMBERED: usize = 512;
/// A change that begins so few cycles from one that was told is the same one. The detector
/// itself never tells it twice, but one that was replayed may date it a little differently.
const SAME_CHANGE_CYCLES: u64 = 3;

/// The numbers of the cycles that the detector saw, which counts them from 0.
#[derive(Debug, Default)]
struct Numbers {
    /// How many were forgotten.
    forgotten: u64,
    newest: VecDeque<u64>,
}

impl Numbers {
    fn add(&mut self, number: u64) {
        self.newest.push_back(number);
        if self.newest.len() > NUMBERED {
            self.newest.pop_front();
            self.forgotten += 1;
        }
    }

    fn of(&self, seen: CycleRef) -> CycleRef {
        let place = usize::try_from(seen.cycle.saturating_sub(self.forgotten)).unwrap_or(usize::MAX);
        CycleRef { cycle: self.newest.get(place).copied().unwrap_or_default(), at: seen.at }
    }
}

/// A cycle that is being measured.
#[derive(Debug)]
struct Running {
    number: u64,
    at: Timestamp,
    cells: BTreeMap<Cell, CellFigures>,
}

/// A target under watch.
#[derive(Debug)]
pub(super) struct TargetWatch {
    pub(super) settings: Settings,
    pub(super) epoch: Arc<Epoch>,
    before: Option<Arc<Epoch>>,
    /// The first complete cycle of the epoch.
    first: Option<CycleRef>,
    pub(super) alarms: Alarms,
    pub(super) orders: Vec<BaselineOrder>,
    detector: Detector,
    numbers: Numbers,
    told: Vec<ToldChange>,
    running: Option<Running>,
    /// The newest complete cycles of the epoch.
    current: VecDeque<CycleView>,
    held: Option<Held>,
}

impl TargetWatch {
    /// As if it had been there all the time. What the cycles say has been said already.
    pub(super) fn restored(settings: Settings, memory: Memory) -> Self {
        let is_of_epoch = |at: Timestamp| at >= memory.epoch.first_seen;
        let first = memory.cycles.iter().find(|cycle| is_of_epoch(cycle.view.at));
        let mut watch = Self {
            settings,
            first: first.map(|cycle| CycleRef { cycle: cycle.number, at: cycle.view.at }),
            epoch: memory.epoch,
            before: memory.before,
            alarms: Alarms::restored(&memory.changes, &memory.orders),
            orders: memory.orders,
            detector: Detector::new(settings),
            numbers: Numbers::default(),
            told: memory.changes,
            running: None,
            current: memory.current.into(),
            held: memory.held,
        };
        for cycle in &memory.cycles {
            watch.detector.observe(&cycle.view);
            watch.numbers.add(cycle.number);
        }
        watch
    }

    /// All that is known, for whoever begins to listen.
    pub(super) fn record(&mut self) -> ChangeRecord {
        ChangeRecord {
            changes: self.told.clone(),
            alarms: self.alarms.active().collect(),
            baseline: self.held.as_ref().map(|held| held.baseline.clone()),
            compared: self.compare().map(Arc::new),
        }
    }

    /// Takes in what an event says of a cycle, and says what it brings to light.
    pub(super) fn hear(&mut self, at: Timestamp, happening: &Happening) -> Vec<Happening> {
        match happening {
            Happening::CycleStarted { cycle, .. } => {
                self.running = Some(Running { number: *cycle, at, cells: BTreeMap::new() });
                Vec::new()
            }
            Happening::SampleEnded { sample, .. } => {
                self.add(sample);
                Vec::new()
            }
            Happening::CycleEnded { cycle, .. } => {
                let complete = self.running.take().filter(|running| running.number == *cycle);
                complete.map(|running| self.complete(at, running)).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Another epoch of the same load runs; a cycle of the last one will never be complete.
    pub(super) fn enter(&mut self, epoch: Arc<Epoch>, held: Option<Held>) -> Vec<Happening> {
        self.before = Some(std::mem::replace(&mut self.epoch, epoch));
        self.first = None;
        self.running = None;
        self.current.clear();
        self.hold_against(held)
    }

    /// The user spoke: `orders` are all that were ever given. What the epoch is held against
    /// has to be chosen again.
    pub(super) fn obey(&mut self, orders: Vec<BaselineOrder>) -> Vec<Happening> {
        let news = orders.get(self.orders.len()..).unwrap_or_default();
        let turned = news.iter().flat_map(|order| self.alarms.obey(order)).map(turned).collect();
        self.orders = orders;
        turned
    }

    /// From now on the epoch is held against that.
    pub(super) fn hold_against(&mut self, held: Option<Held>) -> Vec<Happening> {
        self.held = held;
        let chosen = Happening::BaselineChosen(self.held.as_ref().map(|held| held.baseline.clone()));
        std::iter::once(chosen).chain(self.compare().map(|compared| Happening::Compared(Arc::new(compared)))).collect()
    }

    fn add(&mut self, sample: &Sample) {
        if let Some(running) = self.running.as_mut().filter(|running| running.number == sample.cycle)
            && sample.is_valid()
        {
            running.cells.insert(sample.cell, CellFigures::of(sample));
        }
    }

    fn complete(&mut self, now: Timestamp, running: Running) -> Vec<Happening> {
        let Running { number, at, cells } = running;
        if cells.is_empty() {
            return Vec::new();
        }
        let view = CycleView { at, identity: self.epoch.identity.clone(), cells: cells.into_values().collect() };
        self.first.get_or_insert(CycleRef { cycle: number, at });
        let findings = self.detector.observe(&view);
        self.numbers.add(number);
        self.current.push_back(view);
        if self.current.len() > MOST_CYCLES {
            self.current.pop_front();
        }
        let mut told: Vec<Happening> = findings.into_iter().flat_map(|finding| self.tell(now, finding)).collect();
        let Some(compared) = self.compare() else { return told };
        told.extend(
            self.recoveries(CycleRef { cycle: number, at: now }, &compared)
                .into_iter()
                .flat_map(|event| self.raise(event)),
        );
        told.push(Happening::Compared(Arc::new(compared)));
        told
    }

    /// The changes back to the old level that the comparison with the baseline shows: an epoch
    /// after that of the alarm may be too short for a change to be found in it by itself.
    fn recoveries(&self, now: CycleRef, compared: &Compared) -> Vec<ChangeEvent> {
        let (Some(before), Some(first)) = (&self.before, self.first) else { return Vec::new() };
        let components: Vec<Component> = before.changed_to(&self.epoch).into_iter().collect();
        let recovery = |alarm: ActiveAlarm| {
            let comparison = compared.measures.iter().find(|comparison| comparison.measure == alarm.measure)?;
            let level = comparison.ratio().filter(|level| is_back(&alarm, *level))?;
            // An alarm of this epoch is about what is in the comparison itself.
            (alarm.since.at <= self.epoch.first_seen).then(|| ChangeEvent {
                measure: alarm.measure,
                direction: alarm.direction.other(),
                detected: now,
                changed: first,
                ratio: Ratio {
                    value: level.value / alarm.ratio,
                    lower: level.lower / alarm.ratio,
                    upper: level.upper / alarm.ratio,
                },
                cause: Cause::EnvironmentChange,
                components: components.clone(),
                scope: Scope::All,
                cycles_before: comparison.baseline_cycles,
                cycles_after: comparison.current_cycles,
                affected: Vec::new(),
                minimum_effect: self.settings.minimum_effect,
            })
        };
        self.alarms.active().filter_map(recovery).collect()
    }

    /// Tells a change, unless it was told already.
    fn raise(&mut self, event: ChangeEvent) -> Vec<Happening> {
        if self.is_told(&event) {
            return Vec::new();
        }
        let event = Arc::new(event);
        self.told.push(ToldChange { event: event.clone(), returned: None });
        let turn = self.alarms.change(&event);
        std::iter::once(Happening::ChangeFound(event)).chain(turn.map(turned)).collect()
    }

    fn tell(&mut self, now: Timestamp, finding: Finding) -> Vec<Happening> {
        match finding {
            Finding::Changed(event) => {
                let detected = CycleRef { at: now, ..self.numbers.of(event.detected) };
                self.raise(ChangeEvent { detected, changed: self.numbers.of(event.changed), ..event })
            }
            Finding::Withdrawn { measure, changed, returned } => {
                let (changed, returned) = (self.numbers.of(changed), self.numbers.of(returned));
                let is_it = |told: &&mut ToldChange| told.event.measure == measure && told.event.changed == changed;
                // What was never told cannot be withdrawn.
                let Some(told) = self.told.iter_mut().rev().find(is_it) else { return Vec::new() };
                told.returned = Some(returned);
                let turn = self.alarms.withdraw(measure, returned);
                let withdrawn = Happening::ChangeWithdrawn { measure, changed, returned };
                std::iter::once(withdrawn).chain(turn.map(turned)).collect()
            }
        }
    }

    fn is_told(&self, event: &ChangeEvent) -> bool {
        let is_same = |told: &ToldChange| {
            let ChangeEvent { measure, direction, changed, .. } = &*told.event;
            (*measure, *direction) == (event.measure, event.direction)
                && changed.cycle.abs_diff(event.changed.cycle) <= SAME_CHANGE_CYCLES
                && told.returned.is_none()
        };
        self.told.iter().rev().any(is_same)
    }

    fn compare(&mut self) -> Option<Compared> {
        self.held.as_ref()?.compare(&self.epoch, self.current.make_contiguous())
    }
}

fn turned(turned: Turned) -> Happening {
    let Turned { measure, turn, direction, active } = turned;
    Happening::AlarmTurned { measure, turn, direction, active }
}
