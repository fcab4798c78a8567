//! `--store FILE`: messages outlive the process in a file, a SQLite database that everybody can query. A transaction is
//! there as a whole or not at all, even if the process is killed or the power fails: SQLite's write-ahead log is synced
//! at each commit (`synchronous=FULL`, <https://sqlite.org/wal.html>). One aloud at a time has the file open.
//!
//! The [committer](crate::room::commit_queue) writes all that lies on the commit queue in one transaction: the
//! messages and the newest word on each thing. Now and then it also deletes what has gone from the history.
//!
//! **When the disk is full**, or does not work, the batch is refused, and nobody has heard it. SQLite takes the
//! transaction back. The log may hold all of it nevertheless, so a small transaction is written over it before the
//! speakers are told. On a small disk it is the log that takes the room, so it is emptied first, and the batch is tried
//! once more.
//!
//! **A change on the disk** is found: SQLite checks its pages (`quick_check`), and each row has a sum over what it
//! says. A row that somebody has put in by SQL has no sum and is taken as it is. SQLite is not given a file that
//! does not begin as ours does, so a foreign file stays as it is.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};
use rustix::fs::{AtFlags, CWD, StatxFlags, statvfs, statx};

use crate::clock::now_micros;
use crate::journal;
use crate::keep::rows::{TABLES, define_digest, insert, mark, read};
use crate::keep::store_error::{FOREIGN, Fault, IN_USE, OLD, damaged, line, newer, refused};
use crate::os::raw;
use crate::room::commit_queue::{Committer, Pending};
use crate::room::{Hub, Message, Refused, message::next_id, replay::Restored};

/// Marks the file as aloud's, in SQLite's header: "alou".
const APPLICATION: i32 = 0x616c_6f75;

/// The version of the tables.
const VERSION: i32 = 1;

/// How the file begins that an aloud before 0.2 has kept.
const OLD_MAGIC: &[u8] = b"aloud store 1";

/// The permissions of a new file: only the server's user may read and write it. An old file keeps its permissions.
const FILE_MODE: u32 = 0o600;

/// How long a commit waits for somebody else who writes into the file.
const BUSY_LIMIT: Duration = Duration::from_secs(1);

/// The most kinds of message of which the file notes what has gone.
const MOST_GONE: usize = 1000;

/// Messages that the history has let go of are deleted together, at least so many. A delete writes pages that nothing
/// else writes.
const DELETE_TOGETHER: usize = 256;

/// The log is written into the file when it has so many pages: 1000, as SQLite does by default. On a small disk there
/// are fewer, at least 32: then the log takes a quarter of the room, so the file can still grow.
const LOG_PAGES: (u64, u64) = (32, 1000);

/// How often the committer looks whether the file is still there, if nothing is said.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The open file.
pub struct Store {
    database: Connection,
    /// The file as the user names it, which may be a link, the file itself, and SQLite's own two beside it, each with
    /// its id.
    places: Vec<(PathBuf, FileId)>,
    gone: Gone,
    /// Locked as long as it is open. Closed last: to close it earlier would free SQLite's own locks (fcntl(2)).
    _file: File,
}

/// The device and the inode.
type FileId = (u64, u64);

/// The messages and things that the history has let go of, and the file not yet.
struct Gone {
    /// The ids of messages.
    ids: Vec<u64>,
    /// The newest id of the things that went.
    evicted: u64,
    /// How much there is to delete.
    due: usize,
    /// The id up to which anything may be gone.
    forgotten: u64,
}

impl Store {
    /// Opens the store in `file`. Begins a new one if there is no such file, or if it is empty. Returns the store and
    /// the messages that it has kept.
    ///
    /// # Errors
    /// One line for the user, if the file cannot be opened, another process has it open, or it is damaged or no store.
    /// A damaged file, or one that is no store, is left as it is.
    pub fn open(path: &Path) -> Result<(Store, Restored), String> {
        Store::try_open(path).map_err(|fault| line(&fault, path))
    }

