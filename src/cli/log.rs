//! The log: where lines go, which are shown, and how often.
//!
//! Warnings and errors are limited for each cause, so that a server that is broken all night
//! does not fill a disk. Lines of level info are not: they come with a sample, a cycle or a
//! report, and are what one looks for. Nor are those of level debug: who asks for them wants
//! all. The counter of log lines counts every line, shown or not.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::ProgressBar;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Filter, Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::args::{LogArgs, LogFormat, LogLevel};
use crate::metrics::LogCounter;

/// Lines of one cause that may come at once.
const BURST: u32 = 10;
/// After so long each cause may have one line more.
const REFILL: Duration = Duration::from_secs(30);
/// Causes that are told apart; what is beyond shares one allowance.
const MOST_CAUSES: usize = 1000;
/// Of what tells a cause apart, and of what is told of it.
const MOST_BYTES: usize = 200;
/// The module whose lines tell of others and are not limited themselves.
const OWN: &str = module_path!();

/// The log of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) counter: LogCounter,
    pub(super) screen: Screen,
    limit: Limit,
}

/// Starts the log. From now on lines go to stderr.
pub(super) fn start(args: &LogArgs) -> Log {
    let log = Log::default();
    let level = match args.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // Other crates' chatter is not this program's log.
    let shown = Targets::new().with_target("llmsoak", level).with_default(level.min(LevelFilter::WARN));
    let counted = Targets::new().with_target("llmsoak", LevelFilter::DEBUG).with_default(LevelFilter::WARN);
    let shown = shown.and(log.limit.clone());
    let screen = log.screen.clone();
    let writer = move || screen.clone();
    let registry = tracing_subscriber::registry().with(log.counter.clone().with_filter(counted));
    match args.format {
        LogFormat::Logfmt => {
            let layer = tracing_logfmt::builder().with_target(false).with_span_name(false).with_span_path(false);
            registry.with(layer.layer().with_writer(writer).with_filter(shown)).init();
        }
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_target(false);
            registry.with(layer.with_writer(writer).with_filter(shown)).init();
        }
    }
    // A thread, for there is a log before there is a runtime. It ends with the process.
    let limit = log.limit.clone();
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(REFILL);
            tell(limit.refill());
        }
    });
    if let Err(error) = thread {
        tracing::error!(%error, "no thread for the log: warnings that repeat are left out and not told");
    }
    log
}

impl Log {
    /// Tells what was left out and not told yet.
    pub(super) fn finish(&self) {
        tell(self.limit.refill());
    }
}

fn tell(left_out: Vec<LeftOut>) {
    for LeftOut { level, target, message, lines } in left_out {
        let target = target.as_deref();
        if level == Level::ERROR {
            tracing::error!(target, lines, like = message, "lines left out");
        } else {
            tracing::warn!(target, lines, like = message, "lines left out");
        }
    }
}

/// stderr, which log lines may share with a line of progress.
#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    progress: Arc<Mutex<Option<ProgressBar>>>,
}

impl Screen {
    /// Keeps lines from tearing that progress, until there is another or none.
    pub(super) fn share_with(&self, progress: Option<ProgressBar>) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

impl Write for Screen {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let write = || io::stderr().write_all(line);
        progress.map_or_else(write, |progress| progress.suspend(write))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Says which warnings and errors are shown: of each cause a burst, then one with each
/// refill. It knows no clock. Cheap to clone.
#[derive(Clone, Debug, Default)]
struct Limit {
    causes: Arc<Mutex<HashMap<Cause, Allowance>>>,
}

/// What lines are told apart by: the place in the source and the target that they are of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Cause {
    callsite: &'static str,
    target: Option<String>,
}

#[derive(Debug)]
struct Allowance {
    lines: u32,
    left_out: u64,
    level: Level,
    message: String,
}

/// Lines that were not shown.
#[derive(Debug, PartialEq)]
struct LeftOut {
    level: Level,
    target: Option<String>,
    message: String,
    lines: u64,
}

impl Limit {
    fn causes(&self) -> MutexGuard<'_, HashMap<Cause, Allowance>> {
        self.causes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more line of that cause is shown.
    fn admits(&self, cause: Cause, level: Level, message: &str) -> bool {
        let mut causes = self.causes();
        let is_one_too_many = causes.len() >= MOST_CAUSES && !causes.contains_key(&cause);
        let (cause, message) = if is_one_too_many { (Cause::default(), "many causes") } else { (cause, message) };
        let allowance = causes.entry(cause).or_insert_with(|| Allowance {
            lines: BURST,
            left_out: 0,
            level,
            message: message.to_owned(),
        });
        let rest = allowance.lines.checked_sub(1);
        match rest {
            Some(rest) => allowance.lines = rest,
            None => allowance.left_out += 1,
        }
        rest.is_some()
    }

