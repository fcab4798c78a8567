//! Conversations: from the bytes that have come to the answer, and on to the next wait or the end of the connection.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::api::route;
use crate::http::exchange::HandIn;
use crate::http::{After, Refusal, Request, framing::Stage, gate::Polled};
use crate::journal;
use crate::serve::connections::{Awaited, Parked, REQUEST_LIMIT};
use crate::serve::server::{Connection, Kept, Server, Slot};
use crate::serve::threads::{STACK_BYTES, survives};
use crate::sync::lock;

/// A connection, and the event that it waits for; `None` if it has ended or has gone elsewhere.
type Waiting = Option<(Connection, Awaited)>;

impl Server {
    /// Serves the connection of this `key`: something has come, or its peer has `left`.
    #[inline(never)] // inlined, its stack would lie under all that its caller calls
    pub(super) fn serve_arrival(self: &Arc<Server>, key: u64, left: bool) {
        let Some(slot) = lock(&self.connections).get(key) else { return };
        if left {
            slot.socket.note_peer_left();
        }
        if let Some(parked) = slot.take() {
            self.serve(&slot, parked);
        }
    }

    /// Serves a connection until it is parked, has ended, has handed in a message, or has a thread of its own.
    fn serve(self: &Arc<Server>, slot: &Arc<Slot>, mut parked: Parked<Connection>) {
        loop {
            let (connection, awaited, since) = parked;
            let served = match awaited {
                Awaited::Request(_) => self.serve_requests(connection),
                Awaited::Goodbye(bytes) => throw_away(connection, bytes),
            };
            let Some((connection, awaits)) = served else { return };
            // Bytes that are thrown away give the client no more time.
            let same = awaits == awaited || matches!((awaited, awaits), (Awaited::Goodbye(_), Awaited::Goodbye(_)));
            let since = if same && awaits != Awaited::Request(Stage::Idle) { since } else { Instant::now() };
            let Some(again) = slot.park((connection, awaits, since)) else {
                if self.stopping() {
                    drop(slot.take()); // `Pool::stop` may have looked before it was parked
                }
                return;
            };
            parked = again;
        }
    }

    /// Answers the requests that the gate lets through.
    fn serve_requests(self: &Arc<Server>, mut connection: Connection) -> Waiting {
        let most_body = |path: &str| route::most_body(path, &self.service.config);
        let mut begun = connection.gate.holds_more(); // most likely behind a request that was answered elsewhere
        loop {
            let request = match connection.gate.poll(&connection.slot.socket, &most_body) {
                Polled::NotYet(stage) => return Some((connection, Awaited::Request(stage))),
                Polled::Ended => return None,
                Polled::Refused(refusal) => return self.refuse(connection, &refusal, None),
                Polled::Whole(request) => request,
            };
            if let Err(refusal) = self.note_client(&mut connection, &request) {
                return self.refuse(connection, &refusal, Some(request));
            }
            // If a client sends ahead and does not take its answers, another thread waits for it.
            let after = if begun && !connection.slot.socket.takes_more() {
                After::AnswerAtLength(Box::new(request))
            } else {
                self.answer(&connection.slot, request, false)
            };
            begun = true;
            // The end of a connection is told once. The thread that has heard of it has to look again.
            let may_have_come = connection.gate.may_hold_more() || connection.slot.socket.has_peer_left();
            if !may_have_come || !matches!(after, After::KeepAlive) {
                return self.settle(connection, after);
            }
        }
    }

    /// Does what comes after an answer.
    fn settle(self: &Arc<Server>, connection: Connection, after: After) -> Waiting {
        match after {
            After::KeepAlive => Some((connection, Awaited::Request(Stage::Idle))),
            After::Close => self.say_goodbye(connection),
            After::Listen(..) | After::AnswerAtLength(_) => self.on_its_own_thread(connection, after),
            After::HandIn(hand_in) => {
                self.hand_in(connection, *hand_in);
                None
            }
        }
    }

    /// Hands a message in at the commit queue. Its connection waits there without a thread. When the message is kept, a
    /// waiting thread is called to answer. The committer does not answer itself, because it has the next messages to
    /// keep. When the hub is closed, it does: no new messages come then, and the waiting threads may have ended.
    fn hand_in(self: &Arc<Server>, connection: Connection, hand_in: HandIn) {
        let server = self.clone();
        let HandIn { message, once, request, answering } = hand_in;
        let then = move |said| {
            let mut kept = lock(&server.kept);
            kept.push(Kept { connection, request, answering, said });
            let is_first = kept.len() == 1;
            drop(kept);
            if server.service.hub.is_closed() {
                server.answer_kept();
            } else if is_first {
                server.watch.call();
            }
        };
        self.service.hub.publish_then(message, once, Box::new(then));
    }

