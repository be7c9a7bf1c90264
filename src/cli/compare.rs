//! `llmsoak compare`: two epochs beside each other, and what a script is to think of it.
//!
//! Reads the history alone; what a daemon compares is compared the same way.

mod json;
mod table;

use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::args::{CompareArgs, CompareFormat};
use super::print;
use super::reporting::{EPOCHS_HINT, known_epoch, known_target, storage_folder};
use crate::analysis::regression::Alarms;
use crate::analysis::regression::baseline::load_differences;
use crate::domain::{Comparison, Epoch, EpochId, EstimatePlan, TargetId};
use crate::soak::watch::recall::{self, Held};
use crate::store::Reader;

/// A regression beyond the limit.
const REGRESSION: u8 = 4;
/// Not comparable, or too few cycles to say.
const NOT_ENOUGH: u8 = 5;

/// Two epochs of a target.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    target: TargetId,
    current: Epoch,
    /// `None`: there is none.
    baseline: Option<Against>,
    outcome: Outcome,
}

/// What an epoch is compared with.
#[derive(Clone, Debug)]
struct Against {
    epoch: Epoch,
    /// Whether the user pinned it, and it was not named otherwise.
    is_pinned: bool,
}

/// What there is to say.
#[derive(Clone, Debug)]
enum Outcome {
    /// By measure.
    Compared(Box<[Comparison; 3]>),
    /// What differs in the loads.
    OtherLoad(Vec<String>),
    NoBaseline,
}

impl Judged {
    /// What differs between the environments and the loads, each as `key: before → after`.
    fn changes(&self) -> Vec<String> {
        self.baseline.as_ref().map(|baseline| baseline.epoch.changes_to(&self.current)).unwrap_or_default()
    }

    fn comparisons(&self) -> &[Comparison] {
        if let Outcome::Compared(measures) = &self.outcome { measures.as_slice() } else { &[] }
    }

    fn is_regression(&self, limit: f64) -> bool {
        self.comparisons().iter().any(|comparison| comparison.is_regression(limit))
    }

    fn says_something(&self) -> bool {
        self.comparisons().iter().any(|comparison| comparison.ratio().is_some())
    }
}

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let history = Reader::open(&storage_folder(&args.config, &args.storage)?)?;
    let (baseline, current) = (args.baseline.map(EpochId), args.current.map(EpochId));
    let judged: Vec<Judged> = targets(&history, args.target.as_deref(), [current, baseline])?
        .iter()
        .map(|target| judge(&history, target, baseline, current))
        .collect::<anyhow::Result<_>>()?;
    match args.format {
        CompareFormat::Table => print(tables(&judged, args.fail_on)),
        CompareFormat::Json => print(json::text(&judged, args.fail_on)),
    }
    Ok(ExitCode::from(code(&judged, args.fail_on)))
}

/// How a script is told: 4 a regression beyond the limit, 5 not enough to say, 0 neither.
pub(super) fn code(judged: &[Judged], limit: f64) -> u8 {
    if judged.iter().any(|judged| judged.is_regression(limit)) {
        REGRESSION
    } else if judged.iter().all(Judged::says_something) {
        0
    } else {
        NOT_ENOUGH
    }
}

/// A table of each target.
pub(super) fn tables(judged: &[Judged], limit: f64) -> String {
    judged.iter().map(|judged| table::text(judged, limit)).collect::<Vec<_>>().join("\n")
}

/// The targets that are meant: the named one, that of the named epochs, or each.
fn targets(history: &Reader, name: Option<&str>, epochs: [Option<EpochId>; 2]) -> anyhow::Result<Vec<TargetId>> {
    if let Some(id) = epochs.into_iter().flatten().next() {
        let target = known_epoch(history, id)?.target;
        if name.is_some_and(|name| *name != *target.name) {
            bail!("--target: epoch {id} is of target {}\n  hint: leave --target out", target.name);
        }
        return Ok(vec![target]);
    }
    let names: Vec<String> = match name {
        Some(name) => vec![known_target(history, name)?.to_owned()],
        None => {
            let mut names: Vec<String> = history.targets()?.into_iter().map(|target| target.name.to_string()).collect();
            names.dedup();
            names
        }
    };
    let mut targets = Vec::new();
    for name in &names {
        targets.extend(history.newest_epoch(name, None)?.map(|newest| newest.target));
    }
    if targets.is_empty() {
        bail!("nothing was measured into this history yet\n  hint: name two imported epochs: --baseline and --current");
    }
    Ok(targets)
}

/// Compares two epochs of a target: its newest and the baseline, where none is named.
pub(super) fn judge(
    history: &Reader,
    target: &TargetId,
    baseline: Option<EpochId>,
    current: Option<EpochId>,
) -> anyhow::Result<Judged> {
    let current = match current {
        Some(id) => epoch_of(history, target, id)?,
        None => {
            let newest = history.newest_epoch(&target.name, Some(&target.model))?;
            newest.with_context(|| format!("target {}: nothing was measured yet", target.name))?.epoch
        }
    };
    let (held, is_pinned) = match baseline {
        Some(id) => {
            if id == current.id {
                bail!("--baseline: epoch {id} is the one that is compared\n  {EPOCHS_HINT}");
            }
            let epoch = epoch_of(history, target, id)?;
            (Some(recall::hold_against(history, target, epoch, true, &EstimatePlan::default())?), false)
        }
        None => {
            let held = usual_baseline(history, target, &current)?;
            let is_pinned = held.as_ref().is_some_and(|held| held.baseline.is_pinned);
            (held, is_pinned)
        }
    };
    let against = held.as_ref().map(|held| Against { epoch: Epoch::clone(&held.baseline.epoch), is_pinned });
    let outcome = match held {
        None => Outcome::NoBaseline,
        Some(held) => match held.compare(&current, &recall::cycle_views(history, &current)?) {
            Some(compared) => Outcome::Compared(Box::new(compared.measures)),
            None => Outcome::OtherLoad(load_differences(&held.baseline.epoch, &current)),
        },
    };
    Ok(Judged { target: target.clone(), current, baseline: against, outcome })
}

fn usual_baseline(history: &Reader, target: &TargetId, current: &Epoch) -> anyhow::Result<Option<Held>> {
    let (changes, orders) = (history.changes(target)?, history.baseline_orders(target)?);
    let alarms = Alarms::restored(&changes, &orders);
    Ok(recall::held(history, target, current, &alarms, &orders, &EstimatePlan::default())?)
}

fn epoch_of(history: &Reader, target: &TargetId, id: EpochId) -> anyhow::Result<Epoch> {
    let known = known_epoch(history, id)?;
    if known.target.name != target.name {
        bail!("epoch {id} is of target {}, not of {}\n  {EPOCHS_HINT}", known.target.name, target.name);
    }
    Ok(known.epoch)
}
