//! `--redis URL`: many servers, one conversation. Every message goes into a Redis stream (Redis 5 or newer, or Valkey),
//! and every server reads that stream, so all listeners of all servers hear one order.
//!
//! ```text
//!   /say ─▶ commit queue ─▶ committer ─▶ Redis ─▶ reader ─▶ hub ─▶ listeners        (the same at every other server)
//!             ▲                          │
//!             └──────── receipt ─────────┘
//! ```
//!
//! The committer sends all that lies on the commit queue in one round trip. A script in Redis gives each message its
//! id: Redis's time, or one more than the newest id if that is larger, so ids are one order for all servers. The reader
//! waits for new messages, posts them, and gives receipts to the speakers of this server. A server that starts reads
//! the end of the stream into its history; replay is from there, and so alike at every server. Beats take this way too,
//! so each server knows every [host](crate::hosts::known), at whichever server it beats.
//!
//! **While Redis is away**, messages are refused at once, listeners stay, and the reader goes on later after the last
//! message it has read. **Nothing is skipped in silence**: each entry names the one before it, so the reader sees if
//! entries are missing, because the stream was cut or emptied meanwhile. Then the streams of the listeners are ended.
//! They come back with the id they heard last and are told of the gap.
//!
//! A message that Redis was sent but did not answer, because it went away in that moment, may be heard although it was
//! refused. It is the one case in which nobody can know. How many messages outlive Redis itself depends on its settings
//! (`appendonly`).

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, RedisResult, Value, cmd,
    from_redis_value,
};

use crate::clock::{self, now_micros};
use crate::journal;
use crate::keep::record;
use crate::room::commit_queue::{Committer, Pending};
use crate::room::hub::Hub;
use crate::room::message::{Digest, HOST_EVENT, Message, Receipt, Refused};
use crate::room::replay::Restored;
use crate::sync::lock;

/// The key of the stream. For two conversations on one Redis, give them two databases: `redis://host/1`.
const STREAM: &str = "aloud:said";

/// The longest time to connect, and to wait for an answer beyond the time Redis is asked to wait. A Redis that is
/// silent for longer is away.
const LIMIT: Duration = Duration::from_secs(2);

/// How long Redis is asked to wait for new messages, in milliseconds. The reader may take so long to see that the
/// server stops.
const BLOCK_MS: u64 = 500;

/// The pause before the next try to connect.
const PAUSE: Duration = Duration::from_millis(100);

/// The most entries read at once.
const READ_LIMIT: usize = 256;

/// The fewest entries the stream keeps, whatever the size of the history. From them, a reader that was cut off for a
/// moment, or whose machine is the slowest of all, catches up.
const STREAM_LEAST: usize = 10_000;

/// The prefix of the keys of messages that are said once; the digest in hexadecimal digits follows.
const ONCE: &str = "aloud:heard:";

/// How long Redis knows a digest, in seconds: a day. Forges send again within minutes by themselves, and by hand when
/// somebody checks why nothing came. At one delivery a second that is 9 MB in Redis.
const ONCE_SECONDS: u64 = 24 * 60 * 60;

/// Adds a message. In go two keys, the stream's and the digest's; then how many entries to keep, the newest id that the
/// speaker's server has read, the server, the record, and how long the digest is known. Returns the id, or 0 for a
/// repeat. Numbers in Lua are exact up to 2^53, and microseconds since 1970 are until the year 2255.
///
/// The script marks and adds in one step, so a delivery is known exactly if its message is in the stream. A delivery
/// that was refused because Redis was away is new when the forge sends it again. One whose answer was lost on the way
/// is a repeat.
const ADD: &str = "\
if KEYS[2] and not redis.call('SET', KEYS[2], 1, 'NX', 'EX', ARGV[5]) then return '0' end
local top = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local before = tonumber(ARGV[2])
if top[1] then before = math.max(before, tonumber(string.match(top[1][1], '^%d+'))) end
local now = redis.call('TIME')
local id = string.format('%.0f', math.max(now[1] * 1000000 + now[2], before + 1))
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], id .. '-0',
    'before', string.format('%.0f', before), 'from', ARGV[3], 'said', ARGV[4])
return id";

/// The way to Redis.
pub struct Relay {
    client: Client,
    /// How many messages the stream is to keep.
    keep: usize,
    /// This server's name among the others: a random number.
    server: u64,
    next: AtomicU64,
    /// The speakers that wait for their receipt, by the number of their message. Held for moments.
    waiting: Mutex<HashMap<u64, Waiting>>,
    /// The newest id that the reader has read; 0 if the stream has been empty so far.
    last_read: AtomicU64,
    /// Whether the reader is connected.
    connected: AtomicBool,
    /// How often the reader was cut off. A connection of the committer's from before that is no good either.
    cuts: AtomicU64,
    /// Set when the committer has sent everything.
    all_sent: AtomicBool,
}

