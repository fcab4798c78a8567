//! Promise: whatever one client sends, however it sends it and wherever it stops, it gets one correct answer or a plain
//! close, nothing that was not a whole and sound request is ever run, and it costs the server nothing that lasts. Each
//! way to hang, bloat or fool the HTTP library beneath that we know of has its test here.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Answer, Listener, PATIENCE, Server, wait_until};

/// The contract's limit for a request's head, and for its body.
const TOO_SLOW_AFTER: Duration = Duration::from_secs(10);

/// A request behind hostile bytes, which may never be heard.
const SMUGGLED: &str = "POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsmuggled";

/// Everything that comes until the end of the connection, be it a close or a reset.
fn read_all(connection: &mut TcpStream) -> String {
    let mut bytes = vec![];
    match connection.read_to_end(&mut bytes) {
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
            panic!("late: the end of the connection after {:?}", String::from_utf8_lossy(&bytes))
        }
        _ => String::from_utf8(bytes).expect("answers are UTF-8"),
    }
}

/// All bytes that come back for `bytes` until the connection ends.
fn answers(server: &Server, bytes: impl AsRef<[u8]>) -> String {
    let mut connection = server.connect();
    let _ = connection.write_all(bytes.as_ref()); // may have been refused before the last byte
    read_all(&mut connection)
}

/// The one answer that `text` is, which ends its connection.
fn only_answer(text: &str) -> Answer {
    let mut reader = BufReader::new(text.as_bytes());
    let answer = Answer::read(&mut reader, false);
    assert!(reader.fill_buf().unwrap().is_empty(), "one answer and no more: {text:?}");
    assert_eq!(answer.header("Connection"), Some("close"), "{text:?}");
    answer
}

/// Says something and hears it as the next thing that `listener` hears: nothing else was said since the last time.
fn nothing_else_was_said(server: &Server, listener: &mut Listener) {
    server.say("nothing else");
    assert_eq!(listener.line().unwrap(), "nothing else\r\n");
}

/// Threads and descriptors are no more than before.
fn nothing_is_left(server: &Server, (threads, descriptors): (usize, usize)) {
    wait_until("threads and descriptors are as before", || {
        server.threads() <= threads && server.descriptors() <= descriptors
    });
}

/// How many threads and descriptors a server has to which nobody is connected. A few more threads may wait for a while.
fn size(server: &Server) -> (usize, usize) {
    server.warm_up();
    let cores = std::thread::available_parallelism().unwrap().get();
    (server.threads().max(3 + 4 * cores), server.descriptors())
}

#[test]
fn other_versions_of_http_are_refused_and_hang_nothing() {
    let server = Server::start(&[]);
    let before = size(&server);
    for _ in 0..60 {
        let answer = only_answer(&answers(&server, "GET / HTTP/2.0\r\n\r\n"));
        assert_eq!(answer.status, 505);
        assert_eq!(answer.body, "aloud: this is no HTTP/1.1; send HTTP/1.1 or HTTP/1.0, as curl --http1.1 does\n");
    }
    let head = "GET / HTTP/2.0\r\nHost: x\r\naccept: application/json\r\n\r\n";
    let answer = only_answer(&answers(&server, head));
    assert!(answer.body.starts_with("{\"error\":\"this is no HTTP/1.1; send"), "{answer:?}");
    let mut curl = server.curl_command(&["--http2-prior-knowledge", "--max-time", "20", "/say", "-d", "message=x"]);
    let output = curl.output().unwrap();
    assert!(!output.status.success() && output.status.code() != Some(28), "curl is told, and at once: {output:?}");
    nothing_is_left(&server, before);
}

#[test]
fn the_shell_loop_that_hung_a_thread_each_leaves_nothing() {
    let server = Server::start(&[]);
    let before = size(&server);
    let port = server.address().port();
    let loop_of_200 = format!(
        r"seq 200 | xargs -P 40 -I+ sh -c 'printf '\''GET / HTTP/2.0\r\n\r\n'\'' | nc -q1 localhost {port}' | grep -c '^HTTP/1.1 505 '"
    );
    let output = Command::new("sh").args(["-c", &loop_of_200]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "200\n");
    nothing_is_left(&server, before);
}

