//! The watch: epoll, shared by all threads that wait. A connection that waits for its client needs no thread. The
//! threads are leader and followers: one takes the next event and serves it, while the next one waits.
//!
//! Connections are edge-triggered (epoll(7)): each arrival of bytes, and the end, is told once, to one thread.
//! Newcomers are told once and not again until [`Watch::await_newcomers`], so only one thread at a time accepts.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use crate::net::listening::Listening;
use crate::net::socket::Socket;

/// Keys that no socket has; sockets are counted up from one.
const NEWCOMER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
const CALL: u64 = u64::MAX - 2;

/// The watched descriptors.
pub struct Watch {
    epoll: OwnedFd,
    /// Readable from the moment of the stop, for every thread.
    stop: OwnedFd,
    /// Counts up with each call, and is never read. It is edge-triggered, so each call is told to one thread.
    call: OwnedFd,
}

/// The reason why a waiting thread wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Connections can be accepted.
    Newcomer,
    /// Something has come on a connection.
    Arrival {
        /// Its socket's key.
        key: u64,
        /// Whether the peer has closed its sending side, or the connection.
        left: bool,
    },
    /// Another thread of ours has left something to do.
    Call,
    /// The server stops.
    Stop,
}

impl Watch {
    /// Watches for newcomers.
    ///
    /// # Errors
    /// The system's, if no descriptor is left.
    pub fn new(listening: &Listening) -> io::Result<Watch> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &stop, EventData::new_u64(STOP), EventFlags::IN)?;
        let call = eventfd(0, EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &call, EventData::new_u64(CALL), EventFlags::IN | EventFlags::ET)?;
        epoll::add(&epoll, &listening.listener, EventData::new_u64(NEWCOMER), EventFlags::IN | EventFlags::ONESHOT)?;
        Ok(Watch { epoll, stop, call })
    }

    /// Waits for an event.
    pub fn wait(&self) -> Event {
        loop {
            if let Some(event) = self.look(None) {
                return event;
            }
        }
    }

    /// Polls for an event for as long as `limit` without sleeping; other threads may get the processor in between.
    pub fn spin(&self, limit: Duration) -> Option<Event> {
        let begun = Instant::now();
        loop {
            let event = self.look(Some(&Timespec::default()));
            if event.is_some() || begun.elapsed() >= limit {
                return event;
            }
            thread::yield_now();
        }
    }

    /// The next event, if one comes within `limit`. It may be interrupted (epoll_wait(2)).
    fn look(&self, limit: Option<&Timespec>) -> Option<Event> {
        let mut event = [const { MaybeUninit::uninit() }];
        let (events, _) = epoll::wait(&self.epoll, &mut event, limit).ok()?;
        let &mut epoll::Event { data, flags } = events.first_mut()?;
        Some(match data.u64() {
            NEWCOMER => Event::Newcomer,
            STOP => Event::Stop,
            CALL => Event::Call,
            key => {
                Event::Arrival { key, left: flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) }
            }
        })
    }

    /// Watches a connection until it is closed. Bytes that came before are told too.
    ///
    /// # Errors
    /// The system's, if the kernel cannot watch any more.
    pub fn add(&self, socket: &Socket) -> io::Result<()> {
        let data = EventData::new_u64(socket.key());
        socket.call(|socket| epoll::add(&self.epoll, socket, data, EventFlags::IN | EventFlags::RDHUP | EventFlags::ET))
    }

    /// From now on the next newcomer is told again, to one thread.
    pub fn await_newcomers(&self, listening: &Listening) {
        let (data, flags) = (EventData::new_u64(NEWCOMER), EventFlags::IN | EventFlags::ONESHOT);
        let _ = epoll::modify(&self.epoll, &listening.listener, data, flags);
    }

    /// Calls one of the threads that wait.
    pub fn call(&self) {
        let _ = rustix::io::write(&self.call, &1_u64.to_ne_bytes());
    }

    /// Tells every thread, from now on, that the server stops.
    pub fn stop(&self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::config::Bind;

    #[test]
    fn who_spins_finds_what_has_happened_once_and_does_not_wait_for_ever() {
        let listening = Listening::open(&Bind::Address("127.0.0.1:0".to_owned()), 0o660).unwrap();
        let watch = Watch::new(&listening).unwrap();
        assert_eq!(watch.spin(Duration::ZERO), None);
        watch.call();
        assert_eq!(watch.spin(Duration::from_secs(60)), Some(Event::Call));
        let (begun, limit) = (Instant::now(), Duration::from_millis(2));
        assert_eq!(watch.spin(limit), None);
        assert!(begun.elapsed() >= limit);
    }
}
