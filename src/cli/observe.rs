//! The listener that turns each event into state, metrics and log lines.

mod changes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;

use super::known::Newcomers;
use crate::domain::event::RequestEnd;
use crate::domain::plan::MetricsPlan;
use crate::domain::{Event, Grid, Happening, Sample};
use crate::metrics::{Metrics, size};
use crate::soak::{Board, Snapshot};
use crate::store::Writer;

/// Who listens: all that events are told to.
pub(super) struct Observer {
    pub(super) board: Board,
    pub(super) metrics: Arc<Metrics>,
    pub(super) newcomers: Newcomers,
    pub(super) history: Writer,
}

/// The most events that are taken at once.
const AT_ONCE: usize = 1024;

/// What the log remembers from event to event.
struct Memory {
    requests: Requests,
    bound: SeriesBound,
    split: SplitModels,
}

impl Observer {
    /// Listens until the engine is gone.
    pub(super) async fn observe(self, mut events: Receiver<Arc<Event>>, plan: MetricsPlan) {
        let (requests, bound, split) = (Requests::default(), SeriesBound::new(plan), SplitModels::default());
        let mut memory = Memory { requests, bound, split };
        let mut arrived = Vec::new();
        while events.recv_many(&mut arrived, AT_ONCE).await > 0 {
            if arrived.iter().any(|event| matches!(event.happening, Happening::SampleEnded { .. })) {
                // What is shown is stored: a kill must not take back a sample that was seen. Waited for
                // once for all that came, or a slow disk would leave this ever further behind.
                self.history.flush().await;
            }
            for event in arrived.drain(..) {
                self.tell(&event, &mut memory).await;
            }
        }
    }

    async fn tell(&self, event: &Event, memory: &mut Memory) {
        let Self { board, metrics, newcomers, .. } = self;
        let before = board.snapshot();
        let known = newcomers.joining(event, &before);
        for event in std::iter::once(event).chain(&known) {
            metrics.observe(event);
            // Last: whoever sees a change here sees it in the metrics too.
            board.apply(event);
        }
        let number = memory.requests.number(event);
        log(event, number, board);
        let after = board.snapshot();
        memory.bound.check(event, &after);
        memory.split.check(event);
        self.keep_named(event, &before, &after).await;
    }

    /// Has the history keep which cells are named best: a restart holds on to them.
    async fn keep_named(&self, event: &Event, before: &Snapshot, after: &Snapshot) {
        let Happening::SampleEnded { sample, .. } = &event.happening else { return };
        let named = |snapshot: &Snapshot| snapshot.targets.get(&event.target.name)?.named();
        let (was, is) = (named(before), named(after));
        let Some(is) = is.filter(|is| was.as_ref() != Some(is)) else { return };
        let moved_from = was.map(|was| was.throughput).filter(|was| *was != is.throughput);
        if let Some(from) = moved_from {
            let (target, from, to) = (&*event.target.name, from.to_string(), is.throughput.to_string());
            tracing::info!(target, from, to, "the optimum moved");
        }
        self.history.name(sample.epoch, is).await;
    }
}

/// The targets whose model is known to lie partly outside the GPU: a server tells it again and
/// again, the log says it once.
#[derive(Debug, Default)]
struct SplitModels {
    targets: BTreeSet<Arc<str>>,
}

impl SplitModels {
    fn check(&mut self, event: &Event) {
        if let Some(gpu_share) = self.news(event) {
            let target = &*event.target.name;
            tracing::warn!(target, gpu_share, "the model is not wholly on the GPU: the CPU works on the rest");
        }
    }

    /// The share on the GPU where the event is the first to tell that it is not all.
    fn news(&mut self, event: &Event) -> Option<f64> {
        match &event.happening {
            Happening::Identified(identity) if identity.is_partly_on_cpu() => {
                let is_new = self.targets.insert(event.target.name.clone());
                identity.gpu_share.filter(|_| is_new).map(round)
            }
            // While no model is loaded nothing is told: that is no change.
            Happening::Identified(identity) if identity.gpu_share.is_some() => self.forget(event),
            Happening::Left => self.forget(event),
            _ => None,
        }
    }

