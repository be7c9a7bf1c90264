//! The pages beside the answers: identity, health, slots, counters.

use std::fmt::{Display, Write};

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::super::profile::ModelCard;
use super::super::server::Status;
use super::{Desk, typed};

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4";

pub(super) fn llama_cpp_routes() -> Router<Desk> {
    Router::new()
        .route("/health", get(|| async { super::json(&json!({ "status": "ok" })) }))
        .route("/props", get(props))
        .route("/slots", get(slots))
        .route("/v1/models", get(llama_cpp_models))
        .route("/metrics", get(llama_cpp_metrics))
}

pub(super) fn vllm_routes() -> Router<Desk> {
    Router::new()
        .route("/health", get(|| async {}))
        .route("/version", get(version))
        .route("/v1/models", get(vllm_models))
        .route("/metrics", get(vllm_metrics))
}

pub(super) fn openai_routes() -> Router<Desk> {
    Router::new().route("/v1/models", get(openai_models))
}

/// The only place where llama.cpp shows a quantisation is the file's name.
fn model_path(card: &ModelCard) -> String {
    format!("/models/{}-{}.gguf", card.name.replace(':', "-"), card.quantization)
}

async fn props(State(desk): State<Desk>) -> Response {
    let card = desk.server.card();
    super::json(&json!({
        "build_info": card.version,
        "model_path": model_path(&card),
        "total_slots": desk.server.slots(),
        "default_generation_settings": { "n_ctx": card.context_per_slot },
        "chat_template": "",
        "modalities": { "vision": false, "audio": false },
    }))
}

async fn slots(State(desk): State<Desk>) -> Response {
    let context = desk.server.card().context_per_slot;
    let slots: Vec<Value> = (0_u32..)
        .zip(desk.server.status().slots)
        .map(|(id, decoded)| {
            json!({
                "id": id, "n_ctx": context, "is_processing": decoded.is_some(),
                "next_token": [{ "n_decoded": decoded.unwrap_or_default() }],
            })
        })
        .collect();
    super::json(&Value::from(slots))
}

async fn version(State(desk): State<Desk>) -> Response {
    super::json(&json!({ "version": desk.server.card().version }))
}

fn models(model: &Value) -> Response {
    super::json(&json!({ "object": "list", "data": [model] }))
}

async fn llama_cpp_models(State(desk): State<Desk>) -> Response {
    let card = desk.server.card();
    models(&json!({
        "id": card.name, "object": "model", "created": 1, "owned_by": "llamacpp",
        "meta": {
            "vocab_type": 1, "n_vocab": 262_144, "n_ctx_train": card.context_per_slot, "n_embd": 2_560,
            "n_params": 3_880_263_168_u64, "size": 4_000_000_000_u64,
        },
    }))
}

async fn vllm_models(State(desk): State<Desk>) -> Response {
    let card = desk.server.card();
    models(&json!({
        "id": card.name, "object": "model", "created": 1, "owned_by": "vllm", "root": card.name, "parent": null,
        "max_model_len": card.context_per_slot,
    }))
}

async fn openai_models(State(desk): State<Desk>) -> Response {
    models(&json!({ "id": desk.server.card().name, "object": "model", "created": 1, "owned_by": "simulated" }))
}

/// One family of Prometheus' text format.
fn family(out: &mut String, name: &str, labels: &str, kind: &str, help: &str, value: impl Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{labels} {value}");
}

/// A number as C++ streams print it, and so llama.cpp: six digits, and an exponent from a
/// million on.
pub(super) fn six_digits(value: f64) -> String {
    let scientific = format!("{value:.5e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>().unwrap_or_default() {
        exponent @ 6.. => format!("{}e+{exponent:02}", digits.trim_end_matches('0').trim_end_matches('.')),
        // What is left is told to six digits by the shortest form of the rounded value.
        _ => scientific.parse::<f64>().unwrap_or(value).to_string(),
    }
}

async fn llama_cpp_metrics(State(desk): State<Desk>) -> Response {
    let Status { counters: c, .. } = desk.server.status();
    let mut out = String::new();
    for (name, kind, help, value) in [
        ("prompt_tokens_total", "counter", "Number of prompt tokens processed.", c.prompt_tokens_total as f64),
        ("prompt_seconds_total", "counter", "Prompt process time", c.prompt_seconds_total),
        (
            "tokens_predicted_total",
            "counter",
            "Number of generation tokens processed.",
            c.tokens_predicted_total as f64,
        ),
        ("tokens_predicted_seconds_total", "counter", "Predict process time", c.tokens_predicted_seconds_total),
        ("n_decode_total", "counter", "Total number of llama_decode() calls", c.decode_calls_total as f64),
        (
            "n_busy_slots_per_decode",
            "gauge",
            "Average number of busy slots per llama_decode() call",
            c.busy_slots_per_decode(),
        ),
        ("requests_processing", "gauge", "Number of requests processing.", f64::from(c.requests_processing)),
        ("requests_deferred", "gauge", "Number of requests deferred.", f64::from(c.requests_deferred)),
    ] {
        family(&mut out, &format!("llamacpp:{name}"), "", kind, help, six_digits(value));
    }
    typed(PROMETHEUS_TEXT, out)
}

async fn vllm_metrics(State(desk): State<Desk>) -> Response {
    let status = desk.server.status();
    let c = status.counters;
    let model = Value::from(desk.server.card().name);
    let labels = format!(r#"{{engine="0",model_name={model}}}"#);
    let busy = f64::from(c.requests_processing) / status.slots.len().max(1) as f64;
    let mut out = String::new();
    for (name, kind, help, value) in [
        (
            "num_requests_running",
            "gauge",
            "Number of requests in model execution batches.",
            f64::from(c.requests_processing),
        ),
        (
            "num_requests_waiting",
            "gauge",
            "Number of requests waiting to be processed.",
            f64::from(c.requests_deferred),
        ),
        ("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", busy),
        ("prompt_tokens_total", "counter", "Number of prefill tokens processed.", c.prompt_tokens_total as f64),
        (
            "generation_tokens_total",
            "counter",
            "Number of generation tokens processed.",
            // Unlike llama.cpp it counts them as they come.
            status.decoded_tokens() as f64,
        ),
    ] {
        family(&mut out, &format!("vllm:{name}"), &labels, kind, help, value);
    }
    let name = "vllm:request_success_total";
    let _ = writeln!(out, "# HELP {name} Count of successfully processed requests.\n# TYPE {name} counter");
    for (reason, count) in [("stop", c.finished_by_stop_total), ("length", c.finished_by_length_total)] {
        let _ = writeln!(out, r#"{name}{{engine="0",finished_reason="{reason}",model_name={model}}} {count}"#);
    }
    typed(PROMETHEUS_TEXT, out)
}
