//! Finds out what server answers, and reads what it tells of itself.
//!
//! Cheap GETs, in the order in which one server is not taken for another: SGLang has an
//! Ollama-compatible layer, and llama.cpp answers `/v1/models` as anyone. Sources: the
//! servers' own documentation and route tables, as named at each.

use serde_json::Value;

use super::http::{Client, Probed};
use crate::domain::plan::Api;
use crate::domain::{FailureKind, RequestFailure, ServerIdentity, ServerKind};

/// A server that told who it is, and the API in which it is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct Identified {
    pub identity: ServerIdentity,
    /// Never `Auto`.
    pub api: Api,
}

/// Asks the server at hand. `model` is the one asked for; without it the server's first.
pub(super) async fn identify(client: &Client, model: Option<&str>) -> Result<Identified, RequestFailure> {
    if client.api() != Api::OpenAi {
        if let Some(identity) = ollama(client, model).await? {
            return Ok(Identified { identity, api: Api::Ollama });
        }
        if client.api() == Api::Ollama {
            return Err(RequestFailure::new(FailureKind::Protocol, "no Ollama answers at this address"));
        }
    }
    let models = Models::ask(client).await?;
    let identity = if let Some(identity) = llama_cpp(client, &models, model).await? {
        identity
    } else if let Some(identity) = vllm(client, &models, model).await? {
        identity
    } else if let Some(identity) = sglang(client, &models, model).await? {
        identity
    } else if let Some(identity) = tgi(client, &models, model).await? {
        identity
    } else if let Some(identity) = lm_studio(client, &models, model).await? {
        identity
    } else {
        models.identity(ServerKind::OpenAiCompatible, model)?
    };
    Ok(Identified { identity, api: Api::OpenAi })
}

/// Asks a path that the server need not have; `None` of anything else than JSON.
pub(super) async fn json(client: &Client, path: &str) -> Option<Value> {
    client.probe(path).await.ok().as_ref().and_then(parsed)
}

/// Asks a path that tells servers apart: one that fails there is not told apart at all, it is
/// not ready. A proxy before a server that restarts must not make it another server.
async fn telling(client: &Client, path: &str) -> Result<Probed, RequestFailure> {
    let probed = client.probe(path).await?;
    let kind = match probed.status {
        429 => FailureKind::RateLimited,
        500.. => FailureKind::Http5xx,
        _ => return Ok(probed),
    };
    let words = client.error_words(&probed.body);
    Err(RequestFailure::new(kind, format!("{path}: {}: {words}", probed.status)))
}

fn parsed(probed: &Probed) -> Option<Value> {
    serde_json::from_slice(&probed.body).ok().filter(|_| probed.succeeded())
}

/// The text at a path of members, not empty and of bounded length.
pub(super) fn text(value: &Value, path: &str) -> Option<String> {
    let text = value.pointer(path)?.as_str()?.trim();
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    (!text.is_empty()).then_some(text)
}

/// The count at a path of members; 0 is no count.
fn count(value: &Value, path: &str) -> Option<u32> {
    value.pointer(path)?.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|&n| n > 0)
}

pub(super) fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value.pointer(path).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// `GET /v1/models`, common to all that speak OpenAI's API.
struct Models {
    answer: Value,
    /// The `Server` header of the answer.
    server: String,
}

impl Models {
    async fn ask(client: &Client) -> Result<Self, RequestFailure> {
        let probed = telling(client, "/v1/models").await?;
        if matches!(probed.status, 401 | 403) {
            let words = client.error_words(&probed.body);
            let hint = "set targets[].api_key_file or api_key_env";
            return Err(RequestFailure::new(FailureKind::Http4xx, format!("{}: {words}; hint: {hint}", probed.status)));
        }
        Ok(Self { answer: parsed(&probed).unwrap_or(Value::Null), server: probed.server })
    }

    /// The entry of the model asked for, else the first.
    fn entry(&self, model: Option<&str>) -> Option<&Value> {
        let entries = list(&self.answer, "/data");
        let named = |entry: &&Value| model.is_some() && entry.get("id").and_then(Value::as_str) == model;
        entries.iter().find(named).or(entries.first())
    }

