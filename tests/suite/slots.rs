//! The server's own slots: real children, real hooks, and whatever can go wrong with them.

use std::fs::read_dir;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Stage, Target, eventually, free_address, get, scrape, simulator_at};

const BINARY: &str = env!("CARGO_BIN_EXE_llmsoak");
const GRID: &str = "{workers: [1, 2, 4], batch: [1, 4, 8]}";

/// A target whose slots are the server's own, by `slots`, on a server that is not there yet.
fn target<'a>(address: SocketAddr, slots: &'a str) -> Target<'a> {
    Target { grid: GRID, slots, ..Target::at(address) }
}

/// The simulated server as a child, with more flags.
fn child(address: SocketAddr, flags: &str) -> String {
    format!(
        "{{mode: server, ready_timeout: 20s, process: {{command: [{BINARY}, sim, --profile, tiny, \
         --web.listen-address={address}, --slots, '{{workers}}'{flags}]}}}}"
    )
}

/// The processes whose command line holds a word, by their numbers.
fn processes_with(word: &str) -> Vec<i32> {
    let own = std::process::id();
    let entries = read_dir("/proc").expect("a process table").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let has = |number: &i32| {
        let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word) && u32::try_from(*number) != Ok(own)
    };
    numbers.filter(has).collect()
}

/// Asserts that nothing that belongs to a test runs any more.
fn check_nothing_left(word: &str) {
    eventually("the end of all that was started", || processes_with(word).is_empty().then_some(()));
}

fn rows(stage: &Stage, column: &str) -> Vec<i64> {
    let sql = format!("SELECT {column} FROM sample WHERE batch = 8 AND valid ORDER BY workers");
    stage.history().column(&sql)
}

#[test]
fn each_row_has_the_server_that_it_asks_for() {
    let (stage, address) = (Stage::new(), free_address());
    let slots = child(address, "");
    let mut once = stage.once(&[target(address, &slots)], 2);
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    for column in ["workers", "reported_slots", "observed_parallelism_peak"] {
        assert_eq!(rows(&stage, column), [1, 1, 2, 2, 4, 4], "{column}");
    }
    // Two switches a cycle, and one to begin with.
    assert_eq!(stage.history().one::<i64>("SELECT COUNT(*) FROM event WHERE kind = 'slots_switched'"), 5);
    assert_eq!(stage.history().one::<i64>("SELECT COUNT(*) FROM epoch"), 1);
    assert!(once.stderr().contains("stream=stderr"), "what the server writes is in the log: {}", once.stderr());
    check_nothing_left(&address.to_string());
}

#[test]
fn a_server_that_ignores_what_it_is_asked_is_found_out_with_the_first_row() {
    // One tells how many slots it has, the other has to be seen.
    for api in ["llama.cpp", "vllm"] {
        let (stage, address) = (Stage::new(), free_address());
        let slots = child(address, &format!(", --api, {api}, --most-slots, '1'"));
        let (mut daemon, pages) = stage.run(&[target(address, &slots)]);
        let mismatches = eventually("a row that is found out", || {
            let seen = scrape(pages).not_zero("llmsoak_row_mismatch", "workers");
            (seen.len() == 2).then_some(seen)
        });
        assert_eq!(mismatches.into_iter().collect::<Vec<_>>(), ["2", "4"], "{api}");
        let seen = scrape(pages);
        assert_eq!(seen.sum("llmsoak_effective_slots", &[("workers", "4")]), 1.0, "{api}");
        assert_eq!(seen.sum("llmsoak_requested_slots", &[("workers", "4")]), 4.0);
        let (_, page) = get(pages, "/").expect("an answer");
        assert!(page.contains("Rows that did not get the slots they asked for: 2, 4."), "{page}");
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.code(), Some(0), "{}", daemon.stderr());
        check_nothing_left(&address.to_string());
    }
}

