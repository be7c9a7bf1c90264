//! The daemon against the simulated server in each of its tongues.

use crate::support::{Process, Scrape, Stage, Target, eventually, scrape, simulator};
use rustix::process::Signal;

/// Soaks a simulated server until a cycle is complete and checks what `/metrics` says of it.
/// `failures` are the reasons for which requests may fail.
fn check(api: &str, server: &str, failures: &[&str]) -> (Stage, Process) {
    let (_sim, sim) = simulator(&["--api", api]);
    let stage = Stage::new();
    let (mut daemon, address) = stage.run(&[Target::at(sim)]);
    let seen = eventually("a complete cycle with an optimum and consistent totals", || {
        let seen = scrape(address);
        let complete = seen.sum("llmsoak_cycles_completed_total", &[]) >= 1.0;
        (complete && seen.has("llmsoak_optimum_tokens_per_second") && is_consistent(&seen)).then_some(seen)
    });
    assert_eq!(seen.sum("llmsoak_target_up", &[]), 1.0);
    assert_eq!(seen.sum("llmsoak_target_info", &[("server", server)]), 1.0, "{}", seen.text);
    let failed_requests = seen.not_zero("llmsoak_request_failures_total", "reason");
    assert_eq!(failed_requests, failures.iter().map(|&reason| reason.to_owned()).collect());
    let mut failed_samples = seen.not_zero("llmsoak_sample_failures_total", "reason");
    // A machine busy with other tests makes a slow client: no fault of any server.
    failed_samples.remove("client_limited");
    assert!(failed_samples.is_empty(), "{failed_samples:?}");
    assert!(seen.sum("llmsoak_output_tokens_total", &[]) > 0.0);
    assert!(seen.sum("llmsoak_optimum_tokens_per_second", &[("objective", "throughput")]) > 0.0);

    daemon.signal(Signal::TERM);
    assert_eq!(daemon.code(), Some(0));
    (stage, daemon)
}

/// Whether the families tell one story. A scrape may fall between two counters of one
/// event, so this is asked until it holds.
fn is_consistent(seen: &Scrape) -> bool {
    let succeeded = seen.sum("llmsoak_requests_by_token_source_total", &[]);
    let failed = seen.sum("llmsoak_request_failures_total", &[]);
    let valid = seen.sum("llmsoak_samples_total", &[]) - seen.sum("llmsoak_sample_failures_total", &[]);
    let observed = seen.sum("llmsoak_request_duration_seconds_count", &[]);
    seen.sum("llmsoak_requests_total", &[]) == succeeded + failed && observed >= valid && observed <= succeeded
}

#[test]
fn llama_cpp_is_soaked() {
    check("llama.cpp", "llama.cpp", &[]);
}

#[test]
fn ollama_is_soaked() {
    check("ollama", "ollama", &[]);
}

#[test]
fn vllm_is_soaked() {
    check("vllm", "vllm", &[]);
}

#[test]
fn a_bare_server_is_soaked_without_the_fields_that_it_refuses() {
    let (stage, daemon) = check("openai", "openai-compatible", &["http_4xx"]);
    assert!(daemon.stderr().contains("server refuses request fields"), "{}", daemon.stderr());
    let events: Vec<String> = stage.history().column("SELECT detail FROM event WHERE kind = 'fields_dropped'");
    let [refused] = events.as_slice() else { panic!("settled once, not {events:?}") };
    assert!(refused.contains("ignore_eos"), "{refused}");
}
