//! One listener: joins with `GET /listen`, then hears lines. Reads into a buffer that all share, takes the
//! framing off in place, and copies only a line that a read cut in two.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::chunked::{Framing, Position};

/// Ample for a response head and for the start of the longest line; more is refused.
const CARRY_BYTES: usize = 128 * 1024;
/// A connection on loopback that takes longer to open than this has failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the listener after a read.
#[derive(PartialEq)]
pub enum State {
    /// The response head is not complete.
    Joining,
    Joined,
    /// The stream ended, by a last chunk or with the connection.
    Ended,
}

pub struct Listener {
    stream: TcpStream,
    /// None until the response head is read.
    framing: Option<Framing>,
    /// The head as far as it came, later the line that a read cut off.
    carry: Vec<u8>,
}

/// Opens a connection that never blocks and never waits for more to send.
pub fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let failed = |error| format!("cannot connect to {address}: {error}");
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_nonblocking(true).map_err(failed)?;
    Ok(stream)
}

impl Listener {
    pub fn join(address: SocketAddr, request: &str) -> Result<Listener, String> {
        let mut stream = connect(address)?;
        stream.write_all(request.as_bytes()).map_err(|error| format!("cannot ask to listen: {error}"))?;
        Ok(Listener { stream, framing: None, carry: Vec::new() })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Reads once and hands every complete line, without its end, to `hear`. `arrived` is called once
    /// between the read and the first line: the time at which all of them were heard.
    pub fn read<T: Copy>(
        &mut self,
        buffer: &mut [u8],
        arrived: impl Fn() -> T,
        mut hear: impl FnMut(T, &[u8]),
    ) -> Result<State, String> {
        let length = match self.stream.read(buffer) {
            Ok(0) => return Ok(State::Ended),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(self.state()),
            Err(_) => return Ok(State::Ended),
        };
        let mut bytes = &buffer[..length];
        if self.framing.is_none() {
            let Some(body) = self.read_head(bytes)? else {
                return Ok(State::Joining);
            };
            bytes = body;
        }
        let now = arrived();
        let carry = &mut self.carry;
        let framing = self.framing.as_mut().expect("the head is read");
        let ended = framing.decode(bytes, |piece| lines(carry, piece, |line| hear(now, line)))?;
        if self.carry.len() > CARRY_BYTES {
            return Err("a listener heard a line without an end".into());
        }
        Ok(if ended { State::Ended } else { State::Joined })
    }

    fn state(&self) -> State {
        match self.framing {
            None => State::Joining,
            Some(_) => State::Joined,
        }
    }

    /// The body's first bytes, once the head is complete and says 200.
    fn read_head<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, String> {
        let before = self.carry.len();
        self.carry.extend_from_slice(bytes);
        let Some(end) = memchr::memmem::find(&self.carry, b"\r\n\r\n") else {
            return match self.carry.len() {
                0..=CARRY_BYTES => Ok(None),
                _ => Err("the head of the answer to /listen is too long".into()),
            };
        };
        let head = String::from_utf8_lossy(&self.carry[..end]).to_ascii_lowercase();
        if head.split(' ').nth(1) != Some("200") {
            let first = head.lines().next().unwrap_or_default();
            return Err(format!("/listen was answered with: {first}"));
        }
        let chunked = head.lines().any(|line| line.starts_with("transfer-encoding:") && line.ends_with("chunked"));
        self.framing = Some(match chunked {
            true => Framing::Chunked(Position::Size(0)),
            false => Framing::UntilClose,
        });
        self.carry = Vec::new();
        Ok(Some(&bytes[end + 4 - before..]))
    }
}

/// Cuts `piece` into lines; what the piece leaves unfinished waits in `carry`.
fn lines(carry: &mut Vec<u8>, mut piece: &[u8], mut hear: impl FnMut(&[u8])) {
    while let Some(end) = memchr::memchr(b'\n', piece) {
        let line = &piece[..end];
        if carry.is_empty() {
            hear(line);
        } else {
            carry.extend_from_slice(line);
            hear(carry);
            carry.clear();
        }
        piece = &piece[end + 1..];
    }
    carry.extend_from_slice(piece);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cut_in_two_is_heard_once_and_whole() {
        let mut carry = Vec::new();
        let mut heard = Vec::new();
        for piece in ["one\r\ntw", "", "o\r", "\nthree\r\n"] {
            lines(&mut carry, piece.as_bytes(), |line| {
                heard.push(String::from_utf8_lossy(line).into_owned());
            });
        }
        assert_eq!(heard, ["one\r", "two\r", "three\r"]);
        assert!(carry.is_empty());
    }
}
