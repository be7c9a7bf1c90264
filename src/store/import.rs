//! Writes entries of another history, or of an old report, into this one: all in one
//! transaction, or none.
//!
//! A daemon may be writing meanwhile, and goes on. What is imported never becomes its running
//! epoch: the load of an imported epoch says where it comes from, which no server's load does,
//! and `Reader::newest_epoch` passes over it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::error::StoreError;
use super::reader::{IMPORTED_CYCLES, MEASURED_HERE};
use super::rows::{self, Columns};
use super::schema::{Lock, open_beside, open_to_write};
use super::{FILE_NAME, aggregates};
use crate::domain::{CycleEntry, Entry, Epoch, EpochEntry, EpochId, EventEntry, Sample, TargetId};

/// Samples that may be written while a daemon waits for its turn: on a busy machine two of the
/// five seconds for which it waits.
const MOST_BESIDE_A_DAEMON: u64 = 10_000;

/// A history that is open for an import.
#[derive(Debug)]
pub struct Import {
    connection: Connection,
    /// `None` beside a daemon, which has it.
    lock: Option<Lock>,
}

/// What became of an epoch of the file.
#[derive(Clone, Debug)]
pub struct ImportedEpoch {
    pub target: TargetId,
    /// Its number in this history.
    pub id: EpochId,
    /// Samples that were added.
    pub added: u64,
    /// Whether it was there before.
    pub was_there: bool,
}

impl Import {
    /// Opens the history of a storage folder, making it where there is none, for an import of
    /// that many samples.
    pub fn open(folder: &Path, samples: u64) -> Result<Self, StoreError> {
        let path = folder.join(FILE_NAME);
        match Lock::take(folder) {
            Ok(lock) => Ok(Self { connection: open_to_write(&path)?, lock: Some(lock) }),
            Err(StoreError::Locked { .. }) if samples <= MOST_BESIDE_A_DAEMON => {
                Ok(Self { connection: open_beside(&path)?, lock: None })
            }
            Err(StoreError::Locked { path }) => {
                Err(StoreError::TooLargeBeside { path, samples, most: MOST_BESIDE_A_DAEMON })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether another process is writing too.
    pub fn is_beside_a_daemon(&self) -> bool {
        self.lock.is_none()
    }

    /// Writes all entries, in the order of a file: those of an epoch after it. An error, of an
    /// entry too, leaves the history as it was. `ends`: the first and the last sample of each
    /// epoch that has any.
    ///
    /// An epoch whose last sample was measured here is passed over: the file is this history's
    /// own. One that was imported before, so that its source or its first sample is there, is
    /// gone on with: what is newer is added. Printed figures have no time of their own and are
    /// all there.
    pub fn write<E: From<StoreError>>(
        &mut self,
        entries: impl Iterator<Item = Result<Entry, E>>,
        ends: &BTreeMap<EpochId, [Sample; 2]>,
    ) -> Result<Vec<ImportedEpoch>, E> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = transaction.map_err(StoreError::from)?;
        let mut writing = Writing { transaction, ends, epochs: BTreeMap::new(), events: BTreeMap::new() };
        for entry in entries {
            writing.take(entry?)?;
        }
        Ok(writing.commit()?)
    }
}

/// An epoch of the file while its entries are written.
struct Place {
    target_id: i64,
    outcome: ImportedEpoch,
    /// Samples that ended later are new; `None`: nothing of it is.
    newer_than: Option<Timestamp>,
}

impl Place {
    fn takes(&self, sample: &Sample) -> bool {
        self.newer_than.is_some_and(|newer_than| sample.completed_at > newer_than)
    }
}

/// What tells events of a target apart.
type Events = BTreeSet<(String, String, String)>;

struct Writing<'a> {
    transaction: Transaction<'a>,
    ends: &'a BTreeMap<EpochId, [Sample; 2]>,
    /// By their number in the file.
    epochs: BTreeMap<EpochId, Place>,
    events: BTreeMap<TargetId, (i64, Events)>,
}

impl Writing<'_> {
    fn take(&mut self, entry: Entry) -> Result<(), StoreError> {
        match entry {
            Entry::Epoch(epoch) => self.epoch(&epoch),
            Entry::Cycle(cycle) => self.cycle(&cycle),
            Entry::Sample(sample) => self.sample(*sample),
            Entry::Cell(epoch, cell) => match self.epochs.get(&epoch) {
                Some(place) if place.newer_than.is_some() => {
                    aggregates::restore(&self.transaction, place.outcome.id, &cell)
                }
                _ => Ok(()),
            },
            Entry::Event(event) => self.event(&event),
        }
    }

