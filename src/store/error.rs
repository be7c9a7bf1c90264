//! Why the history cannot be opened or used.

use std::path::{Path, PathBuf};

/// Why the history cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("storage.path {path}: {source}\n  hint: name a folder that this user may write to")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(
        "storage.path {path}: another llmsoak is using this history\n  hint: stop it, or give this one a storage.path of its own"
    )]
    Locked { path: PathBuf },
    #[error(
        "{path}: made by a newer llmsoak (schema {found}, this one knows {known})\n  hint: use that version, or another storage.path"
    )]
    Newer { path: PathBuf, found: usize, known: usize },
    #[error(
        "{path}: being written by an older llmsoak (schema {found}, this one knows {known})\n  hint: stop that one first"
    )]
    Older { path: PathBuf, found: usize, known: usize },
    #[error(
        "storage.path {path}: a llmsoak is measuring into this history and would have to wait too long for {samples} samples to be written (at most {most})\n  hint: stop it for the import"
    )]
    TooLargeBeside { path: PathBuf, samples: u64, most: u64 },
    #[error("{path}: not a llmsoak history, or damaged: {source}\n  hint: move the file away; a new one will be made")]
    Foreign { path: PathBuf, source: rusqlite::Error },
    #[error("{path}: cannot be used: {source}\n  hint: see that this user may write to it, and that its disk has room")]
    Unusable { path: PathBuf, source: rusqlite::Error },
    #[error(
        "{path}: there is no history yet\n  hint: run `llmsoak run` or `llmsoak once` first, or name its storage.path"
    )]
    Missing { path: PathBuf },
    #[error("history: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("history: a stored {what} is not understood: {text}")]
    Value { what: &'static str, text: String },
    #[error("history: the writer has stopped")]
    Stopped,
}

impl StoreError {
    /// Why a file that was opened is of no use: what it is, or what keeps this program from it.
    pub(super) fn of_file(path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, PermissionDenied, ReadOnly, SystemIoFailure,
        };
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(
                CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | PermissionDenied | ReadOnly | SystemIoFailure,
            ) => Self::Unusable { path, source },
            _ => Self::Foreign { path, source },
        }
    }
}
