//! Newcomers: accepting connections, making room for them, and each client's share of it.

use std::io::{self, ErrorKind};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::config::MOST_FROM_ONE_ADDRESS;
use crate::http::{Refusal, Request, framing::Stage, gate::Gate, refusal::RETRY_AFTER};
use crate::journal;
use crate::net::socket::Socket;
use crate::serve::connections::{Awaited, longest_silent};
use crate::serve::server::{Connection, Server, Slot};
use crate::sync::lock;

impl Server {
    /// Accepts connections until no client waits for that. One thread at a time does it: see `net/watch.rs`.
    pub(super) fn accept_newcomers(self: &Arc<Server>) {
        while !self.stopping() {
            if !self.make_room() {
                return self.wait_for_room(format_args!("{} connections are open, as many as may", self.most_open));
            }
            let accepted = lock(&self.descriptors).accept(&self.listening, &self.tls);
            match accepted {
                Ok(Some(socket)) => self.take_in(socket),
                Ok(None) => journal::ACCEPTING.warn("cannot tell a new connection's descriptor; closed it"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if is_passing(&error) => {}
                Err(error) => return self.wait_for_room(format_args!("cannot accept a connection ({error})")),
            }
        }
        self.watch.await_newcomers(&self.listening);
    }

    /// Makes room for one more connection. If there is none, closes some that have been silent longest. Returns whether
    /// there is room.
    fn make_room(&self) -> bool {
        let all = {
            let connections = lock(&self.connections);
            if connections.open() < self.most_open {
                return true;
            }
            connections.all()
        };
        let closed = longest_silent(all, None).iter().filter_map(|slot| slot.take()).count(); // dropped, so closed
        if closed > 0 {
            journal::ACCEPTING.warn(format_args!("closed {closed} silent connections to make room for newcomers"));
        }
        closed > 0
    }

    /// Stops watching for newcomers until a connection is closed or the keeper looks around. Logs the reason, `why`.
    fn wait_for_room(&self, why: std::fmt::Arguments<'_>) {
        journal::ACCEPTING.warn(format_args!("{why}; serving those that are connected"));
        self.full.store(true, Ordering::SeqCst);
    }

    pub(super) fn look_for_newcomers_again(&self) {
        if self.full.swap(false, Ordering::SeqCst) && !self.stopping() {
            self.watch.await_newcomers(&self.listening);
        }
    }

    /// Takes in a new connection: counts it, parks it and has it watched. If its client has its share already, the
    /// connection is refused with its first request, because that tells how the client reads a refusal.
    fn take_in(self: &Arc<Server>, socket: Arc<Socket>) {
        if self.service.config.trust_proxy.trust(socket.peer_address()) {
            socket.note_client(None); // its first request names it
        }
        let slot = Arc::new(Slot::new(socket.clone()));
        lock(&self.connections).insert(slot.clone());
        self.counters().connections.fetch_add(1, Ordering::Relaxed);
        let is_share_to_be_checked = self.most_beyond_share(&slot).is_some();
        let connection =
            Connection { server: self.clone(), gate: Gate::default(), slot: slot.clone(), is_share_to_be_checked };
        slot.park((connection, Awaited::Request(Stage::Idle), Instant::now()));
        if self.watch.add(&socket).is_err() {
            drop(slot.take());
        }
    }

    /// Closes silent connections of the client of `slot` if it holds more than its share with this one. If that is not
    /// enough, returns the most that it may hold.
    fn most_beyond_share(&self, slot: &Slot) -> Option<usize> {
        let client = slot.socket.client()?;
        let most = match self.service.config.max_per_address {
            Some(most) => most,
            None if client.is_loopback() => usize::MAX,
            None => MOST_FROM_ONE_ADDRESS,
        };
        let most = most.min(self.most_open / 2); // so that others find room
        if lock(&self.connections).held_with(slot) > most {
            // A statement of its own, because a connection that is closed takes the lock of the connections.
            let all = lock(&self.connections).all();
            longest_silent(all, Some(slot)).iter().for_each(|slot| drop(slot.take()));
        }
        (lock(&self.connections).held_with(slot) > most).then_some(most)
    }

    /// Checks that the client of `slot` has no more than its share.
    ///
    /// # Errors
    /// 503.
    fn check_share(&self, slot: &Slot) -> Result<(), Refusal> {
        let (Some(client), Some(most)) = (slot.socket.client(), self.most_beyond_share(slot)) else { return Ok(()) };
        let is_peer = slot.socket.peer_address() == Some(client);
        let hint = if is_peer { "; if it is a proxy, name it with --trust-proxy" } else { "" };
        journal::FULL
            .warn(format_args!("turned {client} away: {most} connections come from there, as many as may{hint}"));
        let line = format!("{most} connections come from your address, as many as may; close some");
        Err(Refusal::new(503, line).with("Retry-After", RETRY_AFTER))
    }

    /// Notes the client that a trusted proxy's `request` names: the connection counts for it from now on. If it names
    /// none, the connection counts for the proxy. Then, or if its client had more than its share when it came, the
    /// share is checked.
    ///
    /// # Errors
    /// 503 if the client has as many connections as may be.
    pub(super) fn note_client(&self, connection: &mut Connection, request: &Request) -> Result<(), Refusal> {
        let (proxies, peer) = (&self.service.config.trust_proxy, connection.slot.socket.peer_address());
        if proxies.trust(peer) {
            let client = proxies.client(request.header("Forwarded"), request.header("X-Forwarded-For")).or(peer);
            if client != connection.slot.socket.client() {
                lock(&self.connections).note_client(&connection.slot, client);
                connection.is_share_to_be_checked = true;
            }
        }
        if mem::take(&mut connection.is_share_to_be_checked) { self.check_share(&connection.slot) } else { Ok(()) }
    }
}

/// Whether the error is of one connection, or of none, so that the next one can be accepted at once.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}
