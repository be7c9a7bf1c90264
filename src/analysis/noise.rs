//! How much the repeats of a cell scatter, and for how long they remember: pooled over a target.
//!
//! A cell has few samples and its samples are autocorrelated (the machine's heat and clock
//! drift), so no cell can tell its own noise well. All cells of a target can. Everything
//! here is of logarithms: scales are relative.

use statrs::function::gamma::digamma;

/// The logarithms of one cell's token rates, the oldest first.
pub type LogRates = Vec<f64>;

/// What is assumed of a target before anything was repeated: relative standard deviation,
/// and how many degrees of freedom that assumption is worth.
const ASSUMED_SCALE: f64 = 0.03;
const ASSUMED_FREEDOM: f64 = 4.0;
/// And of its memory, while no cell has three samples: as much as it takes for intervals to hold
/// where samples remember half of the one before.
const ASSUMED_AUTOCORRELATION: f64 = 0.3;
/// Residuals count up to this many scales: an outlier is seen, and weighs no more than that.
const CLIP: f64 = 1.5;
/// Mean square of a standard normal clipped at [`CLIP`].
const CLIPPED_MEAN_SQUARE: f64 = 0.7785;
/// What a degree of freedom is worth after the clipping: the efficiency of the scale.
const CLIPPED_EFFICIENCY: f64 = 0.725;
/// The same of the centre: its variance against a mean's.
const CLIPPED_CENTRE_EFFICIENCY: f64 = 0.964;
/// No more memory is believed: near 1 a mean cannot be told from a drift.
const MOST_AUTOCORRELATION: f64 = 0.9;
/// Clock resolution and the like: no cell is quieter.
const LEAST_SCALE: f64 = 1e-4;
const ROUNDS: usize = 12;

/// The noise of a target, and of each of its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// Relative standard deviation of one sample of a usual cell.
    pub scale: f64,
    /// Of successive samples of a cell: 0 white, towards 1 a slow drift.
    pub autocorrelation: f64,
    /// In the order of the cells that were given.
    pub cells: Vec<CellNoise>,
}

/// The noise of one cell: its own repeats and the target's, each with its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellNoise {
    /// The middle of the residuals: Huber's M-estimate, nearly as sharp as a mean and
    /// indifferent to how far off an outlier is.
    pub centre: f64,
    /// Variance of the centre.
    pub centre_variance: f64,
    /// Relative standard deviation of one sample.
    pub scale: f64,
    /// Degrees of freedom of that number.
    pub freedom: f64,
}

/// Pools the noise over the cells.
///
/// Scale: Huber's proposal 2 (residuals clipped about a centre of clipped residuals) in each
/// cell, then moderated over the cells: Smyth, "Linear Models and Empirical Bayes Methods for
/// Assessing Differential Expression" (2004), where cells are genes. Autocorrelation: the
/// lag-one ratio of the clipped residuals of all cells, matched to what it is expected to be
/// for AR(1) series so short that their own mean was taken off.
pub fn pool(cells: &[LogRates]) -> Noise {
    let mut work: Vec<Work> = cells.iter().map(|rates| Work::new(rates)).collect();
    let start = start_scale(cells);
    work.iter_mut().for_each(|cell| cell.variance = start * start);
    let (mut autocorrelation, mut prior) = round(&mut work);
    for _ in 1..ROUNDS {
        (autocorrelation, prior) = round(&mut work);
    }
    let judged = |cell: &Work<'_>| {
        let (variance, freedom) = prior.moderate(cell);
        let (squares, _) = expected_sums(cell.rates.len(), autocorrelation);
        let of_mean = 1.0 - squares / cell.rates.len().max(1) as f64;
        let centre_variance = variance * of_mean / CLIPPED_CENTRE_EFFICIENCY;
        CellNoise { centre: cell.centre, centre_variance, scale: variance.sqrt(), freedom }
    };
    Noise { scale: prior.variance.sqrt(), autocorrelation, cells: work.iter().map(judged).collect() }
}

