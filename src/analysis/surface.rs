//! What the neighbours of a cell say of its rate, beside its own samples.
//!
//! The best of many noisy medians is a lucky one. Rates of neighbouring cells are alike, so
//! each cell is drawn towards what the surface around it makes of it, the more the fewer
//! samples it has. A cell that was not measured yet has an expectation and a doubt too.

use std::collections::{BTreeMap, BTreeSet};

use super::cholesky::{Cholesky, dot};
use crate::domain::Cell;

/// The logarithm of a cell's rate as its samples give it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observed {
    pub cell: Cell,
    pub log_rate: f64,
    pub variance: f64,
}

/// What is believed of the logarithm of a cell's rate: a normal distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    pub log_rate: f64,
    pub variance: f64,
}

/// Cells below which there is no surface: each stands for itself.
const FEWEST_CELLS: usize = 6;
/// A cell is drawn towards its neighbours by at most this many of its standard errors.
const FARTHEST: f64 = 0.5;
/// Cells above which only the fastest are on the surface: the time goes with the cube of their
/// number, and which cell is the best is decided among them.
const MOST_CELLS: usize = 128;
/// Standard deviation of the level and of the slopes, in logarithms: nearly unknown.
const VAGUE: f64 = 2.0;

/// The belief in each of `wanted`, from what was observed.
///
/// Kriging (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006): a
/// plane, a smooth deviation (Matérn 5/2), and what is each cell's own, such as the
/// half-empty last wave of a batch. Their sizes are those that make the observed rates the
/// most probable. Nothing of how a server works is in it.
pub fn beliefs(observed: &[Observed], wanted: &[Cell]) -> Vec<Option<Belief>> {
    let mut fastest = observed.to_vec();
    fastest.sort_by(|a, b| b.log_rate.total_cmp(&a.log_rate));
    fastest.truncate(MOST_CELLS);
    let ground = Ground::of(&fastest);
    let surface = (fastest.len() >= FEWEST_CELLS).then(|| Surface::fit(&ground)).flatten();
    let on_surface: BTreeSet<Cell> = fastest.iter().map(|observed| observed.cell).collect();
    let measured: BTreeMap<Cell, &Observed> = observed.iter().map(|observed| (observed.cell, observed)).collect();
    let belief = |cell: &Cell| match (&surface, measured.get(cell)) {
        (Some(surface), Some(own)) if on_surface.contains(cell) => Some(limited(surface.belief(*cell), own)),
        (Some(surface), None) => Some(surface.belief(*cell)),
        (_, own) => own.map(|own| Belief { log_rate: own.log_rate, variance: own.variance }),
    };
    wanted.iter().map(belief).collect()
}

/// A cell that stands out is not drawn far: it may be right, and few cells that stand out make
/// the surface think that none do. Efron and Morris, "Limiting the Risk of Bayes and Empirical
/// Bayes Estimators" (1971).
fn limited(belief: Belief, own: &Observed) -> Belief {
    let limit = FARTHEST * own.variance.sqrt();
    let drawn = belief.log_rate - own.log_rate;
    if drawn.abs() <= limit {
        return belief;
    }
    Belief { log_rate: own.log_rate + limit.copysign(drawn), variance: own.variance }
}

/// Where a cell lies: logarithms of the requests at once, and of the waves that follow.
type Place = [f64; 2];

fn place(cell: Cell) -> Place {
    let at_once = f64::from(cell.concurrency());
    [at_once.ln(), (f64::from(cell.batch) / at_once).ln()]
}

/// How far apart two cells lie on the surface.
pub(super) fn distance(a: Cell, b: Cell) -> f64 {
    let ([a1, a2], [b1, b2]) = (place(a), place(b));
    (a1 - b1).hypot(a2 - b2)
}

/// The sizes of the parts, and how far the smooth one reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    smooth: f64,
    reach: f64,
    own: f64,
}

/// Candidates for each of the three, and what is expected of them beforehand: a size that is
/// a factor e off is one standard deviation less likely. Nothing is expected of the reach.
const SMOOTH: [f64; 4] = [0.04, 0.1, 0.25, 0.5];
const REACH: [f64; 4] = [0.35, 0.7, 1.4, 2.8];
const OWN: [f64; 5] = [0.01, 0.02, 0.04, 0.08, 0.15];
const EXPECTED: Shape = Shape { smooth: 0.12, reach: 1.0, own: 0.05 };

