//! One measure of a target, followed from cycle to cycle.

use std::collections::BTreeMap;

use super::affected::cell_changes;
use super::line::{Designs, Line, Prior};
use super::noise::Jumps;
use super::pool::{Registry, Usuals, median};
use super::search::{Candidate, Clue, Thresholds};
use super::shapes::{Restless, Shape, Surroundings, Warmup};
use super::verdict::{Finding, ratio};
use crate::domain::{Cause, Cell, ChangeEvent, Component, CycleRef, Direction, Measure, Scope};

/// The rows that are looked at: since the last accepted change, and at most these.
const WINDOW: usize = 100;
/// Rows after which the cells' usual levels and scales are looked up again.
const REFRESH: usize = 16;
/// A row needs so many of the cells that are usually there.
const LEAST_PRESENT: f64 = 0.5;
/// The common move of all cells from cycle to cycle that is expected, and for how many rows
/// that counts.
pub(super) const COMMON: f64 = 0.003;
pub(super) const COMMON_ROWS: f64 = 8.0;
/// How many rows of an ended window count for the noise of the next.
const CARRIED_ROWS: f64 = 30.0;
/// Deviations more for a part of the grid than for all of it.
const PART_PENALTY: f64 = 0.4;
/// What a change of the part must be clearer by than one of the whole, deviations.
const PART_MARGIN: f64 = 0.5;
/// Rows from a change within which its return is the end of a dip.
const DIP_ROWS: usize = 10;
/// The deviations of sizes that changes have, as a log-ratio.
const USUAL_SIZE: f64 = 0.06;

/// One cycle's figures of a measure.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub at: CycleRef,
    /// In cycles, longer where there was a pause.
    pub position: f64,
    /// UTC.
    pub seconds: f64,
    /// By the cells' places; NaN is missing.
    pub logs: Vec<f64>,
    /// What of the identity changed right before this row, and when.
    pub change: Option<(CycleRef, Vec<Component>)>,
    /// The mean log-ratio of each part.
    pub pooled: Vec<f64>,
}

/// A change that was told of a measure, as far as the others care.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub measure: Measure,
    pub changed: CycleRef,
    pub direction: Direction,
    pub cause: Cause,
}

/// A change that was told and may yet turn out to be a dip.
#[derive(Clone, Debug)]
struct Recent {
    before: Vec<Row>,
    changed: CycleRef,
    size: f64,
    part: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Track {
    measure: Measure,
    rows: Vec<Row>,
    usuals: Usuals,
    /// Rows since the usual levels were looked up.
    unrefreshed: usize,
    phi: f64,
    /// How much more than usual drift and day move this measure.
    restlessness: f64,
    /// What the windows before this one say of the noise.
    carried: BTreeMap<Scope, Prior>,
    warmups: Vec<Warmup>,
    /// Where the window begins with an accepted change, and of what size.
    settling: Option<(f64, f64)>,
    recent: Option<Recent>,
    /// A change of identity in a cycle that made no row.
    pending: Option<(CycleRef, Vec<Component>)>,
}

impl Track {
    pub(super) fn new(measure: Measure) -> Self {
        Self {
            measure,
            rows: Vec::with_capacity(WINDOW + 1),
            usuals: Usuals::default(),
            unrefreshed: usize::MAX,
            phi: Line::USUAL_PHI,
            restlessness: 1.0,
            carried: BTreeMap::new(),
            warmups: Vec::new(),
            settling: None,
            recent: None,
            pending: None,
        }
    }

    /// Takes in one cycle; the grid may have grown since the one before. Says whether there
    /// is something to look at.
    pub(super) fn take(&mut self, mut row: Row, registry: &Registry, grew: bool) -> bool {
        if row.change.is_some() {
            self.warmups.push(Warmup { position: row.position, is_start: false });
            if self.warmups.len() > 16 {
                self.warmups.remove(0);
            }
        }
        if let Some((at, components)) = self.pending.take() {
            // Nothing was measured since: it is one change with what has changed by now.
            let later = row.change.take().map(|(_, components)| components).unwrap_or_default();
            let mut components = [components, later].concat();
            components.sort_unstable();
            components.dedup();
            row.change = Some((at, components));
        }
        if self.is_thin(&row) {
            self.pending = row.change;
            return false;
        }
        if self.rows.is_empty() && self.warmups.is_empty() {
            self.warmups.push(Warmup { position: row.position, is_start: true });
        }
        self.rows.push(row);
        if self.rows.len() > WINDOW {
            self.rows.remove(0);
        }
        self.pool(registry, grew);
        true
    }

    /// What the rows so far bring to light, given what was told of other measures.
    pub(super) fn look(&mut self, registry: &Registry, thresholds: Thresholds, told: &[Told]) -> Option<Finding> {
        self.withdrawn(registry).or_else(|| self.change(registry, thresholds, told))
    }

    /// Whether too few of the usual cells were measured.
    fn is_thin(&self, row: &Row) -> bool {
        let present = |row: &Row| row.logs.iter().filter(|log| !log.is_nan()).count() as f64;
        let mut usual: Vec<f64> = self.rows.iter().rev().take(9).map(present).collect();
        let now = present(row);
        now == 0.0 || (!usual.is_empty() && now < LEAST_PRESENT * median(&mut usual))
    }

