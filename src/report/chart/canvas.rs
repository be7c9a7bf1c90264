//! A card to draw on: the only file that knows plotters.
//!
//! Coordinates are rounded to whole pixels, so that a small change of a figure is a small
//! change of the file. A refusal of the backend is kept and told at the end.

use std::collections::BTreeSet;

use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle};

use super::super::{Chart, ReportError};
use super::palette::{self, Colour, Rgb};

/// What the page's reader has installed; texts inherit it from the root element.
const FONTS: &str = "system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif";
/// The backend writes sizes divided by this.
const BACKEND_FONT_SCALE: f64 = 1.24;
/// The width of a usual letter in relation to the size: a guess on the wide side.
const LETTER_WIDTH: f64 = 0.56;
/// The space between the edge of the card and what is drawn.
pub(super) const MARGIN: f64 = 20.0;

pub(super) const LABEL_SIZE: u32 = 12;
pub(super) const SMALL_SIZE: u32 = 11;
const TITLE_SIZE: u32 = 16;
const NOTE_LINE: f64 = 17.0;

/// On which side of its point a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    pub(super) size: u32,
    pub(super) colour: Colour,
    pub(super) bold: bool,
    pub(super) anchor: Anchor,
}

impl Ink {
    /// The labels of axes and marks.
    pub(super) const fn label(anchor: Anchor) -> Self {
        Self { size: LABEL_SIZE, colour: palette::MUTED, bold: false, anchor }
    }

    pub(super) const fn small(self) -> Self {
        Self { size: SMALL_SIZE, ..self }
    }

    pub(super) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) const fn coloured(self, colour: Colour) -> Self {
        Self { colour, ..self }
    }
}

/// A rectangle of the card, pixels from its upper left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Area {
    pub(super) fn right(self) -> f64 {
        self.left + self.width
    }

    pub(super) fn bottom(self) -> f64 {
        self.top + self.height
    }
}

/// How wide a text will be, about; rather too wide than too narrow.
pub(super) fn text_width(text: &str, size: u32) -> f64 {
    text.chars().count() as f64 * LETTER_WIDTH * f64::from(size)
}

/// The nearest whole pixel.
fn pixel(value: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "a cast from float saturates, and no card is that large")]
    let pixel = value.round() as i32;
    pixel
}

fn point((x, y): (f64, f64)) -> (i32, i32) {
    (pixel(x), pixel(y))
}

/// A card under the pen.
pub(super) struct Canvas<'a> {
    backend: SVGBackend<'a>,
    refused: Option<String>,
    /// All that was drawn with, for the dark page.
    colours: BTreeSet<Colour>,
}

/// Draws one chart on a card of its own ground, light or dark as the reader likes it. A page that
/// is not as the reader likes shows it well too.
pub(super) fn draw(
    file_name: &str,
    title: &str,
    (width, height): (f64, f64),
    pen: impl FnOnce(&mut Canvas<'_>),
) -> Result<Chart, ReportError> {
    let size = |length: f64| pixel(length).max(1).unsigned_abs();
    let mut svg = String::new();
    let mut canvas = Canvas {
        backend: SVGBackend::with_string(&mut svg, (size(width), size(height))),
        refused: None,
        colours: BTreeSet::new(),
    };
    canvas.fill(Area { left: 0.0, top: 0.0, width, height }, palette::CARD, 1.0);
    pen(&mut canvas);
    let ended = canvas.backend.present().err().map(|error| error.to_string());
    let (refused, colours) = (canvas.refused.take().or(ended), std::mem::take(&mut canvas.colours));
    drop(canvas);
    let file_name = file_name.to_owned();
    match refused {
        Some(reason) => Err(ReportError::Chart { file_name, reason }),
        None => Ok(Chart { svg: named(&svg, title, &file_name, &colours), file_name }),
    }
}

/// Gives the root element its name for screen readers, the fonts of all texts, and the looks on
/// dark pages.
fn named(svg: &str, title: &str, file_name: &str, colours: &BTreeSet<Colour>) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // A page that holds several charts holds all their styles.
    let class = file_name.strip_suffix(".svg").unwrap_or(file_name);
    let dark: String =
        colours.iter().filter(|colour| colour.light != colour.dark).map(|colour| dark(class, *colour)).collect();
    match svg.split_once('>') {
        Some((root, rest)) => format!(
            "{root} role=\"img\" class=\"{class}\" font-family=\"{FONTS}\">\n<title>{title}</title>\n\
             <style>@media (prefers-color-scheme: dark) {{\n{dark}}}</style>{rest}"
        ),
        None => svg.to_owned(),
    }
}

