//! `--store FILE`: what was said outlives the process. `redb` is what writes the file: a commit is there as a whole or
//! not at all, whenever the process is killed or the power fails, and one process at a time has it open.
//!
//! The committer is the [desk's clerk](crate::desk): all that lies on the desk is one transaction, and one wait for the
//! disk. What a transaction costs is the pages it writes, nearly whatever is in them: so messages that are kept
//! together are one row, and what the history will let go of goes in strides, with one transaction in many
//! (`STRIDE_BYTES`).
//!
//! **When the disk is full**, or does not work, that batch is refused; nobody has heard of it. redb wants its file
//! closed after such an error and opened again; that is done with the next batch, which is refused too if it does not
//! help. Whether a commit that failed is in the file nobody knows, so the first one that succeeds takes out whatever
//! has an id that was never posted.

use std::fmt::{Display, Formatter};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, DatabaseError, ReadableTable, StorageError, TableDefinition, TableError};

use crate::desk::{Clerk, Handed};
use crate::history::Past;
use crate::hub::{Hub, Refused};
use crate::journal;
use crate::message::{HOST_EVENT, Message, next_id, now_micros};
use crate::record;

/// What was kept together, by the id of its newest message; see [`row`].
const MESSAGES: TableDefinition<u64, &[u8]> = TableDefinition::new("messages");

/// What is to be known beside them: ids by the names below.
const MARKS: TableDefinition<&str, u64> = TableDefinition::new("marks");
const BEGUN: &str = "begun";
const FORGOTTEN: &str = "forgotten";
/// The newest id that was given; it may be a beat's, which is not kept. Written with `FORGOTTEN` and at the end, so
/// after a crash it may be an older one.
const LAST: &str = "last";

/// So much may be written before what the history has let go of goes, in bytes: each row that goes costs as much as one
/// that comes. So the file keeps what the history keeps, and of what it kept before about this much.
const STRIDE_BYTES: usize = 64 * 1024;

/// The memory that redb may use to spare itself reads, in bytes: what is kept is in memory already, so only the pages
/// near the two ends of the table are wanted again.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

type Open = Box<dyn Fn() -> Result<Database, DatabaseError> + Send>;

/// The open file.
pub struct Store {
    open: Open,
    /// `None` after an error, until it could be opened again.
    database: Option<Database>,
    /// Whether the file may hold messages that were never posted.
    doubtful: bool,
    /// The bytes written since something was let go of.
    written: usize,
}

impl Store {
    /// Opens the store in `file`, or begins one where there is no such file or it is empty; also says what it has kept.
    ///
    /// # Errors
    /// One line: where the file cannot be opened, another process has it open, or it is damaged or no store. In these
    /// last cases nothing is changed in it.
    pub fn open(file: &Path) -> Result<(Store, Past), String> {
        let path = file.to_owned();
        let open = move || builder().create(&path);
        Store::open_by(Box::new(open)).map_err(|trouble| trouble.line(file))
    }

    fn open_by(open: Open) -> Result<(Store, Past), Trouble> {
        // redb is careful with what it reads, but what nobody has thought of must not be a panic here.
        catch_unwind(AssertUnwindSafe(|| {
            let database = open()?;
            let past = past(&database)?;
            Ok((Store { open, database: Some(database), doubtful: false, written: 0 }, past))
        }))
        .unwrap_or(Err(Trouble::Damaged("it cannot be read".to_owned())))
    }

    /// Keeps `messages`, but for those up to the id `forgotten`, and now and then, also where there are none, lets go
    /// of what it has up to there. When this returns they are on the disk. `last` is the newest id before them.
    fn keep(&mut self, messages: &[Arc<Message>], forgotten: u64, last: u64) -> Result<(), Trouble> {
        let kept = catch_unwind(AssertUnwindSafe(|| {
            if self.database.is_none() {
                self.database = Some((self.open)()?);
            }
            let database = self.database.as_ref().expect("it was opened above");
            let (newest, row) = row(messages, forgotten);
            let strides = self.written + row.len() > STRIDE_BYTES || row.is_empty();
            let change = Change {
                row: newest.map(|newest| (newest, row.as_slice())),
                marks: strides.then_some((forgotten, newest.unwrap_or(last))),
                doubt: self.doubtful.then_some(last),
            };
            commit(database, &change)?;
            self.written = if strides { 0 } else { self.written + row.len() };
            Ok(())
        }))
        .unwrap_or(Err(Trouble::Damaged("redb has panicked".to_owned())));
        self.doubtful = kept.is_err();
        if kept.is_err() {
            // What closing it has to say was said by the error already.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(self.database.take())));
        }
        kept
    }
}

