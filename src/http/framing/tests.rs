use super::*;

const LIMIT: usize = 1000;

/// The result of reading `bytes`: how much of the first request has come, or its refusal.
fn progress(bytes: impl AsRef<[u8]>) -> Result<Progress, Refusal> {
    let mut intake = Intake::default();
    intake.received.extend_from_slice(bytes.as_ref());
    intake.next(&|_| BodyLimit::whole(LIMIT))
}

/// The first request: its head and its body.
fn first(bytes: impl AsRef<[u8]>) -> (String, String) {
    match progress(bytes.as_ref()) {
        Ok(Progress::Whole(Request { method, url, headers, body, .. })) => {
            (format!("{method} {url} HTTP/1.1\r\n{headers}"), String::from_utf8(body).unwrap())
        }
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(bytes.as_ref())),
    }
}

fn check(request: &str, given: &str, body: &str) {
    assert_eq!(first(request), (given.to_owned(), body.to_owned()), "{request:?}");
    // Bytes after the request change nothing, and without its last byte it is incomplete.
    assert_eq!(first(format!("{request}GET")), (given.to_owned(), body.to_owned()), "{request:?}");
    for length in 0..request.len() {
        assert!(matches!(progress(&request.as_bytes()[..length]), Ok(Progress::NotYet(_))), "{length} {request:?}");
    }
}

fn refused(request: impl AsRef<[u8]>, status: u16, line: &str) {
    let refusal = progress(&request).expect_err(&String::from_utf8_lossy(request.as_ref()));
    assert_eq!((refusal.status, refusal.line.as_str()), (status, line));
}

#[test]
fn what_clients_send_is_whole_when_its_last_byte_is_there() {
    check(
        "GET / HTTP/1.1\r\nHost: localhost:4000\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost:4000\r\nAccept: */*\r\n",
        "",
    );
    check("GET /say?message=Hi HTTP/1.0\r\n\r\n", "GET /say?message=Hi HTTP/1.1\r\n", "");
    let post = "POST /say HTTP/1.1\r\nHost: x\r\n";
    check(&format!("{post}Content-Length: 10\r\n\r\nmessage=Hi"), post, "message=Hi");
    let small = "POST /say HTTP/1.1\r\nhost: x\r\n";
    check(&format!("{small}content-length:   0  \r\nExpect: 100-Continue\r\n\r\n"), small, "");
    let get = "GET /say?message=Hi HTTP/1.1\r\nHost: localhost\r\n";
    check("GET http://localhost:4000/say?message=Hi HTTP/1.1\r\nHost: localhost\r\n\r\n", get, "");
    check("OPTIONS * HTTP/1.1\r\nHost: [::1]:4000\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: [::1]:4000\r\n", "");
    check("\r\nGET / HTTP/1.7\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost: \r\n", "");
}

#[test]
fn chunks_become_the_body_and_trailers_are_left_out() {
    let check = |header: &str, chunks: &str, body: &str| {
        let request = format!("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {header}\r\n\r\n{chunks}");
        check(&request, "POST /say HTTP/1.1\r\nHost: x\r\n", body);
    };
    check("chunked", "a\r\nmessage=Hi\r\n2;x=y\r\n!!\r\n0\r\n\r\n", "message=Hi!!");
    check("Chunked", "000000000000000001\r\na\r\n1 ; x=\"\u{fc}\"\r\nb\r\n1 \r\nc\r\n0\r\n\r\n", "abc");
    check("chunked", "1\r\na\r\n0\r\nX-Checksum: 1\r\nY:\r\n\r\n", "a");
}

#[test]
fn what_nobody_here_reads_may_be_anything_and_what_is_read_becomes_plain() {
    let get = |target: &str, headers: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n{headers}");
    let check = |sent: String, plain: String| check(&format!("{sent}\r\n"), &plain, "");
    check(get("/?name=J\u{fc}rgen", ""), get("/?name=J%C3%BCrgen", ""));
    for header in ["Cookie: n=J\u{fc}rgen\r\n", "a.b!~: c\r\n", "User-Agent: \u{fc}\r\n", "X-a.b: c\r\n"] {
        check(get("/", header), get("/", ""));
    }
    check(get("/", "X-: \r\n"), get("/", "X-: \r\n"));
    check(get("/", "Last-Event-ID: \t\u{fc}\t1\r\n"), get("/", "Last-Event-ID: %C3%BC 1\r\n"));
    check(get("/", "X-A: \x01\x1b\r\n"), get("/", "X-A: %FF%FF\r\n"));
    check(get("/", &format!("Cookie: {}\r\n", "x".repeat(16_000))), get("/", ""));
}

