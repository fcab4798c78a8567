//! `aloud --check`: asks a server's `/health`. For a supervisor that has to run a command to know, such as that of a
//! container without a shell or curl.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;

use crate::config::Bind;
use crate::net::listening::addresses;

/// The longest time that all of it may take: finding the address, connecting, and the whole answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer looked at, in bytes.
const ANSWER_LIMIT: u64 = 4096;

/// The request. It is HTTP/1.0, so that the end of the answer is the end of the connection.
const QUESTION: &[u8] = b"GET /health HTTP/1.0\r\n\r\n";

/// Asks the server that listens at `bind` whether it is well.
///
/// # Errors
/// One line, if the server cannot be reached, or does not answer 200 in time. If it gave another answer, the line has
/// the first line of that.
pub fn ask(bind: &Bind) -> Result<(), String> {
    let not_well =
        |fault| format!("aloud: the server at {bind} is not well ({fault}); give the address it has with --bind");
    let answer = answer_in_time(bind.clone()).map_err(|error| not_well(error.to_string()))?;
    let line = answer.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(not_well(format!("it answers \"{}\"", line.escape_debug()))),
    }
}

/// Has a thread of its own ask. If it takes too long, it ends with the process.
fn answer_in_time(bind: Bind) -> io::Result<String> {
    let (tell, told) = bounded(1);
    thread::Builder::new().name("check".to_owned()).spawn(move || tell.send(answer(&bind)))?;
    let late = |_| io::Error::other(format!("it has not answered in {} s", PATIENCE.as_secs()));
    told.recv_timeout(PATIENCE).map_err(late)?
}

/// The answer of the server at `bind`.
fn answer(bind: &Bind) -> io::Result<String> {
    match bind {
        Bind::EveryInterface(port) => {
            let (v6, v4) = (SocketAddr::from((Ipv6Addr::LOCALHOST, *port)), (Ipv4Addr::LOCALHOST, *port).into());
            converse(TcpStream::connect(&[v4, v6][..])?)
        }
        Bind::Address(text) => converse(TcpStream::connect(&*addresses(text)?)?),
        Bind::Unix(path) => converse(UnixStream::connect(path)?),
        Bind::HandedOver => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

fn converse(mut connection: impl Read + Write) -> io::Result<String> {
    connection.write_all(QUESTION)?;
    let mut answer = vec![];
    connection.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
