//! The text of one target.

use super::{Draft, bounds, optional, scalar, word};
use crate::domain::duration::show;
use crate::domain::plan::{Connection, EnvironmentPlan, Prompts, RequestPlan, ValidityPlan};
use crate::domain::slots::{CommandPlan, SlotsMode};

use super::super::keys::{
    APIS, CONNECT_TIMEOUT, CONTEXT_PER_SLOT, ENDPOINTS, GPU_PROBES, OUTPUT_TOKENS, PREFIX_CACHE, PRESETS,
    PROMPT_TOKENS, READY_TIMEOUT, SERVER_PRESETS, SLOTS_MODES, TEMPERATURE, default_grid,
};
use super::super::kind::{percent, words};

/// All keys of one target.
pub(super) fn target(draft: &Draft) -> String {
    [connection(draft), grid(draft), slots(), request(draft), budget(), environment(), validity()].concat()
}

fn connection(draft: &Draft) -> String {
    let default = Connection::default();
    format!(
        "targets: # at least one; each is one model on one server
  - name: {name} # labels series and names a folder of reports: 1 to 64 of A-Z a-z 0-9 . _ -
    url: {url} # http or https, perhaps with a path; no credentials
    {model} # left out: the server's first
    api: {api} # {apis}; auto: found out by asking
    # lane: gpu0 # targets of one lane never run at the same time; left out: the URL's host
    {api_key_file} # sent as a bearer token; relative files lie beside this one
    # api_key_env: LLM_API_KEY # or the environment variable that holds it
    headers: {{}} # sent with every request, as `name: value`
    tls:
      # ca_file: ca.pem # PEM certificates to trust beside the system's
      insecure_skip_verify: {insecure} # true: the server's certificate is not looked at
",
        name = scalar(&draft.name),
        url = scalar(&draft.url),
        model = optional("model", draft.model.as_deref(), "gemma3:4b"),
        api_key_file = optional("api_key_file", draft.api_key_file.as_deref(), "/run/secrets/key"),
        api = word(APIS, default.api),
        apis = words(APIS, " | "),
        insecure = default.tls_insecure_skip_verify,
    )
}

fn grid(draft: &Draft) -> String {
    let (preset, _) = default_grid();
    // A key that is not used starts with a mark.
    let (preset_mark, axes_mark) = if draft.axes.is_some() { ("# ", "") } else { ("", "# ") };
    let (workers, batch) = draft.axes.clone().unwrap_or_else(|| (vec![1, 2, 4, 8], vec![1, 4, 16, 32]));
    format!(
        "    grid: # a preset, or both of the lists
      {preset_mark}preset: {preset} # {presets}; auto: fitted to the server's slots, legacy: 14 × 9 cells
      {axes_mark}workers: {workers:?} # requests in flight at once, or the server's slots: see slots
      {axes_mark}batch: {batch:?} # requests of one measurement
      # share_equivalent_cells: false # left out: cells of one batch with workers ≥ batch are measured once
",
        preset = word(PRESETS, preset),
        presets = words(PRESETS, " | "),
    )
}

fn slots() -> String {
    format!(
        "    slots: # whose number the workers are
      mode: {mode} # {modes}; client: so many requests in flight, server: so many slots of its own
      process: # with mode server: it runs as a child of llmsoak, started anew for each row
        # preset: ollama # {presets}, at the target's url
        # arguments: [--model, m.gguf] # added to those of the preset
        # command: [serve, \"{workers}\"] # or a command line of your own; {workers} is the number
        # environment: {{NP: \"{workers}\"}} # variables beside llmsoak's own
        # context_per_slot: 4096 # {context_bounds}; in a command {context} stands for workers × this
      # command: [./slots, \"{workers}\"] # or a command that gives a server its slots and ends
      ready_timeout: {ready} # until the server must answer with other slots
",
        mode = word(SLOTS_MODES, SlotsMode::Client),
        modes = words(SLOTS_MODES, " | "),
        presets = words(SERVER_PRESETS, " | "),
        workers = CommandPlan::WORKERS,
        context = CommandPlan::CONTEXT,
        context_bounds = bounds(&CONTEXT_PER_SLOT),
        ready = show(READY_TIMEOUT),
    )
}

