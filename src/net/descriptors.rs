//! The descriptors of the open connections: how to find an accepted one, and take it over.
//!
//! **Finding.** tiny_http accepts a connection and hides its socket. But only one thread at a time accepts, and the
//! kernel hands out the lowest free number (accept(2), dup(2)), so the number can be guessed beforehand. The guess is
//! confirmed before it is used: the number is a socket, bound to the address we listen at, with an inode (fstat(2))
//! that no open connection has. After a wrong guess, all likely numbers are searched.
//!
//! **Taking over.** tiny_http keeps 6 kB and two descriptors for a connection, and shuts down the socket when it is
//! dropped. So the socket gets a descriptor of our own as soon as it is found ([`Descriptors::take_over`]), and
//! tiny_http's connection is dropped with descriptors that are not the client's.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{SocketAddrAny, getsockname};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::net::listening::{Listening, prepare};
use crate::net::socket::{Socket, borrow, put_in_place_of};

/// Numbers searched beyond the highest known one when a guess fails.
const SCAN_MARGIN: usize = 64;

/// Raises the limit on open descriptors as far as the system allows, and returns it.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |current| current as usize)
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
        let socket = Arc::new(Socket::new(self.serial, first));
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
        found.socket.move_to(number);
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
    use crate::config::Bind;
    use crate::room::wire::Wire;
    use std::io::{ErrorKind, Read};
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
