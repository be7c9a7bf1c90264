//! One cell: warm up, measure, judge.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, timeout};

use super::backend::Backend;
use super::batch::{self, Batch};
use super::clock::later;
use super::hold::Hold;
use super::meter::Meter;
use super::neighbour::poll;
use super::order::generator;
use super::progress::Running;
use super::prompts;
use super::target::{Halt, TargetRunner};
use super::trouble::Trouble;
use crate::analysis::foreign::Watched;
use crate::analysis::measure::{Circumstances, measure};
use crate::analysis::validity::judge;
use crate::client::Timeouts;
use crate::domain::{
    Cell, Conditions, FailureKind, GenerateRequest, Happening, InvalidReason, Measurement, RequestRecord, Sample,
    SchedulerState, checksum,
};
use crate::environment::Watch;

/// A request may take so many times what the warm-up lets expect.
const TIMEOUT_MARGIN: f64 = 3.0;
/// A warm-up makes the time-out of a request so many times the configured one at most, or as many
/// times as there are requests at once: who only dribbles must not have the server for days.
const MOST_TIMEOUTS: u32 = 12;
/// How often in a row a cell's warm-up may show others who use the server. Then it is measured,
/// and the looks during the sample decide: a server may be slow to forget the warm-up itself.
const MOST_YIELDS: u32 = 3;
/// How long a sample is waited for on its way to the disk before the next one begins.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// A batch that came to its end, and what was seen around it.
struct Measured {
    records: Vec<RequestRecord>,
    circumstances: Circumstances,
    /// Goes on; what it saw is still to be asked.
    watch: Option<Watch>,
    /// Before the first send, after the last completion.
    span: [Timestamp; 2],
    /// Where the server tells what it works on; the look after it is still to be taken.
    watched: Option<Watched>,
}

impl<B: Backend> TargetRunner<B> {
    /// Warms up and measures one cell, unless it has to stop in the middle.
    pub(super) async fn measure_cell(&mut self, cell: Cell) -> Result<(), Halt> {
        let booked_at = self.book(self.cost(cell)).await;
        let meter = Arc::new(Meter::new(self.prompt_tokens(), self.plan.request.output_tokens));
        self.progress.running = Some(Running { cell, meter: meter.clone(), booked_at, began: Instant::now() });
        let due_at = self.sample_due(self.bus.now(), self.plan.request.timeout);
        self.publish(Happening::SampleStarted { cell, due_at }).await;
        let withdrawn = self.permission().withdrawn();
        let measured = tokio::select! {
            measured = self.warm_up_and_measure(cell, &meter) => measured?,
            hold = withdrawn => return Err(hold.into()),
        };
        // From here on it is whole, whatever comes.
        self.progress.yields = 0;
        self.end_running(None).await;
        self.conclude(cell, measured).await
    }

    async fn warm_up_and_measure(&mut self, cell: Cell, meter: &Arc<Meter>) -> Result<Measured, Halt> {
        let numbers = [self.progress.cycle, cell.workers.into(), cell.batch.into()];
        let warmup = self.warm_up(cell, &numbers, meter).await;
        self.progress.usual.note_warmup(&warmup);
        if !warmup.is_empty() && self.progress.yields < MOST_YIELDS && self.must_yield().await {
            self.progress.yields += 1;
            return Err(Hold::until(SchedulerState::Yielding, None).into());
        }
        let before = self.settled_look().await;
        let total = self.request_timeout(cell, &warmup);
        let due_at = Some(self.sample_due(self.bus.now(), total));
        self.publish(Happening::StateChanged { state: SchedulerState::Running, until: None, due_at }).await;

        let requests = self.requests(cell.batch, self.plan.request.output_tokens, &numbers);
        let (workers, timeouts) = (self.in_flight(cell), self.timeouts(total));
        let batch = Batch { requests, workers, timeouts, is_warmup: false, meter: meter.clone() };
        let watch = self.surroundings.watch().await;
        let (started_at, began) = (self.bus.now(), Instant::now());
        let (lag_before, cpu_before) = (self.lag.counts(), cpu_seconds());
        self.progress.last_look = None;
        let mut watched = before.map(|before| Watched::new(before, &self.progress.id.model));
        let records = tokio::select! {
            records = batch::run(&self.backend, batch, &self.bus, &self.progress.id) => records,
            () = poll(&*self.backend, meter, watched.as_mut()), if watched.is_some() => Vec::new(),
        };
        // The clock may have been set in between.
        let completed_at = later(started_at, began.elapsed());
        let available = began.elapsed().as_secs_f64() * self.limits.cores.max(1) as f64;
        let circumstances = Circumstances {
            cell,
            slots: self.progress.slots,
            gpu_share: self.progress.gpu_share,
            timer_lag_p99: self.lag.counts().p99_since(&lag_before),
            client_cpu_ratio: if available > 0.0 { (cpu_seconds() - cpu_before) / available } else { 0.0 },
        };
        Ok(Measured { records, circumstances, watch, span: [started_at, completed_at], watched })
    }

