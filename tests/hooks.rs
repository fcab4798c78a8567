//! Promise: every delivery of a forge becomes one readable line in its own words, or is ignored; never a panic, never
//! raw JSON. A hook that has to prove a secret is refused without. A delivery is not said twice.
//!
//! `tests/hooks/FORGE.EVENT.CASE.json` are deliveries written by us after the forges' documentation, and
//! `tests/hooks/lines.txt` is what becomes of each: `+` is said, `~` changes the dashboard only, `-` is ignored.

use std::collections::HashSet;
use std::fmt::Write as _;

use aloud::hook::{self, Notice, Sender};
use aloud::names::is_plain_name;
use aloud::room::message::Message;
use serde_json::{Value, json};

use crate::support::Server;

/// A delivery of `tests/hooks`.
pub struct Delivery {
    name: String,
    pub sender: Sender,
    /// As the forge's header names it.
    event: String,
    pub payload: Value,
}

pub fn deliveries() -> Vec<Delivery> {
    let mut names: Vec<String> = std::fs::read_dir("tests/hooks")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    let delivery = |name: String| {
        let mut parts = name.splitn(3, '.');
        let sender = Sender::named(parts.next().unwrap()).unwrap();
        let event = parts.next().unwrap();
        let event = if sender == Sender::GitLab { event.replace('-', " ") } else { event.to_owned() };
        let payload = serde_json::from_str(&std::fs::read_to_string(format!("tests/hooks/{name}")).unwrap()).unwrap();
        Delivery { name, sender, event, payload }
    };
    names.into_iter().map(delivery).collect()
}

#[test]
fn every_delivery_becomes_the_line_it_should() {
    let mut lines = String::new();
    for Delivery { name, sender, event, payload } in deliveries() {
        let name = name.trim_end_matches(".json");
        let notices = hook::read(sender, "", &event, "", &payload).unwrap();
        if notices.is_empty() {
            let _ = writeln!(lines, "- {name}");
        }
        for notice in notices {
            let sign = if notice.quiet { '~' } else { '+' };
            let message = notice.message;
            let fields: Vec<_> = message.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let thing = match message.key.as_str() {
                "" => String::new(),
                key => format!("    key: {key}, {}\n", message.status),
            };
            let _ = write!(lines, "{sign} {name}\n    {}\n{thing}    {}\n", message.message, fields.join(" "));
        }
    }
    let expected = std::fs::read_to_string("tests/hooks/lines.txt").unwrap_or_default();
    let first = lines.lines().zip(expected.lines()).find(|(line, expected)| line != expected);
    assert!(lines == expected, "{first:?} is the first that differs of what they become:\n{lines}");
    assert!(lines.matches("\n+ ").count() > 60);
}

#[test]
fn without_its_header_a_delivery_is_known_by_what_is_in_it() {
    for Delivery { name, sender, event, payload } in deliveries() {
        let told = hook::read(sender, "", &event, "", &payload).unwrap();
        if !told.is_empty() {
            assert_eq!(hook::read(sender, "", "", "", &payload).unwrap(), told, "{name}");
        }
    }
}

#[test]
fn whatever_is_missing_null_or_of_another_type_the_line_stays_readable() {
    let (others, mut seen, mut tried) = (others(), HashSet::new(), 0);
    for Delivery { name, sender, event, payload } in deliveries() {
        let mut check = |changed: &Value, what: &str| {
            tried += 1;
            for event in [event.as_str(), ""] {
                check_readable(hook::read(sender, "", event, "", changed).unwrap(), &format!("{name}: {what}"));
            }
        };
        let all = pointers(&payload);
        for (place, pointer) in all.iter().enumerate() {
            // Deliveries of one event share most of what is in them.
            let is_new = seen.insert((sender.name(), event.clone(), pointer.clone()));
            for other in others.iter().filter(|other| is_new || other.is_null()) {
                let mut changed = payload.clone();
                *changed.pointer_mut(pointer).unwrap() = other.clone();
                check(&changed, &format!("{pointer} is {:.60}", other.to_string()));
            }
            check(&without(&payload, pointer), &format!("no {pointer}"));
            check(&up_to(&payload, &all[..=place], &all), &format!("nothing after {pointer}"));
        }
        others.iter().for_each(|other| check(other, "nothing else"));
    }
    assert!(tried > 30_000, "{tried}");
}

