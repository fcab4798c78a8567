//! Promise: a disk that stalls holds up those whose message waits for it, and nobody else. While a disk fails, what is
//! said is refused and is not there later; when it works again, all goes on by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::support::{Folder, Server};

/// Meddles with the server's calls for the disk until it is dropped.
pub struct Meddler(Child);

impl Meddler {
    /// `faults`: calls and what strace is to inject into them, as `fsync:error=EIO`.
    pub fn of(server: &Server, faults: &[&str]) -> Meddler {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &server.pid().to_string()]);
        let calls: Vec<_> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        strace.args(["-e", &format!("trace={}", calls.join(","))]);
        faults.iter().for_each(|fault| _ = strace.args(["-e", &format!("inject={fault}")]));
        let mut strace = strace.stderr(Stdio::piped()).spawn().expect("strace is installed");
        let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
        let attached = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("attached")));
        assert!(attached.is_some(), "strace may look at the server");
        std::thread::spawn(move || said.for_each(drop));
        Meddler(strace)
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it is our child");
    }
}

#[test]
fn while_the_disk_stalls_beats_and_webhooks_wait_and_nobody_else_does() {
    let file = std::env::temp_dir().join(format!("aloud-stalled-{}", std::process::id()));
    let server = Server::start(&["--store", file.to_str().unwrap()]);
    let mut before = server.listen("/listen?event=*");
    let disk = Meddler::of(&server, &["fsync:delay_enter=600s", "fdatasync:delay_enter=600s"]);
    let push = std::fs::read_to_string("tests/hooks/github.push.commits.json").unwrap();
    let send = |request: String| {
        let mut client = server.connect();
        client.write_all(request.as_bytes()).unwrap();
        client
    };
    let head = |target: String| format!("POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    let beats = (0..70).map(|number| send(format!("{}Content-Length: 0\r\n\r\n", head(format!("/beat/host{number}")))));
    let hooks = (0..70).map(|number| {
        let headers = format!("X-GitHub-Event: push\r\nX-GitHub-Delivery: {number}\r\nContent-Length: {}", push.len());
        send(format!("{}{headers}\r\n\r\n{push}", head("/hook/github".to_owned())))
    });
    let clients: Vec<_> = beats.chain(hooks).collect();
    for target in ["/health", "/said", "/hosts", "/"] {
        assert_eq!(server.request("GET", target, &[], b"").status, 200, "{target}");
    }
    let meanwhile = server.listen("/listen");
    let mut check = Command::new(env!("CARGO_BIN_EXE_aloud"));
    check.args(["--bind", &server.address().to_string(), "--check"]);
    assert!(check.stderr(Stdio::null()).status().unwrap().success());
    let is_answered = |client: &TcpStream| {
        client.set_nonblocking(true).unwrap();
        client.peek(&mut [0]).is_ok()
    };
    assert!(!clients.iter().any(is_answered), "what is not kept is not answered");
    drop(disk);
    for mut client in clients {
        client.set_nonblocking(false).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
    let heard = before.lines(210);
    assert_eq!(heard.iter().filter(|line| line.contains("is up")).count(), 70, "each host is up once");
    drop((meanwhile, server));
    std::fs::remove_file(file).unwrap();
}

/// Faults of a disk, as strace injects them, and how what is said then is answered.
const FAULTS: [(&[&str], u16); 7] = [
    (&["pwrite64:error=EIO"], 503),
    (&["pwrite64:error=EROFS"], 503),
    (&["pwrite64:error=ENOSPC"], 507),
    (&["pwrite64:error=EDQUOT"], 507),
    (&["fsync:error=EIO", "fdatasync:error=EIO"], 503),
    (&["fsync:error=ENOSPC", "fdatasync:error=ENOSPC"], 507),
    // The second one is what is written over the refused message.
    (&["fsync:error=EIO:when=1+2", "fdatasync:error=EIO:when=1+2"], 503),
];

/// The texts that a server finds in the store `file`.
fn kept(file: &str) -> Vec<String> {
    let server = Server::start(&["--store", file]);
    server.curl(&["/said"]).lines().map(str::to_owned).collect()
}

#[test]
fn while_the_disk_fails_what_is_said_is_refused_and_it_is_not_there_after_a_kill() {
    for (faults, status) in FAULTS {
        let folder = Folder::new("refused");
        let file = folder.0.join("store").to_str().unwrap().to_owned();
        let mut server = Server::start(&["--store", &file]);
        server.say("before");
        let disk = Meddler::of(&server, faults);
        for number in 0..5 {
            let answer = server.request("POST", "/say", &[], format!("refused {number}").as_bytes());
            assert_eq!(answer.status, status, "{faults:?}: {answer:?}");
        }
        server.signal("KILL");
        server.wait();
        drop(disk);
        assert_eq!(kept(&file), ["before"], "{faults:?}");
    }
}

#[test]
fn when_the_disk_works_again_all_goes_on_by_itself() {
    for (faults, status) in FAULTS {
        let folder = Folder::new("again");
        let file = folder.0.join("store").to_str().unwrap().to_owned();
        let mut server = Server::start(&["--store", &file]);
        let mut listener = server.listen("/listen");
        server.say("before");
        let disk = Meddler::of(&server, faults);
        let answer = server.request("POST", "/say", &[], b"refused");
        assert_eq!(answer.status, status, "{faults:?}: {answer:?}");
        let health = server.request("GET", "/health", &[], b"");
        assert!(health.status == 200 && health.body.contains("\"store\":\"failing\""), "{health:?}");
        drop(disk);
        server.say("after");
        assert_eq!(listener.lines(2), ["before\r\n", "after\r\n"], "{faults:?}");
        server.signal("KILL");
        server.wait();
        assert_eq!(kept(&file), ["before", "after"], "{faults:?}");
    }
}
