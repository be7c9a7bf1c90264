//! What can be typed for the commands that work on the history alone.

use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use super::{ConfigArgs, StorageArgs};
use crate::domain::EntryKind;
use crate::domain::plan::Language;

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct ReportArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Target to report on [default: each]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Epoch to report on [default: the newest of the target]
    #[arg(long, value_name = "NUMBER", conflicts_with = "target")]
    pub epoch: Option<i64>,
    /// Language to write in [default: the configured one, else en]
    #[arg(long, value_name = "LANGUAGE")]
    pub language: Option<ReportLanguage>,
    /// Folder to write to [default: reports/ in the storage folder]
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportLanguage {
    En,
    Ru,
}

impl From<ReportLanguage> for Language {
    fn from(language: ReportLanguage) -> Self {
        match language {
            ReportLanguage::En => Self::English,
            ReportLanguage::Ru => Self::Russian,
        }
    }
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct ImportArgs {
    /// Report of the legacy script (Markdown), or export (JSON lines, or a CSV table of samples)
    // The configuration file and the log's format have the usual names.
    #[arg(id = "imported_file", value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Target to import as [default: that of the file; legacy for a legacy report]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// When a legacy report was measured, as 2026-11-24T17:01:02Z or 2026-11-24 [default: when its
    /// file was last written]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub time: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub storage: StorageArgs,
    /// Form to write in
    #[arg(id = "export_format", long = "format", value_name = "FORMAT", default_value = "jsonl")]
    pub format: ExportFormat,
    /// With --format=csv: which table [default: samples]
    #[arg(long, value_name = "TABLE")]
    pub table: Option<ExportTable>,
    /// Target to export [default: each]
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// File to write; - for stdout
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// All of the history, an entry a line
    Jsonl,
    /// One table
    Csv,
    /// Valid samples as lines of Go benchmarks
    Benchstat,
}

/// A table of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportTable(pub EntryKind);

impl ValueEnum for ExportTable {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self(EntryKind::Samples),
            Self(EntryKind::Epochs),
            Self(EntryKind::Cycles),
            Self(EntryKind::Cells),
            Self(EntryKind::Events),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.as_str()))
    }
}

/// A time, or the beginning of a day, in UTC.
fn moment(text: &str) -> Result<Timestamp, String> {
    let day =
        || Date::strptime("%Y-%m-%d", text).ok().and_then(|day| Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok());
    let time = text.parse().ok().or_else(day);
    time.ok_or_else(|| "must be a time such as 2026-11-24T17:01:02Z, or a day such as 2026-11-24".to_owned())
}
