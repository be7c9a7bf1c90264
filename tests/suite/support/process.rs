//! The program as a process of its own, which ends with the test that started it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::eventually;

const BINARY: &str = env!("CARGO_BIN_EXE_llmsoak");

/// A running or ended process with what it wrote.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    output: TempDir,
}

impl Process {
    /// Starts the program under test.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    /// The same with variables beside those of this process.
    pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(BINARY);
        // Flags come from the test alone.
        for (variable, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LLMSOAK_")) {
            command.env_remove(variable);
        }
        command.args(arguments).envs(variables.iter().copied());
        Self::spawn(command, arguments.first().copied().unwrap_or_default())
    }

    /// Starts any program.
    pub(crate) fn spawn(mut command: Command, name: &str) -> Self {
        let output = tempfile::tempdir().expect("a folder");
        let file = |name: &str| File::create(output.path().join(name)).expect("a file");
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { child, name: name.to_owned(), output }
    }

    pub(crate) fn stdout(&self) -> String {
        self.written("stdout")
    }

    pub(crate) fn stderr(&self) -> String {
        self.written("stderr")
    }

    fn written(&self, file: &str) -> String {
        let bytes = std::fs::read(self.output.path().join(file)).expect("a file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Where the process listens, as its log says.
    pub(crate) fn address(&mut self) -> SocketAddr {
        eventually("the address in the log", || {
            assert!(self.ended().is_none(), "{} ended:\n{}", self.name, self.stderr());
            let log = self.stderr();
            let line = log.lines().find(|line| line.contains("message=listening"))?.to_owned();
            line.split_once("address=")?.1.parse().ok()
        })
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child")
    }

    /// Waits for the end; the exit code, or `None` where a signal ended it.
    pub(crate) fn code(&mut self) -> Option<i32> {
        eventually("the end of the process", || self.ended()).code()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a process of this test");
    }

    /// Ends the process as no process can prevent.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a process of this test");
        self.child.wait().expect("a child");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let (stdout, stderr) = (self.stdout(), self.stderr());
            let tail: Vec<&str> = stderr.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            eprintln!("--- {}, stdout:\n{stdout}--- stderr, its end:\n{}\n", self.name, tail.join("\n"));
        }
    }
}

/// An address of this machine on which nobody listens, for a server that comes later.
///
/// Below the ports that the system gives to outgoing connections: one of those could
/// otherwise connect to itself and pass for a server.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).expect("small");
    eventually("a free port", || {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpListener::bind(address).is_ok().then_some(address)
    })
}
