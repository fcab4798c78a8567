//! Carrying: the threads that walk along the letterboxes and write what lies there.
//!
//! **The walk.** After publishing, a speaker lends a hand ([`Carriers::lend_a_hand`]): it walks along the letterboxes
//! and carries all the letters that lie there. If another speaker walks already, this one goes back to its client, and
//! the other one walks again. So the batches grow with the load. A speaker that finds `FAR_BEHIND` messages not yet
//! carried walks too, from the other end. So speakers are slowed by exactly the work they cause, and a letterbox fills
//! up only if its listener is slow. Nobody is kept walking for the others: after `MOST_WALKS` the keeper is called and
//! takes over.
//!
//! A message that few listeners of a big room want takes no walk: its speaker writes to those few at once.
//!
//! **The second hand.** In a big room, listeners wait for one core's walk. So a speaker that is alone calls the keeper
//! on its way. The keeper walks from the other end; when they meet, each finds the letterboxes empty. With many
//! speakers, no second hand is needed.
//!
//! **The rest.** A walk costs as much for one letter as for ten. So in a big room nobody walks for as long as the last
//! walk took. Letters gather, speakers go back to their clients at once, and after the rest the keeper carries them. A
//! speaker that speaks now and then never meets a rest.

use std::thread;
use std::time::Duration;

use crate::clock::{micros, now_micros};
use crate::room::letterbox::Letterbox;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Sender, fence, try_lock};

/// A second speaker walks too when so many messages are not carried yet. With a larger number, more letters go out in
/// one send: with 64, a thousand listeners flat out get 1.3 times the messages that they get with 32.
const FAR_BEHIND: u64 = 64;

/// One in so many of the messages that a letterbox can hold may be not yet carried. So speakers slow down before
/// letterboxes fill.
const FAR_BEHIND_PART: u64 = 4;

/// Walks that one speaker makes in a row. Then the keeper takes over, and the speaker's client gets its attention back.
const MOST_WALKS: usize = 4;

/// The longest rest after a walk. A walk along 5,000 letterboxes takes 50 ms; a walk during which the machine slept is
/// no measure.
const LONGEST_REST: Duration = Duration::from_millis(100);

/// The number of listeners from which on a walk is followed by a rest, and a speaker that is alone calls a second hand.
/// Flat out, 100 listeners hear 1.8 times the messages that they hear without the rest, at 1.3 times the median delay
/// and 0.7 times the 99th percentile. The second hand makes the median delay of 100 listeners 0.6 times and the work
/// 1.2 times on a machine whose processor takes long to wake; elsewhere it changes neither by more than a tenth (the
/// scenarios flat-100 and paced-100 of `scripts/bench`, with this constant at 48 and at 200).
pub const BIG_ROOM: usize = 48;

/// Letters that a speaker carries before it calls a second hand. If it called at once, the keeper would take the
/// processor that has just woken for the speaker's client. The client would then read its answer only after the
/// keeper's walk: the 99th percentile of `/say` was twice as long with 100 listeners, three times with 1,000 (the
/// scenarios paced-100 and paced-1000).
const FIRST_ALONE: usize = 32;

/// The letterboxes along which a walk goes.
pub type Snapshot = Arc<[Arc<Letterbox>]>;

/// Tells how many messages were posted, and the letterboxes that have them. It takes the hub's lock.
type Snapshots<'a> = &'a dyn Fn() -> (u64, Snapshot);

/// The count of what was carried, and whose turn it is to carry.
pub struct Carriers {
    /// Messages posted so far; changed under the lock, read without.
    posted: AtomicU64,
    /// How many of the `posted` messages were carried along all letterboxes.
    carried: AtomicU64,
    /// The walker holds it. A second walker, from the other end, does not need it.
    turn: Mutex<()>,
    /// The end of the rest after the last walk in a big room, in microseconds since 1970.
    rests_until: AtomicU64,
    /// Set by a speaker that found another one walking. No second hand is needed then: it would halve the batches.
    many_speak: AtomicBool,
    /// Calls the keeper. A speaker sends when it has walked enough or wants a second hand; the keeper receives.
    /// Capacity one: calling twice is calling once.
    call_keeper: Sender<()>,
    far_behind: u64,
}

