//! Promise: no address takes the room of all others. It holds half of all connections at most, also where there are
//! few and also on this machine, whatever it does with them. Behind a proxy that is trusted, the client counts that the
//! proxy names.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};

use crate::siege::{limited, metric};
use crate::support::{Answer, Folder, PATIENCE, Server, wait_until};

/// More connections than a server gets that may open 1024 descriptors.
const MANY: usize = 1000;

/// How long the attack goes on once it is at its height.
const HEIGHT: Duration = Duration::from_secs(1);

/// Connects from `address` to the server. The kernel holds little for the client, and no call waits once it is
/// connected.
pub fn connect_from(address: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
    socket.connect(&to.into()).ok()?;
    socket.set_nonblocking(true).unwrap();
    Some(socket.into())
}

/// Has as many connections from 127.0.0.2 as it gets, each of which has sent `start` and reads nothing. Renews each
/// that the server closes.
fn attack(server: SocketAddr, start: &[u8], over: &AtomicBool) {
    let renew = || {
        let mut connection = connect_from([127, 0, 0, 2].into(), server)?;
        let _ = connection.write(start); // as much as goes at once
        Some(connection)
    };
    let mut connections: Vec<TcpStream> = vec![];
    while !over.load(Ordering::Relaxed) {
        let is_missing = MANY - connections.len();
        connections.extend((0..is_missing.min(100)).filter_map(|_| renew()));
        let mut ended: Vec<_> = connections
            .iter()
            .map(|connection| PollFd::from_borrowed_fd(connection.as_fd(), PollFlags::RDHUP))
            .collect();
        poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 })).unwrap();
        let mut still_open = ended.iter().map(|end| end.revents().is_empty()).collect::<Vec<_>>().into_iter();
        connections.retain(|_| still_open.next().unwrap());
    }
}

