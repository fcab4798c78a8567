//! Promise: with `--redis`, the edges hold too. Foreign entries in Redis harm nobody; a gap is told at every server
//! where Redis has lost something, and nothing is told twice; every speaker has its answer in time; beats push out
//! nothing that was said; and Redis has the newest word on each thing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::relay::{Bridge, Redis, health, hear, read, start, texts, try_say};
use crate::support::{Listener, PATIENCE, Server, set_clock, wait_until};

/// How long servers and Redis are restarted in turn, in seconds; `ALOUD_TEST_ROLLING` says otherwise.
const ROLLING: u64 = 12;

/// More than twice as long as a speaker waits for its answer, for a slow machine.
const IN_TIME: Duration = Duration::from_secs(5);

fn is_back(server: &Server) -> bool {
    health(server).contains("\"redis\":\"ok\"")
}

/// A listener that has heard the message `last` comes back.
fn come_back(server: &Server, last: u64) -> Listener {
    server.try_listen("/listen?as=json", &[&format!("Last-Event-ID: {last}")]).unwrap()
}

fn is_gap(line: &str) -> bool {
    serde_json::from_str::<Value>(line).unwrap()["event"] == "gap"
}

/// The next line that is no sign of life.
fn word(listener: &mut Listener) -> String {
    std::iter::from_fn(|| listener.line()).find(|line| line.trim_end() != "").expect("the stream goes on")
}

#[test]
fn what_others_put_into_the_stream_is_passed_over_and_makes_nobody_deaf_or_busy() {
    let redis = Redis::start(&[]);
    redis.ask(&["XADD", "aloud:said", "5-7", "a", "b"]);
    let [first, second] = [(); 2].map(|()| start(&redis.url()));
    let mut listener = second.listen("/listen");
    first.say("before");
    let add = ["EVAL", "for i = 1, 600 do redis.call('XADD', KEYS[1], '*', 'a', 'b') end", "1", "aloud:said"];
    redis.ask(&add);
    redis.ask(&["XADD", "aloud:said", "*", "before", "1", "from", "x", "said", "{}"]);
    let (reads, asked) = (redis.count("commandstats", "cmdstat_xread:calls="), Instant::now());
    wait_until("a second passes", || asked.elapsed() > Duration::from_secs(1));
    let reads = redis.count("commandstats", "cmdstat_xread:calls=") - reads;
    assert!(reads < 100 * (1 + asked.elapsed().as_secs()), "{reads} times in {:?}", asked.elapsed());
    first.say("after");
    assert_eq!(listener.lines(2), ["before\r\n", "after\r\n"]);
    redis.ask(&add);
    let third = start(&redis.url());
    assert_eq!(third.curl(&["/said"]), "before\r\nafter\r\n", "also at a server that starts");
    third.say("last");
    assert_eq!(listener.line().unwrap(), "last\r\n");
    let said = third.curl(&["/said?as=json&last=1"]);
    assert_eq!(texts(&hear(&mut come_back(&first, read(&said).0 - 1), 1)), ["last"], "and no gap is told");
}

