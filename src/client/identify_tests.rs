//! What each kind of server is taken for, and what is read of it.

use super::*;
use crate::client::scripted::Scripted;

/// Pages of a server; all others are 404.
type Pages = &'static [(&'static str, &'static str)];

/// Who a server with those pages is.
async fn identified(
    api: Api,
    name: &'static str,
    pages: Pages,
    model: Option<&str>,
) -> Result<Identified, RequestFailure> {
    let page = move |path: &str, _: &str| match pages.iter().find(|(known, _)| *known == path) {
        Some((_, body)) => (200, *body, 0),
        None => (404, "no such page", 0),
    };
    Scripted::start_as(api, name, page).await.client.identify(model).await
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

async fn check(name: &'static str, pages: Pages, expected: ServerIdentity) {
    for api in [Api::Auto, Api::OpenAi] {
        let seen = identified(api, name, pages, None).await.expect("an identity");
        assert_eq!(seen, Identified { identity: expected.clone(), api: Api::OpenAi });
    }
}

const LLAMA_CPP: Pages = &[
    ("/v1/models", r#"{"data":[{"id":"q.gguf","owned_by":"llamacpp","meta":{"size":4096,"ftype":"Q4_K"}}]}"#),
    (
        "/props",
        r#"{"build_info":"b7000","model_path":"/models/q.gguf","total_slots":4,"default_generation_settings":{"n_ctx":2048}}"#,
    ),
];

#[tokio::test]
async fn llama_cpp_tells_its_file_and_slots() {
    let expected = ServerIdentity {
        version: some("b7000"),
        model_file: some("q.gguf, 4096 bytes"),
        quantization: some("Q4_K"),
        slots: Some(4),
        context_per_slot: Some(2048),
        ..ServerIdentity::of(ServerKind::LlamaCpp, "q.gguf")
    };
    check("", LLAMA_CPP, expected).await;
    // Its header alone is enough, and a size is not needed.
    let pages: Pages = &[("/v1/models", r#"{"data":[{"id":"q"}]}"#), ("/props", r#"{"model_path":"q.gguf"}"#)];
    let expected = ServerIdentity { model_file: some("q.gguf"), ..ServerIdentity::of(ServerKind::LlamaCpp, "q") };
    check("llama.cpp", pages, expected).await;
}

#[tokio::test]
async fn vllm_tells_the_length_of_its_context() {
    let pages: Pages = &[
        ("/v1/models", r#"{"data":[{"id":"m","owned_by":"vllm","root":"org/m","max_model_len":8192}]}"#),
        ("/version", r#"{"version":"0.12.0"}"#),
    ];
    let expected = ServerIdentity {
        version: some("0.12.0"),
        model_file: some("org/m"),
        context_per_slot: Some(8192),
        ..ServerIdentity::of(ServerKind::Vllm, "m")
    };
    check("uvicorn", pages, expected).await;
}

const SGLANG_MODELS: (&str, &str) = ("/v1/models", r#"{"data":[{"id":"m","owned_by":"sglang","max_model_len":4096}]}"#);
const SGLANG_MODEL: (&str, &str) = ("/get_model_info", r#"{"model_path":"org/m"}"#);
const SGLANG_SERVER: &str = r#"{"version":"0.5.9","quantization":"fp8","max_running_requests":48}"#;

#[tokio::test]
async fn sglang_tells_its_slots_at_the_old_path_and_at_the_new_one() {
    const OLD: Pages = &[SGLANG_MODELS, SGLANG_MODEL, ("/get_server_info", SGLANG_SERVER)];
    const NEW: Pages = &[SGLANG_MODELS, SGLANG_MODEL, ("/server_info", SGLANG_SERVER)];
    for pages in [OLD, NEW] {
        let expected = ServerIdentity {
            version: some("0.5.9"),
            model_file: some("org/m"),
            quantization: some("fp8"),
            slots: Some(48),
            context_per_slot: Some(4096),
            ..ServerIdentity::of(ServerKind::Sglang, "m")
        };
        check("uvicorn", pages, expected).await;
    }
}

#[tokio::test]
async fn tgi_names_its_model_itself() {
    const MODELS: (&str, &str) = ("/v1/models", r#"{"data":[{"id":"first"}]}"#);
    const TGI: Pages = &[
        MODELS,
        (
            "/info",
            r#"{"model_id":"org/m","model_sha":"abc","version":"3.3.6","max_concurrent_requests":128,"max_total_tokens":4096}"#,
        ),
    ];
    let expected = ServerIdentity {
        version: some("3.3.6"),
        model_digest: some("abc"),
        model_file: some("org/m"),
        context_per_slot: Some(4096),
        ..ServerIdentity::of(ServerKind::Tgi, "org/m")
    };
    check("", TGI, expected).await;
    // A page of that name is nothing of its own.
    const OTHER: Pages = &[MODELS, ("/info", r#"{"model_id":"org/m"}"#)];
    check("", OTHER, ServerIdentity::of(ServerKind::OpenAiCompatible, "first")).await;
}

#[tokio::test]
async fn lm_studio_is_told_by_the_kind_of_its_files() {
    const MODELS: (&str, &str) = ("/v1/models", r#"{"data":[{"id":"m"}]}"#);
    const STUDIO: Pages = &[
        MODELS,
        (
            "/api/v0/models",
            r#"{"data":[{"id":"x","quantization":"Q8"},{"id":"m","compatibility_type":"gguf","quantization":"Q4","loaded_context_length":512}]}"#,
        ),
    ];
    let expected = ServerIdentity {
        quantization: some("Q4"),
        context_per_slot: Some(512),
        ..ServerIdentity::of(ServerKind::LmStudio, "m")
    };
    check("", STUDIO, expected).await;
    const OTHER: Pages = &[MODELS, ("/api/v0/models", r#"{"data":[{"id":"m"}]}"#)];
    check("", OTHER, ServerIdentity::of(ServerKind::OpenAiCompatible, "m")).await;
}

#[tokio::test]
async fn the_model_that_is_asked_for_is_looked_at() {
    let pages: Pages =
        &[("/v1/models", r#"{"data":[{"id":"a","owned_by":"vllm","max_model_len":1},{"id":"b","max_model_len":2}]}"#)];
    for (model, context) in [("a", 1), ("b", 2), ("c", 1)] {
        let seen = identified(Api::OpenAi, "", pages, Some(model)).await.expect("an identity").identity;
        assert_eq!((seen.model.as_str(), seen.context_per_slot), (model, Some(context)));
    }
}

const OLLAMA: Pages = &[
    ("/", "Ollama is running"),
    ("/api/version", r#"{"version":"0.13.0"}"#),
    (
        "/api/tags",
        r#"{"models":[{"name":"a:latest","digest":"aa","details":{"quantization_level":"Q4"}},{"name":"b:1b","digest":"bb"}]}"#,
    ),
    ("/api/ps", r#"{"models":[{"name":"z"},{"name":"a:latest","context_length":4096,"size":8,"size_vram":4}]}"#),
];

#[tokio::test]
async fn ollama_tells_of_the_model_that_is_asked_for_or_of_its_first() {
    let first = ServerIdentity {
        version: some("0.13.0"),
        model_digest: some("aa"),
        quantization: some("Q4"),
        context_per_slot: Some(4096),
        gpu_share: Some(0.5),
        ..ServerIdentity::of(ServerKind::Ollama, "a:latest")
    };
    let second = ServerIdentity {
        version: some("0.13.0"),
        model_digest: some("bb"),
        ..ServerIdentity::of(ServerKind::Ollama, "b:1b")
    };
    // A name without a tag stays as it was given.
    let untagged = ServerIdentity { model: "a".to_owned(), ..first.clone() };
    for (model, expected) in [(None, first), (Some("a"), untagged), (Some("b:1b"), second)] {
        for api in [Api::Auto, Api::Ollama] {
            let seen = identified(api, "", OLLAMA, model).await.expect("an identity");
            assert_eq!(seen, Identified { identity: expected.clone(), api: Api::Ollama });
        }
    }
}

/// The failure of a server with those pages, of which the words tell the cause.
async fn check_failure(api: Api, pages: Pages, model: Option<&str>, kind: FailureKind, words: &str) {
    let failure = identified(api, "", pages, model).await.expect_err("no identity");
    assert_eq!(failure.kind, kind, "{failure}");
    assert!(failure.detail.contains(words), "{failure}");
}

#[tokio::test]
async fn who_cannot_be_spoken_to_is_told() {
    check_failure(Api::Auto, OLLAMA, Some("b"), FailureKind::Http4xx, "no model b;").await;
    check_failure(Api::Ollama, LLAMA_CPP, None, FailureKind::Protocol, "no Ollama answers").await;
    check_failure(Api::Ollama, &[("/", "Ollama is running")], None, FailureKind::Protocol, "no Ollama answers").await;
    check_failure(Api::OpenAi, &[("/v1/models", r#"{"data":[]}"#)], None, FailureKind::Protocol, "names no model")
        .await;
    // One that hides its models is measured by the name that is given.
    let seen = identified(Api::OpenAi, "", &[], Some("m")).await.expect("an identity").identity;
    assert_eq!(seen, ServerIdentity::of(ServerKind::OpenAiCompatible, "m"));
}

#[tokio::test]
async fn a_server_that_is_not_ready_is_taken_for_no_other() {
    for (status, kind, words) in [
        (500, FailureKind::Http5xx, "/v1/models: 500: wait"),
        (503, FailureKind::Http5xx, "/v1/models: 503: wait"),
        (429, FailureKind::RateLimited, "/v1/models: 429: wait"),
        (401, FailureKind::Http4xx, "401: wait; hint: set targets[].api_key_file"),
        (403, FailureKind::Http4xx, "403: wait; hint: set targets[].api_key_file"),
    ] {
        let failure =
            Scripted::start(move |_| (status, r#"{"error":"wait"}"#, 0)).await.client.identify(Some("m")).await;
        let failure = failure.expect_err("no identity");
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.detail.starts_with(words), "{failure}");
    }
}

#[test]
fn texts_are_bounded_and_of_one_line() {
    let value = serde_json::json!({"a": {"b": " x\ny "}, "blank": " ", "count": 7, "long": "é".repeat(300)});
    assert_eq!(text(&value, "/a/b").as_deref(), Some("xy"));
    assert_eq!(text(&value, "/long").map(|text| text.chars().count()), Some(200));
    for path in ["/a", "/blank", "/count", "/nothing"] {
        assert_eq!(text(&value, path), None, "{path}");
    }
}

#[test]
fn a_count_of_nothing_is_none() {
    let value = serde_json::json!([1, 0, -1, 1.5, 4_294_967_295_u64, 4_294_967_296_u64, "1"]);
    let counts: Vec<_> = (0..7).map(|index| count(&value, &format!("/{index}"))).collect();
    assert_eq!(counts, [Some(1), None, None, None, Some(u32::MAX), None, None]);
}

#[test]
fn the_share_on_the_gpu_is_told_or_unknown() {
    let check = |running: &str, expected: Option<f64>| {
        assert_eq!(gpu_share(&serde_json::from_str(running).expect("JSON")), expected, "{running}");
    };
    check(r#"{"size":4000,"size_vram":4000}"#, Some(1.0));
    check(r#"{"size":4000,"size_vram":2500}"#, Some(0.625));
    check(r#"{"size":4000,"size_vram":0}"#, Some(0.0));
    for unsound in [
        r#"{"size":0,"size_vram":0}"#,
        r#"{"size":4000}"#,
        r#"{"size":4000,"size_vram":4001}"#,
        r#"{"size":"4000","size_vram":-1}"#,
    ] {
        check(unsound, None);
    }
}
