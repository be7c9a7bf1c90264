//! The program itself: how fast it starts, how large it is, and what a long soak does to it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use llmsoak::store::FILE_NAME;
use rusqlite::Connection;
use rustix::param::clock_ticks_per_second;
use tokio::runtime::Runtime;

use super::clock::{middle, now, runtime};
use super::memory::resident_bytes;
use super::truth::Counts;
use super::{RUNS, Server, Verdict};

const PROGRAM: &str = env!("CARGO_BIN_EXE_llmsoak");
const LOOK: Duration = Duration::from_millis(5);
/// The soak's requests; `REQUESTS` asks for fewer or more.
const REQUESTS: u64 = 1_000_000;
const FIRST_REQUESTS: u64 = 10_000;

/// The daemon on a truth server, which ends with this value.
struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
    /// When it was started.
    began: u64,
}

impl Daemon {
    fn start(server: &Server, workers: u32, batch: u32, tokens: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (config, storage) = (folder.path().join("llmsoak.yml"), folder.path().join("data"));
        let text = format!(
            "storage: {{path: {}}}\n\
             schedule: {{pause_between_samples: 0s}}\n\
             targets:\n\
             - name: truth\n  url: {}/flood/1\n  api: openai\n  grid: {{workers: [{workers}], batch: [{batch}]}}\n  \
             request: {{endpoint: chat, output_tokens: {tokens}}}\n",
            storage.display(),
            server.url
        );
        std::fs::write(&config, text).expect("is written");
        let mut command = Command::new(PROGRAM);
        command.arg("run").arg(format!("--config.file={}", config.display()));
        command.args(["--web.listen-address=127.0.0.1:0", "--log.level=warn"]).stdout(Stdio::null());
        let began = now();
        Self { child: command.spawn().expect("starts"), folder, began }
    }

    fn resident_megabytes(&self) -> f64 {
        resident_bytes(&self.child.id().to_string()) as f64 / 1e6
    }

    /// Processor time so far, seconds.
    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|&field| fields[field].parse::<u64>().expect("ticks")).sum();
        ticks as f64 / clock_ticks_per_second() as f64
    }

    /// Waits until the server got so many requests, and returns its counts.
    fn wait_for(&self, runtime: &Runtime, server: &Server, requests: u64, look: Duration) -> Counts {
        loop {
            let counts: Counts = runtime.block_on(server.ask("counts"));
            if counts.requests >= requests {
                return counts;
            }
            std::thread::sleep(look);
        }
    }

    /// Asks it to end, waits for that, and returns its folder.
    fn stop(mut self) -> tempfile::TempDir {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("is there");
        assert!(self.child.wait().expect("ends").success(), "ends well");
        self.folder
    }
}

/// From a cold start to the first request for tokens.
pub(crate) fn start(verdict: &mut Verdict) {
    let runtime = runtime("ask");
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let server = Server::start();
        let daemon = Daemon::start(&server, 4, 4, 16);
        let counts = daemon.wait_for(&runtime, &server, 1, LOOK);
        let cpu = daemon.cpu_seconds();
        let until = |at: u64| (at - daemon.began) as f64 / 1e6;
        runs.push([until(counts.first_probe), until(counts.first_request), cpu]);
        daemon.stop();
    }
    let of = |index: usize| middle(&runs.iter().map(|run| run[index]).collect::<Vec<_>>());
    Verdict::tell("cold start to the first probe of the server", &format!("{:.0} ms", of(0)));
    verdict.at_most("cold start to the first request, probes included", of(1), 200.0, "ms");
    verdict.at_most("processor time of the start", of(2), 0.1, "s");
}

/// The program on the disk, as `strip` leaves it.
pub(crate) fn size(verdict: &mut Verdict) {
    let folder = tempfile::tempdir().expect("a folder");
    let stripped = folder.path().join("llmsoak");
    let done = Command::new("strip").arg("-o").arg(&stripped).arg(PROGRAM).status();
    let (path, words) = match done {
        Ok(status) if status.success() => (stripped.as_path(), "the stripped program"),
        _ => (Path::new(PROGRAM), "the program (there is no strip)"),
    };
    let megabytes = std::fs::metadata(path).expect("is there").len() as f64 / 1e6;
    verdict.at_most(words, megabytes, 25.0, "MB");
}

/// A long soak of short requests.
pub(crate) fn soak(verdict: &mut Verdict) {
    let requests = std::env::var("REQUESTS").map_or(REQUESTS, |text| text.parse().expect("REQUESTS is a number"));
    let (runtime, server) = (runtime("ask"), Server::start());
    let daemon = Daemon::start(&server, 64, 64, 8);
    daemon.wait_for(&runtime, &server, FIRST_REQUESTS, LOOK);
    let (began, first) = (now(), daemon.resident_megabytes());
    daemon.wait_for(&runtime, &server, requests, Duration::from_secs(1));
    let (seconds, last, cpu) = ((now() - began) as f64 / 1e9, daemon.resident_megabytes(), daemon.cpu_seconds());
    let folder = daemon.stop();
    let file = folder.path().join("data").join(FILE_NAME);
    let bytes = std::fs::metadata(&file).expect("a history").len() as f64;
    let history = Connection::open(&file).expect("a history");
    let samples: f64 = history.query_row("SELECT count(*) FROM sample", [], |row| row.get(0)).expect("samples");
    let rate = (requests - FIRST_REQUESTS) as f64 / seconds;
    Verdict::tell("the soak", &format!("{requests} requests, {rate:.0} a second, {cpu:.0} CPU-seconds in all"));
    Verdict::tell("the history", &format!("{samples} samples, {:.0} bytes a sample", bytes / samples));
    Verdict::tell("memory after the first requests", &format!("{first:.1} MB"));
    let what = format!("memory after {requests} requests / after {FIRST_REQUESTS}");
    verdict.at_most(&what, last / first, 1.1, &format!("({last:.1} MB)"));
}
