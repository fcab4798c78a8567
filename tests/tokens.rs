//! Promise: with `--say-token` nobody speaks and with `--listen-token` nobody listens who does not show it; what is
//! refused reaches nobody; and a token is in no log, no answer and no message. With `--tokens` tokens change without a
//! restart, and those who listen stay.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Answer, Server, wait_until};

const SAY: &str = "speak-3f9b";
const LISTEN: &str = "hear-71c4";

fn guarded() -> Server {
    Server::start(&["--say-token", SAY, "--listen-token", LISTEN, "--log", "trace"])
}

/// `token` in each way it may be sent: what to add to the URL, and the headers.
fn ways(token: &str) -> Vec<(String, Vec<String>)> {
    let basic = |text: &str| {
        let base64 = Command::new("sh").args(["-c", "printf %s \"$0\" | base64 -w 0", text]).output().unwrap().stdout;
        format!("Authorization: Basic {}", String::from_utf8(base64).unwrap())
    };
    vec![
        (String::new(), vec![format!("Authorization: Bearer {token}")]),
        (String::new(), vec![format!("authorization: bearer {token}")]),
        (String::new(), vec![basic(&format!(":{token}"))]),
        (String::new(), vec![basic(&format!("florian:{token}"))]),
        (format!("token={token}"), vec![]),
        (format!("%74oken={token}"), vec![]),
        (format!("token={token}"), vec!["Authorization: Bearer meant-for-somebody-else".to_owned()]),
    ]
}

fn ask(server: &Server, method: &str, path: &str, way: &(String, Vec<String>), body: &str) -> Answer {
    let separator = if path.contains('?') { "&" } else { "?" };
    let headers: Vec<&str> = way.1.iter().map(String::as_str).collect();
    server.request(method, &format!("{path}{separator}{}", way.0), &headers, body.as_bytes())
}

#[test]
fn whoever_shows_the_token_gets_in_by_each_way() {
    let server = guarded();
    for way in ways(SAY) {
        assert_eq!(ask(&server, "GET", "/say?message=x", &way, "").status, 200, "{way:?}");
        assert_eq!(ask(&server, "POST", "/say/a", &way, "x").status, 200, "{way:?}");
    }
    for way in ways(LISTEN) {
        assert_eq!(ask(&server, "HEAD", "/listen", &way, "").status, 200, "{way:?}");
        assert_eq!(ask(&server, "GET", "/metrics", &way, "").status, 200, "{way:?}");
    }
    let query = format!("/listen?token={LISTEN}&as=json");
    let mut listener = server.listen(&query);
    assert_eq!(server.curl(&["-u", &format!(":{SAY}"), "/say", "-d", "message=Hi"]), "ok.");
    assert!(listener.line().unwrap().contains("\"message\":\"Hi\""));
}

#[test]
fn whoever_does_not_is_told_what_to_send() {
    let server = guarded();
    let none = vec![(String::new(), vec![]), ("token".to_owned(), vec![]), ("token=".to_owned(), vec![])];
    // The other door's token is as wrong as any.
    let wrong = |other: &str, right: &str| {
        let parts = [ways(other), ways(&right[1..]), ways(&format!("{right}x")), ways(&right.to_uppercase())].concat();
        [none.clone(), parts].concat()
    };
    let sends_none = |way: &(String, Vec<String>)| none.contains(way);
    let check = |answer: Answer, way: &(String, Vec<String>)| {
        assert_eq!(answer.status, 401, "{way:?}");
        let challenge = match sends_none(way) {
            true => "Bearer realm=\"aloud\"",
            false => "Bearer realm=\"aloud\", error=\"invalid_token\"",
        };
        assert_eq!(answer.header("WWW-Authenticate"), Some(challenge), "{way:?}");
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
        answer.body
    };
    let send = |way: &(String, Vec<String>)| {
        let wrong = if sends_none(way) { "a token here" } else { "another token here than was sent" };
        format!("takes {wrong}; send Authorization: Bearer TOKEN, or curl -u :TOKEN, or ?token=TOKEN\n")
    };
    for way in wrong(LISTEN, SAY) {
        for (method, path) in [("GET", "/say?message=x"), ("POST", "/say/a"), ("PUT", "/say"), ("PATCH", "/say")] {
            let body = if method == "GET" { "" } else { "message" };
            assert_eq!(check(ask(&server, method, path, &way, body), &way), format!("aloud: speaking {}", send(&way)));
        }
    }
    for way in wrong(SAY, LISTEN) {
        for path in ["/listen", "/listen/a?as=sse", "/metrics"] {
            assert_eq!(check(ask(&server, "GET", path, &way, ""), &way), format!("aloud: listening {}", send(&way)));
            assert_eq!(check(ask(&server, "HEAD", path, &way, ""), &way), "");
        }
    }
    let json = server.request("GET", "/listen", &["Accept: application/json"], b"");
    assert!(json.status == 401 && json.body.starts_with("{\"error\":\"listening takes a token"), "{json:?}");
}

