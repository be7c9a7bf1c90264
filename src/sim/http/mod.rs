//! The simulated server's doors: the wire formats of real servers over one [`SimServer`].
//!
//! Each speaks as the real one does, its quirks included: when headers
//! are sent, where usage sits, what is refused. Streams are written by hand from parts
//! that are rendered once, for the measuring client runs on the same processors. Nothing
//! here decides about times: the queue model does.

mod ollama;
mod openai;
mod pages;
mod stream;

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue, SERVER};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};

use super::server::{Refusal, SimServer};
use crate::domain::ServerKind;

/// Which server's manners the simulation has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SimApi {
    #[default]
    LlamaCpp,
    /// The native API; the answer's length is an upper bound, whatever is asked.
    Ollama,
    Vllm,
    /// OpenAI's API and no more: fields that it does not know are refused.
    OpenAi,
}

impl SimApi {
    /// What a client should take it for.
    pub const fn kind(self) -> ServerKind {
        match self {
            Self::LlamaCpp => ServerKind::LlamaCpp,
            Self::Ollama => ServerKind::Ollama,
            Self::Vllm => ServerKind::Vllm,
            Self::OpenAi => ServerKind::OpenAiCompatible,
        }
    }
}

/// What every handler knows.
#[derive(Clone, Debug)]
struct Desk {
    server: SimServer,
    api: SimApi,
}

/// All routes of the server that `api` names.
pub fn router(server: SimServer, api: SimApi) -> Router {
    let desk = Desk { server, api };
    let routes = match api {
        SimApi::LlamaCpp => openai::routes().merge(pages::llama_cpp_routes()),
        SimApi::Ollama => ollama::routes(),
        SimApi::Vllm => openai::routes().merge(pages::vllm_routes()),
        SimApi::OpenAi => openai::routes().merge(pages::openai_routes()),
    };
    routes.layer(from_fn_with_state(desk.clone(), at_the_door)).with_state(desk)
}

/// Serves until `stop`; then answers under way break and the server is away.
pub async fn serve(
    listener: TcpListener,
    server: SimServer,
    api: SimApi,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let leaving = server.clone();
    let stopped = async move {
        stop.await;
        leaving.set_away(true);
    };
    let doorman = Doorman { listener, server: server.clone() };
    axum::serve(doorman, router(server, api)).with_graceful_shutdown(stopped).await
}

/// Sends small writes at once, and closes the connections that come while the server is away.
struct Doorman {
    listener: TcpListener,
    server: SimServer,
}

impl Listener for Doorman {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            // A stream that refuses the option is closed already.
            if !self.server.is_away() && stream.set_nodelay(true).is_ok() {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What holds for all routes: a server that is away serves none, and llama.cpp says its name.
async fn at_the_door(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    if desk.server.is_away() {
        return refused(desk.api, Refusal::Away);
    }
    let mut response = next.run(request).await;
    if desk.api == SimApi::LlamaCpp {
        response.headers_mut().insert(SERVER, HeaderValue::from_static("llama.cpp"));
    }
    response
}

const JSON: &str = "application/json";

fn typed(content_type: &'static str, body: impl IntoResponse) -> Response {
    let header: [(HeaderName, &'static str); 1] = [(CONTENT_TYPE, content_type)];
    (header, body).into_response()
}

fn json(value: &Value) -> Response {
    typed(JSON, value.to_string())
}

/// An error in the words of the API.
fn error(api: SimApi, status: StatusCode, kind: &str, message: &str) -> Response {
    let body = match api {
        SimApi::Ollama => serde_json::json!({ "error": message }),
        SimApi::LlamaCpp => {
            serde_json::json!({ "error": { "code": status.as_u16(), "message": message, "type": kind } })
        }
        SimApi::Vllm => serde_json::json!({
            "error": { "message": message, "type": kind, "param": null, "code": status.as_u16() }
        }),
        SimApi::OpenAi => {
            serde_json::json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
        }
    };
    (status, json(&body)).into_response()
}

fn refused(api: SimApi, refusal: Refusal) -> Response {
    match refusal {
        Refusal::Away => error(api, StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", "Loading model"),
        Refusal::InjectedFault => error(api, StatusCode::INTERNAL_SERVER_ERROR, "server_error", &refusal.to_string()),
        Refusal::PromptTooLong { prompt_tokens, context } if api == SimApi::LlamaCpp => {
            let body = serde_json::json!({ "error": {
                "code": 400, "message": refusal.to_string(), "type": "exceed_context_size_error",
                "n_prompt_tokens": prompt_tokens, "n_ctx": context,
            }});
            (StatusCode::BAD_REQUEST, json(&body)).into_response()
        }
        Refusal::PromptTooLong { .. } => {
            error(api, StatusCode::BAD_REQUEST, "invalid_request_error", &refusal.to_string())
        }
    }
}

#[cfg(test)]
mod tests;
