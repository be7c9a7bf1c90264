//! Families that are made anew for each scrape, from a list that says what each one is.

use std::borrow::Borrow;
use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// What a family is called, what it means, and how its value is read off a `T`.
#[derive(Debug)]
pub(super) struct Reading<T: ?Sized> {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// `None`: the series is absent.
    pub(super) value: fn(&T) -> Option<f64>,
}

/// The labels of every family of a target.
pub(super) const TARGET_LABELS: [&str; 2] = ["target", "model"];

/// The label names and values of one series.
pub(super) type Labels<'a> = [(&'static str, &'a str)];

/// What series are read off, with their labels.
#[derive(Debug)]
pub(super) struct Labelled<T> {
    labels: Vec<LabelPair>,
    of: T,
}

impl<T> Labelled<T> {
    /// Labels are written in the order given.
    pub(super) fn new(labels: &Labels<'_>, of: T) -> Self {
        Self { labels: pairs(labels), of }
    }
}

fn pairs(labels: &Labels<'_>) -> Vec<LabelPair> {
    let pair = |&(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

/// A family for each reading, with a series for each item that has the value.
pub(super) fn families<T: 'static, I: Borrow<T>>(
    readings: impl IntoIterator<Item = &'static Reading<T>>,
    items: &[Labelled<I>],
) -> impl Iterator<Item = MetricFamily> {
    readings.into_iter().map(move |reading| {
        let mut family = Family::new(reading.name, reading.help);
        for item in items {
            if let Some(value) = (reading.value)(item.of.borrow()) {
                family.push(item.labels.clone(), value);
            }
        }
        family.finish()
    })
}

/// A family that is being filled.
#[derive(Debug)]
pub(super) struct Family {
    family: MetricFamily,
    series: Vec<Metric>,
}

impl Family {
    /// A counter where the name ends as a counter's does, else a gauge.
    pub(super) fn new(name: &str, help: &str) -> Self {
        let kind = if name.ends_with("_total") { MetricType::COUNTER } else { MetricType::GAUGE };
        Self::of_kind(name, help, kind)
    }

    pub(super) fn histogram(name: &str, help: &str) -> Self {
        Self::of_kind(name, help, MetricType::HISTOGRAM)
    }

    fn of_kind(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self { family, series: Vec::new() }
    }

    /// Adds a series. Labels are written in the order given.
    pub(super) fn add(&mut self, labels: &Labels<'_>, value: f64) {
        self.push(pairs(labels), value);
    }

    fn push(&mut self, labels: Vec<LabelPair>, value: f64) {
        let mut metric = Metric::from_label(labels);
        if self.family.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.series.push(metric);
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
        let mut count = 0;
        let buckets = buckets.into_iter().map(|(bound, within)| {
            count += within;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count + beyond);
        histogram.set_sample_sum(sum);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.series.push(metric);
    }

    pub(super) fn finish(mut self) -> MetricFamily {
        self.family.set_metric(self.series);
        self.family
    }
}

/// The series of one histogram with so many bounds: their buckets, the last one, sum, count.
pub(super) fn series_of_histogram(bounds: usize) -> usize {
    bounds + 3
}

/// The description under which the registry knows a family.
pub(super) fn describe(name: &str, help: &str, labels: &[&str]) -> Result<Desc, prometheus::Error> {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
}

/// The descriptions of the families of those readings.
pub(super) fn describe_all<T: 'static>(
    readings: impl IntoIterator<Item = &'static Reading<T>>,
    labels: &[&str],
) -> Result<Vec<Desc>, prometheus::Error> {
    readings.into_iter().map(|reading| describe(reading.name, reading.help, labels)).collect()
}

/// Seconds since 1970 of a time.
pub(super) fn unix_seconds(at: jiff::Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}

pub(super) fn zero_or_one(is_it: bool) -> f64 {
    f64::from(u8::from(is_it))
}
