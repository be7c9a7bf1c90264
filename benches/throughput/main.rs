//! Whether llmsoak is ever the bottleneck: its client beside two floors, against the truth.
//!
//! `cargo bench --bench throughput` prints one table after the other and fails where a bound is
//! missed; `cargo bench --bench throughput -- flood paced` makes only those. A truth server, which
//! is this program once more, tells when it wrote each token. What each table holds and what it
//! said on one machine: docs/performance.md. Figures are medians of five runs; clients take turns.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench may end at the first surprise"
)]

mod clients;
mod clock;
mod daemon;
mod disturbance;
mod flood;
mod memory;
mod paced;
mod truth;
mod verdict;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

use verdict::Verdict;

/// Names what this process is, where it is not the bench itself.
const ROLE: &str = "LLMSOAK_BENCH_ROLE";

const RUNS: usize = 5;

/// A table by its name, and who fills it.
type Table = (&'static str, fn(&mut Verdict));

fn main() -> ExitCode {
    // The floor's HTTP library takes it from the process, as llmsoak's client does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match std::env::var(ROLE).as_deref() {
        Ok("truth") => {
            truth::serve();
            return ExitCode::SUCCESS;
        }
        Ok("memory") => {
            memory::hold();
            return ExitCode::SUCCESS;
        }
        Ok("scraper") => {
            disturbance::scrape();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let named: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let mut verdict = Verdict::default();
    let tables: [Table; 7] = [
        ("flood", flood::compare),
        ("paced", paced::compare),
        ("memory", memory::compare),
        ("isolation", disturbance::compare),
        ("start", daemon::start),
        ("size", daemon::size),
        ("soak", daemon::soak),
    ];
    for (name, table) in tables {
        if named.is_empty() || named.iter().any(|wanted| wanted == name) {
            println!("\n{name}");
            table(&mut verdict);
        }
    }
    verdict.conclude()
}

/// This program once more, as something else. `arguments` are what it is told.
fn role(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command.args(arguments).env(ROLE, name).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// A truth server, which ends with this value.
struct Server {
    url: String,
    child: Child,
    input: Option<ChildStdin>,
}

impl Server {
    fn start() -> Self {
        let mut child = role("truth", &[]).spawn().expect("starts");
        let mut url = String::new();
        let output = child.stdout.take().expect("is piped");
        BufReader::new(output).read_line(&mut url).expect("tells its address");
        let input = child.stdin.take();
        Self { url: url.trim().to_owned(), child, input }
    }

    /// Asks what it knows.
    async fn ask<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let answer = reqwest::get(format!("{}/{path}", self.url)).await.expect("an answer");
        serde_json::from_slice(&answer.bytes().await.expect("a body")).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.input.take();
        let _ = self.child.wait();
    }
}
