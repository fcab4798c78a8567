//! Promise: with `--redis`, several servers are one conversation: what is said at one is heard at all, in one order;
//! who moves from one to another misses nothing; and when Redis is away, emptied or out of reach, listeners stay and
//! nothing is skipped in silence.

use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stop::{check_stop, stops};
use crate::support::{Answer, Listener, PATIENCE, Server, set_clock, wait_until};

/// Messages said at three servers at once; `ALOUD_TEST_RELAYED` says otherwise.
const RELAYED: usize = 3000;

/// Debian's Redis on a port of its own; killed when dropped, its files removed. `ALOUD_TEST_REDIS` may name another
/// server, as `valkey-server`.
pub struct Redis {
    process: Option<Child>,
    pub port: u16,
    folder: PathBuf,
    flags: Vec<String>,
}

impl Redis {
    /// Starts one that keeps everything it was told, with further `flags`.
    pub fn start(flags: &[&str]) -> Redis {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("aloud-redis-{}-{port}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut redis = Redis { process: None, port, folder, flags };
        redis.start_again();
        redis
    }

    pub fn start_again(&mut self) {
        let mut command = Command::new(std::env::var("ALOUD_TEST_REDIS").unwrap_or("redis-server".to_owned()));
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
        command.arg(&self.folder).args(["--appendonly", "yes", "--appendfsync", "always"]).args(&self.flags);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.process = Some(started.expect("redis-server is installed; run scripts/install-test-tools.sh"));
        wait_until("Redis answers", || {
            let Ok(mut connection) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
            let mut answer = [0; 4];
            connection.write_all(b"PING\r\n").is_ok()
                && std::io::Read::read_exact(&mut connection, &mut answer).is_ok()
                && (answer == *b"+PON" || answer == *b"-NOA")
        });
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Sends the process `signal` (`STOP`, `CONT`).
    fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([format!("-{signal}"), pid]).status().unwrap().success());
    }

    /// Its answer to a command.
    pub fn ask(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(command).output();
        String::from_utf8(output.expect("redis-cli comes with redis-server").stdout).unwrap().trim_end().to_owned()
    }

