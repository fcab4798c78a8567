//! Promise: a service manager starts aloud when the first client comes, is told when it is ready and when it stops, and
//! keeps the socket, so that nobody is refused between two servers; and its units are valid and let it do next to
//! nothing else.

use std::collections::HashSet;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Answer, Folder, PATIENCE, Server, wait_until};

/// Hands a socket over as a service manager does (sd_listen_fds(3)): `socket` becomes descriptor 3 of a process that is
/// told so by its number. It comes as standard input, because a shell can move that without `unsafe`.
fn hand_over(socket: OwnedFd, arguments: &str) -> Command {
    let aloud = env!("CARGO_BIN_EXE_aloud");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec {aloud} {arguments}")]);
    shell.stdin(socket);
    shell
}

#[test]
fn a_client_that_came_before_the_server_is_served_by_it_and_one_that_comes_after_it_by_the_next() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let early = std::net::TcpStream::connect(address).unwrap();
    let mut server = Server::start_command(hand_over(socket.try_clone().unwrap().into(), "--bind 127.0.0.1:1"));
    assert_eq!(server.address(), address, "it listens where it was told, not at --bind");
    // More than a socket would hold that had not been prepared: the longest body the gate awaits whole.
    let text = "x".repeat(65_000);
    assert_eq!(post(early, &text).status, 200);
    let mut listener = server.listen("/listen");
    assert_eq!(server.say("still here"), 1);
    assert_eq!(listener.line().unwrap(), "still here\r\n");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(listener.line(), None, "the stream has ended properly");

    let between = std::net::TcpStream::connect(address).expect("the socket still listens");
    let _next = Server::start_command(hand_over(socket.into(), ""));
    assert_eq!(post(between, "between two servers").status, 200);
}

fn post(mut connection: std::net::TcpStream, text: &str) -> Answer {
    use std::io::{BufReader, Write};
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = text.len();
    let request = format!("POST /say HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{text}");
    connection.write_all(request.as_bytes()).unwrap();
    Answer::read(&mut BufReader::new(connection), false)
}

#[test]
fn a_socket_file_that_was_handed_over_serves_and_stays() {
    let folder = Folder::new("handed-over");
    let path = folder.0.join("socket");
    let socket = UnixListener::bind(&path).unwrap();
    let mut server = Server::start_command(hand_over(socket.into(), ""));
    assert!(server.log().contains(&format!("Running at unix:{}", path.display())), "{}", server.log());
    let url = "http://localhost/say";
    let answer = server.curl(&["--unix-socket", path.to_str().unwrap(), url, "-d", "message=Hi"]);
    assert_eq!(answer, "ok.");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(path.exists(), "the file is the manager's");
}

#[test]
fn what_does_not_listen_is_refused_in_one_line() {
    let (one, _other) = UnixStream::pair().unwrap();
    let output = hand_over(one.into(), "").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line = "aloud: cannot listen at the socket that was handed over (it does not listen); \
                hand over one that listens, with ListenStream= and Accept=no\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), line);
}

#[test]
fn the_manager_is_told_when_it_is_ready_and_when_it_stops() {
    let folder = Folder::new("notify");
    let path = folder.0.join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut bytes = [0; 128];
        let length = manager.recv(&mut bytes).expect("the manager is told");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", "127.0.0.1:0"]).env("NOTIFY_SOCKET", &path);
    let mut server = Server::start_command(command);
    assert_eq!(hear(), "READY=1");
    assert_eq!(server.request("GET", "/health", &[], b"").status, 200, "and it is");
    server.signal("TERM");
    assert_eq!(hear(), "STOPPING=1");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn the_check_finds_a_server_well_that_is_and_says_what_is_wrong_with_one_that_is_not() {
    let check = |bind: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_aloud")).args(["--check", "--bind", bind]).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let server = Server::start(&["--listen-token", "hush"]);
    assert_eq!(check(&server.address().to_string()), (0, String::new()));
    let mut of_container = Command::new(env!("CARGO_BIN_EXE_aloud"));
    of_container.args(["--check", "--bind", &server.address().to_string()]);
    let files = [("ALOUD_TOKENS", "/nowhere"), ("ALOUD_SAY_TOKEN", "@/nowhere")];
    assert_eq!(of_container.envs(files).status().unwrap().code(), Some(0), "the server's own files do not matter");
    let (code, line) = check("unix:/nowhere");
    assert_eq!(code, 1);
    assert!(line.starts_with("aloud: the server at unix:/nowhere is not well ("), "{line}");
    // Somebody else's server.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut connection, _) = other.accept().unwrap();
        let _ = connection.read(&mut [0; 128]).unwrap();
        connection.write_all(b"HTTP/1.0 503 Service Unavailable\r\n\r\n").unwrap();
    });
    let (code, line) = check(&address);
    answers.join().unwrap();
    assert_eq!(code, 1);
    assert!(line.contains("it answers \"HTTP/1.0 503 Service Unavailable\""), "{line}");
}

