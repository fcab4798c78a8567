//! One request and its answer: method, path and headers in, the body in within bounds, head and body out. What every
//! handler needs of HTTP beyond what tiny_http does right (see the notes on its `Response` at [`Answer`]).

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{ErrorKind, Read, Write};
use std::iter;
use std::sync::Arc;

use tiny_http::{HTTPVersion, Method, Request, StatusCode};

use crate::clock;
use crate::config::Config;
use crate::counters::Counters;
use crate::gate::path_of;
use crate::letterbox::{STALL_LIMIT, Wire};
use crate::listen::Listener;
use crate::memory;
use crate::message::Message;
use crate::socket::Socket;

/// Text, as every answer but a stream is.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// What a connection does after an answer.
pub enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It ends.
    Close,
    /// It is a listener's, and needs a thread of its own.
    Listen(Box<Listener>),
    /// It is answered when the message is kept.
    HandIn(Box<HandIn>),
}

/// A message that has to be kept, and the request that is answered then.
pub struct HandIn {
    /// What is said.
    pub message: Message,
    /// Who says it.
    pub unanswered: Unanswered,
}

/// A request that was read and waits for its answer, without anything of the server in its hands.
pub struct Unanswered {
    request: Request,
    body_read: bool,
    last: bool,
}

/// An answer with a body that is whole in memory. Written by us, not by tiny_http's `Response`, which drops
/// `Connection` headers and builds each head from a dozen small allocations.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers beside `Date`, `Content-Length`, `Connection` and CORS, each ended by a line break.
    pub headers: String,
    /// The body; left out where the method is HEAD.
    pub body: String,
}

impl Answer {
    /// An answer with a body and its type.
    pub fn new(status: u16, content_type: &str, body: impl Into<String>) -> Answer {
        let mut headers = String::with_capacity(192); // what `/say` answers with fits
        headers.extend(["Content-Type: ", content_type, "\r\n"]);
        Answer { status, headers, body: body.into() }
    }

    /// The same with one more header. Neither part may hold a line break.
    pub fn with(mut self, name: &str, value: impl Display) -> Answer {
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }
}

/// Why a request is refused, for the client to read: what is wrong, and what to send instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// `WHAT is wrong; WHAT to send instead`, one line.
    pub line: String,
    /// One more header: `Allow` for 405, `Retry-After` for 503.
    pub header: Option<(&'static str, Cow<'static, str>)>,
}

impl Refusal {
    /// A refusal without further headers.
    pub fn new(status: u16, line: impl Into<String>) -> Refusal {
        Refusal { status, line: line.into(), header: None }
    }

    /// The same with a header.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Refusal {
        self.header = Some((name, value.into()));
        self
    }

    fn answer(&self, json: bool) -> Answer {
        let answer = if json {
            let body = serde_json::json!({ "error": self.line }).to_string();
            Answer::new(self.status, "application/json", body)
        } else {
            Answer::new(self.status, TEXT, format!("aloud: {}\n", self.line))
        };
        match &self.header {
            Some((name, value)) => answer.with(name, value),
            None => answer,
        }
    }
}

/// What a client sent, safe to show: control characters escaped, and no longer than a name may be.
pub fn shown(text: &str) -> String {
    let cut: String = text.chars().take(crate::message::NAME_LIMIT).collect();
    format!("\"{}\"{}", cut.escape_debug(), if cut.len() < text.len() { "..." } else { "" })
}

/// A request on its way to an answer. The gate has let it through, so its framing is sound and, unless it is long, its
/// body is there.
pub struct Exchange<'a> {
    request: Request,
    socket: &'a Arc<Socket>,
    config: &'a Config,
    counters: &'a Counters,
    body_read: bool,
    /// Whether the connection ends after the answer, whatever the client says.
    last: bool,
    patient: bool,
}

