//! One request, from just before its first byte is sent to the end of its stream.
//!
//! One stamp a read; time-outs; the record. Nothing is retried here.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Sleep, sleep_until, timeout};

use super::answer::Answer;
use super::body::{self, Addition};
use super::connect;
use super::decode::StreamEvent;
use super::framing::{Decoder, Framing};
use super::http::{Client, classify, read_bounded};
use super::identify::Identified;
use super::reader::PayloadReader;
use super::timeline::Timeline;
use crate::domain::plan::{Api, RequestPlan};
use crate::domain::{FailureKind, GenerateRequest, RequestFailure, RequestRecord, ServerKind};

/// An error answer is read up to this many bytes, for its words.
const ERROR_BODY_LIMIT: usize = 64 << 10;
/// After the last marker the body's end is awaited for so long, so that the connection can
/// be used again. It mostly came with the marker; a worker must not wait for it longer.
const DRAIN: Duration = Duration::from_millis(5);
/// The words of an error answer are awaited for so long.
const ERROR_BODY_PATIENCE: Duration = Duration::from_secs(1);
/// A body of more bytes than this is given up.
const BODY_LIMIT: u64 = 256 << 20;

/// When a request is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Since the later of its send and the server's last sign of progress on any request of
    /// the sample: a queue is not a fault.
    pub first_token: Duration,
    /// Since its last text-bearing chunk: comments and pings do not count.
    pub between_tokens: Duration,
    pub total: Duration,
}

/// Sends the requests of one target: all that does not change between them.
#[derive(Clone, Debug)]
pub struct Caller {
    client: Client,
    api: Api,
    model: String,
    plan: Arc<RequestPlan>,
    kind: ServerKind,
    additions: Vec<Addition>,
}

/// Fields that a server refused, and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    pub fields: Vec<&'static str>,
    pub reason: String,
}

impl Caller {
    /// A caller in the tongue of the server that was identified.
    pub fn new(client: Client, identified: &Identified, plan: Arc<RequestPlan>) -> Self {
        let kind = identified.identity.kind;
        let additions = body::additions(kind, &plan);
        Self { client, api: identified.api, model: identified.identity.model.clone(), plan, kind, additions }
    }

    pub fn kind(&self) -> ServerKind {
        self.kind
    }

    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether what was settled with one server holds for the one that is seen now.
    pub fn fits(&self, seen: &Identified) -> bool {
        self.api == seen.api && self.kind == seen.identity.kind && self.model == seen.identity.model
    }

    /// Sends a request once; where the server refuses fields of it, again without them.
    ///
    /// For warm-ups only. Returns every attempt, and what was dropped for good. Where even
    /// the barest request is refused, the fields were not to blame and none is dropped.
    pub async fn negotiate(
        &mut self,
        request: &GenerateRequest,
        timeline: &Timeline,
        timeouts: Timeouts,
    ) -> (Vec<RequestRecord>, Option<Dropped>) {
        let wanted = self.additions.clone();
        let mut attempts = Vec::new();
        let mut reason = String::new();
        let mut was_refused = false;
        loop {
            let record = self.generate(request, timeline, timeline.now(), timeouts).await;
            let refusal = record.failure.clone().filter(|failure| failure.kind == FailureKind::Http4xx);
            attempts.push(record);
            match refusal {
                Some(refusal) if is_about_fields(&refusal) && !self.additions.is_empty() && self.api == Api::OpenAi => {
                    let is_named = self.additions.iter().any(|addition| names(&refusal.detail, addition.field()));
                    // A refusal that names none of them may be a passing one.
                    if is_named || std::mem::replace(&mut was_refused, true) {
                        self.drop_refused(&refusal.detail);
                        reason = refusal.detail;
                    }
                }
                Some(_) => {
                    self.additions = wanted;
                    return (attempts, None);
                }
                None => break,
            }
        }
        let fields: Vec<_> = wanted.iter().filter(|a| !self.additions.contains(a)).map(|a| a.field()).collect();
        (attempts, (!fields.is_empty()).then_some(Dropped { fields, reason }))
    }

