//! The noise beside closed forms, and beside covariances that are written down.

use super::*;

/// Numbers that look normal: quantiles, in an order that does not repeat.
fn scrambled(count: usize, scale: f64, shift: usize) -> LogRates {
    let probability = |n: usize| ((n * 37 + shift * 11) % 101) as f64;
    (0..count).map(|n| scale * super::super::interval::normal_quantile((probability(n) + 0.5) / 101.0)).collect()
}

#[test]
fn cells_tell_their_noise_together() {
    let cells: Vec<LogRates> = (0..30).map(|cell| scrambled(5, 0.02, cell)).collect();
    let noise = pool(&cells);
    assert!((noise.scale - 0.02).abs() < 0.004, "{noise:?}");
    assert!(noise.cells.iter().all(|cell| cell.freedom > 20.0), "{noise:?}");
}

#[test]
fn an_outlier_moves_neither_centre_nor_noise_far() {
    let mut cells: Vec<LogRates> = (0..30).map(|cell| scrambled(5, 0.02, cell)).collect();
    let before = pool(&cells);
    cells[3][2] -= 1.0;
    let after = pool(&cells);
    assert!((after.scale / before.scale - 1.0).abs() < 0.1);
    assert!((after.cells[3].centre - before.cells[3].centre).abs() < 0.02);
}

#[test]
fn a_slow_drift_is_remembered() {
    let drifting = |cell: usize| (0..20).map(|n| 0.02 * (f64::from(n) / 3.0 + cell as f64).sin()).collect();
    let noise = pool(&(0..10).map(drifting).collect::<Vec<LogRates>>());
    assert!(noise.autocorrelation > 0.7, "{noise:?}");
}

#[test]
fn what_was_never_repeated_has_the_assumed_noise() {
    let noise = pool(&[vec![1.0], vec![2.0]]);
    assert!((noise.scale - ASSUMED_SCALE).abs() < 1e-9);
    assert_eq!(noise.cells[0].freedom, ASSUMED_FREEDOM);
    assert_eq!(pool(&[]).cells, []);
}

#[test]
fn the_sums_of_few_correlated_values_are_as_expected() {
    // White: the mean takes one degree of freedom, and its share of each product.
    let (squares, products) = expected_sums(5, 0.0);
    assert!((squares - 4.0).abs() < 1e-12 && (products + 0.8).abs() < 1e-12, "{squares} {products}");
    // Two values: all is their difference, (1 - φ) of it.
    let (squares, products) = expected_sums(2, 0.5);
    assert!((squares - 0.5).abs() < 1e-12 && (products + 0.25).abs() < 1e-12);
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{a} is not {b}");
}

/// What of the covariance of `n` values of an AR(1) series is left without their mean.
fn centred(n: usize, autocorrelation: f64) -> Vec<Vec<f64>> {
    let covariance = |a: usize, b: usize| autocorrelation.powf((a as f64 - b as f64).abs());
    let row = |a: usize| (0..n).map(|b| covariance(a, b)).sum::<f64>() / n as f64;
    let all = (0..n).map(row).sum::<f64>() / n as f64;
    (0..n).map(|a| (0..n).map(|b| covariance(a, b) - row(a) - row(b) + all).collect()).collect()
}

#[test]
fn expected_sums_are_those_of_the_covariance_without_the_mean() {
    for (n, autocorrelation) in [(1, 0.5), (2, 0.3), (4, 0.9), (7, 0.6)] {
        let left = centred(n, autocorrelation);
        let (squares, products) = expected_sums(n, autocorrelation);
        close(squares, (0..n).map(|t| left[t][t]).sum());
        close(products, (1..n).map(|t| left[t - 1][t]).sum());
    }
    assert_eq!(expected_sums(0, 0.5), (0.0, 0.0));
}

#[test]
fn the_first_guess_is_the_usual_difference_of_neighbours() {
    close(start_scale(&[vec![0.0, 0.1, -0.4], vec![9.0, 9.3]]), 1.4826 * 0.3 / 2.0_f64.sqrt());
    assert_eq!(start_scale(&[vec![1.0], vec![2.0]]), LEAST_SCALE);
    assert_eq!(start_scale(&[vec![2.0, 2.0]]), LEAST_SCALE);
}

#[test]
fn residuals_are_clipped_about_a_centre_of_clipped_residuals() {
    let mut cell = Work::new(&[1.0, 2.0, 3.0, 9.0, -1.0]);
    assert_eq!(cell.centre, 2.0);
    cell.variance = 4.0;
    // Residuals of −1, 0, 1, 3 and −3 about 2; then a centre that is 0.2 higher.
    cell.rates = &[1.0, 2.0, 4.0, 9.0, 1.0];
    cell.clip();
    close(cell.centre, 2.0 + 3.0 / 5.0);
    let residuals = [-1.6, -0.6, 1.4, 3.0, -1.6];
    close(cell.squares, residuals.iter().map(|r| r * r).sum());
    close(cell.products, 1.6 * 0.6 - 0.6 * 1.4 + 1.4 * 3.0 - 3.0 * 1.6);
    let mut none = Work::new(&[]);
    none.clip();
    assert_eq!((none.centre, none.squares, none.products), (0.0, 0.0, 0.0));
}

