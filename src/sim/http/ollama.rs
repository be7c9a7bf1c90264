//! Ollama's native API: requests in, lines of JSON out, durations in nanoseconds.

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::answer::{Finish, Tally};
use super::super::profile::ModelCard;
use super::super::server::{Chunk, GenerateSpec};
use super::openai::{Message, chat_prompt, seed, token_limit};
use super::stream::{Headers, Render, collect, respond};
use super::{Desk, SimApi, error, refused};

/// No wall clock here: a client must not need the stamp.
const CREATED_AT: &str = "2026-01-01T00:00:00Z";
/// When the model is unloaded if it is never used; each use puts it off.
const EXPIRES_AT: Timestamp = Timestamp::constant(4_922_899_200, 0);
/// Bytes of the model's file; a figure to show, nothing follows from it.
const MODEL_BYTES: u64 = 4_000_000_000;

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Ask {
    model: String,
    prompt: String,
    messages: Vec<Message>,
    raw: bool,
    stream: bool,
    keep_alive: Value,
    options: Options,
}

impl Ask {
    /// Whether the model goes as soon as the request is answered.
    fn lets_go(&self) -> bool {
        self.keep_alive == 0 || self.keep_alive.as_str().is_some_and(|text| text.trim_end_matches('s') == "0")
    }
}

impl Default for Ask {
    fn default() -> Self {
        let options = Options::default();
        let (model, prompt, messages, keep_alive) = (String::new(), String::new(), Vec::new(), Value::Null);
        Self { model, prompt, messages, raw: false, stream: true, keep_alive, options }
    }
}

/// `ignore_eos` is not among them: the real server does not know it either.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    num_predict: Option<i64>,
    seed: Option<i64>,
}

pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route("/", get(|| async { "Ollama is running" }))
        .route("/api/version", get(version))
        .route("/api/tags", get(tags))
        .route("/api/ps", get(loaded))
        .route("/api/show", post(show))
        .route("/api/generate", post(|State(desk): State<Desk>, body: Bytes| generate(desk, body, false)))
        .route("/api/chat", post(|State(desk): State<Desk>, body: Bytes| generate(desk, body, true)))
}

async fn version(State(desk): State<Desk>) -> Response {
    super::json(&json!({ "version": desk.server.card().version }))
}

fn details(card: &ModelCard) -> Value {
    json!({
        "format": "gguf", "family": "simulated", "families": ["simulated"], "parameter_size": "4B",
        "quantization_level": card.quantization,
    })
}

async fn tags(State(desk): State<Desk>) -> Response {
    let card = desk.server.card();
    super::json(&json!({ "models": [{
        "name": card.name, "model": card.name, "size": MODEL_BYTES, "digest": card.digest,
        "modified_at": CREATED_AT, "details": details(&card), "capabilities": ["completion"],
    }]}))
}

async fn loaded(State(desk): State<Desk>) -> Response {
    let card = desk.server.card();
    // The real one sets it whenever the model falls idle, and not before.
    let fell_idle = desk.server.status().counters.fell_idle.unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the model's bytes")]
    let bytes_on_gpu = (MODEL_BYTES as f64 * desk.server.options().gpu_share.clamp(0.0, 1.0)) as u64;
    let expires_at = EXPIRES_AT.checked_add(fell_idle).unwrap_or(EXPIRES_AT);
    if !desk.server.is_loaded() {
        return super::json(&json!({ "models": [] }));
    }
    super::json(&json!({ "models": [{
        "name": card.name, "model": card.name, "size": MODEL_BYTES, "size_vram": bytes_on_gpu,
        "digest": card.digest, "context_length": card.context_per_slot, "expires_at": expires_at.to_string(),
        "details": details(&card),
    }]}))
}

async fn show(State(desk): State<Desk>, body: Bytes) -> Response {
    let card = desk.server.card();
    match parse(&body, &card) {
        Ok(_) => super::json(&json!({
            "details": details(&card), "capabilities": ["completion"], "modified_at": CREATED_AT,
            "parameters": "", "template": "{{ .Prompt }}",
            "model_info": {
                "general.architecture": "simulated", "simulated.context_length": card.context_per_slot,
            },
        })),
        Err(refusal) => *refusal,
    }
}

