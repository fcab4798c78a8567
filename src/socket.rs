//! The listening socket, what accepted ones inherit from it, and finding, using and cutting an accepted one.
//! Knows no HTTP. The only file with `unsafe`: one line, which borrows a descriptor by its number.
//!
//! **Finding.** tiny_http accepts a connection and hides its socket. But only one thread at a time accepts, and the
//! kernel hands out the lowest free number (accept(2), dup(2)), so the number can be guessed beforehand. The guess is
//! confirmed before it is used: the number is a socket, bound to the address we listen at, with a cookie (`SO_COOKIE`,
//! unique for each socket) that no open connection has. A wrong guess costs a scan, a socket that cannot be found costs
//! the listener the helping hand: then the bell alone does the work ([`Writer`]).
//!
//! **Safety of the number.** A descriptor's number is reused as soon as it is closed. [`Socket`] therefore makes its
//! system calls under a lock of its own and refuses them once [`Socket::let_go`] was called, which the pool does before
//! it drops the connection.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_cookie};
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketAddrAny, getsockname, recv, send, shutdown};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockAddr, TcpKeepalive, Type};
use tiny_http::Listener;

use crate::config::Bind;
use crate::letterbox::{STALL_LIMIT, Wire};
use crate::sync::lock;

/// Connections that may wait in the kernel to be accepted. std asks for 128, which a thousand listeners that come back
/// at once overrun; the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Bytes the kernel holds for a socket before they are sent. A listener that stalls costs this much, not the megabytes
/// to which Linux lets a send buffer grow.
const UNSENT_BYTES: u32 = 128 * 1024;

/// Keepalive probes find out that the peer of a silent connection has vanished: the first after a minute of silence,
/// then five, ten seconds apart.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)).with_retries(5);

/// How long a connection that is closed after a refusal may go on sending what nobody will read, so that the client
/// gets to see the answer and not a reset (RFC 9112 section 9.6), and how much.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1024 * 1024;

/// Numbers looked at beyond the highest known one when a guess fails.
const SCAN_MARGIN: usize = 64;

/// A socket that listens, and how to name it to people.
pub struct Listening {
    /// As tiny_http wants it.
    pub listener: Listener,
    /// `:4000`, `127.0.0.1:4000` or `unix:PATH`; with the real port where port 0 was asked for.
    pub name: String,
    /// Where it listens; `None` for a socket file.
    pub address: Option<SocketAddr>,
}

impl Listening {
    /// Listens at `bind`. Accepted sockets inherit the options: no delay, a limit on how long data may stay
    /// unacknowledged, keepalive, a small unsent buffer, and `idle` as the longest silence.
    ///
    /// # Errors
    /// What the system says: the address is in use, is not this machine's, or may not be bound.
    pub fn open(bind: &Bind, idle: Duration) -> io::Result<Listening> {
        match bind {
            Bind::EveryInterface(port) => {
                // [::] with V6ONLY off hears IPv4 too; a kernel without IPv6 gets the IPv4 address.
                let socket = listen_tcp((Ipv6Addr::UNSPECIFIED, *port).into(), idle)
                    .or_else(|_| listen_tcp((Ipv4Addr::UNSPECIFIED, *port).into(), idle))?;
                let address = socket.local_addr()?;
                Ok(Listening { name: format!(":{}", address.port()), address: Some(address), listener: socket.into() })
            }
            Bind::Address(text) => {
                let mut failure = io::Error::new(ErrorKind::NotFound, "the name stands for no address");
                for address in text.to_socket_addrs()? {
                    match listen_tcp(address, idle) {
                        Ok(socket) => {
                            let address = socket.local_addr()?;
                            return Ok(Listening {
                                name: address.to_string(),
                                address: Some(address),
                                listener: socket.into(),
                            });
                        }
                        Err(error) => failure = error,
                    }
                }
                Err(failure)
            }
            Bind::Unix(path) => {
                let listener = listen_unix(path, idle)?;
                Ok(Listening { name: format!("unix:{}", path.display()), address: None, listener: listener.into() })
            }
        }
    }

