//! Programs that llmsoak runs: whoever of them ends, and however, nobody is left.

use std::io::{PipeWriter, pipe};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use llmsoak::domain::slots::CommandLine;
use llmsoak::process::{Ending, ProcessFailure, ServerProcess, run_hook};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getpriority_process, kill_process, setpriority_process, waitid,
};
use tokio::time::timeout;

use crate::support::{PATIENCE, eventually};
use crate::tools::say;

const LLMSOAK: &str = env!("CARGO_BIN_EXE_llmsoak");
/// Children of all kinds: in the group, in a session of their own, orphaned, and both.
const FAMILY: &str = "sleep 1001 & setsid sleep 1002 & (sleep 1003 &) ; (setsid sleep 1004 &) ; sleep 1005";
const FAMILY_SIZE: usize = 5;
const STUBBORN: &str = "trap '' TERM; sleep 1001 & while :; do sleep 1002; done";

/// What all processes of one test have in their environment, so that they are found wherever
/// they went. Ends them all when the test ends.
#[derive(Debug)]
struct Mark(String);

const VARIABLE: &str = "TEST_MARK";

impl Mark {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// A shell that runs a script.
    fn script(&self, script: &str) -> CommandLine {
        self.line("sh", &["-c", script])
    }

    fn line(&self, program: &str, arguments: &[&str]) -> CommandLine {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let environment = [(VARIABLE.to_owned(), self.0.clone())].into();
        CommandLine { program: program.to_owned(), arguments, environment }
    }

    async fn start(&self, script: &str) -> ServerProcess {
        ServerProcess::start(Path::new(LLMSOAK), &self.script(script), "local").await.expect("a shell")
    }

    async fn hook(&self, script: &str, limit: Duration) -> Result<(), ProcessFailure> {
        run_hook(Path::new(LLMSOAK), &self.script(script), limit, "local").await
    }

