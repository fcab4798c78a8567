//! The listening socket, the options that accepted ones inherit from it, and how to find, use and cut an accepted one.
//! Knows no HTTP. One of two files with `unsafe`: two lines, which borrow a descriptor by its number, and put another
//! one in its place.
//!
//! **Finding.** tiny_http accepts a connection and hides its socket. But only one thread at a time accepts, and the
//! kernel hands out the lowest free number (accept(2), dup(2)), so the number can be guessed beforehand. The guess is
//! confirmed before it is used: the number is a socket, bound to the address we listen at, with an inode (fstat(2))
//! that no open connection has. After a wrong guess, all likely numbers are searched.
//!
//! **Safety of the number.** A descriptor's number is reused as soon as it is closed. [`Socket`] therefore makes its
//! system calls under a lock of its own and refuses them once [`Socket::let_go`] was called, which the pool does before
//! it drops the connection.
//!
//! **Taking over.** tiny_http keeps 6 kB and two descriptors for a connection, and shuts down the socket when it is
//! dropped. So the socket gets a descriptor of our own as soon as it is found ([`Descriptors::take_over`]), and
//! tiny_http's connection is dropped with descriptors that are not the client's.

use std::collections::HashSet;
use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::mem::ManuallyDrop;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{DupFlags, Errno, dup3, fcntl_dupfd_cloexec, ioctl_fionread};
use rustix::net::sockopt::{socket_acceptconn, socket_error};
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketAddrAny, getpeername, getsockname, recv, send, shutdown};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockAddr, SockRef, TcpKeepalive, Type};
use tiny_http::Listener;

use crate::config::Bind;
use crate::os::limits;
use crate::room::wire::{STALL_LIMIT, Watcher, Wire};
use crate::sync::lock;

/// Connections that may wait in the kernel to be accepted. std asks for 128, too few for a thousand listeners that come
/// back at once. The kernel lowers the number to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Keepalive probes find out that the peer of a silent connection has vanished: the first after a minute of silence,
/// then five, ten seconds apart.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(10)).with_retries(5);

/// Bytes the kernel holds for a socket that have come and are not taken yet, its bookkeeping included. A listener that
/// sends costs this much.
const RECEIVE_BYTES: usize = 128 * 1024;

/// The number of the socket that a service manager hands over (`SD_LISTEN_FDS_START` of sd_listen_fds(3)).
const HANDED_OVER: RawFd = 3;

/// Numbers searched beyond the highest known one when a guess fails.
const SCAN_MARGIN: usize = 64;

/// A socket that listens, and its name for people.
pub struct Listening {
    /// The socket, in the form that tiny_http takes.
    pub listener: Listener,
    /// `:4000`, `127.0.0.1:4000` or `unix:PATH`; with the real port if port 0 was asked for.
    pub name: String,
    /// The address it listens at; `None` for a socket file.
    pub address: Option<SocketAddr>,
    /// Whether a service manager owns it and listens too. Then it is not ours to shut: connections that wait in it are
    /// for the next server.
    handed_over: bool,
    /// The socket file that was made, with its device and inode. No other file has these as long as we listen.
    file: Option<(PathBuf, (u64, u64))>,
}

impl Listening {
    /// Listens at `bind`. Accepted sockets inherit the options: no delay, a limit on how long data may stay
    /// unacknowledged, keepalive, small buffers, and a limit on the wait for a read or write. A socket file gets
    /// `mode`.
    ///
    /// # Errors
    /// The system's: the address is in use, is not this machine's, or may not be bound.
    pub fn open(bind: &Bind, mode: u32) -> io::Result<Listening> {
        match bind {
            Bind::EveryInterface(port) => {
                // [::] with V6ONLY off hears IPv4 too; a kernel without IPv6 gets the IPv4 address.
                let socket = listen_tcp((Ipv6Addr::UNSPECIFIED, *port).into()).or_else(|error| {
                    let socket = listen_tcp((Ipv4Addr::UNSPECIFIED, *port).into())?;
                    if error.kind() == ErrorKind::AddrInUse {
                        log::warn!("Serving IPv4 alone: another program listens at [::]:{port}");
                    }
                    Ok::<_, io::Error>(socket)
                })?;
                let address = socket.local_addr()?;
                let name = format!(":{}", address.port());
                let listener = socket.into();
                Ok(Listening { name, address: Some(address), listener, handed_over: false, file: None })
            }
            Bind::Address(text) => {
                let mut failure = io::Error::new(ErrorKind::NotFound, "the name stands for no address");
                for address in addresses(text)? {
                    match listen_tcp(address) {
                        Ok(socket) => {
                            let address = socket.local_addr()?;
                            return Ok(Listening {
                                name: address.to_string(),
                                address: Some(address),
                                listener: socket.into(),
                                handed_over: false,
                                file: None,
                            });
                        }
                        Err(error) => failure = error,
                    }
                }
                Err(failure)
            }
            Bind::Unix(path) => {
                let name = format!("unix:{}", path.display());
                let listener = listen_unix(path, mode)?.into();
                let file = identity(path).map(|identity| (path.clone(), identity));
                Ok(Listening { name, address: None, listener, handed_over: false, file })
            }
            Bind::HandedOver => take_over(),
        }
    }

