//! A folder with a configuration and a history, and the simulated servers beside it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{History, Process};

/// A simulated server of the tiny model, on a port of its own.
pub(crate) fn simulator(flags: &[&str]) -> (Process, SocketAddr) {
    simulator_at("127.0.0.1:0", flags)
}

/// The same on a port that is known before.
pub(crate) fn simulator_at(address: &str, flags: &[&str]) -> (Process, SocketAddr) {
    let always = ["sim", "--profile", "tiny", "--web.listen-address", address];
    let mut process = Process::start(&[&always, flags].concat());
    let address = process.address();
    (process, address)
}

/// A target as the tests like it: a cycle of it takes a fraction of a second.
#[derive(Clone, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) name: &'a str,
    pub(crate) url: String,
    pub(crate) lane: &'a str,
    pub(crate) grid: &'a str,
    /// The server's first where it is empty.
    pub(crate) model: &'a str,
    pub(crate) slots: &'a str,
    pub(crate) request: &'a str,
    pub(crate) environment: &'a str,
    pub(crate) validity: &'a str,
}

impl Target<'_> {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            name: "target",
            url: format!("http://{address}"),
            lane: "lane",
            grid: "{workers: [1, 2], batch: [1, 4]}",
            model: "",
            slots: "{}",
            request: "{output_tokens: 8}",
            environment: "{}",
            validity: "{}",
        }
    }
}

/// A temporary folder to run in.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: TempDir,
    /// The `schedule` of the configurations.
    schedule: &'static str,
}

impl Stage {
    pub(crate) fn new() -> Self {
        Self::with_schedule("{pause_between_samples: 20ms}")
    }

    pub(crate) fn with_schedule(schedule: &'static str) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), schedule }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the history and the reports are.
    pub(crate) fn storage(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn history(&self) -> History {
        History::open(&self.storage())
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    }

    /// Writes the configuration of some targets and returns its path.
    pub(crate) fn configure(&self, targets: &[Target<'_>]) -> String {
        let mut text = format!("schedule: {}\ntargets:\n", self.schedule);
        for Target { name, url, lane, grid, model, slots, request, environment, validity } in targets {
            text += &format!("  - name: {name}\n    url: {url}\n    lane: {lane}\n    model: {model}\n");
            text += &format!("    grid: {grid}\n    slots: {slots}\n    request: {request}\n");
            text += &format!("    environment: {environment}\n    validity: {validity}\n");
        }
        self.write("llmsoak.yml", &text)
    }

    /// Starts a command with those targets and this folder's history.
    pub(crate) fn start(&self, command: &str, targets: &[Target<'_>], flags: &[&str]) -> Process {
        let (config, storage) = (self.configure(targets), self.storage().display().to_string());
        let always = [command, "--config.file", &config, "--storage.path", &storage];
        Process::start(&[&always, flags].concat())
    }

    /// Runs a command that works on this folder's history alone; what it wrote to stdout.
    pub(crate) fn on_history(&self, command: &str, arguments: &[&str]) -> String {
        let storage = self.storage().display().to_string();
        let mut process = Process::start(&[&[command], arguments, &["--storage.path", &storage]].concat());
        assert_eq!(process.code(), Some(0), "{}", process.stderr());
        process.stdout()
    }

    /// Starts the daemon on a port of its own.
    pub(crate) fn run(&self, targets: &[Target<'_>]) -> (Process, SocketAddr) {
        let flags = ["--web.listen-address", "127.0.0.1:0", "--web.enable-lifecycle"];
        let mut process = self.start("run", targets, &flags);
        let address = process.address();
        (process, address)
    }

    /// Starts a few cycles.
    pub(crate) fn once(&self, targets: &[Target<'_>], cycles: u32) -> Process {
        self.start("once", targets, &["--cycles", &cycles.to_string()])
    }
}
