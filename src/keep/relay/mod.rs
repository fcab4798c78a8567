//! `--redis URL`: many servers, one conversation. Every message goes into a Redis stream (Redis 5 or newer, or Valkey),
//! and every server reads that stream, so all listeners of all servers hear one order.
//!
//! ```text
//!   /say ─▶ commit queue ─▶ committer ─▶ Redis ─▶ reader ─▶ hub ─▶ listeners        (the same at every other server)
//!             ▲                          │
//!             └──────── receipt ─────────┘
//! ```
//!
//! The `committer` sends all that lies on the commit queue in one round trip. A script in Redis gives each message its
//! id: Redis's time, or one more than the newest id if that is larger, so ids are one order for all servers. The
//! `reader` waits for new messages, posts them, and gives receipts to the speakers of this server. A server that starts
//! reads the end of the stream into its history; replay is from there, and so alike at every server. Beats and numbers
//! take this way too, on a stream of their own, so they push out nothing that was said. The newest word on each thing
//! is kept beside both (`entry`).
//!
//! **While Redis is away**, messages are refused at once, listeners stay, and the reader goes on later after the last
//! entry it has read. **Nothing is skipped in silence**: each entry names the one before it.
//!
//! * An entry names one that is newer than what was read: entries are missing, because the stream was cut, or because
//!   Redis has lost them. The streams of the listeners are ended. They come back with the id they heard last and are
//!   told of the gap.
//! * Entries that only pass are missing: nobody is told, but the newest word on each thing is taken from Redis.
//! * Redis has lost its newest entries, but this server has read them (it was restarted empty, or a replica that was
//!   behind has taken over): the reader adds an entry that names the newest one it has read. So the other servers know.
//! * An entry names one that is older than what was read: somebody spoke before that was told. Nobody knows who has
//!   heard what. So the reader adds an entry that says so, and all servers tell their listeners of a gap.
//!
//! **How things stand** may be lost too. Each entry also names the one before it on its own stream. If that is older
//! than what a server has read there, the server puts back the newest words that Redis lacks, and adds an entry without
//! a message. At such an entry each server takes in what Redis has, so all agree.
//!
//! A message that Redis was sent but did not answer, because it went away in that moment, may be heard although it was
//! refused. It is the one case in which nobody can know. How many messages outlive Redis itself depends on its settings
//! (`appendonly`).

mod committer;
mod entry;
mod reader;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::{
    Client, Cmd, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisError,
    RedisResult, cmd,
};

use crate::clock;
use crate::keep::relay::entry::{
    Entry, MOST_PASSING, ONCE, ONCE_SECONDS, PASSING, RawId, SAID, SILENT, THINGS, entries, things, write,
};
use crate::room::{Hub, Message, commit_queue::Pending, replay::Restored, standing::standing, things::name};

/// The longest time that Redis gets for an answer, or for a connection. A Redis that is silent for longer is away. So a
/// `/say` is answered within two seconds.
const LIMIT: Duration = Duration::from_millis(1900);

/// How long Redis is asked to wait for new messages. The reader may take so long to see that the server stops.
const BLOCK: Duration = Duration::from_millis(500);

/// The most entries read at once.
const READ_LIMIT: usize = 256;

/// The fewest entries the stream keeps, whatever the size of the history. From them, a reader that was cut off for a
/// moment, or whose machine is the slowest of all, catches up.
const STREAM_LEAST: usize = 10_000;

/// The way to Redis.
pub struct Relay {
    client: Client,
    /// How many messages the stream is to keep.
    keep: usize,
    /// The most things of which Redis is to keep the newest word.
    things: usize,
    /// This server's name among the others: a random number.
    server: u64,
    /// The number of this server's next entry.
    next: AtomicU64,
    /// The speakers that wait for their receipt, by the number of their message. Held for moments.
    waiting: Mutex<HashMap<u64, Waiting>>,
    /// The newest entry of what was said that the reader has read; 0 if there was none so far.
    last_read: AtomicU64,
    /// How far the reader has come. Only the reader takes it.
    place: Mutex<Place>,
    /// How often the reader has asked for entries.
    reads: AtomicU64,
    /// Whether the reader is connected.
    connected: AtomicBool,
    /// Redis has not answered the committer in time, and the reader has heard nothing of it since.
    stalled: AtomicBool,
    /// How often the reader was cut off. A connection of the committer's from before that is no good either.
    cuts: AtomicU64,
    /// Set when the committer has sent everything.
    all_sent: AtomicBool,
}

