//! Promise: who comes back with the id it heard last misses nothing that is kept, hears nothing twice, and is told
//! where it may have missed something. `/said` answers with the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::{Answer, Listener, Server, set_clock, wait_until};

/// Says `text` on `target` and returns its id.
fn say(server: &Server, target: &str, text: &str) -> String {
    let answer = server.request("POST", target, &[], text.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("Aloud-Id").unwrap().to_owned()
}

/// The body of `/said`, without its framing.
fn said(server: &Server, target: &str) -> String {
    server.curl(&[target])
}

#[test]
fn a_page_that_comes_back_when_nothing_was_said_gets_a_byte_at_once() {
    // Firefox tells a page of the answer with the first byte of its body.
    let server = Server::start(&["--heartbeat", "3600"]);
    let check = |query: &str, opening: &str| {
        let mut listener = server.listen(&format!("/listen?{query}"));
        server.say("x");
        assert_eq!(listener.line().unwrap(), opening, "{query}");
    };
    check("as=json&last=200&event=number", "\n");
    let heard = say(&server, "/say", "x");
    check(&format!("as=json&since={heard}&event=number"), "\n");
    check(&format!("as=lines&since={heard}"), "x\r\n");
}

#[test]
fn a_listener_gets_what_it_missed_and_then_what_is_said() {
    let server = Server::start(&[]);
    let ids: Vec<String> = (0..5).map(|number| say(&server, "/say/a", &number.to_string())).collect();
    say(&server, "/say/b", "elsewhere");
    let check = |target: &str, header: &str, expected: &[&str]| {
        let mut listener = server.try_listen(target, &[header]).unwrap();
        say(&server, "/say/c", "live");
        for text in expected.iter().chain(&["live"]) {
            assert_eq!(listener.line().unwrap(), format!("{text}\r\n"), "{target} {header}");
        }
    };
    let none = "X-None: x";
    check(&format!("/listen?since={}&event=message", ids[2]), none, &["3", "4", "elsewhere"]);
    check("/listen", &format!("Last-Event-ID: {}", ids[3]), &["4", "elsewhere", "live"]);
    check(&format!("/listen?since={}&last=1", ids[0]), none, &["live"]);
    check("/listen?last=0", none, &[]);
    check("/listen?last=2", none, &["live", "live"]);
    let everything = ["0", "1", "2", "3", "4", "elsewhere", "live", "live", "live", "live", "live"];
    check("/listen?since=all", none, &everything);
    check("/listen?since=1h&last=7", none, &["elsewhere", "live", "live", "live", "live", "live", "live"]);
    let header = format!("last-event-id: {}", ids[4]);
    check("/listen?since=all&last=1", &header, &["elsewhere", "live", "live", "live", "live", "live", "live", "live"]);

    assert_eq!(said(&server, "/said/a?last=2"), "3\r\n4\r\n");
    assert_eq!(said(&server, &format!("/said/a?since={}", ids[3])), "4\r\n");
    assert_eq!(said(&server, "/said/b"), "elsewhere\r\n");
    assert_eq!(said(&server, "/said/a?event=ci"), "");
    assert_eq!(said(&server, "/said/a?since=0s"), "");
}

#[test]
fn what_is_no_point_in_time_is_refused_in_one_line() {
    let server = Server::start(&[]);
    for target in ["/listen?since=yesterday", "/said?since=", "/said/a?since=5w", "/listen/a?last=-1", "/said?last=all"]
    {
        let answer = server.request("GET", target, &[], b"");
        assert_eq!((answer.status, answer.body.lines().count()), (400, 1), "{target}: {answer:?}");
        assert!(answer.body.contains("; send "), "{answer:?}");
    }
    let mut listener =
        server.try_listen("/listen", &["Last-Event-ID: 0815-abc"]).expect("an EventSource is not refused");
    assert_eq!(listener.line().unwrap(), "aloud: messages after 0 may be missing; none is kept\r\n");
}

#[test]
fn a_gap_is_told_before_anything_else_in_every_format_and_without_an_id() {
    let server = Server::start(&["--history", "2"]);
    let ids: Vec<String> = (0..4).map(|number| say(&server, "/say", &number.to_string())).collect();
    let (heard, oldest) = (&ids[0], &ids[2]);
    let line = format!("aloud: messages after {heard} may be missing; the oldest kept is {oldest}\r\n");
    let object = format!("{{\"after\":\"{heard}\",\"oldest\":\"{oldest}\"}}");

    let mut listener = server.listen(&format!("/listen?since={heard}"));
    assert_eq!(listener.lines(3), [&line, "2\r\n", "3\r\n"]);
    let mut listener = server.try_listen("/listen?as=sse", &[&format!("Last-Event-ID: {heard}")]).unwrap();
    let frame = listener.lines(6);
    assert_eq!(frame[2..5], ["event: gap\n", &format!("data: {object}\n"), "\n"]);
    assert_eq!(frame[5], format!("id: {oldest}\n"));
    let mut listener = server.listen(&format!("/listen?as=json&since={heard}"));
    assert_eq!(listener.line().unwrap(), format!("{{\"event\":\"gap\",{}\n", &object[1..]));
    assert!(listener.line().unwrap().contains(&format!("\"id\":\"{oldest}\"")));

    assert_eq!(said(&server, &format!("/said?since={heard}")), format!("{line}2\r\n3\r\n"));
    assert_eq!(said(&server, &format!("/said/elsewhere?since={heard}")), line, "filters do not hide it");
    assert_eq!(said(&server, &format!("/said?since={}", ids[1])), "2\r\n3\r\n", "nothing is missing");
    assert_eq!(said(&server, "/said"), "2\r\n3\r\n", "who asks for what is kept gets it");

    // After a restart nobody knows what was said in between, or never heard.
    let restarted = Server::start(&[]);
    let mut listener = restarted.try_listen("/listen", &[&format!("Last-Event-ID: {}", ids[3])]).unwrap();
    let line = format!("aloud: messages after {} may be missing; none is kept\r\n", ids[3]);
    assert_eq!(listener.line().unwrap(), line);
    let id = say(&restarted, "/say", "new");
    assert_eq!(listener.line().unwrap(), "new\r\n");
    assert!(id.parse::<u64>().unwrap() > ids[3].parse().unwrap(), "ids increase across restarts");
}

#[test]
fn a_listener_of_a_quiet_channel_is_told_of_no_gap_because_others_were_busy() {
    let server = Server::start(&["--history", "100"]);
    let quiet = say(&server, "/say/quiet", "one");
    (0..101).for_each(|number| drop(say(&server, "/say/busy", &number.to_string())));
    assert_eq!(said(&server, &format!("/said/quiet?since={quiet}")), "", "nothing of it is gone");
    let gap = format!("aloud: messages after {quiet} may be missing");
    assert!(said(&server, &format!("/said?since={quiet}")).starts_with(&gap), "of everything something is");
    say(&server, "/say/quiet", "two");
    assert_eq!(said(&server, &format!("/said/quiet?since={quiet}")), "two\r\n");
}

#[test]
fn the_header_wins_over_what_polyfills_send_and_that_over_since() {
    let server = Server::start(&[]);
    let ids: Vec<String> = (0..4).map(|number| say(&server, "/say", &number.to_string())).collect();
    let check = |query: &str, header: &str, expected: &str| {
        let said = server.curl(&[&format!("/said?{query}"), "-H", header]);
        assert_eq!(said, expected, "{query} {header:?}");
    };
    let none = "X-None: 0";
    check(&format!("lastEventId={}&since={}", ids[1], ids[2]), none, "2\r\n3\r\n");
    check(&format!("last_event_id={}&since=all", ids[2]), none, "3\r\n");
    check(&format!("lastEventId={}&last_event_id={}", ids[0], ids[2]), none, "1\r\n2\r\n3\r\n");
    check(&format!("lastEventId={}", ids[0]), &format!("Last-Event-ID: {}", ids[2]), "3\r\n");
    check(&format!("lastEventId=&since={}", ids[2]), none, "3\r\n");
}

#[test]
fn so_many_event_names_may_be_asked_for_and_no_more() {
    let server = Server::start(&[]);
    let names = |count: usize| (0..count).map(|number| format!("e{number}")).collect::<Vec<_>>().join(",");
    server.listen(&format!("/listen?event={}", names(32)));
    let answer = server.request("GET", &format!("/listen?event={}", names(33)), &[], b"");
    assert_eq!(answer.status, 400);
    assert!(answer.body.ends_with("; send at most 32, or event=* for every one\n"), "{answer:?}");
}

/// A machine without a clock begins at the same time whenever it starts.
#[test]
fn an_id_from_before_a_restart_is_told_of_a_gap_also_when_the_clock_has_come_by_it_again() {
    let start = |seconds: u32| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_aloud"));
        set_clock(&mut command)
            .args(["--bind", "127.0.0.1:0"])
            .env("FAKETIME", format!("@2000-01-01 00:00:0{seconds}"));
        Server::start_command(command)
    };
    let heard = say(&start(3), "/say", "before");
    let restarted = start(1);
    say(&restarted, "/say", "first");
    let line = format!("aloud: messages after {heard} may be missing; the oldest kept is ");
    let check = || {
        let told = said(&restarted, &format!("/said?since={heard}"));
        assert!(told.starts_with(&line) && told.contains("\r\nfirst\r\n"), "{told}");
    };
    check();
    let number = |id: &str| id.parse::<u64>().unwrap();
    wait_until("it is later than then", || number(&say(&restarted, "/say", "later")) > number(&heard));
    check();
}

