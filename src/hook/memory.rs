//! The latest deliveries of the forges: which were heard, and how each pipeline stood. Bounded; the oldest is forgotten
//! first. After a restart nothing is known, so a state may be said a second time, never be missed. If a delivery could
//! not be said, it is forgotten again, so that it is said when the forge sends it once more.
//!
//! Servers with one Redis know of each other's deliveries by their [`Digest`]s (see `keep/relay.rs`), but each
//! remembers for itself how pipelines stand. The message depends on whether a state is news. So to share this, servers
//! would have to ask Redis before the message is made, and to tell Redis in the same step; otherwise two servers that
//! hear of one state at once would still say it twice. The gain would be small: one line less when a forge tells a
//! state in two deliveries and they come to two servers.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use crate::hook::notice::{Notice, is_over};
use crate::hook::sender::Sender;
use crate::room::message::{Digest, digest_of};
use crate::sync::lock;

/// Deliveries remembered. Forges send again within minutes by themselves, within days by hand. A busy forge's hooks
/// come a few a second at most. 64 bytes each.
const DELIVERIES: usize = 4096;

/// Pipelines, jobs and the like whose state is remembered: more than run at once on a big forge. 80 bytes each.
const THINGS: usize = 8192;

/// The memory of the forges' deliveries.
#[derive(Default)]
pub struct Memory {
    /// Held while two maps are looked into; nothing blocks under it.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    deliveries: Recent<()>,
    things: Recent<&'static str>,
}

/// The worth of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// A line.
    Said,
    /// Only a change on the dashboard.
    Updated,
    /// Nothing: its thing has ended already.
    Late,
}

/// The digest of the delivery that `parts` make unique; `None` without parts.
pub fn digest(parts: &[&[u8]]) -> Option<Digest> {
    (!parts.is_empty()).then(|| digest_of(parts))
}

