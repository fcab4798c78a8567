//! The descriptors of the open connections: how to find an accepted one, and take it over.
//!
//! **Finding.** tiny_http accepts a connection and hides its socket. But the kernel hands out the lowest free numbers
//! (accept(2), dup(2)), and connections are accepted and closed only under the lock of [`Descriptors`], so the two
//! numbers can be guessed beforehand. A guess is confirmed before it is used: the number is a socket, bound to the
//! address we listen at, with an inode (fstat(2)) that no open connection has. After a wrong guess, all numbers are
//! searched: something else of this process, the store for instance, has opened or closed a descriptor meanwhile.
//!
//! **Taking over.** tiny_http keeps 6 kB and two descriptors for a connection, and shuts down the socket when it is
//! dropped. So the socket gets a descriptor of our own as soon as it is found, and tiny_http's connection is dropped
//! with descriptors that are not the client's.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, getsockname};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tiny_http::{Server, SslContextWrap};

use crate::net::listening::{Listening, prepare};
use crate::net::socket::{Socket, borrow, put_in_place_of};

/// Numbers searched beyond the highest one that was seen, when a guess fails.
const SCAN_MARGIN: RawFd = 64;

/// Raises the limit on open descriptors as far as the system allows, and returns it.
pub fn raise_descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |current| current as usize)
}

/// The descriptors of all open connections, so that a new one is recognised.
pub struct Descriptors {
    /// The open connections.
    inodes: HashSet<u64>,
    listening_inode: u64,
    listening_at: Option<SocketAddrAny>,
    /// The highest number that was seen.
    highest: RawFd,
    /// Stands in for a socket that is taken over: no socket itself.
    blank: OwnedFd,
    /// Whether accepted sockets may lack the options of the one that listens, because they were accepted for us before
    /// it was handed over.
    may_lack_options: bool,
}

impl Descriptors {
    /// Starts without a connection, at the socket whose newcomers are to be recognised.
    ///
    /// # Errors
    /// The system's, if no descriptor is left.
    pub fn new(listening: &Listening) -> io::Result<Descriptors> {
        let blank = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Descriptors {
            inodes: HashSet::new(),
            listening_inode: inode(listening.listener.as_fd()).unwrap_or(0),
            listening_at: getsockname(&listening.listener).ok(),
            highest: blank.as_raw_fd().max(listening.listener.as_raw_fd()),
            blank,
            may_lack_options: listening.handed_over && listening.address.is_some(),
        })
    }

    /// The two lowest numbers that are free.
    ///
    /// # Errors
    /// The system's, if no two descriptors are left.
    pub fn lowest_free(&self) -> io::Result<[RawFd; 2]> {
        let (first, second) = (self.blank.try_clone()?, self.blank.try_clone()?);
        Ok([first.as_raw_fd(), second.as_raw_fd()])
    }

    /// Accepts a connection. Closes it and returns `None` if its socket cannot be found, or no descriptor is left for
    /// it.
    ///
    /// # Errors
    /// `WouldBlock` if nobody wants to connect; anything else is the system's.
    pub fn accept(&mut self, listening: &Listening, tls: &SslContextWrap) -> io::Result<Option<Arc<Socket>>> {
        let guesses = self.lowest_free()?;
        // tiny_http panics if it cannot make its second descriptor.
        let accepted = catch_unwind(AssertUnwindSafe(|| Server::accept_connection(&listening.listener, tls)));
        let of_tiny_http = accepted.map_err(|_| Errno::MFILE)??;
        let found = self.take_over(guesses);
        drop(of_tiny_http); // its descriptors are no sockets now; or else it shuts the connection down
        Ok(found)
    }

    /// Finds the socket that was just accepted, most likely at `guesses`, and moves it to a descriptor of our own.
    /// tiny_http's two descriptors then refer to nothing that its drop could hurt.
    fn take_over(&mut self, guesses: [RawFd; 2]) -> Option<Arc<Socket>> {
        let mut numbers = guesses.into_iter().chain(0..self.highest + SCAN_MARGIN);
        let (first, inode) = numbers.find_map(|number| Some((number, self.newcomer(number)?)))?;
        let second = numbers.find(|number| *number != first && self.newcomer(*number) == Some(inode))?;
        let ours = borrow(first).try_clone_to_owned().ok()?;
        put_in_place_of(first, &self.blank);
        put_in_place_of(second, &self.blank);
        self.highest = [self.highest, first, second, ours.as_raw_fd()].into_iter().max()?;
        if self.may_lack_options {
            prepare(&ours);
        }
        self.inodes.insert(inode);
        Some(Arc::new(Socket::new(inode, ours)))
    }

    /// Closes a connection.
    pub fn close(&mut self, socket: &Socket) {
        socket.let_go();
        self.inodes.remove(&socket.key());
    }

    /// The inode behind `number`, if it is a connection to us that is not known yet.
    fn newcomer(&self, number: RawFd) -> Option<u64> {
        let inode = inode(borrow(number))?;
        let known = inode == self.listening_inode || self.inodes.contains(&inode);
        (!known && same_door(&getsockname(borrow(number)).ok()?, self.listening_at.as_ref()?)).then_some(inode)
    }
}

