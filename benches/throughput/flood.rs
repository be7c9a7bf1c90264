//! What a token costs the client, while the server writes as fast as it is read.
//!
//! One write a token, where the kernel is the cost, and many tokens a write, where parsing is.
//! llmsoak's figure is of a whole batch as the engine runs it.

use std::sync::Arc;

use llmsoak::domain::{RequestRecord, TargetId};
use llmsoak::soak::batch::{self, Batch};
use llmsoak::soak::{Bus, WallClock};
use tokio::runtime::Runtime;

use super::clients::{Kind, Subject, TIMEOUTS, backend, request};
use super::clock::{cpu_seconds, middle, now, runtime};
use super::{RUNS, Server, Verdict};

struct Load {
    name: &'static str,
    tokens_per_write: u32,
    streams: u32,
    tokens: u32,
}

const LOADS: [Load; 3] = [
    Load { name: "a write a token, 64 streams", tokens_per_write: 1, streams: 64, tokens: 3000 },
    Load { name: "a write a token, 512 streams", tokens_per_write: 1, streams: 512, tokens: 1600 },
    Load { name: "64 tokens a write, 64 streams", tokens_per_write: 64, streams: 64, tokens: 16_000 },
];

const KINDS: [Kind; 3] = [Kind::Hyper, Kind::Reqwest, Kind::Llmsoak];

/// What one client did in one run.
#[derive(Clone, Copy)]
struct Run {
    cpu_per_million: f64,
    tokens_per_second: f64,
}

pub(crate) fn compare(verdict: &mut Verdict) {
    let server = Server::start();
    let runtime = runtime("measure");
    for load in &LOADS {
        let url = format!("{}/flood/{}", server.url, load.tokens_per_write);
        let runs: Vec<[Run; 3]> = (0..RUNS).map(|_| KINDS.map(|kind| run(&runtime, kind, &url, load))).collect();
        for (index, kind) in KINDS.iter().enumerate() {
            let of = |figure: fn(&Run) -> f64| middle(&runs.iter().map(|run| figure(&run[index])).collect::<Vec<_>>());
            let (cpu, rate) = (of(|run| run.cpu_per_million), of(|run| run.tokens_per_second));
            let words = format!("{cpu:.2} CPU-seconds a million tokens, {rate:.0} tokens/s");
            Verdict::tell(&format!("{}: {}", load.name, kind.name()), &words);
        }
        let ratio = |figure: fn(&Run) -> f64, floor: usize| {
            middle(&runs.iter().map(|run| figure(&run[2]) / figure(&run[floor])).collect::<Vec<_>>())
        };
        let name = load.name;
        let cpu = |run: &Run| run.cpu_per_million;
        let rate = |run: &Run| run.tokens_per_second;
        if load.tokens_per_write == 1 {
            verdict.at_most(&format!("{name}: CPU / hyper floor"), ratio(cpu, 0), 1.25, "");
            verdict.at_least(&format!("{name}: rate / hyper floor"), ratio(rate, 0), 0.95, "");
        } else {
            verdict.at_most(&format!("{name}: CPU / reqwest + serde"), ratio(cpu, 1), 1.1, "");
            let stretch = ratio(cpu, 0);
            Verdict::tell(&format!("{name}: CPU / hyper floor"), &format!("{stretch:.3}, wished for at most 1.5"));
        }
    }
}

fn run(runtime: &Runtime, kind: Kind, url: &str, load: &Load) -> Run {
    runtime.block_on(async {
        let expected = u64::from(load.streams) * u64::from(load.tokens);
        let requests: Vec<_> = (0..load.streams).map(|seed| request(seed, load.tokens)).collect();
        let (began, spent, tokens);
        if kind == Kind::Llmsoak {
            let backend = backend(url, load.tokens).await;
            (began, spent) = (now(), cpu_seconds());
            let batch =
                Batch { requests, workers: load.streams, timeouts: TIMEOUTS, is_warmup: false, meter: Arc::default() };
            let bus = Bus::new(WallClock::System, None);
            let records = batch::run(&backend, batch, &bus, &TargetId::new("bench", "truth")).await;
            assert!(records.iter().all(RequestRecord::succeeded), "no failures");
            tokens = records.iter().map(|record| record.tokens.output).sum::<u64>();
        } else {
            let subject = Subject::new(kind, url, load.tokens).await;
            (began, spent) = (now(), cpu_seconds());
            let mut streams = tokio::task::JoinSet::new();
            for request in requests {
                let subject = subject.clone();
                streams.spawn(async move { subject.stream(&request).await });
            }
            tokens = streams.join_all().await.iter().map(|seen| seen.tokens).sum::<u64>();
        }
        let (cpu, seconds) = (cpu_seconds() - spent, (now() - began) as f64 / 1e9);
        assert_eq!(tokens, expected, "every token is counted");
        Run { cpu_per_million: cpu / tokens as f64 * 1e6, tokens_per_second: tokens as f64 / seconds }
    })
}
