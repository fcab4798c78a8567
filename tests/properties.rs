//! The rules for every input, tried with pieces of the grammar put together at random. The judges are those of the
//! fuzzers in `tests/fuzz`, which find by themselves what nobody thought of; these here know what hurts.
//!
//! Promise: what the gate lets through means what the client sent, to tiny_http too, however the bytes arrive; and what
//! is said is found again by who listens, in every format.

use aloud::http::framing::Stage;
use aloud::room::message::Message;
use proptest::prelude::*;
use proptest::sample::select;

#[path = "fuzz/judges/mod.rs"]
mod judges;

use judges::agree::{Reader, check_cuts, check_requests, verdict};
use judges::{formats, forms};

/// Tries of each property; the variable PROPTEST_CASES makes it more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Mostly what is right, now and then what is not.
fn mostly(right: &'static [&'static str], wrong: &'static [&'static str]) -> BoxedStrategy<String> {
    prop_oneof![9 => select(right).prop_map(str::to_owned), 1 => select(wrong).prop_map(str::to_owned)].boxed()
}

fn line() -> impl Strategy<Value = String> {
    let method = mostly(
        &["GET", "POST", "PUT", "OPTIONS", "HEAD", "\r\nGET"],
        &["PURGE", "a-b!", "", "G\0T", "GE T", "\r\n\r\nGET", "\nGET"],
    );
    let target = mostly(
        &["/", "/say?message=Hi", "/listen/a/b?as=json", "http://x:1/say", "*", "/%00", "/~a;b=c,d|e\"f", "/\u{fc}"],
        &["", "say", "/a b", "/\x1b[31m", "//", "ftp://x/", "http://", "http:///a", "http://x?a", "/a\tb"],
    );
    let version = mostly(
        &["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2"],
        &["HTTP/2.0", "HTTP/0.9", "HTTP/1.11", "http/1.1", ""],
    );
    (method, target, version).prop_map(|(method, target, version)| format!("{method} {target} {version}"))
}

fn header() -> impl Strategy<Value = String> {
    let plain = "[A-Za-z][A-Za-z0-9_-]{0,8}: {0,2}[ -~]{0,12} {0,2}";
    let connection = mostly(
        &["Connection: keep-alive", "Connection: close", "connection: Close, TE", "Connection: Upgrade"],
        &["Connection: xclose", "Connection:", "Connection: keep-alive, close"],
    );
    let other = mostly(
        &[
            "Expect: 100-continue",
            "Content-Type: text/plain",
            "X-Empty:",
            "TE: trailers",
            "Cookie: \u{fc}",
            "Content-Type:\t\u{fc}\t",
            "Accept: a",
            "X.y: z",
            "X-A: \x1b",
        ],
        &[
            "Host: y",
            "Content-Length: 3",
            "Content-Length: +3",
            "Content-Length: 3, 3",
            "Content-Length: 03",
            "Content-Length:\t3",
            "Content-Length : 3",
            "Content_Length: 3",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: Chunked",
            "Transfer-Encoding: identity",
            "Transfer-Encoding:\x0bchunked",
            "Expect: 200-ok",
            "Expect: 100-continue, x",
            "Expect:",
            "X: a\r\n b",
            "X: a\rY: b",
            "X: a\nContent-Length: 3",
            " X: y",
            ": x",
            "X",
            "X\u{fc}: y",
            "X: a\0b",
        ],
    );
    prop_oneof![2 => plain, 1 => connection, 2 => other]
}

/// The header that announces a body, and the body.
fn body() -> impl Strategy<Value = (String, String)> {
    let text = "[ -~\r\n]{0,40}";
    let sized = (text, -2_i64..=2).prop_map(|(text, off)| {
        let length = text.len() as i64 + if off.abs() == 2 { off / 2 } else { 0 };
        (format!("Content-Length: {length}\r\n"), text)
    });
    let long = (1000_usize..1100).prop_map(|length| (format!("Content-Length: {length}\r\n"), "x".repeat(length)));
    let ending = mostly(
        &["0\r\n\r\n", "00\r\n\r\n", "0 ;a=b\r\n\r\n", "0\r\nX: y\r\n\r\n", "0\r\nA: b\r\nC:\r\n\r\n"],
        &["0\r\n", "", "0\n\n", "0\r\nX\r\n\r\n", "0\r\n X: y\r\n\r\n"],
    );
    let chunks = (prop::collection::vec(chunk(), 0..5), ending)
        .prop_map(|(chunks, ending)| ("Transfer-Encoding: chunked\r\n".to_owned(), chunks.concat() + &ending));
    let nothing = Just((String::new(), String::new()));
    let other = select(&["Content-Length: 1\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: Chunked\r\n"][..]);
    let body = prop_oneof![3 => nothing, 3 => sized, 1 => long, 3 => chunks];
    // Announced twice now and then, in two ways.
    (body, prop::option::weighted(0.1, (other, any::<bool>()))).prop_map(|((announced, body), other)| match other {
        None => (announced, body),
        Some((other, true)) => (announced + other, body),
        Some((other, false)) => (other.to_owned() + &announced, body),
    })
}

