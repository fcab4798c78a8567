//! What was said lately, kept in memory for those who come later. Bounded by count and by bytes: the oldest goes first.
//!
//! Who comes back with the id it heard last gets what was said since. Where something of that is gone, or may be, it is
//! told so ([`Gap`]) and gets what is left. That can be seen from the id alone:
//!
//! * It is older than the newest message let go of: what lay between is gone.
//! * It is older than this history, so from before a restart: what was said then and not heard is gone. Whether there
//!   was anything nobody knows; it is told all the same.
//! * It is newer than the newest message: it comes from before a restart too, and from a clock that has been set back
//!   since. All that is kept was said after it was heard.
//!
//! One case is left, for want of a memory that outlives the process: a clock set back across a restart, and by now more
//! said than the step was long. Then an old id passes for one of ours, and what has a smaller one is not replayed. With
//! a store ([`Past`]) there is no such case: ids, what is kept and what was let go of go on where they stopped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::message::{HOST_EVENT, Message};

/// The newest messages, oldest first. The hub's lock guards it, so what is kept and what is heard never disagree.
pub struct History {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    most_messages: usize,
    most_bytes: usize,
    /// The time at which it began, as an id: all it was ever given have larger ones.
    begun: u64,
    /// The newest id that it does not have and somebody may have said: that of the message let go of last, at first
    /// `begun`.
    forgotten: u64,
    /// The newest id there was: of what is kept, of what was let go of, of what only passed.
    newest: u64,
}

/// What a store has kept of what was said before the process began.
#[derive(Debug, Default)]
pub struct Past {
    /// The time at which the store began, as an id: all it was ever given have larger ones.
    pub begun: u64,
    /// The newest id that it let go of; at first `begun`.
    pub forgotten: u64,
    /// The newest id that it was ever given; at first `begun`.
    pub last: u64,
    /// What it has, oldest first.
    pub messages: Vec<Arc<Message>>,
}

/// What somebody wants of what was said before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// From where on.
    pub point: Point,
    /// And of that the newest so many.
    pub most: usize,
}

/// A point in the order of all messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Behind the newest.
    Now,
    /// Behind the message of this id.
    After(u64),
    /// So long ago.
    Ago(Duration),
    /// Before the oldest that is kept.
    Oldest,
}

impl Since {
    /// Nothing of what was said before.
    pub const NOW: Since = Since { point: Point::Now, most: 0 };
    /// Everything that is kept.
    pub const OLDEST: Since = Since { point: Point::Oldest, most: usize::MAX };
}

/// What somebody gets of what was said before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// What to tell first, where not everything that was asked for is kept.
    pub gap: Option<Gap>,
    /// What is kept, the newest first: it is taken from the end.
    pub messages: Vec<Arc<Message>>,
}

/// Some of what was said after the id asked for is not kept, or may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The id asked for.
    pub after: u64,
    /// The oldest that is kept, on whatever channel; `None` where nothing is.
    pub oldest: Option<u64>,
}

impl History {
    /// Keeps at most `most_messages` messages that weigh at most `most_bytes` together, zero of either keeps none, and
    /// answers for everything said after `begun`, an id.
    pub fn new(most_messages: usize, most_bytes: usize, begun: u64) -> History {
        History {
            messages: VecDeque::new(),
            bytes: 0,
            most_messages,
            most_bytes,
            begun,
            forgotten: begun,
            newest: begun,
        }
    }

    /// Goes on where a store has stopped, with what it kept, as far as the bounds allow.
    pub fn resume(most_messages: usize, most_bytes: usize, past: Past) -> History {
        let mut history = History::new(most_messages, most_bytes, past.begun);
        history.forgotten = past.forgotten;
        past.messages.into_iter().for_each(|message| history.keep(message));
        history.newest = history.newest.max(past.last);
        history
    }

    /// The newest id that will have been let go of when `coming` are kept, so that a store can let go of the same in
    /// the transaction that keeps them, or a later one.
    pub fn would_forget(&self, coming: &[Arc<Message>]) -> u64 {
        let mut count = self.messages.len() + coming.len();
        let mut bytes = self.bytes + coming.iter().map(|message| message.weight()).sum::<usize>();
        let mut forgotten = self.forgotten;
        for oldest in self.messages.iter().chain(coming) {
            if count <= self.most_messages && bytes <= self.most_bytes {
                break;
            }
            count -= 1;
            bytes -= oldest.weight();
            forgotten = oldest.id;
        }
        forgotten
    }

    /// Keeps `message` as the newest, and lets go of the oldest until both bounds hold. A host's beat only passes: its
    /// id is known for one of ours, so who heard it last has missed nothing of what is kept.
    pub fn keep(&mut self, message: Arc<Message>) {
        self.newest = message.id;
        if message.event == HOST_EVENT {
            return;
        }
        self.bytes += message.weight();
        self.messages.push_back(message);
        while self.messages.len() > self.most_messages || self.bytes > self.most_bytes {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.weight();
            self.forgotten = oldest.id;
        }
    }

