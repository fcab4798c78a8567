//! Promise: a client that is right by RFC 9110 and 9112, or that people use every day, gets the answer to each request
//! that was executed, however it sends them; and the last answer says that the connection ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{Answer, Server, wait_until};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
const SAY: &str = "POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nHi";
const CHUNKED: &str = "POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nHi\r\n0\r\n\r\n";

/// How often what went wrong now and then is tried.
const TRIES: usize = 1000;

fn reader(connection: &TcpStream) -> BufReader<TcpStream> {
    BufReader::new(connection.try_clone().unwrap())
}

/// The next answer is 200; `ok.`, if that is asked for.
fn answered(reader: &mut impl BufRead, ok: bool) -> Answer {
    let answer = Answer::read(reader, false);
    assert!(answer.status == 200 && (!ok || answer.body == "ok."), "{answer:?}");
    answer
}

/// How many messages the server has said.
fn said(server: &Server) -> usize {
    let metrics = server.request("GET", "/metrics", &[], b"").body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("aloud_messages_total "));
    line.unwrap().parse().unwrap()
}

fn ends(reader: &mut impl Read) {
    assert_eq!(reader.read_to_end(&mut vec![]).expect("a proper end, not a reset"), 0, "nothing more comes");
}

#[test]
fn a_request_that_comes_with_the_end_of_the_clients_sending_is_answered() {
    let server = Server::start(&[]);
    for first in [SAY, CHUNKED] {
        for _ in 0..TRIES {
            let mut connection = server.connect();
            let mut reader = reader(&connection);
            connection.write_all(first.as_bytes()).unwrap();
            answered(&mut reader, true);
            connection.write_all(HEALTH.as_bytes()).unwrap();
            connection.shutdown(Shutdown::Write).unwrap();
            answered(&mut reader, false);
            ends(&mut reader);
        }
    }
}

#[test]
fn a_request_sent_a_moment_after_another_is_answered_too() {
    let server = Server::start(&[]);
    for microseconds in (0..TRIES as u64).map(|number| number % 40) {
        let mut connection = server.connect();
        let mut reader = reader(&connection);
        connection.write_all(SAY.as_bytes()).unwrap();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(microseconds) {
            std::hint::spin_loop();
        }
        connection.write_all(SAY.as_bytes()).unwrap();
        answered(&mut reader, true);
        answered(&mut reader, true);
    }
    assert_eq!(said(&server), 2 * TRIES);
}

#[test]
fn a_hundred_requests_in_ten_writes_get_a_hundred_answers() {
    let server = Server::start(&[]);
    for half_closes in [true, false] {
        for _ in 0..TRIES / 2 {
            let mut connection = server.connect();
            let mut reader = reader(&connection);
            for _ in 0..10 {
                connection.write_all(SAY.repeat(10).as_bytes()).unwrap();
            }
            if half_closes {
                connection.shutdown(Shutdown::Write).unwrap();
            }
            (0..100).for_each(|_| drop(answered(&mut reader, true)));
            if half_closes {
                ends(&mut reader);
            }
        }
    }
    assert_eq!(said(&server), 100 * TRIES);
}

#[test]
fn what_stands_before_a_refused_request_is_answered_and_what_stands_behind_it_is_not_executed() {
    let server = Server::start(&[]);
    for _ in 0..100 {
        let mut connection = server.connect();
        let mut reader = reader(&connection);
        let bad = "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n";
        connection.write_all([SAY, SAY, bad, SAY].concat().as_bytes()).unwrap();
        let _ = connection.write_all(SAY.repeat(1000).as_bytes());
        answered(&mut reader, true);
        answered(&mut reader, true);
        let last = Answer::read(&mut reader, false);
        assert_eq!((last.status, last.header("Connection")), (400, Some("close")));
        ends(&mut reader);
    }
    assert_eq!(said(&server), 200);
}

#[test]
fn a_stream_says_that_what_was_sent_behind_it_will_not_be_answered() {
    let server = Server::start(&[]);
    let listen = "GET /listen HTTP/1.1\r\nHost: x\r\n\r\n";
    for (sent, expected) in [(listen.to_owned(), "keep-alive"), ([listen, SAY].concat(), "close")] {
        let mut connection = server.connect();
        connection.write_all(sent.as_bytes()).unwrap();
        let head = Answer::read_head(&mut reader(&connection));
        assert_eq!(head.header("Connection"), Some(expected), "{head:?}");
    }
    assert_eq!(said(&server), 0);
}

#[test]
fn raw_text_in_the_url_is_heard_as_it_was_typed() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    server.curl(&["/say?name=Jürgen&message=Grüße"]);
    server.curl(&["-G", "/say", "-d", "name=Jürgen", "-d", "message=日本"]);
    assert_eq!(listener.lines(2), ["Jürgen Grüße\r\n", "Jürgen 日本\r\n"]);
}

