//! Running other programs: a model server as a child, and hooks that run to their end. And
//! running what can wait, on threads that come last.
//!
//! Nothing that llmsoak starts may outlive it by accident, whichever way it ends. So each program
//! runs below a supervisor, `llmsoak supervise`, a small process between the two: it holds
//! one end of a socket whose other end llmsoak holds, and ends all that is below it when the
//! socket closes, which the kernel sees to even after SIGKILL. [`supervise`] is that
//! process, [`ServerProcess`], [`run_hook`] and [`answer_of`] are llmsoak's side.
//!
//! Nothing here knows which server it is, when to start one again, or how to ask it anything.
//! Linux only: who descends from whom is read from `/proc`.

mod answer;
mod background;
mod child;
mod failure;
mod hook;
mod output;
mod priority;
mod server;
mod supervisor;
mod tree;

pub use answer::answer_of;
pub use background::in_background;
pub use failure::{Ending, ProcessFailure};
pub use hook::run_hook;
pub use server::{ServerProcess, parallel_of, slots_of_local_ollama};
pub use supervisor::{Leave, supervise};

use std::time::Duration;

/// How long the system may take to load a program.
const STARTUP: Duration = Duration::from_secs(10);
/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long SIGKILL is repeated before whoever survives it is given up: the kernel holds it.
const FORCE: Duration = Duration::from_secs(1);
/// How long llmsoak waits for a supervisor that is to end; a second less than a stop of llmsoak may take.
const STOP: Duration = Duration::from_secs(4);
