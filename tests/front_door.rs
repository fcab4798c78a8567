//! Promise: whoever comes without knowing the way is told it: `/`, wrong paths, wrong methods, other origins, flags.

use std::io::{Read, Write};
use std::process::Command;

use crate::support::{Answer, Folder, Server};

#[test]
fn behind_a_proxy_the_help_has_commands_that_go_through_it() {
    let folder = Folder::new("help");
    let path = folder.0.join("socket");
    let bind = format!("unix:{}", path.display());
    let server = Server::start(&["--bind", &bind, "--trust-proxy", "unix"]);
    let help = |headers: &[&str]| {
        let headers = headers.iter().flat_map(|header| ["-H", *header]);
        let mut curl = server.curl_command(&["-s", "--unix-socket", path.to_str().unwrap(), "http://aloud.example/"]);
        String::from_utf8(curl.args(headers).output().unwrap().stdout).unwrap()
    };
    let of_proxy = help(&["X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https"]);
    assert!(of_proxy.contains(" curl -sN https://aloud.example/listen\n"), "{of_proxy}");
    assert!(of_proxy.contains(" https://aloud.example/ in a browser"), "{of_proxy}");
    assert!(help(&["X-Forwarded-For: 192.0.2.7"]).contains(" curl -sN aloud.example/listen\n"));
    let here = format!(" curl --unix-socket '{}' -sN aloud.example/listen\n", path.display());
    assert!(help(&[]).contains(&here));
    let other = Server::start(&[]);
    let of_nobody = other.curl(&["-H", "X-Forwarded-Proto: https", "/"]);
    assert!(!of_nobody.contains("https://"), "it is no proxy that is trusted: {of_nobody}");
}

#[test]
fn the_help_at_the_root_holds_commands_that_work_as_printed() {
    let server = Server::start(&[]);
    let help = server.curl(&["/"]);
    let commands: Vec<_> = help.lines().filter_map(|line| line.find("curl ").map(|start| &line[start..])).collect();
    assert_eq!(commands.len(), 12, "{help}");
    for command in commands {
        // A stream is heard for a moment (curl exits 28 when its time is up); FILE is a placeholder.
        let command =
            command.replace("FILE", "Cargo.toml").replacen("curl ", "curl -m 1 -o /dev/null -w '%{http_code}' -s ", 1);
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{command}");
    }
}

/// All lines of a header.
fn all(answer: &Answer, name: &str) -> Vec<String> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(": "));
    lines.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn other_origins_may_ask_and_are_answered() {
    let check = |flags: &[&str], origin: &[&str], named: &str, vary: &[&str]| {
        let server = Server::start(flags);
        let answer = server.request("OPTIONS", "/say", origin, b"");
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("Access-Control-Allow-Methods"), Some("GET, POST, PUT, PATCH, OPTIONS"));
        assert!(answer.header("Access-Control-Allow-Headers").unwrap().contains("Last-Event-ID"));
        for (method, target, body) in [("OPTIONS", "/listen", ""), ("POST", "/say", "x"), ("GET", "/nowhere", "")] {
            let answer = server.request(method, target, origin, body.as_bytes());
            assert_eq!(all(&answer, "Access-Control-Allow-Origin"), [named], "{target}");
            let accept = ["Accept"].into_iter().filter(|_| method != "OPTIONS");
            assert_eq!(all(&answer, "Vary"), vary.iter().copied().chain(accept).collect::<Vec<_>>(), "{target}");
        }
    };
    let two = &["--allow-origin", "https://a.example,https://b.example"];
    check(&[], &["Origin: https://a.example"], "*", &[]);
    check(&["--allow-origin", "https://a.example"], &[], "https://a.example", &["Origin"]);
    check(two, &["Origin: https://a.example"], "https://a.example", &["Origin"]);
    check(two, &["Origin: https://b.example"], "https://b.example", &["Origin"]);
    check(two, &[], "https://a.example", &["Origin"]);
}

