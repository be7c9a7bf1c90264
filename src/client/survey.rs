//! Which models a server offers, for a user who has yet to choose one.
//!
//! Asked when a configuration is written, never while something is measured.

use serde_json::Value;

use super::http::Client;
use super::identify::{Identified, json, list, text};
use crate::domain::ServerKind;
use crate::domain::plan::Api;

/// The most characters of a model's name.
const NAME_CHARACTERS: usize = 200;

/// A model that a server would answer with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub name: String,
    /// Whether it is in memory, where the server tells.
    pub is_loaded: bool,
    /// Whether it writes text, as far as can be told: one for embeddings does not.
    pub writes_text: bool,
}

/// The model to measure where the user named none: the first that writes text, rather one
/// that need not be loaded first.
pub fn choose(offers: &[Offer]) -> Option<&Offer> {
    let writers = || offers.iter().filter(|offer| offer.writes_text);
    writers().find(|offer| offer.is_loaded).or_else(|| writers().next()).or(offers.first())
}

impl Client {
    /// The models of a server that told who it is, in its own order; none where it lists none.
    pub async fn offers(&self, identified: &Identified) -> Vec<Offer> {
        let ask = async |path| json(self, path).await.unwrap_or(Value::Null);
        match (identified.api, identified.identity.kind) {
            (Api::Ollama, _) => ollama(&ask("/api/tags").await, &ask("/api/ps").await),
            (_, ServerKind::LmStudio) => lm_studio(&ask("/api/v0/models").await),
            _ => openai(&ask("/v1/models").await),
        }
    }

    /// The status with which the list of models answers, if anything does: it tells a wrong
    /// path from a wrong server.
    pub async fn models_status(&self) -> Option<u16> {
        self.probe("/v1/models").await.ok().map(|probed| probed.status)
    }
}

/// A name that can be sent back as it is.
fn name(entry: &Value, member: &str) -> Option<String> {
    let name = entry.get(member)?.as_str()?;
    let is_sound =
        !name.trim().is_empty() && name.chars().count() <= NAME_CHARACTERS && !name.contains(char::is_control);
    is_sound.then(|| name.to_owned())
}

/// The one sign of an embedding model that all servers share.
fn is_named_for_embeddings(name: &str) -> bool {
    name.to_lowercase().contains("embed")
}

/// `/api/tags` and `/api/ps` (Ollama `docs/api.md`). Newer ones tell capabilities; before,
/// the family did.
fn ollama(tags: &Value, running: &Value) -> Vec<Offer> {
    let running = list(running, "/models");
    let offer = |entry: &Value| {
        let name = name(entry, "name")?;
        let writes_text = match entry.get("capabilities").and_then(Value::as_array) {
            Some(capabilities) => capabilities.iter().any(|capability| capability == "completion"),
            None => !text(entry, "/details/family").is_some_and(|family| family.ends_with("bert")),
        };
        let is_loaded = running.iter().any(|entry| entry.get("name").and_then(Value::as_str) == Some(&name));
        Some(Offer { is_loaded, writes_text: writes_text && !is_named_for_embeddings(&name), name })
    };
    list(tags, "/models").iter().filter_map(offer).collect()
}

/// `/api/v0/models` (LM Studio's REST API).
fn lm_studio(models: &Value) -> Vec<Offer> {
    let offer = |entry: &Value| {
        let is = |member: &str, word: &str| entry.get(member).and_then(Value::as_str) == Some(word);
        let name = name(entry, "id")?;
        Some(Offer { is_loaded: is("state", "loaded"), writes_text: !is("type", "embeddings"), name })
    };
    list(models, "/data").iter().filter_map(offer).collect()
}