/// The inode of a socket, which tells it from all others that are open. (`SO_COOKIE` is missing before Linux 4.12, in
/// gVisor and under qemu.)
fn inode(descriptor: BorrowedFd<'_>) -> Option<u64> {
    let known = rustix::fs::fstat(descriptor).ok()?;
    let is_socket = rustix::fs::FileType::from_raw_mode(known.st_mode) == rustix::fs::FileType::Socket;
    is_socket.then_some(known.st_ino)
}

/// Whether a socket with the local address `ours` was accepted by the one that listens at `listening`: both have one
/// port (the address differs if we listen at every interface), or one socket file.
fn same_door(ours: &SocketAddrAny, listening: &SocketAddrAny) -> bool {
    match (SocketAddr::try_from(ours.clone()), SocketAddr::try_from(listening.clone())) {
        (Ok(ours), Ok(listening)) => ours.port() == listening.port(),
        _ => ours == listening,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::config::Bind;
    use crate::room::wire::Wire;
    use std::io::{ErrorKind, Read};
    use std::net::TcpStream;

    fn listen() -> (Listening, SslContextWrap, Descriptors) {
        let listening = Listening::open(&Bind::Address("127.0.0.1:0".to_owned()), 0o660).unwrap();
        let descriptors = Descriptors::new(&listening).unwrap();
        (listening, SslContextWrap::build_ssl_capabilities(None).unwrap(), descriptors)
    }

    fn says_hello(found: &Socket, client: &mut TcpStream) {
        found.send_now(b"hello").unwrap();
        let mut heard = [0; 5];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello", "the descriptor is the one this client is behind");
    }

    #[test]
    fn a_socket_is_open_on_one_descriptor_until_it_is_closed() {
        let (listening, tls, mut descriptors) = listen();
        assert_eq!(descriptors.accept(&listening, &tls).err().unwrap().kind(), ErrorKind::WouldBlock);
        let mut client = TcpStream::connect(listening.address.unwrap()).unwrap();
        let found = descriptors.accept(&listening, &tls).unwrap().unwrap();
        says_hello(&found, &mut client);
        descriptors.close(&found);
        assert_eq!(client.read(&mut [0]).unwrap(), 0, "nobody else holds it open");
        assert_eq!(found.call(|_| Ok(())).unwrap_err().kind(), ErrorKind::NotConnected);
    }

    #[test]
    fn a_new_connection_is_recognised_among_all_other_descriptors() {
        let (listening, tls, mut descriptors) = listen();
        let (mut clients, mut files) = (vec![], vec![]);
        for round in 0..20 {
            // Numbers come and go beside the connections; the clients are sockets of this process too.
            files.push(std::fs::File::open("/dev/null").unwrap());
            if round % 3 == 0 {
                files.remove(0);
            }
            let mut client = TcpStream::connect(listening.address.unwrap()).unwrap();
            let found = descriptors.accept(&listening, &tls).unwrap().expect("it is found");
            says_hello(&found, &mut client);
            clients.push((client, found));
            if round % 2 == 0 {
                let (_, found) = clients.remove(round / 4);
                descriptors.close(&found);
            }
        }
        for (client, found) in &mut clients {
            says_hello(found, client);
        }
        assert_eq!(descriptors.inodes.len(), clients.len());
    }

    #[test]
    fn after_a_wrong_guess_all_numbers_are_searched() {
        let (listening, tls, mut descriptors) = listen();
        let mut client = TcpStream::connect(listening.address.unwrap()).unwrap();
        let connection = Server::accept_connection(&listening.listener, &tls).unwrap();
        let found = descriptors.take_over([0, 1]).expect("it is found");
        drop(connection); // shuts down the blank, which is no socket
        says_hello(&found, &mut client);
    }
}
