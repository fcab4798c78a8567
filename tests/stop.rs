//! Promise: SIGINT and SIGTERM deliver what was accepted, end every stream properly and exit 0 within 5 s; a second
//! signal ends the process at once.

use std::io::{BufReader, Read, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Answer, Folder, Server, wait_until};

#[test]
fn a_stop_amid_messages_delivers_what_was_accepted_to_a_hundred_curls() {
    check_stop(&[], 100, 500);
    (1..stops()).for_each(|_| check_stop(&[], 10, 100));
}

#[test]
fn a_stop_with_a_store_delivers_what_was_accepted_too() {
    let folder = Folder::new("stop");
    let store = folder.0.join("store");
    (0..stops()).for_each(|_| check_stop(&["--store", store.to_str().unwrap()], 10, 100));
}

/// How often the server is stopped in each test; `ALOUD_TEST_STOPS` says otherwise.
pub fn stops() -> usize {
    std::env::var("ALOUD_TEST_STOPS").map_or(10, |text| text.parse().unwrap())
}

/// Stops a server with `flags` to which so many curls listen, after so many messages were said and while more are.
pub fn check_stop(flags: &[&str], listeners: usize, messages: usize) {
    let mut server = Server::start(flags);
    let curls: Vec<_> = (0..listeners)
        .map(|_| server.curl_command(&["-N", "/listen?as=json"]).stdout(Stdio::piped()).spawn().unwrap())
        .collect();
    let readers: Vec<_> =
        curls.into_iter().map(|curl| std::thread::spawn(move || curl.wait_with_output().unwrap())).collect();
    wait_until("all curls listen", || server.say("are you there?") == listeners);

    let (address, enough) = (server.address(), std::sync::atomic::AtomicUsize::new(0));
    let said: Vec<u64> = std::thread::scope(|scope| {
        let speakers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let Ok(connection) = std::net::TcpStream::connect(address) else { return vec![] };
                    let mut connection = BufReader::new(connection);
                    let mut ids = vec![];
                    while let Some(id) = say_until_stopped(&mut connection) {
                        ids.push(id);
                        enough.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    ids
                })
            })
            .collect();
        wait_until("messages are in flight", || enough.load(std::sync::atomic::Ordering::Relaxed) > messages);
        server.signal("TERM");
        speakers.into_iter().flat_map(|speaker| speaker.join().unwrap()).collect()
    });
    assert_eq!(server.wait().code(), Some(0));
    for reader in readers {
        let output = reader.join().unwrap();
        assert_eq!(output.status.code(), Some(0), "curl saw a proper end");
        let heard = String::from_utf8(output.stdout).unwrap();
        let ids: std::collections::HashSet<u64> =
            heard.lines().map(|line| line.split('"').nth(3).unwrap().parse().unwrap()).collect();
        assert!(said.iter().all(|id| ids.contains(id)), "everything that was answered ok. was heard");
        assert_eq!(ids.len(), heard.lines().count(), "once");
    }
}

/// Says something; its id if it was accepted, `None` once the server refuses or has closed the connection.
fn say_until_stopped(connection: &mut BufReader<std::net::TcpStream>) -> Option<u64> {
    connection.get_mut().write_all(b"GET /say?message=x HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut byte = [0];
    if connection.get_ref().peek(&mut byte).unwrap_or(0) == 0 && connection.buffer().is_empty() {
        return None;
    }
    let answer = Answer::read(connection, false);
    (answer.status == 200).then(|| answer.header("Aloud-Id").unwrap().parse().unwrap())
}

#[test]
fn idle_and_half_said_connections_do_not_hold_up_the_end() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(&["--log", "debug"]);
        let mut idle = server.connect();
        idle.write_all(b"GET /say?message=x HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut BufReader::new(&idle), false).status, 200);
        let mut half_said = server.connect();
        half_said.write_all(b"POST /say HTTP/1.1\r\nHost: x\r\nContent-Le").unwrap();
        let silent = server.connect();
        let started = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(5), "nobody had to be waited for");
        let mut rest = vec![];
        idle.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"", "an idle connection is closed without a word");
        drop((half_said, silent));
    }
}

#[test]
fn a_listener_that_does_not_read_holds_up_the_end_for_five_seconds_at_most() {
    let mut server = Server::start(&[]);
    let _sleeper = server.listen("/listen");
    let text = "x".repeat(60_000);
    (0..150).for_each(|_| assert_eq!(server.say(&text), 1));
    let started = Instant::now();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(started.elapsed() >= Duration::from_secs(4), "it was given time to take what was queued");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut server = Server::start(&[]);
    let _sleeper = server.listen("/listen");
    let text = "x".repeat(60_000);
    (0..150).for_each(|_| assert_eq!(server.say(&text), 1));
    server.signal("INT");
    server.wait_for_log("Stopping");
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(130));
}

#[test]
fn a_signal_during_the_start_ends_it_as_any_other() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap(); // a Redis that does not answer
    let url = format!("redis://{}", mute.local_addr().unwrap());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_aloud"));
    let mut starting = command.args(["--bind", "127.0.0.1:0", "--redis", &url]).spawn().unwrap();
    let _asked = mute.accept().unwrap();
    let kill = format!("kill -TERM {}", starting.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert_eq!(starting.wait().unwrap().code(), Some(0));
}
