//! When the connection of a request was ready: a request is stamped as sent only then.
//!
//! A request that finds no open connection makes one first, and sets up TCP and TLS on it. That
//! is no work of the server on the request, so no part of its time to first token. No connection
//! is opened before its request: llama.cpp keeps a thread busy for each, and idle ones would keep
//! requests waiting.

use std::cell::Cell;
use std::future::Future;

use reqwest::{RequestBuilder, Response};
use tokio::time::Instant;

tokio::task_local! {
    /// When the connection was ready that the request of this task had to wait for.
    static READY: Cell<Option<Instant>>;
}

/// What the HTTP client's connector does when it opens a connection: the last thing is to note
/// that it is ready.
pub(super) async fn noted<T, E>(connecting: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let connection = connecting.await?;
    // Not where the request found another connection meanwhile: this one is then for the pool.
    let _ = READY.try_with(|ready| ready.set(Some(Instant::now())));
    Ok(connection)
}

/// Sends a request and waits for the head of its answer. The time is when the connection was
/// ready, where one had to be opened.
pub(super) async fn send(request: RequestBuilder) -> (reqwest::Result<Response>, Option<Instant>) {
    let sending = async {
        let response = request.send().await;
        (response, READY.with(Cell::get))
    };
    READY.scope(Cell::new(None), sending).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::time::sleep;

    use super::*;
    use crate::client::Client;
    use crate::domain::plan::Connection;

    #[tokio::test(start_paused = true)]
    async fn what_opens_a_connection_notes_when_it_is_ready() {
        let began = Instant::now();
        let connecting = async {
            sleep(Duration::from_millis(70)).await;
            Ok::<_, ()>(())
        };
        let ready = READY.scope(Cell::new(None), async {
            noted(connecting).await.expect("connects");
            sleep(Duration::from_millis(5)).await;
            READY.with(Cell::get)
        });
        assert_eq!(ready.await, Some(began + Duration::from_millis(70)));
    }

    /// Sends two requests one after the other, and says which of them waited for a connection.
    async fn waited(alone: bool) -> [bool; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = axum::Router::new().fallback(async || "an answer");
        tokio::spawn(async move { axum::serve(listener, app).await });
        let client = Client::new(&Connection { url, ..Connection::default() }).expect("a client");
        let mut waited = [false; 2];
        for waited in &mut waited {
            let body = br#"{"model": "m", "prompt": "a tale", "stream": true, "max_tokens": 2}"#.to_vec();
            let began = Instant::now();
            let (response, ready) = send(client.post("/v1/completions", body, alone)).await;
            response.expect("an answer").bytes().await.expect("a body");
            assert!(ready.is_none_or(|ready| ready > began && ready < Instant::now()), "{ready:?}");
            *waited = ready.is_some();
            // The connection goes back to the pool.
            sleep(Duration::from_millis(50)).await;
        }
        waited
    }

    #[tokio::test]
    async fn a_request_waits_for_a_connection_only_where_none_is_open() {
        assert_eq!(waited(false).await, [true, false]);
        assert_eq!(waited(true).await, [true, true]);
    }
}