#[test]
fn a_refusal_of_what_was_not_read_to_its_end_comes_as_it_was_asked_for() {
    let page = ["Origin: https://b.example", "Accept: application/json"];
    let check = |server: &Server, method: &str, header: &str, status: u16| {
        let answer = server.request(method, "/say", &[&page[..], &[header]].concat(), b"");
        assert_eq!((answer.status, answer.header("Connection")), (status, Some("close")), "{header}");
        assert_eq!(all(&answer, "Access-Control-Allow-Origin"), ["https://b.example"], "{header}");
        assert_eq!(all(&answer, "Vary"), ["Origin", "Accept"], "{header}");
        assert!(method == "HEAD" || answer.body.starts_with("{\"error\":\""), "{answer:?}");
    };
    let two = ["--allow-origin", "https://a.example,https://b.example"];
    let server = Server::start(&two);
    check(&server, "POST", "Content-Length: 99999999", 413);
    check(&server, "POST", "Transfer-Encoding: chunked\r\n\r\nfffff", 413);
    check(&server, "POST", "Transfer-Encoding: gzip", 501);
    check(&server, "POST", "Expect: x", 417);
    check(&server, "PURGE", "X: y", 501);
    check(&server, "HEAD", "Content-Length: x", 400);
    for head in ["HEAD / HTTP/1.1\r\nContent-Length: x", "HEAD / HTTP/1.1\r\nX : y", "HEAD / HTTP/2.0"] {
        let (mut connection, mut heard) = (server.connect(), String::new());
        connection.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
        connection.read_to_string(&mut heard).unwrap();
        assert!(heard.contains("\r\nContent-Length: ") && heard.ends_with("\r\n\r\n"), "no body: {heard:?}");
    }

    let behind_proxy = Server::start(&[&two[..], &["--trust-proxy", "127.0.0.1", "--max-per-address", "1"]].concat());
    let client = "X-Forwarded-For: 192.0.2.7";
    let _listener = behind_proxy.try_listen("/listen", &[client]).unwrap();
    check(&behind_proxy, "POST", client, 503);
}

#[test]
fn a_preflight_lets_pass_whatever_headers_a_page_sends() {
    let server = Server::start(&[]);
    let check = |asked: &str, expected: &str| {
        let asked = format!("Access-Control-Request-Headers: {asked}");
        let answer = server.request("OPTIONS", "/say", &["Origin: https://a.example", &asked], b"");
        assert_eq!(all(&answer, "Access-Control-Allow-Headers"), [expected]);
    };
    check("authorization,x-requested-with", "authorization,x-requested-with");
    check("hx-current-url,hx-request,hx-target", "hx-current-url,hx-request,hx-target");
    check("", "Authorization, Content-Type, Last-Event-ID, Cache-Control");
    check("x\u{fc}(", "Authorization, Content-Type, Last-Event-ID, Cache-Control");
}

#[test]
fn a_page_that_is_not_allowed_neither_speaks_nor_hears() {
    let server = Server::start(&["--allow-origin", "https://a.example,https://b.example"]);
    let mut listener = server.listen("/listen");
    let form = "Content-Type: application/x-www-form-urlencoded";
    let foreign: [&[&str]; 5] = [
        &["Origin: https://c.example"],
        &["Origin: https://c.example", "Sec-Fetch-Site: same-site"],
        &["Origin: null"],
        &["Origin: https://a.example.c.example", form],
        &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"],
    ];
    for headers in foreign {
        for (method, target, body) in [("GET", "/say?message=foreign", ""), ("POST", "/say/a", "message=foreign")] {
            let answer = server.request(method, target, headers, body.as_bytes());
            assert_eq!(answer.status, 403, "{method} {headers:?}");
            assert!(answer.body.contains("; ask from one that --allow-origin names\n"), "{answer:?}");
            assert_eq!(all(&answer, "Access-Control-Allow-Origin"), ["https://a.example"]);
        }
        for target in ["/beat/web1", "/listen", "/said", "/hosts", "/metrics"] {
            assert_eq!(server.request("GET", target, headers, b"").status, 403, "{target} {headers:?}");
        }
        assert_eq!(server.request("POST", "/hook/github", headers, b"{}").status, 403, "{headers:?}");
        assert_eq!(server.request("GET", "/", headers, b"").status, 200, "a link opens the page");
        assert_eq!(server.request("OPTIONS", "/say", headers, b"").status, 204, "a preflight says who may");
    }
    assert_eq!(server.request("GET", "/say?message=foreign", &["Sec-Fetch-Site: same-site"], b"").status, 403);
    let allowed: [&[&str]; 6] = [
        &[],
        &["Origin: https://a.example", "Sec-Fetch-Site: cross-site"],
        &["Origin: https://b.example"],
        &["Origin: http://test"],
        &["Origin: https://elsewhere.example", "Sec-Fetch-Site: same-origin"],
        &["Sec-Fetch-Site: none"],
    ];
    for (number, headers) in allowed.iter().enumerate() {
        let answer = server.request("GET", &format!("/say?message={number}"), headers, b"");
        assert_eq!(answer.status, 200, "{headers:?}");
        assert_eq!(listener.line().unwrap(), format!("{number}\r\n"), "what was refused is not heard");
    }
}

