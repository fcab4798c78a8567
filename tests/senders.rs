//! Promise: whatever posts JSON becomes a readable line, by a template in the query or without; an alert is a thing
//! that fires and is resolved. Nothing that is delivered is refused but for a bad secret.
//!
//! `tests/hooks/json/SENDER.json` are payloads written by us after the senders' documentation; the table of
//! `src/manual/webhooks.md` says how each is set up and heard.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use aloud::hook::{self, Notice, Sender};
use aloud::names::is_plain_name;
use aloud::room::message::Message;
use serde_json::{Value, json};

use crate::hooks::{deliveries, others, pointers, without};
use crate::support::{Answer, Folder, Listener, Server};

/// A row of the manual's table: the name of the sender's payload, the URL to give to it, and what is heard.
pub struct Recipe {
    pub file: String,
    pub url: String,
    pub heard: String,
}

pub fn recipes() -> Vec<Recipe> {
    let manual = std::fs::read_to_string("src/manual/webhooks.md").unwrap();
    let rows = manual.lines().filter(|line| line.contains("`/hook/json"));
    let recipe = |row: &str| {
        let [_, sender, _, url, heard, _] = row.split('|').map(str::trim).collect::<Vec<_>>()[..] else { return None };
        let name = sender.to_lowercase().replace(", ", "-").replace(' ', "-");
        let code = |text: &str| text.trim_matches('`').to_owned();
        Some(Recipe { file: format!("tests/hooks/json/{name}.json"), url: code(url), heard: code(heard) })
    };
    rows.filter_map(recipe).collect()
}

fn payload(recipe: &Recipe) -> Value {
    serde_json::from_str(&std::fs::read_to_string(&recipe.file).unwrap()).unwrap()
}

/// The next message, as JSON.
fn heard(listener: &mut Listener) -> Value {
    serde_json::from_str(&listener.line().expect("the stream goes on")).unwrap()
}

/// Posts `body` and checks that the answer is an empty 200.
fn post(server: &Server, target: &str, headers: &[&str], body: &[u8]) {
    let answer = server.request("POST", target, headers, body);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{target} {:.80}", String::from_utf8_lossy(body));
}

#[test]
fn each_sender_of_the_manual_is_heard_as_it_says() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let recipes = recipes();
    assert_eq!(recipes.len(), std::fs::read_dir("tests/hooks/json").unwrap().count());
    for recipe in recipes {
        let body = std::fs::read(&recipe.file).unwrap();
        let url = recipe.url.replace('{', "%7B").replace('}', "%7D");
        for url in [&recipe.url, &url] {
            post(&server, url, &["Content-Type: application/json"], &body);
            assert_eq!(listener.line().unwrap(), recipe.heard.clone() + "\r\n", "{}", recipe.file);
        }
    }
}

#[test]
fn senders_keys_and_words_become_things_that_stand() {
    let check = |name: &str, expected: &str| {
        let recipe = recipes().into_iter().find(|recipe| recipe.file.ends_with(&format!("/{name}.json"))).unwrap();
        let query = recipe.url.split_once('?').unwrap().1;
        let Notice { message, .. } = hook::read(Sender::Json, "", "", query, &payload(&recipe)).unwrap().remove(0);
        assert_eq!(format!("{} {}: {}", message.event, message.key, message.status), expected);
    };
    check("uptime-kuma", "alert Website: down");
    check("healthchecks", "alert Nightly backup: down");
    check("jenkins", "ci job/app/: failed");
    check("drone", "ci group/app refs/heads/main: failed");
    check("woodpecker", "ci group/app refs/heads/main: success");
    check("bitbucket-build", "ci group/app main Unit tests (Python): failed");
    check("azure-devops", "ci app refs/heads/main: failed");
    check("argo-cd", "ci shop: degraded");
    check("sentry", "alert APP-7: firing");
}

/// The fault that is told of JSON in which nothing is found to say.
const NOTHING: &str = "it has none of message, text, ";

fn check_line(line: &str, what: &str) {
    assert!(!line.is_empty() && line.chars().count() <= 1000, "{what}: {line:?}");
    assert!(!line.contains(char::is_control) && !line.contains("  ") && !line.contains('\u{202e}'), "{what}: {line:?}");
    assert!(!["null", "{\"", "\":", "[]", "{}"].iter().any(|raw| line.contains(raw)), "{what}: {line:?}");
    assert!(!line.contains("could not be read") || line.contains(NOTHING), "{what}: {line:?}");
}

