//! Where values and batches stand on a card.

use super::canvas::{Anchor, Area, Canvas, Ink, LABEL_SIZE, text_width};
use super::palette;

/// About how many steps a value axis has.
const STEPS: f64 = 4.0;
/// A bound for values so close that adding a step changes nothing.
const MOST_LABELS: usize = 8;
/// What is kept free between two labels, as a text of that width.
const LABEL_GAP: &str = "0";

/// A value axis from zero over round steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ValueAxis {
    step: f64,
    steps: u32,
}

impl ValueAxis {
    /// An axis that holds every value up to `highest`.
    pub(super) fn up_to(highest: f64) -> Self {
        let highest = if highest.is_finite() && highest > 0.0 { highest } else { 1.0 };
        let step = round_step(highest / STEPS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a step is at least a quarter")]
        let steps = (highest / step - 1e-9).ceil() as u32;
        Self { step, steps: steps.max(1) }
    }

    pub(super) fn top(self) -> f64 {
        self.step * f64::from(self.steps)
    }

    /// The round values of the axis with their labels, from zero.
    pub(super) fn ticks(self) -> impl Iterator<Item = (f64, String)> {
        (0..=self.steps).map(move |tick| {
            let value = self.step * f64::from(tick);
            (value, tick_label(value, self.step))
        })
    }

    /// The height at which a value stands in `area`.
    pub(super) fn y(self, area: Area, value: f64) -> f64 {
        area.bottom() - (value / self.top()).clamp(0.0, 1.0) * area.height
    }

    /// Hairlines and labels left of `area`.
    pub(super) fn draw(self, canvas: &mut Canvas<'_>, area: Area) {
        for (value, label) in self.ticks() {
            let y = self.y(area, value);
            let colour = if value == 0.0 { palette::AXIS } else { palette::GRID };
            canvas.hairline(area.left, area.right(), y, colour);
            canvas.text(&label, (area.left - 8.0, y), Ink::label(Anchor::End).small());
        }
    }
}

/// The least round step that is no smaller than a rough one.
fn round_step(rough: f64) -> f64 {
    let magnitude = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * magnitude);
    steps.into_iter().find(|&step| step >= rough * (1.0 - 1e-9)).unwrap_or(rough)
}

/// A round value with the fewest decimals that tell the steps apart, thousands as k.
fn tick_label(value: f64, step: f64) -> String {
    let (unit, suffix) = if step >= 2e4 { (1e3, "k") } else { (1.0, "") };
    let is_whole = |value: f64| (value - value.round()).abs() < 1e-6 * value;
    let decimals = (0_i32..12).find(|&decimals| is_whole(step / unit * 10_f64.powi(decimals))).unwrap_or(12);
    let decimals = usize::try_from(decimals).unwrap_or(0);
    let suffix = if value == 0.0 { "" } else { suffix };
    format!("{:.decimals$}{suffix}", value / unit)
}

/// The round values between two others, `low` below `high`, with their labels.
pub(super) fn round_values_between(low: f64, high: f64) -> Vec<(f64, String)> {
    let step = round_step((high - low) / (STEPS + 1.0));
    // Less than nothing would be written −0.
    let first = (low / step - 1e-9).ceil() + 0.0;
    std::iter::successors(Some(first), |count| Some(count + 1.0))
        .map(|count| count * step)
        .take_while(|&value| value <= high + step * 1e-9)
        .take(MOST_LABELS)
        .map(|value| (value, tick_label(value, step)))
        .collect()
}

/// The batch axis: one even step a batch, so that small batches are not crowded together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct BatchAxis<'a> {
    pub(super) batches: &'a [u32],
}

impl BatchAxis<'_> {
    /// Where the batch of that index stands in `area`.
    pub(super) fn x(self, area: Area, index: usize) -> f64 {
        area.left + (index as f64 + 0.5) * area.width / self.batches.len().max(1) as f64
    }

    /// Labels below `area`, as many as fit.
    pub(super) fn draw(self, canvas: &mut Canvas<'_>, area: Area) {
        let step = label_step(self.batches, area.width);
        for (index, batch) in self.batches.iter().enumerate().step_by(step) {
            let at = (self.x(area, index), area.bottom() + 14.0);
            canvas.text(&batch.to_string(), at, Ink::label(Anchor::Middle).small());
        }
    }
}

/// Every how many numbers a label fits.
pub(super) fn label_step(numbers: &[u32], width: f64) -> usize {
    let widest = numbers.iter().map(|n| text_width(&format!("{n}{LABEL_GAP}"), LABEL_SIZE)).fold(1.0, f64::max);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 0 and saturating")]
    let fitting = (width / widest).floor() as usize;
    numbers.len().div_ceil(fitting.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_hold_the_highest_value() {
        let check = |highest: f64, expected: &[&str]| {
            let axis = ValueAxis::up_to(highest);
            assert!(axis.top() >= highest.min(f64::MAX) || !highest.is_finite(), "{highest}");
            assert_eq!(axis.ticks().map(|(_, label)| label).collect::<Vec<_>>(), expected, "{highest}");
        };
        check(345.4, &["0", "100", "200", "300", "400"]);
        check(400.0, &["0", "100", "200", "300", "400"]);
        check(9.8, &["0.0", "2.5", "5.0", "7.5", "10.0"]);
        check(0.09, &["0.000", "0.025", "0.050", "0.075", "0.100"]);
        check(10049.0, &["0", "5000", "10000", "15000"]);
        check(200_000.0, &["0", "50k", "100k", "150k", "200k"]);
        check(0.0, &["0.00", "0.25", "0.50", "0.75", "1.00"]);
        check(f64::NAN, &["0.00", "0.25", "0.50", "0.75", "1.00"]);
    }

    #[test]
    fn a_scale_names_round_values_within_it() {
        let check = |low: f64, high: f64, expected: &[&str]| {
            let labels: Vec<String> = round_values_between(low, high).into_iter().map(|(_, label)| label).collect();
            assert_eq!(labels, expected, "{low} to {high}");
        };
        check(47.1, 344.0, &["100", "200", "300"]);
        check(46.8, 220.3, &["50", "100", "150", "200"]);
        check(100.0, 100.4, &["100.0", "100.1", "100.2", "100.3", "100.4"]);
    }

    #[test]
    fn labels_thin_out_where_they_would_touch() {
        assert_eq!(label_step(&[1, 2, 4], 300.0), 1);
        assert_eq!(label_step(&(1..=100).collect::<Vec<_>>(), 300.0), 10);
        assert_eq!(label_step(&[1], 0.0), 1);
    }
}
