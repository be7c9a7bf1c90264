//! `llmsoak supervise`: what llmsoak starts other programs with; not for people.
//!
//! It must stay small: no runtime, no configuration.

use std::process::ExitCode;

use anyhow::Context as _;

use super::args::SuperviseArgs;
use crate::process::{self, Leave};

pub(super) fn run(args: &SuperviseArgs) -> anyhow::Result<ExitCode> {
    let (program, arguments) = args.command.split_first().context("no program is given")?;
    let leave = if args.leave_descendants { Leave::Descendants } else { Leave::Nobody };
    Ok(process::supervise(program, arguments, leave)?.into())
}