    /// Brings the pooled series up to date.
    fn pool(&mut self, registry: &Registry, grew: bool) {
        let due = (self.rows.len() / 3).min(REFRESH);
        self.unrefreshed = self.unrefreshed.saturating_add(1);
        let mut scratch = Vec::with_capacity(registry.cells.len());
        if grew || self.unrefreshed >= due {
            self.unrefreshed = 0;
            let logs: Vec<&[f64]> = self.rows.iter().map(|row| row.logs.as_slice()).collect();
            self.usuals = Usuals::of(&logs, registry.cells.len());
            for row in &mut self.rows {
                row.pooled = pooled(&self.usuals, &row.logs, registry, &mut scratch);
            }
            let (y, gaps) = self.whole();
            self.phi = Jumps { y: &y, gaps: &gaps }.phi();
            if self.rows.len() > 2 * REFRESH {
                self.restlessness = self.line(registry, &self.surroundings(), 0).restlessness();
            }
        } else if let Some(row) = self.rows.last_mut() {
            row.pooled = pooled(&self.usuals, &row.logs, registry, &mut scratch);
        }
    }

    /// The pooled series of all cells, with its gaps.
    fn whole(&self) -> (Vec<f64>, Vec<f64>) {
        let rows = || self.rows.iter().filter(|row| row.pooled.first().is_some_and(|value| !value.is_nan()));
        let y = rows().filter_map(|row| row.pooled.first().copied()).collect();
        let mut before = rows().next().map_or(0.0, |row| row.position);
        let gaps = rows()
            .map(|row| {
                let gap = row.position - before;
                before = row.position;
                gap
            })
            .collect();
        (y, gaps)
    }

    fn surroundings(&self) -> Surroundings {
        let settling =
            self.settling.filter(|(position, _)| self.rows.first().is_some_and(|row| row.position <= *position));
        Surroundings {
            positions: self.rows.iter().map(|row| row.position).collect(),
            seconds: self.rows.iter().map(|row| row.seconds).collect(),
            warmups: self.warmups.clone(),
            settling: settling.map(|(_, size)| size),
            factor: own_factor(self.measure),
            restless: Restless { drift: self.restlessness, day: self.restlessness, warmup: 1.0 },
        }
    }

    fn prior(&self, registry: &Registry, part: usize) -> Prior {
        let Some(part) = registry.parts.get(part) else { return Prior { variance: COMMON * COMMON, rows: 1.0 } };
        let own = self.usuals.variance(&part.members);
        let common = COMMON * own_factor(self.measure);
        let variance = if own.is_finite() { own } else { 0.0 } + common * common;
        self.carried.get(&part.scope).copied().unwrap_or(Prior { variance, rows: COMMON_ROWS })
    }

    fn line(&self, registry: &Registry, surroundings: &Surroundings, part: usize) -> Line {
        let y: Vec<f64> = self.rows.iter().map(|row| row.pooled.get(part).copied().unwrap_or(f64::NAN)).collect();
        Line::new(&y, surroundings, self.phi, self.prior(registry, part))
    }

    /// What speaks for a change at a row, if anything does.
    fn clue(&self, row: usize, told: &[Told]) -> Option<Clue> {
        let row = self.rows.get(row)?;
        if row.change.is_some() {
            return Some(Clue::Identity);
        }
        let told = told.iter().find(|told| told.changed == row.at && told.measure != self.measure)?;
        let is_up = (told.direction == Direction::Improvement) == self.measure.is_better_higher();
        Some(Clue::Elsewhere { direction: if is_up { 1.0 } else { -1.0 } })
    }

    /// The clearest change of any part, if one is believed.
    fn change(&mut self, registry: &Registry, thresholds: Thresholds, told: &[Told]) -> Option<Finding> {
        let surroundings = self.surroundings();
        let mut designs = Designs::default();
        let mut best: Option<(f64, usize, Candidate, Line)> = None;
        for part in 0..registry.parts.len() {
            let line = self.line(registry, &surroundings, part);
            let places = line.rows.iter().enumerate();
            let known: Vec<(usize, Clue)> =
                places.filter_map(|(place, &row)| Some((place, self.clue(row, told)?))).collect();
            let (penalty, margin) = if part == 0 { (0.0, 0.0) } else { (PART_PENALTY, PART_MARGIN) };
            let Some(candidate) = line.best(&mut designs, &known, thresholds.raised(penalty)) else { continue };
            let clarity = candidate.excess - margin;
            if best.as_ref().is_none_or(|(most, ..)| clarity > *most) {
                best = Some((clarity, part, candidate, line));
            }
        }
        let (_, part, candidate, line) = best?;
        Some(Finding::Changed(self.accept(registry, part, candidate, &line, told, thresholds.minimum_effect)?))
    }

