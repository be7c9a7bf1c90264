//! Reports on the disk: `<dir>/<target>/<UTC time>/`, written whole or not at all.
//!
//! A report is written into a hidden folder beside its place and renamed into it. Nothing
//! is touched that is not this module's own: names of another shape stay, whatever they
//! hold. All calls block.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::section::CHART_FOLDER;
use super::{Chart, Report, index};
use crate::domain::checksum;

/// The file that makes a folder a report.
pub(super) const MARKDOWN_FILE: &str = "report.md";
/// The link to the newest report of a target.
const LATEST: &str = "latest";
/// The names of unfinished things: hidden, with the time and the process that writes.
const UNFINISHED: &str = ".unfinished-";
/// An unfinished thing that old was left by a process that was killed.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_hours(1);
/// The permissions of a new folder.
const OWNERS_FOLDER: u32 = 0o700;
/// The longest part of a target's name that becomes a folder's name.
const NAME_BYTES: usize = 80;
/// How many reports of one second have names.
const SAME_SECOND: u32 = 1000;

/// What could not be done with which path.
#[derive(Debug, thiserror::Error)]
#[error("report {}: cannot {action}: {source}", path.display())]
pub struct SnapshotError {
    path: PathBuf,
    action: &'static str,
    source: io::Error,
}

/// Tells which path failed in doing what.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    move |source| SnapshotError { path: path.to_owned(), action, source }
}

/// Writes the report, points `latest` at it, removes all reports of this target but the `keep`
/// newest, and lists what there is; the one just written always stays. Returns its folder.
pub fn write(
    dir: &Path,
    report: &Report,
    target_name: &str,
    generated_at: Timestamp,
    keep: usize,
) -> Result<PathBuf, SnapshotError> {
    let (target, name) = add(dir, report, target_name, generated_at)?;
    point_latest(&target, &name.to_string(), generated_at)?;
    prune(&target, name, keep)?;
    index::write(dir)?;
    Ok(target.join(name.to_string()))
}

/// Writes the report of another time beside the others, which stay as they are; `latest` leads to it
/// only where it leads nowhere yet. Returns its folder.
pub fn write_aside(
    dir: &Path,
    report: &Report,
    target_name: &str,
    generated_at: Timestamp,
) -> Result<PathBuf, SnapshotError> {
    let (target, name) = add(dir, report, target_name, generated_at)?;
    if latest(dir, target_name)?.is_none() {
        point_latest(&target, &name.to_string(), generated_at)?;
    }
    index::write(dir)?;
    Ok(target.join(name.to_string()))
}

/// Puts the report into its target's folder.
fn add(
    dir: &Path,
    report: &Report,
    target_name: &str,
    generated_at: Timestamp,
) -> Result<(PathBuf, Name), SnapshotError> {
    let target = dir.join(folder_name(target_name));
    // As private as the history: what is there already keeps its permissions.
    let made = DirBuilder::new().recursive(true).mode(OWNERS_FOLDER).create(&target);
    made.map_err(failed("create the folder", &target))?;
    remove_abandoned(&target, generated_at)?;
    let unfinished = target.join(unfinished_name(generated_at, "report"));
    let written = write_files(&unfinished, report).and_then(|()| settle(&target, &unfinished, generated_at));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_dir_all(&unfinished);
    }
    Ok((target, written?))
}

/// The newest report of a target, `None` before the first.
///
/// The link is followed here and not again, so that all that is read afterwards is of one
/// report, whatever is written meanwhile.
pub fn latest(dir: &Path, target_name: &str) -> Result<Option<Stored>, SnapshotError> {
    let target = dir.join(folder_name(target_name));
    let link = target.join(LATEST);
    let name = match fs::read_link(&link) {
        Ok(name) => name,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("follow the link", &link)(error)),
    };
    // A link that leads elsewhere is not of this module's making.
    let name = name.to_str().and_then(Name::parse);
    Ok(name.map(|name| Stored { folder: target.join(name.to_string()), name }))
}