/// A thing that can change, and its state.
pub type State = (Digest, &'static str);

/// The thing whose state `notice` tells in `channel`, if it can change.
pub fn state(sender: Sender, channel: &str, notice: &Notice) -> Option<State> {
    let (project, thing) = (notice.field("project").unwrap_or(""), notice.thing.as_deref()?);
    let names = [sender.name(), channel, notice.kind, project, thing];
    Some((digest_of(&names.map(str::as_bytes)), notice.status))
}

impl Memory {
    /// Whether this delivery was heard before. Remembers it. A delivery without a digest always counts as new.
    pub fn has_heard(&self, delivery: Option<Digest>) -> bool {
        delivery.is_some_and(|digest| lock(&self.known).deliveries.put(digest, (), DELIVERIES).is_some())
    }

    /// Forgets a delivery, and a state that was news by it, because they could not be said. When the delivery comes once
    /// more, it is heard, and its state is news.
    pub fn take_back(&self, delivery: Option<Digest>, news: Option<State>) {
        let mut known = lock(&self.known);
        if let Some(digest) = delivery {
            known.deliveries.take(&digest);
        }
        if let Some((thing, status)) = news
            && known.things.get(&thing) == Some(status)
        {
            known.things.take(&thing);
        }
    }

    /// The worth of `notice`, compared with the last state of its thing. Remembers the new `state`. Quiet states in
    /// between do not make a repeated state news: a pipeline that runs, is pending between two stages and runs again
    /// has run all along.
    pub fn news(&self, state: Option<State>, notice: &Notice) -> Worth {
        let quiet = if notice.quiet { Worth::Updated } else { Worth::Said };
        let Some((thing, status)) = state else { return quiet };
        let things = &mut lock(&self.known).things;
        let before = things.get(&thing);
        if notice.ends_once && before.is_some_and(is_over) && !is_over(status) {
            return Worth::Late;
        }
        if notice.quiet || before == Some(status) {
            return Worth::Updated;
        }
        things.put(thing, status, THINGS);
        Worth::Said
    }
}

/// The newest values that were put in, by key.
struct Recent<T> {
    known: HashMap<Digest, T>,
    /// The keys, oldest first.
    order: VecDeque<Digest>,
}

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent { known: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T: Copy> Recent<T> {
    fn get(&self, key: &Digest) -> Option<T> {
        self.known.get(key).copied()
    }

    /// Puts `value` in and returns the one it replaces. Forgets the oldest if there are more than `most`.
    fn put(&mut self, key: Digest, value: T, most: usize) -> Option<T> {
        let before = self.known.insert(key, value);
        if before.is_none() {
            self.order.push_back(key);
            if self.order.len() > most
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        before
    }

    /// Forgets `key`. Searches from the newest on, because a value to be taken back was put in a moment ago.
    fn take(&mut self, key: &Digest) {
        if self.known.remove(key).is_some()
            && let Some(place) = self.order.iter().rposition(|known| known == key)
        {
            self.order.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(thing: &str, status: &'static str) -> Notice {
        Notice {
            kind: "pipeline",
            status,
            thing: Some(thing.to_owned()),
            quiet: status == "queued",
            ..Notice::default()
        }
    }

    fn news(memory: &Memory, sender: Sender, notice: &Notice) -> Worth {
        memory.news(state(sender, "", notice), notice)
    }

    #[test]
    fn a_delivery_is_heard_once_and_the_oldest_is_forgotten() {
        let memory = Memory::default();
        let has_heard = |parts: &[&[u8]]| memory.has_heard(digest(parts));
        let heard = |name: String| has_heard(&[b"github", b"", name.as_bytes()]);
        assert!(!heard("0".to_owned()));
        assert!(heard("0".to_owned()));
        assert!(!has_heard(&[b"github", b"channel", b"0"]), "another channel's");
        assert!(!has_heard(&[b"github", b"", b""]), "parts do not run into each other");
        assert!(!has_heard(&[b"git", b"hub", b"0"]), "parts do not run into each other");
        assert!(!has_heard(&[]) && !has_heard(&[]), "without a name none is a repeat");
        (1..=DELIVERIES).for_each(|number| assert!(!heard(number.to_string())));
        assert!(!heard("0".to_owned()), "forgotten");
        let known = lock(&memory.known);
        assert_eq!((known.deliveries.known.len(), known.deliveries.order.len()), (DELIVERIES, DELIVERIES));
    }

    #[test]
    fn the_same_state_again_is_no_news() {
        let memory = Memory::default();
        let states = [
            ("queued", Worth::Updated),
            ("running", Worth::Said),
            ("running", Worth::Updated),
            ("queued", Worth::Updated),
            ("running", Worth::Updated),
            ("failed", Worth::Said),
            ("failed", Worth::Updated),
            ("queued", Worth::Updated),
            ("running", Worth::Said),
            ("passed", Worth::Said),
        ];
        for (status, expected) in states {
            assert_eq!(news(&memory, Sender::GitLab, &notice("5", status)), expected, "{status}");
        }
        assert_eq!(news(&memory, Sender::GitLab, &notice("6", "passed")), Worth::Said, "another pipeline");
        assert_eq!(news(&memory, Sender::Gitea, &notice("5", "passed")), Worth::Said, "another forge");
        assert_eq!(
            memory.news(state(Sender::GitLab, "a", &notice("5", "passed")), &notice("5", "passed")),
            Worth::Said
        );
        let push = Notice { thing: None, ..notice("", "pushed") };
        assert_eq!([(); 2].map(|()| news(&memory, Sender::GitLab, &push)), [Worth::Said; 2]);
    }

    #[test]
    fn what_is_taken_back_is_new_when_it_comes_again() {
        let memory = Memory::default();
        let (delivery, running) = (digest(&[b"1"]), notice("5", "running"));
        for _ in 0..2 {
            assert!(!memory.has_heard(delivery));
            assert_eq!(news(&memory, Sender::GitLab, &running), Worth::Said);
            memory.take_back(delivery, state(Sender::GitLab, "", &running));
        }
        let known = lock(&memory.known);
        assert_eq!((known.deliveries.order.len(), known.things.order.len()), (0, 0));
    }

    #[test]
    fn a_repeat_that_could_not_be_said_is_a_repeat_when_it_comes_again() {
        let (memory, running) = (Memory::default(), notice("5", "running"));
        assert_eq!(news(&memory, Sender::GitLab, &running), Worth::Said);
        for _ in 0..2 {
            assert_eq!(news(&memory, Sender::GitLab, &running), Worth::Updated);
            memory.take_back(None, None);
        }
    }

    #[test]
    fn what_comes_after_the_end_is_late() {
        let memory = Memory::default();
        let check = |status: &'static str, expected: Worth| {
            let notice = Notice { ends_once: true, ..notice("5.1", status) };
            assert_eq!(news(&memory, Sender::GitHub, &notice), expected, "{status}");
        };
        check("passed", Worth::Said);
        check("running", Worth::Late);
        check("queued", Worth::Late);
        check("passed", Worth::Updated);
    }

    #[test]
    fn the_memory_of_states_is_bounded() {
        let memory = Memory::default();
        (0..=THINGS).for_each(|number| {
            news(&memory, Sender::GitLab, &notice(&number.to_string(), "running"));
        });
        assert_eq!(news(&memory, Sender::GitLab, &notice("0", "running")), Worth::Said, "forgotten");
        assert_eq!(lock(&memory.known).things.known.len(), THINGS);
    }
}
