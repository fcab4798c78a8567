//! The head of one request: whether it is well formed, how its body is framed, whether its connection goes on, and
//! which of its headers handlers may read.
//!
//! **Strict** by RFC 9110 and 9112, about all that two readers could read differently: line ends, lengths, encodings
//! and hosts. `httparse` knows the grammar. **Open** about everything else: a header's value is opaque bytes, a header
//! that nobody here reads may have any name, and raw UTF-8 in the URL counts as percent-encoded.
//!
//! tiny_http reads none of the client's bytes. Its parser is looser than this one, and cannot read all that is valid.
//! So handlers get a [`Request`] of our own making, with the headers that they may read ([`is_passed_on`]), in plain
//! ASCII. A test checks that tiny_http would read it in this way too (`tests/properties.rs`).

use std::mem::MaybeUninit;

use httparse::{Error as Grammar, Header, Status};

use crate::config::URL_LIMIT;
use crate::http::refusal::Refusal;
use crate::http::request::Request;
use crate::text::shown;

/// The most header fields; browsers send about twenty, and proxies add some.
const MOST_HEADERS: usize = 100;

/// The most bytes of header lines. A client can say little about itself beyond their names and values; messages go into
/// the body.
pub const HEADERS_LIMIT: usize = 16 * 1024;

/// Room for the method and the version beside the URL, in bytes. Generous.
const REQUEST_LINE_EXTRA: usize = 64;

/// The methods of RFC 9110 section 9, and PATCH of RFC 5789. Any other is 501. The router refuses a known one that does
/// nothing here.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// The part of the body that comes next, by its framing (RFC 9112 sections 6 and 7.1).
#[derive(Clone, Copy)]
pub enum Part {
    /// So many bytes, then the end.
    Sized(usize),
    /// The line with a chunk's length.
    ChunkSize,
    /// So many bytes of a chunk, and the line break after it.
    Chunk(usize),
    /// The lines after the last chunk, of which there were so many bytes.
    Trailers(usize),
}

/// How long a body may be, in bytes.
#[derive(Clone, Copy)]
pub struct BodyLimit {
    /// A longer one is refused.
    pub most: usize,
    /// Of a longer one the beginning is kept.
    pub kept: usize,
}

impl BodyLimit {
    /// The limit of a body that is kept whole.
    pub fn whole(most: usize) -> BodyLimit {
        BodyLimit { most, kept: most }
    }
}

/// A request whose head is whole and keeps to the grammar. Its body may still come.
pub struct Pending {
    /// The request, as far as it has come.
    pub request: Request,
    /// Why it is refused, if its head alone tells.
    pub refusal: Option<Refusal>,
    /// The part of its body that comes next.
    pub next: Part,
    /// How long its body may be.
    pub limit: BodyLimit,
    /// How many bytes of the body have come, without chunk framing.
    pub came: usize,
    /// Whether the client waits to be asked for the body (`Expect: 100-continue`).
    pub expects: bool,
}

