//! The gate in front of tiny_http, which trusts its clients: is a whole, well-formed request there? Only then may
//! tiny_http read it. The gate looks at what the kernel holds without taking it (`MSG_PEEK`, recv(2)), so a thread
//! never waits for a client: what is not whole yet is left where it is, and its connection waits without a thread.
//!
//! **Strict** by RFC 9112, with `httparse` for the grammar, and stricter where tiny_http reads something else than the
//! RFC or cannot read it at all: what both understand in the same way is approved, everything else is refused with one
//! line. So approved means that tiny_http finds the same method, target and body length (a property test says so).
//!
//! **The ledger.** tiny_http reads blocks, so it may take more from the socket than was approved: bytes that came
//! while it read. The gate counts. Of all bytes that the kernel has received (`TCP_INFO`, tcp(7)), those that are no
//! longer there to be peeked at were taken; if these are more than were approved, something unchecked lies in
//! tiny_http's buffer, and if they are fewer, the rest of a body still lies in the socket. Either way the connection is
//! closed before any of it is taken for a request. The question takes 2 us, so it is asked after an answer where it can
//! be, when nobody waits for it ([`Gate::settle`]). Requests that are sent ahead (pipelined) are approved together, and
//! answered in order; behind anything that is not whole the connection is closed.

use std::io::{self, ErrorKind};

use httparse::{EMPTY_HEADER, Error as Grammar, Header, Status};

use crate::config::URL_LIMIT;
use crate::exchange::{Refusal, shown};
use crate::letterbox::Wire;
use crate::socket::Socket;

/// The most header fields; browsers send about twenty.
const MOST_HEADERS: usize = 64;

/// The most bytes of header lines. Their names and values are all that a client can say about itself; messages go into
/// the body.
const HEADERS_LIMIT: usize = 8 * 1024;

/// A method and a version beside the URL, generously.
const REQUEST_LINE_EXTRA: usize = 64;

/// The longest head: what is longer is refused for one of its parts.
const HEAD_LIMIT: usize = URL_LIMIT + REQUEST_LINE_EXTRA + HEADERS_LIMIT;

/// The most bytes of a body, chunk framing included, that are awaited in the kernel's buffer. The kernel is told to
/// hold twice that ([`RECEIVE_BYTES`](crate::socket::RECEIVE_BYTES)); a longer body, with its length declared, is read
/// by a thread of its own.
pub const HELD_LIMIT: usize = 128 * 1024;

/// Looks that one request may take, so that one that comes byte by byte cannot keep a core busy with looking.
const MOST_LOOKS: u32 = 1024;

/// Enough for a request as curl and scripts send it; looked at first.
const FIRST_LOOK: usize = 2048;

/// What one connection's requests may be.
pub struct Bounds<'a> {
    /// The longest body for a path, in bytes.
    pub most_body: &'a dyn Fn(&str) -> usize,
}

/// What a look has found.
#[derive(Debug)]
pub enum Look {
    /// Nothing yet, or not everything.
    NotYet(Stage),
    /// So many whole requests are there for tiny_http to read. What comes behind the last one cannot be trusted if
    /// `last` is set: it has to be answered with `Connection: close`.
    Whole {
        /// How many.
        requests: usize,
        /// Whether the connection ends after them.
        last: bool,
    },
    /// A head is there, and its body is too long to be awaited here: whoever reads it waits for the client.
    LongBody,
    /// To be answered with this and closed.
    Refused(Refusal),
    /// The client has closed the connection, or other bytes were taken than approved.
    Ended,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of it is there.
    Idle,
    /// A part of its head.
    Head,
    /// Its head, and a part of its body.
    Body,
}

/// What the gate knows of one connection.
#[derive(Clone, Copy)]
pub struct Gate {
    /// Whether the kernel counts what comes; not on a socket file. There a connection is trusted with requests once.
    counted: bool,
    /// Bytes of all requests approved so far.
    approved: u64,
    /// Looks at the request under way.
    looks: u32,
    /// The length of the request under way, head and body, once its head was seen.
    awaited: Option<usize>,
    /// Whether the client was told to send the body (`Expect: 100-continue`).
    asked: bool,
    /// Whether tiny_http takes all that was approved: a body of declared length it reads to its end, wanted or not.
    exact: bool,
    /// Whether it is known already that tiny_http has taken what was approved.
    settled: bool,
}