/// The request, where it is sound and names the model.
fn parse(body: &[u8], card: &ModelCard) -> Result<Ask, Box<Response>> {
    let ask: Ask = serde_json::from_slice(body)
        .map_err(|wrong| Box::new(error(SimApi::Ollama, StatusCode::BAD_REQUEST, "", &wrong.to_string())))?;
    // A name without a tag means the latest.
    if ask.model != card.name && format!("{}:latest", ask.model) != card.name {
        let message = format!("model '{}' not found", ask.model);
        return Err(Box::new(error(SimApi::Ollama, StatusCode::NOT_FOUND, "", &message)));
    }
    Ok(ask)
}

async fn generate(desk: Desk, body: Bytes, chat: bool) -> Response {
    let card = desk.server.card();
    let ask = match parse(&body, &card) {
        Ok(ask) => ask,
        Err(refusal) => return *refusal,
    };
    let lines = Lines::new(&card, chat);
    let prompt = if chat { chat_prompt(&ask.messages) } else { Some(ask.prompt.clone()).filter(|p| !p.is_empty()) };
    let Some(prompt) = prompt else {
        if ask.lets_go() {
            desk.server.unload().await;
            return super::json(&without_answer(&card, chat, "unload"));
        }
        desk.server.load().await;
        return super::json(&without_answer(&card, chat, "load"));
    };
    let templated = !chat && !ask.raw;
    let spec = GenerateSpec {
        prompt: if templated { format!("<start_of_turn>user\n{prompt}<end_of_turn>\n") } else { prompt },
        output_tokens: token_limit(ask.options.num_predict),
        ignore_eos: false,
        min_tokens: 0,
        cache_prompt: true,
        cache_salt: String::new(),
        seed: seed(ask.options.seed),
        cold_load: desk.server.load().await,
    };
    let answer = match desk.server.generate(&spec) {
        Ok(answer) => answer,
        Err(refusal) => return refused(SimApi::Ollama, refusal),
    };
    if ask.stream {
        return respond(answer, Headers::WithTheFirstToken, "application/x-ndjson", lines).await;
    }
    let Some((text, Chunk { tally, finish: Some(finish), .. })) = collect(answer).await else {
        return error(SimApi::Ollama, StatusCode::INTERNAL_SERVER_ERROR, "", "the answer was cut short");
    };
    let mut out = String::new();
    lines.done(&mut out, &text, finish, &tally);
    super::typed(super::JSON, out)
}

/// A request without a prompt loads or unloads the model and says so.
fn without_answer(card: &ModelCard, chat: bool, reason: &str) -> Value {
    let mut line = json!({ "model": card.name, "created_at": CREATED_AT, "done": true, "done_reason": reason });
    if let Some(members) = line.as_object_mut() {
        if chat {
            members.insert("message".to_owned(), json!({ "role": "assistant", "content": "" }));
        } else {
            members.insert("response".to_owned(), json!(""));
        }
    }
    line
}

/// Renders the lines of a stream.
struct Lines {
    before_text: String,
    after_text: &'static str,
}

impl Lines {
    fn new(card: &ModelCard, chat: bool) -> Self {
        let head = format!(r#"{{"model":{},"created_at":"{CREATED_AT}","#, Value::from(card.name.as_str()));
        if chat {
            Self { before_text: head + r#""message":{"role":"assistant","content":""#, after_text: r#""}"# }
        } else {
            Self { before_text: head + r#""response":""#, after_text: r#"""# }
        }
    }

    fn text(&self, out: &mut String, text: &str) {
        out.push_str(&self.before_text);
        // The words of an answer need no escaping.
        out.push_str(text);
        out.push_str(self.after_text);
    }

    fn done(&self, out: &mut String, text: &str, finish: Finish, tally: &Tally) {
        self.text(out, text);
        // Writing to a string cannot fail.
        let _ = write!(out, r#","done":true,"done_reason":"{}""#, finish.as_str());
        let total = tally.queue + tally.load + tally.prompt + tally.decode;
        for (name, value) in [
            ("total_duration", total.as_nanos()),
            ("load_duration", tally.load.as_nanos()),
            ("prompt_eval_count", u128::from(tally.prompt_tokens)),
            ("prompt_eval_duration", tally.prompt.as_nanos()),
            ("eval_count", u128::from(tally.output_tokens)),
            ("eval_duration", tally.decode.as_nanos()),
        ] {
            // Zeros are left out there.
            if value > 0 {
                let _ = write!(out, r#","{name}":{value}"#);
            }
        }
        out.push_str("}\n");
    }
}

impl Render for Lines {
    fn chunk(&mut self, chunk: &Chunk, out: &mut String) {
        self.text(out, &chunk.text);
        out.push_str(",\"done\":false}\n");
        if let Some(finish) = chunk.finish {
            self.done(out, "", finish, &chunk.tally);
        }
    }
}
