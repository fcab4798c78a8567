//! tiny_http accepts on a pool of threads: leader and followers. One thread at a time holds the turn to accept; the
//! others wait for the turn. The one that has accepted a connection serves it to the end, on the same thread, and first
//! makes sure that enough others are left waiting. Never looks inside a request.
//!
//! tiny_http's own `Server::recv` is not used: its pool strands connections that come in a burst and goes deaf when
//! descriptors run out. `Server::accept_connection` accepts one connection in the calling thread.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tiny_http::{Request, Server, SslContextWrap};

use crate::config::{Config, HISTORY_BYTES, MOST_LISTENERS};
use crate::exchange::After;
use crate::hook::Memory;
use crate::hub::{Hub, Limits};
use crate::journal;
use crate::route::Service;
use crate::socket::{Descriptors, Found, Listening, Socket, raise_descriptor_limit};
use crate::sync::{lock, sleep_until_rung};

/// Each thread's stack, in bytes. Only the pages that are touched cost memory; this much is reserved.
const STACK_BYTES: usize = 256 * 1024;

/// A connection takes two descriptors, as tiny_http makes a second one for writing.
const DESCRIPTORS_EACH: usize = 2;

/// Descriptors kept free for everything that is no connection: the one that accept reserves, the log, libraries.
const DESCRIPTORS_SPARE: usize = 8;

/// Of all connections, one in so many is kept for those who speak: listeners cannot take them all.
const SPEAKERS_PART: usize = 8;

/// The pause after accepting failed, so that a lasting failure costs no core.
const BACK_OFF: Duration = Duration::from_millis(50);

/// How often the keeper looks around when nobody calls it.
const KEEPER_TICK: Duration = Duration::from_secs(1);

/// The running server.
pub struct Pool {
    shared: Arc<Shared>,
    /// Never sent to: every thread of the pool holds a sender, so that it disconnects when the last one has ended.
    ended: Receiver<Infallible>,
}

/// What all threads of the pool share.
struct Shared {
    service: Service,
    listening: Listening,
    tls: SslContextWrap,
    /// Held while accepting, by one thread at a time: only then are descriptors made, so a new one can be recognised.
    turn: Mutex<()>,
    /// Whose descriptor is which. Held for moments, also while somebody accepts.
    descriptors: Mutex<Descriptors>,
    /// Connections open now; waited on by who has the turn while there are as many as the descriptors allow.
    open: Mutex<usize>,
    one_closed: Condvar,
    most_open: usize,
    /// Threads that accept or wait for the turn.
    waiting: AtomicUsize,
    /// At least so many threads shall wait: one per core.
    cores: usize,
    stopping: AtomicBool,
}

impl Pool {
    /// Starts a server. When this returns, connections are accepted.
    ///
    /// # Errors
    /// When the address cannot be listened at, or not one thread can be started.
    pub fn start(config: Config) -> io::Result<Pool> {
        let listening = Listening::open(&config.bind, config.idle)?;
        let descriptors = Descriptors::new(&listening, config.idle);
        let free = raise_descriptor_limit().saturating_sub(descriptors.known() + DESCRIPTORS_SPARE);
        let most_open = (free / DESCRIPTORS_EACH).max(2);
        let listeners =
            config.max_listeners.unwrap_or(MOST_LISTENERS).min(most_open - most_open.div_ceil(SPEAKERS_PART));
        let (queue, history) = (config.queue, config.history);
        let (hub, called) = Hub::new(Limits { listeners, queue, history, history_bytes: HISTORY_BYTES });
        let shared = Arc::new(Shared {
            service: Service { config, hub, hooks: Memory::default() },
            listening,
            tls: SslContextWrap::build_ssl_capabilities(None).map_err(io::Error::other)?,
            turn: Mutex::new(()),
            descriptors: Mutex::new(descriptors),
            open: Mutex::new(0),
            one_closed: Condvar::new(),
            most_open,
            waiting: AtomicUsize::new(0),
            cores: thread::available_parallelism().map_or(1, usize::from),
            stopping: AtomicBool::new(false),
        });
        let (alive, ended) = bounded(0);
        start_keeper(&shared, called, alive.clone())?;
        start_waiting_thread(&shared, &alive)?;
        replenish(&shared, &alive);
        Ok(Pool { shared, ended })
    }

    /// Where it listens, as people write it; with the real port.
    pub fn name(&self) -> &str {
        &self.shared.listening.name
    }

    /// Where it listens; `None` for a socket file.
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.listening.address
    }

    /// Stops: accepts nobody, lets requests under way be answered, has listeners hear what their letterboxes hold, ends
    /// their streams properly, and joins every thread; all that for at most `limit`. True if everyone has ended by then.
    pub fn stop(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::SeqCst);
        shared.listening.shut();
        drop(shared.open()); // whoever waits for a place has seen that we stop, or waits and is woken
        shared.one_closed.notify_all();
        shared.service.hub.close();
        shared.descriptors().sockets().for_each(|socket| socket.cut_if_idle());
        let ended = self.ended.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected);
        if let crate::config::Bind::Unix(path) = &shared.service.config.bind {
            let _ = std::fs::remove_file(path);
        }
        ended
    }
}

/// Starts a thread that waits for a connection.
fn start_waiting_thread(shared: &Arc<Shared>, alive: &Sender<Infallible>) -> io::Result<()> {
    let (of_thread, alive) = (shared.clone(), alive.clone());
    shared.waiting.fetch_add(1, Ordering::SeqCst);
    let started = thread::Builder::new()
        .name("conversation".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || wait_and_serve(&of_thread, &alive));
    if started.is_err() {
        shared.waiting.fetch_sub(1, Ordering::SeqCst);
    }
    started.map(drop)
}