    /// Refuses newcomers from now on. If a service manager listens too, they wait for the next server instead. The
    /// socket file goes first, unless another server has put its own in the place: as long as this one still listens,
    /// no server does that by itself.
    pub fn shut(&self) {
        if let Some((path, made)) = &self.file
            && identity(path).as_ref() == Some(made)
        {
            let _ = std::fs::remove_file(path);
        }
        if !self.handed_over {
            let _ = shutdown(&self.listener, Shutdown::Both);
        }
    }
}

/// Listens at the socket that a service manager has opened. A second descriptor of it is made, to own; the first stays
/// as it is, so that nothing else gets its number.
fn take_over() -> io::Result<Listening> {
    let socket = borrow(HANDED_OVER);
    if !socket_acceptconn(socket)? {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it does not listen"));
    }
    let socket: OwnedFd = socket.try_clone_to_owned()?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    let at = getsockname(&socket)?;
    let Ok(address) = SocketAddr::try_from(at) else {
        let listener = UnixListener::from(socket);
        let at = listener.local_addr()?;
        let name =
            at.as_pathname().map_or_else(|| "a socket file".to_owned(), |path| format!("unix:{}", path.display()));
        return Ok(Listening { name, address: None, listener: listener.into(), handed_over: true, file: None });
    };
    prepare(&socket, true);
    let name = if address.ip().is_unspecified() { format!(":{}", address.port()) } else { address.to_string() };
    let listener = std::net::TcpListener::from(socket).into();
    Ok(Listening { name, address: Some(address), listener, handed_over: true, file: None })
}

/// Sets the options that every connection has, as far as the kernel knows them: old ones, gVisor and qemu lack some.
/// TCP connections inherit them from the socket that accepts them.
fn prepare(socket: &impl AsFd, tcp: bool) {
    let socket = SockRef::from(socket);
    if tcp {
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&KEEPALIVE);
        let _ = socket.set_tcp_user_timeout(Some(STALL_LIMIT));
        // A listener that stalls costs this much, not the megabytes to which Linux lets a send buffer grow.
        let _ = socket.set_tcp_notsent_lowat(limits::unsent_bytes());
        let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    }
}

/// The addresses that `HOST:PORT` stands for.
///
/// # Errors
/// The system's, if the name is not known.
#[cfg(not(all(target_feature = "crt-static", target_env = "gnu")))]
pub fn addresses(text: &str) -> io::Result<Vec<SocketAddr>> {
    std::net::ToSocketAddrs::to_socket_addrs(text).map(Iterator::collect)
}

/// The addresses that `HOST:PORT` stands for: numbers, and `localhost`. This is the version for a static binary. There,
/// glibc would look other names up with libraries of the machine it runs on. They may be missing, and the code for them
/// takes a third of a megabyte.
#[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
pub fn addresses(text: &str) -> io::Result<Vec<SocketAddr>> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    let needs_number = |_| io::Error::new(ErrorKind::InvalidInput, "this static file takes numbers, not names");
    text.parse().map(|address| vec![address]).map_err(needs_number)
}