fn check_readable(message: &Message, what: &str) {
    check_line(&message.message, what);
    assert!(message.fields.iter().all(|(key, text)| is_plain_name(key) && !text.is_empty()), "{what}");
}

#[test]
fn whatever_is_missing_or_of_another_type_json_becomes_a_readable_line_or_none() {
    let mut tried = 0;
    for recipe in recipes() {
        let payload = payload(&recipe);
        let query = recipe.url.split_once('?').map_or("", |(_, query)| query);
        let mut check = |changed: &Value, what: &str| {
            tried += 1;
            for query in [query, ""] {
                let what = format!("{}?{query}: {what}", recipe.file);
                let notices = hook::read(Sender::Json, "", "", query, changed);
                let notices = notices.unwrap_or_else(|refusal| {
                    assert!(refusal.line.starts_with(NOTHING), "{what}: {refusal:?}");
                    vec![]
                });
                notices.iter().for_each(|notice| check_readable(&notice.message, &what));
            }
        };
        check(&json!({"around": [{"it": payload}]}), "deeper");
        for pointer in pointers(&payload) {
            for other in others() {
                let mut changed = payload.clone();
                *changed.pointer_mut(&pointer).unwrap() = other.clone();
                check(&changed, &format!("{pointer} is {:.60}", other.to_string()));
            }
            check(&without(&payload, &pointer), &format!("no {pointer}"));
        }
    }
    assert!(tried > 2_000, "{tried}");
}

/// The texts of `payload` with what is at `pointer` null, missing, nested deeper, in a list, and there twice.
fn mutants(payload: &Value, pointer: &str) -> Vec<String> {
    const MARK: &str = "what is changed stands here";
    let mut marked = payload.clone();
    let own = std::mem::replace(marked.pointer_mut(pointer).unwrap(), json!(MARK)).to_string();
    let marked = marked.to_string();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let key = key.replace("~1", "/").replace("~0", "~");
    let key = if payload.pointer(parent).unwrap().is_object() { format!("{}:", json!(key)) } else { String::new() };
    let mark = format!("{key}\"{MARK}\"");
    let forms = ["null", &format!("{{\"it\":{{\"is\":{own}}}}}"), &format!("[{own},null,{own}]")];
    let changed = forms.map(|form| marked.replace(&mark, &format!("{key}{form}")));
    let twice = [[&own, "null"], ["{}", &own], [&own, &own]].map(|[first, last]| {
        let both = format!("{key}{first},{key}{last}");
        marked.replace(&mark, &both)
    });
    let all: Vec<_> = changed.into_iter().chain(twice).chain([without(payload, pointer).to_string()]).collect();
    assert!(all.iter().all(|text| !text.contains(MARK)));
    all
}

/// Posts every payload of the manual's senders and of `tests/hooks` with each member changed.
#[test]
fn whatever_becomes_of_a_member_it_is_answered_200_and_what_is_heard_is_readable() {
    let server = Server::start(&["--queue", "100000"]);
    let mut listener = server.listen("/listen?event=*&as=json");
    let mut all: Vec<(String, Value)> = recipes().iter().map(|recipe| (recipe.url.clone(), payload(recipe))).collect();
    all.extend(
        deliveries().into_iter().map(|delivery| (format!("/hook/{}", delivery.sender.name()), delivery.payload)),
    );
    let (mut seen, mut tried) = (HashSet::new(), 0);
    let mut connection = BufReader::new(server.connect());
    let mut post = |target: &str, body: &str| {
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        connection.get_mut().write_all(request.as_bytes()).unwrap();
        let answer = Answer::read(&mut connection, false);
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{target} {body}");
        tried += 1;
    };
    let heard = std::thread::spawn(move || {
        let lines = (0..).map(|_| heard(&mut listener)).take_while(|line| line["event"] != "end");
        lines.map(|line| check_line(line["message"].as_str().unwrap(), &line.to_string())).count()
    });
    for (target, payload) in &all {
        for pointer in pointers(payload) {
            // Deliveries of one sender share most of what is in them.
            if seen.insert((target, pointer.clone())) {
                mutants(payload, &pointer).iter().for_each(|body| post(target, body));
            }
        }
    }
    assert_eq!(server.request("GET", "/say?event=end&message=x", &[], b"").status, 200);
    let heard = heard.join().unwrap();
    assert!(tried > 10_000 && heard > 2_000, "{heard} of {tried}");
}