/// The committer's life: keeps what is handed in until the desk is closed, and notes the newest id then.
pub fn serve(mut store: Store, mut clerk: Clerk, hub: &Hub) {
    while let Some(batch) = clerk.take() {
        let last = hub.last_id();
        let (messages, speakers) = number(batch, last);
        // Beats are heard and not kept.
        let to_keep: Vec<_> = messages.iter().filter(|message| message.event != HOST_EVENT).cloned().collect();
        let kept = match to_keep.is_empty() {
            true => Ok(()),
            false => store.keep(&to_keep, hub.would_forget(&to_keep), last),
        };
        if let Some(desk) = hub.desk() {
            desk.note(kept.is_ok());
        }
        match kept {
            Ok(()) => post(messages, speakers, hub),
            Err(trouble) => {
                journal::KEEPING.warn(format_args!("cannot write to the store: {trouble}; refused what was said"));
                let refused = trouble.refused();
                speakers.into_iter().for_each(|speaker| speaker.answer(Err(refused)));
            }
        }
    }
    drop(clerk); // who came too late is told so at once
    let _ = store.keep(&[], hub.would_forget(&[]), hub.last_id()); // or it is as after a crash
}

/// Gives messages their ids and times.
fn number(batch: Vec<Handed>, last: u64) -> (Vec<Arc<Message>>, Vec<Handed>) {
    let (mut last, now) = (last, now_micros());
    let numbered = batch.into_iter().map(|mut handed| {
        last = next_id(last, now);
        let message = Message { id: last, time: now, ..std::mem::take(&mut handed.message) };
        (Arc::new(message), handed)
    });
    numbered.unzip()
}

