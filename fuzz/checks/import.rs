//! Whatever a file to import holds: entries that can be written, read again and stored, or the
//! line that is not sound.

use std::cell::RefCell;
use std::iter;

use jiff::Timestamp;
use llmsoak::domain::{Entry, Measurement};
use llmsoak::exchange::{Content, Form, Malformed, Reading, Writing, entries, format_of, survey};
use llmsoak::store::{Import, StoreError};
use tempfile::TempDir;

/// As much of a file is looked at to see what it is.
const BEGINNING: usize = 64 << 10;

pub(crate) fn hold(data: &[u8]) {
    match read(data) {
        Ok((content, entries)) => {
            check_export(&entries);
            check_history(&content, entries);
        }
        Err(Malformed { line, what }) => {
            let lines = 1 + data.iter().filter(|&&byte| byte == b'\n').count() as u64;
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {what}");
            assert!(!what.trim().is_empty(), "a line that is wrong without words");
        }
    }
}

/// What a file holds, where all of it is sound.
fn read(data: &[u8]) -> Result<(Content, Vec<Entry>), Malformed> {
    let beginning = String::from_utf8_lossy(data.get(..BEGINNING).unwrap_or(data));
    let reading = Reading { target: "legacy", measured_until: Timestamp::UNIX_EPOCH };
    let format = format_of(&beginning)?;
    let entries = || entries(format, &reading, || Ok(data)).expect("memory can be read");
    let content = survey(entries())?;
    let entries: Result<_, _> = entries().map(|entry| entry.map(|(_, entry)| entry)).collect();
    Ok((content, entries?))
}

/// What is written is read as it was, but for times, which are kept to the millisecond.
fn check_export(entries: &[Entry]) {
    let text = written(entries);
    let (_, again) = read(&text).unwrap_or_else(|malformed| panic!("{malformed}: {}", text.escape_ascii()));
    assert!(written(&again) == text, "{} has become {again:?}", text.escape_ascii());
    assert_eq!(measurements(&again), measurements(entries));
}

/// The entries as JSON lines.
fn written(entries: &[Entry]) -> Vec<u8> {
    let mut writing = Writing::begin(Form::Jsonl, Vec::new()).expect("memory takes all");
    for entry in entries {
        writing.write(entry).expect("memory takes all");
    }
    writing.finish().expect("memory takes all")
}

fn measurements(entries: &[Entry]) -> Vec<&Measurement> {
    let samples = entries.iter().filter_map(|entry| match entry {
        Entry::Sample(sample) => Some(sample),
        _ => None,
    });
    samples.map(|sample| &sample.measurement).collect()
}

thread_local! {
    static HISTORY: RefCell<(Import, TempDir)> = {
        let folder = tempfile::tempdir().expect("a folder");
        RefCell::new((Import::open(folder.path(), 0).expect("a history"), folder))
    };
}

/// Why nothing is stored in the end.
enum Undone {
    /// All of it could have been.
    ByTheCheck,
    ByTheHistory(StoreError),
}

impl From<StoreError> for Undone {
    fn from(error: StoreError) -> Self {
        Self::ByTheHistory(error)
    }
}

/// The history takes all of it. It is empty again afterwards.
fn check_history(content: &Content, entries: Vec<Entry>) {
    let entries = entries.into_iter().map(Ok).chain(iter::once(Err(Undone::ByTheCheck)));
    match HISTORY.with_borrow_mut(|(history, _)| history.write(entries, &content.ends)) {
        Err(Undone::ByTheCheck) => {}
        Err(Undone::ByTheHistory(error)) => panic!("{error}"),
        Ok(_) => unreachable!("the last entry is an error"),
    }
}
