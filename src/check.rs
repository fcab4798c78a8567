//! `aloud --check`: asks a server's `/health`, for whatever has to run a command to know, such as a container without a
//! shell or curl.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::config::Bind;
use crate::socket::addresses;

/// How long the server may be silent once it is asked.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer looked at, in bytes.
const ANSWER_LIMIT: u64 = 4096;

/// HTTP/1.0, so that the end of the answer is the end of the connection.
const QUESTION: &[u8] = b"GET /health HTTP/1.0\r\n\r\n";

/// Asks the server that listens at `bind` whether it is well.
///
/// # Errors
/// When it cannot be reached, or does not answer 200 in time; with its first line where it said something else.
pub fn ask(bind: &Bind) -> io::Result<()> {
    let answer = match bind {
        Bind::EveryInterface(port) => {
            let (v6, v4) = (SocketAddr::from((Ipv6Addr::LOCALHOST, *port)), (Ipv4Addr::LOCALHOST, *port).into());
            over_tcp(TcpStream::connect(&[v4, v6][..])?)?
        }
        Bind::Address(text) => over_tcp(TcpStream::connect(&*addresses(text)?)?)?,
        Bind::Unix(path) => {
            let connection = UnixStream::connect(path)?;
            connection.set_read_timeout(Some(PATIENCE))?;
            converse(connection)?
        }
        Bind::HandedOver => return Err(io::ErrorKind::AddrNotAvailable.into()),
    };
    let line = answer.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::other(format!("it answers \"{}\"", line.escape_debug()))),
    }
}

fn over_tcp(connection: TcpStream) -> io::Result<String> {
    connection.set_read_timeout(Some(PATIENCE))?;
    converse(connection)
}

fn converse(mut connection: impl Read + Write) -> io::Result<String> {
    connection.write_all(QUESTION)?;
    let mut answer = vec![];
    connection.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
