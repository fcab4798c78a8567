//! Promise: the server knows how things stand. `/now` tells the newest word on each thing, past the history and over a
//! restart; `/status` says what is bad; and a client that reads `/now` and listens on from its id knows what the server
//! knows.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::support::{Answer, Folder, Server};

/// How often `/now` is read and listened on from; `ALOUD_TEST_ROUNDS` says otherwise, for example 1000.
const ROUNDS: usize = 20;

/// The things at `path`, as JSON, and the id to listen on from.
fn things(server: &Server, path: &str) -> (Vec<Value>, String) {
    let answer = server.request("GET", path, &["Accept: application/json"], b"");
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json")), "{path}");
    (serde_json::from_str(&answer.body).unwrap(), answer.header("Aloud-Id").unwrap().to_owned())
}

fn say(server: &Server, query: &str) -> u16 {
    server.request("GET", &format!("/say?{query}"), &[], b"").status
}

/// Says something on a connection that stays open.
fn say_on(connection: &mut BufReader<TcpStream>, query: &str) {
    let request = format!("GET /say?{query} HTTP/1.1\r\nHost: x\r\n\r\n");
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    assert_eq!(Answer::read(connection, false).status, 200, "{query}");
}

fn status(server: &Server) -> (u16, String) {
    let answer = server.request("GET", "/status", &[], b"");
    (answer.status, answer.body)
}

#[test]
fn a_failure_is_known_after_five_thousand_other_messages_and_a_restart_until_it_is_mended() {
    let folder = Folder::new("now");
    let store = folder.0.join("store.db");
    let flags = ["--store", store.to_str().unwrap()];
    let server = Server::start(&flags);
    assert_eq!(status(&server), (200, "ok\n".to_owned()));
    assert_eq!(say(&server, "event=ci&key=app+main&status=failed&message=app:+Pipeline+%235+failed"), 200);
    let mut connection = BufReader::new(server.connect());
    (0..5000).for_each(|_| say_on(&mut connection, "message=x"));
    drop(server);
    let server = Server::start(&flags);
    let (now, _) = things(&server, "/now");
    assert_eq!((now.len(), &now[0]["key"], &now[0]["status"]), (1, &"app main".into(), &"failed".into()));
    assert_eq!(status(&server), (503, "bad: app: Pipeline #5 failed\n".to_owned()));
    let table = server.request("GET", "/now", &[], b"").body;
    assert!(table.lines().nth(1).unwrap().starts_with("ci     app main  failed"), "{table}");
    assert_eq!(say(&server, "event=ci&key=app+main&status=passed&message=app:+Pipeline+%236+passed"), 200);
    assert_eq!(status(&server), (200, "ok\n".to_owned()));
}

