//! What the history knows of targets, as events: the optimum is there before the first new
//! sample, and while a server is away.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Config;
use crate::domain::plan::{GridPlan, TargetPlan};
use crate::domain::{Event, Happening, TargetId};
use crate::soak::{HttpBackend, Snapshot, SoakTarget, WallClock};
use crate::store::Reader;

/// The targets as they are at a start.
pub(super) fn restored(
    config: &Config,
    targets: &[SoakTarget<HttpBackend>],
    clock: WallClock,
) -> anyhow::Result<Vec<Event>> {
    let history = Reader::open(&config.storage.path)?;
    let mut events = Vec::new();
    for target in targets {
        let (url, lane) = (target.plan.connection.url.clone(), target.plan.lane.clone());
        let happening = Happening::Joined { url, lane };
        events.push(Event { target: target.id.clone(), at: clock.now(), happening });
        events.extend(known_of(&history, target)?);
    }
    Ok(events)
}

/// What is known of the targets that a reload adds. Whoever hears that one joins shows it then:
/// what the engine finds out comes later on the same way, so that nothing newer is overwritten.
#[derive(Clone, Debug, Default)]
pub(super) struct Newcomers(Arc<ArcSwap<BTreeMap<Arc<str>, Vec<Event>>>>);

impl Newcomers {
    /// Looks up those of the targets that are not shown yet, and forgets the last ones.
    pub(super) fn look_up(
        &self,
        config: &Config,
        targets: &[SoakTarget<HttpBackend>],
        shown: &Snapshot,
    ) -> anyhow::Result<()> {
        let history = Reader::open(&config.storage.path)?;
        let mut known = BTreeMap::new();
        for target in targets.iter().filter(|target| is_new(&target.id, shown)) {
            known.insert(target.id.name.clone(), known_of(&history, target)?);
        }
        self.0.store(Arc::new(known));
        Ok(())
    }

    /// What is known of a target that the last reload added.
    pub(super) fn of(&self, target: &str) -> Vec<Event> {
        self.0.load().get(target).cloned().unwrap_or_default()
    }

    /// What is to be shown with an event: all that is known of a target that joins with it.
    pub(super) fn joining(&self, event: &Event, shown: &Snapshot) -> Vec<Event> {
        let joins = matches!(event.happening, Happening::Joined { .. }) && is_new(&event.target, shown);
        if joins { self.of(&event.target.name) } else { Vec::new() }
    }
}

/// Whether nothing is shown of a target, or only what another model did.
fn is_new(id: &TargetId, shown: &Snapshot) -> bool {
    shown.targets.get(&id.name).is_none_or(|target| target.id != *id)
}

/// The newest epoch of a target and its last canary, as far as there are any.
fn known_of(history: &Reader, target: &SoakTarget<HttpBackend>) -> anyhow::Result<Vec<Event>> {
    let canary = history.newest_canary(&target.id)?;
    let canary =
        canary.map(|(at, canary)| Event { target: target.id.clone(), at, happening: Happening::CanaryEnded(canary) });
    Ok(known_epoch(history, &target.plan, &target.id)?.into_iter().chain(canary).collect())
}

fn known_epoch(history: &Reader, plan: &TargetPlan, id: &TargetId) -> anyhow::Result<Option<Event>> {
    let Some(known) = history.newest_epoch(&plan.name, Some(&id.model))? else { return Ok(None) };
    let slots = known.epoch.slots();
    let grid = match (&plan.grid, known.grid) {
        (GridPlan::Automatic { .. }, Some(grid)) => grid,
        (grid, _) => grid.grid(slots),
    };
    let samples = history.samples(&known.target, known.epoch.id)?;
    let at = known.epoch.last_seen;
    let (epoch, grid, samples) = (Arc::new(known.epoch), Arc::new(grid), Arc::new(samples));
    let changes = Arc::new(history.environment_changes(id)?);
    let named = known.named;
    let happening = Happening::EpochEntered { epoch, grid, samples, named, before: None, changes };
    Ok(Some(Event { target: id.clone(), at, happening }))
}
