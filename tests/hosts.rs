//! Promise: a host that beats is known, with its figures; what changes with it is said once, in one line, to everybody;
//! its beats go to those who ask for them. `scripts/beat.sh` beats from any POSIX shell.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{Answer, Folder, Server};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";

fn beat(server: &Server, host: &str, figures: &str) -> Answer {
    server.request("POST", &format!("/beat/{host}"), &[FORM], figures.as_bytes())
}

fn hosts(server: &Server) -> Vec<Value> {
    let answer = server.request("GET", "/hosts", &["Accept: application/json"], b"");
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json")));
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn a_host_is_up_then_late_then_down_then_up_again_and_each_is_one_line() {
    let server = Server::start(&[]);
    let mut lines = server.listen("/listen");
    let mut beats = server.listen("/listen?event=host&as=json");
    let mut states = server.listen("/listen?event=host-state&as=json");
    assert_eq!(beat(&server, "web1", "every=3&load1=0.5&up=100").body, "ok.");
    assert_eq!(lines.line().unwrap(), "web1 is up\r\n");
    let heard: Value = serde_json::from_str(&beats.line().unwrap()).unwrap();
    assert_eq!((&heard["event"], &heard["name"]), (&"host".into(), &"web1".into()));
    assert_eq!(heard["message"], "load 0.5, up 100 s");
    assert_eq!(heard["fields"], serde_json::json!({"state": "up", "every": "3", "load1": "0.5", "up": "100"}));

    let late = lines.line().unwrap();
    assert!(late.starts_with("web1 is late: last heard ") && late.ends_with(" s ago\r\n"), "{late}");
    assert_eq!(hosts(&server)[0]["state"], "late");
    assert!(lines.line().unwrap().starts_with("web1 is down: last heard "));
    assert_eq!(beat(&server, "web1", "up=5").body, "ok.");
    let back = lines.line().unwrap();
    assert!(back.starts_with("web1 is up again after ") && back.ends_with(": it has rebooted\r\n"), "{back}");
    for state in ["up", "late", "down", "up"] {
        let heard: Value = serde_json::from_str(&states.line().unwrap()).unwrap();
        assert_eq!((&heard["name"], &heard["fields"]["state"]), (&"web1".into(), &state.into()));
    }
}

#[test]
fn every_method_beats_and_any_beat_is_a_sign_of_life() {
    let server = Server::start(&[]);
    let check = |method: &str, target: &str, body: &[u8], answer: &str| {
        assert_eq!(server.request(method, target, &[FORM], body).body, answer, "{method} {target}");
    };
    check("GET", "/beat/a?load1=0.25&token=secret", b"", "ok.");
    check("POST", "/beat/b", b"note=hot", "ok.");
    check("PUT", "/beat/c.example-1_x", b"", "ok.");
    check("POST", "/beat/d", b"load1=?&note=n", "ok, but load1=\"?\" is left out, as it is no number\n");
    let known: Vec<_> = hosts(&server).iter().map(|host| format!("{} {}", host["host"], host["figures"])).collect();
    assert_eq!(
        known,
        [r#""a" {"load1":0.25}"#, r#""b" {"note":"hot"}"#, r#""c.example-1_x" {}"#, r#""d" {"note":"n"}"#]
    );
    let table = server.curl(&[&server.url("/hosts")]);
    assert!(table.starts_with("HOST ") && table.contains("\nb "), "{table}");

    let answer = server.request("PATCH", "/beat/a", &[], b"");
    assert_eq!((answer.status, answer.header("Allow")), (405, Some("GET, POST, PUT, DELETE, OPTIONS")));
    let refused = |target: &str, body: &[u8], status: u16| {
        let answer = server.request("POST", target, &[FORM], body);
        assert_eq!((answer.status, answer.body.lines().count()), (status, 1), "{target} {answer:?}");
        assert!(answer.body.starts_with("aloud: ") && answer.body.contains("; send "), "{answer:?}");
    };
    refused("/beat/a%20b", b"", 400);
    refused("/beat/a/b", b"", 400);
    refused("/beat/a", format!("note={}", "x".repeat(3000)).as_bytes(), 400);
    refused("/beat/a", b"a%20b=c", 400);
}

#[test]
fn a_host_that_is_forgotten_is_not_missed_and_not_listed() {
    let server = Server::start(&[]);
    let mut beats = server.listen("/listen?event=host&as=json");
    beat(&server, "web1", "");
    beats.line().unwrap();
    assert_eq!(server.request("DELETE", "/beat/web1", &[], b"").body, "ok.");
    let heard: Value = serde_json::from_str(&beats.line().unwrap()).unwrap();
    assert_eq!((&heard["name"], &heard["fields"]["state"]), (&"web1".into(), &"forgotten".into()));
    assert_eq!(hosts(&server).len(), 0);
    let again = server.request("DELETE", "/beat/web1", &[], b"");
    assert_eq!((again.status, again.body.as_str()), (404, "aloud: no host \"web1\" is known; GET /hosts lists them\n"));
}

#[test]
fn ten_thousand_hosts_are_known_and_one_more_is_refused_in_a_line() {
    let server = Server::start(&[]);
    let mut connection = std::io::BufReader::new(server.connect());
    let mut beat = |host: usize| {
        let head = format!("GET /beat/h{host} HTTP/1.1\r\nHost: test\r\n\r\n");
        std::io::Write::write_all(connection.get_mut(), head.as_bytes()).unwrap();
        Answer::read(&mut connection, false)
    };
    (0..10_000).for_each(|host| assert_eq!(beat(host).status, 200));
    let refused = beat(10_000);
    assert_eq!(refused.status, 503);
    assert!(refused.body.starts_with("aloud: 10000 hosts are known, as many as may be; "), "{refused:?}");
    assert_eq!(beat(7).status, 200, "those that are known go on");
    assert_eq!(hosts(&server).len(), 10_000);
    server.wait_for_log("took no beat of h10000 in");
}

/// The shells that it has to run in. mksh counts no further than 2^31, as the shells of small machines may.
const SHELLS: [&[&str]; 5] = [&["sh"], &["dash"], &["bash"], &["busybox", "sh"], &["mksh"]];

/// Runs `scripts/beat.sh` by `shell`.
fn beat_sh(shell: &[&str], arguments: &[&str], token: &str) -> (i32, String, String) {
    run_beat_sh(shell, arguments, &[("ALOUD_SAY_TOKEN", token)])
}

fn run_beat_sh(shell: &[&str], arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg("scripts/beat.sh").args(arguments).envs(environment.iter().copied());
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{shell:?}: {error}; run scripts/install-test-tools.sh"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn beat_sh_tells_figures_from_every_shell() {
    for shell in SHELLS {
        let server = Server::start(&[]);
        let note = "a \"quoted\" \\ note & more;\nheader = x";
        let told = beat_sh(shell, &["--next", "60", "--note", note, &server.url("/"), "web1"], "s3cret \"");
        assert_eq!(told, (0, "ok.\n".to_owned(), String::new()), "{shell:?}");
        let host = hosts(&server).remove(0);
        assert_eq!(
            (&host["host"], &host["every"], &host["figures"]["note"]),
            (&"web1".into(), &60.0.into(), &note.into())
        );
        for figure in ["up", "load1", "load5", "load15", "mem_used", "mem_total", "disk_used", "disk_total"] {
            assert!(host["figures"][figure].as_f64().is_some_and(|value| value >= 0.0), "{shell:?} {figure}: {host}");
        }
        for what in ["mem", "disk"] {
            let figure = |end: &str| host["figures"][format!("{what}_{end}")].as_f64().unwrap();
            assert!(figure("used") <= figure("total"), "{shell:?}: {host}");
        }
    }
}

#[test]
fn beat_sh_reads_a_disk_of_any_size_under_any_name() {
    let folder = Folder::new("df");
    let line = folder.0.join("line");
    let df = folder.0.join("df");
    std::fs::write(&df, "#!/bin/sh\necho Filesystem\necho \"$(cat ${0%df}line)\"\n").unwrap();
    std::fs::set_permissions(&df, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.0.display(), std::env::var("PATH").unwrap());
    let check = |shell: &[&str], text: &str, expected: Option<(f64, f64)>| {
        std::fs::write(&line, text).unwrap();
        let server = Server::start(&[]);
        let told = run_beat_sh(shell, &[&server.url(""), "web1"], &[("PATH", &path)]);
        assert_eq!(told, (0, "ok.\n".to_owned(), String::new()), "{shell:?} {text}");
        let figures = hosts(&server).remove(0)["figures"].take();
        let figures = figures["disk_total"].as_f64().zip(figures["disk_used"].as_f64());
        assert_eq!(figures, expected, "{shell:?} {text}");
    };
    for shell in SHELLS {
        // Forty terabytes; a thousand and one kilobytes.
        let large = Some((4e13, 1_025_024.0));
        check(shell, "/dev/sda1 39062500000 1001 39062498999 1% /", large);
        check(shell, "//nas/my share 2 39062500000 1001 39062498999 1% /mnt/my share", large);
    }
    check(&["sh"], "* 8 3 5 38% /mnt", Some((8192.0, 3072.0)));
    check(&["sh"], "proc 0 0 0 - /proc", None);
    check(&["sh"], "", None);
}

#[test]
fn beat_sh_reads_its_token_from_a_file_as_the_server_does() {
    let folder = Folder::new("beat-token");
    let path = folder.0.join("token");
    let from_file = format!("@{}", path.display());
    let token = "s3cret\"\\";
    for shell in SHELLS {
        for end in ["", "\n", "\r\n"] {
            std::fs::write(&path, format!("{token}{end}")).unwrap();
            let server = Server::start(&["--say-token", &from_file]);
            let address = server.address().to_string();
            let told = beat_sh(shell, &[&address, "web1"], &from_file);
            assert_eq!(told, (0, "ok.\n".to_owned(), String::new()), "{shell:?} {end:?}");
            assert_eq!(beat_sh(shell, &[&address, "web1"], "other").0, 1, "{shell:?}: the server asks for it");
        }
    }
    std::fs::remove_file(&path).unwrap();
    let (code, said, complaint) = beat_sh(&["sh"], &["127.0.0.1:1", "web1"], &from_file);
    assert_eq!((code, said.as_str(), complaint.lines().count()), (1, "", 1), "{complaint}");
    assert!(
        complaint.starts_with("beat.sh: the token cannot be read (") && complaint.contains("No such"),
        "{complaint}"
    );
}

#[test]
fn beat_sh_beats_one_host_whatever_it_is_called() {
    let server = Server::start(&[]);
    let address = server.address().to_string();
    for name in ["{a,b}", "[1-3]", "a?note=x", "a#b", "a/b", "a b", "a%41", "\""] {
        let (code, said, complaint) = beat_sh(&["sh"], &[&address, name], "");
        assert_eq!((code, said.as_str(), complaint.lines().count()), (2, "", 1), "{name}: {complaint}");
        assert!(complaint.contains("is no host name"), "{complaint}");
    }
    assert_eq!(hosts(&server).len(), 0, "nothing else has beaten");
    // A proxy's path is the user's own.
    let told = beat_sh(&["sh"], &[&format!("{address}/{{beat,beat}}"), "web1"], "");
    assert_eq!((told.0, told.1.as_str()), (1, ""), "one request, to the path as it stands: {told:?}");
    assert!(told.2.contains("{beat,beat}"), "{told:?}");
}

#[test]
fn beat_sh_loops_and_says_what_went_wrong() {
    let server = Server::start(&[]);
    let address = server.address().to_string();
    let mut beats = server.listen("/listen?event=host&as=lines");
    let mut looping =
        Command::new("scripts/beat.sh").args(["--every", "1", &address, "web1"]).stdout(Stdio::null()).spawn().unwrap();
    (0..3).for_each(|_| assert!(beats.line().unwrap().starts_with("web1 load ")));
    looping.kill().unwrap();
    looping.wait().unwrap();

    let check = |arguments: &[&str], code: i32, complaint: &str| {
        let told = beat_sh(&["sh"], arguments, "");
        assert_eq!((told.0, told.1.as_str()), (code, ""), "{told:?}");
        assert!(
            told.2.starts_with("beat.sh: ") && told.2.contains(complaint) && told.2.lines().count() == 1,
            "{told:?}"
        );
    };
    check(&["127.0.0.1:1", "web1"], 1, "curl: (7)");
    check(&[&address, &"x".repeat(65)], 1, "is no host name; send 1 to 64");
    check(&[], 2, "it takes a SERVER");
    check(&["--every", "x", &address], 2, "\"x\" is no whole number of seconds");
    check(&["--every"], 2, "--every has no value");
    check(&["--bogus", &address], 2, "there is no option --bogus");
    let (code, help, _) = beat_sh(&["sh"], &["--help"], "");
    assert!(code == 0 && help.starts_with("usage: beat.sh "), "{help}");
}

#[test]
fn a_host_whose_own_name_it_is_need_not_give_it() {
    let server = Server::start(&[]);
    assert_eq!(beat_sh(&["sh"], &[&server.address().to_string()], "").0, 0);
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(hosts(&server)[0]["host"], name.trim());
}

#[test]
fn shellcheck_has_nothing_to_say_about_beat_sh() {
    let output = Command::new("shellcheck").args(["--shell=sh", "scripts/beat.sh"]).output();
    let output = output.expect("shellcheck is installed; else run scripts/install-test-tools.sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
