//! The listener that has every target under watch.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::Receiver;
use tokio::time::{MissedTickBehavior, interval};

use super::recall::{self, Held};
use super::target::TargetWatch;
use crate::analysis::regression::Alarms;
use crate::domain::plan::RegressionPlan;
use crate::domain::{BaselineOrder, Epoch, EstimatePlan, Event, Happening, TargetId};
use crate::process::in_background;
use crate::soak::bus::Bus;
use crate::store::{Reader, StoreError, last_write};

/// How often it is looked for what the user said of a baseline.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the user wants of a watch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WatchPlan {
    pub regression: RegressionPlan,
    /// How the optimum of a baseline is concluded.
    pub estimates: EstimatePlan,
}

/// Says what is wanted now, which a reload may change.
type CurrentPlan = Box<dyn Fn() -> WatchPlan + Send>;

/// Has every target under watch.
pub struct Watcher {
    folder: PathBuf,
    bus: Bus,
    plan: CurrentPlan,
    targets: BTreeMap<TargetId, TargetWatch>,
    /// Kept open, for it is asked again and again.
    history: Option<Reader>,
    /// When somebody had last written to it when it was last asked for orders.
    written_at: Option<SystemTime>,
    /// The newest order that was obeyed.
    newest_order: i64,
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("targets", &self.targets.keys()).finish_non_exhaustive()
    }
}

impl Watcher {
    /// Watches what is measured into the history of a folder. `bus` must not lead back here: it
    /// would wait for itself, and never end.
    pub fn new(folder: PathBuf, bus: Bus, plan: impl Fn() -> WatchPlan + Send + 'static) -> Self {
        let plan = Box::new(plan);
        Self { folder, bus, plan, targets: BTreeMap::new(), history: None, written_at: None, newest_order: 0 }
    }

    /// Recalls targets before anything is measured, as events. Reads the history: belongs where
    /// that may take its time.
    pub fn recall(&mut self, targets: &[TargetId]) -> Result<Vec<Event>, StoreError> {
        let (history, plan) = (Reader::open(&self.folder)?, (self.plan)());
        self.newest_order = history.newest_baseline_order()?;
        let mut events = Vec::new();
        for id in targets {
            let Some(memory) = recall::memory(&history, id, &plan.estimates)? else { continue };
            let mut watch = TargetWatch::restored(plan.regression, memory);
            let happening = Happening::ChangesRestored(Arc::new(watch.record()));
            events.push(Event { target: id.clone(), at: self.bus.now(), happening });
            self.targets.insert(id.clone(), watch);
        }
        self.history = Some(history);
        Ok(events)
    }

