//! Promise: behind nginx as Debian ships it, with its default buffering, what is said arrives at once: over HTTP/1.1,
//! and over TLS and HTTP/2, at curl and at Chromium. The configuration is the one in the manual. And behind a cache
//! what is said again is heard again.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::readers::Reader;
use crate::support::{Answer, Listener, PATIENCE, Server, wait_until};

const SNIPPET: &str = include_str!("proxy/nginx.conf");

#[test]
fn the_manual_shows_the_configuration_that_is_tested() {
    let page = std::fs::read_to_string("src/manual/proxies.md").unwrap();
    assert!(page.contains(&format!("```nginx\n{SNIPPET}```\n")), "proxies.md and tests/proxy/nginx.conf differ");
}

#[test]
fn nginx_lets_each_message_through_before_the_next_is_said() {
    let server = Server::start(&[]);
    let nginx = Nginx::start(&server);
    let mut connection = TcpStream::connect(("127.0.0.1", nginx.plain)).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let started = Instant::now();
    connection.write_all(b"GET /listen HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut reader = BufReader::new(connection);
    let head = Answer::read_head(&mut reader);
    println!("nginx, HTTP/1.1: the head after {:?}", started.elapsed());
    assert_eq!(head.status, 200);
    let mut listener = Listener::new(reader, head);
    each_is_heard_before_the_next_is_said(&server, "nginx, HTTP/1.1", || listener.line().unwrap());
}

#[test]
fn curl_hears_each_message_over_tls_and_http_2_before_the_next_is_said() {
    let server = Server::start(&["--log", "debug"]);
    let nginx = Nginx::start(&server);
    let mut curl = Command::new("curl")
        .args(["-sNik", "--http2", "--max-time", "120", &format!("https://127.0.0.1:{}/listen", nginx.tls)])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = BufReader::new(curl.stdout.take().unwrap());
    server.wait_for_log(" listens"); // curl shows the end of the head only when a body begins
    server.say("first");
    let head = Answer::read_head(&mut heard);
    assert!(head.head.starts_with("HTTP/2 200"), "{head:?}");
    let mut line = || {
        let mut line = String::new();
        heard.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(line(), "first\r\n");
    each_is_heard_before_the_next_is_said(&server, "nginx, TLS, HTTP/2, curl", line);
    drop(server); // curl's stream ends, and curl
    assert!(curl.wait().unwrap().code().is_some());
}

#[test]
fn chromium_hears_over_tls_and_http_2_and_comes_back_when_the_server_was_away() {
    let server = Server::start(&[]);
    let nginx = Nginx::start(&server);
    let url = format!("https://127.0.0.1:{}/listen", nginx.tls);
    let page = Reader::start(&["node", "chromium.mjs"], &["/usr/bin/chromium"], &url);
    each_is_heard_before_the_next_is_said(&server, "nginx, TLS, HTTP/2, Chromium", || message(&page));

    // Away: nginx answers in the server's place, and the page goes on trying.
    let address = server.address();
    drop(server);
    let tries = nginx.log().matches("GET /listen").count();
    wait_until("the page tries twice while the server is away", || {
        nginx.log().matches("GET /listen").count() >= tries + 2
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", &address.to_string()]);
    let server = Server::start_command(command);
    wait_until("the page is back", || server.say("back") == 1);
    while message(&page) != "back\r\n" {}

    drop(page);
    drop(server);
    wait_until("nginx has logged the requests", || nginx.log().contains("\"GET /listen HTTP/2.0\""));
}

#[test]
fn haproxy_forwards_a_chunked_body_with_a_trailer_and_it_is_heard() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let port = free_port();
    let configuration = std::env::temp_dir().join(format!("aloud-haproxy-{port}"));
    let text = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         listen aloud\n bind 127.0.0.1:{port}\n server aloud {}\n",
        server.address()
    );
    std::fs::write(&configuration, text).unwrap();
    let mut haproxy = Command::new("/usr/sbin/haproxy")
        .args(["-db", "-f"])
        .arg(&configuration)
        .stderr(Stdio::null())
        .spawn()
        .expect("haproxy is installed; run scripts/install-test-tools.sh");
    wait_until("haproxy listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = "POST /say HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n";
    connection.write_all(format!("{head}2\r\nHi\r\n0\r\nX-Sum: 1\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(Answer::read(&mut BufReader::new(connection), false).body, "ok.");
    assert_eq!(listener.line().unwrap(), "Hi\r\n");
    haproxy.kill().unwrap();
    haproxy.wait().unwrap();
    std::fs::remove_file(configuration).unwrap();
}

#[test]
fn what_is_said_three_times_through_varnish_is_heard_three_times() {
    let server = Server::start(&[]);
    let mut listener = server.listen("/listen");
    let varnish = Varnish::start(&server);
    let ask = |path: &str, header: &str| {
        let mut connection = TcpStream::connect(("127.0.0.1", varnish.port)).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n").unwrap();
        Answer::read(&mut BufReader::new(connection), false)
    };
    for _ in 0..3 {
        let answer = ask("/say?message=once", "");
        assert_eq!((answer.status, answer.body.as_str(), answer.header("Aloud-Listeners")), (200, "ok.", Some("1")));
        assert_eq!(listener.line().unwrap(), "once\r\n");
    }
    assert_eq!(ask("/nowhere", "").body.split(':').next(), Some("aloud"));
    let json = ask("/nowhere", "Accept: application/json\r\n");
    assert!(json.body.starts_with("{\"error\""), "an answer for another is not ours: {json:?}");
}

#[test]
fn nginx_is_believed_when_it_says_who_asks_whatever_the_client_says() {
    let server = Server::start(&["--trust-proxy", "127.0.0.1", "--log", "debug"]);
    let nginx = Nginx::start(&server);
    for (number, header) in ["", "X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7"].iter().enumerate() {
        let url = format!("http://127.0.0.1:{}/say/{number}?message=x", nginx.plain);
        let mut curl = Command::new("curl");
        curl.args(["-sSf", "--interface", "127.0.0.2", "--max-time", "30", "-H", header, &url]);
        assert_eq!(curl.output().unwrap().stdout, b"ok.", "{header}");
        server.wait_for_log(&format!("] 127.0.0.2 asks \"GET\" \"/say/{number}\"\n"));
    }
}

/// The message of the next event that is one, as a line.
fn message(page: &Reader) -> String {
    loop {
        let line = page.line("the next message");
        let Ok(event) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        let data: serde_json::Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
        if let Some(text) = data["message"].as_str() {
            return format!("{text}\r\n");
        }
    }
}

/// A proxy that holds back what does not fill a buffer would be late for ever. How late they are is printed.
fn each_is_heard_before_the_next_is_said(server: &Server, way: &str, mut heard: impl FnMut() -> String) {
    let mut late: Vec<Duration> = (0..50)
        .map(|number| {
            let said = Instant::now();
            server.say(&number.to_string());
            assert_eq!(heard(), format!("{number}\r\n"), "{way}");
            said.elapsed()
        })
        .collect();
    late.sort_unstable();
    println!("{way}: heard after {:?} (median), {:?} (at most)", late[late.len() / 2], late.last().unwrap());
}

/// nginx in front of a server; killed when dropped.
struct Nginx {
    process: Child,
    folder: PathBuf,
    plain: u16,
    tls: u16,
}

impl Nginx {
    /// Starts nginx with the manual's configuration, its ports and paths replaced.
    fn start(server: &Server) -> Nginx {
        let folder = std::env::temp_dir().join(format!("aloud-nginx-{}", server.address().port()));
        std::fs::create_dir_all(&folder).unwrap();
        sign_certificate(&folder);
        // Somebody else may take the ports between the look and nginx's bind: then once more.
        for _ in 0..10 {
            let [plain, tls] = [free_port(), free_port()];
            let path = |name: &str| folder.join(name).display().to_string();
            let snippet = [
                ("listen 80;", format!("listen 127.0.0.1:{plain};")),
                ("listen 443 ", format!("listen 127.0.0.1:{tls} ")),
                ("/etc/ssl/certs/aloud.pem", path("certificate")),
                ("/etc/ssl/private/aloud.key", path("key")),
                ("127.0.0.1:4000", server.address().to_string()),
            ]
            .iter()
            .fold(SNIPPET.to_owned(), |text, (from, to)| {
                assert!(text.contains(from), "{from:?} in the snippet");
                text.replace(from, to)
            });
            std::fs::write(folder.join("nginx.conf"), format!("{}{snippet}}}\n", around(&folder))).unwrap();
            let mut process = Command::new("/usr/sbin/nginx")
                .args(["-p", &path(""), "-c", "nginx.conf", "-e", "error.log"])
                .spawn()
                .expect("nginx is installed; run scripts/install-test-tools.sh");
            let mut ended = None;
            wait_until("nginx listens, or ends", || {
                ended = process.try_wait().unwrap();
                ended.is_some() || TcpStream::connect(("127.0.0.1", tls)).is_ok()
            });
            if ended.is_none() {
                return Nginx { process, folder, plain, tls };
            }
        }
        panic!("nginx does not start: {}", std::fs::read_to_string(folder.join("error.log")).unwrap_or_default());
    }

    /// The requests it was asked so far and that have ended.
    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("access.log")).unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Debian's nginx.conf around a site, with nothing about proxies. One process, in the foreground, in `folder`.
fn around(folder: &std::path::Path) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{ worker_connections 1024; }}\nhttp {{ access_log {folder}/access.log;\n{temporary}"
    )
}

/// Varnish as Debian ships it in front of a server, with its built-in rules alone; ended when dropped.
struct Varnish {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Varnish {
    fn start(server: &Server) -> Varnish {
        let folder = std::env::temp_dir().join(format!("aloud-varnish-{}", server.address().port()));
        // Somebody else may take the port between the look and Varnish's bind: then once more.
        for _ in 0..10 {
            let port = free_port();
            let mut process = Command::new("/usr/sbin/varnishd")
                .args(["-F", "-n", folder.to_str().unwrap(), "-a", &format!("127.0.0.1:{port}")])
                .args(["-b", &server.address().to_string()])
                .stderr(Stdio::null())
                .spawn()
                .expect("Varnish is installed; run scripts/install-test-tools.sh");
            let mut ended = None;
            wait_until("Varnish listens, or ends", || {
                ended = process.try_wait().unwrap();
                ended.is_some() || TcpStream::connect(("127.0.0.1", port)).is_ok()
            });
            if ended.is_none() {
                return Varnish { process, folder, port };
            }
        }
        panic!("Varnish does not start");
    }
}

impl Drop for Varnish {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status(); // it ends its worker then
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn sign_certificate(folder: &std::path::Path) {
    let arguments = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout key -out certificate";
    let mut openssl = Command::new("openssl");
    openssl.args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null());
    assert!(openssl.status().expect("openssl is installed; run scripts/install-test-tools.sh").success());
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
