//! What goes over the wire, route by route under a paused clock; then real sockets.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::CONTENT_LENGTH;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use super::super::profile::{Profile, SimOptions};
use super::super::server::GenerateSpec;
use super::*;

/// 3 ms for the token of a single stream; one token a chunk.
fn kind_options() -> SimOptions {
    let base = Duration::from_millis(2);
    let profile = Profile { step_base: base, step_per_stream: Duration::from_millis(1), ..Profile::tiny() };
    SimOptions::exact(profile, 4)
}

struct Reply {
    status: StatusCode,
    server: Option<String>,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("JSON")
    }

    /// The data of the server-sent events, their terminal marker left out.
    fn events(&self) -> Vec<Value> {
        let data: Vec<&str> =
            self.text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").expect("data")).collect();
        let (done, events) = data.split_last().expect("events");
        assert_eq!(*done, "[DONE]");
        events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect()
    }

    fn lines(&self) -> Vec<Value> {
        self.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

async fn send(server: &SimServer, api: SimApi, path: &str, body: Option<Value>) -> Reply {
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = Request::builder().method(method).uri(path).body(body).expect("a request");
    let response = router(server.clone(), api).oneshot(request).await.expect("infallible");
    let status = response.status();
    let server = response.headers().get(SERVER).map(|name| name.to_str().expect("text").to_owned());
    let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a whole body");
    Reply { status, server, text: String::from_utf8(bytes.to_vec()).expect("UTF-8") }
}

/// Asks a fresh kind server.
async fn ask(api: SimApi, path: &str, body: Value) -> Reply {
    send(&SimServer::start(kind_options()), api, path, Some(body)).await
}

async fn look(api: SimApi, path: &str) -> Reply {
    send(&SimServer::start(kind_options()), api, path, None).await
}

#[tokio::test(start_paused = true)]
async fn llama_cpp_completions_carry_usage_and_timings_in_their_last_chunk() {
    let start = Instant::now();
    let reply = ask(
        SimApi::LlamaCpp,
        "/v1/completions",
        json(r#"{"prompt":"0123456789","n_predict":3,"max_tokens":99,"ignore_eos":true,"stream":true,"seed":1}"#),
    )
    .await;
    assert_eq!(start.elapsed(), Duration::from_millis(9));
    assert_eq!((reply.status, reply.server.as_deref()), (StatusCode::OK, Some("llama.cpp")));
    let events = reply.events();
    assert_eq!(events.len(), 4);
    assert!(reply.text.starts_with(r#"data: {"choices":[{"text":" "#));
    assert_eq!(events[0]["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(events[0]["system_fingerprint"], "1.0.0");
    let last = &events[3];
    assert_eq!((&last["choices"][0]["text"], &last["choices"][0]["finish_reason"]), (&"".into(), &"length".into()));
    assert_eq!(last["usage"]["completion_tokens"], 3);
    assert_eq!(last["usage"]["prompt_tokens"], 3);
    assert_eq!(last["timings"]["predicted_n"], 3);
    assert_eq!(last["timings"]["predicted_ms"], 6.0);
    assert_eq!(last["timings"]["prompt_ms"], 3.0);
    assert_eq!(last["timings"]["predicted_per_second"], 500.0);
}

#[tokio::test(start_paused = true)]
async fn llama_cpp_chat_begins_with_a_role_and_ends_as_asked() {
    let body = |usage: bool| {
        json(&format!(
            r#"{{"messages":[{{"role":"user","content":"hello"}}],"max_tokens":2,"ignore_eos":true,"stream":true,
                "stream_options":{{"include_usage":{usage}}},"timings_per_token":true}}"#
        ))
    };
    let events = ask(SimApi::LlamaCpp, "/v1/chat/completions", body(true)).await.events();
    assert_eq!(events.len(), 5);
    assert_eq!(events[0]["choices"][0]["delta"], json(r#"{"role":"assistant","content":null}"#));
    assert_eq!(events[1]["timings"]["predicted_n"], 1);
    assert_eq!(events[1]["timings"]["predicted_per_second"], Value::Null);
    assert_eq!(events[3]["choices"][0]["delta"], json("{}"));
    assert_eq!(events[3]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[4]["choices"], json("[]"));
    assert_eq!(events[4]["usage"]["completion_tokens"], 2);
    assert_eq!(events[4]["timings"]["predicted_n"], 2);

    let events = ask(SimApi::LlamaCpp, "/v1/chat/completions", body(false)).await.events();
    assert_eq!(events.len(), 4);
    assert_eq!(events[3]["timings"]["predicted_n"], 2);
    assert_eq!(events[3]["usage"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn vllm_tells_usage_as_it_goes_and_finishes_with_text() {
    let events = ask(
        SimApi::Vllm,
        "/v1/chat/completions",
        json(
            r#"{"model":"tiny:1m","messages":[{"role":"user","content":"hello"}],"max_tokens":2,"min_tokens":2,
               "ignore_eos":true,"stream":true,
               "stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#,
        ),
    )
    .await
    .events();
    let counts: Vec<u64> = events.iter().filter_map(|event| event["usage"]["completion_tokens"].as_u64()).collect();
    assert_eq!(counts, [0, 1, 2, 2]);
    assert_eq!(events[0]["choices"][0]["delta"], json(r#"{"role":"assistant","content":""}"#));
    assert_eq!(events[2]["choices"][0]["finish_reason"], "length");
    assert_ne!(events[2]["choices"][0]["delta"]["content"], Value::Null);
    assert_eq!(events[3]["choices"], json("[]"));
}

#[tokio::test(start_paused = true)]
async fn vllm_sends_its_headers_before_the_first_token() {
    for (api, expected) in [(SimApi::Vllm, 0), (SimApi::LlamaCpp, 3)] {
        let request = Request::post("/v1/completions")
            .body(Body::from(r#"{"prompt":"p","max_tokens":5,"ignore_eos":true,"stream":true}"#))
            .expect("a request");
        let start = Instant::now();
        let response = router(SimServer::start(kind_options()), api).oneshot(request).await.expect("infallible");
        assert_eq!(start.elapsed(), Duration::from_millis(expected), "{api:?}");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bare_server_refuses_what_it_does_not_know() {
    for field in ["ignore_eos", "cache_prompt", "min_tokens", "cache_salt"] {
        let mut body = json(r#"{"model":"tiny:1m","prompt":"p","max_tokens":2}"#);
        body[field] = true.into();
        let reply = ask(SimApi::OpenAi, "/v1/completions", body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST);
        assert!(reply.json()["error"]["message"].as_str().expect("a message").contains(field));
    }
    let events = ask(
        SimApi::OpenAi,
        "/v1/completions",
        json(r#"{"prompt":"p","max_tokens":2,"stream":true,"stream_options":{"include_usage":true}}"#),
    )
    .await
    .events();
    assert_eq!(events[0]["usage"], Value::Null);
    assert!(events[0].get("usage").is_some());
    assert_eq!(events.last().expect("usage")["usage"]["completion_tokens"], 2);
}

#[tokio::test(start_paused = true)]
async fn ollama_streams_lines_and_counts_in_nanoseconds() {
    let reply = ask(
        SimApi::Ollama,
        "/api/generate",
        json(r#"{"model":"tiny:1m","prompt":"0123456789","raw":true,"options":{"num_predict":3,"seed":4}}"#),
    )
    .await;
    let lines = reply.lines();
    assert_eq!(lines.len(), 4);
    assert!(lines[..3].iter().all(|line| line["done"] == false && line["response"] != ""));
    let last = &lines[3];
    assert_eq!((&last["done"], &last["done_reason"]), (&true.into(), &"length".into()));
    assert_eq!((&last["eval_count"], &last["prompt_eval_count"]), (&3.into(), &3.into()));
    assert_eq!((&last["eval_duration"], &last["prompt_eval_duration"]), (&6_000_000.into(), &3_000_000.into()));
    assert!(last["load_duration"].as_u64().expect("a duration") > 0);

    let chat = r#"{"model":"tiny:1m","messages":[{"role":"user","content":"hello"}],"options":{"num_predict":1}}"#;
    let lines = ask(SimApi::Ollama, "/api/chat", json(chat)).await.lines();
    assert_eq!((lines.len(), &lines[0]["message"]["role"]), (2, &"assistant".into()));
    // No time between the first token and the last, and zeros are left out.
    assert!(lines[1].get("eval_duration").is_none());
}

#[tokio::test(start_paused = true)]
async fn ollama_ends_where_the_model_does() {
    let server = SimServer::start(SimOptions { noise: 0.0, unkind: true, ..kind_options() });
    let body = r#"{"model":"tiny:1m","prompt":"p","ignore_eos":true,"options":{"num_predict":500,"ignore_eos":true}}"#;
    let lines = send(&server, SimApi::Ollama, "/api/generate", Some(json(body))).await.lines();
    let last = lines.last().expect("a last line");
    assert_eq!(last["done_reason"], "stop");
    assert!((8..=40).contains(&last["eval_count"].as_u64().expect("a count")));
}

#[tokio::test(start_paused = true)]
async fn without_a_stream_the_answer_comes_whole() {
    let completion = r#"{"prompt":"p","max_tokens":2,"ignore_eos":true}"#;
    let whole = ask(SimApi::LlamaCpp, "/v1/completions", json(completion)).await.json();
    assert_eq!(whole["usage"]["completion_tokens"], 2);
    assert_eq!(whole["choices"][0]["text"].as_str().expect("text").split_whitespace().count(), 2);
    let generate = r#"{"model":"tiny:1m","prompt":"p","stream":false,"options":{"num_predict":2}}"#;
    let whole = ask(SimApi::Ollama, "/api/generate", json(generate)).await.json();
    assert_eq!((&whole["eval_count"], &whole["done"]), (&2.into(), &true.into()));
    let load = ask(SimApi::Ollama, "/api/generate", json(r#"{"model":"tiny:1m"}"#)).await.json();
    assert_eq!(load["done_reason"], "load");
}

#[tokio::test(start_paused = true)]
async fn each_server_says_who_it_is() {
    let props = look(SimApi::LlamaCpp, "/props").await.json();
    assert_eq!((&props["total_slots"], &props["build_info"]), (&4.into(), &"1.0.0".into()));
    assert_eq!(props["default_generation_settings"]["n_ctx"], 2_048);
    assert_eq!(look(SimApi::LlamaCpp, "/slots").await.json().as_array().expect("slots").len(), 4);
    assert_eq!(look(SimApi::LlamaCpp, "/v1/models").await.json()["data"][0]["owned_by"], "llamacpp");
    assert_eq!(look(SimApi::Vllm, "/version").await.json()["version"], "1.0.0");
    assert_eq!(look(SimApi::Vllm, "/v1/models").await.json()["data"][0]["owned_by"], "vllm");
    assert_eq!(look(SimApi::Vllm, "/health").await.text, "");
    assert_eq!(look(SimApi::Ollama, "/").await.text, "Ollama is running");
    let tags = look(SimApi::Ollama, "/api/tags").await.json();
    assert_eq!(tags["models"][0]["details"]["quantization_level"], "F16");
    assert_eq!(look(SimApi::Ollama, "/api/ps").await.json()["models"][0]["context_length"], 2_048);
    let show = ask(SimApi::Ollama, "/api/show", json(r#"{"model":"tiny:1m"}"#)).await;
    assert_eq!(show.json()["model_info"]["simulated.context_length"], 2_048);
    assert_eq!(look(SimApi::OpenAi, "/v1/models").await.json()["data"][0]["id"], "tiny:1m");
    assert_eq!(look(SimApi::OpenAi, "/props").await.status, StatusCode::NOT_FOUND);

    let server = SimServer::start(kind_options());
    server.set_version("2.0.0");
    server.set_model_digest("00ff");
    assert_eq!(send(&server, SimApi::Ollama, "/api/version", None).await.json()["version"], "2.0.0");
    assert_eq!(send(&server, SimApi::Ollama, "/api/tags", None).await.json()["models"][0]["digest"], "00ff");
}

#[tokio::test(start_paused = true)]
async fn counters_tell_what_was_done() {
    let server = SimServer::start(kind_options());
    let body = r#"{"prompt":"01234567","max_tokens":5,"ignore_eos":true}"#;
    send(&server, SimApi::LlamaCpp, "/v1/completions", Some(json(body))).await;
    let metrics = send(&server, SimApi::LlamaCpp, "/metrics", None).await.text;
    for line in [
        "llamacpp:prompt_tokens_total 2",
        "llamacpp:tokens_predicted_total 5",
        "llamacpp:tokens_predicted_seconds_total 0.012",
        "llamacpp:n_decode_total 5",
        "llamacpp:n_busy_slots_per_decode 1",
        "llamacpp:requests_processing 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    let metrics = send(&server, SimApi::Vllm, "/metrics", None).await.text;
    assert!(metrics.contains(r#"vllm:num_requests_running{engine="0",model_name="tiny:1m"} 0"#));
    assert!(metrics.contains(r#"finished_reason="length",model_name="tiny:1m"} 1"#));
}

/// The values of some families of a metrics page; `head` makes a sample's head of a name.
async fn values(server: &SimServer, api: SimApi, head: fn(&str) -> String, names: [&str; 3]) -> [String; 3] {
    let page = send(server, api, "/metrics", None).await.text;
    names.map(|name| {
        let value = page.lines().find_map(|line| line.strip_prefix(&head(name)));
        value.unwrap_or_else(|| panic!("{name} in\n{page}")).to_owned()
    })
}

#[tokio::test(start_paused = true)]
async fn requests_are_shown_while_they_work_and_wait() {
    let server = SimServer::start(kind_options());
    let answers: Vec<_> = (0..6).map(|_| server.generate(&GenerateSpec::new("p", 5)).expect("taken")).collect();
    // Two steps of four streams, 6 ms each, and half of the third.
    sleep(Duration::from_millis(15)).await;
    let names = ["requests_processing", "requests_deferred", "tokens_predicted_total"];
    let shown = values(&server, SimApi::LlamaCpp, |name| format!("llamacpp:{name} "), names).await;
    assert_eq!(shown, ["4", "2", "0"]);
    let slots = send(&server, SimApi::LlamaCpp, "/slots", None).await.json();
    assert!((0..4).all(|slot| slots[slot]["is_processing"] == true && slots[slot]["next_token"][0]["n_decoded"] == 2));

    let names = ["num_requests_running", "num_requests_waiting", "generation_tokens_total"];
    let head = |name: &str| format!("vllm:{name}{{engine=\"0\",model_name=\"tiny:1m\"}} ");
    assert_eq!(values(&server, SimApi::Vllm, head, names).await, ["4", "2", "8"]);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(values(&server, SimApi::Vllm, head, names).await, ["0", "0", "30"]);
    drop(answers);
}

#[tokio::test(start_paused = true)]
async fn a_model_of_ollama_expires_later_after_each_use() {
    let server = SimServer::start(kind_options());
    let expires = async || {
        let loaded = send(&server, SimApi::Ollama, "/api/ps", None).await.json();
        loaded["models"][0]["expires_at"].as_str().expect("a time").to_owned()
    };
    assert_eq!(expires().await, "2126-01-01T00:00:00Z");
    let answer = server.generate(&GenerateSpec::new("p", 5)).expect("taken");
    // Not while it is in use.
    sleep(Duration::from_millis(10)).await;
    assert_eq!(expires().await, "2126-01-01T00:00:00Z");
    sleep(Duration::from_millis(10)).await;
    assert_eq!(expires().await, "2126-01-01T00:00:00.015Z");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(expires().await, "2126-01-01T00:00:00.015Z");
    drop(answer);
}

#[test]
fn llama_cpp_prints_six_digits() {
    for (value, expected) in [
        (0.0, "0"),
        (648.0, "648"),
        (0.6272351, "0.627235"),
        (999_999.0, "999999"),
        (1_000_000.0, "1e+06"),
        (1_234_567.0, "1.23457e+06"),
        (999_999.6, "1e+06"),
        (12_345.678, "12345.7"),
    ] {
        assert_eq!(pages::six_digits(value), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_in_the_words_of_the_server() {
    let unknown = json(r#"{"model":"other","prompt":"p"}"#);
    let reply = ask(SimApi::Ollama, "/api/generate", unknown.clone()).await;
    assert_eq!((reply.status, reply.text.as_str()), (StatusCode::NOT_FOUND, r#"{"error":"model 'other' not found"}"#));
    assert_eq!(ask(SimApi::Vllm, "/v1/completions", unknown).await.status, StatusCode::NOT_FOUND);

    let long = serde_json::json!({ "prompt": "x".repeat(10_000) });
    let reply = ask(SimApi::LlamaCpp, "/v1/completions", long).await.json();
    assert_eq!(reply["error"]["type"], "exceed_context_size_error");
    assert_eq!(ask(SimApi::Vllm, "/v1/completions", json("[]")).await.status, StatusCode::BAD_REQUEST);

    let faulty = SimServer::start(SimOptions { fault_http_500: 1.0, ..kind_options() });
    let reply = send(&faulty, SimApi::LlamaCpp, "/v1/completions", Some(json(r#"{"prompt":"p"}"#))).await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);

    faulty.set_away(true);
    let reply = send(&faulty, SimApi::LlamaCpp, "/health", None).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_cut_answer_ends_without_its_marker() {
    let body = || Some(json(r#"{"prompt":"p","max_tokens":9,"ignore_eos":true,"stream":true}"#));
    let truncating = SimServer::start(SimOptions { fault_truncate: 1.0, ..kind_options() });
    let reply = send(&truncating, SimApi::Vllm, "/v1/completions", body()).await;
    assert!(!reply.text.contains("[DONE]") && !reply.text.contains("length"));

    let resetting = SimServer::start(SimOptions { fault_reset: 1.0, ..kind_options() });
    let request = Request::post("/v1/completions").body(Body::from(body().expect("a body").to_string()));
    let response = router(resetting, SimApi::Vllm).oneshot(request.expect("a request")).await.expect("infallible");
    assert!(to_bytes(response.into_body(), 1 << 20).await.is_err());
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// A server on a real socket; the sender stops it.
async fn listen(server: &SimServer) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<io::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let stopped = async { drop(stopped.await) };
    (address, stop, tokio::spawn(serve(listener, server.clone(), SimApi::LlamaCpp, stopped)))
}

/// Sends a request for a long stream and reads until the first bytes of the answer.
async fn begin_stream(address: SocketAddr) -> TcpStream {
    let body = r#"{"prompt":"p","max_tokens":2000,"ignore_eos":true,"stream":true}"#;
    let head = format!("POST /v1/completions HTTP/1.1\r\nHost: sim\r\n{CONTENT_LENGTH}: {}\r\n\r\n", body.len());
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("sent");
    let mut buffer = [0; 1024];
    let read = stream.read(&mut buffer).await.expect("an answer");
    assert!(buffer[..read].starts_with(b"HTTP/1.1 200 OK"));
    stream
}

/// Waits for a number of busy slots, for a second at most.
async fn busy(server: &SimServer, expected: u32) -> bool {
    for _ in 0..100 {
        if server.status().counters.requests_processing == expected {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}

#[tokio::test]
async fn a_client_that_hangs_up_frees_its_slot() {
    let server = SimServer::start(kind_options());
    let (address, _stop, _serving) = listen(&server).await;
    let stream = begin_stream(address).await;
    assert!(busy(&server, 1).await);
    drop(stream);
    assert!(busy(&server, 0).await);
}

#[tokio::test]
async fn a_stopped_server_breaks_its_streams_and_ends() {
    let server = SimServer::start(kind_options());
    let (address, stop, serving) = listen(&server).await;
    let mut stream = begin_stream(address).await;
    stop.send(()).expect("still serving");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"));
    serving.await.expect("no panic").expect("a clean end");
}

#[tokio::test]
async fn a_server_that_is_away_closes_connections() {
    let server = SimServer::start(kind_options());
    let (address, _stop, _serving) = listen(&server).await;
    server.set_away(true);
    let mut stream = TcpStream::connect(address).await.expect("the listener stays");
    let mut rest = Vec::new();
    assert!(matches!(stream.read_to_end(&mut rest).await, Ok(0) | Err(_)));
    server.set_away(false);
    begin_stream(address).await;
}
