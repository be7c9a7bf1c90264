//! Where values and batches stand on a card.

use super::canvas::{Anchor, Area, Canvas, Ink, LABEL_SIZE, text_width};
use super::palette;

/// About how many steps a value axis has.
const STEPS: f64 = 4.0;
/// The space between two labels of the batch axis, in widths of a letter.
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
        let rough = highest / STEPS;
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * magnitude);
        let step = step.into_iter().find(|&step| step >= rough * (1.0 - 1e-9)).unwrap_or(rough);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a step is at least a quarter")]
        let steps = (highest / step - 1e-9).ceil() as u32;
        Self { step, steps: steps.max(1) }
    }

    pub(super) fn top(self) -> f64 {
        self.step * f64::from(self.steps)
    }

    /// The round values of the axis with their labels, from zero.
    pub(super) fn ticks(self) -> impl Iterator<Item = (f64, String)> {
        let decimals = self.decimals();
        (0..=self.steps).map(move |tick| {
            let value = self.step * f64::from(tick);
            (value, format!("{value:.decimals$}"))
        })
    }

    /// The fewest decimals that tell the steps apart.
    fn decimals(self) -> usize {
        let is_whole = |value: f64| (value - value.round()).abs() < 1e-6 * value;
        (0..12).find(|&decimals| is_whole(self.step * 10_f64.powi(decimals))).map_or(12, |n| n.unsigned_abs() as usize)
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
        check(0.0, &["0.00", "0.25", "0.50", "0.75", "1.00"]);
        check(f64::NAN, &["0.00", "0.25", "0.50", "0.75", "1.00"]);
    }

    #[test]
    fn labels_thin_out_where_they_would_touch() {
        assert_eq!(label_step(&[1, 2, 4], 300.0), 1);
        assert_eq!(label_step(&(1..=100).collect::<Vec<_>>(), 300.0), 10);
        assert_eq!(label_step(&[1], 0.0), 1);
    }
}
