//! The room: listeners, history, and the one lock that orders everything. The hub does no I/O and waits for nobody.
//! Under its lock a message gets its id, is kept in the history, and is put into every letterbox that wants it. So all
//! listeners hear one order, the order of ids, and a listener that joins hears all that is said afterwards. It gets
//! earlier messages under the same lock: there is no hole between the two, and nothing comes twice.
//!
//! **Kept elsewhere first.** If messages have to outlive the process, a publisher hands its message in at the [commit
//! queue](CommitQueue), outside every lock. Its committer keeps it and then has the hub [post](Hub::post) it. No thread
//! that others need waits for that ([`Hub::publish_then`]).

use std::collections::VecDeque;

use crate::clock::now_micros;
use crate::counters::Counters;
use crate::room::ahead::Ahead;
use crate::room::carriers::{BIG_ROOM, Carriers, Snapshot};
use crate::room::commit_queue::{CommitQueue, OnCommit};
use crate::room::frame::Letter;
use crate::room::history::History;
use crate::room::letterbox::Letterbox;
use crate::room::message::{Digest, Message, Receipt, Refused, next_id};
use crate::room::replay::{Point, Replay, Restored, Since};
use crate::room::subscription::{Subscription, sign_of};
use crate::room::things::{Thing, Things};
use crate::sync::{Arc, AtomicBool, Mutex, MutexGuard, Ordering, Receiver, bounded, lock};

/// In a big room, letters of a message that reaches at most so many listeners are carried by hand, without a walk along
/// all letterboxes.
const FEW: usize = 4;

/// The room: listeners, history and ids behind one lock, and the count of carried messages.
pub struct Hub {
    /// The lock. Held for as long as it takes to put one shared letter into every letterbox; nothing blocks under it.
    room: Mutex<Room>,
    pub(super) carriers: Carriers,
    counters: Counters,
    /// The commit queue where messages are handed in; `None` if only memory keeps them.
    commit_queue: Option<CommitQueue>,
    /// Sees each message after it was posted, under no lock.
    follower: Option<Follower>,
    most_listeners: usize,
    /// Whether it was said that there are too many things.
    too_many_things: AtomicBool,
}

/// The bounds of the room.
pub struct Limits {
    /// The most listeners at once.
    pub listeners: usize,
    /// The most messages that may wait for one listener.
    pub queue: usize,
    /// The most messages kept in the history.
    pub history: usize,
    /// The most bytes kept in the history.
    pub history_bytes: usize,
    /// The most things of which the newest word is kept.
    pub things: usize,
}

struct Room {
    listeners: Vec<Listener>,
    history: History,
    things: Things,
    ahead: Ahead,
    last_id: u64,
    closed: bool,
    /// The letterboxes as one shared list for the walkers. Made anew when a listener has joined or left since.
    snapshot: Option<Snapshot>,
}

/// A function that sees each message after it was posted. It must not wait.
pub type Follower = Box<dyn Fn(&Message) + Send + Sync>;

struct Listener {
    wants: Subscription,
    /// The [sign](Subscription::sign) of its channels. It stands here, because among a thousand listeners on channels of
    /// their own, a look at each one's channel takes most of the time under the lock (the scenario flat-channels).
    sign: u64,
    /// The newest id that the listener has already heard at another server.
    heard: u64,
    letterbox: Arc<Letterbox>,
}

impl Hub {
    /// Makes an empty room, for tests. Returns it, and the receiver on which the keeper is called.
    #[cfg(test)]
    pub fn new(limits: Limits) -> (Hub, Receiver<()>) {
        Hub::resume(limits, Restored::nothing(), None)
    }

    /// Makes a room that goes on after a restart with the kept messages, `past`. With a `commit_queue`, messages are
    /// handed in there before they are posted. Returns it, and the receiver on which the keeper is called.
    pub fn resume(limits: Limits, past: Restored, commit_queue: Option<CommitQueue>) -> (Hub, Receiver<()>) {
        let (call_keeper, keeper_called) = bounded(1);
        let last_id = past.last;
        let mut things = Things::new(limits.things);
        things.renew(&past.things);
        past.messages.iter().for_each(|message| things.recall(message));
        let mut history = History::resume(limits.history, limits.history_bytes, past);
        history.passed = commit_queue.is_none().then(VecDeque::new);
        history.dropped.take_if(|_| commit_queue.as_ref().is_none_or(CommitQueue::is_shared));
        let (listeners, ahead) = (vec![], Ahead::default());
        let room = Room { listeners, history, things, ahead, last_id, closed: false, snapshot: None };
        let hub = Hub {
            room: Mutex::new(room),
            carriers: Carriers::new(call_keeper, limits.queue),
            counters: Counters::default(),
            commit_queue,
            follower: None,
            most_listeners: limits.listeners,
            too_many_things: AtomicBool::new(false),
        };
        (hub, keeper_called)
    }

