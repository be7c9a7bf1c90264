//! What is said of changes: a measure became better or worse, by how much, how surely, since
//! when, and what it is laid to.
//!
//! Plain data, carried by the bus and kept by the history. Who finds changes is `analysis`.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::cell::Cell;
use super::component::Component;
use super::environment::{Epoch, EpochId};
use super::named::named;

/// A figure that is watched for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    TokensPerSecond,
    TimeToFirstToken,
    InterTokenLatency,
}

impl Measure {
    /// Every measure, in the order of [`Measure::index`].
    pub const ALL: [Self; 3] = [Self::TokensPerSecond, Self::TimeToFirstToken, Self::InterTokenLatency];

    /// The word for it in metrics, history and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokensPerSecond => "tokens_per_second",
            Self::TimeToFirstToken => "time_to_first_token",
            Self::InterTokenLatency => "inter_token_latency",
        }
    }

    /// What people call it.
    pub const fn words(self) -> &'static str {
        match self {
            Self::TokensPerSecond => "tokens per second",
            Self::TimeToFirstToken => "time to first token",
            Self::InterTokenLatency => "inter-token latency",
        }
    }

    /// The measure of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|measure| measure.as_str() == name)
    }

    /// Its place where there is one thing for each measure.
    pub const fn index(self) -> usize {
        match self {
            Self::TokensPerSecond => 0,
            Self::TimeToFirstToken => 1,
            Self::InterTokenLatency => 2,
        }
    }

    /// Whether more of it is better; of latencies, less is.
    pub const fn is_better_higher(self) -> bool {
        matches!(self, Self::TokensPerSecond)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

named! {
    /// Whether a change is for the worse.
    Direction {
        Regression = "regression",
        Improvement = "improvement",
    }
}

impl Direction {
    pub const fn other(self) -> Self {
        match self {
            Self::Regression => Self::Improvement,
            Self::Improvement => Self::Regression,
        }
    }

    /// Of a change of a measure by a log-ratio.
    pub fn of(measure: Measure, log_ratio: f64) -> Self {
        if (log_ratio > 0.0) == measure.is_better_higher() { Self::Improvement } else { Self::Regression }
    }
}

named! {
    /// What a change is laid to.
    Cause {
        EnvironmentChange = "environment_change",
        UnexplainedStep = "unexplained_step",
        SlowDecay = "slow_decay",
    }
}

/// A part of the grid that a change may be confined to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    All,
    BatchAtLeast(u32),
    WorkersAtLeast(u32),
}

impl Scope {
    pub const fn contains(self, cell: Cell) -> bool {
        match self {
            Self::All => true,
            Self::BatchAtLeast(batch) => cell.batch >= batch,
            Self::WorkersAtLeast(workers) => cell.workers >= workers,
        }
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn from_name(name: &str) -> Option<Self> {
        let number = |prefix: &str| name.strip_prefix(prefix)?.parse().ok();
        match name {
            "all" => Some(Self::All),
            _ => number("batch>=").map(Self::BatchAtLeast).or_else(|| number("workers>=").map(Self::WorkersAtLeast)),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::BatchAtLeast(batch) => write!(f, "batch>={batch}"),
            Self::WorkersAtLeast(workers) => write!(f, "workers>={workers}"),
        }
    }
}

/// A ratio with its 95 % interval: after / before, or current / baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    pub value: f64,
    pub lower: f64,
    pub upper: f64,
}

/// A ratio as the change that it is: 0.92 is `-8.0 %`.
pub fn percent_change(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

/// A cycle, by its number and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CycleRef {
    /// The target's own number; in a backtest from 0, the first of the file.
    pub cycle: u64,
    pub at: Timestamp,
}

/// A change that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeEvent {
    pub measure: Measure,
    pub direction: Direction,
    /// The cycle that settled it, and when it was told.
    pub detected: CycleRef,
    /// The first cycle of the new level, and when it began.
    pub changed: CycleRef,
    /// Paired and pooled over the cells of the scope.
    pub ratio: Ratio,
    pub cause: Cause,
    /// The components that changed then, the first suspect first; none where the identity
    /// stayed.
    pub components: Vec<Component>,
    pub scope: Scope,
    /// Cycles before and since the change that were weighed.
    pub cycles_before: usize,
    pub cycles_after: usize,
    /// The cells that moved by themselves, at a false discovery rate of 10 %.
    pub affected: Vec<Cell>,
    /// The least effect that was told, as a ratio: 0.01 is 1 %.
    pub minimum_effect: f64,
}

