//! The newest word on each thing: a host, a pipeline, an alert, a number, or whatever a speaker gives a key. It is kept
//! longer than the history. The terms of the field: retained message (MQTT), compacted topic (Kafka), last value.
//!
//! The event, the channel and the key of a message name its thing. The hub keeps the newest message of each thing under
//! the lock under which it posts, so a message and what it changes are one. The things of some moment, with all
//! messages after that moment noted one by one ([`Things::note`]), are the things of now.

use std::collections::VecDeque;
use std::sync::Arc;

use hashlink::LinkedHashMap;

use crate::room::message::{HOST_STATE_EVENT, HOST_STATES, Message, NUMBER_EVENT, STATE};
use crate::room::standing::{GONE, standing};

/// The most bytes that the newest words may weigh together.
pub const MOST_BYTES: usize = 4 * 1024 * 1024;

/// How many values of a number are known.
const MOST_VALUES: usize = 240;

/// The most numbers of which more than the newest value is known.
pub const MOST_NUMBERS: usize = 200;

/// How many words on any other thing are known in brief.
const MOST_RECENT: usize = 20;

/// The fields of a change of a host by which the host is known after a restart.
const HOST_FIELDS: [&str; 7] = [STATE, "every", "grace", "silent", "reason", SAID, SINCE];

/// The field of a word that somebody else said with the key of a host: when the last change of the host was said, in
/// microseconds since 1970.
pub const SAID: &str = "said";

/// The field of a word that somebody else said with the key of a host: since when the host stands so, in microseconds
/// since 1970.
pub const SINCE: &str = "since";

/// A thing, and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    /// The newest message about it.
    pub message: Arc<Message>,
    /// Since when it stands so: the time of the first message that said so, in microseconds since 1970.
    pub since: u64,
    /// Its newest words in brief, the oldest first, the newest message among them.
    pub recent: Arc<VecDeque<Brief>>,
}

/// A word on a thing in brief.
#[derive(Debug, Clone, PartialEq)]
pub struct Brief {
    /// When it was said, in microseconds since 1970.
    pub time: u64,
    /// A number's value, or how many seconds a run took; `NaN` if there is none.
    pub figure: f64,
    /// How it stood; empty for numbers.
    pub status: Box<str>,
}

/// All things of which the newest word is known.
pub struct Things {
    /// By their names; the one that is longest without a word first.
    known: LinkedHashMap<String, Thing>,
    bytes: usize,
    most: usize,
    /// The numbers of which more than the newest value is known.
    numbers: usize,
    /// The newest id that went because there were too many things; 0 if none did. All with smaller ids went too.
    pub(super) evicted: u64,
}

impl Brief {
    fn of(message: &Message) -> Brief {
        let is_number = message.event == NUMBER_EVENT;
        let field = if is_number { "value" } else { "seconds" };
        let figure = message.field(field).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        let status = if is_number { "" } else { message.status.as_str() };
        Brief { time: message.time, figure, status: status.into() }
    }
}

/// The name of the thing that `message` is about. No other thing has it.
pub fn name(message: &Message) -> String {
    [&message.event, message.channel.as_str(), &message.key].join("\0")
}

impl Things {
    /// No things yet, and at most so many.
    pub fn new(most: usize) -> Things {
        Things { known: LinkedHashMap::new(), bytes: 0, most, numbers: 0, evicted: 0 }
    }

    /// Takes in all things as they are kept elsewhere, or were kept before the process began, the longest silent first.
    /// They take the place of those known here, of which only the words in brief stay.
    pub fn renew(&mut self, kept: &[(Arc<Message>, u64)]) {
        let mut before = std::mem::replace(self, Things { evicted: self.evicted, ..Things::new(self.most) });
        for (message, since) in kept {
            let name = name(message);
            let mut recent = before.take(&name).map(|thing| thing.recent).unwrap_or_default();
            if recent.back().is_none_or(|newest| newest.time != message.time) {
                Arc::make_mut(&mut recent).push_back(Brief::of(message));
            }
            self.insert(name, Thing { message: message.clone(), since: *since, recent });
            self.evict();
        }
    }

    /// Takes in a `message` that was said before a restart, as a word in brief. The oldest comes first.
    pub fn recall(&mut self, message: &Message) {
        if let Some(thing) = self.known.get_mut(&name(message))
            && thing.message.id > message.id
        {
            let recent = Arc::make_mut(&mut thing.recent);
            recent.insert(recent.len() - 1, Brief::of(message));
            bound(recent, MOST_RECENT);
        }
    }

