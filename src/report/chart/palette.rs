//! Colours: a scale that stays a scale for colour-blind eyes and in grey, and the greys. Each
//! has its looks on a light ground and on a dark one.

/// An sRGB colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rgb {
    pub(super) red: u8,
    pub(super) green: u8,
    pub(super) blue: u8,
}

/// A colour as a reader of light pages and as one of dark pages sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Colour {
    pub(super) light: Rgb,
    pub(super) dark: Rgb,
}

const fn rgb(code: u32) -> Rgb {
    let [_, red, green, blue] = code.to_be_bytes();
    Rgb { red, green, blue }
}

const fn themed(light: u32, dark: u32) -> Colour {
    Colour { light: rgb(light), dark: rgb(dark) }
}

/// The same everywhere.
const fn fixed(colour: Rgb) -> Colour {
    Colour { light: colour, dark: colour }
}

pub(super) const CARD: Colour = themed(0xff_ff_ff, 0x0d_11_17);
pub(super) const INK: Colour = themed(0x1f_23_28, 0xe6_ed_f3);
pub(super) const MUTED: Colour = themed(0x59_63_6e, 0x91_98_a1);
pub(super) const GRID: Colour = themed(0xe6_e9_ec, 0x26_2c_36);
pub(super) const AXIS: Colour = themed(0xb8_c0_c8, 0x56_5f_6a);
pub(super) const LINE: Colour = themed(0x2b_5b_a8, 0x6c_a4_f5);
pub(super) const BEST: Colour = themed(0xc2_41_0c, 0xff_8f_5a);
/// Labels on a ground that is the same everywhere. They differ a little from paper and ink, which
/// are told apart by their looks on a light page.
const ON_DARK_GROUND: Rgb = rgb(0xfe_fe_fe);
const ON_LIGHT_GROUND: Rgb = rgb(0x1f_23_29);

/// How far into the scale lines go on a light page: its light end is too pale for one there.
const PALEST: f64 = 0.75;
/// And where they begin on a dark page: the dark end would be lost there.
const DARKEST: f64 = 0.25;

/// Viridis at nine even steps.
const VIRIDIS: [Rgb; 9] = [
    rgb(0x44_01_54),
    rgb(0x47_2d_7b),
    rgb(0x3b_52_8b),
    rgb(0x2c_72_8e),
    rgb(0x21_91_8c),
    rgb(0x28_ae_80),
    rgb(0x5e_c9_62),
    rgb(0xad_dc_30),
    rgb(0xfd_e7_25),
];

/// The scale's colour at a share of its length, 0 the darkest.
pub(super) fn viridis(share: f64) -> Colour {
    fixed(at(share))
}

/// The colour of a line at a share of the scale.
pub(super) fn line(share: f64) -> Colour {
    Colour { light: at(share * PALEST), dark: at(DARKEST + share * (1.0 - DARKEST)) }
}

fn at(share: f64) -> Rgb {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let place = share * (VIRIDIS.len() - 1) as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lies between 0 and 8")]
    let below = place.floor() as usize;
    let of = |step: usize| VIRIDIS.get(step).copied().unwrap_or(rgb(0xfd_e7_25));
    mix(of(below), of(below + 1), place - below as f64)
}

/// The colour that share of the way from one to the other.
fn mix(from: Rgb, to: Rgb, share: f64) -> Rgb {
    let channel = |from: u8, to: u8| {
        let value = f64::from(from) + (f64::from(to) - f64::from(from)) * share;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two bytes")]
        let byte = value.round() as u8;
        byte
    };
    let (red, green, blue) = (channel(from.red, to.red), channel(from.green, to.green), channel(from.blue, to.blue));
    Rgb { red, green, blue }
}

/// Relative luminance, 0 to 1, as WCAG 2 defines it.
fn luminance(colour: Rgb) -> f64 {
    let linear = |channel: u8| {
        let share = f64::from(channel) / 255.0;
        if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(colour.red) + 0.7152 * linear(colour.green) + 0.0722 * linear(colour.blue)
}

/// The contrast of two colours, 1 to 21, as WCAG 2 defines it.
fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// The colour of a text that is read best on a ground that is the same everywhere.
pub(super) fn text_on(ground: Colour) -> Colour {
    let is_dark = contrast(ON_DARK_GROUND, ground.light) > contrast(ON_LIGHT_GROUND, ground.light);
    fixed(if is_dark { ON_DARK_GROUND } else { ON_LIGHT_GROUND })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_runs_from_dark_to_light() {
        let steps: Vec<f64> = (0..=100).map(|step| luminance(at(f64::from(step) / 100.0))).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!(at(f64::NAN), VIRIDIS[0]);
        assert_eq!(at(7.0), VIRIDIS[8]);
    }

    #[test]
    fn labels_are_readable_on_every_colour_of_the_scale() {
        for step in 0..=100 {
            let ground = viridis(f64::from(step) / 100.0);
            let contrast = contrast(text_on(ground).light, ground.light);
            assert!(contrast >= 3.9, "{contrast} on {ground:?}");
        }
    }

    #[test]
    fn texts_and_lines_stand_out_on_both_grounds() {
        let check = |colour: Colour, least: f64| {
            assert!(contrast(colour.light, CARD.light) >= least, "{colour:?} on light");
            assert!(contrast(colour.dark, CARD.dark) >= least, "{colour:?} on dark");
        };
        [INK, MUTED, BEST, LINE].iter().for_each(|&colour| check(colour, 4.5));
        (0..=10).for_each(|step| check(line(f64::from(step) / 10.0), 1.9));
    }
}
