//! The latest deliveries of the forges: which were heard, and how each pipeline stood. Bounded; the oldest is forgotten
//! first. After a restart nothing is known, so a state may be said a second time, never be missed. If a delivery could
//! not be said, it is forgotten again, so that it is said when the forge sends it once more.
//!
//! Servers with one Redis know of each other's deliveries by their [`Digest`]s (see `keep/relay/mod.rs`), but each
//! remembers for itself how pipelines stand. The message depends on whether a state is news. So to share this, servers
//! would have to ask Redis before the message is made, and to tell Redis in the same step; otherwise two servers that
//! hear of one state at once would still say it twice. The gain would be small: one line less when a forge tells a
//! state in two deliveries and they come to two servers.

use std::sync::Mutex;

use hashlink::LinkedHashMap;

use crate::hook::notice::{Notice, State, is_over};
use crate::room::Digest;
use crate::sync::lock;

/// Deliveries and states that are remembered. Forges send again within minutes by themselves, within days by hand. A
/// busy forge's hooks come a few a second at most, and a big forge runs some thousands of jobs at once. 100 bytes each.
const MOST: usize = 12_288;

/// The status of every delivery.
pub const HEARD: &str = "";

/// The memory of the forges' deliveries.
#[derive(Default)]
pub struct Memory {
    /// The states, those first that became known first. Held while one is looked up; nothing blocks under it.
    known: Mutex<LinkedHashMap<Digest, &'static str>>,
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

impl Memory {
    /// Whether this delivery was heard before. Remembers it. A delivery that nothing identifies always counts as new.
    pub fn has_heard(&self, delivery: Option<State>) -> bool {
        delivery.is_some_and(|delivery| put(&mut lock(&self.known), delivery).is_some())
    }

    /// Forgets a delivery, or a state that was news, because it could not be said. When it comes once more, it is new.
    pub fn take_back(&self, state: Option<State>) {
        let mut known = lock(&self.known);
        if let Some((thing, status)) = state
            && known.get(&thing) == Some(&status)
        {
            known.remove(&thing);
        }
    }

    /// The worth of `notice`, compared with the last state of its thing. Remembers the new state. Quiet states in
    /// between do not make a repeated state news: a pipeline that runs, is pending between two stages and runs again
    /// has run all along.
    pub fn news(&self, notice: &Notice) -> Worth {
        let quiet = if notice.quiet { Worth::Updated } else { Worth::Said };
        let Some((thing, status)) = notice.state else { return quiet };
        let known = &mut *lock(&self.known);
        let before = known.get(&thing).copied();
        if notice.ends_once && before.is_some_and(is_over) && !is_over(status) {
            return Worth::Late;
        }
        if notice.quiet || put(known, (thing, status)) == Some(status) {
            return Worth::Updated;
        }
        Worth::Said
    }
}

/// Remembers a state. Returns the one that it replaces.
fn put(known: &mut LinkedHashMap<Digest, &'static str>, (thing, status): State) -> Option<&'static str> {
    let before = known.replace(thing, status);
    if known.len() > MOST {
        known.pop_front();
    }
    before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::message::digest_of;

    fn notice(thing: &str, status: &'static str) -> Notice {
        Notice { state: Some((digest_of(&[thing]), status)), quiet: status == "queued", ..Notice::default() }
    }

    #[test]
    fn a_delivery_is_heard_once_and_the_oldest_is_forgotten() {
        let memory = Memory::default();
        let has_heard = |parts: &[&[u8]]| memory.has_heard(Some((digest_of(parts), HEARD)));
        let heard = |name: String| has_heard(&[b"github", b"", name.as_bytes()]);
        assert!(!heard("0".to_owned()));
        assert!(heard("0".to_owned()));
        assert!(!has_heard(&[b"github", b"channel", b"0"]), "another channel's");
        assert!(!has_heard(&[b"github", b"", b""]), "parts do not run into each other");
        assert!(!has_heard(&[b"git", b"hub", b"0"]), "parts do not run into each other");
        assert!(!memory.has_heard(None) && !memory.has_heard(None), "without a name none is a repeat");
        (1..=MOST).for_each(|number| assert!(!heard(number.to_string())));
        assert!(!heard("0".to_owned()), "forgotten");
        assert_eq!(lock(&memory.known).len(), MOST);
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
            assert_eq!(memory.news(&notice("5", status)), expected, "{status}");
        }
        assert_eq!(memory.news(&notice("6", "passed")), Worth::Said, "another pipeline");
        let push = Notice { state: None, ..notice("", "pushed") };
        assert_eq!([(); 2].map(|()| memory.news(&push)), [Worth::Said; 2]);
    }

    #[test]
    fn what_is_taken_back_is_new_when_it_comes_again() {
        let memory = Memory::default();
        let (delivery, running) = (Some((digest_of(&[b"1"]), HEARD)), notice("5", "running"));
        for _ in 0..2 {
            assert!(!memory.has_heard(delivery));
            assert_eq!(memory.news(&running), Worth::Said);
            memory.take_back(delivery);
            memory.take_back(running.state);
        }
        assert!(lock(&memory.known).is_empty());
    }

    #[test]
    fn a_repeat_that_could_not_be_said_is_a_repeat_when_it_comes_again() {
        let (memory, running) = (Memory::default(), notice("5", "running"));
        assert_eq!(memory.news(&running), Worth::Said);
        for _ in 0..2 {
            assert_eq!(memory.news(&running), Worth::Updated);
            memory.take_back(None);
        }
    }

    #[test]
    fn what_comes_after_the_end_is_late() {
        let memory = Memory::default();
        let check = |status: &'static str, expected: Worth| {
            let notice = Notice { ends_once: true, ..notice("5.1", status) };
            assert_eq!(memory.news(&notice), expected, "{status}");
        };
        check("passed", Worth::Said);
        check("running", Worth::Late);
        check("queued", Worth::Late);
        check("passed", Worth::Updated);
    }

    #[test]
    fn the_memory_of_states_is_bounded() {
        let memory = Memory::default();
        (0..=MOST).for_each(|number| {
            memory.news(&notice(&number.to_string(), "running"));
        });
        assert_eq!(memory.news(&notice("0", "running")), Worth::Said, "forgotten");
        assert_eq!(lock(&memory.known).len(), MOST);
    }
}
