//! Reads the history: for a start, a report, a page.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::error::StoreError;
use super::schema::open_to_read;
use super::{FILE_NAME, aggregates, canaries, ledger, rows};
use crate::domain::{Canary, CellAggregate, Epoch, EpochId, Facts, Grid, Sample, Spent, TargetId};

/// The samples of a cell that are read: more would say no more, and a long epoch has millions.
pub const SAMPLES_OF_CELL: u32 = 1000;

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
    /// The last cycle of the target in any epoch, 0 where there is none.
    pub last_cycle: u64,
    /// The seed of that cycle's order.
    pub seed: Option<u64>,
    /// The grid of that cycle.
    pub grid: Option<Grid>,
}

impl Reader {
    /// Opens the history of a storage folder.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: open_to_read(&folder.join(FILE_NAME))? })
    }

    pub(super) fn over(connection: Connection) -> Self {
        Self { connection }
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// All targets that were ever measured, by name, the newest model of each first.
    pub fn targets(&self) -> Result<Vec<TargetId>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT name, model FROM target ORDER BY name, id DESC")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
        rows.map(|row| row.map(|(name, model)| TargetId::new(&name, &model)).map_err(StoreError::from)).collect()
    }

    /// The newest epoch of a target, of any model where none is named.
    pub fn newest_epoch(&self, name: &str, model: Option<&str>) -> Result<Option<EpochSummary>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT epoch.id, identity, load, first_seen, last_seen, target.model, target.url, target.id
             FROM epoch JOIN target ON target.id = target_id
             WHERE name = ?1 AND (?2 IS NULL OR model = ?2) ORDER BY epoch.id DESC LIMIT 1",
        )?;
        let found = statement.query_row(params![name, model], |row| {
            let text = |column| row.get::<_, String>(column);
            Ok((row.get(0)?, [text(1)?, text(2)?, text(3)?, text(4)?, text(5)?, text(6)?], row.get::<_, i64>(7)?))
        });
        let Some((id, [identity, load, first_seen, last_seen, model, url], target_id)) = found.optional()? else {
            return Ok(None);
        };
        let epoch = Epoch {
            id: EpochId(id),
            identity: facts(&identity)?,
            load: facts(&load)?,
            first_seen: rows::parse_time(&first_seen)?,
            last_seen: rows::parse_time(&last_seen)?,
        };
        let complete_cycles =
            self.count("SELECT COUNT(*) FROM cycle WHERE epoch_id = ?1 AND completed_at IS NOT NULL", epoch.id.0)?;
        let last_cycle = self.count("SELECT COALESCE(MAX(number), 0) FROM cycle WHERE target_id = ?1", target_id)?;
        let newest_cycle = self
            .connection
            .prepare_cached("SELECT seed, grid FROM cycle WHERE target_id = ?1 ORDER BY number DESC LIMIT 1")?
            .query_row([target_id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        let seed = newest_cycle.as_ref().map(|(seed, _)| seed.cast_unsigned());
        let grid = newest_cycle.map(|(_, grid)| rows::parse_grid(&grid)).transpose()?;
        Ok(Some(EpochSummary {
            target: TargetId::new(name, &model),
            url,
            epoch,
            complete_cycles,
            last_cycle,
            seed,
            grid,
        }))
    }

    fn count(&self, sql: &str, id: i64) -> Result<u64, StoreError> {
        let count: i64 = self.connection.prepare_cached(sql)?.query_row([id], |row| row.get(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The newest samples of each cell of an epoch, at most [`SAMPLES_OF_CELL`], in the order
    /// in which they were measured.
    pub fn samples(&self, target: &TargetId, epoch: EpochId) -> Result<Vec<Sample>, StoreError> {
        let newest = "WHERE epoch_id = ?1 AND workers = ?2 AND batch = ?3 ORDER BY id DESC LIMIT ?4";
        let mut statement = self.connection.prepare_cached(&format!("{} {newest}", rows::select()))?;
        let mut samples = Vec::new();
        for cell in self.aggregates(epoch)?.iter().map(|aggregate| aggregate.cell) {
            let mut rows = statement.query(params![epoch.0, cell.workers, cell.batch, SAMPLES_OF_CELL])?;
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

    /// The newest canary of a target, and when it came back.
    pub fn newest_canary(&self, target: &TargetId) -> Result<Option<(Timestamp, Canary)>, StoreError> {
        canaries::newest(&self.connection, target)
    }

    /// What a target of that name sent from a time on, whatever its model, the oldest first.
    /// Two days are kept.
    pub fn spending(&self, name: &str, since: Timestamp) -> Result<Vec<Spent>, StoreError> {
        ledger::since(&self.connection, name, since)
    }
}

pub(super) fn facts(text: &str) -> Result<Facts, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Value { what: "list of facts", text: text.to_owned() })
}
