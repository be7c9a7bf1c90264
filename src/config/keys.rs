//! The table of keys: each key with its default, its bounds and where it goes.
//!
//! Defaults are `domain::plan`'s; the few that have no home there stand here.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::domain::plan::{
    Api, BudgetPlan, CellOrder, Connection, GridPlan, MetricsPlan, Prompts, ReportPlan, RequestPlan, SchedulePlan,
    Secret, StoragePlan, TargetPlan,
};
use crate::domain::{Endpoint, Grid};

use super::Config;
use super::files::Surroundings;
use super::problem::Fault;
use super::section::Section;
use super::tree::{Node, Value};
use super::value::{
    Choices, ServerUrl, axis, duration, flag, header, name, number, one_of, path, server_url, text, whole,
};

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const DAY: Duration = Duration::from_secs(86_400);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=DAY;
const PAUSE: RangeInclusive<Duration> = Duration::ZERO..=DAY;
const REPORT_EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);
pub(super) const REPORTS_KEPT: RangeInclusive<usize> = 1..=100_000;
pub(super) const PROMPT_TOKENS: RangeInclusive<u32> = 8..=16_384;
pub(super) const OUTPUT_TOKENS: RangeInclusive<u32> = 1..=32_768;
pub(super) const TEMPERATURE: RangeInclusive<f64> = 0.0..=2.0;
pub(super) const WARMUP_REQUESTS: RangeInclusive<u32> = 0..=100;
/// Seeds are shown in JSON and kept in SQLite; these are exact in both.
const SEED: RangeInclusive<u64> = 0..=(1 << 53) - 1;
/// Each target has series, a folder and tasks of its own.
const MOST_TARGETS: usize = 256;

pub(super) const APIS: Choices<Api> = &[("auto", Api::Auto), ("ollama", Api::Ollama), ("openai", Api::OpenAi)];
pub(super) const ENDPOINTS: Choices<Endpoint> =
    &[(Endpoint::Completions.as_str(), Endpoint::Completions), (Endpoint::Chat.as_str(), Endpoint::Chat)];
pub(super) const ORDERS: Choices<CellOrder> = &[("shuffled", CellOrder::Shuffled), ("ascending", CellOrder::Ascending)];
/// Whether prefix caches are avoided.
pub(super) const PREFIX_CACHE: Choices<bool> = &[("avoid", true), ("allow", false)];
pub(super) const PRESETS: Choices<Preset> = &[("auto", Preset::Auto), ("legacy", Preset::Legacy)];

/// A grid that has a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Preset {
    Auto,
    Legacy,
}

/// The whole file.
pub(super) fn config(root: &mut Section<'_>, around: Surroundings<'_>) -> Config {
    Config {
        storage: root.section("storage", storage),
        targets: targets(root, around),
        schedule: root.section("schedule", schedule),
        report: root.section("report", report),
        metrics: MetricsPlan::default(),
    }
}

fn storage(s: &mut Section<'_>) -> StoragePlan {
    let default = StoragePlan::default();
    StoragePlan { path: s.take_or("path", default.path, path), ..default }
}

fn targets(root: &mut Section<'_>, around: Surroundings<'_>) -> Vec<TargetPlan> {
    let mut names = BTreeSet::new();
    let targets = root.require_list("targets", "{name: local, url: http://127.0.0.1:11434}", |s| {
        let target = target(s, around)?;
        if !names.insert(target.name.clone()) {
            s.complain("name", Fault::new("is the name of an earlier target").hint("give each target its own"));
        }
        Some(target)
    });
    if targets.len() > MOST_TARGETS {
        root.complain("targets", Fault::new(format!("must hold at most {MOST_TARGETS} items")));
    }
    targets.into_iter().flatten().collect()
}

fn target(s: &mut Section<'_>, around: Surroundings<'_>) -> Option<TargetPlan> {
    let name = s.require("name", "workstation", name);
    let url = s.require("url", "http://127.0.0.1:11434", server_url);
    let model = s.take("model", text);
    let lane = s.take("lane", text);
    let connection = connection(s, around);
    let grid = s.section("grid", grid);
    let (request, connect_timeout) = s.section("request", |s| request(s, around));
    let ServerUrl { url, host } = url?;
    Some(TargetPlan {
        name: name?,
        model,
        connection: Connection { url, connect_timeout, ..connection },
        lane: lane.unwrap_or(host),
        grid,
        request,
        budget: BudgetPlan::default(),
    })
}

/// How the server is reached, but for the keys that stand elsewhere.
fn connection(s: &mut Section<'_>, around: Surroundings<'_>) -> Connection {
    let default = Connection::default();
    let api = s.take_or("api", default.api, one_of(APIS));
    let from_file = s.take("api_key_file", |node| around.key_file(node));
    let from_variable = s.take("api_key_env", |node| around.key_variable(node));
    s.exclude("api_key_file", "api_key_env");
    let api_key = from_file.or(from_variable);
    let headers = headers(s);
    let (tls_ca_file, tls_insecure_skip_verify) = s.section("tls", |s| {
        let ca_file = s.take("ca_file", |node| around.file(node));
        (ca_file, s.take_or("insecure_skip_verify", default.tls_insecure_skip_verify, flag))
    });
    Connection { api, api_key, headers, tls_ca_file, tls_insecure_skip_verify, ..default }
}