    fn epoch(&mut self, entry: &EpochEntry) -> Result<(), StoreError> {
        let target_id = self.target(entry)?;
        let (id, was_there, newer_than) = if let Some(own) = self.measured_here(target_id, entry)? {
            (own, true, None)
        } else if let Some(mut known) = self.imported_before(target_id, entry)? {
            let newer_than = (!entry.epoch.is_of_printed_figures()).then_some(known.last_seen);
            if newer_than.is_some() {
                known.learn(&entry.epoch.identity);
                self.transaction.execute(
                    "UPDATE epoch SET identity = ?2, last_seen = MAX(last_seen, ?3) WHERE id = ?1",
                    params![known.id.0, rows::facts_text(&known.identity), rows::time(entry.epoch.last_seen)],
                )?;
            }
            (known.id.0, true, newer_than)
        } else {
            (self.new_epoch(target_id, entry)?, false, Some(Timestamp::MIN))
        };
        let outcome = ImportedEpoch { target: entry.target.clone(), id: EpochId(id), added: 0, was_there };
        self.epochs.insert(entry.epoch.id, Place { target_id, outcome, newer_than });
        Ok(())
    }

    /// The row of the target. The URL of one that is there is its own.
    fn target(&self, entry: &EpochEntry) -> Result<i64, StoreError> {
        let (name, model) = (&*entry.target.name, &*entry.target.model);
        let id = self.transaction.query_row(
            "INSERT INTO target (name, model, url) VALUES (?1, ?2, ?3)
             ON CONFLICT (name, model) DO UPDATE SET url = url RETURNING id",
            params![name, model, entry.url],
            |row| row.get(0),
        )?;
        Ok(id)
    }

    /// The epoch of this history that the file's is, if its last sample was measured here.
    fn measured_here(&self, target_id: i64, entry: &EpochEntry) -> Result<Option<i64>, StoreError> {
        if let Some([_, last]) = self.ends.get(&entry.epoch.id) {
            return self.holder(target_id, last, MEASURED_HERE);
        }
        let sql = format!("SELECT id FROM epoch WHERE target_id = ?1 AND first_seen = ?2 AND {MEASURED_HERE} LIMIT 1");
        let key = params![target_id, rows::time(entry.epoch.first_seen)];
        Ok(self.transaction.query_row(&sql, key, |row| row.get(0)).optional()?)
    }

    /// The epoch of a target with that sample, among those that a condition holds for.
    fn holder(&self, target_id: i64, sample: &Sample, condition: &str) -> Result<Option<i64>, StoreError> {
        let sql = format!(
            "SELECT epoch.id FROM epoch JOIN sample ON epoch_id = epoch.id
             WHERE epoch.target_id = ?1 AND {condition} AND completed_at = ?2 AND started_at = ?3
               AND workers = ?4 AND batch = ?5 LIMIT 1"
        );
        let (completed_at, started_at) = (rows::time(sample.completed_at), rows::time(sample.started_at));
        let key = params![target_id, completed_at, started_at, sample.cell.workers, sample.cell.batch];
        Ok(self.transaction.query_row(&sql, key, |row| row.get(0)).optional()?)
    }

