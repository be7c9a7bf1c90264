//! One request at a time against a server of the tests' own: records, refusals, time-outs.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::*;
use crate::client::scripted::{self, Request, Scripted};
use crate::domain::plan::Connection;
use crate::domain::{ServerIdentity, TokenSource};

const TIMEOUTS: Timeouts = Timeouts {
    first_token: Duration::from_secs(30),
    between_tokens: Duration::from_secs(30),
    total: Duration::from_secs(60),
};
const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

fn identity_of(kind: ServerKind) -> ServerIdentity {
    ServerIdentity::of(kind, "m")
}

fn caller(client: Client, kind: ServerKind, api: Api) -> Caller {
    Caller::new(client, &Identified { identity: identity_of(kind), api }, Arc::default())
}

fn request() -> GenerateRequest {
    GenerateRequest { prompt: "a tale".to_owned(), output_tokens: 8, seed: 1 }
}

/// The record of one request to a server that answers with those bytes.
async fn record(api: Api, answer: impl Into<Vec<u8>>) -> RequestRecord {
    let answer = answer.into();
    let server = Scripted::start_raw(api, move |_, _| vec![answer.clone()]).await;
    let timeline = Timeline::start();
    let due = Duration::from_micros(1);
    let record = caller(server.client, ServerKind::Tgi, api).generate(&request(), &timeline, due, TIMEOUTS).await;
    assert_eq!((record.due, record.asked_tokens), (due, 8));
    assert!(record.sent <= record.ended && record.ended <= timeline.now(), "{record:?}");
    record
}

/// The failure of a request that is answered so.
async fn failure(api: Api, answer: impl Into<Vec<u8>>) -> Option<FailureKind> {
    record(api, answer).await.failure.map(|failure| failure.kind)
}

#[tokio::test]
async fn an_answer_is_read_in_the_tongue_of_the_server() {
    let openai = format!(
        "{HEAD}data: {{\"choices\":[{{\"text\":\"a\"}}]}}\n\n\
         data: {{\"choices\":[{{\"text\":\"b\",\"finish_reason\":\"stop\"}}],\"usage\":{{\"completion_tokens\":2}}}}\n\n\
         data: [DONE]\n\n"
    );
    let ollama = format!(
        "{HEAD}{{\"response\":\"a\",\"done\":false}}\n{{\"response\":\"b\",\"done\":false}}\n\
         {{\"response\":\"\",\"done\":true,\"eval_count\":2}}\n"
    );
    for (api, answer) in [(Api::OpenAi, openai), (Api::Ollama, ollama)] {
        let record = record(api, answer).await;
        assert_eq!(record.failure, None);
        assert_eq!((record.tokens.output, record.tokens.source), (2, TokenSource::Usage));
        assert_eq!(record.chunks.len(), 2);
        assert!(record.chunks.iter().all(|chunk| record.sent <= chunk.at && chunk.at <= record.ended), "{record:?}");
    }
}

#[tokio::test]
async fn a_last_line_without_an_end_counts() {
    let answer = format!("{HEAD}{{\"response\":\"a\",\"done\":false}}\n{{\"response\":\"\",\"done\":true}}");
    assert_eq!(failure(Api::Ollama, answer).await, None);
}