/// A speaker that waits for its receipt.
struct Waiting {
    speaker: Pending,
    /// When its message was taken from the commit queue.
    taken: Instant,
    /// The message's id, and how often the reader had asked for entries, once Redis has told the id.
    kept: Option<(u64, u64)>,
}

/// The last entries that were read.
struct Place {
    said: RawId,
    passing: RawId,
    /// Redis has lost entries that this server has read, and perhaps words that it knows.
    has_lost: bool,
    /// The newest words on things in Redis are to be taken in.
    is_stale: bool,
    /// Nobody knows who has heard what, and this server has found that out. The entry that says so comes soon.
    broken: bool,
}

impl Relay {
    /// Connects to the Redis at `url` and reads the end of its stream, `history` messages of it, and the newest word on
    /// each of at most `most_things` things.
    ///
    /// # Errors
    /// One line, without the password.
    pub fn open(url: &str, history: usize, most_things: usize) -> Result<(Arc<Relay>, Restored), String> {
        let _ = rustls::crypto::ring::default_provider().install_default(); // an embedding program may have one already
        // Without a delay: a batch is one write, and its answer is waited for.
        let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
        let info = url.into_connection_info().map_err(cannot)?.set_tcp_settings(tcp);
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP2);
        let client = Client::open(info.set_redis_settings(settings)).map_err(cannot)?;
        let keep = history.max(STREAM_LEAST);
        let (past, place) = past(&client, history, keep).map_err(cannot)?;
        let info = client.get_connection_info();
        log::info!("Sharing what is said by Redis at {}/{}", info.addr(), info.redis_settings().db());
        let relay = Relay {
            client,
            keep,
            things: most_things,
            server: RandomState::new().build_hasher().finish(),
            next: AtomicU64::new(0),
            waiting: Mutex::default(),
            last_read: AtomicU64::new(place.said.0),
            place: Mutex::new(place),
            reads: AtomicU64::new(0),
            connected: AtomicBool::new(true),
            stalled: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
            all_sent: AtomicBool::new(false),
        };
        Ok((Arc::new(relay), past))
    }

    /// The command that adds an entry, which has this `number` among those of this server. `how` is `EVAL` with the
    /// script, or `EVALSHA` with its digest. An entry without a message only tells of what came before it; if it is
    /// added `once`, it says that anything before it may be lost.
    fn addition(&self, how: [&str; 2], number: u64, message: Option<&Message>, once: Option<String>, hub: &Hub) -> Cmd {
        let (stream, keep) = if message.is_none_or(Message::is_kept) { (1, self.keep) } else { (2, MOST_PASSING) };
        let [verb, script] = how;
        let mut command = cmd(verb);
        command.arg(script).arg(4 + usize::from(once.is_some())).arg(SAID).arg(PASSING).arg(THINGS).arg(SILENT);
        command.arg(once.as_ref().map(|once| format!("{ONCE}{once}"))).arg(stream).arg(keep);
        command.arg(self.last_read.load(Ordering::SeqCst)).arg(hub.last_id()).arg(format!("{}:{number}", self.server));
        command.arg(message.map_or(vec![], write));
        command.arg(u8::from(message.is_none() && once.is_some())).arg(ONCE_SECONDS);
        if let Some(message) = message.filter(|message| !message.key.is_empty()) {
            command.arg(name(message)).arg(standing(&message.status)).arg(message.time).arg(self.things);
        }
        command
    }
}

/// Connects. Redis gets [`LIMIT`] for that and for each answer.
fn connect(client: &Client) -> RedisResult<Connection> {
    let is_tls = matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. });
    if is_tls && clock::machine_micros() == 0 {
        // Otherwise rustls would panic; and no certificate is valid yet.
        return Err((ErrorKind::Client, "the clock stands before 1970, and TLS needs to know the time; set it").into());
    }
    let connection = client.get_connection_with_timeout(LIMIT)?;
    connection.set_read_timeout(Some(LIMIT))?;
    connection.set_write_timeout(Some(LIMIT))?;
    Ok(connection)
}