    fn forget(&mut self, event: &Event) -> Option<f64> {
        self.targets.remove(&event.target.name);
        None
    }
}

/// Whether the grids that the servers' slots made exceed what the configuration allows. At its
/// start that was checked with slots that were not known.
#[derive(Debug)]
struct SeriesBound {
    plan: MetricsPlan,
    /// The grids that were found to be too much.
    told: BTreeMap<Arc<str>, Arc<Grid>>,
}

impl SeriesBound {
    fn new(plan: MetricsPlan) -> Self {
        Self { plan, told: BTreeMap::new() }
    }

    fn check(&mut self, event: &Event, shown: &Snapshot) {
        if let Some(series) = self.excess(event, shown) {
            let (target, most) = (&*event.target.name, self.plan.max_series);
            tracing::warn!(target, series, most, "more series than metrics.max_series; name the grid or allow more");
        }
    }

    /// How many series there are, if they are too many since this event; once for a target's
    /// grid.
    fn excess(&mut self, event: &Event, shown: &Snapshot) -> Option<u64> {
        let Happening::EpochEntered { grid, .. } = &event.happening else { return None };
        let grids = shown.targets.values().filter_map(|target| target.grid.as_deref());
        let series = size::series(&self.plan, grids);
        let name = &event.target.name;
        if series <= self.plan.max_series {
            self.told.remove(name);
            return None;
        }
        let is_told = self.told.insert(name.clone(), grid.clone()).is_some_and(|told| told == *grid);
        (!is_told).then_some(series)
    }
}

/// Numbers the requests of each target's sample, warm-ups included, as they end.
#[derive(Debug, Default)]
struct Requests {
    ended: BTreeMap<Arc<str>, u32>,
}

impl Requests {
    fn number(&mut self, event: &Event) -> u32 {
        match &event.happening {
            Happening::SampleStarted { .. } | Happening::Left => {
                self.ended.remove(&event.target.name);
                0
            }
            Happening::RequestEnded(_) => {
                let number = self.ended.entry(event.target.name.clone()).or_default();
                *number += 1;
                *number
            }
            _ => 0,
        }
    }
}

fn log(event: &Event, request: u32, board: &Board) {
    let target = &*event.target.name;
    match &event.happening {
        Happening::StateChanged { state, .. } => tracing::debug!(target, %state, "state"),
        Happening::Identified(identity) => tracing::debug!(
            target,
            server = %identity.kind,
            version = identity.version.as_deref().unwrap_or("unknown"),
            model = identity.model,
            slots = identity.slots,
            gpu_share = identity.gpu_share.map(round),
            "server identified"
        ),
        Happening::Away { reason, is_first: true } => tracing::warn!(target, reason, "server away; asking again"),
        Happening::Away { reason, is_first: false } => tracing::debug!(target, reason, "server still away"),
        Happening::SlotsSwitched { workers, reported, seconds } => {
            let seconds = round(*seconds);
            if reported.is_some_and(|reported| reported != *workers) {
                tracing::warn!(
                    target,
                    asked = workers,
                    reported,
                    seconds,
                    "the server did not take the slots asked for"
                );
            } else {
                tracing::info!(target, asked = workers, reported, seconds, "slots switched");
            }
        }
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
        Happening::EpochLearned(epoch) => tracing::debug!(target, epoch = epoch.id.0, "more is known of the epoch"),
        Happening::CycleStarted { cycle, cells, .. } => tracing::info!(target, cycle, cells, "cycle started"),
        Happening::CycleEnded { cycle, seconds } => {
            tracing::info!(target, cycle, seconds = round(*seconds), "cycle complete");
        }
        Happening::SampleStarted { cell, .. } => {
            tracing::debug!(target, workers = cell.workers, batch = cell.batch, "sample started");
        }
        Happening::SampleEnded { sample, .. } => {
            log_sample(target, sample);
            let snapshot = board.snapshot();
            let identity = snapshot.targets.get(target).and_then(|target| target.identity.as_ref());
            log_judgement(target, sample, identity.and_then(|identity| identity.slots));
        }
        Happening::CanaryEnded(canary) => {
            let ttft_seconds = round(canary.time_to_first_token_seconds);
            tracing::info!(target, load_seconds = canary.load_seconds.map(round), ttft_seconds, "canary");
        }
        Happening::ChangesRestored(_)
        | Happening::ChangeFound(_)
        | Happening::ChangeWithdrawn { .. }
        | Happening::AlarmTurned { .. }
        | Happening::BaselineChosen(_)
        | Happening::Compared(_) => changes::log(target, &event.happening),
        Happening::Joined { url, .. } => tracing::info!(target, url, "target joined"),
        Happening::Left => tracing::info!(target, "target left"),
        Happening::SampleDropped { cell, reason } => {
            tracing::info!(target, workers = cell.workers, batch = cell.batch, reason, "sample dropped");
        }
        Happening::RequestStarted => {}
        Happening::RequestEnded(end) => log_request(target, request, end),
    }
}