    /// Takes in a listener. Earlier messages that it `wants`, from `since` on, go into `letterbox` first; from now on
    /// every new one does, until it [leaves](Self::leave).
    ///
    /// # Errors
    /// [`Refused::Full`] if the room is full, [`Refused::Stopping`] if the server stops.
    pub fn join(&self, wants: Subscription, since: Option<Since>, letterbox: &Arc<Letterbox>) -> Result<(), Refused> {
        let mut room = lock(&self.room);
        if room.closed {
            return Err(Refused::Stopping);
        }
        if room.listeners.len() >= self.most_listeners {
            return Err(Refused::Full);
        }
        let mut heard = 0;
        if let Some(since) = since {
            let replay;
            (heard, replay) = self.replay(&mut room, &wants, since);
            letterbox.put_before(replay);
        }
        room.listeners.push(Listener { sign: wants.sign(), wants, heard, letterbox: letterbox.clone() });
        room.snapshot = None;
        Ok(())
    }

    /// The kept messages from `since` on that `wants` takes.
    pub fn said(&self, wants: &Subscription, since: Since) -> Replay {
        self.replay(&mut lock(&self.room), wants, since).1
    }

    /// Returns the id up to which live messages are skipped, and the kept messages from `since` on that `wants` takes.
    /// Behind an id, the newest words on things are among them that the history does not keep. The id is 0, except with
    /// Redis: there a client may come from a server that is ahead of this one, and has heard messages that are still to
    /// be posted here.
    fn replay(&self, room: &mut Room, wants: &Subscription, since: Since) -> (u64, Replay) {
        let is_shared = self.commit_queue.as_ref().is_some_and(CommitQueue::is_shared);
        match since.point {
            Point::After(id) if is_shared && id > room.last_id && room.ahead.may_come(id) => (id, Replay::default()),
            point => {
                let mut replay = room.history.replay(since, now_micros(), wants);
                if let Point::After(id) = point {
                    // With Redis, the things may be ahead: such a word is posted here later.
                    let ids = if id > room.last_id { 0 } else { id + 1 }..=room.last_id;
                    let is_missed =
                        |word: &&Arc<Message>| ids.contains(&word.id) && !word.is_kept() && wants.takes(word);
                    replay.add(room.things.all().map(|thing| &thing.message).filter(is_missed), since.most);
                }
                (0, replay)
            }
        }
    }

    /// Notes that everything is posted that Redis had when it was last asked. A listener that has heard something that
    /// Redis does not have is told of a gap, and hears what is kept.
    pub fn confirm(&self) {
        let Room { listeners, history, ahead, last_id, snapshot, .. } = &mut *lock(&self.room);
        let unknown = ahead.confirm(*last_id);
        if unknown.is_empty() {
            return;
        }
        *snapshot = None;
        listeners.retain_mut(|listener| {
            if !unknown.contains(&listener.heard) {
                return true;
            }
            let since = Since { point: Point::After(listener.heard), most: usize::MAX };
            listener.heard = 0;
            listener.letterbox.put_before(history.replay(since, now_micros(), &listener.wants))
        });
    }

    /// Forgets the listener with this `letterbox`, if it is still known.
    pub fn leave(&self, letterbox: &Arc<Letterbox>) {
        let mut room = lock(&self.room);
        if let Some(place) = room.listeners.iter().position(|listener| Arc::ptr_eq(&listener.letterbox, letterbox)) {
            room.listeners.swap_remove(place);
            room.snapshot = None;
        }
    }

    /// Says `message`, for tests.
    #[cfg(test)]
    pub fn publish(&self, message: Message) -> Result<Receipt, Refused> {
        self.publish_once(message, None)
    }

