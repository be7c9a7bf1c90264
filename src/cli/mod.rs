//! The command line: what can be typed, and what each command does with it.
//!
//! stdout is data, stderr is talk. Here the floors are put together; nothing below sees a
//! flag.

pub mod args;
mod bill;
mod check;
mod demo;
mod found;
mod hints;
mod init;
mod observe;
mod once;
mod probe;
mod reload;
mod reporting;
mod retention;
mod run;
mod session;
mod signals;
mod sim;
mod staff;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use args::{Args, Command, LogArgs, LogFormat, LogLevel};

use crate::metrics::LogCounter;

/// Reads the command line, does what it says, and returns how the program ends.
pub fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let log = LogCounter::default();
    start_log(&args.log, log.clone());
    let outcome = match args.command {
        Command::Run(run) => run::run(&run, log),
        Command::Demo(demo) => demo::run(&demo, log),
        Command::Once(once) => once::run(&once, log),
        Command::Init(init) => init::run(&init),
        Command::Sim(sim) => sim::run(&sim),
        Command::Check(check) => check::run(&check),
        Command::Report(report) => reporting::run(&report),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "llmsoak", &mut script);
            print(String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "llmsoak: {error:#}");
        ExitCode::FAILURE
    })
}

/// Writes data to stdout. Whoever closed the pipe has seen enough.
fn print(text: impl Display) {
    let _ = write!(std::io::stdout(), "{text}");
}

fn start_log(args: &LogArgs, counter: LogCounter) {
    let level = match args.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // Other crates' chatter is not this program's log.
    let shown = Targets::new().with_target("llmsoak", level).with_default(level.min(LevelFilter::WARN));
    let counted = Targets::new().with_target("llmsoak", LevelFilter::DEBUG).with_default(LevelFilter::WARN);
    let registry = tracing_subscriber::registry().with(counter.with_filter(counted));
    match args.format {
        LogFormat::Logfmt => {
            let layer = tracing_logfmt::builder().with_target(false).with_span_name(false).with_span_path(false);
            registry.with(layer.layer().with_writer(std::io::stderr).with_filter(shown)).init();
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(false);
            registry.with(layer.with_writer(std::io::stderr).with_filter(shown)).init();
        }
    }
}
