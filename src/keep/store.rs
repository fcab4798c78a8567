//! `--store FILE`: messages outlive the process in a file. The database `redb` keeps them: a commit is there as a whole
//! or not at all, even if the process is killed or the power fails. A [write-ahead log](crate::keep::wal) lies before
//! the database in one file with it, because a commit takes three times as long as one write to the log. One process
//! at a time has the file open.
//!
//! The [committer](crate::room::commit_queue) writes all that lies on the commit queue as one record into the log, and
//! waits for the disk once. When the next record does not fit into the log, one transaction takes over the new batch
//! and all that is pending in the log. Together they become one row, because the cost of a transaction is its pages.
//! That transaction also deletes what the history has let go of.
//!
//! **When the disk is full**, or does not work, the batch is refused, and nobody has heard it. Pending messages stay
//! pending: they are in the log. After an error redb wants its file closed and opened again. The next batch does that,
//! and is refused too if it does not help. Nobody knows whether a failed commit is in the file. If it is, the lap of
//! the log is over, so nothing is added to the log until a commit succeeds. That commit also deletes all messages whose
//! ids were never posted.

use std::fmt::{Display, Formatter};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, ReadableTable, StorageError, TableDefinition, TableError};

use crate::clock::now_micros;
use crate::journal;
use crate::keep::record;
use crate::keep::wal::{self, Behind, Log, Raw};
use crate::room::commit_queue::{Committer, Pending};
use crate::room::hub::Hub;
use crate::room::message::{HOST_EVENT, Message, Refused, next_id};
use crate::room::replay::Restored;

/// The rows: messages that were kept together, by the id of the newest one; see [`row`].
const MESSAGES: TableDefinition<u64, &[u8]> = TableDefinition::new("messages");

/// The marks beside the messages: ids by the names below, and the lap.
const MARKS: TableDefinition<&str, u64> = TableDefinition::new("marks");
const BEGUN: &str = "begun";
const FORGOTTEN: &str = "forgotten";
/// The newest id that was given when the last transaction was made. It may be a beat's, which is not kept. After a
/// crash the log may have a newer one.
const LAST: &str = "last";
/// The log's lap: a number that nobody can guess. Each transaction draws a new one.
const LAP: &str = "lap";

/// The memory that redb may use as a cache, in bytes. The history has all messages in memory already, so redb reads
/// only the pages near the two ends of the table again.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The permissions of a new file: only the server's user may read and write it. An old file keeps its permissions.
const FILE_MODE: u32 = 0o600;

/// The open file.
pub struct Store {
    file: Raw,
    log: Log,
    /// The messages in the log, as one [`row`]. They were acknowledged, and have still to go into redb.
    pending: Vec<u8>,
    /// The database; `None` after an error, until it is opened again. During that time the file may hold messages that
    /// were never posted, and nobody knows which lap it has.
    database: Option<Database>,
}

impl Store {
    /// Opens the store in `file`. Begins a new one if there is no such file, or if it is empty. Returns the store and
    /// the messages that it has kept.
    ///
    /// # Errors
    /// One line for the user, if the file cannot be opened, another process has it open, or it is damaged or no store.
    /// A damaged file, or one that is no store, is left as it is.
    pub fn open(file: &Path) -> Result<(Store, Restored), String> {
        let open = || {
            let file =
                File::options().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(file)?;
            Store::open_in(Arc::new(FileBackend::new(file)?))
        };
        open().map_err(|trouble: StoreError| trouble.line(file))
    }

