//! Writing reports: on schedule, at the end of a run, or now.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::args::{ConfigArgs, ReportArgs, StorageArgs};
use super::print;
use super::session::Listener;
use crate::config::{self, Config};
use crate::domain::plan::{Language, ReportPlan};
use crate::domain::{EpochId, EstimatePlan, Happening, TargetId};
use crate::metrics::ReportCounter;
use crate::process::in_background;
use crate::report::{ReportInput, render, snapshot};
use crate::soak::WallClock;
use crate::store::{EpochSummary, Reader};

/// Writes the reports of a configuration's targets.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    storage: PathBuf,
    folder: PathBuf,
    keep: usize,
    language: Language,
    estimates: EstimatePlan,
    targets: Vec<String>,
    clock: WallClock,
    counter: ReportCounter,
}

impl Reports {
    pub(super) fn new(config: &Config, clock: WallClock, counter: ReportCounter) -> Self {
        Self {
            storage: config.storage.path.clone(),
            folder: config.reports_folder(),
            keep: config.report.keep,
            language: config.report.language,
            estimates: config.schedule.estimates,
            targets: config.targets.iter().map(|target| target.name.clone()).collect(),
            clock,
            counter,
        }
    }

    async fn write_in_background(self) {
        let written = in_background(move || {
            for written in self.write_all() {
                match written {
                    Ok(path) => tracing::info!(path = %path.display(), "report written"),
                    Err(error) => tracing::error!(error = format!("{error:#}"), "report not written"),
                }
            }
        });
        if written.await.is_err() {
            tracing::error!("the report writer failed");
        }
    }

    /// Writes a report of each target that has a history, and returns their folders.
    pub(super) fn write_all(&self) -> Vec<anyhow::Result<PathBuf>> {
        self.targets.iter().filter_map(|name| self.write(name).transpose()).collect()
    }

    /// `None`: the target was never measured.
    fn write(&self, name: &str) -> anyhow::Result<Option<PathBuf>> {
        let now = self.clock.now();
        let mut target = TargetId::new(name, "");
        let written = self.write_at(name, now, &mut target);
        match &written {
            Ok(Some(_)) => self.counter.note_written(&target, now),
            Ok(None) => {}
            Err(_) => self.counter.note_failed(&target),
        }
        written.with_context(|| format!("the report of target {name}"))
    }

    /// Notes in `target` of which model the report is, once that is known.
    fn write_at(&self, name: &str, now: Timestamp, target: &mut TargetId) -> anyhow::Result<Option<PathBuf>> {
        let history = Reader::open(&self.storage)?;
        let Some(input) = ReportInput::from_history(&history, name, None, self.estimates, now)? else {
            return Ok(None);
        };
        *target = input.target.clone();
        let report = render(&input, self.language)?;
        let folder = snapshot::write(&self.folder, &report, &input.target.name, input.generated_at, self.keep)?;
        Ok(Some(folder))
    }

    /// Writes a report of that epoch, which need not be the newest.
    fn write_epoch(&self, id: EpochId) -> anyhow::Result<PathBuf> {
        let history = Reader::open(&self.storage)?;
        let summary = known_epoch(&history, id).context("--epoch")?;
        let input = ReportInput::of_epoch(&history, summary, self.estimates, self.clock.now())?;
        let report = render(&input, self.language)?;
        Ok(snapshot::write_aside(&self.folder, &report, &input.target.name, input.generated_at)?)
    }
}

