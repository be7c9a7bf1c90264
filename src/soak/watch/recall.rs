//! What the history knows of a target's changes, and what its running epoch is held against.
//!
//! Reads only. What it returns is a function of the history: a daemon, a command and a report
//! get the same answer.

use std::sync::Arc;

use crate::analysis::conclusions::{Conclusions, Question};
use crate::analysis::optimum::{Best, Optimum};
use crate::analysis::regression::baseline::{self, EarlierEpoch};
use crate::analysis::regression::compare::{self, MOST_CYCLES};
use crate::analysis::regression::{Alarms, CycleView};
use crate::domain::{
    Baseline, BaselineOptimum, BaselineOrder, Compared, Epoch, EpochId, EstimatePlan, OrderKind, SlotsMode, TargetId,
    ToldChange,
};
use crate::store::{Cycle, EpochSummary, Reader, StoreError};

/// The cycles that the detector is fed again: more than it remembers.
const REPLAYED: usize = 400;

/// A baseline with what was measured in it.
#[derive(Clone, Debug)]
pub struct Held {
    pub baseline: Arc<Baseline>,
    /// The newest complete cycles.
    pub cycles: Vec<CycleView>,
}

impl Held {
    /// The running epoch beside it; `None` where their loads differ.
    pub fn compare(&self, epoch: &Epoch, current: &[CycleView]) -> Option<Compared> {
        let Baseline { epoch: before, is_pinned, .. } = &*self.baseline;
        if !baseline::load_differences(before, epoch).is_empty() {
            return None;
        }
        let measures = compare::compare(&self.cycles, current, *is_pinned);
        Some(Compared { baseline: before.id, current: epoch.id, measures })
    }
}

/// What is known of a target.
#[derive(Clone, Debug)]
pub struct Memory {
    /// The newest epoch that was measured here.
    pub epoch: Arc<Epoch>,
    /// The one before it.
    pub before: Option<Arc<Epoch>>,
    /// The newest complete cycles of its load, of earlier epochs too, the oldest first.
    pub cycles: Vec<Cycle>,
    /// The newest complete cycles of the epoch.
    pub current: Vec<CycleView>,
    pub changes: Vec<ToldChange>,
    pub orders: Vec<BaselineOrder>,
    pub held: Option<Held>,
}

/// All that is known of a target; `None` if it was never measured.
pub fn memory(history: &Reader, target: &TargetId, plan: &EstimatePlan) -> Result<Option<Memory>, StoreError> {
    let Some(newest) = history.newest_epoch(&target.name, Some(&target.model))? else { return Ok(None) };
    let epoch = newest.epoch;
    let (changes, orders) = (history.changes(target)?, history.baseline_orders(target)?);
    let alarms = Alarms::restored(&changes, &orders);
    let held = held(history, target, &epoch, &alarms, &orders, plan)?;
    let current = cycle_views(history, &epoch)?;
    let cycles = cycles_of_load(history, target, &epoch)?;
    let mut earlier = history.epochs(target)?.into_iter().filter(|known| known.epoch.source().is_none());
    let before = earlier.rfind(|known| known.epoch.id < epoch.id).map(|known| Arc::new(known.epoch));
    Ok(Some(Memory { epoch: Arc::new(epoch), before, cycles, current, changes, orders, held }))
}

/// The newest complete cycles of an epoch, as many as are compared.
pub fn cycle_views(history: &Reader, epoch: &Epoch) -> Result<Vec<CycleView>, StoreError> {
    Ok(history.cycles(epoch, MOST_CYCLES)?.into_iter().map(|cycle| cycle.view).collect())
}

fn cycles_of_load(history: &Reader, target: &TargetId, epoch: &Epoch) -> Result<Vec<Cycle>, StoreError> {
    let mut newest_first: Vec<Vec<Cycle>> = Vec::new();
    let mut left = REPLAYED;
    for known in history.epochs(target)?.into_iter().rev().filter(|known| known.epoch.load == epoch.load) {
        let cycles = history.cycles(&known.epoch, left)?;
        left -= cycles.len().min(left);
        newest_first.push(cycles);
        if left == 0 {
            break;
        }
    }
    Ok(newest_first.into_iter().rev().flatten().collect())
}

/// The epoch that the user pinned, if the last word of that was not to unpin it.
pub fn pinned(orders: &[BaselineOrder]) -> Option<EpochId> {
    let said = orders.iter().rev().find(|order| order.kind != OrderKind::Accepted)?;
    said.epoch.filter(|_| said.kind == OrderKind::Pinned)
}

/// What an epoch is held against, if there is anything.
pub fn held(
    history: &Reader,
    target: &TargetId,
    epoch: &Epoch,
    alarms: &Alarms,
    orders: &[BaselineOrder],
    plan: &EstimatePlan,
) -> Result<Option<Held>, StoreError> {
    let epochs = history.epochs(target)?;
    let earlier: Vec<EarlierEpoch> = epochs
        .iter()
        .filter(|known| known.epoch.id < epoch.id)
        .map(|known| EarlierEpoch {
            id: known.epoch.id,
            complete_cycles: known.complete_cycles,
            is_comparable: known.epoch.source().is_none() && known.epoch.load == epoch.load,
            is_regressed: alarms.is_regressed(&known.epoch),
        })
        .collect();
    // An epoch is no baseline of its own.
    let pinned = pinned(orders).filter(|&id| id != epoch.id && epochs.iter().any(|known| known.epoch.id == id));
    let Some(id) = baseline::choose(&earlier, pinned) else { return Ok(None) };
    let Some(chosen) = epochs.into_iter().find(|known| known.epoch.id == id) else { return Ok(None) };
    hold_against(history, target, chosen.epoch, pinned == Some(id), plan).map(Some)
}

/// That epoch as a baseline.
pub fn hold_against(
    history: &Reader,
    target: &TargetId,
    epoch: Epoch,
    is_pinned: bool,
    plan: &EstimatePlan,
) -> Result<Held, StoreError> {
    let cycles = cycle_views(history, &epoch)?;
    let optima = optima(history, target, &epoch, plan)?;
    Ok(Held { baseline: Arc::new(Baseline { epoch: Arc::new(epoch), is_pinned, optima }), cycles })
}

fn optima(
    history: &Reader,
    target: &TargetId,
    epoch: &Epoch,
    plan: &EstimatePlan,
) -> Result<Vec<BaselineOptimum>, StoreError> {
    let Some(EpochSummary { grid: Some(grid), named, .. }) = history.epoch(epoch.id)? else { return Ok(Vec::new()) };
    let most = u32::try_from(plan.window.samples).unwrap_or(u32::MAX);
    let samples = history.newest_samples(target, epoch.id, most)?;
    let question = Question {
        grid: &grid,
        is_server_mode: epoch.slots_mode() == SlotsMode::Server,
        slots: epoch.slots(),
        plan,
        published: named.as_ref(),
    };
    Ok(Conclusions::of(&question, &samples).optimum.as_ref().map(by_objective).unwrap_or_default())
}

fn by_objective(optimum: &Optimum) -> Vec<BaselineOptimum> {
    let best =
        [("throughput", Some(&optimum.throughput)), ("frugal", Some(&optimum.frugal)), ("slo", optimum.slo.as_ref())];
    let of = |(objective, best): (&'static str, Option<&Best>)| {
        best.map(|best| BaselineOptimum { objective, cell: best.cell, tokens_per_second: best.tokens_per_second })
    };
    best.into_iter().filter_map(of).collect()
}