impl Gate {
    /// The gate for a new connection.
    pub fn new(socket: &Socket) -> Gate {
        let counted = socket.received().is_ok();
        Gate { counted, approved: 0, looks: 0, awaited: None, asked: false, exact: true, settled: true }
    }

    /// Looks whether tiny_http may read from `socket` now. Never waits. `scratch` is overwritten.
    pub fn look(&mut self, socket: &Socket, scratch: &mut Vec<u8>, bounds: &Bounds<'_>) -> Look {
        self.try_look(socket, scratch, bounds).unwrap_or(Look::Ended) // the connection is broken
    }

    fn try_look(&mut self, socket: &Socket, scratch: &mut Vec<u8>, bounds: &Bounds<'_>) -> io::Result<Look> {
        if let Some(awaited) = self.awaited
            && socket.unread()? < awaited
        {
            return Ok(if socket.has_peer_left() { Look::Refused(cut_off()) } else { Look::NotYet(Stage::Body) });
        }
        if !peek_everything(socket, scratch)? {
            return Ok(Look::NotYet(Stage::Idle));
        }
        if scratch.is_empty() {
            return Ok(Look::Ended);
        }
        if !self.settled && !self.took_what_was_approved(socket, scratch.len())? {
            return Ok(Look::Ended);
        }
        self.looks += 1;
        if self.looks > MOST_LOOKS {
            let line = "the request came in too many pieces; send it in larger ones";
            return Ok(Look::Refused(Refusal::new(408, line)));
        }
        Ok(self.judge(socket, scratch, bounds))
    }

    fn judge(&mut self, socket: &Socket, bytes: &[u8], bounds: &Bounds<'_>) -> Look {
        let (mut length, mut requests, mut exact) = (0, 0, true);
        loop {
            match check(&bytes[length..], bounds) {
                Ok(Check::Whole { length: more, chunked }) => {
                    (length, requests, exact) = (length + more, requests + 1, exact && !chunked);
                }
                Ok(Check::LongBody(whole)) if requests == 0 => {
                    self.approve(whole, false);
                    return Look::LongBody;
                }
                // Only what stands first is refused: what is sent ahead is never answered before its turn.
                Err(refusal) if requests == 0 => return Look::Refused(refusal),
                Ok(Check::Part(part)) if requests == 0 => return self.wait_for(part, socket),
                _ => {
                    self.approve(length as u64, exact);
                    return Look::Whole { requests, last: true };
                }
            }
            if length == bytes.len() {
                self.approve(length as u64, exact);
                return Look::Whole { requests, last: !self.counted };
            }
        }
    }

