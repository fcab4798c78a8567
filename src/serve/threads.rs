//! The threads: who starts them, and the life of one that waits.

use crate::http::gate::Hand;
use crate::journal;
use crate::net::watch::Event;
use crate::os::limits;
use crate::serve::server::Server;
use crate::sync::lock;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// Each thread's stack, in bytes. Only the pages that are touched cost memory; this much is reserved. JSON nested as
/// deep as serde_json reads it (127 levels) touches most: 64 KiB, but more than 256 KiB where nothing is optimized.
pub(super) const STACK_BYTES: usize = if cfg!(debug_assertions) { 1024 * 1024 } else { 256 * 1024 };

/// The same of a thread that only listens, then says goodbye: it reads no request, and touches 12 KiB. There are many
/// of them, and where address space is limited (`ulimit -v`) what is reserved counts.
pub(super) const LISTENER_STACK_BYTES: usize = STACK_BYTES / 4;

/// The most threads that wait or answer, for each core: more than one, as a walk along a crowd takes a while.
pub(super) const MOST_WAITING_PART: usize = 4;

/// How long a thread waits beside enough others before it ends.
const SPARE_TIME: Duration = Duration::from_secs(10);

/// How soon a client that speaks in lockstep, one request as soon as the one before is answered, asks again if it is
/// near. For so long a thread looks for the next one instead of sleeping: a processor that has fallen asleep takes
/// longer to wake than such a client to ask. One connection flat out makes 2 times the requests on a machine whose
/// processors take long to wake, for the same processor time each, and 1.2 times on one where they do not, for 1.4
/// times the processor time (the scenario say-flat-1 of `scripts/bench`). Other clients do not come to it.
const LOCKSTEP: Duration = Duration::from_micros(100);

impl Server {
    pub(super) fn start_thread(
        self: &Arc<Server>,
        name: &str,
        stack: usize,
        life: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        if !limits::is_left() {
            return Err(ErrorKind::OutOfMemory.into());
        }
        let alive = lock(&self.alive).clone();
        let counted = self.clone();
        let life = move || {
            counted.counters().threads.one_more();
            survives(life);
            counted.counters().threads.one_less();
            drop((counted, alive));
        };
        thread::Builder::new().name(name.to_owned()).stack_size(stack).spawn(life).map(drop)
    }

    /// Starts a thread that waits for something to happen.
    pub(super) fn start_waiting_thread(self: &Arc<Server>) -> io::Result<()> {
        let server = self.clone();
        self.threads.fetch_add(1, Ordering::SeqCst);
        let started = self.start_thread("waiting", STACK_BYTES, move || server.wait_and_serve());
        if started.is_err() {
            self.threads.fetch_sub(1, Ordering::SeqCst);
        }
        started
    }

    /// Makes up for threads that are missing.
    pub(super) fn replenish(self: &Arc<Server>) {
        while self.threads.load(Ordering::SeqCst) < self.cores && !self.stopping() {
            if let Err(error) = self.start_waiting_thread() {
                journal::ACCEPTING.warn(format_args!("cannot start a thread ({error}); the others do its work"));
                return;
            }
        }
    }

    /// Before a thread does something that takes a while: makes sure that another one waits, unless there are `enough`.
    pub(super) fn leave_somebody_waiting(self: &Arc<Server>, enough: usize) {
        if self.waiting.load(Ordering::SeqCst) == 0 && self.threads.load(Ordering::SeqCst) < enough {
            let _ = self.start_waiting_thread(); // or else those that are here do the work
        }
    }

    /// The life of a thread: wait for something to happen, see to it, wait again, until enough others wait.
    pub(super) fn wait_and_serve(self: &Arc<Server>) {
        let mut hand = Hand::default();
        let (mut last, mut in_lockstep) = (None, false);
        loop {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            // A timer costs something with every wait, so only those who are to spare set one.
            let is_spare = self.threads.load(Ordering::SeqCst) > self.cores;
            let begun = Instant::now();
            let mut event = if in_lockstep { self.watch.look(LOCKSTEP) } else { Event::Nothing };
            if event == Event::Nothing {
                event = self.watch.wait(is_spare.then_some(SPARE_TIME));
            }
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            let arrival = event.key();
            in_lockstep = arrival.is_some() && arrival == last && begun.elapsed() < LOCKSTEP;
            last = arrival;
            match event {
                Event::Nothing if self.threads.fetch_sub(1, Ordering::SeqCst) > self.cores => return,
                Event::Nothing => {
                    self.threads.fetch_add(1, Ordering::SeqCst); // not too many after all
                }
                Event::Call => self.answer_kept(&mut hand),
                Event::Stop => return self.answer_kept(&mut hand), // whoever was called may have come this way
                // Nobody is told of newcomers again until this is done, so the keeper makes up for one that is not.
                Event::Newcomer if survives(|| self.accept_newcomers()) => {}
                Event::Newcomer => self.full.store(true, Ordering::SeqCst),
                Event::Arrival { key, left } => {
                    survives(|| self.serve_arrival(key, left, &mut hand));
                }
            }
        }
    }
}

/// Does some work; false where it panics, which ends it and what it holds, a connection for instance, and nothing else.
pub(super) fn survives(work: impl FnOnce()) -> bool {
    let survived = catch_unwind(AssertUnwindSafe(work)).is_ok();
    if !survived {
        log::error!("a conversation ended early; all others go on");
    }
    survived
}
