//! What a report is compared with, and how the best cell fared over all of its time.
//!
//! Compares what was read; chooses no baseline and reads nothing.

use jiff::Timestamp;

use super::ReportInput;
use crate::analysis::quantile::median;
use crate::analysis::regression::{Comparison, CycleView, compare, cycles_of};
use crate::domain::{Cell, Distribution, Epoch, EpochId, LatencyMeasure};

/// What was measured before the epoch of a report and belongs beside it.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// Of the same load, the oldest first.
    pub epochs: Vec<EarlierEpoch>,
    /// Which of them the epoch is compared with.
    pub baseline: Option<EpochId>,
    /// Whether the user named it: it then needs no number of cycles.
    pub is_pinned: bool,
    /// In the best cell.
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
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) baseline: &'a Epoch,
    pub(super) comparisons: [Comparison; 3],
}

impl<'a> Change<'a> {
    /// `None` where there is nothing to compare with.
    pub(super) fn of(input: &'a ReportInput) -> Option<Self> {
        let baseline = input.past.epochs.iter().find(|earlier| Some(earlier.epoch.id) == input.past.baseline)?;
        let current = cycles_of(&input.epoch.identity, &input.samples);
        let comparisons = compare(&baseline.cycles, &current, input.past.is_pinned);
        Some(Self { baseline: &baseline.epoch, comparisons })
    }

    /// The change of the token rate.
    pub(super) fn rate(&self) -> &Comparison {
        let [rate, ..] = &self.comparisons;
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
            stretches.push(Stretch { epoch, changes, points });
        }
    }
    stretches
}