/// One round: each cell's variance from what all of them say of it, with the autocorrelation and
/// what was expected beforehand.
fn round(work: &mut [Work<'_>]) -> (f64, Prior) {
    work.iter_mut().for_each(Work::clip);
    let autocorrelation = match_autocorrelation(work);
    work.iter_mut().for_each(|cell| cell.judge(autocorrelation));
    let prior = Prior::of(work);
    work.iter_mut().for_each(|cell| cell.variance = prior.moderate(cell).0);
    (autocorrelation, prior)
}

/// A first guess: the median of the absolute differences of neighbours.
fn start_scale(cells: &[LogRates]) -> f64 {
    let differences: Vec<f64> =
        cells.iter().flat_map(|rates| rates.iter().zip(rates.iter().skip(1)).map(|(a, b)| (a - b).abs())).collect();
    let deviation = super::step::MEDIAN_TO_DEVIATION * super::quantile::median(&differences).unwrap_or(0.0);
    (deviation / std::f64::consts::SQRT_2).max(LEAST_SCALE)
}

/// One cell on the way to its noise.
struct Work<'a> {
    rates: &'a [f64],
    centre: f64,
    variance: f64,
    /// Sums over the clipped residuals: of squares, and of products of neighbours.
    squares: f64,
    products: f64,
    /// The cell's own variance with its degrees of freedom.
    own: f64,
    freedom: f64,
}

impl<'a> Work<'a> {
    fn new(rates: &'a [f64]) -> Self {
        let centre = super::quantile::median(rates).unwrap_or(0.0);
        Self { rates, centre, variance: 0.0, squares: 0.0, products: 0.0, own: 0.0, freedom: 0.0 }
    }

    fn is_repeated(&self) -> bool {
        self.rates.len() > 1
    }

    fn clip(&mut self) {
        let bound = CLIP * self.variance.sqrt();
        let clipped =
            |centre: f64| -> Vec<f64> { self.rates.iter().map(|x| (x - centre).clamp(-bound, bound)).collect() };
        let residuals = clipped(self.centre);
        self.centre += residuals.iter().sum::<f64>() / residuals.len().max(1) as f64;
        let residuals = clipped(self.centre);
        self.squares = residuals.iter().map(|r| r * r).sum();
        self.products = residuals.iter().zip(residuals.iter().skip(1)).map(|(a, b)| a * b).sum();
    }

    fn judge(&mut self, autocorrelation: f64) {
        let n = self.rates.len();
        let (squares, _) = expected_sums(n, autocorrelation);
        self.own = (self.squares / (CLIPPED_MEAN_SQUARE * squares).max(f64::MIN_POSITIVE)).max(LEAST_SCALE.powi(2));
        // Correlated squares are worth fewer independent ones.
        let worth = (1.0 - autocorrelation.powi(2)) / (1.0 + autocorrelation.powi(2));
        self.freedom = n.saturating_sub(1) as f64 * worth * CLIPPED_EFFICIENCY;
    }
}

/// What the sums of squares and of products of neighbours are expected to be for `n` values of
/// an AR(1) series of variance 1, less their own mean.
fn expected_sums(n: usize, autocorrelation: f64) -> (f64, f64) {
    let powers: Vec<f64> = std::iter::successors(Some(1.0), |power| Some(power * autocorrelation)).take(n).collect();
    // Covariance of each value with the mean: the series seen from it, to both sides.
    let with_mean: Vec<f64> = (0..n)
        .map(|t| {
            let before: f64 = powers.iter().take(t + 1).sum();
            let after: f64 = powers.iter().take(n - t).sum();
            (before + after - 1.0) / n as f64
        })
        .collect();
    let of_mean = with_mean.iter().sum::<f64>() / n.max(1) as f64;
    let squares = n as f64 * (1.0 - of_mean);
    let neighbours: f64 = with_mean.iter().zip(with_mean.iter().skip(1)).map(|(a, b)| a + b).sum();
    let products = n.saturating_sub(1) as f64 * (autocorrelation + of_mean) - neighbours;
    (squares, products)
}

