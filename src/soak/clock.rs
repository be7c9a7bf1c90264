//! The one place where wall time is read. Spans are measured on tokio's clock instead.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Tells wall time, UTC.
#[derive(Clone, Copy, Debug)]
pub enum WallClock {
    /// The system's, steps and all.
    System,
    /// Runs from a given time with tokio's clock, so that a test which pauses that one
    /// pauses this one.
    Anchored { at: Timestamp, since: Instant },
    /// Runs like an anchored one, but is set by so much, and back again, each time a span has
    /// passed. Set forward it is also that of a machine which slept.
    Unsteady { at: Timestamp, since: Instant, every: Duration, by: SignedDuration },
}

impl WallClock {
    /// A clock that shows `at` now and goes on with tokio's.
    pub fn anchored(at: Timestamp) -> Self {
        Self::Anchored { at, since: Instant::now() }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads wall time")]
    pub fn now(self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Anchored { at, since } => later(at, since.elapsed()),
            Self::Unsteady { at, since, every, by } => {
                let is_set = since.elapsed().div_duration_f64(every) % 2.0 >= 1.0;
                later(if is_set { at + by } else { at }, since.elapsed())
            }
        }
    }
}

/// `at` plus a span, as far as time reaches.
pub fn later(at: Timestamp, span: Duration) -> Timestamp {
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

/// `at` less a span, as far as time reaches.
pub fn earlier(at: Timestamp, span: Duration) -> Timestamp {
    at.checked_sub(span).unwrap_or(Timestamp::MIN)
}