    fn open_in(file: Raw) -> Result<(Store, Restored), StoreError> {
        match file.try_lock_range(Bound::Unbounded, Bound::Unbounded) {
            Ok(true) | Err(BackendError::Unsupported) => {} // a system without locks: redb goes on without them too
            Ok(false) => return Err(StoreError::InUse),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        // redb checks what it reads. A fault that it does not check for must not end in a panic.
        catch_unwind(AssertUnwindSafe(|| {
            let is_new = wal::prepare(&file)?;
            let database = open_behind(&file)?;
            let (past, log, pending) = read(&database, &file)?;
            if is_new {
                wal::finish(&file)?;
            }
            Ok((Store { file, log, pending, database: Some(database) }, past))
        }))
        .unwrap_or(Err(StoreError::Damaged("it cannot be read".to_owned())))
    }

    /// Keeps `messages`, at least one. When this returns, they are on the disk. `forgotten` is the newest id that the
    /// history will have let go of when they are posted. `last` is the newest id before them.
    fn keep(&mut self, messages: &[Arc<Message>], forgotten: u64, last: u64) -> Result<(), StoreError> {
        let row = row(messages);
        if self.database.is_none() || !self.log.has_room_for(&row) {
            return self.settle(messages, forgotten, last);
        }
        self.log.append(&row)?; // a failed record is written over by the next one, or its lap ends
        self.pending.extend_from_slice(&row);
        Ok(())
    }

    /// Makes one transaction that takes over the pending messages and keeps `messages`. There may be none of either.
    /// Then begins the log again. The arguments are those of [`keep`](Self::keep).
    fn settle(&mut self, messages: &[Arc<Message>], forgotten: u64, last: u64) -> Result<(), StoreError> {
        let row = [self.pending.as_slice(), &row(messages)].concat();
        let newest = match messages.last() {
            Some(newest) => Some(newest.id),
            None => messages_of(&row).and_then(|pending| Some(pending.last()?.id)),
        };
        let lap = draw_lap();
        let change = Change {
            row: newest.map(|newest| (newest, row.as_slice())),
            forgotten,
            last: messages.last().map_or(last, |newest| newest.id),
            lap,
            doubt: self.database.is_none().then_some(last),
        };
        let settled = catch_unwind(AssertUnwindSafe(|| {
            // Taken out, so that it is closed after an error.
            let database = self.database.take().map_or_else(|| open_behind(&self.file), Ok)?;
            commit(&database, &change)?;
            self.database = Some(database);
            Ok(())
        }));
        settled.unwrap_or(Err(StoreError::Damaged("redb has panicked".to_owned())))?;
        // Only now: the pending messages were acknowledged, and until here only the log has them.
        self.pending.clear();
        self.log.begin(lap);
        Ok(())
    }
}

/// The committer's life: keeps what is handed in until the commit queue is closed, then notes the newest id.
pub fn serve(mut store: Store, mut committer: Committer, hub: &Hub) {
    while let Some(batch) = committer.take() {
        let last = hub.last_id();
        let (messages, speakers) = number(batch, last);
        // Beats are heard, but not kept.
        let to_keep: Vec<_> = messages.iter().filter(|message| message.event != HOST_EVENT).cloned().collect();
        let kept = match to_keep.is_empty() {
            true => Ok(()),
            false => store.keep(&to_keep, hub.would_forget(&to_keep), last),
        };
        if let Some(commit_queue) = hub.commit_queue() {
            commit_queue.note(kept.is_ok());
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
    drop(committer); // speakers that came too late are told at once
    let _ = store.settle(&[], hub.would_forget(&[]), hub.last_id()); // if this fails, it is as after a crash
}

/// Gives messages their ids and times.
fn number(batch: Vec<Pending>, last: u64) -> (Vec<Arc<Message>>, Vec<Pending>) {
    let (mut last, now) = (last, now_micros());
    let numbered = batch.into_iter().map(|mut handed| {
        last = next_id(last, now);
        let message = Message { id: last, time: now, ..std::mem::take(&mut handed.message) };
        (Arc::new(message), handed)
    });
    numbered.unzip()
}

fn post(messages: Vec<Arc<Message>>, speakers: Vec<Pending>, hub: &Hub) {
    for (message, speaker) in messages.into_iter().zip(speakers) {
        let receipt = hub.post(message);
        speaker.answer(Ok(receipt));
        hub.catch_up(receipt.listeners);
    }
}

fn open_behind(file: &Raw) -> Result<Database, DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder.create_with_backend(Behind(file.clone()))
}

/// A new number that nobody can guess. It comes from the random keys of the standard library's hash maps.
fn draw_lap() -> u64 {
    RandomState::new().hash_one(LAP)
}

/// Reads the file: the kept messages, the log, and the row of pending messages in it. Writes nothing but the tables of
/// a new store.
fn read(database: &Database, file: &Raw) -> Result<(Restored, Log, Vec<u8>), StoreError> {
    let reading = database.begin_write()?; // a writing transaction, because it makes the tables
    let mut past = Restored::default();
    let (log, pending);
    {
        let mut marks = reading.open_table(MARKS)?;
        if marks.get(BEGUN)?.is_none() {
            let now = now_micros();
            let begin = [(BEGUN, now), (FORGOTTEN, now), (LAST, now), (LAP, draw_lap())];
            begin.iter().try_for_each(|(mark, value)| marks.insert(mark, value).map(drop))?;
        }
        let mark = |name: &str| -> Result<u64, StoreError> {
            let value = marks.get(name)?.ok_or_else(|| StoreError::Damaged(format!("its mark {name} is missing")))?;
            Ok(value.value())
        };
        (past.begun, past.forgotten, past.last) = (mark(BEGUN)?, mark(FORGOTTEN)?, mark(LAST)?);
        for entry in reading.open_table(MESSAGES)?.iter()? {
            let (newest, row) = entry?;
            let read = messages_of(row.value()).filter(|read| read.last().map(|last| last.id) == Some(newest.value()));
            past.messages
                .extend(read.ok_or_else(|| StoreError::Damaged(format!("its row {} is none", newest.value())))?);
        }
        (log, pending) = Log::read(file.clone(), mark(LAP)?)?;
        past.messages
            .extend(messages_of(&pending).ok_or_else(|| StoreError::Damaged("its log holds no row".to_owned()))?);
    }
    if past.begun > past.forgotten || !past.messages.is_sorted_by(|a, b| a.id < b.id) {
        return Err(StoreError::Damaged("its marks contradict its messages".to_owned()));
    }
    past.last = past.messages.last().map_or(past.last, |message| message.id.max(past.last));
    past.messages.retain(|message| message.id > past.forgotten); // a row may hold both forgotten and kept ones
    reading.commit()?;
    Ok((past, log, pending))
}

/// The change that one transaction makes to the file.
struct Change<'a> {
    /// Rows beyond this id are deleted first; `None` if there cannot be any.
    doubt: Option<u64>,
    /// The row to add, after the id of its newest message.
    row: Option<(u64, &'a [u8])>,
    /// Rows that hold no id beyond this one are deleted. This id is noted, as are the next two numbers.
    forgotten: u64,
    last: u64,
    lap: u64,
}

/// Makes one transaction with `change`.
fn commit(database: &Database, change: &Change<'_>) -> Result<(), StoreError> {
    let writing = database.begin_write()?;
    {
        let (mut kept, mut marks) = (writing.open_table(MESSAGES)?, writing.open_table(MARKS)?);
        if let Some(last) = change.doubt {
            kept.retain_in(last + 1.., |_, _| false)?;
        }
        if let Some((newest, row)) = change.row {
            kept.insert(newest, row)?;
        }
        // A failed transaction may be in the file. It may have deleted more, because it counted on messages that were
        // refused.
        let gone = marks.get(FORGOTTEN)?.map_or(0, |mark| mark.value());
        let forgotten = change.forgotten.max(gone);
        kept.retain_in(..=forgotten, |_, _| false)?;
        let notes = [(FORGOTTEN, forgotten), (LAST, change.last), (LAP, change.lap)];
        notes.iter().try_for_each(|(mark, value)| marks.insert(mark, value).map(drop))?;
    }
    writing.commit()?;
    Ok(())
}

/// Writes `messages` as a row: for each its id (8 bytes, big end first), the length of its record (4 bytes, big end
/// first), and the [record]. Two rows, one behind the other, are one row.
fn row(messages: &[Arc<Message>]) -> Vec<u8> {
    let mut row = vec![];
    for message in messages {
        let record = record::write(message);
        row.extend_from_slice(&message.id.to_be_bytes());
        row.extend_from_slice(&(record.len() as u32).to_be_bytes());
        row.extend_from_slice(&record);
    }
    row
}

/// The messages of a [`row`]; `None` if the bytes are no row.
fn messages_of(mut row: &[u8]) -> Option<Vec<Arc<Message>>> {
    let mut messages = vec![];
    while !row.is_empty() {
        let (id, rest) = row.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (record, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        messages.push(Arc::new(record::read(u64::from_be_bytes(*id), record)?));
        row = rest;
    }
    Some(messages)
}

/// A fault of the file.
#[derive(Debug)]
enum StoreError {
    InUse,
    Damaged(String),
    Io(io::Error),
}

impl StoreError {
    /// The refusal for a speaker.
    fn refused(&self) -> Refused {
        match self {
            StoreError::Io(error)
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

    /// The line for the user who wants to open `file`.
    fn line(&self, file: &Path) -> String {
        let file = PathBuf::from(file);
        let file = file.display();
        match self {
            StoreError::InUse => {
                format!("the store {file} is in use by another process; give each server a file of its own")
            }
            StoreError::Damaged(why) => format!(
                "the store {file} is damaged or none of aloud's ({why}); it is left as it is: move it away, or give another file with --store"
            ),
            StoreError::Io(error) => format!("cannot open the store {file} ({error}); give another file with --store"),
        }
    }
}

impl Display for StoreError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::InUse => formatter.write_str("another process has it open"),
            StoreError::Damaged(why) => write!(formatter, "it is damaged ({why})"),
            StoreError::Io(error) => write!(formatter, "{error}"),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        match error.kind() {
            ErrorKind::InvalidData => StoreError::Damaged(error.to_string()),
            _ => StoreError::Io(error),
        }
    }
}

impl From<StorageError> for StoreError {
    fn from(error: StorageError) -> StoreError {
        match error {
            StorageError::Io(error) => error.into(),
            error => StoreError::Damaged(error.to_string()),
        }
    }
}

impl From<DatabaseError> for StoreError {
    fn from(error: DatabaseError) -> StoreError {
        match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
            DatabaseError::Storage(error) => error.into(),
            error => StoreError::Damaged(error.to_string()),
        }
    }
}

impl From<TableError> for StoreError {
    fn from(error: TableError) -> StoreError {
        match error {
            TableError::Storage(error) => error.into(),
            error => StoreError::Damaged(error.to_string()),
        }
    }
}

impl From<redb::TransactionError> for StoreError {
    fn from(error: redb::TransactionError) -> StoreError {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            error => StoreError::Damaged(error.to_string()),
        }
    }
}

impl From<redb::CommitError> for StoreError {
    fn from(error: redb::CommitError) -> StoreError {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            error => StoreError::Damaged(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keep::wal::tests::{Dice, Disk, Done, FIRST_RECORD};
    use crate::room::commit_queue::CommitQueue;
    use crate::room::history::History;
    use crate::room::hub::Limits;
    use crate::room::memory_wire::message;
    use crate::room::replay::{Point, Replay, Since};
    use crate::room::subscription::{Events, Subscription};

    fn open(disk: &Disk) -> Result<(Store, Restored), StoreError> {
        Store::open_in(Arc::new(disk.clone()))
    }

    /// Opens the disk as the next process does if this one is killed now.
    fn found(disk: &Disk) -> (Restored, Vec<u64>) {
        let (_, past) = open(&Disk::new(disk.platter().content.clone())).unwrap();
        let ids = past.messages.iter().map(|message| message.id).collect();
        (past, ids)
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
        let (store, past) = open(disk).unwrap();
        let (commit_queue, committer) = CommitQueue::new("store");
        let limits = Limits { listeners: 1, queue: 8, history: 1000, history_bytes: 1 << 20 };
        let (hub, _called) = Hub::resume(limits, past, Some(commit_queue));
        std::thread::scope(|scope| {
            scope.spawn(|| serve(store, committer, &hub));
            let _closed = CloseWhenDropped(&hub); // also if `speak` panics
            speak(&hub);
        });
    }

    /// After a power cut, any of the writes that were not synced may be on the disk, and of each write any beginning.
    #[test]
    fn after_a_power_cut_every_batch_that_was_kept_is_there_and_every_other_as_a_whole_or_not_at_all() {
        let mut dice = Dice(0x5eed);
        let disk = Disk::new(vec![]);
        let (mut store, past) = open(&disk).unwrap();
        let born = disk.platter().done.len();
        let mut history = History::new(40, usize::MAX, past.begun);
        // The history after each batch, and how many steps the disk had done by then.
        let (mut last, mut ids, mut states) = (past.last, vec![], vec![(born, vec![])]);
        for _ in 0..100 {
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
        let laps = done.iter().filter(|done| matches!(done, Done::Written(place, _) if *place == FIRST_RECORD)).count();
        assert!((5..50).contains(&laps), "{laps} laps");
        let (mut synced, mut at) = (vec![], 0);
        for cut in born..=done.len() {
            let from = done[..cut].iter().rposition(|done| matches!(done, Done::Synced)).unwrap() + 1;
            done[at..from].iter().for_each(|done| done.to(&mut synced));
            at = from;
            let mut content = synced.clone();
            done[from..cut].iter().for_each(|done| done.in_part_to(&mut content, &mut dice));
            let (_, past) = open(&Disk::new(content)).unwrap_or_else(|trouble| panic!("cut at {cut}: {trouble}"));
            let kept: Vec<u64> = past.messages.iter().map(|message| message.id).collect();
            let returned = states.iter().rposition(|(at, _)| *at <= cut).unwrap();
            let allowed = &states[returned..(returned + 2).min(states.len())];
            // Messages that the history has let go of may be there for a while.
            assert!(
                allowed.iter().any(|(_, ids)| kept.ends_with(ids)),
                "cut at {cut}: {kept:?} is none of {allowed:?}"
            );
        }
    }

    #[test]
    fn a_store_whose_making_was_cut_short_is_made_anew() {
        let mut dice = Dice(0xb0);
        let disk = Disk::new(vec![]);
        open(&disk).unwrap();
        let done = std::mem::take(&mut disk.platter().done);
        for cut in (0..=done.len()).flat_map(|cut| [cut; 10]) {
            let from = done[..cut].iter().rposition(|done| matches!(done, Done::Synced)).map_or(0, |place| place + 1);
            let mut content = vec![];
            done[..from].iter().for_each(|done| done.to(&mut content));
            done[from..cut].iter().for_each(|done| done.in_part_to(&mut content, &mut dice));
            let disk = Disk::new(content);
            let (mut store, past) = open(&disk).unwrap_or_else(|trouble| panic!("cut at {cut}: {trouble}"));
            assert_eq!(past.messages, []);
            store.keep(&[numbered(past.last + 1, 1)], past.forgotten, past.last).unwrap();
            assert_eq!(found(&disk).1, [past.last + 1]);
        }
    }

    #[test]
    fn what_is_in_the_log_after_a_crash_is_there_once_and_in_order_and_the_log_goes_on() {
        let mut disk = Disk::new(vec![]);
        let mut said = vec![];
        for crash in 0..200 {
            let (mut store, past) = open(&disk).unwrap();
            assert_eq!(past.messages.iter().map(|message| message.id).collect::<Vec<_>>(), said, "crash {crash}");
            let batch = [numbered(past.last + 1, 400), numbered(past.last + 2, 300)];
            store.keep(&batch, past.forgotten, past.last).unwrap();
            said.extend(batch.iter().map(|message| message.id));
            let content = disk.platter().content.clone(); // a copy, because to close the store would be no crash
            disk = Disk::new(content);
        }
    }

    /// Syncs fail, the disk is full and the process is killed, at random. One of the batches that were refused since
    /// the last kept one may be found.
    #[test]
    fn whatever_fails_what_was_kept_is_there_and_what_was_refused_is_not() {
        for seed in 1..=8 {
            let mut dice = Dice(seed);
            let mut disk = Disk::new(vec![]);
            let (mut store, mut past) = open(&disk).unwrap();
            let mut history = History::new(60, usize::MAX, past.begun);
            let (mut said, mut refused) = (vec![], vec![vec![]]);
            for step in 0..100 {
                disk.platter().syncs = dice.roll(4) > 0;
                let full = disk.platter().content.len();
                disk.platter().room = if dice.roll(4) == 0 { full } else { usize::MAX };
                let most = if dice.roll(10) == 0 { 90_000 } else { 4000 };
                let count = 1 + dice.roll(5) as u64;
                let batch: Vec<_> = (0..count).map(|n| numbered(past.last + 1 + n, dice.roll(most))).collect();
                let ids = batch.iter().map(|message| message.id);
                match store.keep(&batch, history.would_forget(&batch), past.last) {
                    Ok(()) => {
                        past.last += count;
                        (said, refused) = ([said, ids.collect()].concat(), vec![vec![]]);
                        batch.into_iter().for_each(|message| history.keep(message));
                    }
                    Err(_) => refused.push(ids.collect()),
                }
                if dice.roll(4) > 0 {
                    continue;
                }
                let (now, kept) = found(&disk);
                let expected =
                    |refused: &Vec<u64>| kept.iter().eq(said.iter().chain(refused).filter(|id| **id > now.forgotten));
                assert!(
                    refused.iter().any(expected),
                    "seed {seed}, step {step}: {kept:?}, not {said:?} and one of {refused:?}"
                );
                if dice.roll(3) == 0 {
                    let content = disk.platter().content.clone();
                    disk = Disk::new(content);
                    (store, past) = open(&disk).unwrap();
                    history = History::new(60, usize::MAX, now.forgotten);
                    past.messages.drain(..).for_each(|message| history.keep(message));
                    (said, refused) = (kept, vec![vec![]]);
                }
            }
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
            say("while the log has room").unwrap();
            let long = "x".repeat(100_000);
            assert_eq!((0..100).find_map(|_| say(&long).err()), Some(Refused::NoRoom));
            assert!(!hub.commit_queue().unwrap().is_well());
            disk.platter().room = usize::MAX;
            say("after").unwrap();
            assert!(hub.commit_queue().unwrap().is_well());
            let heard: Vec<_> = everything(hub).iter().map(|one| (one.id, one.message.clone())).collect();
            assert_eq!(heard, said);
        });
        let (_, past) = open(&disk).unwrap();
        assert_eq!(past.messages.iter().map(|one| (one.id, one.message.clone())).collect::<Vec<_>>(), said);
    }

    #[test]
    fn what_a_broken_disk_may_have_kept_is_taken_out_when_it_works_again() {
        let disk = Disk::new(vec![]);
        with_hub(&disk, |hub| {
            hub.publish(message("before")).unwrap();
            disk.platter().syncs = false; // all is written, but nobody can know that
            assert_eq!(hub.publish(message("refused")).unwrap_err(), Refused::CannotKeep);
            disk.platter().syncs = true;
            hub.publish(message("after")).unwrap();
        });
        let texts: Vec<_> = open(&disk).unwrap().1.messages.iter().map(|one| one.message.clone()).collect();
        assert_eq!(texts, ["before", "after"]);
    }

    #[test]
    fn ids_go_on_after_those_of_before_whatever_the_clock_says() {
        let disk = Disk::new(vec![]);
        let (mut store, past) = open(&disk).unwrap();
        let ahead = now_micros() + 3_600_000_000;
        store.keep(&[numbered(ahead, 1)], past.forgotten, past.last).unwrap();
        drop(store);
        with_hub(&disk, |hub| assert_eq!(hub.publish(message("x")).unwrap().id, ahead + 1));
        let (mut store, past) = open(&disk).unwrap();
        assert_eq!((past.last, past.messages.len()), (ahead + 1, 2));
        store.settle(&[], past.last, past.last).unwrap(); // lets go of everything
        drop(store);
        let (_, past) = open(&disk).unwrap();
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
        let bytes = row(&messages);
        assert_eq!(messages_of(&bytes).unwrap(), messages);
        for cut in 1..bytes.len() {
            assert!(messages_of(&bytes[..cut]).is_none_or(|read| read.len() < messages.len()), "cut at {cut}");
        }
        assert!(messages_of(&[0xff; 40]).is_none() && messages_of(br#"{"time":1,"event":"message"}"#).is_none());
    }

    #[test]
    fn the_file_keeps_little_more_than_the_history() {
        let disk = Disk::new(vec![]);
        let (mut store, mut past) = open(&disk).unwrap();
        let mut history = History::new(10, usize::MAX, past.begun);
        for number in 1..=2000 {
            let batch = [numbered(past.begun + number, 1000)];
            store.keep(&batch, history.would_forget(&batch), past.last).unwrap();
            past.last = batch[0].id;
            batch.into_iter().for_each(|message| history.keep(message));
        }
        drop(store);
        let (_, kept) = open(&disk).unwrap();
        let most = 10 + wal::REGION_BYTES as usize / 1000;
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