    /// Wakes whoever accepts, with an error, and refuses newcomers: the way to stop the pool.
    pub fn shut(&self) {
        let _ = shutdown(&self.listener, Shutdown::Both);
    }
}

fn listen_tcp(address: SocketAddr, idle: Duration) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?; // a restart need not wait for old connections to fade
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)?;
    socket.set_tcp_user_timeout(Some(STALL_LIMIT))?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    socket.set_read_timeout(Some(idle))?;
    socket.set_write_timeout(Some(STALL_LIMIT))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn listen_unix(path: &Path, idle: Duration) -> io::Result<UnixListener> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        // A socket file that nobody listens at was left behind by a server that was killed.
        if error.kind() != ErrorKind::AddrInUse || UnixStream::connect(path).is_ok() {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.set_read_timeout(Some(idle))?; // accept wakes now and then, as with TCP
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Raises the limit on open descriptors as far as the system allows, and returns it.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |current| current as usize)
}

/// An accepted connection's socket, borrowed from tiny_http.
pub struct Socket {
    number: RawFd,
    /// False once the connection is about to be dropped. Held during each system call but the wait.
    open: Mutex<bool>,
    /// True while a request is being answered; what is idle is cut when the server stops.
    busy: AtomicBool,
}

impl Socket {
    /// Ends the connection from whichever thread: whoever reads from it, writes to it or waits for it is woken.
    pub fn cut(&self) {
        let _ = self.call(|socket| shutdown(socket, Shutdown::Both));
    }

    /// Nothing touches the socket from now on. The pool calls it before it drops the connection.
    pub fn let_go(&self) {
        *self.guard() = false;
    }

    /// Marks whether a request is being answered.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }

    /// Cuts the connection unless a request is being answered.
    pub fn cut_if_idle(&self) {
        if !self.busy.load(Ordering::SeqCst) {
            self.cut();
        }
    }

    /// Whether the peer has closed its sending side and everything it sent has been read.
    pub fn peer_has_finished(&self) -> bool {
        let mut byte = [0; 1];
        self.call(|socket| recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT))
            .is_ok_and(|(_, length)| length == 0)
    }

    /// Sends `answer` as the last thing on this connection although the peer may still be sending: closes our side,
    /// throws away what comes for a moment, then cuts.
    #[inline(never)] // its buffer would stand on every listener's stack
    pub fn answer_and_close(&self, answer: &[u8]) {
        let mut rest = answer;
        while !rest.is_empty() {
            match self.send_now(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.wait_until_writable(LINGER).is_err() {
                        return self.cut();
                    }
                }
                Err(_) => return self.cut(),
            }
        }
        let _ = self.call(|socket| shutdown(socket, Shutdown::Write));
        let (deadline, mut scrap, mut thrown_away) = (Instant::now() + LINGER, [0; 4096], 0);
        while thrown_away < LINGER_BYTES && self.wait(PollFlags::IN, deadline).is_ok() {
            match self.call(|socket| recv(socket, &mut scrap, RecvFlags::DONTWAIT)) {
                Ok((_, length)) if length > 0 => thrown_away += length,
                _ => break,
            }
        }
        self.cut();
    }

    fn wait(&self, what: PollFlags, deadline: Instant) -> io::Result<()> {
        // Not under the lock, or cutting would have to wait. Sound all the same: who waits is the thread that owns
        // the connection, and it lets go afterwards.
        if !*self.guard() {
            return Err(ErrorKind::NotConnected.into());
        }
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::from_borrowed_fd(borrow(self.number), what)], Some(&limit)) {
                Ok(0) => return Err(ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn call<T>(&self, system_call: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>) -> io::Result<T> {
        let open = self.guard();
        if !*open {
            return Err(ErrorKind::NotConnected.into());
        }
        Ok(system_call(borrow(self.number))?)
    }

    fn guard(&self) -> MutexGuard<'_, bool> {
        lock(&self.open)
    }
}

