//! Promise: every command in the README works as printed.
//!
//! A `console` block holds commands after `$ ` and what they print; `…` stands for anything. A block whose command is a
//! listener is started when its turn comes and compared when the next heading is reached; all others are run at once.
//! `aloud` with a `--bind` starts one more server beside the one at port 4000, each on a free port in truth.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::{Server, wait_until};

/// The servers that were started, each with the address that the README gives it.
type Servers = Vec<(String, Server)>;

/// A command and what it shall print.
struct Example {
    command: String,
    expected: String,
}

/// A listener that was started, and what it has printed so far.
struct Running {
    example: Example,
    process: Child,
    heard: Arc<Mutex<String>>,
}

#[test]
fn every_command_in_the_readme_prints_what_it_says() {
    let mut servers = vec![("localhost:4000".to_owned(), Server::start(&["--log", "debug"]))];
    let readme = std::fs::read_to_string("README.md").unwrap();
    let mut listeners: Vec<Running> = vec![];
    let mut run = 0;
    for block in readme.split("\n## ").flat_map(|section| section.split("```").skip(1).step_by(2).chain([""])) {
        if block.is_empty() {
            listeners.drain(..).for_each(finish);
        }
        let Some(console) = block.strip_prefix("console\n") else { continue };
        for example in examples(console) {
            run += 1;
            if let Some(flags) = example.command.strip_prefix("aloud --bind 127.0.0.1:") {
                servers.push(start_server(flags));
            } else if example.command.contains("/listen") {
                let listening = joins(&servers);
                listeners.push(start(&servers, example));
                wait_until("the listener has joined", || joins(&servers) > listening);
            } else {
                check(&servers, &example);
            }
        }
    }
    assert!(run > 15, "the README's examples are found: {run}");
}

fn examples(console: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = vec![];
    for line in console.split_inclusive('\n') {
        match line.strip_prefix("$ ") {
            Some(command) => examples.push(Example { command: command.trim_end().to_owned(), expected: String::new() }),
            None => examples.last_mut().expect("a block begins with a command").expected.push_str(line),
        }
    }
    examples
}

/// Starts what `aloud --bind 127.0.0.1:` and `port_and_flags` would.
fn start_server(port_and_flags: &str) -> (String, Server) {
    let (port, flags) = port_and_flags.split_once(' ').unwrap();
    let flags: Vec<&str> = flags.split(' ').chain(["--log", "debug"]).collect();
    (format!("localhost:{port}"), Server::start(&flags))
}

/// How often somebody has begun to listen.
fn joins(servers: &Servers) -> usize {
    servers.iter().map(|(_, server)| server.log().matches(" listens").count()).sum()
}

fn shell(servers: &Servers, command: &str) -> Command {
    let command = command.replace("aloud --help", concat!(env!("CARGO_BIN_EXE_aloud"), " --help"));
    let command =
        servers.iter().fold(command, |command, (name, server)| command.replace(name, &server.address().to_string()));
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec 2>/dev/null; {command}")]).stdout(Stdio::piped()).stdin(Stdio::null());
    shell
}

fn check(servers: &Servers, example: &Example) {
    let output = shell(servers, &example.command).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n");
    let (printed, expected) = (printed.trim_end(), example.expected.trim_end());
    assert!(matches(printed, expected), "{}\nprints\n{printed}\nand not\n{expected}", example.command);
}

fn start(servers: &Servers, example: Example) -> Running {
    let mut process = shell(servers, &example.command).process_group(0).spawn().unwrap();
    let mut output = process.stdout.take().unwrap();
    let heard = Arc::new(Mutex::new(String::new()));
    let heard_by_thread = heard.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut bytes) {
            heard_by_thread.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
    });
    Running { example, process, heard }
}

fn finish(mut listener: Running) {
    let heard = || listener.heard.lock().unwrap().replace("\r\n", "\n");
    wait_until(&format!("{} prints\n{}", listener.example.command, listener.example.expected), || {
        matches(heard().trim_end(), listener.example.expected.trim_end())
    });
    // The whole pipeline, of which the process is the shell.
    let killed = Command::new("kill").args(["-KILL", "--", &format!("-{}", listener.process.id())]).status().unwrap();
    assert!(killed.success());
    listener.process.wait().unwrap();
}

/// Whether `text` is `pattern`, in which `…` stands for anything within a line.
fn matches(text: &str, pattern: &str) -> bool {
    let (mut text, mut pieces) = (text, pattern.split('…'));
    let Some(rest) = text.strip_prefix(pieces.next().unwrap_or("")) else { return false };
    text = rest;
    let mut last = "";
    for piece in pieces {
        let Some(place) = text.find(piece) else { return false };
        if text[..place].contains('\n') {
            return false;
        }
        text = &text[place + piece.len()..];
        last = piece;
    }
    text.is_empty() || (last.is_empty() && pattern.ends_with('…') && !text.contains('\n'))
}

#[test]
fn the_patterns_of_the_readme_match_what_they_say() {
    for (text, pattern, expected) in [
        ("ok.", "ok.", true),
        ("ok", "ok.", false),
        ("ok. more", "ok.", false),
        ("id: 5\nx", "id: …\nx", true),
        ("id: 5\ny\nx", "id: …\nx", false),
        ("Aloud-Id: 17", "Aloud-Id: …", true),
        ("{\"id\":\"1\",\"time\":\"2Z\"}", "{\"id\":\"…\",\"time\":\"…Z\"}", true),
    ] {
        assert_eq!(matches(text, pattern), expected, "{text:?} {pattern:?}");
    }
}