#[test]
fn what_never_ends_is_refused_at_its_bound_and_fills_no_memory() {
    let server = Server::start(&[]);
    let check = |start: &str, piece: &str, status: u16| {
        let mut connection = server.connect();
        let _ = connection.write_all(start.as_bytes());
        let block = piece.repeat(64 * 1024 / piece.len());
        let mut sent = 0;
        while sent < 64 << 20 && connection.write_all(block.as_bytes()).is_ok() {
            sent += block.len();
        }
        assert!(sent < 8 << 20, "the rest is not read: {sent} bytes");
        assert_eq!(only_answer(&read_all(&mut connection)).status, status, "{start:?}");
    };
    let chunked = "POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let round = || {
        check("GET / HTTP/1.1\r\nX: ", "x", 431);
        check("GET / HTTP/1.1\r\n", "X: y\r\n", 431);
        check("GET /", "x", 414);
        check("x", "x", 414);
        check("GET / HTTP/1.1\r\n", "\r\n", 400);
        check(chunked, "0", 400);
        check(chunked, "1;x\r\ny\r\n", 413);
        check(&format!("{chunked}1;"), "x", 400);
    };
    round(); // each thread gets its buffer
    let before = server.memory();
    (0..5).for_each(|_| round());
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 1 << 20, "{grown} bytes of memory");
}

#[test]
fn a_length_that_no_body_has_is_refused_before_anything_is_read() {
    let server = Server::start(&[]);
    for length in ["9000000000000000000", "18446744073709551615", "18446744073709551616", "65537", &"9".repeat(100)] {
        for target in ["/say", "/nowhere", "/listen", "/health"] {
            let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
            assert_eq!(only_answer(&answers(&server, request)).status, 413, "{length} {target}");
        }
    }
}

#[test]
fn the_rest_of_a_long_body_that_comes_too_late_is_no_request() {
    let server = Server::start(&["--max-body", "1000000"]);
    let mut listener = server.listen("/listen");
    let send_the_rest_after = |pause: Duration| {
        let mut connection = BufReader::new(server.connect());
        let head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n";
        connection.get_mut().write_all(head).unwrap();
        std::thread::sleep(pause);
        let _ = connection.get_mut().write_all(SMUGGLED.as_bytes());
        let _ = connection.get_mut().shutdown(Shutdown::Write);
        let answer = Answer::read(&mut connection, false);
        assert!([400, 408].contains(&answer.status) && answer.header("Connection") == Some("close"), "{answer:?}");
        assert_eq!(read_all(connection.get_mut()), "");
    };
    let send = &send_the_rest_after;
    std::thread::scope(|scope| {
        scope.spawn(|| send(Duration::ZERO));
        // Just when the server has given up waiting, and may not yet have closed the connection.
        for tenth in 0..10 {
            scope.spawn(move || send(TOO_SLOW_AFTER + Duration::from_millis(20 + 100 * tenth)));
        }
    });
    nothing_else_was_said(&server, &mut listener);
}

/// Sends `parts`, one after the other with a pause of half a second, until the server answers; returns its answer.
fn drip(server: &Server, start: &str, parts: &str) -> (Answer, Duration) {
    let mut connection = server.connect();
    connection.set_nodelay(true).unwrap();
    connection.write_all(start.as_bytes()).unwrap();
    let begin = Instant::now();
    let mut parts = parts.bytes().cycle();
    connection.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    while connection.peek(&mut [0]).is_err() {
        let _ = connection.write_all(&[parts.next().unwrap()]);
        assert!(begin.elapsed() < TOO_SLOW_AFTER + PATIENCE, "late: the answer to {start:?}");
    }
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    (only_answer(&read_all(&mut connection)), begin.elapsed())
}

