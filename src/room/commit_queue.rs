//! Where messages are handed in that have to be kept elsewhere before anybody hears them: in a file (`keep/store.rs`),
//! in Redis (`keep/relay.rs`). The commit queue knows neither. Who publishes hands its message in, and with it what is
//! to be done once it is kept; one thread, the committer, takes all that lie there at once, keeps them together, and
//! only then has the hub post them and gives each speaker its receipt. So one wait for the disk serves everyone, and
//! the batches grow with the load.
//!
//! **No thread that others need waits here.** One that does costs two changes of threads for each message, a quarter of
//! all the work. So a speaker's connection is left here with its message, and its thread takes the next request
//! (`serve/pool.rs`). Only a thread that serves one client alone waits ([`CommitQueue::hand_in_and_wait`]).
//!
//! **Kept, then heard, then answered.** A message that is heard, or answered `ok.`, is one that will be there after a
//! crash: its id is never given to another, and a listener that comes back with it hears what comes next. The committer
//! alone gives ids and posts, so the order in which messages are kept, heard and numbered is one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

// Not those of `sync.rs`: under the model check there is no commit queue.
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::room::message::{Digest, Message};
use crate::room::message::{Receipt, Refused};

/// The most messages the committer takes at once: few enough that writing them costs less than the wait for the disk.
pub const BATCH_LIMIT: usize = 256;

/// The speakers' side of the commit queue.
pub struct CommitQueue {
    /// `store` or `redis`, in `/health` and `/metrics`.
    pub kind: &'static str,
    /// To the committer; disconnected when it has ended. Bounded by those who wait: each message on it belongs to a
    /// connection, which says nothing more until it has its answer.
    /// Of the channels an unbounded one drops what lies in it when its receiver goes, so that nobody waits for ever.
    queue: Sender<Turn>,
    well: AtomicBool,
    batches: AtomicU64,
    failures: AtomicU64,
}

/// The committer's side of the commit queue.
pub struct Committer {
    queue: Receiver<Turn>,
    closed: bool,
}

enum Turn {
    Said(Pending),
    Close,
}

/// A message that was handed in.
pub struct Pending {
    /// What is said; it has no id yet.
    pub message: Message,
    /// Where several servers keep together: it is said once, whichever of them it was handed in at.
    pub once: Option<Digest>,
    /// What the speaker does then; `None` once it was told.
    then: Option<OnCommit>,
}

/// What is done when it is known what became of a message. Called once, by whoever has learned it, so it waits for
/// nothing.
pub type OnCommit = Box<dyn FnOnce(Result<Receipt, Refused>) + Send>;

impl Pending {
    /// Tells the speaker what became of its message.
    pub fn answer(mut self, answer: Result<Receipt, Refused>) {
        self.tell(answer);
    }

    fn tell(&mut self, answer: Result<Receipt, Refused>) {
        if let Some(then) = self.then.take() {
            then(answer);
        }
    }
}

/// Who is dropped untold has met a commit queue whose committer has gone.
impl Drop for Pending {
    fn drop(&mut self) {
        self.tell(Err(Refused::Stopping));
    }
}

impl CommitQueue {
    /// A commit queue for messages that are kept in a `kind` of place, and the committer's side of it.
    pub fn new(kind: &'static str) -> (CommitQueue, Committer) {
        let (sender, queue) = unbounded();
        let well = AtomicBool::new(true);
        let commit_queue =
            CommitQueue { kind, queue: sender, well, batches: AtomicU64::new(0), failures: AtomicU64::new(0) };
        (commit_queue, Committer { queue, closed: false })
    }

    /// Whether other servers hand in there too, so that messages are posted here which nobody here has said.
    pub fn is_shared(&self) -> bool {
        self.kind == "redis"
    }

    /// Hands `message` in. When it is kept and posted, or cannot be, `then` is told what the committer says, and
    /// [`Refused::Stopping`] where there is none any more. What was said `once` already, at whatever server, is not
    /// said: its receipt has no id and no listeners.
    pub fn hand_in(&self, message: Message, once: Option<Digest>, then: OnCommit) {
        let _ = self.queue.send(Turn::Said(Pending { message, once, then: Some(then) })); // what comes back is dropped, so told
    }

    /// Hands `message` in and waits until it is kept and posted. Not to be called by the committer, nor under a lock
    /// that it takes.
    ///
    /// # Errors
    /// What `then` is told in [`hand_in`](Self::hand_in).
    pub fn hand_in_and_wait(&self, message: Message, once: Option<Digest>) -> Result<Receipt, Refused> {
        let (answer, answered) = bounded(1); // sent to once
        self.hand_in(message, once, Box::new(move |told| _ = answer.send(told)));
        answered.recv().unwrap_or(Err(Refused::Stopping))
    }

    /// Has the committer end when it has kept what was handed in before.
    pub fn close(&self) {
        let _ = self.queue.send(Turn::Close);
    }

    /// Notes how it went to keep a batch.
    pub fn note(&self, well: bool) {
        self.well.store(well, Relaxed);
        if well { &self.batches } else { &self.failures }.fetch_add(1, Relaxed);
    }

    /// Notes whether the next batch can be kept, as far as is known.
    pub fn set_well(&self, well: bool) {
        self.well.store(well, Relaxed);
    }

    /// Whether the last batch could be kept.
    pub fn is_well(&self) -> bool {
        self.well.load(Relaxed)
    }

    /// The batches that were kept, and those that could not be.
    pub fn counts(&self) -> (u64, u64) {
        (self.batches.load(Relaxed), self.failures.load(Relaxed))
    }
}

impl Committer {
    /// Waits until something is handed in and takes all that lies there, at most [`BATCH_LIMIT`]; `None` when the
    /// commit queue is closed.
    pub fn take(&mut self) -> Option<Vec<Pending>> {
        let mut batch = vec![];
        if self.closed {
            return None;
        }
        let mut next = self.queue.recv().ok();
        while let Some(turn) = next {
            match turn {
                Turn::Said(handed) => batch.push(handed),
                Turn::Close => {
                    self.closed = true;
                    break;
                }
            }
            next = if batch.len() < BATCH_LIMIT { self.queue.try_recv().ok() } else { None };
        }
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::room::memory_wire::message;

    #[test]
    fn the_clerk_takes_all_that_lies_there_and_ends_when_the_desk_is_closed() {
        let (commit_queue, mut committer) = CommitQueue::new("test");
        std::thread::scope(|scope| {
            let speakers: Vec<_> =
                (0..3).map(|_| scope.spawn(|| commit_queue.hand_in_and_wait(message("x"), None))).collect();
            while commit_queue.queue.len() < 3 {
                std::thread::yield_now();
            }
            commit_queue.close();
            let batch = committer.take().unwrap();
            assert_eq!(batch.len(), 3);
            batch.into_iter().for_each(|handed| handed.answer(Ok(Receipt { id: 7, listeners: 1 })));
            for speaker in speakers {
                assert_eq!(speaker.join().unwrap(), Ok(Receipt { id: 7, listeners: 1 }));
            }
        });
        assert!(committer.take().is_none());
    }

    #[test]
    fn nobody_waits_for_a_clerk_that_has_gone() {
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
