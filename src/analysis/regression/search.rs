//! The best explanation of a pooled series: no change, or one, where and of what shape.

use std::rc::Rc;

use super::fit::{Design, Effect, Fit};
use super::noise::{Jumps, dips};
use super::pool::median;
use super::shapes::{RAMPS, Shape, Surroundings};

/// Rows before a change that is looked for, and before one whose time is known.
pub(super) const LEAST_BEFORE: usize = 6;
pub(super) const LEAST_BEFORE_KNOWN: usize = 3;
/// Rows since.
const LEAST_AFTER: usize = 4;
const LEAST_AFTER_RAMP: usize = 6;
const LEAST_AFTER_KNOWN: usize = 2;
/// Rows since the oldest change that is still looked for.
const MOST_AFTER: usize = 14;
const MOST_AFTER_KNOWN: usize = 20;
/// The longest dip, in rows: a change must show without any so many of its rows.
const DIP: usize = 3;
/// Deviations by which it then has to show still.
const LEAST_Z_WITHOUT_DIP: f64 = 3.0;
const LEAST_Z_OF_RAMP: f64 = 3.5;
const LEAST_Z_ELSEWHERE: f64 = 1.5;
/// The part of a change that each of its outermost rows shows, unless it lacks less than so
/// many deviations of a row.
const LEAST_PART: f64 = 0.35;
const LEAST_PART_NOISE: f64 = 2.0;
/// A change of identity that is older is not told from a dip that came after it by its first
/// rows.
const MOST_SHARP: usize = 8;
/// By how much another time must explain a series better, as a log-likelihood ratio times
/// two, before a change of identity is not its cause.
const KNOWN_MARGIN: f64 = 8.0;
/// And a step shortly before it, before the change is older than that.
const BEGAN_BEFORE_MARGIN: f64 = 1.0;
/// And a ramp, before it is told from a step.
const RAMP_MARGIN: f64 = 2.0;
/// While the likelihoods of a step and a ramp are so near, and the step so young, it is not
/// told yet.
const OPEN_MARGIN: f64 = 3.0;
const SETTLED_AFTER: usize = 7;
/// A step this near to a threshold makes ramps worth a look.
const WORTH_A_LOOK: f64 = 1.5;

/// Factors of drift and day that are tried, and how far from 1 they are thought to be.
const RESTLESSNESS: [f64; 5] = [0.33, 0.6, 1.0, 1.7, 3.0];
const RESTLESSNESS_PRIOR: f64 = 0.7;
/// Rows that say how restless a series is.
const LEAST_RESTLESS_ROWS: usize = 24;

/// When a change is believed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Thresholds {
    /// Deviations: at a change of identity, anywhere.
    pub known: f64,
    pub unknown: f64,
    /// Where another measure has changed.
    pub elsewhere: f64,
    /// The least log-ratio.
    pub minimum_effect: f64,
}

impl Thresholds {
    /// With few rows neither the level nor the noise is well known.
    fn of(self, clue: Clue, before: usize, after: usize, noise_rows: f64) -> f64 {
        let base = match clue {
            Clue::Identity => self.known,
            Clue::Elsewhere { .. } => self.elsewhere,
            Clue::None => self.unknown,
        };
        // A young change will soon be clearer; one that took long to be clear is mostly drift.
        let age = match clue {
            Clue::None => 0.03 * after.saturating_sub(6) as f64,
            _ => 0.25 * LEAST_AFTER.saturating_sub(after) as f64,
        };
        base + age + 3.0 / before as f64 + 8.0 / noise_rows
    }
}

/// What else speaks for a change at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Clue {
    /// The identity changed then.
    Identity,
    /// Another measure changed then; this one should move in that direction, 1 or −1.
    Elsewhere { direction: f64 },
    None,
}

/// A change that could be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub shape: Shape,
    /// Its first row, as a place in the line.
    pub first: usize,
    pub clue: Clue,
    /// What is there of it by now.
    pub effect: Effect,
    /// Deviations beyond the threshold.
    pub excess: f64,
    pub before: usize,
    pub after: usize,
}

/// The pooled series of a part of the grid, its dips put aside.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// The place of each row in the window.
    pub rows: Vec<usize>,
    pub y: Vec<f64>,
    pub surroundings: Surroundings,
    pub phi: f64,
    pub variance: f64,
    /// How many rows the variance is known from.
    pub noise_rows: f64,
}

/// What is known of the noise before a window is looked at: a variance and how many rows
/// that is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prior {
    pub variance: f64,
    pub rows: f64,
}