impl Shape {
    /// Of the rates of two cells, without what is each cell's own.
    fn shared(self, between: Between) -> f64 {
        let distance = between.distance / self.reach;
        let smooth = self.smooth.powi(2) * (1.0 + distance + distance * distance / 3.0) * (-distance).exp();
        between.plane + smooth
    }

    /// How unlikely the shape is before anything was observed.
    fn penalty(self) -> f64 {
        let off = |value: f64, expected: f64| 0.5 * (value / expected).ln().powi(2);
        off(self.smooth, EXPECTED.smooth) + off(self.own, EXPECTED.own)
    }
}

/// What two cells' rates share, before the shape has its say.
#[derive(Clone, Copy, Debug)]
struct Between {
    plane: f64,
    /// In units in which Matérn's covariance is the simplest.
    distance: f64,
}

impl Between {
    fn of(a: Cell, b: Cell) -> Self {
        let ([a1, a2], [b1, b2]) = (place(a), place(b));
        let plane = VAGUE * VAGUE * (1.0 + a1 * b1 + a2 * b2);
        Self { plane, distance: 5.0_f64.sqrt() * (a1 - b1).hypot(a2 - b2) }
    }
}

/// What is the same for all shapes: the observed cells, and what each shares with those before.
struct Ground<'a> {
    observed: &'a [Observed],
    mean: f64,
    logs: Vec<f64>,
    shared: Vec<Vec<Between>>,
}

impl<'a> Ground<'a> {
    fn of(observed: &'a [Observed]) -> Self {
        let mean = observed.iter().map(|o| o.log_rate).sum::<f64>() / observed.len() as f64;
        let logs = observed.iter().map(|o| o.log_rate - mean).collect();
        let until = |n: usize, a: Cell| observed.iter().take(n + 1).map(|b| Between::of(a, b.cell)).collect();
        let shared = observed.iter().enumerate().map(|(n, o)| until(n, o.cell)).collect();
        Self { observed, mean, logs, shared }
    }
}

struct Surface<'a> {
    ground: &'a Ground<'a>,
    shape: Shape,
    cholesky: Cholesky,
    white: Vec<f64>,
}

impl<'a> Surface<'a> {
    /// The most probable shape: one size after the other, twice around.
    fn fit(ground: &'a Ground<'a>) -> Option<Self> {
        let mut best = Self::of(ground, EXPECTED)?;
        for _ in 0..2 {
            let shape = best.shape;
            best = best.better(SMOOTH.map(|smooth| Shape { smooth, ..shape }));
            let shape = best.shape;
            best = best.better(REACH.map(|reach| Shape { reach, ..shape }));
            let shape = best.shape;
            best = best.better(OWN.map(|own| Shape { own, ..shape }));
        }
        Some(best)
    }

    fn better(self, shapes: impl IntoIterator<Item = Shape>) -> Self {
        let (ground, own) = (self.ground, self.shape);
        shapes
            .into_iter()
            .filter(|shape| *shape != own)
            .filter_map(|shape| Self::of(ground, shape))
            .fold(self, |best, next| if next.log_probability() > best.log_probability() { next } else { best })
    }

    fn of(ground: &'a Ground<'a>, shape: Shape) -> Option<Self> {
        let own = |i: usize| ground.observed.get(i).map_or(f64::NAN, |o| shape.own.powi(2) + o.variance);
        let cholesky = Cholesky::of(ground.observed.len(), |i, j| {
            let between = ground.shared.get(i).and_then(|row| row.get(j));
            between.map_or(f64::NAN, |between| shape.shared(*between)) + if i == j { own(i) } else { 0.0 }
        })?;
        let white = cholesky.whiten(&ground.logs);
        Some(Self { ground, shape, cholesky, white })
    }

    fn log_probability(&self) -> f64 {
        -0.5 * (dot(&self.white, &self.white) + self.cholesky.log_determinant()) - self.shape.penalty()
    }