    /// Tells a change and begins a new window with it.
    fn accept(
        &mut self,
        registry: &Registry,
        part: usize,
        candidate: Candidate,
        line: &Line,
        told: &[Told],
        minimum_effect: f64,
    ) -> Option<ChangeEvent> {
        let first = *line.rows.get(candidate.first)?;
        let row = self.rows.get(first)?;
        let error = candidate.effect.standard_error;
        // The largest of many estimates is mostly too large. Large changes are rare, but not so
        // rare that one which is clearly seen would not be believed.
        let expected = USUAL_SIZE.max(candidate.effect.size.abs());
        let shrink = expected.powi(2) / (expected.powi(2) + error * error);
        let size = candidate.effect.size * shrink;
        let (changed, components) = match (&row.change, candidate.clue) {
            (Some((at, components)), Clue::Identity) => (*at, components.clone()),
            _ => (row.at, Vec::new()),
        };
        let cause = match (candidate.clue, candidate.shape) {
            (Clue::Identity, _) => Cause::EnvironmentChange,
            // One change has one cause.
            (Clue::Elsewhere { .. }, _) => told.iter().find(|told| told.changed == row.at)?.cause,
            (Clue::None, Shape::Step) => Cause::UnexplainedStep,
            (Clue::None, Shape::Ramp(_)) => Cause::SlowDecay,
        };
        let event = ChangeEvent {
            measure: self.measure,
            direction: Direction::of(self.measure, size),
            detected: self.rows.last()?.at,
            changed,
            ratio: ratio(size, error, line.noise_rows),
            cause,
            components,
            scope: registry.parts.get(part)?.scope,
            cycles_before: candidate.before,
            cycles_after: candidate.after,
            affected: self.affected(registry, first),
            minimum_effect: minimum_effect.exp_m1(),
        };
        self.settling = Some((row.position, size));
        self.carry_noise(registry);
        let after = self.rows.split_off(first);
        let before = std::mem::replace(&mut self.rows, after);
        self.recent = Some(Recent { before, changed, size, part });
        Some(event)
    }

    /// The cells that moved by themselves from a row on.
    fn affected(&self, registry: &Registry, first: usize) -> Vec<Cell> {
        let logs: Vec<&[f64]> = self.rows.iter().map(|row| row.logs.as_slice()).collect();
        let (before, after) = logs.split_at(first);
        let changes = cell_changes(&registry.cells, &self.usuals, before, after);
        changes.into_iter().filter(|change| change.is_affected).map(|change| change.cell).collect()
    }

    /// Keeps what this window says of the noise for the next.
    fn carry_noise(&mut self, registry: &Registry) {
        let surroundings = self.surroundings();
        let lines = registry.parts.iter().enumerate().map(|(index, part)| {
            let line = self.line(registry, &surroundings, index);
            (part.scope, Prior { variance: line.variance, rows: line.noise_rows.min(CARRIED_ROWS) })
        });
        self.carried = lines.collect();
    }

    /// Whether the level of a change just told is back: then it was a dip, and the window
    /// is as if it had not been.
    fn withdrawn(&mut self, registry: &Registry) -> Option<Finding> {
        let recent = self.recent.as_ref()?;
        if self.rows.len() > DIP_ROWS || self.rows.iter().skip(1).any(|row| row.change.is_some()) {
            self.recent = None;
            return None;
        }
        let scratch = &mut Vec::new();
        let mut value = |row: &Row| {
            let members = registry.parts.get(recent.part).map_or(&[][..], |part| &part.members);
            self.usuals.pooled(&row.logs, members, scratch)
        };
        let mut old: Vec<f64> = recent.before.iter().rev().take(12).map(&mut value).filter(|y| !y.is_nan()).collect();
        let new: Vec<f64> = self.rows.iter().map(&mut value).filter(|y| !y.is_nan()).collect();
        let (_, last) = new.split_at_checked(new.len().checked_sub(3)?)?;
        let level = median(&mut old);
        let deviation = self.prior(registry, recent.part).variance.sqrt();
        let mean = last.iter().sum::<f64>() / 3.0;
        let is_back = last.iter().all(|y| (y - level).abs() < 0.4 * recent.size.abs())
            && (recent.size + level - mean).abs() > 3.5 * deviation;
        if !is_back {
            return None;
        }
        let recent = self.recent.take()?;
        let returned = self.rows.iter().rev().nth(2)?.at;
        let dip = self.rows.len() - 3;
        let rest = self.rows.split_off(dip);
        self.rows = recent.before;
        self.rows.extend(rest);
        self.settling = None;
        self.unrefreshed = usize::MAX;
        self.pool(registry, true);
        Some(Finding::Withdrawn { measure: self.measure, changed: recent.changed, returned })
    }
}

/// How much more a measure moves by itself than a token rate does.
pub(super) fn own_factor(measure: Measure) -> f64 {
    if measure == Measure::TimeToFirstToken { 1.5 } else { 1.0 }
}

fn pooled(usuals: &Usuals, logs: &[f64], registry: &Registry, scratch: &mut Vec<f64>) -> Vec<f64> {
    registry.parts.iter().map(|part| usuals.pooled(logs, &part.members, scratch)).collect()
}

#[cfg(test)]
#[path = "track_tests.rs"]
mod tests;
