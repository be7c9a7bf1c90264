//! A piece of hardware, and the targets that share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// The hardware of some targets, of which one at a time may use it.
#[derive(Debug, Default)]
pub(super) struct Lane {
    busy: Arc<Mutex<()>>,
    members: AtomicUsize,
}

impl Lane {
    pub(super) fn join(&self) {
        self.members.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.members.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether another target may want the hardware.
    pub(super) fn is_shared(&self) -> bool {
        self.members.load(Ordering::Relaxed) > 1
    }

    /// Waits for the hardware; it is free again when what this returns is dropped.
    pub(super) async fn hold(&self) -> OwnedMutexGuard<()> {
        self.busy.clone().lock_owned().await
    }
}
