//! What a configuration refers to: other files and environment variables.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::domain::plan::{Prompts, Secret};

use super::problem::Fault;
use super::tree::Node;
use super::value;

/// The most bytes of a configuration file.
const CONFIG_BYTES: u64 = 1 << 20;
/// The most bytes of a file of prompts.
const PROMPTS_BYTES: u64 = 16 << 20;
/// The most bytes of a key.
const SECRET_BYTES: u64 = 16 << 10;

/// Where the references of a configuration lead.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The folder of the configuration file: relative files are relative to it.
    pub(super) folder: &'a Path,
    /// Looks up an environment variable.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Surroundings<'_> {
    /// A file that somebody else will read: it must be there and open.
    pub(super) fn file(&self, node: &Node) -> Result<PathBuf, Fault> {
        let path = self.folder.join(value::path(node)?);
        File::open(&path).map(|_| path.clone()).map_err(|error| unreadable(&path, &error.to_string()))
    }

    pub(super) fn prompts(&self, node: &Node) -> Result<Prompts, Fault> {
        let path = self.folder.join(value::path(node)?);
        let text = read_text(&path, PROMPTS_BYTES).map_err(|reason| unreadable(&path, &reason))?;
        let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        if lines.is_empty() {
            return Err(
                Fault::new(format!("names a file without prompts: {}", path.display())).hint("write one prompt a line")
            );
        }
        let digest = digest(&lines);
        Ok(Prompts::Lines { lines, digest })
    }

    pub(super) fn key_file(&self, node: &Node) -> Result<Secret, Fault> {
        let path = self.folder.join(value::path(node)?);
        let text = read_text(&path, SECRET_BYTES).map_err(|reason| unreadable(&path, &reason))?;
        key(&text, &format!("the file {}", path.display()))
    }

    pub(super) fn key_variable(&self, node: &Node) -> Result<Secret, Fault> {
        // No message repeats the name, for it may be the key, put here by mistake.
        let text = (self.variable)(&value::text(node)?).ok_or_else(|| {
            Fault::new("names an environment variable that is not set")
                .hint("the variable's name stands here, not the key")
        })?;
        key(&text, "the environment variable")
    }
}

/// A key is one word that fits into a header.
fn key(text: &str, origin: &str) -> Result<Secret, Fault> {
    let key = text.trim();
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Fault::new(format!("leads to no key: {origin} must hold one word of ASCII characters")));
    }
    Ok(Secret::new(key))
}

fn unreadable(path: &Path, reason: &str) -> Fault {
    Fault::new(format!("cannot be read: {}: {reason}", path.display()))
        .hint("relative files are looked for beside the configuration file")
}

/// The text of a configuration file, or why there is none.
pub(super) fn read_config(path: &Path) -> Result<String, String> {
    read_text(path, CONFIG_BYTES)
}

fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
    let length = read.map_err(|error| error.to_string())?;
    if u64::try_from(length).is_ok_and(|length| length > limit) {
        return Err(format!("it is larger than {} KiB", limit >> 10));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
}

/// A name for a set of prompts: FNV-1a, 64 bits, in hexadecimal.
///
/// It stands in the history and must be the same from every build, which std's hashers do
/// not promise; it tells prompt sets apart and keeps nothing safe, so it need not be strong.
fn digest(lines: &[String]) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let bytes = lines.iter().flat_map(|line| line.bytes().chain([b'\n']));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_never_changes() {
        assert_eq!(digest(&[]), "cbf29ce484222325");
        assert_eq!(digest(&["hello".to_owned(), "world".to_owned()]), "2925835410388969");
    }
}
