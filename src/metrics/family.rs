//! Families that are made anew for each scrape, from a list that says what each one is.
//!
//! Written as text right away, in Prometheus' exposition format, version 0.0.4: a scrape of
//! thousands of series must not take the processors from what measures.

use std::borrow::Borrow;
use std::fmt::{self, Display, Write as _};

/// What a family is called, what it means, and how its value is read off a `T`.
#[derive(Debug)]
pub(super) struct Reading<T: ?Sized> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// `None`: the series is absent.
    pub(super) value: fn(&T) -> Option<f64>,
}

/// The label names and values of one series.
pub(super) type Labels<'a> = [(&'static str, &'a str)];

/// What series are read off, with their labels.
#[derive(Debug)]
pub(super) struct Labelled<T> {
    /// As they are written.
    labels: String,
    of: T,
}

impl<T> Labelled<T> {
    /// Labels are written in the order given.
    pub(super) fn new(labels: &Labels<'_>, of: T) -> Self {
        Self { labels: written(labels), of }
    }
}

fn written(labels: &Labels<'_>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    text
}

/// A family for each reading, with a series for each item that has the value.
pub(super) fn families<T: 'static, I: Borrow<T>>(
    readings: impl IntoIterator<Item = &'static Reading<T>>,
    items: &[Labelled<I>],
) -> Vec<Family> {
    let family = |reading: &'static Reading<T>| {
        let mut family = Family::new(reading.name, reading.help);
        for item in items {
            if let Some(value) = (reading.value)(item.of.borrow()) {
                family.write("", &item.labels, value);
            }
        }
        family
    };
    readings.into_iter().map(family).collect()
}

/// A family that is being filled.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
    /// A line each.
    series: String,
}

impl Family {
    /// A counter where the name ends as a counter's does, else a gauge.
    pub(super) fn new(name: &'static str, help: &'static str) -> Self {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        Self { name, help, kind, series: String::new() }
    }

    pub(super) fn histogram(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: "histogram", series: String::new() }
    }

    /// Adds a series. Labels are written in the order given.
    pub(super) fn add(&mut self, labels: &Labels<'_>, value: f64) {
        self.write("", &written(labels), value);
    }

    /// Adds the series of one histogram: upper bounds with what each one's bucket alone
    /// holds; then what is beyond all bounds.
    pub(super) fn add_histogram(
        &mut self,
        labels: &Labels<'_>,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        beyond: u64,
        sum: f64,
    ) {
        let labels = written(labels);
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        for (bound, within) in buckets.into_iter().chain([(f64::INFINITY, beyond)]) {
            count += within;
            let labels = format!("{labels}{comma}le=\"{}\"", Number(bound));
            self.write("_bucket", &labels, count as f64);
        }
        self.write("_sum", &labels, sum);
        self.write("_count", &labels, count as f64);
    }

    /// Writes one series: the family's name with an ending, labels, value.
    fn write(&mut self, ending: &str, labels: &str, value: f64) {
        let text = &mut self.series;
        text.push_str(self.name);
        text.push_str(ending);
        if !labels.is_empty() {
            text.push('{');
            text.push_str(labels);
            text.push('}');
        }
        // Writing to a string does not fail.
        let _ = writeln!(text, " {}", Number(value));
    }
}

impl Display for Family {
    /// Nothing where there are no series.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, help, kind, series } = self;
        if series.is_empty() {
            return Ok(());
        }
        write!(formatter, "# HELP {name} {help}\n# TYPE {name} {kind}\n{series}")
    }
}

/// A number as the format writes it.
struct Number(f64);

impl Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => formatter.write_str("+Inf"),
            f64::NEG_INFINITY => formatter.write_str("-Inf"),
            number => write!(formatter, "{number}"),
        }
    }
}

/// All families as one page, by their names.
pub(super) fn page(mut families: Vec<Family>) -> String {
    families.sort_unstable_by_key(|family| family.name);
    let mut text = String::with_capacity(families.iter().map(|family| family.series.len() + 256).sum());
    for family in &families {
        let _ = write!(text, "{family}");
    }
    text
}

/// The series of one histogram with so many bounds: their buckets, the last one, sum, count.
pub(super) fn series_of_histogram(bounds: usize) -> usize {
    bounds + 3
}

/// Seconds since 1970 of a time.
pub(super) fn unix_seconds(at: jiff::Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}

pub(super) fn zero_or_one(is_it: bool) -> f64 {
    f64::from(u8::from(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_reads_as_the_format_wants_it() {
        let mut gauge = Family::new("llmsoak_b", "What it is.");
        gauge.add(&[], f64::NAN);
        gauge.add(&[("target", "a\"b\\c\nd"), ("model", "é")], f64::NEG_INFINITY);
        let mut histogram = Family::histogram("llmsoak_a_seconds", "How long it takes.");
        histogram.add_histogram(&[("target", "a")], [(0.5, 2), (1.0, 0)], 1, 12.25);
        histogram.add_histogram(&[], [], 0, 0.0);
        let absent = Family::new("llmsoak_c_total", "Nothing.");
        assert_eq!(
            page(vec![gauge, absent, histogram]),
            r#"# HELP llmsoak_a_seconds How long it takes.
# TYPE llmsoak_a_seconds histogram
llmsoak_a_seconds_bucket{target="a",le="0.5"} 2
llmsoak_a_seconds_bucket{target="a",le="1"} 2
llmsoak_a_seconds_bucket{target="a",le="+Inf"} 3
llmsoak_a_seconds_sum{target="a"} 12.25
llmsoak_a_seconds_count{target="a"} 3
llmsoak_a_seconds_bucket{le="+Inf"} 0
llmsoak_a_seconds_sum 0
llmsoak_a_seconds_count 0
# HELP llmsoak_b What it is.
# TYPE llmsoak_b gauge
llmsoak_b NaN
llmsoak_b{target="a\"b\\c\nd",model="é"} -Inf
"#
        );
    }
}