fn post(messages: Vec<Arc<Message>>, speakers: Vec<Handed>, hub: &Hub) {
    for (message, speaker) in messages.into_iter().zip(speakers) {
        let receipt = hub.post(message);
        speaker.answer(Ok(receipt));
        hub.catch_up(receipt.listeners);
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// What is in the file.
fn past(database: &Database) -> Result<Past, Trouble> {
    let now = now_micros();
    let reading = database.begin_write()?; // a writing one makes the tables of a new store
    let mut past = Past::default();
    {
        let mut marks = reading.open_table(MARKS)?;
        let messages = reading.open_table(MESSAGES)?;
        if marks.get(BEGUN)?.is_none() {
            [BEGUN, FORGOTTEN].iter().try_for_each(|mark| marks.insert(mark, now).map(drop))?;
        }
        let mark = |name: &str| -> Result<u64, Trouble> {
            let value = marks.get(name)?.ok_or_else(|| Trouble::Damaged(format!("its mark {name} is missing")))?;
            Ok(value.value())
        };
        (past.begun, past.forgotten) = (mark(BEGUN)?, mark(FORGOTTEN)?);
        past.last = marks.get(LAST)?.map_or(past.forgotten, |last| last.value());
        for entry in messages.iter()? {
            let (newest, row) = entry?;
            let read = messages_of(row.value()).filter(|read| read.last().map(|last| last.id) == Some(newest.value()));
            let read = read.ok_or_else(|| Trouble::Damaged(format!("its row {} is none", newest.value())))?;
            let kept = read.into_iter().filter(|message| message.id > past.forgotten); // of its row others are kept
            past.messages.extend(kept.map(Arc::new));
        }
    }
    if past.begun > past.forgotten || !past.messages.is_sorted_by(|a, b| a.id < b.id) {
        return Err(Trouble::Damaged("its marks contradict its messages".to_owned()));
    }
    past.last = past.messages.last().map_or(past.last, |message| message.id.max(past.last));
    reading.commit()?;
    Ok(past)
}

/// What one transaction does to the file.
struct Change<'a> {
    /// Comes: messages kept together, and the id of the newest.
    row: Option<(u64, &'a [u8])>,
    /// Goes: rows whose messages all have ids up to the first of these. Both are noted: it, and the newest id.
    marks: Option<(u64, u64)>,
    /// Goes first: what is there beyond this id.
    doubt: Option<u64>,
}

/// One transaction. Each table that it touches is some more pages to write, and what it costs is pages.
fn commit(database: &Database, change: &Change<'_>) -> Result<(), Trouble> {
    let writing = database.begin_write()?;
    {
        let mut kept = writing.open_table(MESSAGES)?;
        if let Some(last) = change.doubt {
            kept.retain_in(last + 1.., |_, _| false)?;
        }
        if let Some((forgotten, last)) = change.marks {
            kept.retain_in(..=forgotten, |_, _| false)?;
            let mut marks = writing.open_table(MARKS)?;
            marks.insert(FORGOTTEN, forgotten)?;
            marks.insert(LAST, last)?;
        }
        if let Some((newest, row)) = change.row {
            kept.insert(newest, row)?;
        }
    }
    writing.commit()?;
    Ok(())
}

/// The id of the newest of `messages` beyond the id `forgotten`, and all of them in a row: for each its id (8 bytes,
/// big end first), its record's length (4 bytes) and its record as `record.rs` writes it.
fn row(messages: &[Arc<Message>], forgotten: u64) -> (Option<u64>, Vec<u8>) {
    let (mut newest, mut row) = (None, vec![]);
    for message in messages.iter().filter(|message| message.id > forgotten) {
        let record = record::write(message);
        row.extend_from_slice(&message.id.to_be_bytes());
        row.extend_from_slice(&(record.len() as u32).to_be_bytes());
        row.extend_from_slice(&record);
        newest = Some(message.id);
    }
    (newest, row)
}

/// The messages of a [`row`]; `None` where it is none.
fn messages_of(mut row: &[u8]) -> Option<Vec<Message>> {
    let mut messages = vec![];
    while !row.is_empty() {
        let (id, rest) = row.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (record, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        messages.push(record::read(u64::from_be_bytes(*id), record)?);
        row = rest;
    }
    Some(messages)
}

/// What went wrong with the file.
#[derive(Debug)]
enum Trouble {
    InUse,
    Damaged(String),
    Io(io::Error),
}

impl Trouble {
    /// What to tell a speaker.
    fn refused(&self) -> Refused {
        match self {
            Trouble::Io(error)
                if matches!(
                    error.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
                ) =>
            {
                Refused::NoRoom
            }
            _ => Refused::CannotKeep,
        }
    }

    /// What to tell the user who wants to open `file`.
    fn line(&self, file: &Path) -> String {
        let file = PathBuf::from(file);
        let file = file.display();
        match self {
            Trouble::InUse => {
                format!("the store {file} is in use by another process; give each server a file of its own")
            }
            Trouble::Damaged(why) => format!(
                "the store {file} is damaged or none of aloud's ({why}); it is left as it is: move it away, or give another file with --store"
            ),
            Trouble::Io(error) => format!("cannot open the store {file} ({error}); give another file with --store"),
        }
    }
}

impl Display for Trouble {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::InUse => formatter.write_str("another process has it open"),
            Trouble::Damaged(why) => write!(formatter, "it is damaged ({why})"),
            Trouble::Io(error) => write!(formatter, "{error}"),
        }
    }
}

impl From<StorageError> for Trouble {
    fn from(error: StorageError) -> Trouble {
        match error {
            StorageError::Io(error) if error.kind() != ErrorKind::InvalidData => Trouble::Io(error),
            error => Trouble::Damaged(error.to_string()),
        }
    }
}

impl From<DatabaseError> for Trouble {
    fn from(error: DatabaseError) -> Trouble {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Trouble::InUse,
            DatabaseError::Storage(error) => error.into(),
            error => Trouble::Damaged(error.to_string()),
        }
    }
}

impl From<TableError> for Trouble {
    fn from(error: TableError) -> Trouble {
        match error {
            TableError::Storage(error) => error.into(),
            error => Trouble::Damaged(error.to_string()),
        }
    }
}

