//! Opens the file: the folder, the lock, the pragmas, the migrations.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::aggregates;
use super::error::StoreError;

/// The schema, by number: the file's `user_version` is how many of these it has seen.
pub(super) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_history.sql"),
    include_str!("migrations/0002_retention.sql"),
    include_str!("migrations/0003_queue_wait.sql"),
    include_str!("migrations/0004_slots_and_canary.sql"),
    include_str!("migrations/0005_conditions_and_changes.sql"),
];
/// The first schema with aggregates.
const WITH_AGGREGATES: usize = 2;
/// What the write-ahead log is cut back to, bytes; four times what SQLite lets it grow to
/// where no reader is in the way.
pub(super) const WAL_BYTES: u64 = 16 << 20;
/// SQLite's number for pages that are given back on demand.
const INCREMENTAL: u64 = 2;
/// How long a reader waits for the writer and the other way round.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The permissions of what is made here; those of what is there stay.
const OWNERS_FOLDER: u32 = 0o700;
const OWNERS_FILE: u32 = 0o600;

/// Enough for what a sample touches. SQLite's own 2 MB a connection would be a tenth of the
/// daemon's memory, and grow with the history until then.
const SMALL: &str = "PRAGMA cache_size = -512;";
/// Full: each sample is on the disk when its transaction ends, through a power cut too.
const DURABLE: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";

/// Holds the folder for one writer; let go when dropped or when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        let fault = |source| StoreError::Folder { path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(OWNERS_FOLDER).create(folder).map_err(fault)?;
        let file = owners_file(&folder.join("llmsoak.lock")).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(fault(source)),
        }
    }
}

/// Opens a file, making it for its owner alone where there is none: a history tells what a
/// machine runs, and how much.
fn owners_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(OWNERS_FILE).open(path)
}

/// Opens a file that another process is writing, to write to it too. It has to be of this
/// program's schema: whoever writes it knows no other.
pub(super) fn open_beside(path: &Path) -> Result<Connection, StoreError> {
    let fault = |source| StoreError::of_file(path, source);
    let connection = Connection::open(path).map_err(fault)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(DURABLE).map_err(fault)?;
    connection.execute_batch(SMALL).map_err(fault)?;
    let found = check_version(&connection, path)?;
    if found < MIGRATIONS.len() {
        return Err(StoreError::Older { path: path.to_owned(), found, known: MIGRATIONS.len() });
    }
    Ok(connection)
}

/// Opens the file for writing, making it or bringing it up to date first.
pub(super) fn open_to_write(path: &Path) -> Result<Connection, StoreError> {
    let fault = |source| StoreError::of_file(path, source);
    // SQLite gives the files beside it the same permissions.
    drop(owners_file(path).map_err(|source| StoreError::Folder { path: path.to_owned(), source })?);
    let mut connection = Connection::open(path).map_err(fault)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Before all else, for it forms the first page: what retention deletes shrinks the file.
    connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(fault)?;
    connection.execute_batch(DURABLE).map_err(fault)?;
    connection.execute_batch(SMALL).map_err(fault)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES.cast_signed()).map_err(fault)?;
    migrate(&mut connection, path)?;
    make_shrinkable(&connection, path)?;
    Ok(connection)
}

/// Tells a file that is not there from one in a folder that this user may not look into.
pub(super) fn must_exist(path: &Path) -> Result<(), StoreError> {
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::Missing { path: path.to_owned() }),
        Err(source) => Err(StoreError::Folder { path: path.to_owned(), source }),
    }
}

/// Opens an existing file for reading only. One of an older schema is brought up to date
/// first, unless it is being written.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    must_exist(path)?;
    let fault = |source| StoreError::of_file(path, source);
    // Reading a WAL needs its shared memory file, so the file is not opened read-only.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fault)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch("PRAGMA query_only = ON").map_err(fault)?;
    connection.execute_batch(SMALL).map_err(fault)?;
    // A file without any schema is not ours to write to.
    if (1..MIGRATIONS.len()).contains(&check_version(&connection, path)?)
        && let Some(folder) = path.parent()
    {
        let _lock = Lock::take(folder)?;
        open_to_write(path)?;
    }
    Ok(connection)
}

/// How many migrations the file has seen; refuses one that saw more than there are.
fn check_version(connection: &Connection, path: &Path) -> Result<usize, StoreError> {
    let version = connection
        .query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))
        .map_err(|source| StoreError::of_file(path, source))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > MIGRATIONS.len() {
        return Err(StoreError::Newer { path: path.to_owned(), found: version, known: MIGRATIONS.len() });
    }
    Ok(version)
}

/// A number that SQLite tells of a file.
pub(super) fn number(connection: &Connection, pragma: &str) -> Result<u64, StoreError> {
    let number: i64 = connection.pragma_query_value(None, pragma, |row| row.get(0))?;
    Ok(u64::try_from(number).unwrap_or(0))
}

/// Brings the file up to date, in one transaction.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let version = check_version(connection, path)?;
    if version == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(migration).map_err(|source| StoreError::of_file(path, source))?;
    }
    // What a migration has to compute comes after the last one: it is of the newest tables.
    if version < WITH_AGGREGATES {
        aggregates::fill(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len().cast_signed())?;
    transaction.commit()?;
    Ok(())
}

/// Makes a file that is too old to give pages back anew, once. Where there is no room for
/// that, the history is as good as ever but keeps its size.
fn make_shrinkable(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    if number(connection, "auto_vacuum")? == INCREMENTAL {
        return Ok(());
    }
    tracing::info!(path = %path.display(), "making the history anew, so that it can shrink");
    let rewritten = connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM");
    // The new file went through the log.
    match rewritten.and_then(|()| connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")) {
        Ok(()) => {}
        Err(error) => tracing::warn!(%error, "the history cannot shrink when old samples are deleted"),
    }
    Ok(())
}
