//! Promise: with `--store`, what was answered `ok.` or heard is there after the server was killed, once and in order; a
//! store is opened by one at a time, a damaged one is named and left alone, and a full disk is answered and survived.

use std::collections::HashMap;
use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::{Answer, Server, wait_until};

/// How often the server is killed; `ALOUD_TEST_KILLS` says otherwise.
const KILLS: usize = 10;

const SPEAKERS: usize = 16;

/// A file of its own in a folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("aloud-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self) -> String {
        self.0.join("store").to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(file: &str) -> Server {
    Server::start(&["--store", file, "--history", "1000000", "--history-bytes", "1073741824"])
}

/// Everything that is kept: id and text, oldest first.
fn kept(server: &Server) -> Vec<(u64, String)> {
    server.curl(&["/said?as=json&event=*"]).lines().filter(|line| !line.is_empty()).map(read).collect()
}

fn read(line: &str) -> (u64, String) {
    let message: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    (message["id"].as_str().unwrap().parse().unwrap(), message["message"].as_str().unwrap().to_owned())
}

/// Says one message after the other until the server is gone; returns those that were answered.
fn speak(server: &Server, name: &str, answered: &AtomicUsize) -> Vec<(u64, String)> {
    let mut said = vec![];
    let mut reader = BufReader::new(server.connect());
    for number in 0.. {
        let text = format!("{name}-{number}");
        let request = format!("POST /say HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        if reader.get_mut().write_all(request.as_bytes()).is_err() || reader.peek_is_over() {
            break;
        }
        let answer = Answer::read(&mut reader, false);
        assert_eq!(answer.status, 200, "{answer:?}");
        said.push((answer.header("Aloud-Id").unwrap().parse().unwrap(), text));
        answered.fetch_add(1, Ordering::SeqCst);
    }
    said
}

trait PeekIsOver {
    /// Waits for the next byte; true if there will be none.
    fn peek_is_over(&mut self) -> bool;
}

impl<T: std::io::BufRead> PeekIsOver for T {
    fn peek_is_over(&mut self) -> bool {
        self.fill_buf().map_or(true, |bytes| bytes.is_empty())
    }
}

#[test]
fn what_was_said_is_in_a_file_that_nobody_else_may_read_unless_it_was_so_before() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("mode");
    let mode = || fs::metadata(folder.file()).unwrap().permissions().mode() & 0o7777;
    let open = || {
        let mut command = Command::new("sh");
        let aloud = env!("CARGO_BIN_EXE_aloud");
        let line = format!("umask 000; exec {aloud} --bind 127.0.0.1:0 --store {}", folder.file());
        command.args(["-c", &line]);
        drop(Server::start_command(command));
    };
    open();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o640)).unwrap();
    open();
    assert_eq!(mode(), 0o640, "somebody wants it to be read");
}

