//! An answer whose body is whole in memory.

use std::fmt::{Display, Write};

use serde_json::Value;

/// The content type of text: of every answer but a stream.
pub const TEXT: &str = "text/plain; charset=utf-8";

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

    /// An answer in JSON, one line.
    pub fn json(status: u16, value: &Value) -> Answer {
        Answer::new(status, "application/json", format!("{value}\n"))
    }

    /// The answer of the seed program, `ok.`: it was done.
    pub fn ok() -> Answer {
        Answer::new(200, TEXT, "ok.")
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