/// What a request was like: enough to tell which one made its sample strange.
fn log_request(target: &str, request: u32, end: &RequestEnd) {
    let RequestEnd { tokens, timings, .. } = end;
    tracing::debug!(
        target,
        request,
        warmup = end.warmup,
        wait_ms = milliseconds(end.wait),
        sent_ms = milliseconds(end.sent),
        ttft_ms = end.time_to_first_token.map(milliseconds),
        duration_ms = milliseconds(end.duration),
        tokens = tokens.output,
        chunks = end.chunks,
        token_source = tokens.source.as_str(),
        prompt = tokens.prompt,
        cached = tokens.cached_prompt,
        load_ms = timings.load.map(milliseconds),
        prompt_ms = timings.prompt.map(milliseconds),
        decode_ms = timings.decode.map(milliseconds),
        short = end.short,
        failure = end.failure.as_ref().map(ToString::to_string),
        "request"
    );
}

fn log_sample(target: &str, sample: &Sample) {
    let (cell, measured) = (sample.cell, &sample.measurement);
    let ttft_ms = measured.time_to_first_token.map(|quantiles| round(quantiles.p50 * 1e3));
    let itl_ms = measured.inter_token_latency.map(|quantiles| round(quantiles.p50 * 1e3));
    let lag_ms = measured.timer_lag_p99_seconds.map(|seconds| round(seconds * 1e3));
    let (workers, batch) = (cell.workers, cell.batch);
    let (seconds, tokens_per_second) = (round(measured.total_seconds), round(measured.tokens_per_second));
    if sample.is_valid() {
        tracing::info!(target, workers, batch, seconds, tokens_per_second, ttft_ms, itl_ms, "sample");
    } else {
        let (failed, cached) = (measured.failed_requests, measured.cached_prompt_tokens);
        let (reasons, cpu) = (reasons(sample), round(measured.client_cpu_ratio));
        tracing::warn!(target, workers, batch, seconds, reasons, failed, cached, lag_ms, cpu, "sample rejected");
    }
}

