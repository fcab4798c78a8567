//! A pool of threads on which tiny_http accepts and answers. All of them wait for clients in one place (see
//! `net/watch.rs`). A thread takes one event, serves it, and waits again; another thread waits in its place meanwhile
//! (leader and followers). So a connection that is silent, slow or idle has no thread. A conversation that lasts gets a
//! thread of its own: most are listeners, and their threads sleep on their own bells. The pool never looks inside a
//! request.
//!
//! tiny_http's own `Server::recv` is not used. Its pool leaves connections unserved that come in a burst, and accepts
//! no more once descriptors have run out. `Server::accept_connection` accepts one connection in the calling thread.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use tiny_http::SslContextWrap;

use crate::api::service::Service;
use crate::config::{Bind, Config, MOST_LISTENERS};
use crate::keep::storage::{self, Storage};
use crate::net::descriptors::{Descriptors, raise_descriptor_limit};
use crate::net::listening::Listening;
use crate::net::watch::Watch;
use crate::room::{Hub, hub::Limits};
use crate::serve::server::Server;
use crate::serve::threads::STACK_BYTES;
use crate::sync::lock;

/// Descriptors kept free for all that is no connection: for tiny_http while it accepts, the log, libraries.
const DESCRIPTORS_SPARE: usize = 32;

/// Of all connections, one in so many is kept for speakers, so that listeners cannot take all of them.
const SPEAKERS_PART: usize = 8;

/// The time between two looks whether all messages that were handed in are posted, while the server stops.
const SETTLE_STEP: Duration = Duration::from_millis(1);

/// The running server.
pub struct Pool {
    pub(super) server: Arc<Server>,
    /// Tells that all threads have ended. Each thread of the pool holds a sender and sends nothing, so this disconnects
    /// when the last thread has ended.
    ended: Receiver<Infallible>,
}

impl Pool {
    /// Starts a server with `config`. When this returns, connections are accepted.
    ///
    /// # Errors
    /// One line for the user, if the storage cannot be opened, the address cannot be listened at, or too few threads or
    /// descriptors are left.
    pub fn start(config: Config) -> Result<Pool, String> {
        let storage = storage::open(&config)?;
        let listening = Listening::open(&config.bind, config.socket_mode).map_err(|error| {
            let remedy = match config.bind {
                Bind::HandedOver => "hand over one that listens, with ListenStream= and Accept=no",
                _ => "give another address with --bind",
            };
            format!("cannot listen at {} ({error}); {remedy}", config.bind)
        })?;
        Pool::start_at(listening, config, storage).map_err(|error| {
            format!("cannot start ({error}); allow more threads and open files (ulimit -u, ulimit -n)")
        })
    }

    fn start_at(listening: Listening, config: Config, storage: Storage) -> io::Result<Pool> {
        let watch = Watch::new(&listening)?;
        let descriptors = Descriptors::new(&listening)?;
        let free = raise_descriptor_limit().saturating_sub(descriptors.lowest_free()?[0] as usize + DESCRIPTORS_SPARE);
        let most_open = free.max(2);
        let listeners =
            config.max_listeners.unwrap_or(MOST_LISTENERS).min(most_open - most_open.div_ceil(SPEAKERS_PART));
        let (alive, ended) = bounded(0);
        let (next_life, lives) = bounded(0);
        let Config { queue, history, history_bytes, things, .. } = config;
        let limits = Limits { listeners, queue, history, history_bytes, things };
        let (hub, called) = Hub::resume(limits, storage.past, storage.commit_queue);
        let server = Arc::new(Server {
            service: Service::new(config, hub),
            listening,
            watch,
            tls: SslContextWrap::build_ssl_capabilities(None).map_err(io::Error::other)?,
            descriptors: Mutex::new(descriptors),
            connections: Mutex::default(),
            most_open,
            full: AtomicBool::new(false),
            kept: Mutex::default(),
            lives: (Mutex::new(Some(next_life)), lives),
            stopping: AtomicBool::new(false),
            alive: Mutex::new(Some(alive)),
        });
        server.service.hosts.recall(&storage.before, server.service.started);
        server.start_keeper(called)?;
        for (name, life) in storage.threads {
            let of_thread = server.clone();
            let life = move || life(&of_thread.service.hub, &|hearing| of_thread.service.note(hearing));
            server.start_thread(name, STACK_BYTES, Box::new(life))?;
        }
        server.start_waiting_threads()?;
        Ok(Pool { server, ended })
    }

    /// The socket at which it listens.
    pub fn listening(&self) -> &Listening {
        &self.server.listening
    }

    /// Stops the server. No more connections are accepted, and no more messages. Messages that were handed in are kept,
    /// posted and answered. Listeners hear the messages in their letterboxes, then their streams end properly. Waits
    /// for all threads, but at most for `limit`. Returns true if all have ended by then.
    pub fn stop(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let server = &self.server;
        server.stopping.store(true, Ordering::SeqCst);
        server.listening.shut();
        let hub = &server.service.hub;
        hub.close();
        let settled_by = Instant::now() + limit / 2;
        while !hub.is_settled() && Instant::now() < settled_by {
            thread::sleep(SETTLE_STEP);
        }
        hub.end();
        server.watch.stop(); // after the hub: see `hand_in`
        // A thread that parks a connection looks afterwards whether the server stops. So each is closed, here or there.
        let all = lock(&server.connections).all();
        all.iter().for_each(|slot| drop(slot.take()));
        drop((lock(&server.alive).take(), lock(&server.lives.0).take()));
        self.ended.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected)
    }
}
