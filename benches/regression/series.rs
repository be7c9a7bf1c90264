//! Evaluation series: cycles of a simulated target, with and without a change that is known.
//!
//! At the level of the cells' logarithms; nothing is served or measured. Ranges are wider
//! than what a detector may assume. A seed gives the same series for ever.

use std::f64::consts::TAU;

use jiff::{SignedDuration, Timestamp};
use llmsoak::analysis::regression::{CellFigures, CycleView, Measure};
use llmsoak::domain::{Cell, Facts};
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::climate::Climate;

/// How much the cells and all of them together move by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Noise {
    Quiet,
    Normal,
    Noisy,
}

impl Noise {
    pub(crate) const ALL: [Self; 3] = [Self::Quiet, Self::Normal, Self::Noisy];

    /// Deviations of a cell and of all cells in common, log-ratios.
    fn deviations(self) -> (f64, f64) {
        match self {
            Self::Quiet => (0.012, 0.002),
            Self::Normal => (0.02, 0.003),
            Self::Noisy => (0.04, 0.006),
        }
    }
}

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    AllCells,
    BatchFrom16,
    TtftAlone,
    Ramp,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::AllCells, Self::BatchFrom16, Self::TtftAlone, Self::Ramp];

    /// The word for the cells that change.
    pub(crate) fn scope(self) -> &'static str {
        if self == Self::BatchFrom16 { "batch>=16" } else { "all" }
    }

    /// The measure that the change is looked for in.
    pub(crate) fn measure(self) -> Measure {
        if self == Self::TtftAlone { Measure::TimeToFirstToken } else { Measure::TokensPerSecond }
    }
}

/// The steps that are tried, as ratios.
pub(crate) const SIZES: [f64; 5] = [0.02, 0.03, 0.05, 0.08, 0.15];
/// Cycles until a ramp has reached its size.
pub(crate) const RAMP_CYCLES: usize = 10;

/// The change that a series has.
#[derive(Clone, Debug)]
pub(crate) struct Truth {
    pub(crate) kind: Kind,
    pub(crate) size: f64,
    /// The first changed cycle.
    pub(crate) first: usize,
    /// The component that changed there, if the identity did.
    pub(crate) component: Option<&'static str>,
    /// The final log-ratio of each measure.
    pub(crate) logs: [f64; 3],
}

impl Truth {
    /// How much of it is there at a cycle, 0 to 1.
    pub(crate) fn part(&self, cycle: usize) -> f64 {
        match (cycle + 1).saturating_sub(self.first) {
            0 => 0.0,
            since if self.kind == Kind::Ramp => (since as f64 / RAMP_CYCLES as f64).min(1.0),
            _ => 1.0,
        }
    }

    pub(crate) fn touches(&self, cell: Cell) -> bool {
        self.kind != Kind::BatchFrom16 || cell.batch >= 16
    }
}

/// What is really behind a series: what an observer who knew everything would test with.
#[derive(Clone, Debug)]
pub(crate) struct Nature {
    pub(crate) noise: Noise,
    pub(crate) cells: Vec<Cell>,
    /// The cells' levels, logarithms, by measure.
    pub(crate) levels: Vec<[f64; 3]>,
    /// Of each cell's own noise, for the token rate.
    pub(crate) cell_deviations: Vec<f64>,
    pub(crate) cell_phi: f64,
    pub(crate) common_deviation: f64,
    pub(crate) common_phi: f64,
    pub(crate) seconds_per_cycle: f64,
    pub(crate) changes: Vec<usize>,
    /// Cycles inside a dip.
    pub(crate) dips: Vec<bool>,
}

#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) cycles: Vec<CycleView>,
    pub(crate) truth: Option<Truth>,
    pub(crate) nature: Nature,
}

/// How the measures' own noise compares with the token rate's.
pub(crate) const FACTORS: [f64; 3] = [1.0, 1.5, 0.9];
/// The deviations that drift, day and warm-up are drawn with.
pub(crate) const DRIFT: f64 = 0.006;
pub(crate) const DAY: f64 = 0.005;
pub(crate) const WARMUP_AT_START: f64 = 0.010;
pub(crate) const WARMUP_AT_CHANGE: f64 = 0.004;