    /// Says `message`: gives it its id and time, keeps it, and puts it into the letterbox of every listener that wants
    /// it. Waits for no listener: one whose letterbox is full, or whose pen is closed, is hung up on. If there is a
    /// queue, waits there until the message is kept. The caller answers its client, then calls
    /// [`lend_a_hand`](Self::lend_a_hand).
    ///
    /// A message that has a digest is said `once`: servers that are one conversation know it of each other. A repeat
    /// reaches nobody and has a receipt without an id. The caller itself finds repeats at this server.
    ///
    /// # Errors
    /// [`Refused::Stopping`] if the server stops, or the committer's refusal. The message then reaches nobody.
    pub fn publish_once(&self, mut message: Message, once: Option<Digest>) -> Result<Receipt, Refused> {
        let room = self.open_to(&mut message)?;
        if let Some(queue) = &self.commit_queue {
            drop(room);
            return queue.hand_in_and_wait(message, once);
        }
        message.time = now_micros();
        message.id = next_id(room.last_id, message.time);
        let said_at = message.time;
        Ok(self.post_in(room, Arc::new(message), said_at))
    }

    /// Takes the lock to say `message`, and [completes](Things::complete) it.
    fn open_to(&self, message: &mut Message) -> Result<MutexGuard<'_, Room>, Refused> {
        let room = lock(&self.room);
        if room.closed {
            return Err(Refused::Stopping);
        }
        room.things.complete(message);
        Ok(room)
    }

    /// Publishes as [`publish_once`](Self::publish_once) does, but does not wait at the commit queue: `then` is told
    /// the result later. If there is no queue, it is told at once.
    pub fn publish_then(&self, mut message: Message, once: Option<Digest>, then: OnCommit) {
        let Some(queue) = &self.commit_queue else { return then(self.publish_once(message, once)) };
        match self.open_to(&mut message).map(drop) {
            Ok(()) => queue.hand_in(message, once, then),
            Err(refused) => then(Err(refused)),
        }
    }

    /// Publishes as [`publish_then`](Self::publish_then) does, for a caller that does not lend a hand: the keeper carries
    /// the message. When the listeners are far behind, the caller carries too, so that many messages in a row fill no
    /// letterbox.
    pub fn publish_aside(&self, message: Message, once: Option<Digest>, then: OnCommit) {
        let call_keeper = self.carriers.call_of_keeper();
        let then = move |said| {
            then(said);
            call_keeper();
        };
        self.publish_then(message, once, Box::new(then));
        self.catch_up(usize::MAX);
    }

    /// Posts a message that is already kept: the committer's part of [`publish_once`](Self::publish_once). Its id has
    /// to be larger than the [last one](Self::last_id).
    pub fn post(&self, message: Arc<Message>) -> Receipt {
        self.post_in(lock(&self.room), message, now_micros())
    }

    /// Posts `message` under the lock. Then, without the lock, hangs up on slow listeners and tells the follower.
    fn post_in(&self, mut guard: MutexGuard<'_, Room>, message: Arc<Message>, said_at: u64) -> Receipt {
        let room = &mut *guard;
        room.last_id = message.id;
        let (mut receipt, mut slow, mut fullest) = (Receipt { id: message.id, listeners: 0 }, vec![], 0);
        let letter = Arc::new(Letter::new(message));

        // Posting is made of locked instructions, which the processor does not overlap. This fetches the memory they
        // need overlapped: a thousand posts take two thirds of the time.
        let sign = sign_of(&letter.message.channel);
        let likely = room.listeners.iter().filter(|listener| listener.sign & sign != 0);
        likely.for_each(|listener| listener.letterbox.look_ahead());
        let mut few = vec![];
        let most_few = if room.listeners.len() >= BIG_ROOM { FEW } else { 0 };
        room.listeners.retain(|listener| {
            let is_likely = listener.sign & sign != 0 && letter.message.id > listener.heard;
            if !is_likely || !listener.wants.takes(&letter.message) {
                return true;
            }
            let waiting = listener.letterbox.post(&letter);
            match waiting {
                Some(waiting) => (receipt.listeners, fullest) = (receipt.listeners + 1, fullest.max(waiting)),
                None => slow.push(listener.letterbox.clone()),
            }
            if waiting.is_some() && receipt.listeners <= most_few {
                few.push(listener.letterbox.clone());
            }
            waiting.is_some()
        });
        if !slow.is_empty() {
            room.snapshot = None;
        }
        if receipt.listeners > few.len() {
            few.clear();
            self.carriers.note_posted(); // a walk carries it
        }
        let (superseded, evicted) = room.things.note(&letter.message);
        room.history.keep_at(letter.message.clone(), said_at, superseded);
        self.counters.published(receipt.listeners as u64, fullest as u64);
        drop(guard);
        few.iter().for_each(|letterbox| letterbox.carry());
        slow.iter().for_each(|letterbox| letterbox.hang_up());
        if evicted && !self.too_many_things.swap(true, Ordering::Relaxed) {
            log::warn!("more things than may be known; the longest silent go (--things)");
        }
        if let Some(follower) = &self.follower {
            follower(&letter.message);
        }
        receipt
    }

    /// Forgets messages that are older than the id `missing`, and ends the streams of all listeners. A committer calls
    /// it when messages up to that id were said and are lost here. The listeners come back with the id they heard last
    /// and are told of the gap.
    pub fn skip(&self, missing: u64) {
        lock(&self.room).history.forget(missing);
        self.end();
    }

    /// Whether the history has the message of this `id`.
    pub fn knows(&self, id: u64) -> bool {
        lock(&self.room).history.knows(id)
    }

    /// Takes in the newest word on each thing, and since when it stands so, as they are kept elsewhere. A reader calls
    /// it when it has missed messages.
    pub fn renew(&self, things: &[(Arc<Message>, u64)]) {
        lock(&self.room).things.renew(things);
    }

    /// Has `follower` see each message that is posted from now on.
    pub fn show_to(&mut self, follower: Follower) {
        self.follower = Some(follower);
    }

    /// The commit queue where messages are handed in; `None` if only memory keeps them.
    pub fn commit_queue(&self) -> Option<&CommitQueue> {
        self.commit_queue.as_ref()
    }

    /// The newest id that was given.
    pub fn last_id(&self) -> u64 {
        lock(&self.room).last_id
    }

    /// Tells a store what it can delete: the ids of the messages that went since the last call, and the newest id of
    /// the things that went because there were too many. All things with smaller ids went too.
    pub fn take_dropped(&self) -> (Vec<u64>, u64) {
        let mut room = lock(&self.room);
        (room.history.take_dropped(), room.things.evicted)
    }

    /// The newest id, and the things that `wants` takes, the one that is longest without a word first. A client that
    /// listens from that id on misses nothing.
    pub fn now(&self, wants: &Subscription) -> (u64, Vec<Thing>) {
        let room = lock(&self.room);
        (room.last_id, room.things.all().filter(|thing| wants.takes(&thing.message)).cloned().collect())
    }

    /// Carries when the listeners are far behind, so that a batch fills no letterbox. A thread that posts many messages
    /// calls it after each.
    pub fn catch_up(&self, reached: usize) {
        if self.carriers.are_far_behind() {
            self.lend_a_hand(reached);
        }
    }

    /// Carries what lies in the letterboxes, or makes sure that another thread does, after a message was put in
    /// `reached` of them. Never waits for a listener.
    pub fn lend_a_hand(&self, reached: usize) {
        self.carriers.lend_a_hand(reached, &|| self.snapshot());
    }

    /// Walks for the keeper that was called.
    pub fn lend_a_second_hand(&self) {
        self.carriers.lend_a_second_hand(&|| self.snapshot());
    }

    /// The letterboxes, and how many messages were posted to them.
    fn snapshot(&self) -> (u64, Snapshot) {
        let Room { listeners, snapshot, .. } = &mut *lock(&self.room);
        let letterboxes = || listeners.iter().map(|listener| listener.letterbox.clone()).collect();
        (self.carriers.posted(), snapshot.get_or_insert_with(letterboxes).clone())
    }

    /// How many listen now.
    pub fn listeners(&self) -> usize {
        lock(&self.room).listeners.len()
    }

    /// How many messages are kept, and how many bytes they weigh.
    pub fn kept(&self) -> (usize, usize) {
        lock(&self.room).history.size()
    }

    /// Whether the hub is closed.
    pub fn is_closed(&self) -> bool {
        lock(&self.room).closed
    }

    /// The counters, for the hub and for the code that serves its clients.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Closes the hub: nothing more is said and nobody more joins. Messages that were handed in before are still kept
    /// and posted; wait until it [is settled](Self::is_settled), then [`end`](Self::end) the streams.
    pub fn close(&self) {
        lock(&self.room).closed = true;
        if let Some(queue) = &self.commit_queue {
            queue.close();
        }
        self.carriers.call_keeper(); // it stops too
    }

    /// Whether everything that was handed in was kept, posted and answered, or refused.
    pub fn is_settled(&self) -> bool {
        self.commit_queue.as_ref().is_none_or(CommitQueue::is_settled)
    }

    /// Tells every listener to deliver what its letterbox holds and to end its stream.
    pub fn end(&self) {
        let mut room = lock(&self.room);
        room.snapshot = None;
        room.listeners.drain(..).for_each(|listener| listener.letterbox.close());
    }
}

#[cfg(all(test, not(loom)))]
pub(super) mod tests;
