//! The one epoll, the one clock, and what the process needs before it opens thousands of sockets.

use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Events taken at once: enough that a thousand ready listeners cost one system call.
const EVENTS: usize = 1024;
pub const SECOND: u64 = 1_000_000_000;
pub const MILLISECOND: u64 = 1_000_000;

/// CLOCK_MONOTONIC in nanoseconds.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// Raises the soft limit of open files to the hard one, and lets timers fire when they are due rather
/// than up to 50 us later, which is what the kernel gives by default.
pub fn prepare_process() -> Result<(), String> {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: hard, maximum: hard })
        .map_err(|error| format!("cannot raise the limit of open files: {error}"))?;
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))
        .map_err(|error| format!("cannot set the timer slack: {error}"))
}

pub struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

/// One epoll can be watched by another.
impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Poller {
    pub fn new() -> Result<Poller, String> {
        Ok(Poller {
            epoll: epoll::create(CreateFlags::CLOEXEC).map_err(|error| format!("cannot make an epoll: {error}"))?,
            events: Vec::with_capacity(EVENTS),
        })
    }

    /// Watches for something to read. Closing the descriptor ends the watch.
    pub fn watch(&self, source: impl AsFd, token: usize) -> Result<(), String> {
        epoll::add(&self.epoll, source, EventData::new_u64(token as u64), EventFlags::IN)
            .map_err(|error| format!("cannot watch a socket: {error}"))
    }

    /// Appends the tokens that are ready; waits for one until `deadline`, a time by `now()`.
    pub fn wait(&mut self, deadline: u64, ready: &mut Vec<usize>) -> Result<(), String> {
        let left = deadline.saturating_sub(now());
        let timeout = Timespec { tv_sec: (left / SECOND) as i64, tv_nsec: (left % SECOND) as i64 };
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("cannot wait for sockets: {error}")),
        }
        ready.extend(self.events.iter().map(|event| event.data.u64() as usize));
        Ok(())
    }
}
