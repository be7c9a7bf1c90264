//! Deleting what is older than the retention, in steps so small that no sample waits for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::soak::WallClock;
use crate::soak::clock::earlier;
use crate::store::Writer;

/// How often old samples are looked for; the first time soon after the start.
const EVERY: Duration = Duration::from_secs(600);
const FIRST: Duration = Duration::from_secs(10);
/// The rest between two steps, in which samples are written.
const BETWEEN_STEPS: Duration = Duration::from_millis(100);

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
            let retention = config.borrow_and_update().storage.retention;
            prune(&history, earlier(clock.now(), retention)).await;
            tokio::select! {
                () = sleep(EVERY) => {}
                Ok(()) = config.changed() => {}
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

async fn prune(history: &Writer, before: jiff::Timestamp) {
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
