//! Inputs for tests: a server of the kind that the legacy report measured, with a little
//! deterministic spread.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{EarlierEpoch, LatencyChange, Past, ReportInput};
use crate::analysis::regression::{CellFigures, CycleView, compare};
use crate::domain::request::Endpoint;
use crate::domain::{
    Baseline, Cause, Cell, ChangeEvent, Compared, Conditions, CycleRef, Direction, Distribution, Epoch, EpochId,
    EstimatePlan, FailureKind, Grid, InvalidReason, LatencyMeasure, Load, Measure, Measurement, Quantiles, Ratio,
    Sample, Scope, ServerIdentity, ServerKind, SlotsMode, TargetId, TokenSource, ToldChange,
};

/// One token of each of c streams takes `STEP_SECONDS + c × STREAM_SECONDS`.
const STEP_SECONDS: f64 = 0.019;
const STREAM_SECONDS: f64 = 0.00215;
const OUTPUT_TOKENS: u32 = 204;
const SLOTS: u32 = 24;
const USUAL_SPREAD: f64 = 0.02;

fn began() -> Timestamp {
    "2026-11-24T08:00:00Z".parse().expect("is a time")
}

/// An input without samples.
pub(super) fn empty(grid: Grid) -> ReportInput {
    named(grid, "workstation", "gemma3:4b")
}

pub(super) fn named(grid: Grid, target: &str, model: &str) -> ReportInput {
    let identity = ServerIdentity {
        kind: ServerKind::Ollama,
        version: Some("0.12.9".to_owned()),
        model: model.to_owned(),
        model_file: None,
        model_digest: Some("a2af6cc3eb7f".to_owned()),
        quantization: Some("Q8_0".to_owned()),
        slots: Some(SLOTS),
        context_per_slot: Some(4096),
        gpu_share: None,
    };
    let load = Load {
        slots_mode: SlotsMode::Client,
        left_out: Default::default(),
        api: "ollama",
        endpoint: Endpoint::Completions,
        prompts: "built-in, 64 tokens".to_owned(),
        unique_prefix: true,
        output_tokens: OUTPUT_TOKENS,
        ignore_eos: true,
        temperature: 0.8,
    };
    ReportInput {
        target: TargetId::new(target, model),
        url: "http://127.0.0.1:11434".to_owned(),
        epoch: Epoch {
            id: EpochId(3),
            identity: identity.facts(),
            load: load.facts(),
            first_seen: began(),
            last_seen: began(),
        },
        named: None,
        estimates: EstimatePlan::default(),
        grid,
        samples: Vec::new(),
        complete_cycles: 0,
        past: Past::default(),
        seed: Some(42),
        generated_at: "2026-11-24T17:01:02Z".parse().expect("is a time"),
        version: "0.1.0",
    }
}

/// An input of that many complete cycles, each figure within 2 % of its middle.
pub(super) fn measured(grid: Grid, cycles: u64) -> ReportInput {
    spread(grid, cycles, USUAL_SPREAD)
}

/// An input of that many complete cycles, each figure within that share of its middle.
pub(super) fn spread(grid: Grid, cycles: u64, spread: f64) -> ReportInput {
    let mut input = empty(grid);
    let cells = input.grid.measured();
    let cycle = |cycle: u64| cells.iter().map(move |&cell| (cycle, cell));
    let plan = (1..=cycles).flat_map(cycle).collect::<Vec<_>>();
    let mut at = began();
    for (cycle, cell) in plan {
        let sample = Sample { measurement: measurement(cell, cycle, spread), ..sample(&input, cycle, cell, at) };
        at = sample.completed_at + SignedDuration::from_secs(1);
        input.samples.push(sample);
    }
    input.complete_cycles = cycles;
    input.epoch.last_seen = at;
    input
}

/// An input whose epoch began with a server that is slower by a factor than that of the epoch
/// before it, which had as many cycles.
pub(super) fn after_a_change(grid: Grid, cycles: u64, factor: f64) -> ReportInput {
    let mut input = measured(grid, cycles);
    let gap = SignedDuration::from_hours(24);
    let mut epoch = Epoch { id: EpochId(2), ..input.epoch.clone() };
    (epoch.first_seen, epoch.last_seen) = (epoch.first_seen - gap, epoch.last_seen - gap);
    epoch.identity.insert("server_version".to_owned(), "0.12.8".to_owned());
    let mut earlier = input.samples.clone();
    for sample in &mut earlier {
        (sample.started_at, sample.completed_at) = (sample.started_at - gap, sample.completed_at - gap);
        sample.cycle += 1000;
        sample.measurement = measurement(sample.cell, sample.cycle, USUAL_SPREAD);
    }
    for sample in &mut input.samples {
        slow_down(&mut sample.measurement, factor);
    }
    let distribution = |factor: f64| Distribution {
        counts: (0..200_u32).map(|n| (factor * (0.02 + 1e-7 * f64::from(n * n)), 1 + u64::from(n % 7))).collect(),
    };
    let latency = |measure| LatencyChange {
        cell: Cell::new(4, 8),
        measure,
        before: distribution(1.0),
        since: distribution(factor),
    };
    let (before, current) = (cycles_of(&epoch, &earlier), cycles_of(&input.epoch, &input.samples));
    let measures = compare(&before, &current, false);
    input.past = Past {
        compared: Some(Compared { baseline: epoch.id, current: input.epoch.id, measures }),
        baseline: Some(Arc::new(Baseline { epoch: Arc::new(epoch.clone()), is_pinned: false, optima: Vec::new() })),
        epochs: vec![EarlierEpoch { cycles: before, epoch }],
        changes: Vec::new(),
        latencies: [LatencyMeasure::TimeToFirstToken, LatencyMeasure::InterTokenLatency].map(latency).to_vec(),
    };
    input
}

