//! A configuration that changes while the program runs.
//!
//! A file that is wrong changes nothing: log, metric and whoever asked say why.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::check;
use super::known::Newcomers;
use super::staff::Staff;
use crate::config::{self, Config};
use crate::metrics::ReloadStatus;
use crate::soak::{Board, HttpBackend, Roster, WallClock};
use crate::store::Writer;
use crate::web::ReloadRequest;

/// How often the files of keys are read again.
const KEYS_EVERY: Duration = Duration::from_secs(10);

/// How often, and how many times, it is looked for whether a new configuration is shown.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const MOST_LOOKS: u32 = 400;

/// Where a configuration is read from again.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// `None`: it came from flags, which do not change.
    pub(super) file: Option<PathBuf>,
    /// What the flag says in the place of the file.
    pub(super) storage_path: Option<PathBuf>,
}

impl Origin {
    fn read(&self) -> anyhow::Result<Config> {
        let Some(file) = &self.file else {
            bail!("there is no configuration file to read again\n  hint: start llmsoak with --config.file");
        };
        let mut config = config::from_file(file)?;
        if let Some(path) = &self.storage_path {
            config.storage.path.clone_from(path);
        }
        Ok(config)
    }
}

/// Puts new configurations in force.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) origin: Origin,
    pub(super) staff: Staff,
    /// What is in force; others look at it here.
    pub(super) running: watch::Sender<Arc<Config>>,
    pub(super) rosters: mpsc::Sender<Roster<HttpBackend>>,
    pub(super) status: ReloadStatus,
    pub(super) board: Board,
    pub(super) newcomers: Newcomers,
    pub(super) clock: WallClock,
    pub(super) history: Writer,
}

impl Reloader {
    /// Reloads on SIGHUP, one that came before too, and on request, and reads keys again, until
    /// `stop`.
    pub(super) async fn run(
        mut self,
        mut hangups: Signal,
        mut requests: mpsc::Receiver<ReloadRequest>,
        stop: CancellationToken,
    ) {
        let mut keys = interval(KEYS_EVERY);
        keys.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = hangups.recv() => drop(self.reload().await),
                Some(request) = requests.recv() => {
                    let outcome = self.reload().await.map_err(|error| format!("{error:#}"));
                    // Whoever asked may have gone.
                    let _ = request.send(outcome);
                }
                _ = keys.tick() => self.staff.read_keys_again(),
            }
        }
    }

    /// Reads the configuration and puts it in force. Returns what is in force now, in words.
    async fn reload(&mut self) -> anyhow::Result<String> {
        let outcome = self.put_in_force().await;
        // Without a file nothing went wrong: there is nothing that could be read.
        if self.origin.file.is_some() {
            self.status.note(outcome.is_ok(), self.clock.now());
        }
        match &outcome {
            Ok(text) => tracing::info!(outcome = text, "configuration reloaded"),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "configuration not reloaded; the last one stays in force");
            }
        }
        outcome
    }

    async fn put_in_force(&mut self) -> anyhow::Result<String> {
        let origin = self.origin.clone();
        let mut config = tokio::task::spawn_blocking(move || origin.read()).await??;
        let running = self.running.borrow().clone();
        refuse_what_needs_a_restart(&running, &config)?;
        check::within_bounds(&config)?;
        if config.seed_was_drawn && running.seed_was_drawn {
            config.schedule.seed = running.schedule.seed;
        }
        // What was measured a moment ago is in the history before it is read.
        self.history.flush().await;
        let targets = self.staff.targets(&config, self.clock.now())?;
        let look_up = || self.newcomers.look_up(&config, &targets, &self.board.snapshot());
        if let Err(error) = tokio::task::block_in_place(look_up) {
            tracing::warn!(%error, "what the history knows of new targets is not shown before their servers answer");
        }
        self.board.conclude_by(config.schedule.estimates);
        let text = format!("{} targets are in force", targets.len());
        let (done, seated) = oneshot::channel();
        let roster = Roster { targets, schedule: Arc::new(config.schedule.clone()), done: Some(done) };
        let config = Arc::new(config);
        if self.rosters.send(roster).await.is_err() || seated.await.is_err() {
            bail!("the program is stopping");
        }
        self.until_shown(&config).await;
        self.running.send_replace(config);
        Ok(text)
    }

    /// Waits until the next scrape shows the targets of a configuration and no others, with
    /// what the history knows of them. The events that tell of them are on their way.
    async fn until_shown(&self, config: &Config) {
        let is_shown = || {
            let shown = self.board.snapshot();
            let is_known = |name: &str| {
                let target = shown.targets.get(name);
                target.is_some_and(|target| target.epoch.is_some() || self.newcomers.of(name).is_empty())
            };
            let mut names = config.targets.iter().map(|target| target.name.as_str());
            shown.targets.len() == config.targets.len() && names.all(is_known)
        };
        let mut looks = interval(LOOK_EVERY);
        for _ in 0..MOST_LOOKS {
            looks.tick().await;
            if is_shown() {
                return;
            }
        }
    }
}

/// Some things are settled for the life of the process.
fn refuse_what_needs_a_restart(running: &Config, config: &Config) -> anyhow::Result<()> {
    let settled =
        [("storage.path", running.storage.path != config.storage.path), ("metrics", running.metrics != config.metrics)];
    match settled.iter().find(|(_, has_changed)| *has_changed) {
        Some((key, _)) => bail!("{key}: cannot change while llmsoak runs\n  hint: restart it, or undo the change"),
        None => Ok(()),
    }
}