    /// Listens until the engine is gone.
    pub async fn run(mut self, mut events: Receiver<Arc<Event>>) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.hear(&event).await,
                    None => return,
                },
                _ = looks.tick() => self.look_for_orders().await,
            }
        }
    }

    async fn hear(&mut self, event: &Event) {
        let id = &event.target;
        match &event.happening {
            Happening::Joined { .. } if !self.targets.contains_key(id) => self.begin(id).await,
            Happening::Left => self.targets.retain(|known, _| known.name != id.name),
            Happening::EpochEntered { epoch, .. } => self.enter(id, epoch).await,
            Happening::CycleStarted { .. } if self.has_other_settings(id) => {
                self.begin(id).await;
                self.pass_on(event).await;
            }
            _ => self.pass_on(event).await,
        }
    }

    async fn pass_on(&mut self, event: &Event) {
        let Some(watch) = self.targets.get_mut(&event.target) else { return };
        let told = watch.hear(event.at, &event.happening);
        self.publish(&event.target, told).await;
    }

    fn has_other_settings(&self, id: &TargetId) -> bool {
        self.targets.get(id).is_some_and(|watch| watch.settings != (self.plan)().regression)
    }

    /// Begins, or begins anew, with what the history knows.
    async fn begin(&mut self, id: &TargetId) {
        let (wanted, plan) = (id.clone(), (self.plan)());
        // What was found a moment ago is in the history before it is read.
        self.bus.written().await;
        let recalled = self.ask(move |history| {
            let memory = recall::memory(history, &wanted, &plan.estimates)?;
            Ok(memory.map(|memory| TargetWatch::restored(plan.regression, memory)))
        });
        let Some(Some(mut watch)) = recalled.await else { return };
        let record = watch.record();
        let chosen = Happening::BaselineChosen(record.baseline.clone());
        let compared = record.compared.clone().map(Happening::Compared);
        let restored = Happening::ChangesRestored(Arc::new(record));
        // Of one name there is one model at a time.
        self.targets.retain(|known, _| known.name != id.name);
        self.targets.insert(id.clone(), watch);
        self.publish(id, [restored, chosen].into_iter().chain(compared)).await;
    }

    async fn enter(&mut self, id: &TargetId, epoch: &Arc<Epoch>) {
        let known = self.targets.get(id).filter(|watch| watch.epoch.load == epoch.load);
        let Some(watch) = known else {
            // What was measured under another load says nothing of this one.
            return self.begin(id).await;
        };
        if watch.epoch.id == epoch.id {
            return;
        }
        let (alarms, orders) = (watch.alarms.clone(), watch.orders.clone());
        let held = self.held(id, epoch.clone(), alarms, orders).await.flatten();
        let Some(watch) = self.targets.get_mut(id) else { return };
        let told = watch.enter(epoch.clone(), held);
        self.publish(id, told).await;
    }

    /// Obeys what the user said since the last look.
    async fn look_for_orders(&mut self) {
        let written_at = last_write(&self.folder);
        if written_at.is_some() && written_at == self.written_at {
            return;
        }
        // What could not be asked is asked again.
        let Some(newest) = self.ask(Reader::newest_baseline_order).await else { return };
        self.written_at = written_at;
        if newest <= self.newest_order {
            return;
        }
        self.newest_order = newest;
        for id in self.targets.keys().cloned().collect::<Vec<_>>() {
            let wanted = id.clone();
            if let Some(orders) = self.ask(move |history| history.baseline_orders(&wanted)).await {
                self.obey(&id, orders).await;
            }
        }
    }

    async fn obey(&mut self, id: &TargetId, orders: Vec<BaselineOrder>) {
        let Some(watch) = self.targets.get_mut(id).filter(|watch| watch.orders != orders) else { return };
        let turned = watch.obey(orders);
        let (epoch, alarms, orders) = (watch.epoch.clone(), watch.alarms.clone(), watch.orders.clone());
        self.publish(id, turned).await;
        let held = self.held(id, epoch, alarms, orders).await;
        if let (Some(held), Some(watch)) = (held, self.targets.get_mut(id)) {
            let told = watch.hold_against(held);
            self.publish(id, told).await;
        }
    }

    /// What an epoch is held against, if the history can be asked.
    async fn held(
        &mut self,
        id: &TargetId,
        epoch: Arc<Epoch>,
        alarms: Alarms,
        orders: Vec<BaselineOrder>,
    ) -> Option<Option<Held>> {
        let (id, estimates) = (id.clone(), (self.plan)().estimates);
        self.ask(move |history| recall::held(history, &id, &epoch, &alarms, &orders, &estimates)).await
    }

    async fn publish(&mut self, id: &TargetId, told: impl IntoIterator<Item = Happening, IntoIter: Send>) {
        for happening in told {
            self.bus.publish(id, happening).await;
        }
    }

    /// Asks the history, on a thread that may wait. What fails is logged, and the
    /// watch goes on with what it knows.
    async fn ask<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Option<T> {
        let (folder, history) = (self.folder.clone(), self.history.take());
        let asked = in_background(move || {
            let history = history.map_or_else(|| Reader::open(&folder), Ok)?;
            let answer = question(&history)?;
            Ok::<_, StoreError>((history, answer))
        });
        match asked.await {
            Ok(Ok((history, answer))) => {
                self.history = Some(history);
                Some(answer)
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the history cannot be asked for changes");
                None
            }
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}
