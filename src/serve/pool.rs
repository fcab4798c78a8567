//! A pool of threads on which tiny_http accepts and answers. Whoever waits for a client waits here, in one place (see
//! `net/watch.rs`): a thread takes the one thing that has happened, sees to it, and waits again, while another has
//! taken its place (leader and followers). So a connection that is silent, slow or idle has no thread. A conversation
//! that lasts gets a thread of its own: a listener's, which sleeps on its own receiver. Never looks inside a request.
//!
//! tiny_http's own `Server::recv` is not used: its pool strands connections that come in a burst and goes deaf when
//! descriptors run out. `Server::accept_connection` accepts one connection in the calling thread.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tiny_http::{Server, SslContextWrap};

use crate::api::route;
use crate::api::service::Service;
use crate::config::{Config, MOST_FROM_ONE_ADDRESS, MOST_LISTENERS};
use crate::counters::Counters;
use crate::hosts::handlers;
use crate::http::exchange::{After, Answering, Exchange, HandIn, Outcome, Unanswered, refusal_alone};
use crate::http::framing::Stage;
use crate::http::gate::{Gate, Hand, Look};
use crate::http::refusal::{RETRY_AFTER, Refusal};
use crate::http::request::Request;
use crate::journal;
use crate::keep::storage::{self, Storage};
use crate::net::socket::{Descriptors, Found, Listening, Socket, raise_descriptor_limit};
use crate::net::watch::{Event, Watch};
use crate::os::limits;
use crate::os::raw::give_memory_back;
use crate::room::carriers::BIG_ROOM;
use crate::room::hub::Limits;
use crate::room::listener::Listener;
use crate::room::message::{Receipt, Refused};
use crate::room::wire::Wire;
use crate::serve::connections::{self, Awaited, REQUEST_LIMIT, longest_silent};
use crate::sync::{lock, sleep_until_rung};

/// Each thread's stack, in bytes. Only the pages that are touched cost memory; this much is reserved. JSON nested as
/// deep as serde_json reads it (127 levels) touches most: 64 KiB, but more than 256 KiB where nothing is optimized.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 1024 * 1024 } else { 256 * 1024 };

/// The same of a thread that only listens, then says goodbye: it reads no request, and touches 12 KiB. There are many
/// of them, and where address space is limited (`ulimit -v`) what is reserved counts.
const LISTENER_STACK_BYTES: usize = STACK_BYTES / 4;

/// Descriptors kept free for everything that is no connection: what tiny_http takes for a newcomer, the log, libraries.
const DESCRIPTORS_SPARE: usize = 32;

/// Of all connections, one in so many is kept for those who speak: listeners cannot take them all.
const SPEAKERS_PART: usize = 8;

/// The most threads that wait or answer, for each core: more than one, as a walk along a crowd takes a while.
const MOST_WAITING_PART: usize = 4;

/// How long a thread waits beside enough others before it ends.
const SPARE_TIME: Duration = Duration::from_secs(10);

/// How soon a client that speaks in lockstep, one request as soon as the one before is answered, asks again if it is
/// near. For so long a thread looks for the next one instead of sleeping: a processor that has fallen asleep takes
/// longer to wake than such a client to ask. One connection flat out makes 2 times the requests on a machine whose
/// processors take long to wake, for the same processor time each, and 1.2 times on one where they do not, for 1.4
/// times the processor time (the scenario say-flat-1 of `scripts/bench`). Other clients do not come to it.
const LOCKSTEP: Duration = Duration::from_micros(100);

/// How often the keeper looks around when nobody calls it.
const KEEPER_TICK: Duration = Duration::from_secs(1);

/// How often memory that was freed is given back, in the keeper's ticks: once a minute, as it takes half a
/// millisecond when a thousand listeners have left.
const TICKS_TO_GIVE_BACK: u32 = 60;

type Slot = connections::Slot<Connection>;
type Connections = connections::Connections<Connection>;

/// The running server.
pub struct Pool {
    shared: Arc<Shared>,
    /// Never sent to: every thread of the pool holds a sender, so that it disconnects when the last one has ended.
    ended: Receiver<Infallible>,
}