/// Two servers, of which the second one has missed `m1`, which Redis has lost since. Its listener is told of a gap,
/// also if it has heard `m2` before anybody knew, and gets nothing twice.
fn a_tail_is_lost(is_first_still: bool, lose: impl FnOnce(&Redis, u64)) {
    let redis = Redis::start(&[]);
    let bridge = Bridge::to(&redis);
    let (first, second) = (start(&redis.url()), start(&bridge.url()));
    let [mut of_first, mut of_second] = [&first, &second].map(|server| server.listen("/listen?as=json"));
    first.say("m0");
    let m0 = hear(&mut of_second, 1)[0].0;
    bridge.cut();
    second.wait_for_log("Redis is away");
    first.say("m1");
    let heard = hear(&mut of_first, 2);
    assert_eq!(texts(&heard), ["m0", "m1"]);
    if is_first_still {
        first.signal("STOP");
    }
    lose(&redis, heard[1].0);
    if is_first_still {
        bridge.mend();
        wait_until("it is back", || is_back(&second));
        second.say("m2");
        let heard = hear(&mut of_second, 1);
        assert_eq!(texts(&heard), ["m2"]);
        first.signal("CONT");
        assert_eq!(of_second.line(), None, "it ends properly");
        for server in [&second, &first] {
            wait_until("it knows", || {
                let gap = server.curl(&[&format!("/said?as=json&since={}", heard[0].0)]);
                gap.lines().count() == 1 && is_gap(&gap)
            });
        }
        assert!(first.log().contains("listeners are told") && second.log().contains("listeners are told"));
    } else {
        first.wait_for_log("Redis has lost");
        first.say("m2");
        bridge.mend();
        assert_eq!(of_second.line(), None, "it ends properly");
        let mut listener = come_back(&second, m0);
        assert!(is_gap(&word(&mut listener)));
        assert_eq!(texts(&hear(&mut listener, 1)), ["m2"]);
        assert_eq!(texts(&hear(&mut of_first, 1)), ["m2"], "on the same connection: it has missed nothing");
    }
}

#[test]
fn what_redis_has_lost_and_one_server_has_heard_is_a_gap_at_the_others() {
    a_tail_is_lost(false, |redis, _| _ = redis.ask(&["FLUSHALL"]));
}

#[test]
fn what_an_older_replica_that_takes_over_does_not_have_is_a_gap_at_those_who_have_not_heard_it() {
    a_tail_is_lost(false, |redis, m1| assert_eq!(redis.ask(&["XDEL", "aloud:said", &format!("{m1}-0")]), "1"));
}

#[test]
fn what_redis_has_lost_is_a_gap_at_all_if_it_was_noticed_too_late() {
    a_tail_is_lost(true, |redis, _| _ = redis.ask(&["FLUSHALL"]));
}

#[test]
fn ids_that_go_back_make_nobody_deaf() {
    let mut redis = Redis::start(&[]);
    let bridge = Bridge::to(&redis);
    let servers = [(); 2].map(|()| start(&bridge.url()));
    let mut listener = servers[1].listen("/listen?as=json");
    let in_an_hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() + 3_600_000_000;
    redis.ask(&["XADD", "aloud:said", &format!("{in_an_hour}-0"), "a", "b"]); // ids go on from there
    servers[0].say("before");
    let before = hear(&mut listener, 1)[0].0;
    bridge.cut();
    servers.iter().for_each(|server| _ = server.wait_for_log("Redis is away"));
    redis.stop();
    redis.empty();
    redis.start_again();
    let newcomer = start(&redis.url());
    newcomer.say("missed");
    bridge.mend();
    assert_eq!(listener.line(), None, "it ends properly");
    servers.iter().for_each(|server| _ = server.wait_for_log("listeners are told"));
    wait_until("both are back", || servers.iter().all(is_back));
    let mut listeners = servers.each_ref().map(|server| come_back(server, before));
    newcomer.say("after");
    for listener in &mut listeners {
        assert!(is_gap(&word(listener)));
        let after = hear(listener, 1);
        assert!(after[0].1 == "after" && after[0].0 > before, "{after:?}");
    }
}

