//! Promise: what the machine refuses, or what others have arranged for it, is respected and said: a signal that was
//! ignored stays ignored, a limit on memory or on a file's size is an answer, and a server that cannot start says why
//! in one line.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Listener, Server, wait_until, wait_until_within};

/// `aloud` after what a shell does first. (bash: `ulimit -u` is no part of POSIX.)
fn after(shell: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", &format!("{shell} && exec \"$@\""), "bash", env!("CARGO_BIN_EXE_aloud")]);
    command.args(["--bind", "127.0.0.1:0"]).args(arguments).stdin(Stdio::null());
    command
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let mut server = Server::start_command(after("trap '' HUP INT", &[]));
    let mut listener = server.listen("/listen");
    for signal in ["HUP", "INT", "HUP", "INT"] {
        server.signal(signal);
        assert_eq!(server.say(signal), 1);
        assert_eq!(listener.line().unwrap(), format!("{signal}\r\n"));
    }
    assert!(!server.log().contains("Stopping"));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(listener.line(), None, "its stream has ended properly");

    let mut server = Server::start_command(after("trap '' INT", &[]));
    server.signal("HUP");
    assert_eq!(server.wait().code(), Some(0), "another one is heard as ever");
}

#[test]
fn a_listener_has_one_stack_and_its_overflow_ends_the_process() {
    const LISTENERS: usize = 50;
    let mut server = Server::start(&[]);
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", server.pid())).unwrap();
    let mappings = || read("maps").lines().count();
    let before = mappings();
    let listeners: Vec<_> = (0..LISTENERS).map(|_| server.listen("/listen")).collect();
    let each = (mappings() - before) as f64 / LISTENERS as f64;
    assert!(each < 3.0, "its stack and the page that guards it, but {each} mappings");
    drop(listeners);
    server.signal("SEGV");
    assert_eq!(server.wait().signal(), Some(11));
}

#[test]
#[cfg(feature = "store")]
fn a_store_that_may_not_grow_refuses_what_is_said_with_507() {
    let file = std::env::temp_dir().join(format!("aloud-limited-{}", std::process::id()));
    let server = Server::start_command(after("ulimit -f 6000", &["--store", file.to_str().unwrap()]));
    let say = || server.request("POST", "/say", &[], "x".repeat(50_000).as_bytes());
    wait_until("the file is as large as it may be", || match say() {
        answer if answer.status == 507 => true,
        answer => {
            assert_eq!(answer.status, 200, "{answer:?}");
            false
        }
    });
    assert_eq!(server.request("GET", "/said?last=1", &[], b"").status, 200);
    drop(server);
    std::fs::remove_file(file).unwrap();
}

/// Listens until there is no memory for one more, and then all goes on.
fn refuses_listeners_in_time(server: &Server) -> Vec<Listener> {
    let mut listeners = vec![];
    let refused = loop {
        match server.try_listen("/listen", &[]) {
            Ok(listener) => listeners.push(listener),
            Err(answer) => break answer,
        }
        assert!(listeners.len() < 2000, "no listener is one too many");
    };
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(listeners.len() > 10, "some are let in: {}", listeners.len());
    assert_eq!(server.request("GET", "/health", &[], b"").status, 200);
    assert_eq!(server.say("to all"), listeners.len());
    listeners.iter_mut().for_each(|listener| assert_eq!(listener.line().unwrap(), "to all\r\n"));
    listeners
}

#[test]
fn a_limit_on_data_turns_listeners_away_before_it_is_reached() {
    let server = Server::start_command(after("ulimit -d 60000", &[]));
    let mut listeners = refuses_listeners_in_time(&server);
    // There is still room to keep messages.
    let text = "x".repeat(50_000);
    for _ in 0..60 {
        assert_eq!(server.say(&text), listeners.len());
        listeners.iter_mut().for_each(|listener| assert_eq!(listener.line().unwrap().len(), text.len() + 2));
    }
    assert_eq!(server.request("GET", "/health", &[], b"").status, 200);
}

/// Removes the control group when the server in it is gone.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        wait_until("the control group is empty", || std::fs::remove_dir(&self.0).is_ok());
    }
}

