//! The solution of exercise 6.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

pub struct Bell {
    ring: Sender<()>,
    hears: Receiver<()>,
}

impl Bell {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Bell {
        let (ring, hears) = bounded(1);
        Bell { ring, hears }
    }

    pub fn ring(&self) {
        let _ = self.ring.try_send(());
    }

    /// Sleeps until the bell is rung, `limit` at the most. Returns whether it was rung.
    pub fn sleep(&self, limit: Duration) -> bool {
        self.hears.recv_timeout(limit).is_ok()
    }
}
