//! `llmsoak baseline`: what the running epoch is held against, and what the user says of it.
//!
//! Works beside a running daemon, which sees an order within a second or two, and without one.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;

use super::args::{BaselineArgs, BaselineCommand, BaselinePlace, ConfigArgs, StorageArgs};
use super::print;
use super::reporting::{NOTHING_MEASURED, known_epoch, known_target, storage_folder};
use crate::analysis::regression::Alarms;
use crate::domain::{BaselineOrder, EpochId, EstimatePlan, OrderKind, TargetId};
use crate::soak::WallClock;
use crate::soak::watch::recall;
use crate::store::{KnownEpoch, Reader, give_order};

pub(super) fn run(args: &BaselineArgs) -> anyhow::Result<ExitCode> {
    let BaselinePlace { config_file, storage_path, target } = &args.place;
    let (config, storage) = (ConfigArgs { file: config_file.clone() }, StorageArgs { path: storage_path.clone() });
    let folder = storage_folder(&config, &storage)?;
    let history = Reader::open(&folder)?;
    let name = target.as_deref().map(|name| known_target(&history, name)).transpose()?;
    let (target, kind, epoch) = match args.command {
        BaselineCommand::List => {
            for target in named(&history, name)? {
                print(list(&history, &target)?);
            }
            return Ok(ExitCode::SUCCESS);
        }
        BaselineCommand::Pin { epoch } => {
            let target = owner(&history, name, EpochId(epoch))?;
            (target, OrderKind::Pinned, Some(EpochId(epoch)))
        }
        BaselineCommand::Unpin => (single(&history, name)?, OrderKind::Unpinned, None),
        BaselineCommand::Accept => {
            let target = single(&history, name)?;
            let newest = history.newest_epoch(&target.name, Some(&target.model))?;
            (target, OrderKind::Accepted, newest.map(|newest| newest.epoch.id))
        }
    };
    let said = outcome(&history, &target, kind, epoch)?;
    give_order(&folder, &target, &BaselineOrder { kind, at: WallClock::System.now(), epoch })?;
    print(said);
    Ok(ExitCode::SUCCESS)
}

/// What an order comes to, in words.
fn outcome(history: &Reader, target: &TargetId, kind: OrderKind, epoch: Option<EpochId>) -> anyhow::Result<String> {
    let alarms = Alarms::restored(&history.changes(target)?, &history.baseline_orders(target)?);
    let ended: Vec<String> = alarms.active().map(|alarm| format!("{} of {}", alarm.direction, alarm.measure)).collect();
    let epoch = epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
    let name = &target.name;
    let said = match kind {
        OrderKind::Unpinned => return Ok(format!("target {name}: the baseline is chosen again\n")),
        OrderKind::Pinned => format!("target {name}: epoch {epoch} is the baseline"),
        OrderKind::Accepted => format!("target {name}: the level of epoch {epoch} is accepted"),
    };
    let alarms = if ended.is_empty() { "no alarm was on".to_owned() } else { format!("ended: {}", ended.join(", ")) };
    Ok(format!("{said}; {alarms}\n"))
}

/// The newest models of the targets of that name, or of all.
fn named(history: &Reader, name: Option<&str>) -> anyhow::Result<Vec<TargetId>> {
    let mut targets = history.targets()?;
    targets.retain(|target| name.is_none_or(|name| *target.name == *name));
    // The newest model of each comes first.
    targets.dedup_by(|later, first| later.name == first.name);
    Ok(targets)
}

fn single(history: &Reader, name: Option<&str>) -> anyhow::Result<TargetId> {
    match <[TargetId; 1]>::try_from(named(history, name)?) {
        Ok([target]) => Ok(target),
        Err(none) if none.is_empty() => bail!(NOTHING_MEASURED),
        Err(several) => {
            let names: Vec<&str> = several.iter().map(|target| &*target.name).collect();
            bail!("--target: say which of them is meant\n  hint: the history has {}", names.join(", "))
        }
    }
}

/// The target that an epoch is of.
fn owner(history: &Reader, name: Option<&str>, id: EpochId) -> anyhow::Result<TargetId> {
    let known = known_epoch(history, id)?;
    if name.is_some_and(|name| *name != *known.target.name) {
        bail!("--target: epoch {id} is of target {}\n  hint: leave --target out", known.target.name);
    }
    Ok(known.target)
}

/// The epochs of a target, with what each is.
fn list(history: &Reader, target: &TargetId) -> anyhow::Result<String> {
    let epochs = history.epochs(target)?;
    let orders = history.baseline_orders(target)?;
    let alarms = Alarms::restored(&history.changes(target)?, &orders);
    let running = epochs.iter().rev().find(|known| known.epoch.source().is_none());
    let held = running
        .map(|running| recall::held(history, target, &running.epoch, &alarms, &orders, &EstimatePlan::default()));
    let held = held.transpose()?.flatten().map(|held| held.baseline.epoch.id);
    let mut text = format!("target {}, model {}\n", target.name, target.model);
    let _ = writeln!(text, "  {:>6}  {:<16}  {:<16}  {:>6}  what it is", "epoch", "from (UTC)", "to", "cycles");
    let mut before: Option<&KnownEpoch> = None;
    for known in &epochs {
        let id = known.epoch.id;
        let marks = [
            (running.is_some_and(|running| running.epoch.id == id), "newest"),
            (held == Some(id), "baseline"),
            (recall::pinned(&orders) == Some(id), "pinned"),
            (orders.iter().any(|order| order.kind == OrderKind::Accepted && order.epoch == Some(id)), "accepted"),
            (alarms.is_regressed(&known.epoch), "regressed"),
            (known.epoch.source().is_some(), "imported"),
        ];
        let mut words: Vec<String> =
            marks.iter().filter(|(is_so, _)| *is_so).map(|(_, word)| (*word).to_owned()).collect();
        let changes = before.map(|before| before.epoch.changes_to(&known.epoch)).unwrap_or_default();
        words.extend(changes);
        let _ = writeln!(
            text,
            "  {id:>6}  {}  {}  {:>6}  {}",
            time(known.epoch.first_seen),
            time(known.epoch.last_seen),
            known.complete_cycles,
            words.join("; ")
        );
        before = Some(known);
    }
    Ok(text)
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}
