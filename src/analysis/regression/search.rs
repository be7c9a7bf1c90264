//! The best explanation of a pooled series: no change, or one, where and of what shape.

use super::fit::{Effect, Fit};
use super::line::{Designs, Line};
use super::pool::median;
use super::shapes::{RAMPS, Shape};

/// Rows before a change that is looked for, and before one whose time is known.
const LEAST_BEFORE: usize = 6;
const LEAST_BEFORE_KNOWN: usize = 3;
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
const LEAST_Z_BESIDE_DIP: f64 = 1.2;
/// A mean over all that the noise could be shows a change a little less clearly than the one
/// estimate of it, right as it may be: what is allowed for that.
const DOUBT: f64 = 0.15;
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
    /// Where so many times more changes of identity than usual share the false alarms: the tail
    /// of a normal distribution falls like exp(−z²/2).
    pub(super) fn shared(self, by: f64) -> Self {
        Self { known: (self.known.powi(2) + 2.0 * by.ln()).sqrt(), ..self }
    }

    /// By so many deviations, whatever speaks for a change.
    pub(super) fn raised(self, by: f64) -> Self {
        Self { known: self.known + by, unknown: self.unknown + by, elsewhere: self.elsewhere + by, ..self }
    }

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
    Elsewhere {
        direction: f64,
    },
    None,
}

impl Clue {
    /// What is looked at first comes first.
    fn rank(self) -> u8 {
        match self {
            Self::Identity => 0,
            Self::Elsewhere { .. } => 1,
            Self::None => 2,
        }
    }
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

impl Candidate {
    /// How well it explains the series: twice a log-likelihood ratio. A ramp must be the better
    /// one by a margin.
    fn likelihood(&self) -> f64 {
        let margin = if self.shape == Shape::Step { 0.0 } else { RAMP_MARGIN };
        self.effect.z().powi(2) - margin
    }
}

impl Line {
    /// The change that explains the series best and is believed, if any. `known` are the
    /// places, in this line, of the rows that something else speaks for.
    pub(super) fn best(
        &self,
        designs: &mut Designs,
        known: &[(usize, Clue)],
        thresholds: Thresholds,
    ) -> Option<Candidate> {
        let design = designs.of(self);
        let fit = Fit::new(&self.y, &design, self.variance.sqrt());
        let candidates = self.candidates(&fit, known, thresholds);
        // A candidate that is not believed may be the better explanation all the same.
        let most = candidates.iter().map(|candidate| candidate.effect.z().powi(2)).fold(0.0, f64::max);
        let mut likely: Vec<&Candidate> =
            candidates.iter().filter(|candidate| candidate.effect.z().powi(2) >= most - KNOWN_MARGIN).collect();
        likely
            .sort_by(|a, b| a.clue.rank().cmp(&b.clue.rank()).then_with(|| b.likelihood().total_cmp(&a.likelihood())));
        let is_believed = |candidate: &&Candidate| {
            candidate.excess > 0.0
                && candidate.effect.size.abs() >= thresholds.minimum_effect
                && self.holds(candidate)
                && self.survives_doubt(candidate)
        };
        let believed = *likely.into_iter().find(is_believed)?;
        if believed.clue == Clue::None { self.settle(&candidates, believed, most) } else { Some(believed) }
    }

    /// That there is a change is settled; which one, is a matter of likelihood. `None` while a
    /// step and a ramp are too much alike to tell.
    fn settle(&self, candidates: &[Candidate], believed: Candidate, most: f64) -> Option<Candidate> {
        let best = |is_asked: &dyn Fn(&Candidate) -> bool, least: f64| {
            let asked = candidates.iter().filter(|candidate| is_asked(candidate) && candidate.likelihood() > least);
            let alike = asked.filter(|candidate| candidate.effect.size * believed.effect.size > 0.0);
            let shown = alike.filter(|candidate| self.shows_at_its_ends(candidate));
            shown.max_by(|a, b| a.likelihood().total_cmp(&b.likelihood())).copied()
        };
        let is_identity = |candidate: &Candidate| candidate.clue == Clue::Identity && candidate.excess > 0.0;
        let is_anywhere = |candidate: &Candidate| candidate.clue == Clue::None;
        let is_ramp = |candidate: &Candidate| is_anywhere(candidate) && candidate.shape != Shape::Step;
        let better = best(&is_identity, most - KNOWN_MARGIN).or_else(|| best(&is_anywhere, believed.likelihood()));
        let is_open = || {
            believed.shape == Shape::Step
                && believed.after < SETTLED_AFTER
                && best(&is_ramp, believed.likelihood() - OPEN_MARGIN).is_some()
        };
        if better.is_none() && is_open() { None } else { better.or(Some(believed)) }
    }

