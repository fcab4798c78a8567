//! Whether tiny_http reads what the gate approves in the way the gate understood it. The real tiny_http reads the
//! approved bytes from a real socket, with another request behind them; a third reader, as simple as the approved
//! grammar allows, says what has to come out.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use aloud::gate::{Bounds, Check, Part, check};
use tiny_http::{HTTPVersion, Listener, Server, SslContextWrap};

/// The longest body in these trials, in bytes: the server's own default.
pub const MOST_BODY: usize = 65536;

/// What comes behind each request; it has to be found whole.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n";

/// The most bytes that fit into a socket before anybody reads.
const SOCKET_BYTES: usize = 100_000;

/// The gate's verdict.
pub fn verdict(bytes: &[u8]) -> Result<Check, u16> {
    check(bytes, &Bounds { most_body: &|_| MOST_BODY }).map_err(|refusal| {
        let sound = refusal.line.contains("; ") && !refusal.line.chars().any(char::is_control);
        assert!(sound, "a refusal is one line that says what to send: {:?}", refusal.line);
        refusal.status
    })
}

/// Panics unless the verdict on `bytes` follows from each verdict on a part of them: what was approved or refused is not
/// approved or refused otherwise when more has come. `cuts` are the lengths of those parts.
pub fn check_cuts(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    let whole = verdict(bytes);
    for cut in cuts {
        let consistent = match (verdict(&bytes[..cut]), &whole) {
            (Ok(Check::Part(Part::Head)), _) => true,
            // The head is settled, so only the body can still be refused: for its chunks or its length.
            (Ok(Check::Part(Part::Body { .. })), verdict) => {
                matches!(verdict, Ok(Check::Whole { .. } | Check::Part(Part::Body { .. })) | Err(400 | 413))
            }
            (Ok(before), Ok(after)) => before == *after,
            // The reason may change: a line that was too long turns out to be no line.
            (Err(_), after) => after.is_err(),
            (Ok(_), Err(_)) => false,
        };
        assert!(consistent, "the first {cut} bytes and all of them are judged apart");
    }
}

/// Panics unless every request that the gate approves at the beginning of `bytes` is read by tiny_http as it was meant.
/// Returns how many those were.
pub fn check_requests(reader: &Reader, mut bytes: &[u8], most: usize) -> usize {
    let mut count = 0;
    while let (Ok(Check::Whole { length, .. }), true) = (verdict(bytes), count < most) {
        assert!(length <= bytes.len(), "no more is approved than there is");
        if length < SOCKET_BYTES {
            reader.check(&bytes[..length]);
        }
        (bytes, count) = (&bytes[length..], count + 1);
    }
    count
}

/// tiny_http, behind a socket file of its own.
pub struct Reader {
    listener: Listener,
    path: PathBuf,
    tls: SslContextWrap,
}

impl Reader {
    /// A new socket file in the folder for temporary files.
    pub fn new() -> Reader {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("aloud-agree-{}-{number}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket file can be made").into();
        Reader { listener, path, tls: SslContextWrap::build_ssl_capabilities(None).expect("no TLS is asked for") }
    }

    /// Panics unless tiny_http reads the approved `request` as it was meant, and then the one behind it, whether the
    /// handler reads the body or leaves it.
    fn check(&self, request: &[u8]) {
        let meant = Meant::read(request);
        self.check_once(request, &meant, true);
        if !meant.content.is_empty() && !meant.chunked {
            self.check_once(request, &meant, false);
        }
    }

    fn check_once(&self, request: &[u8], meant: &Meant, read_body: bool) {
        let mut client = UnixStream::connect(&self.path).expect("the socket file is there");
        client.write_all(&[request, NEXT.as_bytes()].concat()).expect("it fits into the socket");
        client.shutdown(Shutdown::Write).expect("the socket is open");
        let connection = Server::accept_connection(&self.listener, &self.tls).expect("a client is there");
        let mut connection = connection.expect("there is no TLS that could fail");
        let found = connection.next().expect("there is a request");
        let mut found = found.unwrap_or_else(|error| panic!("tiny_http refuses what was approved: {error}"));
        assert_eq!(found.method().as_str(), meant.method, "the method");
        assert_eq!(found.url(), meant.target, "the target");
        assert_eq!(*found.http_version(), meant.version, "the version");
        assert_eq!(found.body_length(), meant.length, "the declared length");
        if read_body {
            let mut content = vec![];
            // As `Exchange::body` reads it.
            let most = found.body_length().map_or(if meant.chunked { u64::MAX } else { 0 }, |length| length as u64);
            found.as_reader().take(most).read_to_end(&mut content).expect("the body is there");
            assert_eq!(content, meant.content, "the body");
        }
        drop(found.into_writer());
        match connection.next() {
            None => assert!(meant.closes, "tiny_http goes on with the connection"),
            Some(next) => {
                let next = next.unwrap_or_else(|error| panic!("something of the request is left over: {error}"));
                assert!(!meant.closes, "tiny_http ends the connection");
                assert_eq!((next.method().as_str(), next.url()), ("GET", "/next"), "the next request");
                drop(next.into_writer());
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What an approved request means.
struct Meant {
    method: String,
    target: String,
    version: HTTPVersion,
    length: Option<usize>,
    chunked: bool,
    content: Vec<u8>,
    /// Whether the connection ends after it (RFC 9112 section 9.3).
    closes: bool,
}

impl Meant {
    fn read(request: &[u8]) -> Meant {
        let end = 4 + request.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head has an end");
        let head = std::str::from_utf8(&request[..end]).expect("an approved head is ASCII");
        let mut lines = head.split("\r\n");
        let line: Vec<_> = lines.next().expect("there is a first line").split(' ').collect();
        let [method, target, version] = line[..] else { panic!("{line:?} is no request line") };
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
        let header =
            |name: &str| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
        let version = HTTPVersion(1, if version == "HTTP/1.1" { 1 } else { 0 });
        let connection = header("Connection").unwrap_or("").to_ascii_lowercase();
        let chunked = header("Transfer-Encoding").is_some();
        Meant {
            method: method.to_owned(),
            target: target.to_owned(),
            length: header("Content-Length").map(|length| length.parse().expect("an approved length is a number")),
            chunked,
            content: if chunked { dechunk(&request[end..]) } else { request[end..].to_vec() },
            closes: connection.contains("close")
                || connection.contains("upgrade")
                || (version == HTTPVersion(1, 0) && !connection.contains("keep-alive")),
            version,
        }
    }
}

/// What a chunked body without trailers holds (RFC 9112 section 7.1).
pub fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = vec![];
    loop {
        let end = bytes.windows(2).position(|bytes| bytes == b"\r\n").expect("a chunk's first line has an end");
        let line = std::str::from_utf8(&bytes[..end]).expect("a chunk's first line is ASCII");
        let size = line.split(';').next().unwrap_or(line);
        let size = usize::from_str_radix(size, 16).expect("a chunk's size is hexadecimal");
        let chunk = &bytes[end + 2..][..size];
        assert!(bytes[end + 2 + size..].starts_with(b"\r\n"), "a chunk ends with a line break");
        content.extend_from_slice(chunk);
        bytes = &bytes[end + 2 + size + 2..];
        if size == 0 {
            assert!(bytes.is_empty(), "nothing follows the last chunk");
            return content;
        }
    }
}
