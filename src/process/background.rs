//! Work that can wait: on threads that come after everything else that the machine does.

use std::any::Any;
use std::thread;

use tokio::task::spawn_blocking;

use super::priority;

/// Runs `work` on a thread of its own, of low priority: what measures, serves or answers comes
/// first. An error is what it panicked with, or why there is no thread.
pub async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> thread::Result<T> {
    let run = || {
        priority::come_last();
        work()
    };
    // A thread of the runtime waits: it could not take its own priority back.
    let wait = || thread::Builder::new().name("background".to_owned()).spawn(run).map_err(boxed)?.join();
    spawn_blocking(wait).await.map_err(boxed)?
}

fn boxed(error: impl Any + Send) -> Box<dyn Any + Send> {
    Box::new(error)
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[tokio::test]
    async fn what_is_asked_for_comes_from_a_thread_of_low_priority() {
        let niceness = || getpriority_process(None).expect("Linux tells");
        let (here, there) = (niceness(), in_background(niceness).await.expect("no panic"));
        assert!(there > here, "{here} here, {there} there");
    }

    #[tokio::test]
    async fn a_panic_is_handed_over() {
        let panicked = in_background(|| assert_eq!(1 + 1, 3, "arithmetic")).await.expect_err("it panics");
        assert!(panicked.downcast_ref::<String>().is_some_and(|words| words.contains("arithmetic")));
    }
}
