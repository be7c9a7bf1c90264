//! A server that becomes slower while it is soaked: what is told of it, for how long, and what
//! the commands say.
//!
//! The changes here are large, for the machine may be busy. How exactly and how soon a small one
//! is found, and that a harmless one is not, the engine's own tests say, on a paused clock.

use std::net::SocketAddr;

use llmsoak::sim::{Profile, SimApi, SimOptions, SimServer, http};
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::support::{Process, Scrape, Stage, Target, eventually, scrape};

/// A simulated server that can be changed while it runs.
struct Server {
    sim: SimServer,
    address: SocketAddr,
    /// Its threads end with it.
    _runtime: Runtime,
}

impl Server {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let (sim, address) = runtime.block_on(async {
            let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = socket.local_addr().expect("an address");
            let profile = Profile { tokens_per_chunk: 1..=1, ..Profile::reference() };
            let options = SimOptions { profile, slots: 4, speed: 4.0, ..SimOptions::default() };
            let sim = SimServer::start(options);
            tokio::spawn(http::serve(socket, sim.clone(), SimApi::LlamaCpp, std::future::pending()));
            (sim, address)
        });
        Self { sim, address, _runtime: runtime }
    }

    /// Makes it so many times as fast as it was at first.
    fn slow_down(&self, rate: f64) {
        self.sim.set_slowdown(1.0 / rate);
    }

    fn target(&self) -> Target<'static> {
        let grid = "{workers: [1, 2, 4], batch: [2, 4, 8]}";
        let request = "{output_tokens: 24, prompt_tokens: 16}";
        // A late stamp is no reason to reject a sample.
        Target { grid, request, validity: "{timer_lag: 1m, client_cpu: 100%}", ..Target::at(self.address) }
    }
}

const RATE: [(&str, &str); 1] = [("measure", "tokens_per_second")];

fn is_active(seen: &Scrape) -> bool {
    seen.sum("llmsoak_regression_active", &RATE) == 1.0
}

fn complete_cycles(address: SocketAddr) -> f64 {
    scrape(address).sum("llmsoak_cycles_completed_total", &[])
}

/// Waits for so many more complete cycles.
fn pass(address: SocketAddr, cycles: f64) {
    let before = complete_cycles(address);
    eventually("complete cycles", || (complete_cycles(address) >= before + cycles).then_some(()));
}

fn stop(daemon: &mut Process) {
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.code(), Some(0));
}

/// Runs `llmsoak compare` or `baseline` on the history; how it ended, and what it wrote.
fn on_history(stage: &Stage, arguments: &[&str]) -> (Option<i32>, String) {
    let storage = stage.storage().display().to_string();
    let mut process = Process::start(&[arguments, &["--storage.path", &storage]].concat());
    let code = process.code();
    (code, process.stdout() + &process.stderr())
}