/// What the detector says of a rate that fell by a tenth in the middle of an epoch.
pub(super) fn found(input: &ReportInput) -> ToldChange {
    let middle = &input.samples[input.samples.len() / 2];
    let changed = CycleRef { cycle: middle.cycle, at: middle.started_at };
    let event = ChangeEvent {
        measure: Measure::TokensPerSecond,
        direction: Direction::Regression,
        detected: changed,
        changed,
        ratio: Ratio { value: 0.9, lower: 0.88, upper: 0.92 },
        cause: Cause::UnexplainedStep,
        components: Vec::new(),
        scope: Scope::All,
        cycles_before: 9,
        cycles_after: 4,
        affected: Vec::new(),
        minimum_effect: 0.01,
    };
    ToldChange { event: Arc::new(event), returned: None }
}

/// The cycles that those samples make up.
fn cycles_of(epoch: &Epoch, samples: &[Sample]) -> Vec<CycleView> {
    let cycles = samples.chunk_by(|one, other| one.cycle == other.cycle);
    let view = |cycle: &[Sample]| CycleView {
        at: cycle[0].started_at,
        identity: epoch.identity.clone(),
        cells: cycle.iter().map(CellFigures::of).collect(),
    };
    cycles.map(view).collect()
}

fn slow_down(m: &mut Measurement, factor: f64) {
    m.total_seconds *= factor;
    m.seconds_per_request *= factor;
    m.tokens_per_second /= factor;
    m.steady_tokens_per_second = m.steady_tokens_per_second.map(|rate| rate / factor);
    for quantiles in [&mut m.time_to_first_token, &mut m.inter_token_latency].into_iter().flatten() {
        *quantiles =
            Quantiles { p50: quantiles.p50 * factor, p95: quantiles.p95 * factor, p99: quantiles.p99 * factor };
    }
}

/// A valid sample of that cell.
pub(super) fn sample(input: &ReportInput, cycle: u64, cell: Cell, at: Timestamp) -> Sample {
    let measurement = measurement(cell, cycle, USUAL_SPREAD);
    let total = SignedDuration::from_secs_f64(measurement.total_seconds);
    Sample {
        target: input.target.clone(),
        epoch: input.epoch.id,
        cycle,
        cell,
        started_at: at,
        completed_at: at + total,
        measurement,
        invalid: Vec::new(),
    }
}

/// A rejected sample of that cell, some of its requests failed.
pub(super) fn rejected(input: &ReportInput, cycle: u64, cell: Cell, at: Timestamp) -> Sample {
    let mut sample = sample(input, cycle, cell, at);
    sample.measurement.failed_requests = 1;
    sample.measurement.failures = BTreeMap::from([(FailureKind::Reset, 1)]);
    sample.measurement.short_outputs = 2;
    sample.invalid = vec![InvalidReason::FailedRequests, InvalidReason::ClientLimited];
    sample
}

/// A number from −1 to 1 that is always the same for the same cell and cycle.
fn noise(cell: Cell, cycle: u64) -> f64 {
    let seed = u64::from(cell.workers) << 40 ^ u64::from(cell.batch) << 20 ^ cycle;
    let mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40;
    mixed as f64 / f64::from(1_u32 << 23) - 1.0
}

fn measurement(cell: Cell, cycle: u64, spread: f64) -> Measurement {
    let spread = 1.0 + spread * noise(cell, cycle);
    let streams = cell.concurrency().min(SLOTS);
    let step = |streams: u32| (STEP_SECONDS + STREAM_SECONDS * f64::from(streams)) * spread;
    let wave = |streams: u32| if streams == 0 { 0.0 } else { f64::from(OUTPUT_TOKENS) * step(streams) };
    let (full, rest) = (cell.batch / streams, cell.batch % streams);
    let total = f64::from(full) * wave(streams) + wave(rest);
    let tokens = u64::from(cell.batch * OUTPUT_TOKENS) - cycle % 3;
    let around = |middle: f64| Some(Quantiles { p50: middle, p95: middle * 1.2, p99: middle * 1.4 });
    let queue = if cell.workers > SLOTS { wave(streams) } else { 0.0 };
    Measurement {
        total_seconds: total,
        seconds_per_request: total / f64::from(cell.batch),
        tokens_per_second: tokens as f64 / total,
        steady_tokens_per_second: Some(f64::from(streams) / step(streams)),
        prompt_tokens_per_second: Some(812.0),
        requests: cell.batch,
        failed_requests: 0,
        failures: BTreeMap::new(),
        output_tokens: tokens,
        prompt_tokens: Some(u64::from(cell.batch * 64)),
        cached_prompt_tokens: None,
        token_source: TokenSource::Usage,
        short_outputs: 0,
        observed_parallelism: Some(f64::from(cell.batch) * wave(streams) / total / 1.02),
        observed_parallelism_peak: Some(streams),
        reported_slots: None,
        time_to_first_token: around(2.0 * step(streams) + queue),
        inter_token_latency: around(step(streams)),
        time_per_output_token: around(step(streams)),
        request_duration: around(wave(streams)),
        worker_wait: None,
        queue_wait: around(queue),
        load_seconds: Some(0.04),
        gpu_share: Some(1.0),
        timer_lag_p99_seconds: Some(0.0004),
        client_cpu_ratio: 0.02,
        conditions: Conditions::default(),
    }
}
