//! The newest forgotten id of each channel and event. So a listener of a quiet channel is not told of a gap because
//! other channels were busy. Bounded: if there are too many kinds, the oldest half is summed up in one id, up to which
//! everything may be missing.

use std::collections::HashMap;

/// The most kinds of message, of one channel and one event each, that are told apart.
const MOST_KINDS: usize = 1000;

/// The newest ids that are gone.
#[derive(Default)]
pub struct Forgotten {
    /// Anything up to this id may be gone, on any channel.
    unknown: u64,
    /// By channel and event.
    newest: HashMap<(String, String), u64>,
}

impl Forgotten {
    /// Starts with an id `unknown`, up to which anything may be gone, on every channel.
    pub fn all_up_to(unknown: u64) -> Forgotten {
        Forgotten { unknown, ..Forgotten::default() }
    }

    /// Notes that a message with this `channel`, `event` and `id` is gone.
    pub fn add(&mut self, channel: &str, event: &str, id: u64) {
        let newest = self.newest.entry((channel.to_owned(), event.to_owned())).or_default();
        *newest = id.max(*newest);
        if self.newest.len() > MOST_KINDS {
            self.sum_up_half();
        }
    }

    /// Whether a message after the id `after` is gone, or may be. Looks only at messages that `is_wanted` takes, by
    /// channel and event.
    pub fn may_miss(&self, after: u64, is_wanted: impl Fn(&str, &str) -> bool) -> bool {
        let mut gone = self.newest.iter().filter(|(_, id)| **id > after);
        after < self.unknown || gone.any(|((channel, event), _)| is_wanted(channel, event))
    }

    /// Whether `id` is the newest that is gone on some channel.
    pub fn holds(&self, id: u64) -> bool {
        self.newest.values().any(|newest| *newest == id)
    }

    fn sum_up_half(&mut self) {
        let mut ids: Vec<u64> = self.newest.values().copied().collect();
        self.unknown = *ids.select_nth_unstable(MOST_KINDS / 2).1;
        self.newest.retain(|_, id| *id > self.unknown);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_missed() {
        let mut forgotten = Forgotten::all_up_to(10);
        for (id, channel, event) in [(11, "quiet", "message"), (12, "busy", "message"), (13, "busy", "ci")] {
            forgotten.add(channel, event, id);
        }
        let quiet = |channel: &str, _: &str| channel == "quiet";
        assert!(forgotten.may_miss(10, quiet), "its own");
        assert!(!forgotten.may_miss(11, quiet), "that of others");
        assert!(forgotten.may_miss(9, |_, _| false), "up to there nobody knows");
        assert!(
            forgotten.may_miss(12, |_, event| event == "ci") && !forgotten.may_miss(12, |_, event| event == "message")
        );
        assert!(forgotten.holds(11) && !forgotten.holds(10));
    }

    #[test]
    fn of_too_many_kinds_the_oldest_may_all_be_missing() {
        let mut forgotten = Forgotten::default();
        (1..=3 * MOST_KINDS as u64).for_each(|id| forgotten.add(&id.to_string(), "message", id));
        assert!(forgotten.newest.len() <= MOST_KINDS);
        assert!(forgotten.may_miss(1, |_, _| false), "nobody knows any more");
        let newest = 3 * MOST_KINDS as u64;
        assert!(!forgotten.may_miss(newest - 1, |channel, _| channel == "1"), "it is known of the newest");
        assert!(forgotten.may_miss(newest - 1, |channel, _| *channel == newest.to_string()));
    }
}
