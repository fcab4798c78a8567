//! Exercise 6. A bell wakes a thread. It may be rung while that thread is busy, and then it has to be heard afterwards. It
//! may be rung twice, which is no more than once. And to ring it never waits.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

pub struct Bell {
    ring: Sender<()>,
    hears: Receiver<()>,
}

impl Bell {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Bell {
        let (ring, hears) = bounded(0);
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