/// The descriptor of that number, if it is open; else every call on it says `EBADF`.
fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the number is not -1 (it comes from a guess or scan, which start at 0). What is asked of it before it is
    // known to be ours changes nothing (getsockname, SO_COOKIE, fcntl F_GETFD); what is done to it afterwards is done
    // while its connection is open (see `Socket::call`), and the borrow ends with the call.
    #[allow(unsafe_code)]
    unsafe {
        BorrowedFd::borrow_raw(number)
    }
}

impl Wire for Socket {
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.call(|socket| send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL))
    }

    fn wait_until_writable(&self, limit: Duration) -> io::Result<()> {
        self.wait(PollFlags::OUT, Instant::now() + limit)
    }

    fn cut(&self) {
        Socket::cut(self);
    }
}

/// Stands in for a socket that could not be found: the listener's own thread writes, and waits while it does.
#[derive(Default)]
pub struct Writer {
    /// Where to write; `None` until it is known.
    to: Mutex<Option<Box<dyn Write + Send>>>,
    /// True after the one who may wait has asked to.
    may_wait: AtomicBool,
}

impl Writer {
    /// Where to write from now on; `None` lets go of it.
    pub fn set(&self, to: Option<Box<dyn Write + Send>>) {
        *lock(&self.to) = to;
    }
}

impl Wire for Writer {
    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        if !self.may_wait.swap(false, Ordering::SeqCst) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut to = lock(&self.to);
        let to = to.as_mut().ok_or(ErrorKind::NotConnected)?;
        to.write_all(bytes)?;
        to.flush()?;
        Ok(bytes.len())
    }

    fn wait_until_writable(&self, _: Duration) -> io::Result<()> {
        self.may_wait.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn cut(&self) {} // its writes end by the socket's own timeout
}

/// The descriptors of all open connections: whose number is which, so that a new one is recognised.
pub struct Descriptors {
    /// By number: in use as far as we know.
    taken: Vec<bool>,
    /// By cookie: the open connections.
    sockets: HashMap<u64, Arc<Socket>>,
    listening_cookie: u64,
    listening_at: Option<SocketAddrAny>,
    /// Set on each accepted socket where it is not inherited (socket files).
    idle: Duration,
    inherits: bool,
}

/// A connection's socket, found, and what to give back when it is closed.
pub struct Found {
    /// The socket.
    pub socket: Arc<Socket>,
    cookie: u64,
    numbers: Vec<RawFd>,
}

impl Descriptors {
    /// Knows the descriptors that are open now, and the socket whose newcomers it shall recognise.
    pub fn new(listening: &Listening, idle: Duration) -> Descriptors {
        let highest = listening.listener.as_raw_fd() as usize + SCAN_MARGIN;
        Descriptors {
            taken: (0..highest).map(|number| is_open(number as RawFd)).collect(),
            sockets: HashMap::new(),
            listening_cookie: socket_cookie(&listening.listener).unwrap_or(0),
            listening_at: getsockname(&listening.listener).ok(),
            idle,
            inherits: listening.address.is_some(),
        }
    }

    /// How many descriptors are known to be open.
    pub fn known(&self) -> usize {
        self.taken.iter().filter(|taken| **taken).count()
    }

    /// The number that the next accepted socket will have, most likely.
    pub fn guess(&self) -> RawFd {
        self.taken.iter().position(|taken| !taken).unwrap_or(self.taken.len()) as RawFd
    }

    /// The socket that was accepted since `guess` was made, under the same turn to accept; `None` where it cannot be
    /// told.
    pub fn find(&mut self, guess: RawFd) -> Option<Found> {
        let scan = 0..(self.taken.len() + SCAN_MARGIN) as RawFd;
        let mut numbers = Some(guess).into_iter().chain(scan.clone());
        let (first, cookie) = numbers.find_map(|number| Some((number, self.newcomer(number)?)))?;
        if first != guess && is_open(guess) {
            self.take(guess); // somebody else's: do not guess it again
        }
        self.take(first);
        // tiny_http makes a second descriptor of the same socket, again the lowest free number.
        let second = Some(self.guess()).into_iter().chain(scan);
        let second = second.filter(|number| *number != first).find(|number| self.newcomer(*number) == Some(cookie));
        second.into_iter().for_each(|number| self.take(number));
        let socket = Arc::new(Socket { number: first, open: Mutex::new(true), busy: AtomicBool::new(true) });
        if !self.inherits {
            let _ = socket.call(|socket| set_socket_timeout(socket, Timeout::Recv, Some(self.idle)));
            let _ = socket.call(|socket| set_socket_timeout(socket, Timeout::Send, Some(STALL_LIMIT)));
        }
        self.sockets.insert(cookie, socket.clone());
        Some(Found { socket, cookie, numbers: Some(first).into_iter().chain(second).collect() })
    }