#[test]
fn whatever_was_answered_or_heard_is_replayed_after_a_kill_once_and_in_order() {
    let kills = std::env::var("ALOUD_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let folder = Folder::new("kill");
    let mut server = start(&folder.file());
    let mut known: HashMap<u64, String> = HashMap::new();
    for round in 0..kills {
        let answered = AtomicUsize::new(0);
        // Not a round number, so that it is not the same moment of a batch each time.
        let enough = 50 + round * 37 % 400;
        let (said, heard) = std::thread::scope(|scope| {
            let (server, answered) = (&server, &answered);
            let speakers: Vec<_> = (0..SPEAKERS)
                .map(|speaker| scope.spawn(move || speak(server, &format!("{round}-{speaker}"), answered)))
                .collect();
            let mut listener = server.listen("/listen?as=json");
            let listening = scope.spawn(move || {
                let mut heard = vec![];
                while let Ok(Some(line)) = listener.try_line() {
                    heard.push(read(&line));
                }
                heard
            });
            wait_until("so many answers", || answered.load(Ordering::SeqCst) >= enough);
            server.signal("KILL");
            let said: Vec<_> = speakers.into_iter().flat_map(|speaker| speaker.join().unwrap()).collect();
            (said, listening.join().unwrap())
        });
        server.wait();
        known.extend(said.iter().chain(&heard).cloned());

        server = start(&folder.file());
        let kept = kept(&server);
        assert!(kept.is_sorted_by(|a, b| a.0 < b.0), "round {round}: the ids increase");
        let replayed: HashMap<u64, String> = kept.iter().cloned().collect();
        let lost: Vec<_> = known.iter().filter(|(id, text)| replayed.get(id) != Some(text)).collect();
        assert!(lost.is_empty(), "round {round}: answered or heard, and lost: {lost:?}");
        let mut texts: Vec<&String> = kept.iter().map(|(_, text)| text).collect();
        texts.sort();
        assert!(texts.is_sorted_by(|a, b| a < b), "round {round}: something comes twice");
        for speaker in 0..SPEAKERS {
            let start = format!("{round}-{speaker}-");
            let numbers = kept.iter().filter_map(|(_, text)| text.strip_prefix(&start)?.parse::<usize>().ok());
            assert!(numbers.eq(0..numbers_of(&kept, &start)), "round {round}: {speaker} is out of order");
        }
        // Messages without a receipt may be there too, but no more than one for each speaker that waited.
        assert!(kept.len() <= known.len() + (round + 1) * SPEAKERS);
        let (last, _) = kept.last().unwrap();
        let missed = server.curl(&[&format!("/said?as=json&since={}", heard[heard.len() / 2].0)]);
        assert!(!missed.contains("\"gap\""), "there is no gap: {}", missed.lines().next().unwrap());
        assert_eq!(server.curl(&[&format!("/said?as=json&since={last}")]), "", "nothing after the last");
    }
}

fn numbers_of(kept: &[(u64, String)], start: &str) -> usize {
    kept.iter().filter(|(_, text)| text.starts_with(start)).count()
}

#[test]
fn a_listener_that_comes_back_after_a_restart_gets_what_it_missed_and_no_gap() {
    let folder = Folder::new("restart");
    let mut server = Server::start(&["--store", &folder.file(), "--history", "5"]);
    for number in 0..8 {
        server.say(&number.to_string());
    }
    let before = kept(&server);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let server = Server::start(&["--store", &folder.file(), "--history", "5"]);
    let texts: Vec<_> = before.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!((texts, kept(&server)), (vec!["3", "4", "5", "6", "7"], before.clone()));
    let mut listener = server.try_listen("/listen", &[&format!("Last-Event-ID: {}", before[2].0)]).unwrap();
    server.say("8");
    assert_eq!(listener.lines(3), ["6\r\n", "7\r\n", "8\r\n"]);
    let mut late = server.listen(&format!("/listen?since={}", before[0].0 - 1));
    assert!(late.line().unwrap().contains("may be missing"), "an older id is told of a gap");
}

/// The server's line when it cannot start.
fn cannot_start(file: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    let output = command.args(["--bind", "127.0.0.1:0", "--store", file]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_store_in_use_and_one_that_cannot_be_opened_are_one_line() {
    let folder = Folder::new("in-use");
    let file = folder.file();
    let _server = start(&file);
    assert_eq!(
        cannot_start(&file),
        format!("aloud: the store {file} is in use by another process; give each server a file of its own\n")
    );
    let missing = format!("{file}/no/such/folder");
    assert_eq!(
        cannot_start(&missing),
        format!(
            "aloud: cannot open the store {missing} (Not a directory (os error 20)); give another file with --store\n"
        )
    );
}

#[test]
fn a_damaged_store_is_named_and_left_alone() {
    let folder = Folder::new("damaged");
    let file = folder.file();
    let mut server = start(&file);
    (0..50).for_each(|number| _ = server.say(&format!("{number} {}", "x".repeat(500))));
    server.signal("TERM");
    server.wait();
    let good = fs::read(&file).unwrap();
    let place = good.windows(9).rposition(|bytes| bytes == b"xxxxxxxxx").unwrap();
    let check = |what: &str, complaint: &str, damage: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        damage(&mut bad);
        fs::write(&file, &bad).unwrap();
        let line = cannot_start(&file);
        assert!(line.starts_with(&format!("aloud: {complaint}")), "{what}: {line}");
        assert_eq!(line.lines().count(), 1, "{what}: {line}");
        assert!(fs::read(&file).unwrap() == bad, "{what}: it was changed");
    };
    let (foreign, old) =
        (format!("{file} is no store of aloud's"), format!("the store {file} was kept by aloud before 0.2"));
    let damaged = format!("the store {file} is damaged (");
    check("a text", &foreign, &|bytes| *bytes = b"This is no store at all.\n".repeat(1000));
    check("a foreign database", &foreign, &|bytes| bytes[68] ^= 1);
    check("an old store", &old, &|bytes| bytes[..14].copy_from_slice(b"aloud store 1\n"));
    check("a newer store", &format!("the store {file} was kept by a newer aloud ("), &|bytes| bytes[63] += 1);
    check("a flipped byte in a message", &damaged, &|bytes| bytes[place] ^= 1);
    check("nothing but the first half", &damaged, &|bytes| bytes.truncate(bytes.len() / 2));
    check("a hole", &damaged, &|bytes| bytes[4096..].fill(0));
    fs::write(&file, &good).unwrap();
    assert_eq!(kept(&start(&file)).len(), 50, "undamaged it is read");
}

/// Starts a server after `bounds`, commands of a shell that has the folder in `$0`. A limit on a file's size may stand
/// for the disk's: what is past it is refused with an error.
fn start_bounded(bounds: &str, folder: &Folder, history: &str) -> Server {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{bounds}; exec \"$@\"")]).arg(&folder.0);
    command.args([env!("CARGO_BIN_EXE_aloud"), "--bind", "127.0.0.1:0", "--store", &folder.file()]);
    command.args(["--history", history]);
    Server::start_command(command)
}