/// What all threads of the pool share.
pub struct Shared {
    service: Service,
    listening: Listening,
    watch: Watch,
    tls: SslContextWrap,
    /// Whose descriptor is which. Held for moments, also while somebody accepts.
    descriptors: Mutex<Descriptors>,
    connections: Mutex<Connections>,
    most_open: usize,
    most_from_one_address: Option<usize>,
    /// Set while newcomers are not watched for, because there is no room; they are again when somebody leaves.
    full: AtomicBool,
    /// Threads that wait or answer.
    threads: AtomicUsize,
    /// Of those, the ones that wait.
    waiting: AtomicUsize,
    /// At least so many threads wait or answer: one per core.
    cores: usize,
    /// Conversations whose message is kept, to be answered. Held for moments; who puts in the first calls a thread.
    kept: Mutex<Vec<Kept>>,
    stopping: AtomicBool,
    /// Cloned into every thread; see [`Pool::ended`]. Taken away at the stop.
    alive: Mutex<Option<Sender<Infallible>>>,
}

/// An open connection, in the hands of the one who serves it. Fields are dropped in this order: first it is closed,
/// then its place and its numbers are given back.
pub struct Connection {
    gate: Gate,
    /// What holds it open.
    _ours: OwnedFd,
    place: Place,
}

/// What a thread of its own is for.
enum Task {
    /// To answer a request at length.
    Answer(Unanswered),
    /// To listen.
    Listen(Box<Listener>),
}

/// A conversation that was interrupted until a message was kept.
struct Kept {
    slot: Arc<Slot>,
    connection: Connection,
    unanswered: Unanswered,
    answering: Answering,
    said: Result<Receipt, Refused>,
}

/// One of the connections that may be open at once, and the numbers that go with it.
struct Place {
    shared: Arc<Shared>,
    found: Found,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let socket = &self.place.found.socket;
        socket.let_go();
        self.place.shared.connections().remove(socket.key());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.shared;
        shared.descriptors().give_back(&self.found);
        shared.counters().connections.one_less();
        shared.look_for_newcomers_again();
    }
}

impl Pool {
    /// Starts a server. When this returns, connections are accepted.
    ///
    /// # Errors
    /// One line: the store cannot be opened, the address cannot be listened at, or not one thread can be started.
    pub fn start(config: Config) -> Result<Pool, String> {
        let backing = Storage::open(&config)?;
        let listening = Listening::open(&config.bind, config.socket_mode)
            .map_err(|error| format!("cannot listen at {} ({error}); give another address with --bind", config.bind))?;
        Pool::start_at(listening, config, backing).map_err(|error| {
            format!("cannot start ({error}); allow more threads and open files (ulimit -u, ulimit -n)")
        })
    }

    fn start_at(listening: Listening, config: Config, backing: Option<Storage>) -> io::Result<Pool> {
        let watch = Watch::new(&listening)?;
        let descriptors = Descriptors::new(&listening)?;
        let free = raise_descriptor_limit().saturating_sub(descriptors.known() + DESCRIPTORS_SPARE);
        let most_open = free.max(2);
        let listeners =
            config.max_listeners.unwrap_or(MOST_LISTENERS).min(most_open - most_open.div_ceil(SPEAKERS_PART));
        let (alive, ended) = bounded(0);
        let (queue, history, history_bytes) = (config.queue, config.history, config.history_bytes);
        let limits = Limits { listeners, queue, history, history_bytes };
        let (hub, called, threads, before) = storage::open_hub(limits, backing);
        let shared = Arc::new(Shared {
            most_from_one_address: config.max_per_address,
            service: Service::new(config, hub),
            listening,
            watch,
            tls: SslContextWrap::build_ssl_capabilities(None).map_err(io::Error::other)?,
            descriptors: Mutex::new(descriptors),
            connections: Mutex::default(),
            most_open,
            full: AtomicBool::new(false),
            threads: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            cores: thread::available_parallelism().map_or(1, usize::from),
            kept: Mutex::default(),
            stopping: AtomicBool::new(false),
            alive: Mutex::new(Some(alive)),
        });
        let now = Instant::now();
        before.iter().for_each(|message| shared.service.hosts.follow(message, message.id, now));
        shared.start_keeper(called)?;
        for (name, life) in threads {
            let of_thread = shared.clone();
            shared.start_thread(name, STACK_BYTES, move || {
                let service = &of_thread.service;
                life(&service.hub, &|| service.hosts.listen_anew(Instant::now()));
            })?;
        }
        shared.start_waiting_thread()?;
        shared.replenish();
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
    /// their streams properly, and waits for every thread; all that for at most `limit`. True if everyone has ended by
    /// then.
    pub fn stop(self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let shared = &self.shared;
        shared.stopping.store(true, Ordering::SeqCst);
        shared.listening.shut();
        shared.service.hub.close();
        shared.watch.stop(); // not before: see `hand_in`
        // Who parks a connection looks afterwards whether the server stops; so it is found here or there.
        let all = shared.connections().all();
        all.iter().for_each(|slot| drop(slot.take()));
        drop(lock(&shared.alive).take());
        self.ended.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected)
    }
}