    /// Forgets a connection that has been dropped.
    pub fn give_back(&mut self, found: &Found) {
        self.sockets.remove(&found.cookie);
        found.numbers.iter().for_each(|number| self.taken[*number as usize] = false);
    }

    /// The sockets of all open connections.
    pub fn sockets(&self) -> impl Iterator<Item = &Arc<Socket>> {
        self.sockets.values()
    }

    /// The cookie behind `number`, if it is a connection to us that is not known yet.
    fn newcomer(&self, number: RawFd) -> Option<u64> {
        let cookie = socket_cookie(borrow(number)).ok()?;
        let known = cookie == self.listening_cookie || self.sockets.contains_key(&cookie);
        (!known && same_door(&getsockname(borrow(number)).ok()?, self.listening_at.as_ref()?)).then_some(cookie)
    }

    fn take(&mut self, number: RawFd) {
        let number = number as usize;
        if number >= self.taken.len() {
            self.taken.resize(number + 1, false);
        }
        self.taken[number] = true;
    }
}

fn is_open(number: RawFd) -> bool {
    rustix::io::fcntl_getfd(borrow(number)).is_ok()
}

/// Whether a socket with the local address `ours` was accepted by the one that listens at `listening`: the same port
/// (the address differs where we listen at every interface), or the same socket file.
fn same_door(ours: &SocketAddrAny, listening: &SocketAddrAny) -> bool {
    match (SocketAddr::try_from(ours.clone()), SocketAddr::try_from(listening.clone())) {
        (Ok(ours), Ok(listening)) => ours.port() == listening.port(),
        (Err(_), Err(_)) => ours == listening,
        _ => false,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;
    use tiny_http::{Server, SslContextWrap};

    const IDLE: Duration = Duration::from_secs(30);

    fn says_hello(found: &Found, client: &mut TcpStream) {
        found.socket.send_now(b"hello").unwrap();
        let mut heard = [0; 5];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello", "the descriptor is the one this client is behind");
    }

    #[test]
    fn a_new_connection_is_recognised_among_all_other_descriptors() {
        let listening = Listening::open(&Bind::Address("127.0.0.1:0".to_owned()), IDLE).unwrap();
        let tls = SslContextWrap::build_ssl_capabilities(None).unwrap();
        let mut descriptors = Descriptors::new(&listening, IDLE);
        let (mut clients, mut files) = (vec![], vec![]);
        for round in 0..20 {
            // Numbers come and go behind the pool's back; the clients are sockets of this process too.
            files.push(std::fs::File::open("/dev/null").unwrap());
            if round % 3 == 0 {
                files.remove(0);
            }
            let mut client = TcpStream::connect(listening.address.unwrap()).unwrap();
            let guess = descriptors.guess();
            let connection = Server::accept_connection(&listening.listener, &tls).unwrap().unwrap();
            let found = descriptors.find(guess).expect("it is found");
            assert_eq!(found.numbers.len(), 2, "both of its descriptors");
            says_hello(&found, &mut client);
            clients.push((client, connection, found));
            if round % 2 == 0 {
                let (_, connection, found) = clients.remove(round / 4);
                found.socket.let_go();
                assert_eq!(found.socket.call(|_| Ok(())).unwrap_err().kind(), ErrorKind::NotConnected);
                drop(connection);
                descriptors.give_back(&found);
            }
        }
        for (client, _, found) in &mut clients {
            says_hello(found, client);
        }
        assert_eq!(descriptors.sockets().count(), clients.len());
    }
}
