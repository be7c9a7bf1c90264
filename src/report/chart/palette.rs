//! Colours: a scale that stays a scale for colour-blind eyes and in grey, and the greys.

/// An sRGB colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    pub(super) red: u8,
    pub(super) green: u8,
    pub(super) blue: u8,
}

const fn rgb(red: u8, green: u8, blue: u8) -> Colour {
    Colour { red, green, blue }
}

pub(super) const CARD: Colour = rgb(0xff, 0xff, 0xff);
pub(super) const INK: Colour = rgb(0x1f, 0x23, 0x28);
pub(super) const MUTED: Colour = rgb(0x59, 0x63, 0x6e);
pub(super) const GRID: Colour = rgb(0xe6, 0xe9, 0xec);
pub(super) const AXIS: Colour = rgb(0xb8, 0xc0, 0xc8);
pub(super) const LINE: Colour = rgb(0x2b, 0x5b, 0xa8);
pub(super) const BEST: Colour = rgb(0xc2, 0x41, 0x0c);

/// Viridis at nine even steps.
const VIRIDIS: [Colour; 9] = [
    rgb(0x44, 0x01, 0x54),
    rgb(0x47, 0x2d, 0x7b),
    rgb(0x3b, 0x52, 0x8b),
    rgb(0x2c, 0x72, 0x8e),
    rgb(0x21, 0x91, 0x8c),
    rgb(0x28, 0xae, 0x80),
    rgb(0x5e, 0xc9, 0x62),
    rgb(0xad, 0xdc, 0x30),
    rgb(0xfd, 0xe7, 0x25),
];

/// The scale's colour at a share of its length, 0 the darkest.
pub(super) fn viridis(share: f64) -> Colour {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let place = share * (VIRIDIS.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lies between 0 and 8")]
    let below = place.floor() as usize;
    let of = |step: usize| VIRIDIS.get(step).copied().unwrap_or(rgb(0xfd, 0xe7, 0x25));
    mix(of(below), of(below + 1), place - below as f64)
}

/// The colour that share of the way from one to the other.
fn mix(from: Colour, to: Colour, share: f64) -> Colour {
    let channel = |from: u8, to: u8| {
        let value = f64::from(from) + (f64::from(to) - f64::from(from)) * share;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
        let byte = value.round() as u8;
        byte
    };
    rgb(channel(from.red, to.red), channel(from.green, to.green), channel(from.blue, to.blue))
}

/// Relative luminance, 0 to 1, as WCAG 2 defines it.
fn luminance(colour: Colour) -> f64 {
    let linear = |channel: u8| {
        let share = f64::from(channel) / 255.0;
        if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(colour.red) + 0.7152 * linear(colour.green) + 0.0722 * linear(colour.blue)
}

/// The contrast of two colours, 1 to 21, as WCAG 2 defines it.
fn contrast(one: Colour, other: Colour) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// The colour of a text that is read best on `ground`.
pub(super) fn text_on(ground: Colour) -> Colour {
    if contrast(CARD, ground) > contrast(INK, ground) { CARD } else { INK }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_runs_from_dark_to_light() {
        let steps: Vec<f64> = (0..=100).map(|step| luminance(viridis(f64::from(step) / 100.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!(viridis(f64::NAN), VIRIDIS[0]);
        assert_eq!(viridis(7.0), VIRIDIS[8]);
    }

    #[test]
    fn labels_are_readable_on_every_colour_of_the_scale() {
        for step in 0..=100 {
            let ground = viridis(f64::from(step) / 100.0);
            let contrast = contrast(text_on(ground), ground);
            assert!(contrast >= 3.9, "{contrast} on {ground:?}");
        }
    }
}
