//! The ways to a configuration: a file, or the flags that stand in for one.

use std::path::Path;

use crate::domain::notify::NotifyPlan;
use crate::domain::plan::{
    BudgetPlan, Connection, EnvironmentPlan, GridPlan, MetricsPlan, RegressionPlan, ReportPlan, RequestPlan,
    SchedulePlan, StoragePlan, TargetPlan, ValidityPlan,
};
use crate::domain::slots::SlotsPlan;
use crate::domain::web::WebPlan;

use super::default_yaml::{Draft, draft_yaml};
use super::files::{Surroundings, read_config, read_key_file};
use super::kind::checked_text;
use super::problem::{Collector, Fault};
use super::section::Section;
use super::value::{ServerUrl, checked_url};
use super::{Config, Problems, keys, section, tree};

/// Reads a configuration file and every file and environment variable that it refers to.
pub fn from_file(path: &Path) -> Result<Config, Problems> {
    let file = path.display().to_string();
    let around = Surroundings::of(path.parent().unwrap_or(Path::new("")));
    match read_config(path) {
        Ok(text) => from_text(&text, &file, around),
        Err(error) => {
            let problems = Collector::new(Some(&file));
            let hint = "name another file with --config.file, or do without one: --target.url=http://127.0.0.1:11434";
            problems.add(None, "", Fault::new(format!("cannot be read: {error}")).hint(hint));
            problems.finish(None)
        }
    }
}

/// Reads a web configuration file, and the certificates and keys that it names.
pub fn web_from_file(path: &Path) -> Result<WebPlan, Problems> {
    let problems = Collector::new(Some(&path.display().to_string()));
    let around = Surroundings::of(path.parent().unwrap_or(Path::new("")));
    let plan = match read_config(path) {
        Ok(text) => document(&text, &problems, |root| keys::web(root, around)),
        Err(error) => {
            let hint = "--web.config.file names the file that guards the pages";
            problems.add(None, "", Fault::new(format!("cannot be read: {error}")).hint(hint));
            None
        }
    };
    problems.finish(plan)
}

/// Reads the text of a configuration; `file` is its name in messages.
pub(super) fn from_text(text: &str, file: &str, around: Surroundings<'_>) -> Result<Config, Problems> {
    let problems = Collector::new(Some(file));
    let config = document(text, &problems, |root| keys::config(root, around));
    problems.finish(config)
}

/// What `read` makes of a text of YAML.
fn document<T>(text: &str, problems: &Collector, read: impl FnOnce(&mut Section<'_>) -> T) -> Option<T> {
    match tree::parse(text) {
        Ok(document) => section::read_document(&document, problems, read),
        Err(tree::NotYaml { line, fault }) => {
            problems.add(line, "", fault);
            None
        }
    }
}

/// The configuration that the text of a draft comes to. Relative files start in the working
/// directory.
pub fn drafted(draft: &Draft) -> Result<Config, Problems> {
    from_text(&draft_yaml(draft), "draft", Surroundings::of(Path::new("")))
}

/// The configuration of one target with nothing but defaults, for a run without a file.
pub fn without_file(url: &str, model: Option<&str>, key_file: Option<&Path>) -> Result<Config, Problems> {
    let problems = Collector::new(None);
    let config = single_target(url, model, key_file, &problems);
    problems.finish(config)
}

fn single_target(url: &str, model: Option<&str>, key_file: Option<&Path>, problems: &Collector) -> Option<Config> {
    let server = problems.keep(None, "--target.url", checked_url(url));
    let model = problems.keep(None, "--target.model", model.map(checked_text).transpose());
    let api_key = problems.keep(None, "--target.api-key-file", key_file.map(read_key_file).transpose());
    let seed = problems.keep(None, "schedule.seed", keys::draw_seed());
    let ServerUrl { url, host, .. } = server?;
    let connection = Connection {
        url,
        api_key: api_key?,
        api_key_file: key_file.map(Path::to_owned),
        connect_timeout: keys::CONNECT_TIMEOUT,
        ..Connection::default()
    };
    let target = TargetPlan {
        name: "default".to_owned(),
        model: model?.map(str::to_owned),
        connection,
        lane: host,
        grid: GridPlan::default(),
        slots: SlotsPlan::default(),
        request: RequestPlan::default(),
        budget: BudgetPlan::default(),
        environment: EnvironmentPlan::default(),
        validity: ValidityPlan::default(),
    };
    Some(Config {
        storage: StoragePlan::default(),
        targets: vec![target],
        schedule: SchedulePlan::with_seed(seed?),
        seed_was_drawn: true,
        report: ReportPlan::default(),
        regression: RegressionPlan::default(),
        metrics: MetricsPlan::default(),
        notify: NotifyPlan::default(),
    })
}
