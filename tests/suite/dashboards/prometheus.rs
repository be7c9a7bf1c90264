//! A Prometheus of one test, and its answers as values.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::board::{list, text};
use crate::support::{Process, Stage, eventually, free_address, get, root};

/// Scrapes one daemon every second, with the rules of this repository.
#[derive(Debug)]
pub(super) struct Prometheus {
    _process: Process,
    address: SocketAddr,
}

/// A series of an answer.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: BTreeMap<String, String>,
    /// One of an instant query, or those of all steps.
    pub(super) values: Vec<f64>,
}

impl Prometheus {
    pub(super) fn start(program: &Path, stage: &Stage, scraped: SocketAddr) -> Self {
        let rules = root().join("prometheus/rules/*.yml");
        let config = stage.write(
            "prometheus.yml",
            &format!(
                "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
                 rule_files: ['{}']\nscrape_configs:\n  - job_name: llmsoak\n    \
                 static_configs: [{{targets: ['{scraped}']}}]\n",
                rules.display()
            ),
        );
        let address = free_address();
        let mut command = Command::new(program);
        command.arg(format!("--config.file={config}"));
        command.arg(format!("--storage.tsdb.path={}", stage.path().join("tsdb").display()));
        command.arg(format!("--web.listen-address={address}"));
        let prometheus = Self { _process: Process::spawn(command, "prometheus"), address };
        eventually("a Prometheus that answers", || get(address, "/-/ready").ok().filter(|(status, _)| *status == 200));
        prometheus
    }

    fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut address = format!("/api/v1/{path}?");
        for (name, value) in parameters {
            let _ = write!(address, "{name}=");
            for byte in value.bytes() {
                let _ = if byte.is_ascii_alphanumeric() {
                    write!(address, "{}", char::from(byte))
                } else {
                    write!(address, "%{byte:02X}")
                };
            }
            address.push('&');
        }
        let (_, body) = get(self.address, &address).map_err(|error| error.to_string())?;
        let answer: Value = serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))?;
        if text(&answer, "/status") == "success" {
            Ok(answer.get("data").cloned().unwrap_or_default())
        } else {
            Err(body)
        }
    }

    pub(super) fn instant(&self, expr: &str) -> Result<Vec<Series>, String> {
        self.ask("query", &[("query", expr)]).map(|data| list(&data, "/result").iter().map(Series::read).collect())
    }

    /// Over so many seconds up to now, every second.
    pub(super) fn over(&self, expr: &str, seconds: f64) -> Result<Vec<Series>, String> {
        let now = self.ask("query", &[("query", "time()")])?;
        let now = now.pointer("/result/0").and_then(Value::as_f64).ok_or("no time")?;
        let (start, end) = ((now - seconds).to_string(), now.to_string());
        let data = self.ask("query_range", &[("query", expr), ("start", &start), ("end", &end), ("step", "1")])?;
        Ok(list(&data, "/result").iter().map(Series::read).collect())
    }

    /// The rules that could not be evaluated, with what Prometheus says of them.
    pub(super) fn failed_rules(&self) -> Vec<String> {
        let data = self.ask("rules", &[]).expect("an answer");
        let rules = list(&data, "/groups").iter().flat_map(|group| list(group, "/rules"));
        rules.filter(|rule| text(rule, "/health") == "err").map(ToString::to_string).collect()
    }
}

impl Series {
    fn read(result: &Value) -> Self {
        let labels = result["metric"].as_object().into_iter().flatten();
        let labels =
            labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        let pairs = result.get("value").into_iter().chain(list(result, "/values"));
        let values = pairs.filter_map(|pair| pair[1].as_str()?.parse().ok()).collect();
        Self { labels, values }
    }

    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map(String::as_str).unwrap_or_default()
    }
}
