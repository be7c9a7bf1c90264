//! A soak with all that belongs to it: history, board, metrics, pages, reports, and the
//! two runtimes.
//!
//! What measures has a runtime of its own; this one's tasks may be as busy as they like.

use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::setpriority_process;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::known::{Newcomers, restored};
use super::notifying::notify;
use super::observe::Observer;
use super::reload::{Origin, Reloader};
use super::reporting::write_on_schedule;
use super::retention;
use super::staff::Staff;
use crate::config::Config;
use crate::domain::{Event, TargetId};
use crate::metrics::{LogCounter, Metrics, NotificationCounter, ProcessSources, ReloadStatus, ReportCounter};
use crate::soak::{Board, Bus, Control, LagMeter, Limits, Roster, Soak, WallClock, WatchPlan, Watcher};
use crate::store::Writer;
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
    pub(super) mode: Mode,
    /// Bound before anything is measured; none for no pages.
    pub(super) listeners: Vec<TcpListener>,
    /// What guards the pages.
    pub(super) security: web::Security,
    pub(super) log: LogCounter,
    pub(super) stop: CancellationToken,
}

/// What a session is for.
pub(super) enum Mode {
    /// Measures without end and writes reports. With `reloads` its configuration may change;
    /// `takes_orders` says whether visitors may reload, pause and resume.
    Daemon { reloads: Option<Reloads>, takes_orders: bool },
    /// So many complete cycles of each target.
    Cycles(u64),
}

/// Where a configuration is read from again, and the signals that ask for it.
pub(super) struct Reloads {
    pub(super) origin: Origin,
    pub(super) hangups: Signal,
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
        let Self { config, mode, listeners, security, log, stop } = self;
        let clock = WallClock::System;
        let (history, scribe) = Writer::open(&config.storage.path)?;
        let (status, lag, reports_written) =
            (ReloadStatus::new(clock.now()), LagMeter::default(), ReportCounter::default());
        let notified = NotificationCounter::default();
        let sources = ProcessSources {
            log,
            reports: reports_written.clone(),
            notifications: notified.clone(),
            reload: status.clone(),
            lag: lag.clone(),
            storage: history.status(),
        };
        let board = Board::default();
        board.conclude_by(config.schedule.estimates);
        let metrics = Metrics::new(board.clone(), sources, &config.metrics);
        let metrics = Arc::new(metrics);
        let running = watch::Sender::new(Arc::new(config));
        let config = running.borrow().clone();
        let mut staff = Staff::new(config.storage.path.clone());
        let targets = staff.targets(&config, clock.now())?;
        let mut bus = Bus::new(clock, Some(history.clone()));
        let (observed, heard) = (bus.listen(), bus.listen());
        let daemon = matches!(mode, Mode::Daemon { .. }).then(|| [bus.listen(), bus.listen()]);
        // What the watcher says does not come back to it: it would wait for itself.
        let wanted = running.subscribe();
        let plan = move || {
            let config = wanted.borrow();
            WatchPlan { regression: config.regression, estimates: config.schedule.estimates }
        };
        let mut watcher = Watcher::new(config.storage.path.clone(), bus.clone(), plan);
        let watched = bus.listen();
        // Before anything can ask: what the history knows is there with the first scrape.
        let ids: Vec<TargetId> = targets.iter().map(|target| target.id.clone()).collect();
        for event in restored(&config, &targets, clock)?.into_iter().chain(watcher.recall(&ids)?) {
            board.apply(&event);
            metrics.observe(&event);
        }
        let (control, (reloads, requests)) = (Control::default(), mpsc::channel(1));
        let takes_orders = matches!(mode, Mode::Daemon { takes_orders: true, .. });
        let lifecycle = takes_orders.then(|| web::Lifecycle { control: control.clone(), reloads });
        let readiness = web::Readiness::default();
        readiness.set_ready();
        let (storage, reports) = (config.storage.path.clone(), config.reports_folder());
        let app =
            web::App { board: board.clone(), metrics: metrics.clone(), storage, reports, clock, readiness, lifecycle };
        let mut tasks = JoinSet::new();
        serve_pages(&app, listeners, &security, &stop, &mut tasks);
        // Its handle of the log, the board and the orders would outlive the stop.
        drop(app);
        let newcomers = Newcomers::default();
        let observer =
            Observer { board: board.clone(), metrics, newcomers: newcomers.clone(), history: history.clone() };
        tasks.spawn(observer.observe(observed, config.metrics.clone()));
        tasks.spawn(watcher.run(watched));
        tasks.spawn(listen(heard));
        if let Some([reported, told]) = daemon {
            tasks.spawn(notify(running.subscribe(), notified, told));
            // A run of a few cycles deletes nothing of what somebody else keeps.
            tasks.spawn(retention::keep(running.subscribe(), history.clone(), clock, stop.clone()));
            tasks.spawn(write_on_schedule(running.subscribe(), clock, reports_written, reported, stop.clone()));
        }

        let cycles = if let Mode::Cycles(cycles) = mode { Some(cycles) } else { None };
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_MEASURING_THREADS);
        let limits = Limits { cycles, patience: cycles.map(|_| PATIENCE), cores };
        let soak = Soak { bus, history: history.clone(), lag: lag.clone(), control, limits };
        let measuring = measuring_runtime(cores)?;
        measuring.spawn(watch_lag(lag));
        let (rosters, roster) = mpsc::channel(1);
        let soaking = measuring.spawn(soak.run(roster, stop.clone()));
        // An engine that is gone says so itself.
        let _ = rosters.send(Roster { targets, schedule: Arc::new(config.schedule.clone()), done: None }).await;
        if let Mode::Daemon { reloads: Some(Reloads { origin, hangups }), .. } = mode {
            let history = history.clone();
            let reloader = Reloader { origin, staff, running, rosters, status, board, newcomers, clock, history };
            tasks.spawn(reloader.run(hangups, requests, stop.clone()));
        } else {
            // Nothing will change: the engine may end when its targets are done.
            drop(rosters);
        }
        let ended = soaking.await;
        measuring.shutdown_background();
        // The bus is gone: listeners end when they have heard all. Pages end with the stop.
        stop.cancel();
        tasks.join_all().await;
        drop(history);
        // The last handle is gone: the thread writes what waits and closes the file, so that
        // nothing stays in the write-ahead log.
        let closed = tokio::task::spawn_blocking(move || scribe.join()).await?;
        closed.map_err(|_| anyhow::anyhow!("the history's writer failed"))?;
        ended.context("the engine failed")
    }
}

fn measuring_runtime(cores: usize) -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(cores).thread_name("measure").on_thread_start(come_first).enable_all();
    builder.build().context("cannot start the measuring runtime")
}

/// Serves the same pages on every listener, until the stop.
fn serve_pages(
    app: &web::App,
    listeners: Vec<TcpListener>,
    security: &web::Security,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    for listener in listeners {
        let (router, stop) = (web::router(app.clone()), stop.clone().cancelled_owned());
        tasks.spawn(web::serve(listener, router, security.clone(), stop));
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