/// The two walkers.
enum Hand {
    /// The one that has the turn. It walks from the front, and on its way calls the keeper if `calls`.
    First { calls: bool },
    /// The helper. It walks from the back.
    Second,
}

impl Carriers {
    /// Nothing is posted yet. Calls the keeper by `call_keeper`; `queue` letters may wait for one listener.
    pub fn new(call_keeper: Sender<()>, queue: usize) -> Carriers {
        Carriers {
            posted: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            turn: Mutex::new(()),
            rests_until: AtomicU64::new(0),
            many_speak: AtomicBool::new(false),
            call_keeper,
            far_behind: FAR_BEHIND.min(queue as u64 / FAR_BEHIND_PART).max(1),
        }
    }

    /// Notes that a message was posted. To be called under the hub's lock.
    pub fn note_posted(&self) {
        self.posted.fetch_add(1, Ordering::SeqCst);
    }

    /// How many messages were posted.
    pub fn posted(&self) -> u64 {
        self.posted.load(Ordering::SeqCst)
    }

    /// Whether so much is not carried yet that a second walker helps.
    pub fn are_far_behind(&self) -> bool {
        self.behind() >= self.far_behind
    }

    /// Carries what lies in the letterboxes, or makes sure that another thread does, after a message was put in
    /// `reached` of them. Never waits for a listener.
    ///
    /// It is the rule of the pen. A poster that finds the turn taken may leave: the holder puts it down, and then looks
    /// whether more was posted. A full fence stands in between.
    pub fn lend_a_hand(&self, reached: usize, snapshot: Snapshots<'_>) {
        let is_big = reached >= BIG_ROOM;
        if reached == 0 || self.behind() == 0 {
            return;
        }
        if is_big && !self.rest_left().is_zero() && !self.are_far_behind() {
            return self.call_keeper();
        }
        for _ in 0..if is_big { 1 } else { MOST_WALKS } {
            fence(Ordering::SeqCst);
            let Some(turn) = try_lock(&self.turn) else {
                self.many_speak.store(true, Ordering::Relaxed);
                if self.are_far_behind() {
                    self.walk(Hand::Second, snapshot);
                }
                return;
            };
            let calls = is_big && !self.many_speak.swap(false, Ordering::Relaxed);
            self.walk(Hand::First { calls }, snapshot);
            drop(turn);
            if self.behind() == 0 {
                return;
            }
        }
        self.call_keeper(); // in a big room it comes after the rest
    }

    /// Walks for the keeper that was called: once the rest is over, from the other end if another thread walks.
    pub fn lend_a_second_hand(&self, snapshot: Snapshots<'_>) {
        thread::sleep(self.rest_left());
        if self.behind() == 0 {
            return; // it was done alone
        }
        match try_lock(&self.turn) {
            Some(_turn) => self.walk(Hand::First { calls: false }, snapshot),
            None => return self.walk(Hand::Second, snapshot), // the holder of the turn looks when it puts it down
        }
        if self.behind() > 0 {
            self.call_keeper(); // the keeper is the caller; it sees to other things in between
        }
    }

    /// The time for which nobody walks yet.
    fn rest_left(&self) -> Duration {
        Duration::from_micros(self.rests_until.load(Ordering::Relaxed).saturating_sub(now_micros()))
    }

    /// Has the keeper carry what lies in the letterboxes.
    pub fn call_keeper(&self) {
        let _ = self.call_keeper.try_send(()); // full: it is called already
    }