    /// Who runs now.
    fn living(&self) -> Vec<(Pid, String)> {
        let mark = format!("{VARIABLE}={}", self.0).into_bytes();
        let is_marked = |pid: i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|&byte| byte == 0).any(|variable| variable == mark)
        };
        let all =
            std::fs::read_dir("/proc").expect("a Linux").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let marked = all.filter_map(|name| name.parse().ok()).filter(|&pid| is_marked(pid));
        let command = |pid: i32| {
            let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            Some((Pid::from_raw(pid)?, String::from_utf8_lossy(&arguments).replace('\0', " ").trim_end().to_owned()))
        };
        marked.filter_map(command).collect()
    }

    /// Waits until so many sleep.
    fn await_sleepers(&self, number: usize) {
        eventually("children that run", || {
            let living = self.living();
            (living.iter().filter(|(_, command)| command.starts_with("sleep 100")).count() == number).then_some(())
        });
    }

    /// The one that was started with those first words.
    fn find(&self, command: &str) -> Pid {
        let find = || self.living().into_iter().find(|(_, living)| living.starts_with(command)).map(|(pid, _)| pid);
        eventually("a process of that command", find)
    }

    fn check_nobody_left(&self) {
        eventually("the end of all", || self.living().is_empty().then_some(()));
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for (pid, command) in self.living() {
            if std::thread::panicking() {
                eprintln!("still there: {command}");
            }
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn kill(pid: Pid) {
    kill_process(pid, Signal::KILL).expect("a process of this test");
}

/// `llmsoak supervise` as such.
fn supervise(mark: &Mark, stdin: impl Into<Stdio>, line: &[&str]) -> Child {
    let mut command = Command::new(LLMSOAK);
    command.args(["supervise", "--"]).args(line).env(VARIABLE, &mark.0).stdin(stdin).stderr(Stdio::piped());
    command.spawn().expect("the program under test")
}

/// The same with a pipe that this test holds.
fn supervised(mark: &Mark, line: &[&str]) -> (Child, PipeWriter) {
    let (reader, writer) = pipe().expect("a pipe");
    (supervise(mark, reader, line), writer)
}

fn wait(child: &mut Child) -> ExitStatus {
    eventually("the end of the supervisor", || child.try_wait().expect("a child"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_leaves_nobody() {
    let mark = Mark::new();
    let mut server = mark.start(FAMILY).await;
    mark.await_sleepers(FAMILY_SIZE);
    assert_eq!(server.has_ended(), None);
    let below = server.command_lines_below();
    assert_eq!(below.len(), FAMILY_SIZE + 1, "{below:?}");
    assert!(below.contains(&vec!["sleep".to_owned(), "1004".to_owned()]), "{below:?}");
    timeout(PATIENCE, server.stop()).await.expect("an end");
    assert_eq!(mark.living(), [], "they had ended when it returned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_dropped_leaves_nobody() {
    let mark = Mark::new();
    let server = mark.start(FAMILY).await;
    mark.await_sleepers(FAMILY_SIZE);
    drop(server);
    mark.check_nobody_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_want_to_end_is_made_to() {
    let mark = Mark::new();
    let server = mark.start(STUBBORN).await;
    mark.await_sleepers(2);
    timeout(PATIENCE, server.stop()).await.expect("an end");
    assert_eq!(mark.living(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_says_why_and_takes_its_children_along() {
    let mark = Mark::new();
    let script =
        format!("({FAMILY}) & echo one >&2; for i in 2 3 4 5 6; do echo $i >&2; done; printf last >&2; exit 3");
    let mut server = mark.start(&script).await;
    let why = timeout(PATIENCE, server.ended()).await.expect("an end");
    assert_eq!(why, "sh ended with exit code 3; it said last: 3 / 4 / 5 / 6 / last");
    assert_eq!(server.has_ended().as_ref(), Some(&why));
    assert_eq!(server.ended().await, why, "it may be asked again");
    assert_eq!(mark.living(), []);
    assert_eq!(server.command_lines_below(), Vec::<Vec<String>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_says_so() {
    let mark = Mark::new();
    let mut server = mark.start(FAMILY).await;
    mark.await_sleepers(FAMILY_SIZE);
    kill(mark.find("sh -c"));
    let why = timeout(PATIENCE, server.ended()).await.expect("an end");
    assert_eq!(why, "sh was ended by signal 9 (SIGKILL)");
    assert_eq!(mark.living(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_is_killed_takes_the_group_along() {
    let mark = Mark::new();
    let mut server = mark.start("sleep 1001 & (sleep 1002 &) ; sleep 1003").await;
    mark.await_sleepers(3);
    kill(mark.find("llmsoak supervise"));
    let why = timeout(PATIENCE, server.ended()).await.expect("an end");
    assert_eq!(why, "sh was ended after its supervisor got signal 9 (SIGKILL)");
    mark.check_nobody_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_was_killed_unnoticed_takes_the_group_along() {
    let mark = Mark::new();
    let server = mark.start("sleep 1001 & sleep 1002").await;
    mark.await_sleepers(2);
    let supervisor = mark.find("llmsoak supervise");
    kill(supervisor);
    // Until the system has it as ended, which is still to be taken notice of.
    waitid(WaitId::Pid(supervisor), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).expect("a child of this test");
    drop(server);
    mark.check_nobody_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_hangs_is_done_without() {
    let mark = Mark::new();
    let server = mark.start(FAMILY).await;
    mark.await_sleepers(FAMILY_SIZE);
    kill_process(mark.find("llmsoak supervise"), Signal::STOP).expect("a process of this test");
    timeout(PATIENCE, server.stop()).await.expect("an end");
    mark.check_nobody_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_a_server_that_crashed_shows_its_last_lines() {
    let mark = Mark::new();
    let mut server = mark.start("echo no memory >&2; kill -9 $$").await;
    let why = eventually("the end", || server.has_ended());
    assert_eq!(why, "sh was ended by signal 9 (SIGKILL); it said last: no memory");
}

/// What measures may have the highest priority; to raise one's own takes a privilege.
#[test]
fn a_server_does_not_inherit_the_priority_of_the_thread_that_starts_it() {
    let ordinary = getpriority_process(Some(getpid())).expect("this process");
    let urgent = std::thread::spawn(move || {
        if let Err(error) = setpriority_process(None, ordinary - 1) {
            return say(&format!("priorities are not tested: {error}"));
        }
        let mark = Mark::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let server = runtime.block_on(mark.start("sleep 1001"));
        for (pid, command) in mark.living() {
            assert_eq!(getpriority_process(Some(pid)), Ok(ordinary), "{command}");
        }
        runtime.block_on(server.stop());
    });
    urgent.join().expect("no fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_named() {
    let mark = Mark::new();
    let line = mark.line("no-such-program", &[]);
    let failure = ServerProcess::start(Path::new(LLMSOAK), &line, "local").await.expect_err("not installed");
    assert_eq!(
        failure.to_string(),
        "cannot start no-such-program: No such file or directory (os error 2)\n  hint: install it, or give its path"
    );
    let failure = ServerProcess::start(Path::new("/no/llmsoak"), &line, "local").await.expect_err("not there either");
    assert!(failure.to_string().starts_with("cannot start the supervisor of no-such-program: "), "{failure}");
    mark.check_nobody_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_holds_nobody_up() {
    let mark = Mark::new();
    // One line without end, and many short ones, far more than pipes hold.
    let mut server =
        mark.start("head -c 50000000 /dev/zero | tr '\\0' x; yes | head -n 1000000; echo; echo done").await;
    let why = timeout(PATIENCE, server.ended()).await.expect("an end");
    assert_eq!(why, "sh ended with exit code 0; it said last: y / y / y / y / done");
}

#[test]
fn whoever_holds_the_pipe_may_be_killed() {
    for script in [FAMILY, STUBBORN] {
        let mark = Mark::new();
        let (reader, writer) = pipe().expect("a pipe");
        let mut holder = Command::new("sleep").arg("1000").stdout(writer).spawn().expect("a sleep");
        let mut supervisor = supervise(&mark, reader, &["sh", "-c", script]);
        mark.await_sleepers(if script == FAMILY { FAMILY_SIZE } else { 2 });
        holder.kill().expect("a process of this test");
        holder.wait().expect("a child");
        let code = wait(&mut supervisor).code();
        assert_eq!(code, Some(if script == FAMILY { 143 } else { 137 }));
        assert_eq!(mark.living(), []);
    }
}

#[test]
fn a_supervisor_that_nobody_holds_ends_at_once() {
    let mark = Mark::new();
    let mut supervisor = supervise(&mark, Stdio::null(), &["sh", "-c", FAMILY]);
    wait(&mut supervisor);
    assert_eq!(mark.living(), []);
}

#[test]
fn a_supervisor_ends_all_when_it_is_told_to() {
    for signal in [Signal::TERM, Signal::INT] {
        let mark = Mark::new();
        let (mut supervisor, _writer) = supervised(&mark, &["sh", "-c", FAMILY]);
        mark.await_sleepers(FAMILY_SIZE);
        // That one means nothing to it.
        kill_process(Pid::from_child(&supervisor), Signal::HUP).expect("a process of this test");
        kill_process(Pid::from_child(&supervisor), signal).expect("a process of this test");
        assert_eq!(wait(&mut supervisor).code(), Some(143), "{signal:?}");
        assert_eq!(mark.living(), []);
    }
}

#[test]
fn exit_codes_are_handed_on() {
    let cases: [(&[&str], i32); 4] = [
        (&["true"], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["no-such-program"], 127),
    ];
    for (line, expected) in cases {
        let mark = Mark::new();
        let (mut supervisor, _writer) = supervised(&mark, line);
        assert_eq!(wait(&mut supervisor).code(), Some(expected), "{line:?}");
        let said = std::io::read_to_string(supervisor.stderr.take().expect("is piped")).expect("is text");
        assert_eq!(said.contains("llmsoak: cannot start no-such-program: "), expected == 127, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_may_leave_a_daemon_behind() {
    let mark = Mark::new();
    // It writes to what the hook had, which is still read.
    let daemon = "while :; do echo tick; sleep 0.05; done & sleep 1001 & setsid sleep 1002 & echo done";
    timeout(PATIENCE, mark.hook(daemon, PATIENCE)).await.expect("not held up").expect("a hook that ends well");
    mark.await_sleepers(2);
    let ticks = || mark.living().into_iter().find(|(_, command)| command == "sleep 0.05");
    let tick = eventually("a tick", ticks);
    eventually("a later tick", || ticks().filter(|later| *later != tick));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_leaves_nobody() {
    let mark = Mark::new();
    let failure =
        mark.hook(&format!("({FAMILY}) & echo no such unit; exit 5"), PATIENCE).await.expect_err("exit code 5");
    assert_eq!(failure.to_string(), "sh ended with exit code 5; it said last: no such unit");
    assert!(matches!(failure, ProcessFailure::Ended { ending: Ending::Code(5), .. }));
    assert_eq!(mark.living(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_hangs_is_ended() {
    for script in [FAMILY, STUBBORN] {
        let mark = Mark::new();
        let limit = Duration::from_secs(2);
        let script = format!("echo waiting; {script}");
        let failure = timeout(PATIENCE, mark.hook(&script, limit)).await.expect("a bound").expect_err("it hangs");
        assert_eq!(failure.to_string(), "sh did not end within 2s and was ended; it said last: waiting");
        assert_eq!(mark.living(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_is_given_up_leaves_nobody() {
    let mark = Mark::new();
    let line = mark.script(FAMILY);
    let hook = tokio::spawn(async move { run_hook(Path::new(LLMSOAK), &line, PATIENCE, "local").await });
    mark.await_sleepers(FAMILY_SIZE);
    hook.abort();
    mark.check_nobody_left();
}
