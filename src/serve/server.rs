//! The state that all threads of the pool share, and the connections that they hold.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender};
use tiny_http::SslContextWrap;

use crate::api::service::Service;
use crate::counters::Counters;
use crate::http::{Request, exchange::Answering, gate::Gate};
use crate::net::descriptors::Descriptors;
use crate::net::listening::Listening;
use crate::net::watch::Watch;
use crate::room::{Receipt, Refused};
use crate::serve::connections;
use crate::sync::lock;

pub(super) type Slot = connections::Slot<Connection>;
pub(super) type Connections = connections::Connections<Connection>;

/// The work of a thread.
pub(super) type Life = Box<dyn FnOnce() + Send>;

/// The state that all threads of the pool share.
pub struct Server {
    pub(super) service: Service,
    pub(super) listening: Listening,
    pub(super) watch: Watch,
    pub(super) tls: SslContextWrap,
    /// The descriptors, and the sockets they belong to. Locked while a connection is accepted or closed, which never
    /// waits.
    pub(super) descriptors: Mutex<Descriptors>,
    pub(super) connections: Mutex<Connections>,
    pub(super) most_open: usize,
    /// Set while there is no room for newcomers and nobody watches for them. Cleared when a connection is closed or the
    /// keeper looks around.
    pub(super) full: AtomicBool,
    /// Conversations to be answered, because their message is kept or refused. Locked for moments only. The thread that
    /// puts in the first one calls a waiting thread.
    pub(super) kept: Mutex<Vec<Kept>>,
    /// The next listener's life, handed to a thread that waits for one: see `Server::start_listening`. The channel has no
    /// room, so a life is sent only to a thread that waits. Its sender goes when the server stops, which ends them.
    pub(super) lives: (Mutex<Option<Sender<Life>>>, Receiver<Life>),
    pub(super) stopping: AtomicBool,
    /// Cloned into each thread; see `Pool::ended`. `None` when the server stops.
    pub(super) alive: Mutex<Option<Sender<Infallible>>>,
}

/// An open connection. The thread that serves it holds it, or its slot while it is parked.
pub struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) gate: Gate,
    /// Its place; the connection lies in it while it is parked.
    pub(super) slot: Arc<Slot>,
    /// Whether the share of its client is checked when its next request has come.
    pub(super) is_share_to_be_checked: bool,
}

/// A conversation that has waited for its message to be kept. The result has come.
pub(super) struct Kept {
    pub(super) connection: Connection,
    pub(super) request: Request,
    pub(super) answering: Answering,
    pub(super) said: Result<Receipt, Refused>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let server = &self.server;
        lock(&server.connections).remove(self.slot.socket.key());
        lock(&server.descriptors).close(&self.slot.socket);
        server.counters().connections.fetch_sub(1, Ordering::Relaxed);
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
}