#[test]
fn who_drips_is_told_so_after_ten_seconds_however_steadily_it_drips() {
    let server = Server::start(&["--max-body", "1000000"]);
    let mut listener = server.listen("/listen");
    let post = |headers: &str| format!("POST /say HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let ways = [
        ("GET /say?message=".to_owned(), "x"),
        ("GET / HTTP/1.1\r\nHost: x\r\n".to_owned(), "X: y\r\n"),
        (post("Content-Length: 1000\r\n"), "x"),
        (post("Transfer-Encoding: chunked\r\n"), "1\r\nx\r\n"),
    ];
    std::thread::scope(|scope| {
        let drippers: Vec<_> = ways.iter().map(|(start, parts)| scope.spawn(|| drip(&server, start, parts))).collect();
        nothing_else_was_said(&server, &mut listener);
        for (dripper, (start, _)) in drippers.into_iter().zip(&ways) {
            let (answer, after) = dripper.join().unwrap();
            assert_eq!(answer.status, 408, "{start:?}");
            assert!(after >= TOO_SLOW_AFTER, "not before its time: {after:?}");
            let line = "aloud: the request took more than 10 s; send its head, then its body, at once\n";
            assert_eq!(answer.body, line);
            println!("{start:?} got 408 after {after:.1?}");
        }
    });
    nothing_else_was_said(&server, &mut listener);
}

#[test]
fn a_long_body_that_drips_ends_after_ten_seconds() {
    let server = Server::start(&["--max-body", "1000000"]);
    let before = size(&server);
    let mut listener = server.listen("/listen");
    let mut connection = server.connect();
    connection.write_all(b"POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n").unwrap();
    let begin = Instant::now();
    while connection.write_all(b"x").is_ok() && begin.elapsed() < TOO_SLOW_AFTER + PATIENCE {
        std::thread::sleep(Duration::from_millis(200)); // that is how it drips
    }
    println!("cut after {:.1?}", begin.elapsed());
    let text = read_all(&mut connection);
    assert!(text.is_empty() || [400, 408].contains(&only_answer(&text).status), "{text:?}");
    nothing_else_was_said(&server, &mut listener);
    drop(listener);
    nothing_is_left(&server, before);
}

#[test]
fn who_goes_on_after_a_refusal_is_listened_to_for_a_moment_and_not_for_ever() {
    let server = Server::start(&[]);
    let before = size(&server);
    let mut connection = server.connect();
    connection.write_all(b"GET / HTTP/2.0\r\n\r\n").unwrap();
    let begin = Instant::now();
    while connection.write_all(b"x").is_ok() {
        assert!(begin.elapsed() < PATIENCE, "late: the end of the connection");
        std::thread::sleep(Duration::from_millis(100)); // that is how it drips
    }
    assert_eq!(only_answer(&read_all(&mut connection)).status, 505);
    nothing_is_left(&server, before);
}

#[test]
fn an_upgrade_with_a_body_is_answered_as_if_it_were_none() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    assert_eq!(server.curl(&["--http2", "/say", "-d", "message=Hi"]), "ok.");
    assert_eq!(listener.line().unwrap(), "Hi\r\n");
    let nowhere = server.url("/nowhere");
    assert!(server.curl(&["--http2", &nowhere, "-d", "message=Hi"]).starts_with("aloud: there is no "));
    let request = "POST /say HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nHi";
    let mut connection = BufReader::new(server.connect());
    connection.get_mut().write_all(format!("{request}{request}").as_bytes()).unwrap();
    for _ in 0..2 {
        assert_eq!(Answer::read(&mut connection, false).body, "ok.");
        assert_eq!(listener.line().unwrap(), "Hi\r\n");
    }
    nothing_else_was_said(&server, &mut listener);
}

#[test]
fn a_listener_that_half_closes_gets_the_end_of_its_stream_and_nothing_behind_it() {
    let server = Server::start(&[]);
    server.say("Hi");
    let listen = || {
        let mut half_closed = server.connect();
        half_closed.write_all(b"GET /listen?last=1 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        half_closed.shutdown(Shutdown::Write).unwrap();
        read_all(&mut half_closed)
    };
    let answer = listen();
    assert!(answer.ends_with("\r\n4\r\nHi\r\n\r\n0\r\n\r\n"), "{answer:?}");
    let over = AtomicBool::new(false);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let speak = || {
            while !over.load(Ordering::Relaxed) {
                server.say("Hi");
            }
        };
        scope.spawn(speak);
        let answers = (0..200).map(|_| listen()).collect();
        over.store(true, Ordering::Relaxed);
        answers
    });
    let ends_once = |answer: &String| answer.find("\r\n0\r\n\r\n") == answer.len().checked_sub(7);
    assert_eq!(answers.iter().find(|answer| !ends_once(answer)), None);
}

