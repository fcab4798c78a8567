//! One request and its answer: method, path, headers and a bounded body in; head and body out. All that a handler needs
//! of HTTP.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::{Display, Write as _};
use std::io::{ErrorKind, Write};
use std::iter;
use std::sync::Arc;

use tiny_http::StatusCode;

use crate::api::listen::Listener;
use crate::clock;
use crate::config::Config;
use crate::counters::Counters;
use crate::http::accept;
use crate::http::framing::Arrived;
use crate::http::head::is_passed_on;
use crate::net::socket::Socket;
use crate::room::hub::{Receipt, Refused};
use crate::room::letterbox::{STALL_LIMIT, Wire};
use crate::room::message::{Mark, Message};

/// The content type of text: of every answer but a stream.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The next step of a connection after an answer.
pub enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It ends.
    Close,
    /// It becomes a listener's, and needs a thread of its own.
    Listen(Box<Listener>),
    /// It waits for its answer until the message is kept.
    HandIn(Box<HandIn>),
}

/// A message that has to be kept, and the request that is answered then.
pub struct HandIn {
    /// The message.
    pub message: Message,
    /// Its mark, if it is to be said once.
    pub once: Option<Mark>,
    /// The request that waits for its answer.
    pub unanswered: Unanswered,
    /// Answers it.
    pub answering: Answering,
}

/// Answers a request when it is known what became of its message.
pub type Answering = Box<dyn FnOnce(Exchange<'_>, Result<Receipt, Refused>) -> Outcome + Send>;

/// The result of a request.
pub struct Outcome {
    /// The next step of the connection.
    pub after: After,
    /// How many listeners' letterboxes a message was put in: so many may have to be lent a hand.
    pub reached: usize,
}

impl From<After> for Outcome {
    fn from(after: After) -> Outcome {
        Outcome { after, reached: 0 }
    }
}

/// A request that was read and waits for its answer. It holds nothing of the server.
pub struct Unanswered {
    arrived: Arrived,
    more_behind: bool,
}

impl Unanswered {
    /// Wraps a request that has come. `more_behind`: the client has already sent more after it.
    pub fn new(arrived: Arrived, more_behind: bool) -> Unanswered {
        Unanswered { arrived, more_behind }
    }

    /// The path and query that were asked for.
    pub fn url(&self) -> &str {
        self.arrived.request.url()
    }
}

/// An answer whose whole body is in memory. aloud writes it itself, because tiny_http's `Response` drops `Connection`
/// headers and builds each head from a dozen small allocations.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers beside `Date`, `Cache-Control`, `Vary`, `Content-Length`, `Connection` and CORS, each ended by a line
    /// break.
    pub headers: String,
    /// The value of `Cache-Control`: by default no cache may keep the answer, since `GET /say` speaks.
    pub caching: &'static str,
    /// The body; it is not sent if the method is HEAD.
    pub body: String,
}

impl Answer {
    /// An answer with a body and its type.
    pub fn new(status: u16, content_type: &str, body: impl Into<String>) -> Answer {
        let mut answer = Answer::empty(status);
        answer.headers.reserve(192); // an answer of `/say` fits
        answer.headers.extend(["Content-Type: ", content_type, "\r\n"]);
        Answer { body: body.into(), ..answer }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Answer {
        Answer { status, headers: String::new(), caching: "no-store", body: String::new() }
    }

    /// Adds a header to the answer. Neither part may hold a line break.
    pub fn with(mut self, name: &str, value: impl Display) -> Answer {
        let _ = write!(self.headers, "{name}: {value}\r\n");
        self
    }
}

/// The refusal of a request, for the client to read: what is wrong, and what to send instead.
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

