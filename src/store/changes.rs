//! The changes that were found.

use rusqlite::types::Value;
use rusqlite::{Connection, Row, params};

use super::error::StoreError;
use super::rows::{self, Columns, integer};
use crate::domain::{
    Cause, Cell, ChangeEvent, Component, CycleRef, Direction, Measure, Ratio, Scope, TargetId, ToldChange,
};

/// The columns of `change` after `target_id`, in the order of [`values`] and [`change`].
const COLUMNS: &[&str] = &[
    "measure",
    "direction",
    "ratio",
    "lower",
    "upper",
    "cause",
    "component",
    "scope",
    "detected_cycle",
    "detected_at",
    "changed_cycle",
    "changed_at",
    "cycles_before",
    "cycles_after",
    "affected_cells",
    "minimum_effect",
];

pub(super) fn note(connection: &Connection, target_id: i64, event: &ChangeEvent) -> Result<(), StoreError> {
    let marks = ", ?".repeat(COLUMNS.len());
    let sql = format!("INSERT INTO change (target_id, {}) VALUES (?{marks})", COLUMNS.join(", "));
    connection.prepare_cached(&sql)?.execute(rusqlite::params_from_iter(values(target_id, event)))?;
    Ok(())
}

/// Notes that the change which began in that cycle was a dip.
pub(super) fn withdraw(
    connection: &Connection,
    target_id: i64,
    measure: Measure,
    changed: CycleRef,
    returned: CycleRef,
) -> Result<(), StoreError> {
    let sql = "UPDATE change SET returned_cycle = ?4, returned_at = ?5
               WHERE id = (SELECT MAX(id) FROM change WHERE target_id = ?1 AND measure = ?2 AND changed_cycle = ?3)";
    connection.prepare_cached(sql)?.execute(params![
        target_id,
        measure.as_str(),
        integer(Some(changed.cycle)),
        integer(Some(returned.cycle)),
        rows::time(returned.at)
    ])?;
    Ok(())
}

/// All changes of a target, in the order in which they were told.
pub(super) fn of_target(connection: &Connection, target: &TargetId) -> Result<Vec<ToldChange>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {}, returned_cycle, returned_at FROM change JOIN target ON target.id = target_id
         WHERE name = ?1 AND model = ?2 ORDER BY change.id",
        COLUMNS.join(", ")
    ))?;
    let mut found = statement.query(params![&*target.name, &*target.model])?;
    let mut changes = Vec::new();
    while let Some(row) = found.next()? {
        changes.push(change(row)?);
    }
    Ok(changes)
}

fn values(target_id: i64, event: &ChangeEvent) -> Vec<Value> {
    let text = |text: &str| Value::Text(text.to_owned());
    let count = |count: usize| integer(Some(count as u64));
    let components: Vec<&str> = event.components.iter().map(|component| component.as_str()).collect();
    let cells: Vec<[u32; 2]> = event.affected.iter().map(|cell| [cell.workers, cell.batch]).collect();
    vec![
        Value::Integer(target_id),
        text(event.measure.as_str()),
        text(event.direction.as_str()),
        Value::Real(event.ratio.value),
        Value::Real(event.ratio.lower),
        Value::Real(event.ratio.upper),
        text(event.cause.as_str()),
        if components.is_empty() { Value::Null } else { text(&components.join(",")) },
        text(&event.scope.to_string()),
        integer(Some(event.detected.cycle)),
        Value::Text(rows::time(event.detected.at)),
        integer(Some(event.changed.cycle)),
        Value::Text(rows::time(event.changed.at)),
        count(event.cycles_before),
        count(event.cycles_after),
        // Lists of numbers always have a JSON form.
        Value::Text(serde_json::to_string(&cells).unwrap_or_default()),
        Value::Real(event.minimum_effect),
    ]
}

/// Reads a row of [`COLUMNS`] and of where it returned.
fn change(row: &Row<'_>) -> Result<ToldChange, StoreError> {
    let mut columns = Columns::new(row);
    let c = &mut columns;
    // The fields are written in the order of the columns: their initialisers run in it.
    let event = ChangeEvent {
        measure: named(c, "measure", Measure::from_name)?,
        direction: named(c, "direction", Direction::from_name)?,
        ratio: Ratio { value: c.take()?, lower: c.take()?, upper: c.take()? },
        cause: named(c, "cause", Cause::from_name)?,
        components: components(&c.take::<Option<String>>()?.unwrap_or_default())?,
        scope: named(c, "scope", Scope::from_name)?,
        detected: CycleRef { cycle: c.count()?, at: c.time()? },
        changed: CycleRef { cycle: c.count()?, at: c.time()? },
        cycles_before: usize::try_from(c.count()?).unwrap_or(usize::MAX),
        cycles_after: usize::try_from(c.count()?).unwrap_or(usize::MAX),
        affected: cells(&c.take::<String>()?)?,
        minimum_effect: c.take()?,
    };
    let (cycle, at): (Option<i64>, Option<String>) = (c.take()?, c.take()?);
    let returned = match (cycle, at) {
        (Some(cycle), Some(at)) => {
            Some(CycleRef { cycle: u64::try_from(cycle).unwrap_or(0), at: rows::parse_time(&at)? })
        }
        _ => None,
    };
    Ok(ToldChange { event: event.into(), returned })
}

/// Reads a word of a closed list.
pub(super) fn named<T>(
    columns: &mut Columns<'_, '_>,
    what: &'static str,
    from_name: fn(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let text: String = columns.take()?;
    from_name(&text).ok_or(StoreError::Value { what, text })
}

fn components(text: &str) -> Result<Vec<Component>, StoreError> {
    let known = |name: &str| {
        Component::from_name(name).ok_or_else(|| StoreError::Value { what: "component", text: name.to_owned() })
    };
    text.split(',').filter(|name| !name.is_empty()).map(known).collect()
}

fn cells(text: &str) -> Result<Vec<Cell>, StoreError> {
    let cells: Vec<[u32; 2]> =
        serde_json::from_str(text).map_err(|_| StoreError::Value { what: "list of cells", text: text.to_owned() })?;
    Ok(cells.into_iter().map(|[workers, batch]| Cell::new(workers, batch)).collect())
}