#[test]
fn the_check_ends_in_time_whatever_the_server_does() {
    // One sends an answer that never ends, a byte at a time; in the other's queue there is no room.
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = slow.local_addr().unwrap().to_string();
    let trickle = std::thread::spawn(move || {
        use std::io::Write;
        let (mut connection, _) = slow.accept().unwrap();
        while connection.write_all(b"x").is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(20)); // its pace, not a wait for something
        }
    });
    let folder = Folder::new("check");
    let path = folder.0.join("full");
    let full = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    full.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    full.listen(0).unwrap();
    let _waits = UnixStream::connect(&path).unwrap();
    for bind in [address, format!("unix:{}", path.display())] {
        let mut check = Command::new(env!("CARGO_BIN_EXE_aloud"));
        let mut check = check.args(["--check", "--bind", &bind]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_until(&format!("the check of {bind} ends"), || check.try_wait().unwrap().is_some());
        }));
        let _ = check.kill();
        let output = check.wait_with_output().unwrap();
        assert!(ended.is_ok(), "the check of {bind} takes as long as the server likes");
        assert_eq!(output.status.code(), Some(1));
        let line = format!(
            "aloud: the server at {bind} is not well (it has not answered in 5 s); give the address it has with --bind\n"
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), line);
    }
    trickle.join().unwrap();
}

#[test]
fn the_units_are_valid_and_expose_next_to_nothing() {
    let folder = Folder::new("units");
    let mut units = vec![];
    for entry in std::fs::read_dir("scripts/systemd").unwrap() {
        let path = entry.unwrap().path();
        // The files that they start need not be installed where the tests run.
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("/usr/local/bin/aloud-beat", "/bin/true");
        let text = text.replace("/usr/local/bin/aloud-hear", "/bin/true");
        let text = text.replace("/usr/local/bin/aloud", env!("CARGO_BIN_EXE_aloud"));
        let copy = folder.0.join(path.file_name().unwrap());
        std::fs::write(&copy, text).unwrap();
        units.push(copy);
    }
    assert_eq!(units.len(), 5);
    let analyze = |arguments: &[&str], units: &[&Path]| {
        let output = Command::new("systemd-analyze").args(arguments).args(units).output().expect("it is installed");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    };
    let all: Vec<&Path> = units.iter().map(PathBuf::as_path).collect();
    assert_eq!(analyze(&["verify", "--man=no"], &all), (true, String::new()));
    for service in all.iter().filter(|unit| unit.extension().unwrap() == "service") {
        // In tenths: an exposure of at most 2.0.
        let (good, text) = analyze(&["security", "--offline=true", "--threshold=20"], &[service]);
        assert!(good, "{text}");
    }
}

/// The settings of a unit, `KEY=VALUE`, as they stand.
fn settings(unit: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new("scripts/systemd").join(unit)).unwrap();
    text.lines().filter(|line| !line.starts_with('#') && line.contains('=')).map(str::to_owned).collect()
}

