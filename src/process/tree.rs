//! Who descends from a process, as `/proc` shows it, and signals to all of them.
//!
//! A look is no snapshot: who starts or ends meanwhile may be missing in it. Whoever must
//! reach all looks again until nobody is left.

use procfs::process::{Process, Stat, all_processes};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// All that run below a process, in no order. Those that have ended and wait to be
/// taken notice of are left out.
pub(super) fn below(ancestor: Pid) -> Vec<Member> {
    let mut rest: Vec<Stat> =
        all_processes().into_iter().flatten().filter_map(|process| process.ok()?.stat().ok()).collect();
    rest.retain(|stat| stat.state != 'Z');
    let mut found = Vec::new();
    let mut parents = vec![ancestor.as_raw_pid()];
    while let Some(parent) = parents.pop() {
        for child in rest.extract_if(.., |stat| stat.ppid == parent) {
            parents.push(child.pid);
            found.extend(Member::of(&child));
        }
    }
    found
}

/// A process below another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pid: Pid,
    /// The number of its process group, which is 0 for one that is not visible from here.
    group: i32,
}

impl Member {
    fn of(stat: &Stat) -> Option<Self> {
        Pid::from_raw(stat.pid).map(|pid| Self { pid, group: stat.pgrp })
    }

    /// Its program and arguments; `None` where it has ended meanwhile.
    pub(super) fn command_line(self) -> Option<Vec<String>> {
        Process::new(self.pid.as_raw_pid()).ok()?.cmdline().ok()
    }
}

/// Sends a signal to all below a process: once to the group as a whole, so that nobody in it is missed or
/// gets it twice, and to each that is not in it.
pub(super) fn signal_below(ancestor: Pid, group: Pid, signal: Signal) {
    let members = below(ancestor);
    let is_in_group = |member: &Member| member.group == group.as_raw_pid();
    // Who has ended meanwhile needs no signal.
    if members.iter().any(is_in_group) {
        let _ = kill_process_group(group, signal);
    }
    for member in members.iter().filter(|member| !is_in_group(member)) {
        let _ = kill_process(member.pid, signal);
    }
}