    /// A number out of what `INFO SECTION` tells, after `start`.
    pub fn count(&self, section: &str, start: &str) -> u64 {
        let info = self.ask(&["INFO", section]);
        let rest = info.split_once(start).map_or("0", |(_, rest)| rest);
        rest.split(|char: char| !char.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    pub fn empty(&self) {
        let _ = std::fs::remove_dir_all(&self.folder);
        std::fs::create_dir(&self.folder).unwrap();
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A way to Redis that can be cut, and can lead to another Redis.
pub struct Bridge {
    port: u16,
    to: Arc<AtomicU16>,
    open: Arc<AtomicBool>,
    ends: Arc<Mutex<Vec<TcpStream>>>,
}

impl Bridge {
    pub fn to(redis: &Redis) -> Bridge {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU16::new(redis.port)));
        let bridge = Bridge { port, to: to.clone(), open: Arc::new(AtomicBool::new(true)), ends: Arc::default() };
        let (open, ends) = (bridge.open.clone(), bridge.ends.clone());
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut ends = ends.lock().unwrap();
                let far = TcpStream::connect(("127.0.0.1", to.load(Ordering::SeqCst)));
                let Ok(far) = far else { continue };
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                ends.extend([near, far]);
            }
        });
        bridge
    }

    pub fn cut(&self) {
        let mut ends = self.ends.lock().unwrap();
        self.open.store(false, Ordering::SeqCst);
        ends.drain(..).for_each(|end| _ = end.shutdown(Shutdown::Both));
    }

    /// Leads to `redis` from the next connection on.
    pub fn lead_to(&self, redis: &Redis) {
        self.to.store(redis.port, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

pub fn start(url: &str) -> Server {
    Server::start(&["--redis", url, "--queue", "100000"])
}

fn three(redis: &Redis) -> [Server; 3] {
    [(); 3].map(|()| start(&redis.url()))
}

pub fn read(line: &str) -> (u64, String) {
    let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    let id = message["id"].as_str().unwrap_or_else(|| panic!("{line}"));
    (id.parse().unwrap(), message["message"].as_str().unwrap().to_owned())
}

pub fn hear(listener: &mut Listener, count: usize) -> Vec<(u64, String)> {
    let lines = std::iter::from_fn(|| listener.line()).filter(|line| line.trim_end() != "");
    lines.take(count).map(|line| read(&line)).collect()
}

pub fn texts(heard: &[(u64, String)]) -> Vec<&str> {
    heard.iter().map(|(_, text)| text.as_str()).collect()
}

pub fn health(server: &Server) -> String {
    server.request("GET", "/health", &[], b"").body
}

pub fn try_say(server: &Server, text: &str) -> u16 {
    server.request("POST", "/say", &[], text.as_bytes()).status
}

#[test]
fn a_stop_amid_messages_delivers_what_was_accepted() {
    let redis = Redis::start(&[]);
    (0..stops()).for_each(|_| check_stop(&["--redis", &redis.url()], 10, 100));
}

#[test]
fn what_is_said_at_one_server_is_heard_at_all_in_one_order() {
    let count = std::env::var("ALOUD_TEST_RELAYED").map_or(RELAYED, |text| text.parse().unwrap());
    let redis = Redis::start(&["--appendfsync", "no"]);
    let servers = three(&redis);
    std::thread::scope(|scope| {
        let listening: Vec<_> = servers
            .iter()
            .map(|server| {
                let mut listener = server.listen("/listen?as=json");
                scope.spawn(move || hear(&mut listener, count))
            })
            .collect();
        for (place, server) in servers.iter().enumerate() {
            for speaker in 0..4 {
                scope.spawn(move || {
                    let mut reader = BufReader::new(server.connect());
                    for number in (place * 4 + speaker..count).step_by(12) {
                        let text = number.to_string();
                        let length = text.len();
                        let request =
                            format!("POST /say HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n{text}");
                        reader.get_mut().write_all(request.as_bytes()).unwrap();
                        let answer = Answer::read(&mut reader, false);
                        assert_eq!(answer.status, 200, "{answer:?}");
                        assert_eq!(answer.header("Aloud-Listeners"), Some("1"), "the listeners of that server");
                    }
                });
            }
        }
        let heard: Vec<_> = listening.into_iter().map(|listener| listener.join().unwrap()).collect();
        assert!(heard[0].is_sorted_by(|a, b| a.0 < b.0), "the order of ids");
        assert!(heard[1] == heard[0] && heard[2] == heard[0], "one order for all");
        let mut numbers: Vec<usize> = heard[0].iter().map(|(_, text)| text.parse().unwrap()).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..count), "each once");
    });
}

#[test]
fn who_moves_to_another_server_with_its_last_id_misses_nothing() {
    let redis = Redis::start(&[]);
    let [first, second, third] = three(&redis);
    let mut listener = first.listen("/listen?as=json");
    for number in 0..10 {
        [&first, &second, &third][number % 3].say(&number.to_string());
    }
    let heard = hear(&mut listener, 4);
    drop((listener, first));
    let late = start(&redis.url());
    for server in [&second, &third, &late] {
        let resumed = format!("Last-Event-ID: {}", heard[3].0);
        let mut listener = server.try_listen("/listen?as=json", &[&resumed]).unwrap();
        server.say("live");
        let rest = hear(&mut listener, 7);
        assert_eq!(texts(&rest)[..6], ["4", "5", "6", "7", "8", "9"]);
        assert_eq!(rest[6].1, "live");
    }
}