/// Values of other types than expected.
pub fn others() -> [Value; 12] {
    [
        Value::Null,
        json!(true),
        json!(-7),
        json!(1.5e300),
        json!(18_446_744_073_709_551_615_u64),
        json!(""),
        json!("\u{1b}[31m\r\nforged\u{202e}\0"),
        json!("x".repeat(5_000)),
        json!([]),
        json!([null, 1, {"name": ["a"]}]),
        json!({}),
        json!({"id": {"name": "a"}, "name": 5}),
    ]
}

fn check_readable(notices: Vec<Notice>, what: &str) {
    notices.into_iter().for_each(|notice| check_message_readable(notice.message, what));
}

fn check_message_readable(message: Message, what: &str) {
    let line = &message.message;
    assert!(message.name.is_empty() && !line.is_empty(), "{what}");
    assert!(!line.contains(['{', '}', '[', ']', '"']) || line.contains("[31m"), "{what}: {line}");
    for word in ["null", "None", "Some(", "true", "false", "  "] {
        assert!(!line.contains(word), "{what}: {line}");
    }
    assert!(!line.ends_with(' ') && !line.contains(" :") && !line.contains("##"), "{what}: {line}");
    assert!(line.chars().count() < 600, "{what}: {line}");
    assert!(message.fields.len() <= 32 && message.fields.iter().all(|(key, _)| is_plain_name(key)), "{what}");
    for text in message.fields.iter().map(|(_, value)| value).chain([line]) {
        let bad = |char: char| char.is_control() || char == '\u{202e}';
        assert!(!text.contains(bad) && text.len() < 3000 && !text.is_empty(), "{what}: {text:?}");
    }
}

/// The pointers to everything in `value` but itself.
pub fn pointers(value: &Value) -> Vec<String> {
    let below = |key: &str, value: &Value| {
        let own = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        let mut all: Vec<_> = pointers(value).into_iter().map(|rest| format!("{own}{rest}")).collect();
        all.insert(0, own);
        all
    };
    match value {
        Value::Object(object) => object.iter().flat_map(|(key, value)| below(key, value)).collect(),
        Value::Array(array) => {
            array.iter().enumerate().flat_map(|(place, value)| below(&place.to_string(), value)).collect()
        }
        _ => vec![],
    }
}

/// `value` without what is at `pointer`.
pub fn without(value: &Value, pointer: &str) -> Value {
    let mut value = value.clone();
    remove(&mut value, pointer);
    value
}

fn remove(value: &mut Value, pointer: &str) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match value.pointer_mut(parent).unwrap() {
        Value::Object(object) => _ = object.remove(&key.replace("~1", "/").replace("~0", "~")),
        Value::Array(array) => _ = array.remove(key.parse().unwrap()),
        _ => unreachable!("a pointer leads through objects and arrays"),
    }
}

/// `value` as far as the last of `until`: what comes after it is cut off, at every level.
fn up_to(value: &Value, until: &[String], all: &[String]) -> Value {
    let mut value = value.clone();
    let below = format!("{}/", until.last().unwrap());
    let later = all[until.len()..].iter().filter(|later| !later.starts_with(&below));
    later.rev().for_each(|later| remove(&mut value, later));
    value
}

const JSON: &str = "Content-Type: application/json";

/// The next message that a listener to everything hears, as JSON.
fn heard(listener: &mut crate::support::Listener) -> Value {
    serde_json::from_str(&listener.line().expect("the stream goes on")).unwrap()
}

