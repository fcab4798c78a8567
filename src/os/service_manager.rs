//! Tells the service manager that started us that we are ready, and that we stop (sd_notify(3)). The manager listens on
//! a socket, whose address is in the environment; without the address, nobody wants to know.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells the service manager, if there is one, a `state` such as `READY=1`. Never waits: a manager that has let its
/// queue fill up is not told.
pub fn tell(state: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(name.as_bytes(), state) {
        log::warn!("cannot tell the service manager {state} ({error})");
    }
}

/// Sends one datagram to the socket file `name`; `@` at its start stands for the zero byte of an abstract name
/// (unix(7)).
fn send(name: &[u8], state: &str) -> io::Result<()> {
    let address = match name.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_file_and_an_abstract_name_are_both_told() {
        let path = std::env::temp_dir().join(format!("aloud-manager-{}", std::process::id()));
        let abstract_name = format!("aloud-manager-{}", std::process::id());
        let manager = |address: &SocketAddr| UnixDatagram::bind_addr(address).unwrap();
        let in_file = manager(&SocketAddr::from_pathname(&path).unwrap());
        let in_abstract = manager(&SocketAddr::from_abstract_name(&abstract_name).unwrap());
        send(path.as_os_str().as_bytes(), "READY=1").unwrap();
        send(format!("@{abstract_name}").as_bytes(), "STOPPING=1").unwrap();
        while send(path.as_os_str().as_bytes(), "WATCHDOG=1").is_ok() {} // until its queue is full
        for (socket, expected) in [(in_file, "READY=1"), (in_abstract, "STOPPING=1")] {
            let mut heard = [0; 64];
            let length = socket.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], expected.as_bytes());
        }
        std::fs::remove_file(path).unwrap();
    }
}
