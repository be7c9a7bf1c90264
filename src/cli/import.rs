//! `llmsoak import`: an old report, or the export of another history, into the history.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use jiff::Timestamp;

use super::args::ImportArgs;
use super::print;
use super::reporting::storage_folder;
use crate::domain::{Entry, TargetId};
use crate::exchange::{Content, Entries, Format, Malformed, Reading, entries, format_of, survey};
use crate::store::{Import, ImportedEpoch};

/// What a legacy report's target is called unless it is said: it names none.
const LEGACY_TARGET: &str = "legacy";
/// Enough of a file to see what it is.
const BEGINNING: u64 = 64 << 10;
const BUFFER: usize = 1 << 18;

pub(super) fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let storage = storage_folder(&args.config, &args.storage)?;
    let source = Source::of(args)?;
    // First all of it is looked at, so that a daemon beside has to wait for writing alone.
    let content = survey(source.entries()?).map_err(|malformed| source.told(&malformed))?;
    source.check_targets(&content)?;
    let mut import = Import::open(&storage, content.samples)?;
    if import.is_beside_a_daemon() {
        tracing::debug!("importing while another llmsoak measures into this history");
    }
    let read = source.entries()?.map(|entry| match entry {
        Ok((_, entry)) => anyhow::Ok(source.renamed(entry)),
        Err(malformed) => Err(source.told(&malformed)),
    });
    for epoch in import.write(read, &content.ends)? {
        print(told(&epoch));
    }
    Ok(ExitCode::SUCCESS)
}

/// A file with what it does not tell by itself.
struct Source<'a> {
    path: &'a Path,
    format: Format,
    target: Option<&'a str>,
    measured_until: Timestamp,
}

impl<'a> Source<'a> {
    fn of(args: &'a ImportArgs) -> anyhow::Result<Self> {
        let path = &args.file;
        let shown = path.display();
        let metadata = std::fs::metadata(path).with_context(|| format!("{shown}"))?;
        if !metadata.is_file() {
            bail!("{shown}: not a file\n  hint: it is read twice; write what comes from a pipe to a file first");
        }
        let mut beginning = Vec::new();
        File::open(path)?.take(BEGINNING).read_to_end(&mut beginning).with_context(|| format!("{shown}"))?;
        let format = format_of(&String::from_utf8_lossy(&beginning))
            .map_err(|malformed| anyhow::anyhow!("{shown}:{malformed}"))?;
        if args.time.is_some() && format != Format::Legacy {
            bail!("--time: is for a legacy report, which does not tell its time; this file does");
        }
        let modified = metadata.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let measured_until = args.time.or(modified).unwrap_or(Timestamp::UNIX_EPOCH);
        Ok(Self { path, format, target: args.target.as_deref(), measured_until })
    }

    fn entries(&self) -> io::Result<Entries<'_>> {
        let target = self.target.unwrap_or(LEGACY_TARGET);
        let reading = Reading { target, measured_until: self.measured_until };
        entries(self.format, &reading, || Ok(BufReader::with_capacity(BUFFER, File::open(self.path)?)))
    }

    fn told(&self, malformed: &Malformed) -> anyhow::Error {
        anyhow::anyhow!("{}:{malformed}\n  hint: nothing was imported", self.path.display())
    }

    /// A name for several targets would make one of them.
    fn check_targets(&self, content: &Content) -> anyhow::Result<()> {
        let names: BTreeSet<&str> = content.targets.iter().map(|target| &*target.name).collect();
        if self.target.is_some() && names.len() > 1 {
            let names: Vec<&str> = names.into_iter().collect();
            bail!(
                "--target: the file has several targets: {}\n  hint: export one of them with --target",
                names.join(", ")
            );
        }
        Ok(())
    }

    /// The entry as one of the target that was asked for.
    fn renamed(&self, mut entry: Entry) -> Entry {
        if let Some(name) = self.target {
            let owner = match &mut entry {
                Entry::Epoch(epoch) => Some(&mut epoch.target),
                Entry::Sample(sample) => Some(&mut sample.target),
                Entry::Event(event) => Some(&mut event.target),
                Entry::Cycle(_) | Entry::Cell(..) => None,
            };
            if let Some(owner) = owner {
                *owner = TargetId::new(name, &owner.model);
            }
        }
        entry
    }
}

fn told(epoch: &ImportedEpoch) -> String {
    let ImportedEpoch { target: TargetId { name, model }, id, added, was_there } = epoch;
    let samples = if *added == 1 { "sample" } else { "samples" };
    let what = match (was_there, added) {
        (false, added) => format!("{added} {samples}"),
        (true, 0) => "was there already".to_owned(),
        (true, added) => format!("was there already, {added} {samples} added"),
    };
    format!("epoch {id}: target {name}, model {model}: {what}\n")
}
