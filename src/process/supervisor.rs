//! What `llmsoak supervise` does: runs a program, and ends all that is below it when it is time.
//!
//! It shares nothing with the rest of llmsoak but the executable: no runtime and no configuration. Its stdin is the socket whose closing means that llmsoak has ended; over it goes
//! one line, [`Told`]. It is the reaper of all below it: whose parent ends becomes its
//! child, so "no children left" means that nobody is left, whoever changed group or session.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, set_child_subreaper, wait};
use rustix::thread::set_name;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::time::Instant;

use super::failure::SIGNAL_BASE;
use super::{FORCE, GRACE, priority, tree};

/// What becomes of those who still run when the program has ended well by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    Nobody,
    /// A program that starts another and ends has done its work.
    Descendants,
}

/// Exit codes of shells for a program that is not there, and for one that cannot be started.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;
/// From one look to the next at who is left.
const LOOK: Duration = Duration::from_millis(20);

/// What the supervisor tells llmsoak over the socket, once: whether the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// The program's process, whose number is that of its group too.
    Started(Pid),
    /// The system's error number.
    NotStarted(i32),
}

impl Told {
    fn line(self) -> String {
        match self {
            Self::Started(pid) => format!("started {pid}\n"),
            Self::NotStarted(number) => format!("not started {number}\n"),
        }
    }

    pub(super) fn read(line: &str) -> Option<Self> {
        let (word, number) = line.trim_end().rsplit_once(' ')?;
        let number = number.parse().ok()?;
        match word {
            "started" => Pid::from_raw(number).map(Self::Started),
            "not started" => Some(Self::NotStarted(number)),
            _ => None,
        }
    }
}

/// Runs a program until it ends, stdin closes, or SIGTERM or SIGINT comes; then ends all
/// that is left below it. Returns the program's exit code, 128 + signal where one ended it.
///
/// # Errors
/// Where the system gives no thread or signal handler.
pub fn supervise(program: &OsString, arguments: &[OsString], leave: Leave) -> io::Result<u8> {
    // `killall -9 llmsoak` must not take away the one who tidies up after it.
    let _ = set_name(c"supervise");
    priority::be_as_the_parent();
    set_child_subreaper(Some(getpid()))?;
    let events = listen()?;
    let child = Command::new(program).args(arguments).process_group(0).stdin(Stdio::null()).spawn();
    let started = child.map(|child| Pid::from_child(&child));
    let told = tell(match &started {
        Ok(pid) => Told::Started(*pid),
        Err(error) => Told::NotStarted(error.raw_os_error().unwrap_or_default()),
    });
    match started {
        Ok(program) => Ok(Supervisor { events, program, code: None }.run(leave)),
        Err(error) => {
            if told.is_err() {
                let _ = writeln!(io::stderr(), "llmsoak: cannot start {}: {error}", program.display());
            }
            Ok(if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED })
        }
    }
}

/// Fails where stdin is no socket, as when a person types the command.
fn tell(told: Told) -> io::Result<()> {
    let mut holder = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    holder.write_all(told.line().as_bytes())
}

/// What the supervisor waits for.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Some child has ended.
    Child,
    /// All shall end.
    Stop,
}

/// Hears signals and the closing of stdin from now on.
fn listen() -> io::Result<Receiver<Event>> {
    let (to_main, events) = sync_channel(4);
    let mut signals = Signals::new([SIGCHLD, SIGTERM, SIGINT, SIGHUP])?;
    let from_holder = to_main.clone();
    let hear = move || {
        for signal in &mut signals {
            match signal {
                SIGCHLD => send(&to_main, Event::Child),
                // Meant for llmsoak, whose name this process shares: read the configuration again.
                SIGHUP => {}
                _ => send(&to_main, Event::Stop),
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(hear)?;
    let hold = move || {
        let mut ignored = [0; 64];
        while matches!(io::stdin().read(&mut ignored), Ok(1..)) {}
        send(&from_holder, Event::Stop);
    };
    thread::Builder::new().name("holder".to_owned()).spawn(hold)?;
    Ok(events)
}

fn send(events: &SyncSender<Event>, event: Event) {
    // The receiver lives as long as the process.
    let _ = events.send(event);
}

#[derive(Debug)]
struct Supervisor {
    events: Receiver<Event>,
    program: Pid,
    /// The program's exit code, once it has ended.
    code: Option<u8>,
}

impl Supervisor {
    fn run(mut self, leave: Leave) -> u8 {
        while self.code.is_none() {
            match self.events.recv() {
                Ok(Event::Child) => _ = self.reap(),
                Ok(Event::Stop) | Err(_) => break,
            }
        }
        if leave == Leave::Nobody || self.code != Some(0) {
            self.end_all();
        }
        self.code.unwrap_or(KILLED)
    }

    /// Asks all to end, and forces those who do not.
    fn end_all(&mut self) {
        let began = Instant::now();
        if self.reap() {
            tree::signal_below(getpid(), self.program, Signal::TERM);
        }
        while self.reap() {
            let elapsed = began.elapsed();
            if elapsed >= GRACE + FORCE {
                let _ = writeln!(io::stderr(), "llmsoak: some processes cannot be ended");
                break;
            }
            if elapsed >= GRACE {
                tree::signal_below(getpid(), self.program, Signal::KILL);
            }
            let _ = self.events.recv_timeout(LOOK);
        }
    }

    /// Takes notice of all children that have ended. Whether anybody is left.
    fn reap(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.program => self.code = Some(exit_code(status)),
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return true,
                // There are no children.
                Err(_) => return false,
            }
        }
    }
}

/// Of a program that nothing could end.
const KILLED: u8 = 137;

/// As shells have it.
fn exit_code(status: WaitStatus) -> u8 {
    let signal = status.terminating_signal().map(|number| SIGNAL_BASE + number);
    status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(KILLED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read() {
        for told in [Told::Started(getpid()), Told::NotStarted(2)] {
            assert_eq!(Told::read(&told.line()), Some(told));
        }
        for line in ["", "started", "started 0", "started x", "not started ", "12"] {
            assert_eq!(Told::read(line), None, "{line}");
        }
    }
}
