//! `llmsoak export`: the history out, as CSV, JSON lines or benchstat's lines.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::args::{ExportArgs, ExportFormat, ExportTable};
use super::reporting::{known_target, storage_folder};
use crate::domain::EntryKind;
use crate::exchange::{Form, Writing};
use crate::store::Reader;

const BUFFER: usize = 1 << 18;

pub(super) fn run(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let form = form(args)?;
    let history = Reader::open(&storage_folder(&args.config, &args.storage)?)?;
    if let Some(name) = &args.target {
        known_target(&history, name)?;
    }
    match args.output.as_path() {
        path if path == Path::new("-") => {
            let out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
            match write(&history, args, form, out) {
                // Whoever closed the pipe has seen enough.
                Err(error) if is_closed_pipe(&error) => {}
                other => drop(other?),
            }
        }
        path => write_file(&history, args, form, path).with_context(|| format!("{}", path.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn form(args: &ExportArgs) -> anyhow::Result<Form> {
    let table = args.table.map(|ExportTable(kind)| kind);
    Ok(match (args.format, table) {
        (ExportFormat::Csv, table) => Form::Csv(table.unwrap_or(EntryKind::Samples)),
        (ExportFormat::Jsonl, None) => Form::Jsonl,
        (ExportFormat::Benchstat, None) => Form::Benchstat,
        (ExportFormat::Jsonl | ExportFormat::Benchstat, Some(_)) => {
            anyhow::bail!("--table: is for --format=csv, which holds one table a file")
        }
    })
}

fn write<W: Write>(history: &Reader, args: &ExportArgs, form: Form, out: W) -> anyhow::Result<W> {
    let mut writing = Writing::begin(form, out)?;
    history.entries(args.target.as_deref(), |kind| form.shows(kind), |entry| anyhow::Ok(writing.write(entry)?))?;
    Ok(writing.finish()?)
}

/// Writes beside the place and renames: an export is there whole or not at all. A pipe or a
/// device is written to as it is, and a link is followed.
fn write_file(history: &Reader, args: &ExportArgs, form: Form, path: &Path) -> anyhow::Result<()> {
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let file = BufWriter::with_capacity(BUFFER, fs::OpenOptions::new().write(true).open(path)?);
        write(history, args, form, file)?.flush()?;
        return Ok(());
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".unfinished-{}", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let file = BufWriter::with_capacity(BUFFER, File::create(&unfinished)?);
    let written = write(history, args, form, file).and_then(|file| {
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        Ok(fs::rename(&unfinished, path)?)
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