/// `/v1/models`, which tells no more than names.
fn openai(models: &Value) -> Vec<Offer> {
    let offer = |entry: &Value| {
        let name = name(entry, "id")?;
        Some(Offer { is_loaded: false, writes_text: !is_named_for_embeddings(&name), name })
    };
    list(models, "/data").iter().filter_map(offer).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::scripted::Scripted;
    use crate::domain::ServerIdentity;

    /// The names of offers, the chosen one marked.
    fn check(offers: &[Offer], expected: &[&str]) {
        let chosen = choose(offers);
        let shown = |offer: &Offer| format!("{}{}", if Some(offer) == chosen { ">" } else { "" }, offer.name);
        assert_eq!(offers.iter().map(shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn ollama_is_asked_for_what_is_loaded_and_writes_text() {
        let tags = json!({"models": [
            {"name": "nomic-embed-text:latest", "details": {"family": "nomic-bert"}},
            {"name": "all-minilm:latest", "details": {"family": "bert"}},
            {"name": "gemma3:4b", "details": {"family": "gemma3"}},
            {"name": "qwen3:8b", "capabilities": ["completion", "tools"]},
            {"name": "rank:1b", "capabilities": ["embedding"]},
        ]});
        let names = ["nomic-embed-text:latest", "all-minilm:latest", "gemma3:4b", "qwen3:8b", "rank:1b"];
        let chosen = |index: usize| {
            let mark = |(at, name): (usize, &&str)| format!("{}{name}", if at == index { ">" } else { "" });
            names.iter().enumerate().map(mark).collect::<Vec<_>>()
        };
        let check = |loaded: &Value, index: usize| {
            let expected = chosen(index);
            super::tests::check(&ollama(&tags, loaded), &expected.iter().map(String::as_str).collect::<Vec<_>>());
        };
        check(&Value::Null, 2);
        check(&json!({"models": [{"name": "qwen3:8b"}]}), 3);
        check(&json!({"models": [{"name": "all-minilm:latest"}]}), 2);
    }

    #[test]
    fn lm_studio_tells_what_a_model_is_for() {
        let models = json!({"data": [
            {"id": "vectors", "type": "embeddings", "state": "loaded"},
            {"id": "small", "type": "llm", "state": "not-loaded"},
            {"id": "large", "type": "vlm", "state": "loaded"},
        ]});
        check(&lm_studio(&models), &["vectors", "small", ">large"]);
    }

    #[test]
    fn a_name_that_cannot_be_sent_back_is_no_offer() {
        let long = "x".repeat(NAME_CHARACTERS + 1);
        let models =
            json!({"data": [{"id": "a\nb"}, {"id": " "}, {"id": 5}, {}, {"id": long}, {"id": "text-embedding-3"}]});
        check(&openai(&models), &[">text-embedding-3"]);
        check(&openai(&json!({"data": "none"})), &[]);
    }

    #[tokio::test]
    async fn each_server_is_asked_where_it_lists_its_models() {
        for (api, kind, list, page) in [
            (Api::Ollama, ServerKind::Ollama, "/api/tags", r#"{"models":[{"name":"m"}]}"#),
            (Api::OpenAi, ServerKind::LmStudio, "/api/v0/models", r#"{"data":[{"id":"m","type":"llm"}]}"#),
            (Api::OpenAi, ServerKind::Vllm, "/v1/models", r#"{"data":[{"id":"m"}]}"#),
        ] {
            let server = Scripted::start(move |path| if path == list { (200, page, 0) } else { (404, "no", 0) }).await;
            let identity = ServerIdentity::of(kind, "m");
            check(&server.client.offers(&Identified { identity, api }).await, &[">m"]);
            assert_eq!(server.asked()[0], list);
        }
    }

    #[tokio::test]
    async fn the_status_of_the_list_tells_a_wrong_path() {
        let server = Scripted::start(|path| if path == "/v1/models" { (404, "no", 0) } else { (200, "", 0) }).await;
        assert_eq!(server.client.models_status().await, Some(404));
    }

    #[test]
    fn one_that_writes_no_text_is_chosen_only_where_there_is_no_other() {
        check(&openai(&json!({"data": [{"id": "text-embedding-3"}, {"id": "m"}]})), &["text-embedding-3", ">m"]);
        let told = |name: &str, capability: &str| json!({"name": name, "capabilities": [capability]});
        let tags = json!({"models": [told("rank", "embedding"), told("q", "completion")]});
        check(&ollama(&tags, &Value::Null), &["rank", ">q"]);
    }

    #[test]
    fn a_model_is_loaded_where_the_server_says_so() {
        let loaded = |offers: Vec<Offer>| offers.iter().map(|offer| offer.is_loaded).collect::<Vec<_>>();
        let tags = json!({"models": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(loaded(ollama(&tags, &json!({"models": [{"name": "b"}]}))), [false, true]);
        let models = json!({"data": [{"id": "a", "state": "loaded"}, {"id": "b"}]});
        assert_eq!(loaded(lm_studio(&models)), [true, false]);
        assert_eq!(loaded(openai(&models)), [false, false]);
    }
}
