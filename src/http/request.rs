//! A whole request in plain form, as handlers read it.

use percent_encoding::{CONTROLS, percent_encode};

/// A request: method, path and query, the headers that a handler may read, and the body. The head is visible ASCII, one
/// line each, and could be sent again: every reader reads it alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// Path and query, also if the request named a whole URL.
    pub url: String,
    /// `NAME: VALUE` and a line break for each header.
    pub headers: String,
    /// Whether the client speaks HTTP/1.1 and so knows chunks.
    pub http11: bool,
    /// Whether the connection ends after the answer (RFC 9112 section 9.3): the client says `close`, or speaks HTTP/1.0
    /// and does not say `keep-alive`.
    pub closes: bool,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
    /// Whether the body was longer than what is kept of it.
    pub is_cut: bool,
    /// Whether the client has already sent more behind it. The gate notes that.
    pub more_behind: bool,
}

impl Request {
    /// Makes a request without headers and body. All but visible ASCII in `url` is percent-encoded.
    pub fn new(method: &str, url: &str, http11: bool, closes: bool) -> Request {
        let url = percent_encode(url.as_bytes(), CONTROLS).to_string();
        let (method, headers) = (method.to_owned(), String::with_capacity(192));
        Request { method, url, headers, http11, closes, body: vec![], is_cut: false, more_behind: false }
    }

    /// Adds a header; a list may have been sent in several `values`. All but visible ASCII and spaces is
    /// percent-encoded.
    pub fn add<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a [u8]>) {
        self.headers.push_str(name);
        for (place, value) in values.enumerate() {
            self.headers.push_str(if place == 0 { ": " } else { ", " });
            self.headers.extend(percent_encode(value, CONTROLS));
        }
        self.headers.push_str("\r\n");
    }

    /// The value of the first header `name`, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut start = 0;
        memchr::memchr_iter(b'\r', self.headers.as_bytes()).find_map(|end| {
            let line = &self.headers[std::mem::replace(&mut start, end + 2)..end];
            let (found, value) = line.split_at_checked(name.len())?;
            value.strip_prefix(": ").filter(|_| found.eq_ignore_ascii_case(name))
        })
    }
}