fn match_autocorrelation(cells: &[Work<'_>]) -> f64 {
    let (mut squares, mut products) = (0.0, 0.0);
    for cell in cells.iter().filter(|cell| cell.is_repeated()) {
        squares += cell.squares / cell.variance.sqrt();
        products += cell.products / cell.variance.sqrt();
    }
    if squares <= 0.0 {
        return 0.0;
    }
    // Cells of one length are alike.
    let mut lengths = std::collections::BTreeMap::new();
    for cell in cells.iter().filter(|cell| cell.is_repeated()) {
        *lengths.entry(cell.rates.len()).or_insert(0.0) += 1.0;
    }
    // Less their mean two values are one difference, whatever they remember.
    if lengths.keys().all(|&n| n == 2) {
        return ASSUMED_AUTOCORRELATION;
    }
    let expected = |autocorrelation: f64| {
        let sums = lengths.iter().map(|(&n, &count)| (expected_sums(n, autocorrelation), count));
        let (squares, products) =
            sums.fold((0.0, 0.0), |(s, p), ((squares, products), count)| (s + squares * count, p + products * count));
        products / squares
    };
    let seen = products / squares;
    let (mut low, mut high) = (0.0, MOST_AUTOCORRELATION);
    for _ in 0..30 {
        let middle = 0.5 * (low + high);
        if expected(middle) < seen { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// What a cell's variance is expected to be before its own samples are heard.
struct Prior {
    variance: f64,
    freedom: f64,
    /// Degrees of freedom of all cells together: nothing is known better.
    total: f64,
}

impl Prior {
    fn of(cells: &[Work<'_>]) -> Self {
        let repeated = || cells.iter().filter(|cell| cell.is_repeated());
        let total: f64 = repeated().map(|cell| cell.freedom).sum();
        let pooled: f64 = repeated().map(|cell| cell.freedom * cell.own).sum::<f64>() / total.max(f64::MIN_POSITIVE);
        let known = total + ASSUMED_FREEDOM;
        let homogeneous = (ASSUMED_FREEDOM * ASSUMED_SCALE.powi(2) + total * pooled) / known;
        // How much more the cells' logarithms of variance scatter than their few samples explain.
        let judged: Vec<(f64, f64)> =
            repeated().filter(|cell| cell.freedom >= 1.0).map(|c| (c.own.ln(), c.freedom)).collect();
        let count = judged.len() as f64;
        if count < 3.0 {
            return Self { variance: homogeneous, freedom: known, total: known };
        }
        let bias = |freedom: f64| digamma(freedom / 2.0) - (freedom / 2.0).ln();
        let mean = judged.iter().map(|&(log, freedom)| log - bias(freedom)).sum::<f64>() / count;
        let scatter =
            judged.iter().map(|&(log, freedom)| (log - bias(freedom) - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let explained = judged.iter().map(|&(_, freedom)| log_variance(freedom)).sum::<f64>() / count;
        let freedom =
            (1.0 + 2.0 / (scatter - explained * (1.0 + 1.0 / count.sqrt())).max(f64::MIN_POSITIVE)).min(known);
        let typical = (mean + bias(freedom)).exp();
        let share = (freedom / known).min(1.0);
        // With few cells, or none that differ, the plain pool is the better guess.
        let variance = (share * homogeneous.ln() + (1.0 - share) * typical.ln()).exp();
        Self { variance, freedom, total: known }
    }

    /// Variance and degrees of freedom of a cell.
    fn moderate(&self, cell: &Work<'_>) -> (f64, f64) {
        let freedom = self.freedom + cell.freedom;
        let variance = (self.freedom * self.variance + cell.freedom * cell.own) / freedom;
        (variance.max(LEAST_SCALE.powi(2)), freedom.min(self.total))
    }
}

/// The variance of the logarithm of a variance of that many degrees of freedom: trigamma of
/// half of them, by its recurrence and its asymptotic series.
fn log_variance(freedom: f64) -> f64 {
    let (mut x, mut sum) = (freedom / 2.0, 0.0);
    while x < 6.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    sum + 1.0 / x + 1.0 / (2.0 * x * x) + 1.0 / (6.0 * x.powi(3)) - 1.0 / (30.0 * x.powi(5))
}

#[cfg(test)]
#[path = "noise_tests.rs"]
mod tests;