#[test]
fn what_is_refused_reaches_nobody() {
    let server = guarded();
    let mut listener = server.listen(&format!("/listen?token={LISTEN}"));
    for way in [ways(LISTEN), vec![(String::new(), vec![])]].concat() {
        assert_eq!(ask(&server, "POST", "/say", &way, "refused").status, 401);
    }
    let large = "x".repeat(50_000); // more than is read with the head
    assert_eq!(ask(&server, "POST", "/say", &("token=wrong".to_owned(), vec![]), &large).status, 401);
    let right = ask(&server, "POST", "/say", &ways(SAY)[0], "allowed");
    assert_eq!((right.status, right.header("Aloud-Listeners")), (200, Some("1")));
    assert_eq!(listener.line().unwrap(), "allowed\r\n", "the first thing that is heard");
    let metrics = ask(&server, "GET", "/metrics", &ways(LISTEN)[0], "").body;
    assert!(metrics.contains("\naloud_messages_total 1\n"), "{metrics}");
    assert!(metrics.contains("\naloud_refusals_total{status=\"401\"} 9\n"), "{metrics}");
}

#[test]
fn help_health_and_preflights_are_open_to_all() {
    let server = guarded();
    for (method, path, status) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/health", 200),
        ("HEAD", "/health", 200),
        ("OPTIONS", "/say", 204),
        ("OPTIONS", "/say/a", 204),
        ("OPTIONS", "/listen", 204),
        ("OPTIONS", "/metrics", 204),
        ("GET", "/nothing", 404),
        ("DELETE", "/say", 405),
    ] {
        assert_eq!(server.request(method, path, &[], b"").status, status, "{method} {path}");
    }
    assert!(server.curl(&["/"]).contains("-u :TOKEN"));
    let preflight = server.request("OPTIONS", "/say", &[], b"");
    assert!(preflight.header("Access-Control-Allow-Headers").unwrap().contains("Authorization"));
}

#[test]
fn each_door_has_its_own_token_and_one_without_is_open() {
    let server = Server::start(&["--say-token", SAY]);
    assert_eq!(server.request("POST", "/say", &[], b"x").status, 401);
    let mut listener = server.listen("/listen");
    assert_eq!(ask(&server, "POST", "/say", &ways(SAY)[0], "x").status, 200);
    assert_eq!(listener.line().unwrap(), "x\r\n");

    let server = Server::start(&["--listen-token", LISTEN]);
    assert_eq!(server.request("GET", "/listen", &[], b"").status, 401);
    assert_eq!(server.say("x"), 0);
    assert_eq!(server.request("POST", "/say?token=whatever", &[], b"x").status, 200, "one that nobody asked for");
}