    fn belief(&self, cell: Cell) -> Belief {
        let own = self.shape.own.powi(2);
        let covariance =
            |o: &Observed| self.shape.shared(Between::of(o.cell, cell)) + if o.cell == cell { own } else { 0.0 };
        let white = self.cholesky.whiten(&self.ground.observed.iter().map(covariance).collect::<Vec<_>>());
        let variance = self.shape.shared(Between::of(cell, cell)) + own - dot(&white, &white);
        Belief { log_rate: self.ground.mean + dot(&white, &self.white), variance: variance.max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plane in the places of the cells, seen with an error that alternates.
    fn plane(variance: f64, error: f64) -> (Vec<Observed>, impl Fn(Cell) -> f64) {
        let truth = |cell: Cell| 4.0 + 0.5 * place(cell)[0] + 0.1 * place(cell)[1];
        let cells = [1, 2, 4, 8, 16].into_iter().flat_map(|w| [1, 2, 4, 8].map(|waves| Cell::new(w, w * waves)));
        let observed = cells
            .enumerate()
            .map(|(n, cell)| {
                let sign = if n % 2 == 0 { 1.0 } else { -1.0 };
                Observed { cell, log_rate: truth(cell) + sign * error, variance }
            })
            .collect();
        (observed, truth)
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{a} is not {b}");
    }

    /// Two streams and three waves; eight streams and one wave.
    const FAR: [Cell; 2] = [Cell::new(2, 6), Cell::new(8, 8)];

    #[test]
    fn cells_lie_by_their_streams_and_waves() {
        let [streams, waves] = [4.0_f64.ln(), 3.0_f64.ln()];
        let apart = (streams * streams + waves * waves).sqrt();
        close(distance(FAR[0], FAR[1]), apart);
        close(distance(FAR[1], FAR[0]), apart);
        let between = Between::of(FAR[0], FAR[1]);
        close(between.distance, 5.0_f64.sqrt() * apart);
        close(between.plane, 4.0 * (1.0 + 2.0_f64.ln() * 8.0_f64.ln()));
        let own = Between::of(FAR[0], FAR[0]);
        assert_eq!(own.distance, 0.0);
        close(own.plane, 4.0 * (1.0 + 2.0_f64.ln().powi(2) + 3.0_f64.ln().powi(2)));
    }

    #[test]
    fn what_cells_share_fades_with_their_distance() {
        let shape = Shape { smooth: 0.5, reach: 2.0, own: 9.0 };
        let shared = |distance: f64| shape.shared(Between { plane: 3.0, distance });
        close(shared(0.0), 3.25);
        close(shared(4.0), 3.0 + 0.25 * (1.0 + 2.0 + 4.0 / 3.0) * f64::exp(-2.0));
    }

    #[test]
    fn sizes_that_are_not_expected_are_unlikely() {
        let shape = |smooth: f64, own: f64| Shape { smooth: 0.12 * smooth.exp(), reach: 9.0, own: 0.05 * own.exp() };
        close(shape(0.0, 0.0).penalty(), 0.0);
        close(shape(1.0, 0.0).penalty(), 0.5);
        close(shape(0.0, -2.0).penalty(), 2.0);
        close(shape(-1.0, 2.0).penalty(), 2.5);
    }

    #[test]
    fn a_shape_is_as_probable_as_a_normal_field_of_it_and_what_is_expected() {
        let (observed, _) = plane(0.001, 0.1);
        let ground = Ground::of(&observed);
        for shape in [EXPECTED, Shape { smooth: 0.25, reach: 0.7, own: 0.02 }] {
            let covariance = Cholesky::of(observed.len(), |i, j| {
                let shared = shape.shared(Between::of(observed[i].cell, observed[j].cell));
                shared + if i == j { shape.own * shape.own + 0.001 } else { 0.0 }
            });
            let covariance = covariance.expect("positive definite");
            let mean = observed.iter().map(|o| o.log_rate).sum::<f64>() / observed.len() as f64;
            let white = covariance.whiten(&observed.iter().map(|o| o.log_rate - mean).collect::<Vec<_>>());
            let square: f64 = white.iter().map(|x| x * x).sum();
            let expected = -(square + covariance.log_determinant()) / 2.0 - shape.penalty();
            close(Surface::of(&ground, shape).expect("positive definite").log_probability(), expected);
        }
    }

    #[test]
    fn the_most_probable_sizes_are_found() {
        // A field that waves, one that is a plane, and one in which each cell is for itself.
        let wave = |cell: Cell| 0.4 * (2.0 * place(cell)[0]).sin() * (1.5 * place(cell)[1]).cos();
        let own = |cell: Cell| 0.1 * f64::from(cell.batch * 7 % 5) - 0.2;
        let fields: [(&dyn Fn(Cell) -> f64, f64); 3] = [(&wave, 1e-3), (&|_| 0.0, 1e-3), (&own, 1e-3)];
        let mut found = Vec::new();
        for (field, error) in fields {
            let (mut observed, _) = plane(error * error, error);
            observed.iter_mut().for_each(|o| o.log_rate += field(o.cell));
            let ground = Ground::of(&observed);
            let surface = Surface::fit(&ground).expect("positive definite");
            let shape = surface.shape;
            let others = SMOOTH.map(|smooth| Shape { smooth, ..shape }).into_iter();
            let others = others.chain(REACH.map(|reach| Shape { reach, ..shape }));
            for other in others.chain(OWN.map(|own| Shape { own, ..shape })) {
                let other = Surface::of(&ground, other).expect("positive definite");
                assert!(other.log_probability() <= surface.log_probability(), "{:?} {shape:?}", other.shape);
            }
            found.push(shape);
        }
        assert!(found[0].smooth > found[1].smooth && found[2].own > found[1].own, "{found:?}");
    }

    #[test]
    fn only_the_fastest_of_very_many_cells_are_on_the_surface() {
        let at = |n: u32| Cell::new(n % 12 + 1, (n % 12 + 1) * (n / 12 + 1));
        let rate = |n: u32| 4.0 - 0.001 * f64::from(n) + 0.05 * f64::from(n % 2);
        let observed: Vec<Observed> =
            (0..132).map(|n| Observed { cell: at(n), log_rate: rate(n), variance: 0.01 }).collect();
        let mut slowest = observed.clone();
        slowest.sort_by(|a, b| b.log_rate.total_cmp(&a.log_rate));
        let cells: Vec<Cell> = slowest.iter().map(|o| o.cell).collect();
        let own = |o: &Observed| Some(Belief { log_rate: o.log_rate, variance: 0.01 });
        let beliefs = beliefs(&observed, &cells);
        assert!((0..128).all(|n| beliefs[n] != own(&slowest[n])));
        assert!((128..132).all(|n| beliefs[n] == own(&slowest[n])));
    }

    #[test]
    fn neighbours_correct_what_noise_did() {
        let (observed, truth) = plane(0.05 * 0.05, 0.05);
        let cells: Vec<Cell> = observed.iter().map(|o| o.cell).collect();
        for (cell, belief) in cells.iter().zip(beliefs(&observed, &cells)) {
            let belief = belief.expect("observed");
            assert!((belief.log_rate - truth(*cell)).abs() < 0.035, "{cell}: {belief:?}");
            assert!(belief.variance <= 0.05 * 0.05);
        }
    }

    #[test]
    fn a_cell_that_stands_out_is_not_drawn_far() {
        let (mut observed, _) = plane(0.02 * 0.02, 0.01);
        observed[7].log_rate += 0.3;
        let belief = beliefs(&observed, &[observed[7].cell])[0].expect("observed");
        let drawn = observed[7].log_rate - belief.log_rate;
        assert!((0.0..=FARTHEST * 0.02 + 1e-12).contains(&drawn), "{drawn}");
    }

    #[test]
    fn exact_observations_stay_what_they_are() {
        let (mut observed, _) = plane(1e-8, 0.0);
        observed[7].log_rate += 0.2;
        let belief = beliefs(&observed, &[observed[7].cell])[0].expect("observed");
        assert!((belief.log_rate - observed[7].log_rate).abs() < 1e-3);
    }

    #[test]
    fn a_cell_that_was_not_measured_is_expected_with_doubt() {
        let (mut observed, truth) = plane(1e-4, 0.005);
        let missing = observed.remove(9);
        let [belief, measured] = beliefs(&observed, &[missing.cell, observed[8].cell])[..] else { panic!("two") };
        let (belief, measured) = (belief.expect("a surface"), measured.expect("a surface"));
        assert!((belief.log_rate - truth(missing.cell)).abs() < 3.0 * belief.variance.sqrt());
        assert!(belief.variance > measured.variance);
    }

    #[test]
    fn few_cells_stand_for_themselves() {
        let (mut observed, _) = plane(0.01, 0.1);
        observed.truncate(2);
        let [first, other] = [observed[0], observed[1]];
        let believed = beliefs(&observed[..1], &[first.cell, other.cell]);
        assert_eq!(believed, [Some(Belief { log_rate: first.log_rate, variance: 0.01 }), None]);
    }
}
