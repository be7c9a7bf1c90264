//! The memory that open streams take, beyond that of a client that waits for work.

use std::io::Write as _;
use std::time::Duration;

use super::clients::{Kind, Subject, request};
use super::clock::runtime;
use super::{RUNS, Server, Verdict, role};

/// Slow enough for two cores to serve every stream.
const FIRST: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_millis(250);
const TOKENS: u32 = 200;
/// All streams are open and have tokens by then.
const OPEN: Duration = Duration::from_secs(6);
const MOST_BYTES: f64 = 40e3;

pub(crate) fn compare(verdict: &mut Verdict) {
    let server = Server::start();
    let url = format!("{}/paced/{}/{}", server.url, FIRST.as_micros(), STEP.as_micros());
    for streams in [1024, 4096] {
        for kind in ["hyper", "llmsoak"] {
            let held: Vec<f64> = (0..RUNS).map(|_| hold_elsewhere(&url, kind, streams)).collect();
            let bytes = super::clock::middle(&held);
            let what = format!("{streams} open streams: memory of each, {kind}");
            if kind == "llmsoak" {
                verdict.at_most(&what, bytes / 1e3, MOST_BYTES / 1e3, "kB");
            } else {
                Verdict::tell(&what, &format!("{:.1} kB", bytes / 1e3));
            }
        }
    }
}

/// Bytes a stream, of a process that only holds streams open.
fn hold_elsewhere(url: &str, kind: &str, streams: u32) -> f64 {
    let output = role("memory", &[url, kind, &streams.to_string()]).output().expect("runs");
    assert!(output.status.success(), "{streams} streams of {kind}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// Holds streams open in this process and prints what each takes.
pub(crate) fn hold() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (url, kind, streams) = (&arguments[0], &arguments[1], arguments[2].parse::<u32>().expect("a number"));
    let kind = if kind == "hyper" { Kind::Hyper } else { Kind::Llmsoak };
    let runtime = runtime("measure");
    runtime.block_on(async {
        let subject = Subject::new(kind, url, TOKENS).await;
        let before = resident_bytes("self");
        let mut tasks = tokio::task::JoinSet::new();
        for seed in 0..streams {
            let (subject, request) = (subject.clone(), request(seed, TOKENS));
            tasks.spawn(async move { subject.stream(&request).await });
            if seed % 16 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        tokio::time::sleep(OPEN).await;
        assert_eq!(tasks.len(), streams as usize, "all streams are open");
        assert!(tasks.try_join_next().is_none(), "none has ended");
        let held = resident_bytes("self").saturating_sub(before) as f64 / f64::from(streams);
        println!("{held}");
        std::io::stdout().flush().expect("somebody reads");
    });
    runtime.shutdown_background();
}

/// The resident memory of a process.
pub(crate) fn resident_bytes(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel counts");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
