//! Has a server take its model out of memory, where it can be told to.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::decode::error_words;
use super::http::{Client, PROBE_LIMIT, classify, read_bounded};
use super::identify::{json as ask, list, text};
use crate::domain::{FailureKind, RequestFailure, ServerKind};

/// A model that is in use is unloaded when its last request has ended.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(100);

impl Client {
    /// Returns when the model is out of memory; whether the server can be told to at all.
    ///
    /// Ollama's API: a request without a prompt and with `keep_alive` 0 unloads.
    pub async fn unload(&self, kind: ServerKind, model: &str) -> Result<bool, RequestFailure> {
        if kind != ServerKind::Ollama {
            return Ok(false);
        }
        let late = |_| RequestFailure::new(FailureKind::TimeoutTotal, "the model was not unloaded in time");
        let unloaded = timeout(PATIENCE, self.unload_from_ollama(model)).await.map_err(late)?;
        unloaded.map_err(|failure| self.redacted(failure)).map(|()| true)
    }

    async fn unload_from_ollama(&self, model: &str) -> Result<(), RequestFailure> {
        let body = json!({"model": model, "keep_alive": 0, "stream": false}).to_string().into_bytes();
        let response = self.post("/api/generate", body, true).send().await.map_err(|error| classify(&error))?;
        let status = response.status();
        let (body, _) = read_bounded(response, PROBE_LIMIT).await;
        if !status.is_success() {
            let words = error_words(&body);
            return Err(RequestFailure::new(FailureKind::Http4xx, format!("{}: {words}", status.as_u16())));
        }
        // It answers before the memory is free.
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let Some(loaded) = ask(self, "/api/ps").await else { return Ok(()) };
            let untagged = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
            let is_it = |name: String| untagged(&name) == untagged(model);
            if !list(&loaded, "/models").iter().filter_map(|entry| text(entry, "/name")).any(is_it) {
                return Ok(());
            }
            sleep(POLL_EVERY).await;
        }
        Ok(())
    }
}
