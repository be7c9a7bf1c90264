//! The life of one target: identify, warm up, measure, pause, again.
//!
//! While its server is away it asks again with growing pauses, and a daemon never gives up.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout};

use super::backend::Backend;
use super::batch::{self, Batch};
use super::bus::Bus;
use super::clock::later;
use super::lag::LagMeter;
use super::order::{cells_of_cycle, generator};
use super::prompts;
use crate::analysis::measure::{Circumstances, measure};
use crate::analysis::quantile::median;
use crate::analysis::validity::{Bounds, judge};
use crate::client::{Dropped, Identified, Timeline, Timeouts};
use crate::domain::event::RequestEnd;
use crate::domain::plan::{Api, Prompts, SchedulePlan, TargetPlan};
use crate::domain::{
    Cell, Epoch, FailureKind, Grid, Happening, InvalidReason, Load, RequestRecord, Sample, SchedulerState,
    ServerIdentity, ServerKind, TargetId,
};
use crate::store::{CycleStart, Sighting, Writer};

/// Warm-up answers are at most so long: enough for the shapes and the clocks to settle.
pub const WARMUP_TOKENS: u32 = 16;
/// The pause after the first failure to reach the server; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often a target that waits says that it still does.
const REMINDER: Duration = Duration::from_secs(30);
/// Finding out who the server is takes at most so long.
const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(20);
/// A request may take so many times what the warm-up lets expect.
const TIMEOUT_MARGIN: f64 = 3.0;
/// The load times that the epoch's median is of.
const LOADS_KEPT: usize = 64;

/// Why a target cannot be measured now.
struct Trouble {
    reason: String,
    /// Whether the server did not even answer.
    is_away: bool,
    /// Whether it refused the requests as they are.
    is_refused: bool,
}

/// One target at work.
#[derive(Debug)]
pub struct TargetRunner<B> {
    pub backend: Arc<B>,
    pub plan: Arc<TargetPlan>,
    pub schedule: SchedulePlan,
    pub lane: Arc<Mutex<()>>,
    pub bus: Bus,
    pub history: Writer,
    pub lag: LagMeter,
    /// Threads of the measuring runtime: the cores that it can fill.
    pub cores: usize,
    /// Complete cycles to measure; without a limit, for ever.
    pub cycles: Option<u64>,
    /// Failures in a row after which the target is given up; without a limit, never.
    pub patience: Option<u32>,
    pub progress: Progress,
}

/// Where a target stands.
#[derive(Debug)]
pub struct Progress {
    pub id: TargetId,
    pub epoch: Option<Arc<Epoch>>,
    pub grid: Option<Arc<Grid>>,
    slots: Option<u32>,
    /// The running or last cycle.
    pub cycle: u64,
    pending: VecDeque<Cell>,
    cycle_began: Option<Instant>,
    last_cycle_took: Option<Duration>,
    completed: u64,
    /// Whether the server's fields were settled since it was last away.
    is_introduced: bool,
    /// What was settled and is yet to be told: the history knows a target from its first epoch on.
    dropped: Option<Dropped>,
    troubles: u32,
    /// Whether the server vanished at the first try of the cell that is next.
    is_second_try: bool,
    /// The server that the requests are made for.
    server: Option<(Api, ServerKind, String)>,
    /// Fields that it refused.
    left_out: BTreeSet<&'static str>,
    load_seconds: VecDeque<f64>,
}

impl Progress {
    /// Nothing measured yet, or in another life.
    pub fn new(id: TargetId) -> Self {
        Self {
            id,
            epoch: None,
            grid: None,
            slots: None,
            cycle: 0,
            pending: VecDeque::new(),
            cycle_began: None,
            last_cycle_took: None,
            completed: 0,
            is_introduced: false,
            dropped: None,
            troubles: 0,
            is_second_try: false,
            server: None,
            left_out: BTreeSet::new(),
            load_seconds: VecDeque::new(),
        }
    }
}

impl Progress {
    /// Another server, or another model on it, has to be introduced anew.
    fn meet(&mut self, seen: &Identified) {
        let server = (seen.api, seen.identity.kind, seen.identity.model.clone());
        if self.server.as_ref() != Some(&server) {
            self.is_introduced = false;
            self.left_out.clear();
            self.server = Some(server);
        }
    }

