//! Retention: deletes old samples in small steps and gives their pages back to the disk.
//!
//! It never touches aggregates, epochs, cycles and events, nor what must outlive its age:
//!
//! - the samples of a baseline, for later epochs are compared with them;
//! - the newest valid sample of each cell of a target's newest epoch, so that a program that
//!   was off for a year still shows results and optimum when it starts;
//! - the same of each imported epoch: an old report has one sample a cell, and is old.
//!
//! The running epoch's other samples go when they are old.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::error::StoreError;
use super::rows;
use super::schema::{WAL_BYTES, number};

/// Samples that a step deletes at most.
pub(super) const SAMPLES_A_STEP: usize = 500;
/// Pages that a step gives back at most; more than a step's samples take, so that earlier
/// free pages go too.
const PAGES_A_STEP: i64 = 1000;

/// The epochs that are no baseline, and whether each keeps the newest sample of its cells: it is
/// its target's newest, or it was imported.
///
/// A baseline is what a target's newest epoch is held against, what the user pinned or accepted,
/// and what is going to be chosen: the newest earlier epoch with the same load and a third
/// complete cycle. The newest epoch itself is none yet, or it would grow without end.
pub(super) const PRUNABLE_EPOCHS: &str = "
    WITH newest AS (
        SELECT target_id, MAX(id) AS id FROM epoch WHERE load ->> '$.source' IS NULL GROUP BY target_id
    ),
    held AS (
        SELECT (SELECT earlier.id FROM epoch AS earlier
                WHERE earlier.target_id = newest.target_id AND earlier.id < newest.id
                  AND earlier.load = (SELECT load FROM epoch WHERE epoch.id = newest.id)
                  AND EXISTS (SELECT 1 FROM cycle WHERE cycle.epoch_id = earlier.id AND completed_at IS NOT NULL
                              LIMIT 1 OFFSET 2)
                ORDER BY earlier.id DESC LIMIT 1) AS id
        FROM newest
        UNION ALL
        SELECT epoch_id FROM baseline AS said
        WHERE epoch_id NOT IN (SELECT id FROM newest)
          AND (kind IN ('chosen', 'accepted')
               OR kind = 'pinned' AND NOT EXISTS (SELECT 1 FROM baseline AS later
                                                  WHERE later.target_id = said.target_id AND later.id > said.id
                                                    AND later.kind IN ('pinned', 'unpinned')))
    )
    SELECT id, load ->> '$.source' IS NOT NULL OR id IN (SELECT id FROM newest) FROM epoch
    WHERE id NOT IN (SELECT id FROM held WHERE id IS NOT NULL) ORDER BY id";

/// Samples of an epoch that may go, the oldest first. A time index finds them, whatever the
/// order in which samples were written: an import writes late what was measured early.
pub(super) const DOOMED: &str = "
    SELECT id FROM sample WHERE epoch_id = ?1 AND completed_at < ?2
      AND NOT (?3 AND id IN (SELECT newest_valid_sample FROM cell_aggregate
                             WHERE epoch_id = ?1 AND newest_valid_sample IS NOT NULL))
    ORDER BY completed_at LIMIT ?4";

/// What a step of retention did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Samples that were deleted.
    pub samples: u64,
    /// What the file shrank by. The disk has it back when no reader looks at an older state.
    pub freed_bytes: u64,
    /// Whether another step has something to do. A step that did nothing and says so waits
    /// for a reader.
    pub has_more: bool,
}

/// Deletes samples that ended before a time: one transaction, then one checkpoint that waits
/// for nobody. `log_bytes` is the present size of the write-ahead log.
pub(super) fn step(
    connection: &mut Connection,
    before: Timestamp,
    samples: usize,
    log_bytes: u64,
) -> Result<Pruned, StoreError> {
    // A reader that stays on an old state keeps the log from being emptied: go on after it.
    if log_bytes > WAL_BYTES && !checkpoint(connection)? {
        return Ok(Pruned { has_more: true, ..Pruned::default() });
    }
    // At once, for an import may write too: one that began to read could not go on to write.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let doomed = doomed(&transaction, before, samples)?;
    for id in &doomed {
        // The distributions go with their sample.
        transaction.prepare_cached("DELETE FROM sample WHERE id = ?1")?.execute([id])?;
    }
    let pages_before = number(&transaction, "page_count")?;
    give_back(&transaction)?;
    let freed_pages = pages_before.saturating_sub(number(&transaction, "page_count")?);
    let free_pages = number(&transaction, "freelist_count")?;
    let page_bytes = number(&transaction, "page_size")?;
    transaction.commit()?;
    checkpoint(connection)?;
    Ok(Pruned {
        samples: doomed.len() as u64,
        freed_bytes: freed_pages * page_bytes,
        has_more: doomed.len() == samples || (freed_pages > 0 && free_pages > 0),
    })
}

/// Samples that may go, the oldest of the oldest epoch first.
fn doomed(transaction: &Transaction<'_>, before: Timestamp, most: usize) -> Result<Vec<i64>, StoreError> {
    let mut epochs = transaction.prepare_cached(PRUNABLE_EPOCHS)?;
    let mut epochs = epochs.query([])?;
    let mut doomed = Vec::new();
    while doomed.len() < most
        && let Some(epoch) = epochs.next()?
    {
        let (epoch, keeps_newest): (i64, bool) = (epoch.get(0)?, epoch.get(1)?);
        let rest = i64::try_from(most - doomed.len()).unwrap_or(i64::MAX);
        let mut samples = transaction.prepare_cached(DOOMED)?;
        let mut samples = samples.query(params![epoch, rows::time(before), keeps_newest, rest])?;
        while let Some(sample) = samples.next()? {
            doomed.push(sample.get(0)?);
        }
    }
    Ok(doomed)
}

/// Moves pages from the file's end into free ones and cuts the end off.
fn give_back(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut statement = transaction.prepare(&format!("PRAGMA incremental_vacuum({PAGES_A_STEP})"))?;
    let mut pages = statement.query([])?;
    // A row is a page.
    while pages.next()?.is_some() {}
    Ok(())
}

/// Copies as much of the log into the file as readers allow; tells whether that was all.
fn checkpoint(connection: &Connection) -> Result<bool, StoreError> {
    let (frames, copied): (i64, i64) =
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))?;
    Ok(copied >= frames)
}