#[test]
fn a_recorded_delivery_sent_by_curl_is_one_line_and_fields() {
    let server = Server::start(&[]);
    let mut lines = server.listen("/listen");
    let mut json = server.listen("/listen/ci?as=json");
    let hook = server.url("/hook/gitlab/ci");
    let file = "@tests/hooks/gitlab.Pipeline-Hook.failed.json";
    assert_eq!(server.curl(&[&hook, "-d", file, "-w", "%{http_code}"]), "200", "and nothing else");
    assert_eq!(lines.line().unwrap(), "group/app: Pipeline #123 of main by Ana has failed in 2 min 3 s: unit\r\n");
    let object = heard(&mut json);
    assert_eq!((&object["event"], &object["channel"]), (&json!("ci"), &json!("ci")));
    assert_eq!(object["fields"]["project"], "group/app");
    assert_eq!(object["fields"]["status"], "failed");
    assert_eq!(object["fields"]["duration"], "123");

    for (forge, file) in [
        ("github", "github.push.commits"),
        ("gitea", "gitea.push.commits"),
        ("forgejo", "forgejo.action_run_failure.failure"),
    ] {
        let data = format!("@tests/hooks/{file}.json");
        assert_eq!(server.curl(&[&server.url(&format!("/hook/{forge}")), "-d", &data, "-H", JSON]), "");
        assert!(lines.line().unwrap().starts_with("group/app: "));
    }
}

#[test]
fn a_pipeline_is_said_when_it_changes_and_shown_when_it_waits() {
    let server = Server::start(&[]);
    let mut lines = server.listen("/listen");
    let mut all = server.listen("/listen?as=json&event=*");
    for state in
        ["created", "pending", "running", "running", "pending", "running", "failed", "pending", "running", "success"]
    {
        let body = std::fs::read(format!("tests/hooks/gitlab.Pipeline-Hook.{state}.json")).unwrap();
        assert_eq!(server.request("POST", "/hook/gitlab", &[JSON], &body).status, 200);
    }
    let states = ["running", "failed", "running", "passed"];
    for state in states {
        let line = lines.line().unwrap();
        assert!(line.contains(&format!(" {state}")), "{state}: {line}");
    }
    let events: Vec<_> = (0..10)
        .map(|_| {
            let object = heard(&mut all);
            format!("{} {}", object["event"].as_str().unwrap(), object["fields"]["status"].as_str().unwrap())
        })
        .collect();
    let expected = [
        "ci.update queued",
        "ci.update queued",
        "ci running",
        "ci.update running",
        "ci.update queued",
        "ci.update running",
        "ci failed",
        "ci.update queued",
        "ci running",
        "ci passed",
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_delivery_sent_again_is_said_once() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen?event=*");
    let post = |target: &str, headers: &[&str], file: &str| {
        let body = std::fs::read(format!("tests/hooks/{file}.json")).unwrap();
        let answer = server.request("POST", target, headers, &body);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{headers:?}");
    };
    for (target, headers, file) in [
        ("/hook/github", vec!["X-GitHub-Event: push", "X-GitHub-Delivery: d1"], "github.push.commits"),
        ("/hook/github/a", vec!["X-GitHub-Event: push", "X-GitHub-Delivery: d1"], "github.push.commits"),
        (
            "/hook/gitea",
            vec!["X-Gitea-Event: push", "X-GitHub-Event: push", "X-Gitea-Delivery: d1"],
            "gitea.push.commits",
        ),
        (
            "/hook/gitea",
            vec!["X-Forgejo-Event: push", "X-Gitea-Event: push", "X-Forgejo-Delivery: d1"],
            "forgejo.push.commits",
        ),
        ("/hook/gitlab", vec!["X-Gitlab-Event: Push Hook", "Idempotency-Key: d1"], "gitlab.Push-Hook.commits"),
        ("/hook/gitlab", vec!["X-Gitlab-Event: Push Hook", "X-Gitlab-Event-UUID: e1"], "gitlab.Push-Hook.commits"),
        ("/hook/gitlab", vec!["X-Gitlab-Event: Push Hook", "X-Gitlab-Event-UUID: e1"], "gitlab.Push-Hook.new-branch"),
    ] {
        post(target, &headers, file);
        post(target, &headers, file);
        assert!(listener.line().unwrap().contains("na pushed"));
        server.say("next");
        assert_eq!(listener.line().unwrap(), "next\r\n", "{headers:?}");
    }
}

#[test]
fn gitea_is_told_apart_from_github_whose_headers_it_also_sends() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen?as=json");
    let check = |path: &str, headers: &[&str], listener: &mut crate::support::Listener, forge: &str| {
        let body = std::fs::read("tests/hooks/gitea.push.commits.json").unwrap();
        assert_eq!(server.request("POST", path, headers, &body).status, 200);
        assert_eq!(heard(listener)["fields"]["forge"], forge, "{headers:?}");
    };
    let github = "X-GitHub-Event: push";
    check("/hook/github", &[github], &mut listener, "github");
    check("/hook/github", &[github, "X-Gitea-Event: push", "X-Gogs-Event: push"], &mut listener, "gitea");
    check("/hook/gitea", &[github, "X-Gitea-Event: push", "X-Forgejo-Event: push"], &mut listener, "forgejo");
    check("/hook/gitea", &[github], &mut listener, "github");
    check("/hook/forgejo", &[], &mut listener, "forgejo");
}

