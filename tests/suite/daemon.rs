//! The daemon's life: when it answers, how it ends, when it does not start at all.

use std::net::TcpListener;

use rustix::process::Signal;

use crate::support::{Process, Stage, Target, eventually, free_address, get, post, scrape, simulator};

#[test]
fn pages_are_up_while_the_server_is_not() {
    let stage = Stage::new();
    let server = free_address();
    let (mut daemon, address) = stage.run(&[Target::at(server)]);
    for path in ["/-/ready", "/-/healthy", "/", "/metrics"] {
        assert_eq!(get(address, path).expect("an answer").0, 200, "{path}");
    }
    assert!(!scrape(address).has("llmsoak_optimum_tokens_per_second"));
    eventually("the server counts as away", || {
        let seen = scrape(address);
        (seen.has("llmsoak_target_up") && seen.sum("llmsoak_target_up", &[]) == 0.0).then_some(())
    });
    let seen = scrape(address);
    assert_eq!(seen.sum("llmsoak_requests_total", &[]), 0.0);
    assert_eq!(seen.not_zero("llmsoak_scheduler_state", "state").len(), 1);
    assert_eq!(get(address, "/-/healthy").expect("an answer").0, 200, "an absent server is no fault of the daemon");
    let door = TcpListener::bind(server).expect("a port that was free");
    door.set_nonblocking(true).expect("a listener");
    eventually("the server is asked again", || door.accept().ok());
    stop(&mut daemon, Signal::TERM);
}

/// Ends a daemon and checks that it took no longer than it may: it says when it did.
fn stop(daemon: &mut Process, signal: Signal) {
    daemon.signal(signal);
    assert_eq!(daemon.code(), Some(0));
    assert!(!daemon.stderr().contains("not stopped in time"), "{}", daemon.stderr());
}

#[test]
fn a_signal_ends_it_in_the_middle_of_a_sample() {
    let (_sim, sim) = simulator(&["--speed", "0.05"]);
    for signal in [Signal::TERM, Signal::INT] {
        let stage = Stage::new();
        let slow = Target { grid: "{workers: [2], batch: [8]}", request: "{output_tokens: 200}", ..Target::at(sim) };
        let (mut daemon, address) = stage.run(&[slow]);
        eventually("a sample on its way", || {
            (scrape(address).sum("llmsoak_scheduler_state", &[("state", "running")]) == 1.0).then_some(())
        });
        stop(&mut daemon, signal);
        let history = stage.history();
        history.check_integrity();
        assert_eq!(history.one::<u32>("SELECT COUNT(*) FROM sample"), 0, "a sample cut short is dropped whole");
    }
}

#[test]
fn reports_are_served() {
    let (_sim, sim) = simulator(&[]);
    let stage = Stage::new();
    let (_daemon, address) = stage.run(&[Target::at(sim)]);
    crate::support::soaked(address);
    for path in ["/report", "/report.md", "/reports/target/report.md"] {
        let (status, body) = get(address, path).expect("an answer");
        assert_eq!((status, body.contains("tiny:1m")), (200, true), "{path}: {body}");
    }
    assert_eq!(get(address, "/reports/..%2F..%2F/report.md").expect("an answer").0, 404);
}

/// A start that fails with every one of those words on stderr and nothing on stdout.
fn check_refused(process: &mut Process, words: &[&str]) {
    assert_eq!(process.code(), Some(1));
    assert_eq!(process.stdout(), "");
    let stderr = process.stderr();
    for words in words {
        assert!(stderr.contains(words), "{words} is not in:\n{stderr}");
    }
}

#[test]
fn two_daemons_do_not_share_a_history() {
    let stage = Stage::new();
    let target = Target::at(free_address());
    let (_first, _) = stage.run(std::slice::from_ref(&target));
    let (config, storage) = (stage.configure(&[target]), stage.storage().display().to_string());
    let flags = ["--config.file", &config, "--storage.path", &storage];
    let run = [&["run"], &flags[..], &["--web.listen-address", "127.0.0.1:0"]].concat();
    let said = [storage.as_str(), "another llmsoak is using this history", "hint: "];
    check_refused(&mut Process::start(&run), &said);
    check_refused(&mut Process::start(&[&["once"], &flags[..]].concat()), &said);
}

#[test]
fn every_problem_of_a_configuration_is_told() {
    let stage = Stage::new();
    let text =
        "targets:\n  - name: a b\n    url: ftp://host\n    grid: {workers: [1]}\nreport: {every: soon}\nsurprise: 1\n";
    let config = stage.write("wrong.yml", text);
    let problems =
        ["targets[0].name", "targets[0].url", "targets[0].grid.batch", "report.every", "surprise"].map(|key| {
            let line = text.lines().position(|line| line.contains(key.rsplit('.').next().unwrap_or(key)));
            (key, line.map(|line| line + 1))
        });
    for command in ["run", "once", "check"] {
        let mut process = Process::start(&[command, "--config.file", &config]);
        let keys = problems.map(|(key, _)| key);
        check_refused(&mut process, &keys);
        for (key, line) in problems {
            // A key that is missing stands on no line of its own.
            let Some(line) = line else { continue };
            let start = format!("{config}:{line}: {key}: ");
            assert!(process.stderr().contains(&start), "{start} is not in:\n{}", process.stderr());
        }
    }
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let stage = Stage::new();
    let config = stage.configure(&[Target::at(free_address())]);
    let storage = stage.storage().display().to_string();
    let flags = ["run", "--config.file", &config, "--storage.path", &storage, "--web.listen-address", &address];
    check_refused(&mut Process::start(&flags), &["cannot listen on", &address, "hint: "]);
    check_refused(&mut Process::start(&["sim", "--web.listen-address", &address]), &["cannot listen on", &address]);
}

#[test]
fn a_variable_may_let_visitors_give_orders() {
    let stage = Stage::new();
    let (config, storage) = (stage.configure(&[Target::at(free_address())]), stage.storage().display().to_string());
    let start = |word: &str, more: &[&str]| {
        let flags =
            ["run", "--config.file", &config, "--storage.path", &storage, "--web.listen-address", "127.0.0.1:0"];
        Process::start_with(&[&flags, more].concat(), &[("LLMSOAK_WEB_ENABLE_LIFECYCLE", word)])
    };
    for (word, more, status) in [
        ("true", &[] as &[&str], 200),
        ("1", &[], 200),
        ("yes", &[], 200),
        ("false", &[], 403),
        ("0", &[], 403),
        ("off", &[], 403),
        ("", &[], 403),
        ("false", &["--web.enable-lifecycle"], 200),
    ] {
        let mut daemon = start(word, more);
        let address = daemon.address();
        let (answered, text) = post(address, "/-/pause").expect("an answer");
        assert_eq!(answered, status, "{word:?} {more:?}: {text}");
        stop(&mut daemon, Signal::TERM);
    }
    check_refused(&mut start("perhaps", &[]), &["perhaps", "--web.enable-lifecycle"]);
}
