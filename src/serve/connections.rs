//! The open connections: which are waiting, for how long each has been silent, and from which address it comes. A
//! connection is *parked* here while it waits for its client and no thread serves it. The thread that serves it takes
//! it out.
//!
//! **No arrival is missed.** The kernel tells of each arrival once. The thread that hears of it takes the connection,
//! or, if another thread serves it, notes on it that something came. A thread that parks a connection gets it back at
//! once if that was noted. Both happen under the slot's lock.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::http::framing::Stage;
use crate::net::socket::Socket;
use crate::sync::lock;

/// How long a request's head may take from its first byte, and its body from the end of the head. A person at a
/// keyboard needs seconds, a program milliseconds.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long a closing connection may go on sending after its last answer. The bytes are thrown away, so that the client
/// sees the answer and not a reset (RFC 9112 section 9.6).
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);

/// Silent connections closed at once when there is no room for a newcomer, because finding them means looking at all.
/// At most a part of them is closed, as some have only just come.
const CLOSED_AT_ONCE: usize = 32;
const CLOSED_PART: usize = 8;

/// The event for which a parked connection waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The rest of a request; the stage tells how much has come.
    Request(Stage),
    /// The client's end. At most so many bytes more are thrown away.
    Goodbye(usize),
}

impl Awaited {
    /// How many bytes a client may still send after its last answer.
    pub const GOODBYE_BYTES: usize = 1024 * 1024;

    fn limit(self, idle: Duration) -> Duration {
        match self {
            Awaited::Request(Stage::Idle) => idle,
            Awaited::Request(_) => REQUEST_LIMIT,
            Awaited::Goodbye(_) => GOODBYE_LIMIT,
        }
    }
}

/// A connection that no thread serves, the event that it waits for, and since when.
pub type Parked<C> = (C, Awaited, Instant);

/// The place of one open connection, of whatever kind `C`.
pub struct Slot<C> {
    /// Its socket.
    pub socket: Arc<Socket>,
    place: Mutex<Place<C>>,
}

struct Place<C> {
    parked: Option<Parked<C>>,
    /// Whether something has come while a thread serves it.
    again: bool,
}

impl<C> Slot<C> {
    /// Makes a place for a connection that is about to be parked.
    pub fn new(socket: Arc<Socket>) -> Slot<C> {
        Slot { socket, place: Mutex::new(Place { parked: None, again: false }) }
    }

    /// The client that it is counted for; `None` while nobody has named it.
    fn client(&self) -> Option<IpAddr> {
        self.socket.client().map(one_client)
    }

    /// Takes the connection to serve it, because something has come; `None` if another thread serves it, which will look
    /// again.
    pub fn take(&self) -> Option<Parked<C>> {
        let mut place = lock(&self.place);
        place.again = place.parked.is_none();
        place.parked.take()
    }

    /// Leaves the connection to wait. It comes back at once if something has come while it was served.
    pub fn park(&self, parked: Parked<C>) -> Option<Parked<C>> {
        let mut place = lock(&self.place);
        if std::mem::take(&mut place.again) {
            return Some(parked);
        }
        place.parked = Some(parked);
        None
    }

    /// Takes the connection if it has waited too long. It may stay if it has bytes that no thread has looked at yet:
    /// this process may have been stopped for a while (SIGSTOP) while its clients went on.
    pub fn take_overdue(&self, now: Instant, idle: Duration) -> Option<Parked<C>> {
        let mut place = lock(&self.place);
        place.parked.take_if(|(_, awaited, since)| {
            let is_late = now.duration_since(*since) > awaited.limit(idle);
            is_late && (matches!(awaited, Awaited::Goodbye(_)) || self.socket.unread().unwrap_or(0) == 0)
        })
    }