impl<'a> Exchange<'a> {
    /// Takes over a request that came on `socket`, the `last` one that is answered there.
    /// Refusals are counted in `counters`.
    pub fn new(
        request: Request,
        socket: &'a Arc<Socket>,
        config: &'a Config,
        counters: &'a Counters,
        last: bool,
    ) -> Exchange<'a> {
        Exchange { request, socket, config, counters, body_read: false, last, patient: false }
    }

    /// The same, with a thread of its own, which may wait for the client to take the answer.
    pub fn patient(self) -> Exchange<'a> {
        Exchange { patient: true, ..self }
    }

    /// Whether it has a thread of its own, which may wait.
    pub fn is_patient(&self) -> bool {
        self.patient
    }

    /// Leaves the request to be answered later.
    pub fn leave(self) -> Unanswered {
        Unanswered { request: self.request, body_read: self.body_read, last: self.last }
    }

    /// Takes up again what was [left](Self::leave); the other arguments as in [`new`](Self::new).
    pub fn again(
        unanswered: Unanswered,
        socket: &'a Arc<Socket>,
        config: &'a Config,
        counters: &'a Counters,
    ) -> Exchange<'a> {
        let Unanswered { request, body_read, last } = unanswered;
        Exchange { body_read, ..Exchange::new(request, socket, config, counters, last) }
    }

    /// What the user set.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// The method.
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// Path and query, also where a whole URL was asked for.
    pub fn url(&self) -> &str {
        path_of(self.request.url())
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.url().split_once('?').map_or(self.url(), |(path, _)| path)
    }

    /// The query, without the question mark; may be empty.
    pub fn query(&self) -> &str {
        self.url().split_once('?').map_or("", |(_, query)| query)
    }

    /// The first value of the header `name`, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).map(|value| value.as_str())
    }

    /// The first value of `key` in the query, decoded.
    pub fn query_value(&self, key: &str) -> Option<Cow<'_, str>> {
        form_urlencoded::parse(self.query().as_bytes()).find(|(found, _)| found == key).map(|(_, value)| value)
    }

    /// Whether the client asks for JSON.
    pub fn wants_json(&self) -> bool {
        self.header("Accept").is_some_and(|accept| accept.to_ascii_lowercase().contains("application/json"))
    }

    /// Whether the client speaks HTTP/1.1, which knows chunks.
    pub fn chunked(&self) -> bool {
        *self.request.http_version() >= HTTPVersion(1, 1)
    }

    /// The connection's socket.
    pub fn socket(&self) -> &'a Arc<Socket> {
        self.socket
    }

    /// Who asks, for the log.
    pub fn peer(&self) -> String {
        self.socket.peer()
    }

    fn connection_says(&self, word: &str) -> bool {
        self.header("Connection").is_some_and(|value| value.to_ascii_lowercase().contains(word))
    }

    fn has_chunked_body(&self) -> bool {
        self.header("Transfer-Encoding").is_some()
    }

    /// Reads the whole body, whose length the gate has checked. To be called once.
    ///
    /// # Errors
    /// 408 where the rest of it does not come, 400 where it ends early, 503 where there is no room for it. The
    /// connection ends then: what comes later is still of this body, and may not be taken for a request.
    pub fn body(&mut self) -> Result<Vec<u8>, Refusal> {
        self.body_read = true;
        let body = self.read_body();
        self.last |= body.is_err();
        body
    }

    fn read_body(&mut self) -> Result<Vec<u8>, Refusal> {
        let mut body = vec![];
        match self.request.body_length() {
            // tiny_http takes an early end for an end, and the raw socket for the body of an upgrade: count.
            Some(length) => {
                if body.try_reserve_exact(length).is_err() || (self.patient && !memory::is_left()) {
                    return Err(Refusal::new(503, "no memory is left for this body; try again in a moment"));
                }
                let mut reader = self.request.as_reader().take(length as u64);
                reader.read_to_end(&mut body).map_err(unreadable)?;
                if body.len() < length {
                    return Err(Refusal::new(400, "the body ended early; send all of it and wait for the answer"));
                }
            }
            None if self.has_chunked_body() => drop(self.request.as_reader().read_to_end(&mut body)),
            None => {}
        }
        Ok(body)
    }

    /// Whether the request has a body.
    pub fn has_body(&self) -> bool {
        self.has_chunked_body() || self.request.body_length().is_some_and(|length| length > 0)
    }

    /// Whether the connection ends after the answer: because the client says so, or is of HTTP/1.0 and does not ask to
    /// keep it (RFC 9112 section 9.3); or because a body that was not awaited is left unread.
    fn closes(&self) -> bool {
        self.last
            || (self.patient && !self.body_read && self.has_body())
            || self.connection_says("close")
            || self.connection_says("upgrade")
            || (!self.chunked() && !self.connection_says("keep-alive"))
    }

    /// Sends `answer`.
    pub fn answer(self, answer: Answer) -> After {
        let closes = self.closes();
        let mut bytes = Vec::with_capacity(512 + answer.body.len());
        let connection = match (closes, self.chunked()) {
            (true, _) => "Connection: close\r\n",
            (false, false) => "Connection: keep-alive\r\n",
            (false, true) => "",
        };
        write_head(self.config, &mut bytes, answer.status, &[&answer.headers, connection]);
        if !matches!(answer.status, 204 | 304) {
            let _ = write!(bytes, "Content-Length: {}\r\n", answer.body.len());
        }
        bytes.extend_from_slice(b"\r\n");
        if *self.method() != Method::Head {
            bytes.extend_from_slice(answer.body.as_bytes());
        }
        self.send(&bytes, closes)
    }

    /// Sends `refusal`, as one line of text or as JSON.
    pub fn refuse(self, refusal: &Refusal) -> After {
        self.counters.refused(refusal.status);
        let json = self.wants_json();
        self.answer(refusal.answer(json))
    }

    /// The head of a stream that goes on until one side hangs up; the rest of it is the caller's.
    pub fn stream_head(&self, headers: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let framing = match (self.chunked(), self.closes()) {
            (true, false) => "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
            (true, true) => "Connection: close\r\nTransfer-Encoding: chunked\r\n",
            (false, _) => "Connection: close\r\n",
        };
        write_head(self.config, &mut bytes, 200, &[headers, framing]);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The head of that stream alone: what HEAD asks for.
    pub fn answer_head(self, headers: &str) -> After {
        let (bytes, closes) = (self.stream_head(headers), self.closes() || !self.chunked());
        self.send(&bytes, closes)
    }

    /// Sends that head and then `pieces`, each made when the client has taken those before it. Their framing is the
    /// caller's: for HTTP/1.1 chunks, of which the last ends the answer.
    pub fn answer_in_pieces(self, headers: &str, pieces: impl Iterator<Item = Vec<u8>>) -> After {
        let (head, closes) = (self.stream_head(headers), self.closes() || !self.chunked());
        let all_sent = iter::once(head).chain(pieces).all(|piece| self.send_all(&piece));
        self.finish(all_sent && !closes)
    }

    fn send(self, bytes: &[u8], closes: bool) -> After {
        let all_sent = self.send_all(bytes);
        self.finish(all_sent && !closes)
    }

    /// Sends `bytes` to the socket, past tiny_http's writer: no wait that we do not want, no copy. A client that does
    /// not take its answer is waited for only where that holds up nobody else. False where it has not taken all.
    fn send_all(&self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match self.socket.send_now(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.patient => {
                    if self.socket.wait_until_writable(STALL_LIMIT).is_err() {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn finish(mut self, keep_alive: bool) -> After {
        if !self.body_read && self.has_chunked_body() {
            let _ = self.body(); // or what is left of it would be taken for the next request
        }
        self.let_go();
        if keep_alive { After::KeepAlive } else { After::Close }
    }

    /// Drops the request, answered on the socket: tiny_http, which says 500 to what it takes for unanswered, writes
    /// nothing once its writer was taken.
    pub fn let_go(self) {
        drop(self.request.into_writer());
    }
}

/// What refuses a client whose request nobody could read: the last thing on its connection.
pub fn refusal_alone(config: &Config, refusal: &Refusal) -> Vec<u8> {
    let (mut bytes, answer) = (vec![], refusal.answer(false));
    write_head(config, &mut bytes, answer.status, &[&answer.headers, "Connection: close\r\n"]);
    let _ = write!(bytes, "Content-Length: {}\r\n\r\n{}", answer.body.len(), answer.body);
    bytes
}

fn write_head(config: &Config, bytes: &mut Vec<u8>, status: u16, headers: &[&str]) {
    let reason = StatusCode(status).default_reason_phrase();
    let date = httpdate::HttpDate::from(clock::machine_time());
    let origin = &config.allow_origin;
    let vary = if origin == "*" { "" } else { "Vary: Origin\r\n" };
    let _ = write!(bytes, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nAccess-Control-Allow-Origin: ");
    [origin, "\r\n", vary].iter().chain(headers).for_each(|part| bytes.extend_from_slice(part.as_bytes()));
}

fn unreadable(error: std::io::Error) -> Refusal {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Refusal::new(408, "the body did not come; send it at once"),
        _ => Refusal::new(400, "the body cannot be read; send it whole, with Content-Length or well-formed chunks"),
    }
}