impl Pending {
    /// Takes the head from the beginning of `bytes`; `None` while it is not whole. `most_body` is the limit of a body for
    /// a path. Changes `bytes` in place: an unknown minor version of HTTP becomes 1.1 (RFC 9110 section 2.5),
    /// control characters in values become bytes beyond ASCII.
    ///
    /// # Errors
    /// The reason not to read it: 400, 414, 431 or 505.
    pub fn take_head(bytes: &mut Vec<u8>, most_body: &dyn Fn(&str) -> BodyLimit) -> Result<Option<Pending>, Refusal> {
        let end = memchr::memmem::find(bytes, b"\r\n\r\n").map_or(bytes.len(), |end| end + 4);
        take_for_http11(&mut bytes[..end]);
        make_controls_opaque(&mut bytes[..end]);
        check_bounds(&bytes[..end])?;
        let mut headers = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut head = httparse::Request::new(&mut []);
        let length = match head.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) => return Ok(None),
            Err(error) => return Err(malformed(bytes, error)),
        };
        let (method, target) = (head.method.unwrap_or(""), head.path.unwrap_or(""));
        let (headers, http11) = (&*head.headers, head.version == Some(1));
        let path = check_method(method).and_then(|()| path_of(method, target));
        let (url, limit) = path.as_ref().map_or(("", BodyLimit::whole(0)), |path| (path, most_body(path)));
        let checked = path.and_then(|_| {
            check_hosts(headers, http11)?;
            Ok((first_part(headers, http11, limit.most)?, expects(headers, http11)?))
        });
        let says = |option: &[u8]| {
            let mut options = values(headers, "Connection").flat_map(|list| list.split(|byte| *byte == b','));
            options.any(|said| said.trim_ascii().eq_ignore_ascii_case(option))
        };
        let closes = says(b"close") || (!http11 && !says(b"keep-alive"));
        let mut request = Request::new(method, url, http11, closes);
        add_headers(headers, &mut request);
        bytes.drain(..length);
        let (next, expects) = *checked.as_ref().unwrap_or(&(Part::Sized(0), false));
        Ok(Some(Pending { request, refusal: checked.err(), next, limit, came: 0, expects }))
    }
}

/// The list headers that a handler may read: all lines of one make one list (RFC 9110 section 5.3).
const LISTS: [&str; 5] = ["Accept", "Access-Control-Request-Headers", "Forwarded", "If-None-Match", "X-Forwarded-For"];

/// The other headers that a handler may read, beside those that begin with `X-` or `Webhook-`.
const SINGLE: [&str; 8] = [
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Host",
    "Idempotency-Key",
    "Last-Event-ID",
    "Origin",
    "Sec-Fetch-Site",
];