/// All reports of a target, the newest first.
pub fn all(dir: &Path, target_name: &str) -> Result<Vec<Stored>, SnapshotError> {
    let target = dir.join(folder_name(target_name));
    let reports = names_of_reports(&target)?.into_iter().rev();
    Ok(reports.map(|name| Stored { folder: target.join(name.to_string()), name }).collect())
}

/// The report of a target that has that name; `None` where there is none.
pub fn of_name(dir: &Path, target_name: &str, name: &str) -> Result<Option<Stored>, SnapshotError> {
    Ok(all(dir, target_name)?.into_iter().find(|stored| stored.name() == name))
}

/// A report on the disk.
#[derive(Clone, Debug)]
pub struct Stored {
    folder: PathBuf,
    name: Name,
}

impl Stored {
    /// When it was generated, to the second.
    pub fn generated_at(&self) -> Timestamp {
        self.name.time()
    }

    /// The name of its folder: that time, and a number where there are several.
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    pub fn markdown(&self) -> Result<String, SnapshotError> {
        read(&self.folder.join(MARKDOWN_FILE))
    }

    /// The picture of that name. The name is looked for among those that there are and never
    /// followed as a path.
    pub fn chart(&self, file_name: &str) -> Result<Option<String>, SnapshotError> {
        let charts = self.folder.join(CHART_FOLDER);
        let known = self.chart_names()?.into_iter().find(|known| known == file_name);
        known.map(|name| read(&charts.join(name))).transpose()
    }

    /// All of it.
    pub fn report(&self) -> Result<Report, SnapshotError> {
        let charts = self.folder.join(CHART_FOLDER);
        let chart = |file_name: String| Ok(Chart { svg: read(&charts.join(&file_name))?, file_name });
        let charts = self.chart_names()?.into_iter().map(chart).collect::<Result<_, _>>()?;
        Ok(Report { markdown: self.markdown()?, charts })
    }

    fn chart_names(&self) -> Result<Vec<String>, SnapshotError> {
        let charts = self.folder.join(CHART_FOLDER);
        let is_picture = |name: &String| {
            name.ends_with(".svg") && fs::symlink_metadata(charts.join(name)).is_ok_and(|there| there.is_file())
        };
        Ok(names(&charts)?.into_iter().filter(is_picture).collect())
    }
}

fn read(path: &Path) -> Result<String, SnapshotError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

/// The folder's name for a target: its own where that is safe, else made safe and kept
/// apart from others by a checksum.
fn folder_name(target: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut name: String = target.chars().map(|c| if is_safe(c) { c } else { '_' }).collect();
    name.truncate(NAME_BYTES);
    if name.is_empty() || name.starts_with('.') {
        name = format!("_{}", name.get(1..).unwrap_or_default());
    }
    if name != target {
        name = format!("{name}-{:016x}", checksum(target));
    }
    name
}

/// The time of a report as its folder's name, with a number from the second of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    second: i64,
    number: u32,
}

impl Name {
    const FORMAT: &str = "%Y%m%dT%H%M%SZ";

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (time, number) = match text.split_once('-') {
            Some((time, number)) => (time, number.parse().ok().filter(|&number| number >= 2)?),
            None => (text, 1),
        };
        let name = Self { second: parse_time(time)?.as_second(), number };
        // Only what would be written that way: no sign, no leading zero.
        (name.to_string() == text).then_some(name)
    }

    pub(super) fn time(self) -> Timestamp {
        Timestamp::from_second(self.second).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime(Name::FORMAT, text).ok()?;
    jiff::tz::Offset::UTC.to_timestamp(time).ok()
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.time().strftime(Self::FORMAT))?;
        if self.number > 1 { write!(f, "-{}", self.number) } else { Ok(()) }
    }
}

fn unfinished_name(at: Timestamp, what: &str) -> String {
    format!("{UNFINISHED}{}-{}-{what}", at.strftime(Name::FORMAT), std::process::id())
}

