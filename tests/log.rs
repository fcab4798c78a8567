//! Promise: a log that nobody reads loses lines, which are counted, and stops nothing: speakers are answered, and a
//! signal ends the server as ever. If even the reason for not starting cannot be written, the exit code tells.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::support::{Answer, PATIENCE, Server, set_clock, wait_until};

/// Each makes a line of more than 100 bytes.
const REQUESTS: usize = 6000;

/// A server whose log is read up to where it says its address, and then no more.
struct Unread {
    process: Child,
    address: SocketAddr,
    log: BufReader<Box<dyn Read>>,
}

impl Unread {
    fn start(mut command: Command, log: impl FnOnce(&mut Child) -> Box<dyn Read>) -> Unread {
        let mut process = command.spawn().unwrap();
        let mut log = BufReader::with_capacity(1, log(&mut process));
        let mut line = String::new();
        while !line.contains("Running at ") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the log ended");
        }
        let address = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
        Unread { process, address, log }
    }

    fn request(&self, request: &str) -> Answer {
        let mut connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        Answer::read(&mut BufReader::new(connection), false)
    }

    /// More lines than a pipe or a terminal takes and than wait here; all are answered, and so are a speaker and a
    /// probe.
    fn is_served_all_the_same(&self) {
        let mut connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let requests = format!("GET /nothing?{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(60)).repeat(50);
        let mut answers = BufReader::new(connection.try_clone().unwrap());
        for _ in 0..REQUESTS / 50 {
            connection.write_all(requests.as_bytes()).unwrap();
            (0..50).for_each(|_| assert_eq!(Answer::read(&mut answers, false).status, 404));
        }
        assert_eq!(self.request("GET /say?message=x").body, "ok.");
        assert_eq!(self.request("GET /health").status, 200);
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap().success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the server ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn aloud(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn into_a_pipe() -> Unread {
    let mut command = aloud(&["--bind", "127.0.0.1:0", "--log", "debug"]);
    command.stderr(Stdio::piped());
    Unread::start(command, |process| Box::new(process.stderr.take().unwrap()))
}

#[test]
fn a_pipe_that_nobody_reads_holds_up_nobody() {
    let mut server = into_a_pipe();
    server.is_served_all_the_same();
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_log_that_is_read_again_says_how_many_lines_were_lost() {
    let mut server = into_a_pipe();
    server.is_served_all_the_same();
    let lost = std::iter::from_fn(|| {
        let mut line = String::new();
        (server.log.read_line(&mut line).unwrap() > 0).then_some(line)
    })
    .find(|line| line.contains(" log lines were lost; nobody read them"))
    .unwrap();
    let count = lost.split(" [WARN] ").nth(1).unwrap().split(' ').next().unwrap();
    assert!((1..REQUESTS + 2).contains(&count.parse().unwrap()), "{lost}");
    assert_eq!(server.request("GET /one-more").status, 404);
    server.signal("-TERM");
    let mut rest = String::new();
    server.log.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("/one-more") && rest.trim_end().ends_with(" [INFO] Stopped"), "{rest}");
    assert_eq!(server.exit_code(), Some(0), "what was queued at the end was written");
}

/// The terminal is python's: what it prints comes here until it is told to press Ctrl-S.
#[test]
fn a_terminal_that_was_stopped_holds_up_nobody() {
    let script = r#"
import os, subprocess, sys
master, slave = os.openpty()
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stderr=slave)
line = b""
while b"Running at" not in line or not line.endswith(b"\n"):
    line += os.read(master, 1)
os.write(master, b"\x13")
sys.stderr.write("%d\n%s\n" % (server.pid, line.decode().strip()))
sys.stderr.flush()
sys.exit(server.wait())
"#;
    let mut command = Command::new("python3");
    command.args(["-c", script, env!("CARGO_BIN_EXE_aloud"), "--bind", "127.0.0.1:0", "--log", "debug"]);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut pid = String::new();
    let mut server = Unread::start(command, |process| {
        let mut stderr: BufReader<ChildStderr> = BufReader::with_capacity(1, process.stderr.take().unwrap());
        stderr.read_line(&mut pid).unwrap();
        Box::new(stderr)
    });
    server.is_served_all_the_same();
    assert!(Command::new("kill").args(["-TERM", pid.trim()]).status().unwrap().success());
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn where_nothing_can_be_written_the_exit_code_tells() {
    let check = |arguments: &[&str], expected: i32| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(aloud(arguments).stderr(full).status().unwrap().code(), Some(expected), "{arguments:?}");
        let mut closed = Command::new("sh");
        closed.args(["-c", "exec \"$@\" 2>&-", "sh", env!("CARGO_BIN_EXE_aloud")]).args(arguments);
        assert_eq!(closed.status().unwrap().code(), Some(expected), "closed, {arguments:?}");
    };
    check(&["--no-such-flag"], 2);
    check(&["--bind", "192.0.2.1:1"], 1);
    check(&["--bind", "127.0.0.1:1", "--check"], 1);
}

#[test]
fn a_server_that_cannot_start_and_cannot_say_so_ends() {
    // A pipe that is full, and that nobody reads.
    let mut command = Command::new("bash");
    let fill = "dd if=/dev/zero bs=4096 count=16 status=none >&2; exec \"$@\"";
    command.args(["-c", fill, "bash", env!("CARGO_BIN_EXE_aloud"), "--bind", "192.0.2.1:1"]);
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    let stderr = process.stderr.take();
    wait_until("it ends", || process.try_wait().unwrap().is_some());
    assert_eq!(process.wait().unwrap().code(), Some(1));
    drop(stderr);
}

#[test]
fn no_clock_makes_it_panic_and_what_it_shows_can_be_written() {
    let check = |offset: &str, year: &str, date: &str| {
        let mut command = aloud(&["--bind", "127.0.0.1:0", "--log", "debug"]);
        set_clock(&mut command).env("FAKETIME", offset);
        let mut server = Server::start_command(command);
        let answer = server.request("GET", "/say?message=x", &[], b"");
        assert_eq!((answer.status, answer.header("Date").unwrap().contains(date)), (200, true), "{answer:?}");
        let line = server.listen("/listen?as=json&since=all").line().unwrap();
        assert!(line.contains(&format!("\"time\":\"{year}-")), "{line}");
        server.wait_for_log(" listens");
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
        let log = server.log();
        assert!(log.lines().all(|line| line.starts_with(year)) && !log.contains("[ERROR]"), "{log}");
    };
    check("-100y", "1970", "Thu, 01 Jan 1970");
    check("+9000y", "9999", "Fri, 31 Dec 9999");
}
