use std::sync::atomic::Ordering;
use std::time::Instant;

use super::*;
use crate::room::commit_queue::CommitQueue;
use crate::room::hub::Limits;
use crate::room::memory_wire::message;
use crate::room::message::{HOST_EVENT, NUMBER_EVENT};
use crate::room::replay::{Point, Replay, Since};
use crate::room::subscription::{Events, Subscription};

/// The path of a store in a folder of its own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("aloud-unit-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        Place(folder.join("store"))
    }

    fn open(&self) -> (Store, Restored) {
        Store::try_open(&self.0).unwrap()
    }

    /// Does `sql` in the file, by another connection.
    fn sql(&self, sql: &str) {
        Connection::open(&self.0).unwrap().execute_batch(sql).unwrap();
    }

    /// The line with which it is refused. The file stays as it is.
    fn refusal(&self) -> String {
        let before = std::fs::read(&self.0).unwrap();
        let line = Store::open(&self.0).err().expect("it is refused");
        assert!(std::fs::read(&self.0).unwrap() == before, "{line}: it was changed");
        line
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

struct CloseWhenDropped<'a>(&'a Hub);

impl Drop for CloseWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Runs `speak` with a hub that keeps `history` messages and as many things in `place`.
fn with_hub(place: &Place, history: usize, speak: impl FnOnce(&Hub)) {
    let (store, past) = place.open();
    let (commit_queue, committer) = CommitQueue::new("store");
    let limits = Limits { listeners: 1, queue: 8, history, history_bytes: 1 << 20, things: history };
    let (hub, _called) = Hub::resume(limits, past, Some(commit_queue));
    std::thread::scope(|scope| {
        scope.spawn(|| serve(store, committer, &hub));
        let _closed = CloseWhenDropped(&hub); // also if `speak` panics
        speak(&hub);
    });
}

fn everything() -> Subscription {
    Subscription { events: Events::All, ..Subscription::default() }
}

fn texts(past: &Restored) -> Vec<&str> {
    past.messages.iter().map(|one| one.message.as_str()).collect()
}

fn word(key: &str, status: &str) -> Message {
    Message { key: key.to_owned(), status: status.to_owned(), channel: "a".to_owned(), ..message(status) }
}

#[test]
fn what_was_said_comes_back_as_it_was() {
    let place = Place::new("as-it-was");
    let fields = vec![("b\"\n".to_owned(), "\u{1}ü".to_owned()), ("a".to_owned(), String::new())];
    let said = Message { name: "n\0".to_owned(), fields, event: "own".into(), ..word("k", "ok") };
    let mut heard = vec![];
    with_hub(&place, 9, |hub| {
        hub.publish(said.clone()).unwrap();
        heard = hub.said(&everything(), Since::OLDEST).messages;
    });
    let (_store, past) = place.open();
    assert_eq!(past.messages, heard);
    assert_eq!(Message { id: 0, time: 0, ..Message::clone(&past.messages[0]) }, said);
    assert_eq!(past.things, [(past.messages[0].clone(), past.messages[0].time)]);
}

#[test]
fn ids_go_on_after_those_of_before_whatever_the_clock_says() {
    let place = Place::new("ids");
    let (mut store, past) = place.open();
    let ahead = now_micros() + 3_600_000_000;
    let number = Message { id: ahead + 1, time: ahead, event: NUMBER_EVENT.into(), ..word("n", "ok") };
    store.keep([&Message { id: ahead, time: ahead, ..message("x") }, &number], None).unwrap();
    assert!(past.last < ahead);
    drop(store); // without a word on the last id, as after a crash
    with_hub(&place, 9, |hub| {
        let since = Since { point: Point::After(ahead + 1), most: usize::MAX };
        assert_eq!(hub.said(&everything(), since), Replay::default(), "no gap after the number");
        assert_eq!(hub.publish(message("x")).unwrap().id, ahead + 2);
    });
    let mut beat = 0;
    with_hub(&place, 9, |hub| {
        beat = hub.publish(Message { event: HOST_EVENT.into(), ..message("beat") }).unwrap().id;
    });
    with_hub(&place, 9, |hub| {
        let since = Since { point: Point::After(beat), most: usize::MAX };
        assert_eq!(hub.said(&everything(), since), Replay::default(), "no gap after the beat");
        assert_eq!(hub.publish(message("x")).unwrap().id, ahead + 4);
    });
}

#[test]
fn the_file_keeps_little_more_than_the_history_and_says_what_is_gone() {
    let place = Place::new("little");
    let mut last = 0;
    with_hub(&place, 10, |hub| {
        (0..300).for_each(|number| _ = hub.publish(word(&format!("k{}", number % 50), "ok")).unwrap());
        last = hub.publish(Message { channel: "b".to_owned(), ..message("x") }).unwrap().id;
    });
    let (store, past) = place.open();
    assert_eq!((past.messages.len(), past.things.len(), past.last), (10, 10, last));
    let [(channel, event, id)] = &past.gone[..] else { panic!("{:?}", past.gone) };
    assert_eq!((channel.as_str(), event.as_str()), ("a", "message"));
    assert!(*id < last && past.messages.iter().all(|one| one.id != *id));
    assert!(std::fs::metadata(&place.0).unwrap().len() < 1 << 18, "room is used again");
    drop(store);
    with_hub(&place, 5, |_| ());
    assert_eq!(texts(&place.open().1), ["ok", "ok", "ok", "ok", "x"], "a smaller history lets go of some at the start");
}

