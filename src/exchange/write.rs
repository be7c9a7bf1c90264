//! Writes entries in a form.

use std::io::{self, Write};

use super::csv::Table;
use super::{benchstat, jsonl};
use crate::domain::{Entry, EntryKind};

/// A form to write in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One table.
    Csv(EntryKind),
    Jsonl,
    Benchstat,
}

impl Form {
    /// Whether it shows entries of that kind at all.
    pub fn shows(self, kind: EntryKind) -> bool {
        match self {
            Self::Csv(table) => kind == table,
            Self::Jsonl => true,
            Self::Benchstat => matches!(kind, EntryKind::Epochs | EntryKind::Samples),
        }
    }
}

/// A text that grows by an entry at a time. Give it a buffered writer.
pub struct Writing<W: Write>(Kind<W>);

enum Kind<W: Write> {
    Csv(Box<Table<W>>),
    Jsonl(W),
    Benchstat(W),
}

impl<W: Write> std::fmt::Debug for Writing<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writing")
    }
}

impl<W: Write> Writing<W> {
    /// Begins with what stands before the first entry.
    pub fn begin(form: Form, mut out: W) -> io::Result<Self> {
        Ok(Self(match form {
            Form::Csv(kind) => Kind::Csv(Box::new(Table::new(out, kind))),
            Form::Jsonl => {
                jsonl::write_head(&mut out)?;
                Kind::Jsonl(out)
            }
            Form::Benchstat => {
                benchstat::write_head(&mut out)?;
                Kind::Benchstat(out)
            }
        }))
    }

    /// Writes an entry, or passes over one that the form does not show.
    pub fn write(&mut self, entry: &Entry) -> io::Result<()> {
        match &mut self.0 {
            Kind::Csv(table) => table.write(entry),
            Kind::Jsonl(out) => jsonl::write(out, entry),
            Kind::Benchstat(out) => benchstat::write(out, entry),
        }
    }

    /// Writes what is still held back.
    pub fn finish(self) -> io::Result<W> {
        let mut out = match self.0 {
            Kind::Csv(table) => table.finish()?,
            Kind::Jsonl(out) | Kind::Benchstat(out) => out,
        };
        out.flush()?;
        Ok(out)
    }
}