#[test]
fn a_hook_that_changes_nothing_is_found_out_too() {
    let (stage, address) = (Stage::new(), free_address());
    let (_sim, sim) = simulator_at(&address.to_string(), &["--slots", "4"]);
    let note = stage.path().join("asked").display().to_string();
    let slots = format!("{{mode: server, ready_timeout: 20s, command: [sh, -c, 'echo {{workers}} >> {note}']}}");
    let mut once = stage.once(&[Target { grid: "{workers: [2, 4], batch: [4, 8]}", ..target(sim, &slots) }], 1);
    assert_eq!(once.code(), Some(0), "{}", once.stderr());
    assert!(once.stderr().contains("the server did not take the slots asked for"), "{}", once.stderr());
    let history = stage.history();
    let details: Vec<String> = history.column("SELECT detail FROM event WHERE kind = 'slots_switched' ORDER BY detail");
    let asked: Vec<&str> = details.iter().filter_map(|detail| detail.split(", ready").next()).collect();
    assert_eq!(asked, ["asked 2, reported 4", "asked 4, reported 4"]);
    let mut noted: Vec<String> = std::fs::read_to_string(note).expect("it ran").lines().map(str::to_owned).collect();
    noted.sort();
    assert_eq!(noted, ["2", "4"]);
}

#[test]
fn what_is_killed_takes_all_that_it_started_with_it_and_a_killed_server_is_started_again() {
    let (stage, address) = (Stage::new(), free_address());
    let slots = child(address, "");
    let (mut daemon, _) = stage.run(&[target(address, &slots)]);
    let server = || {
        let word = format!("--web.listen-address={address}");
        let servers = processes_with(&word).into_iter().filter(|number| {
            let line = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            !String::from_utf8_lossy(&line).contains("supervise")
        });
        servers.max()
    };
    let first = eventually("a server", server);
    eventually("a sample", || daemon.stderr().contains("message=sample ").then_some(()));
    // It may be another one by now, of another row.
    let victim = server().unwrap_or(first);
    kill_process(Pid::from_raw(victim).expect("a number"), Signal::KILL).ok();
    let cycles = || stage.history().one::<i64>("SELECT COUNT(*) FROM cycle WHERE completed_at IS NOT NULL");
    let before = cycles();
    eventually("a cycle after it", || (cycles() > before + 1).then_some(()));
    daemon.kill();
    check_nothing_left(&address.to_string());
    stage.history().check_integrity();
}

#[test]
fn a_server_that_is_never_ready_is_given_up_in_time() {
    let stage = Stage::new();
    let word = format!("{}", free_address().port() as u32 + 100_000);
    let slots = format!(
        "{{mode: server, ready_timeout: 1s, process: {{command: [sh, -c, 'echo waiting; sleep {word} & sleep {word}', '{{workers}}']}}}}"
    );
    let mut once = stage.once(&[target(free_address(), &slots)], 1);
    assert_eq!(once.code(), Some(2), "{}", once.stderr());
    assert!(once.stderr().contains("not ready within slots.ready_timeout"), "{}", once.stderr());
    check_nothing_left(&word);
}

#[test]
fn a_server_that_ends_at_once_says_why() {
    let stage = Stage::new();
    let slots = "{mode: server, ready_timeout: 20s, process: {command: [sh, -c, 'echo no such model >&2; exit 7', '{workers}']}}";
    let mut once = stage.once(&[target(free_address(), slots)], 1);
    assert_eq!(once.code(), Some(2), "{}", once.stderr());
    let stderr = once.stderr();
    assert!(stderr.contains("exit code 7") && stderr.contains("no such model"), "{stderr}");
}

