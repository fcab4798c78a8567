//! Promise: `/health` says in one word how the server is, and `/metrics` counts what happened, in a format that
//! Prometheus's own parser reads.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Server, wait_until};

#[test]
fn health_is_one_line_of_json() {
    let server = Server::start(&[]);
    let _listeners = [server.listen("/listen"), server.listen("/listen/a")];
    let answer = server.request("GET", "/health", &[], b"");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Type"), Some("application/json"));
    assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    let health: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&health["status"], &health["listeners"]), (&"ok".into(), &2.into()));
    assert!(health["uptime_seconds"].is_u64(), "{health}");
    assert_eq!(health.as_object().unwrap().len(), 3);
}

#[test]
fn health_and_metrics_answer_get_and_head_and_nothing_else() {
    let server = Server::start(&[]);
    for path in ["/health", "/metrics"] {
        let head = server.request("HEAD", path, &[], b"");
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert!(head.header("Content-Length").unwrap().parse::<usize>().unwrap() > 40);
        assert_eq!(server.request("POST", path, &[], b"").header("Allow"), Some("GET, HEAD, OPTIONS"));
        assert_eq!(server.request("OPTIONS", path, &[], b"").status, 204);
        assert_eq!(server.request("GET", &format!("{path}/x"), &[], b"").status, 404);
    }
}

/// Prometheus's parser's view of `/metrics`: each sample's value by its name, with its label's value after a space.
fn metrics(server: &Server) -> HashMap<String, f64> {
    samples(server).into_iter().map(|(_, name, value)| (name, value)).collect()
}

/// The type, name (with its label's value after a space) and value of each sample.
fn samples(server: &Server) -> Vec<(String, String, f64)> {
    let answer = server.request("GET", "/metrics", &[], b"");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers");
    let mut parser = Command::new(folder.join("venv/bin/python"))
        .arg("metrics.py")
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run scripts/install-test-tools.sh");
    parser.stdin.take().unwrap().write_all(answer.body.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "no metrics, or scripts/install-test-tools.sh has to run:\n{}", answer.body);
    let sample = |line: &str| {
        let [_, kind, help, name, labels, value]: [Value; 6] = serde_json::from_str(line).unwrap();
        assert!(help.as_str().is_some_and(|help| help.ends_with('.')), "{name} is explained: {help}");
        let label = labels.as_object().unwrap().values().map(|value| format!(" {}", value.as_str().unwrap()));
        let name = name.as_str().unwrap().to_owned() + &label.collect::<String>();
        (kind.as_str().unwrap().to_owned(), name, value.as_f64().unwrap())
    };
    String::from_utf8(output.stdout).unwrap().lines().map(sample).collect()
}

#[test]
fn metrics_are_what_prometheus_reads() {
    let server = Server::start(&[]);
    let samples = samples(&server);
    let check = |name: &str, kind: &str| {
        let found: Vec<_> = samples.iter().filter(|(_, found, _)| found == name).collect();
        assert_eq!(found.len(), 1, "{name} in {samples:?}");
        assert_eq!(found[0].0, kind, "{name}");
    };
    for gauge in ["listeners", "connections", "threads", "uptime_seconds", "queue_high_water"] {
        check(&format!("aloud_{gauge}"), "gauge");
    }
    check("aloud_history_messages", "gauge");
    check("aloud_history_bytes", "gauge");
    check(&format!("aloud_build_info {}", env!("CARGO_PKG_VERSION")), "gauge");
    check("aloud_messages_total", "counter");
    check("aloud_deliveries_total", "counter");
    for cause in ["queue_full", "stalled", "left", "stopped"] {
        check(&format!("aloud_hang_ups_total {cause}"), "counter");
    }
    for status in [400, 401, 404, 405, 408, 413, 414, 431, 503] {
        check(&format!("aloud_refusals_total {status}"), "counter");
    }
    check("aloud_refusals_total other", "counter");
}

#[test]
fn what_is_said_heard_and_refused_is_counted() {
    let server = Server::start(&["--max-listeners", "2", "--history", "2", "--max-body", "100"]);
    let mut listeners = [server.listen("/listen"), server.listen("/listen/a")];
    assert_eq!(server.say("to one"), 1);
    assert_eq!(server.request("POST", "/say/a", &[], b"to both").status, 200);
    assert_eq!(server.request("POST", "/say/a", &[], b"to both again").status, 200);
    assert_eq!(server.request("GET", "/listen", &["Accept: text/event-stream"], b"").status, 200, "come again later");
    for (method, path, body, status) in [
        ("GET", "/say", "", 400),
        ("GET", "/nothing", "", 404),
        ("GET", "/nothing", "", 404),
        ("DELETE", "/say", "", 405),
        ("POST", "/say", &"x".repeat(101), 413),
        ("GET", &format!("/say?message={}", "x".repeat(9000)), "", 414),
        ("GET", "/listen", "", 503),
    ] {
        assert_eq!(server.request(method, path, &[], body.as_bytes()).status, status, "{method} {path}");
    }
    assert_eq!(listeners[0].lines(3).concat(), "to one\r\nto both\r\nto both again\r\n");
    let counted = metrics(&server);
    let check = |name: &str, expected: f64| assert_eq!(counted.get(name), Some(&expected), "{name}");
    check("aloud_listeners", 2.0);
    check("aloud_messages_total", 3.0);
    check("aloud_deliveries_total", 5.0);
    check("aloud_history_messages", 2.0);
    assert!(counted["aloud_history_bytes"] > 100.0);
    assert!((1.0..=3.0).contains(&counted["aloud_queue_high_water"]));
    for (status, times) in [(400, 1.0), (404, 2.0), (405, 1.0), (413, 1.0), (414, 1.0), (503, 2.0), (401, 0.0)] {
        check(&format!("aloud_refusals_total {status}"), times);
    }
    drop(listeners);
    wait_until("those who left are counted", || {
        // A connection that has gone is noticed at the latest when something is sent on it.
        server.request("POST", "/say/a", &[], b"anybody?");
        metrics(&server)["aloud_hang_ups_total left"] == 2.0
    });
    assert_eq!(metrics(&server)["aloud_listeners"], 0.0);
}

#[test]
fn a_listener_that_is_hung_up_on_is_counted_with_the_fullest_queue() {
    let server = Server::start(&["--queue", "20"]);
    let sleeper = server.listen("/listen");
    let text = "x".repeat(60_000);
    wait_until("its queue is full", || server.say(&text) == 0);
    wait_until("it is counted", || metrics(&server)["aloud_hang_ups_total queue_full"] == 1.0);
    assert_eq!(metrics(&server)["aloud_queue_high_water"], 20.0);
    drop(sleeper);
}
