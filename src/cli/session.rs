//! A soak with all that belongs to it: history, board, metrics, pages, reports, and the
//! two runtimes.
//!
//! What measures has a runtime of its own; this one's tasks may be as busy as they like.

use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::setpriority_process;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::observe::observe;
use super::reporting::Reports;
use crate::client::Client;
use crate::config::Config;
use crate::domain::plan::{GridPlan, TargetPlan};
use crate::domain::{Event, Happening, TargetId};
use crate::metrics::{LogCounter, Metrics, ProcessSources, ReloadStatus, ReportCounter};
use crate::soak::{Board, Bus, HttpBackend, LagMeter, Limits, Soak, SoakTarget, TargetSnapshot, WallClock};
use crate::store::{Reader, Writer};
use crate::web;

/// The runtime for everything that does not measure.
pub(super) fn service_runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("service")
        .enable_all()
        .build()
        .context("cannot start the service runtime")
}

/// The most threads that measure: beyond them the client is not the limit.
const MOST_MEASURING_THREADS: usize = 4;

/// A run of a few cycles gives a server up after so many failures in a row: half a minute.
const PATIENCE: u32 = 5;

/// How a session runs.
pub(super) struct Session {
    pub(super) config: Config,
    /// Bound before anything is measured; none for no pages.
    pub(super) listeners: Vec<TcpListener>,
    /// Complete cycles of each target; without a limit, for ever.
    pub(super) cycles: Option<u64>,
    /// Whether reports are written while it runs.
    pub(super) scheduled_reports: bool,
    pub(super) log: LogCounter,
    pub(super) stop: CancellationToken,
}

/// Something that hears every event, beside metrics and log.
pub(super) type Listener = tokio::sync::mpsc::Receiver<Arc<Event>>;

impl Session {
    /// Runs until its cycles are complete or it is stopped; then everything measured is in
    /// the history. `listen` gets the events. Returns the targets that were given up.
    pub(super) async fn run<F>(self, listen: impl FnOnce(Listener) -> F) -> anyhow::Result<Vec<TargetId>>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let clock = WallClock::System;
        let (history, scribe) = Writer::open(&self.config.storage.path)?;
        let targets = targets(&self.config)?;
        let board = restored_board(&self.config, &targets)?;
        let lag = LagMeter::default();
        let reports_written = ReportCounter::default();
        let sources = ProcessSources {
            log: self.log,
            reports: reports_written.clone(),
            reload: ReloadStatus::new(clock.now()),
            lag: lag.clone(),
            storage: history.status(),
        };
        let metrics = Arc::new(
            Metrics::new(board.clone(), sources, &self.config.metrics).context("cannot register the metrics")?,
        );
        // The board was restored above, before anything could ask.
        let readiness = web::Readiness::default();
        readiness.set_ready();
        let app = web::App {
            board: board.clone(),
            metrics: metrics.clone(),
            reports: self.config.reports_folder(),
            clock,
            readiness,
        };
        let mut tasks = JoinSet::new();
        for listener in self.listeners {
            let (router, stop) = (web::router(app.clone()), self.stop.clone().cancelled_owned());
            tasks.spawn(async move {
                if let Err(error) = web::serve(listener, router, stop).await {
                    tracing::error!(%error, "serving ended");
                }
            });
        }
        let mut bus = Bus::new(clock, Some(history.clone()));
        tasks.spawn(observe(bus.listen(), board, metrics));
        tasks.spawn(listen(bus.listen()));
        if self.scheduled_reports {
            let reports = Reports::new(&self.config, clock, reports_written);
            tasks.spawn(reports.write_on_schedule(bus.listen(), self.config.report.every, self.stop.clone()));
        }

        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_MEASURING_THREADS);
        let limits = Limits { cycles: self.cycles, patience: self.cycles.map(|_| PATIENCE), cores };
        let schedule = self.config.schedule.clone();
        let soak = Soak { targets, schedule, bus, history: history.clone(), lag: lag.clone(), limits };
        let measuring = Builder::new_multi_thread()
            .worker_threads(cores)
            .thread_name("measure")
            .on_thread_start(come_first)
            .enable_all()
            .build()
            .context("cannot start the measuring runtime")?;
        measuring.spawn(watch_lag(lag));
        let ended = measuring.spawn(soak.run(self.stop.clone())).await;
        measuring.shutdown_background();
        let given_up = ended.context("the engine failed")?;

        // The bus is gone: listeners end when they have heard all. Pages end with the stop.
        self.stop.cancel();
        tasks.join_all().await;
        drop(history);
        // The last handle is gone: the thread writes what waits and closes the file, so that
        // nothing stays in the write-ahead log.
        let closed = tokio::task::spawn_blocking(move || scribe.join()).await?;
        closed.map_err(|_| anyhow::anyhow!("the history's writer failed"))?;
        Ok(given_up)
    }
}

