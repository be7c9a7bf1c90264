//! What a configuration refers to: other files, environment variables, the machine's clock.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::domain::plan::{Authorities, Prompts, Secret};
use crate::domain::{EMPTY_CHECKSUM, checksum_with};

use super::kind::{self, Kind};
use super::problem::Fault;

/// The most bytes of a configuration file.
const CONFIG_BYTES: usize = 1 << 20;
/// The most bytes of a file of prompts.
const PROMPTS_BYTES: usize = 16 << 20;
/// The most bytes of certificates, or of a key of theirs. A system's own bundle is of 200 KiB.
pub(super) const PEM_BYTES: usize = 1 << 20;
/// The most bytes of a key.
const SECRET_BYTES: usize = 16 << 10;

/// Where the references of a configuration lead.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The folder of the configuration file: relative files are relative to it.
    pub(super) folder: &'a Path,
    /// Looks up an environment variable.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The time zone of this machine, where it tells.
    pub(super) local_zone: &'a dyn Fn() -> Option<TimeZone>,
    /// Whether an address is one of this machine's.
    pub(super) is_own_address: &'a dyn Fn(IpAddr) -> bool,
}

impl<'a> Surroundings<'a> {
    /// This process, and a folder.
    pub(super) fn of(folder: &'a Path) -> Self {
        Self {
            folder,
            variable: &|name| std::env::var(name).ok(),
            local_zone: &|| TimeZone::try_system().ok().filter(|zone| !zone.is_unknown()),
            // Nothing is sent: the system refuses an address that it does not have.
            is_own_address: &|address| UdpSocket::bind((address, 0)).is_ok(),
        }
    }

    /// A place without files, variables and clocks.
    pub(super) fn nowhere() -> Self {
        let is_own_address = &|address: IpAddr| address.is_loopback() || address.is_unspecified();
        Self { folder: Path::new(""), variable: &|_| None, local_zone: &|| None, is_own_address }
    }

    /// Certificates to trust.
    pub(super) fn authorities(self) -> Kind<'a, Authorities> {
        self.path().and_then(|file| match read_text(&file, PEM_BYTES) {
            Ok(pem) => Ok(Authorities { file, pem }),
            Err(error) => Err(missing_beside(&file, &error)),
        })
    }

    /// The text of a file of certificates or of a key.
    pub(super) fn pem_file(self) -> Kind<'a, String> {
        self.path().and_then(|path| read_text(&path, PEM_BYTES).map_err(|error| missing_beside(&path, &error)))
    }

    pub(super) fn prompts(self) -> Kind<'a, Prompts> {
        self.path().and_then(|path| {
            let text = read_text(&path, PROMPTS_BYTES).map_err(|error| missing_beside(&path, &error))?;
            let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
            if lines.is_empty() {
                return Err(Fault::new("names a file without prompts").hint("write one prompt a line"));
            }
            let digest = digest(&lines);
            Ok(Prompts::Lines { lines, digest })
        })
    }

    /// A key and the file that holds it.
    pub(super) fn key_file(self) -> Kind<'a, (Secret, PathBuf)> {
        self.path().and_then(|path| {
            let text = read_text(&path, SECRET_BYTES).map_err(|error| missing_beside(&path, &error))?;
            Ok((key(&text)?, path))
        })
    }

    pub(super) fn key_variable(self) -> Kind<'a, Secret> {
        kind::text().and_then(move |name| {
            // No message repeats the name, for it may be the key, put here by mistake.
            let key_text = (self.variable)(&name).ok_or_else(|| {
                Fault::new("names an environment variable that is not set")
                    .hint("the variable's name stands here, not the key")
            })?;
            key(&key_text)
        })
    }

    fn path(self) -> Kind<'a, PathBuf> {
        kind::path().map(|path| self.folder.join(path))
    }
}

/// Reads the key that a file holds. No message shows it.
pub fn read_key_file(path: &Path) -> Result<Secret, Fault> {
    key(&read_text(path, SECRET_BYTES).map_err(|error| unreadable(path, &error))?)
}

/// A key is one word that fits into a header.
fn key(text: &str) -> Result<Secret, Fault> {
    let key = text.trim();
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Fault::new("must lead to a key: one word of visible ASCII characters"));
    }
    Ok(Secret::new(key))
}

fn unreadable(path: &Path, error: &io::Error) -> Fault {
    Fault::new(format!("cannot be read: {}: {error}", path.display()))
}

/// The same of a file that the configuration names.
fn missing_beside(path: &Path, error: &io::Error) -> Fault {
    let fault = unreadable(path, error);
    match error.kind() {
        io::ErrorKind::NotFound => fault.hint("relative paths start beside the configuration file"),
        _ => fault,
    }
}

/// The text of a configuration file.
pub(super) fn read_config(path: &Path) -> io::Result<String> {
    read_text(path, CONFIG_BYTES)
}

fn read_text(path: &Path, limit: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is larger from one that just fits.
    File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} KiB", limit >> 10)));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// A name for a set of prompts, which stands in the history.
fn digest(lines: &[String]) -> String {
    let sum = lines.iter().fold(EMPTY_CHECKSUM, |sum, line| checksum_with(checksum_with(sum, line), "\n"));
    format!("{sum:016x}")
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