#[test]
fn the_secret_of_hooks_may_be_any_text() {
    let check = |secret: &str, path: &str, header: &str, status: u16| {
        let server = Server::start(&["--hook-secret", secret]);
        assert_eq!(server.request("POST", path, &[header], b"Hello, World!").status, status, "{secret}");
    };
    // GitHub's own example.
    let signature = "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    check("It's a Secret to Everybody", "/hook/github", signature, 200);
    check("It's a Secret to Nobody", "/hook/github", signature, 401);
    check("Gr\u{fc}n und blau", "/hook/gitlab", "X-Gitlab-Token: Gr\u{fc}n und blau", 200);
    check("Gr\u{fc}n und blau", "/hook/gitlab", "X-Gitlab-Token: Gr\u{fc}n und rot", 401);
    check("Gr\u{fc}n und blau", "/hook/json", "Authorization: Bearer Gr\u{fc}n und blau", 200);
    check("Gr\u{fc}n und blau", "/hook/json", "Authorization: Bearer Gr\u{fc}n und rot", 401);
}

#[test]
fn a_hook_that_does_not_prove_the_secret_is_refused() {
    let path = std::env::temp_dir().join(format!("aloud-hook-secret-{}", std::process::id()));
    std::fs::write(&path, "hush\n").unwrap();
    let server = Server::start(&["--hook-secret", &format!("@{}", path.display())]);
    std::fs::remove_file(path).unwrap();
    let mut listener = server.listen("/listen");
    let file = "tests/hooks/github.push.commits.json";
    let body = std::fs::read(file).unwrap();
    let sign = format!("openssl dgst -sha256 -hmac hush {file} | sed 's/.*= //'");
    let output = std::process::Command::new("sh").args(["-c", &sign]).output().expect("openssl is installed");
    let signature = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_eq!(signature.len(), 64, "{signature:?}");
    let mut wrong = signature.clone();
    wrong.replace_range(..1, if wrong.starts_with('0') { "1" } else { "0" });
    let check = |path: &str, header: &str, status: u16| {
        let answer = server.request("POST", path, &[JSON, header], &body);
        assert_eq!(answer.status, status, "{path} {header}");
        assert_eq!(answer.header("WWW-Authenticate").is_some(), status == 401);
    };
    check("/hook/github", &format!("X-Hub-Signature-256: sha256={signature}"), 200);
    check("/hook/github", &format!("X-Hub-Signature-256: sha256={wrong}"), 401);
    check("/hook/github", "X-Nothing: x", 401);
    check("/hook/gitea", &format!("X-Gitea-Signature: {signature}"), 200);
    check("/hook/gitea", &format!("X-Gitea-Signature: {wrong}"), 401);
    check("/hook/forgejo", &format!("X-Forgejo-Signature: {signature}"), 200);
    check("/hook/gitlab", "X-Gitlab-Token: hush", 200);
    check("/hook/gitlab", "X-Gitlab-Token: loud", 401);
    server.wait_for_log("it does not prove that it knows the secret");
    server.say("next");
    let next = (0..4).map(|_| listener.line().unwrap()).find(|line| line == "next\r\n");
    assert!(next.is_some(), "refused hooks reach nobody");
}

