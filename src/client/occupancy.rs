//! Asks a server how many requests it works on, whoever sent them.
//!
//! One cheap GET a look: it is taken while samples run. A server has one or more doors for
//! the question; the first that is open is used. A door that turns out to be shut stays so
//! until the server is identified anew, so that nobody knocks in vain twice a second.
//!
//! llama.cpp's averages `predicted_tokens_seconds` and `prompt_tokens_seconds` are, but for
//! some builds of 2026, of the time since the last GET of its `/metrics`, whoever sent that:
//! while a sample runs the page is left to the owner where another one tells enough.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::Value;

use super::exposition::count as counted;
use super::http::{Client, PROBE_LIMIT, Probed};
use super::identify::{list, text};
use crate::domain::{FailureKind, Look, Occupancy, RequestFailure, ServerKind, TokenCounter};

/// Models of which the uses are kept.
const MOST_MODELS: usize = 100;

/// A page that tells of a server's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    /// With `--metrics` only. Always of the moment, and complete: tokens, and requests that
    /// wait for a slot, are told nowhere else. Each GET resets averages of the owner's.
    LlamaCppMetrics,
    /// Unless `--no-slots`.
    LlamaCppSlots,
    VllmMetrics,
    /// Since 2026; the older [`Door::SglangLoad`] tells the same. Both ask the scheduler.
    SglangLoads,
    SglangLoad,
    /// With `--enable-metrics` only. Its numbers of requests are left alone: they are
    /// refreshed every forty steps, and up to 30 s after the last one.
    SglangMetrics,
    TgiMetrics,
    OllamaLoaded,
}

/// The doors of a kind of server, the best first.
const fn doors(kind: ServerKind, look: Look) -> &'static [Door] {
    match kind {
        ServerKind::LlamaCpp => match look {
            Look::Around => &[Door::LlamaCppMetrics, Door::LlamaCppSlots],
            Look::During => &[Door::LlamaCppSlots, Door::LlamaCppMetrics],
        },
        ServerKind::Vllm => &[Door::VllmMetrics],
        ServerKind::Sglang => &[Door::SglangLoads, Door::SglangLoad, Door::SglangMetrics],
        ServerKind::Tgi => &[Door::TgiMetrics],
        ServerKind::Ollama => &[Door::OllamaLoaded],
        ServerKind::LmStudio | ServerKind::OpenAiCompatible => &[],
    }
}

/// The doors of one server that were found shut.
#[derive(Debug, Default)]
pub(super) struct ShutDoors(AtomicU8);

impl ShutDoors {
    fn has(&self, door: Door) -> bool {
        self.0.load(Ordering::Relaxed) & door.bit() != 0
    }

    fn add(&self, door: Door) {
        self.0.fetch_or(door.bit(), Ordering::Relaxed);
    }

    /// It may be another server now, or have other flags.
    pub(super) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Client {
    /// Looks at what the server works on; `None` where a server of that kind does not tell.
    /// A failure says nothing of the server's doors: it may pass.
    pub async fn occupancy(&self, kind: ServerKind, look: Look) -> Result<Option<Occupancy>, RequestFailure> {
        for &door in doors(kind, look).iter().filter(|&&door| !self.shut_doors.has(door)) {
            let probed = self.probe(door.path()).await.map_err(|failure| self.redacted(failure))?;
            if let Some(failure) = passing_failure(self, door, &probed) {
                return Err(self.redacted(failure));
            }
            let told = if probed.succeeded() && probed.is_whole { door.read(&probed.body) } else { None };
            if told.is_some() {
                return Ok(told);
            }
            self.shut_doors.add(door);
        }
        Ok(None)
    }
}

/// What is wrong with a server that has the page and cannot show it now. llama.cpp answers
/// 501 where the page is switched off.
fn passing_failure(client: &Client, door: Door, probed: &Probed) -> Option<RequestFailure> {
    let path = door.path();
    let kind = match probed.status {
        429 => FailureKind::RateLimited,
        500 | 502..=599 => FailureKind::Http5xx,
        // Half a page would be half a sum. One beyond the limit will be so the next time too.
        _ if !probed.is_whole && probed.body.len() < PROBE_LIMIT => {
            return Some(RequestFailure::new(FailureKind::Reset, format!("{path}: the answer broke off")));
        }
        _ => return None,
    };
    let words = client.error_words(&probed.body);
    Some(RequestFailure::new(kind, format!("{path}: {}: {words}", probed.status)))
}

impl Door {
    const fn bit(self) -> u8 {
        1 << self as u8
    }

