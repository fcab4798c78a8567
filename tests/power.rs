//! Promise: with `--store`, a power cut loses nothing that was answered `ok.`, whatever of the unsynced writes reaches
//! the disk; what was refused is not there; and a damaged file is named, or the damage does no harm.
//!
//! strace writes down what the real server does to its files. From that, the files are made as a power cut may leave
//! them: each write since the last sync is dropped, torn into sectors, or there, in any order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use aloud::keep::store::Store;
use aloud::room::message::Message;

use crate::support::{Answer, Folder, Server};

/// How many power cuts; `ALOUD_TEST_CUTS` says otherwise. A build without optimization is ten times as slow.
const CUTS: usize = if cfg!(debug_assertions) { 100 } else { 500 };

/// How often a file is damaged; `ALOUD_TEST_FLIPS` says otherwise.
const FLIPS: usize = 200;

const SPEAKERS: usize = 4;
const SECTOR: usize = 512;

fn count(variable: &str, normal: usize) -> usize {
    std::env::var(variable).map_or(normal, |text| text.parse().unwrap())
}

/// Random numbers, each run the same (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }

    fn shuffle<T>(&mut self, all: &mut [T]) {
        (1..all.len()).rev().for_each(|place| all.swap(place, self.roll(place + 1)));
    }
}

/// A step of the server, as strace saw it. A file is named by the end of its path: ``, `-wal`, `-journal`.
#[derive(Debug)]
enum Step {
    Created(String),
    Unlinked(String),
    Written(String, usize, Vec<u8>),
    Truncated(String, usize),
    Synced(String, bool),
    FolderSynced,
    /// At this socket; the id, or `None` if it was refused.
    Answered(String, Option<u64>),
}

/// A message that was sent: its text, its key, and the id with which it was answered, if it was not refused.
type Said = (String, String, Option<u64>);

/// The deeds of the server, and the words of each speaker.
struct Record {
    steps: Vec<Step>,
    said: Vec<Vec<Said>>,
}

/// The bytes of a string that strace has written as `\x61\x62`.
fn bytes(hex: &str) -> Vec<u8> {
    let digits = |two: &str| u8::from_str_radix(&two[..2], 16).unwrap();
    hex.split("\\x").skip(1).map(digits).collect()
}

/// The step in a line of strace's, or in the first half of one that was interrupted.
fn step(line: &str, file: &str, result: &str) -> Option<Step> {
    let (call, rest) = line.split_once('(')?;
    let failed = result.trim().starts_with("-1");
    let path = |part: &str| -> Option<String> {
        let quoted = part.split_once('<').map_or(part, |(_, path)| path);
        let quoted = quoted.trim_matches(|char| matches!(char, '"' | '>' | ' '));
        Some(if quoted.contains("\\x") {
            String::from_utf8_lossy(&bytes(quoted)).into_owned()
        } else {
            quoted.to_owned()
        })
    };
    let parts: Vec<&str> = rest.split(", ").collect();
    let first = path(parts[0].split('>').next()?)?;
    let end = |path: &str| path.strip_prefix(file).filter(|end| *end != "-shm").map(str::to_owned);
    match call {
        "openat" if rest.contains("O_CREAT") && !failed => Some(Step::Created(end(&path(parts[1])?)?)),
        "unlink" if !failed => Some(Step::Unlinked(end(&path(parts[0].split(')').next()?)?)?)),
        "pwrite64" if !failed => {
            let place = parts[3].split(')').next()?.trim().split(' ').next()?.parse().ok()?;
            Some(Step::Written(end(&first)?, place, bytes(parts[1])))
        }
        "ftruncate" if !failed => Some(Step::Truncated(end(&first)?, parts[1].split([')', ' ']).next()?.parse().ok()?)),
        "fsync" | "fdatasync" if file.starts_with(&first) && first.len() < file.len() => Some(Step::FolderSynced),
        "fsync" | "fdatasync" => Some(Step::Synced(end(&first)?, !failed)),
        "sendto" | "write" | "writev" | "sendmsg" if first.contains("socket:") => {
            let text = String::from_utf8_lossy(&bytes(rest.split_once(", ")?.1)).into_owned();
            let id = text.split("Aloud-Id: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
            (id.is_some() || text.starts_with("HTTP/1.1 50")).then_some(Step::Answered(first, id))
        }
        _ => None,
    }
}

/// Reads strace's notes in `trace` about the store `file`.
fn steps(trace: &str, file: &str) -> Vec<Step> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut steps = vec![];
    for line in trace.lines() {
        let Some((thread, line)) = line.split_once(' ') else { continue };
        let line = line.trim_start();
        if let Some(first) = line.strip_suffix("<unfinished ...>") {
            // An answer may be read before the call returns; a sync is done when it returns.
            match step(first, file, "") {
                Some(answered @ Step::Answered(..)) => steps.push(answered),
                _ => _ = begun.insert(thread, first),
            }
        } else if line.starts_with("<...") {
            let result = line.rsplit_once(" = ").map_or("", |(_, result)| result);
            steps.extend(begun.remove(thread).and_then(|first| step(first, file, result)));
        } else if let Some((call, result)) = line.rsplit_once(" = ") {
            steps.extend(step(call, file, result));
        }
    }
    steps
}

