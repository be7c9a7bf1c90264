//! What llmsoak measures against what the simulated server's queue model says, on real sockets.
//!
//! `cargo bench --bench theory` measures the legacy grid at twenty times the speed and six
//! of its cells at the true one, five times each, all noise and unkindness off. It prints
//! the worst cells and fails when the median of one is more than 1 % away from the model.
//! The legacy report's own figures are compared beside it: the rows 8 … 24, which the
//! model explains to 6 % rms, the worst of them to 15 %.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench may end at the first surprise"
)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use llmsoak::analysis::quantile::median;
use llmsoak::client::{Client, Timeouts};
use llmsoak::domain::plan::{Connection, RequestPlan};
use llmsoak::domain::{Cell, Grid, RequestRecord, TargetId};
use llmsoak::sim::model::predict_total;
use llmsoak::sim::{Profile, SimApi, SimOptions, SimServer, http};
use llmsoak::soak::batch::{self, Batch};
use llmsoak::soak::order::generator;
use llmsoak::soak::{Backend, Bus, HttpBackend, WallClock, prompts};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

const REPEATS: usize = 5;
const TOLERANCE: f64 = 0.01;
/// The widest row of the legacy grid.
const SLOTS: u32 = 50;
/// The length of the legacy report's answers, tokens.
const OUTPUT_TOKENS: u32 = 204;
const LEGACY: &str = include_str!("../tests/suite/data/legacy_grid.csv");

fn main() -> ExitCode {
    let six = [(1, 1), (8, 8), (8, 16), (24, 24), (20, 40), (24, 48)].map(|(workers, batch)| Cell::new(workers, batch));
    let grid = Grid::legacy(true);
    let (fast, fast_totals) = compare(20.0, &grid.measured());
    let (true_speed, _) = compare(1.0, &six);
    compare_with_legacy(&grid, &fast_totals);
    if fast.max(true_speed) <= TOLERANCE { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures the cells at a speed, prints the worst, and returns the worst deviation and the
/// median totals in the model's seconds.
fn compare(speed: f64, cells: &[Cell]) -> (f64, BTreeMap<Cell, f64>) {
    let profile = Profile::reference();
    let (base, per_stream) = (profile.step_base, profile.step_per_stream);
    let options = SimOptions { speed, ..SimOptions::exact(profile, SLOTS) };
    let serving = runtime("serve");
    let socket = serving.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
    let url = format!("http://{}", socket.local_addr().expect("is bound"));
    serving.spawn(async move {
        let server = SimServer::start(options);
        http::serve(socket, server, SimApi::LlamaCpp, std::future::pending()).await
    });

    let measuring = runtime("measure");
    let plan = Arc::new(RequestPlan { output_tokens: OUTPUT_TOKENS, ..RequestPlan::default() });
    let connection = Connection { url, connect_timeout: Duration::from_secs(5), ..Connection::default() };
    let backend = Arc::new(HttpBackend::new(Client::new(&connection).expect("sound"), None, plan.clone()));
    measuring.block_on(backend.identify()).expect("the server is there");
    let mut rows: Vec<(f64, Cell, f64, f64)> = cells
        .iter()
        .map(|&cell| {
            let answers = vec![OUTPUT_TOKENS; cell.batch as usize];
            let model = predict_total(base, per_stream, cell.workers.min(SLOTS), &answers).as_secs_f64() / speed;
            let totals: Vec<f64> =
                (0..REPEATS).map(|_| measuring.block_on(total(&backend, &plan, cell)).as_secs_f64()).collect();
            let total = median(&totals).expect("has repeats");
            (total / model - 1.0, cell, total, model)
        })
        .collect();
    rows.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
    println!("speed {speed}, {} cells, median of {REPEATS}; the worst:", rows.len());
    println!("  cell     measured s   model s   deviation");
    for (deviation, cell, total, model) in rows.iter().take(6) {
        println!("  {:<7} {total:>11.4} {model:>9.4} {:>+9.2} %", cell.to_string(), deviation * 100.0);
    }
    let worst = rows.first().map_or(0.0, |row| row.0.abs());
    (worst, rows.into_iter().map(|(_, cell, total, _)| (cell, total * speed)).collect())
}

/// Measures one cell once: a short warm-up, then first send to last completion.
async fn total(backend: &Arc<HttpBackend>, plan: &RequestPlan, cell: Cell) -> Duration {
    let bus = Bus::new(WallClock::System, None);
    let target = TargetId::new("theory", "reference");
    let salt = bus.now().as_nanosecond() as u64;
    let minute = Duration::from_secs(60);
    let timeouts = Timeouts { first_token: 10 * minute, between_tokens: minute, total: 10 * minute };
    let mut records = Vec::new();
    for (count, tokens, is_warmup) in [(cell.concurrency(), 4, true), (cell.batch, OUTPUT_TOKENS, false)] {
        let requests = prompts::requests(plan, count, tokens, &mut generator(salt, &[u64::from(is_warmup)]));
        records = batch::run(
            backend,
            Batch { requests, workers: cell.workers, timeouts, is_warmup, meter: Arc::default() },
            &bus,
            &target,
        )
        .await;
        assert!(records.iter().all(RequestRecord::succeeded), "{cell}: {:?}", records[0].failure);
    }
    let first_sent = records.iter().map(|record| record.sent).min().expect("has requests");
    let last_ended = records.iter().map(|record| record.ended).max().expect("has requests");
    last_ended - first_sent
}

/// The rows 8 … 24 of the legacy report beside what was measured of the simulated server.
fn compare_with_legacy(grid: &Grid, totals: &BTreeMap<Cell, f64>) {
    let (mut squares, mut worst, mut cells) = (0.0, (0.0_f64, Cell::new(0, 0)), 0.0);
    for line in LEGACY.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let number = |index: usize| fields[index].parse::<f64>().expect("a number");
        let cell = Cell::new(number(0) as u32, number(1) as u32);
        if !(8..=24).contains(&cell.workers) {
            continue;
        }
        let deviation = (totals[&grid.canonical(cell)] / number(2)).ln();
        squares += deviation * deviation;
        cells += 1.0;
        if deviation.abs() > worst.0.abs() {
            worst = (deviation, cell);
        }
    }
    let rms = f64::sqrt(squares / cells);
    let (deviation, cell) = worst;
    println!("legacy rows 8 to 24, {cells} cells: rms {:.1} %, worst {cell} {:+.1} %", rms * 100.0, deviation * 100.0);
}

fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().expect("threads")
}
