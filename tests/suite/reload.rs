//! A configuration that changes under a running soak.

use std::net::SocketAddr;

use rustix::process::Signal;

use super::guarded::{behind_tls, certify};
use super::support::{Process, Scrape, Stage, Target, eventually, post, scrape, simulator};

const FAST: [&str; 2] = ["--speed", "20"];

/// A server of its own for a target, which has a lane of its own too.
fn served(name: &str) -> (Process, Target<'_>) {
    let (process, address) = simulator(&FAST);
    (process, Target { name, lane: name, ..Target::at(address) })
}

fn samples(seen: &Scrape, target: &str) -> f64 {
    seen.sum("llmsoak_samples_total", &[("target", target)])
}

/// Waits until a target has so many more samples.
fn soak_on(address: SocketAddr, target: &str, more: f64) {
    let before = samples(&scrape(address), target);
    eventually("further samples", || (samples(&scrape(address), target) >= before + more).then_some(()));
}

fn reload(address: SocketAddr, expected_status: u16) -> String {
    let (status, text) = post(address, "/-/reload").expect("an answer");
    assert_eq!(status, expected_status, "{text}");
    text
}

#[test]
fn twenty_reloads_lose_no_sample_of_a_target_that_stays() {
    let ((_one, stays), (_two, changes), (_three, goes)) = (served("stays"), served("changes"), served("goes"));
    let stage = Stage::new();
    let (mut daemon, address) = stage.run(&[stays.clone(), changes.clone(), goes.clone()]);
    soak_on(address, "stays", 2.0);
    soak_on(address, "goes", 2.0);
    for round in 0..20 {
        let changed = if round % 2 == 0 { "{output_tokens: 6}" } else { "{output_tokens: 8}" };
        let changes = Target { request: changed, ..changes.clone() };
        match round % 4 {
            0 => {
                stage.configure(&[stays.clone(), changes]);
                reload(address, 200);
                let seen = scrape(address);
                assert!(!seen.text.contains("target=\"goes\""), "nothing of it is left:\n{}", seen.text);
                assert_eq!(seen.sum("llmsoak_config_last_reload_successful", &[]), 1.0);
            }
            1 | 3 => {
                stage.write("llmsoak.yml", "targets: [{name: stays, url: http://127.0.0.1:1, lain: x}]");
                let text = reload(address, 400);
                assert!(text.contains("llmsoak.yml:1: targets[0].lain: unknown key"), "{text}");
                let seen = scrape(address);
                assert_eq!(seen.sum("llmsoak_config_last_reload_successful", &[]), 0.0);
                assert!(seen.text.contains("target=\"changes\""));
            }
            _ => {
                stage.configure(&[stays.clone(), changes, goes.clone()]);
                reload(address, 200);
                soak_on(address, "goes", 1.0);
            }
        }
        soak_on(address, "stays", 1.0);
    }
    let seen = scrape(address);
    let failures = seen.sum("llmsoak_sample_failures_total", &[("target", "stays")]);
    let client_limited =
        seen.sum("llmsoak_sample_failures_total", &[("target", "stays"), ("reason", "client_limited")]);
    assert_eq!(failures, client_limited, "none was dropped");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.code(), Some(0));

    let history = stage.history();
    history.check_integrity();
    let stays = "FROM cycle JOIN target ON target.id = target_id WHERE name = 'stays'";
    let unfinished: i64 = history.one(&format!("SELECT count(*) {stays} AND completed_at IS NULL"));
    assert!(unfinished <= 1, "only the last cycle may be cut short");
    let lost = "SELECT count(*) FROM cycle JOIN target ON target.id = cycle.target_id
         WHERE name = 'stays' AND completed_at IS NOT NULL
         AND (SELECT count(*) FROM sample WHERE sample.target_id = cycle.target_id AND sample.cycle = number) != 3";
    assert_eq!(history.one::<i64>(lost), 0, "each complete cycle has its three measured cells");
    let epochs: i64 =
        history.one("SELECT count(*) FROM epoch JOIN target ON target.id = target_id WHERE name = 'stays'");
    assert_eq!(epochs, 1);
}

#[test]
fn a_hangup_reloads_and_a_pause_holds_its_target_alone() {
    let ((_one, one), (_two, two)) = (served("one"), served("two"));
    let stage = Stage::new();
    let (daemon, address) = stage.run(std::slice::from_ref(&one));
    soak_on(address, "one", 1.0);
    stage.configure(&[one, two]);
    daemon.signal(Signal::HUP);
    eventually("the new target", || (samples(&scrape(address), "two") > 0.0).then_some(()));

    let (status, text) = post(address, "/-/pause?target=one&for=1h").expect("an answer");
    assert_eq!(status, 200, "{text}");
    let paused = |name| {
        let labels = [("target", name), ("state", "paused")];
        move || (scrape(address).sum("llmsoak_scheduler_state", &labels) == 1.0).then_some(())
    };
    eventually("the pause", paused("one"));
    let before = samples(&scrape(address), "one");
    soak_on(address, "two", 5.0);
    assert_eq!(samples(&scrape(address), "one"), before);
    post(address, "/-/resume").expect("an answer");
    soak_on(address, "one", 1.0);
}