#[test]
fn a_variable_that_is_nearly_a_flags_is_warned_about_in_one_line() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command
        .args(["--bind", "127.0.0.1:0"])
        .env("ALOUD_HITSORY", "9")
        .env("ALOUD_SERVER", "here")
        .env("ALOUD_QUEUE", "9");
    let log = Server::start_command(command).log();
    assert_eq!(log.matches("[WARN]").count(), 1, "{log}");
    assert!(log.contains("[WARN] ALOUD_HITSORY does nothing; is ALOUD_HISTORY meant?\n"), "{log}");
}

#[test]
fn what_this_binary_was_built_without_is_one_line_and_exit_2() {
    let features = [("store", "STORE", cfg!(feature = "store")), ("redis", "REDIS", cfg!(feature = "redis"))];
    for (feature, variable, is_built) in features {
        let variable = format!("ALOUD_{variable}");
        for (source, result) in [
            (format!("--{feature}"), run(&[&format!("--{feature}"), "x", "--bind", "x"], &[])),
            (variable.clone(), run(&["--bind", "x"], &[(&variable, "x")])),
        ] {
            let line = format!(
                "aloud: {source} takes the feature {feature}; give a binary that was built with it, or leave {source} out\n"
            );
            assert_eq!(result.0, 2);
            assert_eq!(result.2 == line, !is_built, "{}", result.2);
        }
    }
}