fn write_files(folder: &Path, report: &Report) -> Result<(), SnapshotError> {
    let charts = folder.join(CHART_FOLDER);
    fs::create_dir_all(&charts).map_err(failed("create the folder", &charts))?;
    let files = report.charts.iter().map(|chart| (charts.join(&chart.file_name), &chart.svg));
    for (path, content) in files.chain([(folder.join(MARKDOWN_FILE), &report.markdown)]) {
        write_file(&path, content).map_err(failed("write", &path))?;
    }
    Ok(())
}

/// Writes through to the disk: the rename that follows must not overtake the content.
pub(super) fn write_file(path: &Path, content: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Renames the finished report into its place, the first free one of its second.
fn settle(target: &Path, unfinished: &Path, at: Timestamp) -> Result<Name, SnapshotError> {
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for number in 1..=SAME_SECOND {
        let name = Name { second: at.as_second(), number };
        let place = target.join(name.to_string());
        // An empty folder would be replaced silently: whatever is there is not ours.
        if fs::symlink_metadata(&place).is_ok() {
            continue;
        }
        match fs::rename(unfinished, &place) {
            Ok(()) => return Ok(name),
            Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty) => {
                taken = error;
            }
            Err(error) => return Err(failed("rename it to its place", &place)(error)),
        }
    }
    Err(failed("find a free name for it", unfinished)(taken))
}

/// Replaces the link in one step, so that a reader finds the old report or the new one.
fn point_latest(target: &Path, name: &str, at: Timestamp) -> Result<(), SnapshotError> {
    let latest = target.join(LATEST);
    if fs::symlink_metadata(&latest).is_ok_and(|there| !there.is_symlink()) {
        let error = io::Error::new(io::ErrorKind::AlreadyExists, "something else has that name");
        return Err(failed("link to the newest report", &latest)(error));
    }
    let unfinished = target.join(unfinished_name(at, LATEST));
    let linked = symlink(name, &unfinished).and_then(|()| fs::rename(&unfinished, &latest));
    linked.map_err(failed("link to the newest report", &latest))
}

/// Removes the oldest reports beyond `keep`.
fn prune(target: &Path, written: Name, keep: usize) -> Result<(), SnapshotError> {
    let mut reports = names_of_reports(target)?;
    reports.remove(&written);
    let surplus = (reports.len() + 1).saturating_sub(keep.max(1));
    for name in reports.into_iter().take(surplus) {
        let path = target.join(name.to_string());
        fs::remove_dir_all(&path).map_err(failed("remove the old report", &path))?;
    }
    Ok(())
}

/// The reports in a target's folder, none where it is not there; the oldest first.
pub(super) fn names_of_reports(target: &Path) -> Result<BTreeSet<Name>, SnapshotError> {
    if !target.exists() {
        return Ok(BTreeSet::new());
    }
    let names = names(target)?;
    let known = names.iter().filter_map(|name| Name::parse(name));
    Ok(known.filter(|name| is_report(&target.join(name.to_string()))).collect())
}

fn is_report(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.is_dir()) && path.join(MARKDOWN_FILE).is_file()
}

/// Removes what a killed process left unfinished.
fn remove_abandoned(target: &Path, now: Timestamp) -> Result<(), SnapshotError> {
    let is_abandoned = |name: &String| {
        let time = name.strip_prefix(UNFINISHED).and_then(|rest| rest.split('-').next()).and_then(parse_time);
        time.is_some_and(|time| now.duration_since(time) > ABANDONED_AFTER)
    };
    for name in names(target)?.iter().filter(|name| is_abandoned(name)) {
        let path = target.join(name);
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|there| there.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(failed("remove the unfinished report", &path))?;
    }
    Ok(())
}

/// The names in a folder, those that are text.
pub(super) fn names(folder: &Path) -> Result<Vec<String>, SnapshotError> {
    let read = || -> io::Result<Vec<Option<String>>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string().ok())).collect()
    };
    Ok(read().map_err(failed("list", folder))?.into_iter().flatten().collect())
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
