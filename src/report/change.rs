//! What a report is compared with, and how the best cell fared over all of its time.
//!
//! Orders what was read; compares, chooses and reads nothing.

use std::sync::Arc;

use jiff::Timestamp;

use super::ReportInput;
use crate::analysis::quantile::median;
use crate::analysis::regression::CycleView;
use crate::domain::{
    Baseline, Cause, Cell, ChangeEvent, Compared, Comparison, Distribution, Epoch, LatencyMeasure, Measure, ToldChange,
};

/// What was measured before the epoch of a report, and what is said of both.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Of the same load, the oldest first.
    pub epochs: Vec<EarlierEpoch>,
    /// What the epoch is held against.
    pub baseline: Option<Arc<Baseline>>,
    /// `None` without a baseline, or where the loads differ.
    pub compared: Option<Compared>,
    /// What the detector found in these epochs and in that of the report, in that order.
    pub changes: Vec<ToldChange>,
    /// In the best cell, before and since the epoch began.
    pub latencies: Vec<LatencyChange>,
}

/// An epoch before that of a report.
#[derive(Clone, Debug)]
pub struct EarlierEpoch {
    pub epoch: Epoch,
    /// What is left of its newest cycles, the oldest first.
    pub cycles: Vec<CycleView>,
}

/// How long requests of one cell took, before and since.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencyChange {
    pub cell: Cell,
    pub measure: LatencyMeasure,
    pub before: Distribution,
    pub since: Distribution,
}

/// An epoch beside its baseline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change<'a> {
    pub(super) baseline: &'a Baseline,
    pub(super) compared: &'a [Comparison; 3],
}

impl Past {
    pub(super) fn change(&self) -> Option<Change<'_>> {
        Some(Change { baseline: self.baseline.as_ref()?, compared: &self.compared.as_ref()?.measures })
    }

    /// The newest change of the token rate that began after a time and was no dip.
    pub(super) fn newest_of_the_rate(&self, after: Timestamp) -> Option<&ChangeEvent> {
        let is_one = |change: &&ToldChange| {
            let event = &change.event;
            change.returned.is_none() && event.measure == Measure::TokensPerSecond && event.changed.at > after
        };
        self.changes.iter().rev().find(is_one).map(|change| &*change.event)
    }
}

impl<'a> Change<'a> {
    /// The change of the token rate.
    pub(super) fn rate(&self) -> &'a Comparison {
        let [rate, ..] = self.compared;
        rate
    }
}

/// One epoch's part of a trend.
#[derive(Debug, PartialEq)]
pub(super) struct Stretch<'a> {
    pub(super) epoch: &'a Epoch,
    /// What changed at its beginning, each as a sentence.
    pub(super) changes: Vec<String>,
    /// Token rates of the best cell, the oldest first.
    pub(super) points: Vec<(Timestamp, f64)>,
    /// Changes of the rate that were found and that no change of the environment explains.
    pub(super) unexplained: Vec<&'a ChangeEvent>,
}

impl Stretch<'_> {
    pub(super) fn median(&self) -> Option<f64> {
        median(&self.points.iter().map(|(_, rate)| *rate).collect::<Vec<_>>())
    }
}

/// The token rate of a cell over all epochs in which it was measured.
pub(super) fn trend(input: &ReportInput, cell: Cell) -> Vec<Stretch<'_>> {
    let rates = |cycles: &[CycleView]| {
        let rate = |cycle: &CycleView| {
            let [rate, ..] = cycle.cells.iter().find(|figures| figures.cell == cell)?.figures;
            Some((cycle.at, rate.filter(|rate| rate.is_finite())?))
        };
        cycles.iter().filter_map(rate).collect::<Vec<_>>()
    };
    let mut own: Vec<(Timestamp, f64)> = input
        .samples
        .iter()
        .filter(|sample| sample.is_valid() && sample.cell == cell && sample.measurement.tokens_per_second.is_finite())
        .map(|sample| (sample.completed_at, sample.measurement.tokens_per_second))
        .collect();
    own.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
    let earlier = input.past.epochs.iter().map(|earlier| (&earlier.epoch, rates(&earlier.cycles)));
    let mut before: Option<&Epoch> = None;
    let mut stretches = Vec::new();
    for (epoch, points) in earlier.chain([(&input.epoch, own)]) {
        let changes = before.map_or_else(Vec::new, |before| before.changes_to(epoch));
        before = Some(epoch);
        if !points.is_empty() {
            let unexplained = unexplained(&input.past, epoch);
            stretches.push(Stretch { epoch, changes, points, unexplained });
        }
    }
    stretches
}

/// Changes of the rate within an epoch that no change of its environment explains; dips are none.
fn unexplained<'a>(past: &'a Past, epoch: &Epoch) -> Vec<&'a ChangeEvent> {
    let is_one = |event: &&ChangeEvent| {
        let is_within = event.changed.at >= epoch.first_seen && event.changed.at <= epoch.last_seen;
        is_within && event.measure == Measure::TokensPerSecond && event.cause != Cause::EnvironmentChange
    };
    let lasting = past.changes.iter().filter(|change| change.returned.is_none());
    lasting.map(|change| &*change.event).filter(is_one).collect()
}