#[test]
fn an_origin_that_can_never_match_is_one_line_and_exit_2() {
    for origin in ["https://a.example/", "a.example", "HTTP://HOST", "https://a.example:443", "https://a.example,b"] {
        let (code, _, line) = run(&["--allow-origin", origin], &[]);
        assert_eq!((code, line.lines().count()), (2, 1), "{line}");
        assert!(line.starts_with(&format!("aloud: --allow-origin is \"{origin}\"; give *, or origins")), "{line}");
    }
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    let output = command.args(arguments).envs(environment.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn help_and_version_are_printed_and_bad_usage_is_one_line_and_exit_2() {
    let (code, help, _) = run(&["--help"], &[]);
    assert_eq!(code, 0);
    assert!(help.contains("--max-listeners N"), "{help}");
    let (code, version, _) = run(&["--version"], &[]);
    assert_eq!(code, 0);
    assert!(
        version.starts_with(concat!("aloud ", env!("CARGO_PKG_VERSION"), " (")) && version.ends_with(")\n"),
        "{version}"
    );
    let check = |arguments: &[&str], environment: &[(&str, &str)], line: &str| {
        assert_eq!(run(arguments, environment), (2, String::new(), format!("{line}\n")));
    };
    check(&["--queue", "none"], &[], "aloud: --queue is \"none\"; give a whole number from 8 to 1000000");
    let line =
        "aloud: ALOUD_BIND is \"here\"; give :4000, 127.0.0.1:4000, [::1]:4000, localhost:4000 or unix:/run/aloud.sock";
    check(&[], &[("ALOUD_BIND", "here")], line);
}

#[test]
fn an_address_in_use_is_one_line_and_exit_1() {
    let server = Server::start(&[]);
    let (code, _, line) = run(&["--bind", &server.address().to_string()], &[]);
    assert_eq!((code, line.lines().count()), (1, 1), "{line}");
    assert!(line.contains("Address already in use") && line.contains("--bind"), "{line}");
}

#[test]
fn every_interface_means_both_ip_versions() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", ":0"]);
    let server = Server::start_command(command);
    let port = server.address().port();
    assert!(server.log().contains(&format!("Running at :{port}\n")), "{}", server.log());
    for host in ["127.0.0.1", "[::1]"] {
        assert_eq!(server.curl(&[&format!("http://{host}:{port}/say"), "-d", "message=x"]), "ok.");
    }
}

#[test]
fn a_socket_file_serves_is_replaced_when_stale_and_removed_at_the_end() {
    let path = std::env::temp_dir().join(format!("aloud-test-{}.sock", std::process::id()));
    let path_text = path.to_str().unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // a file that nobody listens at any more
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", &format!("unix:{path_text}")]);
    let mut server = Server::start_command(command);
    let mut listener = server.curl_command(&["-N", "--unix-socket", path_text, "http://localhost/listen"]);
    let listener = listener.stdout(std::process::Stdio::piped()).spawn().unwrap();
    crate::support::wait_until("the listener is there", || {
        let answer = server.curl(&["-i", "--unix-socket", path_text, "http://localhost/say", "-d", "message=Hi"]);
        answer.contains("Aloud-Listeners: 1\r\n")
    });
    let (code, _, line) = run(&["--bind", &format!("unix:{path_text}")], &[]);
    assert_eq!(code, 1, "a socket file in use is not taken over: {line}");
    server.signal("TERM");
    assert!(server.wait().success());
    let heard = listener.wait_with_output().unwrap();
    assert!(heard.status.success());
    assert_eq!(String::from_utf8_lossy(&heard.stdout), "Hi\r\n");
    assert!(!path.exists());
}

/// A server at the socket file `path`, started with `umask` 000, so that its own doing decides.
fn at_socket_file(path: &std::path::Path, flags: &str) -> Server {
    let mut command = Command::new("sh");
    let aloud = env!("CARGO_BIN_EXE_aloud");
    command.args(["-c", &format!("umask 000; exec {aloud} --bind unix:{} {flags}", path.display())]);
    Server::start_command(command)
}

#[test]
fn a_socket_file_has_the_mode_that_was_asked_for() {
    let folder = Folder::new("mode");
    let path = folder.0.join("socket");
    for (flags, expected) in [("", 0o660), ("--socket-mode 0600", 0o600), ("--socket-mode 777", 0o777)] {
        let _server = at_socket_file(&path, flags);
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o7777, expected, "{flags}");
    }
    for bad in ["", "rw", "0888", "1777", "+660", "-1"] {
        let (code, _, line) = run(&["--socket-mode", bad], &[]);
        let expected = format!("aloud: --socket-mode is \"{bad}\"; give permissions in octal, such as 0660 or 0666\n");
        assert_eq!((code, line), (2, expected));
    }
}

#[test]
fn a_server_that_stops_leaves_the_socket_file_of_another_that_has_replaced_its_own() {
    let folder = Folder::new("replaced");
    let path = folder.0.join("socket");
    let mut one = at_socket_file(&path, "");
    std::fs::remove_file(&path).unwrap();
    let mut other = at_socket_file(&path, "");
    one.signal("TERM");
    assert!(one.wait().success());
    let path_text = path.to_str().unwrap();
    assert_eq!(other.curl(&["--unix-socket", path_text, "http://localhost/say", "-d", "message=Hi"]), "ok.");
    other.signal("TERM");
    assert!(other.wait().success());
    assert!(!path.exists(), "its own it takes away");
}

#[test]
fn what_a_client_sends_cannot_drive_the_terminal_that_shows_the_log() {
    let server = Server::start(&["--log", "trace"]);
    let mut connection = server.connect();
    let nasty = b"G\x1bT /\x1b[31m\x07x?\x7f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut connection, nasty).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut connection, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 40"), "{answer}");
    assert!(!answer.contains('\u{1b}'), "the answer shows it escaped: {answer:?}");
    let log = server.wait_for_log("is refused with 400");
    assert!(!log.contains("31m"), "nothing of it is in the log: {log:?}");
    assert!(!log.chars().any(|char| char.is_control() && char != '\n'), "{log:?}");
}