#[test]
fn a_target_that_is_added_shows_its_history_while_its_server_is_away() {
    let ((_one, stays), (server, returns)) = (served("stays"), served("returns"));
    let stage = Stage::new();
    let both = [stays.clone(), returns.clone()];
    let (_daemon, address) = stage.run(&both);
    let optimum = |seen: &Scrape| seen.sum("llmsoak_optimum_tokens_per_second", &[("target", "returns")]);
    eventually("an optimum", || (optimum(&scrape(address)) > 0.0).then_some(()));
    drop(server);
    stage.configure(&[stays]);
    reload(address, 200);
    assert_eq!(optimum(&scrape(address)), 0.0);
    stage.configure(&both);
    reload(address, 200);
    assert!(optimum(&scrape(address)) > 0.0, "{}", scrape(address).text);
}

#[test]
fn a_hangup_while_the_history_is_opened_is_heard_afterwards() {
    let (_server, target) = served("one");
    let stage = Stage::new();
    assert_eq!(stage.once(std::slice::from_ref(&target), 1).code(), Some(0));
    let history = stage.history();
    history.hold();
    let (daemon, address) = stage.run(&[target]);
    daemon.signal(Signal::HUP);
    history.release();
    eventually("the reload", || daemon.stderr().contains("configuration reloaded").then_some(()));
    soak_on(address, "one", 1.0);
}

#[test]
fn what_needs_a_restart_is_refused() {
    let (_server, target) = served("one");
    let stage = Stage::new();
    let (_daemon, address) = stage.run(std::slice::from_ref(&target));
    let path = stage.configure(&[target]);
    let text = std::fs::read_to_string(&path).expect("a file");
    stage.write("llmsoak.yml", &format!("{text}metrics: {{cells: core}}\n"));
    let text = reload(address, 400);
    assert_eq!(text, "metrics: cannot change while llmsoak runs\n  hint: restart it, or undo the change\n");
}

/// A daemon with a target that has one more line.
fn run_with(stage: &Stage, target: Target<'_>, line: &str) -> (Process, SocketAddr) {
    let config = stage.configure(&[target]);
    let text = std::fs::read_to_string(&config).expect("a file");
    stage.write("llmsoak.yml", &text.replace("    lane:", &format!("    {line}\n    lane:")));
    let storage = stage.storage().display().to_string();
    let flags = ["--config.file", &config, "--storage.path", &storage, "--web.listen-address", "127.0.0.1:0"];
    let mut daemon = Process::start(&[&["run", "--web.enable-lifecycle"], &flags[..]].concat());
    let address = daemon.address();
    (daemon, address)
}

#[test]
fn a_key_that_changes_on_the_disk_is_used_without_a_stop() {
    // The key's file is read every ten seconds; a wrong one never stops the soak.
    let (_server, target) = served("one");
    let stage = Stage::new();
    stage.write("key", "first-key");
    let (daemon, address) = run_with(&stage, target, "api_key_file: key");
    soak_on(address, "one", 1.0);
    stage.write("key", "second-key");
    eventually("the word that the key changed", || daemon.stderr().contains("the key changed").then_some(()));
    soak_on(address, "one", 1.0);
    assert!(!daemon.stderr().contains("second-key"));
}

#[test]
fn certificates_that_change_under_the_same_name_are_trusted_after_a_reload() {
    // The pages of a daemon are no model server, but whoever gets to know that trusts them.
    let guarded = Stage::new();
    let (_pages, pages) = behind_tls(&guarded);
    let stage = Stage::new();
    certify(&stage, "ca");
    let url = format!("https://localhost:{}", pages.port());
    let (daemon, address) = run_with(&stage, Target { url, ..Target::at(pages) }, "tls: {ca_file: ca.crt}");
    eventually("mistrust", || daemon.stderr().contains("reason=\"tls: ").then_some(()));
    reload(address, 200);
    assert!(!daemon.stderr().contains("names no model"), "{}", daemon.stderr());
    let trusted = std::fs::read_to_string(guarded.path().join("server.crt")).expect("a certificate");
    stage.write("ca.crt", &trusted);
    reload(address, 200);
    eventually("trust", || daemon.stderr().contains("names no model").then_some(()));
}