    /// Adds a header to the refusal.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Refusal {
        self.header = Some((name, value.into()));
        self
    }

    fn answer(&self, json: bool) -> Answer {
        let answer = if json {
            let body = serde_json::json!({ "error": self.line }).to_string() + "\n";
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

/// Client input, made safe to show: control characters escaped, and no longer than a name may be.
pub fn shown(text: &str) -> String {
    let cut: String = text.chars().take(crate::room::message::NAME_LIMIT).collect();
    format!("\"{}\"{}", cut.escape_debug(), if cut.len() < text.len() { "..." } else { "" })
}

/// A request on its way to an answer.
pub struct Exchange<'a> {
    unanswered: Unanswered,
    socket: &'a Arc<Socket>,
    config: &'a Config,
    counters: &'a Counters,
    patient: bool,
    /// Whether the answer depends on the header `Accept`.
    varies: Cell<bool>,
}

impl<'a> Exchange<'a> {
    /// Takes over a request that came on `socket`. Refusals are counted in `counters`.
    pub fn new(
        unanswered: Unanswered,
        socket: &'a Arc<Socket>,
        config: &'a Config,
        counters: &'a Counters,
    ) -> Exchange<'a> {
        Exchange { unanswered, socket, config, counters, patient: false, varies: Cell::new(false) }
    }

    /// Gives the exchange a thread of its own, which may wait for the client to take the answer.
    pub fn patient(self) -> Exchange<'a> {
        Exchange { patient: true, ..self }
    }

    /// Whether the exchange has a thread of its own, which may wait.
    pub fn is_patient(&self) -> bool {
        self.patient
    }

    /// Leaves the request to be answered later.
    pub fn leave(self) -> Unanswered {
        self.unanswered
    }

    /// The configuration of the server.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// The method.
    pub fn method(&self) -> &str {
        self.unanswered.arrived.request.method()
    }

    /// Path and query, also if the request names a whole URL.
    pub fn url(&self) -> &str {
        self.unanswered.url()
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.url().split_once('?').map_or(self.url(), |(path, _)| path)
    }

    /// The query, without the question mark; may be empty.
    pub fn query(&self) -> &str {
        self.url().split_once('?').map_or("", |(_, query)| query)
    }

    /// The value of the header `name`, whatever its case. For a list header, all its lines make one list; for others,
    /// the first line counts. Bytes beyond ASCII are percent-encoded.
    pub fn header(&self, name: &str) -> Option<&str> {
        debug_assert!(is_passed_on(name), "{name} is not passed on");
        self.unanswered.arrived.request.header(name)
    }

    /// The origin of the page that asks, as a browser tells it.
    pub fn origin(&self) -> Option<&str> {
        self.header("Origin")
    }

    /// The first value of `key` in the query, decoded.
    pub fn query_value(&self, key: &str) -> Option<Cow<'_, str>> {
        form_urlencoded::parse(self.query().as_bytes()).find(|(found, _)| found == key).map(|(_, value)| value)
    }

    /// The place in `offers` of the type that the client likes best, if any (see [`accept::best`]). From then on the
    /// answer varies with `Accept`.
    pub fn preferred(&self, offers: &[&str]) -> Option<usize> {
        self.varies.set(true);
        self.header("Accept").and_then(|ranges| accept::best(ranges, offers))
    }

    /// Whether the client asks for JSON rather than text.
    pub fn wants_json(&self) -> bool {
        self.preferred(&["text/plain", "application/json"]) == Some(1)
    }

    /// Whether the client speaks HTTP/1.1, which knows chunks.
    pub fn chunked(&self) -> bool {
        self.unanswered.arrived.facts.http11
    }

    /// The connection's socket.
    pub fn socket(&self) -> &'a Arc<Socket> {
        self.socket
    }

    /// The client's name for the log.
    pub fn peer(&self) -> String {
        self.socket.peer()
    }

    /// Takes the body. Call it once.
    ///
    /// # Errors
    /// 415 if the body is compressed (RFC 9110 section 8.4).
    pub fn body(&mut self) -> Result<Vec<u8>, Refusal> {
        let body = std::mem::take(&mut self.unanswered.arrived.body);
        let coding = self.header("Content-Encoding").unwrap_or("");
        if body.is_empty() || coding.is_empty() || coding.eq_ignore_ascii_case("identity") {
            return Ok(body);
        }
        let line = format!("the content encoding is {}; send the body as it is, without one", shown(coding));
        Err(Refusal::new(415, line))
    }

    /// Whether the request has a body that was not taken.
    pub fn has_body(&self) -> bool {
        !self.unanswered.arrived.body.is_empty()
    }

    fn vary(&self) -> &'static str {
        if self.varies.get() { "Vary: Accept\r\n" } else { "" }
    }

    fn closes(&self) -> bool {
        self.unanswered.arrived.facts.closes
    }

    /// Sends `answer`, and the connection ends after it.
    pub fn answer_last(mut self, answer: Answer) -> After {
        self.unanswered.arrived.facts.closes = true;
        self.answer(answer)
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
        let headers = ["Cache-Control: ", answer.caching, "\r\n", &answer.headers, self.vary(), connection];
        write_head(self.config, self.origin(), &mut bytes, answer.status, &headers);
        if !matches!(answer.status, 204 | 304) {
            let _ = write!(bytes, "Content-Length: {}\r\n", answer.body.len());
        }
        bytes.extend_from_slice(b"\r\n");
        if self.method() != "HEAD" {
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

    /// The head of a stream that goes on until one side hangs up. The caller sends the rest. If the client has already
    /// sent more behind this request, that will not be answered, so the head then says that the connection ends.
    pub fn endless_head(&self, headers: &str) -> Vec<u8> {
        self.stream_head(headers, self.closes() || self.unanswered.more_behind)
    }

    fn stream_head(&self, headers: &str, closes: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let framing = match (self.chunked(), closes) {
            (true, false) => "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
            (true, true) => "Connection: close\r\nTransfer-Encoding: chunked\r\n",
            (false, _) => "Connection: close\r\n",
        };
        write_head(self.config, self.origin(), &mut bytes, 200, &[headers, self.vary(), framing]);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// Answers HEAD with the head of an endless stream, without the stream.
    pub fn answer_head(self, headers: &str) -> After {
        let (bytes, closes) = (self.stream_head(headers, self.closes()), self.closes() || !self.chunked());
        self.send(&bytes, closes)
    }

    /// Sends the head of a stream and then `pieces`. Each is made when the client has taken those before it. The caller
    /// frames them: for HTTP/1.1 as chunks, of which the last ends the answer.
    pub fn answer_in_pieces(self, headers: &str, pieces: impl Iterator<Item = Vec<u8>>) -> After {
        let (head, closes) = (self.stream_head(headers, self.closes()), self.closes() || !self.chunked());
        let all_sent = iter::once(head).chain(pieces).all(|piece| self.send_all(&piece));
        self.finish(all_sent && !closes)
    }

    fn send(self, bytes: &[u8], closes: bool) -> After {
        let all_sent = self.send_all(bytes);
        self.finish(all_sent && !closes)
    }

    /// Sends `bytes`. Waits for a slow client only if that holds up nobody else. False if the client has not taken all.
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

    fn finish(self, keep_alive: bool) -> After {
        if keep_alive { After::KeepAlive } else { After::Close }
    }
}

/// The answer to a request that cannot be read: the last one on its connection. `head_only` leaves the body out, as in
/// an answer to HEAD.
pub fn refusal_alone(config: &Config, refusal: &Refusal, head_only: bool) -> Vec<u8> {
    let (mut bytes, answer) = (vec![], refusal.answer(false));
    let headers = [&answer.headers, "Cache-Control: no-store\r\nConnection: close\r\n"];
    write_head(config, None, &mut bytes, answer.status, &headers);
    let body = if head_only { "" } else { &answer.body };
    let _ = write!(bytes, "Content-Length: {}\r\n\r\n{body}", answer.body.len());
    bytes
}

/// Writes a head. `asked` is the origin of the page that asks, if one does.
fn write_head(config: &Config, asked: Option<&str>, bytes: &mut Vec<u8>, status: u16, headers: &[&str]) {
    let reason = StatusCode(status).default_reason_phrase();
    let date = httpdate::HttpDate::from(clock::machine_time());
    let origin = config.allow_origin.answer_to(asked);
    let vary = if config.allow_origin.is_every() { "" } else { "Vary: Origin\r\n" };
    let _ = write!(bytes, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nAccess-Control-Allow-Origin: ");
    [origin, "\r\n", vary].iter().chain(headers).for_each(|part| bytes.extend_from_slice(part.as_bytes()));
}
