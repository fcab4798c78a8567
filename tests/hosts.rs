//! Promise: a host that beats is known, with its figures; what changes with it is said once, in one line, to everybody;
//! its beats go to those who ask for them. `scripts/beat.sh` beats from any POSIX shell.

use std::process::{Command, Stdio};
#[cfg(feature = "store")]
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

#[cfg(feature = "store")]
use crate::stalled::Meddler;
use crate::support::{Answer, Folder, Server, wait_until};

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
        assert_eq!((&heard["key"], &heard["status"]), (&"web1".into(), &state.into()));
    }
}

#[test]
fn a_job_says_how_its_runs_end_and_what_has_failed_is_bad_until_it_is_well() {
    let server = Server::start(&[]);
    let mut lines = server.listen("/listen");
    let status = || server.request("GET", "/status", &[], b"");
    let check = |target: &str, headers: &[&str], body: &[u8]| {
        let answer = server.request("POST", target, headers, body);
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok."), "{target}");
    };
    check("/beat/backup/start", &[], b"");
    assert_eq!(lines.line().unwrap(), "backup is up\r\n");
    check("/beat/backup", &[FORM], b"exit=0&every=86400&grace=900");
    let done = lines.line().unwrap();
    assert!(done.starts_with("backup done in ") && done.ends_with(" s\r\n"), "{done}");
    check("/beat/backup/start", &[], b"");
    check("/beat/backup", &[FORM], b"exit=3");
    let failed = lines.line().unwrap();
    assert!(failed.starts_with("backup failed after ") && failed.ends_with(" s: exit 3\r\n"), "{failed}");
    assert_eq!((status().status, status().body.trim_end()), (503, format!("bad: {}", failed.trim_end()).as_str()));
    check("/beat/backup?status=ok", &[], b"");
    assert!(lines.line().unwrap().starts_with("backup is well again after "));
    assert_eq!((status().status, status().body.as_str()), (200, "ok\n"));
    check("/beat/backup?status=down", &[], b"");
    assert_eq!(lines.line().unwrap(), "backup has failed: down\r\n");
    assert_eq!(beat(&server, "other", "").body, "ok.");
    assert_eq!(lines.line().unwrap(), "other is up\r\n");

    // A log of any size, whatever curl calls it.
    let log: String = (0..20_000).map(|line| format!("line={line} & more\n")).collect();
    for (job, headers) in [("a", &[FORM][..]), ("b", &["Content-Type: application/octet-stream"]), ("c", &[])] {
        check(&format!("/beat/{job}/fail"), headers, (log.clone() + "\x1b[1mthe end\n").as_bytes());
        assert_eq!(lines.line().unwrap(), format!("{job} has failed:  [1mthe end\r\n"));
    }
    check("/beat/d/fail", &["Content-Type: application/json"], br#"{"message": "no disk"}"#);
    assert_eq!(lines.line().unwrap(), "d has failed: no disk\r\n");
    let known = hosts(&server);
    let job = known.iter().find(|host| host["host"] == "a").unwrap();
    let reason = job["reason"].as_str().unwrap();
    assert_eq!(
        (&job["state"], reason.lines().count(), reason.lines().next()),
        (&"failed".into(), 10, Some("line=19991 & more"))
    );
    let table = server.curl(&[&server.url("/hosts")]);
    assert!(table.lines().any(|row| row.starts_with("d ") && row.contains(" failed ") && row.ends_with("no disk")));
    let now = server.curl(&[&server.url("/now?as=json")]);
    assert!(now.contains("line=19991 & more"), "{now}");

    let json = server.request("POST", "/beat/d/fail", &["Accept: application/json"], b"");
    assert_eq!(json.body, "{\"host\":\"d\",\"state\":\"failed\"}\n");
    let refused = server.request("DELETE", "/beat/d/fail", &[], b"");
    assert_eq!((refused.status, refused.header("Allow")), (405, Some("GET, POST, PUT, OPTIONS")));
}

#[cfg(feature = "store")]
#[test]
fn after_a_restart_a_host_that_goes_on_is_up_and_one_that_does_not_is_late_then_down() {
    let folder = Folder::new("hosts-restart");
    let file = folder.0.join("store");
    let start = || Server::start(&["--store", file.to_str().unwrap()]);
    let restart = |mut server: Server| {
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
        start()
    };
    let server = start();
    let mut lines = server.listen("/listen?since=all");
    beat(&server, "job", "exit=1");
    ["long", "web1", "web2"].iter().for_each(|host| _ = beat(&server, host, "every=3"));
    beat(&server, "long", "every=86400&grace=900");
    let said = lines.lines(5);
    drop(lines);
    assert_eq!(said[4], "long now beats every 1 d, 15 min of grace\r\n");
    let server = restart(server);
    let states = |server: &Server| -> Vec<String> {
        hosts(server).iter().map(|host| format!("{} {} {}", host["host"], host["state"], host["every"])).collect()
    };
    let known = |web1: &str, web2: &str| {
        let of = |host: &str, state: &str, every: &str| format!("{host:?} {state:?} {every}");
        let web = [of("web1", web1, "3.0"), of("web2", web2, "3.0")];
        [of("job", "failed", "30.0"), of("long", "up", "86400.0")].into_iter().chain(web).collect::<Vec<_>>()
    };
    assert_eq!(states(&server), known("up", "up"));
    assert!(server.curl(&[&server.url("/hosts")]).contains("  at least "), "nobody knows when they were heard");
    assert_eq!(hosts(&server)[0]["reason"], "exit 1");
    // The listener is there before anything can be late.
    let mut lines = server.listen("/listen");
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let heard = std::thread::scope(|scope| {
        let server = &server;
        scope.spawn(move || {
            let second = std::time::Duration::from_secs(1);
            while ended.recv_timeout(second) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                beat(server, "web1", "every=3");
            }
        });
        let heard = lines.lines(2);
        drop(end);
        heard
    });
    assert!(heard[0].starts_with("web2 is late: last heard at least "), "{heard:?}");
    assert!(heard[1].starts_with("web2 is down: last heard at least "), "{heard:?}");

    let server = restart(server);
    assert_eq!(states(&server), known("up", "down"));
    let mut lines = server.listen("/listen");
    beat(&server, "web1", "every=3");
    beat(&server, "web2", "every=3");
    let back = lines.line().unwrap();
    let seconds = back.strip_prefix("web2 is up again after ").and_then(|after| after.strip_suffix(" s\r\n"));
    assert!(seconds.is_some_and(|seconds| seconds.parse::<u32>().unwrap() >= 7), "{back}");
    assert_eq!(server.request("DELETE", "/now?event=host-state&key=web1", &[], b"").body, "ok.");
    assert_eq!(lines.line().unwrap(), "web1 is forgotten\r\n");
    let server = restart(server);
    assert_eq!(states(&server).len(), 3);
}