#[test]
fn a_token_is_in_no_log_no_answer_and_no_message() {
    let server = guarded();
    let mut listener = server.listen(&format!("/listen?as=json&token={LISTEN}"));
    let mut answers = vec![];
    for token in [SAY, LISTEN] {
        for way in ways(token) {
            let targets =
                ["/", "/say?message=x", "/listen?as=nothing", "/say/a//b", "/nothing", "/health", "/say?TOKEN=1"];
            answers.extend(targets.map(|path| ask(&server, "GET", path, &way, "")));
            answers.push(ask(&server, "DELETE", "/say", &way, ""));
            answers.push(ask(&server, "POST", "/say", &way, "name=said"));
        }
        answers.push(server.request("GET", &format!("/say?Token={token}"), &[], b""));
        answers.push(server.request("GET", &format!("/say?message=y?token={token}"), &[], b""));
        for mistake in ["/say&token=", "say&token=", "/say;token=", "/say/token=", "/say%3Ftoken%3D", "/a b&token="] {
            server.request("GET", &format!("{mistake}{token}"), &[], b"");
        }
        server.request(&format!("Authorization: Bearer {token}\r\nGET"), "/say", &[], b"");
        server.request("GET", "/say", &[&format!("Host: u:{token}@x")], b"");
    }
    assert_eq!(ask(&server, "POST", "/say", &ways(SAY)[4], "the last").status, 200);
    let mut heard = String::new();
    while !heard.contains("the last") {
        heard += &listener.line().unwrap();
    }
    server.signal("TERM"); // what is logged by then is logged
    let log = server.wait_for_log("Stopped");
    assert!(log.contains("asks \"GET\" \"/say\""), "requests are logged:\n{log}");
    assert!(heard.contains("\"message\":\"x\""), "messages are heard: {heard}");
    let answers = format!("{answers:?}");
    for token in [SAY, LISTEN] {
        assert!(!log.contains(token), "{log}");
        assert!(!heard.contains(token), "{heard}");
        assert!(!answers.contains(token), "{answers}");
    }
}

#[test]
fn a_token_is_read_from_a_file_or_the_environment() {
    let path = std::env::temp_dir().join(format!("aloud-token-{}", std::process::id()));
    std::fs::write(&path, format!("{SAY}\n")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", "127.0.0.1:0", "--say-token", &format!("@{}", path.display())]);
    command.env("ALOUD_LISTEN_TOKEN", LISTEN);
    let server = Server::start_command(command);
    std::fs::remove_file(path).unwrap();
    assert_eq!(ask(&server, "POST", "/say", &ways(SAY)[0], "x").status, 200);
    assert_eq!(server.request("POST", "/say", &[], b"x").status, 401);
    assert_eq!(ask(&server, "HEAD", "/listen", &ways(LISTEN)[0], "").status, 200);
    assert_eq!(server.request("HEAD", "/listen", &[], b"").status, 401);
}

#[test]
fn a_token_that_is_none_is_one_line_and_exit_2() {
    let check = |token: &str, wrong: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
        let output = command.args(["--bind", "127.0.0.1:0", "--say-token", token]).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.starts_with(&format!("aloud: --say-token {wrong}")) && line.contains("; give "), "{line}");
        assert!(!line.contains("two words"), "it is not shown: {line}");
    };
    check("", "is empty");
    check("two words", "holds a space");
    check("@/no/such/file", "cannot be read from \"/no/such/file\" (No such file");
    check("@/dev/null", "is empty");
}

#[test]
fn a_server_open_to_more_than_this_machine_says_once_who_comes_in() {
    let check = |bind: &str, flags: &[&str], expected: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
        command.args(["--bind", bind]).args(flags);
        let mut server = Server::start_command(command);
        server.signal("TERM");
        assert!(server.wait().success());
        let log = server.wait_for_log("Stopped");
        assert_eq!(log.matches("[WARN]").count(), expected.iter().count(), "{log}");
        assert!(log.contains(expected.unwrap_or("")), "{log}");
    };
    check(":0", &[], Some("Everybody who can reach it can speak and listen; --say-token and --listen-token"));
    check("0.0.0.0:0", &["--say-token", SAY], Some("Everybody who can reach it can listen, "));
    check(":0", &["--listen-token", LISTEN], Some("Everybody who can reach it can speak, "));
    check(":0", &["--say-token", SAY, "--listen-token", LISTEN], None);
    check("127.0.0.1:0", &[], None);
    check("[::1]:0", &[], None);
}

/// A file of tokens, removed when dropped.
struct TokensFile(PathBuf);