#[test]
fn things_stand_since_their_status_changed_and_go_when_they_are_gone() {
    let place = Place::new("things");
    let mut ids = vec![];
    with_hub(&place, 9, |hub| {
        let words = [("a", "up"), ("b", "down"), ("a", "ok"), ("a", "ok"), ("b", "gone"), ("c", "bad"), ("c", "ok")];
        ids = words.map(|(key, status)| hub.publish(word(key, status)).unwrap().id).to_vec();
    });
    let (_store, past) = place.open();
    let time = |id: u64| past.messages.iter().find(|one| one.id == id).unwrap().time;
    let things: Vec<_> = past.things.iter().map(|(word, since)| (word.id, *since)).collect();
    assert_eq!(things, [(ids[3], time(ids[0])), (ids[6], time(ids[6]))]);
}

#[test]
fn kinds_that_have_gone_longest_are_summed_up() {
    let place = Place::new("kinds");
    let (mut store, past) = place.open();
    let kinds = 2 * MOST_GONE as u64 + 1;
    let ids: Vec<u64> = (past.last + 1..).take(kinds as usize).collect();
    let batch = ids.iter().map(|id| Message { id: *id, time: *id, channel: id.to_string(), ..message("x") });
    store.keep(&batch.collect::<Vec<_>>(), None).unwrap();
    store.gone.note((ids.clone(), 0));
    store.keep([], Some(ids[ids.len() - 1])).unwrap();
    drop(store);
    let (_store, past) = place.open();
    assert_eq!((past.messages.len(), past.gone.len()), (0, MOST_GONE));
    assert_eq!(past.forgotten, ids[MOST_GONE]);
}

#[test]
fn a_changed_row_is_named_and_one_without_a_sum_is_taken() {
    let place = Place::new("changed");
    with_hub(&place, 9, |hub| _ = hub.publish(word("k", "ok")).unwrap());
    let id = place.open().1.messages[0].id;
    let check = |sql: &str, back: &str, what: &str| {
        place.sql(sql);
        assert!(place.refusal().contains(what), "{sql}: {}", place.refusal());
        place.sql(back);
    };
    let of_message = format!("is damaged (the message with the id {id} is damaged)");
    let name = |name: &str| format!("update messages set name = '{name}'");
    check(&name("x"), &name(""), &of_message);
    check("update messages set id = id + 1", "update messages set id = id - 1", "the message with the id");
    check("update messages set fields = '{\"a\":\"b\"}'", "update messages set fields = '{}'", &of_message);
    let of_thing = format!("the thing with the id {id} is damaged");
    check("update things set status = 'bad'", "update things set status = 'ok'", &of_thing);
    let last = "update marks set id = id + 1 where name = 'last'";
    check(last, &last.replace('+', "-"), "its mark last is damaged");
    place.sql("create view own as select * from messages; update messages set name = 'own', sum = null");
    assert_eq!(place.open().1.messages[0].name, "own");
    place.sql("update messages set time = 'noon'");
    assert!(place.refusal().contains(&of_message));
    place.sql("alter table messages add column more text");
    assert!(place.refusal().contains("is damaged (its tables are not ours)"));
}

#[test]
fn a_file_that_is_no_store_is_refused_and_stays_as_it_is_with_what_lies_beside_it() {
    let place = Place::new("foreign");
    let beside = place.0.with_file_name("store-wal");
    let foreign = Connection::open(&place.0).unwrap();
    foreign.pragma_update(None, "journal_mode", "WAL").unwrap();
    foreign.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    foreign.execute_batch("create table mine(a)").unwrap();
    drop(foreign);
    let log = std::fs::read(&beside).unwrap();
    assert!(place.refusal().contains("store is no store of aloud's; move it away"));
    assert!(!log.is_empty() && std::fs::read(&beside).unwrap() == log);
    std::fs::remove_file(&beside).unwrap();
    for (content, words) in [
        (&b"aloud store 1\n and more"[..], "kept by aloud before 0.2; take what it holds out with that aloud"),
        (b"my notes", "is no store of aloud's"),
        (&[0; 5000], "is damaged (file is not a database)"),
    ] {
        std::fs::write(&place.0, content).unwrap();
        assert!(place.refusal().contains(words), "{}", place.refusal());
    }
    std::fs::write(&place.0, b"").unwrap();
    assert!(place.open().1.messages.is_empty(), "an empty file is a new store");
    place.sql("pragma user_version = 2");
    assert!(place.refusal().contains("was kept by a newer aloud (version 2 of its tables); start that aloud"));
}

#[test]
fn many_who_wait_share_a_commit() {
    let place = Place::new("group");
    with_hub(&place, 100, |hub| {
        place.sql("begin immediate; insert into gone values('', '', 1, 1); rollback"); // others may write too
        let writer = Connection::open(&place.0).unwrap();
        writer.execute_batch("begin immediate").unwrap(); // the committer takes the first, and waits
        std::thread::scope(|scope| {
            let speakers: Vec<_> = (0..50).map(|_| scope.spawn(|| hub.publish(message("x")))).collect();
            let begun = Instant::now();
            while begun.elapsed() < BUSY_LIMIT / 4 {
                std::thread::yield_now();
            }
            writer.execute_batch("rollback").unwrap();
            speakers.into_iter().for_each(|speaker| _ = speaker.join().unwrap().unwrap());
        });
        let queue = hub.commit_queue().unwrap();
        let [commits, failures] = [&queue.batches, &queue.failures].map(|count| count.load(Ordering::Relaxed));
        assert!(commits < 50 && failures == 0, "{commits} commits for 50 messages");
    });
    assert_eq!(texts(&place.open().1), ["x"; 50]);
}