impl From<redb::TransactionError> for Trouble {
    fn from(error: redb::TransactionError) -> Trouble {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            error => Trouble::Damaged(error.to_string()),
        }
    }
}

impl From<redb::CommitError> for Trouble {
    fn from(error: redb::CommitError) -> Trouble {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            error => Trouble::Damaged(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use redb::StorageBackend;

    use crate::desk::Desk;
    use crate::history::{History, Point, Replay, Since};
    use crate::hub::{Events, Limits, Subscription};
    use crate::letterbox::tests::message;
    use crate::sync::lock;

    /// A disk that remembers what was done to it, in order, and can be full or broken.
    #[derive(Debug, Clone)]
    struct Disk(Arc<Mutex<Platter>>);

    #[derive(Debug)]
    struct Platter {
        content: Vec<u8>,
        done: Vec<Done>,
        room: usize,
        syncs: bool,
    }

    #[derive(Debug, Clone)]
    enum Done {
        Written(usize, Vec<u8>),
        Cut(usize),
        Synced,
    }

    impl Disk {
        fn new(content: Vec<u8>) -> Disk {
            Disk(Arc::new(Mutex::new(Platter { content, done: vec![], room: usize::MAX, syncs: true })))
        }

        fn store(&self) -> Result<(Store, Past), Trouble> {
            let disk = self.clone();
            Store::open_by(Box::new(move || builder().create_with_backend(disk.clone())))
        }

        fn platter(&self) -> std::sync::MutexGuard<'_, Platter> {
            lock(&self.0)
        }
    }

    impl Done {
        fn to(&self, content: &mut Vec<u8>) {
            match self {
                Done::Written(place, bytes) => {
                    content.resize(content.len().max(place + bytes.len()), 0);
                    content[*place..place + bytes.len()].copy_from_slice(bytes);
                }
                Done::Cut(length) => content.resize(*length, 0),
                Done::Synced => {}
            }
        }
    }

    impl Platter {
        fn note(&mut self, done: Done) -> io::Result<()> {
            let end = match &done {
                Done::Written(place, bytes) => place + bytes.len(),
                Done::Cut(length) => *length,
                Done::Synced => 0,
            };
            if end > self.room {
                return Err(ErrorKind::StorageFull.into());
            }
            done.to(&mut self.content);
            self.done.push(done);
            Ok(())
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            Ok(self.platter().content.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let place = offset as usize;
            let platter = self.platter();
            let bytes = platter.content.get(place..place + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            self.platter().note(Done::Cut(length as usize))
        }

        fn sync_data(&self) -> io::Result<()> {
            let mut platter = self.platter();
            if !platter.syncs {
                return Err(io::Error::other("the disk is broken"));
            }
            platter.note(Done::Synced)
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.platter().note(Done::Written(offset as usize, data.to_vec()))
        }
    }

    /// Numbers that look random and are the same every time (xorshift).
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % sides as u64) as usize
        }
    }

    fn numbered(id: u64, length: usize) -> Arc<Message> {
        Arc::new(Message { id, time: id, message: "x".repeat(length), ..message("") })
    }

    fn everything(hub: &Hub) -> Vec<Arc<Message>> {
        let wants = Subscription { channel: String::new(), events: Events::All };
        hub.said(&wants, Since::OLDEST).messages.into_iter().rev().collect()
    }

