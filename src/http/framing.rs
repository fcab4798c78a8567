//! From bytes to whole requests, however the bytes arrive. Pure: knows no socket.

use std::iter;

use crate::http::head::{BodyLimit, HEADERS_LIMIT, Part, Pending, body_too_long};
use crate::http::refusal::Refusal;
use crate::http::request::Request;

/// The longest line with a chunk's length, in bytes.
const CHUNK_LINE_LIMIT: usize = 256;

/// How much of the next request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing of it is there.
    Idle,
    /// A part of its head.
    Head,
    /// Its head, and a part of its body.
    Body,
}

/// The result of reading the bytes that have come.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// A whole request.
    Whole(Request),
    /// Only a part of a request.
    NotYet(Stage),
}

/// Bytes of one connection on their way to requests.
#[derive(Default)]
pub struct Intake {
    /// Bytes that have come and are not read yet. Arriving bytes are appended.
    pub received: Vec<u8>,
    /// Whether the empty line that may come before a request has come.
    skipped: bool,
    /// A request whose head was read.
    pending: Option<Box<Pending>>,
}

impl Intake {
    /// Whether every byte that has come belonged to a request that was given out.
    pub fn is_empty(&self) -> bool {
        self.received.is_empty() && self.pending.is_none()
    }

    /// How many bytes of an incomplete request are held.
    pub fn held(&self) -> usize {
        self.received.len() + self.pending.as_ref().map_or(0, |pending| pending.request.body.capacity())
    }

    /// True once for each request whose client waits to be asked for the body, if none of the body has come.
    pub fn is_to_be_asked(&mut self) -> bool {
        let nothing_came = self.received.is_empty();
        self.pending.as_mut().is_some_and(|pending| std::mem::take(&mut pending.expects) && nothing_came)
    }

    /// Takes the request that is refused, as far as it could be read: how its client wants to be answered.
    pub fn take_refused(&mut self) -> Request {
        if let Some(pending) = self.pending.take() {
            return pending.request;
        }
        let is_head = self.received.starts_with(b"HEAD ");
        let mut request = Request { method: if is_head { "HEAD" } else { "" }.to_owned(), ..Request::default() };
        let is_accept = |line: &&[u8]| line.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"accept:"));
        let accept = self.received.split(|byte| *byte == b'\n').find(is_accept);
        accept.into_iter().for_each(|line| request.add("Accept", iter::once(line[7..].trim_ascii())));
        request
    }

    /// The next request, as far as it has come. `most_body` is the limit of a body for a path.
    ///
    /// # Errors
    /// The refusal of the request. The bytes after it can no longer be told apart.
    pub fn next(&mut self, most_body: &dyn Fn(&str) -> BodyLimit) -> Result<Progress, Refusal> {
        let mut pending = match self.pending.take() {
            Some(pending) => *pending,
            None => match self.next_head(most_body)? {
                Some(pending) => pending,
                None if self.received.is_empty() => return Ok(Progress::NotYet(Stage::Idle)),
                None => return Ok(Progress::NotYet(Stage::Head)),
            },
        };
        let mut rest = &self.received[..];
        let whole = pending.refusal.take().map_or_else(|| pending.take_body(&mut rest), Err);
        let taken = self.received.len() - rest.len();
        self.received.drain(..taken);
        if whole == Ok(true) {
            return Ok(Progress::Whole(pending.request));
        }
        self.pending = Some(Box::new(pending));
        whole.map(|_| Progress::NotYet(Stage::Body))
    }

    fn next_head(&mut self, most_body: &dyn Fn(&str) -> BodyLimit) -> Result<Option<Pending>, Refusal> {
        if !self.skipped && self.received.starts_with(b"\r\n") {
            self.received.drain(..2); // RFC 9112 section 2.2: some clients end a body with one too many
            self.skipped = true;
        }
        let may_be_first_break = !self.skipped && self.received == b"\r";
        if self.received.is_empty() || may_be_first_break {
            return Ok(None);
        }
        let pending = Pending::take_head(&mut self.received, most_body)?;
        self.skipped &= pending.is_none();
        Ok(pending)
    }
}

