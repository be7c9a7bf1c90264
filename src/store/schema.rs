//! Opens the file: the folder, the lock, the pragmas, the migrations.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// The schema, by number: the file's `user_version` is how many of these it has seen.
const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_history.sql")];
/// How long a reader waits for the writer and the other way round.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

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
    #[error("{path}: not a llmsoak history, or damaged: {source}\n  hint: move the file away; a new one will be made")]
    Foreign { path: PathBuf, source: rusqlite::Error },
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

/// Holds the folder for one writer; let go when dropped or when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        let fault = |source| StoreError::Folder { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(fault)?;
        let file = File::create(folder.join("llmsoak.lock")).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(fault(source)),
        }
    }
}

/// Opens the file for writing, making it or bringing it up to date first.
pub(super) fn open_to_write(path: &Path) -> Result<Connection, StoreError> {
    let foreign = |source| StoreError::Foreign { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(foreign)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Full: each sample is on the disk when its transaction ends, through a power cut too.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
        .map_err(foreign)?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

/// Opens an existing file for reading only.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    let foreign = |source| StoreError::Foreign { path: path.to_owned(), source };
    // Reading a WAL needs its shared memory file, so the file is not opened read-only.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(foreign)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA query_only = ON").map_err(foreign)?;
    check_version(&connection, path)?;
    Ok(connection)
}

/// How many migrations the file has seen; refuses one that saw more than there are.
fn check_version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let version = connection
        .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        .map_err(|source| StoreError::Foreign { path: path.to_owned(), source })?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: MIGRATIONS.len() });
    }
    Ok(version)
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = check_version(connection, path)?;
    for (number, migration) in (1..).zip(MIGRATIONS).skip(version) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration).map_err(|source| StoreError::Foreign { path: path.to_owned(), source })?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}
