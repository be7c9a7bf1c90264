//! Families that are made anew for each scrape, from a list that says what each one is.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

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

/// A family that is being filled.
#[derive(Debug)]
pub(super) struct Family {
    family: MetricFamily,
    series: Vec<Metric>,
}

impl Family {
    pub(super) fn gauge(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    pub(super) fn counter(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Self { family, series: Vec::new() }
    }

    /// Adds a series. Labels are written in the order given.
    pub(super) fn add(&mut self, labels: &Labels<'_>, value: f64) {
        let pairs = labels.iter().map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut metric = Metric::from_label(pairs.collect());
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

    pub(super) fn finish(mut self) -> MetricFamily {
        self.family.set_metric(self.series);
        self.family
    }
}

/// The description under which the registry knows a family.
pub(super) fn describe(name: &str, help: &str, labels: &[&str]) -> Result<Desc, prometheus::Error> {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new())
}

/// Seconds since 1970 of a time.
pub(super) fn unix_seconds(at: jiff::Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1e3
}
