//! Holds what a detector says against what a series is.

use llmsoak::analysis::regression::Measure;

use super::series::{Kind, Noise, RAMP_CYCLES, Series};

/// An event, as far as it is scored.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) measure: Measure,
    pub(crate) detected: usize,
    pub(crate) changed: usize,
    pub(crate) ratio: f64,
    /// The cause's word and the component's, where the detector says them.
    pub(crate) cause: Option<(&'static str, Option<&'static str>)>,
    /// The scope's word, likewise.
    pub(crate) scope: Option<String>,
}

/// How far from its first cycle a change may be told to begin.
const EARLY: usize = 3;
const LATE: usize = 6;
/// What is told later than that is missed.
const LATEST: usize = 24;

/// What became of one series with a change.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) noise: Noise,
    pub(crate) kind: Kind,
    pub(crate) size: f64,
    pub(crate) is_known: bool,
    pub(crate) hit: Option<Hit>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Hit {
    pub(crate) delay: usize,
    /// Percentage points.
    pub(crate) size_error: f64,
    pub(crate) is_cause_right: Option<bool>,
    pub(crate) is_scope_right: Option<bool>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Score {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) changeless_cycles: usize,
    pub(crate) false_alarms: usize,
    /// Of the series with a change: what is told that is no part of it.
    pub(crate) changed_cycles: usize,
    pub(crate) stray_alarms: usize,
}

impl Score {
    pub(crate) fn add(&mut self, series: &Series, told: &[Told]) {
        let Some(truth) = &series.truth else {
            self.changeless_cycles += series.cycles.len();
            self.false_alarms += told.len();
            return;
        };
        let late = if truth.kind == Kind::Ramp { LATE + RAMP_CYCLES } else { LATE };
        let is_true = |told: &&Told| {
            let log = truth.logs[told.measure.index()];
            log != 0.0
                && (told.ratio > 1.0) == (log > 0.0)
                && (truth.first.saturating_sub(EARLY)..=truth.first + late).contains(&told.changed)
                && (truth.first..=truth.first + LATEST).contains(&told.detected)
        };
        let measure = truth.kind.measure();
        let hit = told.iter().filter(is_true).find(|told| told.measure == measure).map(|told| {
            let part = truth.part(told.detected);
            let expected = match truth.component {
                Some(component) => ("environment_change", Some(component)),
                None if truth.kind == Kind::Ramp => ("slow_decay", None),
                None => ("unexplained_step", None),
            };
            Hit {
                delay: told.detected - truth.first,
                size_error: ((truth.logs[measure.index()] * part).exp() - told.ratio).abs() * 100.0,
                is_cause_right: told.cause.map(|cause| cause == expected),
                is_scope_right: told.scope.as_ref().map(|scope| scope == truth.kind.scope()),
            }
        });
        // Each measure may tell the change once.
        let true_events =
            Measure::ALL.iter().filter(|&&measure| told.iter().filter(is_true).any(|told| told.measure == measure));
        self.stray_alarms += told.len() - true_events.count();
        self.changed_cycles += series.cycles.len();
        self.outcomes.push(Outcome {
            noise: series.nature.noise,
            kind: truth.kind,
            size: truth.size,
            is_known: truth.component.is_some(),
            hit,
        });
    }

    /// False alarms in 1,000 changeless cycles, and the upper end of the exact one-sided 95 %
    /// interval of a Poisson count.
    pub(crate) fn false_alarms_per_1000(&self) -> (f64, f64) {
        let thousands = self.changeless_cycles as f64 / 1000.0;
        let count = self.false_alarms as f64;
        // Wilson and Hilferty's cube root of chi-square, good to a percent.
        let degrees = 2.0 * (count + 1.0);
        let cube = 1.0 - 2.0 / (9.0 * degrees) + 1.645 * (2.0 / (9.0 * degrees)).sqrt();
        (count / thousands, degrees * cube.powi(3) / 2.0 / thousands)
    }

    /// Whether every target is met.
    pub(crate) fn passes(&self) -> bool {
        let recall = |size: f64| self.recall(|outcome| outcome.size == size);
        self.false_alarms_per_1000().0 <= 0.7
            && self.recall(|outcome| outcome.size >= 0.08) >= 0.98
            && recall(0.05) >= 0.9
            && recall(0.03) >= 0.7
            && self.median_delay().is_some_and(|delay| delay <= 3.0)
            && self.median_size_error().is_some_and(|error| error <= 0.6)
            && self.causes_right().is_some_and(|right| right >= 0.95)
    }

    pub(crate) fn strays_per_1000(&self) -> f64 {
        self.stray_alarms as f64 / (self.changed_cycles as f64 / 1000.0)
    }

    /// The part of changes that were found.
    pub(crate) fn recall(&self, is_counted: impl Fn(&Outcome) -> bool) -> f64 {
        let counted = self.outcomes.iter().filter(|outcome| is_counted(outcome));
        let (hits, count) = counted.fold((0.0, 0.0), |(hits, count), outcome| {
            (hits + f64::from(u8::from(outcome.hit.is_some())), count + 1.0)
        });
        hits / count
    }

    fn hits(&self) -> impl Iterator<Item = &Hit> {
        self.outcomes.iter().filter_map(|outcome| outcome.hit.as_ref())
    }

    pub(crate) fn median_delay(&self) -> Option<f64> {
        median(self.hits().map(|hit| hit.delay as f64))
    }

    pub(crate) fn median_size_error(&self) -> Option<f64> {
        median(self.hits().map(|hit| hit.size_error))
    }

    pub(crate) fn causes_right(&self) -> Option<f64> {
        self.right(|hit| hit.is_cause_right)
    }

    pub(crate) fn scopes_right(&self) -> Option<f64> {
        self.right(|hit| hit.is_scope_right)
    }

    fn right(&self, judge: impl Fn(&Hit) -> Option<bool>) -> Option<f64> {
        let told: Vec<bool> = self.hits().filter_map(judge).collect();
        let right = told.iter().filter(|&&is_right| is_right).count();
        (!told.is_empty()).then(|| right as f64 / told.len() as f64)
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    llmsoak::analysis::quantile::median(&values.collect::<Vec<_>>())
}