#[test]
fn a_small_disk_that_has_room_for_the_history_is_never_full_of_the_log() {
    let folder = Folder::new("small");
    let mount = "mount -t tmpfs -o size=1m tmpfs \"$0\" && exec \"$@\"";
    let server = start_bounded(&format!("exec unshare -rm sh -c '{mount}' \"$0\" \"$@\""), &folder, "10");
    (0..300).for_each(|number| _ = server.say(&number.to_string()));
}

#[test]
fn a_log_that_fills_the_disk_makes_room_at_the_start_and_when_something_is_said() {
    let folder = Folder::new("log");
    let mut server = Server::start(&["--store", &folder.file(), "--history", "10"]);
    (0..100).for_each(|number| _ = server.say(&number.to_string()));
    server.signal("KILL");
    server.wait();
    assert!(fs::metadata(folder.file() + "-wal").unwrap().len() > 400 * 512);
    let server = start_bounded("trap '' XFSZ; ulimit -S -f 400", &folder, "10");
    (100..300).for_each(|number| _ = server.say(&number.to_string()));
    let kept: Vec<_> = kept(&server).into_iter().map(|(_, text)| text).collect();
    assert_eq!(kept, (290..300).map(|number: i32| number.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_is_answered_507_and_survived() {
    let folder = Folder::new("full");
    let server = start_bounded("trap '' XFSZ; ulimit -S -f 400", &folder, "1000");
    let mut listener = server.listen("/listen");
    server.say("before");
    let say_much = || server.request("POST", "/say/much", &[], &[b'x'; 60_000]);
    let refused = (0..100).map(|_| say_much()).find(|answer| answer.status != 200).expect("it is full");
    let line = "aloud: no room is left to keep the message; make room on the server's disk and say it again\n";
    assert_eq!((refused.status, refused.body.as_str()), (507, line));
    let beat = server.request("POST", "/say?event=host", &[], b"beat");
    assert_eq!(beat.status, 200, "it is only passed on");
    assert!(server.request("GET", "/health", &[], b"").body.contains("\"store\":\"failing\""));
    let unlimited = format!("--fsize=unlimited:unlimited --pid {}", server.pid());
    assert!(Command::new("prlimit").args(unlimited.split(' ')).status().unwrap().success());
    server.say("after");
    assert!(server.request("GET", "/health", &[], b"").body.contains("\"store\":\"ok\""));
    let kept: Vec<_> = kept(&server);
    let mut heard = vec![];
    while heard.last().is_none_or(|line| line != "after") {
        heard.push(listener.line().unwrap().trim_end().to_owned());
    }
    assert_eq!(heard, kept.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), "heard is kept, refused is neither");
}

#[test]
fn a_file_that_is_moved_replaced_or_deleted_is_noticed_when_nothing_is_said_too() {
    let other = |file: &str| fs::copy(file, format!("{file}.other")).map(drop);
    let replace = |file: &str| other(file).and_then(|()| fs::rename(format!("{file}.other"), file));
    type Way<'a> = &'a dyn Fn(&str) -> std::io::Result<()>;
    let ways: [(&str, Way<'_>); 6] = [
        ("moved", &|file| fs::rename(file, format!("{file}.away"))),
        ("deleted", &|file| fs::remove_file(file)),
        ("replaced", &replace),
        ("its link is replaced", &|link| {
            other(link)?;
            fs::remove_file(link)?;
            symlink(format!("{link}.other"), link)
        }),
        ("its log is deleted", &|file| fs::remove_file(format!("{file}-wal"))),
        ("its folder is moved", &|file| {
            let folder = std::path::Path::new(file).parent().unwrap();
            fs::rename(folder, folder.with_extension("away"))
        }),
    ];
    for (way, act) in ways {
        let folder = Folder::new("moved");
        let file = folder.file();
        if way.contains("link") {
            symlink("store.itself", &file).unwrap();
        }
        let server = start(&file);
        server.say("before");
        let health = || server.request("GET", "/health", &[], b"");
        assert_eq!(health().status, 200, "{way}");
        act(&file).unwrap();
        wait_until(way, || health().status == 503);
        assert!(health().body.contains("\"status\":\"failing\"") && health().body.contains("\"store\":\"failing\""));
        assert_eq!(server.request("POST", "/say", &[], b"x").status, 503, "{way}");
        assert_eq!(server.request("POST", "/say", &[], b"x").status, 503, "{way}");
        let log = server.wait_for_log("was moved or deleted"); // the log is written by a thread of its own
        assert_eq!(log.matches("was moved or deleted").count(), 1, "{way}");
        if way == "moved" {
            fs::rename(format!("{file}.away"), &file).unwrap();
            wait_until("it is back", || health().status == 200);
            server.say("after");
        }
        let _ = fs::remove_dir_all(folder.0.with_extension("away"));
    }
}

#[test]
fn a_store_that_is_put_in_the_place_of_another_keeps_its_messages_and_so_does_the_other() {
    let folder = Folder::new("swapped");
    let (file, other) = (folder.file(), folder.file() + ".other");
    let stop = |mut server: Server| {
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0));
    };
    let texts = |file: &str| kept(&start(file)).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
    let server = start(&other);
    server.say("of the other");
    stop(server);
    let server = start(&file);
    server.say("of the first");
    fs::rename(&file, format!("{file}.away")).unwrap();
    fs::rename(&other, &file).unwrap();
    wait_until("it is noticed", || server.request("GET", "/health", &[], b"").status == 503);
    stop(server);
    assert_eq!(texts(&file), ["of the other"]);
    assert_eq!(texts(&format!("{file}.away")), ["of the first"], "without its log");
}

#[test]
fn the_path_of_a_store_is_a_path_and_no_url() {
    let folder = Folder::new("url");
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", "127.0.0.1:0", "--store", "file:x?mode=memory"]).current_dir(&folder.0);
    let mut server = Server::start_command(command);
    server.say("x");
    server.signal("TERM");
    server.wait();
    let names: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["file:x?mode=memory"]);
}

