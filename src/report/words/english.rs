//! The report in English.

use super::{ConditionFacts, RunFacts, Words};
use crate::domain::{FailureKind, InvalidReason};

mod changes;
mod charts;

fn counted(count: impl Into<u128>, one: &str, many: &str) -> String {
    let count: u128 = count.into();
    format!("{count} {}", if count == 1 { one } else { many })
}

pub(super) const ENGLISH: Words = Words {
    title: |model| format!("Performance report for {model}"),
    about: |target, url, epoch| format!("Target **{target}** at {url}, epoch {epoch}."),
    period: |from, to| format!("Measured from {from} to {to}:"),
    extent: |extent| {
        format!(
            "{}, {}, {} rejected, {} of {} measured.",
            counted(extent.cycles, "complete cycle", "complete cycles"),
            counted(extent.valid as u64, "valid sample", "valid samples"),
            extent.rejected,
            extent.measured_cells,
            counted(extent.cells as u64, "cell", "cells"),
        )
    },
    written: |time, version| format!("Written at {time} by llmsoak {version}."),
    to_status: "Status",
    to_all_reports: "All reports",
    no_sample_yet: "No sample has been taken yet.",
    no_valid_sample_yet: |rejected| {
        format!("No valid sample yet: {} rejected; the reasons stand below.", counted(rejected as u64, "was", "were"))
    },
    partly_on_cpu: |samples, least| {
        format!(
            "**Warning:** in {} not all of the model was on the GPU, at the least {least}: the CPU worked on the rest.",
            counted(samples as u64, "sample", "samples"),
        )
    },
    summary: changes::SUMMARY,
    conclusions: "Overall conclusions",
    optima: "Best parameters for each number of workers",
    optima_columns: ["Workers", "Best batch", "Highest tokens/s", "95 % interval", "Repeats"],
    best_configuration: "Best configuration for this hardware",
    best_workers: |workers| format!("**Workers:** {workers}"),
    best_batch: |batch| format!("**Best batch:** {batch}"),
    best_rate: |rate| format!("**Token rate:** {rate} tokens/s"),
    best_time_per_request: |seconds| format!("**Time per request:** {seconds} s"),
    best_steady_rate: |rate| format!("**Steady rate:** {rate} tokens/s"),
    best_repeats: |samples| format!("**Repeats:** {samples}"),
    nothing_to_conclude: "Nothing can be concluded before there is a valid sample.",
    whole_grid: "The whole grid",
    details: "Detailed results",
    row_title: |workers| format!("Results for {}", counted(workers, "parallel request", "parallel requests")),
    row_chart: |workers| {
        format!(
            "Total time, time per request, token rate and sum of tokens over the batch size with {}",
            counted(workers, "worker", "workers")
        )
    },
    row_table: "Table of results",
    row_columns: [
        "Batch",
        "Total, s",
        "Per request, s",
        "Tokens/s",
        "Tokens",
        "Tokens/s, 95 %",
        "Steady tokens/s",
        "TTFT p50, s",
        "TTFT p95, s",
        "ITL p50, ms",
        "ITL p95, ms",
        "Parallel, mean",
        "Parallel, peak",
        "Samples",
    ],
    row_note_column: "Note",
    best_mark: "**best of all**",
    tied_mark: "≈ best",
    tied_note: "`≈ best`: perhaps as good as the best of all, within 1 %.",
    copy_mark: |canonical| format!("= {canonical}"),
    copy_note: |workers| {
        format!(
            "`=` the same work as the named workers×batch cell, which is measured in its place: \
             {workers} workers cannot all be busy with a batch that small."
        )
    },
    unmeasured: "not measured yet",
    only_rejected: |samples| format!("no valid sample, {samples} rejected"),
    row_best_batch: |batch| format!("**Best batch:** {batch}"),
    row_best_rate: |rate| format!("**Highest token rate:** {rate} tokens/s"),
    row_without_best: "No cell of this row has a valid sample yet.",
    confidence: "How sure",
    confidence_note: "Token rate of every measured cell over its repeats, tokens/s. The spread is the distance \
                      between the quartiles, relative to the median. The interval is for the median; it draws on \
                      the noise of all cells.",
    confidence_columns: [
        "Workers",
        "Batch",
        "Samples",
        "Rejected",
        "Lowest",
        "Lower quartile",
        "Median",
        "Upper quartile",
        "Highest",
        "95 % interval",
        "Spread",
    ],
    fewest_repeats: |samples| format!("Fewest samples of a measured cell: {samples}."),
    few_repeats: "With fewer than three repeats the order of cells that lie close together is open.",
    typical_spread: |percent| format!("Typical spread of a cell: {percent}."),
    ties: |cells| format!("Perhaps as good as the best cell, within 1 %: {cells}."),
    no_ties: "No other cell is as good as the best with a probability of 5 % or more.",
    frugal_cell: |cell| format!("The cheapest of them is {cell}."),
    steady_disagrees: |cell, rate| {
        format!(
            "The steady rate, which no half-empty last wave lowers, is the highest in another cell: {cell} with {rate} \
             tokens/s."
        )
    },
    more_cells: |count| format!("and {count} more"),
    parallelism: "Requested and observed parallelism",
    parallelism_note: "The highest medians within each row. Possible is what the row can have in flight: its workers, \
                       or its largest batch where that is smaller.",
    slots_known: |slots| format!("The server says that it works on {} at once.", counted(slots, "request", "requests")),
    slots_unknown: "The server does not say how many requests it works on at once.",
    slots_of_each_row: "The server was given the slots of each row before it was measured, and asked what it then had.",
    parallelism_columns: [
        "Workers",
        "Possible",
        "Reported slots",
        "Observed mean",
        "Observed peak",
        "Effective slots",
        "Queue wait, s",
        "Note",
    ],
    queueing: "*queueing*: more workers than slots",
    not_granted: "**warning**: not the slots that were asked for",
    out_of_line: "**warning**: out of line with all other rows",
    warned_rows: |rows| {
        format!(
            "**Warning:** these rows did not get the slots that they asked for, and measure something else: {rows}."
        )
    },
    warned_row: |workers, reported, seen| {
        let reported = reported.map_or_else(String::new, |slots| format!(", the server reports {slots}"));
        let seen = seen.map_or_else(String::new, |seen| format!(", {seen} were seen"));
        format!("**Warning:** this row is not one of {}{reported}{seen}.", counted(workers, "slot", "slots"))
    },
    step: changes::STEP,
    failures: "Errors and rejected samples",
    failure_columns: ["Class", "Requests", "Share", "Meaning"],
    no_failures: |requests| {
        if requests == 0 { "No request was sent.".to_owned() } else { format!("None of {requests} requests failed.") }
    },
    failure_meaning: english_failure,
    short_outputs: |answers| format!("{} before the asked length.", counted(answers, "answer ended", "answers ended")),
    rejections: "Rejected samples",
    rejection_columns: ["Reason", "Samples", "Meaning"],
    no_rejections: "No sample was rejected.",
    rejection_meaning: english_rejection,
    outside_the_grid: |samples| {
        let samples = counted(samples as u64, "sample belongs", "samples belong");
        format!("{samples} to cells that the present grid lacks: left out of the figures above.")
    },
    environment: "Environment",
    fact_columns: ["Fact", "Value"],
    identity: "Identity",
    load: "Load",
    run: "Measurement",
    no_facts: "Nothing is known.",
    run_facts: RunFacts {
        epoch: "epoch",
        epoch_began: "epoch began",
        period: "samples from – to",
        cycles: "complete cycles",
        samples: "samples, valid + rejected",
        requests: "requests",
        output_tokens: "output tokens",
        token_source: "token counts from (samples)",
        seed: "seed of the schedule",
        url: "URL",
    },
    conditions: "GPU while the samples ran",
    condition_columns: ["Fact", "Median (lowest – highest)"],
    condition_facts: ConditionFacts {
        temperature: "highest temperature, °C",
        sm_clock: "clock, MHz",
        memory_clock: "memory clock, MHz",
        utilization: "utilization, %",
        memory: "memory used, GiB",
        power: "power, W",
        energy: "energy of an output token, J",
        throttled: "throttled by (samples)",
    },
    changes: changes::CHANGES,
    definitions: "Definitions",
    definition_list: ENGLISH_DEFINITIONS,
    charts: charts::CHARTS,
};