#[test]
fn a_cell_is_judged_by_what_its_squares_are_expected_to_be() {
    let mut cell = Work { squares: 0.02, ..Work::new(&[1.0; 7]) };
    cell.judge(0.6);
    close(cell.own, 0.02 / (0.7785 * expected_sums(7, 0.6).0));
    close(cell.freedom, 6.0 * (0.64 / 1.36) * 0.725);
    cell.squares = 0.0;
    cell.judge(0.0);
    close(cell.own, 1e-8);
    close(cell.freedom, 6.0 * 0.725);
    let mut once = Work::new(&[1.0]);
    once.judge(0.6);
    assert_eq!(once.freedom, 0.0);
    assert!(!once.is_repeated() && cell.is_repeated() && Work::new(&[1.0; 2]).is_repeated());
}

#[test]
fn the_autocorrelation_is_the_one_that_is_expected_to_show_these_products() {
    let cell = |rates: &'static [f64], variance: f64, autocorrelation: f64, weight: f64| {
        let (squares, products) = expected_sums(rates.len(), autocorrelation);
        let weight = weight * variance.sqrt();
        Work { variance, squares: weight * squares, products: weight * products, ..Work::new(rates) }
    };
    for expected in [0.2, 0.6] {
        // Cells count alike, however much they move; a cell that was not repeated not at all.
        let cells = [
            cell(&[0.0; 7], 4.0, expected, 1.0),
            cell(&[0.0; 7], 0.25, expected, 1.0),
            cell(&[0.0; 4], 9.0, expected, 1.0),
            Work { variance: 1.0, squares: 5.0, products: 5.0, ..Work::new(&[1.0]) },
        ];
        assert!((match_autocorrelation(&cells) - expected).abs() < 1e-8, "{expected}");
    }
    assert!((match_autocorrelation(&[cell(&[0.0; 7], 1.0, 0.97, 1.0)]) - 0.9).abs() < 1e-8);
    assert!(match_autocorrelation(&[cell(&[0.0; 7], 1.0, -0.5, 1.0)]) < 1e-8);
    assert_eq!(match_autocorrelation(&[cell(&[0.0; 7], 1.0, 0.5, 0.0)]), 0.0);
    assert_eq!(match_autocorrelation(&[]), 0.0);
}

/// Judged cells: their own variance, as a logarithm, and its degrees of freedom.
fn judged(cells: &[(f64, f64)]) -> Vec<Work<'static>> {
    cells.iter().map(|&(log, freedom)| Work { own: log.exp(), freedom, ..Work::new(&[0.0; 9]) }).collect()
}

#[test]
fn few_cells_are_expected_to_be_alike() {
    let mut cells = judged(&[(-7.0, 6.0), (-6.0, 2.0), (-2.0, 0.9)]);
    cells.push(Work { own: 99.0, freedom: 0.0, ..Work::new(&[1.0]) });
    let prior = Prior::of(&cells);
    let pooled = 6.0 * f64::exp(-7.0) + 2.0 * f64::exp(-6.0) + 0.9 * f64::exp(-2.0);
    close(prior.variance, (pooled + 4.0 * 0.0009) / 12.9);
    close(prior.freedom, 12.9);
    close(prior.total, 12.9);
}

#[test]
fn cells_that_differ_more_than_their_samples_explain_are_expected_to() {
    // Of two degrees of freedom, the logarithm of a variance has a bias of −γ and a variance
    // of π²/6; of four, a bias of 1 − γ − ln 2.
    for offsets in [&[-1.0, 0.0, 1.0][..], &[-1.0, -1.0, 1.0, 1.0]] {
        let count = offsets.len() as f64;
        let explained = std::f64::consts::PI.powi(2) / 6.0 * (1.0 + 1.0 / count.sqrt());
        // Four degrees of freedom are expected where this much is left.
        let scatter = explained + 2.0 / 3.0;
        let unit = offsets.iter().map(|offset| offset * offset).sum::<f64>() / (count - 1.0);
        let log = |offset: &f64| -7.0 + offset * (scatter / unit).sqrt();
        let mut cells: Vec<(f64, f64)> = offsets.iter().map(|offset| (log(offset), 2.0)).collect();
        // Too few samples for a variance of its own.
        cells.push((-9.0, 0.5));
        let prior = Prior::of(&judged(&cells));
        let known = 2.0 * count + 0.5 + 4.0;
        let pooled = cells.iter().map(|(log, freedom)| freedom * log.exp()).sum::<f64>();
        let alike = (pooled + 4.0 * 0.0009) / known;
        let typical = f64::exp(-7.0 + 1.0 - 2.0_f64.ln());
        let share = 4.0 / known;
        // As good as the series of log_variance.
        assert!((prior.freedom - 4.0).abs() < 1e-6, "{}", prior.freedom);
        close(prior.total, known);
        let expected = share * alike.ln() + (1.0 - share) * typical.ln();
        assert!((prior.variance.ln() - expected).abs() < 1e-6, "{} is not {expected}", prior.variance.ln());
    }
}