#[test]
fn whatever_is_delivered_is_answered_200_and_what_cannot_be_read_is_said_to_have_come() {
    let server = Server::start(&["--max-body", "100", "--heartbeat", "600"]);
    let mut listener = server.listen("/listen");
    let mut push: Value =
        serde_json::from_str(&std::fs::read_to_string("tests/hooks/github.push.commits.json").unwrap()).unwrap();
    let payload: String = form_urlencoded::byte_serialize(push.to_string().as_bytes()).collect();
    let form = ["Content-Type: application/x-www-form-urlencoded", "X-GitHub-Event: push"];
    assert_eq!(server.request("POST", "/hook/github", &form, format!("payload={payload}").as_bytes()).status, 200);
    assert!(listener.line().unwrap().contains("pushed 2 commits"));
    push["padding"] = json!("x".repeat(1024 * 1024 - 10_000));
    assert_eq!(server.request("POST", "/hook/github", &[JSON], push.to_string().as_bytes()).status, 200);
    assert!(listener.line().unwrap().contains("pushed 2 commits"));

    // serde_json sorts members, so what comes before `padding` is known: among it no branch.
    push["padding"] = json!("x".repeat(3 * 1024 * 1024));
    let (text, github) = (push.to_string(), [JSON, "X-GitHub-Event: push"]);
    assert_eq!(server.request("POST", "/hook/github", &github, text.as_bytes()).status, 200);
    let too_long = "A delivery to /hook/github could not be read: it is longer than 1048576 bytes\r\n";
    assert_eq!(listener.line().unwrap(), too_long);
    let front = text.replacen('{', &format!("{{\"ref\":{},\"repository\":{},", push["ref"], push["repository"]), 1);
    assert_eq!(server.request("POST", "/hook/github", &github, front.as_bytes()).status, 200);
    assert_eq!(listener.line().unwrap(), "group/app: Somebody pushed to main: Fix the clock\r\n");
    assert_eq!(listener.line().unwrap(), too_long.replace(" read:", " read in whole:"));

    for ignored in ["", "{}", "[]", "{\"object_kind\":5}", "[{\"a\":null}]"] {
        let answer = server.request("POST", "/hook/gitlab", &[JSON], ignored.as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{ignored}");
    }
    for bad in ["x", "{\"a\":", "payload=", "payload=x", &"[".repeat(10_000)] {
        let answer = server.request("POST", "/hook/gitlab", &[JSON], bad.as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{bad:.20}");
        let line = listener.line().unwrap();
        assert!(line.starts_with("A delivery to /hook/gitlab could not be read: "), "{line}");
    }
    let answer = server.request("POST", "/hook/gitlab", &["Content-Encoding: gzip"], b"\x1f\x8b");
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert!(listener.line().unwrap().contains("the content encoding is \"gzip\""));
    assert_eq!(server.request("GET", "/hook/gitlab", &[], b"").header("Allow"), Some("POST, OPTIONS"));
    assert_eq!(server.request("OPTIONS", "/hook/gitlab/a", &[], b"").status, 204);
}