impl TokensFile {
    fn new(name: &str, text: &str) -> TokensFile {
        let file = TokensFile(std::env::temp_dir().join(format!("aloud-tokens-of-{name}-{}", std::process::id())));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TokensFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The status for a request that shows `token`.
fn status_for(server: &Server, method: &str, path: &str, token: &str) -> u16 {
    server.request(method, path, &[&format!("Authorization: Bearer {token}")], b"").status
}

#[test]
fn a_token_of_the_file_is_good_for_its_line_alone() {
    let file = TokensFile::new("lines", "# all\nall both\n\nci say build # of the pipeline\near listen build/main\n");
    let server = Server::start(&["--tokens", file.path(), "--say-token", SAY]);
    let check = |token: &str, method: &str, path: &str, status: u16| {
        assert_eq!(status_for(&server, method, path, token), status, "{token} {method} {path}");
    };
    for (method, path) in [("GET", "/say?message=x"), ("HEAD", "/listen"), ("GET", "/hosts"), ("GET", "/beat/web1")] {
        check("all", method, path, 200);
        check("nobodys", method, path, 401);
    }
    check(SAY, "GET", "/say/x?message=x", 200);
    check(SAY, "GET", "/said", 401);
    check("ci", "GET", "/say/build?message=x", 200);
    check("ci", "GET", "/say/build/main?message=x", 200);
    check("ci", "GET", "/say?message=x", 401);
    check("ci", "GET", "/say/builder?message=x", 401);
    check("ci", "POST", "/hook/github/build", 200);
    check("ci", "POST", "/hook/github", 401);
    check("ci", "GET", "/beat/web1", 401);
    check("ci", "GET", "/said/build", 401);
    check("ear", "GET", "/said/build/main", 200);
    check("ear", "HEAD", "/listen/build/main/x", 200);
    check("ear", "HEAD", "/listen/build", 401);
    check("ear", "HEAD", "/listen/build/main,build/main/x", 200);
    check("ear", "HEAD", "/listen/build/main,build", 401);
    check("ear", "GET", "/said/build/main,other", 401);
    check("all", "GET", "/said/build/main,other", 200);
    check("ear", "GET", "/metrics", 401);
    check("ear", "GET", "/say/build/main?message=x", 401);
    assert_eq!(server.request("GET", "/say?message=x", &[], b"").status, 401);
    assert!(server.curl(&["/"]).contains("-u :TOKEN"));
    for token in ["all", "ci say", "ear"] {
        assert!(!server.log().contains(token), "{}", server.log());
    }
}

#[test]
fn tokens_change_while_a_hundred_listen_and_they_stay() {
    let file = TokensFile::new("change", "old both\n");
    let server = Server::start(&["--tokens", file.path()]);
    let mut listeners: Vec<_> = (0..100).map(|_| server.listen("/listen?token=old")).collect();
    let mut all_hear = |token: &str| {
        assert_eq!(status_for(&server, "GET", &format!("/say?message={token}"), token), 200);
        listeners.iter_mut().for_each(|listener| assert_eq!(listener.line().unwrap(), format!("{token}\r\n")));
    };
    all_hear("old");
    file.write("new both\n");
    wait_until("the new token is good", || status_for(&server, "HEAD", "/listen", "new") == 200);
    assert_eq!(status_for(&server, "HEAD", "/listen", "old"), 401, "and the old one is not");
    all_hear("new");

    file.write("new both\nbroken\n");
    wait_until("the bad file is told of", || {
        assert_eq!(status_for(&server, "HEAD", "/listen", "new"), 200, "what was good stays good");
        server.log().contains("[WARN] The tokens stay as they were: --tokens names ")
    });
    std::fs::remove_file(&file.0).unwrap();
    wait_until("its absence is told of", || {
        assert_eq!(status_for(&server, "HEAD", "/listen", "new"), 200);
        server.log().contains("--tokens cannot be read from ")
    });
    all_hear("new");

    file.write("# nobody\n");
    wait_until("nobody gets in", || status_for(&server, "HEAD", "/listen", "new") == 401);
    let log = server.log();
    assert_eq!((log.matches("[WARN]").count(), log.matches("broken").count()), (2, 0), "{log}");
}

#[test]
fn a_bad_file_of_tokens_is_one_line_and_exit_2() {
    let check = |path: &str, wrong: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
        let output = command.args(["--bind", "127.0.0.1:0", "--tokens", path]).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
        assert!(line.starts_with("aloud: --tokens ") && line.contains(wrong) && !line.contains("hush"), "{line}");
    };
    let file = TokensFile::new("bad", "good both\nhush shout\n");
    check(file.path(), "whose line 2 says neither say nor listen nor both; give TOKEN say|listen|both [CHANNEL]");
    check("/no/such/file", "cannot be read from \"/no/such/file\" (No such file");
}
