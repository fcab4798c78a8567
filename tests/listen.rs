//! Promise: `/listen` streams in the format asked for, with headers that no proxy stumbles over; each message leaves at
//! once, in the order of ids, to those whose channel and events it is.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use crate::support::{Answer, Server};

#[test]
fn the_first_message_is_heard_before_any_second_with_real_curl() {
    let server = Server::start(&["--log", "debug"]);
    let mut curl = server.curl_command(&["-iN", "/listen"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut heard = BufReader::new(curl.stdout.take().unwrap());
    server.wait_for_log(" listens"); // curl shows the end of the head only when a body begins
    assert_eq!(server.curl(&["/say", "-d", "name=Florian&message=Hi"]), "ok.");
    let head = Answer::read_head(&mut heard);
    assert_eq!(head.header("Content-Type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(head.header("Connection"), Some("keep-alive"));
    let mut line = String::new();
    heard.read_line(&mut line).unwrap();
    assert_eq!(line, "Florian Hi\r\n");
    curl.kill().unwrap();
    curl.wait().unwrap();
}

#[test]
fn the_headers_of_a_stream() {
    let server = Server::start(&[]);
    let check = |target: &str, accept: &str, content_type: &str| {
        let listener = server.try_listen(target, &[&format!("Accept: {accept}")]).unwrap();
        let head = &listener.head;
        assert_eq!(head.header("Content-Type"), Some(content_type), "{target} {accept}");
        assert_eq!(head.header("Cache-Control"), Some("no-cache, no-transform"));
        assert_eq!(head.header("X-Accel-Buffering"), Some("no"));
        assert_eq!(head.header("Aloud-Heartbeat"), Some("15"));
        assert_eq!(head.header("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(head.header("Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(head.header("Connection"), Some("keep-alive"));
        assert!(head.header("Date").is_some_and(|date| date.ends_with(" GMT")));
    };
    check("/listen", "*/*", "text/event-stream; charset=utf-8");
    check("/listen", "text/html,application/xhtml+xml,*/*;q=0.8", "text/event-stream; charset=utf-8");
    check("/listen", "text/plain", "text/plain; charset=utf-8");
    check("/listen", "text/event-stream", "text/event-stream; charset=utf-8");
    check("/listen", "application/json", "application/x-ndjson");
    check("/listen", "application/x-ndjson", "application/x-ndjson");
    check("/listen", "application/jsonl", "application/x-ndjson");
    check("/listen", "text/tab-separated-values", "text/tab-separated-values; charset=utf-8");
    check("/listen?as=tsv", "*/*", "text/tab-separated-values; charset=utf-8");
    check("/listen?as=lines", "text/event-stream", "text/plain; charset=utf-8");
    check("/listen?as=sse", "*/*", "text/event-stream; charset=utf-8");
    check("/listen?as=json", "*/*", "application/x-ndjson");
}

#[test]
fn one_message_in_four_formats() {
    let server = Server::start(&[]);
    let mut lines = server.listen("/listen?as=lines");
    let mut sse = server.listen("/listen?as=sse");
    let mut json = server.listen("/listen?as=json");
    let mut columns = server.listen("/listen?as=tsv");
    let body = "name=Florian&message=Hi%0D%0Ayou&event=chat&mood=%22good%22&status=bad";
    let form = "Content-Type: application/x-www-form-urlencoded";
    let answer = server.request("POST", "/say/a/b", &[form], body.as_bytes());
    let id = answer.header("Aloud-Id").unwrap();

    assert_eq!(lines.line().unwrap(), "Florian Hi  you\r\n");

    let frame = sse.lines(6);
    let retry = frame[1].strip_prefix("retry: ").unwrap().trim_end().parse::<u32>().unwrap();
    assert!((1000..3000).contains(&retry), "{retry}");
    assert_eq!([&frame[0], &frame[2], &frame[3]], [": aloud\n", &format!("id: {id}\n"), "event: chat\n"]);
    assert_eq!(frame[5], "\n");
    let data: serde_json::Value = serde_json::from_str(frame[4].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(data["name"], "Florian");
    assert_eq!(data["message"], "Hi\r\nyou");
    assert_eq!(data["channel"], "a/b");
    assert_eq!(data["fields"]["mood"], "\"good\"");

    let line = json.line().unwrap();
    let object: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(object["id"], id);
    assert_eq!(object["event"], "chat");
    assert_eq!(object["time"], data["time"]);

    let time = data["time"].as_str().unwrap();
    assert_eq!(columns.line().unwrap(), format!("{id}\t{time}\tchat\ta/b\tFlorian\tHi  you\tbad\n"));
    assert_eq!(object["message"], "Hi\r\nyou");
    server.say("bare");
    let line = json.line().unwrap();
    assert!(!line.contains("name") && !line.contains("channel") && !line.contains("fields"), "{line}");
}

#[test]
fn no_speaker_makes_a_second_line_or_reaches_the_terminal() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let nasty = "a\r\nroot forged\u{1b}]0;title\u{7}\u{1b}[2J\u{9b}31m\u{85}\0\u{7f}\t\u{8}b";
    let body = serde_json::json!({ "name": nasty, "message": nasty }).to_string();
    assert_eq!(server.request("POST", "/say", &["Content-Type: application/json"], body.as_bytes()).status, 200);
    server.say("next");
    let line = listener.line().unwrap();
    let bare = line.strip_suffix("\r\n").unwrap();
    assert!(!bare.chars().any(char::is_control), "{bare:?}");
    assert_eq!(bare.chars().count(), 2 * nasty.chars().count() + 1, "each control character became one space");
    assert_eq!(listener.line().unwrap(), "next\r\n");
}

#[test]
fn channels_and_events_choose_what_is_heard() {
    let server = Server::start(&[]);
    let say = |target: &str| assert_eq!(server.request("GET", target, &[], b"").body, "ok.");
    let check = |target: &str, expected: &[&str]| {
        let mut listener = server.listen(target);
        say("/say?message=plain");
        say("/say/a?message=a");
        say("/say/a/b?message=ab");
        say("/say/ab?message=other");
        say("/say?message=beat&event=host");
        say("/say?message=build&event=ci");
        say("/say/a?message=end&event=end.of-test_");
        let mut heard = vec![];
        while heard.last().is_none_or(|line| line != "end\r\n") && heard.len() < 7 {
            heard.extend(listener.line());
        }
        assert_eq!(heard, expected.iter().map(|text| format!("{text}\r\n")).collect::<Vec<_>>(), "{target}");
    };
    check("/listen", &["plain", "a", "ab", "other", "build", "end"]);
    check("/listen/a", &["a", "ab", "end"]);
    check("/listen?event=*", &["plain", "a", "ab", "other", "beat", "build", "end"]);
    check("/listen?event=ci,host,end.of-test_", &["beat", "build", "end"]);
    check("/listen/a?event=ci,end.of-test_", &["end"]);
    for target in ["/listen?event=", "/listen?event=a,,b", "/listen?event=a%20b", "/listen?as=xml", "/listen/a%20b"] {
        assert_eq!(server.request("GET", target, &[], b"").status, 400, "{target}");
    }
}

#[test]
fn http_1_0_gets_no_chunks_and_an_end_by_closing() {
    let mut server = Server::start(&[]);
    let mut connection = server.connect();
    connection.write_all(b"GET /listen HTTP/1.0\r\n\r\n").unwrap();
    let mut reader = BufReader::new(connection);
    let head = Answer::read_head(&mut reader);
    assert_eq!(head.header("Transfer-Encoding"), None);
    assert_eq!(head.header("Connection"), Some("close"));
    server.say("Hi");
    server.signal("TERM");
    let mut heard = String::new();
    reader.read_to_string(&mut heard).unwrap();
    assert_eq!(heard, "Hi\r\n");
    server.wait();
}

#[test]
fn head_gets_the_headers_only_and_the_connection_stays() {
    let server = Server::start(&[]);
    let mut connection = BufReader::new(server.connect());
    for _ in 0..2 {
        connection.get_mut().write_all(b"HEAD /listen HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let head = Answer::read(&mut connection, true);
        assert_eq!((head.status, head.header("Content-Type")), (200, Some("text/event-stream; charset=utf-8")));
    }
    assert_eq!(server.say("x"), 0, "nobody listens");
}

#[test]
fn silence_is_broken_by_heartbeats_that_are_no_messages() {
    let server = Server::start(&["--heartbeat", "1"]);
    let check = |target: &str, opening: usize, heartbeat: &str| {
        let mut listener = server.listen(target);
        listener.lines(opening);
        assert_eq!(listener.lines(2), [heartbeat, heartbeat]);
    };
    check("/listen", 0, "\r\n");
    check("/listen?as=json", 0, "\n");
    check("/listen?as=sse", 2, ":\n");
}

#[test]
fn when_full_an_event_source_is_told_to_come_back_and_others_get_503() {
    let server = Server::start(&["--max-listeners", "1"]);
    let listener = server.listen("/listen");
    let refused = server.try_listen("/listen", &[]).err().unwrap();
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("5")));
    assert_eq!(refused.body, "aloud: as many listen as may; try again in a moment\n");
    let refused = server.try_listen("/listen", &["Accept: text/event-stream"]).err().unwrap();
    let retry = refused
        .body
        .strip_prefix(": as many listen as may; try again in a moment\nretry: ")
        .and_then(|rest| rest.strip_suffix("\n"));
    let retry = retry.and_then(|retry| retry.parse::<u32>().ok());
    assert!(refused.status == 200 && retry.is_some_and(|retry| (2500..7500).contains(&retry)), "{refused:?}");
    server.wait_for_log("as many listen as may");

    drop(listener);
    crate::support::wait_until("the place is free again", || {
        server.say("is anybody there?");
        server.try_listen("/listen", &[]).is_ok()
    });
}

#[test]
fn several_channels_and_only_some_statuses_are_heard_live_and_later() {
    let server = Server::start(&["--history", "6"]);
    let mut some = server.listen("/listen/a,b/c?as=tsv");
    let mut bad = server.listen("/listen?status=bad,odd");
    let say = |channel: &str, status: &str| {
        let target = format!("/say/{channel}?message={channel}-{status}&status={status}");
        server.request("POST", &target, &[], b"").header("Aloud-Id").unwrap().to_owned()
    };
    let ids: Vec<_> = [("a", "ok"), ("b", "failed"), ("b/c/d", "down"), ("x", "odd"), ("a/b", "late"), ("x", "")]
        .into_iter()
        .map(|(channel, status)| say(channel, status))
        .collect();
    let heard: Vec<String> = some.lines(3).iter().map(|line| line.split('\t').nth(5).unwrap().to_owned()).collect();
    assert_eq!(heard, ["a-ok", "b/c/d-down", "a/b-late"]);
    assert_eq!(bad.lines(3), ["b-failed\r\n", "b/c/d-down\r\n", "x-odd\r\n"]);

    assert_eq!(server.curl(&["/said/b/c,a?last=2"]), "b/c/d-down\r\na/b-late\r\n");
    assert_eq!(server.curl(&["/said?status=bad&last=1"]), "b/c/d-down\r\n");
    assert_eq!(server.curl(&["/said/a,x?status=warn"]), "a/b-late\r\n");
    // Two go: one on a channel that is asked for.
    say("y", "");
    say("y", "");
    let since = format!("/said/a,b/c?as=tsv&since={}", &ids[0][..15]);
    let told = server.curl(&[&since]);
    assert!(told.starts_with("\t\tgap\t\t\taloud: messages after "), "{told}");
    assert!(!server.curl(&[&format!("/said/a,x?since={}", ids[0])]).contains("missing"), "what went was on others");
    assert!(server.curl(&[&format!("/said/x,b?since={}", ids[0])]).contains("missing"));

    for target in ["/listen/a,", "/said/,", "/listen?status=", "/said?status=bad,", "/listen?as=csv"] {
        let answer = server.request("GET", target, &[], b"");
        assert_eq!((answer.status, answer.body.lines().count()), (400, 1), "{target}: {answer:?}");
        assert!(answer.body.contains("; send "), "{answer:?}");
    }
}

#[test]
fn a_heartbeat_is_an_empty_line_in_columns() {
    let server = Server::start(&["--heartbeat", "1"]);
    assert_eq!(server.listen("/listen?as=tsv").line().unwrap(), "\n");
}
