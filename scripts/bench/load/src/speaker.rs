//! One speaker: a keep-alive connection with at most one `/say` on its way.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::listener::connect;
use crate::message::Request;
use crate::options::Options;

/// Ample for an answer to `/say`, head and body.
const ANSWER_BYTES: usize = 4096;

/// Ample for the longest `/say`.
const SEND_BYTES: usize = 192 * 1024;

/// The state of the answer to a `/say`.
pub enum Answer {
    /// Not all of it is here.
    Pending,
    /// Taken: the status was 2xx.
    Taken,
    /// Any other status.
    Refused,
    /// The connection ended before the answer did.
    Gone,
}

pub struct Speaker {
    stream: TcpStream,
    request: Request,
    count: u32,
    answer: Vec<u8>,
    /// When the message on its way was due; none when there is none.
    due: Option<u64>,
}

impl Speaker {
    pub fn open(options: &Options, number: usize) -> Result<Speaker, String> {
        Ok(Speaker {
            stream: Speaker::connect(options.address())?,
            request: Request::new(options, number),
            count: 0,
            answer: Vec::with_capacity(ANSWER_BYTES),
            due: None,
        })
    }

    /// A connection that takes a whole request at once, also a long one.
    fn connect(address: SocketAddr) -> Result<TcpStream, String> {
        let stream = connect(address)?;
        let failed = |error| format!("cannot set a send buffer: {error}");
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BYTES).map_err(failed)?;
        Ok(stream)
    }

    /// A new connection in place of one that ended; counts on where the old one was.
    pub fn reopen(&mut self, address: SocketAddr) -> Result<(), String> {
        self.stream = Speaker::connect(address)?;
        self.answer.clear();
        Ok(())
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Says the next message, on that channel. An error means the connection ended; `take_due` has the message then.
    pub fn say(&mut self, channel: usize, due: u64, now: u64) -> Result<(), std::io::Error> {
        self.count += 1;
        self.due = Some(due);
        self.stream.write_all(self.request.fill(channel, self.count, now))
    }

    /// When the message that was answered or lost was due.
    pub fn take_due(&mut self) -> Option<u64> {
        self.due.take()
    }

    pub fn read(&mut self) -> Result<Answer, String> {
        let mut buffer = [0; ANSWER_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Ok(Answer::Gone),
            Ok(length) => self.answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Answer::Pending),
            Err(_) => return Ok(Answer::Gone),
        }
        let Some((status, length)) = measure(&self.answer)? else {
            return Ok(Answer::Pending);
        };
        if self.answer.len() < length {
            return Ok(Answer::Pending);
        }
        self.answer.clear();
        Ok(match status {
            200..=299 => Answer::Taken,
            _ => Answer::Refused,
        })
    }
}

/// The status of an answer and its whole length, once its head is complete.
fn measure(answer: &[u8]) -> Result<Option<(u16, usize)>, String> {
    let Some(end) = memchr::memmem::find(answer, b"\r\n\r\n") else {
        return match answer.len() {
            0..=ANSWER_BYTES => Ok(None),
            _ => Err("the head of the answer to /say is too long".into()),
        };
    };
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| "the head of the answer to /say is not text")?;
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let body = head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match (status, body) {
        (Some(status), Some(body)) => Ok(Some((status, end + 4 + body))),
        _ => Err("an answer to /say lacks its status or Content-Length".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_measured_once_its_head_is_complete() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok.";
        assert_eq!(measure(&answer[..20]), Ok(None));
        assert_eq!(measure(answer), Ok(Some((200, answer.len()))));
        assert!(measure(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