const fn english_failure(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Dns => "the host's name did not resolve",
        FailureKind::Connect => "no TCP connection",
        FailureKind::Tls => "no TLS session",
        FailureKind::TimeoutConnect => "no connection in time",
        FailureKind::TimeoutFirstToken => "no first token in time",
        FailureKind::TimeoutBetweenTokens => "too long between two tokens",
        FailureKind::TimeoutTotal => "no whole answer in time",
        FailureKind::Reset => "the connection broke in the middle of the answer",
        FailureKind::Truncated => "the stream ended without its terminal marker",
        FailureKind::RepetitionStop => "the stream ended after the same text many times in a row",
        FailureKind::Protocol => "the answer is not what the protocol says",
        FailureKind::TooLarge => "a line or the answer was beyond its bound",
        FailureKind::Http3xx => "a redirect",
        FailureKind::Http4xx => "the server refused the request",
        FailureKind::RateLimited => "the server asked to slow down (429)",
        FailureKind::Http5xx => "the server failed",
        FailureKind::ServerError => "an error inside a stream that had begun well",
        FailureKind::NotStarted => "given up before it was sent",
        FailureKind::Cancelled => "cancelled",
    }
}

const fn english_rejection(reason: InvalidReason) -> &'static str {
    match reason {
        InvalidReason::ClientLimited => "the measuring client was the limit",
        InvalidReason::PrefixCache => "the server answered from a prefix cache",
        InvalidReason::ModelLoad => "the server loaded the model meanwhile",
        InvalidReason::ForeignLoad => "others used the server too",
        InvalidReason::FailedRequests => "too many of its requests failed",
        InvalidReason::OutputLength => "answers longer or shorter than is usual for the cell",
        InvalidReason::SlotsChanged => "the server's slots or their context changed meanwhile",
        InvalidReason::EnvironmentChanged => "the server, its model or what surrounds it changed meanwhile",
        InvalidReason::Cancelled => "dropped in the middle",
    }
}

