//! How the work is laid out in time.

use rand::TryRng;
use rand::rngs::SysRng;

use crate::domain::plan::SchedulePlan;
use crate::domain::{EstimatePlan, Windows};

use super::super::files::Surroundings;
use super::super::kind::{duration, flag, one_of, share, whole};
use super::super::problem::Fault;
use super::super::section::Section;
use super::super::value::{reference_cell, seed};
use super::super::window::{Zone, window, zone};
use super::{CYCLE_INTERVAL, MAX_DUTY, MOST_WINDOWS, ORDERS, PAUSE, SCHEDULE_MODES, SEED, WARMUP_REQUESTS};

/// The schedule, and whether its seed was drawn.
pub(super) fn schedule(s: &mut Section<'_>, around: Surroundings<'_>) -> (SchedulePlan, bool) {
    let mode = s.take("mode", one_of(SCHEDULE_MODES));
    let order = s.take("order", one_of(ORDERS));
    let given = s.take_or("seed", None, seed(SEED));
    let seed = match given {
        Some(seed) => seed,
        None => draw_seed().map_err(|fault| s.complain("seed", fault)).unwrap_or_default(),
    };
    let default = SchedulePlan::with_seed(seed);
    let plan = SchedulePlan {
        mode: mode.unwrap_or(default.mode),
        order: order.unwrap_or(default.order),
        seed,
        pause_between_samples: s.take_or("pause_between_samples", default.pause_between_samples, duration(PAUSE)),
        cycle_interval: s.take_or("cycle_interval", default.cycle_interval, duration(CYCLE_INTERVAL)),
        warmup_requests: s.take_or("warmup_requests", default.warmup_requests, whole(WARMUP_REQUESTS)),
        windows: windows(s, around),
        max_duty: s.take_or("max_duty", default.max_duty, share(MAX_DUTY)),
        yield_to_foreign_load: s.take_or("yield_to_foreign_load", default.yield_to_foreign_load, flag()),
        canary_every: default.canary_every,
        estimates: EstimatePlan {
            reference: s.take_or("reference_cell", default.estimates.reference, reference_cell()),
            ..default.estimates
        },
    };
    (plan, given.is_none())
}

fn windows(s: &mut Section<'_>, around: Surroundings<'_>) -> Windows {
    let windows = s.list("windows", 0..=MOST_WINDOWS, window());
    let named = s.take("time_zone", zone());
    let is_wrong = named.is_none() && s.has("time_zone");
    // Without windows no clock on a wall matters, and none need be known.
    if windows.is_empty() || is_wrong {
        return Windows::default();
    }
    let zone = match named.unwrap_or(Zone::Local) {
        Zone::Named(zone) => Some(zone),
        Zone::Local => (around.local_zone)(),
    };
    let Some(zone) = zone else {
        let fault = Fault::new("is local, but this machine does not tell its own, and windows need one");
        s.complain("time_zone", fault.hint("name one, such as `time_zone: Europe/Berlin`, or set TZ"));
        return Windows::default();
    };
    Windows::new(windows, zone)
}

/// Half of what a seed can hold, for people type it back from a report.
pub(in crate::config) fn draw_seed() -> Result<u64, Fault> {
    SysRng
        .try_next_u32()
        .map(u64::from)
        .map_err(|error| Fault::new(format!("cannot be drawn: {error}")).hint("give a number"))
}
