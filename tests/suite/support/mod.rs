//! What the tests share: processes, configurations, HTTP, scrapes, the history, waiting.

mod history;
mod http;
pub(crate) mod legacy;
pub(crate) mod misbehaving;
mod process;
mod scrape;
mod stage;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use history::{History, Span};
pub(crate) use http::{get, post};
pub(crate) use process::{Process, free_address};
pub(crate) use scrape::{Scrape, scrape, soaked};
pub(crate) use stage::{Stage, Target, simulator, simulator_at};

/// Far more than anything takes on a busy machine; only a fault waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(25);

/// Looks until there is something to see.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(began.elapsed() < PATIENCE, "still not there after {PATIENCE:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// The folder of the package.
pub(crate) fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}