const ENGLISH_DEFINITIONS: &[(&str, &str)] = &[
    ("Workers (W)", "the most requests of a batch that the client keeps in flight"),
    ("Batch (B)", "the requests of one measurement; all are due at its start"),
    ("Total time", "first send → last completion, seconds"),
    ("Time per request", "total time / B"),
    ("Tokens", "output tokens of all successful answers of the batch"),
    ("Token rate", "tokens / total time"),
    ("Steady rate", "the token rate while at least 90 % of min(W, B, slots) answers are being written"),
    ("TTFT", "time to first token: send → first piece of the answer that bears text"),
    (
        "Queue wait",
        "TTFT less the server's own times for loading the model and for the prompt, where it tells them; \
         the median of the batch's answers",
    ),
    ("TPOT", "time per output token: (last token − first token) / (tokens − 1)"),
    ("ITL", "inter-token latency: the gaps between pieces that bear text, shared over their tokens"),
    ("E2E", "send → end of the stream"),
    (
        "Observed parallelism, mean",
        "time integral of the requests between their first and last token / the time in which there are any",
    ),
    ("Observed parallelism, peak", "the highest number of such requests that held for at least half a median ITL"),
    (
        "Cell figures",
        "medians over the valid samples of the cell; p50 and p95 are the medians of each sample's quantile",
    ),
    (
        "Best batch",
        "the batch of the highest token rate, each drawn towards those of its neighbours by as much as it is unsure",
    ),
    (
        "95 % interval",
        "where the true median lies with a probability of 95 %: exp(median ± t · s · √v) of the \
         logarithms; s is the cell's noise, drawn towards that of all cells, and v the variance of a median of n values \
         that remember each other",
    ),
    ("Perhaps as good (≈)", "P(rate ≥ 0.99 · best rate) ≥ 5 %"),
    ("Spread", "(upper quartile − lower quartile) / median"),
    ("Effective slots", "the plateau of the observed parallelism in batches of 2 W or more"),
    (
        "a + b·c",
        "the time of one step, in which each of c answers gets one token; fitted to c / steady rate of all cells, \
         or to B · total time / tokens where there is none, outliers weighted down",
    ),
    (
        "Epoch",
        "a stretch of time in which neither the server, its model and hardware nor the load changed, as far as is known",
    ),
    (
        "Baseline",
        "the newest earlier epoch of the same load with three complete cycles that is not inside a regression which \
         nobody accepted, or the one that was pinned",
    ),
    (
        "Change",
        "exp(mean over the cells of ln(rate now / rate then)), the cells weighted by 1 / noise²; told as a change where \
         it is 1 % or more and its 95 % interval does not hold 0",
    ),
];