#[test]
fn what_is_cut_off_is_said_to_nobody() {
    let server = Server::start(&["--max-body", "1000000"]);
    let before = size(&server);
    let mut listener = server.listen("/listen");
    for part in [
        "GET /say?message=cut HTTP/1.1\r\nHost: x\r\n",
        "POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\ncut",
        "POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\ncut",
        "POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n",
        "POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncut\r\n0\r\n",
        "POST /say HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nContent-Length: 10\r\n\r\ncut",
    ] {
        let mut half_closed = server.connect();
        half_closed.write_all(part.as_bytes()).unwrap();
        half_closed.shutdown(Shutdown::Write).unwrap();
        assert_eq!(only_answer(&read_all(&mut half_closed)).status, 400, "{part:?}");
        let mut closed = server.connect();
        closed.write_all(part.as_bytes()).unwrap();
        drop(closed);
        let mut reset = server.connect();
        reset.write_all(part.as_bytes()).unwrap();
        socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
        drop(reset);
    }
    nothing_else_was_said(&server, &mut listener);
    drop(listener);
    nothing_is_left(&server, before);
}

#[test]
fn a_client_that_is_killed_in_the_middle_leaves_nothing_and_says_nothing() {
    let server = Server::start(&["--max-body", "1000000"]);
    let before = size(&server);
    let mut listener = server.listen("/listen");
    let port = server.address().port().to_string();
    let mut clients: Vec<_> = (0..20)
        .map(|number| {
            let chunked = server.curl_command(&["-T", "-", "/say"]);
            let mut long = Command::new("nc");
            long.args(["127.0.0.1", &port]);
            let mut client = if number % 2 == 0 { chunked } else { long };
            let mut client = client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let stdin = client.stdin.as_mut().unwrap();
            if number % 2 == 1 {
                stdin.write_all(b"POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n").unwrap();
            }
            stdin.write_all(&[b'x'; 5000]).unwrap();
            client
        })
        .collect();
    // One descriptor for each of them, and one for the listener.
    wait_until("all are connected", || server.descriptors() > before.1 + 20);
    for client in &mut clients {
        client.kill().unwrap(); // SIGKILL
        client.wait().unwrap();
    }
    nothing_else_was_said(&server, &mut listener);
    drop(listener);
    nothing_is_left(&server, before);
}