    /// Makes the records a sample and publishes it.
    async fn conclude(&mut self, cell: Cell, measured: Measured) -> Result<(), Halt> {
        let Measured { records, circumstances, watch, span: [started_at, completed_at], mut watched } = measured;
        let conditions = match watch {
            Some(watch) => watch.end().await.unwrap_or_default(),
            None => Conditions::default(),
        };
        let bounds = self.plan.validity;
        if let Some(watched) = &mut watched {
            watched.end(self.settled_look().await);
        }
        let left = self.epoch_left(&records, watched.as_ref()).await;
        let is_shared = watched.is_some_and(|watched| watched.is_shared(&records, &bounds));
        let answered = records.iter().filter(|record| record.succeeded());
        let longest_prompt = answered.filter_map(|record| record.tokens.prompt).max().unwrap_or(0);
        self.progress.longest_prompt = self.progress.longest_prompt.max(longest_prompt);
        if let (Some((measurement, latencies)), Some(epoch)) = (measure(&records, circumstances), &self.progress.epoch)
        {
            let judged = judge(&records, &measurement, &self.progress.usual.of_cell(cell), &bounds);
            let shared = is_shared.then_some(InvalidReason::ForeignLoad);
            // A changed server comes first: it may be the cause of all the others.
            let invalid = left.into_iter().chain(judged).chain(shared).collect();
            let sample = Sample {
                target: self.progress.id.clone(),
                epoch: epoch.id,
                cycle: self.progress.cycle,
                cell,
                started_at,
                completed_at,
                measurement: Measurement { conditions, ..measurement },
                invalid,
            };
            let sample = Arc::new(sample);
            self.progress.usual.note(&sample);
            self.progress.learned.note(&sample, &self.schedule().estimates);
            self.progress.has_measured = true;
            self.publish(Happening::SampleEnded { sample, latencies: Arc::new(latencies) }).await;
            // A kill takes the running sample and no other. A disk that is slower than this, or a
            // lock that somebody else holds, does not hold the soak up.
            let _ = timeout(WRITE_PATIENCE, self.bus.written()).await;
        }
        if let Some(trouble) = all_failed(&records) {
            return Err(trouble.into());
        }
        self.progress.troubles = 0;
        if left.is_some() { Err(Halt::ServerChanged) } else { Ok(()) }
    }

    /// Short requests at the cell's own concurrency: opens the connections, wakes the
    /// clocks, compiles the shapes.
    async fn warm_up(&mut self, cell: Cell, numbers: &[u64], meter: &Arc<Meter>) -> Vec<RequestRecord> {
        let count = cell.warmups(self.schedule().warmup_requests);
        if count == 0 {
            return Vec::new();
        }
        self.enter_state(SchedulerState::Warmup).await;
        self.progress.last_look = None;
        let tokens = self.plan.request.warmup_tokens();
        let numbers: Vec<u64> = numbers.iter().copied().chain([1]).collect();
        let requests = self.requests(count, tokens, &numbers);
        let timeouts = self.timeouts(self.plan.request.timeout);
        let batch = Batch { requests, workers: self.in_flight(cell), timeouts, is_warmup: true, meter: meter.clone() };
        batch::run(&self.backend, batch, &self.bus, &self.progress.id).await
    }

    /// The whole-request time-out: the configured one is a floor, so that a slow server's
    /// queue is not a fault.
    fn request_timeout(&self, cell: Cell, warmup: &[RequestRecord]) -> Duration {
        let floor = self.plan.request.timeout;
        let in_flight = self.in_flight(cell).min(cell.batch);
        let waves = |at_once: u32| in_flight.div_ceil(at_once.max(1));
        let slowest = warmup.iter().filter(|record| record.succeeded()).max_by_key(|record| record.duration());
        match slowest {
            // The warm-up ran at the cell's own concurrency: a queue of so many is in it.
            Some(record) => {
                let longer = f64::from(self.plan.request.output_tokens) / f64::from(record.asked_tokens.max(1));
                let expected = record.duration().mul_f64(longer * TIMEOUT_MARGIN) * waves(cell.concurrency());
                expected.clamp(floor, floor * in_flight.max(MOST_TIMEOUTS))
            }
            None => floor * waves(self.progress.slots.unwrap_or(cell.concurrency())),
        }
    }

    pub(super) fn timeouts(&self, total: Duration) -> Timeouts {
        let request = &self.plan.request;
        Timeouts { first_token: request.first_token_timeout, between_tokens: request.between_tokens_timeout, total }
    }

    /// Requests of their own for each purpose. The time salts the prompts: a server that
    /// outlives this process still caches those of the last one.
    pub(super) fn requests(&self, count: u32, tokens: u32, numbers: &[u64]) -> Vec<GenerateRequest> {
        let name = checksum(&*self.progress.id.name);
        let salt = self.bus.now().as_millisecond().cast_unsigned();
        let purpose: Vec<u64> = numbers.iter().copied().chain([name, salt]).collect();
        prompts::requests(&self.plan.request, count, tokens, &mut generator(self.schedule().seed, &purpose))
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