/// A change as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct ToldChange {
    pub event: Arc<ChangeEvent>,
    /// Where it turned out to be a dip: when the old level was back.
    pub returned: Option<CycleRef>,
}

/// How one cell moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellChange {
    pub cell: Cell,
    /// After / before.
    pub ratio: f64,
    /// Whether it moved by more than its own noise, at a false discovery rate of 10 %.
    pub is_affected: bool,
}

named! {
    /// What has just become of an alarm.
    Turn {
        Raised = "raised",
        /// There was one, and there still is.
        Persists = "persists",
        /// The level is back within the effect.
        Recovered = "recovered",
        /// The user took the new level, or pinned a baseline.
        Accepted = "accepted",
        /// It was a dip.
        Transient = "transient",
    }
}

/// An alarm that is on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActiveAlarm {
    pub measure: Measure,
    pub direction: Direction,
    /// The cycle in which it was raised, and when.
    pub since: CycleRef,
    /// The level / the one that was last accepted.
    pub ratio: f64,
}

/// What is said of a measure of two epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Too few cycles, or no cell in common.
    TooFew,
    /// Current / baseline.
    Says(Ratio),
}

/// Two epochs compared in one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    pub measure: Measure,
    pub verdict: Verdict,
    /// Complete enough cycles of each.
    pub baseline_cycles: usize,
    pub current_cycles: usize,
    /// By cell, where both epochs measured it twice.
    pub cells: Vec<CellChange>,
}

impl Comparison {
    /// The ratio, where there is enough to say.
    pub fn ratio(&self) -> Option<Ratio> {
        match self.verdict {
            Verdict::TooFew => None,
            Verdict::Says(ratio) => Some(ratio),
        }
    }

    /// Whether there is a change of at least `minimum_effect` (a ratio, 0.01 is 1 %), and in
    /// which direction: its value is beyond, and its interval does not hold 1.
    pub fn beyond(&self, minimum_effect: f64) -> Option<Direction> {
        let ratio = self.ratio()?;
        let is_sure = ratio.lower > 1.0 || ratio.upper < 1.0;
        let is_large = ratio.value.ln().abs() >= minimum_effect.ln_1p();
        (is_sure && is_large).then(|| Direction::of(self.measure, ratio.value.ln()))
    }

    /// The same, of regressions by at least `limit` alone.
    pub fn is_regression(&self, limit: f64) -> bool {
        self.beyond(limit) == Some(Direction::Regression)
    }
}

/// What the running epoch is held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    pub epoch: Arc<Epoch>,
    /// Whether the user chose it.
    pub is_pinned: bool,
    /// What it reached, by objective.
    pub optima: Vec<BaselineOptimum>,
}

/// The best cell of a baseline for one objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaselineOptimum {
    pub objective: &'static str,
    pub cell: Cell,
    pub tokens_per_second: f64,
}

/// The running epoch beside its baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    pub baseline: EpochId,
    pub current: EpochId,
    /// By [`Measure::index`].
    pub measures: [Comparison; 3],
}

named! {
    /// What the user can say of a target's baseline.
    OrderKind {
        /// From now on that epoch is the baseline; alarms end.
        Pinned = "pinned",
        /// The baseline is chosen again.
        Unpinned = "unpinned",
        /// The level as it is now is the right one; alarms end.
        Accepted = "accepted",
    }
}

/// What the user said of a target's baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaselineOrder {
    pub kind: OrderKind,
    pub at: Timestamp,
    /// The epoch that was pinned, or that ran when its level was accepted.
    pub epoch: Option<EpochId>,
}

/// All that the history knows of a target's changes, the oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeRecord {
    pub changes: Vec<ToldChange>,
    pub alarms: Vec<ActiveAlarm>,
    pub baseline: Option<Arc<Baseline>>,
    pub compared: Option<Arc<Compared>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for scope in [Scope::All, Scope::BatchAtLeast(16), Scope::WorkersAtLeast(4)] {
            assert_eq!(Scope::from_name(&scope.to_string()), Some(scope));
        }
        for name in ["", "batch", "batch>=", "batch>=-1", "workers>=x"] {
            assert_eq!(Scope::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_lower_rate_and_a_longer_wait_are_worse() {
        for (measure, log_ratio, expected) in [
            (Measure::TokensPerSecond, -0.1, Direction::Regression),
            (Measure::TokensPerSecond, 0.1, Direction::Improvement),
            (Measure::TimeToFirstToken, 0.1, Direction::Regression),
            (Measure::InterTokenLatency, -0.1, Direction::Improvement),
        ] {
            assert_eq!(Direction::of(measure, log_ratio), expected, "{measure} {log_ratio}");
        }
    }
}