/// If a group cannot be made, as by anybody but root, only a unit test of `os/limits.rs` tries its files.
#[test]
fn a_control_groups_limit_turns_listeners_away_before_it_is_reached() {
    let Some((_group, server)) = in_a_group(16 << 20) else { return };
    refuses_listeners_in_time(&server);
}

/// A control group that may hold so many bytes, and a server in it, which is to be dropped first: bind the group first.
fn in_a_group(bytes: usize) -> Option<(Group, Server)> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let of_two = std::fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap_or_default();
    let (root, limit) = match of_two.contains("memory") {
        true => ("/sys/fs/cgroup", "memory.max"),
        false => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
    };
    let name = format!("aloud-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let group = Group(PathBuf::from(root).join(name));
    if std::fs::create_dir(&group.0).is_err() {
        std::mem::forget(group);
        return None;
    }
    let folder = group.0.display();
    let shell = format!("echo {bytes} >{folder}/{limit} && echo $$ >{folder}/cgroup.procs");
    Some((group, Server::start_command(after(&shell, &[]))))
}

/// A crowd that comes back, all at once and ten times in a row, each asking for everything that is kept. Nobody reads
/// until all are there. Each is told something, or to come again, and every tenth of them reads all of it.
fn outlasts_a_crowd_that_comes_back(bytes: usize, crowd: usize) {
    let Some((_group, server)) = in_a_group(bytes) else { return };
    let text = "x".repeat(8000);
    for number in 0..1100 {
        server.say(&format!("{number} {text}"));
    }
    let newest = server.request("POST", "/say", &[], b"the newest").header("Aloud-Id").unwrap().to_owned();
    for round in 0..10 {
        let mut waiting: Vec<_> = (0..crowd).collect();
        wait_until_within(Duration::from_secs(120), "everybody is served", || {
            let came: Vec<_> =
                waiting.iter().map(|who| (*who, server.try_listen("/listen?since=all&as=json", &[]))).collect();
            waiting.clear();
            for (who, listener) in came {
                let Ok(mut listener) = listener else {
                    waiting.push(who);
                    continue;
                };
                let first = listener.line().unwrap();
                assert!(first.contains("\"message\""), "something is told: {first:.100}");
                while who % 10 == 0 && !listener.line().unwrap().contains(&newest) {}
            }
            waiting.is_empty()
        });
        assert_eq!(server.request("GET", "/health", &[], b"").status, 200, "after round {round}");
    }
}

#[test]
fn five_hundred_who_come_back_at_once_do_not_fill_64_mebibytes() {
    outlasts_a_crowd_that_comes_back(64 << 20, 500);
}

#[test]
fn fifty_who_come_back_at_once_do_not_fill_16_mebibytes() {
    outlasts_a_crowd_that_comes_back(16 << 20, 50);
}

#[test]
fn a_server_that_may_have_no_thread_says_so_in_one_line() {
    // The limit does not bind root, so root's server runs as somebody who has no other process.
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let copy = std::env::temp_dir().join(format!("aloud-alone-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_aloud"), &copy).unwrap();
    for threads in 1..=if is_root { 4 } else { 1 } {
        let user = if is_root { "setpriv --reuid=54321 --regid=54321 --clear-groups" } else { "" };
        let mut command = Command::new("bash");
        command.args(["-c", &format!("ulimit -u {threads} && exec {user} {} --bind 127.0.0.1:0", copy.display())]);
        let Output { status, stderr, .. } = command.output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!((status.code(), said.lines().count()), (Some(1), 1), "{threads}: {said}");
        assert!(said.starts_with("aloud: cannot start ") && said.contains("ulimit -u"), "{said}");
    }
    std::fs::remove_file(copy).unwrap();
}

#[test]
fn a_port_that_another_program_has_for_ipv6_is_served_for_ipv4_and_the_log_says_so() {
    let other = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    other.set_only_v6(true).unwrap();
    other.bind(&"[::]:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    other.listen(1).unwrap();
    let port = other.local_addr().unwrap().as_socket().unwrap().port();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", &format!(":{port}")]).stdin(Stdio::null());
    let server = Server::start_command(command);
    let log = server.wait_for_log("Running at ");
    let warning = format!("[WARN] Serving IPv4 alone: another program listens at [::]:{port}\n");
    assert_eq!(log.matches(&warning).count(), 1, "{log}");
    assert_eq!(server.say("x"), 0);
}
