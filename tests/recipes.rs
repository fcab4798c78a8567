//! Promise: each recipe of the manual, and the unit that runs one, does what it says, at stand-ins on this machine; and
//! what is said stays a text in all of them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use serde_json::Value;

use crate::hear::{Hearer, SCRIPT, say};
use crate::senders::{Recipe, recipes};
use crate::support::{Folder, Server, wait_until};

/// The shell blocks of a page of the manual.
fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("src/manual/{page}.md")).unwrap();
    text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Takes whatever is posted, one request a connection; tells the path and the body of each.
fn stand_in() -> (String, mpsc::Receiver<(String, String)>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for connection in socket.incoming() {
            let mut reader = BufReader::new(connection.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap()];
            reader.read_exact(&mut body).unwrap();
            reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            if tell.send((path, String::from_utf8(body).unwrap())).is_err() {
                return;
            }
        }
    });
    (url, told)
}

/// Puts a program of this name into `folder` that writes what it was told into the file `told` there.
fn program_in(folder: &Folder, program: &str) {
    let path = folder.0.join(program);
    let input = if program == "sendmail" { "cat; " } else { "" };
    let script = format!("#!/bin/sh\n{{ printf '%s|' {program} \"$@\"; {input}}} >told.new\nmv told.new told\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a recipe and says something hostile. Returns what `stand_in` was told, or a program in its place.
fn cook(recipe: &str, name: &str, message: &str) -> String {
    let server = Server::start(&["--log", "debug"]);
    let folder = Folder::new("recipe");
    ["notify-send", "sendmail"].iter().for_each(|program| program_in(&folder, program));
    let (url, told) = stand_in();
    let recipe = ["https://ntfy.sh", "https://api.telegram.org", "https://chat.example"]
        .iter()
        .fold(recipe.replace("scripts/hear.sh", &format!("exec {SCRIPT} --silence 4")), |text, site| {
            text.replace(site, &url)
        })
        .replace("localhost:4000", &server.address().to_string());
    let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &recipe]).current_dir(&folder.0).env("PATH", path).env("TMPDIR", &folder.0);
    let mut hearer = command.stdin(Stdio::null()).stderr(folder.errors()).spawn().unwrap();
    server.wait_for_log(" listens");
    say(&server, "/say", &[("name", name), ("message", message), ("status", "down")]);
    let mut said = None;
    wait_until(&format!("it is told by {recipe}"), || {
        said = fs::read_to_string(folder.0.join("told")).ok();
        said = said.take().or_else(|| told.try_recv().ok().map(|(path, body)| format!("{path}|{body}")));
        said.is_some()
    });
    hearer.kill().unwrap();
    hearer.wait().unwrap();
    assert!(!folder.0.join("x").exists(), "{recipe}");
    said.unwrap()
}

/// Ten services: a delivery of a forge or of an alert manager and what is heard of it, or a sender of the manual's
/// table; the channel it posts to; then the event, the key and the status.
const POSTED: [[&str; 6]; 10] = [
    [
        "gitlab.Pipeline-Hook.failed",
        "group/app: Pipeline #123 of main by Ana has failed in 2 min 3 s: unit",
        "build",
        "ci",
        "group/app main",
        "failed",
    ],
    [
        "github.workflow_run.completed-success",
        "group/app: Workflow CI #42 of main by ana has succeeded in 2 min 3 s",
        "build",
        "ci",
        "group/app main CI",
        "passed",
    ],
    [
        "alertmanager.alerts.firing",
        "InstanceDown on web1:9100 is firing (critical): web1:9100 has not answered for 5 minutes",
        "ops",
        "alert",
        "InstanceDown instance=web1:9100 job=node severity=critical",
        "firing",
    ],
    [
        "grafana.alerts.firing",
        "High memory usage is firing: Memory of zone us-1 is used up",
        "ops/memory",
        "alert",
        "High memory usage grafana_folder=Machines team=blue zone=us-1 c6eadffa33fcdf37",
        "firing",
    ],
    ["uptime-kuma", "", "ops", "alert", "Website", "down"],
    ["healthchecks", "", "", "alert", "Nightly backup", "down"],
    ["jenkins", "", "build", "ci", "job/app/", "failed"],
    ["sentry", "", "", "alert", "APP-7", "firing"],
    ["docker-hub", "", "build", "message", "", ""],
    ["slack", "", "chat", "message", "", ""],
];

#[test]
fn what_ten_services_post_is_heard_stands_and_runs_a_command() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen?as=json");
    let hearer = Hearer::ready(&["sh"], &server, &["--silence", "8"]);
    let recipes = recipes();
    for (count, [name, line, channel, event, key, status]) in POSTED.into_iter().enumerate() {
        let recipe = recipes.iter().find(|recipe| recipe.file.ends_with(&format!("/{name}.json")));
        let (file, url, line) = match recipe {
            Some(Recipe { file, url, heard }) => (file.clone(), url.clone(), heard.as_str()),
            None => {
                let sender = name.split('.').next().unwrap();
                (format!("tests/hooks/{name}.json"), format!("/hook/{sender}"), line)
            }
        };
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        let below = |path: &str| if channel.is_empty() { path.to_owned() } else { format!("{path}/{channel}") };
        let file = format!("@{file}");
        let url = server.url(&format!("{}?{query}", below(path)));
        let posted = server.curl(&["-g", &url, "-H", "Content-Type: application/json", "--data-binary", &file]);
        assert_eq!(posted, "", "{name}");

        let heard: Value = serde_json::from_str(&listener.line().unwrap()).unwrap();
        let member = |object: &Value, name: &str| object[name].as_str().unwrap_or("").to_owned();
        let members = |object: &Value, names: [&str; 5]| names.map(|name| member(object, name));
        let names = ["channel", "event", "key", "status", "message"];
        assert_eq!(members(&heard, names), [channel, event, key, status, line], "{name}");

        let now = server.curl(&[&server.url(&format!("{}?as=json&event={event}", below("/now")))]);
        let now: Vec<Value> = serde_json::from_str(&now).unwrap();
        let stands = now.iter().find(|thing| member(thing, "id") == member(&heard, "id"));
        let stands = stands.map(|thing| members(thing, names));
        let expected = [channel, event, key, status, line].map(str::to_owned);
        assert_eq!(stands, (!key.is_empty()).then_some(expected), "{name}");

        let given = hearer.wait_for(count + 1).pop().unwrap();
        let id = member(&heard, "id");
        assert_eq!(given, [&id, event, channel, "", line, status, &format!("{line}\n")], "{name}");
    }
}

