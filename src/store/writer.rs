//! The one thread that writes.
//!
//! It takes commands from a bounded queue. What cannot be written is counted and logged,
//! and measuring goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use jiff::Timestamp;
use rusqlite::params;
use tokio::sync::{mpsc, oneshot};

use super::error::StoreError;
use super::reader::Reader;
use super::retention::{self, Pruned, SAMPLES_A_STEP};
use super::schema::{Lock, open_to_write};
use super::{FILE_NAME, aggregates, baselines, canaries, changes, latency, ledger, rows};
use crate::domain::{
    EnvironmentChanges, Epoch, EpochId, Event, Facts, Grid, Happening, Latencies, NamedCells, Sample, Spent, TargetId,
};

/// Commands that may wait; a sample is one of them.
const QUEUE: usize = 1024;

/// Who is measured and how, as seen now.
#[derive(Clone, Debug)]
pub struct Sighting {
    pub target: TargetId,
    pub url: String,
    pub identity: Facts,
    pub load: Facts,
    pub at: Timestamp,
    /// The epoch that runs, as far as the caller knows: its samples need not be read again.
    pub running: Option<EpochId>,
}

/// The epoch that a sighting belongs to.
#[derive(Clone, Debug)]
pub struct Entered {
    pub epoch: Epoch,
    /// The epoch before it, where this sighting opened a new one.
    pub before: Option<Epoch>,
    /// What was measured in it so far; empty for the epoch that the caller said runs.
    pub samples: Vec<Sample>,
    /// The cells that were named best in it.
    pub named: Option<NamedCells>,
    /// The last cycle of the target in any epoch.
    pub last_cycle: u64,
    /// What changed from epoch to epoch until now; not told for the epoch that runs.
    pub changes: EnvironmentChanges,
}

/// A cycle as it begins.
#[derive(Clone, Debug)]
pub struct CycleStart {
    pub target: TargetId,
    pub epoch: EpochId,
    pub number: u64,
    pub grid: Arc<Grid>,
    pub seed: u64,
    pub at: Timestamp,
}

enum Command {
    Enter(Box<Sighting>, oneshot::Sender<Result<Entered, StoreError>>),
    StartCycle(CycleStart),
    Name(EpochId, NamedCells),
    Event(Arc<Event>),
    Spend(TargetId, Spent, Option<Timestamp>),
    Prune(Timestamp, oneshot::Sender<Result<Pruned, StoreError>>),
    Flush(oneshot::Sender<()>),
}

/// What the writer tells of itself, for metrics. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct WriterStatus {
    failures: Arc<AtomicU64>,
    path: Arc<PathBuf>,
}

impl WriterStatus {
    /// Writes that failed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The size of the file and of its write-ahead log, bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_of("") + self.log_bytes()
    }

    fn log_bytes(&self) -> u64 {
        self.size_of("-wal")
    }

    fn size_of(&self, suffix: &str) -> u64 {
        let mut name = self.path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |metadata| metadata.len())
    }
}

/// The handle of the writing thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    commands: mpsc::Sender<Command>,
    status: WriterStatus,
}