    /// Keeps a sample's load time among those that say what is usual. A sample in which the
    /// model was loaded does not.
    fn note_load(&mut self, sample: &Sample) {
        if !sample.invalid.contains(&InvalidReason::ModelLoad) {
            self.load_seconds.extend(sample.measurement.load_seconds);
        }
        if self.load_seconds.len() > LOADS_KEPT {
            self.load_seconds.pop_front();
        }
    }
}

impl<B: Backend> TargetRunner<B> {
    /// Measures until the asked cycles are complete. Dropping the future drops the running
    /// sample whole.
    ///
    /// Returns whether it did: a target without patience left is given up.
    pub async fn run(mut self) -> bool {
        while self.cycles.is_none_or(|cycles| self.progress.completed < cycles) {
            if let Err(trouble) = self.attend().await {
                if self.patience.is_some_and(|patience| self.progress.troubles >= patience) {
                    tracing::error!(target = %self.progress.id, reason = trouble.reason, "given up");
                    return false;
                }
                self.wait_out(trouble).await;
            }
        }
        true
    }

    /// Measures what is left of a cycle, or a new one, with the lane to itself.
    async fn attend(&mut self) -> Result<(), Trouble> {
        self.enter_state(SchedulerState::Starting).await;
        // What is seen before a wait may have changed after it.
        let lane = self.lane.clone();
        let lane = self.wait_for_lane(&lane).await;
        let mut identified = self.identify().await?;
        if !self.progress.is_introduced {
            self.introduce(&identified.identity).await?;
            // Some servers tell more once the model is loaded.
            identified = self.identify().await?;
            self.progress.is_introduced = true;
        }
        self.enter_epoch(&identified).await?;
        if let Some(Dropped { fields, reason }) = self.progress.dropped.take() {
            self.publish(Happening::FieldsDropped { fields, reason }).await;
        }
        if self.progress.cycle_began.is_none() {
            self.begin_cycle().await;
        }
        while let Some(&cell) = self.progress.pending.front() {
            let outcome = self.measure_cell(cell).await;
            // A cell during which the server vanished gets a second try, lest one outage
            // leave a hole in the cycle; a cell at which it always dies must not hold it up.
            let vanished = outcome.as_ref().is_err_and(|trouble| trouble.is_away);
            self.progress.is_second_try = vanished && !self.progress.is_second_try;
            if !self.progress.is_second_try {
                self.progress.pending.pop_front();
            }
            outcome?;
            if !self.progress.pending.is_empty() {
                self.pause().await;
            }
        }
        self.end_cycle().await;
        drop(lane);
        self.pause().await;
        Ok(())
    }

    async fn identify(&mut self) -> Result<Identified, Trouble> {
        let answer = timeout(IDENTIFY_TIMEOUT, self.backend.identify()).await;
        let reason = match answer {
            Ok(Ok(identified)) => {
                self.progress.meet(&identified);
                let identity = Arc::new(identified.identity.clone());
                self.progress.id.model = identity.model.as_str().into();
                self.progress.slots = identity.slots;
                self.publish(Happening::Identified(identity)).await;
                return Ok(identified);
            }
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => format!("no identity within {} s", IDENTIFY_TIMEOUT.as_secs()),
        };
        Err(Trouble { reason, is_away: true, is_refused: false })
    }