    /// Notes that `message` was said. If it has a key, it becomes the newest word on its thing. Returns the id of the
    /// word before it, and whether another thing had to go.
    pub fn note(&mut self, message: &Arc<Message>) -> (Option<u64>, bool) {
        if message.key.is_empty() {
            return (None, false);
        }
        let name = name(message);
        if self.known.get(&name).is_some_and(|known| known.message.id >= message.id) {
            return (None, false); // a newer word is known already
        }
        let before = self.take(&name);
        let superseded = before.as_ref().map(|before| before.message.id);
        if standing(&message.status) == GONE {
            return (superseded, false);
        }
        let mut thing =
            before.unwrap_or_else(|| Thing { message: message.clone(), since: message.time, recent: Arc::default() });
        if standing(&thing.message.status) != standing(&message.status) {
            thing.since = message.time;
        }
        let recent = Arc::make_mut(&mut thing.recent); // a copy, if `/now` is being answered
        recent.push_back(Brief::of(message));
        bound(recent, if message.event == NUMBER_EVENT { MOST_VALUES } else { MOST_RECENT });
        thing.message = message.clone();
        self.insert(name, thing);
        (superseded, self.evict())
    }

    /// Adds to a word that somebody says with the key of a host how the host itself stands, as the word before it
    /// tells. So a host is not forgotten because somebody has acknowledged that it is down.
    pub fn complete(&self, message: &mut Message) {
        let tells = |word: &Message| word.field(STATE).is_some_and(|state| HOST_STATES.contains(&state));
        if message.event != HOST_STATE_EVENT || message.status == GONE {
            return;
        }
        if tells(message) && message.field(STATE) == Some(&message.status) {
            return message.fields.retain(|(key, _)| key != SAID); // it takes back the word that had this field
        }
        let before = self.known.get(&name(message)).filter(|thing| tells(&thing.message));
        let Some(Thing { message: before, since, .. }) = before else { return };
        let own = |key: &str| HOST_FIELDS.contains(&key);
        message.fields.retain(|(key, _)| !own(key));
        message.fields.extend(before.fields.iter().filter(|(key, _)| own(key)).cloned());
        let times = [(SAID, before.time), (SINCE, *since)].into_iter().filter(|(key, _)| before.field(key).is_none());
        message.fields.extend(times.map(|(key, time)| (key.to_owned(), time.to_string())));
    }

    fn insert(&mut self, name: String, thing: Thing) {
        self.bytes += thing.message.weight();
        self.numbers += usize::from(has_values(&thing));
        self.known.insert(name, thing);
    }

    fn take(&mut self, name: &str) -> Option<Thing> {
        let thing = self.known.remove(name)?;
        self.bytes -= thing.message.weight();
        self.numbers -= usize::from(has_values(&thing));
        Some(thing)
    }

    /// Lets go of what was longest without a word until all bounds hold. Returns whether a thing had to go.
    fn evict(&mut self) -> bool {
        if self.numbers > MOST_NUMBERS
            && let Some(oldest) = self.known.values_mut().find(|thing| has_values(thing))
        {
            let recent = Arc::make_mut(&mut oldest.recent);
            recent.drain(..recent.len() - 1);
            self.numbers -= 1;
        }
        let before = self.evicted;
        while self.known.len() > self.most || self.bytes > MOST_BYTES {
            let Some((_, Thing { message: oldest, .. })) = self.known.front() else { break };
            self.evicted = oldest.id;
            self.take(&name(oldest));
        }
        self.evicted > before
    }

    /// All things, the one that is longest without a word first.
    pub fn all(&self) -> impl Iterator<Item = &Thing> {
        self.known.values()
    }
}

/// Whether `thing` is a number of which more is known than the newest value.
fn has_values(thing: &Thing) -> bool {
    thing.message.event == NUMBER_EVENT && thing.recent.len() > 1
}