#[test]
fn all_lines_of_a_list_are_one_list() {
    let with = |headers: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}");
    check(&with("Accept: a\r\nX-B: 1\r\naccept: b\r\nAccept:\r\n\r\n"), &with("Accept: a, b, \r\nX-B: 1\r\n"), "");
    let closes = |line: &str, headers: &str| {
        let request = format!("GET / {line}\r\nHost: x\r\n{headers}\r\n");
        let Ok(Progress::Whole(request)) = progress(request) else { panic!("{headers:?}") };
        request.closes
    };
    for (headers, expected) in [
        ("", false),
        ("Connection: close\r\n", true),
        ("Connection: keep-alive\r\nConnection: TE, CLOSE\r\n", true),
        ("Connection: xclose\r\n", false),
        ("Connection: upgrade\r\n", false),
    ] {
        assert_eq!(closes("HTTP/1.1", headers), expected, "{headers:?}");
    }
    for (headers, expected) in
        [("", true), ("Connection: xkeep-alivex\r\n", true), ("Connection: a,keep-alive\r\n", false)]
    {
        assert_eq!(closes("HTTP/1.0", headers), expected, "{headers:?}");
    }
}

#[test]
fn bytes_one_by_one_make_the_same_requests() {
    let head = "POST /say HTTP/1.1\r\nHost: x\r\nX-A: b\r\nExpect: 100-continue\r\n";
    let bytes =
        format!("{head}Content-Length: 3\r\n\r\nabc\r\n{head}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
    let (mut intake, mut found, mut asked) = (Intake::default(), vec![], 0);
    for byte in bytes.bytes() {
        intake.received.push(byte);
        match intake.next(&|_| BodyLimit::whole(LIMIT)) {
            Ok(Progress::Whole(request)) => found.push(request.body),
            progress => assert!(progress.is_ok(), "{progress:?}"),
        }
        asked += usize::from(intake.is_to_be_asked());
    }
    assert_eq!(found, [b"abc".to_vec(), b"a".to_vec()]);
    assert_eq!(asked, 2, "each body is asked for once");
    assert!(intake.is_empty());
}

#[test]
fn of_a_body_that_may_be_cut_the_beginning_is_kept_and_the_next_request_is_found() {
    for framed in
        ["Content-Length: 9\r\n\r\n123456789", "Transfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n"]
    {
        let bytes = format!("POST /hook HTTP/1.1\r\nHost: x\r\n{framed}").repeat(2);
        for piece in [1, 2, 7, bytes.len()] {
            let (mut intake, mut found) = (Intake::default(), vec![]);
            for bytes in bytes.as_bytes().chunks(piece) {
                intake.received.extend_from_slice(bytes);
                while let Progress::Whole(request) = intake.next(&|_| BodyLimit { most: 9, kept: 4 }).unwrap() {
                    found.push((request.body, request.is_cut));
                }
            }
            assert_eq!(found, [(b"1234".to_vec(), true), (b"1234".to_vec(), true)], "{piece}");
        }
    }
}

#[test]
fn the_limit_is_that_of_the_path() {
    let most_body = |path: &str| BodyLimit::whole(if path.starts_with("/hook") { 20 } else { 10 });
    let check = |target: &str| {
        let mut intake = Intake::default();
        let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n123456789012345");
        intake.received.extend_from_slice(request.as_bytes());
        intake.next(&most_body).is_ok()
    };
    assert!(check("/hook/gitlab") && check("http://x/hook"));
    assert!(!check("/say") && !check("http://hook/say"));
}

#[test]
fn request_lines_are_those_of_http_1() {
    let line = "this is no HTTP/1.1; send HTTP/1.1 or HTTP/1.0, as curl --http1.1 does";
    for version in ["HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/1.11", "HTTP/1.x"] {
        refused(format!("GET / {version}\r\nHost: x\r\n\r\n"), 505, line);
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, line);
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    refused(get("say"), 400, "\"say\" is no path; send one that begins with /");
    refused(get("*"), 400, "\"*\" is no path; send one that begins with /");
    refused(get("ftp://x/say"), 400, "\"ftp://x/say\" is no path; send one that begins with /");
    let line = "\"GET /say\" is no request line; send METHOD /PATH HTTP/1.1";
    refused("GET /say?message=a b HTTP/1.1\r\n\r\n", 400, line);
    refused("hello\r\n\r\n", 400, "\"hello\" is no request line; send METHOD /PATH HTTP/1.1");
    let empty = "the request begins with empty lines; begin with METHOD /PATH HTTP/1.1";
    refused("\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400, empty);
    refused("\nGET / HTTP/1.1\r\n\r\n", 400, empty);
    let line = "\"PURGE\" is no method that is known here; send GET or POST";
    refused(get("/").replace("GET", "PURGE"), 501, line);
}

#[test]
fn what_two_could_read_in_two_ways_is_refused() {
    let with = |headers: &str| format!("POST /say HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n0\r\n\r\n");
    let number = |shown: &str| format!("Content-Length is {shown}; send one whole number");
    for value in ["+5", "5, 5", "0x5", "-1", ""] {
        refused(with(&format!("Content-Length: {value}")), 400, &number(&format!("{value:?}")));
    }
    refused(with("Content-Length: 5\r\nContent-Length: 5"), 400, "Content-Length comes twice; send it once");
    let both = "chunked does not go with Content-Length or HTTP/1.0; send one of them";
    refused(with("Content-Length: 5\r\nTransfer-Encoding: chunked"), 400, both);
    refused(with("Transfer-Encoding: chunked").replace("1.1", "1.0"), 400, both);
    for value in ["gzip, chunked", "identity", "", "chunked, chunked", "chunked;q=1"] {
        let line = format!("the transfer encoding is {value:?}; send chunked or Content-Length");
        refused(with(&format!("Transfer-Encoding: {value}")), 501, &line);
    }
    let malformed = "a header is malformed; send each as NAME: VALUE on a line of its own";
    for header in ["X: a\r\n b", "X : a", ": a", "X", "Content-Length : 5", "X: a\0b", "X: a\rb", "\x01X: a"] {
        refused(with(header), 400, malformed);
    }
    let ends = "a line of the head ends with LF alone; end each with CR LF";
    refused("GET / HTTP/1.1\nHost: x\n\n", 400, ends);
    refused(with("X: a\nY: b"), 400, ends);
    refused(with("Host: y"), 400, "there are 2 Host headers; send Host: NAME once");
    refused("GET / HTTP/1.1\r\n\r\n", 400, "there are 0 Host headers; send Host: NAME once");
    refused(with("Expect: 200-ok"), 417, "only Expect: 100-continue is understood; leave others out");
    for host in ["x:abc", "[", "[]", "[::1", "a b", "u@x", "[::1]x", "x:1:2"] {
        let line = format!("{host:?} is no host; send Host: NAME or NAME:PORT");
        refused(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400, &line);
    }
    refused("GET http:///say HTTP/1.1\r\nHost: x\r\n\r\n", 400, "\"\" is no host; send Host: NAME or NAME:PORT");
}

#[test]
fn chunks_are_checked() {
    let with = |body: &str| format!("POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let line = bad_chunk().line;
    for body in [
        "x\r\n",
        "+1\r\na\r\n",
        " 1\r\n",
        "\r\n",
        "1\n",
        "1\r\nab\r\n",
        "1h\r\na\r\n",
        "1;\0\r\na\r\n",
        "1;\r\r\na\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nGET / HTTP/1.1\r\n\r\n",
        "0\r\nX: y\n\r\n",
    ] {
        refused(with(body), 400, &line);
    }
    refused(with(&"0".repeat(CHUNK_LINE_LIMIT + 2)), 400, &line);
    refused(with(&format!("0\r\n{}", "X: y\r\n".repeat(HEADERS_LIMIT / 6 + 2))), 400, &line);
    let limit = "the body is longer than 1000 bytes; send less";
    refused(with("3e9\r\n"), 413, limit);
    refused(with("ffffffffffffffffffff\r\n"), 413, limit);
    refused(with("1\r\nx\r\n3e8\r\n"), 413, limit);
}

#[test]
fn what_is_too_long_is_refused_before_it_is_whole() {
    let url = "the URL is longer than 8192 bytes; send the message in the body";
    refused(format!("GET /{}", "x".repeat(8192 + 100)), 414, url);
    refused(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(8192)), 414, url);
    let headers = "the headers are more than 100 or 16384 bytes; send fewer";
    refused(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(HEADERS_LIMIT)), 431, headers);
    refused(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(HEADERS_LIMIT)), 431, headers);
    refused(format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(101)), 431, headers);
    let body = "the body is longer than 1000 bytes; send less";
    for length in ["1001", "9000000000000000000", "99999999999999999999999"] {
        refused(format!("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"), 413, body);
    }
}
