//! The commit queue: here messages are handed in that have to be kept elsewhere before anybody hears them. They are
//! kept in a file (`keep/store.rs`) or in Redis (`keep/relay`); the commit queue knows neither. A publisher hands in
//! its message, and a function to call when it is kept. One thread, the committer, takes all messages that lie here,
//! keeps them together, has the hub post them, and then gives each speaker its receipt. So one wait for the disk serves
//! many speakers, and the batches grow with the load (group commit).
//!
//! **No thread that others need waits here.** Such a wait costs two changes of threads for each message, a quarter of
//! all the work. So the speaker's connection stays here with its message, and its thread takes the next request
//! (`serve/conversation.rs`). Only a thread that serves one client alone waits ([`CommitQueue::hand_in_and_wait`]).
//!
//! **Kept, then heard, then answered.** A message that was heard, or answered `ok.`, is still there after a crash. Its
//! id is never given to another message, and a listener that comes back with that id hears what comes next. One
//! committer gives the ids and posts, so messages are kept, heard and numbered in one order.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64, fence};
use std::time::Duration;

// Not those of `sync.rs`: under the model check there is no commit queue.
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use crate::room::message::{Digest, Message, Receipt, Refused};

/// The most messages that the committer takes at once. To write so few costs less than the wait for the disk.
pub const BATCH_LIMIT: usize = 256;

/// The speakers' side of the commit queue.
pub struct CommitQueue {
    /// The kind of storage: `store` or `redis`, as in `/health` and `/metrics`.
    pub kind: &'static str,
    /// The way to the committer; disconnected when the committer has ended. The connections bound it: each message in
    /// it belongs to one connection, which says nothing more until it has its answer. The channel itself is unbounded,
    /// because only an unbounded one drops its messages when its receiver goes. So nobody waits for ever.
    queue: Sender<Option<Pending>>,
    /// Counts the messages that were handed in and not answered yet: each has a clone of it.
    pending: Arc<()>,
    well: AtomicBool,
    lost: AtomicBool,
    /// How many batches were kept.
    pub batches: AtomicU64,
    /// How many batches could not be kept.
    pub failures: AtomicU64,
}

/// The committer's side of the commit queue. `None` in it closes it.
pub struct Committer {
    queue: Receiver<Option<Pending>>,
    closed: bool,
}

/// A message that was handed in.
pub struct Pending {
    /// The message; it has no id yet.
    pub message: Message,
    /// If several servers share the storage: a message with this digest is said only once, at whichever server it was
    /// handed in.
    pub once: Option<Digest>,
    /// The result that the speaker is told when this is dropped. If the committer goes without an answer, the server
    /// stops.
    result: Result<Receipt, Refused>,
    /// The function that tells the speaker the result; `None` when it was called.
    then: Option<OnCommit>,
    /// Counts this message until it is answered.
    _pending: Arc<()>,
}

/// The function that is called once, with the receipt of a message or its refusal. Must not wait, because any thread
/// may call it.
pub type OnCommit = Box<dyn FnOnce(Result<Receipt, Refused>) + Send>;

impl Pending {
    /// Tells the speaker the result: the receipt of its message, or the refusal.
    pub fn answer(mut self, answer: Result<Receipt, Refused>) {
        self.result = answer;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(then) = self.then.take() {
            then(self.result);
        }
    }
}