/// The longest that somebody from 127.0.0.1 waited who asked, said, or listened and heard.
fn longest_wait(server: &Server) -> Duration {
    let (begin, mut longest) = (Instant::now(), Duration::ZERO);
    let mut number = 0;
    while begin.elapsed() < HEIGHT {
        let mut watch = Instant::now();
        let mut lap = || {
            longest = longest.max(watch.elapsed());
            watch = Instant::now();
        };
        assert_eq!(server.request("GET", "/health", &[], b"").status, 200);
        lap();
        let mut listener = server.listen("/listen/us");
        lap();
        let text = format!("word {number}");
        let answer = server.request("POST", "/say/us", &[], text.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        lap();
        assert_eq!(listener.line().unwrap(), text + "\r\n");
        lap();
        number += 1;
    }
    longest
}

#[test]
fn one_address_that_takes_all_it_can_get_keeps_no_other_from_anything() {
    aloud::net::descriptors::raise_descriptor_limit(); // of this process: both ends of the attack are long
    let body =
        [b"POST /hook/gitlab HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n".to_vec(), vec![b'x'; 450_000]];
    for (what, start) in [
        ("idle", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("half a head", b"GET /say?message=x HTTP/1.1\r\nHost: ".to_vec()),
        ("half a body", body.concat()),
        ("an unread /said", b"GET /said HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a listener that does not read", b"GET /listen?since=all HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ] {
        let server = limited("ulimit -n 1024", "");
        // More than the kernel takes of an answer that nobody reads.
        (0..50).for_each(|_| _ = server.say(&"x".repeat(10_000)));
        let over = AtomicBool::new(false);
        let longest = std::thread::scope(|scope| {
            scope.spawn(|| attack(server.address(), &start, &over));
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                wait_until("the attack is at its height", || metric(&server, "aloud_connections") > 450);
                longest_wait(&server)
            }));
            over.store(true, Ordering::Relaxed);
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        println!("{what}: waited {longest:.1?} at the longest");
        // 1 s is the promise; a slow machine with other tests on it takes longer.
        assert!(longest < Duration::from_secs(5), "{what}: {longest:?}");
    }
}

#[test]
fn the_address_that_holds_most_makes_room_for_newcomers() {
    let server = limited("ulimit -n 200", "");
    let mut modest: Vec<_> = (0..5).map(|_| server.connect()).collect(); // silent for longer than all others
    wait_until("they are in", || metric(&server, "aloud_connections") >= 6);
    let _greedy: Vec<_> = [2, 3]
        .repeat(150)
        .into_iter()
        .filter_map(|last| connect_from([127, 0, 0, last].into(), server.address()))
        .collect();
    server.wait_for_log("silent connections to make room for newcomers");
    for connection in &mut modest {
        write!(connection, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut BufReader::new(connection), false).status, 200);
    }
}

/// The header by which a proxy names `client`.
fn of(client: &str) -> String {
    format!("X-Forwarded-For: {client}")
}

#[test]
fn behind_a_trusted_proxy_each_client_has_its_own_share_and_its_name_in_the_log() {
    let server =
        Server::start(&["--trust-proxy", "127.0.0.1,192.0.2.0/24", "--max-per-address", "3", "--log", "debug"]);
    let listen = |header: &str| server.try_listen("/listen", &[header]);
    let mut listeners: Vec<_> = (0..3).map(|_| listen(&of("203.0.113.7, 192.0.2.1")).unwrap()).collect();
    for spoofed in ["203.0.113.7", "203.0.113.8, 203.0.113.7", "nonsense,203.0.113.7:4711, 192.0.2.9"] {
        let refused = listen(&of(spoofed)).err().expect("it is the fourth");
        let line = "aloud: 3 connections come from your address, as many as may; close some\n";
        assert_eq!((refused.status, refused.body.as_str()), (503, line));
        assert_eq!((refused.header("Retry-After"), refused.header("Connection")), (Some("5"), Some("close")));
    }
    let others: Vec<_> = (1..50)
        .map(|number| listen(&format!("Forwarded: for=\"[2001:db8:{number}::1]:80\";proto=https")).unwrap())
        .collect();
    assert_eq!(server.request("GET", "/health", &[&of("203.0.113.8")], b"").status, 200);
    for line in [
        "turned 203.0.113.7 away: 3 connections come from there, as many as may\n",
        "] 203.0.113.7 listens\n",
        "] 2001:db8:9::1 listens\n",
        "] 203.0.113.8 asks \"GET\" \"/health\"\n",
    ] {
        server.wait_for_log(line);
    }
    drop((others, listeners.pop()));
    wait_until("there is room again", || listen(&of("203.0.113.7")).is_ok());
}

#[test]
fn a_connection_counts_for_the_client_whose_request_was_the_last_on_it() {
    let server = Server::start(&["--trust-proxy", "127.0.0.1", "--max-per-address", "2"]);
    let mut connection = server.connect();
    let mut answers = BufReader::new(connection.try_clone().unwrap());
    let mut ask = |header: &str| {
        write!(connection, "GET /health HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n").unwrap();
        assert_eq!(Answer::read(&mut answers, false).status, 200, "{header}");
    };
    for number in 1..100 {
        ask(&of(&format!("203.0.113.{number}")));
    }
    let listen = |client: &str| server.try_listen("/listen", &[&of(client)]);
    let _first = [listen("203.0.113.1").unwrap(), listen("203.0.113.1").unwrap()];
    let _last = listen("203.0.113.99").unwrap();
    ask(&of("203.0.113.99")); // these are two
    assert!(listen("203.0.113.1").is_err());
    // Its silent connection makes room for a newcomer, as for everybody, once the thread that has answered lets go of it.
    let mut newcomer = None;
    wait_until("there is room", || {
        newcomer = listen("203.0.113.99").ok();
        newcomer.is_some()
    });
    assert!(listen("203.0.113.99").is_err());
}

#[test]
fn a_request_that_names_nobody_counts_for_the_proxy_and_others_are_not_believed() {
    let server = Server::start(&["--trust-proxy", "127.0.0.1", "--max-per-address", "2", "--log", "debug"]);
    let both = "Forwarded: for=203.0.113.1\r\nX-Forwarded-For: 203.0.113.2";
    let _two = [server.try_listen("/listen", &[]).unwrap(), server.try_listen("/listen", &[both]).unwrap()];
    for header in ["X-Forwarded-For: unknown", "Forwarded: for=\"", both] {
        assert_eq!(server.try_listen("/listen", &[header]).err().expect("it is the third").status, 503, "{header}");
    }
    server.wait_for_log("turned 127.0.0.1 away");
    assert!(server.try_listen("/listen", &[&of("203.0.113.1")]).is_ok());
    let mut stranger = connect_from([127, 0, 0, 2].into(), server.address()).unwrap();
    stranger.set_nonblocking(false).unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stranger, "GET /health HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", of("203.0.113.9")).unwrap();
    assert_eq!(Answer::read(&mut BufReader::new(stranger), false).status, 200);
    let log = server.wait_for_log("\"/health\"");
    assert!(log.contains("] 127.0.0.2:") && !log.contains("203.0.113.9"), "{log}");
}

#[test]
fn a_proxy_at_the_socket_file_is_believed_where_it_is_trusted() {
    let folder = Folder::new("share");
    let path = folder.0.join("socket");
    for (flags, second) in [("", 200), ("--trust-proxy unix", 503)] {
        let server = limited("true", &format!("--bind unix:{} --max-per-address 1 {flags}", path.display()));
        let ask = |target: &str| {
            let mut connection = UnixStream::connect(&path).unwrap();
            connection.set_read_timeout(Some(PATIENCE)).unwrap();
            write!(connection, "GET {target} HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n", of("203.0.113.7")).unwrap();
            let mut reader = BufReader::new(connection);
            (Answer::read_head(&mut reader).status, reader)
        };
        let first = ask("/listen");
        assert_eq!((first.0, ask("/health").0), (200, second), "{flags}");
        drop((first, server));
    }
}
