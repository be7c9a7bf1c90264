//! Whatever a configuration file holds: a configuration that can be measured, or what is wrong
//! with it, in words.

use std::collections::BTreeSet;

use llmsoak::config;

use super::files;

pub(crate) fn hold(data: &[u8]) {
    let Some(config) = files::read(data, config::from_file) else { return };
    assert!(!config.targets.is_empty(), "nothing to measure, and no word of it");
    let names: BTreeSet<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names.len(), config.targets.len(), "two targets of one name");
    for target in &config.targets {
        for slots in [None, Some(1), Some(u32::MAX)] {
            let first = target.grid.grid(slots).cells().next();
            assert!(first.is_some_and(|cell| cell.workers > 0 && cell.batch > 0), "{}: {first:?}", target.name);
        }
    }
}