#[test]
fn headers_beyond_ascii_and_with_odd_names_disturb_nobody() {
    let server = Server::start(&[]);
    let headers =
        ["Cookie: n=Jürgen", "User-Agent: é", "Referer: http://x/ü", "Last-Event-ID: ü", "a.b!c~: d", "X-Ctl: \x01"];
    for header in headers {
        let answer = server.request("GET", "/health", &[header], b"");
        assert_eq!(answer.status, 200, "{header:?}: {answer:?}");
    }
    assert_eq!(server.request("GET", "/health", &[&format!("Cookie: {}", "x".repeat(16_000))], b"").status, 200);
}

#[test]
fn all_lines_of_a_list_count() {
    let server = Server::start(&[]);
    let answer = server.request("POST", "/say", &["Accept: text/html", "Accept: application/json"], b"Hi");
    assert_eq!(answer.header("Content-Type"), Some("application/json"), "{answer:?}");
    let etag = server.request("GET", "/page/aloud.css", &[], b"").header("ETag").unwrap().to_owned();
    let headers = ["If-None-Match: \"other\"", &format!("If-None-Match: {etag}")];
    assert_eq!(server.request("GET", "/page/aloud.css", &headers, b"").status, 304);
    let mut connection = server.connect();
    let head = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: TE\r\nConnection: close\r\nTE: trailers\r\n\r\n";
    connection.write_all(head.as_bytes()).unwrap();
    let mut reader = reader(&connection);
    assert_eq!(answered(&mut reader, false).header("Connection"), Some("close"));
    ends(&mut reader);
}

#[test]
fn requests_that_come_byte_by_byte_are_answered() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    connection.set_nodelay(true).unwrap();
    let request = format!("GET /health HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n", "x".repeat(1500));
    for byte in request.bytes() {
        connection.write_all(&[byte]).unwrap();
    }
    answered(&mut reader(&connection), false);
}

#[test]
fn small_print_is_kept() {
    let server = Server::start(&[]);
    let check = |request: &str, expected: &str| {
        let mut connection = server.connect();
        connection.write_all(request.as_bytes()).unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        reader(&connection).read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{request:?}: {answer:?}");
        answer
    };
    let head = check("HEAD /health HTTP/1.1\r\n\r\n", "400 ");
    assert!(head.ends_with("\r\n\r\n"), "an answer to HEAD has no body: {head:?}");
    check("GET /health HTTP/1.0\r\nExpect: something\r\n\r\n", "200 ");
    check("GET /health HTTP/1.2\r\nHost: x\r\n\r\n", "200 ");
    check("\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n", "200 ");
    check("PURGE /say HTTP/1.1\r\nHost: x\r\n\r\n", "501 ");
    check("DELETE /say HTTP/1.1\r\nHost: x\r\n\r\n", "405 ");
    for host in ["x:abc", "["] {
        check(&format!("GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n"), "400 ");
    }
    check("GET http:///health HTTP/1.1\r\nHost: x\r\n\r\n", "400 ");
    let options = check("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "204 ");
    assert!(options.contains("\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"), "{options:?}");
    let asked = "POST /say HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nHi";
    check(asked, "200 "); // it did not wait to be asked
}

#[test]
fn a_client_that_resets_is_named_in_the_log_by_its_address() {
    let server = Server::start(&["--log", "debug"]);
    let listener = server.listen("/listen");
    let address = listener.connection().local_addr().unwrap();
    let socket = socket2::SockRef::from(listener.connection());
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(listener); // a reset
    server.wait_for_log(&format!("{address} has left"));
    let connection = server.connect();
    let address = connection.local_addr().unwrap();
    (&connection).write_all(b"GET /health HTTP/1.1\r\n").unwrap();
    connection.shutdown(Shutdown::Write).unwrap();
    server.wait_for_log(&format!("{address} is refused"));
}

#[test]
fn what_has_come_while_the_process_was_paused_is_answered() {
    let server = Server::start(&["--idle", "1"]);
    let connections: Vec<_> = (0..80)
        .map(|_| {
            let mut connection = server.connect();
            connection.write_all(HEALTH.as_bytes()).unwrap();
            answered(&mut reader(&connection), false);
            connection
        })
        .collect();
    server.signal("STOP");
    let paused = Instant::now();
    for mut connection in &connections {
        connection.write_all(HEALTH.as_bytes()).unwrap();
    }
    wait_until("their idle time has ended", || paused.elapsed() > Duration::from_secs(3));
    server.signal("CONT");
    for connection in &connections {
        answered(&mut reader(connection), false);
    }
}