    /// How much its client loses if the connection is closed now (`None` is less than any stage: the client has its
    /// last answer and loses nothing), and since when it has waited. `None` instead while a thread serves it.
    fn waits(&self) -> Option<(Option<Stage>, Instant)> {
        match lock(&self.place).parked.as_ref()? {
            (_, Awaited::Request(stage), since) => Some((Some(*stage), *since)),
            (_, Awaited::Goodbye(_), since) => Some((None, *since)),
        }
    }
}

/// All open connections.
pub struct Connections<C> {
    /// By their sockets' keys.
    slots: HashMap<u64, Arc<Slot<C>>>,
    /// How many each client holds.
    held: HashMap<Option<IpAddr>, usize>,
}

impl<C> Default for Connections<C> {
    fn default() -> Connections<C> {
        Connections { slots: HashMap::new(), held: HashMap::new() }
    }
}

impl<C> Connections<C> {
    /// How many are open.
    pub fn open(&self) -> usize {
        self.slots.len()
    }

    /// How many the client of `slot` holds.
    pub fn held_with(&self, slot: &Slot<C>) -> usize {
        self.held.get(&slot.client()).copied().unwrap_or(0)
    }

    /// Takes in a connection.
    pub fn insert(&mut self, slot: Arc<Slot<C>>) {
        *self.held.entry(slot.client()).or_default() += 1;
        self.slots.insert(slot.socket.key(), slot);
    }

    /// Forgets the connection whose socket has that key.
    pub fn remove(&mut self, key: u64) {
        if let Some(slot) = self.slots.remove(&key) {
            self.count_one_less(slot.client());
        }
    }

    /// Counts an open connection for `client` from now on.
    pub fn note_client(&mut self, slot: &Slot<C>, client: Option<IpAddr>) {
        self.count_one_less(slot.client());
        slot.socket.note_client(client);
        *self.held.entry(slot.client()).or_default() += 1;
    }

    fn count_one_less(&mut self, client: Option<IpAddr>) {
        if let Some(count) = self.held.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&client);
            }
        }
    }

    /// The connection whose socket has that key, if it is still open.
    pub fn get(&self, key: u64) -> Option<Arc<Slot<C>>> {
        self.slots.get(&key).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Slot<C>>> {
        self.slots.values().cloned().collect()
    }
}

/// Some of `slots` that have been silent longest, all of one client: of the client of `like`, or else of the one that
/// holds most and has silent ones. First come those that have their last answer, then those that ask for nothing, then
/// those that have begun a request. An honest request is soon whole, so if only such connections are left, they are
/// holding on to their place.
pub fn longest_silent<C>(slots: Vec<Arc<Slot<C>>>, like: Option<&Slot<C>>) -> Vec<Arc<Slot<C>>> {
    let mut held: HashMap<_, usize> = HashMap::new();
    slots.iter().for_each(|slot| *held.entry(slot.client()).or_default() += 1);
    let mut silent: Vec<_> = slots
        .into_iter()
        .filter(|slot| like.is_none_or(|like| slot.client() == like.client()))
        .filter_map(|slot| Some((slot.waits()?, slot)))
        // An idle connection with unread bytes is only waiting for a thread.
        .filter(|((loss, _), slot)| *loss != Some(Stage::Idle) || slot.socket.unread().is_ok_and(|bytes| bytes == 0))
        .collect();
    let most = silent.iter().map(|(_, slot)| held.get(&slot.client())).max();
    silent.retain(|(_, slot)| Some(held.get(&slot.client())) == most);
    let count = silent.len().div_ceil(CLOSED_PART).min(CLOSED_AT_ONCE);
    if count < silent.len() {
        silent.select_nth_unstable_by_key(count, |(waits, _)| *waits);
        silent.truncate(count);
    }
    silent.into_iter().map(|(_, slot)| slot).collect()
}

/// The part of an address that stands for one client. A client with an IPv6 address has the whole /64 around it.
fn one_client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_client_is_an_ipv4_address_or_an_ipv6_network() {
        let check = |address: &str, client: &str| {
            assert_eq!(one_client(address.parse().unwrap()), client.parse::<IpAddr>().unwrap());
        };
        check("192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }
}
