//! Renders the body of a request for each API, with the additions that a server knows.
//!
//! Sources: Ollama `docs/api.md`; OpenAI's API reference; llama.cpp `tools/server/README.md`
//! (`ignore_eos`, `cache_prompt`); vLLM and SGLang protocol modules (`ignore_eos`,
//! `min_tokens`, `cache_salt`, `continuous_usage_stats`).

use serde_json::{Map, Value, json};

use crate::domain::plan::RequestPlan;
use crate::domain::{Endpoint, GenerateRequest, ServerKind};

/// How long Ollama keeps the model after a request; the same in every request.
///
/// Ollama's own default, 5 min, would unload the model in a longer pause. 30 min outlasts
/// every pause of a default schedule, which rests a second between samples and not at all
/// between cycles. After a longer one, such as a `cycle_interval` beyond it, the warm-up of
/// the next cell loads the model anew and enters no figure; with `warmup_requests: 0` that
/// cell's sample is rejected as `model_load`.
const OLLAMA_KEEP_ALIVE: &str = "30m";

/// A member that only some servers know: the first that goes when a server refuses a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addition {
    IgnoreEos,
    MinTokens,
    CachePrompt,
    CacheSalt,
    ContinuousUsage,
    StreamOptions,
    Seed,
    /// `max_tokens`; without it the newer `max_completion_tokens` is sent.
    MaxTokens,
}

impl Addition {
    pub const ALL: [Self; 8] = [
        Self::ContinuousUsage,
        Self::IgnoreEos,
        Self::MinTokens,
        Self::CachePrompt,
        Self::CacheSalt,
        Self::StreamOptions,
        Self::Seed,
        Self::MaxTokens,
    ];

    /// The member's name on the wire.
    pub const fn field(self) -> &'static str {
        match self {
            Self::IgnoreEos => "ignore_eos",
            Self::MinTokens => "min_tokens",
            Self::CachePrompt => "cache_prompt",
            Self::CacheSalt => "cache_salt",
            Self::ContinuousUsage => "continuous_usage_stats",
            Self::StreamOptions => "stream_options",
            Self::Seed => "seed",
            Self::MaxTokens => "max_tokens",
        }
    }
}

/// The additions that a server of that kind is sent, for that plan.
pub fn additions(kind: ServerKind, plan: &RequestPlan) -> Vec<Addition> {
    let forces_length = plan.ignore_eos && !matches!(kind, ServerKind::Tgi | ServerKind::LmStudio);
    let is_engine = matches!(kind, ServerKind::Vllm | ServerKind::Sglang);
    let wanted = |addition| match addition {
        Addition::IgnoreEos => forces_length,
        Addition::MinTokens => forces_length && is_engine,
        Addition::CachePrompt => plan.avoid_prefix_cache && kind == ServerKind::LlamaCpp,
        Addition::CacheSalt => plan.avoid_prefix_cache && is_engine,
        Addition::ContinuousUsage => is_engine,
        Addition::StreamOptions | Addition::Seed | Addition::MaxTokens => true,
    };
    Addition::ALL.into_iter().filter(|&addition| wanted(addition)).collect()
}

/// The path and body of a request in OpenAI's API.
pub fn openai(
    model: &str,
    request: &GenerateRequest,
    plan: &RequestPlan,
    additions: &[Addition],
) -> (&'static str, Vec<u8>) {
    let has = |addition| additions.contains(&addition);
    let mut body = Map::new();
    body.insert("model".to_owned(), model.into());
    let path = match plan.endpoint {
        Endpoint::Completions => {
            body.insert("prompt".to_owned(), request.prompt.as_str().into());
            "/v1/completions"
        }
        Endpoint::Chat => {
            body.insert("messages".to_owned(), json!([{"role": "user", "content": request.prompt}]));
            "/v1/chat/completions"
        }
    };
    body.insert("stream".to_owned(), true.into());
    body.insert("temperature".to_owned(), plan.temperature.into());
    let length = if has(Addition::MaxTokens) { "max_tokens" } else { "max_completion_tokens" };
    body.insert(length.to_owned(), request.output_tokens.into());
    let members = [
        (Addition::IgnoreEos, Value::from(true)),
        (Addition::MinTokens, request.output_tokens.into()),
        (Addition::CachePrompt, false.into()),
        (Addition::CacheSalt, format!("{:08x}{}", request.seed, request.prompt.len()).into()),
        (Addition::Seed, request.seed.into()),
    ];
    body.extend(
        members.into_iter().filter(|(addition, _)| has(*addition)).map(|(a, value)| (a.field().to_owned(), value)),
    );
    if has(Addition::StreamOptions) {
        let mut options = json!({"include_usage": true});
        if let (true, Some(options)) = (has(Addition::ContinuousUsage), options.as_object_mut()) {
            options.insert(Addition::ContinuousUsage.field().to_owned(), true.into());
        }
        body.insert(Addition::StreamOptions.field().to_owned(), options);
    }
    (path, Value::from(body).to_string().into_bytes())
}

