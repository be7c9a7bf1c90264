//! The lines of Go's benchmarks, which benchstat compares:
//! <https://go.dev/design/14313-benchmark-format>. A valid sample is a line of its cell; an
//! operation is a request.

use std::io::{self, Write};

use crate::domain::{Entry, EpochEntry, Measurement, Quantiles};

/// Units of which more is better, in benchstat's words; of others less is.
const HEAD: &str = "Unit tokens/s better=higher\n";

pub(super) fn write_head(out: &mut impl Write) -> io::Result<()> {
    out.write_all(HEAD.as_bytes())
}

pub(super) fn write(out: &mut impl Write, entry: &Entry) -> io::Result<()> {
    match entry {
        Entry::Epoch(epoch) => write_epoch(out, epoch),
        Entry::Sample(sample) if sample.is_valid() => {
            let (cell, m) = (sample.cell, &sample.measurement);
            write!(out, "BenchmarkBatch/workers={}/batch={} {}", cell.workers, cell.batch, m.requests)?;
            for (value, unit) in values(m) {
                write!(out, " {value} {unit}")?;
            }
            writeln!(out)
        }
        Entry::Sample(_) | Entry::Cycle(_) | Entry::Cell(..) | Entry::Event(_) => Ok(()),
    }
}

/// The keys that hold for the lines below. They are few: benchstat makes a table of its own
/// for each value of a key that is not asked to be a column.
fn write_epoch(out: &mut impl Write, EpochEntry { target, epoch, .. }: &EpochEntry) -> io::Result<()> {
    let line = |text: &str| text.replace(char::is_control, " ");
    writeln!(out, "\ntarget: {}\nmodel: {}\nepoch: {}", line(&target.name), line(&target.model), epoch.id)
}

/// The figures with their units.
fn values(m: &Measurement) -> impl Iterator<Item = (f64, &'static str)> {
    let latency = |quantiles: Option<Quantiles>, of: fn(&Quantiles) -> f64, unit| quantiles.map(|q| (of(&q), unit));
    let nanoseconds = (m.seconds_per_request * 1e9).round();
    [
        Some((nanoseconds, "ns/op")),
        Some((m.tokens_per_second, "tokens/s")),
        latency(m.time_to_first_token, |q| q.p50, "ttft-p50-sec"),
        latency(m.time_to_first_token, |q| q.p95, "ttft-p95-sec"),
        latency(m.inter_token_latency, |q| q.p50, "itl-p50-sec"),
        latency(m.inter_token_latency, |q| q.p95, "itl-p95-sec"),
    ]
    .into_iter()
    .flatten()
}
