//! What the engine says while it works. One event makes the row, the metric and the log line.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::canary::Canary;
use super::cell::{Cell, Grid};
use super::change::{ActiveAlarm, Baseline, ChangeEvent, ChangeRecord, Compared, CycleRef, Direction, Measure, Turn};
use super::component::EnvironmentChanges;
use super::environment::{Epoch, ServerIdentity, TargetId};
use super::failure::{FailureKind, RequestFailure};
use super::named::named;
use super::optimum::NamedCells;
use super::request::{RequestRecord, ServerTimings, TokenCounts};
use super::sample::{Latencies, Sample};

named! {
    /// What the scheduler does with a target now.
    SchedulerState {
        Starting = "starting",
        Warmup = "warmup",
        Running = "running",
        /// Between two samples.
        Pausing = "pausing",
        /// Another target uses the hardware.
        WaitingForLane = "waiting_for_lane",
        /// The server is away; tried again with growing pauses.
        WaitingForServer = "waiting_for_server",
        /// The server is given other slots, and is not ready yet.
        SwitchingSlots = "switching_slots",
        /// Others use the server.
        Yielding = "yielding",
        OutsideWindow = "outside_window",
        OverBudget = "over_budget",
        /// Unloads the model to see how long it takes to load.
        Canary = "canary",
        /// By the user.
        Paused = "paused",
    }
}

impl SchedulerState {
    /// Whether the target is not measured on purpose, for as long as that may take.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Yielding | Self::OutsideWindow | Self::OverBudget | Self::Paused)
    }
}

/// Something that happened to a target.
#[derive(Clone, Debug)]
pub struct Event {
    pub target: TargetId,
    pub at: Timestamp,
    pub happening: Happening,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Happening {
    /// The target is soaked from now on.
    Joined {
        url: String,
        lane: String,
    },
    /// The target was taken out of the configuration.
    Left,
    /// `until`: when a pause ends by itself. `due_at`: when the running or next sample must
    /// have ended. Both as far as they are known.
    StateChanged {
        state: SchedulerState,
        until: Option<Timestamp>,
        due_at: Option<Timestamp>,
    },
    /// The server answered a probe and told who it is.
    Identified(Arc<ServerIdentity>),
    /// The server was given the slots of a row and is ready; `reported` is what it tells it has.
    SlotsSwitched {
        workers: u32,
        reported: Option<u32>,
        seconds: f64,
    },
    /// The server did not answer a probe or a whole sample; `is_first` of an outage.
    Away {
        reason: String,
        is_first: bool,
    },
    /// The server refused request fields that only some servers know; they are left out from now on.
    FieldsDropped {
        fields: Vec<&'static str>,
        reason: String,
    },
    /// The epoch that is measured from now on, with what was measured in it before: restored
    /// at a start, or new. `before` is the epoch that ended, `changes` is all that changed so
    /// far in the target's history, this time included.
    EpochEntered {
        epoch: Arc<Epoch>,
        grid: Arc<Grid>,
        samples: Arc<Vec<Sample>>,
        /// The cells that were named best in it.
        named: Option<NamedCells>,
        before: Option<Arc<Epoch>>,
        /// What changed from epoch to epoch until now.
        changes: Arc<EnvironmentChanges>,
    },
    /// More is known of the running epoch than when it was entered.
    EpochLearned(Arc<Epoch>),
    /// `due_at`: when the cycle should be complete, going by the one before.
    CycleStarted {
        cycle: u64,
        cells: u32,
        due_at: Option<Timestamp>,
    },
    /// `due_at`: when the sample must have ended, its time-outs and pauses included.
    SampleStarted {
        cell: Cell,
        due_at: Timestamp,
    },
    RequestStarted,
    RequestEnded(RequestEnd),
    SampleEnded {
        sample: Arc<Sample>,
        latencies: Arc<Latencies>,
    },
    /// The sample was given up in the middle, and with it the requests in flight.
    SampleDropped {
        cell: Cell,
        reason: &'static str,
    },
    CycleEnded {
        cycle: u64,
        seconds: f64,
    },
    /// A request that found the model not loaded got its answer.
    CanaryEnded(Canary),
    /// What the history knows of the target's changes: at a start, or when it joins.
    ChangesRestored(Arc<ChangeRecord>),
    /// A measure has changed.
    ChangeFound(Arc<ChangeEvent>),
    /// The change that began at `changed` was a dip: the old level is back since `returned`.
    ChangeWithdrawn {
        measure: Measure,
        changed: CycleRef,
        returned: CycleRef,
    },
    /// `direction` is that of the alarm that was raised, goes on, or ended; `active` is what
    /// is on from now on.
    AlarmTurned {
        measure: Measure,
        turn: Turn,
        direction: Direction,
        active: Option<ActiveAlarm>,
    },
    /// What the running epoch is held against from now on, if there is anything.
    BaselineChosen(Option<Arc<Baseline>>),
    /// The running epoch was compared with its baseline.
    Compared(Arc<Compared>),
}

impl Happening {
    /// Whether the history keeps anything of it.
    pub fn is_for_the_history(&self) -> bool {
        match self {
            Self::Away { is_first, .. } => *is_first,
            Self::FieldsDropped { .. }
            | Self::SlotsSwitched { .. }
            | Self::EpochEntered { .. }
            | Self::SampleEnded { .. }
            | Self::CycleEnded { .. }
            | Self::CanaryEnded(_)
            | Self::ChangeFound(_)
            | Self::ChangeWithdrawn { .. }
            | Self::BaselineChosen(_) => true,
            Self::AlarmTurned { turn, .. } => *turn != Turn::Persists,
            Self::Joined { .. }
            | Self::Left
            | Self::StateChanged { .. }
            | Self::SampleDropped { .. }
            | Self::Identified(_)
            | Self::EpochLearned(_)
            | Self::CycleStarted { .. }
            | Self::SampleStarted { .. }
            | Self::RequestStarted
            | Self::RequestEnded(_)
            | Self::ChangesRestored(_)
            | Self::Compared(_) => false,
        }
    }
}

/// A request's end, warm-ups included, as it is counted and logged.
#[derive(Clone, Debug, Default)]
pub struct RequestEnd {
    pub warmup: bool,
    /// From when it was due until it was sent: the wait for a worker.
    pub wait: Duration,
    /// Since the sample's origin.
    pub sent: Duration,
    pub time_to_first_token: Option<Duration>,
    pub duration: Duration,
    /// Text-bearing pieces of the answer.
    pub chunks: usize,
    pub tokens: TokenCounts,
    pub timings: ServerTimings,
    pub short: bool,
    pub failure: Option<RequestFailure>,
}

impl RequestEnd {
    pub fn of(record: &RequestRecord, warmup: bool) -> Self {
        Self {
            warmup,
            wait: record.sent.saturating_sub(record.due),
            sent: record.sent,
            time_to_first_token: record.time_to_first_token(),
            duration: record.duration(),
            chunks: record.chunks.len(),
            tokens: record.tokens,
            timings: record.timings,
            short: record.is_short(),
            failure: record.failure.clone(),
        }
    }

    /// Whether a server was there: one that refuses or breaks off was, one that only kept
    /// silent was not. `None`: this request cannot tell.
    pub fn reached_the_server(&self) -> Option<bool> {
        let Some(failure) = &self.failure else { return Some(true) };
        match failure.kind {
            FailureKind::NotStarted | FailureKind::Cancelled => None,
            FailureKind::TimeoutFirstToken | FailureKind::TimeoutTotal => Some(false),
            kind => Some(!kind.is_out_of_reach()),
        }
    }
}