impl Pending {
    /// Takes up to `most` bytes of the body from `rest`, and keeps those within the limit. Returns how many it took.
    fn keep(&mut self, rest: &mut &[u8], most: usize) -> usize {
        let (content, behind) = rest.split_at(rest.len().min(most));
        let room = self.limit.kept - self.request.body.len();
        self.request.body.extend_from_slice(&content[..content.len().min(room)]);
        self.request.is_cut |= content.len() > room;
        self.came += content.len();
        *rest = behind;
        content.len()
    }

    /// Takes the part of the body that has come from `rest`. Returns whether the body is whole.
    fn take_body(&mut self, rest: &mut &[u8]) -> Result<bool, Refusal> {
        let most = self.limit.most;
        loop {
            self.next = match self.next {
                Part::Sized(0) => return Ok(true),
                Part::Sized(_) | Part::Chunk(1..) if rest.is_empty() => return Ok(false),
                Part::Sized(left) => Part::Sized(left - self.keep(rest, left)),
                Part::ChunkSize => {
                    let Some(line) = take_line(rest, CHUNK_LINE_LIMIT)? else { return Ok(false) };
                    match chunk_size(line)? {
                        0 => Part::Trailers(0),
                        size if size > most - self.came => return Err(body_too_long(most)),
                        size => Part::Chunk(size),
                    }
                }
                Part::Chunk(0) => {
                    let Some(_) = take_line(rest, 0)? else { return Ok(false) };
                    Part::ChunkSize
                }
                Part::Chunk(left) => Part::Chunk(left - self.keep(rest, left)),
                Part::Trailers(before) => {
                    let Some(line) = take_line(rest, HEADERS_LIMIT - before)? else { return Ok(false) };
                    if line.is_empty() {
                        return Ok(true);
                    }
                    check_trailer(line)?;
                    Part::Trailers((before + line.len() + 2).min(HEADERS_LIMIT))
                }
            };
        }
    }
}

/// Takes the first line from `rest`, and returns it without its line break; `None` while it is incomplete. It may have
/// `limit` bytes.
fn take_line<'a>(rest: &mut &'a [u8], limit: usize) -> Result<Option<&'a [u8]>, Refusal> {
    let bytes = *rest;
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(limit + 2)]) else {
        return if bytes.len() < limit + 2 { Ok(None) } else { Err(bad_chunk()) };
    };
    *rest = &bytes[end + 1..];
    match bytes[..end].strip_suffix(b"\r") {
        Some(line) if !line.contains(&b'\r') => Ok(Some(line)),
        _ => Err(bad_chunk()),
    }
}

/// Reads hexadecimal digits, then perhaps blanks and an extension, which nobody uses and every reader has to ignore.
fn chunk_size(line: &[u8]) -> Result<usize, Refusal> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at(digits);
    let is_extension = matches!(rest.trim_ascii().first(), None | Some(b';'));
    let is_text = rest.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    if digits.is_empty() || !is_extension || !is_text {
        return Err(bad_chunk());
    }
    let digits = String::from_utf8_lossy(digits);
    Ok(usize::from_str_radix(&digits, 16).unwrap_or(usize::MAX)) // too large for any body
}

/// Checks a trailer line. Trailers are read and left out (RFC 9110 section 6.5.1). A line that is no trailer is
/// refused, because another reader could take it for the next request.
fn check_trailer(line: &[u8]) -> Result<(), Refusal> {
    let mut fields = [httparse::EMPTY_HEADER];
    match httparse::parse_headers(&[line, b"\r\n\r\n"].concat(), &mut fields) {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        _ => Err(bad_chunk()),
    }
}

fn bad_chunk() -> Refusal {
    Refusal::bad(
        "a chunk is malformed; send LENGTH in hexadecimal, CR LF, that many bytes, CR LF, and an empty chunk at the end",
    )
}

#[cfg(all(test, not(loom)))]
mod tests;
