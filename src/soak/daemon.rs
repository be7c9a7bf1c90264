//! All targets at once: a lane for each piece of hardware, one clean stop.
//!
//! Which targets there are may change while they work: those that stay as they are do not
//! notice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::budget::Ledger;
use super::bus::Bus;
use super::control::Control;
use super::lag::LagMeter;
use super::lane::Lane;
use super::progress::Progress;
use super::surroundings::Surroundings;
use super::target::{Ended, TargetRunner};
use crate::domain::plan::{SchedulePlan, TargetPlan};
use crate::domain::{Happening, Spent, TargetId};
use crate::store::Writer;

/// A target with the server behind it.
#[derive(Debug)]
pub struct SoakTarget<B> {
    pub plan: Arc<TargetPlan>,
    pub backend: Arc<B>,
    pub surroundings: Arc<Surroundings>,
    /// The model, as far as it is known from the plan or the history.
    pub id: TargetId,
    /// What it spent in the last day, the oldest first, if it was not soaked just now.
    pub spent: Vec<Spent>,
    /// When its last canary came back.
    pub canary_at: Option<Timestamp>,
}

/// All that is to be soaked from now on.
#[derive(Debug)]
pub struct Roster<B> {
    pub targets: Vec<SoakTarget<B>>,
    pub schedule: Arc<SchedulePlan>,
    /// Told when it is so.
    pub done: Option<oneshot::Sender<()>>,
}

/// What bounds a soak.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Complete cycles of each target; without a limit, for ever.
    pub cycles: Option<u64>,
    /// Failures in a row after which a target is given up; without a limit, never.
    pub patience: Option<u32>,
    /// Threads of the measuring runtime.
    pub cores: usize,
}

/// All that a soak needs.
#[derive(Debug)]
pub struct Soak {
    pub bus: Bus,
    pub history: Writer,
    pub lag: LagMeter,
    pub control: Control,
    pub limits: Limits,
}

/// A target at work.
#[derive(Debug)]
struct Seat {
    id: TargetId,
    plan: Arc<TargetPlan>,
    retired: CancellationToken,
}

impl Soak {
    /// Soaks what the rosters say, one after the other, until every target of the last one has
    /// its cycles, or until `stop`: then running samples are dropped whole. Belongs on the
    /// measuring runtime.
    ///
    /// Returns the targets that were given up. A panic in a target's task goes on here: a
    /// daemon that measures only some of its targets would look well.
    pub async fn run<B: Backend>(
        self,
        mut rosters: mpsc::Receiver<Roster<B>>,
        stop: CancellationToken,
    ) -> Vec<TargetId> {
        let mut hall = Hall::new(self, stop.clone());
        let mut may_change = true;
        while may_change || !hall.tasks.is_empty() {
            tokio::select! {
                () = stop.cancelled(), if may_change => may_change = false,
                roster = rosters.recv(), if may_change => match roster {
                    Some(roster) => hall.seat(roster).await,
                    None => may_change = false,
                },
                Some(ended) = hall.tasks.join_next() => hall.take_leave(ended),
            }
        }
        hall.given_up
    }
}

/// What remains of a target: its name, how it ended, what it spent.
type Leave = (TargetId, Ended, Ledger);

/// Where the targets work.
struct Hall {
    soak: Soak,
    stop: CancellationToken,
    /// Set by the first roster.
    schedule: Option<watch::Sender<Arc<SchedulePlan>>>,
    lanes: HashMap<String, Arc<Lane>>,
    seats: BTreeMap<Arc<str>, Seat>,
    tasks: JoinSet<Leave>,
    /// What targets spent that are about to begin anew.
    ledgers: BTreeMap<Arc<str>, Ledger>,
    given_up: Vec<TargetId>,
}

impl Hall {
    fn new(soak: Soak, stop: CancellationToken) -> Self {
        let (lanes, seats, ledgers) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { soak, stop, schedule: None, lanes, seats, tasks: JoinSet::new(), ledgers, given_up: Vec::new() }
    }

    /// Lets targets go that are gone or changed, and those begin that are new or changed.
    async fn seat<B: Backend>(&mut self, roster: Roster<B>) {
        let schedule = self.schedule.get_or_insert_with(|| watch::Sender::new(roster.schedule.clone()));
        schedule.send_if_modified(|running| {
            let is_new = **running != *roster.schedule;
            *running = roster.schedule.clone();
            is_new
        });
        let schedule = schedule.subscribe();
        let stays = |seat: &Seat| roster.targets.iter().any(|target| target.plan == seat.plan);
        let leaving: Vec<TargetId> =
            self.seats.values().filter(|seat| !stays(seat)).map(|seat| seat.id.clone()).collect();
        self.retire(&leaving).await;
        for id in leaving.iter().filter(|id| !roster.targets.iter().any(|target| target.id.name == id.name)) {
            self.soak.bus.publish(id, Happening::Left).await;
        }
        for target in roster.targets {
            if !self.seats.contains_key(&target.id.name) {
                self.begin(target, schedule.clone()).await;
            }
        }
        if let Some(done) = roster.done {
            // Whoever asked may have gone.
            let _ = done.send(());
        }
    }

    /// Returns when none of these works any more.
    async fn retire(&mut self, leaving: &[TargetId]) {
        for seat in leaving.iter().filter_map(|id| self.seats.get(&id.name)) {
            seat.retired.cancel();
        }
        while leaving.iter().any(|id| self.seats.contains_key(&id.name)) {
            let Some(ended) = self.tasks.join_next().await else { return };
            self.take_leave(ended);
        }
    }

    async fn begin<B: Backend>(&mut self, target: SoakTarget<B>, schedule: watch::Receiver<Arc<SchedulePlan>>) {
        let SoakTarget { plan, backend, surroundings, id, spent, canary_at } = target;
        let (url, lane) = (plan.connection.url.clone(), plan.lane.clone());
        self.soak.bus.publish(&id, Happening::Joined { url, lane }).await;
        // The history may not have heard yet what it spent a moment ago.
        let known = self.ledgers.remove(&id.name);
        let ledger = known.map_or_else(|| Ledger::new(plan.budget, spent), |ledger| ledger.under(plan.budget));
        let lane = self.lanes.entry(plan.lane.clone()).or_default().clone();
        lane.join();
        let runner = TargetRunner {
            backend,
            surroundings,
            lane: lane.clone(),
            held: None,
            plan: plan.clone(),
            schedule,
            control: self.soak.control.clone(),
            bus: self.soak.bus.clone(),
            history: self.soak.history.clone(),
            lag: self.soak.lag.clone(),
            limits: self.soak.limits,
            progress: Progress::new(id.clone(), ledger, canary_at),
        };
        let retired = self.stop.child_token();
        self.seats.insert(id.name.clone(), Seat { id: id.clone(), plan, retired: retired.clone() });
        self.tasks.spawn(async move {
            let (ended, ledger) = runner.run(retired).await;
            lane.leave();
            (id, ended, ledger)
        });
    }

    fn take_leave(&mut self, leave: Result<Leave, JoinError>) {
        let (id, ended, ledger) = leave.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        self.seats.remove(&id.name);
        self.ledgers.insert(id.name.clone(), ledger);
        if ended == Ended::GivenUp {
            self.given_up.push(id);
        }
    }
}