fn chunk() -> impl Strategy<Value = String> {
    let whole = ("[ -~\r\n]{1,20}", mostly(&["", "", ";x", ";x=\"y\"", " ", "\t; x"], &[";\0", "h", " 1"]))
        .prop_map(|(text, extension)| format!("{:x}{extension}\r\n{text}\r\n", text.len()));
    prop_oneof![9 => whole, 1 => select(&["1\r\nab\r\n", "+1\r\na\r\n", "0x1\r\na\r\n", "1\na\n"][..]).prop_map(str::to_owned)]
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    let host = prop_oneof![9 => Just("Host: x\r\n"), 1 => Just("")];
    (line(), host, prop::collection::vec(header(), 0..4), body()).prop_map(
        |(line, host, headers, (announced, body))| {
            let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
            format!("{line}\r\n{host}{headers}{announced}\r\n{body}").into_bytes()
        },
    )
}

/// Some requests one behind the other; a few bytes of them may have been changed.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let changes =
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)];
    (prop::collection::vec(request(), 1..4), changes).prop_map(|(requests, changes)| {
        let mut bytes = requests.concat();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes
    })
}

/// Text with everything in it that somebody could take for something else.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("data: ".to_owned()),
        Just("\u{feff}\u{2028}\u{85}".to_owned()),
        Just("\"\\\0\x1b[31m\u{9b}".to_owned()),
        Just(format!("\r\n--{}", &forms::BOUNDARY[1..])),
        "[ -~]{0,10}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn message() -> impl Strategy<Value = Message> {
    let name = "[A-Za-z0-9_.-]{1,8}";
    let fields = prop::collection::btree_map(name, text(), 0..4);
    let last_day = 253_402_214_400_000_000_u64; // 9999-12-31
    let thing = ("[a-z]{0,3}", "[a-z]{0,3}");
    (any::<u64>(), 0..=last_day, name, "([a-z]{1,3}(/[a-z]{1,3}){0,2})?", text(), text(), thing, fields).prop_map(
        |(id, time, event, channel, name, message, (key, status), fields)| Message {
            id,
            time,
            event: event.into(),
            channel,
            name,
            message,
            key,
            status,
            fields: fields.into_iter().collect(),
        },
    )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_the_gate_lets_through_is_read_by_tiny_http_as_it_was_meant(bytes in requests()) {
        thread_local!(static READER: Reader = Reader::new());
        READER.with(|reader| check_requests(reader, &bytes, 8));
    }

    #[test]
    fn where_the_bytes_are_split_on_their_way_changes_no_request(bytes in requests()) {
        check_cuts(&bytes, 0..bytes.len());
    }

    #[test]
    fn what_comes_behind_a_whole_request_changes_nothing(first in request(), second in request()) {
        let (one, other) = (verdict([&*first]), verdict([&*second]));
        if one.requests.len() == 1 && one.end == Ok(Stage::Idle) {
            let both = verdict([&*[first, second].concat()]);
            prop_assert_eq!(&both.requests[..1], &one.requests);
            prop_assert_eq!(&both.requests[1..], &other.requests);
            prop_assert_eq!(both.end, other.end);
        }
    }

    #[test]
    fn what_is_said_is_found_again_in_every_format(message in message()) {
        formats::check_frames(&message);
    }

    #[test]
    fn what_forms_say_is_what_was_meant(name in text(), message in text()) {
        forms::check_multipart(name.as_bytes(), message.as_bytes());
        forms::check_urlencoded(name.as_bytes(), message.as_bytes());
    }

    #[test]
    fn whatever_comes_as_a_form_becomes_a_message_or_a_refusal(query in text(), kind in text(), body in text()) {
        for kind in ["application/json", "application/x-www-form-urlencoded", &format!("multipart/form-data;{kind}"), &kind] {
            forms::read(&query, Some(kind), body.as_bytes());
        }
    }
}

/// A property that is never put to the test holds as well. So the pieces have to make requests of every kind.
#[test]
fn the_pieces_make_requests_of_every_kind() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut counts = std::collections::BTreeMap::new();
    for _ in 0..4000 {
        let bytes = request().new_tree(&mut runner).unwrap().current();
        let verdict = verdict([&*bytes]);
        let kind = match (verdict.requests.len(), verdict.end) {
            (0, Err(status)) => {
                ["400", "417", "501", "505"].into_iter().find(|kind| *kind == status.to_string()).unwrap()
            }
            (0, Ok(_)) => "part",
            (1, Ok(Stage::Idle)) => "whole",
            (_, _) => "more than one",
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    let rare = counts.iter().find(|(_, count)| **count < 10);
    assert!(counts.len() == 7 && counts["whole"] > 200 && rare.is_none(), "{counts:?}");
}