    fn wait_for(&mut self, part: Part, socket: &Socket) -> Look {
        if socket.has_peer_left() {
            return Look::Refused(cut_off());
        }
        if let Part::Body { whole, expects } = part {
            self.awaited = whole;
            if expects && !self.asked {
                self.asked = true;
                let _ = socket.send_now(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
        }
        Look::NotYet(if matches!(part, Part::Head) { Stage::Head } else { Stage::Body })
    }

    fn approve(&mut self, length: u64, exact: bool) {
        let (counted, approved) = (self.counted, self.approved + length);
        *self = Gate { counted, approved, looks: 0, awaited: None, asked: false, exact, settled: false };
    }

    /// To be called when all that was approved is answered. Where nothing more has come by then, tiny_http cannot have
    /// taken more, and the next look is spared the question: the client waits for that one, not for this.
    pub fn settle(&mut self, socket: &Socket) {
        self.settled = self.exact && socket.received().is_ok_and(|received| received == self.approved);
    }

    /// Whether tiny_http has taken what was approved, to the byte. `unread` is what was peeked at before; bytes that
    /// have come since, or were not peeked at, make it look like too much, so then both figures are taken until no byte
    /// comes in between.
    fn took_what_was_approved(&self, socket: &Socket, mut unread: usize) -> io::Result<bool> {
        loop {
            let taken = socket.received()?.saturating_sub(unread as u64);
            if taken <= self.approved {
                return Ok(taken == self.approved);
            }
            let now = socket.unread()?;
            if now == unread {
                return Ok(false);
            }
            unread = now;
        }
    }
}

/// Fills `scratch` with what the kernel holds, as far as a request may be long; false where there is nothing yet, empty
/// at the end of the connection.
fn peek_everything(socket: &Socket, scratch: &mut Vec<u8>) -> io::Result<bool> {
    for room in [FIRST_LOOK, HEAD_LIMIT + HELD_LIMIT] {
        scratch.clear();
        scratch.reserve(room);
        match socket.peek(scratch) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            peeked => peeked?,
        }
        if scratch.len() < scratch.capacity() {
            break;
        }
    }
    Ok(true)
}

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// A whole request.
    Whole {
        /// Its length.
        length: usize,
        /// Whether its body is chunked.
        chunked: bool,
    },
    /// The beginning of one.
    Part(Part),
    /// A head whose body is longer than is awaited in the kernel; the length of both.
    LongBody(u64),
}

/// The part of a request that is there.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// Not yet the whole head.
    Head,
    /// The head, not yet the whole body.
    Body {
        /// The length of head and body, where it was declared.
        whole: Option<usize>,
        /// Whether the client waits to be asked for the body.
        expects: bool,
    },
}

/// Checks what stands at the beginning of `bytes`.
///
/// # Errors
/// Why tiny_http shall not read it: 400, 413, 414, 417, 431, 501 or 505.
pub fn check(bytes: &[u8], bounds: &Bounds<'_>) -> Result<Check, Refusal> {
    let mut headers = [EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => {
            check_bounds(bytes)?;
            return Ok(Check::Part(Part::Head));
        }
        Err(error) => {
            // A head that is too long was cut off where we stopped looking.
            let whole = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |end| end + 4);
            check_bounds(&bytes[..whole])?;
            return Err(malformed(bytes, error));
        }
    };
    check_bounds(&bytes[..head])?;
    let (target, version) = (request.path.unwrap_or(""), request.version.unwrap_or(0));
    check_target(request.method.unwrap_or(""), target)?;
    let fields = Fields::read(request.headers, version)?;
    let rest = &bytes[head..];
    let limit = (bounds.most_body)(path_of(target));
    let part = |whole| Check::Part(Part::Body { whole, expects: fields.expects });
    match fields.body {
        Body::Length(length) if length > limit as u64 => Err(too_long(limit)),
        Body::Length(length) if length > HELD_LIMIT as u64 => Ok(Check::LongBody(head as u64 + length)),
        Body::Length(length) if length > rest.len() as u64 => Ok(part(Some(head + length as usize))),
        Body::Length(length) => Ok(Check::Whole { length: head + length as usize, chunked: false }),
        Body::Chunked => match chunked_length(rest, limit)? {
            // However much of it happens to be there: the verdict does not depend on when we look.
            None if rest.len() <= HELD_LIMIT => Ok(part(None)),
            Some(length) if length <= HELD_LIMIT => Ok(Check::Whole { length: head + length, chunked: true }),
            _ => Err(Refusal::new(
                413,
                format!("the chunked body takes more than {HELD_LIMIT} bytes; send it with Content-Length"),
            )),
        },
    }
}

/// A head, or what is there of it, is within its bounds, and its lines are lines.
fn check_bounds(head: &[u8]) -> Result<(), Refusal> {
    let line = memchr::memchr(b'\n', head).unwrap_or(head.len());
    if line > URL_LIMIT + REQUEST_LINE_EXTRA {
        return Err(url_too_long());
    }
    if head.len() - line > HEADERS_LIMIT {
        return Err(headers_too_long());
    }
    check_lines(head)
}