#[cfg(feature = "store")]
#[cfg(feature = "store")]
#[test]
fn a_host_that_is_acknowledged_to_be_down_is_known_after_a_restart_and_is_missed_no_less() {
    let folder = Folder::new("hosts-seen");
    let file = folder.0.join("store");
    let start = || Server::start(&["--store", file.to_str().unwrap()]);
    let mut server = start();
    let mut lines = server.listen("/listen");
    beat(&server, "long", "every=86400");
    beat(&server, "web1", "every=3");
    assert!(lines.lines(4)[3].starts_with("web1 is down: last heard "));
    for (host, status) in [("web1", "seen"), ("long", "fine"), ("no-host", "seen")] {
        let said = format!("event=host-state&key={host}&status={status}&name=Florian");
        assert_eq!(server.request("POST", "/say", &[FORM], said.as_bytes()).body, "ok.");
    }
    assert_eq!(server.request("GET", "/status", &[], b"").body, "ok\n");
    let states = |server: &Server| -> Vec<String> {
        hosts(server).iter().map(|host| format!("{} {} {}", host["host"], host["state"], host["every"])).collect()
    };
    let known = ["\"long\" \"up\" 86400.0", "\"web1\" \"down\" 3.0"];
    assert_eq!(states(&server), known);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let server = start();
    let mut lines = server.listen("/listen");
    assert_eq!(states(&server), known);
    let metrics = server.request("GET", "/metrics", &[], b"").body;
    assert!(metrics.contains("\naloud_hosts{state=\"down\"} 1\n"), "{metrics}");
    beat(&server, "web1", "every=3");
    let back = lines.line().unwrap();
    let seconds = back.strip_prefix("web1 is up again after ").and_then(|back| back.strip_suffix(" s\r\n"));
    assert!(seconds.is_some_and(|seconds| seconds.parse::<u64>().unwrap() > 8), "{back}");
    assert!(lines.line().unwrap().starts_with("web1 is late: last heard "));
    assert!(lines.line().unwrap().starts_with("web1 is down: last heard "));
    assert_eq!(server.request("GET", "/status", &[], b"").status, 503);
}

