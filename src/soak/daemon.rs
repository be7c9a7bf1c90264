//! All targets at once: a lane for each piece of hardware, one clean stop.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::bus::Bus;
use super::lag::LagMeter;
use super::target::{Progress, TargetRunner};
use crate::domain::TargetId;
use crate::domain::plan::{SchedulePlan, TargetPlan};
use crate::store::Writer;

/// A target with the server behind it.
#[derive(Debug)]
pub struct SoakTarget<B> {
    pub plan: Arc<TargetPlan>,
    pub backend: Arc<B>,
    /// The model, as far as it is known from the plan or the history.
    pub id: TargetId,
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
pub struct Soak<B> {
    pub targets: Vec<SoakTarget<B>>,
    pub schedule: SchedulePlan,
    pub bus: Bus,
    pub history: Writer,
    pub lag: LagMeter,
    pub limits: Limits,
}

impl<B: Backend> Soak<B> {
    /// Measures until every target has its cycles, or until `stop`: then running samples
    /// are dropped whole. Belongs on the measuring runtime.
    ///
    /// Returns the targets that were given up. A panic in a target's task goes on here: a
    /// daemon that measures only some of its targets would look well.
    pub async fn run(self, stop: CancellationToken) -> Vec<TargetId> {
        let mut lanes: HashMap<String, Arc<Mutex<()>>> = HashMap::new();
        let mut tasks = JoinSet::new();
        for target in self.targets {
            let runner = TargetRunner {
                backend: target.backend,
                lane: lanes.entry(target.plan.lane.clone()).or_default().clone(),
                plan: target.plan,
                schedule: self.schedule.clone(),
                bus: self.bus.clone(),
                history: self.history.clone(),
                lag: self.lag.clone(),
                cores: self.limits.cores,
                cycles: self.limits.cycles,
                patience: self.limits.patience,
                progress: Progress::new(target.id),
            };
            let (stop, id) = (stop.clone(), runner.progress.id.clone());
            tasks.spawn(
                async move { stop.run_until_cancelled(runner.run()).await.is_some_and(|done| !done).then_some(id) },
            );
        }
        let mut given_up = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(target) => given_up.extend(target),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        given_up
    }
}