    /// The epoch of an earlier import: of the same source, or with the same first sample.
    fn imported_before(&self, target_id: i64, entry: &EpochEntry) -> Result<Option<Epoch>, StoreError> {
        let first = self.ends.get(&entry.epoch.id).map(|[first, _]| first);
        let imported = format!("NOT {MEASURED_HERE}");
        let holder = first.map(|first| self.holder(target_id, first, &imported)).transpose()?.flatten();
        let mut statement = self.transaction.prepare(
            "SELECT id, identity, load, first_seen, last_seen FROM epoch
             WHERE target_id = ?1 AND (load = ?2 OR id = ?3) ORDER BY id LIMIT 1",
        )?;
        let mut found = statement.query(params![target_id, rows::facts_text(&entry.epoch.load), holder])?;
        found.next()?.map(|row| rows::epoch(&mut Columns::new(row))).transpose()
    }

    fn new_epoch(&self, target_id: i64, entry: &EpochEntry) -> Result<i64, StoreError> {
        let epoch = &entry.epoch;
        self.transaction.execute(
            "INSERT INTO epoch (target_id, identity, load, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                target_id,
                rows::facts_text(&epoch.identity),
                rows::facts_text(&epoch.load),
                rows::time(epoch.first_seen),
                rows::time(epoch.last_seen)
            ],
        )?;
        Ok(self.transaction.last_insert_rowid())
    }

    fn cycle(&mut self, cycle: &CycleEntry) -> Result<(), StoreError> {
        let Some(place) = self.epochs.get(&cycle.epoch).filter(|place| place.newer_than.is_some()) else {
            return Ok(());
        };
        let number = place.outcome.id.0 * IMPORTED_CYCLES + i64::try_from(cycle.number).unwrap_or(IMPORTED_CYCLES - 1);
        self.transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO cycle (target_id, number, epoch_id, grid, seed, started_at, completed_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute(params![
                place.target_id,
                number,
                place.outcome.id.0,
                rows::grid_text(&cycle.grid),
                cycle.seed.cast_signed(),
                rows::time(cycle.started_at),
                cycle.completed_at.map(rows::time)
            ])?;
        Ok(())
    }

    fn sample(&mut self, mut sample: Sample) -> Result<(), StoreError> {
        let Some(place) = self.epochs.get_mut(&sample.epoch).filter(|place| place.takes(&sample)) else {
            return Ok(());
        };
        sample.epoch = place.outcome.id;
        self.transaction
            .prepare_cached(&rows::insert())?
            .execute(rusqlite::params_from_iter(rows::values(place.target_id, &sample)))?;
        aggregates::add(&self.transaction, &sample, self.transaction.last_insert_rowid())?;
        place.outcome.added += 1;
        Ok(())
    }

    /// An event that is there already is the same one.
    fn event(&mut self, event: &EventEntry) -> Result<(), StoreError> {
        if !self.events.contains_key(&event.target) {
            let known = self.known_events(&event.target)?;
            self.events.insert(event.target.clone(), known);
        }
        let Some((target_id, known)) = self.events.get_mut(&event.target) else { return Ok(()) };
        let (at, kind, detail) = (rows::time(event.at), &event.kind, &event.detail);
        if known.insert((at.clone(), kind.clone(), detail.clone())) {
            self.transaction
                .prepare_cached("INSERT INTO event (target_id, at, kind, detail) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![*target_id, at, kind, detail])?;
        }
        Ok(())
    }

    fn known_events(&self, target: &TargetId) -> Result<(i64, Events), StoreError> {
        let key = params![&*target.name, &*target.model];
        let sql = "SELECT id FROM target WHERE name = ?1 AND model = ?2";
        let target_id = self.transaction.query_row(sql, key, |row| row.get(0))?;
        let mut statement = self.transaction.prepare("SELECT at, kind, detail FROM event WHERE target_id = ?1")?;
        let known = statement.query_map([target_id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok((target_id, known.collect::<Result<_, _>>()?))
    }

    fn commit(self) -> Result<Vec<ImportedEpoch>, StoreError> {
        self.transaction.commit()?;
        Ok(self.epochs.into_values().map(|place| place.outcome).collect())
    }
}
