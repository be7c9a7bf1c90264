//! The list of all reports on the disk: `<dir>/index.md`, for whoever keeps that folder in a
//! repository. It has no words of its own, so that it is the same in all languages.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::number::time;
use super::snapshot::{MARKDOWN_FILE, SnapshotError, failed, names, names_of_reports, write_file};

const INDEX: &str = "index.md";

/// Lists what lies in the folder now.
pub(super) fn write(dir: &Path) -> Result<(), SnapshotError> {
    let targets: BTreeSet<String> = names(dir)?.into_iter().filter(|name| dir.join(name).is_dir()).collect();
    let mut text = "# llmsoak\n".to_owned();
    for target in &targets {
        let reports = names_of_reports(&dir.join(target))?;
        if reports.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n## {target}\n");
        for report in reports.iter().rev() {
            let _ = writeln!(text, "- [{}]({target}/{report}/{MARKDOWN_FILE})", time(report.time()));
        }
    }
    let (index, unfinished) = (dir.join(INDEX), dir.join(format!(".{INDEX}-{}", std::process::id())));
    write_file(&unfinished, &text).and_then(|()| fs::rename(&unfinished, &index)).map_err(failed("write", &index))
}
