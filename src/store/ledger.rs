//! What targets with a budget sent, for as long as a budget may look back.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::error::StoreError;
use super::rows::{self, Columns, integer};
use crate::domain::Spent;

/// Twice the longest span of a budget.
const KEPT: SignedDuration = SignedDuration::from_hours(48);

/// Notes what was sent, and forgets what no budget asks for any more.
pub(super) fn note(connection: &mut Connection, name: &str, spent: Spent) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    if let Ok(forgotten) = spent.at.checked_sub(KEPT) {
        transaction.prepare_cached("DELETE FROM spending WHERE at < ?1")?.execute([rows::time(forgotten)])?;
    }
    transaction
        .prepare_cached("INSERT INTO spending (name, at, requests, tokens) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![name, rows::time(spent.at), integer(Some(spent.requests)), integer(Some(spent.tokens))])?;
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
        spending.push(Spent { at: columns.time()?, requests: columns.count()?, tokens: columns.count()? });
    }
    Ok(spending)
}
