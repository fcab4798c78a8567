//! Shared by all tests: the real binary on a port of its own, real curl, and a raw listener that reads with a deadline.
//! Nothing here sleeps and hopes: it waits for an event and says what was late.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for what should happen at once, on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_until_within(PATIENCE, what, condition);
}

/// Waits until `condition` holds, at most for `limit`.
pub fn wait_until_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "late after {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A folder of a test's own, gone when dropped with all that is in it; also with what a browser that was killed still
/// writes there for a moment. If the test fails, the file `errors` in it is shown.
pub struct Folder(pub PathBuf);

impl Folder {
    /// An empty folder with `name` in its own.
    pub fn new(name: &str) -> Folder {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("aloud-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// The file `errors` for a process to complain into, so that the complaints of a test that passes frighten nobody.
    pub fn errors(&self) -> std::fs::File {
        std::fs::OpenOptions::new().create(true).append(true).open(self.0.join("errors")).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let errors = std::fs::read(self.0.join("errors")).unwrap_or_default();
        if std::thread::panicking() && !errors.is_empty() {
            eprintln!("{}", String::from_utf8_lossy(&errors));
        }
        let deadline = Instant::now() + PATIENCE;
        while std::fs::remove_dir_all(&self.0).is_err() && self.0.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Has `command` see the clock that `FAKETIME` or the file of `FAKETIME_TIMESTAMP_FILE` says, as when an administrator
/// sets it: what measures spans of time goes on.
pub fn set_clock(command: &mut Command) -> &mut Command {
    let library =
        Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"]).output().expect("it is installed");
    let library = String::from_utf8(library.stdout).unwrap();
    command.env("LD_PRELOAD", library.trim()).env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// A running `aloud`; killed when dropped.
pub struct Server {
    process: Child,
    address: SocketAddr,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Server {
    /// Starts the binary with `flags` on a free port of the loopback interface.
    pub fn start(flags: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
        command.args(["--bind", "127.0.0.1:0"]).args(flags).stdin(Stdio::null());
        Server::start_command(command)
    }

    /// Starts the binary by `command`, which has to lead to a server on the loopback interface.
    pub fn start_command(mut command: Command) -> Server {
        let mut process = command.stderr(Stdio::piped()).spawn().expect("aloud starts");
        let mut stderr = BufReader::new(process.stderr.take().unwrap());
        let log = Arc::new(Log::default());
        let written = log.clone();
        std::thread::spawn(move || {
            let mut line = vec![];
            while stderr.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                written.text.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                written.grown.notify_all();
                line.clear();
            }
        });
        let mut server = Server { process, address: ([127, 0, 0, 1], 0).into(), log };
        let running = server.wait_for_log("Running at ");
        let name = running.split("Running at ").nth(1).unwrap().lines().next().unwrap().to_owned();
        if let Some(port) = name.rsplit_once(':').and_then(|(_, port)| port.parse().ok()) {
            server.address.set_port(port);
        }
        server
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT` and `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.log.text.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Waits until the log holds `text`; returns the log.
    pub fn wait_for_log(&self, text: &str) -> String {
        let log = self.log.text.lock().unwrap();
        let (log, waited) = self.log.grown.wait_timeout_while(log, PATIENCE, |log| !log.contains(text)).unwrap();
        let log = log.clone();
        assert!(!waited.timed_out(), "late: {text:?} in the log, which is:\n{log}");
        log
    }

    /// Runs `curl -sS ARGUMENTS` and returns what it printed. `/say`, `/said` and `/listen...` stand for this server's
    /// URLs.
    pub fn curl(&self, arguments: &[&str]) -> String {
        self.curl_with(arguments, b"")
    }

    /// Runs curl with `arguments` and with `input` on its standard input; returns its output.
    pub fn curl_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut curl = self.curl_command(arguments);
        curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut curl = curl.spawn().expect("curl is installed");
        let _ = curl.stdin.take().unwrap().write_all(input);
        let output = curl.wait_with_output().unwrap();
        assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A curl process that is not started yet.
    pub fn curl_command(&self, arguments: &[&str]) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "120"]);
        let ours = |text: &str| text == "/" || ["/say", "/said", "/listen"].iter().any(|path| text.starts_with(path));
        curl.args(arguments.iter().map(|argument| match ours(argument) {
            true => self.url(argument),
            false => (*argument).to_owned(),
        }));
        curl
    }

    /// Says `text` and returns how many listeners it reached.
    pub fn say(&self, text: &str) -> usize {
        let answer = self.request("POST", "/say", &[], text.as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok."), "{answer:?}");
        answer.header("Aloud-Listeners").unwrap().parse().unwrap()
    }

    /// One request on a connection of its own.
    pub fn request(&self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut connection = self.connect();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}{length}\r\n");
        connection.write_all(&[head.as_bytes(), body].concat()).unwrap();
        Answer::read(&mut BufReader::new(connection), method == "HEAD")
    }

    /// A connection that has sent nothing yet and gives up after [`PATIENCE`].
    pub fn connect(&self) -> TcpStream {
        let connection = TcpStream::connect(self.address).expect("the server accepts");
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.set_write_timeout(Some(PATIENCE)).unwrap();
        connection
    }

    /// A listener at `target` (`/listen?as=json`), its head read.
    pub fn listen(&self, target: &str) -> Listener {
        self.try_listen(target, &[]).unwrap_or_else(|answer| panic!("{answer:?}"))
    }

    /// Listens at `target` with further headers; the answer, if it is no stream.
    pub fn try_listen(&self, target: &str, headers: &[&str]) -> Result<Listener, Answer> {
        let mut connection = self.connect();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        connection.write_all(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{headers}\r\n").as_bytes()).unwrap();
        let mut reader = BufReader::new(connection);
        let head = Answer::read_head(&mut reader);
        match head.status {
            200 if head.header("Transfer-Encoding") == Some("chunked") => Ok(Listener::new(reader, head)),
            _ => Err(head.read_body(&mut reader)),
        }
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        count_entries(&format!("/proc/{}/task", self.pid()))
    }

    /// Has it make what it makes for its first connections and then keeps.
    pub fn warm_up(&self) {
        for _ in 0..8 {
            let mut connection = self.connect();
            connection.write_all(b"GET /health HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
            connection.read_to_end(&mut vec![]).unwrap();
        }
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        count_entries(&format!("/proc/{}/fd", self.pid()))
    }

    /// Its resident memory, in bytes.
    pub fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        1024 * line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    }

    /// The processor time it has taken, in hundredths of a second (the 14th and 15th field of proc_pid_stat(5)).
    pub fn processor_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// Sends it `signal` (`TERM`, `INT`).
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([format!("-{signal}"), self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("the server ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}

fn count_entries(folder: &str) -> usize {
    std::fs::read_dir(folder).map_or(0, |entries| entries.count())
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Reads one answer with a `Content-Length`.
    pub fn read(reader: &mut impl BufRead, head_only: bool) -> Answer {
        let head = Answer::read_head(reader);
        if head_only { head } else { head.read_body(reader) }
    }

    /// Reads the head of one answer.
    pub fn read_head(reader: &mut impl BufRead) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let length = reader.read_line(&mut head).unwrap_or_else(|error| panic!("{error} after {head:?}"));
            assert!(length > 0, "the connection ended after {head:?}");
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("{head:?}"));
        Answer { status, head, body: String::new() }
    }

    fn read_body(mut self, reader: &mut impl BufRead) -> Answer {
        let length = self.header("Content-Length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        self.body = String::from_utf8_lossy(&body).into_owned();
        self
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A raw listener over HTTP/1.1.
pub struct Listener {
    reader: BufReader<TcpStream>,
    /// The head of the answer.
    pub head: Answer,
    text: Vec<u8>,
    ended: bool,
}

impl Listener {
    /// A listener whose answer's head was read.
    pub fn new(reader: BufReader<TcpStream>, head: Answer) -> Listener {
        Listener { reader, head, text: vec![], ended: false }
    }

    /// The next line, with its line end; `None` when the stream ended properly. Heartbeats are lines like others.
    pub fn line(&mut self) -> Option<String> {
        self.try_line().unwrap_or_else(|error| panic!("late, or cut: the next line ({error})"))
    }

    /// The next line; an error where the connection ended without a last chunk, or nothing came.
    pub fn try_line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
                let rest = self.text.split_off(end + 1);
                let line = std::mem::replace(&mut self.text, rest);
                return Ok(Some(String::from_utf8(line).unwrap()));
            }
            if self.ended {
                assert!(self.text.is_empty(), "the stream ended inside a line: {:?}", self.text);
                return Ok(None);
            }
            match self.try_chunk()? {
                Some(chunk) => self.text.extend(chunk),
                None => self.ended = true,
            }
        }
    }

    /// The next `count` lines.
    pub fn lines(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.line().expect("the stream goes on")).collect()
    }

    /// The next chunk; `None` for the last one.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        self.try_chunk().unwrap_or_else(|error| panic!("late, or cut: the next chunk ({error})"))
    }

    fn try_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut size = String::new();
        self.reader.read_line(&mut size)?;
        if !size.ends_with("\r\n") {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("cut at {size:?}")));
        }
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap_or_else(|_| panic!("{size:?} is no chunk size"));
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk)?;
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// The connection, for those who misbehave.
    pub fn connection(&self) -> &TcpStream {
        self.reader.get_ref()
    }
}
