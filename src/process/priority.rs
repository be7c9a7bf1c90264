//! Which priority the system gives to what is started here: the ordinary one, or less.
//!
//! The threads that measure may have raised theirs, and what they start inherits it. A
//! server that ran before the threads that measure it would spoil what they measure.

use rustix::process::{Pid, getpid, getppid, getpriority_process, setpriority_process};

/// The niceness of what can wait: a tenth of the share of ordinary threads, so that it gets
/// done on a busy machine, too.
const PATIENT: i32 = 10;

/// Lets this thread run after all others.
pub(super) fn come_last() {
    let _ = setpriority_process(None, PATIENT);
}

/// Gives this thread the priority that the process has as a whole.
pub(super) fn be_as_the_process() {
    be_as_main_thread_of(getpid());
}

/// Gives this thread the priority that the process above has as a whole.
pub(super) fn be_as_the_parent() {
    if let Some(parent) = getppid() {
        be_as_main_thread_of(parent);
    }
}

fn be_as_main_thread_of(process: Pid) {
    // The number of a process is that of its main thread too. To be less urgent is always
    // allowed; who is not above the ordinary does not need it.
    let _ = getpriority_process(Some(process)).and_then(|niceness| setpriority_process(None, niceness));
}