/// Names of headers know no case, so two that differ in it alone are one header twice.
fn headers(s: &mut Section<'_>) -> Vec<(String, Secret)> {
    let headers = s.entries("headers", header);
    let mut names = BTreeSet::new();
    for (name, _) in &headers {
        if !names.insert(name.to_ascii_lowercase()) {
            s.complain("headers", Fault::new(format!("name `{name}` twice")).hint("remove one of them"));
        }
    }
    if names.contains("authorization") {
        for key in ["api_key_file", "api_key_env"] {
            if s.has(key) {
                s.complain(key, Fault::new("excludes the header `authorization`").hint("keep one of them"));
            }
        }
    }
    headers
}

/// The default grid in the words of its keys.
pub(super) fn default_grid() -> (Preset, bool) {
    match GridPlan::default() {
        GridPlan::Automatic { share_equivalent_cells } => (Preset::Auto, share_equivalent_cells),
        GridPlan::Fixed(_) => (Preset::Legacy, true),
    }
}

fn grid(s: &mut Section<'_>) -> GridPlan {
    let (preset, share_equivalent_cells) = default_grid();
    let preset = s.take_or("preset", preset, one_of(PRESETS));
    let workers = s.take("workers", axis);
    let batch = s.take("batch", axis);
    let share_equivalent_cells = s.take_or("share_equivalent_cells", share_equivalent_cells, flag);
    for (axis, other) in [("workers", "batch"), ("batch", "workers")] {
        s.exclude("preset", axis);
        if s.has(axis) && !s.has(other) {
            s.complain(other, Fault::new(format!("is missing beside `{axis}`")).hint("give both, or neither"));
        }
    }
    match (workers, batch) {
        // The axes were checked when they were read.
        (Some(workers), Some(batch)) => {
            Grid::new(&workers, &batch, share_equivalent_cells).map(GridPlan::Fixed).unwrap_or_default()
        }
        _ if preset == Preset::Legacy => GridPlan::Fixed(Grid::legacy(share_equivalent_cells)),
        _ => GridPlan::Automatic { share_equivalent_cells },
    }
}

/// What every request is like, and how long a connection may take, which users look for
/// among the other time-outs.
fn request(s: &mut Section<'_>, around: Surroundings<'_>) -> (RequestPlan, Duration) {
    let default = RequestPlan::default();
    let built_in = s.take("prompt_tokens", whole(PROMPT_TOKENS)).map(|tokens| Prompts::BuiltIn { tokens });
    let from_file = s.take("prompts_file", |node| around.prompts(node));
    s.exclude("prompt_tokens", "prompts_file");
    let plan = RequestPlan {
        endpoint: s.take_or("endpoint", default.endpoint, one_of(ENDPOINTS)),
        prompts: from_file.or(built_in).unwrap_or(default.prompts),
        avoid_prefix_cache: s.take_or("prefix_cache", default.avoid_prefix_cache, one_of(PREFIX_CACHE)),
        output_tokens: s.take_or("output_tokens", default.output_tokens, whole(OUTPUT_TOKENS)),
        ignore_eos: s.take_or("ignore_eos", default.ignore_eos, flag),
        temperature: s.take_or("temperature", default.temperature, number(TEMPERATURE)),
        timeout: s.take_or("timeout", default.timeout, duration(TIMEOUT)),
        first_token_timeout: s.take_or("first_token_timeout", default.first_token_timeout, duration(TIMEOUT)),
        between_tokens_timeout: s.take_or("between_tokens_timeout", default.between_tokens_timeout, duration(TIMEOUT)),
    };
    (plan, s.take_or("connect_timeout", CONNECT_TIMEOUT, duration(TIMEOUT)))
}

fn schedule(s: &mut Section<'_>) -> SchedulePlan {
    let seed = match s.take_or("seed", None, seed) {
        Some(seed) => seed,
        None => draw_seed().map_err(|fault| s.complain("seed", fault)).unwrap_or_default(),
    };
    let default = SchedulePlan::with_seed(seed);
    SchedulePlan {
        order: s.take_or("order", default.order, one_of(ORDERS)),
        seed,
        pause_between_samples: s.take_or("pause_between_samples", default.pause_between_samples, duration(PAUSE)),
        warmup_requests: s.take_or("warmup_requests", default.warmup_requests, whole(WARMUP_REQUESTS)),
        ..default
    }
}

/// A number, or `None` for one that is drawn.
fn seed(node: &Node) -> Result<Option<u64>, Fault> {
    match &node.value {
        Value::Text(word) if word == "random" => Ok(None),
        Value::Whole(_) => whole(SEED)(node).map(Some),
        other => Err(Fault::new(format!("must be random or a whole number, not {}", other.kind()))),
    }
}

/// Half of what a seed can hold, for people type it back from a report.
pub(super) fn draw_seed() -> Result<u64, Fault> {
    SysRng
        .try_next_u32()
        .map(u64::from)
        .map_err(|error| Fault::new(format!("cannot be drawn: {error}")).hint("give a number"))
}

fn report(s: &mut Section<'_>) -> ReportPlan {
    let default = ReportPlan::default();
    ReportPlan {
        every: s.take_or("every", default.every, duration(REPORT_EVERY)),
        keep: s.take_or("keep", default.keep, whole(REPORTS_KEPT)),
    }
}