#[test]
fn json_comes_in_forms_as_text_and_broken() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let mut check = |target: &str, content_type: &str, body: &str, line: &str| {
        post(&server, target, &[&format!("Content-Type: {content_type}")], body.as_bytes());
        assert_eq!(listener.line().unwrap(), format!("{line}\r\n"), "{body}");
    };
    let (form, json) = ("application/x-www-form-urlencoded", "application/json");
    check("/hook/json", form, "payload=%7B%22text%22%3A%22Hi%22%7D", "Hi");
    check("/hook/json", form, "title=Backup&message=done", "done");
    check("/hook/json/c", form, r#"{"text":"curl -d"}"#, "curl -d");
    check("/hook/json", "text/plain", "Disk full", "Disk full");
    check("/hook/json", "text/plain", "[FIRING:1] Disk full", "[FIRING:1] Disk full");
    check("/hook/json", form, "Disk full", "Disk full");
    check("/hook/json?message={a}", form, "data=%7B%22a%22%3A%22b%22%7D", "b");
    check("/hook/json?message={data}", form, "data=b", "b");
    check("/hook/json", form, "message=Backup+failed&data=%7B%22n%22%3A1%7D", "Backup failed");
    let type_of_form = format!("Content-Type: {form}");
    post(&server, "/hook/json?message={t}&key=k&status=down", &[&type_of_form], b"t=");
    check("/hook/json?key={k}&status={s}", json, r#"{"k":"db","s":"up","message":""}"#, "db is up");
    let silent = "A delivery to /hook/json could not be read: it has none of message, text, msg, content, body, title, \
        summary, description; give the URL message=TEMPLATE";
    check("/hook/json", json, r#"{"a":{"b":null}}"#, silent);
    check("/hook/json", form, "message=", silent);
    check("/hook/json", json, "\"text\"", "text");
    check("/hook/json", json, "\u{feff}{\"text\":\"\\ud83d!\",\"text\":\"\\ud83d?\"}", "\u{fffd}?");
    check("/hook/json?message=it+came", json, "", "it came");
    check("/hook/json?message={n}&name={who.*}", json, r#"{"n":100,"who":["a","b"]}"#, "a, b 100");
    check("/hook/json?message=%7B%7D+it+is", json, "\"ready\"", "ready it is");
    check("/hook/json?message=%7B%7D", "application/json; charset=utf-8", " -1.50", "-1.5");
    let broken =
        "A delivery to /hook/json could not be read: it is no JSON (EOF while parsing a value at line 1 column 5)";
    check("/hook/json", json, "{\"a\":", broken);
    let refused =
        "A delivery to /hook/json could not be read: \"a b\" is no event name; send 1 to 64 of A-Z a-z 0-9 _ . -";
    check("/hook/json?event=a+b", json, r#"{"text":"x"}"#, refused);
    for ignored in ["{}", "[]", "true", "null", ""] {
        post(&server, "/hook/json", &["Content-Type: application/json"], ignored.as_bytes());
    }
    check("/hook/json", json, r#"{"text":"next"}"#, "next");
}

#[test]
fn an_alert_fires_and_is_resolved_and_is_said_once_each() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen/ops?as=json");
    let firing = std::fs::read("tests/hooks/alertmanager.alerts.firing.json").unwrap();
    let more = std::fs::read("tests/hooks/alertmanager.alerts.some-resolved.json").unwrap();
    for body in [&firing, &firing, &more] {
        post(&server, "/hook/alertmanager/ops", &[], body);
    }
    let mut check = |line: &str, key: &str, status: &str| {
        let object = heard(&mut listener);
        let found = [&object["message"], &object["key"], &object["status"]].map(|value| value.as_str().unwrap_or(""));
        assert_eq!(found, [line, key, status]);
        assert_eq!(object["event"], "alert");
    };
    let web1 = "InstanceDown instance=web1:9100 job=node severity=critical";
    check("InstanceDown on web1:9100 is firing (critical): web1:9100 has not answered for 5 minutes", web1, "firing");
    check(
        "InstanceDown on web2:9100 is resolved: web2:9100 has not answered for 5 minutes",
        &web1.replace("web1", "web2"),
        "resolved",
    );
    check("3 more alerts have come that are not told one by one", "", "");
    let now = server.curl(&[&server.url("/now/ops?as=json&event=alert")]);
    let things: Vec<Value> = serde_json::from_str(&now).unwrap();
    assert_eq!(things.len(), 2, "{now}");
}

#[test]
fn of_very_many_alerts_a_hundred_are_told_one_by_one_and_nobody_is_hung_up_on() {
    let mut alerts: Value =
        serde_json::from_str(&std::fs::read_to_string("tests/hooks/alertmanager.alerts.firing.json").unwrap()).unwrap();
    let one = alerts["alerts"][0].clone();
    let many = (0..150).map(|number| {
        let mut alert = one.clone();
        alert["fingerprint"] = json!(number.to_string());
        alert["labels"]["instance"] = json!(format!("web{number}"));
        alert
    });
    alerts["alerts"] = many.collect();
    let server = Server::start(&["--queue", "8"]);
    let mut listener = server.listen("/listen");
    post(&server, "/hook/alertmanager", &[], alerts.to_string().as_bytes());
    for number in 0..100 {
        assert!(listener.line().unwrap().starts_with(&format!("InstanceDown on web{number} is firing")), "{number}");
    }
    assert_eq!(listener.line().unwrap(), "50 more alerts have come that are not told one by one\r\n");
}

/// A running Alertmanager that posts to `url`; killed when dropped.
struct Alertmanager {
    process: Child,
    url: String,
    _folder: Folder,
}

impl Alertmanager {
    fn start(url: &str) -> Alertmanager {
        let folder = Folder::new("alertmanager");
        let file = folder.0.join("alertmanager.yml");
        let times = "group_wait: 100ms, group_interval: 100ms";
        let config = format!(
            "route: {{receiver: aloud, group_by: [alertname], {times}}}\n\
             receivers: [{{name: aloud, webhook_configs: [{{url: '{url}'}}]}}]\n"
        );
        std::fs::write(&file, config).unwrap();
        let mut process = Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", folder.0.display()))
            .args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="])
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus-alertmanager is installed");
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("Listening on")).expect("it listens");
        let address = line.split("address=").nth(1).unwrap().split(' ').next().unwrap();
        std::thread::spawn(move || lines.count());
        Alertmanager { process, url: format!("http://{address}"), _folder: folder }
    }

    /// Has `amtool` tell it of the alert, with further arguments.
    fn alert(&self, more: &[&str]) {
        let mut amtool = Command::new("amtool");
        amtool.args(["alert", "add", "--alertmanager.url", &self.url, "DiskFull", "instance=web1"]);
        amtool.args(["severity=critical", "--annotation=summary=There are 3 MB left"]).args(more);
        assert!(amtool.status().expect("amtool is installed").success());
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A running Prometheus that asks `server` for its figures each second, and tells `alertmanager` when there is little
/// left of a disk; killed when dropped.
struct Prometheus {
    process: Child,
    _folder: Folder,
}

impl Prometheus {
    fn start(server: &Server, alertmanager: &Alertmanager) -> Prometheus {
        let folder = Folder::new("prometheus");
        let alertmanager = alertmanager.url.trim_start_matches("http://");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs: [{{job_name: aloud, static_configs: [{{targets: ['{}']}}]}}]\n\
             alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n",
            server.address()
        );
        let rules = "groups:\n- name: disks\n  rules:\n  - alert: DiskFull\n    expr: aloud_number{key=\"left\"} < 5\n    \
                     labels: {severity: critical}\n    annotations: {summary: 'There are {{ $value }} MB left'}\n";
        std::fs::write(folder.0.join("prometheus.yml"), config).unwrap();
        std::fs::write(folder.0.join("rules.yml"), rules).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.0.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.0.join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.level=error"])
            .spawn()
            .expect("prometheus is installed; else run scripts/install-test-tools.sh");
        Prometheus { process, _folder: folder }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn an_alert_of_a_real_prometheus_about_a_number_of_ours_fires_is_heard_stands_and_is_resolved() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen/ops?as=json");
    let disk = |left: u32| {
        let target = format!("/say?event=number&name=left&value={left}");
        assert_eq!(server.request("POST", &target, &[], b"").status, 200);
    };
    let standing = || -> Vec<Value> {
        serde_json::from_str(&server.curl(&[&server.url("/now/ops?as=json&event=alert")])).unwrap()
    };
    let alertmanager = Alertmanager::start(&server.url("/hook/alertmanager/ops"));
    let _prometheus = Prometheus::start(&server, &alertmanager);
    disk(3);
    let instance = server.address();
    let (firing, resolved) = ("firing (critical): There are 3 MB left", "resolved: There are 3 MB left");
    for (status, says, code) in [("firing", firing, 503), ("resolved", resolved, 200)] {
        let object = heard(&mut listener);
        assert_eq!(object["message"], format!("DiskFull on {instance} is {says}"));
        assert_eq!((&object["event"], &object["status"]), (&json!("alert"), &json!(status)));
        assert_eq!(object["key"], format!("DiskFull instance={instance} job=aloud key=left severity=critical"));
        let things = standing();
        assert_eq!(things.len(), 1, "one thing, whatever becomes of it: {things:?}");
        assert_eq!((&things[0]["key"], &things[0]["status"]), (&object["key"], &json!(status)));
        assert_eq!(server.request("GET", "/status", &[], b"").status, code);
        disk(50);
    }
}

#[test]
fn an_alert_of_a_real_alertmanager_stands_as_bad_until_it_is_resolved() {
    let server = Server::start(&["--hook-secret", "hush"]);
    let mut listener = server.listen("/listen");
    let alertmanager = Alertmanager::start(&server.url("/hook/alertmanager?token=hush"));
    alertmanager.alert(&[]);
    assert_eq!(listener.line().unwrap(), "DiskFull on web1 is firing (critical): There are 3 MB left\r\n");
    let status = server.request("GET", "/status", &[], b"");
    assert!(status.status == 503 && status.body.contains("DiskFull"), "{status:?}");
    let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    alertmanager.alert(&["--end", &now]);
    assert_eq!(listener.line().unwrap(), "DiskFull on web1 is resolved: There are 3 MB left\r\n");
    assert_eq!(server.request("GET", "/status", &[], b"").status, 200);
}

#[test]
fn each_of_several_secrets_is_good_and_no_other_proof() {
    let server = Server::start(&["--hook-secret", "old", "--hook-secret", "new", "--say-token", "say"]);
    let check = |path: &str, header: &str, status: u16| {
        assert_eq!(server.request("POST", path, &[header], b"{}").status, status, "{path} {header}");
    };
    for (secret, status) in [("old", 200), ("new", 200), ("say", 200), ("other", 401)] {
        check("/hook/json", &format!("Authorization: Bearer {secret}"), status);
        check(&format!("/hook/grafana?token={secret}"), "X-A: b", status);
    }
    check("/hook/gitlab", "X-Gitlab-Token: old", 200);
    check("/hook/gitlab", "X-Gitlab-Token: new", 200);
    check("/hook/gitlab", "X-Gitlab-Token: say", 401);
    check("/hook/json", "X-A: b", 401);
    // HMAC-SHA256 of `{}` under `new`, by `openssl dgst -sha256 -hmac new`.
    let signature = "56fde440898b2046eee6f58816ea81c5780d6bd5d34d1ce41b99d54edacbc4b8";
    check("/hook/grafana", &format!("X-Grafana-Alerting-Signature: {signature}"), 200);
    check("/hook/json", &format!("X-Hub-Signature: sha256={signature}"), 200);
    check("/hook/json", &format!("X-Hub-Signature-256: sha256={signature}"), 200);
    check("/hook/alertmanager", &format!("X-Grafana-Alerting-Signature: {signature}"), 401);
    let long = [b"{\"text\":\"", vec![b'x'; 2 << 20].as_slice(), b"\"}"].concat();
    let mut listener = server.listen("/listen");
    for (header, line) in [
        ("X-Hub-Signature-256: sha256=00", None),
        ("Authorization: Bearer new", Some("A delivery to /hook/json could not be read: it is longer than")),
    ] {
        assert_eq!(server.request("POST", "/hook/json", &[header], &long).status, 200);
        server.request("POST", "/say?message=next", &["Authorization: Bearer say"], b"");
        assert!(listener.line().unwrap().starts_with(line.unwrap_or("next")));
    }
}

#[test]
fn one_check_told_in_two_ways_is_said_once_and_in_each_channel() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let read = |file: &str| std::fs::read_to_string(format!("tests/hooks/github.{file}.json")).unwrap();
    let check = read("check_run.completed-failure");
    let status = read("status.failure").replace("ci/circleci: build", "build");
    for (channel, body) in [("a", &check), ("a", &status), ("b", &status), ("b", &check)] {
        post(&server, &format!("/hook/github/{channel}"), &[], body.as_bytes());
    }
    server.say("next");
    let lines: Vec<_> = (0..3).map(|_| listener.line().unwrap()).collect();
    assert!(lines[0].starts_with("group/app: Check build of main by ana has failed in 2 min 3 s"), "{lines:?}");
    assert_eq!(lines[1..], ["group/app: Check build of main by ana has failed\r\n", "next\r\n"]);
}
