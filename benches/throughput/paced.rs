//! How true the client's times are, while the server writes each token at its time.
//!
//! Streams start one after the other over a second. Every figure is of single tokens and gaps,
//! compared with when the server wrote them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::clients::{Kind, Seen, Subject, request};
use super::clock::{come_first, middle, nanoseconds, now, quantile, runtime};
use super::truth::Served;
use super::{RUNS, Server, Verdict};

const FIRST: Duration = Duration::from_millis(200);
const STEP: Duration = Duration::from_millis(20);
const TOKENS: u32 = 128;
const RAMP: Duration = Duration::from_secs(1);
const STREAMS: [u32; 3] = [48, 256, 1024];

/// How far one run was from the truth. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errors {
    lag_p50: f64,
    lag_p99: f64,
    ttft_p50: f64,
    /// The 99th percentile of the gaps, less that of the true gaps.
    gap_p99_excess: f64,
    /// |mean gap / true mean gap − 1|.
    gap_mean_ratio: f64,
    /// First send to last end, over what it would ideally be.
    wall_ratio: f64,
    is_exact: bool,
}

pub(crate) fn compare(verdict: &mut Verdict) {
    let server = Server::start();
    let runtime = runtime("measure");
    for streams in STREAMS {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push([Kind::Hyper, Kind::Llmsoak].map(|kind| run(&runtime, &server, kind, streams)));
        }
        judge(verdict, &format!("{streams} streams"), &runs);
    }
}

/// What of a run is bounded: its name, how it is read, the bound, the unit.
type Bound = (&'static str, fn(&Errors) -> f64, f64, &'static str);

/// Judges runs of the hyper floor and of llmsoak.
pub(crate) fn judge(verdict: &mut Verdict, name: &str, runs: &[[Errors; 2]]) {
    let of = |which: usize, figure: fn(&Errors) -> f64| {
        middle(&runs.iter().map(|run| figure(&run[which])).collect::<Vec<_>>())
    };
    let bounds: [Bound; 6] = [
        ("lag of a token, median", |errors| errors.lag_p50, 0.1, "ms"),
        ("lag of a token, p99", |errors| errors.lag_p99, 2.0, "ms"),
        ("error of TTFT, median", |errors| errors.ttft_p50, 0.3, "ms"),
        ("p99 of the gaps beyond the truth", |errors| errors.gap_p99_excess.abs(), 1.0, "ms"),
        ("error of the mean gap", |errors| errors.gap_mean_ratio * 100.0, 0.1, "%"),
        ("wall time / ideal", |errors| errors.wall_ratio, 1.03, ""),
    ];
    for (what, figure, bound, unit) in bounds {
        let (floor, value) = (of(0, figure), of(1, figure));
        if unit == "ms" {
            verdict.beside_floor(&format!("{name}: {what}"), value, floor, bound, unit);
        } else {
            verdict.at_most(&format!("{name}: {what}"), value, bound, unit);
        }
    }
    let exact = runs.iter().filter(|run| run[1].is_exact).count();
    verdict.judge(&format!("{name}: tokens exact"), exact == runs.len(), &format!("{exact} of {} runs", runs.len()));
}

/// One wave of streams through one client.
pub(crate) fn run(runtime: &Runtime, server: &Server, kind: Kind, streams: u32) -> Errors {
    let url = format!("{}/paced/{}/{}", server.url, FIRST.as_micros(), STEP.as_micros());
    let (seen, served) = runtime.block_on(async {
        let subject = Subject::new(kind, &url, TOKENS).await;
        let mut waves = tokio::task::JoinSet::new();
        let mut starts = Vec::new();
        for seed in 0..streams {
            let (start, started) = oneshot::channel::<()>();
            let (subject, request) = (subject.clone(), request(seed, TOKENS));
            waves.spawn(async move {
                started.await.expect("is started");
                subject.stream(&request).await
            });
            starts.push(start);
        }
        // Tokio's timers are good to a millisecond: streams would start, and write, in bursts.
        let starter = std::thread::spawn(move || start_one_by_one(starts));
        let seen = waves.join_all().await;
        starter.join().expect("ends");
        (seen, server.ask::<Vec<Served>>("truth").await)
    });
    errors(&seen, served, streams)
}

fn start_one_by_one(starts: Vec<oneshot::Sender<()>>) {
    come_first();
    let (began, apart) = (now(), nanoseconds(RAMP) / starts.len() as u64);
    for (at, start) in (0..).map(|index| began + index * apart).zip(starts) {
        std::thread::sleep(Duration::from_nanos(at.saturating_sub(now())));
        let _ = start.send(());
    }
}

fn errors(seen: &[Seen], served: Vec<Served>, streams: u32) -> Errors {
    let served: BTreeMap<u32, Served> = served.into_iter().map(|served| (served.seed, served)).collect();
    let milliseconds = |nanoseconds: i64| nanoseconds as f64 / 1e6;
    let between = |early: u64, late: u64| milliseconds(late.cast_signed() - early.cast_signed());
    let gaps = |times: &[u64]| times.windows(2).map(|pair| between(pair[0], pair[1])).collect::<Vec<_>>();
    let (mut lags, mut firsts, mut seen_gaps, mut true_gaps) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut is_exact = seen.len() == streams as usize && served.len() == seen.len();
    for seen in seen {
        let truth = &served[&seen.seed];
        is_exact &= seen.tokens == u64::from(TOKENS) && seen.stamps.len() == truth.writes.len();
        lags.extend(truth.writes.iter().zip(&seen.stamps).map(|(&written, &stamp)| between(written, stamp)));
        firsts.push((between(seen.sent, seen.stamps[0]) - between(truth.arrived, truth.writes[0])).abs());
        seen_gaps.extend(gaps(&seen.stamps));
        true_gaps.extend(gaps(&truth.writes));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let gap_mean_ratio = (mean(&seen_gaps) / mean(&true_gaps) - 1.0).abs();
    for values in [&mut lags, &mut firsts, &mut seen_gaps, &mut true_gaps] {
        values.sort_by(f64::total_cmp);
    }
    let first_sent = seen.iter().map(|seen| seen.sent).min().expect("has streams");
    let last_ended = seen.iter().map(|seen| seen.ended).max().expect("has streams");
    let ramp = RAMP - RAMP / streams;
    let ideal = (ramp + FIRST + (TOKENS - 1) * STEP).as_secs_f64() * 1e3;
    Errors {
        lag_p50: quantile(&lags, 0.5),
        lag_p99: quantile(&lags, 0.99),
        ttft_p50: quantile(&firsts, 0.5),
        gap_p99_excess: quantile(&seen_gaps, 0.99) - quantile(&true_gaps, 0.99),
        gap_mean_ratio,
        wall_ratio: between(first_sent, last_ended) / ideal,
        is_exact,
    }
}