    /// Drops the additions that the server names, or all that are not the length's name.
    fn drop_refused(&mut self, words: &str) {
        let named: Vec<Addition> = self.additions.iter().copied().filter(|a| names(words, a.field())).collect();
        if named.is_empty() {
            let only_length = self.additions == [Addition::MaxTokens];
            self.additions.retain(|&addition| addition == Addition::MaxTokens && !only_length);
        } else {
            self.additions.retain(|addition| !named.contains(addition));
        }
    }

    /// Sends one request and reads its answer to the end. Never fails: a failure is in the record.
    pub async fn generate(
        &self,
        request: &GenerateRequest,
        timeline: &Timeline,
        due: Duration,
        timeouts: Timeouts,
    ) -> RequestRecord {
        let (path, body) = match self.api {
            Api::Ollama => body::ollama(&self.model, request, &self.plan),
            Api::OpenAi | Api::Auto => body::openai(&self.model, request, &self.plan, &self.additions),
        };
        let mut answer = Answer::new(request.output_tokens, body.len());
        let http = self.client.post(path, body, closes_after_streams(self.kind));
        let sent = timeline.now();
        let sleep = Box::pin(sleep_until(timeline.instant(sent)));
        let mut watch = Watch { timeline, timeouts, sent, sleep, has_text: false };
        let ended = self.converse(http, &mut answer, &mut watch).await;
        let sent = watch.sent;
        let (chunks, tokens, timings, failure) = answer.into_parts();
        let failure = failure.map(|failure| self.client.redacted(failure));
        RequestRecord { due, sent, ended, chunks, tokens, timings, asked_tokens: request.output_tokens, failure }
    }

    /// Sends, reads, and returns the time of the end.
    async fn converse(&self, http: reqwest::RequestBuilder, answer: &mut Answer, watch: &mut Watch<'_>) -> Duration {
        let (response, connected) = tokio::select! {
            biased;
            outcome = connect::send(http) => outcome,
            kind = watch.expired(None) => {
                answer.fail(kind, "no answer from the server");
                return watch.timeline.now();
            }
        };
        // A connection is set up before anything is sent on it.
        watch.sent = connected.map_or(watch.sent, |instant| watch.timeline.at(instant));
        match response {
            Err(error) => {
                let failure = classify(&error);
                answer.fail(failure.kind, &failure.detail);
                watch.timeline.now()
            }
            Ok(response) if !response.status().is_success() => {
                let ended = watch.timeline.now();
                let failure = self.refusal(response).await;
                answer.fail(failure.kind, &failure.detail);
                ended
            }
            Ok(response) => self.read(response, answer, watch).await,
        }
    }

    /// Names an answer with an error status.
    async fn refusal(&self, response: reqwest::Response) -> RequestFailure {
        let status = response.status().as_u16();
        let kind = match status {
            300..=399 => FailureKind::Http3xx,
            429 => FailureKind::RateLimited,
            400..=499 => FailureKind::Http4xx,
            500..=599 => FailureKind::Http5xx,
            _ => FailureKind::Protocol,
        };
        let body = timeout(ERROR_BODY_PATIENCE, read_bounded(response, ERROR_BODY_LIMIT)).await;
        let words = self.client.error_words(&body.unwrap_or_default().0);
        RequestFailure::new(kind, format!("{status}: {words}"))
    }

