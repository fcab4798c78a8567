//! One request and its answer: method, path and headers in, the body in within bounds, head and body out. What every
//! handler needs of HTTP beyond what tiny_http does right (see the notes on its `Response` at [`Answer`]).

use std::borrow::Cow;
use std::fmt::{Display, Write as _};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tiny_http::{HTTPVersion, Method, Request, StatusCode};

use crate::config::Config;
use crate::socket::Socket;

/// tiny_http reads bodies up to this length with the head, unless the client waits to be asked for it.
const READ_WITH_HEAD: usize = 1024;

/// Text, as every answer but a stream is.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// What a connection does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It waits for the next request.
    KeepAlive,
    /// It ends.
    Close,
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
}

/// What a client sent, safe to show: control characters escaped, and no longer than a name may be.
pub fn shown(text: &str) -> String {
    let cut: String = text.chars().take(crate::message::NAME_LIMIT).collect();
    format!("\"{}\"{}", cut.escape_debug(), if cut.len() < text.len() { "..." } else { "" })
}

/// A request on its way to an answer.
pub struct Exchange<'a> {
    request: Request,
    socket: Option<&'a Arc<Socket>>,
    config: &'a Config,
    body_read: bool,
}

impl<'a> Exchange<'a> {
    /// Takes over a request that came on `socket`, where that is known.
    pub fn new(request: Request, socket: Option<&'a Arc<Socket>>, config: &'a Config) -> Exchange<'a> {
        Exchange { request, socket, config, body_read: false }
    }

    /// What the user set.
    pub fn config(&self) -> &'a Config {
        self.config
    }

    /// The method.
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// Path and query as sent.
    pub fn url(&self) -> &str {
        self.request.url()
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

    /// The connection's socket, where it is known.
    pub fn socket(&self) -> Option<&'a Arc<Socket>> {
        self.socket
    }

    /// Who asks, for the log.
    pub fn peer(&self) -> String {
        match self.request.remote_addr() {
            Some(address) => SocketAddr::new(address.ip().to_canonical(), address.port()).to_string(),
            None => "a client of the socket file".to_owned(),
        }
    }

    fn connection_says(&self, word: &str) -> bool {
        self.header("Connection").is_some_and(|value| value.to_ascii_lowercase().contains(word))
    }

    fn has_chunked_body(&self) -> bool {
        self.header("Transfer-Encoding").is_some()
    }

    /// Reads the whole body, at most `config.max_body` bytes. To be called once.
    ///
    /// # Errors
    /// 413 where it is longer, 408 where it does not come, 400 where it ends early or its framing is broken.
    pub fn body(&mut self) -> Result<Vec<u8>, Refusal> {
        self.body_up_to(self.config.max_body).map_err(|refusal| match refusal.status {
            413 => Refusal { line: refusal.line + ", or start the server with --max-body", ..refusal },
            _ => refusal,
        })
    }

    /// The same with at most `limit` bytes.
    ///
    /// # Errors
    /// The same.
    pub fn body_up_to(&mut self, limit: usize) -> Result<Vec<u8>, Refusal> {
        let mut body = vec![];
        match self.request.body_length() {
            Some(length) if length > limit => return Err(too_long(limit)),
            // tiny_http takes an early end for an end, and the raw socket for the body of an upgrade: count.
            Some(length) => {
                let mut reader = self.request.as_reader().take(length as u64);
                reader.read_to_end(&mut body).map_err(unreadable)?;
                if body.len() < length {
                    return Err(cut_off());
                }
            }
            None if !self.has_chunked_body() => {}
            None if self.connection_says("upgrade") => {
                return Err(Refusal::new(
                    400,
                    "a chunked body cannot come with an upgrade; leave out Connection: upgrade",
                ));
            }
            None => {
                let mut reader = self.request.as_reader().take(limit as u64 + 1);
                reader.read_to_end(&mut body).map_err(unreadable)?;
                if body.len() > limit {
                    return Err(too_long(limit));
                }
                // A connection that ends inside a chunk looks like the end of the body. Whoever has closed its side
                // already may have been cut off.
                if self.socket.is_none_or(|socket| socket.peer_has_finished()) {
                    return Err(cut_off());
                }
            }
        }
        self.body_read = true;
        Ok(body)
    }

    /// Whether bytes of this request may still be on their way, so that nothing after it can be trusted.
    pub fn body_is_unread(&self) -> bool {
        let awaits = self.header("Expect").is_some();
        let length = self.request.body_length().unwrap_or(0);
        !self.body_read && (self.has_chunked_body() || length > READ_WITH_HEAD || (awaits && length > 0))
    }

    /// Whether the connection ends after the answer: because the client says so, or is of HTTP/1.0 and does not ask to
    /// keep it (RFC 9112 section 9.3).
    fn closes(&self) -> bool {
        self.connection_says("close")
            || self.connection_says("upgrade")
            || (!self.chunked() && !self.connection_says("keep-alive"))
    }

    /// Sends `answer`.
    pub fn answer(self, answer: Answer) -> After {
        let (unread, closes) = (self.body_is_unread(), self.closes());
        let mut bytes = Vec::with_capacity(512 + answer.body.len());
        let connection = match (unread || closes, self.chunked()) {
            (true, _) => "Connection: close\r\n",
            (false, false) => "Connection: keep-alive\r\n",
            (false, true) => "",
        };
        self.write_head(&mut bytes, answer.status, &[&answer.headers, connection]);
        if answer.status != 204 {
            let _ = write!(bytes, "Content-Length: {}\r\n", answer.body.len());
        }
        bytes.extend_from_slice(b"\r\n");
        if *self.method() != Method::Head {
            bytes.extend_from_slice(answer.body.as_bytes());
        }
        if unread && let Some(socket) = self.socket {
            // Not through tiny_http, which would read the rest of the body before it lets us write.
            socket.answer_and_close(&bytes);
            return After::Close;
        }
        self.send(&bytes, unread || closes)
    }

    /// Sends `refusal`, as one line of text or as JSON.
    pub fn refuse(self, refusal: &Refusal) -> After {
        let mut answer = if self.wants_json() {
            let body = serde_json::json!({ "error": refusal.line }).to_string();
            Answer::new(refusal.status, "application/json", body)
        } else {
            Answer::new(refusal.status, TEXT, format!("aloud: {}\n", refusal.line))
        };
        if let Some((name, value)) = &refusal.header {
            answer = answer.with(name, value);
        }
        self.answer(answer)
    }

    /// The head of a stream that goes on until one side hangs up; the rest of it is the caller's.
    pub fn stream_head(&self, headers: &str) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(512);
        let framing = if self.chunked() {
            "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n"
        } else {
            "Connection: close\r\n"
        };
        self.write_head(&mut bytes, 200, &[headers, framing]);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The head of that stream alone: what HEAD asks for.
    pub fn answer_head(self, headers: &str) -> After {
        let (bytes, closes) = (self.stream_head(headers), self.closes() || !self.chunked());
        self.send(&bytes, closes)
    }

    fn send(self, bytes: &[u8], closes: bool) -> After {
        let mut writer = self.request.into_writer();
        let written = writer.write_all(bytes).and_then(|()| writer.flush());
        if written.is_err() || closes { After::Close } else { After::KeepAlive }
    }

    /// Drops a request whose answer was written to the socket, with everything that was to be said on it. The connection
    /// is shut first, because tiny_http answers 500 to what it takes for unanswered.
    pub fn leave_unanswered(self) {
        if let Some(socket) = self.socket {
            socket.cut();
        }
    }

    /// Gives the request up for its writer. Nobody else may write to the connection while the writer lives, and
    /// tiny_http writes nothing of its own.
    pub fn into_writer(self) -> Box<dyn Write + Send> {
        self.request.into_writer()
    }

    fn write_head(&self, bytes: &mut Vec<u8>, status: u16, headers: &[&str]) {
        let reason = StatusCode(status).default_reason_phrase();
        let date = httpdate::HttpDate::from(SystemTime::now());
        let origin = &self.config.allow_origin;
        let vary = if origin == "*" { "" } else { "Vary: Origin\r\n" };
        let _ = write!(bytes, "HTTP/1.1 {status} {reason}\r\nDate: {date}\r\nAccess-Control-Allow-Origin: ");
        [origin, "\r\n", vary].iter().chain(headers).for_each(|part| bytes.extend_from_slice(part.as_bytes()));
    }
}

fn too_long(limit: usize) -> Refusal {
    Refusal::new(413, format!("the body is longer than {limit} bytes; send less"))
}

fn cut_off() -> Refusal {
    Refusal::new(400, "the body ended early; send as much as Content-Length says and wait for the answer")
}

fn unreadable(error: std::io::Error) -> Refusal {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Refusal::new(408, "the body did not come; send it at once"),
        _ => Refusal::new(400, "the body cannot be read; send it whole, with Content-Length or well-formed chunks"),
    }
}
