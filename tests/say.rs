//! Promise: whatever curl can send, `/say` says it, answers `ok.`, and refuses in one line what it cannot say.

use std::io::{BufReader, Read, Write};
use std::net::Shutdown;

use crate::support::{Answer, Server};

#[test]
fn every_curl_command_of_the_seed_program_works_and_is_heard() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let mut check = |arguments: &[&str], input: &str, heard: &str| {
        assert_eq!(server.curl_with(arguments, input.as_bytes()), "ok.", "{arguments:?}");
        assert_eq!(listener.line().unwrap(), heard, "{arguments:?}");
    };
    check(&["/say", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["/say?name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["/say", "-F", "name=Florian", "-F", "message=Hi"], "", "Florian Hi\r\n");
    check(&["/say", "-X", "PUT", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["/say", "-X", "PATCH", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["-G", "/say", "-d", "name=Florian", "--data-urlencode", "message=H&i"], "", "Florian H&i\r\n");
    let json = ["/say", "-H", "Content-Type: application/json", "-d", r#"{"name":"Florian","message":"Hi"}"#];
    check(&json, "", "Florian Hi\r\n");
    check(&["-T", "-", "/say?name=Florian"], "Hi from a pipe", "Florian Hi from a pipe\r\n");
    check(&["-0", "/say", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
    check(&["--http2", "/say", "-d", "name=Florian&message=Hi"], "", "Florian Hi\r\n");
}

#[test]
fn the_answer_tells_id_and_listeners_as_headers_or_as_json() {
    let server = Server::start(&[]);
    let _listeners = [server.listen("/listen"), server.listen("/listen/elsewhere")];
    let answer = server.request("POST", "/say", &[], b"Hi");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok."));
    assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("Aloud-Listeners"), Some("1"), "the one elsewhere does not hear it");
    let first: u64 = answer.header("Aloud-Id").unwrap().parse().unwrap();

    let answer = server.request("POST", "/say/elsewhere", &["Accept: application/json"], b"Hi");
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(json["listeners"].to_string(), "2");
    let second: u64 = json["id"].as_str().unwrap().parse().unwrap();
    assert!(second > first, "{second} after {first}");
}

#[test]
fn a_refusal_is_one_line_that_says_what_to_send_and_reaches_nobody() {
    let server = Server::start(&["--max-body", "100"]);
    let mut listener = server.listen("/listen");
    let check = |method: &str, target: &str, headers: &[&str], body: &str, status: u16, line: &str| {
        let answer = server.request(method, target, headers, body.as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (status, format!("aloud: {line}\n").as_str()));
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    };
    check("POST", "/say", &[], "", 400, "nothing is said; send message=TEXT, name=TEXT or both");
    check("POST", "/say?event=a%20b", &[], "x", 400, "\"a b\" is no event name; send 1 to 64 of A-Z a-z 0-9 _ . -");
    let channel_rule = "send up to 8 names of 1 to 64 of A-Z a-z 0-9 _ . - joined by /, none of them . or ..";
    check("POST", "/say/a%20b", &[], "x", 400, &format!("\"a%20b\" is no channel; {channel_rule}"));
    let too_long = "the body is longer than 100 bytes; send less";
    check("POST", "/say", &[], &"x".repeat(101), 413, too_long);
    check("POST", "/say", &[], &"x".repeat(200_000), 413, too_long);
    let long_url = format!("/say?message={}", "x".repeat(8200));
    check("GET", &long_url, &[], "", 414, "the URL is longer than 8192 bytes; send the message in the body");
    check("DELETE", "/say", &[], "", 405, "\"DELETE\" does nothing here; send GET, POST, PUT, PATCH, OPTIONS");
    check(
        "POST",
        "/sya",
        &[],
        "x",
        404,
        "there is no \"/sya\"; say at /say, listen at /listen, beat at /beat/HOST, read / for help",
    );

    let answer = server.request("POST", "/say", &["Accept: application/json"], b"");
    assert_eq!(answer.body, "{\"error\":\"nothing is said; send message=TEXT, name=TEXT or both\"}\n");
    assert_eq!(server.request("DELETE", "/say", &[], b"").header("Allow"), Some("GET, POST, PUT, PATCH, OPTIONS"));

    server.say("the first that is said");
    assert_eq!(listener.line().unwrap(), "the first that is said\r\n");
}

#[test]
fn a_body_that_ends_early_is_never_said() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    for (head, body) in [
        ("Content-Length: 100", "cut off".to_owned()),
        ("Content-Length: 5000", "cut off".to_owned()),
        ("Content-Length: 5000", "x".repeat(4999)),
        ("Transfer-Encoding: chunked", "10\r\ncut off".to_owned()),
        ("Transfer-Encoding: chunked", "7\r\ncut off".to_owned()),
        ("Transfer-Encoding: chunked", "7\r\ncut off\r\n".to_owned()),
        ("Transfer-Encoding: chunked", "7\r\ncut off\r\n0\r\n".to_owned()),
        ("Transfer-Encoding: chunked", "not a size\r\n".to_owned()),
        ("Connection: upgrade\r\nTransfer-Encoding: chunked", "7\r\ncut off\r\n0\r\n".to_owned()),
    ] {
        let mut connection = server.connect();
        write!(connection, "POST /say HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{body}").unwrap();
        connection.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        let _ = connection.read_to_string(&mut answer);
        assert!(!answer.contains(" 200 "), "{head}: {answer}");
    }
    server.say("whole");
    assert_eq!(listener.line().unwrap(), "whole\r\n");
}

#[test]
fn a_connection_is_kept_for_the_next_request_after_answers_and_refusals() {
    let server = Server::start(&[]);
    let mut connection = BufReader::new(server.connect());
    let mut ask = |request: &str| {
        connection.get_mut().write_all(request.as_bytes()).unwrap();
        Answer::read(&mut connection, false)
    };
    for _ in 0..3 {
        assert_eq!(ask("GET /say?message=x HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
        assert_eq!(ask("GET /say HTTP/1.1\r\nHost: x\r\n\r\n").status, 400);
        assert_eq!(ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").status, 404);
        let kept = ask("GET /say?message=x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(kept.header("Connection"), Some("keep-alive"));
    }
    let last = ask("GET /say?message=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(last.header("Connection"), Some("close"));
    assert_eq!(connection.read(&mut [0]).unwrap(), 0, "closed as it was said");
}

#[test]
fn a_body_too_long_to_be_read_does_not_hold_a_thread() {
    let server = Server::start(&[]);
    for target in ["POST /say", "GET /listen", "HEAD /listen", "GET /", "GET /nowhere", "OPTIONS /say"] {
        let mut connection = server.connect();
        write!(connection, "{target} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000000000000\r\n\r\nx").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 "), "{target}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{target}: {answer}");
    }
}

#[test]
fn a_compressed_body_is_refused_where_a_speaker_reads_the_answer_and_reaches_nobody() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    for path in ["/say", "/beat/web1"] {
        let answer = server.request("POST", path, &["Content-Encoding: gzip"], b"\x1f\x8bHi");
        let line = "aloud: the content encoding is \"gzip\"; send the body as it is, without one\n";
        assert_eq!((answer.status, answer.body.as_str()), (415, line), "{path}");
    }
    for none in ["Content-Encoding: identity", "Content-Encoding:"] {
        assert_eq!(server.request("POST", "/say", &[none], b"as it is").body, "ok.");
        assert_eq!(listener.line().unwrap(), "as it is\r\n");
    }
}

#[test]
fn json_answers_end_their_line_and_ok_stays_as_it_is() {
    let server = Server::start(&[]);
    let json = &["Accept: application/json"];
    for (method, path) in
        [("POST", "/say?message=x"), ("POST", "/say"), ("GET", "/health"), ("POST", "/beat/web1"), ("GET", "/hosts")]
    {
        let answer = server.request(method, path, json, b"");
        assert!(answer.body.ends_with("}\n") || answer.body.ends_with("]\n"), "{path}: {answer:?}");
        assert!(!answer.body.ends_with("\n\n"), "{path}: {answer:?}");
    }
    assert_eq!(server.request("POST", "/say?message=x", &[], b"").body, "ok.");
}
