//! What targets sent, for as long as a budget may look back.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::error::StoreError;
use super::rows::{self, Columns, integer};
use crate::domain::{Cost, Spent};

/// Twice the longest span of a budget.
const KEPT: SignedDuration = SignedDuration::from_hours(48);

/// Two entries may be of one time: the last was booked for what runs.
const LAST_OF_A_TIME: &str =
    "DELETE FROM spending WHERE id = (SELECT max(id) FROM spending WHERE name = ?1 AND at = ?2)";

/// Notes what was sent, or is about to be, in the place of what was noted for the time
/// `replaced`; forgets what no budget asks for any more.
pub(super) fn note(
    connection: &mut Connection,
    name: &str,
    spent: Spent,
    replaced: Option<Timestamp>,
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    if let Some(replaced) = replaced {
        transaction.prepare_cached(LAST_OF_A_TIME)?.execute(params![name, rows::time(replaced)])?;
    }
    if let Ok(forgotten) = spent.at.checked_sub(KEPT) {
        transaction.prepare_cached("DELETE FROM spending WHERE at < ?1")?.execute([rows::time(forgotten)])?;
    }
    transaction.prepare_cached("INSERT INTO spending (name, at, requests, tokens) VALUES (?1, ?2, ?3, ?4)")?.execute(
        params![name, rows::time(spent.at), integer(Some(spent.cost.requests)), integer(Some(spent.cost.tokens))],
    )?;
    transaction.commit()?;
    Ok(())
}

/// What was noted at a time or after it, the oldest first.
pub(super) fn since(connection: &Connection, name: &str, since: Timestamp) -> Result<Vec<Spent>, StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT at, requests, tokens FROM spending WHERE name = ?1 AND at >= ?2 ORDER BY at, id")?;
    let mut found = statement.query(params![name, rows::time(since)])?;
    let mut spending = Vec::new();
    while let Some(row) = found.next()? {
        let mut columns = Columns::new(row);
        let at = columns.time()?;
        spending.push(Spent { at, cost: Cost { requests: columns.count()?, tokens: columns.count()? } });
    }
    Ok(spending)
}
