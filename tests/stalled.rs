//! Promise: a disk that stalls holds up those whose message waits for it, and nobody else.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use crate::support::Server;

/// Holds up each wait for the disk, for so long, until it is dropped.
pub struct StalledDisk(Child);

impl StalledDisk {
    pub fn of(server: &Server, delay: &str) -> StalledDisk {
        let inject = format!("inject=fsync,fdatasync:delay_enter={delay}");
        let syncs = ["-e", "trace=fsync,fdatasync", "-e", &inject];
        let mut strace = Command::new("strace");
        strace.args(["-f", "-p", &server.pid().to_string()]).args(syncs);
        let mut strace = strace.stderr(Stdio::piped()).spawn().expect("strace is installed");
        let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
        let attached = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("attached")));
        assert!(attached.is_some(), "strace may look at the server");
        std::thread::spawn(move || said.for_each(drop));
        StalledDisk(strace)
    }
}

impl Drop for StalledDisk {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it is our child");
    }
}

#[test]
fn while_the_disk_stalls_beats_and_webhooks_wait_and_nobody_else_does() {
    let file = std::env::temp_dir().join(format!("aloud-stalled-{}", std::process::id()));
    let server = Server::start(&["--store", file.to_str().unwrap()]);
    let mut before = server.listen("/listen?event=*");
    let disk = StalledDisk::of(&server, "600s");
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
