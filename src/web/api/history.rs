//! What the history lists: epochs and events.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{Asked, Desk, Refusal, names, seconds};
use crate::store::{ListedEpoch, ListedEvent, Reader, StoreError};
use crate::web::App;
use crate::web::server::aside;

/// The newest epochs of each target, the newest first.
pub(super) async fn epochs(State(app): Desk, asked: Asked) -> Result<Json<Value>, Refusal> {
    listed(app, asked, "epochs", |history, name, limit| {
        let epochs = history.newest_epochs(name, limit)?;
        Ok(epochs.iter().enumerate().map(|(number, epoch)| epoch_entry(epoch, before(&epochs, number))).collect())
    })
    .await
}

/// The newest events of each target, the newest first.
pub(super) async fn events(State(app): Desk, asked: Asked) -> Result<Json<Value>, Refusal> {
    listed(app, asked, "events", |history, name, limit| {
        Ok(history.newest_events(name, limit)?.iter().map(event_entry).collect())
    })
    .await
}

/// An answer with a list of each target from the history.
async fn listed(
    app: Arc<App>,
    asked: Asked,
    what: &'static str,
    read: impl Fn(&Reader, &str, u32) -> Result<Vec<Value>, StoreError> + Send + 'static,
) -> Result<Json<Value>, Refusal> {
    let answer = aside(move || {
        let history = Reader::open(&app.storage)?;
        let mut targets = Vec::new();
        for target in &asked.targets {
            let mut entry = names(&target.id);
            entry.insert(what.to_owned(), json!(read(&history, &target.id.name, asked.limit)?));
            targets.push(Value::Object(entry));
        }
        Ok::<_, StoreError>(json!({ "timestamp_seconds": seconds(asked.now), "targets": targets }))
    });
    answer.await.map(Json).map_err(Refusal::Fault)
}

/// The epoch of the same model that was measured before the one of that number.
fn before(epochs: &[ListedEpoch], number: usize) -> Option<&ListedEpoch> {
    let of = epochs.get(number)?;
    epochs.iter().skip(number + 1).find(|other| other.target == of.target && other.epoch.source().is_none())
}

fn epoch_entry(listed: &ListedEpoch, before: Option<&ListedEpoch>) -> Value {
    let epoch = &listed.epoch;
    let changes = before.filter(|_| epoch.source().is_none()).map(|before| before.epoch.changes_to(epoch));
    json!({
        "epoch": epoch.id.0,
        "model": &*listed.target.model,
        "first_seen_timestamp_seconds": seconds(epoch.first_seen),
        "last_seen_timestamp_seconds": seconds(epoch.last_seen),
        "cycles_completed": listed.complete_cycles,
        "samples": listed.samples,
        "source": epoch.source(),
        "identity": epoch.identity,
        "load": epoch.load,
        "changes": changes.unwrap_or_default(),
    })
}

fn event_entry(event: &ListedEvent) -> Value {
    json!({
        "timestamp_seconds": seconds(event.at),
        "model": &*event.target.model,
        "kind": event.kind,
        "detail": event.detail,
    })
}