/// What a series is made to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) noise: Noise,
    /// Kind, size, and whether the identity changes with it.
    pub(crate) change: Option<(Kind, f64, bool)>,
    /// Dips last so many cycles.
    pub(crate) dip_cycles: (usize, usize),
    pub(crate) climate: Climate,
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn uniform(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.0.random::<f64>()
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    fn whole(&mut self, from: usize, to: usize) -> usize {
        self.0.random_range(from..=to)
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
        radius * (TAU * self.0.random::<f64>()).cos()
    }

    /// Student's t, scaled to a deviation of 1.
    fn heavy(&mut self, degrees: u32) -> f64 {
        let chi_square: f64 = (0..degrees).map(|_| self.normal().powi(2)).sum();
        let degrees = f64::from(degrees);
        self.normal() / (chi_square / degrees).sqrt() / (degrees / (degrees - 2.0)).sqrt()
    }
}

/// A first-order autoregression of deviation 1.
struct Wander {
    phi: f64,
    value: f64,
}

impl Wander {
    fn new(phi: f64, dice: &mut Dice) -> Self {
        Self { phi, value: dice.normal() }
    }

    fn next(&mut self, news: f64) -> f64 {
        self.value = self.phi * self.value + (1.0 - self.phi * self.phi).sqrt() * news;
        self.value
    }
}

const COMPONENTS: [(&str, &str); 6] = [
    ("driver_version", "driver"),
    ("kernel", "kernel"),
    ("server_version", "server"),
    ("model_digest", "model"),
    ("cuda_version", "cuda"),
    ("rack", "label"),
];

fn grid(dice: &mut Dice, is_small: bool) -> Vec<Cell> {
    if is_small {
        return [4, 8].into_iter().flat_map(|workers| [4, 8, 16, 32].map(|batch| Cell::new(workers, batch))).collect();
    }
    loop {
        let workers: &[u32] = [&[1, 4, 8, 16][..], &[4, 8], &[2, 8, 32], &[4, 8, 16, 24, 32], &[1, 2, 4]]
            .choose(&mut dice.0)
            .expect("not empty");
        let batch: &[u32] =
            [&[1, 4, 8, 16, 24, 48][..], &[4, 8, 16, 32], &[1, 8, 16], &[8, 16, 24, 32, 48], &[1, 16, 32]]
                .choose(&mut dice.0)
                .expect("not empty");
        if (8..=30).contains(&(workers.len() * batch.len())) {
            return workers
                .iter()
                .flat_map(|&workers| batch.iter().map(move |&batch| Cell::new(workers, batch)))
                .collect();
        }
    }
}

/// A dip: first cycle, length, log-ratio of the rate, whether of large batches alone.
type Dip = (usize, usize, f64, bool);

