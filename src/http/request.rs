//! The head of a request in plain form, as handlers read it.

use percent_encoding::{CONTROLS, percent_encode};

/// Method, path and query, and the headers that a handler may read. All of it is visible ASCII, one line each, and
/// could be sent again: every reader reads it alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `METHOD URL HTTP/1.1`, then `NAME: VALUE` for each header, then an empty line.
    text: String,
    method: usize,
    url: usize,
}

impl Request {
    /// Makes a request without headers. All but visible ASCII in `url` is percent-encoded.
    pub fn new(method: &str, url: &str) -> Request {
        let mut text = String::with_capacity(256);
        text.extend([method, " "]);
        push_ascii(&mut text, url.as_bytes());
        let (method, url) = (method.len(), text.len());
        text.push_str(" HTTP/1.1\r\n");
        Request { text, method, url }
    }

    /// Adds a header; a list may have been sent in several `values`. All but visible ASCII and blanks is
    /// percent-encoded.
    pub fn add<'a>(&mut self, name: &str, values: impl Iterator<Item = &'a [u8]>) {
        self.text.push_str(name);
        for (place, value) in values.enumerate() {
            self.text.push_str(if place == 0 { ": " } else { ", " });
            push_ascii(&mut self.text, value.trim_ascii());
        }
        self.text.push_str("\r\n");
    }

    /// The method, in capitals.
    pub fn method(&self) -> &str {
        &self.text[..self.method]
    }

    /// Path and query, also if the request named a whole URL.
    pub fn url(&self) -> &str {
        &self.text[self.method + 1..self.url]
    }

    /// The value of the first header `name`, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.text.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The whole text, without the empty line at the end.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Appends `bytes`: a tab as a space, and all but visible ASCII and spaces percent-encoded.
fn push_ascii(text: &mut String, bytes: &[u8]) {
    for (place, part) in bytes.split(|byte| *byte == b'\t').enumerate() {
        text.push_str(if place == 0 { "" } else { " " });
        text.extend(percent_encode(part, CONTROLS));
    }
}