#[test]
fn who_moves_to_a_server_that_is_cut_off_and_has_another_clock_hears_only_what_comes_next() {
    let redis = Redis::start(&[]);
    let bridge = Bridge::to(&redis);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_aloud"));
    set_clock(&mut command).env("FAKETIME", "+1h");
    command.args(["--bind", "127.0.0.1:0", "--heartbeat", "1", "--redis", &bridge.url()]);
    let (first, behind) = (start(&redis.url()), Server::start_command(command));
    let mut listener = first.listen("/listen?as=json");
    first.say("0");
    wait_until("it is heard there", || behind.curl(&["/said"]) == "0\r\n");
    bridge.cut();
    behind.wait_for_log("Redis is away");
    ["1", "2"].iter().for_each(|text| _ = first.say(text));
    let last = hear(&mut listener, 3)[2].0;
    let mut moved = come_back(&behind, last);
    (0..3).for_each(|_| assert_eq!(moved.line().unwrap().trim_end(), "", "a sign of life, no gap and nothing again"));
    first.say("3");
    bridge.mend();
    assert_eq!(word(&mut moved).matches("\"message\":\"3\"").count(), 1);
    wait_until("it is back", || is_back(&behind));

    // An id that Redis does not have.
    let mut foreign = come_back(&behind, last + 3_600_000_000);
    assert!(is_gap(&word(&mut foreign)));
    assert_eq!(texts(&hear(&mut foreign, 4)), ["0", "1", "2", "3"]);
    first.say("4");
    assert_eq!(texts(&hear(&mut foreign, 1)), ["4"]);
}

#[test]
fn a_speaker_whose_message_does_not_come_back_has_its_answer_in_time_and_the_server_recovers() {
    let [redis, other] = [(); 2].map(|()| Redis::start(&[]));
    let bridge = Bridge::to(&redis);
    let server = start(&bridge.url());
    let mut listener = server.listen("/listen");
    server.say("before");
    // After a failover, the committer's connection leads to another Redis than the reader's.
    bridge.lead_to(&other);
    let clients = redis.ask(&["CLIENT", "LIST"]);
    let committers = clients.lines().find(|line| !line.contains("cmd=xread") && !line.contains("cmd=client"));
    let id = committers.unwrap().split([' ', '=']).nth(1).unwrap();
    assert_eq!(redis.ask(&["CLIENT", "KILL", "ID", id]), "1");
    let mut statuses = vec![];
    wait_until("it recovers", || {
        let asked = Instant::now();
        statuses.push(try_say(&server, "after"));
        assert!(asked.elapsed() < IN_TIME, "answered after {:?}", asked.elapsed());
        statuses.ends_with(&[200])
    });
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert_eq!(listener.line().unwrap(), "before\r\n");
    assert_ne!(other.ask(&["XLEN", "aloud:said"]), "0");
}

