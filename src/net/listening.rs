//! The listening socket, and the options that accepted ones inherit from it.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{Shutdown, getsockname, shutdown};
use socket2::{Domain, SockAddr, SockRef, TcpKeepalive, Type};
use tiny_http::Listener;

use crate::config::Bind;
use crate::net::socket::borrow;
use crate::os::limits;
use crate::room::wire::STALL_LIMIT;

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
    pub(super) handed_over: bool,
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
                let listening = Listening::at(socket)?;
                Ok(Listening { name: format!(":{}", listening.address.map_or(*port, |at| at.port())), ..listening })
            }
            Bind::Address(text) => {
                let mut failure = io::Error::new(ErrorKind::NotFound, "the name stands for no address");
                for address in addresses(text)? {
                    match listen_tcp(address) {
                        Ok(socket) => return Listening::at(socket),
                        Err(error) => failure = error,
                    }
                }
                Err(failure)
            }
            Bind::Unix(path) => {
                let listening = Listening::at_file(listen_unix(path, mode)?)?;
                Ok(Listening { file: identity(path).map(|identity| (path.clone(), identity)), ..listening })
            }
            Bind::HandedOver => take_over(),
        }
    }

    fn at(socket: TcpListener) -> io::Result<Listening> {
        let address = socket.local_addr()?;
        let (name, listener) = (address.to_string(), socket.into());
        Ok(Listening { name, address: Some(address), listener, handed_over: false, file: None })
    }

    fn at_file(socket: UnixListener) -> io::Result<Listening> {
        let path = socket.local_addr()?.as_pathname().map(|path| format!("unix:{}", path.display()));
        let (name, listener) = (path.unwrap_or_else(|| "a socket file".to_owned()), socket.into());
        Ok(Listening { name, address: None, listener, handed_over: false, file: None })
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
    let listening = if SocketAddr::try_from(getsockname(&socket)?).is_ok() {
        prepare(&socket);
        Listening::at(socket.into())?
    } else {
        Listening::at_file(socket.into())?
    };
    let everywhere = listening.address.filter(|address| address.ip().is_unspecified());
    let name = everywhere.map_or(listening.name, |address| format!(":{}", address.port()));
    Ok(Listening { name, handed_over: true, ..listening })
}

/// Sets the options that every TCP connection has, as far as the kernel knows them: old ones, gVisor and qemu lack
/// some. Connections inherit them from the socket that accepts them.
pub(super) fn prepare(socket: &impl AsFd) {
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&KEEPALIVE);
    let _ = socket.set_tcp_user_timeout(Some(STALL_LIMIT));
    // A listener that stalls costs this much, not the megabytes to which Linux lets a send buffer grow.
    let _ = socket.set_tcp_notsent_lowat(limits::unsent_bytes());
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
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
/// glibc would look other names up with libraries of the machine it runs on, which may lack them, and would add a third
/// of a megabyte for it.
#[cfg(all(target_feature = "crt-static", target_env = "gnu"))]
pub fn addresses(text: &str) -> io::Result<Vec<SocketAddr>> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    let needs_number = |_| io::Error::new(ErrorKind::InvalidInput, "this static file takes numbers, not names");
    text.parse().map(|address| vec![address]).map_err(needs_number)
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?; // a restart need not wait for old connections to fade
    prepare(&socket);
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

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
}