    /// A function that calls the keeper, for a thread that does not know the hub.
    pub fn call_of_keeper(&self) -> impl Fn() + Send + 'static {
        let call_keeper = self.call_keeper.clone();
        move || _ = call_keeper.try_send(())
    }

    /// How many messages were not carried along all letterboxes yet.
    fn behind(&self) -> u64 {
        fence(Ordering::SeqCst);
        let carried = self.carried.load(Ordering::SeqCst);
        self.posted.load(Ordering::SeqCst).saturating_sub(carried)
    }

    /// Goes along all letterboxes once and carries what lies there. In a big room a rest follows.
    fn walk(&self, hand: Hand, snapshot: Snapshots<'_>) {
        let (posted, snapshot) = snapshot();
        let start = now_micros();
        match hand {
            Hand::Second => snapshot.iter().rev().for_each(|letterbox| letterbox.carry()),
            Hand::First { calls } => {
                for (place, letterbox) in snapshot.iter().enumerate() {
                    if calls && place == FIRST_ALONE {
                        self.call_keeper();
                    }
                    letterbox.carry();
                }
            }
        }
        self.carried.fetch_max(posted, Ordering::SeqCst);
        if snapshot.len() >= BIG_ROOM {
            let over = now_micros();
            self.rests_until.store(over + (over - start).min(micros(LONGEST_REST)), Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io;

    use super::*;
    use crate::room::frame::Format;
    use crate::room::hub::tests::{everything, join};
    use crate::room::hub::{Hub, Limits};
    use crate::room::letterbox::Recipient;
    use crate::room::memory_wire::message;
    use crate::room::wire::{Watcher, Wire};
    use crate::sync::Receiver;

    #[test]
    fn in_a_big_room_letters_gather_while_it_rests_until_speakers_are_far_behind() {
        let (hub, called) =
            Hub::new(Limits { listeners: BIG_ROOM, queue: 256, history: 9, history_bytes: 1 << 20, things: 9 });
        let rooms: Vec<_> = (0..BIG_ROOM).map(|_| join(&hub, 256)).collect();
        let say = || hub.lend_a_hand(hub.publish(message("x")).unwrap().listeners);
        let heard = |messages: usize| rooms.iter().all(|(_, wire)| wire.text() == "x\r\n".repeat(messages));
        let rest = |limit: u64| hub.carriers.rests_until.store(limit, Ordering::SeqCst);
        say();
        assert!(heard(1), "a speaker that is alone carries at once");
        assert!(hub.carriers.rests_until.load(Ordering::SeqCst) > 0, "then it rests");
        assert!(called.try_recv().is_ok(), "and has called a second hand");

        rest(u64::MAX);
        (1..FAR_BEHIND).for_each(|_| say());
        assert!(heard(1));
        assert!(called.try_recv().is_ok(), "the keeper carries when the rest is over");
        say();
        assert!(heard(1 + FAR_BEHIND as usize), "speakers do not run ahead without end");

        rest(u64::MAX);
        say();
        rest(0);
        hub.lend_a_second_hand();
        assert!(heard(2 + FAR_BEHIND as usize));
    }

    /// Notes whether the keeper was called when a letter came.
    struct Witness {
        called: Receiver<()>,
        was_called: std::sync::Mutex<Vec<bool>>,
    }

    impl Wire for Witness {
        fn watch(&self, _: Option<std::sync::Arc<dyn Watcher>>) {}

        fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
            self.was_called.lock().unwrap().push(!self.called.is_empty());
            Ok(bytes.len())
        }

        fn wait_until_writable(&self, _: Duration) -> io::Result<()> {
            Ok(())
        }

        fn failure(&self) -> io::Result<()> {
            Ok(())
        }

        fn cut(&self) {}
    }

    #[test]
    fn a_speaker_carries_the_first_letters_alone_and_then_calls_a_second_hand() {
        let (hub, called) =
            Hub::new(Limits { listeners: BIG_ROOM, queue: 8, history: 9, history_bytes: 1 << 20, things: 9 });
        let witness = std::sync::Arc::new(Witness { called, was_called: std::sync::Mutex::new(vec![]) });
        let join = || {
            let recipient = Recipient::new(witness.clone(), Format::Lines, false, vec![], 8);
            hub.join(everything(), None, recipient.letterbox()).unwrap();
            recipient
        };
        let _recipients: Vec<_> = (0..BIG_ROOM).map(|_| join()).collect();
        hub.lend_a_hand(hub.publish(message("x")).unwrap().listeners);
        let expected: Vec<_> = (0..BIG_ROOM).map(|before| before >= FIRST_ALONE).collect();
        assert_eq!(*witness.was_called.lock().unwrap(), expected);
    }
}
