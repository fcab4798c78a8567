//! What was said of the forges lately: which deliveries were heard, and how each pipeline stood. Bounded; the oldest is
//! forgotten first. After a restart nothing is known, so a state may be said a second time, never be missed.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use crate::hook::Forge;
use crate::hook::notice::{Notice, status};
use crate::sync::lock;

/// Deliveries remembered. Forges send again within minutes by themselves, within days by hand; a busy forge's hooks come
/// a few a second at most. 64 bytes each.
const DELIVERIES: usize = 4096;

/// Pipelines, jobs and the like whose state is remembered: more than run at once on a big forge. 80 bytes each.
const THINGS: usize = 8192;

/// What is remembered of the forges.
#[derive(Default)]
pub struct Memory {
    /// Held for a look into two maps; nothing blocks under it.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    deliveries: Recent<()>,
    things: Recent<&'static str>,
}

/// What a notice is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// A line.
    Said,
    /// A change on the dashboard.
    Updated,
    /// Nothing: what it tells of is over.
    Late,
}

impl Memory {
    /// Whether the delivery that `parts` make unique was heard before; remembers it. Without parts none was.
    pub fn has_heard(&self, parts: &[&[u8]]) -> bool {
        !parts.is_empty() && lock(&self.known).deliveries.put(key(parts), (), DELIVERIES).is_some()
    }

    /// What `notice` is worth after what was said of the same thing; remembers it. Quiet states in between do not make
    /// the same state news: a pipeline that runs, is pending between two stages and runs again has run all along.
    pub fn news(&self, forge: Forge, notice: &Notice) -> News {
        let quiet = if notice.quiet { News::Updated } else { News::Said };
        let Some(thing) = &notice.thing else { return quiet };
        let project = notice.project.as_deref().unwrap_or("");
        let key = key(&[forge.name(), notice.kind, project, thing].map(str::as_bytes));
        let things = &mut lock(&self.known).things;
        let before = things.get(&key);
        if notice.ends_once && before.is_some_and(status::is_over) && !status::is_over(notice.status) {
            return News::Late;
        }
        if notice.quiet || before == Some(notice.status) {
            return News::Updated;
        }
        things.put(key, notice.status, THINGS);
        News::Said
    }
}

/// The newest of what was put in, by key.
struct Recent<T> {
    known: HashMap<Key, T>,
    /// The keys, oldest first.
    order: VecDeque<Key>,
}

type Key = [u8; 32];

/// `parts` as one key of fixed size, so that a long name takes no more memory than a short one. Each part's length is in
/// it, so that no two lists of parts are one.
fn key(parts: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl<T> Default for Recent<T> {
    fn default() -> Recent<T> {
        Recent { known: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T: Copy> Recent<T> {
    fn get(&self, key: &Key) -> Option<T> {
        self.known.get(key).copied()
    }

    /// Puts `value` in and returns the one it replaces; forgets the oldest where there are more than `most`.
    fn put(&mut self, key: Key, value: T, most: usize) -> Option<T> {
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

    #[test]
    fn a_delivery_is_heard_once_and_the_oldest_is_forgotten() {
        let memory = Memory::default();
        let heard = |name: String| memory.has_heard(&[b"github", b"", name.as_bytes()]);
        assert!(!heard("0".to_owned()));
        assert!(heard("0".to_owned()));
        assert!(!memory.has_heard(&[b"github", b"channel", b"0"]), "another channel's");
        assert!(!memory.has_heard(&[b"github", b"", b""]), "parts do not run into each other");
        assert!(!memory.has_heard(&[b"git", b"hub", b"0"]), "parts do not run into each other");
        assert!(!memory.has_heard(&[]) && !memory.has_heard(&[]), "without a name none is a repeat");
        (1..=DELIVERIES).for_each(|number| assert!(!heard(number.to_string())));
        assert!(!heard("0".to_owned()), "forgotten");
        let known = lock(&memory.known);
        assert_eq!((known.deliveries.known.len(), known.deliveries.order.len()), (DELIVERIES, DELIVERIES));
    }

    #[test]
    fn the_same_state_again_is_no_news() {
        let memory = Memory::default();
        let states = [
            ("queued", News::Updated),
            ("running", News::Said),
            ("running", News::Updated),
            ("queued", News::Updated),
            ("running", News::Updated),
            ("failed", News::Said),
            ("failed", News::Updated),
            ("queued", News::Updated),
            ("running", News::Said),
            ("passed", News::Said),
        ];
        for (status, expected) in states {
            assert_eq!(memory.news(Forge::GitLab, &notice("5", status)), expected, "{status}");
        }
        assert_eq!(memory.news(Forge::GitLab, &notice("6", "passed")), News::Said, "another pipeline");
        assert_eq!(memory.news(Forge::Gitea, &notice("5", "passed")), News::Said, "another forge");
        let push = Notice { thing: None, ..notice("", "pushed") };
        assert_eq!([(); 2].map(|()| memory.news(Forge::GitLab, &push)), [News::Said; 2]);
    }

    #[test]
    fn what_comes_after_the_end_is_late() {
        let memory = Memory::default();
        let check = |status: &'static str, expected: News| {
            let notice = Notice { ends_once: true, ..notice("5.1", status) };
            assert_eq!(memory.news(Forge::GitHub, &notice), expected, "{status}");
        };
        check("passed", News::Said);
        check("running", News::Late);
        check("queued", News::Late);
        check("passed", News::Updated);
    }

    #[test]
    fn the_memory_of_states_is_bounded() {
        let memory = Memory::default();
        (0..=THINGS).for_each(|number| {
            memory.news(Forge::GitLab, &notice(&number.to_string(), "running"));
        });
        assert_eq!(memory.news(Forge::GitLab, &notice("0", "running")), News::Said, "forgotten");
        assert_eq!(lock(&memory.known).things.known.len(), THINGS);
    }
}