    /// Answers all connections whose message is kept, then lends a hand once for all of them.
    pub(super) fn answer_kept(self: &Arc<Server>) {
        let kept = std::mem::take(&mut *lock(&self.kept));
        let mut most_reached = 0;
        for Kept { connection, request, answering, said } in kept {
            most_reached = said.map_or(0, |receipt| receipt.listeners).max(most_reached);
            survives(|| {
                let after = self.service.exchange(request, &connection.slot.socket).tell(said, answering);
                self.go_on(connection, after);
            });
        }
        survives(|| self.service.hub.lend_a_hand(most_reached));
    }

    /// Answers a request. A `patient` thread serves this client alone, and may wait for it.
    #[inline(never)] // for the reason given at `go_on`
    fn answer(&self, slot: &Slot, request: Request, patient: bool) -> After {
        let mut exchange = self.service.exchange(request, &slot.socket);
        exchange.patient = patient;
        self.service.answer(&mut exchange)
    }

    /// Gives a listener or a long answer a thread of its own. If no thread can be started, the client is refused.
    /// Returns the connection if it has to wait for something then.
    fn on_its_own_thread(self: &Arc<Server>, connection: Connection, mut after: After) -> Waiting {
        let server = self.clone();
        // It is freed here. If the listener's thread freed it, its memory would stay that thread's.
        let request_of_listener = if let After::Listen(_, request) = &mut after { request.take() } else { None };
        // Either thread can take it from here. If it were moved into a thread that cannot be started, it would be lost.
        let given = Arc::new(Mutex::new(Some((connection, after))));
        let taken = given.clone();
        let life = Box::new(move || {
            let given = lock(&taken).take();
            drop(taken);
            if let Some((connection, after)) = given {
                server.converse(connection, after);
            }
        });
        let started = if request_of_listener.is_some() {
            self.start_listening(life)
        } else {
            self.start_thread("conversation", STACK_BYTES, life)
        };
        let error = started.err()?;
        let (connection, after) = lock(&given).take()?;
        journal::ACCEPTING.warn(format_args!("cannot start a thread ({error}); turned a client away"));
        let request = match after {
            // If a speaker has begun the stream already, no refusal can be sent.
            After::Listen(listener, _) if !listener.give_up(&self.service.hub) => {
                return self.close_in_stages(connection);
            }
            After::AnswerAtLength(request) => *request,
            _ => request_of_listener.map_or_else(Request::default, |request| *request),
        };
        self.refuse(connection, &Refusal::busy("no thread is left"), Some(request))
    }

    /// The life of a thread that serves one conversation.
    fn converse(self: &Arc<Server>, connection: Connection, mut after: After) {
        if let After::AnswerAtLength(request) = after {
            after = self.answer(&connection.slot, *request, true);
        }
        if let After::Listen(mut listener, _) = after {
            listener.listen(&self.service.hub, self.service.config.heartbeat);
            after = After::Close; // and no listener's pen writes any more
        }
        self.go_on(connection, after);
    }

    /// Goes on after a conversation that lasted: serves the next request, or ends.
    #[inline(never)] // its stack must not lie under a listener while that listens
    fn go_on(self: &Arc<Server>, connection: Connection, after: After) {
        if let Some((connection, awaited)) = self.settle(connection, after) {
            self.serve(&connection.slot.clone(), (connection, awaited, Instant::now()));
        }
    }

    /// Refuses a `request`, or the one at the gate as far as that could be read, and closes the connection in stages. A
    /// client that takes no bytes is not told. The log shows nothing that a client sent: there may be a token in it.
    fn refuse(&self, mut connection: Connection, refusal: &Refusal, request: Option<Request>) -> Waiting {
        let request = request.unwrap_or_else(|| connection.gate.intake.take_refused());
        let (_, send) = refusal.line.rsplit_once("; ").unwrap_or_default();
        log::debug!("{} is refused with {}: {send}", connection.slot.socket.peer(), refusal.status);
        let mut exchange = self.service.exchange(Request { closes: true, ..request }, &connection.slot.socket);
        self.service.refuse(&mut exchange, refusal);
        self.close_in_stages(connection)
    }

    /// Closes the connection after the last answer; in stages if the client may still be sending.
    fn say_goodbye(&self, connection: Connection) -> Waiting {
        if connection.slot.socket.unread().ok()? == 0 && !connection.gate.holds_more() {
            return None;
        }
        self.close_in_stages(connection)
    }