struct Waiting {
    speaker: Pending,
    /// The message's id, once Redis has told it.
    id: Option<u64>,
}

/// An entry of the stream.
struct Entry {
    before: u64,
    from: (u64, u64),
    message: Message,
}

impl Relay {
    /// Connects to the Redis at `url` and reads the end of its stream, `history` messages of it.
    ///
    /// # Errors
    /// One line, without the password.
    pub fn open(url: &str, history: usize) -> Result<(Arc<Relay>, Restored), String> {
        let _ = rustls::crypto::ring::default_provider().install_default(); // an embedding program may have one already
        let cannot =
            |error: RedisError| format!("cannot use the Redis of --redis ({error}); start it, or give another URL");
        // Without a delay: a batch is one write, and its answer is waited for.
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        let info = url.into_connection_info().map_err(cannot)?.set_tcp_settings(tcp);
        let client = Client::open(info).map_err(cannot)?;
        let relay = Relay {
            client,
            keep: history.max(STREAM_LEAST),
            server: RandomState::new().build_hasher().finish(),
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
            last_read: AtomicU64::new(0),
            connected: AtomicBool::new(true),
            cuts: AtomicU64::new(0),
            all_sent: AtomicBool::new(false),
        };
        let past = relay.past(history).map_err(cannot)?;
        Ok((Arc::new(relay), past))
    }

    /// `host:port/database`, for the log.
    pub fn name(&self) -> String {
        let info = self.client.get_connection_info();
        format!("{}/{}", info.addr(), info.redis_settings().db())
    }

    fn connect(&self) -> RedisResult<Connection> {
        let is_tls = matches!(self.client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. });
        if is_tls && clock::machine_micros() == 0 {
            // Otherwise rustls would panic; and no certificate is valid yet.
            return Err(
                (ErrorKind::Client, "the clock stands before 1970, and TLS needs to know the time; set it").into()
            );
        }
        let connection = self.client.get_connection_with_timeout(LIMIT)?;
        connection.set_read_timeout(Some(LIMIT + Duration::from_millis(BLOCK_MS)))?;
        connection.set_write_timeout(Some(LIMIT))?;
        Ok(connection)
    }

    /// Reads the stream from its end until `history` messages are found; beats between them, which the history does not
    /// keep, do not count.
    fn past(&self, history: usize) -> RedisResult<Restored> {
        let mut connection = self.connect()?;
        let (seconds, micros): (u64, u64) = cmd("TIME").query(&mut connection)?;
        let (mut entries, mut wanted, mut end) = (vec![], history.max(1), "+".to_owned());
        while wanted > 0 && entries.len() < self.keep {
            let mut read = cmd("XREVRANGE");
            read.arg(STREAM).arg(end).arg("-").arg("COUNT").arg(READ_LIMIT);
            let page = self::entries(&read.query(&mut connection)?);
            let Some(oldest) = page.last() else { break };
            end = (oldest.message.id - 1).to_string();
            wanted = wanted.saturating_sub(page.iter().filter(|entry| entry.message.event != HOST_EVENT).count());
            entries.extend(page);
        }
        entries.reverse();
        let Some(last) = entries.last().map(|entry| entry.message.id) else {
            let begun = seconds * 1_000_000 + micros;
            return Ok(Restored { begun, forgotten: begun, last: begun, ..Restored::default() });
        };
        let forgotten = entries[0].before;
        let messages = entries.into_iter().map(|entry| Arc::new(entry.message)).collect();
        self.last_read.store(last, Ordering::SeqCst);
        Ok(Restored { begun: forgotten.min(1), forgotten, last, messages, ..Restored::default() }) // earlier messages are not here
    }
}

/// The committer's side.
impl Relay {
    /// The committer's loop: sends what is handed in until the commit queue is closed.
    pub fn send_all(&self, mut committer: Committer, hub: &Hub) {
        let mut connection = None;
        while let Some(batch) = committer.take(Duration::MAX) {
            let sent = self.send(batch, &mut connection);
            if let Some(commit_queue) = hub.commit_queue() {
                commit_queue.note(sent.is_ok());
            }
            if let Err(error) = sent {
                connection = None;
                journal::KEEPING.warn(format_args!("Redis does not take messages ({error}); they are refused"));
            }
        }
        self.all_sent.store(true, Ordering::SeqCst);
    }