#[test]
fn a_hook_that_hangs_or_fails_is_given_up_in_time() {
    let word = format!("{}", free_address().port() as u32 + 200_000);
    for (script, told) in [
        (format!("sleep {word} & sleep {word}"), "did not end within 1s"),
        ("echo no rights >&2; exit 3".to_owned(), "exit code 3; it said last: no rights"),
    ] {
        let stage = Stage::new();
        let slots = format!("{{mode: server, ready_timeout: 1s, command: [sh, -c, '{script}', '{{workers}}']}}");
        let mut once = stage.once(&[target(free_address(), &slots)], 1);
        assert_eq!(once.code(), Some(2), "{}", once.stderr());
        assert!(once.stderr().contains(told), "{}", once.stderr());
    }
    check_nothing_left(&word);
}

#[test]
fn a_port_that_is_taken_is_told_and_nobody_elses_server_is_measured() {
    let stage = Stage::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    // It answers nothing: that it listens is enough.
    let slots = child(address, "");
    let mut once = stage.once(&[target(address, &slots)], 1);
    assert_eq!(once.code(), Some(2), "{}", once.stderr());
    assert!(once.stderr().contains("another server answers at this address"), "{}", once.stderr());
    assert!(TcpStream::connect(address).is_ok());
}

/// A program of that name that writes down how it was called and is a simulated server.
fn stand_in(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}")).expect("a file");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("its own file");
}

#[test]
fn the_presets_call_their_servers_as_these_want_to_be_called() {
    let folder = tempfile::tempdir().expect("a folder");
    let sim = format!("exec {BINARY} sim --profile tiny --web.listen-address");
    let note = "echo \"$0 $*|$OLLAMA_HOST|$OLLAMA_NUM_PARALLEL|$OLLAMA_CONTEXT_LENGTH\" >> \"$CALLS\"";
    stand_in(folder.path(), "ollama", &format!("{note}\n{sim} $OLLAMA_HOST --api ollama --slots $OLLAMA_NUM_PARALLEL"));
    stand_in(folder.path(), "llama-server", &format!("{note}\n{sim} $2:$4 --slots $6"));
    stand_in(folder.path(), "vllm", &format!("{note}\n{sim} $4:$6 --api vllm --slots $8"));
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
    for (preset, more, called) in [
        ("ollama", "context_per_slot: 2048", "ollama serve|{host}:{port}|{workers}|2048"),
        (
            "llama-server",
            "arguments: [--model, m.gguf], context_per_slot: 2048",
            "llama-server --host {host} --port {port} --parallel {workers} --ctx-size {context} --metrics --model m.gguf|||",
        ),
        (
            "vllm",
            "arguments: [--enforce-eager]",
            "vllm serve tiny:1m --host {host} --port {port} --max-num-seqs {workers} --enforce-eager|||",
        ),
    ] {
        let (stage, address) = (Stage::new(), free_address());
        let calls = stage.path().join("calls").display().to_string();
        let slots = format!(
            "{{mode: server, ready_timeout: 20s, process: {{preset: {preset}, {more}, environment: {{PATH: '{path}', CALLS: '{calls}'}}}}}}"
        );
        let target = Target { grid: "{workers: [1, 2], batch: [4]}", model: "tiny:1m", ..target(address, &slots) };
        let mut once = stage.once(&[target], 1);
        assert_eq!(once.code(), Some(0), "{preset}: {}", once.stderr());
        let mut calls: Vec<String> =
            std::fs::read_to_string(&calls).expect("it was called").lines().map(str::to_owned).collect();
        calls.sort();
        let expected = |workers: u32| {
            let (host, port) = (address.ip().to_string(), address.port().to_string());
            let filled = called.replace("{host}", &host).replace("{port}", &port);
            let filled = filled.replace("{workers}", &workers.to_string());
            format!("{}/{}", folder.path().display(), filled.replace("{context}", &(workers * 2048).to_string()))
        };
        assert_eq!(calls, [expected(1), expected(2)], "{preset}");
        assert_eq!(
            stage.history().column::<i64>("SELECT observed_parallelism_peak FROM sample ORDER BY workers"),
            [1, 2]
        );
        check_nothing_left(&address.to_string());
    }
}