    fn try_open(path: &Path) -> Result<(Store, Restored), Fault> {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(IN_USE.into()),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        look_at_head(&mut file)?;
        let (named, path) = (path, &path.canonicalize()?); // SQLite would take `file:` for the beginning of a URL
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(path, flags)?;
        database.busy_timeout(BUSY_LIMIT)?;
        define_digest(&database)?;
        // Until it is known to be whole, the file stays as it is. SQLite would put its log into it at the end.
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        if database.query_row("select count(*) from sqlite_schema", [], |row| row.get::<_, i64>(0))? == 0 {
            begin(&database)?;
            // A new file is there after a power cut only if its folder was synced.
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())?;
        }
        check(&database)?;
        let past = read(&database)?;
        make_durable(&database)?;
        database.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        let gone = Gone { ids: vec![], evicted: 0, due: 0, forgotten: past.forgotten };
        let mut store = Store { database, places: vec![], gone, _file: file };
        store.keep([], Some(past.last))?; // a file that cannot be written is found now
        store.empty_log()?;
        let room = statvfs(path).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        let pages = (room / 4 / 4096).clamp(LOG_PAGES.0, LOG_PAGES.1); // of 4096 bytes
        store.database.pragma_update(None, "wal_autocheckpoint", pages)?;
        let beside = |end: &str| [path.as_os_str(), end.as_ref()].into_iter().collect::<OsString>().into();
        for place in [named.to_owned(), path.clone(), beside("-wal"), beside("-shm")] {
            let id = id_of(&place)?;
            store.places.push((place, id));
        }
        Ok((store, past))
    }

    /// Keeps `messages`. When this returns, they are on the disk. With `last`, the newest id, also writes what
    /// can wait: that id and the deletes. Returns whether there was anything to write. If there is no room, it empties
    /// the log and tries once more.
    fn keep<'a, M>(&mut self, messages: M, last: Option<u64>) -> Result<bool, Fault>
    where
        M: IntoIterator<Item = &'a Message> + Clone,
    {
        match self.write(messages.clone(), last).map_err(|fault| self.reason(fault)) {
            Err(fault) if refused(&fault) == Refused::NoRoom && self.empty_log().is_ok() => {
                self.write(messages, last).map_err(|fault| self.reason(fault))
            }
            kept => kept,
        }
    }

    /// Writes one transaction, as [`keep`](Self::keep) says.
    fn write<'a>(&mut self, messages: impl IntoIterator<Item = &'a Message>, last: Option<u64>) -> Result<bool, Fault> {
        let mut rows = messages.into_iter().filter(|message| message.is_kept() || !message.key.is_empty()).peekable();
        if last.is_none() && rows.peek().is_none() {
            return Ok(false); // beats
        }
        let deletes = last.is_some() || self.gone.due >= DELETE_TOGETHER;
        let all = self.database.transaction()?; // taken back, unless it is committed
        rows.try_for_each(|message| insert(&all, message))?;
        if let Some(last) = last {
            all.execute("delete from marks where name = 'last'", [])?; // writes a page, even if it is as before
            mark(&all, "last", last)?;
        }
        if deletes {
            self.gone.delete(&all)?;
        }
        all.commit()?;
        if deletes {
            (self.gone.ids, self.gone.due) = (vec![], 0);
        }
        Ok(true)
    }

    /// Writes what is in the log into the file, and leaves the log empty.
    fn empty_log(&self) -> rusqlite::Result<()> {
        self.database.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))
    }

    /// Whether the file, or one of SQLite's own two, was moved, replaced or deleted.
    fn is_lost(&self) -> bool {
        !self.places.iter().all(|(place, id)| id_of(place).is_ok_and(|of_now| of_now == *id))
    }

    /// The system's reason for the `fault`, if SQLite knows one.
    fn reason(&self, fault: Fault) -> Fault {
        match fault.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code) {
            Some(ErrorCode::SystemIoFailure) => raw::system_error(&self.database).into(),
            _ => fault,
        }
    }
}

impl Gone {
    /// Notes what the hub has let go of: messages by their ids, and the things that have no word after `evicted`.
    fn note(&mut self, (ids, evicted): (Vec<u64>, u64)) {
        self.due += ids.len() + usize::from(evicted > self.evicted);
        self.ids.extend(ids);
        self.evicted = evicted;
    }

    /// Deletes, and notes of each kind of message which was the newest. If there are too many kinds, those that have
    /// gone longest are summed up in one mark, up to which anything may be gone.
    fn delete(&mut self, database: &Connection) -> rusqlite::Result<()> {
        let ids = format!("{:?}", self.ids); // a list as JSON has it
        let sql = "insert into gone select channel, event, max(id), digest(channel, event, max(id)) from messages
            where id in (select value from json_each(?1)) group by channel, event
            on conflict do update set id = excluded.id, sum = excluded.sum where excluded.id > id";
        database.execute(sql, [&ids])?;
        database.execute("delete from messages where id in (select value from json_each(?1))", [&ids])?;
        database.execute("delete from things where id <= ?1", [self.evicted])?;
        let sql = "select id from gone order by id desc limit 1 offset ?1";
        let Some(oldest) = database.query_row(sql, [MOST_GONE], |row| row.get(0)).optional()? else { return Ok(()) };
        self.forgotten = self.forgotten.max(oldest);
        database.execute("delete from gone where id <= ?1", [oldest])?;
        mark(database, "forgotten", self.forgotten)
    }
}

