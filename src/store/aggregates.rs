//! The aggregates of cells: what stays when samples are deleted.
//!
//! A sample is added in the transaction that writes it, so that it counts once, whatever
//! happens. Deleting samples touches nothing here.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::error::StoreError;
use super::rows::{self, Columns, integer, real};
use crate::domain::{Cell, CellAggregate, EpochId, Moments, Sample, TargetId};

/// The columns of `cell_aggregate` after `epoch_id`, in the order of [`values`] and [`entry`].
const COLUMNS: &[&str] = &[
    "workers",
    "batch",
    "attempts",
    "first_at",
    "last_at",
    "valid_samples",
    "log_tokens_per_second_count",
    "log_tokens_per_second_mean",
    "log_tokens_per_second_m2",
    "tokens_per_second_min",
    "tokens_per_second_max",
    "requests",
    "failed_requests",
    "output_tokens",
    "total_seconds",
    "log_time_to_first_token_p50_count",
    "log_time_to_first_token_p50_mean",
    "log_time_to_first_token_p50_m2",
    "log_inter_token_latency_p50_count",
    "log_inter_token_latency_p50_mean",
    "log_inter_token_latency_p50_m2",
    "newest_valid_sample",
];

/// A row: the aggregate, and which sample retention has to leave.
#[derive(Clone, Copy)]
struct Entry {
    aggregate: CellAggregate,
    newest_valid_sample: Option<i64>,
}

impl Entry {
    /// `before`, if any, with one more sample.
    fn after(before: Option<Self>, sample: &Sample, sample_id: i64) -> Self {
        let newest_valid_sample =
            if sample.is_valid() { Some(sample_id) } else { before.and_then(|entry| entry.newest_valid_sample) };
        let aggregate = match before {
            Some(mut entry) => {
                entry.aggregate.add(sample);
                entry.aggregate
            }
            None => CellAggregate::of(sample),
        };
        Self { aggregate, newest_valid_sample }
    }
}

/// Adds a sample that has just been written, within the caller's transaction.
pub(super) fn add(connection: &Connection, sample: &Sample, sample_id: i64) -> Result<(), StoreError> {
    let before = find(connection, sample.epoch, sample.cell)?;
    save(connection, sample.epoch, &Entry::after(before, sample, sample_id))
}

fn find(connection: &Connection, epoch: EpochId, cell: Cell) -> Result<Option<Entry>, StoreError> {
    let sql = format!("{} WHERE epoch_id = ?1 AND workers = ?2 AND batch = ?3", select());
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![epoch.0, cell.workers, cell.batch])?;
    found.next()?.map(entry).transpose()
}

/// Takes over what another history knew of a cell, where that is of more samples than those
/// that are there: it had deleted some.
pub(super) fn restore(connection: &Connection, epoch: EpochId, aggregate: &CellAggregate) -> Result<(), StoreError> {
    let before = find(connection, epoch, aggregate.cell)?;
    if before.is_some_and(|entry| entry.aggregate.attempts >= aggregate.attempts) {
        return Ok(());
    }
    let newest_valid_sample = before.and_then(|entry| entry.newest_valid_sample);
    save(connection, epoch, &Entry { aggregate: *aggregate, newest_valid_sample })
}

/// The aggregates of an epoch, by workers and then by batch.
pub(super) fn of_epoch(connection: &Connection, epoch: EpochId) -> Result<Vec<CellAggregate>, StoreError> {
    let mut statement =
        connection.prepare_cached(&format!("{} WHERE epoch_id = ?1 ORDER BY workers, batch", select()))?;
    let mut found = statement.query([epoch.0])?;
    let mut aggregates = Vec::new();
    while let Some(row) = found.next()? {
        aggregates.push(entry(row)?.aggregate);
    }
    Ok(aggregates)
}

/// Makes the aggregates of all samples, for a file that has none yet.
pub(super) fn fill(connection: &Connection) -> Result<(), StoreError> {
    // An aggregate knows no target.
    let nobody = TargetId::new("", "");
    let mut entries: BTreeMap<(EpochId, Cell), Entry> = BTreeMap::new();
    let mut statement = connection.prepare(&format!("{} ORDER BY id", rows::select()))?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let sample = rows::sample(&nobody, row)?;
        let key = (sample.epoch, sample.cell);
        let entry = Entry::after(entries.get(&key).copied(), &sample, row.get("id")?);
        entries.insert(key, entry);
    }
    entries.iter().try_for_each(|((epoch, _), entry)| save(connection, *epoch, entry))
}

fn select() -> String {
    format!("SELECT {} FROM cell_aggregate", COLUMNS.join(", "))
}

fn save(connection: &Connection, epoch: EpochId, entry: &Entry) -> Result<(), StoreError> {
    let marks = ", ?".repeat(COLUMNS.len());
    let sql = format!("INSERT OR REPLACE INTO cell_aggregate (epoch_id, {}) VALUES (?{marks})", COLUMNS.join(", "));
    connection.prepare_cached(&sql)?.execute(rusqlite::params_from_iter(values(epoch, entry)))?;
    Ok(())
}

fn values(epoch: EpochId, entry: &Entry) -> Vec<Value> {
    let a = &entry.aggregate;
    let mut values = vec![
        Value::Integer(epoch.0),
        integer(Some(a.cell.workers.into())),
        integer(Some(a.cell.batch.into())),
        integer(Some(a.attempts)),
        Value::Text(rows::time(a.first_at)),
        Value::Text(rows::time(a.last_at)),
        integer(Some(a.valid_samples)),
    ];
    values.extend(moments(&a.log_rate));
    values.extend([
        real(a.lowest_tokens_per_second),
        real(a.highest_tokens_per_second),
        integer(Some(a.requests)),
        integer(Some(a.failed_requests)),
        integer(Some(a.output_tokens)),
        Value::Real(a.total_seconds),
    ]);
    values.extend(moments(&a.log_time_to_first_token));
    values.extend(moments(&a.log_inter_token_latency));
    values.push(entry.newest_valid_sample.map_or(Value::Null, Value::Integer));
    values
}

fn moments(of: &Moments) -> [Value; 3] {
    let known = |value| real((of.count > 0).then_some(value));
    [integer(Some(of.count)), known(of.mean), known(of.m2)]
}

/// Reads a row of [`select`].
fn entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    let mut columns = Columns::new(row);
    let c = &mut columns;
    // The fields are written in the order of the columns: their initialisers run in it.
    let aggregate = CellAggregate {
        cell: Cell { workers: c.small()?, batch: c.small()? },
        attempts: c.count()?,
        first_at: c.time()?,
        last_at: c.time()?,
        valid_samples: c.count()?,
        log_rate: c.moments()?,
        lowest_tokens_per_second: c.take()?,
        highest_tokens_per_second: c.take()?,
        requests: c.count()?,
        failed_requests: c.count()?,
        output_tokens: c.count()?,
        total_seconds: c.take()?,
        log_time_to_first_token: c.moments()?,
        log_inter_token_latency: c.moments()?,
    };
    Ok(Entry { aggregate, newest_valid_sample: c.take()? })
}