    /// Closes our side first, and throws away for a moment what still comes (RFC 9112 section 9.6). If bytes come to a
    /// closed socket, the kernel resets the connection, and the client loses answers that it has not read.
    fn close_in_stages(&self, connection: Connection) -> Waiting {
        connection.slot.socket.finish_sending();
        throw_away(connection, Awaited::GOODBYE_BYTES)
    }

    /// Closes the connections that have waited too long.
    pub(super) fn end_overdue(self: &Arc<Server>) {
        let (now, all) = (Instant::now(), lock(&self.connections).all());
        for slot in all {
            let Some((connection, awaited, _)) = slot.take_overdue(now, self.service.config.idle) else { continue };
            if let Awaited::Request(Stage::Head | Stage::Body) = awaited
                && let Some((connection, awaited)) = self.refuse(connection, &too_slow(), None)
            {
                self.serve(&slot, (connection, awaited, now));
            }
        }
    }
}

/// Throws away all that has come, at most `bytes`. Returns the connection and how many more bytes may come; `None` if
/// no more may come, so it has ended.
fn throw_away(connection: Connection, mut bytes: usize) -> Waiting {
    let mut scrap = vec![];
    loop {
        match connection.slot.socket.receive(&mut scrap) {
            Ok(0) => return None,
            Ok(length) => bytes = bytes.checked_sub(length)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                return Some((connection, Awaited::Goodbye(bytes)));
            }
            Err(_) => return None,
        }
        scrap.clear();
    }
}

fn too_slow() -> Refusal {
    let seconds = REQUEST_LIMIT.as_secs();
    Refusal::new(408, format!("the request took more than {seconds} s; send its head, then its body, at once"))
}

#[cfg(all(test, feature = "store"))]
mod tests {
    use std::sync::atomic::Ordering;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::config::{Bind, Config};
    use crate::serve::connections::longest_silent;
    use crate::serve::pool::Pool;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// How long a test waits for what has to come: long enough for the slowest machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    const SAY: &str = "GET /say?message=x HTTP/1.1\r\nHost: x\r\n\r\n";

    /// Reads until the bytes that have come end with `end`.
    fn hear(client: &mut TcpStream, end: &str) {
        let (mut heard, mut byte) = (vec![], [0]);
        while !heard.ends_with(end.as_bytes()) {
            assert_eq!(client.read(&mut byte).unwrap(), 1, "the end, after {:?}", String::from_utf8_lossy(&heard));
            heard.extend(byte);
        }
    }

    /// Waits until the only connection is parked.
    fn wait_until_idle(server: &Server) {
        while longest_silent(lock(&server.connections).all(), None).is_empty() {
            thread::yield_now();
        }
    }

    /// Starts a pool with one client that has said something and may say more.
    fn with_one_client(config: Config) -> (Pool, TcpStream) {
        let bind = Bind::Address("127.0.0.1:0".to_owned());
        let pool = Pool::start(Config { bind, ..config }).unwrap();
        let mut client = TcpStream::connect(pool.listening().address.unwrap()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(SAY.as_bytes()).unwrap();
        hear(&mut client, "ok.");
        wait_until_idle(&pool.server);
        (pool, client)
    }

    /// Takes the client's connection, as a thread that serves it does.
    fn take_connection(pool: &Pool) -> Connection {
        let slot = lock(&pool.server.connections).all().pop().unwrap();
        slot.take().unwrap().0
    }

    fn with_store(name: &str) -> (Pool, TcpStream, std::path::PathBuf) {
        let file = std::env::temp_dir().join(format!("aloud-pool-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let (pool, client) = with_one_client(Config { store: Some(file.clone()), ..Config::default() });
        (pool, client, file)
    }

    #[test]
    fn the_committer_does_not_wait_for_itself_while_the_server_stops() {
        let (pool, mut client, file) = with_store("committer");
        pool.server.stopping.store(true, Ordering::SeqCst); // and the hub is closed a moment later
        // The second request waits for the committer too. The thread that answers the first one answers it.
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
        let connection = take_connection(&pool);
        client.write_all(SAY.repeat(MANY).as_bytes()).unwrap();
        while connection.slot.socket.unread().unwrap() < SAY.len() * MANY {
            thread::yield_now();
        }
        pool.server.service.hub.close();
        let server = pool.server.clone();
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        let thread = thread.spawn(move || server.go_on(connection, After::KeepAlive)).unwrap();
        hear(&mut client, "the server stops; try again in a moment\n");
        thread.join().unwrap();
        assert!(pool.stop(PATIENCE));
        std::fs::remove_file(file).unwrap();
    }
}