#[test]
#[cfg(feature = "redis")]
fn a_store_and_a_redis_are_one_too_many() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aloud"));
    command.args(["--bind", "127.0.0.1:0", "--store", "x", "--redis", "redis://127.0.0.1:1"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let line = "aloud: --store and --redis both keep what is said; give one of them\n";
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap().as_str()), (Some(2), line));
}

#[test]
fn the_commands_of_the_manual_put_in_what_was_said_and_how_things_stand() {
    let (folder, before) = (Folder::new("put-in"), Server::start(&[]));
    let file = folder.0.join("aloud.store").to_str().unwrap().to_owned();
    for word in ["a&status=failed", "a&status=ok", "b&status=failed", "c&status=failed", "c&status=gone", "d"] {
        before.request("POST", &format!("/say?key={word}"), &[], word.as_bytes());
    }
    before.say("no thing");
    fs::write(file.clone() + ".ndjson", before.curl(&["/said?as=json&event=*"])).unwrap();
    let mut server = start(&file);
    server.signal("TERM");
    server.wait();
    let page = fs::read_to_string("src/manual/keeping.md").unwrap();
    let commands = page.lines().filter_map(|line| line.strip_prefix("$ ").filter(|command| command.contains("insert")));
    for command in commands {
        assert!(Command::new("sh").args(["-ec", command]).current_dir(&folder.0).status().unwrap().success());
    }
    let server = start(&file);
    for target in ["/said?as=tsv", "/now?as=json", "/status"] {
        let answer = |server: &Server| server.request("GET", target, &[], b"").body;
        assert_eq!(answer(&server), answer(&before), "{target}");
    }
}

#[test]
fn rows_that_were_put_in_by_sql_are_there_after_a_restart_with_no_sum_and_older_ids() {
    let folder = Folder::new("import");
    let mut server = start(&folder.file());
    server.say("new");
    server.signal("TERM");
    server.wait();
    let sql = "insert into messages(id, time, message) values(1735787045000007, '2025-01-02T03:04:05Z', 'old')";
    assert!(Command::new("sqlite3").args([&folder.file(), sql]).status().expect("it is installed").success());
    let server = start(&folder.file());
    assert_eq!(server.curl(&["/said"]), "old\r\nnew\r\n");
    assert_eq!(server.curl(&["/said?since=1735787045000007"]).lines().last(), Some("new"));
}