    /// Lets go of everything up to the id `last`, which it may never have had.
    pub fn forget(&mut self, last: u64) {
        let lost = self.messages.partition_point(|message| message.id <= last);
        self.bytes -= self.messages.drain(..lost).map(|message| message.weight()).sum::<usize>();
        self.forgotten = self.forgotten.max(last);
    }

    /// How many messages are kept, and how many bytes they weigh.
    pub fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }

    /// What is kept of what was said `since` and somebody `takes`, at the time `now` in microseconds since 1970. Shares
    /// the messages; takes a few nanoseconds for each that it looks at.
    pub fn replay(&self, since: Since, now: u64, takes: impl Fn(&Message) -> bool) -> Replay {
        let after = match since.point {
            Point::Now => return Replay::default(),
            Point::After(id) => id,
            // An id is a time. Who asks for a time knows of no restart: there is a gap only where something was let go
            // of.
            Point::Ago(age) => now.saturating_sub(micros(age)).clamp(self.begun, self.newest),
            Point::Oldest => self.forgotten,
        };
        let from_before = after < self.forgotten || after > self.newest;
        let start = if from_before { 0 } else { self.messages.partition_point(|message| message.id <= after) };
        let wanted = self.messages.range(start..).rev().filter(|message| takes(message));
        Replay {
            gap: from_before.then(|| Gap { after, oldest: self.messages.front().map(|message| message.id) }),
            messages: wanted.take(since.most).cloned().collect(),
        }
    }
}

fn micros(age: Duration) -> u64 {
    u64::try_from(age.as_micros()).unwrap_or(u64::MAX)
}

impl Replay {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.gap.is_none() && self.messages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    /// Began at 100.
    fn history(most_messages: usize, most_bytes: usize) -> History {
        History::new(most_messages, most_bytes, 100)
    }

    fn message(id: u64, text: &str) -> Arc<Message> {
        Arc::new(Message {
            id,
            time: id,
            event: Cow::Borrowed("message"),
            channel: String::new(),
            name: String::new(),
            message: text.to_owned(),
            fields: vec![],
        })
    }

    fn ids(history: &History) -> Vec<u64> {
        replayed(history, Since::OLDEST).1
    }

    /// The gap, as the id asked for and the oldest; and what is replayed, oldest first, at the time 1000.
    fn replayed(history: &History, since: Since) -> (Option<(u64, Option<u64>)>, Vec<u64>) {
        let replay = history.replay(since, 1000, |message| message.message != "for somebody else");
        let ids = replay.messages.iter().rev().map(|message| message.id).collect();
        (replay.gap.map(|gap| (gap.after, gap.oldest)), ids)
    }

    fn after(id: u64) -> Since {
        Since { point: Point::After(id), most: usize::MAX }
    }

    #[test]
    fn the_oldest_goes_when_the_count_is_reached() {
        let mut history = history(3, usize::MAX);
        (101..=105).for_each(|id| history.keep(message(id, "x")));
        assert_eq!(ids(&history), [103, 104, 105]);
    }

    #[test]
    fn the_oldest_goes_when_the_bytes_are_reached() {
        let one = message(1, &"x".repeat(1000)).weight();
        let mut history = history(100, 3 * one);
        (101..=105).for_each(|id| history.keep(message(id, &"x".repeat(1000))));
        assert_eq!(ids(&history), [103, 104, 105]);
        history.keep(message(106, &"x".repeat(2000)));
        assert_eq!(ids(&history), [105, 106], "a heavy one pushes out two");
        history.keep(message(107, &"x".repeat(4000)));
        assert_eq!(ids(&history), [0u64; 0], "one that is too heavy pushes out all and itself");
        assert_eq!(replayed(&history, after(106)), (Some((106, None)), vec![]));
        assert_eq!(replayed(&history, after(107)), (None, vec![]));
    }

    #[test]
    fn zero_keeps_nothing() {
        let mut history = history(0, 1_000_000);
        history.keep(message(101, "x"));
        assert_eq!(ids(&history), [0u64; 0]);
        assert_eq!(history.bytes, 0);
    }

    #[test]
    fn what_would_be_let_go_of_is_what_is_let_go_of() {
        let heavy = |id: u64| message(id, &"x".repeat((id * 7919 % 997) as usize));
        let one = message(1, "").weight();
        for (most_messages, most_bytes) in [(0, usize::MAX), (3, usize::MAX), (50, 4 * one), (8, 9 * one), (1, 0)] {
            let mut history = history(most_messages, most_bytes);
            let mut next = 101;
            for batch in (0..20).cycle().take(200) {
                let coming: Vec<_> = (next..next + batch).map(heavy).collect();
                next += batch;
                let foretold = history.would_forget(&coming);
                coming.into_iter().for_each(|message| history.keep(message));
                assert_eq!(foretold, history.forgotten, "{most_messages} {most_bytes} {batch}");
            }
        }
    }

