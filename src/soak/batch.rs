//! One batch: B requests through W workers.
//!
//! All requests are due at once; a worker sends the next one when its last has ended. There
//! is no retry. Once the server cannot be reached the rest of the batch is not started:
//! each of its requests is a recorded outcome.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::backend::{Backend, not_started};
use super::bus::Bus;
use super::meter::Meter;
use crate::client::{Timeline, Timeouts};
use crate::domain::event::RequestEnd;
use crate::domain::{FailureKind, GenerateRequest, Happening, RequestFailure, RequestRecord, TargetId};

/// A batch that is ready to go.
#[derive(Debug)]
pub struct Batch {
    pub requests: Vec<GenerateRequest>,
    /// At most so many in flight.
    pub workers: u32,
    pub timeouts: Timeouts,
    /// Counts in the totals of requests and tokens, in nothing else.
    pub is_warmup: bool,
    pub meter: Arc<Meter>,
}

/// What the workers of a batch share.
struct Work<B> {
    backend: Arc<B>,
    timeline: Timeline,
    timeouts: Timeouts,
    /// Taken from the end: the vector is reversed.
    waiting: Mutex<Vec<GenerateRequest>>,
    server_is_out_of_reach: AtomicBool,
    is_warmup: bool,
    meter: Arc<Meter>,
    bus: Bus,
    target: TargetId,
}

/// Runs a batch to its end and returns the record of each request. Dropping the future
/// gives up every request in flight.
pub async fn run<B: Backend>(backend: &Arc<B>, batch: Batch, bus: &Bus, target: &TargetId) -> Vec<RequestRecord> {
    let workers = usize::try_from(batch.workers).unwrap_or(usize::MAX).min(batch.requests.len());
    let mut waiting = batch.requests;
    waiting.reverse();
    let work = Arc::new(Work {
        backend: backend.clone(),
        timeline: Timeline::start(),
        timeouts: batch.timeouts,
        waiting: Mutex::new(waiting),
        server_is_out_of_reach: AtomicBool::new(false),
        is_warmup: batch.is_warmup,
        meter: batch.meter,
        bus: bus.clone(),
        target: target.clone(),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        tasks.spawn(work_off(work.clone()));
    }
    let mut records = Vec::new();
    while let Some(worker) = tasks.join_next().await {
        match worker {
            Ok(done) => records.extend(done),
            // A worker that panicked must not look like a short batch.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    records
}

/// One worker: takes requests until none waits.
async fn work_off<B: Backend>(work: Arc<Work<B>>) -> Vec<RequestRecord> {
    let mut records = Vec::new();
    while let Some(request) = work.next() {
        work.bus.publish(&work.target, Happening::RequestStarted).await;
        let record = if work.server_is_out_of_reach.load(Ordering::Relaxed) {
            let failure = RequestFailure::new(FailureKind::NotStarted, "the server is out of reach");
            not_started(&request, work.timeline.now(), failure)
        } else {
            work.meter.start();
            let record = work.backend.generate(&request, &work.timeline, Duration::ZERO, work.timeouts).await;
            work.meter.end(&record);
            record
        };
        if record.failure.as_ref().is_some_and(|failure| failure.kind.is_out_of_reach()) {
            work.server_is_out_of_reach.store(true, Ordering::Relaxed);
        }
        let end = RequestEnd::of(&record, work.is_warmup);
        work.bus.publish(&work.target, Happening::RequestEnded(end)).await;
        records.push(record);
    }
    records
}

impl<B> Work<B> {
    fn next(&self) -> Option<GenerateRequest> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