#[test]
fn cells_that_differ_by_no_more_than_chance_are_expected_to_be_alike() {
    let prior = Prior::of(&judged(&[(-7.0, 2.0), (-7.1, 2.0), (-6.9, 2.0)]));
    assert_eq!((prior.freedom, prior.total), (10.0, 10.0));
    let pooled = 2.0 * [-7.0, -7.1, -6.9].map(f64::exp).iter().sum::<f64>();
    close(prior.variance, (pooled + 4.0 * 0.0009) / 10.0);
}

#[test]
fn a_cell_is_drawn_towards_what_is_expected_of_it() {
    let prior = Prior { variance: 0.04, freedom: 6.0, total: 7.5 };
    let cell = |own: f64, freedom: f64| Work { own, freedom, ..Work::new(&[0.0; 9]) };
    let (variance, freedom) = prior.moderate(&cell(0.01, 2.0));
    close(variance, (6.0 * 0.04 + 2.0 * 0.01) / 8.0);
    close(freedom, 7.5);
    assert_eq!(prior.moderate(&cell(0.01, 1.0)).1, 7.0);
    close(Prior { variance: 0.0, ..prior }.moderate(&cell(0.0, 2.0)).0, 1e-8);
}

#[test]
fn pairs_say_nothing_of_memory() {
    for autocorrelation in [0.0, 0.3, 0.6, 0.9] {
        let (squares, products) = expected_sums(2, autocorrelation);
        close(products / squares, -0.5);
    }
    for seed in 0..20 {
        let pair = |cell: usize| scrambled(2, 0.02, 3 * cell + seed);
        let mut cells: Vec<LogRates> = (0..6).map(pair).chain([vec![1.0]]).collect();
        assert_eq!(pool(&cells).autocorrelation, 0.3, "{cells:?}");
        cells.push(vec![0.0, 0.01, 0.03]);
        assert_ne!(pool(&cells).autocorrelation, 0.3, "three do");
    }
    assert_eq!(pool(&[vec![1.0], vec![2.0]]).autocorrelation, 0.0, "was never repeated");
}

#[test]
fn a_centre_is_as_unsure_as_the_mean_of_correlated_values_and_a_little_more() {
    let drifting = |cell: usize| (0..3 + cell).map(|n| 0.02 * (n as f64 / 2.0 + cell as f64).sin()).collect();
    let noise = pool(&(0..8).map(drifting).collect::<Vec<LogRates>>());
    assert!((0.1..0.9).contains(&noise.autocorrelation), "{noise:?}");
    for (cell, n) in noise.cells.iter().zip(3_usize..) {
        let pairs = (0..n).flat_map(|a| (0..n).map(move |b| a.abs_diff(b)));
        let sum: f64 = pairs.map(|lag| noise.autocorrelation.powf(lag as f64)).sum();
        close(cell.centre_variance, cell.scale.powi(2) * sum / (n * n) as f64 / 0.964);
    }
    close(pool(&[vec![1.0]]).cells[0].centre_variance, 0.0009 / 0.964);
}

#[test]
fn the_noise_does_not_depend_on_the_levels_of_cells() {
    let cells: Vec<LogRates> = (0..6).map(|cell| scrambled(4 + cell, 0.02, cell)).collect();
    let level = |cell: usize| 3.0 - cell as f64;
    let lifted: Vec<LogRates> = (0..6).map(|cell| cells[cell].iter().map(|log| log + level(cell)).collect()).collect();
    let (noise, lifted) = (pool(&cells), pool(&lifted));
    close(lifted.scale, noise.scale);
    close(lifted.autocorrelation, noise.autocorrelation);
    for (n, (there, here)) in lifted.cells.iter().zip(&noise.cells).enumerate() {
        close(there.centre - level(n), here.centre);
        close(there.scale, here.scale);
    }
}

#[test]
fn further_rounds_change_nothing() {
    let cells: Vec<LogRates> = (0..6).map(|cell| scrambled(4 + cell, 0.01 + 0.01 * cell as f64, cell)).collect();
    let mut work: Vec<Work<'_>> = cells.iter().map(|rates| Work::new(rates)).collect();
    work.iter_mut().for_each(|cell| cell.variance = 1.0);
    let (autocorrelation, prior) = (0..99).map(|_| round(&mut work)).last().expect("a round");
    let noise = pool(&cells);
    assert!((noise.scale / prior.variance.sqrt() - 1.0).abs() < 1e-4, "{noise:?}");
    assert!((noise.autocorrelation - autocorrelation).abs() < 1e-4, "{noise:?}");
}

#[test]
fn trigamma_is_that_of_the_tables() {
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
    let square = std::f64::consts::PI.powi(2);
    close(log_variance(1.0), square / 2.0);
    close(log_variance(2.0), square / 6.0);
    close(log_variance(12.0), square / 6.0 - (1..6).map(|n| f64::from(n * n).recip()).sum::<f64>());
    close(log_variance(20.0), square / 6.0 - (1..10).map(|n| f64::from(n * n).recip()).sum::<f64>());
}