/// Has a server under strace, with `flags` for strace, be told `each` messages by each speaker, then kills it.
fn record(folder: &Path, history: &str, each: usize, flags: &[&str]) -> Record {
    let (file, trace) = (folder.join("store"), folder.join("trace"));
    let mut strace = Command::new("strace");
    let calls = "trace=openat,pwrite64,ftruncate,fsync,fdatasync,unlink,sendto,sendmsg,write,writev";
    strace.args(["-f", "-y", "-xx", "-s", "1000000", "--seccomp-bpf", "-e", calls, "-o", trace.to_str().unwrap()]);
    strace.args(flags).args([env!("CARGO_BIN_EXE_aloud"), "--bind", "127.0.0.1:0", "--store", file.to_str().unwrap()]);
    strace.args(["--history", history]).stdin(Stdio::null());
    let mut server = Server::start_command(strace);
    let said = std::thread::scope(|scope| {
        let server = &server;
        let speakers: Vec<_> = (0..SPEAKERS).map(|speaker| scope.spawn(move || speak(server, speaker, each))).collect();
        speakers.into_iter().map(|speaker| speaker.join().unwrap()).collect()
    });
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
    let killed = Command::new("kill").args(["-KILL", children.trim()]).status().unwrap();
    assert!(killed.success());
    server.wait();
    let trace = fs::read_to_string(trace).unwrap();
    Record { steps: steps(&trace, file.to_str().unwrap()), said }
}

fn speak(server: &Server, speaker: usize, each: usize) -> Vec<Said> {
    let mut dice = Dice(0x5eed + speaker as u64);
    let mut reader = BufReader::new(server.connect());
    let mut say = |number: usize| {
        let key = if dice.roll(3) == 0 { format!("k{speaker}{}", dice.roll(5)) } else { String::new() };
        let text = format!("{speaker}-{number}-{}", "x".repeat(dice.roll(6000)));
        let status = ["ok", "down"][dice.roll(2)];
        let about = if key.is_empty() { String::new() } else { format!("&key={key}&status={status}") };
        let body = format!("message={text}{about}");
        let head = "POST /say HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        reader.get_mut().write_all(request.as_bytes()).unwrap();
        let answer = Answer::read(&mut reader, false);
        assert!([200, 503, 507].contains(&answer.status), "{answer:?}");
        (text, key, answer.header("Aloud-Id").map(|id| id.parse().unwrap()))
    };
    (0..each).map(&mut say).collect()
}

/// The files as they are on the disk, and the steps that are not synced.
#[derive(Default, Clone)]
struct Disk<'a> {
    files: BTreeMap<String, Vec<u8>>,
    names: BTreeSet<String>,
    unsynced: Vec<&'a Step>,
}

