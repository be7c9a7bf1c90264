//! `llmsoak check`: what it says of a cycle is what a cycle comes to.

use std::net::SocketAddr;

use crate::support::{Process, Stage, Target, free_address, scrape, simulator, simulator_at};

const BINARY: &str = env!("CARGO_BIN_EXE_llmsoak");

/// Checks a configuration; what is said on standard output, and the exit code.
fn check(flags: &[&str]) -> (String, Option<i32>) {
    let mut process = Process::start(&[&["check"], flags].concat());
    let code = process.code();
    (process.stdout(), code)
}

/// The row of that label in what is said of a target.
fn row<'a>(said: &'a str, label: &str) -> Option<&'a str> {
    said.lines().find_map(|line| line.strip_prefix("  ")?.strip_prefix(label)).map(str::trim_start)
}

/// Writes a configuration for a server and returns its path.
fn init(stage: &Stage, url: &str) -> String {
    let file = stage.path().join("llmsoak.yml").display().to_string();
    let mut init = Process::start(&["init", url, "--config.file", &file]);
    assert_eq!(init.code(), Some(0), "{}", init.stderr());
    file
}

#[test]
fn what_init_writes_stands_the_probe_of_each_kind_of_server() {
    for (api, server, refused) in [
        ("llama.cpp", "llama.cpp 1.0.0, model tiny:1m, 2 slots, a context of 2048 tokens", None),
        ("ollama", "ollama 1.0.0, model tiny:1m, slots not told, a context of 2048 tokens", None),
        ("vllm", "vllm 1.0.0, model tiny:1m, slots not told, a context of 2048 tokens", None),
        (
            "openai",
            "openai-compatible, model tiny:1m, slots not told",
            Some("refused, and left out from then on: ignore_eos"),
        ),
    ] {
        let (_sim, sim) = simulator(&["--api", api, "--slots", "2", "--speed", "5"]);
        let stage = Stage::new();
        let file = init(&stage, &format!("http://{sim}"));
        let (said, code) = check(&["--config.file", &file, "--probe"]);
        assert_eq!(code, Some(0), "{api}: {said}");
        assert!(said.starts_with(&format!("{file}: sound\n")), "{said}");
        assert_eq!(row(&said, "server"), Some(server), "{said}");
        assert_eq!(row(&said, "fields"), refused, "{said}");
        assert!(row(&said, "answer").is_some_and(|answer| answer.starts_with("first token after ")), "{said}");
        assert!(row(&said, "time").is_some_and(|time| time.starts_with("about ")), "{said}");
    }
}

#[test]
fn a_cycle_sends_what_the_bill_says() {
    let (_sim, sim) = simulator(&["--slots", "2"]);
    let stage = Stage::new();
    let target = Target { grid: "{workers: [1, 2, 4], batch: [1, 3, 4]}", ..Target::at(sim) };
    let file = stage.configure(std::slice::from_ref(&target));
    let (said, code) = check(&["--config.file", &file]);
    assert_eq!(code, Some(0), "{said}");
    // Copies are 2×1, 4×1; measured 1×1, 1×3, 2×3, 4×3, 1×4, 2×4, 4×4.
    assert_eq!(row(&said, "cells"), Some("9: 7 measured, 2 copies of those"));
    assert_eq!(row(&said, "samples"), Some("9, the reference cell 1×1 among them several times"));
    assert_eq!(row(&said, "requests"), Some("24, and 16 warm-ups"));
    let tokens = "about 1536 of prompts and 192 of answers; warm-ups about 1024 of prompts and at most 128 of answers";
    assert_eq!(row(&said, "tokens"), Some(tokens));

    let mut once = stage.once(&[target], 1);
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    // One more, as long as a warm-up, introduces the target.
    assert!(once.stdout().contains("requests, warm-ups included: 41, 0 failed"), "{}", once.stdout());
    assert!(once.stdout().contains(&format!("output tokens, warm-ups included: {}\n", 192 + 128 + 8)));
}

#[test]
fn an_automatic_grid_is_that_of_the_server_once_it_is_asked() {
    let (_sim, sim) = simulator(&["--slots", "2"]);
    let url = format!("http://{sim}");
    let (said, code) = check(&["--target.url", &url]);
    assert_eq!(code, Some(0), "{said}");
    let assumed = "workers 1, 2, 4, 8; batch 1, 2, 4, 8, 16 (automatic; follows the server's slots: taken as 4 here)";
    assert_eq!(row(&said, "grid"), Some(assumed));
    let (said, code) = check(&["--target.url", &url, "--probe", "--no-requests"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(row(&said, "grid"), Some("workers 1, 2, 4; batch 1, 2, 4, 8 (fitted to 2 slots)"));
    assert_eq!(row(&said, "answer"), None);
    assert!(row(&said, "time").is_some_and(|time| time.starts_with("not known: ")), "{said}");
    assert_eq!(scrape(sim).sum("llamacpp:tokens_predicted_total", &[]), 0.0, "no request was to be sent");
}

/// A target whose slots are the server's own, by `slots`.
fn of_server<'a>(address: SocketAddr, slots: &'a str) -> Target<'a> {
    Target { grid: "{workers: [1, 2, 4], batch: [1, 4]}", slots, ..Target::at(address) }
}

