//! Deleting what is older than the retention, in steps so small that no sample waits for one.
//!
//! The clock alone is not believed: one that is set years ahead would have everything deleted.
//! As many days on which something was measured as the retention is long are kept whatever the
//! clock says, and days pass no faster than they do.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::plan::StoragePlan;
use crate::soak::WallClock;
use crate::soak::clock::earlier;
use crate::store::{Reader, Writer};

/// How often old samples are looked for; the first time soon after the start.
const EVERY: Duration = Duration::from_secs(600);
const FIRST: Duration = Duration::from_secs(10);
/// The rest between two steps, in which samples are written.
const BETWEEN_STEPS: Duration = Duration::from_millis(100);
const DAY_SECONDS: u64 = 86_400;

/// Deletes what is too old by the configuration in force, until `stop`.
pub(super) async fn keep(
    mut config: watch::Receiver<Arc<Config>>,
    history: Writer,
    clock: WallClock,
    stop: CancellationToken,
) {
    let work = async {
        sleep(FIRST).await;
        loop {
            let storage = config.borrow_and_update().storage.clone();
            let by_clock = earlier(clock.now(), storage.retention);
            let asked = tokio::task::spawn_blocking(move || kept_anyway(&storage)).await;
            match asked.map_err(anyhow::Error::from).and_then(|kept| kept) {
                // Fewer days were measured than are kept.
                Ok(None) => {}
                Ok(Some(kept)) => prune(&history, by_clock.min(kept)).await,
                Err(error) => tracing::error!(error = format!("{error:#}"), "old samples are not deleted"),
            }
            tokio::select! {
                () = sleep(EVERY) => {}
                Ok(()) = config.changed() => {}
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

/// The time from which on everything is kept, going by the days on which something was measured.
fn kept_anyway(storage: &StoragePlan) -> anyhow::Result<Option<Timestamp>> {
    let days = storage.retention.as_secs().div_ceil(DAY_SECONDS);
    Ok(Reader::open(&storage.path)?.measured_days_back(days)?)
}

async fn prune(history: &Writer, before: Timestamp) {
    let (mut samples, mut bytes) = (0, 0);
    loop {
        let step = match history.prune(before).await {
            Ok(step) => step,
            Err(error) => return tracing::error!(%error, "old samples are not deleted"),
        };
        samples += step.samples;
        bytes += step.freed_bytes;
        if !step.has_more {
            break;
        }
        // A step that did nothing waits for a reader.
        let is_held_up = step.samples == 0 && step.freed_bytes == 0;
        sleep(if is_held_up { FIRST } else { BETWEEN_STEPS }).await;
    }
    if samples > 0 {
        tracing::info!(samples, bytes, %before, "old samples deleted");
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    /// What is kept anyway of a history with cycles at those times.
    fn kept(retention_days: u64, cycles: &[&str]) -> Option<String> {
        let folder = tempfile::tempdir().expect("has a place");
        let (writer, thread) = Writer::open(folder.path()).expect("a history");
        drop(writer);
        thread.join().expect("the writer ends");
        let history = Connection::open(folder.path().join(crate::store::FILE_NAME)).expect("a history");
        history
            .execute_batch(
                "INSERT INTO target (id, name, model, url) VALUES (1, 't', 'm', 'u');
                 INSERT INTO epoch (id, target_id, identity, load, first_seen, last_seen) VALUES (1, 1, '{}', '{}', '', '')",
            )
            .expect("a target");
        for (number, at) in cycles.iter().enumerate() {
            let sql = "INSERT INTO cycle (target_id, number, epoch_id, grid, seed, started_at) VALUES (1, ?1, 1, '{}', 0, ?2)";
            history.execute(sql, rusqlite::params![i64::try_from(number).expect("few"), at]).expect("a cycle");
        }
        let retention = Duration::from_secs(retention_days * DAY_SECONDS);
        let storage = StoragePlan { path: folder.path().to_owned(), retention };
        kept_anyway(&storage).expect("can be read").map(|at| at.to_string())
    }

    #[test]
    fn as_many_measured_days_as_the_retention_has_are_kept() {
        let days = ["2026-11-20T23:59:59.999Z", "2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z", "2026-11-24T00:00:00Z"];
        assert_eq!(kept(1, &days).as_deref(), Some("2026-11-21T00:00:00Z"));
        assert_eq!(kept(2, &days).as_deref(), Some("2026-11-20T00:00:00Z"));
        assert_eq!(kept(3, &days), None);
        assert_eq!(kept(1, &[]), None);
    }

    #[test]
    fn a_clock_that_is_years_ahead_takes_a_day_at_most() {
        let days = ["2026-11-20T08:00:00Z", "2026-11-21T08:00:00Z", "2126-01-01T00:00:00Z"];
        assert_eq!(kept(2, &days).as_deref(), Some("2026-11-20T00:00:00Z"));
    }
}
