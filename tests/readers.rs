//! Promise: the readers people use for server-sent events understand a listener's stream. The npm package
//! `eventsource`, the PyPI package `httpx-sse` and Chromium's own EventSource each report exactly what was said, in
//! order: id, event and data, whatever characters a name or a message holds. Nothing else is an event: not the opening
//! of the stream, not a heartbeat, neither before the first message nor after one. If the server is full they hear
//! nothing, and come in when there is room. The polyfills of npm, event-source-polyfill and reconnecting-eventsource,
//! miss nothing over a kill, a stop and a gateway's 502.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Folder, PATIENCE, Server, wait_until};

#[test]
fn the_npm_package_eventsource_hears_what_was_said_and_nothing_else() {
    check(&["node", "eventsource.mjs"], &["node_modules/eventsource"]);
}

#[test]
fn the_pypi_package_httpx_sse_hears_what_was_said_and_nothing_else() {
    check(&["venv/bin/python", "httpx-sse.py"], &["venv/bin/python"]);
}

#[test]
fn chromium_hears_what_was_said_and_nothing_else() {
    check(&["node", "chromium.mjs"], &["/usr/bin/chromium"]);
}

#[test]
fn a_browser_leaves_nothing_behind() {
    let server = Server::start(&[]);
    let page = Reader::start(&["node", "chromium.mjs"], &["/usr/bin/chromium"], &server.url("/listen"));
    let folder = page.temporary.0.clone();
    // Chromium's own folder beside its profile, which a Chromium that is killed leaves there.
    let has = |start: &str| {
        let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with(start))
    };
    wait_until("its folders are there", || has("aloud-chromium-") && has("org.chromium.Chromium."));
    drop(page);
    assert!(!folder.exists());
}

/// Says everything to the reader that `command` starts, with heartbeats before and after the first message.
fn check(command: &[&str], needs: &[&str]) {
    let server = Server::start(&["--heartbeat", "1"]);
    let mut reader = Reader::start(command, needs, &server.url("/listen"));
    let mut say_and_hear = |name: &str, message: &str, event: &str| {
        let said = say(&server, name, message, event);
        assert_eq!(reader.event(), said, "{command:?} at {name:?}, {message:?}");
    };
    heartbeats_go_by(&server);
    say_and_hear("Florian", "Hi", "message");
    heartbeats_go_by(&server);
    say_and_hear("build", "green", "ci");
    for text in nasty_texts() {
        say_and_hear(&text, "a nasty name", "message");
        say_and_hear("a nasty message", &text, "ci");
    }
    // And many at once, so that frames share chunks and reads.
    let said: Vec<Value> = nasty_texts().iter().map(|text| say(&server, "", text, "message")).collect();
    for said in said {
        assert_eq!(reader.event(), said, "{command:?}, many at once");
    }
}

/// The server that `reader` listens at, each time on the same port and with the same store.
#[cfg(feature = "store")]
fn with_store(address: &str, store: &Path) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", address, "--store", store.to_str().unwrap()]).stdin(Stdio::null());
    Server::start_command(command)
}

/// Says `text` to nobody, or to the reader.
#[cfg(feature = "store")]
fn say_text(server: &Server, text: &str) {
    assert_eq!(server.request("POST", "/say", &[], text.as_bytes()).status, 200);
}

