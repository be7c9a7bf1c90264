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