#[test]
fn every_recipe_tells_what_was_said_and_runs_nothing_of_it() {
    let (name, message) = ("-x $(touch x)", "~!touch x \"'`touch x`; é");
    let line = format!("{name} {message}\n");
    let recipes = blocks("recipes");
    assert_eq!(recipes.len(), 6);
    let told: Vec<_> = recipes[..5].iter().map(|recipe| cook(recipe, name, message)).collect();
    assert_eq!(told[0], format!("notify-send|--|{name}|{message}|"));
    assert_eq!(told[1], format!("sendmail|-i|root|Subject: aloud\nContent-Type: text/plain; charset=utf-8\n\n{line}"));
    assert_eq!(told[2], format!("/TOPIC|{line}"));
    let form = told[3].strip_prefix("/botTOKEN/sendMessage|").unwrap();
    let form: Vec<_> = form_urlencoded::parse(form.as_bytes()).map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(form, ["chat_id=CHAT".to_owned(), format!("text={line}")]);
    let json = serde_json::json!({ "text": line.trim_end() });
    assert_eq!(told[4], format!("/hook|{json}\n"));
}

#[test]
fn the_lamp_is_on_while_something_is_bad_and_when_the_server_is_dead() {
    let server = Server::start(&[]);
    let folder = Folder::new("lamp");
    program_in(&folder, "pinctrl");
    let recipe = blocks("recipes").pop().unwrap().replace("sleep 5", "sleep 0.05");
    let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &recipe.replace("localhost:4000", &server.address().to_string())]).env("PATH", path);
    let mut lamp = command.current_dir(&folder.0).spawn().unwrap();
    let wait_for = |level: &str| {
        let told = format!("pinctrl|set|17|op|{level}|");
        wait_until(&told, || fs::read_to_string(folder.0.join("told")).is_ok_and(|now| now == told));
    };
    wait_for("dl");
    for (status, level) in [("down", "dh"), ("warn", "dl")] {
        say(&server, "/say", &[("message", "x"), ("status", status), ("key", "k")]);
        wait_for(level);
    }
    drop(server);
    wait_for("dh");
    lamp.kill().unwrap();
    lamp.wait().unwrap();
}

#[test]
fn every_line_of_a_log_is_said_as_it_stands() {
    let server = Server::start(&[]);
    let folder = Folder::new("tail");
    let lines = ["$(touch x)", "  a & b=c + 100 %  ", "@file", "-n", "back\\slash \"'", "", "end"];
    fs::write(folder.0.join("app.log"), lines.map(|line| format!("{line}\n")).concat()).unwrap();
    let block = blocks("speaking").into_iter().find(|block| block.contains("tail ")).unwrap();
    let script = block.replace("-n 0", "-n +1").replace("localhost:4000", &server.address().to_string());
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(&folder.0).stdin(Stdio::null()).process_group(0);
    let mut tail = command.spawn().unwrap();
    let said = || server.curl(&["/said/log"]);
    wait_until("all is said", || said().ends_with("app end\r\n"));
    let expected: String = lines.iter().map(|line| format!("app {line}\r\n")).collect();
    assert_eq!(said(), expected.replace("app \r\n", "app\r\n"));
    let killed = Command::new("kill").args(["-KILL", "--", &format!("-{}", tail.id())]).status().unwrap();
    assert!(killed.success());
    tail.wait().unwrap();
    assert!(!folder.0.join("x").exists());
}

#[test]
fn the_unit_starts_hear_sh_as_it_is_used() {
    let server = Server::start(&["--log", "debug"]);
    let unit = fs::read_to_string("scripts/systemd/aloud-hear@.service").unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/aloud-hear ")).unwrap();
    // systemd splits `$NAME` into words as a shell does.
    let folder = Folder::new("unit");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {SCRIPT} {start}")]).current_dir(&folder.0).stdin(Stdio::null());
    command.env("STATE_DIRECTORY", &folder.0).env("TMPDIR", &folder.0).env("ALOUD_COMMAND", "sh -c env>heard");
    command.env("ALOUD_HEAR", format!("--silence 4 --event ci {}/build", server.address()));
    let mut hearer = command.stderr(folder.errors()).spawn().unwrap();
    server.wait_for_log(" listens");
    say(&server, "/say/build", &[("message", "done"), ("event", "ci")]);
    let heard = || fs::read_to_string(folder.0.join("heard")).unwrap_or_default();
    wait_until("the command runs", || heard().contains("\nALOUD_MESSAGE=done\n"));
    wait_until("its place is kept", || folder.0.join("place").exists());
    hearer.kill().unwrap();
    hearer.wait().unwrap();
}
