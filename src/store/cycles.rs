//! Complete cycles, as far as changes are looked for in them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::error::StoreError;
use super::reader::IMPORTED_CYCLES;
use super::rows::{self, Columns};
use crate::analysis::regression::{CellFigures, CycleView};
use crate::domain::{Cell, Epoch, EpochId, TargetId};

/// The figures of an epoch from a time on. A time index finds them: an epoch may have many more.
pub(super) const FIGURES: &str = "
    SELECT cycle, workers, batch, tokens_per_second, time_to_first_token_p50, inter_token_latency_p50
    FROM sample WHERE epoch_id = ?1 AND completed_at >= ?2 AND valid ORDER BY completed_at";

/// The day so many days before the newest, of those on which a cycle of this program's own began.
const DAY_BACK: &str = "
    SELECT DISTINCT substr(started_at, 1, 10) || 'T00:00:00Z' AS day FROM cycle WHERE number < ?1
    ORDER BY day DESC LIMIT 1 OFFSET ?2";

/// The beginning of the day so many days back, counting those on which something was measured;
/// `None` where there are not so many.
pub(super) fn measured_days_back(connection: &Connection, days: u64) -> Result<Option<Timestamp>, StoreError> {
    let back = i64::try_from(days).unwrap_or(i64::MAX);
    let mut statement = connection.prepare(DAY_BACK)?;
    let mut found = statement.query(params![IMPORTED_CYCLES, back])?;
    found.next()?.map(|row| Columns::new(row).time()).transpose()
}

/// An epoch, and how much there is of it.
#[derive(Clone, Debug)]
pub struct KnownEpoch {
    pub epoch: Epoch,
    pub complete_cycles: usize,
}

/// A complete cycle and its number.
#[derive(Clone, Debug)]
pub struct Cycle {
    /// The target's own; of an imported epoch, that of its file.
    pub number: u64,
    pub view: CycleView,
}

/// The epochs of a target, the oldest first.
pub(super) fn epochs(connection: &Connection, target: &TargetId) -> Result<Vec<KnownEpoch>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT epoch.id, identity, load, first_seen, last_seen,
                (SELECT COUNT(*) FROM cycle WHERE epoch_id = epoch.id AND completed_at IS NOT NULL)
         FROM epoch JOIN target ON target.id = target_id WHERE name = ?1 AND model = ?2 ORDER BY epoch.id",
    )?;
    let mut found = statement.query(params![&*target.name, &*target.model])?;
    let mut epochs = Vec::new();
    while let Some(row) = found.next()? {
        let mut columns = Columns::new(row);
        let epoch = rows::epoch(&mut columns)?;
        epochs.push(KnownEpoch { epoch, complete_cycles: usize::try_from(columns.count()?).unwrap_or(usize::MAX) });
    }
    Ok(epochs)
}

/// The newest complete cycles of an epoch, at most so many, the oldest first: the newest valid
/// sample of each cell.
pub(super) fn of_epoch(connection: &Connection, epoch: &Epoch, most: usize) -> Result<Vec<Cycle>, StoreError> {
    let mut starts = starts(connection, epoch.id, most)?;
    let Some(first) = starts.values().min().copied() else { return Ok(Vec::new()) };
    let mut cells: BTreeMap<u64, BTreeMap<Cell, CellFigures>> = BTreeMap::new();
    let mut statement = connection.prepare_cached(FIGURES)?;
    let mut found = statement.query(params![epoch.id.0, rows::time(first)])?;
    while let Some(row) = found.next()? {
        let mut c = Columns::new(row);
        let number = c.count()?;
        let cell = Cell { workers: c.small()?, batch: c.small()? };
        let figures = [c.take()?, c.take()?, c.take()?];
        cells.entry(number).or_default().insert(cell, CellFigures { cell, figures });
    }
    let cycle = |(number, cells): (u64, BTreeMap<Cell, CellFigures>)| {
        let at = starts.remove(&number)?;
        let view = CycleView { at, identity: epoch.identity.clone(), cells: cells.into_values().collect() };
        Some(Cycle { number, view })
    };
    Ok(cells.into_iter().filter_map(cycle).collect())
}

/// When the newest complete cycles began, by number.
fn starts(connection: &Connection, epoch: EpochId, most: usize) -> Result<BTreeMap<u64, Timestamp>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT number % {IMPORTED_CYCLES}, started_at FROM cycle
         WHERE epoch_id = ?1 AND completed_at IS NOT NULL ORDER BY completed_at DESC LIMIT ?2"
    ))?;
    let mut found = statement.query(params![epoch.0, i64::try_from(most).unwrap_or(i64::MAX)])?;
    let mut starts = BTreeMap::new();
    while let Some(row) = found.next()? {
        let mut columns = Columns::new(row);
        starts.insert(columns.count()?, columns.time()?);
    }
    Ok(starts)
}
