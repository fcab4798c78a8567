//! The counters of the server, for `/metrics` (`api/status.rs`), all in one place. The code that does a thing counts
//! it, by one relaxed instruction. Nothing but the report depends on these numbers, so they order nothing and may be a
//! moment old.

// Not the atomics of `sync.rs`: counters take no part in the hand-over, so the model check need not try their orders.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The statuses of refusals, each counted by itself. Any other status is counted in the last place, 0, which is no
/// status.
pub const STATUSES: [u16; 16] = [400, 401, 403, 404, 405, 408, 413, 414, 415, 417, 431, 501, 503, 505, 507, OTHER];

/// The number that stands for every other status.
const OTHER: u16 = 0;

/// The words for why a stream ended, in the order of [`Ended`].
const ENDS: [&str; 4] = ["queue_full", "stalled", "left", "stopped"];

/// Why a listener's stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was hung up on: its queue was full.
    QueueFull,
    /// It was given up: its socket took nothing for too long.
    Stalled,
    /// It has left, or its connection broke.
    Left,
    /// The server stops, or has missed messages that were said elsewhere (`Hub::skip`).
    Stopped,
}

/// All counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages said.
    pub messages: AtomicU64,
    /// Messages put into listeners' queues, each once for every queue.
    pub deliveries: AtomicU64,
    /// The most messages that ever waited for one listener.
    pub fullest_queue: AtomicU64,
    /// In the order of [`Ended`].
    ended: [AtomicU64; ENDS.len()],
    /// In the order of [`STATUSES`].
    refusals: [AtomicU64; STATUSES.len()],
    /// Connections that are open.
    pub connections: AtomicU64,
    /// Threads that run.
    pub threads: AtomicU64,
}

impl Counters {
    /// Counts a message that was put into the queues of `listeners` listeners. So many letters wait in the `fullest` of
    /// them.
    pub fn published(&self, listeners: u64, fullest: u64) {
        self.messages.fetch_add(1, Relaxed);
        self.deliveries.fetch_add(listeners, Relaxed);
        self.fullest_queue.fetch_max(fullest, Relaxed);
    }

    /// Counts a listener whose stream has ended.
    pub fn ended(&self, why: Ended) {
        self.ended[why as usize].fetch_add(1, Relaxed);
    }

    /// Counts a refusal with `status`, of a request or of bytes that should have become one.
    pub fn refused(&self, status: u16) {
        let place = STATUSES.iter().position(|known| *known == status).unwrap_or(STATUSES.len() - 1);
        self.refusals[place].fetch_add(1, Relaxed);
    }

    /// Streams that ended, by the word for why.
    pub fn ends(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ENDS.into_iter().zip(self.ended.iter().map(|count| count.load(Relaxed)))
    }

    /// Refusals by status, as text; `other` for those that are not among [`STATUSES`].
    pub fn refusals(&self) -> impl Iterator<Item = (String, u64)> {
        let name = |status: u16| if status == OTHER { "other".to_owned() } else { status.to_string() };
        STATUSES.into_iter().map(name).zip(self.refusals.iter().map(|count| count.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_counted_by_its_status_and_an_unknown_one_as_other() {
        let counters = Counters::default();
        [401, 401, 503, 418, 0, 65535].into_iter().for_each(|status| counters.refused(status));
        let counted: Vec<_> = counters.refusals().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("401".to_owned(), 2), ("503".to_owned(), 1), ("other".to_owned(), 3)]);
    }

    #[test]
    fn the_fullest_queue_is_remembered() {
        let counters = Counters::default();
        [(2, 3), (0, 0), (5, 1)].into_iter().for_each(|(listeners, fullest)| counters.published(listeners, fullest));
        let counts = [counters.messages, counters.deliveries, counters.fullest_queue].map(AtomicU64::into_inner);
        assert_eq!(counts, [3, 7, 3]);
    }
}