/// Lines end with CR LF and nothing else: tiny_http takes no bare LF (RFC 9112 section 2.2 leaves the choice). And no
/// line comes before the first.
fn check_lines(head: &[u8]) -> Result<(), Refusal> {
    if matches!(head.first(), Some(b'\r' | b'\n')) {
        return Err(Refusal::new(400, "the request begins with an empty line; begin with METHOD /PATH HTTP/1.1"));
    }
    let mut before = 0;
    for end in memchr::memchr_iter(b'\n', head) {
        if end == before || head[end - 1] != b'\r' {
            return Err(Refusal::new(400, "a line of the head ends with LF alone; end each with CR LF"));
        }
        before = end + 1;
    }
    Ok(())
}

/// Says what is wrong with a head that the grammar does not allow.
fn malformed(bytes: &[u8], error: Grammar) -> Refusal {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    let line = String::from_utf8_lossy(line.trim_ascii_end());
    let version = line.split(' ').nth(2).filter(|_| line.matches(' ').count() == 2).unwrap_or("");
    match (version, error) {
        (_, Grammar::TooManyHeaders) => headers_too_long(),
        ("HTTP/1.1" | "HTTP/1.0", Grammar::HeaderName | Grammar::HeaderValue | Grammar::NewLine) => {
            Refusal::new(400, "a header is malformed; send each as NAME: VALUE on a line of its own")
        }
        (version, Grammar::Version | Grammar::NewLine) if version.starts_with("HTTP/") => {
            Refusal::new(505, "this is no HTTP/1.1; send HTTP/1.1 or HTTP/1.0, as curl --http1.1 does")
        }
        _ => {
            let line = format!("{} is no request line; send METHOD /PATH HTTP/1.1", shown(before_query(&line)));
            Refusal::new(400, line)
        }
    }
}

/// The target is a path, an absolute URL, or `*` for OPTIONS (RFC 9112 section 3.2), of visible ASCII.
fn check_target(method: &str, target: &str) -> Result<(), Refusal> {
    if target.len() > URL_LIMIT {
        return Err(url_too_long());
    }
    if let Some(byte) = target.bytes().find(|byte| !byte.is_ascii_graphic()) {
        return Err(Refusal::new(400, format!("the URL holds the byte {byte:02X}; send it as %{byte:02X}")));
    }
    if target.starts_with('/') || is_absolute(target) || (target == "*" && method == "OPTIONS") {
        return Ok(());
    }
    Err(Refusal::new(400, format!("{} is no path; send one that begins with /", shown(before_query(target)))))
}

/// What may be shown: there may be a token in the query.
fn before_query(text: &str) -> &str {
    text.split('?').next().unwrap_or(text)
}

fn is_absolute(target: &str) -> bool {
    path_of(target).len() < target.len()
}

/// The path and query of a target, which may be an absolute URL: `http://host:4000/say` is `/say`.
pub fn path_of(target: &str) -> &str {
    if target.starts_with('/') {
        return target;
    }
    let Some((scheme, rest)) = target.split_once("://") else { return target };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return target;
    }
    match rest.find(['/', '?']) {
        Some(end) if rest[end..].starts_with('/') => &rest[end..],
        _ => "/",
    }
}

/// What the headers say about framing.
struct Fields {
    body: Body,
    expects: bool,
}

enum Body {
    Length(u64),
    Chunked,
}

