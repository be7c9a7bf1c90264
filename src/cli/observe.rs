//! The listener that turns each event into state, metrics and a log line.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;

use crate::domain::{Event, Happening, Sample};
use crate::metrics::Metrics;
use crate::soak::Board;

/// Listens until the engine is gone.
pub(super) async fn observe(mut events: Receiver<Arc<Event>>, board: Board, metrics: Arc<Metrics>) {
    while let Some(event) = events.recv().await {
        board.apply(&event);
        metrics.observe(&event);
        log(&event);
    }
}

fn log(event: &Event) {
    let target = &*event.target.name;
    match &event.happening {
        Happening::StateChanged { state, .. } => tracing::debug!(target, %state, "state"),
        Happening::Identified(identity) => tracing::debug!(
            target,
            server = %identity.kind,
            version = identity.version.as_deref().unwrap_or("unknown"),
            model = identity.model,
            slots = identity.slots,
            "server identified"
        ),
        Happening::Away { reason, is_first: true } => tracing::warn!(target, reason, "server away; asking again"),
        Happening::Away { reason, is_first: false } => tracing::debug!(target, reason, "server still away"),
        Happening::FieldsDropped { fields, reason } => {
            tracing::warn!(
                target,
                fields = fields.join(","),
                reason,
                "server refuses request fields; they are left out"
            );
        }
        Happening::EpochEntered { epoch, samples, before, .. } => {
            let changes = before.as_ref().map(|before| before.changes_to(epoch).join("; "));
            tracing::info!(target, epoch = epoch.id.0, known_samples = samples.len(), changes, "epoch");
        }
        Happening::CycleStarted { cycle, cells, .. } => tracing::info!(target, cycle, cells, "cycle started"),
        Happening::CycleEnded { cycle, seconds } => {
            tracing::info!(target, cycle, seconds = round(*seconds), "cycle complete");
        }
        Happening::SampleStarted { cell, .. } => {
            tracing::debug!(target, workers = cell.workers, batch = cell.batch, "sample started");
        }
        Happening::SampleEnded { sample, .. } => log_sample(target, sample),
        Happening::Joined { url, .. } => tracing::info!(target, url, "target joined"),
        Happening::Left => tracing::info!(target, "target left"),
        Happening::SampleDropped { cell, reason } => {
            tracing::info!(target, workers = cell.workers, batch = cell.batch, reason, "sample dropped");
        }
        Happening::RequestStarted => {}
        Happening::RequestEnded(end) => {
            if let Some(failure) = &end.failure {
                tracing::debug!(target, warmup = end.warmup, %failure, "request failed");
            }
        }
    }
}

fn log_sample(target: &str, sample: &Sample) {
    let (cell, measured) = (sample.cell, &sample.measurement);
    let milliseconds = |seconds: Option<f64>| seconds.map(|seconds| round(seconds * 1e3));
    let ttft_ms = milliseconds(measured.time_to_first_token.map(|quantiles| quantiles.p50));
    let itl_ms = milliseconds(measured.inter_token_latency.map(|quantiles| quantiles.p50));
    let lag_ms = milliseconds(measured.timer_lag_p99_seconds);
    let (workers, batch) = (cell.workers, cell.batch);
    let (seconds, tokens_per_second) = (round(measured.total_seconds), round(measured.tokens_per_second));
    if sample.is_valid() {
        tracing::info!(target, workers, batch, seconds, tokens_per_second, ttft_ms, itl_ms, "sample");
    } else {
        let reasons: Vec<&str> = sample.invalid.iter().map(|reason| reason.as_str()).collect();
        let (failed, cached) = (measured.failed_requests, measured.cached_prompt_tokens);
        let (reasons, cpu) = (reasons.join(","), round(measured.client_cpu_ratio));
        tracing::warn!(target, workers, batch, seconds, reasons, failed, cached, lag_ms, cpu, "sample rejected");
    }
}

/// Three digits after the point: a log line is read by people.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