impl Line {
    /// The autocorrelation of pooled rows, where there are too few to tell.
    pub(super) const USUAL_PHI: f64 = 0.42;

    /// `y` has a value a row of the surroundings; NaN where there is none.
    pub(super) fn new(y: &[f64], surroundings: &Surroundings, phi: f64, prior: Prior) -> Self {
        let rows = (0..y.len()).filter(|&row| y.get(row).is_some_and(|value| !value.is_nan())).collect();
        let mut line = Self {
            rows,
            y: y.iter().copied().filter(|value| !value.is_nan()).collect(),
            surroundings: surroundings.clone(),
            phi,
            variance: 0.0,
            noise_rows: 0.0,
        };
        let pick = |values: &[f64], rows: &[usize]| rows.iter().filter_map(|&row| values.get(row).copied()).collect();
        line.surroundings.positions = pick(&surroundings.positions, &line.rows);
        line.surroundings.seconds = pick(&surroundings.seconds, &line.rows);
        line.estimate(prior);
        let dips = dips(&line.y, line.variance.sqrt());
        if dips.contains(&true) {
            line = line.without(|row| dips.get(row) == Some(&true));
            line.estimate(prior);
        }
        line
    }

    fn estimate(&mut self, prior: Prior) {
        let gaps = self.surroundings.gaps();
        let jumps = Jumps { y: &self.y, gaps: &gaps };
        (self.variance, self.noise_rows) = jumps.variance(self.phi, prior.variance, prior.rows);
    }

    /// The same without some of its rows.
    fn without(&self, is_left_out: impl Fn(usize) -> bool) -> Self {
        fn kept<T: Copy>(values: &[T], is_left_out: &impl Fn(usize) -> bool) -> Vec<T> {
            values.iter().enumerate().filter(|(row, _)| !is_left_out(*row)).map(|(_, value)| *value).collect()
        }
        let surroundings = Surroundings {
            positions: kept(&self.surroundings.positions, &is_left_out),
            seconds: kept(&self.surroundings.seconds, &is_left_out),
            ..self.surroundings.clone()
        };
        Self { rows: kept(&self.rows, &is_left_out), y: kept(&self.y, &is_left_out), surroundings, ..*self }
    }

    /// How restless the series is, as drift and day go: the factor of their deviations, between
    /// a third and three, that makes the rows most likely. From the rows alone that are too old
    /// for a change to be looked for, so that a change does not hide itself.
    pub(super) fn restlessness(&self) -> f64 {
        let old = self.y.len().saturating_sub(MOST_AFTER_KNOWN);
        if old < LEAST_RESTLESS_ROWS {
            return 1.0;
        }
        let mut line = self.without(|row| row >= old);
        let log_weights = RESTLESSNESS.map(|factor| {
            line.surroundings.restlessness = factor;
            let likelihood = Fit::new(&line.y, &line.design(), line.variance.sqrt()).log_likelihood();
            likelihood - 0.5 * (factor.ln() / RESTLESSNESS_PRIOR).powi(2)
        });
        let most = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights = log_weights.map(|weight| (weight - most).exp());
        let mean = weights.iter().zip(RESTLESSNESS).map(|(weight, factor)| weight * factor.ln()).sum::<f64>();
        (mean / weights.iter().sum::<f64>()).exp()
    }

    fn design(&self) -> Design {
        // Some rows older than any candidate, to compare with.
        let first_step = self.y.len().saturating_sub(MOST_AFTER_KNOWN + DIP);
        Design::new(&self.surroundings.positions, self.phi, &self.surroundings.nuisance(), first_step)
    }

    /// The change of a shape from a position on.
    pub(super) fn effect(&self, shape: Shape, from: f64) -> Option<Effect> {
        Fit::new(&self.y, &self.design(), self.variance.sqrt()).effect(&self.column(shape, from))
    }

    fn position(&self, row: usize) -> f64 {
        self.surroundings.positions.get(row).copied().unwrap_or(f64::NAN)
    }

    /// A change of that shape from a position on, as a column.
    fn column(&self, shape: Shape, from: f64) -> Vec<f64> {
        self.surroundings.positions.iter().map(|position| shape.part(position - from + 1.0)).collect()
    }