fn listen_tcp(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?; // a restart need not wait for old connections to fade
    prepare(&socket, true);
    socket.set_nonblocking(true)?; // accepted sockets do not inherit that (accept(2))
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn listen_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != ErrorKind::AddrInUse || !is_left_behind(path) {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    std::fs::set_permissions(path, Permissions::from_mode(mode))?; // nobody can connect before it listens
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The device and inode of the file at `path`, which no other file has.
fn identity(path: &Path) -> Option<(u64, u64)> {
    path.symlink_metadata().ok().map(|file| (file.dev(), file.ino()))
}

/// Whether `path` is a socket file at which no process listens: a server that was killed has left it behind. Any other
/// file refuses connections too (connect(2)), but it belongs to somebody.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket());
    is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Raises the limit on open descriptors as far as the system allows, and returns it.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |current| current as usize)
}

/// An accepted connection's socket, borrowed from the owner that closes it.
pub struct Socket {
    key: u64,
    peer: Option<SocketAddr>,
    /// The address of the client: the peer's, or the one that a trusted proxy names.
    client: Mutex<Option<IpAddr>>,
    /// The descriptor's number; `None` once the connection is about to be dropped. Held during each system call but the
    /// wait.
    number: Mutex<Option<RawFd>>,
    /// Set once the peer is known to have closed its sending side, or the connection.
    peer_left: AtomicBool,
    /// Told when the peer leaves, if there is one.
    watcher: Mutex<Option<Arc<dyn Watcher>>>,
}

impl Socket {
    /// A key that no other connection has. A descriptor's number is not enough: it is reused as soon as it was given
    /// back, while a thread may still be about to act on an event.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Ends the connection. Any thread may call it: a thread that reads, writes or waits is woken.
    pub fn cut(&self) {
        let _ = self.call(|socket| shutdown(socket, Shutdown::Both));
    }

    /// Ends all use of the socket. The pool calls it before it drops the connection.
    pub fn let_go(&self) {
        *lock(&self.number) = None;
    }

    /// Takes the bytes that the kernel holds and appends them to `into`, as far as there is room without growing. Never
    /// waits. Appends nothing at the end of the connection.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come; anything else means that the connection is over.
    pub fn receive(&self, into: &mut Vec<u8>) -> io::Result<()> {
        self.call(|socket| recv(socket, spare_capacity(into), RecvFlags::DONTWAIT)).map(drop)
    }

    /// How many bytes the kernel holds that nobody has read.
    ///
    /// # Errors
    /// `NotConnected` after the connection was let go of.
    pub fn unread(&self) -> io::Result<usize> {
        self.call(|socket| ioctl_fionread(socket)).map(|bytes| bytes as usize)
    }

    /// Whether the peer takes what it is sent: the kernel has room for more, on Linux for a third of its buffer at
    /// least. Never waits.
    pub fn takes_more(&self) -> bool {
        let now = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
        self.call(|socket| poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::OUT)], now))
            .is_ok_and(|ready| ready > 0)
    }

    /// Reads the bytes that have come and throws them away. Never waits. Returns their number; 0 at the end.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come; anything else means that the connection is over.
    #[inline(never)] // its buffer would stand on every listener's stack
    pub fn throw_away(&self) -> io::Result<usize> {
        let mut scrap = [0; 4096];
        self.call(|socket| recv(socket, &mut scrap, RecvFlags::DONTWAIT)).map(|(_, length)| length)
    }

    /// Closes our sending side: the peer sees the end of what was sent.
    pub fn finish_sending(&self) {
        let _ = self.call(|socket| shutdown(socket, Shutdown::Write));
    }

    /// Notes that the peer has left, and tells the watcher.
    pub fn note_peer_left(&self) {
        self.peer_left.store(true, Ordering::SeqCst);
        if let Some(watcher) = &*lock(&self.watcher) {
            watcher.peer_left();
        }
    }

    /// Whether the peer is known to have closed its sending side, or the connection.
    pub fn has_peer_left(&self) -> bool {
        self.peer_left.load(Ordering::SeqCst)
    }

    /// The peer's address, or `None` for a socket file. It is known also when the peer has gone.
    pub fn peer_address(&self) -> Option<IpAddr> {
        self.peer.map(|address| address.ip())
    }

    /// The address of the client that the connection is counted for; `None` while nobody has named it.
    pub fn client(&self) -> Option<IpAddr> {
        *lock(&self.client)
    }

    /// Notes the address of the client. To be called only where connections are counted by it.
    pub fn note_client(&self, client: Option<IpAddr>) {
        *lock(&self.client) = client;
    }

    /// The client's name for the log.
    pub fn peer(&self) -> String {
        match (self.client(), self.peer) {
            (Some(client), peer) if peer.is_none_or(|peer| peer.ip() != client) => client.to_string(),
            (_, Some(peer)) => peer.to_string(),
            (_, None) => "a client of the socket file".to_owned(),
        }
    }

    /// Makes a system call on the socket, unless it was let go of.
    ///
    /// # Errors
    /// The call's error, or `NotConnected` after the connection was let go of.
    pub fn call<T>(&self, system_call: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<T>) -> io::Result<T> {
        let number = lock(&self.number);
        let open = number.ok_or(ErrorKind::NotConnected)?;
        Ok(system_call(borrow(open))?)
    }
}

