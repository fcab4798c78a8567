//! The rows of the [store](crate::keep::store), and the messages that they stand for.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::clock::rfc3339;
use crate::keep::store_error::{Fault, damaged};
use crate::room::standing::{GONE, standing};
use crate::room::{Message, frame::write_fields, message::digest_of, replay::Restored};

/// The tables. A time is RFC 3339 in UTC. `sum` is the [digest](define_digest) of the other columns of a row.
pub const TABLES: [&str; 4] = [
    "messages(id integer primary key, time text not null, event text not null default 'message',
    channel text not null default '', name text not null default '', message text not null default '',
    key text not null default '', status text not null default '', fields text not null default '{}', sum integer)",
    "things(event text not null, channel text not null, key text not null, id integer not null, time text not null,
    since text not null, name text not null, message text not null, status text not null, fields text not null,
    sum integer, primary key(event, channel, key)) without rowid",
    "gone(channel text not null, event text not null, id integer not null, sum integer,
    primary key(channel, event)) without rowid",
    "marks(name text primary key, id integer not null, sum integer) without rowid",
];

/// Gives SQL the function `digest`: the first eight bytes of the digest of its arguments. A row's sum is made by it.
pub fn define_digest(database: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    database.create_scalar_function("digest", -1, flags, |context| {
        let part = |place| match context.get_raw(place) {
            ValueRef::Integer(number) => Cow::Owned(number.to_string().into_bytes()),
            ValueRef::Text(bytes) => Cow::Borrowed(bytes),
            _ => Cow::default(), // no column of ours
        };
        let digest = digest_of(&(0..context.len()).map(part).collect::<Vec<_>>());
        Ok(digest.first_chunk().map(|first| i64::from_be_bytes(*first)))
    })
}

/// Reads what the file has kept.
pub fn read(database: &Connection) -> Result<Restored, Fault> {
    let mark = |name: &str| -> Result<u64, Fault> {
        let sql = "select id from marks where name = ?1 and sum = digest(name, id)";
        let id = database.query_row(sql, [name], |row| row.get(0)).optional()?;
        id.ok_or_else(|| damaged(format!("its mark {name} is damaged")))
    };
    let (messages, things) = (table(database, "message", "''")?, table(database, "thing", "since")?);
    let newest = |rows: &[(Arc<Message>, u64)]| rows.last().map_or(0, |(newest, _)| newest.id);
    let last = mark("last")?.max(newest(&messages)).max(newest(&things)); // no number is among the messages
    let messages = messages.into_iter().map(|(message, _)| message).collect();
    let sql = "select channel, event, id, ifnull(sum = digest(channel, event, id), false) from gone";
    let mut gone = database.prepare(sql)?;
    let gone = gone.query_and_then([], |row| match row.try_into()? {
        (channel, event, id, true) => Ok((channel, event, id)),
        (channel, event, ..) => Err(damaged(format!("its note of what is gone of {event} in /{channel} is damaged"))),
    })?;
    let gone = gone.collect::<Result<_, _>>()?;
    Ok(Restored { begun: mark("begun")?, forgotten: mark("forgotten")?, last, messages, gone, things })
}

/// Reads the messages of a table, the oldest first, each with the time that is in its column `since`. `what` names
/// them for the user.
fn table(database: &Connection, what: &str, since: &str) -> Result<Vec<(Arc<Message>, u64)>, Fault> {
    let columns = format!("id, {since}, time, event, channel, name, message, key, status, fields");
    let sql = format!("select {columns}, ifnull(sum = digest({columns}), true) from {what}s order by id");
    let mut rows = database.prepare(&sql)?;
    let read = |row: &Row<'_>| {
        let id: i64 = row.get(0)?;
        message(database, row).map_err(|_| damaged(format!("the {what} with the id {id} is damaged")))
    };
    rows.query_and_then([], read)?.collect()
}

/// The message in a `row` of a [table](table()), and its time `since`.
fn message(database: &Connection, row: &Row<'_>) -> Result<(Arc<Message>, u64), Fault> {
    let text = |place: usize| row.get::<_, String>(place);
    let id = row.get(0)?;
    if id == 0 || !row.get::<_, bool>(10)? {
        return Err("it is not as it was written".into());
    }
    let mut fields = database.prepare_cached("select key, value from json_each(?1)")?;
    let fields = fields.query_map([text(9)?], |row| row.try_into())?.collect::<Result<_, _>>()?;
    let message = Message {
        id,
        time: micros(&text(2)?).ok_or("that is no time")?,
        event: text(3)?.into(),
        channel: text(4)?,
        name: text(5)?,
        message: text(6)?,
        key: text(7)?,
        status: text(8)?,
        fields,
    };
    Ok((Arc::new(message), micros(&text(1)?).unwrap_or(0)))
}

/// Puts `message` into the tables that it belongs to.
pub fn insert(database: &Connection, message: &Message) -> rusqlite::Result<()> {
    let Message { id, event, channel, name, message: text, key, status, .. } = message;
    let time = rfc3339(message.time);
    let mut fields = vec![];
    write_fields(&mut fields, &message.fields);
    let fields = std::str::from_utf8(&fields)?;
    if message.is_kept() {
        let sql = "insert into messages values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,
            digest(?1, '', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9))";
        database.prepare_cached(sql)?.execute(params![id, time, event, channel, name, text, key, status, fields])?;
    }
    if key.is_empty() {
        return Ok(());
    }
    if standing(status) == GONE {
        let sql = "delete from things where event = ?1 and channel = ?2 and key = ?3";
        return database.prepare_cached(sql)?.execute(params![event, channel, key]).map(drop);
    }
    let sql = "select status, since from things where event = ?1 and channel = ?2 and key = ?3";
    let before = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get(1)?));
    let since = match database.prepare_cached(sql)?.query_row(params![event, channel, key], before).optional()? {
        Some((before, since)) if standing(&before) == standing(status) => since,
        _ => time.clone(),
    };
    let sql = "insert or replace into things values(?3, ?4, ?7, ?1, ?2, ?10, ?5, ?6, ?8, ?9,
        digest(?1, ?10, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9))";
    let row = params![id, time, event, channel, name, text, key, status, fields, since];
    database.prepare_cached(sql)?.execute(row).map(drop)
}

/// Sets the mark of this `name` to an id.
pub fn mark(database: &Connection, name: &str, id: u64) -> rusqlite::Result<()> {
    let sql = "insert or replace into marks values(?1, ?2, digest(?1, ?2))";
    database.prepare_cached(sql)?.execute(params![name, id]).map(drop)
}

/// The time that is written in RFC 3339, in microseconds since 1970.
fn micros(time: &str) -> Option<u64> {
    let since = humantime::parse_rfc3339(time).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}