    /// The change that explains the series best and is believed, if any. `known` are the
    /// places, in this line, of the rows that something else speaks for.
    pub(super) fn best(&self, designs: &mut Designs, known: &[(usize, Clue)], thresholds: Thresholds) -> Option<Candidate> {
        let design = designs.of(self);
        let fit = Fit::new(&self.y, &design, self.variance.sqrt());
        let candidates = self.candidates(&fit, known, thresholds);
        // No need to be believed to be the better explanation.
        let most = candidates.iter().map(|candidate| candidate.effect.z().powi(2)).fold(0.0, f64::max);
        let explains = |candidate: &&Candidate| candidate.effect.z().powi(2) >= most - KNOWN_MARGIN;
        let is_believed = |candidate: &&Candidate| {
            candidate.excess > 0.0 && candidate.effect.size.abs() >= thresholds.minimum_effect && self.holds(candidate)
        };
        let best_of = |is_asked: fn(Clue) -> bool| {
            let mut sorted: Vec<&Candidate> =
                candidates.iter().filter(|candidate| is_asked(candidate.clue)).filter(explains).collect();
            sorted.sort_by(|a, b| likelihood(b).total_cmp(&likelihood(a)));
            sorted.into_iter().find(is_believed).copied()
        };
        let believed = best_of(|clue| clue == Clue::Identity)
            .or_else(|| best_of(|clue| matches!(clue, Clue::Elsewhere { .. })))
            .or_else(|| best_of(|clue| clue == Clue::None))?;
        // That there is a change is settled; which one, is a matter of likelihood.
        let is_alike = |candidate: &&Candidate| {
            candidate.effect.size * believed.effect.size > 0.0 && self.shows_at_its_ends(candidate)
        };
        let best = |is_asked: fn(&&Candidate) -> bool, least: f64| {
            let asked = candidates.iter().filter(is_asked).filter(|candidate| likelihood(candidate) > least);
            asked.filter(is_alike).max_by(|a, b| likelihood(a).total_cmp(&likelihood(b))).copied()
        };
        if believed.clue != Clue::None {
            return Some(believed);
        }
        let identity = |candidate: &&Candidate| candidate.clue == Clue::Identity && candidate.excess > 0.0;
        if let Some(identity) = best(identity, most - KNOWN_MARGIN) {
            return Some(identity);
        }
        if let Some(better) = best(|candidate| candidate.clue == Clue::None, likelihood(&believed)) {
            return Some(better);
        }
        let is_ramp = |candidate: &&Candidate| candidate.clue == Clue::None && candidate.shape != Shape::Step;
        let is_open = believed.shape == Shape::Step
            && believed.after < SETTLED_AFTER
            && best(is_ramp, likelihood(&believed) - OPEN_MARGIN).is_some();
        (!is_open).then_some(believed)
    }

    fn candidates(&self, fit: &Fit<'_>, known: &[(usize, Clue)], thresholds: Thresholds) -> Vec<Candidate> {
        let rows = self.y.len();
        let candidate = |shape: Shape, first: usize, clue: Clue, effect: Effect| {
            let (before, after) = (first, rows - first);
            let last = self.surroundings.positions.last().copied().unwrap_or(0.0);
            let part = shape.part(last - self.position(first) + 1.0);
            let effect = Effect { size: effect.size * part, standard_error: effect.standard_error * part };
            let excess = effect.z().abs() - thresholds.of(clue, before, after, self.noise_rows);
            Candidate { shape, first, clue, effect, excess, before, after }
        };
        let steps = fit.steps();
        let step = |first: usize| steps.iter().find(|(row, _)| *row == first).and_then(|(_, effect)| *effect);
        let z = |first: usize| step(first).map_or(0.0, |effect| effect.z().powi(2));
        // A dip that was there before the identity changed, and is not over.
        let began_before = |first: usize| {
            rows - first <= MOST_SHARP
                && (first.saturating_sub(DIP)..first).any(|before| z(before) > z(first) + BEGAN_BEFORE_MARGIN)
        };
        let unknown = LEAST_BEFORE.max(rows.saturating_sub(MOST_AFTER))..(rows + 1).saturating_sub(LEAST_AFTER);
        let oldest = LEAST_BEFORE_KNOWN.max(rows.saturating_sub(MOST_AFTER_KNOWN));
        let is_known =
            |(first, _): &&(usize, Clue)| (oldest..(rows + 1).saturating_sub(LEAST_AFTER_KNOWN)).contains(first);
        let mut candidates: Vec<Candidate> = known
            .iter()
            .filter(is_known)
            .filter(|(first, _)| !began_before(*first))
            .filter_map(|&(first, clue)| Some(candidate(Shape::Step, first, clue, step(first)?)))
            .chain(unknown.clone().filter_map(|first| Some(candidate(Shape::Step, first, Clue::None, step(first)?))))
            .collect();
        if candidates.iter().all(|candidate| candidate.excess < -WORTH_A_LOOK) {
            return Vec::new();
        }
        let ramp = |first: usize, clue: Clue| {
            RAMPS.into_iter().filter_map(move |length| {
                let shape = Shape::Ramp(length);
                let effect = fit.effect(&self.column(shape, self.position(first)))?;
                Some(candidate(shape, first, clue, effect))
            })
        };
        let ramps: Vec<Candidate> = known
            .iter()
            .filter(is_known)
            .flat_map(|&(first, clue)| ramp(first, clue))
            .chain(unknown.flat_map(|first| ramp(first, Clue::None)))
            .collect();
        candidates.extend(ramps);
        candidates
    }