/// The descriptor of that number, if it is open; otherwise every call on it fails with `EBADF`.
fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the number is not -1 (it comes from a guess or scan, which start at 0, or is `HANDED_OVER`). The calls
    // made before it is known to be ours change nothing (getsockname, getpeername, fstat, SO_ACCEPTCONN, fcntl F_GETFD,
    // F_DUPFD). All later calls are made while its connection is open (see `Socket::call`). The borrow ends with the
    // call.
    #[allow(unsafe_code)]
    unsafe {
        BorrowedFd::borrow_raw(number)
    }
}

/// Makes the open descriptor `number` refer to the file of `other` (dup3(2)).
fn put_in_place_of(number: RawFd, other: &OwnedFd) {
    // SAFETY: the number is open: tiny_http's connection owns it, and is in the hands of the calling thread alone. It
    // goes on to own an open descriptor, whose kind it does not rely on.
    #[allow(unsafe_code)]
    let mut replaced = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    let _ = dup3(other, &mut replaced, DupFlags::CLOEXEC); // it fails only for numbers that are not open
}

impl Wire for Socket {
    fn watch(&self, watcher: Option<Arc<dyn Watcher>>) {
        *lock(&self.watcher) = watcher;
        if self.has_peer_left() {
            self.note_peer_left();
        }
    }