impl CommitQueue {
    /// Makes a commit queue for storage of this `kind`. Returns it, and the committer's side of it.
    pub fn new(kind: &'static str) -> (CommitQueue, Committer) {
        let (sender, queue) = unbounded();
        let (well, lost, pending) = (AtomicBool::new(true), AtomicBool::new(false), Arc::default());
        let (batches, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        let commit_queue = CommitQueue { kind, queue: sender, pending, well, lost, batches, failures };
        (commit_queue, Committer { queue, closed: false })
    }

    /// Whether several servers share the storage. Messages that were said at other servers are then posted here too.
    pub fn is_shared(&self) -> bool {
        self.kind == "redis"
    }

    /// Hands `message` in. `then` is called with the receipt when it is kept and posted, or with the refusal if it
    /// cannot be. The refusal is [`Refused::Stopping`] if the committer is gone. A message whose digest, `once`, was
    /// handed in before at any server is not said again; its receipt has no id and no listeners.
    pub fn hand_in(&self, message: Message, once: Option<Digest>, then: OnCommit) {
        let (result, _pending) = (Err(Refused::Stopping), self.pending.clone());
        let pending = Pending { message, once, result, then: Some(then), _pending };
        let _ = self.queue.send(Some(pending)); // or its drop answers
    }

    /// Hands `message` in, as [`hand_in`](Self::hand_in) does, and waits until it is kept and posted. Returns its
    /// receipt. The committer must not call it, and nobody under a lock that the committer takes.
    ///
    /// # Errors
    /// The refusal, if the message cannot be kept; [`Refused::Stopping`] if the committer is gone.
    pub fn hand_in_and_wait(&self, message: Message, once: Option<Digest>) -> Result<Receipt, Refused> {
        let (answer, answered) = bounded(1); // it gets one answer
        self.hand_in(message, once, Box::new(move |told| _ = answer.send(told)));
        answered.recv().unwrap_or(Err(Refused::Stopping))
    }

    /// Ends the committer when it has kept all that was handed in before.
    pub fn close(&self) {
        let _ = self.queue.send(None);
    }

    /// Whether everything that was handed in was answered.
    pub fn is_settled(&self) -> bool {
        let is_settled = Arc::strong_count(&self.pending) == 1;
        fence(Acquire); // the count alone orders nothing: what was done before it fell is seen from here on
        is_settled
    }

    /// Notes whether a batch could be kept.
    pub fn note(&self, well: bool) {
        self.well.store(well, Relaxed);
        if well { &self.batches } else { &self.failures }.fetch_add(1, Relaxed);
    }

    /// Notes whether the next batch can be kept, as far as is known.
    pub fn set_well(&self, well: bool) {
        self.well.store(well, Relaxed);
    }

    /// Whether messages can be kept, as far as is known.
    pub fn is_well(&self) -> bool {
        self.well.load(Relaxed)
    }

    /// Notes whether the storage is gone, so that nothing can be kept until aloud is started again.
    pub fn set_lost(&self, lost: bool) {
        self.lost.store(lost, Relaxed);
        self.well.fetch_and(!lost, Relaxed);
    }

    /// Whether the storage is gone.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Relaxed)
    }
}

impl Committer {
    /// Waits until a message is handed in, at most for `limit`. Returns all messages that lie there then, at most
    /// [`BATCH_LIMIT`], or none; `None` when the commit queue is closed.
    pub fn take(&mut self, limit: Duration) -> Option<Vec<Pending>> {
        if self.closed {
            return None;
        }
        let first = match self.queue.recv_timeout(limit) {
            Err(RecvTimeoutError::Disconnected) => return None,
            first => first.ok(),
        };
        let turns = first.into_iter().chain(self.queue.try_iter()).take(BATCH_LIMIT);
        let pending = |turn: Option<Pending>| {
            self.closed = turn.is_none();
            turn
        };
        let batch: Vec<_> = turns.map_while(pending).collect();
        (!batch.is_empty() || !self.closed).then_some(batch)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::room::memory_wire::message;

    #[test]
    fn the_committer_takes_all_that_lies_there_and_ends_when_the_queue_is_closed() {
        let (commit_queue, mut committer) = CommitQueue::new("test");
        std::thread::scope(|scope| {
            let speakers: Vec<_> =
                (0..3).map(|_| scope.spawn(|| commit_queue.hand_in_and_wait(message("x"), None))).collect();
            while commit_queue.queue.len() < 3 {
                std::thread::yield_now();
            }
            commit_queue.close();
            let batch = committer.take(Duration::MAX).unwrap();
            assert_eq!(batch.len(), 3);
            batch.into_iter().for_each(|handed| handed.answer(Ok(Receipt { id: 7, listeners: 1 })));
            for speaker in speakers {
                assert_eq!(speaker.join().unwrap(), Ok(Receipt { id: 7, listeners: 1 }));
            }
        });
        assert!(committer.take(Duration::MAX).is_none());
    }

    #[test]
    fn nobody_waits_for_a_committer_that_has_gone() {
        let (commit_queue, committer) = CommitQueue::new("test");
        std::thread::scope(|scope| {
            let speaker = scope.spawn(|| commit_queue.hand_in_and_wait(message("x"), None));
            while commit_queue.queue.is_empty() {
                std::thread::yield_now();
            }
            drop(committer);
            assert_eq!(speaker.join().unwrap(), Err(Refused::Stopping));
        });
        assert_eq!(commit_queue.hand_in_and_wait(message("x"), None), Err(Refused::Stopping));
    }
}