#[tokio::test]
async fn what_is_wrong_with_an_answer_is_told() {
    let data = |data: &str| format!("{HEAD}data: {data}\n\n");
    let text = r#"{"choices":[{"text":"a"}]}"#;
    assert_eq!(failure(Api::OpenAi, data(text)).await, Some(FailureKind::Truncated));
    assert_eq!(failure(Api::OpenAi, data("<html>")).await, Some(FailureKind::Protocol));
    assert_eq!(failure(Api::OpenAi, data(r#"{"error":"full"}"#)).await, Some(FailureKind::ServerError));
    let promised = format!("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\ndata: {text}\n\n");
    assert_eq!(failure(Api::OpenAi, promised).await, Some(FailureKind::Reset));
    assert_eq!(failure(Api::OpenAi, "SSH-2.0-OpenSSH_9.9\r\n").await, Some(FailureKind::Protocol));
}

#[tokio::test]
async fn an_answer_of_too_many_bytes_is_given_up() {
    // The last line, and with it the event, never ends.
    let endless = [HEAD.as_bytes(), &vec![b'x'; crate::client::framing::LIMIT + 1]].concat();
    assert_eq!(failure(Api::Ollama, endless).await, Some(FailureKind::TooLarge));

    // Comments are nothing, however many there are.
    let comment = format!(":{}\n", "x".repeat((1 << 20) - 2)).into_bytes();
    let body = |pieces: u64| {
        let comment = comment.clone();
        move |_: &str, _: &str| {
            let body = std::iter::repeat_n(comment.clone(), usize::try_from(pieces).expect("few"));
            [HEAD.as_bytes().to_vec()].into_iter().chain(body).collect()
        }
    };
    let most = BODY_LIMIT >> 20;
    for (pieces, expected) in [(most, FailureKind::Truncated), (most + 1, FailureKind::TooLarge)] {
        let server = Scripted::start_raw(Api::OpenAi, body(pieces)).await;
        let caller = caller(server.client, ServerKind::Tgi, Api::OpenAi);
        let record = caller.generate(&request(), &Timeline::start(), Duration::ZERO, TIMEOUTS).await;
        assert_eq!(record.failure.map(|failure| failure.kind), Some(expected), "{pieces} MiB");
    }
}

#[tokio::test]
async fn an_error_status_is_told_with_the_servers_words() {
    for (status, expected) in [
        (301, FailureKind::Http3xx),
        (400, FailureKind::Http4xx),
        (404, FailureKind::Http4xx),
        (429, FailureKind::RateLimited),
        (499, FailureKind::Http4xx),
        (500, FailureKind::Http5xx),
        (599, FailureKind::Http5xx),
        (600, FailureKind::Protocol),
    ] {
        let words = r#"{"error":{"message":"no"}}"#;
        let answer = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\n\r\n{words}", words.len());
        let failure = record(Api::OpenAi, answer).await.failure.expect("refused");
        assert_eq!((failure.kind, failure.detail.as_str()), (expected, format!("{status}: no").as_str()));
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let client = Client::new(&Connection { url, ..Connection::default() }).expect("a client");
    let caller = caller(client, ServerKind::Tgi, Api::OpenAi);
    let record = caller.generate(&request(), &Timeline::start(), Duration::ZERO, TIMEOUTS).await;
    assert_eq!(record.failure.map(|failure| failure.kind), Some(FailureKind::Connect));
}

#[tokio::test]
async fn tokens_are_a_sign_of_progress_and_nothing_else_is() {
    for (body, progresses) in [("{\"response\":\"a\"}\n", true), ("{\"response\":\"\"}\n", false)] {
        let server = Scripted::start_raw(Api::Ollama, move |_, _| vec![format!("{HEAD}{body}").into_bytes()]).await;
        let timeline = Timeline::start();
        // Progress is known to a millisecond.
        sleep(Duration::from_millis(2)).await;
        let caller = caller(server.client, ServerKind::Ollama, Api::Ollama);
        caller.generate(&request(), &timeline, Duration::ZERO, TIMEOUTS).await;
        assert_eq!(timeline.last_progress() > Duration::ZERO, progresses, "{body}");
    }
}

#[tokio::test]
async fn a_server_that_closes_after_each_stream_is_told_beforehand() {
    for (kind, closes) in [(ServerKind::LlamaCpp, true), (ServerKind::Vllm, false), (ServerKind::Tgi, false)] {
        let server = Scripted::start(|_| (200, SOUND.1, 0)).await;
        let caller = caller(server.client.clone(), kind, Api::OpenAi);
        let record = caller.generate(&request(), &Timeline::start(), Duration::ZERO, TIMEOUTS).await;
        assert_eq!(record.failure, None);
        assert_eq!(server.requests()[0].head.contains("connection: close"), closes, "{kind}");
    }
}

/// A server that falls silent after those bytes, and for how long each wait is allowed to be.
async fn check_silence(answer: &'static str, timeouts: Timeouts, expected: FailureKind) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a visitor");
        scripted::request(&mut stream).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await.expect("sent");
        std::future::pending::<()>().await;
        drop(stream);
    });
    let client = Client::new(&Connection { url, ..Connection::default() }).expect("a client");
    let caller = caller(client, ServerKind::Ollama, Api::Ollama);
    let record = caller.generate(&request(), &Timeline::start(), Duration::ZERO, timeouts).await;
    assert_eq!(record.failure.map(|failure| failure.kind), Some(expected));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let short = Duration::from_millis(100);
    let first = Timeouts { first_token: short, ..TIMEOUTS };
    check_silence("", first, FailureKind::TimeoutFirstToken).await;
    check_silence("HTTP/1.1 200 OK\r\n\r\n", first, FailureKind::TimeoutFirstToken).await;
    let token = "HTTP/1.1 200 OK\r\n\r\n{\"response\":\"a\"}\n";
    check_silence(token, Timeouts { between_tokens: short, ..TIMEOUTS }, FailureKind::TimeoutBetweenTokens).await;
    check_silence(token, Timeouts { total: short, ..TIMEOUTS }, FailureKind::TimeoutTotal).await;
}

/// A watch over a request that was sent a second after the origin.
fn watch(timeline: &Timeline, timeouts: [u64; 3]) -> Watch<'_> {
    let [first_token, between_tokens, total] = timeouts.map(Duration::from_secs);
    let sent = Duration::from_secs(1);
    let sleep = Box::pin(sleep_until(timeline.instant(sent)));
    Watch { timeline, timeouts: Timeouts { first_token, between_tokens, total }, sent, sleep, has_text: false }
}

#[tokio::test(start_paused = true)]
async fn time_runs_out_when_the_nearest_deadline_has_passed() {
    let seconds = Duration::from_secs;
    for (progress, last_text, timeouts, expected) in [
        (0, None, [10, 99, 50], (11, FailureKind::TimeoutFirstToken)),
        // A queue that moves is no fault of the request.
        (7, None, [10, 99, 50], (17, FailureKind::TimeoutFirstToken)),
        (7, None, [10, 99, 12], (13, FailureKind::TimeoutTotal)),
        (0, Some(4), [10, 20, 50], (24, FailureKind::TimeoutBetweenTokens)),
        // Nearer than the first token's deadline was.
        (0, Some(4), [90, 2, 50], (6, FailureKind::TimeoutBetweenTokens)),
        (0, Some(40), [10, 20, 50], (51, FailureKind::TimeoutTotal)),
        // Of two at once the one that says more.
        (0, None, [10, 99, 10], (11, FailureKind::TimeoutFirstToken)),
    ] {
        let timeline = Timeline::start();
        timeline.note_progress(seconds(progress));
        let mut watch = watch(&timeline, timeouts);
        let kind = watch.expired(last_text.map(seconds)).await;
        // Timers of the paused clock are good to a millisecond.
        assert_eq!((timeline.now().as_secs(), kind), expected, "{timeouts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_token_may_bring_the_deadline_nearer() {
    let timeline = Timeline::start();
    let mut watch = watch(&timeline, [90, 2, 200]);
    let token = Duration::from_secs(4);
    assert!(tokio::time::timeout_at(timeline.instant(token), watch.expired(None)).await.is_err());
    assert_eq!(watch.expired(Some(token)).await, FailureKind::TimeoutBetweenTokens);
    assert_eq!(timeline.now().as_secs(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_moves_away_with_every_token() {
    let timeline = Timeline::start();
    let mut watch = watch(&timeline, [10, 5, 50]);
    let mut last = None;
    for second in [2, 6, 10] {
        let next = timeline.instant(Duration::from_secs(second));
        let given_up = tokio::time::timeout_at(next, watch.expired(last.map(Duration::from_secs))).await;
        assert!(given_up.is_err(), "{second}");
        assert!(Instant::now() >= next);
        last = Some(second);
    }
    assert_eq!(watch.expired(last.map(Duration::from_secs)).await, FailureKind::TimeoutBetweenTokens);
    assert_eq!(timeline.now().as_secs(), 15);
}

/// The members of bodies that are none of a bare request's.
fn additions_sent(server: &Scripted) -> Vec<Vec<String>> {
    const BARE: [&str; 4] = ["model", "prompt", "stream", "temperature"];
    let members = |request: Request| {
        let body: Value = serde_json::from_str(&request.body).expect("JSON");
        body.as_object().expect("members").keys().filter(|name| !BARE.contains(&name.as_str())).cloned().collect()
    };
    server.requests().into_iter().map(members).collect()
}

/// Settles the fields with a server that answers a body with that status and those words.
async fn negotiated(
    answer: impl Fn(&str) -> (u16, &'static str) + Send + 'static,
) -> (Vec<Vec<String>>, Vec<Option<FailureKind>>, Option<Dropped>, Vec<Addition>) {
    let answer = move |_: &str, body: &str| {
        let (status, words) = answer(body);
        (status, words, 0)
    };
    let server = Scripted::start_as(Api::OpenAi, "", answer).await;
    let mut caller = caller(server.client.clone(), ServerKind::LlamaCpp, Api::OpenAi);
    let (attempts, dropped) = caller.negotiate(&request(), &Timeline::start(), TIMEOUTS).await;
    let failures = attempts.into_iter().map(|attempt| attempt.failure.map(|failure| failure.kind)).collect();
    (additions_sent(&server), failures, dropped, caller.additions)
}

const SOUND: (u16, &str) =
    (200, "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
const WANTED: [&str; 5] = ["cache_prompt", "ignore_eos", "max_tokens", "seed", "stream_options"];

#[tokio::test]
async fn what_a_server_takes_is_left_as_it_is() {
    let (sent, failures, dropped, _) = negotiated(|_| SOUND).await;
    assert_eq!((sent, failures, dropped), (vec![WANTED.map(str::to_owned).to_vec()], vec![None], None));
}

#[tokio::test]
async fn fields_that_a_server_names_go_and_no_others() {
    let (sent, failures, dropped, _) = negotiated(|body| match body {
        body if body.contains("\"seed\"") => (400, "what is seed?"),
        body if body.contains("cache_prompt") => (422, "Extra inputs: cache_prompt, ignore_eos_too"),
        _ => SOUND,
    })
    .await;
    let expected: [&[&str]; 3] = [
        &WANTED,
        &["cache_prompt", "ignore_eos", "max_tokens", "stream_options"],
        &["ignore_eos", "max_tokens", "stream_options"],
    ];
    assert_eq!(sent, expected);
    assert_eq!(failures, [Some(FailureKind::Http4xx), Some(FailureKind::Http4xx), None]);
    let reason = "422: Extra inputs: cache_prompt, ignore_eos_too".to_owned();
    assert_eq!(dropped, Some(Dropped { fields: vec!["cache_prompt", "seed"], reason }));
}

#[tokio::test]
async fn a_refusal_without_names_is_believed_the_second_time() {
    let refused_once = AtomicUsize::new(0);
    let (sent, _, dropped, _) = negotiated(move |_| match refused_once.fetch_add(1, Ordering::Relaxed) {
        0 => (400, "not now"),
        _ => SOUND,
    })
    .await;
    assert_eq!((sent, dropped), (vec![WANTED.map(str::to_owned).to_vec(); 2], None));

    let (sent, failures, dropped, _) =
        negotiated(|body| if body.contains("stream_options") { (400, "no") } else { SOUND }).await;
    let expected: [&[&str]; 3] = [&WANTED, &WANTED, &["max_tokens"]];
    assert_eq!(sent, expected);
    assert_eq!(failures.len(), 3);
    let fields = vec!["ignore_eos", "cache_prompt", "stream_options", "seed"];
    assert_eq!(dropped, Some(Dropped { fields, reason: "400: no".to_owned() }));

    // The length has two names.
    let (sent, _, dropped, _) = negotiated(|body| if body.contains("max_tokens") { (400, "no") } else { SOUND }).await;
    let expected: [&[&str]; 4] = [&WANTED, &WANTED, &["max_tokens"], &["max_completion_tokens"]];
    assert_eq!(sent, expected);
    assert_eq!(dropped.expect("dropped").fields.len(), 5);
}

#[tokio::test]
async fn fields_are_not_to_blame_for_what_is_refused_without_them_too() {
    let (sent, failures, dropped, kept) = negotiated(|_| (400, "no such model")).await;
    let lengths: Vec<_> = sent.iter().map(Vec::len).collect();
    assert_eq!((lengths, failures.len(), dropped), (vec![5, 5, 1, 1], 4, None));
    assert_eq!(kept, body::additions(ServerKind::LlamaCpp, &RequestPlan::default()));

    for status in [401, 404, 403] {
        let (sent, failures, dropped, kept) = negotiated(move |_| (status, "seed")).await;
        assert_eq!((sent.len(), failures, dropped), (1, vec![Some(FailureKind::Http4xx)], None), "{status}");
        assert_eq!(kept.len(), 5);
    }
    // A server that fails does not refuse.
    let (sent, failures, dropped, _) = negotiated(|_| (500, "seed")).await;
    assert_eq!((sent.len(), failures, dropped), (1, vec![Some(FailureKind::Http5xx)], None));
}

#[tokio::test]
async fn ollama_has_no_fields_to_refuse() {
    let server = Scripted::start_as(Api::Ollama, "", |_, _| (400, "what is seed?", 0)).await;
    let mut caller = caller(server.client.clone(), ServerKind::Ollama, Api::Ollama);
    let (attempts, dropped) = caller.negotiate(&request(), &Timeline::start(), TIMEOUTS).await;
    assert_eq!(
        (attempts.len(), dropped, server.asked().as_slice()),
        (1, None, ["/api/generate".to_owned()].as_slice())
    );
}

#[test]
fn what_was_settled_holds_for_the_same_server_alone() {
    let client = Client::new(&Connection::default()).expect("a client");
    let caller = caller(client, ServerKind::Vllm, Api::OpenAi);
    assert_eq!((caller.kind(), caller.model()), (ServerKind::Vllm, "m"));
    let mut seen = Identified { identity: identity_of(ServerKind::Vllm), api: Api::OpenAi };
    assert!(caller.fits(&seen));
    seen.api = Api::Ollama;
    assert!(!caller.fits(&seen));
    let other = Identified { identity: identity_of(ServerKind::Sglang), api: Api::OpenAi };
    assert!(!caller.fits(&other));
    let mut other = Identified { identity: identity_of(ServerKind::Vllm), api: Api::OpenAi };
    other.identity.model = "n".to_owned();
    assert!(!caller.fits(&other));
}

#[test]
fn a_field_is_named_by_a_whole_word() {
    for words in ["seed", "'seed' is unknown", "body.seed: extra", "no \"seed\""] {
        assert!(names(words, "seed"), "{words}");
    }
    for words in ["", "seeds", "seed_2", "my_seed", "seedé", "see d"] {
        assert!(!names(words, "seed"), "{words}");
    }
}
