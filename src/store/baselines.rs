//! What the user said of baselines, and which one is in use.
//!
//! Orders are given by another process than the one that measures, beside it or while there
//! is none.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::FILE_NAME;
use super::changes::named;
use super::error::StoreError;
use super::rows::{self, Columns};
use super::schema::{Lock, must_exist, open_beside, open_to_write};
use crate::domain::{BaselineOrder, EpochId, OrderKind, TargetId};

/// The word for the baseline in use.
const CHOSEN: &str = "chosen";

/// Notes what the user says of a target's baseline; the history has to be there. A daemon that
/// measures into it goes on.
pub fn give_order(folder: &Path, target: &TargetId, order: &BaselineOrder) -> Result<(), StoreError> {
    let path = folder.join(FILE_NAME);
    must_exist(&path)?;
    let (connection, _lock) = match Lock::take(folder) {
        Ok(lock) => (open_to_write(&path)?, Some(lock)),
        Err(StoreError::Locked { .. }) => (open_beside(&path)?, None),
        Err(error) => return Err(error),
    };
    connection.execute(
        "INSERT INTO baseline (target_id, at, kind, epoch_id)
         SELECT id, ?3, ?4, ?5 FROM target WHERE name = ?1 AND model = ?2",
        params![
            &*target.name,
            &*target.model,
            rows::time(order.at),
            order.kind.as_str(),
            order.epoch.map(|epoch| epoch.0)
        ],
    )?;
    Ok(())
}

/// Notes what the running epoch is held against, in the place of what it was before.
pub(super) fn choose(
    connection: &mut Connection,
    target_id: i64,
    at: Timestamp,
    epoch: Option<EpochId>,
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    transaction.execute("DELETE FROM baseline WHERE target_id = ?1 AND kind = ?2", params![target_id, CHOSEN])?;
    transaction.execute(
        "INSERT INTO baseline (target_id, at, kind, epoch_id) VALUES (?1, ?2, ?3, ?4)",
        params![target_id, rows::time(at), CHOSEN, epoch.map(|epoch| epoch.0)],
    )?;
    transaction.commit()?;
    Ok(())
}

/// What the user said of a target's baseline, in that order.
pub(super) fn of_target(connection: &Connection, target: &TargetId) -> Result<Vec<BaselineOrder>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, at, epoch_id FROM baseline JOIN target ON target.id = target_id
         WHERE name = ?1 AND model = ?2 AND kind <> ?3 ORDER BY baseline.id",
    )?;
    let mut found = statement.query(params![&*target.name, &*target.model, CHOSEN])?;
    let mut orders = Vec::new();
    while let Some(row) = found.next()? {
        let mut c = Columns::new(row);
        let kind = named(&mut c, "order", OrderKind::from_name)?;
        orders.push(BaselineOrder { kind, at: c.time()?, epoch: c.take::<Option<i64>>()?.map(EpochId) });
    }
    Ok(orders)
}

/// The number of the newest order of any target, 0 before the first: who remembers it knows
/// whether there is another.
pub(super) fn newest(connection: &Connection) -> Result<i64, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM baseline WHERE kind <> ?1 ORDER BY id DESC LIMIT 1")?;
    Ok(statement.query_row([CHOSEN], |row| row.get(0)).optional()?.unwrap_or(0))
}