/// The committer's life: keeps what is handed in until the commit queue is closed, then notes the newest id.
pub fn serve(mut store: Store, mut committer: Committer, hub: &Hub) {
    let Some(commit_queue) = hub.commit_queue() else { return };
    while let Some(mut batch) = committer.take(LOOK_EVERY) {
        let is_lost = store.is_lost();
        if is_lost && !commit_queue.is_lost() {
            log::error!(
                "The file of --store was moved or deleted, so all is refused; put it back, or start aloud again"
            );
            // The log still lies beside its place. SQLite would read it into whatever is put there.
            let _ = store.empty_log();
        }
        commit_queue.set_lost(is_lost);
        if is_lost || batch.is_empty() {
            batch.into_iter().for_each(|speaker| speaker.answer(Err(Refused::CannotKeep)));
            continue;
        }
        let (last, now) = (hub.last_id(), now_micros());
        let mut id = last;
        for Pending { message, .. } in &mut batch {
            id = next_id(id, now);
            (message.id, message.time) = (id, now);
        }
        store.gone.note(hub.take_dropped());
        let kept = store.keep(batch.iter().map(|speaker| &speaker.message), None);
        if !matches!(kept, Ok(false)) {
            commit_queue.note(kept.is_ok());
        }
        match kept {
            Ok(_) => post(batch, hub),
            Err(fault) => {
                journal::KEEPING.warn(format_args!("cannot write to the store: {fault}; refused what was said"));
                // The refused messages may lie in the log, whole. So something else is written over them first.
                let _ = store.keep([], Some(last));
                let refused = refused(&fault);
                batch.into_iter().for_each(|speaker| speaker.answer(Err(refused)));
            }
        }
    }
    drop(committer); // speakers that came too late are told at once
    if store.is_lost() {
        let _ = store.empty_log(); // again: somebody may have been reading when the loss was seen
    } else {
        store.gone.note(hub.take_dropped());
        let _ = store.keep([], Some(hub.last_id())); // if this fails, it is as after a crash
    }
}

/// Posts all, then answers all: so one call wakes the threads that send the answers.
fn post(batch: Vec<Pending>, hub: &Hub) {
    let post = |mut speaker: Pending| {
        let receipt = hub.post(Arc::new(std::mem::take(&mut speaker.message)));
        hub.catch_up(receipt.listeners);
        (speaker, receipt)
    };
    let posted: Vec<_> = batch.into_iter().map(post).collect();
    posted.into_iter().for_each(|(speaker, receipt)| speaker.answer(Ok(receipt)));
}

/// A commit is on the disk when it returns.
fn make_durable(database: &Connection) -> rusqlite::Result<()> {
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")
}

/// Makes the tables of a new store. The head of the file comes first, by which [`look_at_head`] knows it.
fn begin(database: &Connection) -> rusqlite::Result<()> {
    database.pragma_update(None, "application_id", APPLICATION)?;
    make_durable(database)?; // before the tables: made without the log, they do not outlive each cut of tests/power.rs
    let all = database.unchecked_transaction()?;
    TABLES.iter().try_for_each(|table| all.execute_batch(&format!("create table {table}")))?;
    all.pragma_update(None, "user_version", VERSION)?;
    let now = now_micros();
    ["begun", "forgotten", "last"].iter().try_for_each(|name| mark(&all, name, now))?;
    all.commit()
}

/// Asks for the id alone. If the times of the log were asked for, Linux would note them exactly from then on: one more
/// write to the disk at each commit.
fn id_of(place: &Path) -> io::Result<FileId> {
    match statx(CWD, place, AtFlags::empty(), StatxFlags::INO) {
        Ok(file) => Ok((rustix::fs::makedev(file.stx_dev_major, file.stx_dev_minor), file.stx_ino)),
        Err(_) => std::fs::metadata(place).map(|file| (file.dev(), file.ino())), // before Linux 4.11
    }
}

/// Checks that the file is ours by how it begins (<https://sqlite.org/fileformat.html>), before SQLite opens it. A file
/// that is empty, or has nothing but zeros there, is a store that was just being made.
fn look_at_head(file: &mut File) -> Result<(), Fault> {
    let mut head = vec![];
    file.take(72).read_to_end(&mut head)?;
    match head.get(68..) {
        _ if head.starts_with(OLD_MAGIC) => Err(OLD.into()),
        _ if head.iter().all(|byte| *byte == 0) => Ok(()),
        Some(application) if application == APPLICATION.to_be_bytes() => Ok(()),
        _ => Err(FOREIGN.into()),
    }
}

/// Checks that the file is of a version that is known, has our tables, and is whole.
fn check(database: &Connection) -> Result<(), Fault> {
    match database.pragma_query_value(None, "user_version", |row| row.get(0))? {
        VERSION => {}
        version => return Err(newer(version)),
    }
    let sql = "select count(*) from sqlite_schema where sql = 'CREATE TABLE ' || ?1";
    for table in TABLES {
        if database.query_row(sql, [table], |row| row.get::<_, i64>(0))? != 1 {
            return Err(damaged("its tables are not ours"));
        }
    }
    let found: String = database.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(damaged(found)) }
}

#[cfg(all(test, not(loom)))]
mod tests;