#[test]
fn a_cycle_of_rows_sends_what_the_bill_says() {
    let (stage, address) = (Stage::new(), free_address());
    let slots = format!(
        "{{mode: server, process: {{command: [{BINARY}, sim, --profile, tiny, --web.listen-address={address}, \
         --slots, '{{workers}}']}}}}"
    );
    let target = of_server(address, &slots);
    let file = stage.configure(std::slice::from_ref(&target));
    let (said, code) = check(&["--config.file", &file]);
    assert_eq!(code, Some(0), "{said}");
    let starts = "the server's own: llmsoak starts it anew for each worker count, \
                  3 times in the first cycle, 2 times in each other; ready within 2m";
    assert_eq!(row(&said, "slots"), Some(starts), "{said}");
    let command = format!("{BINARY} sim --profile tiny --web.listen-address={address} --slots 1 (workers 1)");
    assert_eq!(row(&said, "command"), Some(command.as_str()), "{said}");
    assert_eq!(row(&said, "cells"), Some("6: 6 measured, 0 copies of those"), "{said}");
    // Of 1, 2 and 4 workers: 1 and 1, 1 and 2, 1 and 4, and the three switches.
    assert_eq!(
        row(&said, "requests"),
        Some("15, and 13 warm-ups, 3 of them to load the model after a switch"),
        "{said}"
    );

    let mut once = stage.once(&[target], 1);
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    assert!(once.stdout().contains("requests, warm-ups included: 28, 0 failed"), "{}", once.stdout());
}

#[test]
fn a_probe_starts_no_server_and_sees_one_that_is_in_the_way() {
    let (stage, address) = (Stage::new(), free_address());
    let started = stage.path().join("started");
    let slots = format!("{{mode: server, process: {{command: [touch, {}, '{{workers}}']}}}}", started.display());
    let file = stage.configure(&[of_server(address, &slots)]);
    let (said, code) = check(&["--config.file", &file, "--probe"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(row(&said, "server"), Some("not started for a look; nobody is at its address now"), "{said}");
    let time = "not known: no server is started for a look; pauses alone take 0.12 s";
    assert_eq!(row(&said, "time"), Some(time), "{said}");
    let (_sim, _) = simulator_at(&address.to_string(), &[]);
    let (said, code) = check(&["--config.file", &file, "--probe"]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(row(&said, "server"), Some("cannot be started: another one answers at its address"), "{said}");
    assert!(said.contains("hint: stop that server, or measure it with slots.mode: client"), "{said}");
    assert!(!started.exists(), "nothing was to be started");
}

#[test]
fn a_probe_asks_a_server_that_a_hook_gives_its_slots_and_leaves_them() {
    let (_sim, sim) = simulator(&["--slots", "2", "--speed", "5"]);
    let stage = Stage::new();
    let ran = stage.path().join("ran");
    let slots = format!("{{mode: server, command: [touch, {}, '{{workers}}']}}", ran.display());
    let file = stage.configure(&[Target { grid: "{}", ..of_server(sim, &slots) }]);
    let (said, code) = check(&["--config.file", &file, "--probe"]);
    assert_eq!(code, Some(0), "{said}");
    let server = "llama.cpp 1.0.0, model tiny:1m, 2 slots now, a context of 2048 tokens";
    assert_eq!(row(&said, "server"), Some(server), "{said}");
    let grid = "workers 1, 2, 4, 8; batch 1, 2, 4, 8, 16 (automatic; as for a server of 4 slots)";
    assert_eq!(row(&said, "grid"), Some(grid), "{said}");
    assert_eq!(row(&said, "cells"), Some("20: 20 measured, 0 copies of those"), "{said}");
    assert!(row(&said, "time").is_some_and(|time| time.ends_with("; 3 switches take time, too")), "{said}");
    assert!(!ran.exists(), "no command was to be run");
}

#[test]
fn every_target_is_asked_whatever_becomes_of_another() {
    let (_sim, sim) = simulator(&["--speed", "5"]);
    let (_broken, broken) = simulator(&["--fault.http-500", "1"]);
    let stage = Stage::new();
    let away = free_address();
    let [away, broken, sound] = [("away", away), ("broken", broken), ("sound", sim)]
        .map(|(name, address)| Target { name, ..Target::at(address) });
    let file = stage.configure(&[away, broken, sound]);
    let (said, code) = check(&["--config.file", &file, "--probe"]);
    assert_eq!(code, Some(1), "{said}");
    let parts: Vec<&str> = said.split("\ntarget ").collect();
    let [_, away, broken, sound] = parts.as_slice() else { panic!("{said}") };
    assert!(row(away, "server").is_some_and(|server| server.starts_with("cannot be asked: connect: ")), "{away}");
    assert!(away.contains("hint: is the server started"), "{away}");
    assert!(row(broken, "answer").is_some_and(|answer| answer.starts_with("none: http_5xx: 500")), "{broken}");
    assert!(row(sound, "time").is_some_and(|time| time.starts_with("about ")), "{sound}");
    assert!(sound.contains("\nlane lane: 3 targets take turns\n"), "{sound}");
    assert_eq!(check(&["--config.file", &file]).1, Some(0), "the configuration itself is sound");
}

#[test]
fn too_many_series_are_refused() {
    let stage = Stage::new();
    let numbers = (1..=120).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let grid = format!("{{workers: [{numbers}], batch: [{numbers}]}}");
    let file = stage.configure(&[Target { grid: &grid, ..Target::at(free_address()) }]);
    let mut process = Process::start(&["check", "--config.file", &file]);
    assert_eq!(process.code(), Some(1));
    assert!(process.stdout().starts_with(&format!("{file}: not sound\n")), "{}", process.stdout());
    assert!(process.stderr().contains("metrics.max_series: the grids make "), "{}", process.stderr());
}
