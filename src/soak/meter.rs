//! Counts the requests of a sample while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::RequestRecord;

/// What was sent and what came back so far.
#[derive(Debug, Default)]
pub struct Meter {
    started: AtomicU64,
    ended: AtomicU64,
    tokens: AtomicU64,
}

impl Meter {
    pub(super) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self, record: &RequestRecord) {
        self.tokens.fetch_add(record.tokens.output + record.tokens.prompt.unwrap_or(0), Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Prompt and output tokens of the requests that ended.
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }
}
