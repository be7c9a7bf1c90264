//! Beliefs against each other, and what is named of them.

use super::*;

const ONE: Cell = Cell::new(1, 4);
const TWO: Cell = Cell::new(2, 4);

/// Two beliefs that are 0.03 apart; their difference has a deviation of 0.05.
fn beliefs() -> BTreeMap<Cell, Belief> {
    [
        (ONE, Belief { log_rate: 1.0, variance: 0.03_f64.powi(2) }),
        (TWO, Belief { log_rate: 1.03, variance: 0.04_f64.powi(2) }),
    ]
    .into()
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

#[test]
fn two_beliefs_are_compared_by_their_difference() {
    let beliefs = beliefs();
    let field = Field::of(&beliefs, vec![ONE, TWO]);
    close(field.better(TWO, ONE), normal_below(0.6));
    close(field.better(ONE, TWO), normal_below(-0.6));
    close(field.as_good(ONE, TWO), normal_below((-0.03 - 0.99_f64.ln()) / 0.05));
    let unknown = Cell::new(9, 9);
    assert_eq!((field.better(ONE, unknown), field.as_good(unknown, ONE)), (0.0, 0.0));
}

#[test]
fn a_named_cell_has_a_rate_and_an_interval() {
    let beliefs = beliefs();
    let named = Field::of(&beliefs, vec![ONE, TWO]).name(ONE);
    close(named.tokens_per_second, 1.0_f64.exp());
    let half_width = 0.03 * normal_quantile(0.975);
    close(named.interval.lower, (1.0 - half_width).exp());
    close(named.interval.upper, (1.0 + half_width).exp());
    assert_eq!(named.tied, [ONE, TWO]);
}

#[test]
fn the_frugal_cell_stays_while_it_is_tied_and_no_cheaper_one_is_surely_as_good() {
    let mut beliefs = beliefs();
    let frugal = |beliefs: &BTreeMap<Cell, Belief>, published| {
        let field = Field::of(beliefs, beliefs.keys().copied().collect());
        field.frugal(&field.best(None).expect("believed"), published).cell
    };
    assert_eq!(frugal(&beliefs, None), ONE);
    assert_eq!(frugal(&beliefs, Some(TWO)), TWO);
    assert_eq!(frugal(&beliefs, Some(Cell::new(9, 9))), ONE, "it is known no more");
    // Now the cheaper one is better.
    beliefs.insert(ONE, Belief { log_rate: 1.1, variance: 0.03_f64.powi(2) });
    assert_eq!(frugal(&beliefs, Some(TWO)), ONE);
}

#[test]
fn of_exactly_equal_rates_the_smaller_cell_is_named() {
    let belief = Belief { log_rate: 1.0, variance: 0.01 };
    let beliefs = [(ONE, belief), (TWO, belief)].into();
    assert_eq!(Field::of(&beliefs, vec![ONE, TWO]).best(None).expect("believed").cell, ONE);
}

/// That each belief is within 1 % of the highest: sums over a fine grid that reaches far.
fn summed(beliefs: &[Belief]) -> Vec<f64> {
    const STEPS: i32 = 4_000;
    let slack = -AS_GOOD.ln();
    let of = |index: usize| {
        let own = beliefs[index];
        let at = |step: i32| {
            let z = 18.0 * f64::from(step) / f64::from(STEPS) - 9.0;
            let below = |other: &Belief| {
                normal_below((own.log_rate + z * own.variance.sqrt() + slack - other.log_rate) / other.variance.sqrt())
            };
            let others = beliefs.iter().enumerate().filter(|(other, _)| *other != index);
            (-0.5 * z * z).exp() * others.map(|(_, other)| below(other)).product::<f64>()
        };
        (0..=STEPS).map(at).sum::<f64>() * 18.0 / f64::from(STEPS) / std::f64::consts::TAU.sqrt()
    };
    (0..beliefs.len()).map(of).collect()
}

#[test]
fn a_belief_is_as_good_as_the_best_with_the_probability_of_the_whole_integral() {
    let check = |beliefs: &[(f64, f64)]| {
        let belief = |&(log_rate, deviation): &(f64, f64)| Belief { log_rate, variance: deviation * deviation };
        let beliefs: Vec<Belief> = beliefs.iter().map(belief).collect();
        for (found, expected) in as_good_as_the_best(&beliefs).iter().zip(summed(&beliefs)) {
            assert!((found - expected).abs() < 2e-6, "{found} is not {expected}: {beliefs:?}");
        }
    };
    check(&[(5.0, 0.03), (5.02, 0.04)]);
    check(&[(-5.0, 0.03), (-5.02, 0.04), (-4.99, 0.01)]);
    check(&[(0.0, 0.01), (0.05, 0.02), (0.0, 0.05), (-0.3, 0.06)]);
    // One that is well known, and one that is not.
    check(&[(3.0, 0.005), (3.0, 0.1)]);
    check(&[(3.0, 0.02), (2.0, 0.02)]);
    check(&[(3.0, 0.02)]);
}

#[test]
fn a_steady_rate_that_is_higher_by_no_more_than_it_scatters_is_no_disagreement() {
    let grid = Grid::new(&[1, 2], &[4], true).expect("sound");
    let steady = |rate| CellService { steady_tokens_per_second: Some(rate), ..CellService::default() };
    let check = |rates: [f64; 2], expected: bool| {
        let beliefs = beliefs();
        let estimates = RateEstimates::of(&[(ONE, vec![100.0]), (TWO, vec![100.0])].into());
        let deviation = (2.0 * estimates.get(ONE).expect("was measured").log_variance).sqrt();
        let [named, other] = rates.map(|deviations| 100.0 * (deviations * deviation).exp());
        let contest = Contest {
            grid: &grid,
            rates: &estimates,
            services: &[(ONE, steady(named)), (TWO, steady(other / AS_GOOD))].into(),
            service_level: ServiceLevel::default(),
            warned_rows: &BTreeSet::new(),
            published: None,
        };
        let told = super::steady(&contest, &Field::of(&beliefs, vec![ONE, TWO]), ONE).expect("both have one");
        assert_eq!((told.cell, told.disagrees), (TWO, expected), "{rates:?}");
    };
    // Nine in ten are 1.2816 deviations.
    check([0.0, 1.29], true);
    check([0.0, 1.27], false);
    check([2.0, 3.29], true);
    check([2.0, 3.27], false);
}