#[expect(clippy::too_many_lines, reason = "one draw after the other")]
pub(crate) fn draw(seed: u64, plan: Plan) -> Series {
    let mut dice = Dice(ChaCha8Rng::seed_from_u64(seed));
    let climate = plan.climate;
    let cells = grid(&mut dice, climate.is_small);
    let length = dice.whole(120, 200);
    let (cell, common) = plan.noise.deviations();
    let (cell, common) = (cell * climate.cell_noise, common * climate.common_noise);
    let cell_deviations: Vec<f64> = cells.iter().map(|_| cell * (0.25 * dice.normal()).exp()).collect();
    let (cell_phi, common_phi) = (
        dice.uniform(climate.cell_phi.0, climate.cell_phi.1),
        dice.uniform(climate.common_phi.0, climate.common_phi.1),
    );
    let common_deviation = common * dice.uniform(0.8, 1.25);
    let seconds_per_cycle = *climate.seconds_per_cycle.choose(&mut dice.0).expect("not empty");
    let is_heavy = dice.chance(climate.heavy);

    let truth = plan.change.map(|(kind, size, is_known)| {
        let first = dice.whole(35, length - 35);
        let rate = if dice.chance(0.8) { (1.0 - size).ln() } else { size.ln_1p() };
        let logs = if kind == Kind::TtftAlone { [0.0, -rate, 0.0] } else { [rate, -rate, -rate] };
        let component = is_known.then(|| COMPONENTS.choose(&mut dice.0).expect("not empty").1);
        Truth { kind, size, first, component, logs }
    });
    let first = truth.as_ref().map(|truth| truth.first);
    let is_clear = |at: usize, margin: usize| first.is_none_or(|first| at.abs_diff(first) > margin);

    let mut changes: Vec<(usize, &str)> = Vec::new();
    for at in 12..length {
        if dice.chance(climate.changes) && is_clear(at, 8) {
            changes.push((at, COMPONENTS.choose(&mut dice.0).expect("not empty").0));
        }
    }
    if let Some(Truth { first, component: Some(component), .. }) = &truth {
        let key = COMPONENTS.iter().find(|(_, name)| name == component).expect("is one").0;
        changes.push((*first, key));
    }
    let mut dips: Vec<Dip> = Vec::new();
    for at in 8..length {
        let (shortest, longest) = plan.dip_cycles;
        let cycles = dice.whole(shortest, longest);
        let depth = dice.uniform(0.02, 0.2) * if dice.chance(0.85) { -1.0 } else { 1.0 };
        let is_apart = dips.last().is_none_or(|&(last, cycles, ..)| at > last + cycles + 4);
        let starts_at_change = changes.iter().any(|&(change, _)| change == at);
        if dice.chance(climate.dips) && is_apart && !starts_at_change && is_clear(at, 6) && is_clear(at + cycles, 6) {
            dips.push((at, cycles, depth, dice.chance(0.2)));
        }
    }
    for &(change, _) in changes.iter().filter(|&&(at, _)| Some(at) != first) {
        if climate.dips_beside > 0.0 && dice.chance(climate.dips_beside) {
            // Up to the change or over it, or soon after; never beginning with it.
            let cycles = dice.whole(plan.dip_cycles.0, plan.dip_cycles.1);
            let at = if dice.chance(0.5) { change - dice.whole(1, cycles) } else { change + dice.whole(1, 3) };
            let starts_at_change = changes.iter().any(|&(change, _)| change == at);
            let is_apart = dips.iter().all(|&(from, last, ..)| at > from + last + 4 || from > at + cycles + 4);
            if !starts_at_change && is_apart {
                dips.push((at, cycles, -dice.uniform(0.02, 0.2), false));
            }
        }
    }

    let levels: Vec<[f64; 3]> = cells
        .iter()
        .map(|cell| {
            let together = f64::from(cell.concurrency());
            let step = 0.019 + 0.00215 * together;
            let wave = f64::from(cell.batch.div_ceil(cell.workers));
            [(together / step).ln(), (0.1 * wave + 0.05).ln(), step.ln()].map(|level: f64| level + 0.1 * dice.normal())
        })
        .collect();
    // What all cells do in common, each measure.
    let drifts: [f64; 3] = FACTORS.map(|factor| climate.drift * DRIFT * factor * dice.normal() / 60.0);
    let bow = (dice.uniform(0.0, 0.003), dice.uniform(120.0, 300.0), dice.uniform(0.0, TAU));
    let days: [(f64, f64); 3] =
        FACTORS.map(|factor| DAY * climate.day * factor).map(|day| (day * dice.normal(), day * dice.normal()));
    let half_day = dice.uniform(0.0, 0.0015);
    let warmth: [f64; 3] = FACTORS.map(|factor| climate.warmup_at_start * WARMUP_AT_START * factor * dice.normal());
    let warmup_cycles = dice.uniform(2.5, 6.0);
    let restarts: Vec<(usize, [f64; 3])> = changes
        .iter()
        .filter(|_| dice.0.random::<f64>() < 0.5)
        .map(|&(at, _)| at)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|at| (at, FACTORS.map(|factor| climate.warmup_at_change * WARMUP_AT_CHANGE * factor * dice.normal())))
        .collect();

    let mut shared = Wander::new(common_phi, &mut dice);
    let mut commons: [Wander; 3] = [0, 1, 2].map(|_| Wander::new(common_phi, &mut dice));
    let mut wanders: Vec<[Wander; 3]> =
        cells.iter().map(|_| [0, 1, 2].map(|_| Wander::new(cell_phi, &mut dice))).collect();
    let mut slow = (climate.wandering > 0.0).then(|| Wander::new(0.96, &mut dice));
    let mut identity: Facts = COMPONENTS.iter().map(|(key, _)| ((*key).to_owned(), "1".to_owned())).collect();
    let mut outage: Option<(usize, usize)> = None;
    let mut seconds = dice.uniform(0.0, 86_400.0);
    let start: Timestamp = "2026-03-01T00:00:00Z".parse().expect("a time");
    let mut cycles = Vec::with_capacity(length);
    let mut in_dip = vec![false; length];
    for (at, in_dip) in in_dip.iter_mut().enumerate() {
        for (_, key) in changes.iter().filter(|(change, _)| *change == at) {
            identity.insert((*key).to_owned(), format!("{}", at + 2));
        }
        seconds += seconds_per_cycle * dice.uniform(climate.spacing.0, climate.spacing.1);
        if dice.chance(0.002) {
            seconds += dice.uniform(2.0, 20.0) * 3600.0;
        }
        let x = at as f64;
        let day = TAU * seconds / 86_400.0;
        let news = dice.normal();
        let shared = shared.next(news);
        let wandering = slow.as_mut().map_or(0.0, |slow| {
            let news = dice.normal();
            climate.wandering * slow.next(news)
        });
        let common: Vec<f64> = (0..3)
            .map(|measure| {
                let factor = FACTORS[measure];
                let sign = if measure == 0 { 1.0 } else { -1.0 };
                let news = dice.normal();
                let own = commons[measure].next(news);
                let warm = warmth[measure] * (-x / warmup_cycles).exp()
                    + restarts
                        .iter()
                        .filter(|(from, _)| at >= *from)
                        .map(|(from, warmth)| warmth[measure] * (-((at - from) as f64) / warmup_cycles).exp())
                        .sum::<f64>();
                common_deviation * factor * (0.8 * sign * shared + 0.6 * own)
                    + factor * sign * wandering
                    + drifts[measure] * x
                    + bow.0 * factor * (TAU * x / bow.1 + bow.2).sin()
                    + days[measure].0 * day.cos()
                    + days[measure].1 * day.sin()
                    + half_day * factor * (2.0 * day).sin()
                    + warm
            })
            .collect();
        let dip = dips.iter().find(|(from, cycles, ..)| (*from..from + cycles).contains(&at));
        *in_dip = dip.is_some();
        if outage.is_none() && dice.chance(0.01) {
            outage = Some((dice.whole(0, cells.len() - 1), at + dice.whole(2, 12)));
        }
        outage = outage.filter(|(_, end)| at < *end);
        let is_lost = dice.chance(0.004);
        let figures = cells.iter().enumerate().filter_map(|(place, &cell)| {
            let mut figures = [None; 3];
            for measure in 0..3 {
                let news = if is_heavy { dice.heavy(climate.degrees) } else { dice.normal() };
                let own = wanders[place][measure].next(news) * cell_deviations[place] * FACTORS[measure];
                let spike = if dice.chance(0.004) { 0.1 * dice.normal() } else { 0.0 };
                let sign = if measure == 0 { 1.0 } else { -1.0 };
                let dipped = dip.filter(|(.., is_partial)| !is_partial || cell.batch >= 16);
                let dipped = dipped.map_or(0.0, |(_, _, depth, _)| sign * depth);
                let changed = truth.as_ref().filter(|truth| truth.touches(cell));
                let changed = changed.map_or(0.0, |truth| truth.logs[measure] * truth.part(at));
                let log = levels[place][measure] + common[measure] + own + spike + dipped + changed;
                figures[measure] = Some(log.exp());
            }
            if dice.chance(climate.missing) {
                figures = [None; 3];
            }
            if climate.is_rate_alone {
                figures = [figures[0], None, None];
            }
            let is_out = is_lost || outage.is_some_and(|(out, _)| out == place);
            (!is_out).then_some(CellFigures { cell, figures })
        });
        let cells = figures.collect();
        let mut seen = identity.clone();
        if dice.chance(0.01) {
            seen.remove("driver_version");
        }
        let millis = SignedDuration::from_millis((seconds * 1000.0) as i64);
        cycles.push(CycleView { at: start + millis, identity: seen, cells });
    }
    let mut changed: Vec<usize> = changes.iter().map(|(at, _)| *at).collect();
    changed.sort_unstable();
    let nature = Nature {
        noise: plan.noise,
        cells,
        levels,
        cell_deviations,
        cell_phi,
        common_deviation,
        common_phi,
        seconds_per_cycle,
        changes: changed,
        dips: in_dip,
    };
    Series { cycles, truth, nature }
}

/// A full set: as many series without a change as with one, over all strata of these sizes.
/// `half` 0 is for tuning, 1 for reporting.
pub(crate) fn set(half: u64, repeats: u64, climate: Climate, sizes: &[f64]) -> impl Iterator<Item = Series> {
    let mut plans = Vec::new();
    for _ in 0..repeats {
        for noise in Noise::ALL {
            for kind in Kind::ALL.into_iter().filter(|kind| !climate.is_rate_alone || *kind != Kind::TtftAlone) {
                for &size in sizes {
                    for is_known in [false, true] {
                        for change in [Some((kind, size, is_known)), None] {
                            plans.push(Plan { noise, change, dip_cycles: (1, 3), climate });
                        }
                    }
                }
            }
        }
    }
    plans.into_iter().enumerate().map(move |(index, plan)| draw(2 * index as u64 + half, plan))
}