/// Makes up for threads that are missing among the waiting ones.
fn replenish(shared: &Arc<Shared>, alive: &Sender<Infallible>) {
    while shared.waiting.load(Ordering::SeqCst) < shared.cores && !shared.stopping() {
        if let Err(error) = start_waiting_thread(shared, alive) {
            journal::ACCEPTING.warn(format_args!("cannot start a thread ({error}); serving those that are connected"));
            return;
        }
    }
}

/// The life of a thread: wait, become the conversation, wait again, until enough others wait.
fn wait_and_serve(shared: &Arc<Shared>, alive: &Sender<Infallible>) {
    while let Some(connection) = shared.accept() {
        shared.waiting.fetch_sub(1, Ordering::SeqCst);
        replenish(shared, alive);
        // The connection is closed inside, so that a panic closes it too.
        if catch_unwind(AssertUnwindSafe(|| shared.converse(connection))).is_err() {
            log::error!("a conversation ended early; all others go on");
        }
        if shared.waiting.fetch_add(1, Ordering::SeqCst) >= 2 * shared.cores {
            break;
        }
    }
    shared.waiting.fetch_sub(1, Ordering::SeqCst);
}

/// The keeper lends speakers a second hand, carries what they have left to it, starts threads that could not be started
/// before, and says what trouble was only counted.
fn start_keeper(shared: &Arc<Shared>, called: Receiver<()>, alive: Sender<Infallible>) -> io::Result<()> {
    let shared = shared.clone();
    let keeper = move || {
        while !shared.stopping() {
            if sleep_until_rung(&called, KEEPER_TICK) {
                shared.service.hub.lend_a_second_hand();
            } else {
                replenish(&shared, &alive);
                journal::settle_all();
            }
        }
    };
    thread::Builder::new().name("keeper".to_owned()).stack_size(STACK_BYTES).spawn(keeper).map(drop)
}

/// An open connection. Fields are dropped in this order: first tiny_http closes the connection, then its place and its
/// numbers are given back.
struct Connection {
    /// tiny_http's connection, whose type has no public name; `None` where a request could not be read.
    requests: Box<dyn Iterator<Item = Option<Request>>>,
    place: Place,
}

/// One of the connections that may be open at once, and the numbers that go with it.
struct Place {
    shared: Arc<Shared>,
    found: Option<Found>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(found) = &self.place.found {
            found.socket.let_go();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(found) = &self.found {
            self.shared.descriptors().give_back(found);
        }
        *self.shared.open() -= 1;
        self.shared.one_closed.notify_one();
    }
}

impl Shared {
    /// Waits for the turn, then for a connection; `None` when the server stops. Not inlined, nor is `converse`: what
    /// tiny_http needs of the stack would lie under every listener for as long as it listens.
    #[inline(never)]
    fn accept(self: &Arc<Shared>) -> Option<Connection> {
        let _turn = lock(&self.turn);
        while self.wait_for_a_place() {
            let guess = self.descriptors().guess();
            // tiny_http panics where it cannot make its second descriptor.
            let accepted =
                catch_unwind(AssertUnwindSafe(|| Server::accept_connection(&self.listening.listener, &self.tls)));
            match accepted {
                Ok(Ok(Some(connection))) => {
                    *self.open() += 1;
                    let found = self.descriptors().find(guess);
                    if found.is_none() {
                        journal::ACCEPTING
                            .warn("cannot tell a new connection's descriptor; it is served without a helping hand");
                    }
                    let requests = Box::new(connection.map(Result::ok));
                    return Some(Connection { requests, place: Place { shared: self.clone(), found } });
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) if is_passing(&error) || self.stopping() => {}
                Ok(Err(error)) => self.back_off(&error.to_string()),
                Err(_) => self.back_off("no descriptor is left"),
            }
        }
        None
    }

    /// Waits until one more connection may be open; false when the server stops.
    fn wait_for_a_place(&self) -> bool {
        let mut open = self.open();
        if *open >= self.most_open {
            journal::ACCEPTING
                .warn(format_args!("{open} connections are open, as many as may; the next one has to wait"));
        }
        while *open >= self.most_open && !self.stopping() {
            open = self.one_closed.wait(open).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        !self.stopping()
    }

    fn back_off(&self, why: &str) {
        journal::ACCEPTING.warn(format_args!("cannot accept a connection ({why}); serving those that are connected"));
        thread::sleep(BACK_OFF);
    }

    /// Serves a connection to its end.
    #[inline(never)]
    fn converse(&self, mut connection: Connection) {
        let socket = connection.place.found.as_ref().map(|found| found.socket.clone());
        let set_busy = |busy| socket.iter().for_each(|socket: &Arc<Socket>| socket.set_busy(busy));
        loop {
            // Idle first, then the look whether the server stops: the one who stops it does these in the other order,
            // so either it finds the connection idle and cuts it, or we find that it stops.
            set_busy(false);
            if self.stopping() {
                return;
            }
            let Some(Some(request)) = connection.requests.next() else { return };
            set_busy(true);
            let spare_thread = self.waiting.load(Ordering::SeqCst) > 0;
            if self.service.answer(request, socket.as_ref(), spare_thread) == After::Close {
                return;
            }
        }
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn descriptors(&self) -> MutexGuard<'_, Descriptors> {
        lock(&self.descriptors)
    }

    fn open(&self) -> MutexGuard<'_, usize> {
        lock(&self.open)
    }
}

/// Errors of one connection, or of none: accept again at once. (With a read timeout on the listening socket, accept
/// gives up now and then.)
fn is_passing(error: &io::Error) -> bool {
    use ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | TimedOut | WouldBlock)
}