#[test]
fn the_history_has_a_bound_in_bytes() {
    let server = Server::start(&["--history-bytes", "100000"]);
    let text = "x".repeat(30_000);
    (0..5).for_each(|_| drop(say(&server, "/say", &text)));
    assert_eq!(said(&server, "/said").lines().count(), 3);
}

#[test]
fn said_ends_properly_and_the_connection_stays() {
    let server = Server::start(&["--history", "5000", "--history-bytes", "20000000"]);
    let text = "x".repeat(4000);
    (0..3000).for_each(|_| drop(say(&server, "/say", &text)));
    let mut connection = server.connect();
    let ask = |connection: &mut TcpStream, request: &str| {
        connection.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        let head = Answer::read_head(&mut reader);
        assert_eq!(
            (head.status, head.header("Content-Type")),
            (200, Some("text/event-stream; charset=utf-8")),
            "{head:?}"
        );
        (head, reader)
    };
    for _ in 0..2 {
        let (head, reader) = ask(&mut connection, "GET /said?last=2999 HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
        let mut answer = Listener::new(reader, head);
        let mut lines = 0;
        while let Some(line) = answer.line() {
            assert_eq!(line.len(), text.len() + 2);
            lines += 1;
        }
        assert_eq!(lines, 2999);
        let (head, reader) = ask(&mut connection, "HEAD /said HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(head.header("Transfer-Encoding"), Some("chunked"));
        assert!(reader.buffer().is_empty());
    }
    let (head, _) = ask(&mut connection, "GET /said?last=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(head.header("Connection"), Some("close"));

    let (head, mut reader) = ask(&mut server.connect(), "GET /said HTTP/1.0\r\n\r\n");
    assert_eq!((head.header("Transfer-Encoding"), head.header("Connection")), (None, Some("close")));
    let mut body = String::new();
    reader.read_to_string(&mut body).unwrap();
    assert_eq!(body.lines().count(), 3000);
    assert_eq!(server.request("POST", "/said", &[], b"x").status, 405);
}

#[test]
fn http_1_0_is_replayed_to_without_chunks() {
    let server = Server::start(&[]);
    say(&server, "/say", "one");
    say(&server, "/say", "two");
    let mut connection = server.connect();
    connection.write_all(b"GET /listen?last=1 HTTP/1.0\r\n\r\n").unwrap();
    let mut reader = BufReader::new(connection);
    Answer::read_head(&mut reader);
    say(&server, "/say", "live");
    let mut line = String::new();
    (0..2).for_each(|_| _ = reader.read_line(&mut line).unwrap());
    assert_eq!(line, "two\r\nlive\r\n");
}

#[test]
fn a_long_replay_is_no_sign_of_a_slow_listener_and_a_slow_one_comes_back_and_misses_nothing() {
    let server = Server::start(&["--queue", "8", "--history-bytes", "100000000"]);
    let padding = "x".repeat(20_000);
    let say = |number: usize| say(&server, "/say", &format!("{number} {padding}"));
    let first = say(0);
    (1..500).for_each(|number| drop(say(number)));
    let number_of = |line: &str| line.split([' ', '"']).find_map(|word| word.parse::<usize>().ok()).unwrap();

    // Ten megabytes to replay, and a letterbox of eight messages.
    let mut listener = server.listen(&format!("/listen?since={first}"));
    assert_eq!(number_of(&listener.line().unwrap()), 1);
    say(500);
    (2..=500).for_each(|number| assert_eq!(number_of(&listener.line().unwrap()), number));

    // It does not read on, is hung up on, and comes back with the last id that it did read.
    let mut slow = server.listen("/listen?as=json");
    let heard = say(501);
    assert!(slow.line().unwrap().contains(&heard));
    (502..900).for_each(|number| drop(say(number)));
    server.wait_for_log("hung up on");
    let mut back = server.listen(&format!("/listen?since={heard}"));
    (502..900).for_each(|number| assert_eq!(number_of(&back.line().unwrap()), number));
}

#[test]
fn a_hundred_who_join_while_it_is_said_fast_hear_no_hole_and_no_repeat() {
    let server = Server::start(&["--history", "100000"]);
    let (over, said) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut heard = say(&server, "/say", "0");
    let mut number = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = BufReader::new(server.connect());
            while !over.load(Ordering::Relaxed) {
                let text = (said.fetch_add(1, Ordering::Relaxed) + 1).to_string();
                let length = text.len();
                let request = format!("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{text}");
                connection.get_mut().write_all(request.as_bytes()).unwrap();
                assert_eq!(Answer::read(&mut connection, false).status, 200);
            }
        });
        // Stops the speaker when this thread is through, or panics.
        let _over = StopWhenDropped(&over);
        for round in 0..100 {
            let mut listener = server.listen(&format!("/listen?as=json&since={heard}"));
            // Some of what it missed, and of what is said meanwhile.
            for _ in 0..1 + round % 50 {
                let mut lines = std::iter::from_fn(|| listener.line());
                let line = lines.find(|line| line != "\n").unwrap(); // a sign of life, if it missed nothing
                let line: Value = serde_json::from_str(&line).unwrap();
                number += 1;
                assert_eq!(line["message"], number.to_string(), "round {round}");
                heard = line["id"].as_str().unwrap().to_owned();
            }
        }
    });
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every one of them is cut ten times, each after a length of its own, mostly inside a frame.
#[test]
fn five_hundred_listeners_through_ten_rolling_cuts_hear_no_hole_and_no_repeat() {
    const MESSAGES: usize = 3000;
    const CUTS: usize = 10;
    let server = Server::start(&["--history", "10000"]);
    let heard_all = AtomicUsize::new(0);
    let listen_through_cuts = &|seed: usize| {
        let (mut number, mut id, mut cuts) = (0, None::<String>, 0);
        while number < MESSAGES {
            let since = id.as_ref().map_or("all", |id| id.as_str());
            let mut listener = server.listen(&format!("/listen?as=json&since={since}"));
            // A cut when it has heard its share of the messages, and some bytes more.
            let share = (cuts + 1) * MESSAGES / (CUTS + 1) + (seed * 7 + cuts * 13) % 100;
            let cut_at = if cuts < CUTS { share } else { MESSAGES };
            while number < cut_at
                && let Ok(line) = listener.try_line()
            // hung up on for being slow is a cut too
            {
                let line = line.expect("the server does not stop");
                if line == "\n" {
                    continue; // a sign of life, because nothing was said before
                }
                let line: Value = serde_json::from_str(&line).unwrap();
                number += 1;
                assert_eq!(line["message"], number.to_string(), "listener {seed} after {cuts} cuts");
                id = line["id"].as_str().map(str::to_owned);
            }
            let mut half = vec![0; seed % 150];
            if cuts < CUTS {
                let _ = listener.connection().read(&mut half);
            }
            let _ = listener.connection().shutdown(Shutdown::Both);
            cuts += 1;
        }
        assert!(cuts > CUTS, "{cuts}");
        heard_all.fetch_add(1, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for seed in 0..500 {
            let thread = std::thread::Builder::new().stack_size(256 * 1024);
            thread.spawn_scoped(scope, move || listen_through_cuts(seed)).unwrap();
        }
        (1..=MESSAGES).map(|number| number.to_string()).for_each(|text| _ = server.say(&text));
    });
    assert_eq!(heard_all.into_inner(), 500);
}