impl<'a> Disk<'a> {
    fn take(&mut self, step: &'a Step, dice: &mut Dice) {
        let of = |step: &Step, name: &str| matches!(step, Step::Written(file, ..) | Step::Truncated(file, _) if file == name);
        match step {
            Step::FolderSynced => {
                let (names, rest) = std::mem::take(&mut self.unsynced)
                    .into_iter()
                    .partition(|step| matches!(step, Step::Created(_) | Step::Unlinked(_)));
                self.unsynced = rest;
                let names: Vec<_> = names;
                names.into_iter().for_each(|step| self.apply(step));
            }
            Step::Synced(name, well) => {
                let (mine, rest) = std::mem::take(&mut self.unsynced).into_iter().partition(|step| of(step, name));
                self.unsynced = rest;
                let mine: Vec<_> = mine;
                match well {
                    true => mine.into_iter().for_each(|step| self.apply(step)),
                    // The system takes for written what it could not write, and writes it never again.
                    false => mine.into_iter().for_each(|step| self.apply_in_part(step, dice)),
                }
            }
            Step::Answered(..) => {}
            step => self.unsynced.push(step),
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Created(name) => _ = self.names.insert(name.clone()),
            Step::Unlinked(name) => {
                self.names.remove(name);
                self.files.remove(name);
            }
            Step::Written(name, place, data) => put(self.files.entry(name.clone()).or_default(), *place, data),
            Step::Truncated(name, length) => self.files.entry(name.clone()).or_default().resize(*length, 0),
            _ => {}
        }
    }

    /// Does a step, or does not, or does it for some sectors.
    fn apply_in_part(&mut self, step: &Step, dice: &mut Dice) {
        match (dice.roll(3), step) {
            (0, _) => {}
            (1, Step::Written(name, place, data)) => {
                let file = self.files.entry(name.clone()).or_default();
                let mut from = 0;
                while from < data.len() {
                    let to = data.len().min(from + SECTOR - (place + from) % SECTOR);
                    if dice.roll(2) == 0 {
                        put(file, place + from, &data[from..to]);
                    }
                    from = to;
                }
            }
            _ => self.apply(step),
        }
    }

    /// Writes the files to `store`, as they are after a power cut; or after a mere kill, which loses nothing.
    fn write_to(mut self, store: &Path, is_kill: bool, dice: &mut Dice) {
        let mut unsynced = std::mem::take(&mut self.unsynced);
        if is_kill {
            unsynced.into_iter().for_each(|step| self.apply(step));
        } else {
            dice.shuffle(&mut unsynced);
            unsynced.into_iter().for_each(|step| self.apply_in_part(step, dice));
        }
        for end in ["", "-wal", "-shm", "-journal"] {
            let path = PathBuf::from(format!("{}{end}", store.display()));
            let _ = fs::remove_file(&path);
            if self.names.contains(end) {
                fs::write(&path, self.files.get(end).map_or(&[][..], |bytes| bytes)).unwrap();
            }
        }
        if dice.roll(2) == 0 {
            let stale: Vec<u8> = (0..32_768).map(|_| dice.roll(256) as u8).collect();
            fs::write(format!("{}-shm", store.display()), stale).unwrap();
        }
    }
}

fn put(file: &mut Vec<u8>, place: usize, data: &[u8]) {
    if file.len() < place + data.len() {
        file.resize(place + data.len(), 0);
    }
    file[place..place + data.len()].copy_from_slice(data);
}

/// The messages that were answered, and refused, at a power cut.
struct Known<'a> {
    answered: BTreeMap<u64, &'a Said>,
    refused: BTreeSet<&'a str>,
}