impl Fields {
    fn read(headers: &[Header<'_>], version: u8) -> Result<Fields, Refusal> {
        let mut length = None;
        let (mut hosts, mut chunked, mut expects, mut upgrade) = (0, false, false, false);
        for header in headers {
            let value = check_header(header)?;
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("Host") {
                hosts += 1;
                check_host(value)?;
            } else if is("Content-Length") {
                let number = content_length(value)?;
                if length.replace(number).is_some() {
                    return Err(Refusal::new(400, "Content-Length comes twice; send it once"));
                }
            } else if is("Transfer-Encoding") {
                if value != "chunked" || chunked {
                    return Err(Refusal::new(
                        501,
                        format!("the transfer encoding is {}; send chunked or Content-Length", shown(value)),
                    ));
                }
                chunked = true;
            } else if is("Expect") {
                if !value.eq_ignore_ascii_case("100-continue") || version == 0 || expects {
                    return Err(Refusal::new(417, "only Expect: 100-continue is understood; leave others out"));
                }
                expects = true;
            } else if is("Connection") {
                upgrade |= value.to_ascii_lowercase().contains("upgrade");
            }
        }
        if hosts > 1 || (hosts == 0 && version > 0) {
            return Err(Refusal::new(400, format!("there are {hosts} Host headers; send Host: NAME once")));
        }
        if chunked && (length.is_some() || version == 0) {
            return Err(Refusal::new(400, "chunked does not go with Content-Length or HTTP/1.0; send one of them"));
        }
        if chunked && upgrade {
            return Err(Refusal::new(400, "a chunked body cannot come with Connection: upgrade; leave one out"));
        }
        Ok(Fields { body: if chunked { Body::Chunked } else { Body::Length(length.unwrap_or(0)) }, expects })
    }
}

/// The header's value without the blanks around it, if tiny_http can read it: it takes fewer bytes than RFC 9110
/// section 5 allows.
fn check_header<'a>(header: &Header<'a>) -> Result<&'a str, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let printable = |byte: &u8| (0x20..0x7f).contains(byte);
    if header.name.bytes().all(plain) && header.value.iter().all(printable) {
        return Ok(std::str::from_utf8(header.value).unwrap_or("").trim_matches(' '));
    }
    let name = shown(header.name);
    Err(Refusal::new(400, format!("the header {name} holds other than plain ASCII; leave it out or encode it")))
}

/// `HOST` or `HOST:PORT` (RFC 9110 section 7.2), which may be empty.
fn check_host(value: &str) -> Result<(), Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte);
    match value.bytes().all(allowed) {
        true => Ok(()),
        false => Err(Refusal::new(400, format!("{} is no host; send Host: NAME or NAME:PORT", shown(value)))),
    }
}

/// One decimal number, digits alone (RFC 9110 section 8.6); one too large for any body stays too large.
fn content_length(value: &str) -> Result<u64, Refusal> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::new(400, format!("Content-Length is {}; send one whole number", shown(value))));
    }
    // tiny_http ignores a length that it cannot hold; nothing that long is ever approved.
    Ok(value.parse().unwrap_or(u64::MAX))
}

/// The length of a chunked body with its framing, or `None` while it is not whole (RFC 9112 section 7.1). Trailers are
/// refused: tiny_http would leave them to be parsed as the next request.
fn chunked_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, Refusal> {
    let (mut place, mut content) = (0, 0);
    loop {
        let line = &bytes[place..];
        let Some(end) = memchr::memchr(b'\r', &line[..line.len().min(CHUNK_LINE_LIMIT)]) else {
            let may_come = line.len() < CHUNK_LINE_LIMIT && !line.contains(&b'\n');
            return if may_come { Ok(None) } else { Err(bad_chunk()) };
        };
        let size = chunk_size(&line[..end])?;
        content = usize::saturating_add(content, size);
        if content > limit {
            return Err(too_long(limit));
        }
        let after = place + end + 2 + size;
        for line_break in [place + end, after] {
            let found = &bytes[line_break.min(bytes.len())..];
            if !b"\r\n".starts_with(&found[..found.len().min(2)]) {
                return Err(bad_chunk());
            }
        }
        if after + 2 > bytes.len() {
            return Ok(None);
        }
        place = after + 2;
        if size == 0 {
            return Ok(Some(place));
        }
    }
}

/// The longest line that says a chunk's length.
const CHUNK_LINE_LIMIT: usize = 64;

