//! One batch against the queue model.

use std::sync::Arc;
use std::time::Duration;

use super::stage::{MINUTE, SOON, exact};
use crate::analysis::measure::{Circumstances, measure};
use crate::client::Timeouts;
use crate::domain::plan::RequestPlan;
use crate::domain::{Cell, Measurement, RequestRecord, TargetId};
use crate::sim::SimServer;
use crate::sim::model::predict_total;
use crate::soak::batch::{self, Batch};
use crate::soak::order::generator;
use crate::soak::{Bus, MemoryBackend, WallClock, prompts};

/// Runs one cell's batch on a fresh server.
async fn records(cell: Cell, slots: u32, output_tokens: u32) -> Vec<RequestRecord> {
    let plan = Arc::new(RequestPlan { output_tokens, ..RequestPlan::default() });
    let server = SimServer::start(exact(slots));
    // The simulation tells of a load that takes no time: none is told here.
    server.set_load(Duration::ZERO..=Duration::ZERO);
    let backend = Arc::new(MemoryBackend::new(server, plan.clone()));
    let requests = prompts::requests(&plan, cell.batch, output_tokens, &mut generator(1, &[]));
    let timeouts = Timeouts { first_token: 10 * MINUTE, between_tokens: MINUTE, total: 10 * MINUTE };
    let batch = Batch { requests, workers: cell.workers, timeouts, is_warmup: false, meter: Arc::default() };
    let bus = Bus::new(WallClock::anchored(SOON), None);
    batch::run(&backend, batch, &bus, &TargetId::new("t", "m")).await
}

/// Measures one cell of a fresh server.
async fn measured(cell: Cell, slots: u32, output_tokens: u32) -> Measurement {
    let records = records(cell, slots, output_tokens).await;
    let circumstances =
        Circumstances { cell, slots: Some(slots), gpu_share: None, timer_lag_p99: None, client_cpu_ratio: 0.0 };
    measure(&records, circumstances).expect("has records").0
}

#[tokio::test(start_paused = true)]
async fn a_batch_takes_exactly_as_long_as_the_queue_model_says() {
    for (workers, batch, slots) in [(1, 1, 4), (1, 5, 4), (4, 4, 4), (4, 16, 50), (8, 16, 4), (24, 48, 50), (6, 16, 4)]
    {
        let cell = Cell::new(workers, batch);
        let measurement = measured(cell, slots, 24).await;
        let at_once = workers.min(slots);
        let answers = vec![24; batch as usize];
        let expected = predict_total(Duration::from_millis(20), Duration::from_millis(2), at_once, &answers);
        assert_eq!(measurement.total_seconds, expected.as_secs_f64(), "{cell} on {slots} slots");
        assert_eq!(measurement.output_tokens, u64::from(batch) * 24, "{cell} on {slots} slots");
        assert_eq!(measurement.observed_parallelism_peak, Some(at_once.min(batch)), "{cell} on {slots} slots");
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_waits_in_the_client_and_a_queue_in_the_server() {
    // One at a time: 24 steps of 22 ms each.
    let one = 24.0 * 0.022;
    let client = measured(Cell::new(1, 3), 4, 24).await;
    let server = measured(Cell::new(3, 3), 1, 24).await;
    assert_eq!(client.total_seconds, 3.0 * one);
    assert_eq!(server.total_seconds, 3.0 * one);
    // What waits for a worker has not been sent: it is in no latency.
    assert_eq!(client.request_duration.map(|d| d.p50), Some(one));
    assert_eq!(client.worker_wait.map(|d| d.p50), Some(one));
    assert_eq!(server.request_duration.map(|d| d.p50), Some(2.0 * one));
    assert_eq!(server.worker_wait.map(|d| d.p99), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn each_request_queues_for_the_answers_before_it() {
    // One at a time: 24 steps of 22 ms each.
    let one = 24 * Duration::from_millis(22);
    let mut waits: Vec<_> = records(Cell::new(3, 3), 1, 24).await.iter().map(RequestRecord::queue_wait).collect();
    waits.sort_unstable();
    assert_eq!(waits, [Some(Duration::ZERO), Some(one), Some(2 * one)]);
    // What waits for a worker queues in the client, and what has its slot does not queue.
    for (workers, slots) in [(1, 1), (3, 3)] {
        let wait = measured(Cell::new(workers, 3), slots, 24).await.queue_wait.expect("told");
        assert_eq!((wait.p50, wait.p99), (0.0, 0.0), "{workers} workers, {slots} slots");
    }
}