impl Writer {
    /// Opens the history of a storage folder and starts the thread, which ends when the
    /// last handle is dropped.
    pub fn open(folder: &Path) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (writer, mut scribe, mut queue) = Self::prepare(folder)?;
        let work = move || {
            while let Some(command) = queue.blocking_recv() {
                scribe.obey(command);
            }
        };
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(work);
        let thread = thread.map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
        Ok((writer, thread))
    }

    /// As [`Writer::open`], with a task of the caller's runtime in the place of the thread:
    /// for a paused clock, which would not wait for a thread. Writing blocks that runtime.
    pub fn open_as_task(folder: &Path) -> Result<(Self, tokio::task::JoinHandle<()>), StoreError> {
        let (writer, mut scribe, mut queue) = Self::prepare(folder)?;
        let task = tokio::spawn(async move {
            while let Some(command) = queue.recv().await {
                scribe.obey(command);
            }
        });
        Ok((writer, task))
    }

    fn prepare(folder: &Path) -> Result<(Self, Scribe, mpsc::Receiver<Command>), StoreError> {
        let lock = Lock::take(folder)?;
        let path = folder.join(FILE_NAME);
        let history = Reader::over(open_to_write(&path)?);
        let status = WriterStatus { failures: Arc::default(), path: Arc::new(path) };
        let (commands, queue) = mpsc::channel(QUEUE);
        let scribe = Scribe { history, status: status.clone(), _lock: lock };
        Ok((Self { commands, status }, scribe, queue))
    }

    pub fn status(&self) -> WriterStatus {
        self.status.clone()
    }

    /// Finds the epoch that a sighting belongs to, or opens a new one.
    pub async fn enter_epoch(&self, sighting: Sighting) -> Result<Entered, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Enter(Box::new(sighting), reply)).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Notes the beginning of a cycle.
    pub async fn start_cycle(&self, cycle: CycleStart) {
        let _ = self.commands.send(Command::StartCycle(cycle)).await;
    }

    /// Notes the cells that are named best in an epoch.
    pub async fn name(&self, epoch: EpochId, named: NamedCells) {
        let _ = self.commands.send(Command::Name(epoch, named)).await;
    }

    /// Writes what an event leaves behind: a sample, a cycle's end, a change of the server.
    pub async fn record(&self, event: Arc<Event>) {
        let _ = self.commands.send(Command::Event(event)).await;
    }

    /// Notes what a target sent, or is about to, for its budget; it may never have been
    /// identified. What was noted for the time `replaced` gives way to it.
    pub async fn spend(&self, target: TargetId, spent: Spent, replaced: Option<Timestamp>) {
        let _ = self.commands.send(Command::Spend(target, spent, replaced)).await;
    }

    /// One small step of retention: deletes some of the samples that ended before a time and
    /// cuts the file. Call again, after a pause, while there is more; what is recorded in
    /// between waits for one step at most.
    pub async fn prune(&self, before: Timestamp) -> Result<Pruned, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Prune(before, reply)).await.map_err(|_| StoreError::Stopped)?;
        answer.await.map_err(|_| StoreError::Stopped)?
    }

    /// Returns when all that was sent before is written.
    pub async fn flush(&self) {
        let (reply, answer) = oneshot::channel();
        if self.commands.send(Command::Flush(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }
}

/// Owns the writing connection.
struct Scribe {
    history: Reader,
    status: WriterStatus,
    _lock: Lock,
}

impl Scribe {
    fn obey(&mut self, command: Command) {
        let outcome = match command {
            Command::Enter(sighting, reply) => answer(reply, self.enter(&sighting)),
            Command::Prune(before, reply) => answer(reply, self.prune(before)),
            Command::StartCycle(cycle) => self.start_cycle(&cycle).map_err(|error| error.to_string()),
            Command::Name(epoch, named) => self.name(epoch, &named).map_err(|error| error.to_string()),
            Command::Event(event) => self.take_event(&event).map_err(|error| error.to_string()),
            Command::Spend(target, spent, replaced) => {
                ledger::note(self.history.connection(), &target.name, spent, replaced)
                    .map_err(|error| error.to_string())
            }
            Command::Flush(reply) => {
                let _ = reply.send(());
                Ok(())
            }
        };
        if let Err(error) = outcome {
            self.status.failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(error, "cannot write to the history; measuring goes on");
        }
    }

    fn prune(&mut self, before: Timestamp) -> Result<Pruned, StoreError> {
        let log_bytes = self.status.log_bytes();
        retention::step(self.history.connection(), before, SAMPLES_A_STEP, log_bytes)
    }

    fn enter(&mut self, seen: &Sighting) -> Result<Entered, StoreError> {
        let newest = self.history.newest_epoch(&seen.target.name, Some(&seen.target.model))?;
        let last_cycle = newest.as_ref().map_or(0, |newest| newest.last_cycle);
        let target_id = self.target_id(&seen.target, &seen.url)?;
        let named = newest.as_ref().and_then(|newest| newest.named.clone());
        let newest = newest.map(|newest| newest.epoch);
        match newest {
            Some(mut epoch) if epoch.continues(&seen.identity, &seen.load) => {
                epoch.learn(&seen.identity);
                epoch.last_seen = seen.at;
                self.history.connection().execute(
                    "UPDATE epoch SET identity = ?2, last_seen = ?3 WHERE id = ?1",
                    params![epoch.id.0, rows::facts_text(&epoch.identity), rows::time(seen.at)],
                )?;
                let (samples, changes) = match seen.running {
                    Some(running) if running == epoch.id => (Vec::new(), EnvironmentChanges::default()),
                    _ => {
                        (self.history.samples(&seen.target, epoch.id)?, self.history.environment_changes(&seen.target)?)
                    }
                };
                Ok(Entered { epoch, before: None, samples, named, last_cycle, changes })
            }
            before => {
                let connection = self.history.connection();
                connection.execute(
                    "INSERT INTO epoch (target_id, identity, load, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?4)",
                    params![
                        target_id,
                        rows::facts_text(&seen.identity),
                        rows::facts_text(&seen.load),
                        rows::time(seen.at)
                    ],
                )?;
                let epoch = Epoch {
                    id: EpochId(connection.last_insert_rowid()),
                    identity: seen.identity.clone(),
                    load: seen.load.clone(),
                    first_seen: seen.at,
                    last_seen: seen.at,
                };
                let changes = self.history.environment_changes(&seen.target)?;
                Ok(Entered { epoch, before, samples: Vec::new(), named: None, last_cycle, changes })
            }
        }
    }

    fn target_id(&mut self, target: &TargetId, url: &str) -> Result<i64, StoreError> {
        let id = self.history.connection().query_row(
            "INSERT INTO target (name, model, url) VALUES (?1, ?2, ?3)
             ON CONFLICT (name, model) DO UPDATE SET url = excluded.url RETURNING id",
            params![&*target.name, &*target.model, url],
            |row| row.get(0),
        )?;
        Ok(id)
    }

    /// The row of a target that has been seen.
    fn known_target(&mut self, target: &TargetId) -> Result<Option<i64>, StoreError> {
        let mut statement =
            self.history.connection().prepare_cached("SELECT id FROM target WHERE name = ?1 AND model = ?2")?;
        let mut rows = statement.query(params![&*target.name, &*target.model])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    fn start_cycle(&mut self, cycle: &CycleStart) -> Result<(), StoreError> {
        let Some(target_id) = self.known_target(&cycle.target)? else { return Ok(()) };
        self.history.connection().execute(
            "INSERT OR REPLACE INTO cycle (target_id, number, epoch_id, grid, seed, started_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                target_id,
                i64::try_from(cycle.number).unwrap_or(i64::MAX),
                cycle.epoch.0,
                rows::grid_text(&cycle.grid),
                cycle.seed.cast_signed(),
                rows::time(cycle.at)
            ],
        )?;
        Ok(())
    }

    fn name(&mut self, epoch: EpochId, named: &NamedCells) -> Result<(), StoreError> {
        let sql = "UPDATE epoch SET named = ?2 WHERE id = ?1";
        self.history.connection().execute(sql, params![epoch.0, rows::named_text(named)])?;
        Ok(())
    }

    fn take_event(&mut self, event: &Event) -> Result<(), StoreError> {
        // Before a target is first identified there is nothing to hang an event on.
        let Some(target_id) = self.known_target(&event.target)? else { return Ok(()) };
        match &event.happening {
            Happening::SampleEnded { sample, latencies } => self.write_sample(target_id, sample, latencies),
            Happening::CycleEnded { cycle, .. } => {
                self.history.connection().execute(
                    "UPDATE cycle SET completed_at = ?3 WHERE target_id = ?1 AND number = ?2",
                    params![target_id, i64::try_from(*cycle).unwrap_or(i64::MAX), rows::time(event.at)],
                )?;
                Ok(())
            }
            Happening::EpochEntered { epoch, before: Some(before), .. } => {
                self.write_event(target_id, event.at, "epoch", &before.changes_to(epoch).join("; "))
            }
            Happening::ChangeFound(change) => changes::note(self.history.connection(), target_id, change),
            Happening::ChangeWithdrawn { measure, changed, returned } => {
                changes::withdraw(self.history.connection(), target_id, *measure, *changed, *returned)
            }
            Happening::AlarmTurned { measure, turn, direction, .. } => {
                self.write_event(target_id, event.at, "alarm", &format!("{direction} of {measure}: {turn}"))
            }
            Happening::BaselineChosen(baseline) => {
                let epoch = baseline.as_ref().map(|baseline| baseline.epoch.id);
                baselines::choose(self.history.connection(), target_id, event.at, epoch)
            }
            Happening::Away { reason, .. } => self.write_event(target_id, event.at, "away", reason),
            Happening::CanaryEnded(canary) => canaries::note(self.history.connection(), target_id, event.at, *canary),
            Happening::SlotsSwitched { workers, reported, seconds } => {
                let reported = reported.map_or_else(|| "nothing".to_owned(), |slots| slots.to_string());
                let detail = format!("asked {workers}, reported {reported}, ready after {seconds:.1} s");
                self.write_event(target_id, event.at, "slots_switched", &detail)
            }
            Happening::FieldsDropped { fields, reason } => {
                self.write_event(target_id, event.at, "fields_dropped", &format!("{}: {reason}", fields.join(", ")))
            }
            _ => Ok(()),
        }
    }

    fn write_event(&mut self, target_id: i64, at: Timestamp, kind: &str, detail: &str) -> Result<(), StoreError> {
        self.history.connection().execute(
            "INSERT INTO event (target_id, at, kind, detail) VALUES (?1, ?2, ?3, ?4)",
            params![target_id, rows::time(at), kind, detail],
        )?;
        Ok(())
    }

    /// One transaction: the sample, its distributions, its share of the cell's aggregate, and
    /// that the epoch was still seen.
    fn write_sample(&mut self, target_id: i64, sample: &Sample, latencies: &Latencies) -> Result<(), StoreError> {
        let distributions = if sample.is_valid() { latency::encode(latencies) } else { Vec::new() };
        let transaction = self.history.connection().transaction()?;
        transaction
            .prepare_cached(&rows::insert())?
            .execute(rusqlite::params_from_iter(rows::values(target_id, sample)))?;
        let sample_id = transaction.last_insert_rowid();
        for (measure, histogram) in distributions {
            transaction
                .prepare_cached("INSERT INTO latency (sample_id, measure, histogram) VALUES (?1, ?2, ?3)")?
                .execute(params![sample_id, measure, histogram])?;
        }
        aggregates::add(&transaction, sample, sample_id)?;
        transaction
            .prepare_cached("UPDATE epoch SET last_seen = ?2 WHERE id = ?1")?
            .execute(params![sample.epoch.0, rows::time(sample.completed_at)])?;
        transaction.commit()?;
        Ok(())
    }
}

/// Sends an answer; a fault goes to the log too.
fn answer<T>(reply: oneshot::Sender<Result<T, StoreError>>, outcome: Result<T, StoreError>) -> Result<(), String> {
    let fault = outcome.as_ref().err().map(ToString::to_string);
    let _ = reply.send(outcome);
    fault.map_or(Ok(()), Err)
}