    #[test]
    fn what_is_lost_elsewhere_is_a_gap_here() {
        let mut history = history(10, usize::MAX);
        [200, 210].into_iter().for_each(|id| history.keep(message(id, "x")));
        history.forget(250);
        history.keep(message(260, "x"));
        assert_eq!(replayed(&history, after(210)), (Some((210, Some(260))), vec![260]));
        assert_eq!(replayed(&history, after(250)), (None, vec![260]));
        assert_eq!(history.size(), (1, message(260, "x").weight()));
    }

    #[test]
    fn a_beat_passes_and_who_heard_it_last_has_missed_nothing() {
        let beat = |id: u64| Arc::new(Message { event: Cow::Borrowed(HOST_EVENT), ..Message::clone(&message(id, "")) });
        let messages = vec![beat(200), message(210, "x"), beat(220)];
        let mut history = History::resume(10, usize::MAX, Past { begun: 100, forgotten: 100, last: 230, messages });
        assert_eq!(ids(&history), [210]);
        assert_eq!(replayed(&history, after(220)), (None, vec![]));
        assert_eq!(replayed(&history, after(230)), (None, vec![]), "the newest before a restart");
        assert_eq!(replayed(&history, after(231)), (Some((231, Some(210))), vec![210]));
        history.keep(beat(240));
        assert_eq!(replayed(&history, after(240)), (None, vec![]));
        assert_eq!(history.size().0, 1);
    }

    #[test]
    fn it_goes_on_where_a_store_has_stopped() {
        let past = || Past {
            begun: 100,
            forgotten: 200,
            last: 240,
            messages: (210..=240).step_by(10).map(|id| message(id, "x")).collect(),
        };
        let history = History::resume(10, usize::MAX, past());
        assert_eq!(replayed(&history, after(200)), (None, vec![210, 220, 230, 240]), "no gap that is none");
        assert_eq!(replayed(&history, after(240)), (None, vec![]));
        assert_eq!(replayed(&history, after(199)), (Some((199, Some(210))), vec![210, 220, 230, 240]));
        let smaller = History::resume(2, usize::MAX, past());
        assert_eq!(replayed(&smaller, after(210)), (Some((210, Some(230))), vec![230, 240]));
        assert_eq!(smaller.would_forget(&[]), 220);
    }

    #[test]
    fn what_is_replayed_and_where_a_gap_is_told() {
        let mut history = history(4, usize::MAX);
        let check = |history: &History, since: Since, gap: Option<(u64, Option<u64>)>, ids: &[u64]| {
            assert_eq!(replayed(history, since), (gap, ids.to_vec()), "{since:?}");
        };
        let ago = |micros: u64| Since { point: Point::Ago(Duration::from_micros(micros)), most: usize::MAX };

        // Nothing was said yet.
        check(&history, Since::NOW, None, &[]);
        check(&history, Since::OLDEST, None, &[]);
        check(&history, after(99), Some((99, None)), &[]);
        check(&history, after(100), None, &[]);
        check(&history, after(101), Some((101, None)), &[]);
        check(&history, ago(5000), None, &[]);
        check(&history, ago(0), None, &[]);

        // Everything is kept.
        [200, 210, 220].into_iter().for_each(|id| history.keep(message(id, "x")));
        check(&history, Since::NOW, None, &[]);
        check(&history, Since::OLDEST, None, &[200, 210, 220]);
        check(&history, after(99), Some((99, Some(200))), &[200, 210, 220]);
        check(&history, after(100), None, &[200, 210, 220]);
        check(&history, after(200), None, &[210, 220]);
        check(&history, after(205), None, &[210, 220]);
        check(&history, after(220), None, &[]);
        check(&history, after(221), Some((221, Some(200))), &[200, 210, 220]);
        check(&history, after(u64::MAX), Some((u64::MAX, Some(200))), &[200, 210, 220]);
        check(&history, ago(5000), None, &[200, 210, 220]);
        check(&history, ago(785), None, &[220]);
        check(&history, ago(0), None, &[]);

        // 200 and 210 are let go of.
        [230, 240, 250].into_iter().for_each(|id| history.keep(message(id, "x")));
        check(&history, Since::OLDEST, None, &[220, 230, 240, 250]);
        check(&history, after(200), Some((200, Some(220))), &[220, 230, 240, 250]);
        check(&history, after(210), None, &[220, 230, 240, 250]);
        check(&history, after(240), None, &[250]);
        check(&history, ago(795), Some((205, Some(220))), &[220, 230, 240, 250]);
        check(&history, ago(785), None, &[220, 230, 240, 250]);

        // The newest so many, and only what is wanted.
        history.keep(message(260, "for somebody else"));
        check(&history, Since { most: 2, ..Since::OLDEST }, None, &[240, 250]);
        check(&history, Since { most: 0, ..Since::OLDEST }, None, &[]);
        check(&history, Since { most: 1, ..after(230) }, None, &[250]);
        check(&history, after(200), Some((200, Some(230))), &[230, 240, 250]);
        check(&history, after(250), None, &[]);
    }
}