    const fn path(self) -> &'static str {
        match self {
            Self::LlamaCppMetrics | Self::VllmMetrics | Self::SglangMetrics | Self::TgiMetrics => "/metrics",
            Self::LlamaCppSlots => "/slots",
            Self::SglangLoads => "/v1/loads?include=core",
            Self::SglangLoad => "/get_load",
            Self::OllamaLoaded => "/api/ps",
        }
    }

    /// What the page tells; `None` for a page that is another one.
    fn read(self, page: &[u8]) -> Option<Occupancy> {
        let json = || serde_json::from_slice::<Value>(page).ok();
        match self {
            Self::LlamaCppMetrics => told(
                working_and_waiting(page, "llamacpp:requests_processing", "llamacpp:requests_deferred"),
                counted(page, "llamacpp:tokens_predicted_total").map(six_digits),
            ),
            Self::LlamaCppSlots => told(busy_slots(&json()?), None),
            Self::VllmMetrics => told(
                working_and_waiting(page, "vllm:num_requests_running", "vllm:num_requests_waiting"),
                counted(page, "vllm:generation_tokens_total").map(|total| exactly(total, true)),
            ),
            Self::SglangLoads => {
                told(sum_of_ranks(json()?.get("loads")?, &["num_running_reqs", "num_waiting_reqs"]), None)
            }
            // Those that wait are in it.
            Self::SglangLoad => told(sum_of_ranks(&json()?, &["num_reqs"]), None),
            Self::SglangMetrics => {
                let spellings = ["sglang:generation_tokens_total", "sglang_generation_tokens_total"];
                let total = spellings.into_iter().find_map(|family| counted(page, family));
                told(None, total.map(|total| exactly(total, false)))
            }
            Self::TgiMetrics => told(
                working_and_waiting(page, "tgi_batch_current_size", "tgi_queue_size"),
                counted(page, "tgi_request_generated_tokens_sum").map(|total| exactly(total, false)),
            ),
            Self::OllamaLoaded => loaded(&json()?),
        }
    }
}

fn told(requests: Option<u32>, output_tokens: Option<TokenCounter>) -> Option<Occupancy> {
    let is_told = requests.is_some() || output_tokens.is_some();
    is_told.then(|| Occupancy { requests, output_tokens, ..Occupancy::default() })
}

/// Requests of two gauges; where the second is missing, none wait.
fn working_and_waiting(page: &[u8], working: &str, waiting: &str) -> Option<u32> {
    let sum = counted(page, working)?.checked_add(counted(page, waiting).unwrap_or(0))?;
    u32::try_from(sum).ok()
}

const fn exactly(total: u64, is_live: bool) -> TokenCounter {
    TokenCounter { total, uncertainty: 0, is_live }
}

/// llama.cpp prints six digits and an exponent: from a million tokens on the total is rounded.
fn six_digits(total: u64) -> TokenCounter {
    let step = 10_u64.pow(total.checked_ilog10().unwrap_or(0).saturating_sub(5));
    TokenCounter { total, uncertainty: step / 2, is_live: false }
}

/// llama.cpp's `GET /slots`. Requests that wait for a slot are not in it.
fn busy_slots(page: &Value) -> Option<u32> {
    let slots = page.as_array().filter(|slots| !slots.is_empty())?;
    let is_busy = |slot: &Value| slot.get("is_processing")?.as_bool().map(u32::from);
    slots.iter().map(is_busy).sum()
}

/// SGLang's numbers of requests, one entry a data-parallel rank.
fn sum_of_ranks(ranks: &Value, members: &[&str]) -> Option<u32> {
    let ranks = ranks.as_array().filter(|ranks| !ranks.is_empty())?;
    let counts = ranks.iter().flat_map(|rank| members.iter().map(|&member| rank.get(member)?.as_u64()));
    counts.reduce(|sum, count| sum?.checked_add(count?))?.and_then(|sum| u32::try_from(sum).ok())
}

/// Ollama's `GET /api/ps`. When a model expires is set anew each time it falls idle; of
/// requests that are under way nothing is told.
fn loaded(page: &Value) -> Option<Occupancy> {
    page.get("models")?;
    let uses: BTreeMap<String, String> = list(page, "/models")
        .iter()
        .take(MOST_MODELS)
        .filter_map(|model| Some((text(model, "/name")?, text(model, "/expires_at")?)))
        .collect();
    Some(Occupancy { uses, ..Occupancy::default() })
}

#[cfg(test)]
#[path = "occupancy_tests.rs"]
mod tests;