#[test]
fn a_server_that_is_stopped_in_its_first_second_blames_no_host() {
    let folder = Folder::new("hosts-stopped");
    let file = folder.0.join("store");
    let mut server = Server::start(&["--store", file.to_str().unwrap()]);
    beat(&server, "web1", "every=3");
    server.signal("TERM");
    server.wait();
    let server = Server::start(&["--store", file.to_str().unwrap()]);
    server.signal("STOP");
    let stopped = std::time::Instant::now();
    // So long that the host would be down.
    wait_until("it has been stopped for long enough", || stopped.elapsed().as_secs() >= 12);
    server.signal("CONT");
    let mut lines = server.listen("/listen?since=all");
    assert_eq!(lines.line().unwrap(), "web1 is up\r\n");
    beat(&server, "web1", "every=4");
    assert_eq!(lines.line().unwrap(), "web1 now beats every 4 s\r\n");
}

/// Has so many hosts beat, on a few connections.
#[cfg(feature = "store")]
fn beat_all(server: &Server, count: usize) {
    std::thread::scope(|scope| {
        for part in 0..32 {
            scope.spawn(move || {
                let mut connection = std::io::BufReader::new(server.connect());
                for host in (part..count).step_by(32) {
                    let head = format!("GET /beat/h{host}?every=6 HTTP/1.1\r\nHost: test\r\n\r\n");
                    std::io::Write::write_all(connection.get_mut(), head.as_bytes()).unwrap();
                    assert_eq!(Answer::read(&mut connection, false).status, 200);
                }
            });
        }
    });
}

#[cfg(feature = "store")]
#[test]
fn ten_thousand_hosts_that_fall_silent_are_a_few_lines_and_hold_up_nobody() {
    let folder = Folder::new("hosts-silent");
    let file = folder.0.join("store");
    let start = || Server::start(&["--store", file.to_str().unwrap(), "--things", "20000"]);
    let mut server = start();
    beat_all(&server, 10_000);
    server.signal("TERM");
    server.wait();
    let server = start(); // from now on all are silent
    let known = hosts(&server).iter().filter(|host| host["state"] != "down").count();
    assert!(known > 5000, "{known} are among the things, which have a bound");
    let _disk = Meddler::of(&server, &["fsync:delay_enter=10ms", "fdatasync:delay_enter=10ms"]);
    let mut lines = server.listen("/listen");
    let mut all = server.listen("/listen?event=host-state&as=json");
    let (mut late, mut down, mut count, mut heartbeats) = (0, 0, 0, 0);
    let ended = AtomicBool::new(false);
    // If this thread panics, the others end too.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    std::thread::scope(|scope| {
        let ends = Ends(&ended);
        let each = scope.spawn(move || {
            let heard = (0..).map(|_| all.line().expect("it is not hung up on"));
            heard.filter(|line| line.contains(r#""status":"down""#) && line.contains("among")).take(known).count()
        });
        let spoken = scope.spawn(|| {
            let mut said = 0;
            while !ended.load(Ordering::SeqCst) {
                assert_eq!(server.request("POST", "/say", &[], b"x").status, 200);
                said += 1;
            }
            said
        });
        while down < known {
            let line = lines.line().expect("nobody is hung up on");
            let Some((told, line)) = line.split_once(" hosts are ") else {
                heartbeats += usize::from(line.trim().is_empty());
                assert!(heartbeats < 4, "{late} late, {down} down");
                continue;
            };
            count += 1;
            *if line.starts_with("late") { &mut late } else { &mut down } += told.parse::<usize>().unwrap();
        }
        drop(ends);
        assert!(count <= 5 && late <= known && down == known, "{count} lines: {late} late, {down} down");
        assert_eq!(each.join().unwrap(), known);
        let said = spoken.join().unwrap();
        assert!(said > 20, "only {said} were answered meanwhile, one after the other");
    });
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
    check("POST", "/beat/d", b"load1=?&note=n", "ok, but load1=\"?\" is left out; send a number from 0 to 1e18\n");
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
    let mut lines = server.listen("/listen?event=host-state&as=json");
    assert_eq!(server.request("DELETE", "/beat/web1", &[], b"").body, "ok.");
    let heard: Value = serde_json::from_str(&lines.line().unwrap()).unwrap();
    assert_eq!((&heard["name"], &heard["status"], &heard["key"]), (&"web1".into(), &"gone".into(), &"web1".into()));
    assert_eq!((&heard["message"], &heard["fields"]["state"]), (&"is forgotten".into(), &"forgotten".into()));
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
