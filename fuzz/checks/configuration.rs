//! Whatever a configuration file holds: a configuration, or what is wrong with it, in words.

use std::fs;

pub fn hold(data: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("llmsoak.yml");
    fs::write(&path, data).expect("is written");
    match llmsoak::config::from_file(&path) {
        Ok(config) => {
            assert!(!config.targets.is_empty(), "no target and no word of it");
            for target in &config.targets {
                let cells = target.grid.cells.cells().len();
                assert!(cells > 0, "{}: a grid without cells", target.name);
            }
        }
        Err(problems) => assert!(!problems.to_string().trim().is_empty(), "a problem without words"),
    }
}