/// The threads.
impl Shared {
    fn start_thread(
        self: &Arc<Shared>,
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
    fn start_waiting_thread(self: &Arc<Shared>) -> io::Result<()> {
        let shared = self.clone();
        self.threads.fetch_add(1, Ordering::SeqCst);
        let started = self.start_thread("waiting", STACK_BYTES, move || shared.wait_and_serve());
        if started.is_err() {
            self.threads.fetch_sub(1, Ordering::SeqCst);
        }
        started
    }

    /// Makes up for threads that are missing.
    fn replenish(self: &Arc<Shared>) {
        while self.threads.load(Ordering::SeqCst) < self.cores && !self.stopping() {
            if let Err(error) = self.start_waiting_thread() {
                journal::ACCEPTING.warn(format_args!("cannot start a thread ({error}); the others do its work"));
                return;
            }
        }
    }

    /// Before a thread does something that takes a while: makes sure that another one waits, unless there are `enough`.
    fn leave_somebody_waiting(self: &Arc<Shared>, enough: usize) {
        if self.waiting.load(Ordering::SeqCst) == 0 && self.threads.load(Ordering::SeqCst) < enough {
            let _ = self.start_waiting_thread(); // or else those that are here do the work
        }
    }

    /// The life of a thread: wait for something to happen, see to it, wait again, until enough others wait.
    fn wait_and_serve(self: &Arc<Shared>) {
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

    /// The keeper lends speakers a second hand, carries what they have left to it, sees to connections whose time is
    /// over, says which hosts have fallen silent, gives memory back, and makes up for what could not be done before.
    fn start_keeper(self: &Arc<Shared>, called: Receiver<()>) -> io::Result<()> {
        let shared = self.clone();
        let mut next_tick = Instant::now() + KEEPER_TICK;
        let mut ticks = 0;
        self.start_thread("keeper", STACK_BYTES, move || {
            while !shared.stopping() {
                if sleep_until_rung(&called, next_tick.saturating_duration_since(Instant::now())) {
                    shared.service.hub.lend_a_second_hand();
                }
                if Instant::now() >= next_tick {
                    next_tick = Instant::now() + KEEPER_TICK;
                    shared.replenish();
                    shared.look_for_newcomers_again();
                    shared.end_overdue();
                    handlers::tick(&shared.service.hosts, &shared.service.hub);
                    journal::settle_all();
                    ticks += 1;
                    if ticks % TICKS_TO_GIVE_BACK == 0 {
                        give_memory_back();
                    }
                }
            }
        })
    }
}

/// Newcomers.
impl Shared {
    /// Accepts connections until nobody waits. One thread at a time: see `net/watch.rs`.
    fn accept_newcomers(self: &Arc<Shared>) {
        while !self.stopping() {
            if !self.make_room() {
                return self.wait_for_room(format_args!("{} connections are open, as many as may", self.most_open));
            }
            let guess = self.descriptors().guess();
            // tiny_http panics where it cannot make its second descriptor.
            let accepted =
                catch_unwind(AssertUnwindSafe(|| Server::accept_connection(&self.listening.listener, &self.tls)));
            match accepted {
                Ok(Ok(Some(connection))) => self.take_in(connection, guess),
                Ok(Ok(None)) => {}
                Ok(Err(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Ok(Err(error)) if is_passing(&error) => {}
                Ok(Err(error)) => return self.wait_for_room(format_args!("cannot accept a connection ({error})")),
                Err(_) => return self.wait_for_room(format_args!("no descriptor is left")),
            }
        }
        self.watch.await_newcomers(&self.listening);
    }

    /// Makes sure that one more connection may be open, at the cost of those that have been silent longest.
    fn make_room(&self) -> bool {
        let all = {
            let connections = self.connections();
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

    /// Watches for newcomers no more, until a connection is closed or the keeper looks around.
    fn wait_for_room(&self, why: std::fmt::Arguments<'_>) {
        journal::ACCEPTING.warn(format_args!("{why}; serving those that are connected"));
        self.full.store(true, Ordering::SeqCst);
    }

    fn look_for_newcomers_again(&self) {
        if self.full.swap(false, Ordering::SeqCst) && !self.stopping() {
            self.watch.await_newcomers(&self.listening);
        }
    }

    /// Finds the socket of a new connection, and lets tiny_http go of it.
    fn take_over(&self, guess: i32) -> Option<(Found, OwnedFd)> {
        let mut descriptors = self.descriptors();
        let mut found = descriptors.find(guess)?;
        let ours = descriptors.take_over(&mut found);
        if ours.is_none() {
            descriptors.give_back(&found);
        }
        Some((found, ours?))
    }

    /// Finds the socket of a new connection of tiny_http's and has it watched.
    fn take_in(self: &Arc<Shared>, of_tiny_http: impl Sized, guess: i32) {
        let taken_over = self.take_over(guess);
        drop(of_tiny_http);
        let Some((found, ours)) = taken_over else {
            return journal::ACCEPTING.warn("cannot tell a new connection's descriptor; closed it");
        };
        let socket = found.socket.clone();
        if self.service.config.trust_proxy.trust(socket.peer_address()) {
            socket.note_client(None); // its first request names it
        }
        let slot = Arc::new(Slot::new(socket.clone()));
        self.connections().insert(slot.clone());
        self.counters().connections.one_more();
        let place = Place { shared: self.clone(), found };
        let connection = Connection { gate: Gate::default(), _ours: ours, place };
        if let Err(refusal) = self.check_share(&slot) {
            let Some((connection, awaited)) = self.refuse(connection, &refusal, false) else { return };
            slot.park(connection, awaited, Instant::now());
        } else {
            slot.park(connection, Awaited::Request(Stage::Idle), Instant::now());
        }
        if self.watch.add(&socket).is_err() {
            drop(slot.take());
        }
    }

    /// Closes silent connections of the client of `slot` if it holds more than its share with this one.
    ///
    /// # Errors
    /// 503 if that is not enough.
    fn check_share(&self, slot: &Slot) -> Result<(), Refusal> {
        let Some(client) = slot.socket.client() else { return Ok(()) };
        let most = match self.most_from_one_address {
            Some(most) => most,
            None if client.is_loopback() => usize::MAX,
            None => MOST_FROM_ONE_ADDRESS,
        };
        let most = most.min(self.most_open / 2); // others get in too
        if self.connections().held_with(slot) > most {
            // A statement of its own: a connection that is closed takes the lock of the books.
            let all = self.connections().all();
            longest_silent(all, Some(slot)).iter().for_each(|slot| drop(slot.take()));
        }
        if self.connections().held_with(slot) <= most {
            return Ok(());
        }
        let is_peer = slot.socket.peer_address() == Some(client);
        let hint = if is_peer { "; if it is a proxy, name it with --trust-proxy" } else { "" };
        journal::FULL
            .warn(format_args!("turned {client} away: {most} connections come from there, as many as may{hint}"));
        let line = format!("{most} connections come from your address, as many as may; close some");
        Err(Refusal::new(503, line).with("Retry-After", RETRY_AFTER))
    }

    /// Notes the client that a trusted proxy's `request` names: the connection counts for it from now on. If it names
    /// none, the connection counts for the proxy.
    ///
    /// # Errors
    /// 503 if the client has as many connections as may be.
    fn note_client(&self, slot: &Slot, request: &Request) -> Result<(), Refusal> {
        let (proxies, peer) = (&self.service.config.trust_proxy, slot.socket.peer_address());
        if !proxies.trust(peer) {
            return Ok(());
        }
        let client = proxies.client(request.header("Forwarded"), request.header("X-Forwarded-For")).or(peer);
        if client == slot.socket.client() {
            return Ok(());
        }
        self.connections().note_client(slot, client);
        self.check_share(slot)
    }
}

/// Conversations.
impl Shared {
    /// Something has come on a connection, or its peer has `left`.
    #[inline(never)] // the pages of stack that it needs are not to be needed twice
    fn serve_arrival(self: &Arc<Shared>, key: u64, left: bool, hand: &mut Hand) {
        let Some(slot) = self.connections().get(key) else { return };
        if left {
            slot.socket.note_peer_left();
        }
        if let Some((connection, awaited, since)) = slot.take() {
            self.serve(&slot, connection, awaited, since, hand);
        }
    }

    /// Serves a connection until it has to wait, has ended, or has got a thread of its own.
    fn serve(
        self: &Arc<Shared>,
        slot: &Arc<Slot>,
        mut connection: Connection,
        mut awaited: Awaited,
        mut since: Instant,
        hand: &mut Hand,
    ) {
        loop {
            let (returned, awaits) = match awaited {
                Awaited::Request(_) => match self.look(slot, connection, hand) {
                    Some(result) => result,
                    None => return,
                },
                Awaited::Goodbye(bytes) => match throw_away(&connection, bytes) {
                    Some(bytes) => (connection, Awaited::Goodbye(bytes)),
                    None => return,
                },
            };
            connection = returned;
            // What is thrown away buys no time.
            let same = awaits == awaited || matches!((awaited, awaits), (Awaited::Goodbye(_), Awaited::Goodbye(_)));
            if !same || awaits == Awaited::Request(Stage::Idle) {
                since = Instant::now();
            }
            awaited = awaits;
            match self.park(slot, connection, awaited, since) {
                Some(again) => connection = again,
                None => return,
            }
        }
    }

    /// Looks through the gate and answers what is there; returns the connection with what it waits for then.
    fn look(
        self: &Arc<Shared>,
        slot: &Arc<Slot>,
        mut connection: Connection,
        hand: &mut Hand,
    ) -> Option<(Connection, Awaited)> {
        let most_body = |path: &str| route::most_body(path, &self.service.config);
        let mut begun = connection.gate.holds_more(); // behind one that was answered elsewhere, most likely
        loop {
            let unanswered = match connection.gate.look(&slot.socket, hand, &most_body) {
                Look::NotYet(stage) => return Some((connection, Awaited::Request(stage))),
                Look::Ended => return None,
                Look::Refused(refusal, head_only) => return self.refuse(connection, &refusal, head_only),
                Look::Whole(arrived) => match self.note_client(slot, &arrived.request) {
                    Ok(()) => Unanswered::new(arrived, connection.gate.holds_more()),
                    Err(refusal) => return self.refuse(connection, &refusal, arrived.request.method() == "HEAD"),
                },
            };
            // A client that sends ahead and has not taken its answers yet is waited for, but not here.
            let behind = begun && !slot.socket.takes_more();
            if behind || route::answers_at_length(unanswered.url()) {
                return self.on_its_own_thread(slot, connection, Task::Answer(unanswered));
            }
            begun = true;
            match self.answer(self.service.exchange(unanswered, &slot.socket)) {
                After::KeepAlive => {}
                After::Close => return self.say_goodbye(connection),
                After::Listen(listener) => return self.on_its_own_thread(slot, connection, Task::Listen(listener)),
                After::HandIn(hand_in) => {
                    self.hand_in(slot, connection, *hand_in);
                    return None;
                }
            }
            // The end of a connection is told once; the thread that has just heard of it has to see to it.
            if !connection.gate.may_hold_more() && !slot.socket.has_peer_left() {
                return Some((connection, Awaited::Request(Stage::Idle)));
            }
        }
    }

    /// Hands a message in at the commit queue. Its connection waits there without a thread, and is answered by one that
    /// is called when the message is kept. The committer does not answer itself: it has the next messages to keep. Once
    /// the hub is closed it does: nobody waits for it any more then, and those that could be called may have ended, as
    /// they are told to stop after that.
    fn hand_in(self: &Arc<Shared>, slot: &Arc<Slot>, connection: Connection, hand_in: HandIn) {
        let (shared, slot) = (self.clone(), slot.clone());
        let HandIn { message, once, unanswered, answering } = hand_in;
        let then = move |said| {
            let of_thread = shared.clone();
            let mut kept = lock(&shared.kept);
            kept.push(Kept { slot, connection, unanswered, answering, said });
            let is_first = kept.len() == 1;
            drop(kept);
            if of_thread.service.hub.is_closed() {
                of_thread.answer_kept(&mut Hand::default());
            } else if is_first {
                of_thread.watch.call();
            }
        };
        self.service.hub.publish_then(message, once, Box::new(then));
    }

    /// Answers all whose message is kept, then lends one hand for all of them.
    fn answer_kept(self: &Arc<Shared>, hand: &mut Hand) {
        let kept = std::mem::take(&mut *lock(&self.kept));
        let mut most_reached = 0;
        for one in kept {
            most_reached = one.said.map_or(0, |receipt| receipt.listeners).max(most_reached);
            survives(|| self.answer_one_kept(one, hand));
        }
        survives(|| self.lend_a_hand(most_reached));
    }

    fn answer_one_kept(self: &Arc<Shared>, kept: Kept, hand: &mut Hand) {
        let Kept { slot, connection, unanswered, answering, said } = kept;
        let Outcome { after, .. } = answering(self.service.exchange(unanswered, &slot.socket), said);
        let (returned, since) = match after {
            After::KeepAlive => (Some((connection, Awaited::Request(Stage::Idle))), Instant::now()),
            _ => (self.say_goodbye(connection), Instant::now()),
        };
        let Some((connection, awaited)) = returned else { return };
        let connection = if connection.gate.may_hold_more() || slot.socket.has_peer_left() {
            connection
        } else {
            let Some(again) = self.park(&slot, connection, awaited, since) else { return };
            again
        };
        self.serve(&slot, connection, awaited, since, hand);
    }

    /// Answers a request; after that, where it said something, lends a hand in carrying it.
    #[inline(never)] // as with `go_on`
    fn answer(self: &Arc<Shared>, exchange: Exchange<'_>) -> After {
        let Outcome { after, reached } = self.service.answer(exchange);
        self.lend_a_hand(reached);
        after
    }

    fn lend_a_hand(self: &Arc<Shared>, reached: usize) {
        if reached >= BIG_ROOM {
            self.leave_somebody_waiting(self.cores * MOST_WAITING_PART);
        }
        self.service.hub.lend_a_hand(reached);
    }

    /// Gives a conversation that lasts a thread of its own. Where there is none, the client is told so.
    fn on_its_own_thread(
        self: &Arc<Shared>,
        slot: &Arc<Slot>,
        connection: Connection,
        task: Task,
    ) -> Option<(Connection, Awaited)> {
        let (shared, of_thread) = (self.clone(), slot.clone());
        let stack = if matches!(task, Task::Listen(_)) { LISTENER_STACK_BYTES } else { STACK_BYTES };
        // Left where either thread can take it: what a thread that cannot be started was given is lost.
        let given = Arc::new(Mutex::new(Some((connection, task))));
        let taken = given.clone();
        let started = self.start_thread("conversation", stack, move || {
            let given = lock(&taken).take();
            drop(taken);
            if let Some((connection, task)) = given {
                shared.converse(&of_thread, connection, task);
            }
        });
        let error = started.err()?;
        let (connection, task) = lock(&given).take()?;
        journal::ACCEPTING.warn(format_args!("cannot start a thread ({error}); turned a client away"));
        let refusal = Refusal::new(503, "no thread is left; try again in a moment");
        let refusal = refusal.with("Retry-After", RETRY_AFTER);
        match task {
            Task::Answer(unanswered) => {
                drop(unanswered);
                self.refuse(connection, &refusal, false)
            }
            // A speaker may have begun its stream already.
            Task::Listen(listener) if listener.give_up(&self.service.hub) => self.refuse(connection, &refusal, false),
            Task::Listen(_) => self.close_in_stages(connection),
        }
    }

    /// The life of a thread that has one conversation.
    fn converse(self: &Arc<Shared>, slot: &Arc<Slot>, connection: Connection, task: Task) {
        let mut after = match task {
            Task::Listen(listener) => After::Listen(listener),
            Task::Answer(unanswered) => self.answer(self.service.exchange(unanswered, &slot.socket).patient()),
        };
        if let After::Listen(listener) = &mut after {
            listener.listen(&self.service.hub, self.service.config.heartbeat);
        }
        self.go_on(slot, connection, after);
    }

    /// After a conversation that lasted: waits for the next request, or ends.
    #[inline(never)] // what it needs of the stack would lie under a listener for as long as it listens
    fn go_on(self: &Arc<Shared>, slot: &Arc<Slot>, connection: Connection, after: After) {
        let awaits = match after {
            After::KeepAlive => Some((connection, Awaited::Request(Stage::Idle))),
            After::Close => self.say_goodbye(connection),
            After::Listen(listener) => {
                drop(listener); // nobody writes any more
                self.say_goodbye(connection)
            }
            After::HandIn(_) => None, // never: who has a thread of its own waits for its receipt there
        };
        if let Some((connection, awaited)) = awaits {
            self.serve(slot, connection, awaited, Instant::now(), &mut Hand::default());
        }
    }

    /// Parks a connection, unless something came meanwhile: then it comes back.
    fn park(&self, slot: &Slot, connection: Connection, awaited: Awaited, since: Instant) -> Option<Connection> {
        let back = slot.park(connection, awaited, since);
        if back.is_none() && self.stopping() {
            drop(slot.take());
        }
        back
    }

    /// Answers what is no request, or came too late, and closes; without a body where HEAD is refused.
    fn refuse(&self, connection: Connection, refusal: &Refusal, head_only: bool) -> Option<(Connection, Awaited)> {
        self.counters().refused(refusal.status);
        log::debug!("{} is refused: {}", connection.socket().peer(), refusal.line);
        let answer = refusal_alone(&self.service.config, refusal, head_only);
        let _ = connection.socket().send_now(&answer); // a client that takes nothing, not even this, does without
        self.close_in_stages(connection)
    }

    /// Closes our side after the last answer. Where the client may still be sending, in stages.
    fn say_goodbye(&self, connection: Connection) -> Option<(Connection, Awaited)> {
        if connection.socket().unread().ok()? == 0 && !connection.gate.holds_more() {
            return None;
        }
        self.close_in_stages(connection)
    }

    /// Closes our side first; what still comes is thrown away for a moment (RFC 9112 section 9.6). Bytes that come to a
    /// closed socket would make the kernel reset it, and the client lose answers that it has not read.
    fn close_in_stages(&self, connection: Connection) -> Option<(Connection, Awaited)> {
        connection.socket().finish_sending();
        let left = throw_away(&connection, Awaited::GOODBYE_BYTES)?;
        Some((connection, Awaited::Goodbye(left)))
    }

    /// Closes connections whose time is over.
    fn end_overdue(self: &Arc<Shared>) {
        let (now, all) = (Instant::now(), self.connections().all());
        for slot in all {
            let Some((connection, awaited)) = slot.take_overdue(now, self.service.config.idle) else { continue };
            let ended = match awaited {
                Awaited::Request(Stage::Head | Stage::Body) => self.refuse(connection, &too_slow(), false),
                Awaited::Request(Stage::Idle) | Awaited::Goodbye(_) => None,
            };
            if let Some((connection, awaited)) = ended {
                self.serve(&slot, connection, awaited, now, &mut Hand::default());
            }
        }
    }

    fn counters(&self) -> &Counters {
        self.service.hub.counters()
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn descriptors(&self) -> MutexGuard<'_, Descriptors> {
        lock(&self.descriptors)
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }
}

impl Connection {
    fn socket(&self) -> &Socket {
        &self.place.found.socket
    }
}

/// Does some work; false where it panics, which ends it and what it holds, a connection for instance, and nothing else.
fn survives(work: impl FnOnce()) -> bool {
    let survived = catch_unwind(AssertUnwindSafe(work)).is_ok();
    if !survived {
        log::error!("a conversation ended early; all others go on");
    }
    survived
}

/// Throws away what has come, at most `bytes`; returns how many more may come, or `None` where that is over.
fn throw_away(connection: &Connection, mut bytes: usize) -> Option<usize> {
    loop {
        match connection.socket().throw_away() {
            Ok(0) => return None,
            Ok(length) => bytes = bytes.checked_sub(length)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(bytes),
            Err(_) => return None,
        }
    }
}

fn too_slow() -> Refusal {
    let seconds = REQUEST_LIMIT.as_secs();
    Refusal::new(408, format!("the request took more than {seconds} s; send its head, then its body, at once"))
}

/// Errors of one connection, or of none: accept again at once.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use super::*;
    use crate::config::Bind;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// Long enough for the slowest machine: only what never comes is missed.
    const PATIENCE: Duration = Duration::from_secs(60);

    const SAY: &str = "GET /say?message=x HTTP/1.1\r\nHost: x\r\n\r\n";

    /// Reads until what has come ends with `end`.
    fn hear(client: &mut TcpStream, end: &str) {
        let (mut heard, mut byte) = (vec![], [0]);
        while !heard.ends_with(end.as_bytes()) {
            assert_eq!(client.read(&mut byte).unwrap(), 1, "the end, after {:?}", String::from_utf8_lossy(&heard));
            heard.extend(byte);
        }
    }

    /// Waits until the one connection is parked, and all threads wait.
    fn wait_until_idle(shared: &Shared) {
        while longest_silent(shared.connections().all(), None).is_empty()
            || shared.waiting.load(Ordering::SeqCst) < shared.threads.load(Ordering::SeqCst)
        {
            thread::yield_now();
        }
    }

    /// A pool with one client, who has said something and may say more.
    fn with_one_client(config: Config) -> (Pool, TcpStream) {
        let bind = Bind::Address("127.0.0.1:0".to_owned());
        let pool = Pool::start(Config { bind, ..config }).unwrap();
        let mut client = TcpStream::connect(pool.address().unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(SAY.as_bytes()).unwrap();
        hear(&mut client, "ok.");
        wait_until_idle(&pool.shared);
        (pool, client)
    }

    /// The client's connection, as if a thread served it.
    fn take_connection(pool: &Pool) -> (Arc<Slot>, Connection) {
        let slot = pool.shared.connections().all().pop().unwrap();
        let (connection, ..) = slot.take().unwrap();
        (slot, connection)
    }

    fn with_store(name: &str) -> (Pool, TcpStream, std::path::PathBuf) {
        let file = std::env::temp_dir().join(format!("aloud-pool-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let (pool, client) = with_one_client(Config { store: Some(file.clone()), ..Config::default() });
        (pool, client, file)
    }

    #[test]
    fn the_clerk_does_not_wait_for_itself_while_the_server_stops() {
        let (pool, mut client, file) = with_store("committer");
        pool.shared.stopping.store(true, Ordering::SeqCst); // and the hub is closed a moment later
        // What is sent ahead waits for the committer, and is answered by whoever answers what stands before it.
        let beat = "GET /beat/web1 HTTP/1.1\r\nHost: x\r\n\r\n";
        client.write_all([SAY, beat].concat().as_bytes()).unwrap();
        hear(&mut client, "ok.");
        hear(&mut client, "ok.");
        assert!(pool.stop(PATIENCE));
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn what_is_sent_ahead_into_the_stop_takes_no_more_stack_the_more_it_is() {
        const MANY: usize = 300;
        let (pool, mut client, file) = with_store("stack");
        let (slot, connection) = take_connection(&pool);
        client.write_all(SAY.repeat(MANY).as_bytes()).unwrap();
        while slot.socket.unread().unwrap() < SAY.len() * MANY {
            thread::yield_now();
        }
        pool.shared.service.hub.close();
        let shared = pool.shared.clone();
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn(move || shared.go_on(&slot, connection, After::KeepAlive)).unwrap();
        hear(&mut client, "the server stops; try again in a moment\n");
        thread.join().unwrap();
        assert!(pool.stop(PATIENCE));
        std::fs::remove_file(file).unwrap();
    }
}
