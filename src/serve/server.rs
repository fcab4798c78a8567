//! What all threads of the pool share, and the connections in their hands.

use crate::api::service::Service;
use crate::counters::Counters;
use crate::http::exchange::{Answering, Unanswered};
use crate::http::gate::Gate;
use crate::net::descriptors::{Descriptors, Found};
use crate::net::listening::Listening;
use crate::net::socket::Socket;
use crate::net::watch::Watch;
use crate::room::listener::Listener;
use crate::room::message::{Receipt, Refused};
use crate::serve::connections;
use crate::sync::lock;
use crossbeam_channel::Sender;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tiny_http::SslContextWrap;

pub(super) type Slot = connections::Slot<Connection>;
pub(super) type Connections = connections::Connections<Connection>;

/// What all threads of the pool share.
pub struct Server {
    pub(super) service: Service,
    pub(super) listening: Listening,
    pub(super) watch: Watch,
    pub(super) tls: SslContextWrap,
    /// Whose descriptor is which. Held for moments, also while somebody accepts.
    pub(super) descriptors: Mutex<Descriptors>,
    pub(super) connections: Mutex<Connections>,
    pub(super) most_open: usize,
    pub(super) most_from_one_address: Option<usize>,
    /// Set while newcomers are not watched for, because there is no room; they are again when somebody leaves.
    pub(super) full: AtomicBool,
    /// Threads that wait or answer.
    pub(super) threads: AtomicUsize,
    /// Of those, the ones that wait.
    pub(super) waiting: AtomicUsize,
    /// At least so many threads wait or answer: one per core.
    pub(super) cores: usize,
    /// Conversations whose message is kept, to be answered. Held for moments; who puts in the first calls a thread.
    pub(super) kept: Mutex<Vec<Kept>>,
    pub(super) stopping: AtomicBool,
    /// Cloned into every thread; see `Pool::ended`. Taken away at the stop.
    pub(super) alive: Mutex<Option<Sender<Infallible>>>,
}

/// An open connection, in the hands of the one who serves it. Fields are dropped in this order: first it is closed,
/// then its place and its numbers are given back.
pub struct Connection {
    pub(super) gate: Gate,
    /// What holds it open.
    pub(super) _ours: OwnedFd,
    pub(super) place: Place,
}

/// What a thread of its own is for.
pub(super) enum Task {
    /// To answer a request at length.
    Answer(Unanswered),
    /// To listen.
    Listen(Box<Listener>),
}

/// A conversation that was interrupted until a message was kept.
pub(super) struct Kept {
    pub(super) slot: Arc<Slot>,
    pub(super) connection: Connection,
    pub(super) unanswered: Unanswered,
    pub(super) answering: Answering,
    pub(super) said: Result<Receipt, Refused>,
}

/// One of the connections that may be open at once, and the numbers that go with it.
pub(super) struct Place {
    pub(super) server: Arc<Server>,
    pub(super) found: Found,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let socket = &self.place.found.socket;
        socket.let_go();
        self.place.server.connections().remove(socket.key());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let server = &self.server;
        server.descriptors().give_back(&self.found);
        server.counters().connections.one_less();
        server.look_for_newcomers_again();
    }
}

impl Server {
    pub(super) fn counters(&self) -> &Counters {
        self.service.hub.counters()
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(super) fn descriptors(&self) -> MutexGuard<'_, Descriptors> {
        lock(&self.descriptors)
    }

    pub(super) fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }
}

impl Connection {
    pub(super) fn socket(&self) -> &Socket {
        &self.place.found.socket
    }
}
