//! The socket of an accepted connection: how to use and cut it. Knows no HTTP. One of two files with `unsafe`: two
//! lines, which borrow a descriptor by its number, and put another one in its place.
//!
//! **Safety of the number.** A descriptor's number is reused as soon as it is closed. [`Socket`] therefore makes its
//! system calls under a lock of its own, and refuses them once [`Socket::let_go`] has closed the descriptor.

use std::io::{self, ErrorKind};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{DupFlags, Errno, dup3, ioctl_fionread};
use rustix::net::sockopt::socket_error;
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketAddrAny, getpeername, recv, send, shutdown};

use crate::room::wire::{Watcher, Wire};
use crate::sync::lock;

/// An accepted connection's socket.
pub struct Socket {
    key: u64,
    peer: Option<SocketAddr>,
    /// The address of the client: the peer's, or the one that a trusted proxy names.
    client: Mutex<Option<IpAddr>>,
    /// The descriptor; `None` once it is closed. Held during each system call but the wait.
    descriptor: Mutex<Option<OwnedFd>>,
    /// Set once the peer is known to have closed its sending side, or the connection.
    peer_left: AtomicBool,
    /// The listener's watcher, if there is one. It is told when the peer leaves.
    watcher: Mutex<Option<Arc<dyn Watcher>>>,
}

impl Socket {
    /// The connection behind `descriptor`.
    pub(super) fn new(key: u64, descriptor: OwnedFd) -> Socket {
        let peer = address_of(getpeername(&descriptor).ok().flatten());
        Socket {
            key,
            peer,
            client: Mutex::new(peer.map(|address| address.ip())),
            descriptor: Mutex::new(Some(descriptor)),
            peer_left: AtomicBool::new(false),
            watcher: Mutex::new(None),
        }
    }

    /// A key that no other connection has: the inode. The kernel counts these on from one socket to the next. A
    /// descriptor's number is not enough: it is reused as soon as it was given back, while a thread may still be about
    /// to act on an event.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Ends all use of the socket, and closes it.
    pub fn let_go(&self) {
        *lock(&self.descriptor) = None;
    }

    /// The most bytes that are received at once.
    pub const BLOCK: usize = 16 * 1024;

    /// Takes bytes that the kernel holds, appends them to `into`, and returns how many those are; 0 at the end of the
    /// connection. Never waits.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come; anything else means that the connection is over.
    #[inline(never)] // its buffer would stand on every listener's stack
    pub fn receive(&self, into: &mut Vec<u8>) -> io::Result<usize> {
        let mut block = [const { MaybeUninit::uninit() }; Socket::BLOCK];
        self.call(|socket| {
            let ((received, _), _) = recv(socket, &mut block, RecvFlags::DONTWAIT)?;
            into.extend_from_slice(received);
            Ok(received.len())
        })
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
        self.wait_until_writable(Duration::ZERO).is_ok()
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
        let descriptor = lock(&self.descriptor);
        let open = descriptor.as_ref().ok_or(ErrorKind::NotConnected)?;
        Ok(system_call(open.as_fd())?)
    }
}

/// The descriptor of that number, if it is open; otherwise every call on it fails with `EBADF`.
pub(super) fn borrow(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the number is not -1 (it comes from a guess or scan, which start at 0, or is `HANDED_OVER`). The calls
    // made before it is known to be ours change nothing (getsockname, getpeername, fstat, SO_ACCEPTCONN, fcntl
    // F_DUPFD). All later calls are made while its connection is open (see `Socket::call`). The borrow ends with the
    // call.
    #[allow(unsafe_code)]
    unsafe {
        BorrowedFd::borrow_raw(number)
    }
}

/// Makes the open descriptor `number` refer to the file of `other` (dup3(2)).
pub(super) fn put_in_place_of(number: RawFd, other: &OwnedFd) {
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
        let number = lock(&self.descriptor).as_ref().map(AsRawFd::as_raw_fd);
        let open = number.ok_or(ErrorKind::NotConnected)?;
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).ok(); // a longer time than it can say is no limit
            match poll(&mut [PollFd::from_borrowed_fd(borrow(open), PollFlags::OUT)], limit.as_ref()) {
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
        let _ = self.call(|socket| shutdown(socket, Shutdown::Both));
    }
}

/// An address as people write it; `None` if it is not TCP.
fn address_of(address: Option<SocketAddrAny>) -> Option<SocketAddr> {
    let address = SocketAddr::try_from(address?).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}
