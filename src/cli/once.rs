//! `llmsoak once`: a few cycles, the report, the totals.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::args::OnceArgs;
use super::compare;
use super::log::Log;
use super::open_files;
use super::print;
use super::progress::{Drawing, Progress};
use super::reporting::Reports;
use super::run::configured;
use super::session::{Listener, Mode, Session, service_runtime};
use super::signals;
use crate::config::Config;
use crate::domain::{Event, Happening};
use crate::metrics::ReportCounter;
use crate::soak::WallClock;
use crate::store::Reader;
use crate::web::Security;

/// No valid sample, or a target that was given up.
const NOT_MEASURED: u8 = 2;
const INTERRUPTED: u8 = 3;

/// The line of progress is drawn this often, and with each event that changes it.
const REDRAW: Duration = Duration::from_secs(1);

/// What was sent and what came back, warm-ups included.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    requests: u64,
    failed_requests: u64,
    prompt_tokens: u64,
    cached_prompt_tokens: u64,
    output_tokens: u64,
    samples: u64,
    valid_samples: u64,
}

pub(super) fn run(args: &OnceArgs, log: &Log) -> anyhow::Result<ExitCode> {
    let config = configured(&args.source, &args.storage)?;
    open_files::suffice(&config)?;
    let stop = CancellationToken::new();
    let totals = Arc::new(Mutex::new(Totals::default()));
    let progress = Progress::new(args.cycles.into(), config.targets.len());
    let (storage, names) = (config.storage.path.clone(), names(&config));
    let reports = Reports::new(&config, WallClock::System, ReportCounter::default());
    let (interrupted, given_up, written) = service_runtime()?.block_on(async {
        signals::watch(stop.clone(), INTERRUPTED.into())?;
        // A token of its own: the session cancels the one that it is given when it is done.
        let running = stop.child_token();
        let mode = Mode::Cycles(args.cycles.into());
        let session = Session {
            config,
            mode,
            listeners: Vec::new(),
            security: Security::default(),
            log: log.counter.clone(),
            stop: running,
        };
        let counted = totals.clone();
        let show = Show { progress, drawing: Drawing::start(&log.screen), stop: stop.clone() };
        let given_up = session.run(|events| count(events, counted, show)).await?;
        let written = tokio::task::spawn_blocking(move || reports.write_all()).await?;
        anyhow::Ok((stop.is_cancelled(), !given_up.is_empty(), written))
    })?;
    let totals = *totals.lock().unwrap_or_else(PoisonError::into_inner);
    print(summary(&totals));
    for written in written {
        print(format!("report: {}\n", written?.join("report.md").display()));
    }
    let code = if interrupted {
        INTERRUPTED
    } else if totals.valid_samples == 0 || given_up {
        NOT_MEASURED
    } else if args.compare {
        compare_all(&storage, &names, args.fail_on)?
    } else {
        0
    };
    Ok(ExitCode::from(code))
}

fn names(config: &Config) -> Vec<String> {
    config.targets.iter().map(|target| target.name.clone()).collect()
}

/// Compares what has just been measured with the baselines; returns how that ends.
fn compare_all(storage: &Path, names: &[String], limit: f64) -> anyhow::Result<u8> {
    let history = Reader::open(storage)?;
    let mut judged = Vec::new();
    for name in names {
        if let Some(newest) = history.newest_epoch(name, None)? {
            judged.push(compare::judge(&history, &newest.target, None, None)?);
        }
    }
    print(format!("\n{}", compare::tables(&judged, limit)));
    Ok(compare::code(&judged, limit))
}

/// What somebody at a terminal sees.
struct Show {
    progress: Progress,
    drawing: Option<Drawing>,
    /// Who asked for an end wants a clean terminal, even if that end takes a while.
    stop: CancellationToken,
}

async fn count(mut events: Listener, totals: Arc<Mutex<Totals>>, mut show: Show) {
    let mut redraw = interval(REDRAW);
    loop {
        let is_news = tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return };
                totals.lock().unwrap_or_else(PoisonError::into_inner).add(&event);
                show.progress.hear(&event)
            }
            _ = redraw.tick(), if show.drawing.is_some() => true,
            () = show.stop.cancelled(), if show.drawing.is_some() => {
                show.drawing = None;
                false
            }
        };
        if let Some(drawing) = show.drawing.as_ref().filter(|_| is_news) {
            drawing.show(&show.progress, WallClock::System.now());
        }
    }
}

impl Totals {
    fn add(&mut self, event: &Event) {
        match &event.happening {
            Happening::RequestEnded(end) => {
                self.requests += 1;
                if end.failure.is_some() {
                    self.failed_requests += 1;
                } else {
                    self.output_tokens += end.tokens.output;
                    self.prompt_tokens += end.tokens.prompt.unwrap_or(0);
                    self.cached_prompt_tokens += end.tokens.cached_prompt.unwrap_or(0);
                }
            }
            Happening::SampleEnded { sample, .. } => {
                self.samples += 1;
                self.valid_samples += u64::from(sample.is_valid());
            }
            _ => {}
        }
    }
}

fn summary(totals: &Totals) -> String {
    let Totals {
        requests,
        failed_requests,
        prompt_tokens,
        cached_prompt_tokens,
        output_tokens,
        samples,
        valid_samples,
    } = totals;
    format!(
        "samples: {samples}, {valid_samples} valid\n\
         requests, warm-ups included: {requests}, {failed_requests} failed\n\
         output tokens, warm-ups included: {output_tokens}\n\
         prompt tokens, warm-ups included: {prompt_tokens}, {cached_prompt_tokens} from a cache\n"
    )
}