/// Whether a handler may read the header `name`.
pub fn is_passed_on(name: &str) -> bool {
    let begins = |start: &str| name.get(..start.len()).is_some_and(|name| name.eq_ignore_ascii_case(start));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let has_prefix = (begins("X-") || begins("Webhook-")) && name.bytes().all(is_plain);
    is_one_of(&LISTS, name) || is_one_of(&SINGLE, name) || has_prefix
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Changes a version from HTTP/1.2 to HTTP/1.9 into HTTP/1.1, because such a request is read as one.
fn take_for_http11(head: &mut [u8]) {
    let line = memchr::memchr(b'\r', head).unwrap_or(head.len());
    if let [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9'] = &mut head[..line] {
        *minor = b'1';
    }
}

/// Replaces control characters in values, which `httparse` does not take, and each tab by a space. A value may hold any
/// byte but CR, LF and NUL (RFC 9110 section 5.5). No name may hold them, before or after.
fn make_controls_opaque(head: &mut [u8]) {
    let line = memchr::memchr(b'\n', head).unwrap_or(head.len());
    for byte in &mut head[line..] {
        *byte = match *byte {
            b'\t' => b' ',
            0x01..=0x08 | 0x0b | 0x0c | 0x0e..=0x1f | 0x7f => 0xff,
            other => other,
        };
    }
}

/// Checks that a head, or the part of it that has come, is within its bounds, that no empty line comes first, and that
/// lines end with CR LF and nothing else.
///
/// # Errors
/// 400, 414 or 431.
fn check_bounds(head: &[u8]) -> Result<(), Refusal> {
    let line = memchr::memchr(b'\n', head).unwrap_or(head.len());
    if line > URL_LIMIT + REQUEST_LINE_EXTRA {
        return Err(url_too_long());
    }
    if head.len() - line > HEADERS_LIMIT {
        return Err(headers_too_long());
    }
    // RFC 9112 section 2.2 leaves the choice whether to take these, so two readers may differ.
    if matches!(head.first(), Some(b'\r' | b'\n')) {
        return Err(Refusal::bad("the request begins with empty lines; begin with METHOD /PATH HTTP/1.1"));
    }
    if memchr::memchr_iter(b'\n', head).any(|end| head[end - 1] != b'\r') {
        return Err(Refusal::bad("a line of the head ends with LF alone; end each with CR LF"));
    }
    Ok(())
}

/// The refusal of a head that breaks the grammar.
fn malformed(bytes: &[u8], error: Grammar) -> Refusal {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(bytes);
    let line = String::from_utf8_lossy(line.trim_ascii_end());
    let version = line.split(' ').nth(2).filter(|_| line.matches(' ').count() == 2).unwrap_or("");
    match (version, error) {
        (_, Grammar::TooManyHeaders) => headers_too_long(),
        ("HTTP/1.1" | "HTTP/1.0", Grammar::HeaderName | Grammar::HeaderValue | Grammar::NewLine) => {
            Refusal::bad("a header is malformed; send each as NAME: VALUE on a line of its own")
        }
        (version, Grammar::Version | Grammar::NewLine) if version.starts_with("HTTP/") => {
            Refusal::new(505, "this is no HTTP/1.1; send HTTP/1.1 or HTTP/1.0, as curl --http1.1 does")
        }
        _ => Refusal::of(before_query(&line), "is no request line; send METHOD /PATH HTTP/1.1"),
    }
}

fn check_method(method: &str) -> Result<(), Refusal> {
    if METHODS.contains(&method) {
        return Ok(());
    }
    Err(Refusal::new(501, format!("{} is no method that is known here; send GET or POST", shown(method))))
}

/// The path and query of a target, which is a path, an absolute URL (`http://host:4000/say` is `/say`), or `*` for
/// OPTIONS (RFC 9112 section 3.2).
fn path_of<'a>(method: &str, target: &'a str) -> Result<&'a str, Refusal> {
    if target.len() > URL_LIMIT {
        return Err(url_too_long());
    }
    let web = target.split_once("://").filter(|(scheme, _)| is_one_of(&["http", "https"], scheme));
    if let Some((_, rest)) = web {
        let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if host.is_empty() {
            return Err(no_host(b""));
        }
        check_host(host.as_bytes())?;
        return Ok(if path.starts_with('/') { path } else { "/" });
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok(target);
    }
    Err(Refusal::of(before_query(target), "is no path; send one that begins with /"))
}

/// The part of `text` that may be shown: the query may hold a token.
fn before_query(text: &str) -> &str {
    text.split('?').next().unwrap_or(text)
}

/// The values of all headers `name`, whatever its case.
fn values<'a>(headers: &'a [Header<'_>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value.trim_ascii())
}

