//! The rows of the [store](crate::keep::store), and the messages that they stand for.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::clock::rfc3339;
use crate::keep::store_error::{Fault, damaged};
use crate::room::frame::write_fields;
use crate::room::message::{Message, digest_of};
use crate::room::replay::Restored;
use crate::room::standing::{GONE, standing};

/// The tables. A time is RFC 3339 in UTC. `sum` is over the other columns of a row, see [`sum`].
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

/// Reads what the file has kept.
pub fn read(database: &Connection) -> Result<Restored, Fault> {
    let mark = |name: &str| -> Result<u64, Fault> {
        let found = database.query_row("select id, sum from marks where name = ?1", [name], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
        });
        match found.optional()? {
            Some((id, written)) if written == Some(sum(&[name, &id.to_string()])) => Ok(id as u64),
            _ => Err(damaged(format!("its mark {name} is damaged"))),
        }
    };
    let mut past =
        Restored { begun: mark("begun")?, forgotten: mark("forgotten")?, last: mark("last")?, ..Restored::default() };
    let columns = "id, time, event, channel, name, message, key, status, fields, sum";
    let mut rows = database.prepare(&format!("select {columns} from messages order by id"))?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        past.messages.push(Arc::new(message(database, row, "message", "")?));
    }
    let mut rows = database.prepare(&format!("select {columns}, since from things order by id"))?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let since: String = row.get(10)?;
        let read = message(database, row, "thing", &since)?;
        past.things.push((Arc::new(read), micros(&since).unwrap_or(0)));
    }
    let mut rows = database.prepare("select channel, event, id, sum from gone")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let (channel, event, id): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if row.get::<_, Option<i64>>(3)? != Some(sum(&[&channel, &event, &id.to_string()])) {
            return Err(damaged(format!("its note of what is gone of {event} in /{channel} is damaged")));
        }
        past.gone.push((channel, event, id as u64));
    }
    past.last = past.messages.last().map_or(past.last, |newest| newest.id.max(past.last));
    Ok(past)
}

/// The message in `row`, one of the columns that [`read`] asks for. `what` it is, for the user; `more` goes into the
/// sum.
fn message(database: &Connection, row: &Row<'_>, what: &str, more: &str) -> Result<Message, Fault> {
    let id: i64 = row.get(0)?;
    let damaged = || damaged(format!("the {what} with the id {id} is damaged"));
    let text = |place: usize| row.get::<_, String>(place).map_err(|_| damaged());
    let texts = [text(1)?, text(2)?, text(3)?, text(4)?, text(5)?, text(6)?, text(7)?, text(8)?];
    let parts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let written = row.get::<_, Option<i64>>(9).map_err(|_| damaged())?;
    if id < 1 || written.is_some_and(|written| written != sum_of(id, &parts, more)) {
        return Err(damaged());
    }
    let [time, event, channel, name, message, key, status, fields] = texts;
    let time = micros(&time).ok_or_else(damaged)?;
    let fields = match fields.as_str() {
        "{}" => vec![],
        fields => {
            let mut pairs = database.prepare_cached("select key, value from json_each(?1)")?;
            let pairs = pairs.query_map([fields], |row| Ok((row.get(0)?, row.get(1)?)))?;
            pairs.collect::<rusqlite::Result<_>>().map_err(|_| damaged())?
        }
    };
    Ok(Message { id: id as u64, time, event: event.into(), channel, name, message, key, status, fields })
}

/// Puts `message` into the tables that it belongs to.
pub fn insert(database: &Connection, message: &Message) -> rusqlite::Result<()> {
    let Message { id, event, channel, name, message: text, key, status, .. } = message;
    let (id, time) = (*id as i64, rfc3339(message.time));
    let mut fields = vec![];
    write_fields(&mut fields, &message.fields);
    let fields = std::str::from_utf8(&fields)?;
    let parts = [&time, event.as_ref(), channel, name, text, key, status, fields];
    if message.is_kept() {
        let sql = "insert into messages values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let row = params![id, time, event, channel, name, text, key, status, fields, sum_of(id, &parts, "")];
        database.prepare_cached(sql)?.execute(row)?;
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
    let sql = "insert or replace into things(event, channel, key, id, time, since, name, message, status, fields, sum)
        values(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    let sum = sum_of(id, &parts, &since);
    let row = params![event, channel, key, id, time, since, name, text, status, fields, sum];
    database.prepare_cached(sql)?.execute(row).map(drop)
}

/// Sets the mark of this `name` to an id.
pub fn mark(database: &Connection, name: &str, id: u64) -> rusqlite::Result<()> {
    let sum = sum(&[name, &id.to_string()]);
    let sql = "insert or replace into marks values(?1, ?2, ?3)";
    database.prepare_cached(sql)?.execute(params![name, id as i64, sum]).map(drop)
}

/// The sum over the columns of a message.
fn sum_of(id: i64, parts: &[&str], more: &str) -> i64 {
    let id = id.to_string();
    sum(&[&[id.as_str(), more], parts].concat())
}

/// The sum over `parts`: the first eight bytes of their digest.
pub fn sum(parts: &[&str]) -> i64 {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    let [a, b, c, d, e, f, g, h, ..] = digest_of(&parts);
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn micros(time: &str) -> Option<u64> {
    let since = humantime::parse_rfc3339(time).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}