    struct CloseWhenDropped<'a>(&'a Hub);

    impl Drop for CloseWhenDropped<'_> {
        fn drop(&mut self) {
            self.0.close();
        }
    }

    /// Runs `speak` with a hub whose messages are kept on `disk`.
    fn with_hub(disk: &Disk, speak: impl FnOnce(&Hub)) {
        let (store, past) = disk.store().unwrap();
        let (desk, clerk) = Desk::new("store");
        let limits = Limits { listeners: 1, queue: 8, history: 1000, history_bytes: 1 << 20 };
        let (hub, _called) = Hub::resume(limits, past, Some(desk));
        std::thread::scope(|scope| {
            scope.spawn(|| serve(store, clerk, &hub));
            let _closed = CloseWhenDropped(&hub); // also where `speak` panics
            speak(&hub);
        });
    }

    /// Of what was not synced any part may be on the disk after a power cut, in any order: the rest of the file is
    /// whole.
    #[test]
    fn after_a_power_cut_every_commit_that_returned_is_there_and_every_other_as_a_whole_or_not_at_all() {
        let mut dice = Dice(0x5eed);
        let disk = Disk::new(vec![]);
        let (mut store, past) = disk.store().unwrap();
        let born = disk.platter().done.len();
        let mut history = History::new(40, usize::MAX, past.begun);
        // What is there after each commit, and where in the order of writes it returned.
        let (mut last, mut ids, mut states) = (past.last, vec![], vec![(born, vec![])]);
        for _ in 0..60 {
            let batch: Vec<_> = (0..1 + dice.roll(20) as u64).map(|n| numbered(last + 1 + n, dice.roll(900))).collect();
            let forgotten = history.would_forget(&batch);
            store.keep(&batch, forgotten, last).unwrap();
            last = batch.last().unwrap().id;
            ids.extend(batch.iter().map(|message| message.id));
            ids.retain(|id| *id > forgotten);
            batch.into_iter().for_each(|message| history.keep(message));
            states.push((disk.platter().done.len(), ids.clone()));
        }
        let done = std::mem::take(&mut disk.platter().done);
        let (mut synced, mut at) = (vec![], 0);
        for cut in born..=done.len() {
            let from = done[..cut].iter().rposition(|done| matches!(done, Done::Synced)).unwrap() + 1;
            done[at..from].iter().for_each(|done| done.to(&mut synced));
            at = from;
            let mut content = synced.clone();
            done[from..cut].iter().filter(|_| dice.roll(2) == 0).for_each(|done| done.to(&mut content));
            let (_, past) = Disk::new(content).store().unwrap_or_else(|trouble| panic!("cut at {cut}: {trouble}"));
            let kept: Vec<u64> = past.messages.iter().map(|message| message.id).collect();
            let returned = states.iter().rposition(|(at, _)| *at <= cut).unwrap();
            let allowed = &states[returned..(returned + 2).min(states.len())];
            // What the history has let go of may be there for a while.
            assert!(
                allowed.iter().any(|(_, ids)| kept.ends_with(ids)),
                "cut at {cut}: {kept:?} is none of {allowed:?}"
            );
        }
    }

    #[test]
    fn a_full_disk_refuses_and_is_survived() {
        let disk = Disk::new(vec![]);
        let mut said = vec![];
        with_hub(&disk, |hub| {
            let mut say = |text: &str| {
                let receipt = hub.publish(message(text))?;
                said.push((receipt.id, text.to_owned()));
                Ok(())
            };
            say("before").unwrap();
            let full = disk.platter().content.len();
            disk.platter().room = full;
            let long = "x".repeat(100_000);
            assert_eq!((0..100).find_map(|_| say(&long).err()), Some(Refused::NoRoom));
            assert!(!hub.desk().unwrap().is_well());
            disk.platter().room = usize::MAX;
            say("after").unwrap();
            assert!(hub.desk().unwrap().is_well());
            let heard: Vec<_> = everything(hub).iter().map(|one| (one.id, one.message.clone())).collect();
            assert_eq!(heard, said);
        });
        let (_, past) = disk.store().unwrap();
        assert_eq!(past.messages.iter().map(|one| (one.id, one.message.clone())).collect::<Vec<_>>(), said);
    }

    #[test]
    fn what_a_broken_disk_may_have_kept_is_taken_out_when_it_works_again() {
        let disk = Disk::new(vec![]);
        with_hub(&disk, |hub| {
            hub.publish(message("before")).unwrap();
            disk.platter().syncs = false; // all is written, but nobody knows
            assert_eq!(hub.publish(message("refused")).unwrap_err(), Refused::CannotKeep);
            disk.platter().syncs = true;
            hub.publish(message("after")).unwrap();
        });
        let texts: Vec<_> = disk.store().unwrap().1.messages.iter().map(|one| one.message.clone()).collect();
        assert_eq!(texts, ["before", "after"]);
    }

    #[test]
    fn ids_go_on_after_those_of_before_whatever_the_clock_says() {
        let disk = Disk::new(vec![]);
        let (mut store, past) = disk.store().unwrap();
        let ahead = now_micros() + 3_600_000_000;
        store.keep(&[numbered(ahead, 1)], past.forgotten, past.last).unwrap();
        drop(store);
        with_hub(&disk, |hub| assert_eq!(hub.publish(message("x")).unwrap().id, ahead + 1));
        let (mut store, past) = disk.store().unwrap();
        assert_eq!((past.last, past.messages.len()), (ahead + 1, 2));
        store.keep(&[], past.last, past.last).unwrap(); // lets go of everything
        drop(store);
        let (_, past) = disk.store().unwrap();
        assert_eq!((past.forgotten, past.last, past.messages.len()), (ahead + 1, ahead + 1, 0));
    }

    #[test]
    fn who_heard_a_beat_last_is_told_of_no_gap_after_a_restart() {
        let (disk, mut heard) = (Disk::new(vec![]), 0);
        with_hub(&disk, |hub| {
            hub.publish(message("kept")).unwrap();
            heard = hub.publish(Message { event: HOST_EVENT.into(), ..message("beat") }).unwrap().id;
        });
        with_hub(&disk, |hub| {
            let wants = Subscription { channel: String::new(), events: Events::All };
            let since = Since { point: Point::After(heard), most: usize::MAX };
            assert_eq!(hub.said(&wants, since), Replay::default());
            assert!(hub.publish(message("more")).unwrap().id > heard);
        });
    }

    #[test]
    fn what_is_written_in_a_row_is_read_and_what_is_no_row_is_none() {
        let messages = [numbered(7, 3), numbered(8, 0), numbered(9, 900)];
        let (newest, bytes) = row(&messages, 7);
        assert_eq!((newest, row(&messages, 9)), (Some(9), (None, vec![])));
        let read: Vec<_> = messages_of(&bytes).unwrap().into_iter().map(Arc::new).collect();
        assert_eq!(read, messages[1..]);
        for cut in 1..bytes.len() {
            assert!(messages_of(&bytes[..cut]).is_none_or(|read| read.len() == 1), "cut at {cut}");
        }
        assert!(messages_of(&[0xff; 40]).is_none() && messages_of(br#"{"time":1,"event":"message"}"#).is_none());
    }

    #[test]
    fn the_file_keeps_little_more_than_the_history() {
        let disk = Disk::new(vec![]);
        let (mut store, mut past) = disk.store().unwrap();
        let mut history = History::new(10, usize::MAX, past.begun);
        for number in 1..=2000 {
            let batch = [numbered(past.begun + number, 1000)];
            store.keep(&batch, history.would_forget(&batch), past.last).unwrap();
            past.last = batch[0].id;
            batch.into_iter().for_each(|message| history.keep(message));
        }
        drop(store);
        let (_, kept) = disk.store().unwrap();
        let most = 10 + STRIDE_BYTES / 1000;
        assert!((10..=most).contains(&kept.messages.len()), "{} messages", kept.messages.len());
        assert!(disk.platter().content.len() < 1 << 20, "room is used again");
        assert_eq!(kept.last, past.last);
    }

    #[test]
    fn many_who_wait_share_a_sync() {
        let disk = Disk::new(vec![]);
        with_hub(&disk, |hub| {
            let before = disk.platter().done.iter().filter(|done| matches!(done, Done::Synced)).count();
            let hold = disk.platter(); // the committer takes the first, and waits for the disk
            std::thread::scope(|scope| {
                let speakers: Vec<_> = (0..50).map(|_| scope.spawn(|| hub.publish(message("x")))).collect();
                std::thread::sleep(std::time::Duration::from_millis(50)); // the later they come, the more batches
                drop(hold);
                speakers.into_iter().for_each(|speaker| _ = speaker.join().unwrap().unwrap());
            });
            let syncs = disk.platter().done.iter().filter(|done| matches!(done, Done::Synced)).count() - before;
            assert!(syncs < 50, "{syncs} syncs for 50 messages");
            let ids: Vec<u64> = everything(hub).iter().map(|one| one.id).collect();
            assert!(ids.len() == 50 && ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        });
    }
}