#[test]
fn the_service_keeps_what_is_said_and_is_tried_again_for_as_long_as_what_it_needs_is_away() {
    let service = settings("aloud.service");
    let has = |line: &str| assert!(service.iter().any(|setting| setting == line), "{line} in {service:?}");
    // systemd makes the folder, and makes it the service's own; nothing else may be written to.
    has("StateDirectory=aloud");
    has("StateDirectoryMode=0700");
    has("ProtectSystem=strict");
    has("Environment=ALOUD_STORE=/var/lib/aloud/store");
    // Without a limit on starts, once a second; only a bad setting ends that.
    has("StartLimitIntervalSec=0");
    has("Restart=on-failure");
    has("RestartSec=1");
    has("RestartPreventExitStatus=2");
    // A client that waits at the socket starts it too, at most once for each of these.
    let value = |key: &str| {
        let socket = settings("aloud.socket");
        let line = socket.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')?.parse::<u32>().ok());
        line.unwrap_or_else(|| panic!("{key} in {socket:?}"))
    };
    assert!(value("TriggerLimitBurst") > value("TriggerLimitIntervalSec"), "more than one start a second");
}

#[test]
fn the_service_starts_with_the_store_that_its_unit_names_and_a_late_redis_is_no_bad_setting() {
    let folder = Folder::new("state");
    let service = settings("aloud.service");
    let store = service.iter().find_map(|line| line.strip_prefix("Environment=ALOUD_STORE=/var/lib/aloud/")).unwrap();
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
        command.args(["--bind", "127.0.0.1:0"]).env("ALOUD_STORE", folder.0.join(store));
        Server::start_command(command)
    };
    let mut server = start();
    server.say("kept");
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(start().curl(&["/said"]), "kept\r\n");
    // An error that comes late is no bad setting: the exit code is not the one after which nobody tries again.
    let mut late = Command::new(env!("CARGO_BIN_EXE_aloud"));
    late.args(["--bind", "127.0.0.1:0"]).env("ALOUD_REDIS", "redis://127.0.0.1:1");
    assert_eq!(late.output().unwrap().status.code(), Some(1));
}

/// The system calls in a set such as `@system-service`, as systemd defines it.
fn calls_in(set: &str) -> HashSet<String> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", set]).output().expect("it is installed");
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.lines().skip(1).map(str::trim).filter(|word| !word.is_empty() && !word.starts_with('#'));
    let (sets, calls): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with('@'));
    calls.into_iter().map(str::to_owned).chain(sets.into_iter().flat_map(calls_in)).collect()
}

#[test]
fn the_unit_allows_every_system_call_that_the_server_makes() {
    let unit = std::fs::read_to_string("scripts/systemd/aloud.service").unwrap();
    let mut allowed = calls_in("@default");
    for sets in unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match sets.strip_prefix('~') {
            None => sets.split(' ').for_each(|set| allowed.extend(calls_in(set))),
            Some(sets) => {
                let taken: HashSet<String> = sets.split(' ').flat_map(calls_in).collect();
                allowed.retain(|call| !taken.contains(call));
            }
        }
    }
    allowed.extend(calls_in("@default")); // what is always permitted, no filter takes away

    let folder = Folder::new("calls");
    let trace = folder.0.join("trace");
    let mut command = Command::new("strace");
    // -D: the tracer is the child, so that the process is the server.
    command.args(["-D", "-f", "-qq", "-o"]).arg(&trace);
    command.args([env!("CARGO_BIN_EXE_aloud"), "--bind", "127.0.0.1:0", "--store"]).arg(folder.0.join("store"));
    let mut server = Server::start_command(command);
    let mut listener = server.listen("/listen?as=sse&since=all");
    assert_eq!(server.say("x"), 1);
    assert_eq!(server.say(&"x".repeat(60_000)), 1);
    assert_eq!(server.request("POST", "/say", &[], &vec![b'x'; 200_000]).status, 413);
    assert_eq!(server.request("GET", "/metrics", &[], b"").status, 200);
    server.signal("TERM");
    while listener.line().is_some() {}
    assert_eq!(server.wait().code(), Some(0));
    let read = || std::fs::read_to_string(&trace).unwrap_or_default();
    wait_until("the tracer has written the end", || read().contains("exit_group("));
    let trace = read();
    let made: HashSet<String> = trace
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(call, _)| call.to_owned())
        .filter(|call| call.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'))
        .collect();
    assert!(made.contains("futex") && made.contains("fdatasync"), "the trace is read: {made:?}");
    // SQLite gives its log to the owner of the store, but only where it runs as root. The service does not.
    let refused: Vec<_> = made.difference(&allowed).filter(|call| *call != "fchown").collect();
    assert!(refused.is_empty(), "the filter would refuse {refused:?}");
}
