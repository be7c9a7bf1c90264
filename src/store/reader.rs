//! Reads the history: for a start, a report, a page.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Params, params};

use super::cycles::{Cycle, KnownEpoch};
use super::error::StoreError;
use super::rows::{self, Columns};
use super::schema::open_to_read;
use super::{FILE_NAME, aggregates, baselines, canaries, changes, cycles, ledger};
use crate::domain::{
    BaselineOrder, Canary, CellAggregate, EnvironmentChanges, Epoch, EpochId, Grid, NamedCells, Sample, Spent,
    TargetId, ToldChange,
};

/// The samples of a cell that are read: more would say no more, and a long epoch has millions.
pub const SAMPLES_OF_CELL: u32 = 1000;

/// What an epoch's load says of one that was measured here: nothing of a source.
pub(super) const MEASURED_HERE: &str = "(load ->> '$.source' IS NULL)";
/// Cycles of imported epochs have numbers from here on, so that they never meet those that a
/// running daemon gives: the epoch's number times this, plus the cycle's own.
pub(super) const IMPORTED_CYCLES: i64 = 1 << 32;

/// A connection that only reads.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
}

/// An epoch with what surrounds it.
#[derive(Clone, Debug)]
pub struct EpochSummary {
    pub target: TargetId,
    pub url: String,
    pub epoch: Epoch,
    /// Complete cycles of the epoch.
    pub complete_cycles: u64,
    /// The last cycle of the target in any epoch that was measured here, 0 where there is none.
    pub last_cycle: u64,
    /// The seed of the order of the epoch's last cycle, else of the one before the epoch.
    pub seed: Option<u64>,
    /// The grid of that cycle.
    pub grid: Option<Grid>,
    /// The cells that are named best in the epoch.
    pub named: Option<NamedCells>,
}