    async fn wait_for_lane<'a>(&self, lane: &'a Mutex<()>) -> MutexGuard<'a, ()> {
        if let Ok(guard) = lane.try_lock() {
            return guard;
        }
        let waiting = lane.lock();
        tokio::pin!(waiting);
        loop {
            self.enter_state(SchedulerState::WaitingForLane).await;
            if let Ok(guard) = timeout(REMINDER, &mut waiting).await {
                return guard;
            }
        }
    }

    /// Sends a first request: loads the model and settles which fields the server takes.
    async fn introduce(&mut self, identity: &ServerIdentity) -> Result<(), Trouble> {
        self.enter_state(SchedulerState::Warmup).await;
        self.publish(Happening::RequestStarted).await;
        let request = self.requests(1, WARMUP_TOKENS, &[0]).pop();
        let Some(request) = request else { return Ok(()) };
        let (attempts, dropped) =
            self.backend.negotiate(&request, &Timeline::start(), self.timeouts(self.plan.request.timeout)).await;
        if let Some(dropped) = &dropped {
            self.progress.left_out.extend(&dropped.fields);
        }
        self.progress.dropped = dropped.or(self.progress.dropped.take());
        for (index, attempt) in attempts.iter().enumerate() {
            if index > 0 {
                self.publish(Happening::RequestStarted).await;
            }
            self.publish(Happening::RequestEnded(RequestEnd::of(attempt, true))).await;
        }
        match attempts.last().and_then(|last| last.failure.as_ref()) {
            None => Ok(()),
            Some(failure) => Err(Trouble {
                reason: format!("{} {}: {failure}", identity.kind, identity.model),
                is_away: failure.kind.is_out_of_reach(),
                is_refused: false,
            }),
        }
    }

    async fn enter_epoch(&mut self, identified: &Identified) -> Result<(), Trouble> {
        let (identity, load) = (identified.identity.facts(), self.load(identified).facts());
        let sighting = Sighting {
            target: self.progress.id.clone(),
            url: self.plan.connection.url.clone(),
            identity: identity.clone(),
            load: load.clone(),
            at: self.bus.now(),
            running: self.progress.epoch.as_ref().map(|epoch| epoch.id),
        };
        let entered = match self.history.enter_epoch(sighting).await {
            Ok(entered) => entered,
            // A running epoch goes on without its history; a sample needs one to belong to.
            Err(error) if self.progress.epoch.as_ref().is_some_and(|running| running.continues(&identity, &load)) => {
                tracing::error!(target = %self.progress.id, %error, "the epoch is not in the history; measuring goes on");
                return Ok(());
            }
            Err(error) => return Err(Trouble { reason: error.to_string(), is_away: false, is_refused: false }),
        };
        let is_running = self.progress.epoch.as_ref().is_some_and(|running| running.id == entered.epoch.id);
        let epoch = Arc::new(entered.epoch);
        self.progress.epoch = Some(epoch.clone());
        if is_running {
            return Ok(());
        }
        // A cycle belongs to one epoch: what is left of the last one is not measured.
        self.progress.pending.clear();
        self.progress.cycle_began = None;
        self.progress.load_seconds.clear();
        entered.samples.iter().for_each(|sample| self.progress.note_load(sample));
        self.progress.cycle = self.progress.cycle.max(entered.last_cycle);
        let grid = Arc::new(self.plan.grid.grid(identified.identity.slots));
        self.progress.grid = Some(grid.clone());
        let (samples, before) = (Arc::new(entered.samples), entered.before.map(Arc::new));
        self.publish(Happening::EpochEntered { epoch, grid, samples, before }).await;
        Ok(())
    }

    fn load(&self, identified: &Identified) -> Load {
        let request = &self.plan.request;
        Load {
            api: if identified.api == Api::Ollama { "ollama" } else { "openai" },
            endpoint: request.endpoint,
            prompts: match &request.prompts {
                Prompts::BuiltIn { tokens } => format!("built-in, {tokens} tokens"),
                Prompts::Lines { lines, digest } => format!("file {digest}, {} prompts", lines.len()),
            },
            unique_prefix: request.avoid_prefix_cache,
            output_tokens: request.output_tokens,
            ignore_eos: request.ignore_eos,
            temperature: request.temperature,
            left_out: self.progress.left_out.clone(),
        }
    }

    async fn begin_cycle(&mut self) {
        let (Some(grid), Some(epoch)) = (self.progress.grid.clone(), self.progress.epoch.clone()) else { return };
        self.progress.cycle += 1;
        let (number, seed) = (self.progress.cycle, self.schedule.seed);
        self.progress.pending = cells_of_cycle(&grid, self.schedule.order, seed, number).into();
        self.progress.cycle_began = Some(Instant::now());
        let cells = u32::try_from(self.progress.pending.len()).unwrap_or(u32::MAX);
        let at = self.bus.now();
        let target = self.progress.id.clone();
        self.history.start_cycle(CycleStart { target, epoch: epoch.id, number, grid, seed, at }).await;
        let due_at = self.progress.last_cycle_took.map(|took| later(at, took));
        self.publish(Happening::CycleStarted { cycle: number, cells, due_at }).await;
    }

    async fn end_cycle(&mut self) {
        let took = self.progress.cycle_began.take().map_or(Duration::ZERO, |began| began.elapsed());
        self.progress.last_cycle_took = Some(took);
        self.progress.completed += 1;
        self.publish(Happening::CycleEnded { cycle: self.progress.cycle, seconds: took.as_secs_f64() }).await;
    }

    /// Warms up and measures one cell.
    async fn measure_cell(&mut self, cell: Cell) -> Result<(), Trouble> {
        let due_at = self.sample_due(self.plan.request.timeout);
        self.publish(Happening::SampleStarted { cell, due_at }).await;
        let numbers = [self.progress.cycle, cell.workers.into(), cell.batch.into()];
        let warmup = self.warm_up(cell, &numbers).await;
        let total = self.request_timeout(cell, &warmup);
        let due_at = Some(self.sample_due(total));
        self.publish(Happening::StateChanged { state: SchedulerState::Running, until: None, due_at }).await;

        let requests = self.requests(cell.batch, self.plan.request.output_tokens, &numbers);
        let batch = Batch { requests, workers: cell.workers, timeouts: self.timeouts(total), is_warmup: false };
        let (started_at, began) = (self.bus.now(), Instant::now());
        let (lag_before, cpu_before) = (self.lag.counts(), cpu_seconds());
        let records = batch::run(&self.backend, batch, &self.bus, &self.progress.id).await;
        let available = began.elapsed().as_secs_f64() * self.cores.max(1) as f64;
        let circumstances = Circumstances {
            cell,
            slots: self.progress.slots,
            timer_lag_p99: self.lag.counts().p99_since(&lag_before),
            client_cpu_ratio: if available > 0.0 { (cpu_seconds() - cpu_before) / available } else { 0.0 },
        };
        self.conclude(started_at, cell, &records, circumstances).await;
        all_failed(&records).map_or(Ok(()), Err)?;
        self.progress.troubles = 0;
        Ok(())
    }

    /// Makes the records a sample and publishes it.
    async fn conclude(&mut self, started_at: Timestamp, cell: Cell, records: &[RequestRecord], seen: Circumstances) {
        let Some((measurement, latencies)) = measure(records, seen) else { return };
        let Some(epoch) = &self.progress.epoch else { return };
        let loads: Vec<f64> = self.progress.load_seconds.iter().copied().collect();
        let invalid = judge(records, &measurement, median(&loads), &Bounds::default());
        let sample = Sample {
            target: self.progress.id.clone(),
            epoch: epoch.id,
            cycle: self.progress.cycle,
            cell,
            started_at,
            completed_at: self.bus.now(),
            measurement,
            invalid,
        };
        self.progress.note_load(&sample);
        self.publish(Happening::SampleEnded { sample: Arc::new(sample), latencies: Arc::new(latencies) }).await;
    }

    /// Short requests at the cell's own concurrency: opens the connections, wakes the
    /// clocks, compiles the shapes.
    async fn warm_up(&self, cell: Cell, numbers: &[u64]) -> Vec<RequestRecord> {
        let count = cell.concurrency().saturating_mul(self.schedule.warmup_requests);
        if count == 0 {
            return Vec::new();
        }
        self.enter_state(SchedulerState::Warmup).await;
        let tokens = self.plan.request.output_tokens.min(WARMUP_TOKENS);
        let numbers: Vec<u64> = numbers.iter().copied().chain([1]).collect();
        let requests = self.requests(count, tokens, &numbers);
        let timeouts = self.timeouts(self.plan.request.timeout);
        let batch = Batch { requests, workers: cell.workers, timeouts, is_warmup: true };
        batch::run(&self.backend, batch, &self.bus, &self.progress.id).await
    }

    /// The whole-request time-out: the configured one is a floor, so that a slow server's
    /// queue is not a fault.
    fn request_timeout(&self, cell: Cell, warmup: &[RequestRecord]) -> Duration {
        let floor = self.plan.request.timeout;
        let slowest = warmup.iter().filter(|record| record.succeeded()).max_by_key(|record| record.duration());
        let expected = match slowest {
            // The warm-up ran at the cell's own concurrency: its queue is in it.
            Some(record) => {
                let longer = f64::from(self.plan.request.output_tokens) / f64::from(record.asked_tokens.max(1));
                record.duration().mul_f64(longer * TIMEOUT_MARGIN)
            }
            None => floor * self.progress.slots.map_or(1, |slots| cell.concurrency().div_ceil(slots)),
        };
        floor.max(expected)
    }

    fn timeouts(&self, total: Duration) -> Timeouts {
        let request = &self.plan.request;
        Timeouts { first_token: request.first_token_timeout, between_tokens: request.between_tokens_timeout, total }
    }

    /// Requests of their own for each purpose. The time salts the prompts: a server that
    /// outlives this process still caches those of the last one.
    fn requests(&self, count: u32, tokens: u32, numbers: &[u64]) -> Vec<crate::domain::GenerateRequest> {
        let name = self.progress.id.name.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31) + u64::from(byte));
        let salt = self.bus.now().as_millisecond().cast_unsigned();
        let purpose: Vec<u64> = numbers.iter().copied().chain([name, salt]).collect();
        prompts::requests(&self.plan.request, count, tokens, &mut generator(self.schedule.seed, &purpose))
    }

    async fn pause(&self) {
        if !self.schedule.pause_between_samples.is_zero() {
            self.enter_state(SchedulerState::Pausing).await;
            sleep(self.schedule.pause_between_samples).await;
        }
    }

    /// Waits after a failure, longer with each one in a row.
    async fn wait_out(&mut self, trouble: Trouble) {
        let wait = FIRST_PAUSE.saturating_mul(1 << self.progress.troubles.min(6)).min(LONGEST_PAUSE);
        let is_first = self.progress.troubles == 0;
        self.progress.troubles += 1;
        self.progress.is_introduced &= !trouble.is_away && !trouble.is_refused;
        if trouble.is_away {
            self.publish(Happening::Away { reason: trouble.reason, is_first }).await;
        } else {
            tracing::warn!(target = %self.progress.id, reason = trouble.reason, "no request succeeded");
        }
        self.enter_state(SchedulerState::WaitingForServer).await;
        sleep(wait).await;
    }

    /// When the running or next sample must have ended, going by the largest cell and a
    /// request's longest time.
    fn sample_due(&self, request: Duration) -> Timestamp {
        let waves = |cell: Cell| cell.batch.div_ceil(cell.concurrency().max(1)) + self.schedule.warmup_requests;
        let most = self.progress.grid.iter().flat_map(|grid| grid.cells()).map(waves).max().unwrap_or(1);
        let longest = request.saturating_mul(most) + self.schedule.pause_between_samples;
        later(self.bus.now(), longest + LONGEST_PAUSE + IDENTIFY_TIMEOUT)
    }

    async fn enter_state(&self, state: SchedulerState) {
        let due_at = Some(self.sample_due(self.plan.request.timeout));
        self.publish(Happening::StateChanged { state, until: None, due_at }).await;
    }

    async fn publish(&self, happening: Happening) {
        self.bus.publish(&self.progress.id, happening).await;
    }
}

/// What a sample without a single success says of the server.
fn all_failed(records: &[RequestRecord]) -> Option<Trouble> {
    if records.iter().any(RequestRecord::succeeded) {
        return None;
    }
    let failures = || records.iter().filter_map(|record| record.failure.as_ref());
    let out_of_reach = failures().find(|failure| failure.kind.is_out_of_reach());
    let has_broken = failures().all(|failure| matches!(failure.kind, FailureKind::Reset | FailureKind::NotStarted));
    Some(Trouble {
        reason: out_of_reach.or_else(|| failures().next())?.to_string(),
        is_away: out_of_reach.is_some() || has_broken,
        is_refused: failures().any(|failure| failure.kind == FailureKind::Http4xx),
    })
}

/// Processor time of this process so far, seconds.
fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of a process' life")]
    let seconds = spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9;
    seconds
}
