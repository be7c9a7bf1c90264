//! Reads a history out, an entry at a time, in one state of it.

use rusqlite::{Connection, Row, params};

use super::aggregates;
use super::error::StoreError;
use super::reader::{IMPORTED_CYCLES, Reader};
use super::rows::{self, Columns};
use crate::domain::{CycleEntry, Entry, EntryKind, EpochEntry, EpochId, EventEntry, TargetId};

impl Reader {
    /// Hands every entry to `take`: epoch by epoch each with its cycles, samples and cells, then
    /// the events. `target`: of this one alone. `shows`: which kinds. No more than an entry is
    /// in memory at a time, but for the epochs' own.
    ///
    /// Retention cannot shrink the file meanwhile.
    pub fn entries<E: From<StoreError>>(
        &self,
        target: Option<&str>,
        shows: impl Fn(EntryKind) -> bool,
        mut take: impl FnMut(&Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let connection = self.shared();
        // All that follows is of one state, whatever is written meanwhile.
        let _state = connection.unchecked_transaction().map_err(StoreError::from)?;
        for epoch in epochs(connection, target)? {
            let (id, owner) = (epoch.epoch.id, epoch.target.clone());
            if shows(EntryKind::Epochs) {
                take(&Entry::Epoch(epoch))?;
            }
            if shows(EntryKind::Cycles) {
                let sql = "SELECT number, grid, seed, started_at, completed_at FROM cycle WHERE epoch_id = ?1
                           ORDER BY number";
                each(connection, sql, id, |row| cycle(id, row), &mut take)?;
            }
            if shows(EntryKind::Samples) {
                let sql = format!("{} WHERE epoch_id = ?1 ORDER BY id", rows::select());
                let sample = |row: &Row<'_>| rows::sample(&owner, row).map(|sample| Entry::Sample(Box::new(sample)));
                each(connection, &sql, id, sample, &mut take)?;
            }
            if shows(EntryKind::Cells) {
                let cells = aggregates::of_epoch(connection, id)?;
                cells.into_iter().try_for_each(|cell| take(&Entry::Cell(id, cell)))?;
            }
        }
        if shows(EntryKind::Events) {
            events(connection, target, &mut take)?;
        }
        Ok(())
    }
}

fn epochs(connection: &Connection, target: Option<&str>) -> Result<Vec<EpochEntry>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT name, model, url, epoch.id, identity, load, first_seen, last_seen
         FROM epoch JOIN target ON target.id = target_id WHERE ?1 IS NULL OR name = ?1 ORDER BY epoch.id",
    )?;
    let mut found = statement.query([target])?;
    let mut epochs = Vec::new();
    while let Some(row) = found.next()? {
        let mut columns = Columns::new(row);
        let c = &mut columns;
        // The fields are written in the order of the columns: their initialisers run in it.
        epochs.push(EpochEntry {
            target: TargetId::new(&c.take::<String>()?, &c.take::<String>()?),
            url: c.take()?,
            epoch: rows::epoch(c)?,
        });
    }
    Ok(epochs)
}

/// Hands each row of an epoch on as an entry.
fn each<E: From<StoreError>>(
    connection: &Connection,
    sql: &str,
    epoch: EpochId,
    entry: impl Fn(&Row<'_>) -> Result<Entry, StoreError>,
    take: &mut impl FnMut(&Entry) -> Result<(), E>,
) -> Result<(), E> {
    let mut statement = connection.prepare(sql).map_err(StoreError::from)?;
    let mut found = statement.query([epoch.0]).map_err(StoreError::from)?;
    while let Some(row) = found.next().map_err(StoreError::from)? {
        take(&entry(row)?)?;
    }
    Ok(())
}

fn cycle(epoch: EpochId, row: &Row<'_>) -> Result<Entry, StoreError> {
    let mut columns = Columns::new(row);
    let c = &mut columns;
    Ok(Entry::Cycle(CycleEntry {
        epoch,
        number: c.count()? % IMPORTED_CYCLES.unsigned_abs(),
        grid: rows::parse_grid(&c.take::<String>()?)?,
        seed: c.take::<i64>()?.cast_unsigned(),
        started_at: c.time()?,
        completed_at: c.take::<Option<String>>()?.map(|text| rows::parse_time(&text)).transpose()?,
    }))
}

fn events<E: From<StoreError>>(
    connection: &Connection,
    target: Option<&str>,
    take: &mut impl FnMut(&Entry) -> Result<(), E>,
) -> Result<(), E> {
    let sql = "SELECT name, model, at, kind, detail FROM event JOIN target ON target.id = target_id
               WHERE ?1 IS NULL OR name = ?1 ORDER BY event.id";
    let mut statement = connection.prepare(sql).map_err(StoreError::from)?;
    let mut found = statement.query(params![target]).map_err(StoreError::from)?;
    while let Some(row) = found.next().map_err(StoreError::from)? {
        take(&Entry::Event(event(row)?))?;
    }
    Ok(())
}

fn event(row: &Row<'_>) -> Result<EventEntry, StoreError> {
    let mut columns = Columns::new(row);
    let c = &mut columns;
    let target = TargetId::new(&c.take::<String>()?, &c.take::<String>()?);
    Ok(EventEntry { target, at: c.time()?, kind: c.take()?, detail: c.take()? })
}