#[test]
fn filters_heads_and_refusals_are_those_of_listen() {
    let server = Server::start(&[]);
    for query in
        ["key=a&status=down&message=x", "event=ci&key=b&status=passed&message=x", "event=number&name=n&value=1"]
    {
        assert_eq!(say(&server, query), 200);
    }
    assert_eq!(server.request("GET", "/say/garden?key=c&status=late&message=x", &[], b"").status, 200);
    let keys = |path: &str| -> Vec<String> {
        things(&server, path).0.iter().map(|thing| thing["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("/now"), ["a", "c", "n", "b"], "the worst first, then the newest");
    assert_eq!(keys("/now/garden"), ["c"]);
    assert_eq!(keys("/now?event=ci,number"), ["n", "b"]);
    assert_eq!(keys("/now?event=ci&event=number"), ["n", "b"]);
    assert_eq!(keys("/now?event=*&event=ci"), ["a", "c", "n", "b"]);
    let (_, id) = things(&server, "/now");
    assert_eq!(say(&server, "event=number&name=n&value=2"), 200);
    assert_eq!(server.curl(&[&format!("/said?event=*&since={id}")]), "n 2\r\n");
    assert_eq!(say(&server, "event=number&key=n&status=gone"), 200);
    assert_eq!(server.curl(&[&format!("/said?event=*&since={id}")]), "n is forgotten\r\n");
    assert_eq!(keys("/now"), ["a", "c", "b"]);
    assert_eq!(say(&server, "event=number&name=n&value=1"), 200);
    for path in ["/now", "/status", "/hosts"] {
        let answer = server.request("GET", &format!("{path}?as=tsv"), &[], b"");
        let line = "aloud: as= names a format of streams; send as=lines or as=json\n";
        assert_eq!((answer.status, answer.body.as_str()), (400, line), "{path}");
    }
    let status = server.request("GET", "/status?as=json", &[], b"");
    assert_eq!((status.status, status.header("Content-Type")), (503, Some("application/json")));
    let head = server.request("HEAD", "/now", &[], b"");
    assert!(head.status == 200 && head.body.is_empty() && head.header("Aloud-Id").is_some());
    assert_eq!(server.request("HEAD", "/status", &[], b"").status, 503);
    assert_eq!(server.request("GET", "/status?status=ok", &[], b"").status, 503, "no filter hides what is bad");
    assert_eq!(server.request("GET", "/status?event=number", &[], b"").status, 200);
    assert_eq!(server.request("GET", "/now?event=a+b", &[], b"").status, 400);
    assert_eq!(server.request("POST", "/now", &[], b"").header("Allow"), Some("GET, HEAD, DELETE, OPTIONS"));
    let badge = server.request("GET", "/status.svg", &[], b"");
    assert_eq!((badge.status, badge.header("Content-Type")), (200, Some("image/svg+xml")));
    assert!(badge.body.contains("<title>aloud: 1 bad</title>"), "{}", badge.body);
}

#[test]
fn a_thing_is_forgotten_by_delete_and_by_a_word_and_everyone_is_told() {
    let server = Server::start(&["--say-token", "speak", "--listen-token", "listen"]);
    let request = |method: &str, url: &str, token: &str| {
        server.request(method, url, &[&format!("Authorization: Bearer {token}")], b"").status
    };
    for key in ["a", "b"] {
        assert_eq!(request("GET", &format!("/say/x?event=e&key={key}&status=bad&message=m"), "speak"), 200);
    }
    assert_eq!(request("DELETE", "/now/x?event=e&key=a", "listen"), 401, "to forget is to speak");
    assert_eq!(request("DELETE", "/now/x?event=e&key=c", "speak"), 404);
    assert_eq!(request("DELETE", "/now?event=e&key=a", "speak"), 404, "it is on another channel");
    assert_eq!(request("DELETE", "/now/x?event=e&key=a", "speak"), 200);
    assert_eq!(request("GET", "/say/x?event=e&key=b&status=gone&message=m", "speak"), 200);
    let said = server.curl(&["/said?as=json&last=2&token=listen"]);
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = said.iter().map(|one| (one["key"].as_str().unwrap(), one["status"].as_str().unwrap())).collect();
    assert_eq!(told, [("a", "gone"), ("b", "gone")]);
    assert_eq!(server.request("GET", "/status?token=listen", &[], b"").body, "ok\n");
}

/// Takes a message in as a client does that follows how things stand.
fn fold(known: &mut HashMap<String, String>, message: &Value) {
    let text = |member: &str| message[member].as_str().unwrap_or("");
    let name = ["event", "channel", "key"].map(text).join("|");
    match (text("key"), text("status")) {
        ("", _) => {}
        (_, "gone") => _ = known.remove(&name),
        _ => _ = known.insert(name, text("id").to_owned()),
    }
}

#[test]
fn who_reads_now_and_listens_on_from_its_id_knows_what_the_server_knows() {
    const KEYS: usize = 500;
    let rounds = std::env::var("ALOUD_TEST_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let server = Server::start(&["--history", "100000"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stopped = StopWhenDropped(&stop);
        for speaker in 0..2 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                let mut connection = BufReader::new(server.connect());
                let mut number = speaker;
                while !stop.load(Ordering::Relaxed) {
                    number += 7;
                    let status = ["failed", "passed", "gone"][number / KEYS % 3];
                    say_on(&mut connection, &format!("key=k{}&status={status}&message=x", number % KEYS));
                }
            });
        }
        for round in 1..=rounds {
            let (now, id) = things(&server, "/now");
            let mut known = HashMap::new();
            now.iter().for_each(|thing| fold(&mut known, thing));
            if round == rounds {
                stop.store(true, Ordering::Relaxed);
            }
            let (later, last) = things(&server, "/now");
            let said = server.curl(&[&format!("/said?as=json&event=*&since={id}")]);
            assert!(!said.contains(r#""event":"gap""#), "{said}");
            let until: u64 = last.parse().unwrap();
            for line in said.lines() {
                let message: Value = serde_json::from_str(line).unwrap();
                if message["id"].as_str().unwrap().parse::<u64>().unwrap() <= until {
                    fold(&mut known, &message);
                }
            }
            let mut expected = HashMap::new();
            later.iter().for_each(|thing| fold(&mut expected, thing));
            assert_eq!(known, expected, "round {round}");
        }
    });
}

/// Stops the speakers, also if the test fails.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn of_too_many_things_the_longest_silent_go_and_the_log_says_so_once() {
    let server = Server::start(&["--things", "2000"]);
    let mut connection = BufReader::new(server.connect());
    (0..3000).for_each(|number| say_on(&mut connection, &format!("key=k{number}&status=ok&message=x")));
    let (now, _) = things(&server, "/now");
    assert_eq!((now.len(), &now[0]["key"], &now[1999]["key"]), (2000, &"k2999".into(), &"k1000".into()));
    assert_eq!(server.log().matches("more things than may be known").count(), 1, "{}", server.log());
}