fn bound(recent: &mut VecDeque<Brief>, most: usize) {
    recent.drain(..recent.len().saturating_sub(most));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn word(id: u64, key: &str, status: &str) -> Arc<Message> {
        let message = crate::room::memory_wire::message("");
        Arc::new(Message { id, time: id, key: key.to_owned(), status: status.to_owned(), ..message })
    }

    fn number(id: u64, key: &str) -> Arc<Message> {
        let fields = vec![("value".to_owned(), id.to_string())];
        Arc::new(Message { event: NUMBER_EVENT.into(), fields, ..Message::clone(&word(id, key, "ok")) })
    }

    fn all(things: &Things) -> Vec<(u64, &str, &str, u64)> {
        things.all().map(|one| (one.message.id, &*one.message.key, &*one.message.status, one.since)).collect()
    }

    #[test]
    fn the_newest_word_on_each_thing_is_known_and_since_when_it_stands_so() {
        let mut things = Things::new(9);
        for (id, key, status, superseded) in [
            (1, "a", "up", None),
            (2, "b", "failed", None),
            (3, "", "failed", None),
            (4, "a", "ok", Some(1)),
            (5, "b", "down", Some(2)),
            (6, "b", "passed", Some(5)),
            (7, "c", "red", None),
            (8, "c", "blue", Some(7)),
            (9, "d", "gone", None),
        ] {
            assert_eq!(things.note(&word(id, key, status)), (superseded, false), "{id}");
        }
        assert_eq!(all(&things), [(4, "a", "ok", 1), (6, "b", "passed", 6), (8, "c", "blue", 8)]);
        assert_eq!(things.note(&word(10, "b", "gone")), (Some(6), false));
        assert_eq!(things.note(&number(11, "a")), (None, false), "another event is another thing");
        assert_eq!(all(&things).len(), 3);
        let recent: Vec<_> =
            things.all().next().unwrap().recent.iter().map(|brief| (brief.time, &*brief.status)).collect();
        assert_eq!(recent, [(1, "up"), (4, "ok")]);
    }

    #[test]
    fn of_too_many_things_the_longest_silent_go() {
        let mut things = Things::new(3);
        (1..=3).for_each(|id| _ = things.note(&word(id, &id.to_string(), "ok")));
        assert_eq!(things.note(&word(4, "1", "ok")), (Some(1), false));
        assert_eq!(things.note(&word(5, "5", "ok")), (None, true));
        assert_eq!((all(&things)[0].0, things.evicted), (3, 2));
        let heavy = |id: u64| {
            let message = "x".repeat(MOST_BYTES / 2);
            Arc::new(Message { message, ..Message::clone(&word(id, "heavy", &id.to_string())) })
        };
        things.note(&heavy(6));
        assert_eq!(all(&things).len(), 3, "two others and half of the bytes");
        things.note(&heavy(7));
        let other = Arc::new(Message { key: "other".to_owned(), ..Message::clone(&heavy(8)) });
        assert_eq!(things.note(&other), (None, true));
        assert_eq!(all(&things).iter().map(|one| one.0).collect::<Vec<_>>(), [8]);
    }

    #[test]
    fn the_newest_values_of_a_bounded_count_of_numbers_are_known() {
        let mut things = Things::new(1000);
        (1..=500).for_each(|id| _ = things.note(&number(id, "x")));
        assert_eq!(things.all().next().unwrap().recent.len(), MOST_VALUES);
        for id in 0..2 * MOST_NUMBERS as u64 {
            things.note(&number(1000 + 2 * id, &id.to_string()));
            things.note(&number(1001 + 2 * id, &id.to_string()));
        }
        let counts: Vec<_> = things.all().map(|thing| thing.recent.len()).collect();
        assert_eq!(counts.iter().filter(|count| **count == 2).count(), MOST_NUMBERS);
        assert_eq!((counts[0], counts.len(), things.numbers), (1, 2 * MOST_NUMBERS + 1, MOST_NUMBERS));
    }

    #[test]
    fn what_is_kept_elsewhere_takes_the_place_of_what_is_known_here() {
        let mut things = Things::new(9);
        [word(10, "a", "ok"), word(20, "b", "ok"), word(30, "c", "ok")].iter().for_each(|word| _ = things.note(word));
        things.renew(&[(word(20, "b", "ok"), 20), (word(40, "a", "failed"), 35), (word(50, "d", "ok"), 50)]);
        assert_eq!(all(&things), [(20, "b", "ok", 20), (40, "a", "failed", 35), (50, "d", "ok", 50)]);
        let recent: Vec<_> = things.all().map(|thing| thing.recent.len()).collect();
        assert_eq!(recent, [1, 2, 1], "the words that were known in brief stay");
        assert_eq!(things.note(&word(39, "a", "ok")), (None, false), "a word that is read again after a newer one");
        assert_eq!(things.note(&word(60, "a", "failed")), (Some(40), false));
        assert_eq!(all(&things)[2], (60, "a", "failed", 35));
    }

    #[test]
    fn a_word_that_somebody_says_of_a_host_tells_how_the_host_itself_stands() {
        let mut things = Things::new(9);
        let mut say = |id: u64, status: &str, fields: &str| {
            let fields = fields.split_terminator(' ').filter_map(|field| field.split_once('='));
            let fields = fields.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            let mut message =
                Message { event: HOST_STATE_EVENT.into(), fields, ..Message::clone(&word(id, "web1", status)) };
            things.complete(&mut message);
            let fields: Vec<_> = message.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
            things.note(&Arc::new(message));
            fields.join(" ")
        };
        assert_eq!(say(1, "seen", "x=y"), "x=y", "nothing is known of it");
        let down = "state=down every=10 silent=30";
        assert_eq!(say(2, "down", &format!("{down} more=1")), format!("{down} more=1"));
        assert_eq!(say(3, "seen", "state=up silent=1 x=y"), format!("x=y {down} said=2 since=2"));
        assert_eq!(say(4, "down, acknowledged", ""), format!("{down} said=2 since=2"), "also if it is said again");
        assert_eq!(say(5, "down", "state=down silent=40 said=2 since=2"), "state=down silent=40 since=2");
        assert_eq!(say(6, "odd", "state=odd"), "state=down silent=40 since=2 said=5");
        assert_eq!(say(7, "gone", ""), "");
    }

    #[test]
    fn what_was_said_before_a_restart_is_known_in_brief() {
        let mut things = Things::new(9);
        things.renew(&[(word(40, "a", "failed"), 30)]);
        [word(20, "a", "passed"), word(30, "a", "failed"), word(40, "a", "failed"), word(41, "b", "ok")]
            .iter()
            .for_each(|message| things.recall(message));
        let recent: Vec<_> = things.all().next().unwrap().recent.iter().map(|brief| brief.time).collect();
        assert_eq!((recent, all(&things)), (vec![20, 30, 40], vec![(40, "a", "failed", 30)]));
    }
}
