//! What `/metrics` says, as values.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{eventually, get};

/// One page of the text format.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// What a process at that address shows now.
pub(crate) fn scrape(address: SocketAddr) -> Scrape {
    let (status, text) = get(address, "/metrics").expect("an answer");
    assert_eq!(status, 200, "{text}");
    Scrape::read(text)
}

/// The first scrape in which there is an optimum and a report was written.
pub(crate) fn soaked(address: SocketAddr) -> Scrape {
    eventually("an optimum and a report in /metrics", || {
        let seen = scrape(address);
        (seen.has("llmsoak_optimum_tokens_per_second") && seen.sum("llmsoak_reports_written_total", &[]) > 0.0)
            .then_some(seen)
    })
}

impl Scrape {
    fn read(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let series = lines.map(|line| Series::read(line).unwrap_or_else(|| panic!("no series: {line}"))).collect();
        Self { text, series }
    }

    /// The series of a name with those labels, whatever their other labels.
    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a Series> {
        let has = |series: &Series, (label, value): &(&str, &str)| {
            series.labels.get(*label).map(String::as_str) == Some(*value)
        };
        self.series.iter().filter(move |series| series.name == name && labels.iter().all(|label| has(series, label)))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.matching(name, &[]).next().is_some()
    }

    /// The sum of the series of a name with those labels; 0 where there are none. The name has to be
    /// one that README documents, if it is one of ours.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
        let readme = include_str!("../../../README.md");
        let is_documented = [name, family].iter().any(|name| readme.contains(&format!("`{name}`")));
        assert!(is_documented || !name.starts_with("llmsoak_"), "{name} is no metric");
        self.matching(name, labels).map(|series| series.value).sum()
    }

    /// The values of a label among the series of a name that are not 0.
    pub(crate) fn not_zero(&self, name: &str, label: &str) -> BTreeSet<String> {
        let series = self.matching(name, &[]).filter(|series| series.value != 0.0);
        series.filter_map(|series| series.labels.get(label).cloned()).collect()
    }

    /// The names of the families.
    pub(crate) fn families(&self) -> BTreeSet<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
    }
}

impl Series {
    /// Label values here hold no quotes.
    fn read(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, mut rest) = series.split_once('{').unwrap_or((series, "}"));
        let mut labels = BTreeMap::new();
        while let Some((label, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            labels.insert(label.trim_start_matches(',').to_owned(), value.to_owned());
            rest = after;
        }
        Some(Self { name: name.to_owned(), labels, value: value.parse().ok()? })
    }
}
