//! Has a server take its model out of memory, where it can be told to.

use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};

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
            let words = self.error_words(&body);
            return Err(RequestFailure::new(FailureKind::Http4xx, format!("{}: {words}", status.as_u16())));
        }
        // It answers before the memory is free.
        loop {
            let Some(loaded) = ask(self, "/api/ps").await else { return Ok(()) };
            let untagged = |name: &str| name.strip_suffix(":latest").unwrap_or(name).to_owned();
            let is_it = |name: String| untagged(&name) == untagged(model);
            if !list(&loaded, "/models").iter().filter_map(|entry| text(entry, "/name")).any(is_it) {
                return Ok(());
            }
            sleep(POLL_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::client::scripted::Scripted;
    use crate::domain::plan::Api;

    /// An Ollama that answers the unloading so, and shows these models one look after another.
    async fn ollama(unloading: (u16, &'static str), looks: &'static [(u16, &'static str)]) -> Scripted {
        let look = AtomicUsize::new(0);
        Scripted::start_as(Api::Ollama, "", move |path, _| {
            let (status, body) = match path {
                "/api/generate" => unloading,
                _ => looks[look.fetch_add(1, Ordering::Relaxed)],
            };
            (status, body, 0)
        })
        .await
    }

    const UNLOADED: (u16, &str) = (200, r#"{"done":true,"done_reason":"unload"}"#);

    #[tokio::test]
    async fn a_model_is_waited_for_until_it_is_out_of_memory() {
        const LOADED: (u16, &str) = (200, r#"{"models":[{"name":"other"},{"name":"m:latest"}]}"#);
        const ALONE: (u16, &str) = (200, r#"{"models":[{"name":"m:latest"}]}"#);
        const GONE: (u16, &str) = (200, r#"{"models":[{"name":"other"},{"name":"m:1b"}]}"#);
        for model in ["m", "m:latest"] {
            let server = ollama(UNLOADED, &[ALONE, LOADED, GONE]).await;
            assert_eq!(server.client.unload(ServerKind::Ollama, model).await, Ok(true));
            let requests = server.requests();
            let paths: Vec<_> = requests.iter().map(|request| request.path.as_str()).collect();
            assert_eq!(paths, ["/api/generate", "/api/ps", "/api/ps", "/api/ps"]);
            let body: serde_json::Value = serde_json::from_str(&requests[0].body).expect("JSON");
            assert_eq!(body, json!({"model": model, "keep_alive": 0, "stream": false}));
        }
        // What cannot be asked is not waited for.
        let server = ollama(UNLOADED, &[(500, "")]).await;
        assert_eq!(server.client.unload(ServerKind::Ollama, "m").await, Ok(true));
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_servers_words() {
        let server = ollama((404, r#"{"error":"model 'm' not found"}"#), &[]).await;
        let failure = server.client.unload(ServerKind::Ollama, "m").await.expect_err("refused");
        assert_eq!(failure, RequestFailure::new(FailureKind::Http4xx, "404: model 'm' not found"));
        assert_eq!(server.asked(), ["/api/generate"]);
    }

    #[tokio::test]
    async fn a_server_that_cannot_be_told_is_not_asked() {
        let server = ollama(UNLOADED, &[]).await;
        assert_eq!(server.client.unload(ServerKind::Vllm, "m").await, Ok(false));
        assert!(server.asked().is_empty());
    }
}
