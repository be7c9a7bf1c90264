//! From a YAML file, or two flags, to the plan that the floors below carry out.
//!
//! A file is read in three steps, each in a module of its own: `tree` turns text into
//! values that know their line, `keys` says which keys there are and what they mean, and
//! `section` is the reader between the two, which notes every problem instead of
//! stopping at the first. What a value may be is its `kind`, which the `schema` is made of,
//! too; a server that is only named is made a command line by its `preset`. What comes out is
//! resolved: no floor below sees a key, a default or an unread file. Nothing here speaks to a
//! server.

use std::path::PathBuf;

use crate::domain::notify::NotifyPlan;
use crate::domain::plan::{MetricsPlan, RegressionPlan, ReportPlan, SchedulePlan, StoragePlan, TargetPlan};

mod default_yaml;
mod files;
mod keys;
mod kind;
mod load;
mod preset;
mod problem;
mod schema;
mod section;
mod shape;
mod tree;
mod value;
mod window;

#[cfg(test)]
mod tests;

pub use default_yaml::{Draft, default_yaml, draft_yaml};
pub use files::read_key_file;
pub use load::{drafted, from_file, web_from_file, without_file};
pub use preset::PRESET_VARIABLES;
pub use problem::{Fault, Problem, Problems};
pub use schema::json_schema;

/// Everything that a configuration decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub storage: StoragePlan,
    /// At least one; their names differ.
    pub targets: Vec<TargetPlan>,
    pub schedule: SchedulePlan,
    /// Whether the schedule's seed was drawn when this was read: reading the same file again
    /// draws another.
    pub seed_was_drawn: bool,
    pub report: ReportPlan,
    pub regression: RegressionPlan,
    pub metrics: MetricsPlan,
    /// Who is told of changes.
    pub notify: NotifyPlan,
}

/// The folder of the reports within the storage folder.
pub const REPORTS: &str = "reports";

impl Config {
    pub fn reports_folder(&self) -> PathBuf {
        self.storage.path.join(REPORTS)
    }
}
