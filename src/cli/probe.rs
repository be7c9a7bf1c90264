//! Asks the server of a target who it is, and how fast it answers one request.
//!
//! The request goes the way of every measured one, so that what is learned holds for them.

use std::sync::Arc;
use std::time::Duration;

use super::bill::Pace;
use crate::client::{Client, Dropped, Timeline, Timeouts};
use crate::domain::plan::{RequestPlan, TargetPlan};
use crate::domain::{FailureKind, GenerateRequest, RequestFailure, RequestRecord, ServerIdentity};
use crate::soak::order::generator;
use crate::soak::{Backend as _, HttpBackend, WallClock, prompts};

/// What a server told of itself, and what became of a request.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) identity: ServerIdentity,
    /// `None` where none was sent.
    pub(super) answer: Option<Result<Answer, RequestFailure>>,
}

/// An answer to one request that had the server to itself.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) pace: Pace,
    pub(super) output_tokens: u64,
    /// As the server counts them.
    pub(super) prompt_tokens: Option<u64>,
    /// Fields that it refused.
    pub(super) dropped: Option<Dropped>,
}

/// Asks a target's server; `sends` says whether it is sent requests, too.
pub(super) async fn probe(target: &TargetPlan, sends: bool) -> Result<Seen, RequestFailure> {
    let backend = HttpBackend::new(client(target)?, target.model.clone(), Arc::new(target.request.clone()));
    let seen = backend.identify().await?;
    if !sends {
        return Ok(Seen { identity: seen.identity, answer: None });
    }
    let answer = converse(&backend, &target.request).await;
    // Some servers tell more once the model is loaded.
    let identity = backend.identify().await.map_or(seen.identity, |seen| seen.identity);
    Ok(Seen { identity, answer: Some(answer) })
}

/// Whether somebody is at the address that a server of this program's is to have.
pub(super) async fn is_taken(target: &TargetPlan) -> Result<bool, RequestFailure> {
    Ok(client(target)?.is_answered().await)
}

fn client(target: &TargetPlan) -> Result<Client, RequestFailure> {
    Client::new(&target.connection).map_err(|error| RequestFailure::new(FailureKind::NotStarted, error.to_string()))
}

/// A short request, which loads the model and settles the fields, and then one of full length.
async fn converse(backend: &HttpBackend, plan: &RequestPlan) -> Result<Answer, RequestFailure> {
    let timeouts = Timeouts {
        first_token: plan.first_token_timeout,
        between_tokens: plan.between_tokens_timeout,
        total: plan.timeout,
    };
    let first = request(plan, plan.warmup_tokens(), 0)?;
    let (attempts, dropped) = backend.negotiate(&first, &Timeline::start(), timeouts).await;
    if let Some(failure) = attempts.into_iter().next_back().and_then(|last| last.failure) {
        return Err(failure);
    }
    let second = request(plan, plan.output_tokens, 1)?;
    let record = backend.generate(&second, &Timeline::start(), Duration::ZERO, timeouts).await;
    let pace = pace(&record);
    match record.failure {
        Some(failure) => Err(failure),
        None => Ok(Answer { pace, output_tokens: record.tokens.output, prompt_tokens: record.tokens.prompt, dropped }),
    }
}

/// A request as a sample has them. The time salts the prompt, so that no cache knows it.
fn request(plan: &RequestPlan, tokens: u32, number: u64) -> Result<GenerateRequest, RequestFailure> {
    let salt = WallClock::System.now().as_millisecond().cast_unsigned();
    let mut requests = prompts::requests(plan, 1, tokens, &mut generator(salt, &[number]));
    requests.pop().ok_or_else(|| RequestFailure::new(FailureKind::NotStarted, "there is no prompt"))
}

/// How fast an answer came. Of one that came in a single piece, all is its first token.
fn pace(record: &RequestRecord) -> Pace {
    let first_token = record.time_to_first_token().unwrap_or_else(|| record.duration());
    Pace { first_token, step: record.time_per_output_token().unwrap_or_default() }
}
