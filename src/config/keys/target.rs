//! One model on one server: where it is, what is asked of it, and how much.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::domain::Grid;
use crate::domain::plan::{Connection, GridPlan, Prompts, RequestPlan, Secret, TargetPlan};
use crate::domain::slots::SlotsMode;

use super::super::files::Surroundings;
use super::super::kind::{duration, flag, number, one_of, text, whole};
use super::super::problem::Fault;
use super::super::section::Section;
use super::super::value::{HEADER_NAME, ServerUrl, axis, header, name, server_url};
use super::budget::{budget, largest};
use super::environment::environment;
use super::slots::{Served, slots};
use super::validity::validity;
use super::{
    APIS, CONNECT_TIMEOUT, ENDPOINTS, MOST_TARGETS, OUTPUT_TOKENS, PREFIX_CACHE, PRESETS, PROMPT_TOKENS, Preset,
    TEMPERATURE, TIMEOUT,
};

/// All targets; the warm-ups are the schedule's, and a budget counts them.
pub(super) fn targets(root: &mut Section<'_>, around: Surroundings<'_>, warmup_requests: u32) -> Vec<TargetPlan> {
    let mut names = BTreeSet::new();
    let example = "{name: local, url: http://127.0.0.1:11434}";
    let targets = root.require_list("targets", MOST_TARGETS, example, |s| {
        let target = target(s, around, warmup_requests)?;
        if !names.insert(target.name.clone()) {
            s.complain("name", Fault::new("is the name of an earlier target").hint("give each target its own"));
        }
        Some(target)
    });
    targets.into_iter().flatten().collect()
}

fn target(s: &mut Section<'_>, around: Surroundings<'_>, warmup_requests: u32) -> Option<TargetPlan> {
    let name = s.require("name", "workstation", name());
    let url = s.require("url", "http://127.0.0.1:11434", server_url());
    let model = s.take("model", text());
    let lane = s.take("lane", text());
    let connection = connection(s, around);
    let served = Served { server: url.as_ref(), model: model.as_deref(), around };
    let slots = s.section("slots", |s| slots(s, served));
    let grid = s.section("grid", |s| grid(s, slots.mode()));
    let (request, connect_timeout) = s.section("request", |s| request(s, around));
    let largest = largest(&grid, &request, warmup_requests);
    let budget = s.section("budget", |s| budget(s, largest));
    let environment = s.section("environment", |s| environment(s, around, slots.mode()));
    let validity = s.section("validity", validity);
    let ServerUrl { url, host, .. } = url?;
    Some(TargetPlan {
        name: name?,
        model,
        connection: Connection { url, connect_timeout, ..connection },
        lane: lane.unwrap_or(host),
        grid,
        slots,
        request,
        budget,
        environment,
        validity,
    })
}

/// How the server is reached, but for the keys that stand elsewhere.
fn connection(s: &mut Section<'_>, around: Surroundings<'_>) -> Connection {
    let default = Connection::default();
    let api = s.take_or("api", default.api, one_of(APIS));
    let (from_file, api_key_file) = s.take("api_key_file", around.key_file()).unzip();
    let from_variable = s.take("api_key_env", around.key_variable());
    s.exclude("api_key_file", "api_key_env");
    let api_key = from_file.or(from_variable);
    let headers = headers(s);
    let (tls_authorities, tls_insecure_skip_verify) = s.section("tls", |s| {
        let authorities = s.take("ca_file", around.authorities());
        (authorities, s.take_or("insecure_skip_verify", default.tls_insecure_skip_verify, flag()))
    });
    Connection { api, api_key, api_key_file, headers, tls_authorities, tls_insecure_skip_verify, ..default }
}

/// Names of headers know no case, so two that differ in it alone are one header twice.
pub(super) fn headers(s: &mut Section<'_>) -> Vec<(String, Secret)> {
    let headers = s.entries("headers", HEADER_NAME, text(), |name, value| header(name, &value));
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
pub(in crate::config) fn default_grid() -> (Preset, bool) {
    match GridPlan::default() {
        GridPlan::Automatic { share_equivalent_cells } => (Preset::Auto, share_equivalent_cells),
        GridPlan::Fixed(_) => (Preset::Legacy, true),
    }
}

/// Cells are shared in client mode alone: where each row has a server of its own, no two
/// cells are the same work.
fn grid(s: &mut Section<'_>, slots: SlotsMode) -> GridPlan {
    let (preset, shared_by_default) = default_grid();
    let is_client = slots == SlotsMode::Client;
    let preset = s.take_or("preset", preset, one_of(PRESETS));
    let workers = s.take("workers", axis());
    let batch = s.take("batch", axis());
    let share_equivalent_cells = s.take_or("share_equivalent_cells", shared_by_default && is_client, flag());
    if share_equivalent_cells && !is_client {
        let fault = Fault::new("excludes `slots.mode: server`, whose rows are servers of their own");
        s.complain("share_equivalent_cells", fault.hint("remove it, or set it to false"));
    }
    s.exclude("preset", "workers");
    s.exclude("preset", "batch");
    s.pair("workers", "batch");
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
    let from_file = s.take("prompts_file", around.prompts());
    s.exclude("prompt_tokens", "prompts_file");
    let plan = RequestPlan {
        endpoint: s.take_or("endpoint", default.endpoint, one_of(ENDPOINTS)),
        prompts: from_file.or(built_in).unwrap_or(default.prompts),
        avoid_prefix_cache: s.take_or("prefix_cache", default.avoid_prefix_cache, one_of(PREFIX_CACHE)),
        output_tokens: s.take_or("output_tokens", default.output_tokens, whole(OUTPUT_TOKENS)),
        ignore_eos: s.take_or("ignore_eos", default.ignore_eos, flag()),
        temperature: s.take_or("temperature", default.temperature, number(TEMPERATURE)),
        timeout: s.take_or("timeout", default.timeout, duration(TIMEOUT)),
        first_token_timeout: s.take_or("first_token_timeout", default.first_token_timeout, duration(TIMEOUT)),
        between_tokens_timeout: s.take_or("between_tokens_timeout", default.between_tokens_timeout, duration(TIMEOUT)),
    };
    (plan, s.take_or("connect_timeout", CONNECT_TIMEOUT, duration(TIMEOUT)))
}