impl Record {
    /// The messages that were answered before the step `cut`.
    fn known(&self, cut: usize) -> Known<'_> {
        let mut sockets: HashMap<&str, Vec<Option<u64>>> = HashMap::new();
        let mut all: HashMap<&str, Vec<Option<u64>>> = HashMap::new();
        for (place, step) in self.steps.iter().enumerate() {
            if let Step::Answered(socket, id) = step {
                all.entry(socket).or_default().push(*id);
                if place < cut {
                    sockets.entry(socket).or_default().push(*id);
                }
            }
        }
        let mut known = Known { answered: BTreeMap::new(), refused: BTreeSet::new() };
        for said in &self.said {
            let ids: Vec<_> = said.iter().map(|(_, _, id)| *id).collect();
            let (socket, _) = all.iter().find(|(_, answers)| **answers == ids).expect("strace saw the answers");
            let answers = sockets.get(socket).map_or(0, Vec::len);
            for said in &said[..answers] {
                match said.2 {
                    Some(id) => _ = known.answered.insert(id, said),
                    None => _ = known.refused.insert(&said.0),
                }
            }
        }
        known
    }

    /// Cuts the power, and judges what the next start finds.
    fn cut(&self, disk: Disk<'_>, cut: usize, history: usize, store: &Path, dice: &mut Dice) {
        let is_kill = dice.roll(5) == 0;
        disk.write_to(store, is_kill, dice);
        let (store, past) = Store::open(store).unwrap_or_else(|line| panic!("cut at {cut}: {line}"));
        drop(store);
        let known = self.known(cut);
        let said: HashMap<&str, &Said> = self.said.iter().flatten().map(|said| (said.0.as_str(), said)).collect();
        let found: BTreeMap<u64, &str> = past.messages.iter().map(|one| (one.id, one.message.as_str())).collect();
        assert!(past.messages.is_sorted_by(|a, b| a.id < b.id), "cut at {cut}: out of order");
        let texts: BTreeSet<&str> = found.values().copied().collect();
        assert_eq!(texts.len(), found.len(), "cut at {cut}: something is there twice");
        assert!(texts.iter().all(|text| said.contains_key(text)), "cut at {cut}: something was never said");
        assert!(texts.is_disjoint(&known.refused), "cut at {cut}: a refused message is there (killed: {is_kill})");
        for (id, (text, key, _)) in known.answered.iter().rev().take(history) {
            let is_there = found.get(id) == Some(&text.as_str());
            assert!(is_there || (history < usize::MAX && !key.is_empty()), "cut at {cut}: {id} is lost");
        }
        let mut newest: HashMap<&str, u64> = HashMap::new();
        known.answered.iter().for_each(|(id, (_, key, _))| _ = newest.insert(key, *id));
        newest.remove("");
        for (key, id) in newest {
            let thing = past.things.iter().find(|(word, _)| word.key == key);
            assert!(thing.is_some_and(|(word, since)| word.id >= id && *since <= word.time), "cut at {cut}: {key}");
        }
        let gone = past.gone.iter().map(|(_, _, id)| *id).max().unwrap_or(0);
        assert!(!found.contains_key(&gone), "cut at {cut}: a gap that is none");
        if let Some((newest, _)) = known.answered.last_key_value() {
            assert!(gone.max(past.forgotten) < *newest && past.last >= *newest, "cut at {cut}: a gap, or an old id");
        }
    }
}

/// A folder in memory, if there is one, where a sync takes no time.
fn quick_folder() -> Folder {
    let folder = Folder::new("power");
    let quick = Path::new("/dev/shm").join(folder.0.file_name().unwrap());
    match fs::create_dir(&quick) {
        Ok(()) => Folder(quick),
        Err(_) => folder,
    }
}

