//! SIGTERM and SIGINT: the first stops cleanly, the second at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A clean stop takes at most so long.
const DEADLINE: Duration = Duration::from_secs(5);

/// Cancels `stop` at the first signal; ends the process at the second, or when the
/// deadline has passed, with `code`.
pub(super) fn watch(stop: CancellationToken, code: i32) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping; a second signal stops at once");
        stop.cancel();
        let in_time = tokio::time::timeout(DEADLINE, either(&mut terminate, &mut interrupt)).await;
        if in_time.is_err() {
            tracing::error!(seconds = DEADLINE.as_secs(), "not stopped in time; ending without more ado");
        }
        std::process::exit(code);
    });
    Ok(())
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
