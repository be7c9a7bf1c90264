//! The simulated server without a socket, for tests of the scheduler on a paused clock.
//!
//! With real sockets a paused clock fires time-outs falsely; here nothing waits for the
//! outside.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::backend::{Backend, not_started};
use crate::client::{Dropped, Identified, Timeline, Timeouts};
use crate::domain::plan::{Api, RequestPlan};
use crate::domain::{
    Chunk, FailureKind, GenerateRequest, Look, Occupancy, RequestFailure, RequestRecord, ServerIdentity, ServerKind,
    ServerTimings, TokenCounter, TokenCounts, TokenSource,
};
use crate::sim::server::{Refusal, SimEvent};
use crate::sim::{GenerateSpec, SimServer};

/// A simulated server in this process.
#[derive(Clone, Debug)]
pub struct MemoryBackend {
    server: SimServer,
    plan: Arc<RequestPlan>,
}

impl MemoryBackend {
    pub fn new(server: SimServer, plan: Arc<RequestPlan>) -> Self {
        Self { server, plan }
    }

    fn refusal(refusal: &Refusal) -> RequestFailure {
        let kind = match refusal {
            Refusal::Away => FailureKind::Connect,
            Refusal::InjectedFault => FailureKind::Http5xx,
            Refusal::PromptTooLong { .. } => FailureKind::Http4xx,
        };
        RequestFailure::new(kind, refusal.to_string())
    }
}

impl Backend for MemoryBackend {
    async fn identify(&self) -> Result<Identified, RequestFailure> {
        if self.server.is_away() {
            return Err(Self::refusal(&Refusal::Away));
        }
        let card = self.server.card();
        let identity = ServerIdentity {
            kind: ServerKind::LlamaCpp,
            version: Some(card.version),
            model: card.name,
            model_digest: Some(card.digest),
            model_file: None,
            quantization: Some(card.quantization),
            slots: Some(self.server.slots()),
            context_per_slot: Some(card.context_per_slot),
            gpu_share: Some(self.server.options().gpu_share),
        };
        Ok(Identified { identity, api: Api::OpenAi })
    }

    async fn switch_slots(&self, workers: u32) -> Result<(), String> {
        self.server.ask_for_slots(workers);
        Ok(())
    }

    async fn server_end(&self) -> Option<String> {
        None
    }

    async fn release(&self) {}

    async fn unload(&self) -> Result<bool, RequestFailure> {
        self.server.unload().await;
        Ok(true)
    }

    async fn occupancy(&self, _: Look) -> Result<Option<Occupancy>, RequestFailure> {
        if self.server.is_away() {
            return Err(Self::refusal(&Refusal::Away));
        }
        let status = self.server.status();
        let total = status.counters.tokens_predicted_total;
        let counter = TokenCounter { total, uncertainty: 0, is_live: false };
        Ok(Some(Occupancy { requests: Some(status.requests()), output_tokens: Some(counter), ..Occupancy::default() }))
    }

    async fn negotiate(
        &self,
        request: &GenerateRequest,
        timeline: &Timeline,
        timeouts: Timeouts,
    ) -> (Vec<RequestRecord>, Option<Dropped>) {
        (vec![self.generate(request, timeline, timeline.now(), timeouts).await], None)
    }

    async fn generate(
        &self,
        request: &GenerateRequest,
        timeline: &Timeline,
        due: Duration,
        timeouts: Timeouts,
    ) -> RequestRecord {
        let sent = timeline.now();
        let spec = GenerateSpec {
            ignore_eos: self.plan.ignore_eos,
            cache_prompt: !self.plan.avoid_prefix_cache,
            seed: Some(request.seed.into()),
            cold_load: self.server.load().await,
            ..GenerateSpec::new(request.prompt.clone(), request.output_tokens)
        };
        let mut answer = match self.server.generate(&spec) {
            Ok(answer) => answer,
            Err(refusal) => return not_started(request, sent, Self::refusal(&refusal)),
        };
        let mut record = RequestRecord {
            due,
            sent,
            ended: sent,
            chunks: Vec::new(),
            tokens: TokenCounts::default(),
            timings: ServerTimings::default(),
            asked_tokens: request.output_tokens,
            failure: Some(RequestFailure::new(FailureKind::Truncated, "the answer was cut short")),
        };
        let reading = async {
            while let Some(SimEvent::Chunk(chunk)) = answer.next().await {
                let at = timeline.now();
                timeline.note_progress(at);
                record.chunks.push(Chunk { at, tokens: Some(chunk.tokens) });
                record.tokens = TokenCounts {
                    output: chunk.tally.output_tokens.into(),
                    source: TokenSource::Usage,
                    prompt: Some(chunk.tally.prompt_tokens.into()),
                    cached_prompt: Some(chunk.tally.cached_tokens.into()),
                };
                record.timings.load = Some(chunk.tally.load);
                if chunk.finish.is_some() {
                    record.timings.prompt = Some(chunk.tally.prompt);
                    record.timings.decode = Some(chunk.tally.decode);
                    record.failure = None;
                }
            }
        };
        if timeout(timeouts.total, reading).await.is_err() {
            record.failure = Some(RequestFailure::new(FailureKind::TimeoutTotal, "no answer in time"));
        }
        record.ended = timeline.now();
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::foreign::is_used_by_others;
    use crate::sim::{Profile, SimOptions};

    #[tokio::test(start_paused = true)]
    async fn requests_of_others_are_shown_beside_our_own() {
        let server = SimServer::start(SimOptions::exact(Profile::tiny(), 2));
        let backend = MemoryBackend::new(server.clone(), Arc::default());
        let look = async || backend.occupancy(Look::Around).await.expect("an answer").expect("told");
        let idle = look().await;
        assert_eq!(idle.requests, Some(0));

        let mut foreign = server.generate(&GenerateSpec::new("theirs", 40)).expect("taken");
        let request = GenerateRequest { prompt: "ours".to_owned(), output_tokens: 10, seed: 1 };
        let minute = Duration::from_secs(60);
        let timeouts = Timeouts { first_token: minute, between_tokens: minute, total: minute };
        let timeline = Timeline::start();
        let (record, shared) = tokio::join!(backend.generate(&request, &timeline, Duration::ZERO, timeouts), look());
        assert!(record.succeeded());
        assert_eq!(shared.requests, Some(2));
        assert!(is_used_by_others(Some(&idle), &look().await));

        while foreign.next().await.is_some() {}
        let quiet = look().await;
        assert_eq!((quiet.requests, quiet.output_tokens.map(|counter| counter.total)), (Some(0), Some(50)));
        assert!(is_used_by_others(Some(&idle), &quiet));
        assert!(!is_used_by_others(Some(&quiet), &look().await));

        server.set_away(true);
        assert_eq!(backend.occupancy(Look::Around).await.expect_err("away").kind, FailureKind::Connect);
    }
}