/// What makes a colour of a chart its dark one.
fn dark(class: &str, Colour { light, dark }: Colour) -> String {
    let code = |Rgb { red, green, blue }: Rgb| format!("#{red:02X}{green:02X}{blue:02X}");
    let (light, dark) = (code(light), code(dark));
    ["fill", "stroke"].map(|what| format!(".{class} [{what}=\"{light}\"] {{ {what}: {dark} }}\n")).concat()
}

impl Canvas<'_> {
    fn note<E: std::fmt::Display>(&mut self, outcome: Result<(), E>) {
        if let Err(error) = outcome {
            self.refused.get_or_insert_with(|| error.to_string());
        }
    }

    /// What the backend draws with: the light colour.
    fn rgb(&mut self, colour: Colour) -> RGBColor {
        self.colours.insert(colour);
        RGBColor(colour.light.red, colour.light.green, colour.light.blue)
    }

    fn shape(&mut self, colour: Colour, opacity: f64, width: u32) -> ShapeStyle {
        ShapeStyle { color: self.rgb(colour).mix(opacity), filled: false, stroke_width: width }
    }

    pub(super) fn fill(&mut self, area: Area, colour: Colour, opacity: f64) {
        let corners = (point((area.left, area.top)), point((area.right(), area.bottom())));
        let style = self.shape(colour, opacity, 0);
        let outcome = self.backend.draw_rect(corners.0, corners.1, &style, true);
        self.note(outcome);
    }

    /// A closed line around an area.
    pub(super) fn frame(&mut self, area: Area, colour: Colour, width: u32) {
        let Area { left, top, .. } = area;
        let (right, bottom) = (area.right(), area.bottom());
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)];
        // The ends meet in the middle of a side, so that all four corners are alike.
        let middle = ((left + right) / 2.0, top);
        let path: Vec<_> = [middle].into_iter().chain(corners.into_iter().skip(1)).chain([middle]).collect();
        self.path(&path, colour, width);
    }

    /// A straight horizontal hairline: a filled strip, since a stroke between two pixels blurs.
    pub(super) fn hairline(&mut self, from: f64, to: f64, y: f64, colour: Colour) {
        self.fill(Area { left: from, top: y.round(), width: to - from, height: 1.0 }, colour, 1.0);
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour, width: u32) {
        let style = self.shape(colour, 1.0, width);
        let outcome = self.backend.draw_line(point(from), point(to), &style);
        self.note(outcome);
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], colour: Colour, width: u32) {
        let points: Vec<_> = points.iter().copied().map(point).collect();
        let style = self.shape(colour, 1.0, width);
        let outcome = self.backend.draw_path(points, &style);
        self.note(outcome);
    }

    pub(super) fn polygon(&mut self, points: &[(f64, f64)], colour: Colour, opacity: f64) {
        let points: Vec<_> = points.iter().copied().map(point).collect();
        let style = self.shape(colour, opacity, 0);
        let outcome = self.backend.fill_polygon(points, &style);
        self.note(outcome);
    }

    pub(super) fn dot(&mut self, at: (f64, f64), radius: u32, colour: Colour) {
        let style = self.shape(colour, 1.0, 0);
        let outcome = self.backend.draw_circle(point(at), radius, &style, true);
        self.note(outcome);
    }

    pub(super) fn ring(&mut self, at: (f64, f64), radius: u32, colour: Colour, width: u32) {
        let style = self.shape(colour, 1.0, width);
        let outcome = self.backend.draw_circle(point(at), radius, &style, false);
        self.note(outcome);
    }

    /// A text whose middle is at the height of the point.
    pub(super) fn text(&mut self, text: &str, at: (f64, f64), ink: Ink) {
        self.write(text, at, ink, &FontTransform::None);
    }

    /// A text that is read from below, its middle at the point.
    pub(super) fn upright_text(&mut self, text: &str, at: (f64, f64), ink: Ink) {
        self.write(text, at, ink, &FontTransform::Rotate270);
    }

    fn write(&mut self, text: &str, (x, y): (f64, f64), ink: Ink, transform: &FontTransform) {
        let style = if ink.bold { FontStyle::Bold } else { FontStyle::Normal };
        let size = f64::from(ink.size) * BACKEND_FONT_SCALE;
        // The fonts stand once, at the root element.
        let font = FontDesc::new(FontFamily::Name("inherit"), size, style).transform(transform.clone());
        let side = match ink.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let colour = self.rgb(ink.colour).to_backend_color();
        let style = TextStyle { font, color: colour, pos: Pos::new(side, VPos::Center) };
        // The backend centres small letters; figures and capitals stand a pixel higher.
        let middle = if matches!(transform, FontTransform::None) { (x, y + 1.0) } else { (x, y) };
        let outcome = self.backend.draw_text(text, &style, point(middle));
        self.note(outcome);
    }

    /// The title and the notes below it, as many to a line as fit.
    pub(super) fn header(&mut self, title: &str, notes: &[&str], width: f64) {
        let ink = Ink { size: TITLE_SIZE, colour: palette::INK, bold: true, anchor: Anchor::Start };
        self.text(title, (MARGIN, MARGIN + 6.0), ink);
        for (line, note) in lines(notes, width).iter().enumerate() {
            self.text(note, (MARGIN, MARGIN + 29.0 + line as f64 * NOTE_LINE), Ink::label(Anchor::Start));
        }
    }
}

