//! The configuration that README shows: every key, its default, and what it is for.
//!
//! Defaults, bounds and choices are written from the values that the reader uses. A test
//! reads the text back and compares; another finds every known key in it.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::domain::plan::{Connection, Prompts, ReportPlan, RequestPlan, SchedulePlan};

use super::duration::show;
use super::keys::{
    APIS, CONNECT_TIMEOUT, ENDPOINTS, ORDERS, OUTPUT_TOKENS, PREFIX_CACHE, PRESETS, PROMPT_TOKENS, Preset,
    REPORTS_KEPT, STORAGE_PATH, TEMPERATURE, WARMUP_REQUESTS,
};
use super::value::{Choices, words};

/// A configuration file of one target in which every key has its default value.
///
/// A key that is commented out has no value by default; what stands there is an example.
pub fn default_yaml() -> String {
    [storage(), target(), request(), schedule(), report()].concat()
}

fn storage() -> String {
    format!(
        "\
storage:
  path: {STORAGE_PATH}                           # folder of the history and the reports; relative to the working directory
"
    )
}

fn target() -> String {
    let default = Connection::default();
    format!(
        "\
targets:                                 # at least one: one model on one server each
  - name: workstation                    # labels series, names the report's folder: 1 to 64 of A-Z a-z 0-9 . _ -
    url: http://127.0.0.1:11434          # http or https; a path is kept, credentials are refused
    # model: gemma3:4b                   # left out: the server's first model
    api: {api:<31} # {apis}
    # lane: gpu0                         # targets of one lane never run at the same time; left out: the URL's host
    # api_key_file: /run/secrets/key     # sent as a bearer token; relative files lie beside this file
    # api_key_env: LLM_API_KEY           # the same, from an environment variable
    headers: {{}}                          # sent with every request, name: value
    tls:
      # ca_file: ca.pem                  # certificates to trust beside the system's
      insecure_skip_verify: {insecure:<12} # true: any certificate will do
    grid:                                # a preset, or both lists
      preset: {preset:<24} # {presets}; auto: powers of two fitted to the server's slots, legacy: 14 × 9
      # workers: [1, 2, 4, 8]            # requests worked on at once
      # batch: [1, 4, 16, 32]            # requests in one measurement
      share_equivalent_cells: true       # cells of one batch with workers >= batch are measured once
",
        api = word(APIS, default.api),
        apis = words(APIS, " | "),
        insecure = default.tls_insecure_skip_verify,
        preset = word(PRESETS, Preset::Auto),
        presets = words(PRESETS, " | "),
    )
}

fn request() -> String {
    let default = RequestPlan::default();
    let prompt_tokens = match default.prompts {
        Prompts::BuiltIn { tokens } => tokens.to_string(),
        Prompts::Lines { .. } => String::new(),
    };
    format!(
        "\
    request:
      endpoint: {endpoint:<22} # {endpoints}
      prompt_tokens: {prompt_tokens:<17} # length of the built-in prompts, {prompt_bounds}
      # prompts_file: prompts.txt        # in their place: one prompt a line
      prefix_cache: {cache:<18} # {caches}; avoid: each prompt starts with words of its own
      output_tokens: {output_tokens:<17} # length of an answer, {output_bounds}
      ignore_eos: {ignore_eos:<20} # true: answers run to that length where the server allows it
      temperature: {temperature:<19} # {temperature_bounds}
      timeout: {timeout:<23} # the least that a whole request is given
      connect_timeout: {connect:<15} # for the connection
      first_token_timeout: {first:<11} # since the server's last sign of progress on any request of the sample
      between_tokens_timeout: {between:<8} # from one token to the next
",
        endpoint = word(ENDPOINTS, default.endpoint),
        endpoints = words(ENDPOINTS, " | "),
        prompt_bounds = bounds(&PROMPT_TOKENS),
        cache = word(PREFIX_CACHE, default.avoid_prefix_cache),
        caches = words(PREFIX_CACHE, " | "),
        output_tokens = default.output_tokens,
        output_bounds = bounds(&OUTPUT_TOKENS),
        ignore_eos = default.ignore_eos,
        temperature = default.temperature,
        temperature_bounds = bounds(&TEMPERATURE),
        timeout = show(default.timeout),
        connect = show(CONNECT_TIMEOUT),
        first = show(default.first_token_timeout),
        between = show(default.between_tokens_timeout),
    )
}

fn schedule() -> String {
    let default = SchedulePlan::with_seed(0);
    format!(
        "\
schedule:
  order: {order:<29} # {orders}; shuffled: anew in each cycle
  seed: random                           # or a number; the one in use is in the history and the report
  pause_between_samples: {pause:<15} # the server's rest
  warmup_requests: {warmups:<21} # for each worker, before each sample, {warmup_bounds}
",
        order = word(ORDERS, default.order),
        orders = words(ORDERS, " | "),
        pause = show(default.pause_between_samples),
        warmups = default.warmup_requests,
        warmup_bounds = bounds(&WARMUP_REQUESTS),
    )
}

fn report() -> String {
    let default = ReportPlan::default();
    format!(
        "\
report:
  every: {every:<29} # from one report to the next
  keep: {keep:<30} # reports kept for each target, {kept_bounds}
",
        every = show(default.every),
        keep = default.keep,
        kept_bounds = bounds(&REPORTS_KEPT),
    )
}

/// The word that means `value`.
fn word<T: PartialEq>(choices: Choices<T>, value: T) -> &'static str {
    choices.iter().find(|(_, meaning)| *meaning == value).map_or("", |(word, _)| word)
}

fn bounds(range: &RangeInclusive<impl Display>) -> String {
    format!("{} to {}", range.start(), range.end())
}