fn request(draft: &Draft) -> String {
    let default = RequestPlan::default();
    let prompt_tokens = match default.prompts {
        Prompts::BuiltIn { tokens } => tokens.to_string(),
        Prompts::Lines { .. } => String::new(),
    };
    format!(
        "    request:
      endpoint: {endpoint} # {endpoints}
      prompt_tokens: {prompt_tokens} # length of the built-in prompts, {prompt_bounds}
      # prompts_file: prompts.txt # or prompts of your own, one a line
      prefix_cache: {cache} # {caches}; avoid: every prompt starts with words of its own
      output_tokens: {output_tokens} # length of an answer, {output_bounds}
      ignore_eos: {ignore_eos} # true: no answer ends earlier, where the server allows it
      temperature: {temperature} # {temperature_bounds}
      timeout: {timeout} # for a whole request; more where the warm-up took long
      connect_timeout: {connect} # until the server takes the connection
      first_token_timeout: {first} # since the server's last sign of progress on any request
      between_tokens_timeout: {between} # from one token of an answer to the next
",
        endpoint = word(ENDPOINTS, draft.endpoint),
        endpoints = words(ENDPOINTS, " | "),
        prompt_bounds = bounds(&PROMPT_TOKENS),
        cache = word(PREFIX_CACHE, default.avoid_prefix_cache),
        caches = words(PREFIX_CACHE, " | "),
        output_tokens = draft.output_tokens,
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

fn budget() -> String {
    "    budget: # the most that is sent and asked for, warm-ups included
      # requests_per_hour: 500 # in any hour
      # requests_per_day: 5000 # in any day
      # tokens_per_hour: 200000 # in any hour, prompt and output together
      # tokens_per_day: 2000000 # in any day, prompt and output together
"
    .to_owned()
}

fn environment() -> String {
    let default = EnvironmentPlan::default();
    format!(
        "    environment: # what is known of its machine, beside what the server tells
      gpu: {gpu} # {probes}; auto: asked, where the server runs on this machine
      commands: {{}} # facts by command, as `driver: [ssh, gpu01, cat, /sys/module/nvidia/version]`
      labels: {{}} # facts of your own, as `rack: r12`; a changed fact begins another epoch
",
        gpu = word(GPU_PROBES, default.reads_gpu),
        probes = words(GPU_PROBES, " | "),
    )
}

fn validity() -> String {
    let default = ValidityPlan::default();
    format!(
        "    validity: # the bounds beyond which a sample is rejected
      timer_lag: {lag} # p99 of the client's own; this or the next, whichever is larger
      timer_lag_ratio: {lag_ratio} # of the sample's median inter-token latency
      client_cpu: {cpu} # of the processor time of the measuring threads
      cached_prompt_tokens: {cached} # in a request; this or the next, whichever is larger
      cached_prompt_ratio: {cached_ratio} # of its prompt
      load_time: {load} # of the model; this or the next, whichever is larger
      load_ratio: {load_ratio} # times the epoch's median load time
      failed_requests: {failed} # of its requests
      polls_in_excess: {polls} # from so many looks on that show requests of others
      foreign_tokens: {foreign} # of others; this or the next, whichever is larger
      foreign_tokens_ratio: {foreign_ratio} # of the sample's own tokens
      output_length: {length} # from the cell's usual mean length; more where lengths vary
",
        lag = show(default.timer_lag),
        lag_ratio = percent(default.timer_lag_ratio),
        cpu = percent(default.client_cpu_ratio),
        cached = default.cached_prompt_tokens,
        cached_ratio = percent(default.cached_prompt_ratio),
        load = show(default.load_time),
        load_ratio = default.load_time_of_median,
        failed = percent(default.failed_requests_ratio),
        polls = default.polls_in_excess,
        foreign = default.foreign_tokens,
        foreign_ratio = percent(default.foreign_tokens_ratio),
        length = percent(default.output_length_ratio),
    )
}
