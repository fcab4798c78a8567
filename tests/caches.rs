//! Promise: no cache answers in the server's place. Every answer but the page's own files says `no-store`, and each
//! that depends on `Accept` says so.

use crate::support::{Answer, Server};

/// The one line of a header, or "" where there is none.
fn only(answer: &Answer, name: &str) -> String {
    let start = format!("{}:", name.to_ascii_lowercase());
    let lines: Vec<_> = answer.head.lines().filter(|line| line.to_ascii_lowercase().starts_with(&start)).collect();
    assert!(lines.len() <= 1, "{answer:?}");
    lines.first().map_or(String::new(), |line| line[start.len()..].trim().to_owned())
}

#[test]
fn every_answer_but_the_pages_files_is_stored_by_nobody() {
    let server = Server::start(&["--max-listeners", "1", "--listen-token", "hear"]);
    let check = |method: &str, target: &str, headers: &[&str], status: u16, caching: &str, vary: &str| {
        let answer = server.request(method, target, headers, b"");
        assert_eq!((answer.status, only(&answer, "Cache-Control").as_str()), (status, caching), "{method} {target}");
        assert_eq!(only(&answer, "Vary"), vary, "{method} {target}");
    };
    let html = "Accept: text/html";
    check("GET", "/say?message=x", &[], 200, "no-store", "Accept");
    check("GET", "/beat/web1", &[], 200, "no-store", "Accept");
    check("DELETE", "/beat/web1", &[], 200, "no-store", "");
    check("GET", "/hosts?token=hear", &[], 200, "no-store", "Accept");
    check("GET", "/health", &[], 200, "no-store", "");
    check("GET", "/metrics?token=hear", &[], 200, "no-store", "");
    check("GET", "/", &[], 200, "no-store", "Accept");
    check("OPTIONS", "/say", &[], 204, "no-store", "");
    check("OPTIONS", "*", &[], 204, "no-store", "");
    check("GET", "/say", &[], 400, "no-store", "Accept");
    check("GET", "/said", &[], 401, "no-store", "Accept");
    check("GET", "/nowhere", &[], 404, "no-store", "Accept");
    check("DELETE", "/say", &[], 405, "no-store", "Accept");
    check("BREW", "/say", &[], 501, "no-store", "Accept");
    check("GET", "no path", &[], 400, "no-store", "Accept");
    check("GET", "/", &[html], 200, "no-cache", "Accept");
    check("GET", "/page/aloud.css", &[], 200, "no-cache", "");
    check("GET", "/page/aloud.css", &["If-None-Match: *"], 304, "no-cache", "");
    check("GET", "/said?token=hear", &[], 200, "no-store, no-transform", "Accept");
    check("HEAD", "/listen?token=hear", &[], 200, "no-cache, no-transform", "Accept");
    check("HEAD", "/listen?as=json&token=hear", &[], 200, "no-cache, no-transform", "");
    let _listener = server.listen("/listen?token=hear");
    check("GET", "/listen?token=hear", &[], 503, "no-store", "Accept");
    check("GET", "/listen?token=hear&as=sse", &[], 200, "no-store", "");
}

#[test]
fn accept_is_read_with_its_weights_wherever_it_chooses() {
    let server = Server::start(&[]);
    let check = |target: &str, accept: &str, content_type: &str| {
        let answer = server.request("GET", target, &[&format!("Accept: {accept}")], b"");
        assert!(answer.header("Content-Type").unwrap().starts_with(content_type), "{target} {accept} {answer:?}");
    };
    for target in ["/say?message=x", "/nowhere", "/hosts", "/beat/web1"] {
        check(target, "application/json", "application/json");
        check(target, "application/*, */*;q=0.1", "application/json");
        check(target, "application/json;q=0, */*", "text/plain");
        check(target, "application/json;q=0.1, text/plain;q=0.2", "text/plain");
        check(target, "application/jsonp", "text/plain");
    }
    check("/", "text/html;q=0, */*", "text/plain");
    check("/", "text/html;q=0.5, text/plain", "text/plain");
    check("/", "application/xml, Text/HTML;q=0.5", "text/html");
    check("/said", "application/json;q=0, text/event-stream;q=0.1", "text/event-stream");
    check("/said", "text/event-stream;q=0.1, application/*;q=0.2", "application/x-ndjson");
    check("/said", "*/*;q=0.9, text/plain;q=0.8", "text/event-stream");
}
