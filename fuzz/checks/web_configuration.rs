//! Whatever a web configuration file holds: who may see the pages, or what is wrong, in words.

use std::fs;

pub fn hold(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.yml");
    fs::write(&path, data).expect("is written");
    if let Err(problems) = llmsoak::config::web_from_file(&path) {
        assert!(!problems.to_string().trim().is_empty(), "a problem without words");
    }
}
