//! How many files this process may have open: every request in flight is one.
//!
//! Most systems allow a process 1,024 and let it raise that by itself. What it may not raise is
//! told before anything is sent, never found out in the middle of a sample.

use std::collections::BTreeMap;

use anyhow::bail;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;
use crate::domain::plan::{GridPlan, TargetPlan};
use crate::domain::{Cell, Grid};
use crate::web::SEATS;

/// What is open beside requests: the visitors of a listener, the history and its readers, probes,
/// timers, the children's streams, the log.
const RESERVE: u64 = SEATS as u64 + 64;

/// Raises the limit as far as the system lets a process.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// Refuses a configuration whose grids need more open files than are allowed.
pub(super) fn suffice(config: &Config) -> anyhow::Result<()> {
    // No limit is no bound.
    let allowed = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    compare(needed(&config.targets, |plan| plan.grid(None)), allowed)?;
    let most = needed(&config.targets, GridPlan::largest);
    if most > allowed {
        tracing::warn!(
            needed = most,
            allowed,
            "a server of many slots would get a grid that needs more open files than this process may have; name a grid"
        );
    }
    Ok(())
}

fn compare(needed: u64, allowed: u64) -> anyhow::Result<()> {
    if needed > allowed {
        bail!(
            "targets[].grid: the grids need {needed} open files, and this process may have {allowed}\n  hint: raise \
             the hard limit (ulimit -Hn, or LimitNOFILE of the systemd unit), or shorten the lists of workers and batch"
        );
    }
    Ok(())
}

/// The most files that may be open at once, with the grids that `grid` tells. Targets of one lane
/// take turns.
fn needed(targets: &[TargetPlan], grid: impl Fn(&GridPlan) -> Grid) -> u64 {
    let mut lanes: BTreeMap<&str, u64> = BTreeMap::new();
    for target in targets {
        let most = most_in_flight(&grid(&target.grid), target.slots.is_server());
        let lane = lanes.entry(&target.lane).or_default();
        *lane = most.max(*lane);
    }
    RESERVE + lanes.values().sum::<u64>()
}

/// A server with slots of its own gets the whole batch at once.
fn most_in_flight(grid: &Grid, by_server: bool) -> u64 {
    let of_cell = |cell: Cell| if by_server { cell.batch } else { cell.concurrency() };
    grid.cells().map(of_cell).max().unwrap_or(0).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::without_file;

    fn check(grid: &[[u32; 2]], by_server: bool, expected: u64) {
        let [workers, batch] = [0, 1].map(|axis| grid.iter().map(|pair| pair[axis]).collect::<Vec<_>>());
        let grid = Grid::new(&workers, &batch, true).expect("a grid");
        assert_eq!(most_in_flight(&grid, by_server), expected);
    }

    #[test]
    fn as_many_requests_are_open_as_the_widest_cell_has_in_flight() {
        check(&[[4, 1], [64, 48]], false, 48);
        check(&[[4, 1], [16, 48]], false, 16);
        check(&[[4, 1], [16, 48]], true, 48);
    }

    /// A target whose widest cell has so many requests in flight.
    fn target(in_flight: u32, lane: &str) -> TargetPlan {
        let config = without_file("http://h:1", Some("m"), None).expect("is sound");
        let grid = Grid::new(&[in_flight], &[in_flight], true).expect("a grid");
        TargetPlan { grid: GridPlan::Fixed(grid), lane: lane.to_owned(), ..config.targets[0].clone() }
    }

    #[test]
    fn targets_of_a_lane_take_turns() {
        assert_eq!(needed(&[target(300, "a")], GridPlan::largest), RESERVE + 300);
        assert_eq!(needed(&[target(40, "a"), target(300, "a")], GridPlan::largest), RESERVE + 300);
        assert_eq!(needed(&[target(40, "a"), target(300, "b")], GridPlan::largest), RESERVE + 340);
    }

    #[test]
    fn what_is_not_allowed_is_refused_with_both_numbers() {
        assert!(compare(1024, 1024).is_ok());
        let refusal = compare(5000, 4096).expect_err("is too much").to_string();
        assert!(
            refusal.starts_with("targets[].grid: the grids need 5000 open files, and this process may have 4096\n")
        );
        assert!(refusal.contains("\n  hint: raise the hard limit"), "{refusal}");
    }
}
