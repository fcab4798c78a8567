//! Promise: everyone hears every message, once, in the order of ids, however many come at once and however fast it is
//! said; and who comes and goes leaves nothing behind.

use std::collections::HashSet;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Answer, Server, wait_until};

fn say_on(connection: &mut BufReader<TcpStream>, text: &str) -> Answer {
    let length = text.len();
    let request = format!("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{text}");
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    Answer::read(connection, false)
}

#[test]
fn a_thousand_who_join_in_one_burst_all_hear_the_next_message_twenty_times_over() {
    let server = Server::start(&[]);
    for round in 0..20 {
        let mut burst: Vec<_> = (0..1000).map(|_| server.connect()).collect();
        for connection in &mut burst {
            connection.write_all(b"GET /listen HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        }
        let mut listeners: Vec<_> = burst.into_iter().map(BufReader::new).collect();
        for listener in &mut listeners {
            assert_eq!(Answer::read_head(listener).status, 200);
        }
        let text = format!("round {round}");
        assert!(server.say(&text) >= 1000, "all have joined; some of the last round may not have been missed yet");
        for listener in &mut listeners {
            let mut heard = vec![0; "9\r\nround x\r\n\r\n".len() + text.len() - "round x".len()];
            std::io::Read::read_exact(listener, &mut heard).expect("everyone hears it");
            assert!(String::from_utf8(heard).unwrap().ends_with(&format!("{text}\r\n\r\n")));
        }
    }
}

#[test]
fn ten_speakers_at_full_speed_are_heard_whole_and_in_order_by_fifty_listeners() {
    // A reader that a busy machine keeps from running is not to be taken for a slow one.
    let server = Server::start(&["--queue", "100000"]);
    let over = AtomicBool::new(false);
    let (heard, said) = std::thread::scope(|scope| {
        let listeners: Vec<_> = (0..50)
            .map(|_| {
                let mut listener = server.listen("/listen?as=json");
                scope.spawn(move || {
                    let mut ids = vec![];
                    loop {
                        let line = listener.line().expect("the stream goes on");
                        if line.contains("\"message\":\"the end\"") {
                            return ids;
                        }
                        ids.push(line.split('"').nth(3).unwrap().parse::<u64>().unwrap());
                    }
                })
            })
            .collect();
        let speakers: Vec<_> = (0..10)
            .map(|speaker| {
                let (server, over) = (&server, &over);
                scope.spawn(move || {
                    let mut connection = BufReader::new(server.connect());
                    let mut ids = vec![];
                    while !over.load(Ordering::Relaxed) {
                        let answer = say_on(&mut connection, &format!("{speaker}"));
                        assert_eq!(answer.header("Aloud-Listeners"), Some("50"), "nobody is hung up on");
                        ids.push(answer.header("Aloud-Id").unwrap().parse::<u64>().unwrap());
                    }
                    ids
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(10)); // the length of the test, not a wait for something
        over.store(true, Ordering::Relaxed);
        let mut said: Vec<u64> = speakers.into_iter().flat_map(|speaker| speaker.join().unwrap()).collect();
        said.sort_unstable();
        server.say("the end");
        (listeners.into_iter().map(|listener| listener.join().unwrap()).collect::<Vec<_>>(), said)
    });
    assert!(said.len() > 100, "they did say something: {}", said.len());
    for (number, ids) in heard.iter().enumerate() {
        assert_eq!(ids.len(), said.len(), "listener {number} heard all, once");
        assert!(*ids == said, "listener {number} heard in the order of ids");
    }
}

#[test]
fn ten_thousand_joins_and_leaves_leave_nothing_behind() {
    let server = Server::start(&[]);
    let come_and_go = |times: usize| {
        let mut speaker = BufReader::new(server.connect());
        for _ in 0..times {
            let mut listener = server.listen("/listen");
            assert_eq!(say_on(&mut speaker, "x").status, 200);
            assert_eq!(listener.line().unwrap(), "x\r\n");
        }
        wait_until("all have been missed", || server.say("anybody?") == 0);
    };
    // At rest: those who wait, the keeper, main, the ones for signals and for the log.
    let cores = std::thread::available_parallelism().unwrap().get();
    let at_rest = || server.threads() <= 2 * cores + 4;
    come_and_go(1000);
    wait_until("the threads have ended", at_rest);
    let descriptors = server.descriptors();
    // The number of threads that live at once depends on what else the machine does, and with it the number of stacks that
    // are kept for the next ones. A leak would show each time.
    let grown = std::iter::repeat_with(|| {
        let memory = server.memory();
        come_and_go(5000);
        wait_until("the threads have ended", at_rest);
        wait_until("the descriptors are closed", || server.descriptors() <= descriptors);
        server.memory().saturating_sub(memory)
    });
    assert!(grown.take(4).any(|grown| grown < 1 << 19), "memory grew by half a megabyte each time");
}

#[test]
fn ids_are_unique_and_increase_for_each_speaker() {
    let server = Server::start(&[]);
    let ids: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let speakers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = BufReader::new(server.connect());
                    let ids = (0..500).map(|_| say_on(&mut connection, "x"));
                    ids.map(|answer| answer.header("Aloud-Id").unwrap().parse().unwrap()).collect()
                })
            })
            .collect();
        speakers.into_iter().map(|speaker| speaker.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|ids| ids.is_sorted()));
    assert_eq!(ids.iter().flatten().collect::<HashSet<_>>().len(), 2000);
}

/// For a client that speaks in lockstep, the server polls for a moment without sleeping.
#[test]
fn a_server_sleeps_when_nothing_is_said() {
    let server = Server::start(&[]);
    let mut connection = BufReader::new(server.connect());
    (0..500).for_each(|_| assert_eq!(say_on(&mut connection, "x").status, 200));
    let before = server.processor_time();
    std::thread::sleep(Duration::from_secs(1));
    let taken = server.processor_time() - before;
    assert!(taken < 30, "it took {taken} hundredths of a second"); // a thread that never sleeps takes a hundred
}