/// Everything that two readers could take for two things, and the status that it gets.
const DOUBTFUL: &[(&str, u16)] = &[
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: five\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 5 5\r\n\r\nhello", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nhello", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length : 0\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length:\x0b0\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nX: a\r\n Content-Length: 5\r\n\r\nhello", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n 5\r\n\r\nhello", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    ("POST /say HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", 501),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 501),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX : y\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nHi\r\n0\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nHi!\r\n0\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;\nHi\r\n0\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\nHi\r\n0\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nHi\r\n0\r\n\r\n", 400),
    ("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nHi\r\n0\r\n\r\n", 413),
    ("GET /say HTTP/1.1\nHost: x\n\n", 400),
    ("GET /say HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400),
    ("GET /say HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400),
    ("\r\n\r\nGET /say HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("GET /say HTTP/1.1\r\nHost: x:80:81\r\n\r\n", 400),
    ("GET /say HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    ("GET /say HTTP/1.1\r\nHost: x y\r\n\r\n", 400),
    ("GET /say HTTP/1.1\r\n\r\n", 400),
    ("GET /say\r\n\r\n", 400),
    ("GET /say HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("GET /say\tHTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("GET /say HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\n\r\n", 417),
    ("GET /say HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", 400),
    ("GET /say\0 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("GET /\x1b[31m HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("G\x1bT / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
];

#[test]
fn what_follows_a_doubtful_request_is_never_run() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    for (request, status) in DOUBTFUL {
        let answer = only_answer(&answers(&server, format!("{request}{SMUGGLED}")));
        assert_eq!(answer.status, *status, "{request:?}: {}", answer.body);
        // The smuggled request may also come later, on a connection that was good so far.
        let mut connection = BufReader::new(server.connect());
        connection.get_mut().write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut connection, false).status, 200);
        let _ = [*request, SMUGGLED].map(|part| connection.get_mut().write_all(part.as_bytes()).is_ok());
        assert_eq!(Answer::read(&mut connection, false).status, *status);
        let mut rest = vec![];
        let _ = connection.read_to_end(&mut rest); // a close or a reset
        assert!(rest.is_empty(), "{request:?}: {rest:?}");
    }
    nothing_else_was_said(&server, &mut listener);
}

#[test]
fn what_is_doubtful_behind_good_requests_is_refused_in_its_turn() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    for (doubtful, status) in DOUBTFUL {
        let good = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
        let text = answers(&server, format!("{good}{good}{doubtful}{SMUGGLED}"));
        let mut reader = BufReader::new(text.as_bytes());
        for _ in 0..2 {
            assert_eq!(Answer::read(&mut reader, false).status, 200);
        }
        let last = Answer::read(&mut reader, false);
        assert_eq!((last.status, last.header("Connection")), (*status, Some("close")), "{doubtful:?}");
        assert!(reader.fill_buf().unwrap().is_empty(), "{doubtful:?}: {text:?}");
    }
    nothing_else_was_said(&server, &mut listener);
}

#[test]
fn who_is_silent_or_hangs_up_is_not_talked_to() {
    let server = Server::start(&["--idle", "1"]);
    let before = size(&server);
    let silent = || server.connect();
    let half_closed = || {
        let connection = server.connect();
        connection.shutdown(Shutdown::Write).unwrap();
        connection
    };
    let idle = |request: &str| {
        let mut connection = BufReader::new(server.connect());
        connection.get_mut().write_all(request.as_bytes()).unwrap();
        assert_eq!(Answer::read(&mut connection, false).status, 200);
        connection.into_inner()
    };
    let health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut connections =
        [silent(), half_closed(), idle(health), idle("GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")];
    for (number, connection) in connections.iter_mut().enumerate() {
        assert_eq!(read_all(connection), "", "number {number} is closed and told nothing");
    }
    // One that hangs up its side behind a whole request gets its answer, and nothing behind it.
    let mut connection = server.connect();
    connection.write_all(health.as_bytes()).unwrap();
    connection.shutdown(Shutdown::Write).unwrap();
    let text = read_all(&mut connection);
    assert_eq!((text.matches("HTTP/1.1 ").count(), text.matches("\"status\":\"ok\"").count()), (1, 1), "{text:?}");
    nothing_is_left(&server, before);
}

#[test]
fn what_is_sent_ahead_is_answered_in_order() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let mut connection = BufReader::new(server.connect());
    let say = |number: usize| {
        let text = number.to_string();
        format!(
            "POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{text}GET /{text} HTTP/1.1\r\nHost: x\r\n\r\n",
            text.len()
        )
    };
    for round in 0..10 {
        let numbers = round * 20..round * 20 + 20;
        connection.get_mut().write_all(numbers.clone().map(say).collect::<String>().as_bytes()).unwrap();
        for number in numbers {
            assert_eq!(Answer::read(&mut connection, false).status, 200);
            let other = Answer::read(&mut connection, false);
            assert!(other.status == 404 && other.body.contains(&format!("\"/{number}\"")), "{other:?}");
            assert_eq!(listener.line().unwrap(), format!("{number}\r\n"));
        }
    }
}

#[test]
fn a_hundred_thousand_requests_sent_ahead_fill_no_memory_and_all_get_their_answers() {
    let server = Server::start(&[]);
    let count = 100_000;
    let request = |number: usize| format!("GET /{number:06} HTTP/1.1\r\nHost: x\r\n\r\n");
    let all: Arc<String> = Arc::new((0..count).map(request).collect());
    let before = server.memory();
    let (mut next, mut connections) = (0, 0);
    // If the connection ends before its last answer, the rest was not run and is sent again (RFC 9112 section 9.3.2).
    while next < count {
        connections += 1;
        assert!(connections < 5000, "{next} answers on {connections} connections");
        let connection = server.connect();
        let mut speaking = connection.try_clone().unwrap();
        let (ahead, sent) = (all.clone(), next * request(0).len());
        let writer = std::thread::spawn(move || drop(speaking.write_all(&ahead.as_bytes()[sent..])));
        let mut answers = BufReader::new(connection);
        let first = next;
        while answers.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            let answer = Answer::read(&mut answers, false);
            assert!(answer.body.contains(&format!("\"/{next:06}\"")), "the answer to {next}: {answer:?}");
            next += 1;
        }
        assert!(next > first, "each connection gets on, after {next}");
        drop(answers);
        writer.join().unwrap();
    }
    let grown = server.memory().saturating_sub(before);
    println!("{connections} connections, {grown} bytes of memory more");
    assert!(grown < 4 << 20, "{grown} bytes of memory");
}

#[test]
fn who_takes_no_answers_is_closed_and_fills_no_memory() {
    let server = Server::start(&[]);
    let before = size(&server);
    let memory = server.memory();
    let connections: Vec<_> = (0..20)
        .map(|_| {
            let mut connection = server.connect();
            let requests = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
            // Each answer is longer than its request. The end of its patience shows as a reset.
            while connection.write_all(requests.as_bytes()).is_ok() {}
            connection
        })
        .collect();
    let grown = server.memory().saturating_sub(memory);
    assert!(grown < 8 << 20, "{grown} bytes of memory");
    assert_eq!(server.say("x"), 0);
    nothing_is_left(&server, before);
    drop(connections);
}

#[test]
fn who_waits_to_be_asked_for_the_body_is_asked() {
    let server = Server::start(&["--max-body", "1000000"]);
    let mut listener = server.listen("/listen");
    for (announced, body) in [("Content-Length: 2", "Hi"), ("Transfer-Encoding: chunked", "2\r\nHi\r\n0\r\n\r\n")] {
        let mut connection = BufReader::new(server.connect());
        let head = format!("POST /say HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{announced}\r\n\r\n");
        connection.get_mut().write_all(head.as_bytes()).unwrap();
        assert_eq!(Answer::read_head(&mut connection).status, 100, "before anything of the body is sent");
        connection.get_mut().write_all(body.as_bytes()).unwrap();
        let mut answer = Answer::read(&mut connection, false);
        while answer.status == 100 {
            answer = Answer::read(&mut connection, false); // a client has to take several (RFC 9110 section 15.2)
        }
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok."));
        assert_eq!(listener.line().unwrap(), "Hi\r\n");
    }
    // A body that will be refused is not asked for.
    let head = "POST /say HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1000001\r\n\r\n";
    assert_eq!(only_answer(&answers(&server, head)).status, 413);
    for length in [1, 100_000, 999_999] {
        let text = "x".repeat(length);
        let arguments = ["-H", "Expect: 100-continue", "-H", "Content-Type: text/plain", "--data-binary", "@-", "/say"];
        assert_eq!(server.curl_with(&arguments, text.as_bytes()), "ok.");
        assert_eq!(listener.line().unwrap(), text + "\r\n");
    }
}

#[test]
fn bodies_may_come_in_tiny_pieces() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let text = "x".repeat(3000);
    let sized = format!("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n{text}");
    let chunks: String = (0..100).map(|_| "1\r\ny\r\n").collect();
    let chunked = format!("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    for (request, heard) in [(sized, text), (chunked, "y".repeat(100))] {
        let mut connection = BufReader::new(server.connect());
        connection.get_ref().set_nodelay(true).unwrap();
        for byte in request.as_bytes() {
            connection.get_mut().write_all(&[*byte]).unwrap();
        }
        assert_eq!(Answer::read(&mut connection, false).status, 200);
        assert_eq!(listener.line().unwrap(), heard + "\r\n");
    }
    nothing_else_was_said(&server, &mut listener);
}

#[test]
fn a_whole_url_is_asked_for_as_proxies_do() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen/a");
    let request = "GET http://anywhere:1/say/a?message=Hi HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n";
    assert_eq!(only_answer(&answers(&server, request)).body, "ok.");
    assert_eq!(listener.line().unwrap(), "Hi\r\n");
    let through_a_proxy = ["--proxy", &server.url(""), "http://nowhere.example/say/a", "-d", "message=through"];
    assert_eq!(server.curl(&through_a_proxy), "ok.");
    assert_eq!(listener.line().unwrap(), "through\r\n");
}
