//! Reasons to reject a sample that only a real process can meet, each beside a good twin.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Process, Stage, eventually, post, scrape, simulator};

/// A soak of samples of about a second, on a machine that may be busy.
fn soak(stage: &Stage, sim: SocketAddr) -> (Process, SocketAddr) {
    let config = format!(
        "schedule: {{pause_between_samples: 20ms}}\ntargets:\n  - name: target\n    url: http://{sim}\n    \
         grid: {{workers: [2], batch: [4]}}\n    request: {{output_tokens: 100}}\n    validity: {{timer_lag: 400ms}}\n"
    );
    let (config, storage) = (stage.write("llmsoak.yml", &config), stage.storage().display().to_string());
    let flags = ["--web.listen-address", "127.0.0.1:0", "--web.enable-lifecycle"];
    let mut daemon =
        Process::start(&[&["run", "--config.file", &config, "--storage.path", &storage], &flags[..]].concat());
    let address = daemon.address();
    (daemon, address)
}

/// Samples that a daemon rejected for a reason.
fn rejected(daemon: SocketAddr, reason: &str) -> f64 {
    scrape(daemon).sum("llmsoak_sample_failures_total", &[("reason", reason)])
}

/// Returns while a sample is being measured.
fn await_sample(daemon: SocketAddr) {
    eventually("a running sample", || {
        (scrape(daemon).sum("llmsoak_scheduler_state", &[("state", "running")]) == 1.0).then_some(())
    });
}

#[test]
fn a_sample_in_which_the_client_itself_was_held_up_is_its_own_fault() {
    let (_sim, sim) = simulator(&["--slots", "4", "--speed", "0.2"]);
    let stage = Stage::new();
    let (daemon, address) = soak(&stage, sim);
    eventually("a sample", || (scrape(address).sum("llmsoak_samples_total", &[]) > 0.0).then_some(()));
    assert_eq!(rejected(address, "client_limited"), 0.0, "the same load without it is fine");
    eventually("a sample that is rejected for it", || {
        await_sample(address);
        daemon.signal(Signal::STOP);
        sleep(Duration::from_millis(600));
        daemon.signal(Signal::CONT);
        (rejected(address, "client_limited") > 0.0).then_some(())
    });
    let reasons: Vec<String> = stage.history().column("SELECT DISTINCT invalid_reason FROM sample WHERE NOT valid");
    assert!(reasons.iter().all(|reason| reason.contains("client_limited")), "{reasons:?}");
}

#[test]
fn a_sample_that_is_called_off_is_counted_and_leaves_no_row() {
    let (_sim, sim) = simulator(&["--slots", "4", "--speed", "0.05"]);
    let stage = Stage::new();
    let (_daemon, address) = soak(&stage, sim);
    await_sample(address);
    assert_eq!(rejected(address, "cancelled"), 0.0);
    assert_eq!(post(address, "/-/pause?target=target&for=1m").expect("an answer").0, 200);
    eventually("the dropped sample in the counters", || (rejected(address, "cancelled") == 1.0).then_some(()));
    assert_eq!(stage.history().one::<i64>("SELECT COUNT(*) FROM sample"), 0);
}
