//! Others on the server: seen over real sockets, in each tongue; and never seen where there
//! are none. A real llama.cpp is asked too where `LLMSOAK_REAL_SERVER` is set.

use std::sync::Arc;
use std::time::Duration;

use llmsoak::analysis::foreign::{Poll, Watched, is_used_by_others};
use llmsoak::client::{Client, Timeline, Timeouts};
use llmsoak::domain::plan::{Connection, RequestPlan, ValidityPlan};
use llmsoak::domain::{GenerateRequest, Look, Occupancy, RequestRecord};
use llmsoak::sim::server::{Answer, GenerateSpec, SimEvent, SimServer};
use llmsoak::sim::{Profile, SimApi, SimOptions, http};
use llmsoak::soak::{Backend, HttpBackend};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::PATIENCE;
use crate::tools::say;

const OWN_REQUESTS: u32 = 3;
/// Long enough for some looks.
const OUTPUT_TOKENS: u32 = 60;
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// This program's side: a backend that knows its server.
struct Own {
    backend: Arc<HttpBackend>,
    model: String,
}

/// A sample, and what was seen of the server around it.
#[derive(Debug)]
struct Sampled {
    watched: Watched,
    records: Vec<RequestRecord>,
    /// The most requests that a look showed.
    most_requests: Option<u32>,
}

impl Sampled {
    fn finds_others(&self) -> bool {
        self.watched.is_shared(&self.records, &ValidityPlan::default())
    }
}

impl Own {
    async fn meet(url: String) -> Self {
        let connection = Connection { url, connect_timeout: PATIENCE, ..Connection::default() };
        let client = Client::new(&connection).expect("a client");
        let backend = Arc::new(HttpBackend::new(client, None, Arc::new(RequestPlan::default())));
        let model = backend.identify().await.expect("a server").identity.model;
        Self { backend, model }
    }

    /// A look with nothing of our own in flight.
    async fn look(&self) -> Option<Occupancy> {
        self.look_when(Look::Around).await
    }

    async fn look_when(&self, look: Look) -> Option<Occupancy> {
        self.backend.occupancy(look).await.expect("an answer")
    }

    /// Runs a sample of a few requests and looks while they run.
    async fn sample(&self, before: Occupancy) -> Sampled {
        let timeline = Arc::new(Timeline::start());
        let timeouts = Timeouts { first_token: PATIENCE, between_tokens: PATIENCE, total: PATIENCE };
        let mut running: JoinSet<RequestRecord> = (0..OWN_REQUESTS)
            .map(|seed| {
                let (backend, timeline) = (self.backend.clone(), timeline.clone());
                let prompt = format!("{seed} of ours");
                let request = GenerateRequest { prompt, output_tokens: OUTPUT_TOKENS, seed };
                async move { backend.generate(&request, &timeline, Duration::ZERO, timeouts).await }
            })
            .collect();
        let (mut records, mut watched, mut most_requests) = (Vec::new(), Watched::new(before, &self.model), None);
        while !running.is_empty() {
            tokio::select! {
                Some(record) = running.join_next() => records.push(record.expect("no panic")),
                () = sleep(LOOK_EVERY) => {
                    let occupancy = self.look_when(Look::During).await.expect("it tells");
                    most_requests = most_requests.max(occupancy.requests);
                    watched.note(Poll { occupancy, own: OWN_REQUESTS });
                }
            }
        }
        assert!(records.iter().all(RequestRecord::succeeded), "{records:?}");
        watched.end(self.look().await);
        Sampled { watched, records, most_requests }
    }
}

/// A simulated server on a port of its own, and a backend for it.
async fn stage(api: SimApi) -> (SimServer, Own) {
    let server = SimServer::start(SimOptions::exact(Profile::tiny(), 8));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(http::serve(listener, server.clone(), api, std::future::pending()));
    (server, Own::meet(url).await)
}

fn come(server: &SimServer, tokens: u32) -> Answer {
    server.generate(&GenerateSpec::new("theirs", tokens)).expect("taken")
}

/// Waits until the others have their answer.
async fn go(mut answer: Answer) {
    while let Some(SimEvent::Chunk(_)) = answer.next().await {}
}

/// `shows_requests`: whether requests under way are told.
async fn check(api: SimApi, shows_requests: bool) {
    let (server, own) = stage(api).await;
    let idle = own.look().await.expect("it tells");
    assert!(!is_used_by_others(None, &idle), "{api:?}: nobody is there");
    assert!(!is_used_by_others(Some(&idle), &own.look().await.expect("it tells")), "{api:?}: nobody came");

    let alone = own.sample(idle.clone()).await;
    assert!(!alone.finds_others(), "{api:?}: alone: {alone:#?}");

    let before = own.look().await.expect("it tells");
    let guest = come(&server, 4 * OUTPUT_TOKENS);
    if shows_requests {
        let seen = own.look().await.expect("it tells");
        assert!(is_used_by_others(Some(&before), &seen), "{api:?}: one came: {seen:?}");
        let together = own.sample(before.clone()).await;
        assert!(together.finds_others(), "{api:?}: not alone: {together:#?}");
    }
    go(guest).await;
    let after = own.look().await.expect("it tells");
    assert!(is_used_by_others(Some(&before), &after), "{api:?}: one came and went: {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_on_a_llama_cpp_are_seen() {
    check(SimApi::LlamaCpp, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_on_a_vllm_are_seen() {
    check(SimApi::Vllm, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_on_an_ollama_are_seen_when_they_have_left() {
    check(SimApi::Ollama, false).await;
}

#[tokio::test]
async fn a_bare_server_does_not_tell() {
    let (_server, own) = stage(SimApi::OpenAi).await;
    assert_eq!(own.look().await, None);
}

/// Our own requests are seen while they run, all tokens are ours, and nothing lingers.
#[tokio::test]
async fn nobody_else_is_seen_on_a_real_llama_cpp() {
    let Ok(url) = std::env::var("LLMSOAK_REAL_SERVER") else {
        say("skipped: a real llama.cpp; set LLMSOAK_REAL_SERVER=http://127.0.0.1:8089 to have it tested");
        return;
    };
    let own = Own::meet(url.trim_end_matches('/').to_owned()).await;
    for _ in 0..3 {
        let before = own.look().await.expect("it tells");
        assert!(!is_used_by_others(None, &before), "somebody else is there, or ours linger: {before:?}");
        let seen = own.sample(before).await;
        assert!(!seen.finds_others(), "{seen:#?}");
        assert_eq!(seen.most_requests, Some(OWN_REQUESTS), "{seen:#?}");
    }
}
