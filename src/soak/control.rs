//! What a user asks of a running soak: to pause, and to go on.
//!
//! A pause is not kept through a restart: whoever starts the program wants it to work.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;

/// A pause of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// When it ends by itself; `None`: when the user says so.
    pub until: Option<Timestamp>,
}

impl Pause {
    fn holds(self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Which targets are paused.
#[derive(Clone, Debug, Default)]
struct Pauses {
    /// Of every target of which nothing else was said since.
    all: Option<Pause>,
    /// What was said of one target; `None`: it goes on. A pause that is over counts as if
    /// nothing had been said.
    targets: BTreeMap<Arc<str>, Option<Pause>>,
}

/// The user's hand on the soak. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Control {
    pauses: Arc<watch::Sender<Pauses>>,
}

impl Default for Control {
    fn default() -> Self {
        Self { pauses: Arc::new(watch::Sender::new(Pauses::default())) }
    }
}

impl Control {
    /// Pauses a target, or all of them, those too that join later.
    pub fn pause(&self, target: Option<&str>, until: Option<Timestamp>) {
        self.set(target, Some(Pause { until }));
    }

    /// Lets a target go on, or all of them.
    pub fn resume(&self, target: Option<&str>) {
        self.set(target, None);
    }

    fn set(&self, target: Option<&str>, pause: Option<Pause>) {
        self.pauses.send_modify(|pauses| match target {
            Some(name) => {
                pauses.targets.insert(name.into(), pause);
            }
            None => *pauses = Pauses { all: pause, targets: BTreeMap::new() },
        });
    }

    /// The pause that holds a target now.
    pub fn pause_of(&self, target: &str, now: Timestamp) -> Option<Pause> {
        let pauses = self.pauses.borrow();
        let is_over = |word: &Option<Pause>| word.is_some_and(|pause| !pause.holds(now));
        let word = pauses.targets.get(target).copied().filter(|word| !is_over(word));
        word.unwrap_or(pauses.all).filter(|pause| pause.holds(now))
    }

    /// What tells that something was said.
    pub(super) fn listen(&self) -> Hint {
        Hint(self.pauses.subscribe())
    }
}

/// Wakes whoever waits when the user said something.
#[derive(Clone, Debug)]
pub(super) struct Hint(watch::Receiver<Pauses>);

impl Hint {
    /// Returns when something was said since the last call.
    pub(super) async fn heard(&mut self) {
        if self.0.changed().await.is_err() {
            // The user's hand is gone: nothing will be said any more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn the_last_word_on_a_target_holds() {
        let control = Control::default();
        let paused = |name, second| control.pause_of(name, at(second)).is_some();
        control.pause(Some("a"), Some(at(10)));
        assert!(paused("a", 9) && !paused("a", 10) && !paused("b", 0));
        control.pause(None, None);
        assert!(paused("a", 99) && paused("b", 99));
        control.resume(Some("a"));
        assert!(!paused("a", 0) && paused("b", 0));
        control.resume(None);
        assert!(!paused("a", 0) && !paused("b", 0));
    }

    #[test]
    fn a_pause_of_one_target_that_is_over_leaves_it_in_the_pause_of_all() {
        let control = Control::default();
        let until = |second| control.pause_of("a", at(second)).map(|pause| pause.until);
        control.pause(None, None);
        control.pause(Some("a"), Some(at(10)));
        assert_eq!((until(9), until(10)), (Some(Some(at(10))), Some(None)));
        control.pause(None, Some(at(20)));
        control.pause(Some("a"), Some(at(10)));
        assert_eq!((until(10), until(20)), (Some(Some(at(20))), None));
    }
}