    /// Reads a stream to its end and returns the time of it.
    async fn read(&self, mut response: reqwest::Response, answer: &mut Answer, watch: &mut Watch<'_>) -> Duration {
        let framing = if self.api == Api::Ollama { Framing::JsonLines } else { Framing::ServerSentEvents };
        let (mut decoder, mut reader) = (Decoder::new(framing), PayloadReader::new(framing));
        let mut read_bytes = 0_u64;
        let mut take = |payload: &[u8], at: Duration, answer: &mut Answer| match reader.read(payload) {
            Ok(event) => {
                let error = event.error.map(|words| self.client.redacted_words(&words));
                answer.take(StreamEvent { error, ..event }, at);
            }
            Err(error) => {
                let error = self.client.redacted_words(&error.to_string());
                answer.fail(FailureKind::Protocol, &format!("a payload that is not understood: {error}"));
            }
        };
        loop {
            let read = tokio::select! {
                biased;
                read = response.chunk() => read,
                kind = watch.expired(answer.last_text_at()) => {
                    answer.fail(kind, "the server fell silent");
                    return watch.timeline.now();
                }
            };
            let at = watch.timeline.now();
            match read {
                Ok(Some(bytes)) => {
                    read_bytes += bytes.len() as u64;
                    let framed = decoder.push(&bytes, |payload| take(payload, at, answer));
                    if framed.is_err() || read_bytes > BODY_LIMIT {
                        answer.fail(FailureKind::TooLarge, "more bytes than any answer needs");
                    }
                    if answer.last_text_at() == Some(at) {
                        watch.timeline.note_progress(at);
                    }
                }
                Ok(None) => {
                    if decoder.finish(|payload| take(payload, at, answer)).is_err() {
                        answer.fail(FailureKind::TooLarge, "more bytes than any answer needs");
                    }
                    answer.note_end();
                    return at;
                }
                Err(error) => {
                    let failure = classify(&error);
                    answer.fail(failure.kind, &failure.detail);
                    return at;
                }
            }
            if answer.is_over() {
                answer.note_end();
                if !answer.has_failed() {
                    drain(response).await;
                }
                return at;
            }
        }
    }
}

/// Whether a server of that kind closes the connection after each stream, without saying so
/// beforehand: the next request on it would be lost. llama.cpp's does (seen in October 2026).
fn closes_after_streams(kind: ServerKind) -> bool {
    kind == ServerKind::LlamaCpp
}

/// Reads what follows the last marker, so that the connection goes back to the pool.
async fn drain(mut response: reqwest::Response) {
    let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
    // Late is no fault: the connection is closed instead.
    let _ = timeout(DRAIN, rest).await;
}

/// Whether a refusal may be for fields that the server does not know: 400 or 422.
fn is_about_fields(refusal: &RequestFailure) -> bool {
    refusal.detail.starts_with("400") || refusal.detail.starts_with("422")
}

/// Whether `words` name `field`, not merely a longer word that holds it.
fn names(words: &str, field: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    words.split(|c| !part_of_word(c)).any(|word| word == field)
}

/// Watches over the time-outs of one request.
struct Watch<'a> {
    timeline: &'a Timeline,
    timeouts: Timeouts,
    sent: Duration,
    /// Armed at a deadline that was right once. Deadlines move away with every token, so it
    /// is looked at when it fires; only the first token may bring one nearer.
    sleep: std::pin::Pin<Box<Sleep>>,
    has_text: bool,
}

impl Watch<'_> {
    /// Completes when the request has run out of time, and says of which.
    async fn expired(&mut self, last_text: Option<Duration>) -> FailureKind {
        if last_text.is_some() && !self.has_text {
            self.has_text = true;
            let (deadline, _) = self.deadline(last_text);
            self.sleep.as_mut().reset(self.timeline.instant(deadline));
        }
        loop {
            self.sleep.as_mut().await;
            let (deadline, kind) = self.deadline(last_text);
            if self.timeline.now() >= deadline {
                return kind;
            }
            self.sleep.as_mut().reset(self.timeline.instant(deadline));
        }
    }

    fn deadline(&self, last_text: Option<Duration>) -> (Duration, FailureKind) {
        let silence = match last_text {
            None => (
                self.sent.max(self.timeline.last_progress()) + self.timeouts.first_token,
                FailureKind::TimeoutFirstToken,
            ),
            Some(last) => (last + self.timeouts.between_tokens, FailureKind::TimeoutBetweenTokens),
        };
        let total = (self.sent + self.timeouts.total, FailureKind::TimeoutTotal);
        if total.0 < silence.0 { total } else { silence }
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