    fn candidates(&self, fit: &Fit<'_>, known: &[(usize, Clue)], thresholds: Thresholds) -> Vec<Candidate> {
        let rows = self.y.len();
        let candidate = |shape: Shape, first: usize, clue: Clue, effect: Effect| {
            let (before, after) = (first, rows - first);
            let part = self.part_by_now(shape, first);
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
        // Or one that began after it.
        let begins_after = |first: usize| {
            rows - first <= MOST_SHARP && (first..first + DIP).any(|after| z(after) > z(first) + KNOWN_MARGIN)
        };
        let unknown = LEAST_BEFORE.max(rows.saturating_sub(MOST_AFTER))..(rows + 1).saturating_sub(LEAST_AFTER);
        let oldest = LEAST_BEFORE_KNOWN.max(rows.saturating_sub(MOST_AFTER_KNOWN));
        let is_known =
            |(first, _): &&(usize, Clue)| (oldest..(rows + 1).saturating_sub(LEAST_AFTER_KNOWN)).contains(first);
        let mut candidates: Vec<Candidate> = known
            .iter()
            .filter(is_known)
            .filter(|(first, clue)| !began_before(*first) && (*clue != Clue::Identity || !begins_after(*first)))
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

    /// Whether a candidate is beyond its threshold whatever the series' memory and drift are.
    fn survives_doubt(&self, candidate: &Candidate) -> bool {
        let threshold = candidate.effect.z().abs() - candidate.excess;
        let z = self.doubted_z(candidate.shape, self.position(candidate.first));
        z >= threshold - DOUBT
    }

    /// Whether a candidate is a change that lasts, and not a dip.
    fn holds(&self, candidate: &Candidate) -> bool {
        let least_z = match (candidate.clue, candidate.shape) {
            // A dip does not begin at a change of identity.
            (Clue::Identity, Shape::Step) if candidate.after <= MOST_SHARP => {
                return self.shows_at_its_ends(candidate) && self.shows_beside_a_dip(candidate);
            }
            // The other measure is no dip, so that this one hardly is.
            (Clue::Elsewhere { direction }, _) if candidate.effect.size * direction > 0.0 => LEAST_Z_ELSEWHERE,
            (Clue::Elsewhere { .. }, _) => return false,
            (_, Shape::Ramp(_)) if candidate.after < LEAST_AFTER_RAMP => return false,
            (Clue::None, Shape::Ramp(_)) => LEAST_Z_OF_RAMP,
            _ => LEAST_Z_WITHOUT_DIP,
        };
        self.shows_at_its_ends(candidate) && self.shows_without_a_dip(candidate, least_z)
    }

    /// The last rows show the change, and of one whose time is known the first do too.
    fn shows_at_its_ends(&self, candidate: &Candidate) -> bool {
        let Candidate { shape, first, effect, .. } = *candidate;
        let whole = self.part_by_now(shape, first);
        let mut before: Vec<f64> = self.y.iter().copied().take(first).skip(first.saturating_sub(12)).collect();
        let level = median(&mut before);
        let rows = self.y.len();
        // An early verdict at a known time rests on these rows alone.
        let is_early = candidate.clue != Clue::None && rows - first <= DIP;
        let shows = |row: usize| {
            let expected = effect.size * shape.part(self.position(row) - self.position(first) + 1.0) / whole;
            let seen = self.y.get(row).map_or(0.0, |value| value - level) * expected.signum();
            let lacks_little = expected.abs() - seen <= LEAST_PART_NOISE * self.variance.sqrt();
            seen >= LEAST_PART * expected.abs() || (lacks_little && !is_early)
        };
        let is_sharp = candidate.clue != Clue::None && shape == Shape::Step && candidate.after <= MOST_SHARP;
        let firsts = first..(first + if is_sharp { DIP } else { 0 }).min(rows);
        (rows.saturating_sub(DIP).max(first)..rows).chain(firsts).all(shows)
    }

    /// A dip may come right before or soon after a change of identity that does nothing: what
    /// is left without it shows the change, if less clearly.
    fn shows_beside_a_dip(&self, candidate: &Candidate) -> bool {
        let (first, rows) = (candidate.first, self.y.len());
        let leaves_some = |dip: &usize| *dip > first || dip + DIP < rows;
        (first.saturating_sub(DIP)..rows)
            .filter(leaves_some)
            .all(|dip| self.z_without(candidate, dip) >= LEAST_Z_BESIDE_DIP)
    }

    /// The deviations by which a change shows, in its direction, without three rows.
    fn z_without(&self, candidate: &Candidate, dip: usize) -> f64 {
        let Candidate { shape, first, effect, .. } = *candidate;
        let rest = self.without(|row| (dip..dip + DIP).contains(&row));
        rest.effect(shape, self.position(first)).map_or(0.0, |left| left.z() * effect.size.signum())
    }

    /// Whichever rows a dip could have taken, the others show the change.
    fn shows_without_a_dip(&self, candidate: &Candidate, least_z: f64) -> bool {
        let (first, rows) = (candidate.first, self.y.len());
        let z_without = |dip: usize| self.z_without(candidate, dip);
        z_without(first.saturating_sub(DIP)) >= least_z + 0.5
            && (first..=rows.saturating_sub(DIP)).all(|dip| z_without(dip) >= least_z)
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
