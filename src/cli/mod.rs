//! The command line: what can be typed, and what each command does with it.
//!
//! stdout is data, stderr is talk. Here the floors are put together; nothing below sees a
//! flag.

pub mod args;
mod backtest;
mod baseline;
mod bill;
mod check;
mod compare;
mod demo;
mod export;
mod found;
mod hints;
mod import;
mod init;
mod known;
mod listen;
mod log;
mod notifying;
mod observe;
mod once;
mod open_files;
mod probe;
mod progress;
mod reload;
mod reporting;
mod retention;
mod run;
mod session;
mod signals;
mod sim;
mod source;
mod staff;
mod supervise;
mod switching;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;

use args::{Args, Command};

/// Reads the command line, does what it says, and returns how the program ends.
pub fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let log = log::start(&args.log);
    let counter = log.counter.clone();
    open_files::raise();
    let outcome = match args.command {
        Command::Init(init) => init::run(&init),
        Command::Run(run) => run::run(&run, counter),
        Command::Demo(demo) => demo::run(&demo, counter),
        Command::Once(once) => once::run(&once, &log),
        Command::Sim(sim) => sim::run(&sim),
        Command::Check(check) => check::run(&check),
        Command::Report(report) => reporting::run(&report),
        Command::Import(import) => import::run(&import),
        Command::Export(export) => export::run(&export),
        Command::Compare(compare) => compare::run(&compare),
        Command::Baseline(baseline) => baseline::run(&baseline),
        Command::Backtest(backtest) => backtest::run(&backtest),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "llmsoak", &mut script);
            print(String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
        Command::Supervise(supervise) => supervise::run(&supervise),
    };
    log.finish();
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "llmsoak: {error:#}");
        ExitCode::FAILURE
    })
}

/// Writes data to stdout. Whoever closed the pipe has seen enough.
fn print(text: impl Display) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// Talks to the user, on stderr.
fn say(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