    fn send(&self, batch: Vec<Pending>, connection: &mut Option<(u64, Connection)>) -> RedisResult<()> {
        let known = self.last_read.load(Ordering::SeqCst);
        let numbers: Vec<u64> = batch.iter().map(|_| self.next.fetch_add(1, Ordering::Relaxed)).collect();
        let mut pipeline = Pipeline::new();
        let now = now_micros();
        for (handed, number) in batch.iter().zip(&numbers) {
            let mut handed_in = handed.message.clone();
            handed_in.time = now;
            let from = format!("{}:{number}", self.server);
            let once = handed.once.map(|digest| format!("{ONCE}{}", hexadecimal(&digest)));
            pipeline.cmd("EVAL").arg(ADD).arg(1 + usize::from(once.is_some())).arg(STREAM).arg(once);
            pipeline.arg(self.keep).arg(known).arg(from).arg(record::write(&handed_in)).arg(ONCE_SECONDS);
        }
        lock(&self.waiting)
            .extend(numbers.iter().copied().zip(batch.into_iter().map(|speaker| Waiting { speaker, id: None })));
        let answers = self.ask(&pipeline, connection);
        let mut first_error = None;
        for (number, answer) in numbers.into_iter().zip(answers) {
            match answer {
                Ok(0) => self.answer(number, Ok(Receipt { id: 0, listeners: 0 })),
                Ok(id) => self.note_id(number, id),
                Err(error) => {
                    let refused = if error.code() == Some("OOM") { Refused::NoRoom } else { Refused::CannotKeep };
                    self.answer(number, Err(refused));
                    first_error = Some(error);
                }
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Makes one round trip, with an answer for each command. After a missing answer no other is waited for:
    /// `Pipeline::query` would wait for each in turn, and a Redis that hangs would hold up a hundred speakers for
    /// minutes.
    fn ask(&self, pipeline: &Pipeline, connection: &mut Option<(u64, Connection)>) -> Vec<RedisResult<u64>> {
        let mut answers = vec![];
        let all = self.committers_connection(connection).and_then(|connection| {
            connection.send_packed_command(&pipeline.get_packed_pipeline())?;
            for _ in 0..pipeline.len() {
                let answer = connection.recv_response()?;
                answers.push(answer.extract_error().and_then(|id| Ok(from_redis_value(id)?)));
            }
            Ok(())
        });
        if let Err(error) = all {
            answers.resize(pipeline.len(), Err(error));
        }
        answers
    }

    /// The committer's connection, made anew if there is none or the reader was cut off since. If the reader is not
    /// connected, Redis is away, and nobody waits here to learn it.
    fn committers_connection<'a>(
        &self,
        connection: &'a mut Option<(u64, Connection)>,
    ) -> RedisResult<&'a mut Connection> {
        if !self.connected.load(Ordering::SeqCst) {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        }
        let cuts = self.cuts.load(Ordering::SeqCst);
        if connection.as_ref().is_none_or(|(of, _)| *of != cuts) {
            *connection = Some((cuts, self.connect()?));
        }
        let (_, connection) = connection.as_mut().expect("it was connected above");
        Ok(connection)
    }

    /// Notes that Redis has the message. Its receipt comes from the reader, or from here if the reader has ended.
    fn note_id(&self, number: u64, id: u64) {
        if let Some(waiting) = lock(&self.waiting).get_mut(&number) {
            waiting.id = Some(id);
        }
        if !self.connected.load(Ordering::SeqCst) {
            self.answer(number, Ok(Receipt { id, listeners: 0 }));
        }
    }

    fn answer(&self, number: u64, answer: Result<Receipt, Refused>) {
        let waiting = lock(&self.waiting).remove(&number);
        if let Some(waiting) = waiting {
            waiting.speaker.answer(answer);
        }
    }

    /// Gives a receipt to every speaker whose message Redis has, up to the id `last`, and that no reader will read
    /// soon.
    fn answer_kept(&self, last: u64) {
        let kept: Vec<Waiting> = lock(&self.waiting)
            .extract_if(|_, waiting| waiting.id.is_some_and(|id| id <= last))
            .map(|(_, one)| one)
            .collect();
        for Waiting { speaker, id } in kept {
            speaker.answer(Ok(Receipt { id: id.unwrap_or(last), listeners: 0 }));
        }
    }
}

/// The reader's side.
impl Relay {
    /// The reader's life: posts what is new until everything was sent and the hub is closed. Calls `back` when
    /// others can be heard again after they could not.
    pub fn read_all(&self, hub: &Hub, back: &dyn Fn()) {
        loop {
            let gone = self.read(hub, back);
            self.cuts.fetch_add(1, Ordering::SeqCst);
            let was_connected = self.set_connected(false, hub);
            self.answer_kept(u64::MAX);
            let Err(error) = gone else { return };
            if was_connected {
                journal::KEEPING.warn(format_args!("Redis is away ({error}); listeners stay, speakers are refused"));
            }
            if self.is_over(hub) {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    fn is_over(&self, hub: &Hub) -> bool {
        hub.is_closed() && self.all_sent.load(Ordering::SeqCst)
    }

    /// Notes whether the reader is connected; returns whether it was.
    fn set_connected(&self, connected: bool, hub: &Hub) -> bool {
        if let Some(commit_queue) = hub.commit_queue() {
            commit_queue.set_well(connected);
        }
        self.connected.swap(connected, Ordering::SeqCst)
    }

    /// Connects and reads until the server stops, or an error.
    fn read(&self, hub: &Hub, back: &dyn Fn()) -> RedisResult<()> {
        let mut connection = self.connect()?;
        // Messages that came while nobody read are heard before anybody is answered again.
        while self.read_once(&mut connection, None, hub)? > 0 {}
        if !self.connected.load(Ordering::SeqCst) {
            back();
        }
        if !self.set_connected(true, hub) {
            log::info!("Redis is back");
        }
        while !self.is_over(hub) {
            self.read_once(&mut connection, Some(BLOCK_MS), hub)?;
        }
        Ok(())
    }

    /// Reads what there is after what was read last, or waits so many milliseconds for it, and posts it. Returns how
    /// many entries.
    fn read_once(&self, connection: &mut Connection, block: Option<u64>, hub: &Hub) -> RedisResult<usize> {
        let mut read = cmd("XREAD");
        if let Some(block) = block {
            read.arg("BLOCK").arg(block);
        }
        read.arg("COUNT")
            .arg(READ_LIMIT)
            .arg("STREAMS")
            .arg(STREAM)
            .arg(format!("{}-0", self.last_read.load(Ordering::SeqCst)));
        let read: Value = read.query(connection)?;
        let new = list(&read).first().and_then(|stream| list(stream).get(1)).map_or_else(Vec::new, entries);
        let count = new.len();
        let reached = new.into_iter().map(|entry| self.post(entry, hub)).max();
        if let Some(reached) = reached {
            hub.lend_a_hand(reached); // once for all: so batches grow with the load here too
            self.answer_kept(self.last_read.load(Ordering::SeqCst)); // for speakers whose entry was cut away before it was read
        }
        Ok(count)
    }

    /// Posts what was said at any server; returns how many listeners here it reached.
    fn post(&self, entry: Entry, hub: &Hub) -> usize {
        if entry.before > hub.last_id() {
            journal::KEEPING.warn("some messages were gone from Redis before they were read here; listeners are told");
            hub.skip(entry.before);
        }
        self.last_read.store(entry.message.id, Ordering::SeqCst);
        let receipt = hub.post(Arc::new(entry.message));
        if entry.from.0 == self.server {
            self.answer(entry.from.1, Ok(receipt));
        }
        hub.catch_up(receipt.listeners);
        receipt.listeners
    }
}

/// Bytes as text. Half of the digest is enough to be unique.
fn hexadecimal(digest: &Digest) -> String {
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The members of an array; none of anything else.
fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(members) => members,
        _ => &[],
    }
}

fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// The entries of a reply. Entries that aloud has not written are left out.
fn entries(reply: &Value) -> Vec<Entry> {
    list(reply).iter().filter_map(entry).collect()
}

fn entry(value: &Value) -> Option<Entry> {
    let [id, fields] = list(value) else { return None };
    let (id, _) = std::str::from_utf8(bytes(id)?).ok()?.split_once('-')?;
    let field = |name: &[u8]| {
        list(fields).chunks_exact(2).find(|pair| bytes(&pair[0]) == Some(name)).and_then(|pair| bytes(&pair[1]))
    };
    let text = |name: &[u8]| std::str::from_utf8(field(name)?).ok();
    let (server, number) = text(b"from")?.split_once(':')?;
    let (id, before): (u64, u64) = (id.parse().ok()?, text(b"before")?.parse().ok()?);
    if before >= id {
        return None; // the ids that tell of a gap have to be true
    }
    let from = (server.parse().ok()?, number.parse().ok()?);
    Some(Entry { before, from, message: record::read(id, field(b"said")?)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::memory_wire::message;

    #[test]
    fn what_aloud_has_not_written_is_passed_over() {
        let check = |id: &str, before: &str, from: &str, said: &[u8], expected: bool| {
            let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
            let said = Value::BulkString(said.to_vec());
            let fields = vec![text("before"), text(before), text("from"), text(from), text("said"), said];
            let entry = Value::Array(vec![text(id), Value::Array(fields)]);
            assert_eq!(entries(&Value::Array(vec![entry])).len(), usize::from(expected), "{id} {before} {from}");
        };
        let said = record::write(&message("x"));
        check("8-0", "7", "1:2", &said, true);
        check("8-0", "8", "1:2", &said, false);
        check("8-0", "9", "1:2", &said, false);
        check("8-0", "", "1:2", &said, false);
        check("8", "7", "1:2", &said, false);
        check("8-0", "7", "1", &said, false);
        check("8-0", "7", "1:2", b"x", false);
    }
}