    fn is_owned_by(&self, owner: &str) -> bool {
        list(&self.answer, "/data").iter().any(|entry| text(entry, "/owned_by").as_deref() == Some(owner))
    }

    fn identity(&self, kind: ServerKind, model: Option<&str>) -> Result<ServerIdentity, RequestFailure> {
        let first = self.entry(None).and_then(|entry| text(entry, "/id"));
        let unnamed = || RequestFailure::new(FailureKind::Protocol, "the server names no model; set targets[].model");
        Ok(ServerIdentity::of(kind, model.map(str::to_owned).or(first).ok_or_else(unnamed)?))
    }
}

/// `/api/version` and the greeting at `/` (Ollama `server/routes.go`).
async fn ollama(client: &Client, model: Option<&str>) -> Result<Option<ServerIdentity>, RequestFailure> {
    let greeting = telling(client, "/").await?;
    if !greeting.body.starts_with(b"Ollama") {
        return Ok(None);
    }
    let Some(version) = json(client, "/api/version").await else { return Ok(None) };
    let tags = json(client, "/api/tags").await.unwrap_or(Value::Null);
    // A name without a tag means the latest.
    let asked = model.map(|name| if name.contains(':') { name.to_owned() } else { format!("{name}:latest") });
    let models = list(&tags, "/models");
    let entry = match &asked {
        Some(asked) => models.iter().find(|entry| text(entry, "/name").as_ref() == Some(asked)),
        None => models.first(),
    };
    let Some(entry) = entry else {
        let which = model.unwrap_or("any");
        return Err(RequestFailure::new(
            FailureKind::Http4xx,
            format!("Ollama has no model {which}; hint: ollama pull"),
        ));
    };
    let name = text(entry, "/name").unwrap_or_default();
    let loaded = json(client, "/api/ps").await.unwrap_or(Value::Null);
    let running = list(&loaded, "/models").iter().find(|entry| text(entry, "/name").as_ref() == Some(&name));
    Ok(Some(ServerIdentity {
        kind: ServerKind::Ollama,
        version: text(&version, "/version"),
        model: model.map_or(name, str::to_owned),
        model_digest: text(entry, "/digest"),
        model_file: None,
        quantization: text(entry, "/details/quantization_level"),
        // OLLAMA_NUM_PARALLEL is told nowhere.
        slots: None,
        context_per_slot: running.and_then(|entry| count(entry, "/context_length")),
        gpu_share: running.and_then(gpu_share),
    }))
}

/// How much of a loaded model of `/api/ps` is in the GPU's memory: of `size` bytes `size_vram`.
fn gpu_share(running: &Value) -> Option<f64> {
    let bytes = |path| running.pointer(path).and_then(Value::as_u64);
    let (whole, on_gpu) = (bytes("/size")?, bytes("/size_vram")?);
    (whole > 0 && on_gpu <= whole).then(|| on_gpu as f64 / whole as f64)
}

/// `/props` (llama.cpp `tools/server/README.md`); `n_ctx` there is of one slot.
async fn llama_cpp(
    client: &Client,
    models: &Models,
    model: Option<&str>,
) -> Result<Option<ServerIdentity>, RequestFailure> {
    if models.server != "llama.cpp" && !models.is_owned_by("llamacpp") {
        return Ok(None);
    }
    let props = json(client, "/props").await.unwrap_or(Value::Null);
    let meta = models.entry(model).and_then(|entry| entry.get("meta")).cloned().unwrap_or(Value::Null);
    let file = text(&props, "/model_path").and_then(|path| path.rsplit('/').next().map(str::to_owned));
    let bytes = meta.get("size").and_then(Value::as_u64);
    Ok(Some(ServerIdentity {
        version: text(&props, "/build_info"),
        // There is no digest of the file: its name and size must do.
        model_file: file.map(|file| bytes.map_or(file.clone(), |bytes| format!("{file}, {bytes} bytes"))),
        quantization: text(&meta, "/ftype"),
        slots: count(&props, "/total_slots"),
        context_per_slot: count(&props, "/default_generation_settings/n_ctx"),
        ..models.identity(ServerKind::LlamaCpp, model)?
    }))
}

