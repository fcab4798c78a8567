//! One request and its answer: method, path, headers and a bounded body in; head and body out. All that a handler needs
//! of HTTP.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, ErrorKind, Write};
use std::iter;
use std::mem;
use std::sync::Arc;

use serde_json::{Value, json};
use tiny_http::StatusCode;

use crate::clock;
use crate::config::Config;
use crate::http::accept;
use crate::http::answer::{Answer, TEXT};
use crate::http::head::is_passed_on;
use crate::http::refusal::Refusal;
use crate::http::request::Request;
use crate::net::socket::Socket;
use crate::room::{Digest, Hub, Message, Receipt, Refused, Wire, listener::Listener, wire::STALL_LIMIT};
use crate::text::shown;

/// The next step of a connection after an answer.
pub enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It ends.
    Close,
    /// It becomes a listener's, and needs a thread of its own. The request tells how to refuse it if none is left.
    Listen(Box<Listener>, Option<Box<Request>>),
    /// Its request has a long answer, and needs a thread of its own, which may wait for the client.
    AnswerAtLength(Box<Request>),
    /// It waits for its answer until the message is kept.
    HandIn(Box<HandIn>),
}

/// A message that has to be kept, and the request that is answered then.
pub struct HandIn {
    /// The message.
    pub message: Message,
    /// Its digest, if it is to be said once.
    pub once: Option<Digest>,
    /// The request that waits for its answer.
    pub request: Request,
    /// Makes the answer.
    pub answering: Answering,
}

/// Makes the answer to a request when it is known what became of its message. A refusal is passed on.
pub type Answering = Box<dyn FnOnce(&Exchange<'_>, Result<Receipt, Refused>) -> Result<Answer, Refused> + Send>;

/// A request on its way to an answer.
pub struct Exchange<'a> {
    /// The request; its body until that is taken.
    pub request: Request,
    /// The connection's socket.
    pub socket: &'a Arc<Socket>,
    /// The configuration of the server.
    pub config: &'a Config,
    /// The listeners and the messages.
    pub hub: &'a Hub,
    /// Whether it has a thread of its own, which may wait for the client.
    pub patient: bool,
    /// Whether the answer depends on the header `Accept`.
    varies: Cell<bool>,
}

impl<'a> Exchange<'a> {
    /// Takes over a request that came on `socket`.
    pub fn new(request: Request, socket: &'a Arc<Socket>, config: &'a Config, hub: &'a Hub) -> Exchange<'a> {
        Exchange { request, socket, config, hub, patient: false, varies: Cell::new(false) }
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.request.url.split('?').next().unwrap_or("")
    }

    /// The query, without the question mark; may be empty.
    pub fn query(&self) -> &str {
        self.request.url.split_once('?').map_or("", |(_, query)| query)
    }

    /// The value of the header `name`, whatever its case. For a list header, all its lines make one list; for others,
    /// the first line counts. Bytes beyond ASCII are percent-encoded.
    pub fn header(&self, name: &str) -> Option<&str> {
        debug_assert!(is_passed_on(name), "{name} is not passed on");
        self.request.header(name)
    }

    /// The first value of `key` in the query, decoded.
    pub fn query_value(&self, key: &str) -> Option<Cow<'_, str>> {
        form_urlencoded::parse(self.query().as_bytes()).find(|(found, _)| found == key).map(|(_, value)| value)
    }

    /// All values of `key` in the query, with commas between; `None` if there is none.
    pub fn query_list(&self, key: &str) -> Option<String> {
        let values = form_urlencoded::parse(self.query().as_bytes()).filter(|(found, _)| found == key);
        let values: Vec<_> = values.map(|(_, value)| value).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The place in `offers` of the type that the client likes best, if any (see [`accept::best`]). From then on the
    /// answer varies with `Accept`.
    pub fn preferred(&self, offers: &[&str]) -> Option<usize> {
        self.varies.set(true);
        self.header("Accept").and_then(|ranges| accept::best(ranges, offers))
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
        let body = mem::take(&mut self.request.body);
        let coding = self.header("Content-Encoding").unwrap_or("");
        if body.is_empty() || coding.is_empty() || coding.eq_ignore_ascii_case("identity") {
            return Ok(body);
        }
        let line = format!("the content encoding is {}; send the body as it is, without one", shown(coding));
        Err(Refusal::new(415, line))
    }

    fn vary(&self) -> &'static str {
        if self.varies.get() { "Vary: Accept\r\n" } else { "" }
    }