fn cut_often(history: usize, each: usize, flags: &[&str], cuts: usize) {
    let (folder, images) = (Folder::new("record"), quick_folder());
    let history_flag = history.min(1_000_000).to_string();
    let record = record(&folder.0, &history_flag, each, flags);
    let syncs = record.steps.iter().filter(|step| matches!(step, Step::Synced(..))).count();
    assert!(syncs > 10 && record.steps.iter().any(|step| matches!(step, Step::FolderSynced)), "{syncs} syncs are seen");
    let mut dice = Dice(0xc0ffee);
    let all = record.steps.len() + 1;
    let mut places: Vec<_> = (0..cuts).map(|number| dice.roll(if number % 4 == 0 { 60 } else { all })).collect();
    places.sort(); // a quarter of them while the store is made
    let (mut disk, mut done) = (Disk::default(), 0);
    for cut in places {
        record.steps[done..cut].iter().for_each(|step| disk.take(step, &mut dice));
        done = cut;
        record.cut(disk.clone(), cut, history, &images.0.join("store"), &mut dice);
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_answered() {
    let cuts = count("ALOUD_TEST_CUTS", CUTS);
    cut_often(usize::MAX, 200, &[], cuts / 2);
    cut_often(40, 200, &[], cuts / 2);
}

#[test]
fn a_power_cut_after_a_failed_sync_loses_nothing_and_what_was_refused_is_not_there() {
    let cuts = count("ALOUD_TEST_CUTS", CUTS);
    // After the second fault the log is emptied, and the batch is tried once more.
    for (fault, history, cuts) in [("EIO:when=40+7", usize::MAX, cuts), ("ENOSPC:when=40+4", 40, cuts / 2)] {
        let inject = |call: &str| format!("inject={call}:error={fault}");
        let (fsync, fdatasync) = (inject("fsync"), inject("fdatasync"));
        cut_often(history, 200, &["-e", &fsync, "-e", &fdatasync], cuts);
    }
}

/// The find of a start: the messages and the things, or the line with which it refuses.
type Found = Result<(Vec<Message>, Vec<(Message, u64)>), String>;

fn found(store: &Path) -> Found {
    let (_store, past) = Store::open(store)?;
    let things = past.things.iter().map(|(word, since)| (Message::clone(word), *since)).collect();
    Ok((past.messages.iter().map(|one| Message::clone(one)).collect(), things))
}

/// Damages a store again and again. Returns how often that was named, did no harm, or was not noticed.
fn damage(is_killed: bool, flips: usize) -> (usize, usize, usize) {
    let (folder, images) = (Folder::new("damage"), quick_folder());
    let (file, store) = (folder.0.join("store"), images.0.join("store"));
    let mut server = Server::start(&["--store", file.to_str().unwrap(), "--history", "100"]);
    (0..SPEAKERS).for_each(|speaker| _ = speak(&server, speaker, 50));
    server.request("POST", "/say/a/b", &["Content-Type: application/json"], br#"{"name":"n","more":"1"}"#);
    server.signal(if is_killed { "KILL" } else { "TERM" });
    server.wait();
    if !is_killed {
        // Damage to a free page does no harm, so there is to be none.
        assert!(Command::new("sqlite3").arg(&file).arg("vacuum").status().expect("it is installed").success());
    }
    let good: Vec<_> = ["", "-wal"].map(|end| fs::read(format!("{}{end}", file.display())).unwrap_or_default()).into();
    let mut dice = Dice(0xbad);
    let put_back = |damage: &mut dyn FnMut(&mut Vec<Vec<u8>>)| {
        let mut files = good.clone();
        damage(&mut files);
        for (end, bytes) in ["", "-wal"].iter().zip(&files) {
            let path = format!("{}{end}", store.display());
            let _ = fs::remove_file(&path);
            if !bytes.is_empty() {
                fs::write(&path, bytes).unwrap();
            }
        }
        let _ = fs::remove_file(format!("{}-shm", store.display()));
        let found = found(&store);
        let now = ["", "-wal"].map(|end| fs::read(format!("{}{end}", store.display())).unwrap_or_default());
        assert!(found.is_ok() || now[..] == files[..], "a damaged file is left as it is");
        found
    };
    let right = put_back(&mut |_| {}).unwrap();
    assert!(right.0.len() >= 100 && !right.1.is_empty());
    let (mut named, mut harmless, mut silent) = (0, 0, 0);
    for _ in 0..flips {
        let found = put_back(&mut |files| {
            let which = if files[1].is_empty() { 0 } else { dice.roll(2) };
            let length = files[which].len();
            let place = dice.roll(length);
            match dice.roll(10) {
                0 => files[which].truncate(place.max(1)),
                _ => files[which][place] ^= 1 << dice.roll(8),
            }
        });
        match found {
            Err(line) => {
                assert!(line.contains("store") && line.lines().count() == 1, "{line}");
                named += 1;
            }
            Ok(found) if found == right => harmless += 1,
            Ok(_) => silent += 1,
        }
    }
    (named, harmless, silent)
}

#[test]
fn damage_to_a_closed_store_is_named_or_does_no_harm() {
    let (named, harmless, silent) = damage(false, count("ALOUD_TEST_FLIPS", FLIPS));
    println!("closed: {named} named, {harmless} harmless, {silent} not noticed");
    assert!(silent == 0 && named > harmless, "{named} named, {harmless} harmless, {silent} not noticed");
}

#[test]
fn damage_to_the_log_of_a_killed_server_costs_the_end_of_it_at_most() {
    let (named, harmless, silent) = damage(true, count("ALOUD_TEST_FLIPS", FLIPS) / 4);
    println!("killed: {named} named, {harmless} harmless, {silent} not noticed");
}