/// The niceness of the threads that measure.
const NICENESS: i32 = -20;

/// Lets this thread run before others: on a machine whose server fills every core, stamps
/// would be late by the scheduler's slices. It takes a privilege; without it the timer lag
/// says whether the stamps are good.
fn come_first() {
    if let Err(error) = setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "measuring threads run at normal priority");
    }
}

/// Without its timers no sample can be told to be late: that is worth a word.
async fn watch_lag(lag: LagMeter) {
    if let Err(error) = lag.watch().await {
        tracing::error!(%error, "the timer lag is not watched; late samples are not found out");
    }
}

/// The targets with their clients. A model that the plan leaves open is the history's last.
fn targets(config: &Config) -> anyhow::Result<Vec<SoakTarget<HttpBackend>>> {
    let history = Reader::open(&config.storage.path)?;
    config
        .targets
        .iter()
        .map(|plan| {
            let client = Client::new(&plan.connection).with_context(|| format!("target {}", plan.name))?;
            let known = history.newest_epoch(&plan.name, plan.model.as_deref())?;
            let model = plan.model.clone().or(known.map(|known| known.target.model.to_string()));
            let request = Arc::new(plan.request.clone());
            Ok(SoakTarget {
                backend: Arc::new(HttpBackend::new(client, plan.model.clone(), request)),
                id: TargetId::new(&plan.name, &model.unwrap_or_default()),
                plan: Arc::new(plan.clone()),
            })
        })
        .collect()
}

/// The board as the history knows it: the optimum is there before the first new sample.
fn restored_board(config: &Config, targets: &[SoakTarget<HttpBackend>]) -> anyhow::Result<Board> {
    let history = Reader::open(&config.storage.path)?;
    let blank = |target: &SoakTarget<HttpBackend>| {
        let plan = &target.plan;
        TargetSnapshot::new(target.id.clone(), plan.connection.url.clone(), plan.lane.clone())
    };
    let board = Board::new(targets.iter().map(blank));
    for target in targets {
        if let Some(event) = restored(&history, &target.plan, &target.id)? {
            board.apply(&event);
        }
    }
    Ok(board)
}

fn restored(history: &Reader, plan: &TargetPlan, id: &TargetId) -> anyhow::Result<Option<Event>> {
    let Some(known) = history.newest_epoch(&plan.name, Some(&id.model))? else { return Ok(None) };
    let slots = known.epoch.identity.get("slots").and_then(|slots| slots.parse().ok());
    let grid = match (&plan.grid, known.grid) {
        (GridPlan::Automatic { .. }, Some(grid)) => grid,
        (grid, _) => grid.grid(slots),
    };
    let samples = history.samples(&known.target, known.epoch.id)?;
    let at = known.epoch.last_seen;
    let (epoch, grid, samples) = (Arc::new(known.epoch), Arc::new(grid), Arc::new(samples));
    let happening = Happening::EpochEntered { epoch, grid, samples, before: None };
    Ok(Some(Event { target: id.clone(), at, happening }))
}