/// Writes reports as the configuration in force says, and once early: when a target's first
/// cycle is complete.
pub(super) async fn write_on_schedule(
    mut config: watch::Receiver<Arc<Config>>,
    clock: WallClock,
    counter: ReportCounter,
    mut events: Listener,
    stop: CancellationToken,
) {
    let mut every = config.borrow_and_update().report.every;
    let mut due = Instant::now() + every;
    let mut has_one: BTreeSet<TargetId> = BTreeSet::new();
    // Written beside the loop: events that nobody takes would in the end hold up the engine.
    let mut writing: Option<JoinHandle<()>> = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = config.changed() => {
                let before = std::mem::replace(&mut every, config.borrow_and_update().report.every);
                due = due - before + every;
                continue;
            }
            () = sleep_until(due) => due = Instant::now() + every,
            event = events.recv() => match event {
                None => return,
                Some(event) => {
                    let is_complete = matches!(event.happening, Happening::CycleEnded { .. });
                    if !is_complete || !has_one.insert(event.target.clone()) {
                        continue;
                    }
                }
            },
        }
        if writing.as_ref().is_none_or(JoinHandle::is_finished) {
            let reports = Reports::new(&config.borrow(), clock, counter.clone());
            writing = Some(tokio::spawn(reports.write_in_background()));
        }
    }
}

/// The folder of the history, which the flag or the configuration names.
pub(super) fn storage_folder(config: &ConfigArgs, storage: &StorageArgs) -> anyhow::Result<PathBuf> {
    match &storage.path {
        // The history alone is enough.
        Some(path) => Ok(path.clone()),
        None => Ok(config::from_file(&config.file)?.storage.path),
    }
}

/// What is said of a history that is there and empty.
pub(super) const NOTHING_MEASURED: &str = "nothing was measured into this history yet\n  hint: `llmsoak once` measures";

/// Where the numbers of epochs are to be found.
pub(super) const EPOCHS_HINT: &str = "hint: `llmsoak baseline list` shows them";

/// That epoch, if the history has it.
pub(super) fn known_epoch(history: &Reader, id: EpochId) -> anyhow::Result<EpochSummary> {
    history.epoch(id)?.with_context(|| format!("the history has no epoch {id}\n  {EPOCHS_HINT}"))
}

fn names(history: &Reader) -> anyhow::Result<BTreeSet<String>> {
    Ok(history.targets()?.into_iter().map(|target| target.name.to_string()).collect())
}

/// That name, if the history has a target of it.
pub(super) fn known_target<'a>(history: &Reader, name: &'a str) -> anyhow::Result<&'a str> {
    let known = names(history)?;
    if !known.contains(name) {
        if known.is_empty() {
            bail!(NOTHING_MEASURED);
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        bail!("--target: the history has no target {name}\n  hint: it has {}", known.join(", "));
    }
    Ok(name)
}

/// What the configuration says of reports, where there is one that can be read. Else nobody knows how
/// many are to be kept: all.
fn as_configured(file: &Path) -> (ReportPlan, EstimatePlan) {
    if file.exists() {
        match config::from_file(file) {
            Ok(config) => return (config.report, config.schedule.estimates),
            Err(problems) => tracing::warn!(file = %file.display(), %problems, "written without the configuration"),
        }
    }
    (ReportPlan { keep: usize::MAX, ..ReportPlan::default() }, EstimatePlan::default())
}

/// `llmsoak report`: of what the history holds, now.
pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let (storage, plan, estimates) = match &args.storage.path {
        // The history alone is enough.
        Some(path) => {
            let (report, estimates) = as_configured(&args.config.file);
            (path.clone(), report, estimates)
        }
        None => {
            let config = config::from_file(&args.config.file)?;
            (config.storage.path, config.report, config.schedule.estimates)
        }
    };
    let (keep, language) = (plan.keep, args.language.map_or(plan.language, Into::into));
    let history = Reader::open(&storage)?;
    let targets: Vec<String> = match &args.target {
        Some(name) => vec![known_target(&history, name)?.to_owned()],
        None => names(&history)?.into_iter().collect(),
    };
    let folder = args.output.clone().unwrap_or_else(|| storage.join(config::REPORTS));
    let (clock, counter) = (WallClock::System, ReportCounter::default());
    let reports = Reports { storage, folder, keep, language, estimates, targets, clock, counter };
    let written = match args.epoch {
        Some(id) => vec![reports.write_epoch(EpochId(id))],
        None => reports.write_all(),
    };
    if written.is_empty() {
        bail!(NOTHING_MEASURED);
    }
    for written in written {
        print(format!("{}\n", written?.join("report.md").display()));
    }
    Ok(ExitCode::SUCCESS)
}