impl Reader {
    /// Opens the history of a storage folder.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: open_to_read(&folder.join(FILE_NAME))? })
    }

    pub(super) fn over(connection: Connection) -> Self {
        Self { connection }
    }

    pub(super) fn shared(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// The beginning of the day so many days back, counting those on which something was
    /// measured here; `None` where there are not so many.
    pub fn measured_days_back(&self, days: u64) -> Result<Option<Timestamp>, StoreError> {
        cycles::measured_days_back(&self.connection, days)
    }

    /// All targets that were ever measured, by name, the newest model of each first.
    pub fn targets(&self) -> Result<Vec<TargetId>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT name, model FROM target ORDER BY name, id DESC")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        rows.map(|row| row.map(|(name, model)| TargetId::new(&name, &model)).map_err(StoreError::from)).collect()
    }

    /// The newest epoch of a target that was measured here, of any model where none is named:
    /// the one that runs, if it is measured now. An import is never that, however new.
    pub fn newest_epoch(&self, name: &str, model: Option<&str>) -> Result<Option<EpochSummary>, StoreError> {
        let condition = format!("name = ?1 AND (?2 IS NULL OR model = ?2) AND {MEASURED_HERE}");
        self.summary(&condition, params![name, model])
    }

    /// The epoch that was imported last.
    pub fn newest_import(&self, name: &str, model: Option<&str>) -> Result<Option<EpochSummary>, StoreError> {
        let condition = format!("name = ?1 AND (?2 IS NULL OR model = ?2) AND NOT {MEASURED_HERE}");
        self.summary(&condition, params![name, model])
    }

    /// The epoch of that number.
    pub fn epoch(&self, id: EpochId) -> Result<Option<EpochSummary>, StoreError> {
        self.summary("epoch.id = ?1", [id.0])
    }

    /// The newest epoch that a condition holds for.
    fn summary(&self, condition: &str, params: impl Params) -> Result<Option<EpochSummary>, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT epoch.id, identity, load, first_seen, last_seen, name, model, url, target.id, named
             FROM epoch JOIN target ON target.id = target_id
             WHERE {condition} ORDER BY epoch.id DESC LIMIT 1",
        ))?;
        let mut found = statement.query(params)?;
        let Some(row) = found.next()? else { return Ok(None) };
        let mut columns = Columns::new(row);
        let epoch = rows::epoch(&mut columns)?;
        let target = TargetId::new(&columns.take::<String>()?, &columns.take::<String>()?);
        let (url, target_id): (String, i64) = (columns.take()?, columns.take()?);
        let named = columns.take::<Option<String>>()?.map(|named| rows::parse_named(&named)).transpose()?;
        let complete_cycles =
            self.count("SELECT COUNT(*) FROM cycle WHERE epoch_id = ?1 AND completed_at IS NOT NULL", epoch.id.0)?;
        let last_cycle =
            format!("SELECT COALESCE(MAX(number), 0) FROM cycle WHERE target_id = ?1 AND number < {IMPORTED_CYCLES}");
        let last_cycle = self.count(&last_cycle, target_id)?;
        // An epoch before its first cycle is going to be measured as the one before it.
        let newest_cycle = self
            .connection
            .prepare_cached(&format!(
                "SELECT seed, grid FROM cycle WHERE target_id = ?1 AND (epoch_id = ?2 OR number < {IMPORTED_CYCLES})
                 ORDER BY epoch_id = ?2 DESC, number DESC LIMIT 1"
            ))?
            .query_row([target_id, epoch.id.0], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        let seed = newest_cycle.as_ref().map(|(seed, _)| seed.cast_unsigned());
        let grid = newest_cycle.map(|(_, grid)| rows::parse_grid(&grid)).transpose()?;
        Ok(Some(EpochSummary { target, url, epoch, complete_cycles, last_cycle, seed, grid, named }))
    }

    fn count(&self, sql: &str, id: i64) -> Result<u64, StoreError> {
        let count: i64 = self.connection.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The newest samples of each cell of an epoch, at most [`SAMPLES_OF_CELL`], in the order
    /// in which they were measured.
    pub fn samples(&self, target: &TargetId, epoch: EpochId) -> Result<Vec<Sample>, StoreError> {
        self.newest_samples(target, epoch, SAMPLES_OF_CELL)
    }

    /// The same, at most so many of each cell.
    pub fn newest_samples(&self, target: &TargetId, epoch: EpochId, most: u32) -> Result<Vec<Sample>, StoreError> {
        let newest = "WHERE epoch_id = ?1 AND workers = ?2 AND batch = ?3 ORDER BY id DESC LIMIT ?4";
        let mut statement = self.connection.prepare_cached(&format!("{} {newest}", rows::select()))?;
        let mut samples = Vec::new();
        for cell in self.aggregates(epoch)?.iter().map(|aggregate| aggregate.cell) {
            let mut rows = statement.query(params![epoch.0, cell.workers, cell.batch, most])?;
            while let Some(row) = rows.next()? {
                samples.push(rows::sample(target, row)?);
            }
        }
        // One target measures one cell at a time; those of a cell came the newest first.
        samples.reverse();
        samples.sort_by_key(|sample| sample.started_at);
        Ok(samples)
    }

    /// What is known of the cells of an epoch, deleted samples included, by workers and then
    /// by batch.
    pub fn aggregates(&self, epoch: EpochId) -> Result<Vec<CellAggregate>, StoreError> {
        aggregates::of_epoch(&self.connection, epoch)
    }

    /// What changed from each epoch of a target to the next; imports are no part of its life.
    pub fn environment_changes(&self, target: &TargetId) -> Result<EnvironmentChanges, StoreError> {
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT epoch.id, identity, load, first_seen, last_seen FROM epoch JOIN target ON target.id = target_id
             WHERE name = ?1 AND model = ?2 AND {MEASURED_HERE} ORDER BY epoch.id",
        ))?;
        let mut found = statement.query(params![&*target.name, &*target.model])?;
        let mut epochs = Vec::new();
        while let Some(row) = found.next()? {
            epochs.push(rows::epoch(&mut Columns::new(row))?);
        }
        Ok(EnvironmentChanges::over(&epochs))
    }

    /// The newest canary of a target, and when it came back.
    pub fn newest_canary(&self, target: &TargetId) -> Result<Option<(Timestamp, Canary)>, StoreError> {
        canaries::newest(&self.connection, target)
    }

    /// What a target of that name sent from a time on, whatever its model, the oldest first.
    /// Two days are kept.
    pub fn spending(&self, name: &str, since: Timestamp) -> Result<Vec<Spent>, StoreError> {
        ledger::since(&self.connection, name, since)
    }

    /// The epochs of a target, imported ones too, the oldest first.
    pub fn epochs(&self, target: &TargetId) -> Result<Vec<KnownEpoch>, StoreError> {
        cycles::epochs(&self.connection, target)
    }

    /// The newest complete cycles of an epoch, at most so many, the oldest first.
    pub fn cycles(&self, epoch: &Epoch, most: usize) -> Result<Vec<Cycle>, StoreError> {
        cycles::of_epoch(&self.connection, epoch, most)
    }

    /// The changes of a target that were found, in the order in which they were told.
    pub fn changes(&self, target: &TargetId) -> Result<Vec<ToldChange>, StoreError> {
        changes::of_target(&self.connection, target)
    }

    /// What the user said of a target's baseline, in that order.
    pub fn baseline_orders(&self, target: &TargetId) -> Result<Vec<BaselineOrder>, StoreError> {
        baselines::of_target(&self.connection, target)
    }

    /// The number of the newest order of any target, 0 before the first: it tells whether there
    /// is another.
    pub fn newest_baseline_order(&self) -> Result<i64, StoreError> {
        baselines::newest(&self.connection)
    }
}
