//! `llmsoak demo`: the whole product with nothing else installed.
//!
//! A simulated server on a real socket, and the daemon as it is, with its real history.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use rand::TryRng as _;
use rand::rngs::SysRng;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::args::DemoArgs;
use super::run::{bind, guarded};
use super::session::{Listener, Mode, Session, service_runtime};
use super::{say, signals};
use crate::config;
use crate::domain::plan::GridPlan;
use crate::domain::slots::CommandLine;
use crate::domain::{Grid, Happening};
use crate::metrics::LogCounter;
use crate::sim::{Profile, SimApi, SimOptions, SimServer, http};

/// Fast enough for a dozen cycles of the demo's grid in two minutes.
const SPEED: f64 = 20.0;
const OUTPUT_TOKENS: u32 = 64;
const SLOTS: u32 = 24;
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// A part of the legacy grid, so that a cycle takes seconds.
const WORKERS: [u32; 5] = [4, 8, 16, 24, 32];
const BATCH: [u32; 5] = [1, 8, 16, 24, 48];

/// The driver is updated after so many cycles: enough for a baseline, and for the detector to
/// know the noise.
const CYCLES_BEFORE_UPDATE: u64 = 6;
const OLD_DRIVER: &str = "580.95.05";
const NEW_DRIVER: &str = "590.44.01";
/// What the update does to the rate.
const NEW_RATE: f64 = 0.92;

pub(super) fn run(args: &DemoArgs, log: LogCounter) -> anyhow::Result<ExitCode> {
    let storage = args.storage_path.clone().map_or_else(fresh_folder, Ok)?;
    service_runtime()?.block_on(async {
        let security = guarded(args.web.config_file.clone())?;
        let listeners = bind(&args.web.listen_addresses).await?;
        let stop = CancellationToken::new();
        signals::watch(stop.clone(), 0)?;
        let socket = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", socket.local_addr()?);
        let server = SimServer::start(simulated());
        tokio::spawn(http::serve(socket, server.clone(), SimApi::LlamaCpp, stop.clone().cancelled_owned()));

        private_folder().recursive(true).create(&storage).with_context(|| storage.display().to_string())?;
        let driver = storage.join("driver_version");
        std::fs::write(&driver, OLD_DRIVER).with_context(|| driver.display().to_string())?;
        let grid = Grid::new(&WORKERS, &BATCH, true)?;
        let mut config = config::without_file(&url, None, None)?;
        config.storage.path = storage;
        config.report.every = REPORT_EVERY;
        config.schedule.pause_between_samples = Duration::ZERO;
        for target in &mut config.targets {
            target.name = "demo".to_owned();
            target.grid = GridPlan::Fixed(grid.clone());
            target.request.output_tokens = OUTPUT_TOKENS;
            // A simulated server does not warm the GPU that this machine may have.
            target.environment.reads_gpu = false;
            target.environment.commands = BTreeMap::from([driver_command(&driver)]);
        }
        let scheme = if security.has_tls() { "https" } else { "http" };
        for listener in &listeners {
            let page = format!("{scheme}://{}", listener.local_addr()?);
            say(format_args!("llmsoak demo: a simulated server is being soaked; see {page}/ and {page}/metrics"));
        }
        say(format_args!("llmsoak demo: data in {}", config.storage.path.display()));
        let mode = Mode::Daemon { reloads: None, takes_orders: false };
        let session = Session { config, mode, listeners, security, log, stop };
        session.run(|events| update(server, driver, events)).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Updates the simulated driver, with which the server is slower, so that there is something to
/// find.
async fn update(server: SimServer, driver: PathBuf, mut events: Listener) {
    let mut cycles = 0;
    while let Some(event) = events.recv().await {
        cycles += u64::from(matches!(event.happening, Happening::CycleEnded { .. }));
        if cycles == CYCLES_BEFORE_UPDATE {
            if let Err(error) = std::fs::write(&driver, NEW_DRIVER) {
                tracing::error!(path = %driver.display(), %error, "the simulated driver cannot be updated");
                return;
            }
            server.set_slowdown(1.0 / NEW_RATE);
            let slower = (1.0 - NEW_RATE) * 100.0;
            say(format_args!(
                "llmsoak demo: the simulated driver is updated to {NEW_DRIVER}, and the server is {slower:.0} % slower \
                 from now on; an alarm follows"
            ));
            return;
        }
    }
}

/// Asks for the version of the simulated driver.
fn driver_command(file: &Path) -> (String, CommandLine) {
    let arguments = vec![file.display().to_string()];
    ("driver_version".to_owned(), CommandLine { program: "cat".to_owned(), arguments, environment: BTreeMap::new() })
}

/// One token a chunk, so that inter-token latency can be shown; otherwise as unkind as it is.
fn simulated() -> SimOptions {
    let profile = Profile { tokens_per_chunk: 1..=1, ..Profile::reference() };
    SimOptions { profile, slots: SLOTS, speed: SPEED, ..SimOptions::default() }
}

fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// A temporary folder that was not there: nobody has put anything into it.
fn fresh_folder() -> anyhow::Result<PathBuf> {
    let number = SysRng.try_next_u64().context("no random name for a temporary folder")?;
    let folder = std::env::temp_dir().join(format!("llmsoak-demo-{number:016x}"));
    private_folder().create(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}
