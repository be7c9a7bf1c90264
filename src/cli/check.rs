//! `llmsoak check`: is the configuration sound, and what will a cycle take? Or, what may a
//! configuration hold?

use std::fmt::Write as _;
use std::process::ExitCode;

use super::args::CheckArgs;
use super::print;
use crate::config;
use crate::domain::plan::{GridPlan, SchedulePlan, TargetPlan};

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    if args.schema {
        print(format_args!("{:#}\n", config::json_schema()));
        return Ok(ExitCode::SUCCESS);
    }
    let config = config::from_file(&args.config.file)?;
    let mut text = format!("{}: sound\n", args.config.file.display());
    for target in &config.targets {
        let _ = writeln!(text, "{}", bill(target, &config.schedule));
    }
    print(text);
    Ok(ExitCode::SUCCESS)
}

/// What a cycle of a target sends and asks for.
fn bill(target: &TargetPlan, schedule: &SchedulePlan) -> String {
    let grid = target.grid.grid(None);
    let measured = grid.measured();
    let requests: u64 = measured.iter().map(|cell| u64::from(cell.batch)).sum();
    let warmups: u64 =
        measured.iter().map(|cell| u64::from(cell.concurrency()) * u64::from(schedule.warmup_requests)).sum();
    let tokens = requests * u64::from(target.request.output_tokens);
    let assumed = match target.grid {
        GridPlan::Automatic { .. } => " (the grid follows the server's slots; taken as 4 here)",
        GridPlan::Fixed(_) => "",
    };
    format!(
        "target {}: {} cells, {} of them measured{assumed}; a cycle sends {requests} requests and {warmups} warm-ups and asks for {tokens} tokens, warm-ups not counted",
        target.name,
        grid.cells().count(),
        measured.len(),
    )
}