/// The height that [`Canvas::header`] takes, margin included.
pub(super) fn header_height(notes: &[&str], width: f64) -> f64 {
    MARGIN + 24.0 + lines(notes, width).len() as f64 * NOTE_LINE
}

/// Joins notes into lines that fit on a card of that width.
fn lines(notes: &[&str], width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for note in notes {
        let joined = lines.last().map(|line| format!("{line} · {note}"));
        match (lines.last_mut(), joined) {
            (Some(last), Some(joined)) if text_width(&joined, LABEL_SIZE) <= width - 2.0 * MARGIN => *last = joined,
            _ => lines.push((*note).to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_is_named_escaped_and_whole() {
        let chart = draw("a.svg", "<b> & c", (100.4, 50.0), |canvas| {
            canvas.text("x < y & \"z\"", (10.2, 10.7), Ink::label(Anchor::Start));
        })
        .expect("can be drawn");
        assert!(chart.svg.starts_with("<svg width=\"100\" height=\"50\" viewBox=\"0 0 100 50\""), "{}", chart.svg);
        assert!(chart.svg.contains("<title>&lt;b&gt; &amp; c</title>"), "{}", chart.svg);
        assert!(chart.svg.contains("x &lt; y &amp; &quot;z&quot;"), "{}", chart.svg);
        assert!(chart.svg.trim_end().ends_with("</svg>"), "{}", chart.svg);
    }

    #[test]
    fn notes_share_a_line_while_they_fit() {
        assert_eq!(lines(&["one", "two"], 900.0), ["one · two"]);
        assert_eq!(lines(&["one", "two"], 80.0), ["one", "two"]);
        assert!(lines(&[], 80.0).is_empty());
    }
}
