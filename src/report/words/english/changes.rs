//! The summary, what a step costs, and what changed, in English.

use super::super::{ChangeWords, StepWords, SummaryWords, Sureness};
use super::counted;
use crate::domain::{Cause, Cell, Direction, Measure};

pub(super) const SUMMARY: SummaryWords = SummaryWords {
    best: |Cell { workers, batch }, rate| {
        format!(
            "**Use {} and batches of {batch}**: {} sent together, {} of them in work at once. That is the fastest: \
             {rate} tokens/s in all.",
            counted(workers, "worker", "workers"),
            counted(batch, "request", "requests"),
            workers.min(batch),
        )
    },
    frugal: |Cell { workers, batch }, rate| {
        format!(
            "**With less load:** {} and batches of {batch} may be as fast, within 1 %: {rate} tokens/s.",
            counted(workers, "worker", "workers"),
        )
    },
    no_frugal: "**With less load:** no configuration with fewer workers, or with as many and a smaller batch, is as fast.",
    sureness,
    slots: |seen, reported| {
        let reported = reported.map_or_else(
            || "it does not say of how many it is capable".to_owned(),
            |slots| format!("it says that it can work on {slots}"),
        );
        match seen {
            Some(seen) => format!("**The server worked on {seen} requests at once**, at the most; {reported}."),
            None => format!("**How many requests the server works on at once** was not seen; {reported}."),
        }
    },
    slots_queueing: "More workers than that only wait in its queue.",
    slots_not_granted: |rows| format!("These numbers of workers were not what it really ran: {rows}."),
    no_baseline: "**Slower than before?** There is nothing to compare with: no earlier epoch has the same load, three \
                  complete cycles and no regression that nobody accepted.",
    too_few_cycles: "**Slower than before?** Too early to say: two cycles are needed, and cells that were measured before.",
    unchanged: |baseline, change, interval| {
        format!(
            "**Slower than before? No.** The speed is the same as in {baseline}, as far as can be told: {change} \
             (95 % interval {interval})."
        )
    },
    changed: |direction, baseline, size, interval| {
        let (answer, change) = match direction {
            Direction::Regression => ("Yes", "slower"),
            Direction::Improvement => ("No, faster", "faster"),
        };
        format!("**Slower than before? {answer}: {size} {change}** (95 % interval {interval}) than in {baseline}.")
    },
    baseline: |epoch, until| format!("epoch {epoch}, which ended at {until}"),
    since: |time, changes| format!("**Since** {time}, when this changed, the likely **cause**: {changes}."),
    since_without_changes: |time| {
        format!(
            "**Since** {time}; nothing that is known of server, model or hardware differs, so the cause is not known."
        )
    },
    within: |direction| match direction {
        Direction::Regression => "**Slower than before? Yes.**",
        Direction::Improvement => "**Slower than before? No, faster.**",
    },
    found: |time, change, cause| format!("**Since** {time} the speed has changed by {change}; **cause**: {cause}."),
    latency_worse: |measure, change| {
        let measure = match measure {
            Measure::TokensPerSecond => "tokens/s",
            Measure::TimeToFirstToken => "the time to the first token",
            Measure::InterTokenLatency => "the time between two tokens",
        };
        format!("But {measure} got longer: {change}.")
    },
};

fn sureness(sureness: &Sureness) -> String {
    let times = counted(sureness.fewest as u64, "time", "times");
    let measured = format!("each configuration was measured {times} or more");
    let interval =
        sureness.interval.as_ref().map(|interval| format!("; the speed is {interval} tokens/s (95 % interval)"));
    let interval = interval.unwrap_or_default();
    let tied = counted(sureness.tied as u64, "other configuration", "other configurations");
    let (verdict, others) = match (sureness.is_enough, sureness.tied) {
        (false, _) => {
            let few = format!("Some configurations were measured {times} only, three are needed{interval}.");
            return format!("**How sure: not yet.** {few}");
        }
        (true, 0) if sureness.is_rough => ("only roughly, for the speeds scatter", NO_OTHERS.to_owned()),
        (true, 0) => ("sure", NO_OTHERS.to_owned()),
        (true, _) if sureness.is_rough => {
            ("only roughly, for the speeds scatter", format!("{tied} may be as fast, within 1 %"))
        }
        (true, _) => ("the speed is sure, the choice is close", format!("{tied} may be as fast, within 1 %")),
    };
    format!("**How sure: {verdict}.** {others}; {measured}{interval}.")
}

const NO_OTHERS: &str = "No other configuration is as fast";

pub(super) const STEP: StepWords = StepWords {
    heading: "What one step of the server costs",
    formula: |fixed, per_stream| {
        format!(
            "A server writes all its answers a token at a time. Such a step takes **a + b·c** for c answers: \
             a = {fixed} ms, however many there are, and b = {per_stream} ms more for each."
        )
    },
    no_fixed: "Here a cannot be told from 0: more answers at once take as much longer, and make nothing faster.",
    limit: |rate, half| {
        format!(
            "So no number of answers at once gives more than 1/b = {rate} tokens/s, and a/b = {half} at once give half \
             of it."
        )
    },
    fits: |error, cells| format!("Typical deviation of {}: {error}.", counted(cells as u64, "cell", "cells")),
    misfits: |cells| {
        format!(
            "Cells that do not fit, with measured / fitted time: {cells}. Something else made them faster or slower."
        )
    },
    too_few: "Too few cells were measured to tell.",
};

pub(super) const CHANGES: ChangeWords = ChangeWords {
    heading: "What changed",
    compared: |baseline| format!("Compared with {baseline}. Below zero is less than it was then."),
    no_baseline: "There is no baseline: no earlier epoch has the same load, three complete cycles and no regression that \
                  nobody accepted.",
    pinned: "That epoch was chosen by the user.",
    columns: ["Figure", "Cycles then", "Cycles now", "Change", "95 % interval", "Verdict"],
    measure: |measure| match measure {
        Measure::TokensPerSecond => "token rate",
        Measure::TimeToFirstToken => "TTFT p50",
        Measure::InterTokenLatency => "ITL p50",
    },
    verdict: |direction| match direction {
        Some(Direction::Regression) => "**worse**",
        Some(Direction::Improvement) => "**better**",
        None => "no change that can be told",
    },
    too_few: "too few cycles or cells to say",
    cells: |cells| format!("Cells whose token rate changed, the largest changes first: {cells}."),
    environment: "Changes of the environment",
    environment_columns: ["Fact", "Then", "Now"],
    no_changes: "Nothing that is known of server, model and hardware differs.",
    latencies: "Latencies then and now",
    found: "Changes that were found",
    found_columns: ["Since", "Figure", "Change", "95 % interval", "Cause", "Note"],
    cause: |cause, components| match cause {
        Cause::EnvironmentChange => format!("a change of the environment then: {components}"),
        Cause::UnexplainedStep => "not known; nothing that is watched changed then".to_owned(),
        Cause::SlowDecay => "not known; it came slowly".to_owned(),
    },
    returned: |time| format!("a dip: back at {time}"),
    trend: "Over time",
    trend_columns: ["No.", "Since", "Epoch", "Median tokens/s", "What changed"],
};