/// Reads the streams from their end until `history` messages are found, and the things of that moment.
fn past(client: &Client, history: usize, keep: usize) -> RedisResult<(Restored, Place)> {
    let mut connection = connect(client)?;
    let (seconds, micros): (u64, u64) = cmd("TIME").query(&mut connection)?;
    // All of one moment. With `Pipeline::atomic`, redis-rs 1.8 panics where Redis refuses a command.
    let mut newest = Pipeline::new();
    newest.cmd("MULTI").ignore();
    newest.cmd("XREVRANGE").arg(SAID).arg("+").arg("-").arg("COUNT").arg(READ_LIMIT).ignore();
    newest.cmd("XREVRANGE").arg(PASSING).arg("+").arg("-").arg("COUNT").arg(MOST_PASSING).ignore();
    newest.cmd("HVALS").arg(THINGS).ignore().cmd("EXEC");
    let ((said, passing, kept),) = newest.query(&mut connection)?;
    let (mut said, passing) = (entries(said), entries(passing));
    let is_kept = |entry: &&Entry| entry.ours.iter().flat_map(|ours| &ours.message).any(Message::is_kept);
    let mut is_whole = said.len() < READ_LIMIT;
    while !is_whole && said.len() < keep && said.iter().filter(is_kept).count() < history {
        let (id, more) = said.last().map_or((0, 0), |oldest| oldest.raw);
        let end = if more > 0 { (id, more - 1) } else { (id.saturating_sub(1), u64::MAX) };
        let mut page = cmd("XREVRANGE");
        page.arg(SAID).arg(format!("{}-{}", end.0, end.1)).arg("-").arg("COUNT").arg(READ_LIMIT);
        let page = entries(page.query(&mut connection)?);
        is_whole = page.len() < READ_LIMIT;
        said.extend(page);
    }
    said.reverse();
    let raw = |entry: Option<&Entry>| entry.map_or((0, 0), |entry| entry.raw);
    let place = Place {
        said: raw(said.last()),
        passing: raw(passing.first()),
        has_lost: false,
        is_stale: false,
        broken: false,
    };
    let last = place.said.0.max(place.passing.0);
    let forgotten = match passing.first().and_then(|newest| newest.ours.as_ref()) {
        _ if !said.is_empty() => forgotten(&said),
        Some(newest) => newest.before,
        None => seconds * 1_000_000 + micros,
    };
    // Nobody knows when a stream that has entries began. So every id counts as one of its own.
    let begun = if last == 0 { forgotten } else { forgotten.min(1) };
    let mut messages: Vec<_> =
        said.into_iter().chain(passing).filter_map(|entry| entry.ours?.message).map(Arc::new).collect();
    messages.retain(|message| message.id > forgotten || !message.is_kept());
    messages.sort_by_key(|message| message.id);
    let things = things(kept);
    Ok((Restored { begun, forgotten, last: last.max(forgotten), messages, things, ..Restored::default() }, place))
}

/// The newest id up to which `said`, the oldest first, may lack messages: all that came before the first one, or before
/// a later one that tells of something that is missing.
fn forgotten(said: &[Entry]) -> u64 {
    let (mut forgotten, mut last) = (0, 0);
    for entry in said {
        let before = entry.ours.as_ref().map_or(if last == 0 { entry.raw.0 } else { last }, |ours| ours.before);
        if before > last {
            forgotten = before;
        }
        last = entry.raw.0;
    }
    forgotten
}

/// Why a Redis that was in use is not, for the log.
fn why(error: &RedisError) -> String {
    if error.is_timeout() { "it does not answer".to_owned() } else { error.to_string() }
}

/// The line for a Redis that cannot be used.
fn cannot(error: RedisError) -> String {
    let text = error.to_string();
    let (why, advice) = match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) => ("the password is wrong", "give it as redis://:PASSWORD@HOST"),
        (_, Some("NOAUTH")) => ("it asks for a password", "give it as redis://:PASSWORD@HOST"),
        (ErrorKind::Parse, _) => ("what answers there is no Redis", "give the address of a Redis"),
        _ if text.contains("InvalidContentType") => ("what answers there speaks no TLS", "give redis://"),
        _ if error.is_timeout() => ("it does not answer", "start it, or give redis:// where it speaks no TLS"),
        _ => (text.lines().next().unwrap_or_default(), "start it, or give another URL"),
    };
    format!("cannot use the Redis of --redis ({why}); {advice}")
}
