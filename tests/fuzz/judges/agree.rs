//! Whether what the gate lets through means what the client sent. The real tiny_http reads the head that handlers get,
//! with another one behind it, from a real socket; and the client's own bytes, where it can read those. A third reader,
//! as simple as the approved grammar allows, says what has to come out.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use aloud::http::framing::{Intake, Progress, Stage};
use aloud::http::head::BodyLimit;
use aloud::http::request::Request;
use tiny_http::{Listener, Server, SslContextWrap};

/// The longest body in these trials, in bytes: the server's own default.
pub const MOST_BODY: usize = 65536;

/// The request that comes behind each request; it has to be found whole.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: x\r\n\r\n";

/// The most bytes that fit into a socket before anybody reads.
const SOCKET_BYTES: usize = 100_000;

/// The result of reading some bytes: the whole requests in order, and then how far the next one is, or the status that
/// refuses it.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// Each with the bytes that made it.
    pub requests: Vec<(Vec<u8>, Request)>,
    /// How it ends.
    pub end: Result<Stage, u16>,
}

/// The verdict on `parts` that arrive one after the other.
pub fn verdict<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Verdict {
    let (mut intake, mut raw, mut requests) = (Intake::default(), vec![], vec![]);
    let mut end = Ok(Stage::Idle);
    for part in parts {
        intake.received.extend_from_slice(part);
        raw.extend_from_slice(part);
        loop {
            match intake.next(&|_| BodyLimit::whole(MOST_BODY)) {
                Ok(Progress::Whole(request)) => {
                    let rest = raw.split_off(raw.len() - intake.received.len());
                    requests.push((std::mem::replace(&mut raw, rest), request));
                }
                Ok(Progress::NotYet(stage)) => {
                    end = Ok(stage);
                    break;
                }
                Err(refusal) => {
                    let sound = refusal.line.contains("; ") && !refusal.line.chars().any(char::is_control);
                    assert!(sound, "a refusal is one line that says what to send: {:?}", refusal.line);
                    return Verdict { requests, end: Err(refusal.status) };
                }
            }
        }
    }
    Verdict { requests, end }
}

/// Panics unless `bytes` mean the same in two parts as in one, for each of `cuts`, the lengths of the first parts.
pub fn check_cuts(bytes: &[u8], cuts: impl IntoIterator<Item = usize>) {
    let whole = verdict([bytes]);
    for cut in cuts {
        let parts = verdict([&bytes[..cut], &bytes[cut..]]);
        assert!(parts.requests == whole.requests, "cut after {cut} bytes, they make other requests");
        // The reason may change: a line that was too long turns out to be no line. And what is wrong with a line may be
        // said when it ends.
        let same =
            parts.end == whole.end || (!matches!(parts.end, Ok(Stage::Idle | Stage::Body)) && whole.end.is_err());
        assert!(same, "cut after {cut} bytes: {:?} and {:?}", parts.end, whole.end);
    }
    if bytes.len() < 1000 {
        assert!(verdict(bytes.chunks(1)).requests == whole.requests, "byte by byte, they make other requests");
    }
}