    /// Whether a candidate is a change that lasts, and not a dip.
    fn holds(&self, candidate: &Candidate) -> bool {
        let is_steady = || match candidate.clue {
            // A dip does not begin at a change of identity.
            Clue::Identity if candidate.shape == Shape::Step && candidate.after <= MOST_SHARP => true,
            // The other measure is no dip, so that this one is none.
            Clue::Elsewhere { direction } => {
                candidate.effect.size * direction > 0.0 && self.shows_without_a_dip(candidate, LEAST_Z_ELSEWHERE)
            }
            _ if candidate.shape != Shape::Step && candidate.after < LEAST_AFTER_RAMP => false,
            _ if candidate.shape == Shape::Step => self.shows_without_a_dip(candidate, LEAST_Z_WITHOUT_DIP),
            Clue::Identity => self.shows_without_a_dip(candidate, LEAST_Z_WITHOUT_DIP),
            Clue::None => self.shows_without_a_dip(candidate, LEAST_Z_OF_RAMP),
        };
        self.shows_at_its_ends(candidate) && is_steady()
    }

    /// The last rows show the change, and of one whose time is known the first do too.
    fn shows_at_its_ends(&self, candidate: &Candidate) -> bool {
        let Candidate { shape, first, effect, .. } = *candidate;
        let last = self.surroundings.positions.last().copied().unwrap_or(0.0);
        let whole = shape.part(last - self.position(first) + 1.0);
        let mut before: Vec<f64> = self.y.iter().copied().take(first).skip(first.saturating_sub(12)).collect();
        let level = median(&mut before);
        let rows = self.y.len();
        let shows = |row: usize| {
            let expected = effect.size * shape.part(self.position(row) - self.position(first) + 1.0) / whole;
            let seen = self.y.get(row).map_or(0.0, |value| value - level);
            let is_verdict = candidate.clue == Clue::None || rows - first > DIP;
            let least = (LEAST_PART * expected.abs()).min(expected.abs() - LEAST_PART_NOISE * self.variance.sqrt());
            seen * expected.signum() >= if is_verdict { least } else { LEAST_PART * expected.abs() }
        };
        let outermost = rows.saturating_sub(DIP).max(first)..rows;
        let is_sharp = candidate.clue != Clue::None && shape == Shape::Step && candidate.after <= MOST_SHARP;
        let firsts = first..(first + if is_sharp { DIP } else { 0 }).min(rows);
        outermost.chain(firsts).all(shows)
    }

    /// Whichever rows a dip could have taken, the others show the change.
    fn shows_without_a_dip(&self, candidate: &Candidate, least_z: f64) -> bool {
        let Candidate { shape, first, effect, .. } = *candidate;
        let rows = self.y.len();
        let z_without = |dip: usize| {
            let rest = self.without(|row| (dip..dip + DIP).contains(&row));
            rest.effect(shape, self.position(first)).map_or(0.0, |left| left.z() * effect.size.signum())
        };
        z_without(first.saturating_sub(DIP)) >= least_z + 0.5
            && (first..=rows.saturating_sub(DIP)).all(|dip| z_without(dip) >= least_z)
    }
}

/// The designs of one cycle: parts of a grid that have the same rows share one.
#[derive(Debug, Default)]
pub(super) struct Designs(Vec<(Vec<usize>, Rc<Design>)>);

impl Designs {
    fn of(&mut self, line: &Line) -> Rc<Design> {
        if let Some((_, design)) = self.0.iter().find(|(rows, _)| *rows == line.rows) {
            return Rc::clone(design);
        }
        let design = Rc::new(line.design());
        self.0.push((line.rows.clone(), Rc::clone(&design)));
        design
    }
}

/// How well a candidate explains the series; a ramp must be the better one by a margin.
fn likelihood(candidate: &Candidate) -> f64 {
    let margin = if candidate.shape == Shape::Step { 0.0 } else { RAMP_MARGIN };
    candidate.effect.z().powi(2) - margin
}