/// A polyfill hears what was said while it was away: after a kill, after a stop, and after a proxy that said 502
/// meanwhile.
#[cfg(feature = "store")]
fn misses_nothing(package: &str) {
    let folder = Folder::new("polyfill");
    let store = folder.0.join("store");
    let mut server = with_store("127.0.0.1:0", &store);
    let address = server.address().to_string();
    let mut reader = Reader::start(&["node", "polyfill.mjs", package], &["node_modules"], &server.url("/listen"));
    let mut hear = |text: &str| {
        println!("{package} is to hear {text:?}");
        assert_eq!(reader.event()["message"], text, "{package}");
    };
    say_text(&server, "before");
    hear("before");
    for way in ["KILL", "TERM", "502"] {
        server.signal(if way == "KILL" { "KILL" } else { "TERM" });
        server.wait();
        if way == "502" {
            say_502(&address);
        }
        // Said where it cannot hear it, and then where it can: a store lets one server after the other have it.
        let mut elsewhere = with_store("127.0.0.1:0", &store);
        say_text(&elsewhere, &format!("while away, {way}"));
        elsewhere.signal("TERM");
        elsewhere.wait();
        server = with_store(&address, &store);
        hear(&format!("while away, {way}"));
        say_text(&server, &format!("back, {way}"));
        hear(&format!("back, {way}"));
    }
}

/// Answers one request at `address` as a proxy does whose server is away.
#[cfg(feature = "store")]
fn say_502(address: &str) {
    use std::io::Write;
    let proxy = std::net::TcpListener::bind(address).unwrap();
    let (mut client, _) = proxy.accept().unwrap();
    let mut head = String::new();
    let mut reader = BufReader::new(client.try_clone().unwrap());
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "the whole head after {head:?}");
    }
    let answer = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    client.write_all(answer.as_bytes()).unwrap();
    wait_until("the client has read it", || reader.fill_buf().is_ok_and(<[u8]>::is_empty));
}

#[test]
#[cfg(feature = "store")]
fn event_source_polyfill_misses_nothing() {
    misses_nothing("event-source-polyfill");
}

#[test]
#[cfg(feature = "store")]
fn reconnecting_eventsource_misses_nothing() {
    misses_nothing("reconnecting-eventsource");
}

/// One that finds the server full is told of no event by that, and comes in when there is room.
fn comes_in_when_there_is_room(command: &[&str]) {
    let server = Server::start(&["--max-listeners", "1"]);
    let first = server.listen("/listen");
    let url = server.url("/listen");
    let full = server.request("GET", "/listen", &["Accept: text/event-stream"], b"");
    assert_eq!((full.status, full.header("Connection")), (200, Some("close")), "{full:?}");
    assert_eq!(full.header("Content-Type"), Some("text/event-stream; charset=utf-8"));
    assert!(full.body.starts_with(": as many listen as may; ") && !full.body.contains("\n\n"), "{full:?}");
    let reader = Reader::start(command, &[], &url);
    drop(first);
    // In between it may say that its stream was lost, or open again.
    let mut event = None;
    wait_until("the reader is in, and hears", || {
        server.say("to whoever is in");
        event = reader.lines.try_iter().find(|line| line.starts_with('{'));
        event.is_some()
    });
    assert!(event.is_some_and(|event| event.contains("to whoever is in")), "{command:?}: the first event");
}

#[test]
fn the_npm_package_eventsource_comes_in_when_there_is_room_and_hears_nothing_before() {
    comes_in_when_there_is_room(&["node", "eventsource.mjs"]);
}

#[test]
fn httpx_sse_comes_in_when_there_is_room_and_hears_nothing_before() {
    comes_in_when_there_is_room(&["venv/bin/python", "httpx-sse.py", "again"]);
}

#[test]
fn chromium_comes_in_when_there_is_room_and_hears_nothing_before() {
    comes_in_when_there_is_room(&["node", "chromium.mjs"]);
}

/// Texts that break a careless frame, escape or line splitter.
fn nasty_texts() -> Vec<String> {
    let controls: String = (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32).collect();
    let mut texts = vec![controls, "\u{1F600}\u{E9}".repeat(8_000)];
    texts.extend(
        [
            "two\nlines, \r\n three\r four\n",
            "\n\nid: 7\nevent: ci\ndata: {\"name\":\"forged\"}\n\n",
            "\r\rdata: forged\r\r",
            ":a comment? key: value, ::",
            " a space before and after ",
            r#""double" 'single' `back` \ \\ \n \u0000 </script>"#,
            "a\0b\0",
            "\u{2028}line separator\u{2029}paragraph separator\u{85}next line\x0b\x0c\x1c",
            "\u{FEFF}\u{1F469}\u{200D}\u{1F680} \u{E0067} e\u{301} \u{202E}left \u{FFFD}\u{FFFF}\u{10FFFF}",
        ]
        .map(str::to_owned),
    );
    texts
}