/// Hexadecimal digits alone, or with an extension, which nobody uses and everybody has to ignore.
fn chunk_size(line: &[u8]) -> Result<usize, Refusal> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or(line);
    let printable = line.iter().all(|byte| (0x20..0x7f).contains(byte));
    let text = std::str::from_utf8(digits).ok().filter(|_| printable);
    let text = text.filter(|text| (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.and_then(|text| usize::from_str_radix(text, 16).ok()).ok_or_else(bad_chunk)
}

fn bad_chunk() -> Refusal {
    Refusal::new(
        400,
        "a chunk is malformed; send LENGTH in hexadecimal, CR LF, that many bytes, CR LF, and no trailers",
    )
}

fn url_too_long() -> Refusal {
    Refusal::new(414, format!("the URL is longer than {URL_LIMIT} bytes; send the message in the body"))
}

fn headers_too_long() -> Refusal {
    let line = format!("the headers are more than {MOST_HEADERS} or {HEADERS_LIMIT} bytes; send fewer");
    Refusal::new(431, line)
}

fn too_long(limit: usize) -> Refusal {
    Refusal::new(413, format!("the body is longer than {limit} bytes; send less"))
}

fn cut_off() -> Refusal {
    Refusal::new(400, "the request ended early; send all of it and wait for the answer")
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::io::Write;

    const LIMIT: usize = 1000;

    #[test]
    fn more_or_less_than_was_approved_is_noticed_whenever_the_next_request_comes() {
        const SAY: &str = "POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nHi";
        const CHUNKED: &str = "POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nHi\r\n0\r\n\r\n";
        // What comes while tiny_http reads the first request, how many bytes it takes, what comes after the answer.
        let check = |first: &str, meanwhile: &str, taken: usize, after: &str, goes_on: bool| {
            let (mut client, _, found, _connection) = crate::socket::tests::accept();
            let (socket, bounds) = (&*found.socket, Bounds { most_body: &|_| LIMIT });
            let mut gate = Gate::new(socket);
            let mut send = |text: &str, unread: usize| {
                client.write_all(text.as_bytes()).unwrap();
                while socket.unread().unwrap() < unread {
                    std::thread::yield_now();
                }
            };
            send(first, first.len());
            assert!(matches!(gate.look(socket, &mut vec![], &bounds), Look::Whole { requests: 1, last: false }));
            send(meanwhile, first.len() + meanwhile.len());
            let mut bytes = vec![0; taken];
            socket.call(|socket| rustix::net::recv(socket, &mut bytes, rustix::net::RecvFlags::empty())).unwrap();
            gate.settle(socket);
            send(after, first.len() + meanwhile.len() + after.len() - taken);
            let look = gate.look(socket, &mut vec![], &bounds);
            assert_eq!(matches!(look, Look::Whole { .. }), goes_on, "{first:?} {meanwhile:?} {taken} {look:?}");
            assert_eq!(matches!(look, Look::Ended), !goes_on);
        };
        check(SAY, "", SAY.len(), SAY, true);
        check(SAY, SAY, SAY.len(), "", true);
        check(SAY, SAY, SAY.len() + 1, "", false);
        check(SAY, SAY, 2 * SAY.len(), SAY, false);
        check(CHUNKED, "", CHUNKED.len(), SAY, true);
        check(CHUNKED, "", CHUNKED.len() - 2, SAY, false);
        check(CHUNKED, SAY, CHUNKED.len() + SAY.len(), SAY, false);
    }

    fn checked(bytes: impl AsRef<[u8]>) -> Result<Check, Refusal> {
        check(bytes.as_ref(), &Bounds { most_body: &|_| LIMIT })
    }

    fn whole(request: &str) {
        let whole = Ok(Check::Whole { length: request.len(), chunked: request.contains("chunked") });
        assert_eq!(checked(request), whole, "{request:?}");
        // Whatever comes behind it is not its business, and without its last byte it is a part.
        assert_eq!(checked(format!("{request}GET")), whole, "{request:?}");
        for length in 0..request.len() {
            assert!(matches!(checked(&request[..length]), Ok(Check::Part(_))), "{:?}", &request[..length]);
        }
    }

    fn refused(request: impl AsRef<[u8]>, status: u16, line: &str) {
        let refusal = checked(&request).expect_err(&String::from_utf8_lossy(request.as_ref()));
        assert_eq!((refusal.status, refusal.line.as_str()), (status, line));
    }

    #[test]
    fn what_clients_send_is_whole_when_its_last_byte_is_there() {
        whole("GET / HTTP/1.1\r\nHost: localhost:4000\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n");
        whole("GET /say?message=Hi HTTP/1.0\r\n\r\n");
        whole("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nmessage=Hi");
        whole(
            "POST /say HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\na\r\nmessage=Hi\r\n2;x=y\r\n!!\r\n0\r\n\r\n",
        );
        whole("GET http://localhost:4000/say?message=Hi HTTP/1.1\r\nHost: localhost\r\n\r\n");
        whole("OPTIONS * HTTP/1.1\r\nHost: [::1]:4000\r\n\r\n");
        whole("POST /say HTTP/1.1\r\nhost: x\r\ncontent-length:   0  \r\nExpect: 100-Continue\r\n\r\n");
    }

    #[test]
    fn a_body_that_is_not_there_is_awaited_and_a_long_one_read_by_a_thread() {
        let head = "POST /say HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n";
        let part = Part::Body { whole: Some(head.len() + 1000), expects: true };
        assert_eq!(checked(head), Ok(Check::Part(part)));
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
        let long = check(head.as_bytes(), &Bounds { most_body: &|_| 1 << 20 });
        assert_eq!(long, Ok(Check::LongBody(head.len() as u64 + 1_000_000)));
    }

    #[test]
    fn the_limit_is_that_of_the_path() {
        let most_body = |path: &str| if path.starts_with("/hook") { 20 } else { 10 };
        let check = |target: &str| {
            let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n123456789012345");
            super::check(request.as_bytes(), &Bounds { most_body: &most_body }).is_ok()
        };
        assert!(check("/hook/gitlab") && check("http://x/hook"));
        assert!(!check("/say") && !check("http://hook/say"));
    }

    #[test]
    fn http_versions_other_than_1_are_refused() {
        let line = "this is no HTTP/1.1; send HTTP/1.1 or HTTP/1.0, as curl --http1.1 does";
        for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/1.2", "HTTP/1.11"] {
            refused(format!("GET / {version}\r\nHost: x\r\n\r\n"), 505, line);
        }
        refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, line);
    }

    #[test]
    fn what_two_could_read_in_two_ways_is_refused() {
        let with = |headers: &str| format!("POST /say HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n0\r\n\r\n");
        let number = |shown: &str| format!("Content-Length is {shown}; send one whole number");
        for (value, shown) in
            [("+5", "\"+5\""), ("5, 5", "\"5, 5\""), ("0x5", "\"0x5\""), ("-1", "\"-1\""), ("", "\"\"")]
        {
            refused(with(&format!("Content-Length: {value}")), 400, &number(shown));
        }
        refused(with("Content-Length: 5\r\nContent-Length: 5"), 400, "Content-Length comes twice; send it once");
        let both = "chunked does not go with Content-Length or HTTP/1.0; send one of them";
        refused(with("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400, both);
        refused(with("Transfer-Encoding: chunked").replace("1.1", "1.0"), 400, both);
        for value in ["gzip, chunked", "Chunked", "identity", "", "chunked, chunked"] {
            let line = format!("the transfer encoding is {value:?}; send chunked or Content-Length");
            refused(with(&format!("Transfer-Encoding: {value}")), 501, &line);
        }
        let malformed = "a header is malformed; send each as NAME: VALUE on a line of its own";
        for header in ["X: a\r\n b", "X : a", ": a", "X", "Content-Length : 5", "X: a\0b", "X: a\rb"] {
            refused(with(header), 400, malformed);
        }
        let ends = "a line of the head ends with LF alone; end each with CR LF";
        refused("GET / HTTP/1.1\nHost: x\n\n", 400, ends);
        refused(with("X: a\nY: b"), 400, ends);
        refused(with("Host: y"), 400, "there are 2 Host headers; send Host: NAME once");
        refused("GET / HTTP/1.1\r\n\r\n", 400, "there are 0 Host headers; send Host: NAME once");
        refused(with("Expect: 200-ok"), 417, "only Expect: 100-continue is understood; leave others out");
        let upgrade = "a chunked body cannot come with Connection: upgrade; leave one out";
        refused(with("Transfer-Encoding: chunked\r\nConnection: Upgrade"), 400, upgrade);
    }

    #[test]
    fn chunks_are_checked_whole() {
        let with = |body: &str| format!("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        let line = "a chunk is malformed; send LENGTH in hexadecimal, CR LF, that many bytes, CR LF, and no trailers";
        for body in [
            "x\r\n",
            "+1\r\na\r\n",
            " 1\r\n",
            "\r\n",
            "1\n",
            "1\r\nab\r\n",
            "0\r\nX: y\r\n\r\n",
            "000000001\r\n",
            "1 \r\n",
        ] {
            refused(with(body), 400, line);
        }
        refused(with(&"0".repeat(64)), 400, line);
        let limit = "the body is longer than 1000 bytes; send less";
        refused(with("3e9\r\n"), 413, limit);
        refused(with("ffffffff\r\n"), 413, limit);
        refused(with("1\r\nx\r\n3e8\r\n"), 413, limit);
    }

    #[test]
    fn chunks_too_many_to_hold_are_refused_whether_or_not_all_are_there() {
        let head = "POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let verdict = |count: usize, sent: usize| {
            let request = format!("{head}{}0\r\n\r\n", "1\r\nx\r\n".repeat(count));
            let sent = &request.as_bytes()[..sent.min(request.len())];
            check(sent, &Bounds { most_body: &|_| HELD_LIMIT }).map_err(|refusal| refusal.status)
        };
        let most = (HELD_LIMIT - 5) / 6;
        assert_eq!(verdict(most, usize::MAX), Ok(Check::Whole { length: head.len() + 6 * most + 5, chunked: true }));
        assert_eq!(
            verdict(most + 1, head.len() + HELD_LIMIT),
            Ok(Check::Part(Part::Body { whole: None, expects: false }))
        );
        assert_eq!(verdict(most + 1, head.len() + HELD_LIMIT + 1), Err(413));
        assert_eq!(verdict(most + 1, usize::MAX), Err(413));
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_is_whole() {
        let url = "the URL is longer than 8192 bytes; send the message in the body";
        refused(format!("GET /{}", "x".repeat(URL_LIMIT + 100)), 414, url);
        refused(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(URL_LIMIT)), 414, url);
        let headers = "the headers are more than 64 or 8192 bytes; send fewer";
        refused(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(HEADERS_LIMIT)), 431, headers);
        refused(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(HEADERS_LIMIT)), 431, headers);
        refused(format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(65)), 431, headers);
        let body = "the body is longer than 1000 bytes; send less";
        for length in ["1001", "9000000000000000000", "99999999999999999999999"] {
            refused(format!("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"), 413, body);
        }
    }

    #[test]
    fn targets_are_paths_of_visible_ascii() {
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        refused(get("say"), 400, "\"say\" is no path; send one that begins with /");
        refused(get("*"), 400, "\"*\" is no path; send one that begins with /");
        refused(get("ftp://x/say"), 400, "\"ftp://x/say\" is no path; send one that begins with /");
        refused(get("/say?message=ü"), 400, "the URL holds the byte C3; send it as %C3");
        refused(
            "GET /say?message=a b HTTP/1.1\r\n\r\n",
            400,
            "\"GET /say\" is no request line; send METHOD /PATH HTTP/1.1",
        );
        refused("hello\r\n\r\n", 400, "\"hello\" is no request line; send METHOD /PATH HTTP/1.1");
        refused(
            "\r\nGET / HTTP/1.1\r\n\r\n",
            400,
            "the request begins with an empty line; begin with METHOD /PATH HTTP/1.1",
        );
    }

    #[test]
    fn a_whole_url_is_its_path() {
        let check = |target: &str, path: &str| assert_eq!(path_of(target), path);
        check("/say?x=http://a/b", "/say?x=http://a/b");
        check("http://localhost:4000/say?message=Hi", "/say?message=Hi");
        check("HTTPS://x/listen", "/listen");
        check("http://x", "/");
        check("ftp://x/y", "ftp://x/y");
    }
}