/// Adds the headers that handlers may read to `request`.
fn add_headers(headers: &[Header<'_>], request: &mut Request) {
    for (place, header) in headers.iter().enumerate().filter(|(_, header)| is_passed_on(header.name)) {
        if !is_one_of(&LISTS, header.name) {
            request.add(header.name, values(&headers[place..=place], header.name));
        } else if values(&headers[..place], header.name).next().is_none() {
            request.add(header.name, values(headers, header.name));
        }
    }
}

fn check_hosts(headers: &[Header<'_>], http11: bool) -> Result<(), Refusal> {
    values(headers, "Host").try_for_each(check_host)?;
    match values(headers, "Host").count() {
        1 => Ok(()),
        0 if !http11 => Ok(()),
        hosts => Err(Refusal::bad(format!("there are {hosts} Host headers; send Host: NAME once"))),
    }
}

/// The first part of the body, by all headers together. The body may have at most `most` bytes.
fn first_part(headers: &[Header<'_>], http11: bool, most: usize) -> Result<Part, Refusal> {
    let (mut length, mut chunked) = (None, false);
    for value in values(headers, "Content-Length") {
        if length.replace(content_length(value)?).is_some() {
            return Err(Refusal::bad("Content-Length comes twice; send it once"));
        }
    }
    for value in values(headers, "Transfer-Encoding") {
        if std::mem::replace(&mut chunked, true) || !value.eq_ignore_ascii_case(b"chunked") {
            let line = format!("the transfer encoding is {}; send chunked or Content-Length", shown(value));
            return Err(Refusal::new(501, line));
        }
    }
    match length {
        _ if chunked && (length.is_some() || !http11) => {
            Err(Refusal::bad("chunked does not go with Content-Length or HTTP/1.0; send one of them"))
        }
        _ if chunked => Ok(Part::ChunkSize),
        Some(length) if length > most as u64 => Err(body_too_long(most)),
        _ => Ok(Part::Sized(length.unwrap_or(0) as usize)),
    }
}

/// Whether the client waits to be asked for the body. HTTP/1.0 does not know that (RFC 9110 section 10.1.1).
fn expects(headers: &[Header<'_>], http11: bool) -> Result<bool, Refusal> {
    let expected: Vec<_> = values(headers, "Expect").filter(|_| http11).collect();
    if expected.iter().all(|value| value.eq_ignore_ascii_case(b"100-continue")) {
        return Ok(!expected.is_empty());
    }
    Err(Refusal::new(417, "only Expect: 100-continue is understood; leave others out"))
}

/// Checks `HOST` or `HOST:PORT` (RFC 9110 section 7.2, RFC 3986 section 3.2.2). It may be empty.
fn check_host(value: &[u8]) -> Result<(), Refusal> {
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    let in_brackets = |byte: &u8| in_name(byte) || *byte == b':';
    let host = match memchr::memrchr(b':', value) {
        Some(colon) if value[colon + 1..].iter().all(u8::is_ascii_digit) => &value[..colon],
        _ => value,
    };
    let is_host = match host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")) {
        Some(inside) => !inside.is_empty() && inside.iter().all(in_brackets),
        None => host.iter().all(in_name),
    };
    if is_host { Ok(()) } else { Err(no_host(value)) }
}

fn no_host(value: &[u8]) -> Refusal {
    Refusal::of(value, "is no host; send Host: NAME or NAME:PORT")
}

/// Reads one decimal number, digits alone (RFC 9110 section 8.6). A number too large for any body stays too large.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let text = std::str::from_utf8(value).unwrap_or("");
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::bad(format!("Content-Length is {}; send one whole number", shown(value))));
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

fn url_too_long() -> Refusal {
    Refusal::new(414, format!("the URL is longer than {URL_LIMIT} bytes; send the message in the body"))
}

fn headers_too_long() -> Refusal {
    let line = format!("the headers are more than {MOST_HEADERS} or {HEADERS_LIMIT} bytes; send fewer");
    Refusal::new(431, line)
}

/// Refuses a body of more than `limit` bytes.
pub fn body_too_long(limit: usize) -> Refusal {
    Refusal::new(413, format!("the body is longer than {limit} bytes; send less"))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_whole_url_is_its_path() {
        let check = |target: &str, path: Option<&str>| assert_eq!(path_of("GET", target).ok(), path, "{target}");
        check("/say?x=http://a/b", Some("/say?x=http://a/b"));
        check("http://localhost:4000/say?message=Hi", Some("/say?message=Hi"));
        check("HTTPS://x/listen", Some("/listen"));
        check("http://x", Some("/"));
        check("http://x?y", Some("/"));
        for bad in ["ftp://x/y", "http://", "http:///say", "http://x:y/", "*", "say"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for good in ["", "x", "x:", "x:4000", "1.2.3.4:80", "[::1]", "[::1]:80", "[v1.x]", ":80"] {
            assert!(check_host(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["[", "]", "[]", "[::1", "::1", "x:abc", "x:1:2", "[::1]x", "[::1]x:1", "[a]]:80", "a/b", "a b"] {
            assert!(check_host(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
