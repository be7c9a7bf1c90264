//! What each page tells, and which doors are knocked on.

use std::time::Duration;

use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;
use crate::client::scripted::Scripted;
use crate::domain::plan::{Api, Connection};

const DOORS: [Door; 8] = [
    Door::LlamaCppMetrics,
    Door::LlamaCppSlots,
    Door::VllmMetrics,
    Door::SglangLoads,
    Door::SglangLoad,
    Door::SglangMetrics,
    Door::TgiMetrics,
    Door::OllamaLoaded,
];

fn check(door: Door, page: &str, expected: impl Into<Option<Occupancy>>) {
    assert_eq!(door.read(page.as_bytes()), expected.into(), "{door:?}: {page}");
}

#[test]
fn llama_cpp_tells_those_that_work_and_those_that_wait() {
    let page = "# HELP llamacpp:tokens_predicted_total Number of generation tokens processed\n\
                # TYPE llamacpp:tokens_predicted_total counter\n\
                llamacpp:tokens_predicted_total 648\n\
                # HELP llamacpp:requests_processing Number of requests processing\n\
                # TYPE llamacpp:requests_processing gauge\n\
                llamacpp:requests_processing 4\n\
                # HELP llamacpp:requests_deferred Number of requests deferred\n\
                # TYPE llamacpp:requests_deferred gauge\n\
                llamacpp:requests_deferred 2\n";
    check(Door::LlamaCppMetrics, page, told(Some(6), Some(exactly(648, false))));
    let slots = r#"[{"id":0,"n_ctx":512,"is_processing":true},{"id":1,"n_ctx":512,"is_processing":false},
                    {"id":2,"is_processing":true,"params":{"seed":7},"next_token":[{"n_decoded":3}]}]"#;
    check(Door::LlamaCppSlots, slots, told(Some(2), None));
}

#[test]
fn what_is_told_is_what_is_written() {
    let page = b"vllm:num_requests_running 3\nvllm:generation_tokens_total 70\n";
    let told = Door::VllmMetrics.read(page).expect("a page of vLLM");
    let output_tokens = Some(TokenCounter { total: 70, uncertainty: 0, is_live: true });
    assert_eq!(told, Occupancy { requests: Some(3), output_tokens, uses: BTreeMap::new() });
}

#[test]
fn llama_cpp_rounds_what_has_more_than_six_digits() {
    let read = |total: &str| {
        let page = format!("llamacpp:tokens_predicted_total {total}\n");
        Door::LlamaCppMetrics.read(page.as_bytes()).and_then(|told| told.output_tokens)
    };
    let counter = |total, uncertainty| Some(TokenCounter { total, uncertainty, is_live: false });
    assert_eq!(read("0"), counter(0, 0));
    assert_eq!(read("999999"), counter(999_999, 0));
    assert_eq!(read("1.23457e+06"), counter(1_234_570, 5));
    assert_eq!(read("4.2e+08"), counter(420_000_000, 500));
}

#[test]
fn vllm_is_summed_over_its_engines() {
    let page = "vllm:num_requests_running{engine=\"0\",model_name=\"m\"} 3.0\n\
                vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 4.0\n\
                vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 2.0\n\
                vllm:num_requests_waiting_by_reason{engine=\"0\",model_name=\"m\",reason=\"capacity\"} 2.0\n\
                vllm:generation_tokens_total{engine=\"0\",model_name=\"m\"} 1.234567e+06\n\
                vllm:generation_tokens_created{engine=\"0\",model_name=\"m\"} 1.7e+09\n";
    check(Door::VllmMetrics, page, told(Some(9), Some(exactly(1_234_567, true))));
}

#[test]
fn sglang_is_summed_over_its_ranks() {
    let loads = r#"{"timestamp":"2026-01-12T10:30:00+00:00","version":"0.5.9","loads":[
        {"dp_rank":0,"num_running_reqs":5,"num_waiting_reqs":2,"num_used_tokens":900},
        {"dp_rank":1,"num_running_reqs":1,"num_waiting_reqs":0,"num_used_tokens":40}]}"#;
    check(Door::SglangLoads, loads, told(Some(8), None));
    let load = r#"[{"dp_rank":0,"num_reqs":7,"num_waiting_reqs":2,"num_tokens":900,"ts_tic":12.5}]"#;
    check(Door::SglangLoad, load, told(Some(7), None));
    for prefix in ["sglang:", "sglang_"] {
        let page = format!(
            "{prefix}num_running_reqs{{model_name=\"m\"}} 9.0\n{prefix}generation_tokens_total{{model_name=\"m\"}} 7.557572e+06\n"
        );
        check(Door::SglangMetrics, &page, told(None, Some(exactly(7_557_572, false))));
    }
}

