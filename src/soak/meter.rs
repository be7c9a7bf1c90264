//! Counts the requests of a sample while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::{Cost, RequestRecord};

/// What was sent and what came back so far, warm-ups included.
#[derive(Debug, Default)]
pub struct Meter {
    /// What a prompt counts whose length the server does not tell.
    prompt_tokens: u64,
    /// The most that a request costs which was given up without an answer.
    lost_tokens: u64,
    started: AtomicU64,
    ended: AtomicU64,
    tokens: AtomicU64,
}

impl Meter {
    pub fn new(prompt_tokens: u64, output_tokens: u32) -> Self {
        let lost_tokens = prompt_tokens + u64::from(output_tokens);
        Self { prompt_tokens, lost_tokens, ..Self::default() }
    }

    pub(super) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, record: &RequestRecord) {
        self.tokens.fetch_add(tokens_at_most(record, self.prompt_tokens), Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// The most that it all cost. Requests that have not ended count as given up.
    pub fn cost(&self) -> Cost {
        let lost = self.started().saturating_sub(self.ended()) * self.lost_tokens;
        Cost { requests: self.started(), tokens: self.tokens.load(Ordering::Relaxed) + lost }
    }
}

/// What single requests cost at most.
pub(super) fn cost_of(records: &[RequestRecord], prompt_tokens: u64) -> Cost {
    let tokens = records.iter().map(|record| tokens_at_most(record, prompt_tokens)).sum();
    Cost { requests: records.len() as u64, tokens }
}

/// A server bills for what it worked, also where the answer broke off or nobody counted.
fn tokens_at_most(record: &RequestRecord, prompt_tokens: u64) -> u64 {
    match record.output_tokens_at_most() {
        0 if !record.succeeded() => 0,
        output => record.tokens.prompt.unwrap_or(prompt_tokens) + output,
    }
}
