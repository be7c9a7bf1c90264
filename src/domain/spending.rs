//! What a target cost, for its budget.

use jiff::Timestamp;

/// What was sent to a target at one time, warm-ups included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    pub at: Timestamp,
    pub requests: u64,
    /// Prompt and output together.
    pub tokens: u64,
}