#[test]
fn tgi_tells_its_batch_and_its_queue() {
    let page = "# TYPE tgi_queue_size gauge\ntgi_queue_size 3\n\n# TYPE tgi_batch_current_size gauge\n\
                tgi_batch_current_size 8\n\n# TYPE tgi_request_generated_tokens histogram\n\
                tgi_request_generated_tokens_bucket{le=\"1\"} 0\ntgi_request_generated_tokens_sum 8123\n\
                tgi_request_generated_tokens_count 44\n";
    check(Door::TgiMetrics, page, told(Some(11), Some(exactly(8_123, false))));
}

#[test]
fn ollama_tells_when_its_models_expire() {
    let page = r#"{"models":[{"name":"gemma3:4b","size":1,"expires_at":"2026-11-24T17:05:01.1+03:00"},
                             {"name":"nameless"},{"expires_at":"2026-11-24T17:05:01Z"}]}"#;
    let uses = BTreeMap::from([("gemma3:4b".to_owned(), "2026-11-24T17:05:01.1+03:00".to_owned())]);
    check(Door::OllamaLoaded, page, Occupancy { uses, ..Occupancy::default() });
    check(Door::OllamaLoaded, r#"{"models":[]}"#, Occupancy::default());
}

#[test]
fn a_page_of_another_kind_tells_nothing() {
    for door in DOORS {
        for page in ["", "<html>", "{}", "[]", "null", r#"{"loads":[{}]}"#, "[{}]", "up 1\n", r#"[{"num_reqs":-1}]"#] {
            check(door, page, None);
        }
    }
    let wild = "llamacpp:requests_processing 5e9\nvllm:num_requests_running -1\ntgi_batch_current_size NaN\n";
    for door in [Door::LlamaCppMetrics, Door::VllmMetrics, Door::TgiMetrics] {
        check(door, wild, None);
    }
    let endless = format!(r#"{{"loads":[{{"num_running_reqs":{0},"num_waiting_reqs":{0}}}]}}"#, u64::MAX);
    check(Door::SglangLoads, &endless, None);
}

proptest! {
    #[test]
    fn no_page_makes_a_door_panic(page in prop::collection::vec(any::<u8>(), 0..300)) {
        for door in DOORS {
            let _ = door.read(&page);
        }
    }
}

impl Scripted {
    async fn look(&self, kind: ServerKind) -> Result<Option<Occupancy>, FailureKind> {
        self.look_then(kind, Look::Around).await
    }

    async fn look_then(&self, kind: ServerKind, look: Look) -> Result<Option<Occupancy>, FailureKind> {
        self.client.occupancy(kind, look).await.map_err(|failure| failure.kind)
    }
}

const PAGE: &str = "llamacpp:requests_processing 1\n";
const SLOTS: &str = r#"[{"is_processing":true}]"#;

#[tokio::test]
async fn a_shut_door_is_not_knocked_on_again_until_the_next_identification() {
    let server = Scripted::start(|path| if path == "/slots" { (200, SLOTS, 0) } else { (501, "off", 0) }).await;
    for _ in 0..3 {
        assert_eq!(server.look(ServerKind::LlamaCpp).await, Ok(told(Some(1), None)));
    }
    assert_eq!(server.asked(), ["/metrics", "/slots", "/slots", "/slots"]);

    // Its clones share what was found out.
    let _ = server.client.clone().identify(Some("m")).await;
    server.asked();
    assert_eq!(server.look(ServerKind::LlamaCpp).await, Ok(told(Some(1), None)));
    assert_eq!(server.asked(), ["/metrics", "/slots"]);
}

#[tokio::test]
async fn one_open_door_is_enough() {
    let server = Scripted::start(|_| (200, PAGE, 0)).await;
    for _ in 0..2 {
        assert_eq!(server.look(ServerKind::LlamaCpp).await, Ok(told(Some(1), None)));
    }
    assert_eq!(server.asked(), ["/metrics", "/metrics"]);
}

#[tokio::test]
async fn while_a_sample_runs_the_averages_of_a_llama_cpp_are_left_to_its_owner() {
    let server = Scripted::start(|path| (200, if path == "/slots" { SLOTS } else { PAGE }, 0)).await;
    for look in [Look::Around, Look::During, Look::During, Look::Around] {
        assert_eq!(server.look_then(ServerKind::LlamaCpp, look).await, Ok(told(Some(1), None)));
    }
    assert_eq!(server.asked(), ["/metrics", "/slots", "/slots", "/metrics"]);

    let closed = Scripted::start(|path| if path == "/slots" { (501, "off", 0) } else { (200, PAGE, 0) }).await;
    for _ in 0..2 {
        assert_eq!(closed.look_then(ServerKind::LlamaCpp, Look::During).await, Ok(told(Some(1), None)));
    }
    assert_eq!(closed.asked(), ["/slots", "/metrics", "/metrics"], "better than not to look");
}

#[tokio::test]
async fn a_server_that_does_not_tell_is_left_alone() {
    let server = Scripted::start(|_| (404, "no such page", 0)).await;
    for _ in 0..3 {
        assert_eq!(server.look(ServerKind::Sglang).await, Ok(None));
    }
    assert_eq!(server.asked(), ["/v1/loads?include=core", "/get_load", "/metrics"]);
    for kind in [ServerKind::LmStudio, ServerKind::OpenAiCompatible] {
        assert_eq!(server.look(kind).await, Ok(None));
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn lm_studio_tells_how_many_requests_its_model_works_on_where_it_is_new_enough() {
    let slots_with = async |newer: &'static str| {
        let server = Scripted::start(move |path| match path {
            "/v1/models" => (200, r#"{"data":[{"id":"gemma","owned_by":"organization_owner"}]}"#, 0),
            "/api/v0/models" => {
                (200, r#"{"data":[{"id":"gemma","quantization":"Q4_K_M","compatibility_type":"gguf"}]}"#, 0)
            }
            "/api/v1/models" => (200, newer, 0),
            _ => (404, "no such page", 0),
        });
        let identity = server.await.client.identify(None).await.expect("an identity").identity;
        assert_eq!(identity.kind, ServerKind::LmStudio);
        identity.slots
    };
    let newer = r#"{"models":[{"key":"gemma","loaded_instances":[{"id":"other","config":{"parallel":9}},
                    {"id":"gemma","config":{"context_length":4096,"parallel":4}}]}]}"#;
    assert_eq!(slots_with(newer).await, Some(4));
    assert_eq!(slots_with(r#"{"models":[{"key":"gemma","loaded_instances":[]}]}"#).await, None);
    assert_eq!(slots_with("").await, None);
}

#[tokio::test]
async fn a_failure_that_may_pass_shuts_no_door() {
    for (answer, expected) in [
        ((503, r#"{"error":{"message":"Loading model"}}"#, 0), FailureKind::Http5xx),
        ((429, "", 0), FailureKind::RateLimited),
        ((200, PAGE, 9), FailureKind::Reset),
    ] {
        let server = Scripted::start(move |_| answer).await;
        for _ in 0..2 {
            assert_eq!(server.look(ServerKind::LlamaCpp).await, Err(expected), "{answer:?}");
        }
        assert_eq!(server.asked(), ["/metrics", "/metrics"]);
    }
}

#[tokio::test]
async fn a_page_without_end_shuts_its_door() {
    let server = Scripted::start_raw(Api::OpenAi, |_, _| {
        let page = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nvllm:num_requests_running 1\n";
        vec![page.as_bytes().to_vec(), vec![b'#'; 2 * PROBE_LIMIT]]
    })
    .await;
    for _ in 0..2 {
        assert_eq!(server.look(ServerKind::Vllm).await, Ok(None));
    }
    assert_eq!(server.asked(), ["/metrics"], "it would be no shorter the next time");
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let connection = Connection { url, connect_timeout: Duration::from_secs(1), ..Connection::default() };
    let client = Client::new(&connection).expect("a client");
    let failure = client.occupancy(ServerKind::Ollama, Look::Around).await.expect_err("nobody there");
    assert_eq!(failure.kind, FailureKind::Connect);
}