    /// Publishes `message`, with its digest if it is to be said `once`, has the request answered, and lends a hand to
    /// carry the message. If it has to be kept first, the caller hands it in, and no thread waits but one that serves
    /// this client alone. After the hub is closed the message is refused at once. If it were handed in, it would be
    /// answered on this stack, and on top of it the next request that was sent ahead, and so on.
    pub fn publish(&mut self, message: Message, once: Option<Digest>, answering: Answering) -> After {
        if self.hub.commit_queue().is_some() && !self.patient && !self.hub.is_closed() {
            let request = mem::take(&mut self.request);
            return After::HandIn(Box::new(HandIn { message, once, request, answering }));
        }
        let said = self.hub.publish_once(message, once);
        let after = self.tell(said, answering);
        self.hub.lend_a_hand(said.map_or(0, |receipt| receipt.listeners));
        after
    }

    /// Tells the client what became of its message.
    pub fn tell(&self, said: Result<Receipt, Refused>, answering: Answering) -> After {
        match answering(self, said) {
            Ok(answer) => self.answer(answer),
            Err(refused) => self.refuse(&refused.into()),
        }
    }

    /// An answer as text, or as JSON if the client asks for that.
    pub fn text_or_json(&self, status: u16, text: impl Into<String>, json: impl FnOnce() -> Value) -> Answer {
        let is_json = self.preferred(&["text/plain", "application/json"]) == Some(1);
        if is_json { Answer::json(status, &json()) } else { Answer::new(status, TEXT, text) }
    }

    /// Sends `answer`.
    pub fn answer(&self, answer: Answer) -> After {
        let closes = self.request.closes;
        let connection = match (closes, self.request.http11) {
            (true, _) => "Connection: close\r\n",
            (false, false) => "Connection: keep-alive\r\n",
            (false, true) => "",
        };
        let length = match answer.status {
            204 | 304 => String::new(),
            _ => format!("Content-Length: {}\r\n", answer.body.len()),
        };
        let headers = ["Cache-Control: ", answer.caching, "\r\n", &answer.headers, self.vary(), connection, &length];
        let mut bytes = head(self.config, self.header("Origin"), answer.status, &headers);
        if self.request.method != "HEAD" {
            bytes.extend_from_slice(answer.body.as_bytes());
        }
        after(self.send_all(&bytes), closes)
    }

    /// Sends `refusal`, as one line of text or as JSON.
    pub fn refuse(&self, refusal: &Refusal) -> After {
        self.hub.counters().refused(refusal.status);
        let text = format!("aloud: {}\n", refusal.line);
        let mut answer = self.text_or_json(refusal.status, text, || json!({ "error": refusal.line }));
        answer.headers += &refusal.header;
        self.answer(answer)
    }

    /// The head of a stream that goes on until one side hangs up. The caller sends the rest. If the client has already
    /// sent more behind this request, that will not be answered, so the head then says that the connection ends.
    pub fn endless_head(&self, headers: &str) -> Vec<u8> {
        self.stream_head(headers, self.request.closes || self.request.more_behind)
    }

    fn stream_head(&self, headers: &str, closes: bool) -> Vec<u8> {
        let framing = match (self.request.http11, closes) {
            (true, false) => "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
            (true, true) => "Connection: close\r\nTransfer-Encoding: chunked\r\n",
            (false, _) => "Connection: close\r\n",
        };
        head(self.config, self.header("Origin"), 200, &[headers, self.vary(), framing])
    }

    /// Sends the head of a stream and then `pieces`. Each is made when the client has taken those before it. The caller
    /// frames them: for HTTP/1.1 as chunks, of which the last ends the answer.
    pub fn answer_in_pieces(&self, headers: &str, pieces: impl Iterator<Item = Vec<u8>>) -> After {
        let closes = self.request.closes;
        let head = self.stream_head(headers, closes);
        let sent = iter::once(head).chain(pieces).try_for_each(|piece| self.send_all(&piece));
        after(sent, closes || !self.request.http11)
    }

    /// Sends `bytes`. Waits for a slow client only if that holds up nobody else.
    fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.socket.send_now(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.patient => {
                    self.socket.wait_until_writable(STALL_LIMIT)?;
                }
                sent => bytes = &bytes[sent?..],
            }
        }
        Ok(())
    }
}

fn after(sent: io::Result<()>, closes: bool) -> After {
    if sent.is_ok() && !closes { After::KeepAlive } else { After::Close }
}

/// A whole head. `asked` is the origin of the page that asks, if one does.
fn head(config: &Config, asked: Option<&str>, status: u16, headers: &[&str]) -> Vec<u8> {
    let reason = StatusCode(status).default_reason_phrase();
    let date = httpdate::HttpDate::from(clock::time_of(clock::machine_micros()));
    let origin = config.allow_origin.answer_to(asked);
    let vary = if config.allow_origin.is_every() { "" } else { "Vary: Origin\r\n" };
    let mut bytes = Vec::with_capacity(512);
    let _ = write!(bytes, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nAccess-Control-Allow-Origin: ");
    let parts = [origin, "\r\n", vary].into_iter().chain(headers.iter().copied()).chain(["\r\n"]);
    parts.for_each(|part| bytes.extend_from_slice(part.as_bytes()));
    bytes
}
