//! A configuration as a file, beside the files that it may name, and what must hold of all that
//! is said of it.

use std::fs;
use std::path::Path;

use llmsoak::config::Problems;
use tempfile::TempDir;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
const BESIDE: [(&str, &str); 5] = [
    ("key", "sk-1\n"),
    ("prompts.txt", "one\ntwo\n"),
    ("ca.pem", CERTIFICATE),
    ("server.crt", CERTIFICATE),
    ("server.key", KEY),
];

/// The most bytes of one problem as it is shown: its parts are bounded.
const LONGEST: usize = 8 << 10;

thread_local! {
    static FOLDER: TempDir = {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in BESIDE {
            fs::write(folder.path().join(name), text).expect("is written");
        }
        folder
    };
}

/// What `read` makes of a file that holds those bytes. Where it is refused, every problem is
/// one line of words, and names a line of the file.
pub(crate) fn read<T>(bytes: &[u8], read: fn(&Path) -> Result<T, Problems>) -> Option<T> {
    let outcome = FOLDER.with(|folder| {
        let path = folder.path().join("checked.yml");
        fs::write(&path, bytes).expect("is written");
        read(&path)
    });
    let problems = match outcome {
        Ok(sound) => return Some(sound),
        Err(Problems(problems)) => problems,
    };
    assert!(!problems.is_empty(), "refused without a word");
    let lines = 1 + bytes.iter().filter(|&&byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    for problem in problems {
        let shown = problem.to_string();
        assert!(!problem.fault.what.trim().is_empty(), "{shown}: says nothing");
        assert!(!shown.contains(char::is_control), "{shown:?} breaks the line");
        assert!(shown.len() <= LONGEST, "{shown}");
        assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{shown}: of {lines} lines");
    }
    None
}