/// All that a sample is judged by, whatever the verdict.
fn log_judgement(target: &str, sample: &Sample, slots: Option<u32>) {
    let measured = &sample.measurement;
    let failures: Vec<String> = measured.failures.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    let throttled: Vec<&str> = measured.conditions.throttle_reasons.iter().map(|reason| reason.as_str()).collect();
    tracing::debug!(
        target,
        cycle = sample.cycle,
        workers = sample.cell.workers,
        batch = sample.cell.batch,
        slots,
        steady_tokens_per_second = measured.steady_tokens_per_second.map(round),
        parallelism = measured.observed_parallelism.map(round),
        parallelism_peak = measured.observed_parallelism_peak,
        lag_ms = measured.timer_lag_p99_seconds.map(|seconds| round(seconds * 1e3)),
        itl_ms = measured.inter_token_latency.map(|quantiles| round(quantiles.p50 * 1e3)),
        cpu = round(measured.client_cpu_ratio),
        queue_ms = measured.queue_wait.map(|quantiles| round(quantiles.p50 * 1e3)),
        load_seconds = measured.load_seconds.map(round),
        gpu_celsius = measured.conditions.gpu_temperature_celsius,
        gpu_watts = measured.conditions.power_watts.map(round),
        throttled = throttled.join(","),
        requests = measured.requests,
        failures = failures.join(","),
        output = measured.output_tokens,
        token_source = measured.token_source.as_str(),
        prompt = measured.prompt_tokens,
        cached = measured.cached_prompt_tokens,
        short = measured.short_outputs,
        reasons = reasons(sample),
        "sample judged"
    );
}

fn reasons(sample: &Sample) -> String {
    let reasons: Vec<&str> = sample.invalid.iter().map(|reason| reason.as_str()).collect();
    reasons.join(",")
}

fn milliseconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1e3)
}

/// Three digits after the point: a log line is read by people.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, EpochId, Facts, ServerIdentity, ServerKind, TargetId};
    use crate::soak::TargetSnapshot;

    #[test]
    fn too_many_series_are_told_once_for_each_grid() {
        let small = Arc::new(Grid::new(&[1], &[1], true).expect("axes are sound"));
        let large = Arc::new(Grid::new(&[1, 2, 4], &[1, 2, 4], true).expect("axes are sound"));
        let mut plan = MetricsPlan::default();
        plan.max_series = size::series(&plan, [&*small, &*small]);
        let with_large = size::series(&plan, [&*large, &*small]);
        let (a, b) = (TargetId::new("a", "m"), TargetId::new("b", "m"));
        let board = Board::new([&a, &b].map(|id| TargetSnapshot::new(id.clone(), String::new(), String::new())));
        let mut bound = SeriesBound::new(plan);
        let mut check = |target: &TargetId, grid: &Arc<Grid>, expected: Option<u64>| {
            let at = jiff::Timestamp::UNIX_EPOCH;
            let epoch =
                Epoch { id: EpochId(1), first_seen: at, last_seen: at, identity: Facts::new(), load: Facts::new() };
            let (epoch, samples) = (Arc::new(epoch), Arc::default());
            let (grid, changes) = (grid.clone(), Arc::default());
            let happening = Happening::EpochEntered { epoch, grid, samples, named: None, before: None, changes };
            let event = Event { target: target.clone(), at, happening };
            board.apply(&event);
            assert_eq!(bound.excess(&event, &board.snapshot()), expected);
        };
        check(&a, &small, None);
        check(&b, &small, None);
        check(&a, &large, Some(with_large));
        check(&a, &large, None);
        check(&a, &small, None);
        check(&a, &large, Some(with_large));
    }

    fn identified(gpu_share: Option<f64>) -> Happening {
        Happening::Identified(Arc::new(ServerIdentity { gpu_share, ..ServerIdentity::of(ServerKind::Ollama, "m") }))
    }

    #[test]
    fn a_model_outside_the_gpu_is_told_once_until_it_was_whole_or_gone() {
        let mut split = SplitModels::default();
        for (happening, expected) in [
            (identified(None), None),
            (identified(Some(0.6254)), Some(0.625)),
            (identified(Some(0.5)), None),
            (identified(None), None),
            (identified(Some(0.5)), None),
            (identified(Some(1.0)), None),
            (identified(Some(0.0)), Some(0.0)),
            (Happening::Left, None),
            (identified(Some(0.5)), Some(0.5)),
        ] {
            let event = Event { at: jiff::Timestamp::UNIX_EPOCH, target: TargetId::new("t", "m"), happening };
            assert_eq!(split.news(&event), expected, "{event:?}");
        }
    }
}
