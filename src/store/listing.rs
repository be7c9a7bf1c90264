//! The epochs and events of a target as lists, for pages and the API.

use jiff::Timestamp;
use rusqlite::params;

use super::error::StoreError;
use super::reader::Reader;
use super::rows::{self, Columns};
use crate::domain::{Epoch, TargetId};

/// An epoch with what a list says of it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedEpoch {
    pub target: TargetId,
    pub epoch: Epoch,
    /// Complete cycles.
    pub complete_cycles: u64,
    /// Samples, valid or not; those that retention deleted among them.
    pub samples: u64,
}

/// Something that the history noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEvent {
    pub target: TargetId,
    pub at: Timestamp,
    /// A word such as `epoch` or `away`.
    pub kind: String,
    /// In words, for people.
    pub detail: String,
}

impl Reader {
    /// The newest epochs of a target of that name, of all its models, imported ones too; the
    /// newest first.
    pub fn newest_epochs(&self, name: &str, limit: u32) -> Result<Vec<ListedEpoch>, StoreError> {
        let mut statement = self.shared().prepare_cached(
            "SELECT epoch.id, identity, load, first_seen, last_seen, name, model,
                    (SELECT COUNT(*) FROM cycle WHERE epoch_id = epoch.id AND completed_at IS NOT NULL),
                    (SELECT COALESCE(SUM(attempts), 0) FROM cell_aggregate WHERE epoch_id = epoch.id)
             FROM epoch JOIN target ON target.id = target_id
             WHERE name = ?1 ORDER BY epoch.id DESC LIMIT ?2",
        )?;
        let mut found = statement.query(params![name, limit])?;
        let mut epochs = Vec::new();
        while let Some(row) = found.next()? {
            let mut columns = Columns::new(row);
            let epoch = rows::epoch(&mut columns)?;
            let target = TargetId::new(&columns.take::<String>()?, &columns.take::<String>()?);
            let (complete_cycles, samples) = (columns.count()?, columns.count()?);
            epochs.push(ListedEpoch { target, epoch, complete_cycles, samples });
        }
        Ok(epochs)
    }

    /// The newest events of a target of that name, whatever its model; the newest first.
    pub fn newest_events(&self, name: &str, limit: u32) -> Result<Vec<ListedEvent>, StoreError> {
        let mut statement = self.shared().prepare_cached(
            "SELECT at, kind, detail, name, model FROM event JOIN target ON target.id = target_id
             WHERE name = ?1 ORDER BY event.id DESC LIMIT ?2",
        )?;
        let mut found = statement.query(params![name, limit])?;
        let mut events = Vec::new();
        while let Some(row) = found.next()? {
            let mut columns = Columns::new(row);
            let (at, kind, detail) = (columns.time()?, columns.take()?, columns.take()?);
            let target = TargetId::new(&columns.take::<String>()?, &columns.take::<String>()?);
            events.push(ListedEvent { target, at, kind, detail });
        }
        Ok(events)
    }
}