    fn send_now(&self, bytes: &[u8]) -> io::Result<usize> {
        self.call(|socket| send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL))
    }

    fn wait_until_writable(&self, limit: Duration) -> io::Result<()> {
        // Not under the lock, or cutting would have to wait. That is sound: the waiting thread owns the connection, and
        // lets go of it only afterwards.
        let number = *lock(&self.number);
        let open = number.ok_or(ErrorKind::NotConnected)?;
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::from_borrowed_fd(borrow(open), PollFlags::OUT)], Some(&limit)) {
                Ok(0) => return Err(ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn failure(&self) -> io::Result<()> {
        self.call(|socket| socket_error(socket))?.map_err(io::Error::from)
    }

    fn cut(&self) {
        Socket::cut(self);
    }
}

/// The descriptors of all open connections, so that a new one is recognised.
pub struct Descriptors {
    /// By number: in use as far as we know.
    taken: Vec<bool>,
    /// The open connections.
    inodes: HashSet<u64>,
    listening_inode: u64,
    listening_at: Option<SocketAddrAny>,
    /// Counts the sockets found.
    serial: u64,
    /// Stands in for a socket that is taken over: no socket itself.
    blank: OwnedFd,
    /// Whether accepted sockets have inherited the options of the one that listens. Those of a socket file have not,
    /// nor those that were accepted for us before a socket was handed over.
    inherits: bool,
    /// Whether the connections are TCP.
    tcp: bool,
}

/// A connection's socket that was found, and the numbers to give back when it is closed.
pub struct Found {
    /// The socket.
    pub socket: Arc<Socket>,
    inode: u64,
    numbers: Vec<RawFd>,
}

impl Descriptors {
    /// Starts from the descriptors that are open now, and the socket whose newcomers are to be recognised.
    ///
    /// # Errors
    /// The system's, if no descriptor is left.
    pub fn new(listening: &Listening) -> io::Result<Descriptors> {
        let blank = eventfd(0, EventfdFlags::CLOEXEC)?;
        let highest = blank.as_raw_fd().max(listening.listener.as_raw_fd()) as usize + SCAN_MARGIN;
        Ok(Descriptors {
            taken: (0..highest).map(|number| is_open(number as RawFd)).collect(),
            inodes: HashSet::new(),
            listening_inode: inode(listening.listener.as_fd()).unwrap_or(0),
            listening_at: getsockname(&listening.listener).ok(),
            serial: 0,
            blank,
            inherits: listening.address.is_some() && !listening.handed_over,
            tcp: listening.address.is_some(),
        })
    }

    /// How many descriptors are known to be open.
    pub fn known(&self) -> usize {
        self.taken.iter().filter(|taken| **taken).count()
    }

    /// The number that the next accepted socket will have, most likely.
    pub fn guess(&self) -> RawFd {
        self.taken.iter().position(|taken| !taken).unwrap_or(self.taken.len()) as RawFd
    }

    /// Finds the socket that was accepted since `guess` was made, under one turn to accept; `None` if it cannot be
    /// told.
    pub fn find(&mut self, guess: RawFd) -> Option<Found> {
        let (first, inode) = self.places(guess).find_map(|number| Some((number, self.newcomer(number)?)))?;
        if first != guess && is_open(guess) {
            self.take(guess); // it is in use elsewhere: do not guess it again
        }
        self.take(first);
        // tiny_http makes a second descriptor of the same socket, again the lowest free number.
        let is_second = |number: &RawFd| *number != first && self.newcomer(*number) == Some(inode);
        let second = self.places(self.guess()).find(is_second);
        second.into_iter().for_each(|number| self.take(number));
        self.serial += 1;
        let peer = address_of(getpeername(borrow(first)).ok().flatten());
        let socket = Arc::new(Socket {
            key: self.serial,
            peer,
            client: Mutex::new(peer.map(|address| address.ip())),
            number: Mutex::new(Some(first)),
            peer_left: AtomicBool::new(false),
            watcher: Mutex::new(None),
        });
        if !self.inherits {
            let _ = socket.call(|socket| {
                prepare(&socket, self.tcp);
                Ok(())
            });
        }
        self.inodes.insert(inode);
        Some(Found { socket, inode, numbers: Some(first).into_iter().chain(second).collect() })
    }

    /// Moves the socket to the descriptor that is returned, and which keeps it open. tiny_http's two descriptors then
    /// refer to nothing that its drop could hurt. `None` if no descriptor is left, or not both of tiny_http's are
    /// known. Call it under the turn to accept, before any other thread knows of the socket.
    pub fn take_over(&mut self, found: &mut Found) -> Option<OwnedFd> {
        if found.numbers.len() != 2 {
            return None;
        }
        let ours = found.socket.call(|socket| fcntl_dupfd_cloexec(socket, 0)).ok()?;
        let number = ours.as_raw_fd();
        *lock(&found.socket.number) = Some(number);
        for theirs in std::mem::replace(&mut found.numbers, vec![number]) {
            put_in_place_of(theirs, &self.blank);
            self.taken[theirs as usize] = false;
        }
        self.take(number);
        Some(ours)
    }

    /// Forgets a connection that has been dropped.
    pub fn give_back(&mut self, found: &Found) {
        self.inodes.remove(&found.inode);
        self.give_back_numbers(found);
    }

    fn give_back_numbers(&mut self, found: &Found) {
        found.numbers.iter().for_each(|number| self.taken[*number as usize] = false);
    }

    /// The numbers to search for a new descriptor: the guess, then all that are not known to be open, then all.
    fn places(&self, guess: RawFd) -> impl Iterator<Item = RawFd> {
        let all = 0..(self.taken.len() + SCAN_MARGIN) as RawFd;
        let free = all.clone().filter(|number| self.taken.get(*number as usize) != Some(&true));
        Some(guess).into_iter().chain(free).chain(all)
    }

    /// The inode behind `number`, if it is a connection to us that is not known yet.
    fn newcomer(&self, number: RawFd) -> Option<u64> {
        let inode = inode(borrow(number))?;
        let known = inode == self.listening_inode || self.inodes.contains(&inode);
        (!known && same_door(&getsockname(borrow(number)).ok()?, self.listening_at.as_ref()?)).then_some(inode)
    }

    fn take(&mut self, number: RawFd) {
        let number = number as usize;
        if number >= self.taken.len() {
            self.taken.resize(number + 1, false);
        }
        self.taken[number] = true;
    }
}

/// The inode of a socket, which tells it from all others that are open. (`SO_COOKIE` is missing before Linux 4.12, in
/// gVisor and under qemu.)
fn inode(descriptor: BorrowedFd<'_>) -> Option<u64> {
    let known = rustix::fs::fstat(descriptor).ok()?;
    let is_socket = rustix::fs::FileType::from_raw_mode(known.st_mode) == rustix::fs::FileType::Socket;
    is_socket.then_some(known.st_ino)
}

/// An address as people write it; `None` if it is not TCP.
fn address_of(address: Option<SocketAddrAny>) -> Option<SocketAddr> {
    let address = SocketAddr::try_from(address?).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

fn is_open(number: RawFd) -> bool {
    rustix::io::fcntl_getfd(borrow(number)).is_ok()
}

/// Whether a socket with the local address `ours` was accepted by the one that listens at `listening`: both have one
/// port (the address differs if we listen at every interface), or one socket file.
fn same_door(ours: &SocketAddrAny, listening: &SocketAddrAny) -> bool {
    match (SocketAddr::try_from(ours.clone()), SocketAddr::try_from(listening.clone())) {
        (Ok(ours), Ok(listening)) => ours.port() == listening.port(),
        (Err(_), Err(_)) => ours == listening,
        _ => false,
    }
}

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;
    use tiny_http::{Request, Server, SslContextWrap};

    /// Makes a client and its connection at the other side, with the descriptors that know it.
    pub fn accept() -> (TcpStream, Descriptors, Found, Option<impl Iterator<Item = Option<Request>> + Send>) {
        let listening = Listening::open(&Bind::Address("127.0.0.1:0".to_owned()), 0o660).unwrap();
        let tls = SslContextWrap::build_ssl_capabilities(None).unwrap();
        let mut descriptors = Descriptors::new(&listening).unwrap();
        let client = TcpStream::connect(listening.address.unwrap()).unwrap();
        let guess = descriptors.guess();
        let connection = Server::accept_connection(&listening.listener, &tls).unwrap();
        let found = descriptors.find(guess).unwrap();
        (client, descriptors, found, connection.map(|requests| requests.map(Result::ok)))
    }

    fn says_hello(found: &Found, client: &mut TcpStream) {
        found.socket.send_now(b"hello").unwrap();
        let mut heard = [0; 5];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello", "the descriptor is the one this client is behind");
    }

    #[test]
    fn a_socket_file_left_behind_is_replaced_and_no_other_file_is() {
        let path = std::env::temp_dir().join(format!("aloud-socket-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listening = listen_unix(&path, 0o660).unwrap();
        assert_eq!(listen_unix(&path, 0o660).unwrap_err().kind(), ErrorKind::AddrInUse, "somebody listens");
        drop(listening);
        drop(listen_unix(&path, 0o660).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a letter").unwrap();
        assert_eq!(listen_unix(&path, 0o660).unwrap_err().kind(), ErrorKind::AddrInUse, "it is no socket");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a letter");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_socket_that_is_taken_over_stays_open_on_one_descriptor() {
        let (mut client, mut descriptors, mut found, connection) = accept();
        let theirs = found.numbers.clone();
        let ours = descriptors.take_over(&mut found).unwrap();
        drop(connection); // shuts down the blank, which is no socket
        assert_eq!(found.numbers, [ours.as_raw_fd()]);
        let taken = |numbers: &[RawFd]| numbers.iter().any(|number| descriptors.taken[*number as usize]);
        assert!(taken(&found.numbers) && !taken(&theirs));
        says_hello(&found, &mut client);
        found.socket.let_go();
        drop(ours);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "nobody else holds it open");
    }

    #[test]
    fn a_new_connection_is_recognised_among_all_other_descriptors() {
        let listening = Listening::open(&Bind::Address("127.0.0.1:0".to_owned()), 0o660).unwrap();
        let tls = SslContextWrap::build_ssl_capabilities(None).unwrap();
        let mut descriptors = Descriptors::new(&listening).unwrap();
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
        assert_eq!(descriptors.inodes.len(), clients.len());
    }
}
