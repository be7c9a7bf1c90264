//! What a target cost, for its budget.

use jiff::Timestamp;

use super::cell::Cell;
use super::plan::{Prompts, RequestPlan};

/// Requests and their tokens, prompt and output together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub requests: u64,
    pub tokens: u64,
}

impl Cost {
    /// The most that a sample of a cell costs, its warm-ups included. `prompt_tokens` is the
    /// length of its longest prompt.
    pub fn of_sample(cell: Cell, request: &RequestPlan, warmup_requests: u32, prompt_tokens: u64) -> Self {
        let batch = u64::from(cell.batch);
        let warmups = u64::from(cell.warmups(warmup_requests));
        let answers = batch * u64::from(request.output_tokens) + warmups * u64::from(request.warmup_tokens());
        Self { requests: batch + warmups, tokens: (batch + warmups) * prompt_tokens + answers }
    }

    /// The most that a first request costs.
    pub fn of_introduction(request: &RequestPlan, prompt_tokens: u64) -> Self {
        Self { requests: 1, tokens: prompt_tokens + u64::from(request.warmup_tokens()) }
    }
}

impl RequestPlan {
    /// About how many tokens the longest prompt has. A user's own counts four bytes a token.
    pub fn prompt_tokens(&self) -> u64 {
        match &self.prompts {
            Prompts::BuiltIn { tokens } => u64::from(*tokens),
            Prompts::Lines { lines, .. } => lines.iter().map(|line| line.len() as u64 / 4 + 1).max().unwrap_or(0),
        }
    }
}

/// What was sent to a target at one time, warm-ups included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    pub at: Timestamp,
    pub cost: Cost,
}