/// Panics unless every whole request at the beginning of `bytes`, at most `most`, is read by tiny_http as it was meant.
/// Returns how many those were.
pub fn check_requests(reader: &Reader, bytes: &[u8], most: usize) -> usize {
    let requests = verdict([bytes]).requests;
    requests.iter().take(most).for_each(|(raw, request)| reader.check(raw, request));
    requests.len().min(most)
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

    fn check(&self, raw: &[u8], request: &Request) {
        let meant = Meant::read(raw);
        assert_eq!(request.body, meant.content, "the body");
        assert_eq!(request.closes, meant.closes, "the end of the connection");
        let text = format!("{} {} HTTP/1.1\r\n{}\r\n", request.method, request.url, request.headers);
        self.read(text.as_bytes(), |given| {
            let given = given.unwrap_or_else(|error| panic!("tiny_http refuses what it is given: {error}"));
            assert_eq!((given.method().as_str(), given.url()), (&*meant.method, &*meant.path), "the request line");
            assert_eq!((&*request.method, &*request.url), (&*meant.method, &*meant.path), "our reading");
            for (name, _) in request.headers.split("\r\n").filter_map(|line| line.split_once(": ")) {
                let value = given.headers().get(name).map(|value| value.as_str());
                assert_eq!(request.header(name), value, "{name}");
                assert_eq!(request.header(&name.to_ascii_uppercase()), value, "{name} in capitals");
            }
            assert_eq!(given.body_length(), None, "the body stands beside the head");
            let value = given.headers().get("Content-Type").map(|value| value.as_str());
            assert_eq!(value, meant.content_type.as_deref(), "a header");
        });
        if meant.is_plain && raw.len() < SOCKET_BYTES {
            self.read(raw, |found| {
                let mut found = found.unwrap_or_else(|error| panic!("tiny_http refuses what is plain: {error}"));
                assert_eq!((found.method().as_str(), found.url()), (&*meant.method, &*meant.target), "in the raw");
                let (mut content, most) = (vec![], found.body_length().unwrap_or(0) as u64);
                found.as_reader().take(most).read_to_end(&mut content).expect("the body is there");
                assert_eq!(content, meant.content, "the body in the raw");
                drop(found.into_writer());
            });
        }
    }

    /// Has tiny_http read `request`, and then the one behind it.
    fn read(&self, request: &[u8], judge: impl FnOnce(Result<tiny_http::Request, String>)) {
        let mut client = UnixStream::connect(&self.path).expect("the socket file is there");
        client.write_all(&[request, NEXT.as_bytes()].concat()).expect("it fits into the socket");
        client.shutdown(Shutdown::Write).expect("the socket is open");
        let connection = Server::accept_connection(&self.listener, &self.tls).expect("a client is there");
        let mut connection = connection.expect("there is no TLS that could fail");
        judge(connection.next().expect("there is a request").map_err(|error| error.to_string()));
        if let Some(next) = connection.next() {
            let next = next.unwrap_or_else(|error| panic!("something of the request is left over: {error}"));
            assert_eq!((next.method().as_str(), next.url()), ("GET", "/next"), "the next request");
            drop(next.into_writer());
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The meaning of an approved request.
struct Meant {
    method: String,
    target: String,
    /// The target's path and query, in ASCII.
    path: String,
    content_type: Option<String>,
    content: Vec<u8>,
    /// Whether the connection ends after it (RFC 9112 section 9.3).
    closes: bool,
    /// Whether tiny_http can read it as it stands, and as RFC 9112 does.
    is_plain: bool,
}

impl Meant {
    fn read(raw: &[u8]) -> Meant {
        let (raw, skipped) = raw.strip_prefix(b"\r\n").map_or((raw, false), |raw| (raw, true));
        let end = 4 + raw.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head has an end");
        // Byte for byte: what is beyond ASCII is opaque.
        let head: String = raw[..end].iter().map(|byte| char::from(*byte)).collect();
        let mut lines = head.split("\r\n");
        let line: Vec<_> = lines.next().expect("there is a first line").split(' ').collect();
        let [method, target, version] = line[..] else { panic!("{line:?} is no request line") };
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
        let all = |name: &str| {
            let values = headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            values.map(|(_, value)| value.trim_matches([' ', '\t']).to_owned()).collect::<Vec<_>>()
        };
        let is_http11 = version != "HTTP/1.0";
        let options = all("Connection").join(",").to_ascii_lowercase();
        let has = |name: &str| options.split(',').any(|option| option.trim() == name);
        let chunked = !all("Transfer-Encoding").is_empty();
        let path = match target.split_once("://") {
            Some((_, rest)) if !target.starts_with('/') => {
                rest.find(['/', '?']).map_or("/", |end| if rest[end..].starts_with('/') { &rest[end..] } else { "/" })
            }
            _ => target,
        };
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        Meant {
            method: method.to_owned(),
            path: ascii(path),
            content_type: all("Content-Type").first().map(|value| ascii(value)),
            content: if chunked { dechunk(&raw[end..]) } else { raw[end..].to_vec() },
            closes: has("close") || (!is_http11 && !has("keep-alive")),
            is_plain: !chunked
                && !skipped
                && !options.contains("upgrade")
                && all("Expect").is_empty()
                && ["HTTP/1.0", "HTTP/1.1"].contains(&version)
                && head.bytes().all(|byte| matches!(byte, b'\r' | b'\n' | 0x20..0x7f))
                && headers.iter().all(|(name, _)| is_name(name)),
            target: target.to_owned(),
        }
    }
}

/// `text`, each char a byte, as tiny_http is given it.
fn ascii(text: &str) -> String {
    text.chars()
        .map(|char| match char {
            '\t' => " ".to_owned(),
            ' '..='~' => char.to_string(),
            '\x01'..='\x1f' | '\x7f' => "%FF".to_owned(),
            other => format!("%{:02X}", u32::from(other)),
        })
        .collect()
}

/// The content of a chunked body, without its trailers (RFC 9112 section 7.1).
pub fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut content = vec![];
    loop {
        let end = bytes.windows(2).position(|bytes| bytes == b"\r\n").expect("a chunk's first line has an end");
        let line: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
        let size = line.split(';').next().unwrap_or(&line).trim_end();
        let size = usize::from_str_radix(size, 16).expect("a chunk's size is hexadecimal");
        bytes = &bytes[end + 2..];
        if size == 0 {
            assert!(bytes.ends_with(b"\r\n"), "trailers end with an empty line");
            let lines = String::from_utf8_lossy(bytes);
            let empty = lines.split("\r\n").position(str::is_empty).expect("there is an empty line");
            assert_eq!(empty + 2, lines.split("\r\n").count(), "nothing follows the trailers");
            return content;
        }
        content.extend_from_slice(&bytes[..size]);
        assert!(bytes[size..].starts_with(b"\r\n"), "a chunk ends with a line break");
        bytes = &bytes[size + 2..];
    }
}
