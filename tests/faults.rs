//! Promise: whoever is slow, silent, gone or too many hurts nobody else, is said once in the log, and leaves nothing
//! behind; when descriptors or threads run out, the server goes on and serves newcomers as soon as some leave.

use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::time::Duration;

use crate::support::{Answer, Server, wait_until, wait_until_within};

/// The contract's limit for getting rid of a listener that does not take its messages.
const GONE_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn a_listener_that_never_reads_is_hung_up_on_and_nobody_else_notices() {
    let server = Server::start(&[]);
    let mut other = server.listen("/listen");
    wait_until("both waiting threads are there", || server.threads() >= 6);
    server.warm_up();
    let (threads, descriptors) = (server.threads(), server.descriptors());
    let sleeper = server.listen("/listen");
    let text = "x".repeat(60_000);
    let mut said = 0;
    while server.say(&text) == 2 {
        assert_eq!(other.line().unwrap().len(), text.len() + 2, "the other hears each at once");
        said += 1;
        assert!(said < 5000, "its queue is never full");
    }
    assert_eq!(other.line().unwrap().len(), text.len() + 2, "also the one with which it was hung up on");
    assert!(said >= 256, "it is not hung up on before 256 messages wait: {said}");
    // Sooner than by the 12 s after which any socket that takes nothing is given up.
    wait_until_within(Duration::from_secs(8), "it is hung up on and its thread and descriptors are gone", || {
        server.log().contains(": 256 messages waited for it")
            && server.threads() <= threads + 2
            && server.descriptors() <= descriptors
    });
    assert_eq!(server.log().matches("hung up on").count(), 1, "one log line");
    drop(sleeper);
}

/// Has the kernel drop every packet that comes for the listener, as if its machine had vanished: no FIN, no ACK.
fn vanish(listener: &crate::support::Listener) {
    let drop_everything = socket2::SockFilter::new(0x06, 0, 0, 0); // BPF_RET | BPF_K: keep 0 bytes
    socket2::SockRef::from(listener.connection()).attach_filter(&[drop_everything]).unwrap();
}

#[test]
fn a_listener_whose_machine_vanished_is_missed() {
    let server = Server::start(&[]);
    let mut other = server.listen("/listen");
    server.warm_up();
    let descriptors = server.descriptors();
    let ghost = server.listen("/listen");
    vanish(&ghost);
    wait_until_within(GONE_WITHIN, "the vanished listener is missed", || {
        server.say("x");
        assert_eq!(other.line().unwrap(), "x\r\n");
        std::thread::sleep(Duration::from_millis(100)); // ten messages a second; its queue is not what ends it
        server.descriptors() <= descriptors
    });
    server.wait_for_log("it took nothing for 12 s");
    assert_eq!(server.log().matches("hung up on").count(), 1, "one log line");
    drop(ghost);
}

#[test]
fn a_stalled_listener_that_reads_again_has_missed_nothing() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let text = "x".repeat(50_000);
    // More than the kernel's buffers take, less than the queue holds.
    (0..200).for_each(|number| assert_eq!(server.say(&format!("{number} {text}")), 1));
    for number in 0..200 {
        assert!(listener.line().unwrap().starts_with(&format!("{number} ")));
    }
}

/// `aloud` under a shell's resource limits. (bash: `ulimit -u` is no part of POSIX.)
fn limited(limits: &str) -> Server {
    let mut command = Command::new("bash");
    let binary = env!("CARGO_BIN_EXE_aloud");
    command.args(["-c", &format!("{limits} && exec {binary} --bind 127.0.0.1:0")]);
    Server::start_command(command)
}

/// A hundred clients come at once; those who are let in listen, the rest waits, is turned away, or is closed because it
/// was silent while others came. Then they leave, and others get their places.
fn outlast_a_crowd(server: &Server) {
    let mut crowd: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &mut crowd {
        // One that was reset may try again; it is the server that is tested.
        let _ = client.write_all(b"GET /listen HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    }
    let answered = crowd.into_iter().find_map(|client| {
        let mut client = BufReader::new(client);
        client.fill_buf().is_ok_and(|bytes| !bytes.is_empty()).then(|| Answer::read_head(&mut client).status)
    });
    assert!([Some(200), Some(503)].contains(&answered), "somebody is let in or turned away: {answered:?}");
    wait_until("newcomers speak and listen", || {
        // The server may not have noticed yet that the crowd has left.
        let is_said = |text: &[u8]| server.request("POST", "/say", &[], text).status == 200;
        let Ok(mut listener) = server.try_listen("/listen", &[]) else { return false };
        is_said(b"heard") && listener.line().unwrap() == "heard\r\n"
    });
}

#[test]
fn when_descriptors_run_out_the_server_goes_on() {
    let server = limited("ulimit -n 64");
    outlast_a_crowd(&server);
    assert!(server.descriptors() <= 64);
}

#[test]
fn when_threads_run_out_the_server_goes_on() {
    // The limit on processes does not bind root, so root's server runs as nobody, from a place nobody may read.
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    if !is_root {
        let own = Command::new("sh").args(["-c", "ps -L -u $(id -u) --no-headers | wc -l"]).output().unwrap().stdout;
        let own: usize = String::from_utf8(own).unwrap().trim().parse().unwrap();
        return outlast_a_crowd(&limited(&format!("ulimit -u {}", own + 12)));
    }
    let copy = std::env::temp_dir().join(format!("aloud-test-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_aloud"), &copy).unwrap();
    let mut command = Command::new("bash");
    let as_nobody = "exec setpriv --reuid=65534 --regid=65534 --clear-groups";
    command.args(["-c", &format!("ulimit -u 12 && {as_nobody} {} --bind 127.0.0.1:0", copy.display())]);
    let server = Server::start_command(command);
    let ask = |accept: &str| server.try_listen("/listen", &[&format!("Accept: {accept}")]);
    let (mut listeners, mut told) = (vec![], vec![]);
    for accept in ["text/event-stream", "application/json"] {
        told.push(std::iter::repeat_with(|| ask(accept)).find_map(|asked| asked.map(|one| listeners.push(one)).err()));
    }
    let [event_source, json] = [0, 1].map(|place| told[place].as_ref().unwrap());
    assert!(event_source.body.starts_with(": no thread is left; try again in a moment\nretry: "), "{event_source:?}");
    assert_eq!((event_source.status, json.status), (200, 503));
    assert_eq!(json.body, "{\"error\":\"no thread is left; try again in a moment\"}\n");
    drop(listeners);
    outlast_a_crowd(&server);
    server.wait_for_log("cannot start a thread"); // the limit was hit
    drop(server);
    std::fs::remove_file(copy).unwrap();
}

#[test]
fn json_nested_as_deep_as_it_is_read_and_deeper_overflows_no_stack() {
    let server = Server::start(&[]);
    let nested = |levels: usize| {
        let objects = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        let arrays = format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        [objects, arrays]
    };
    for body in [127, 128, 10_000].into_iter().flat_map(nested) {
        let json = ["Content-Type: application/json", "X-Gitlab-Event: Pipeline Hook"];
        assert_eq!(server.request("POST", "/say", &json, body.as_bytes()).status, 400);
        // A delivery that says nothing to us is none of the forge's faults; a long one gets a thread of its own.
        for padding in [0, 200_000] {
            let body = body.clone() + &" ".repeat(padding);
            server.request("POST", "/hook/gitlab", &json, body.as_bytes());
        }
    }
    assert_eq!(server.request("GET", "/health", &[], b"").status, 200);
}
