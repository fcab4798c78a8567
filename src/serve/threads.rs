//! The threads: how they are started, and the life of one that waits.

use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use crate::journal;
use crate::net::watch::Event;
use crate::os::limits;
use crate::serve::server::{Life, Server};
use crate::sync::lock;

/// The stack of a thread, in bytes. So much is reserved, but only pages that are touched cost memory. The deepest JSON
/// that serde_json reads (127 levels) touches most: 64 KiB, but more than 256 KiB in a build without optimization.
pub(super) const STACK_BYTES: usize = if cfg!(debug_assertions) { 1024 * 1024 } else { 256 * 1024 };

/// The stack of a listener's thread, in bytes. It reads no request, and touches 12 KiB. There are many such threads, so
/// the reserved size counts if address space is limited (`ulimit -v`).
const LISTENER_STACK_BYTES: usize = STACK_BYTES / 4;

/// How long the thread of a listener that has left waits for another listener before it ends. If 2,000 listeners are cut
/// off at once and come back, 1.8 times as many join in a second as without it, each at half the processor time ("joins
/// again" of `scripts/bench/pairs.py`).
const KEPT_TIME: Duration = Duration::from_secs(5);

/// How long a thread spins for the next request of a client that speaks in lockstep, before it sleeps. Such a client
/// sends each request as soon as the one before is answered. If it is near, it asks again sooner than a sleeping
/// processor wakes. Measured with one client flat out (the scenario say-flat-1 of `scripts/bench`): if processors take
/// long to wake, it makes 2 times the requests, each for the processor time that it took before. If they wake soon, it
/// makes 1.2 times the requests, each for 1.4 times the processor time. For other clients no thread spins.
const LOCKSTEP: Duration = Duration::from_micros(100);

impl Server {
    pub(super) fn start_thread(self: &Arc<Server>, name: &str, stack: usize, life: Life) -> io::Result<()> {
        if !limits::is_left() {
            return Err(ErrorKind::OutOfMemory.into());
        }
        let alive = lock(&self.alive).clone();
        let counted = self.clone();
        let life = move || {
            counted.counters().threads.fetch_add(1, Ordering::Relaxed);
            survives(life);
            counted.counters().threads.fetch_sub(1, Ordering::Relaxed);
            drop((counted, alive));
        };
        thread::Builder::new().name(name.to_owned()).stack_size(stack).spawn(life).map(drop)
    }

    /// Gives a listener a thread: one whose listener has just left, if any, or else a new one. When many have lost their
    /// connections at once and come back, no thread ends and none has to be started.
    pub(super) fn start_listening(self: &Arc<Server>, life: Life) -> io::Result<()> {
        let mut life = match &*lock(&self.lives.0) {
            None => life, // the server stops
            Some(waiting) => match waiting.try_send(life) {
                Ok(()) => return Ok(()),
                Err(unsent) => unsent.into_inner(),
            },
        };
        let next = self.lives.1.clone();
        let lives = move || {
            loop {
                survives(life);
                match next.recv_timeout(KEPT_TIME) {
                    Ok(another) => life = another,
                    Err(_) => return,
                }
            }
        };
        self.start_thread("listener", LISTENER_STACK_BYTES, Box::new(lives))
    }

    /// Starts the threads that wait for events and serve them: one for each core, or as many as can be started.
    ///
    /// # Errors
    /// That of starting a thread, if none can be started.
    pub(super) fn start_waiting_threads(self: &Arc<Server>) -> io::Result<()> {
        for started in 0..thread::available_parallelism().map_or(1, usize::from) {
            let server = self.clone();
            match self.start_thread("waiting", STACK_BYTES, Box::new(move || server.wait_and_serve())) {
                Err(error) if started == 0 => return Err(error),
                Err(error) => {
                    journal::ACCEPTING.warn(format_args!("cannot start a thread ({error}); the others do its work"));
                    break;
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// The life of a thread that waits: it takes an event, serves it, and waits again until the server stops.
    fn wait_and_serve(self: &Arc<Server>) {
        let (mut last, mut in_lockstep) = (None, false);
        loop {
            let begun = Instant::now();
            let soon = if in_lockstep { self.watch.spin(LOCKSTEP) } else { None };
            let event = soon.unwrap_or_else(|| self.watch.wait());
            let is_same = last == Some(event) && matches!(event, Event::Arrival { .. });
            in_lockstep = is_same && begun.elapsed() < LOCKSTEP;
            last = Some(event);
            match event {
                Event::Call => self.answer_kept(),
                Event::Stop => return self.answer_kept(), // a called thread may have seen the stop instead
                // No thread is told of newcomers until this is done. If it panics, the keeper watches for them again.
                Event::Newcomer if survives(|| self.accept_newcomers()) => {}
                Event::Newcomer => self.full.store(true, Ordering::SeqCst),
                Event::Arrival { key, left } => {
                    survives(|| self.serve_arrival(key, left));
                }
            }
        }
    }
}

/// Does some work. Returns false if it panics. That ends the work and drops what it holds, a connection for instance,
/// but ends nothing else.
pub(super) fn survives(work: impl FnOnce()) -> bool {
    let survived = catch_unwind(AssertUnwindSafe(work)).is_ok();
    if !survived {
        log::error!("a conversation ended early; all others go on");
    }
    survived
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::config::{Bind, Config};
    use crate::serve::pool::Pool;

    /// Long enough for the slowest machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn the_thread_of_a_listener_that_has_left_takes_the_next_one() {
        let bind = Bind::Address("127.0.0.1:0".to_owned());
        let pool = Pool::start(Config { bind, ..Config::default() }).unwrap();
        let (tell, told) = crossbeam_channel::unbounded();
        let next_thread = || {
            let tell = tell.clone();
            pool.server.start_listening(Box::new(move || tell.send(thread::current().id()).unwrap())).unwrap();
            told.recv_timeout(PATIENCE).unwrap()
        };
        let mut seen = HashSet::new();
        let is_seen_again = (0..1000).any(|_| {
            thread::yield_now(); // it may not wait yet
            !seen.insert(next_thread())
        });
        assert!(is_seen_again);
        assert!(pool.stop(PATIENCE));
    }
}