#[test]
fn while_redis_is_away_speakers_are_refused_at_once_listeners_stay_and_nothing_is_skipped() {
    let mut redis = Redis::start(&[]);
    let [first, second, _] = three(&redis);
    let mut listeners = [first.listen("/listen?as=json"), second.listen("/listen?as=json")];
    first.say("before");
    redis.stop();
    second.wait_for_log("Redis is away");
    first.wait_for_log("Redis is away");
    let asked = Instant::now();
    assert_eq!((try_say(&first, "lost"), try_say(&second, "lost")), (503, 503));
    assert!(asked.elapsed() < PATIENCE, "at once");
    assert!(health(&first).contains("\"status\":\"ok\"") && health(&first).contains("\"redis\":\"failing\""));
    redis.start_again();
    wait_until("both are back", || [&first, &second].iter().all(|server| health(server).contains("\"redis\":\"ok\"")));
    second.say("after");
    for listener in &mut listeners {
        assert_eq!(texts(&hear(listener, 2)), ["before", "after"], "on the same connection");
    }
}

/// How long Redis is away in the tests below.
const AWAY: Duration = Duration::from_secs(10);

/// The most time that a server takes to refuse a message when it knows that Redis is away. It is less than the two
/// seconds that it would wait for Redis.
const AT_ONCE: Duration = Duration::from_millis(1900);

/// The most time until the first refusals where Redis hangs: two seconds, and half a one for a slow machine.
const FIRST_REFUSALS: Duration = Duration::from_millis(2500);

/// Takes Redis away for ten seconds and looks at all that is promised meanwhile and afterwards. Messages that begin
/// with `maybe` may be heard or not.
fn redis_goes_away_and_comes_back(
    redis: &mut Redis,
    go: impl FnOnce(&mut Redis, &Server),
    come: impl FnOnce(&mut Redis),
) {
    let servers = [(); 3].map(|()| Server::start(&["--redis", &redis.url(), "--heartbeat", "1"]));
    let mut listeners: Vec<_> = servers.iter().map(|server| server.listen("/listen?as=json")).collect();
    servers.iter().cycle().take(9).enumerate().for_each(|(number, server)| _ = server.say(&format!("before {number}")));
    let mut heard = [(); 3].map(|()| vec![]);
    let gone = Instant::now();
    go(redis, &servers[0]);
    servers.iter().for_each(|server| _ = server.wait_for_log("Redis is away"));
    let mut refused = 0;
    while gone.elapsed() < AWAY {
        for server in &servers {
            let asked = Instant::now();
            assert_eq!(try_say(server, "refused"), 503);
            assert!(asked.elapsed() < AT_ONCE, "refused at once, not after {:?}", asked.elapsed());
            let health = server.request("GET", "/health", &[], b"");
            assert_eq!((health.status, health.body.contains("\"redis\":\"failing\"")), (200, true), "{health:?}");
            refused += 1;
        }
        // An empty line is a sign of life: the stream is there, and served.
        for (listener, heard) in listeners.iter_mut().zip(&mut heard) {
            let lines = std::iter::from_fn(|| listener.line()).take_while(|line| line.trim_end() != "");
            heard.extend(lines.map(|line| read(&line)));
        }
    }
    assert!(refused >= 9, "{refused}");
    come(redis);
    wait_until("all are back", || servers.iter().all(|server| health(server).contains("\"redis\":\"ok\"")));
    servers.iter().cycle().take(9).enumerate().for_each(|(number, server)| _ = server.say(&format!("after {number}")));
    for (listener, heard) in listeners.iter_mut().zip(&mut heard) {
        while heard.last().is_none_or(|(_, text)| text != "after 8") {
            heard.extend(hear(listener, 1));
        }
    }
    assert!(heard[0].is_sorted_by(|a, b| a.0 < b.0) && heard[1] == heard[0] && heard[2] == heard[0], "{heard:?}");
    let certain: Vec<_> = texts(&heard[0]).into_iter().filter(|text| !text.starts_with("maybe")).collect();
    let expected = ["before", "after"].map(|when| (0..9).map(move |number| format!("{when} {number}")));
    assert_eq!(
        certain,
        expected.into_iter().flatten().collect::<Vec<_>>(),
        "each once, on the same connections; what was refused, never"
    );
    let said: Vec<_> = servers.iter().map(|server| server.curl(&["/said"])).collect();
    assert!(said[0].starts_with("before 0\r\n") && said[1] == said[0] && said[2] == said[0], "{said:?}");
}

