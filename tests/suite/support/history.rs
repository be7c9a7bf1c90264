//! What the history holds, read with SQL as a user would.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::FromSql;

/// A connection to a history file.
#[derive(Debug)]
pub(crate) struct History(Connection);

/// When something of a target began and ended, RFC 3339 in UTC: texts that compare as times do.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) target: String,
    began: String,
    ended: String,
}

impl Span {
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.began < other.ended && other.began < self.ended
    }
}

impl History {
    pub(crate) fn open(storage: &Path) -> Self {
        let path = storage.join("llmsoak.db");
        assert!(path.exists(), "{} is not there", path.display());
        Self(Connection::open(path).expect("a history"))
    }

    /// Keeps others from the file until [`Self::release`]: they wait for some seconds.
    pub(crate) fn hold(&self) {
        self.0.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").expect("nobody else uses it");
    }

    pub(crate) fn release(self) {
        self.0.execute_batch("COMMIT").expect("nothing to write");
    }

    /// Writes to it.
    pub(crate) fn execute(&self, sql: &str) {
        self.0.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The one value that a query gives.
    pub(crate) fn one<T: FromSql>(&self, sql: &str) -> T {
        self.0.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column that a query gives.
    pub(crate) fn column<T: FromSql>(&self, sql: &str) -> Vec<T> {
        let mut statement = self.0.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = statement.query_map([], |row| row.get(0)).expect("a query without parameters");
        rows.map(|value| value.unwrap_or_else(|error| panic!("{sql}: {error}"))).collect()
    }

    /// The spans of all rows of a table that has the columns `started_at` and `completed_at`.
    pub(crate) fn spans(&self, table: &str) -> Vec<Span> {
        let sql = format!(
            "SELECT name, started_at, completed_at FROM {table} JOIN target ON target.id = target_id ORDER BY started_at"
        );
        let mut statement = self.0.prepare(&sql).expect("a table with spans");
        let span = |row: &rusqlite::Row<'_>| Ok(Span { target: row.get(0)?, began: row.get(1)?, ended: row.get(2)? });
        let rows = statement.query_map([], span).expect("a query without parameters");
        rows.collect::<Result<_, _>>().expect("spans that ended")
    }

    /// Asserts that SQLite finds no fault with the file.
    pub(crate) fn check_integrity(&self) {
        assert_eq!(self.column::<String>("PRAGMA integrity_check"), ["ok"]);
        assert_eq!(self.0.query_row("PRAGMA foreign_key_check", [], |_| Ok(())).ok(), None);
    }
}