/// Says it as a JSON body, which can hold every character, and returns what a reader has to report.
fn say(server: &Server, name: &str, message: &str, event: &str) -> Value {
    let body = json!({"name": name, "message": message, "event": event}).to_string();
    let answer = server.request("POST", "/say", &["Content-Type: application/json"], body.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("Aloud-Listeners"), Some("1"), "the reader listens, once");
    json!({"id": answer.header("Aloud-Id"), "type": event, "name": name, "message": message})
}

/// Returns when the reader, which joined and heard before this began, has been sent two heartbeats more. A listener
/// beside it, to whom no message goes, gets its own later than the reader gets each; the third makes up for a thread
/// that woke late.
fn heartbeats_go_by(server: &Server) {
    let beside = server.try_listen("/listen?event=nobody-says-this", &["Accept: text/event-stream"]);
    let mut beside = beside.unwrap_or_else(|answer| panic!("{answer:?}"));
    let opening = beside.chunk();
    assert!(opening.is_some_and(|opening| opening.starts_with(b": aloud\n")), "the opening is a chunk of its own");
    for _ in 0..3 {
        beside.chunk().expect("the stream goes on");
    }
}

/// A program that listens and prints what it hears, one line an event; it ends when dropped.
pub struct Reader {
    process: Child,
    /// The lines it printed, from a thread that reads them; disconnected when the program closed its output.
    lines: Receiver<String>,
    name: String,
    /// A folder for its files, as browsers leave some.
    pub temporary: Folder,
}

impl Reader {
    /// Starts `command`, a program and its script, which is given the URL and then what follows in `command`, in
    /// `tests/readers`, and waits until its stream is open. `needs` is what it cannot do without.
    pub fn start(command: &[&str], needs: &[&str], url: &str) -> Reader {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers");
        for needed in needs {
            assert!(folder.join(needed).exists(), "{needed} is missing; run scripts/install-test-tools.sh");
        }
        let program = if command[0].contains('/') { folder.join(command[0]) } else { command[0].into() };
        let temporary = Folder::new("reader");
        let mut process = Command::new(program)
            .arg(command[1])
            .arg(url)
            .args(&command[2..])
            .current_dir(&folder)
            .env("TMPDIR", &temporary.0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(temporary.errors())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run scripts/install-test-tools.sh", command[0]));
        let output = BufReader::new(process.stdout.take().unwrap());
        let (printed, lines) = channel();
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).take_while(|line| printed.send(line.clone()).is_ok()).for_each(drop);
        });
        let reader = Reader { process, lines, name: command.join(" "), temporary };
        assert_eq!(reader.line("the open stream"), "ready", "{}", reader.name);
        reader
    }

    /// The next event, its data taken apart.
    fn event(&mut self) -> Value {
        let line = self.line("the next event");
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{} says {line:?}", self.name));
        let data = event["data"].as_str().unwrap_or_else(|| panic!("no data in {line:?}"));
        let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("data, {error}: {line:?}"));
        json!({"id": event["id"], "type": event["type"], "name": data["name"], "message": data["message"]})
    }

    /// The next line it prints.
    pub fn line(&self, what: &str) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => panic!("late after {PATIENCE:?}: {what} of {}", self.name),
            RecvTimeoutError::Disconnected => {
                panic!("{} ended; if it lacks something, run scripts/install-test-tools.sh", self.name)
            }
        })
    }
}

impl Drop for Reader {
    /// The end of its input ends it; where that takes too long, it and what it started are killed.
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.process.id())]).status();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}
