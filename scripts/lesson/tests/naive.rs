//! Promise: the naive program serves the commands of its tutorial, byte for byte, and each way to break it that the lesson
//! gives breaks it. The commands are those of the lesson (`src/lesson.rs`), at a free port.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Longer than anything here takes on a slow machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The naive program, running; or something else that ends with the test.
struct Running {
    process: Child,
    /// The lines it has printed, each with its end.
    lines: Receiver<String>,
}

impl Running {
    fn start(command: &str) -> Running {
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("exec {command}")]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = bash.spawn().unwrap();
        let mut printed = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut line = vec![];
            while printed.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let line = String::from_utf8(std::mem::take(&mut line)).unwrap();
                sender.send(line).unwrap_or_default();
            }
        });
        Running { process, lines }
    }

    /// Returns what was printed up to the next line end.
    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).expect("one more line")
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.process.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A naive server and its port.
struct Naive(Running, String);

impl Naive {
    fn start(limit: &str) -> Naive {
        let naive = Running::start(&format!("bash -c '{limit} exec {} 0'", env!("CARGO_BIN_EXE_naive")));
        let port = naive.line().trim_end().strip_prefix("Running at :").unwrap().to_owned();
        Naive(naive, port)
    }

    /// A command of the lesson, at this server.
    fn at_this(&self, command: &str) -> String {
        let lesson = fs::read_to_string("../../src/lesson.rs").unwrap();
        assert!(lesson.contains(&format!("//! {command}\n")), "the lesson has the command\n//! {command}");
        let command = command.replace("localhost:4000", &format!("127.0.0.1:{}", self.1));
        let command = command.replace("localhost/4000", &format!("127.0.0.1/{}", self.1));
        command.replace("$(pgrep naive)", &self.0.process.id().to_string())
    }

    fn run(&self, command: &str) -> String {
        let output = Command::new("bash").args(["-c", &self.at_this(command)]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Begins to listen and is on the list.
    fn listen(&self) -> Running {
        let threads = self.threads();
        let listener = Running::start(&self.at_this(LISTEN).replace("curl", "curl -sN"));
        wait_until("it listens", || self.threads() > threads && self.sleeps());
        listener
    }

    fn threads(&self) -> usize {
        fs::read_dir(format!("/proc/{}/task", self.0.process.id())).map_or(0, |all| all.count())
    }

    /// Whether all its threads wait, so that everything has happened that will.
    fn sleeps(&self) -> bool {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.process.id())).unwrap();
        tasks.flatten().all(|task| fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| stat.contains(") S ")))
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

const LISTEN: &str = "curl localhost:4000/listen";
const SAY: &str = "curl localhost:4000/say -d 'name=Florian&message=Hi'";
const SAY_IN_TIME: &str = "curl -m 5 localhost:4000/say -d 'name=Florian&message=Hi'; echo $?";
const FLOOD: &str =
    "head -c 1M /dev/zero | tr '\\0' x | curl --fail-early -m 5 'localhost:4000/say?[1-99]' --data-urlencode message@-";
const COME_AND_GO: &str = "for i in $(seq 100); do curl -sN localhost:4000/listen & curls+=\" $!\"; done";
const THREADS: &str = "ls /proc/$(pgrep naive)/task | wc -l";
const JOIN: &str = "curl -sNZ --parallel-immediate --parallel-max 300 'localhost:4000/listen?[1-10000]'";
const HTTP_2: &str =
    "exec 3<>/dev/tcp/localhost/4000; printf 'GET / HTTP/2.0\\r\\n\\r\\n' >&3; timeout 2 cat <&3; echo $?";
const ENDLESS: &str =
    "{ printf 'GET / HTTP/1.1\\r\\nA: '; head -c 20000000 /dev/zero | tr '\\0' x; } >/dev/tcp/localhost/4000";
const PEAK: &str = "grep VmHWM /proc/$(pgrep naive)/status";
const FORGE: &str = "curl localhost:4000/say -d 'name=Ann&message=Hi%0D%0ABob I+quit'";

#[test]
fn the_commands_of_the_tutorial_print_what_they_always_have() {
    let naive = Naive::start("");
    let (ann, bob) = (naive.listen(), naive.listen());
    assert_eq!(naive.run(SAY), "ok.");
    assert_eq!((ann.line(), bob.line()), ("Florian Hi\r\n".to_owned(), "Florian Hi\r\n".to_owned()));
}

#[test]
fn it_is_no_longer_than_a_page() {
    let lines = fs::read_to_string("src/bin/naive.rs").unwrap().lines().count();
    assert!(lines <= 70, "{lines} lines");
}

#[test]
fn a_stopped_listener_silences_everyone() {
    let naive = Naive::start("");
    let (stopped, hears) = (naive.listen(), naive.listen());
    stopped.signal("-STOP");
    // The flood ends with the first that is not answered in time, which may be for another reason on a slow machine.
    wait_until("nobody is answered", || {
        naive.run(FLOOD);
        naive.run(SAY_IN_TIME).ends_with("28\n")
    });
    let mut heard = hears.lines.try_iter();
    assert!(heard.all(|line| line != "Florian Hi\r\n"), "the one that is awake hears nothing");
    stopped.signal("-CONT");
    drop(stopped);
    assert_eq!(naive.run(SAY), "ok.", "that was why");
    while hears.line() != "Florian Hi\r\n" {}
}

#[test]
fn listeners_that_have_left_are_kept() {
    let naive = Naive::start("");
    let leave = format!("{}; kill $curls; wait", naive.at_this(COME_AND_GO));
    // Each has to be on the list before it leaves.
    let leave = leave.replace("; kill", "; read; kill");
    let mut bash = Command::new("bash");
    bash.args(["-c", &leave]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut bash = bash.spawn().unwrap();
    wait_until("a hundred listen", || naive.threads() == 101 && naive.sleeps());
    drop(bash.stdin.take());
    assert!(bash.wait().is_ok(), "all have left");
    assert_eq!(naive.run(THREADS).trim(), "101", "nobody listens");
}

#[test]
fn ten_thousand_joins_end_it() {
    let mut naive = Naive::start("ulimit -n 256;");
    let _joins = Running::start(&naive.at_this(JOIN));
    wait_until("it ends", || naive.0.process.try_wait().unwrap().is_some_and(|status| !status.success()));
}

#[test]
fn a_wrong_version_takes_a_thread_for_ever() {
    let naive = Naive::start("");
    for taken in 2..=3 {
        assert_eq!(naive.run(HTTP_2), "124\n", "there is no answer");
        assert_eq!(naive.run(SAY), "ok.");
        // The thread of the one that spoke ends. That of the wrong one does not, although its client has left.
        wait_until("one thread more is left", || naive.threads() == taken && naive.sleeps());
    }
}

#[test]
fn a_line_without_an_end_takes_the_memory() {
    let naive = Naive::start("");
    naive.run(ENDLESS);
    wait_until("all is read", || naive.threads() == 1);
    let peak = naive.run(PEAK);
    let kilobytes: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes > 20_000, "{peak}");
}

#[test]
fn a_message_passes_for_that_of_somebody_else() {
    let naive = Naive::start("");
    let listener = naive.listen();
    assert_eq!(naive.run(FORGE), "ok.");
    assert_eq!((listener.line(), listener.line()), ("Ann Hi\r\n".to_owned(), "Bob I quit\r\n".to_owned()));
    drop(naive);
    assert_eq!(listener.lines.recv_timeout(DEADLINE), Err(RecvTimeoutError::Disconnected), "that is all");
}
