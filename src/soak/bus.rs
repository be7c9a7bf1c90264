//! Carries events from the engine to whoever listens.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use super::clock::WallClock;
use crate::domain::{Event, Happening, TargetId};
use crate::store::Writer;

/// Events that may wait at a listener. Beyond that the engine waits between two requests,
/// never inside one.
const QUEUE: usize = 16_384;

/// The engine's side. Cheap to clone; listeners end when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Bus {
    clock: WallClock,
    history: Option<Writer>,
    listeners: Vec<mpsc::Sender<Arc<Event>>>,
}

impl Bus {
    /// A bus that writes to a history where there is one.
    pub fn new(clock: WallClock, history: Option<Writer>) -> Self {
        Self { clock, history, listeners: Vec::new() }
    }

    /// Adds a listener, which hears all that is published from now on.
    pub fn listen(&mut self) -> mpsc::Receiver<Arc<Event>> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.listeners.push(sender);
        receiver
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns when the history has written all that was published before.
    pub async fn written(&self) {
        if let Some(history) = &self.history {
            history.flush().await;
        }
    }

    /// Tells every listener. The history hears it first, so that what others show is on its
    /// way to the disk.
    pub async fn publish(&self, target: &TargetId, happening: Happening) {
        let event = Arc::new(Event { target: target.clone(), at: self.now(), happening });
        if let Some(history) = self.history.as_ref().filter(|_| event.happening.is_for_the_history()) {
            history.record(event.clone()).await;
        }
        for listener in &self.listeners {
            // A listener that is gone listens no more; the engine goes on.
            let _ = listener.send(event.clone()).await;
        }
    }
}