/// The path and body of a request in Ollama's native API.
///
/// Load-time options (`num_ctx` and its kin) are never sent: a value that differs from the
/// loaded one makes Ollama load the model anew. Nor is `think`: a model that cannot think
/// refuses it. One that thinks by itself does so in the tokens that are counted.
pub fn ollama(model: &str, request: &GenerateRequest, plan: &RequestPlan) -> (&'static str, Vec<u8>) {
    let options = json!({"num_predict": request.output_tokens, "seed": request.seed, "temperature": plan.temperature});
    let (path, body) = match plan.endpoint {
        // Raw: no template puts a shared prefix before the unique one.
        Endpoint::Completions => (
            "/api/generate",
            json!({"model": model, "prompt": request.prompt, "raw": true, "stream": true, "keep_alive": OLLAMA_KEEP_ALIVE, "options": options}),
        ),
        Endpoint::Chat => (
            "/api/chat",
            json!({"model": model, "messages": [{"role": "user", "content": request.prompt}], "stream": true, "keep_alive": OLLAMA_KEEP_ALIVE, "options": options}),
        ),
    };
    (path, body.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> GenerateRequest {
        GenerateRequest { prompt: "a \"tale\"".to_owned(), output_tokens: 24, seed: 7 }
    }

    fn check(kind: ServerKind, plan: &RequestPlan, expected: &str) {
        let (_, body) = openai("m", &request(), plan, &additions(kind, plan));
        let expected: Value = serde_json::from_str(expected).expect("valid");
        assert_eq!(serde_json::from_slice::<Value>(&body).expect("valid"), expected);
    }

    #[test]
    fn each_kind_gets_the_additions_that_it_knows() {
        let plan = RequestPlan::default();
        check(
            ServerKind::LlamaCpp,
            &plan,
            r#"{"model":"m","prompt":"a \"tale\"","stream":true,"temperature":0.8,"max_tokens":24,"ignore_eos":true,
                "cache_prompt":false,"seed":7,"stream_options":{"include_usage":true}}"#,
        );
        check(
            ServerKind::Vllm,
            &RequestPlan { endpoint: Endpoint::Chat, ..plan.clone() },
            r#"{"model":"m","messages":[{"role":"user","content":"a \"tale\""}],"stream":true,"temperature":0.8,
                "max_tokens":24,"ignore_eos":true,"min_tokens":24,"cache_salt":"000000078","seed":7,
                "stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#,
        );
        check(
            ServerKind::Tgi,
            &plan,
            r#"{"model":"m","prompt":"a \"tale\"","stream":true,"temperature":0.8,"max_tokens":24,"seed":7,
                "stream_options":{"include_usage":true}}"#,
        );
    }

    #[test]
    fn a_cache_that_is_allowed_is_left_alone() {
        let plan = RequestPlan { avoid_prefix_cache: false, ..RequestPlan::default() };
        assert!(!additions(ServerKind::LlamaCpp, &plan).contains(&Addition::CachePrompt));
        assert!(!additions(ServerKind::Vllm, &plan).contains(&Addition::CacheSalt));
    }

    #[test]
    fn ollama_is_asked_natively() {
        let (path, body) = ollama("m", &request(), &RequestPlan::default());
        let body: Value = serde_json::from_slice(&body).expect("valid");
        assert_eq!(path, "/api/generate");
        assert_eq!(body["options"], json!({"num_predict": 24, "seed": 7, "temperature": 0.8}));
        assert_eq!((&body["raw"], &body["stream"]), (&json!(true), &json!(true)));
    }

    /// What Ollama compares with the loaded model, or keeps it by, must never differ between
    /// requests: `num_ctx` and all other members that it loads a model by are left out.
    #[test]
    fn a_warm_up_and_a_measurement_load_the_same_model_for_as_long() {
        for endpoint in [Endpoint::Completions, Endpoint::Chat] {
            let plan = RequestPlan { endpoint, ..RequestPlan::default() };
            let parsed = |output_tokens, seed| {
                let (_, body) = ollama("m", &GenerateRequest { output_tokens, seed, ..request() }, &plan);
                serde_json::from_slice::<Value>(&body).expect("valid")
            };
            let (mut warmup, mut measured) = (parsed(plan.warmup_tokens(), 1), parsed(plan.output_tokens, 2));
            for body in [&mut warmup, &mut measured] {
                assert_eq!(body["keep_alive"], json!("30m"));
                let options = body["options"].as_object_mut().expect("options");
                options.retain(|name, _| !["num_predict", "seed", "temperature"].contains(&name.as_str()));
                assert_eq!(options.len(), 0, "{options:?}");
                // A model that cannot think refuses to be told whether to.
                assert_eq!(body.get("think"), None);
            }
            assert_eq!(warmup, measured);
        }
    }
}