#[test]
fn a_slower_driver_is_told_until_it_is_accepted() {
    let (server, stage) = (Server::start(), Stage::new());
    let file = stage.write("driver", "580.95.05");
    let environment = format!("{{gpu: off, commands: {{driver: [cat, {file}]}}}}");
    let target = Target { environment: &environment, ..server.target() };
    let update = |driver: &str| {
        stage.write("driver", driver);
        server.slow_down(0.7);
    };
    let (mut daemon, address) = stage.run(std::slice::from_ref(&target));
    eventually("series before anything changed", || {
        let seen = scrape(address);
        (seen.has("llmsoak_regression_active") && !is_active(&seen)).then_some(())
    });
    pass(address, 6.0);
    let (code, said) = on_history(&stage, &["compare"]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("no baseline: "), "{said}");

    update("590.44.01");
    let seen = eventually("the alarm", || Some(scrape(address)).filter(is_active));
    let caused = [("measure", "tokens_per_second"), ("cause", "environment_change")];
    assert_eq!(seen.sum("llmsoak_regressions_total", &caused), 1.0);
    let history = stage.history();
    let of_rate = "FROM change WHERE measure = 'tokens_per_second'";
    // It is on its way to the disk when it is shown.
    let rows = format!("SELECT COUNT(*) {of_rate}");
    eventually("the change in the history", || (history.one::<i64>(&rows) == 1).then_some(()));
    let component: String = history.one(&format!("SELECT component {of_rate}"));
    assert_eq!(component, "driver");
    let ratio: f64 = history.one(&format!("SELECT ratio {of_rate}"));
    assert!((ratio - 0.7).abs() < 0.1, "{ratio}");
    let compared = scrape(address).sum("llmsoak_change_ratio", &RATE);
    assert!((compared - 0.7).abs() < 0.1, "{compared}");

    let (code, said) = on_history(&stage, &["compare"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("driver_version: 580.95.05 → 590.44.01"), "{said}");
    assert_eq!(on_history(&stage, &["compare", "--fail-on", "49%"]).0, Some(0));

    stop(&mut daemon);
    let (mut daemon, address) = stage.run(std::slice::from_ref(&target));
    assert!(is_active(&scrape(address)), "it is there with the first scrape");
    assert_eq!(scrape(address).sum("llmsoak_regressions_total", &caused), 1.0);
    update("590.48.01");
    pass(address, 4.0);
    assert!(is_active(&scrape(address)), "a harmless change does not end it");

    let (code, said) = on_history(&stage, &["baseline", "accept"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("regression of tokens_per_second"), "{said}");
    eventually("the end of the alarm", || (!is_active(&scrape(address))).then_some(()));
    assert_eq!(scrape(address).sum("llmsoak_regressions_total", &caused), 1.0, "what happened has happened");
    stop(&mut daemon);
    let (_daemon, address) = stage.run(std::slice::from_ref(&target));
    assert!(!is_active(&scrape(address)), "what was accepted stays so");
}

#[test]
fn another_load_is_not_compared() {
    let (server, stage) = (Server::start(), Stage::new());
    let target = Target { grid: "{workers: [1], batch: [1, 2]}", ..server.target() };
    assert_eq!(stage.once(std::slice::from_ref(&target), 3).code(), Some(0));
    let longer = Target { request: "{output_tokens: 12, prompt_tokens: 16}", ..target };
    assert_eq!(stage.once(&[longer], 2).code(), Some(0));
    let (code, said) = on_history(&stage, &["compare", "--baseline", "1"]);
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("not comparable: the load differs in output_tokens: 24 → 12"), "{said}");
    let (code, said) = on_history(&stage, &["compare", "--baseline", "9"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("the history has no epoch 9") && said.contains("hint: "), "{said}");
}

#[test]
fn a_pinned_baseline_needs_no_number_of_cycles() {
    let (server, stage) = (Server::start(), Stage::new());
    let target = Target { grid: "{workers: [1, 2], batch: [2, 4]}", ..server.target() };
    assert_eq!(stage.once(std::slice::from_ref(&target), 2).code(), Some(0));
    server.sim.set_version("2.0.0");
    server.slow_down(0.4);
    let storage = stage.storage().display().to_string();
    let config = stage.configure(&[target]);
    let once = ["once", "--config.file", &config, "--storage.path", &storage, "--cycles", "2", "--compare"];
    let mut first = Process::start(&once);
    assert_eq!(first.code(), Some(5), "two cycles are no baseline: {}", first.stdout());
    assert_eq!(on_history(&stage, &["baseline", "pin", "1"]).0, Some(0));
    let (_, list) = on_history(&stage, &["baseline", "list"]);
    assert!(list.lines().any(|line| line.contains("baseline; pinned")), "{list}");
    let mut second = Process::start(&once);
    assert_eq!(second.code(), Some(4), "{}", second.stdout());
    assert!(second.stdout().contains("worse, beyond the limit of 3 %"), "{}", second.stdout());
}