/// `/version` (vLLM's API server); the slots (`max_num_seqs`) are told nowhere.
async fn vllm(client: &Client, models: &Models, model: Option<&str>) -> Result<Option<ServerIdentity>, RequestFailure> {
    if !models.is_owned_by("vllm") {
        return Ok(None);
    }
    let version = json(client, "/version").await.unwrap_or(Value::Null);
    let entry = models.entry(model).cloned().unwrap_or(Value::Null);
    Ok(Some(ServerIdentity {
        version: text(&version, "/version"),
        model_file: text(&entry, "/root"),
        context_per_slot: count(&entry, "/max_model_len"),
        ..models.identity(ServerKind::Vllm, model)?
    }))
}

/// `/get_model_info` and `/get_server_info`, `/server_info` since 2026 (SGLang's HTTP server).
async fn sglang(
    client: &Client,
    models: &Models,
    model: Option<&str>,
) -> Result<Option<ServerIdentity>, RequestFailure> {
    let Some(info) = json(client, "/get_model_info").await else { return Ok(None) };
    let Some(path) = text(&info, "/model_path") else { return Ok(None) };
    let server = match json(client, "/get_server_info").await {
        Some(server) => server,
        None => json(client, "/server_info").await.unwrap_or(Value::Null),
    };
    let entry = models.entry(model).cloned().unwrap_or(Value::Null);
    Ok(Some(ServerIdentity {
        version: text(&server, "/version"),
        model_file: Some(path),
        quantization: text(&server, "/quantization"),
        slots: count(&server, "/max_running_requests"),
        context_per_slot: count(&entry, "/max_model_len"),
        ..models.identity(ServerKind::Sglang, model)?
    }))
}

/// `/info` (TGI `router/src/lib.rs`); `max_concurrent_requests` refuses, it is no slot count.
async fn tgi(client: &Client, models: &Models, model: Option<&str>) -> Result<Option<ServerIdentity>, RequestFailure> {
    let Some(info) = json(client, "/info").await else { return Ok(None) };
    if info.get("max_concurrent_requests").is_none() {
        return Ok(None);
    }
    let served = text(&info, "/model_id");
    Ok(Some(ServerIdentity {
        version: text(&info, "/version"),
        model_digest: text(&info, "/model_sha"),
        model_file: served.clone(),
        context_per_slot: count(&info, "/max_total_tokens"),
        ..models.identity(ServerKind::Tgi, model.or(served.as_deref()))?
    }))
}

/// `/api/v0/models` (LM Studio's REST API).
async fn lm_studio(
    client: &Client,
    models: &Models,
    model: Option<&str>,
) -> Result<Option<ServerIdentity>, RequestFailure> {
    let Some(answer) = json(client, "/api/v0/models").await else { return Ok(None) };
    let entries = list(&answer, "/data");
    if !entries.iter().any(|entry| entry.get("compatibility_type").is_some()) {
        return Ok(None);
    }
    let identity = models.identity(ServerKind::LmStudio, model)?;
    let entry = entries.iter().find(|entry| text(entry, "/id").as_ref() == Some(&identity.model));
    // Newer releases tell here how many requests a loaded model works on.
    let newer = json(client, "/api/v1/models").await.unwrap_or(Value::Null);
    let instances = list(&newer, "/models").iter().flat_map(|entry| list(entry, "/loaded_instances"));
    let instance = instances.into_iter().find(|entry| text(entry, "/id").as_ref() == Some(&identity.model));
    Ok(Some(ServerIdentity {
        slots: instance.and_then(|entry| count(entry, "/config/parallel")),
        quantization: entry.and_then(|entry| text(entry, "/quantization")),
        context_per_slot: entry.and_then(|entry| count(entry, "/loaded_context_length")),
        ..identity
    }))
}

#[cfg(test)]
#[path = "identify_tests.rs"]
mod tests;