#[test]
fn every_speaker_has_its_answer_in_time_while_redis_is_emptied_again_and_again() {
    let redis = Redis::start(&["--appendfsync", "no"]);
    let servers = [(); 2].map(|()| start(&redis.url()));
    let said = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for server in servers.iter().chain(&servers) {
            let said = &said;
            scope.spawn(move || {
                for number in 0..100 {
                    let asked = Instant::now();
                    let status = try_say(server, &number.to_string());
                    assert!(
                        [200, 503].contains(&status) && asked.elapsed() < IN_TIME,
                        "{status} {:?}",
                        asked.elapsed()
                    );
                    said.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        while said.load(Ordering::Relaxed) < 400 && !std::thread::panicking() {
            redis.ask(&["FLUSHALL"]);
        }
    });
    let mut listeners = servers.each_ref().map(|server| server.listen("/listen"));
    wait_until("all goes on", || try_say(&servers[0], "last") == 200);
    listeners.iter_mut().for_each(|listener| assert_eq!(listener.line().unwrap(), "last\r\n"));
}

#[test]
fn a_server_that_is_stopped_and_goes_on_does_not_take_redis_for_away() {
    let redis = Redis::start(&[]);
    let [stopped, other] = [(); 2].map(|()| start(&redis.url()));
    let mut listener = stopped.listen("/listen");
    for number in 0..3 {
        stopped.signal("STOP");
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", stopped.pid())).unwrap();
        wait_until("it is stopped", || state().contains(") T "));
        other.say(&number.to_string());
        stopped.signal("CONT");
        assert_eq!(listener.line().unwrap().trim_end(), number.to_string());
    }
    assert_eq!(stopped.say("after"), 1);
    assert!(!stopped.log().contains("Redis is away"), "{}", stopped.log());
}

#[test]
fn the_first_message_after_a_pause_is_said_though_redis_closes_silent_connections() {
    let redis = Redis::start(&["--timeout", "1"]);
    let server = start(&redis.url());
    for text in ["0", "1", "2"] {
        let begun = Instant::now();
        wait_until("Redis has closed what was silent", || begun.elapsed() > Duration::from_secs(3));
        assert_eq!(try_say(&server, text), 200, "{}", server.log());
    }
    assert_eq!(server.curl(&["/said"]), "0\r\n1\r\n2\r\n");
}

#[test]
fn a_redis_that_has_forgotten_the_script_is_told_it_again() {
    let redis = Redis::start(&[]);
    let server = start(&redis.url());
    ["0", "1"].iter().for_each(|text| _ = server.say(text));
    redis.ask(&["SCRIPT", "FLUSH"]);
    server.say("2");
    assert_eq!(server.curl(&["/said"]), "0\r\n1\r\n2\r\n", "each once");
    assert_eq!(redis.count("commandstats", "cmdstat_eval:calls="), 0, "it is not sent with each message");
}

#[test]
fn in_a_cluster_all_keys_are_at_one_node() {
    let redis = Redis::start(&["--cluster-enabled", "yes"]);
    (0..16384).collect::<Vec<u32>>().chunks(2000).for_each(|slots| {
        let slots: Vec<String> = slots.iter().map(u32::to_string).collect();
        redis.ask(&[&["CLUSTER", "ADDSLOTS"][..], &slots.iter().map(String::as_str).collect::<Vec<_>>()].concat());
    });
    wait_until("the cluster is well", || redis.ask(&["CLUSTER", "INFO"]).contains("cluster_state:ok"));
    let server = start(&redis.url());
    let mut listener = server.listen("/listen");
    server.curl(&["/say", "-d", "message=keyed&key=k&status=ok"]);
    let body = std::fs::read("tests/hooks/github.push.commits.json").unwrap();
    let headers = ["X-GitHub-Event: push", "X-GitHub-Delivery: a"];
    assert_eq!([(); 2].map(|()| server.request("POST", "/hook/github", &headers, &body).status), [200; 2]);
    assert_eq!(server.request("GET", "/beat/web1", &[], b"").status, 200);
    assert_eq!(listener.line().unwrap(), "keyed\r\n");
    assert!(listener.line().unwrap().contains("na pushed"));
    assert_eq!(listener.line().unwrap(), "web1 is up\r\n");
}

#[test]
fn a_redis_that_is_full_says_so_itself() {
    let redis = Redis::start(&[]);
    let server = start(&redis.url());
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = server.request("POST", "/say", &[], b"x");
    assert_eq!((refused.status, refused.body.contains("in Redis")), (507, true), "{refused:?}");
    assert!(!refused.body.contains("disk"), "{refused:?}");
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    server.say("y");
    assert_eq!(server.curl(&["/said"]), "y\r\n");
}

#[test]
fn beats_push_out_nothing_that_was_said_and_all_hear_both_in_one_order() {
    let redis = Redis::start(&["--appendfsync", "no"]);
    let bridge = Bridge::to(&redis);
    let (first, second) = (start(&redis.url()), start(&bridge.url()));
    let mut listeners = [&first, &second].map(|server| server.listen("/listen?as=json&event=message,host"));
    bridge.cut(); // the second one hears all at once later
    second.wait_for_log("Redis is away");
    let beat = |server: &Server| assert_eq!(server.request("GET", "/beat/web1", &[], b"").status, 200);
    for number in 0..700 {
        first.say(&number.to_string());
        beat(&first);
    }
    bridge.mend();
    let heard = listeners.each_mut().map(|listener| {
        let lines: Vec<_> =
            std::iter::from_fn(|| listener.line()).filter(|line| line.trim_end() != "").take(1400).collect();
        lines
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().parse::<u64>().unwrap())
            .collect::<Vec<_>>()
    });
    assert!(heard[0].is_sorted_by(|a, b| a < b) && heard[0] == heard[1], "one order, each once");
    (0..600).for_each(|_| beat(&first));
    assert_eq!(redis.ask(&["XLEN", "aloud:said"]), "701", "with that it is up");
    assert!(redis.ask(&["XLEN", "{aloud:said}:passing"]).parse::<usize>().unwrap() < 1200, "a bounded number");
}

#[test]
fn a_server_that_was_cut_off_while_too_many_beats_passed_knows_the_numbers_and_hosts_of_that_time() {
    let redis = Redis::start(&["--appendfsync", "no"]);
    let bridge = Bridge::to(&redis);
    let (first, cut) = (start(&redis.url()), start(&bridge.url()));
    let ask = |method: &str, target: &str| assert_eq!(first.request(method, target, &[], b"").status, 200, "{target}");
    let tell = |server: &Server, path: &str| server.curl(&[&server.url(path)]);
    let state = |host: &str, state: &str| {
        let fields = format!("name={host}&key={host}&state={state}&status={state}&among=9&message=x");
        ask("GET", &format!("/say?event=host-state&{fields}"));
    };
    ask("GET", "/say?event=number&name=load&value=1");
    ask("GET", "/beat/web1?every=600");
    wait_until("both are known", || tell(&cut, "/now").contains("load") && tell(&cut, "/hosts").contains("web1"));
    bridge.cut();
    cut.wait_for_log("Redis is away");
    ask("GET", "/say?event=number&name=load&value=2");
    state("web1", "down");
    state("web2", "late");
    (0..1200).for_each(|_| ask("GET", "/beat/other?every=600"));
    assert!(!redis.ask(&["XRANGE", "{aloud:said}:passing", "-", "+"]).contains("web1"), "it is cut away");
    bridge.mend();
    wait_until("it is back", || is_back(&cut));
    let hosts: Vec<Value> = serde_json::from_str(&tell(&cut, "/hosts?as=json")).unwrap();
    let hosts: Vec<_> = hosts.iter().map(|host| format!("{} {}", host["host"], host["state"])).collect();
    assert_eq!(hosts, [r#""other" "up""#, r#""web1" "down""#, r#""web2" "late""#]);
    assert!(tell(&cut, "/now?as=json").contains(r#""value":"2""#));
}

#[test]
fn how_things_stand_outlives_a_redis_that_has_lost_it() {
    let redis = Redis::start(&[]);
    let bridge = Bridge::to(&redis);
    let (first, second) = (start(&redis.url()), start(&bridge.url()));
    let ask = |method: &str, target: &str| assert_eq!(first.request(method, target, &[], b"").status, 200, "{target}");
    let things = |server: &Server| -> Vec<String> {
        let now: Vec<Value> = serde_json::from_str(&server.curl(&[&server.url("/now?as=json")])).unwrap();
        let mut things: Vec<_> = now.iter().map(|thing| format!("{} {}", thing["key"], thing["id"])).collect();
        things.sort();
        things
    };
    let all_agree = |known: &[String]| {
        let newcomer = start(&redis.url());
        wait_until("all agree", || [&first, &second, &newcomer].iter().all(|server| things(server) == known));
        assert_eq!(things(&start(&redis.url())), known, "Redis has it again");
    };
    ask("GET", "/say?message=full&key=backup&status=failed");
    ask("GET", "/say?event=number&name=load&value=1");
    ask("GET", "/beat/web1?every=600");
    let known = things(&first);
    wait_until("the second one knows it", || things(&second) == known);
    redis.ask(&["FLUSHALL"]);
    wait_until("it is put back", || redis.ask(&["HLEN", "{aloud:said}:things"]) == "3");
    all_agree(&known);

    // Somebody speaks before anybody has looked; and one server has missed something.
    bridge.cut();
    second.wait_for_log("Redis is away");
    ask("DELETE", "/beat/web1");
    redis.ask(&["FLUSHALL"]);
    (0..3).for_each(|_| ask("GET", "/say?message=better&key=backup&status=ok"));
    let known = things(&first);
    wait_until("it is put back", || redis.ask(&["HLEN", "{aloud:said}:things"]) == "2");
    bridge.mend();
    wait_until("it is back", || is_back(&second));
    assert_eq!(known.len(), 2);
    all_agree(&known);
}

#[test]
fn redis_has_the_newest_word_on_each_thing_since_when_it_stands_so_and_the_longest_silent_go() {
    let redis = Redis::start(&[]);
    let server = Server::start(&["--redis", &redis.url(), "--things", "3"]);
    let say = |key: &str, status: &str| {
        let data = format!("message=x&key={key}&status={status}");
        let answer = server.request(
            "POST",
            "/say/a?event=test",
            &["Content-Type: application/x-www-form-urlencoded"],
            data.as_bytes(),
        );
        answer.header("Aloud-Id").unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    };
    let kept = || -> HashMap<String, String> {
        let all = redis.ask(&["EVAL", "return redis.call('HGETALL', KEYS[1])", "1", "{aloud:said}:things"]);
        let lines: Vec<&str> = all.lines().collect(); // a name, then two lines of its value
        lines.chunks_exact(3).map(|of| (of[0].rsplit('\0').next().unwrap().to_owned(), of[1].to_owned())).collect()
    };
    let first = say("k", "failed");
    let since = kept()["k"].split(' ').nth(1).unwrap().to_owned();
    assert_eq!(kept()["k"], format!("{first} {since} bad"));
    let second = say("k", "error");
    assert_eq!(kept()["k"], format!("{second} {since} bad"), "it stands so since the first");
    let third = say("k", "passed");
    assert!(kept()["k"].starts_with(&third) && !kept()["k"].contains(&since), "{:?}", kept());
    ["l", "m", "k", "n"].iter().for_each(|key| _ = say(key, "ok"));
    let mut keys: Vec<_> = kept().into_keys().collect();
    keys.sort();
    assert_eq!(keys, ["k", "m", "n"], "the longest silent went");
    say("m", "gone");
    assert_eq!((kept().len(), redis.ask(&["ZCARD", "{aloud:said}:silent"])), (2, "2".to_owned()));
    server.request("POST", "/say?event=number&key=n1&value=7", &[], b"");
    assert_eq!(redis.ask(&["HLEN", "{aloud:said}:things"]), "3", "numbers too");

    let newcomer = Server::start(&["--redis", &redis.url(), "--history", "0"]);
    let now = |server: &Server| server.request("GET", "/now?as=json", &[], b"").body;
    assert!(["k", "n", "n1"].iter().all(|key| now(&newcomer).contains(&format!("\"key\":\"{key}\""))));
    let (_, restored) = aloud::keep::relay::Relay::open(&redis.url(), 100, 9).unwrap();
    let things: Vec<_> = restored.things.iter().map(|(message, since)| (&*message.key, *since > 0)).collect();
    assert_eq!(things, [("k", true), ("n", true), ("n1", true)], "the longest silent first");
    assert_eq!(restored.last, restored.things[2].0.id);
}

#[test]
fn through_restarts_of_servers_and_of_redis_nobody_who_moves_has_a_hole_without_a_gap_or_hears_twice() {
    let seconds = std::env::var("ALOUD_TEST_ROLLING").map_or(ROLLING, |text| text.parse().unwrap());
    let listeners = if seconds > ROLLING { 50 } else { 12 };
    let redis = Mutex::new(Redis::start(&[]));
    let url = redis.lock().unwrap().url();
    let new = || Server::start(&["--redis", &url, "--queue", "100000", "--history", "100000"]);
    let servers = [(); 3].map(|()| RwLock::new(new()));
    let (done, acknowledged) = (AtomicBool::new(false), Mutex::new(vec![]));
    std::thread::scope(|scope| {
        let speaker = scope.spawn(|| {
            for number in 0.. {
                let server = servers[number % 3].read().unwrap();
                if try_say(&server, &number.to_string()) == 200 {
                    acknowledged.lock().unwrap().push(number.to_string());
                }
                if done.load(Ordering::SeqCst) {
                    break;
                }
            }
        });
        let listening: Vec<_> = (0..listeners)
            .map(|number| {
                let (servers, done) = (&servers, &done);
                scope.spawn(move || wander(servers, number, done))
            })
            .collect();
        let begun = Instant::now();
        for round in 0.. {
            if begun.elapsed() > Duration::from_secs(seconds) {
                break;
            }
            if round % 4 == 3 {
                let mut redis = redis.lock().unwrap();
                redis.stop();
                redis.start_again();
            } else {
                let mut server = servers[round % 4].write().unwrap();
                if round % 8 < 4 {
                    server.signal("TERM");
                    server.wait();
                }
                *server = new(); // or killed
            }
            let enough = acknowledged.lock().unwrap().len() + 100;
            wait_until("all are back", || servers.iter().all(|server| is_back(&server.read().unwrap())));
            wait_until("it goes on", || acknowledged.lock().unwrap().len() > enough);
        }
        done.store(true, Ordering::SeqCst);
        speaker.join().unwrap();
        let last = "last".to_owned();
        wait_until("the last word is said", || try_say(&servers[0].read().unwrap(), &last) == 200);
        let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
        let mut moves = 0;
        for listener in listening {
            let (heard, moved) = listener.join().unwrap();
            moves += moved;
            let mut texts: HashMap<&str, usize> = HashMap::new();
            heard.iter().for_each(|(_, text)| *texts.entry(text).or_default() += 1);
            assert!(heard.is_sorted_by(|a, b| a.0 < b.0), "in order, each once");
            let missing: Vec<_> = acknowledged.iter().filter(|text| !texts.contains_key(text.as_str())).collect();
            assert!(missing.is_empty(), "{missing:?} are missing, and no gap was told");
        }
        println!("{} messages acknowledged, {listeners} listeners moved {moves} times", acknowledged.len());
    });
}

/// Listens now here, now there, until the last word; returns what it has heard, and how often it has moved. No gap may
/// be told, because nothing is lost.
fn wander(servers: &[RwLock<Server>; 3], number: usize, done: &AtomicBool) -> (Vec<(u64, String)>, usize) {
    let (mut heard, mut moves, mut last): (Vec<(u64, String)>, _, _) = (vec![], 0, 0);
    let mut deadline = Instant::now() + PATIENCE;
    loop {
        moves += 1;
        let listener = {
            let server = servers[(number + moves) % 3].read().unwrap();
            let from = if last == 0 { "since=all".to_owned() } else { format!("since={last}") };
            server.try_listen(&format!("/listen?as=json&{from}"), &[])
        };
        let Ok(mut listener) = listener else { continue };
        let enough = 20 + (number * 7 + moves * 13) % 200;
        for _ in 0..enough {
            let Ok(Some(line)) = listener.try_line() else { break };
            if line.trim_end() == "" {
                continue;
            }
            assert!(!is_gap(&line), "after {last}: {line}");
            heard.push(read(&line));
            last = heard.last().unwrap().0;
            deadline = Instant::now() + PATIENCE;
            if heard.last().unwrap().1 == "last" {
                return (heard, moves);
            }
        }
        assert!(Instant::now() < deadline, "late: {done:?}");
    }
}