    /// Gives each cause a line and says what was left out since the last time.
    fn refill(&self) -> Vec<LeftOut> {
        let mut told = Vec::new();
        self.causes().retain(|cause, allowance| {
            let lines = std::mem::take(&mut allowance.left_out);
            if lines > 0 {
                let (level, message) = (allowance.level, allowance.message.clone());
                told.push(LeftOut { level, target: cause.target.clone(), message, lines });
            }
            allowance.lines += 1;
            allowance.lines < BURST
        });
        told
    }
}

impl<S> Filter<S> for Limit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &tracing::Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let level = *metadata.level();
        if level > Level::WARN || metadata.target() == OWN {
            return true;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let cause = Cause { callsite: metadata.name(), target: words.target };
        self.admits(cause, level, words.message.as_deref().unwrap_or_default())
    }
}

/// The fields of a line that a limit looks at.
#[derive(Debug, Default)]
struct Words {
    target: Option<String>,
    message: Option<String>,
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "target" => self.target = Some(shortened(value)),
            "message" => self.message = Some(shortened(value)),
            _ => {}
        }
    }
}

/// Other crates' words may be long.
fn shortened(value: &dyn fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    text.truncate(text.floor_char_boundary(MOST_BYTES));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written while `talk` talks, with a limit of its own.
    fn check(talk: impl FnOnce(&Limit), expected: &[(&str, usize)]) {
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let buffer = written.clone();
        let limit = Limit::default();
        let layer = tracing_logfmt::builder().with_target(false).layer().with_ansi(false);
        let layer = layer.with_writer(move || Buffer(buffer.clone())).with_filter(limit.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || talk(&limit));
        let text = String::from_utf8(written.lock().expect("is whole").clone()).expect("is text");
        for (line, times) in expected {
            assert_eq!(text.lines().filter(|seen| seen.contains(line)).count(), *times, "{line} in\n{text}");
        }
    }

    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("is whole").extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn reject(target: &str, times: usize) {
        (0..times).for_each(|_| tracing::warn!(target, "rejected"));
    }

    #[test]
    fn a_cause_has_its_burst_and_then_a_line_with_each_refill() {
        let talk = |limit: &Limit| {
            reject("a", 25);
            reject("b", 3);
            tell(limit.refill());
            reject("a", 25);
        };
        check(
            talk,
            &[
                ("message=rejected target=a", 11),
                ("message=rejected target=b", 3),
                ("level=warn", 15),
                (r#"message="lines left out""#, 1),
                ("target=a lines=15 like=rejected", 1),
            ],
        );
    }

    #[test]
    fn a_target_is_the_same_however_it_is_written() {
        let name = crate::domain::TargetId::new("a", "tiny");
        let speak = |_: &Limit| {
            for round in 0..10 {
                let (target, shown) = (&*name.name, &name);
                if round % 2 == 0 { complain(&target) } else { complain(shown) }
            }
            complain(&"a");
        };
        check(speak, &[("message=away", 10)]);
    }

    fn complain(target: &dyn fmt::Display) {
        tracing::error!(%target, "away");
    }

    #[test]
    fn what_informs_or_was_asked_for_is_not_limited() {
        let talk = |_: &Limit| {
            for _ in 0..50 {
                tracing::info!(target = "a", "sample");
                tracing::debug!(target = "a", "request");
            }
        };
        check(talk, &[("message=sample", 50), ("message=request", 50)]);
    }

    #[test]
    fn what_is_left_out_is_told_at_its_own_level() {
        let talk = |limit: &Limit| {
            (0..12).for_each(|_| tracing::error!("disk full"));
            tell(limit.refill());
            tell(limit.refill());
        };
        check(talk, &[("level=error", 11), ("lines=2", 1), (r#"like="disk full""#, 1)]);
    }

    #[test]
    fn causes_are_bounded_and_forgotten_once_they_are_quiet() {
        let limit = Limit::default();
        let admits = |number: usize| {
            let cause = Cause { callsite: "here", target: Some(number.to_string()) };
            limit.admits(cause, Level::WARN, "rejected")
        };
        let shown = (0..2 * MOST_CAUSES).filter(|&number| admits(number)).count();
        assert_eq!(shown, MOST_CAUSES + BURST as usize);
        assert_eq!(limit.causes().len(), MOST_CAUSES + 1);
        let lines = (MOST_CAUSES - BURST as usize) as u64;
        let many = LeftOut { level: Level::WARN, target: None, message: "many causes".to_owned(), lines };
        assert_eq!(limit.refill(), [many]);
        assert_eq!(limit.causes().len(), 1, "only what spoke more than once is remembered");
    }
}