#[test]
fn redis_stopped_for_ten_seconds_and_started_again_costs_no_listener_and_no_message() {
    let mut redis = Redis::start(&[]);
    redis_goes_away_and_comes_back(&mut redis, |redis, _| redis.stop(), Redis::start_again);
}

#[test]
fn redis_that_hangs_for_ten_seconds_costs_no_listener_and_no_message_and_who_waits_for_it_no_thread() {
    let mut redis = Redis::start(&[]);
    let hang = |redis: &mut Redis, server: &Server| {
        redis.signal("STOP");
        let asked = Instant::now();
        // On their way to Redis when it stops to answer: nobody can know what becomes of them.
        let mut waiting: Vec<_> = (0..100).map(|_| BufReader::new(server.connect())).collect();
        for connection in &mut waiting {
            connection.get_mut().write_all(b"GET /say?message=maybe HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        }
        let served = server.request("GET", "/health", &[], b"");
        assert_eq!(served.status, 200, "others are served meanwhile");
        let threads = server.threads();
        assert!(threads < 50, "{threads} threads for a hundred who wait");
        waiting.iter_mut().for_each(|connection| assert_eq!(Answer::read(connection, false).status, 503));
        assert!(asked.elapsed() < FIRST_REFUSALS, "the first refusals come after {:?}", asked.elapsed());
        server.wait_for_log("Redis does not take messages (it does not answer)");
    };
    redis_goes_away_and_comes_back(&mut redis, hang, |redis| redis.signal("CONT"));
}

#[test]
fn what_a_forge_delivers_again_to_another_server_is_said_once_and_what_was_refused_is_said_when_it_comes_again() {
    let mut redis = Redis::start(&[]);
    let [first, second, third] = three(&redis);
    let mut listener = third.listen("/listen");
    let body = std::fs::read("tests/hooks/github.push.commits.json").unwrap();
    let deliver = |server: &Server, name: &str| {
        let headers = ["X-GitHub-Event: push".to_owned(), format!("X-GitHub-Delivery: {name}")];
        server.request("POST", "/hook/github", &headers.each_ref().map(String::as_str), &body).status
    };
    let mut is_said_once = |name: &str| {
        assert!(listener.line().unwrap().contains("na pushed"), "{name}");
        second.say(name);
        assert_eq!(listener.line().unwrap().trim_end(), name, "and once");
    };
    assert_eq!([&first, &second, &third, &first].map(|server| deliver(server, "a")), [200; 4]);
    is_said_once("a");
    assert_eq!([&second, &first].map(|server| deliver(server, "b")), [200; 2], "another delivery");
    is_said_once("b");

    redis.stop();
    [&first, &second].iter().for_each(|server| _ = server.wait_for_log("Redis is away"));
    assert_eq!([&first, &second].map(|server| deliver(server, "c")), [503; 2]);
    let alerts = std::fs::read("tests/hooks/alertmanager.alerts.some-resolved.json").unwrap();
    let alert = || first.request("POST", "/hook/alertmanager", &[], &alerts).status;
    assert_eq!(alert(), 503);
    redis.start_again();
    let all = [&first, &second, &third];
    wait_until("all are back", || all.iter().all(|server| health(server).contains("\"redis\":\"ok\"")));
    assert_eq!([&first, &second, &first].map(|server| deliver(server, "c")), [200; 3]);
    is_said_once("c");
    assert_eq!([&second, &third].map(|server| deliver(server, "a")), [200; 2], "known also after Redis was away");
    assert_eq!([alert(), alert()], [200; 2]);
    let lines: Vec<_> = (0..3).map(|_| listener.line().unwrap()).collect();
    for (line, part) in lines.iter().zip(["web2:9100 is resolved", "web1:9100 is firing", "3 more"]) {
        assert!(line.contains(part), "all that was refused, and then once: {lines:?}");
    }
    second.say("last");
    assert_eq!(listener.line().unwrap(), "last\r\n");
}

#[test]
fn a_host_beats_at_any_server_and_all_know_it_and_what_changes_with_it_is_said_once() {
    let mut redis = Redis::start(&[]);
    let servers = three(&redis);
    let mut listeners = Vec::from(servers.each_ref().map(|server| server.listen("/listen")));
    let each_hears = |listeners: &mut [Listener], expected: &str| {
        for listener in listeners {
            let line = listener.line().unwrap();
            assert!(line.starts_with(expected), "{expected}: {line}");
        }
    };
    let beat = |server: &Server| server.request("GET", "/beat/web1?every=4&note=hot", &[], b"").status;
    let known = |server: &Server| -> Vec<String> {
        let answer = server.request("GET", "/hosts?as=json", &[], b"");
        let hosts: Vec<Value> = serde_json::from_str(&answer.body).unwrap();
        hosts.iter().map(|host| format!("{} {}", host["host"], host["figures"]["note"])).collect()
    };
    assert_eq!(beat(&servers[0]), 200);
    each_hears(&mut listeners, "web1 is up\r\n");
    let newcomer = start(&redis.url());
    listeners.push(newcomer.listen("/listen"));
    let all = || servers.iter().chain([&newcomer]);
    all().for_each(|server| wait_until("it is known", || known(server) == [r#""web1" "hot""#]));
    each_hears(&mut listeners, "web1 is late: ");
    each_hears(&mut listeners, "web1 is down: ");
    assert_eq!([&newcomer, &servers[1]].map(beat), [200; 2]);
    each_hears(&mut listeners, "web1 is up again after ");

    // While Redis is away nobody can tell whether it beats elsewhere.
    redis.stop();
    all().for_each(|server| _ = server.wait_for_log("Redis is away"));
    assert_eq!(beat(&servers[0]), 503);
    std::thread::sleep(Duration::from_secs(8));
    let is_up = |server: &Server| server.curl(&[&server.url("/hosts")]).contains(" up ");
    assert!(all().all(is_up), "nor does its silence count");
    redis.start_again();
    wait_until("all are back", || all().all(|server| health(server).contains("\"redis\":\"ok\"")));
    std::thread::sleep(Duration::from_secs(2)); // all have looked who is silent
    assert_eq!(beat(&servers[2]), 200);
    servers[1].say("nothing was said of it");
    each_hears(&mut listeners, "nothing was said of it");
    assert_eq!(servers[1].request("DELETE", "/beat/web1", &[], b"").status, 200);
    all().for_each(|server| wait_until("it is forgotten", || known(server).is_empty()));
}

#[test]
fn beats_take_no_room_from_what_a_newcomer_replays() {
    let redis = Redis::start(&[]);
    let server = start(&redis.url());
    server.say("kept");
    (0..300).for_each(|_| assert_eq!(server.request("GET", "/beat/web1", &[], b"").status, 200));
    let newcomer = Server::start(&["--redis", &redis.url(), "--history", "2"]);
    assert_eq!(newcomer.curl(&[&newcomer.url("/said?last=9")]), "kept\r\nweb1 is up\r\n");
}

#[test]
fn a_redis_that_comes_back_empty_goes_on_with_larger_ids_and_old_ones_are_still_replayed() {
    let mut redis = Redis::start(&[]);
    let [first, second, _] = three(&redis);
    let mut listener = second.listen("/listen?as=json");
    first.say("before");
    let before = hear(&mut listener, 1);
    redis.stop();
    redis.empty();
    redis.start_again();
    wait_until("both are back", || [&first, &second].iter().all(|server| health(server).contains("\"redis\":\"ok\"")));
    first.say("after");
    let after = hear(&mut listener, 1);
    assert!(after[0].1 == "after" && after[0].0 > before[0].0, "{before:?} {after:?}");
    let said = second.curl(&[&format!("/said?as=json&since={}", before[0].0)]);
    assert_eq!(read(&said).1, "after", "no gap where nothing is missing");
    assert_eq!(second.curl(&["/said"]), "before\r\nafter\r\n");
}

#[test]
fn a_server_that_was_cut_off_catches_up_and_its_listeners_hear_everything() {
    let redis = Redis::start(&[]);
    let bridge = Bridge::to(&redis);
    let (first, cut) = (start(&redis.url()), start(&bridge.url()));
    let mut listener = cut.listen("/listen?as=json");
    first.say("0");
    assert_eq!(texts(&hear(&mut listener, 1)), ["0"]);
    bridge.cut();
    cut.wait_for_log("Redis is away");
    (1..600).for_each(|number| _ = first.say(&number.to_string()));
    assert_eq!(try_say(&cut, "lost"), 503);
    bridge.mend();
    let heard = hear(&mut listener, 599);
    assert!(texts(&heard).iter().zip(1..600).all(|(text, number)| *text == number.to_string()), "{heard:?}");
    wait_until("it is back", || health(&cut).contains("\"redis\":\"ok\""));
    assert_eq!(cut.say("after"), 1);
    assert_eq!(texts(&hear(&mut listener, 1)), ["after"]);
}

#[test]
fn who_was_cut_off_for_longer_than_the_stream_reaches_back_is_told_of_a_gap() {
    let redis = Redis::start(&["--appendfsync", "no"]);
    let bridge = Bridge::to(&redis);
    let (first, cut) = (start(&redis.url()), start(&bridge.url()));
    let mut listener = cut.listen("/listen?as=json");
    first.say("heard");
    let last = hear(&mut listener, 1)[0].0;
    let beat = |method: &str, host: &str| {
        assert_eq!(first.request(method, &format!("/beat/{host}?every=600"), &[], b"").status, 200);
    };
    let hosts = || cut.request("GET", "/hosts?as=json", &[], b"").body.matches("\"host\":").count();
    ["web1", "web2"].iter().for_each(|host| beat("GET", host));
    assert_eq!(texts(&hear(&mut listener, 2)), ["is up"; 2]);
    wait_until("both hosts are known", || hosts() == 2);
    bridge.cut();
    cut.wait_for_log("Redis is away");
    first.curl(&["/say", "-d", "message=x&key=backup&status=failed&event=test"]);
    ["web1", "web2"].iter().for_each(|host| beat("DELETE", host));
    beat("GET", "web3");
    say_all(&first, 12_000);
    redis.ask(&["DEL", "{aloud:said}:passing"]); // the beats are gone too
    bridge.mend();
    while let Some(line) = listener.line() {
        assert_eq!(line.trim_end(), "", "its stream ends properly, after signs of life");
    }
    let mut listener = cut.listen(&format!("/listen?as=json&since={last}"));
    let gap: Value = serde_json::from_str(&listener.line().unwrap()).unwrap();
    assert_eq!((gap["event"].as_str(), gap["after"].as_str()), (Some("gap"), Some(last.to_string().as_str())));
    cut.wait_for_log("were gone from Redis");
    let mut next = hear(&mut listener, 1)[0].1.parse::<usize>().unwrap();
    while next < 11_999 {
        let number: usize = hear(&mut listener, 1)[0].1.parse().unwrap();
        assert_eq!(number, next + 1, "and then hears everything");
        next = number;
    }
    assert!(cut.request("GET", "/now?as=json", &[], b"").body.contains("backup"), "it knows how things stand");
    let hosts = cut.curl(&[&cut.url("/hosts")]);
    assert!(hosts.contains("web3") && hosts.lines().count() == 2, "and which hosts there are: {hosts}");
}

/// Says the numbers below `count` on one connection, a hundred at a time.
pub fn say_all(server: &Server, count: usize) {
    let mut reader = BufReader::new(server.connect());
    let request = |number: usize| format!("GET /say?message={number} HTTP/1.1\r\nHost: t\r\n\r\n");
    for start in (0..count).step_by(100) {
        let requests: String = (start..start + 100).map(request).collect();
        reader.get_mut().write_all(requests.as_bytes()).unwrap();
        (0..100).for_each(|_| assert_eq!(Answer::read(&mut reader, false).status, 200));
    }
}

#[test]
fn the_password_and_the_database_come_from_the_url_and_are_shown_to_nobody() {
    let redis = Redis::start(&["--requirepass", "hush"]);
    let url = |password: &str, database: &str| format!("redis://:{password}@127.0.0.1:{}/{database}", redis.port);
    let (first, second) = (start(&url("hush", "1")), start(&url("hush", "2")));
    first.say("in one");
    second.say("in the other");
    assert_eq!((first.curl(&["/said"]), second.curl(&["/said"])), ("in one\r\n".into(), "in the other\r\n".into()));
    assert!(!first.log().contains("hush"));
    let check = |flags: &[&str], code: i32, start: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
        let output = command.args(["--bind", "127.0.0.1:0"]).args(flags).stdin(Stdio::null()).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}");
        assert!(line.starts_with(start) && line.lines().count() == 1 && !line.contains("wrong-one"), "{line}");
    };
    let cannot =
        |url: &str, why: &str| check(&["--redis", url], 1, &format!("aloud: cannot use the Redis of --redis ({why}"));
    cannot(&url("wrong-one", "0"), "the password is wrong); ");
    cannot(&format!("redis://127.0.0.1:{}", redis.port), "it asks for a password); give it as redis://:PASSWORD@HOST");
    cannot(&format!("rediss://127.0.0.1:{}", redis.port), "it does not answer); start it, or give redis:// where it ");
    cannot(&format!("redis://{}", first.address()), "what answers there is no Redis); ");
    cannot(&format!("rediss://{}", first.address()), "what answers there speaks no TLS); give redis://");
    cannot(&format!("redis://127.0.0.1:{}", free_port()), "Connection refused");
    for url in ["http://:wrong-one@host", "redis://", "redis://:wrong-one@host:x", "redis://:wrong-one@host/x"] {
        check(&["--redis", url], 2, "aloud: --redis is no URL of a Redis; give redis://");
    }
}

#[test]
fn rediss_is_tls_and_takes_only_a_certificate_that_the_system_trusts() {
    let folder = std::env::temp_dir().join(format!("aloud-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let make = "set -e; new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
        openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -subj /CN=ca
        openssl req $new -keyout key.pem -out request.pem -subj /CN=redis
        echo subjectAltName=IP:127.0.0.1 > names
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem";
    let made = Command::new("sh").args(["-c", make]).current_dir(&folder).stderr(Stdio::null()).status().unwrap();
    assert!(made.success(), "openssl is installed; run scripts/install-test-tools.sh");
    let port = free_port().to_string();
    let files = ["--tls-cert-file", &path("cert.pem"), "--tls-key-file", &path("key.pem"), "--tls-auth-clients", "no"];
    let redis = Redis::start(&[&["--tls-port", &port], &files[..]].concat());
    let url = format!("rediss://127.0.0.1:{port}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", "127.0.0.1:0", "--redis", &url]).env("SSL_CERT_FILE", path("ca.pem"));
    let (secured, plain) = (Server::start_command(command), start(&redis.url()));
    let mut listener = plain.listen("/listen");
    secured.say("by TLS");
    assert_eq!(listener.line().unwrap(), "by TLS\r\n");
    let is_refused = |command: &mut Command, why: &str| {
        let output = command.args(["--bind", "127.0.0.1:0", "--redis", &url]).stdin(Stdio::null()).output().unwrap();
        let line = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
        assert!(line.starts_with("aloud: cannot use the Redis") && line.contains(why), "{line}");
    };
    is_refused(&mut Command::new(env!("CARGO_BIN_EXE_aloud")), "");
    let mut without_clock = Command::new(env!("CARGO_BIN_EXE_aloud"));
    set_clock(&mut without_clock).env("FAKETIME", "-100y").env("SSL_CERT_FILE", path("ca.pem"));
    is_refused(&mut without_clock, "the clock stands before 1970");
    let _ = std::fs::remove_dir_all(&folder);
}

#[test]
fn behind_nginx_the_listeners_of_a_server_that_is_killed_go_on_at_the_others_without_a_hole() {
    let redis = Redis::start(&[]);
    let mut servers = three(&redis).to_vec_of_options();
    let (nginx, port) = balance(servers.iter().flatten().map(|server| server.address().port()));
    let enough = 300;
    std::thread::scope(|scope| {
        let listening: Vec<_> = (0..9).map(|_| scope.spawn(move || listen_through(port, enough))).collect();
        wait_until("all listen", || {
            servers.iter().flatten().map(|server| health(server).matches("\"listeners\":3").count()).sum::<usize>() == 3
        });
        for number in 0..enough {
            if number == enough / 3 {
                servers[1] = None; // killed
            }
            let at = number % 2 * 2;
            servers[at].as_ref().unwrap().say(&number.to_string());
        }
        for listener in listening {
            let heard = listener.join().unwrap();
            assert!(heard.iter().map(|text| text.parse::<usize>().unwrap()).eq(0..enough), "{heard:?}");
        }
    });
    drop(nginx);
}

trait ToOptions {
    /// Servers that can be taken away one by one.
    fn to_vec_of_options(self) -> Vec<Option<Server>>;
}

impl ToOptions for [Server; 3] {
    fn to_vec_of_options(self) -> Vec<Option<Server>> {
        self.into_iter().map(Some).collect()
    }
}

/// Listens at `port` as an `EventSource` does: comes back with the id it heard last whenever its stream ends.
fn listen_through(port: u16, enough: usize) -> Vec<String> {
    let (mut heard, mut last) = (vec![], "0".to_owned());
    let deadline = Instant::now() + PATIENCE;
    while heard.len() < enough {
        assert!(Instant::now() < deadline, "late: {enough} messages; heard {}", heard.len());
        let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) else { continue };
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET /listen?as=json HTTP/1.1\r\nHost: t\r\nLast-Event-ID: {last}\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(connection);
        let head = Answer::read_head(&mut reader);
        if head.status != 200 {
            continue;
        }
        let mut listener = Listener::new(reader, head);
        while heard.len() < enough
            && let Ok(Some(line)) = listener.try_line()
        {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            if message["event"] == "gap" {
                assert_eq!(last, "0", "a gap: {line}");
                continue;
            }
            heard.push(message["message"].as_str().unwrap().to_owned());
            last = message["id"].as_str().unwrap().to_owned();
        }
    }
    heard
}

/// nginx in front of the servers at `ports`, as the manual shows it; killed when dropped.
struct Nginx(Child, PathBuf);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

fn balance(ports: impl Iterator<Item = u16>) -> (Nginx, u16) {
    let port = free_port();
    let folder = std::env::temp_dir().join(format!("aloud-balance-{}-{port}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let servers: String = ports.map(|port| format!("server 127.0.0.1:{port};")).collect();
    let place = folder.display();
    let text = format!(
        "daemon off; master_process off; pid {place}/pid; error_log {place}/error.log; events {{ }}
         http {{ access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
         fastcgi_temp_path {place}/f; uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
         upstream aloud {{ {servers} }}
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://aloud; proxy_http_version 1.1;
         proxy_set_header Connection \"\"; }} }} }}"
    );
    std::fs::write(folder.join("nginx.conf"), text).unwrap();
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf")).stdin(Stdio::null()).stderr(Stdio::null());
    let nginx = Nginx(command.spawn().expect("nginx is installed"), folder);
    wait_until("nginx accepts", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (nginx, port)
}
