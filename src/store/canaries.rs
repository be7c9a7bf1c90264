//! What canaries came back with.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::error::StoreError;
use super::rows::{Columns, real, time};
use crate::domain::{Canary, TargetId};

pub(super) fn note(connection: &Connection, target_id: i64, at: Timestamp, canary: Canary) -> Result<(), StoreError> {
    let sql = "INSERT INTO canary (target_id, at, load_seconds, time_to_first_token_seconds) VALUES (?1, ?2, ?3, ?4)";
    let (load, first_token) = (real(canary.load_seconds), canary.time_to_first_token_seconds);
    connection.prepare_cached(sql)?.execute(params![target_id, time(at), load, first_token])?;
    Ok(())
}

/// The newest of a target, and when it came back.
pub(super) fn newest(connection: &Connection, target: &TargetId) -> Result<Option<(Timestamp, Canary)>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT at, load_seconds, time_to_first_token_seconds FROM canary
         JOIN target ON target.id = target_id WHERE name = ?1 AND model = ?2 ORDER BY at DESC LIMIT 1",
    )?;
    let mut rows = statement.query(params![&*target.name, &*target.model])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut columns = Columns::new(row);
    let at = columns.time()?;
    let (load_seconds, time_to_first_token_seconds) = (columns.take()?, columns.take()?);
    Ok(Some((at, Canary { load_seconds, time_to_first_token_seconds })))
}
