//! What must hold of a real llama.cpp, asked of the simulated one each time and of the one
//! at `LLMSOAK_REAL_SERVER` where that is set.

use std::net::{SocketAddr, ToSocketAddrs as _};

use serde_json::Value;

use crate::support::{History, Process, Stage, Target, get, scrape, simulator};
use crate::tools::say;

const ENDPOINTS: [&str; 2] = ["completions", "chat"];
/// Counters of the server's own.
const PREDICTED: &str = "llamacpp:tokens_predicted_total";

/// Counts and validity, on both endpoints.
fn check_counts(server: SocketAddr) {
    let (_, props) = get(server, "/props").expect("an answer");
    let props: Value = serde_json::from_str(&props).expect("JSON");
    let slots = props.get("total_slots").and_then(Value::as_i64).expect("a number of slots");
    for endpoint in ENDPOINTS {
        let stage = Stage::new();
        let request = format!("{{endpoint: {endpoint}, output_tokens: 16}}");
        let target = Target { grid: "{workers: [1, 2], batch: [2, 4]}", request: &request, ..Target::at(server) };
        let before = scrape(server).sum(PREDICTED, &[]);
        let mut once = stage.once(&[target], 1);
        assert_eq!(once.code(), Some(0), "{endpoint}: {}", once.stderr());
        let grown = scrape(server).sum(PREDICTED, &[]) - before;
        let tokens = format!("output tokens, warm-ups included: {grown}\n");
        assert!(once.stdout().contains(&tokens), "{endpoint}: {tokens} is not in:\n{}", once.stdout());
        check_samples(&stage.history(), endpoint, slots);
    }
}

fn check_samples(history: &History, endpoint: &str, slots: i64) {
    let none = |what: &str| {
        let found: Vec<String> =
            history.column(&format!("SELECT workers || '×' || batch || ': ' || {what} FROM sample WHERE {what}"));
        assert!(found.is_empty(), "{endpoint}: {what}: {found:?}");
    };
    assert_eq!(history.one::<u32>("SELECT COUNT(*) FROM sample"), 4, "{endpoint}");
    none("failed_requests > 0");
    // A busy machine makes a slow client, no fault of any server.
    none("invalid_reason IS NOT NULL AND invalid_reason <> 'client_limited'");
    // A chat template puts a few tokens before every prompt.
    let cached = if endpoint == "chat" { 8 } else { 0 };
    none(&format!("cached_prompt_tokens > {cached} * requests"));
    none(&format!("observed_parallelism_peak > {slots}"));
}

/// One prompt for all requests, the server's cache left on: found out in every sample.
fn check_cache(server: SocketAddr) {
    for endpoint in ENDPOINTS {
        let stage = Stage::new();
        let words = ["winter", "river", "stone", "garden", "music", "paper", "horse", "silver"];
        let prompt: Vec<&str> = words.into_iter().cycle().take(96).collect();
        stage.write("prompts.txt", &format!("{}\n", prompt.join(" ")));
        let request =
            format!("{{endpoint: {endpoint}, output_tokens: 8, prefix_cache: allow, prompts_file: prompts.txt}}");
        let target = Target { grid: "{workers: [1], batch: [2]}", request: &request, ..Target::at(server) };
        let mut once = stage.once(&[target], 1);
        assert_eq!(once.code(), Some(2), "{endpoint}: {}", once.stderr());
        let reasons: Vec<String> = stage.history().column("SELECT invalid_reason FROM sample");
        assert!(reasons.iter().all(|reason| reason.contains("prefix_cache")), "{endpoint}: {reasons:?}");
    }
}

/// From the address alone to the knowledge of how long a cycle takes.
fn check_first_steps(server: SocketAddr) {
    let stage = Stage::new();
    let file = stage.path().join("llmsoak.yml").display().to_string();
    let mut init = Process::start(&["init", &format!("http://{server}/v1"), "--config.file", &file]);
    assert_eq!(init.code(), Some(0), "{}", init.stderr());
    // A real server on a busy machine takes minutes over longer answers.
    let yaml = std::fs::read_to_string(&file).expect("a file");
    stage.write("llmsoak.yml", &yaml.replace("output_tokens: 200", "output_tokens: 16"));
    let mut check = Process::start(&["check", "--config.file", &file, "--probe"]);
    assert_eq!(check.code(), Some(0), "{}", check.stdout());
    for words in ["  server    llama.cpp ", "  answer    first token after ", "  time      about "] {
        assert!(check.stdout().contains(words), "{words} is not in:\n{}", check.stdout());
    }
}

#[test]
fn the_first_steps_lead_to_the_simulated_llama_cpp() {
    let (_sim, sim) = simulator(&["--slots", "2"]);
    check_first_steps(sim);
}

#[test]
fn counts_are_those_of_the_simulated_llama_cpp() {
    let (_sim, sim) = simulator(&["--slots", "2"]);
    check_counts(sim);
}

#[test]
fn a_prefix_cache_of_the_simulated_llama_cpp_is_found_out() {
    let (_sim, sim) = simulator(&[]);
    check_cache(sim);
}

/// One test, for a real server has no slots to spare for two.
#[test]
fn a_real_llama_cpp_gives_the_same() {
    let Ok(url) = std::env::var("LLMSOAK_REAL_SERVER") else {
        say("skipped: a real llama.cpp; set LLMSOAK_REAL_SERVER=http://127.0.0.1:8089 to have it tested");
        return;
    };
    let host = url.strip_prefix("http://").unwrap_or(&url).trim_end_matches('/');
    let server = host.to_socket_addrs().ok().and_then(|mut all| all.next());
    let server = server.unwrap_or_else(|| panic!("LLMSOAK_REAL_SERVER must be http://host:port, not {url}"));
    check_first_steps(server);
    check_counts(server);
    check_cache(server);
}
