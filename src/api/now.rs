//! `/now`, `/status` and `/status.svg`: how things stand. All three read the newest word on each thing, which the hub
//! keeps (`room/things.rs`), so they never disagree.

use std::cmp::Reverse;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::listen;
use crate::clock::{now_micros, rfc3339};
use crate::http::{After, Answer, Ask, Exchange, Refusal, TEXT};
use crate::room::message::{DEFAULT_EVENT, NUMBER_EVENT};
use crate::room::standing::{BAD, GONE, OK, WARN, rank};
use crate::room::{Events, Format, Hub, Message, Subscription, Thing, frame::encode, things::Brief};
use crate::text::{columns, shown, spoken};

/// The badge, with places for its width, its colour and its word.
const BADGE: &str = include_str!("badge.svg");

/// The width of the table, in characters, unless the other columns alone are wider.
const TABLE_WIDTH: usize = 80;

/// The least width of the table's last column, in characters.
const LEAST_MESSAGE: usize = 24;

/// How many values of a number are drawn in its row.
const DRAWN: usize = 12;

/// How many bad things `/status` names.
const MOST_NAMED: usize = 3;

/// Answers with the things on `channel`, the worst first: a table to read, or a JSON array. The header `Aloud-Id` is
/// the newest id that is known, so a client that listens from there misses nothing. Waits for a client that reads
/// slowly, so it needs a thread of its own.
///
/// # Errors
/// The refusal of a bad request, or of one for which no memory is left.
pub fn now(exchange: &Exchange<'_>, channel: &str) -> Result<After, Refusal> {
    let ask = read(exchange, channel)?;
    let is_json = ask.is_json()?;
    let (id, things) = worst_first(exchange.hub, &ask.wants);
    let answer = match is_json {
        true => Answer::new(200, "application/json", array(&things)),
        false => Answer::new(200, TEXT, table(&things, now_micros())),
    };
    let _claim = listen::claim(answer.body.len())?; // until the answer is sent
    Ok(exchange.answer(answer.with("Aloud-Id", id).with("Access-Control-Expose-Headers", "Aloud-Id")))
}

/// Answers `ok`, or 503 and one line of what is bad.
pub fn status(exchange: &Exchange<'_>) -> Result<Answer, Refusal> {
    let ask = read(exchange, "")?;
    let is_json = ask.is_json()?;
    let bad = bad(exchange.hub, ask.wants);
    let (status, word, line) = if bad.is_empty() { (200, OK, OK.to_owned()) } else { (503, BAD, bad_line(&bad)) };
    Ok(match is_json {
        true => Answer::json(status, &json!({ "status": word, "message": line })),
        false => Answer::new(status, TEXT, format!("{line}\n")),
    })
}

/// Answers with a badge: `ok`, or how many things are bad.
pub fn badge(exchange: &Exchange<'_>) -> Result<Answer, Refusal> {
    let bad = bad(exchange.hub, read(exchange, "")?.wants).len();
    let (word, colour) = if bad == 0 { (OK.to_owned(), "#2e7d32") } else { (format!("{bad} {BAD}"), "#c62828") };
    let width = (62 + 7 * word.len()).to_string();
    let body = BADGE.replace("{width}", &width).replace("{colour}", colour).replace("{word}", &word);
    Ok(Answer::new(200, "image/svg+xml", body))
}

/// Forgets the thing on `channel` that the query names by event and key, and tells everyone.
///
/// # Errors
/// 404 if there is no such thing.
pub fn forget(exchange: &mut Exchange<'_>, channel: &str) -> Result<After, Refusal> {
    let value = |key: &str| exchange.query_value(key).map(|value| value.into_owned());
    let (event, key) = (value("event").unwrap_or(DEFAULT_EVENT.to_owned()), value("key").unwrap_or_default());
    let events = Events::Only(vec![event.clone()]);
    let wants = Subscription { channels: channel.to_owned(), events, ..Subscription::default() };
    let (_, things) = exchange.hub.now(&wants);
    if !things.iter().any(|thing| thing.message.channel == channel && thing.message.key == key) {
        let line = format!("no thing {} is known here; send event=E&key=K of one that GET /now lists", shown(&key));
        return Err(Refusal::new(404, line));
    }
    let (name, message, status) = (key.clone(), "is forgotten".to_owned(), GONE.to_owned());
    let channel = channel.to_owned();
    let message = Message { event: event.into(), channel, name, message, key, status, ..Message::default() };
    Ok(exchange.publish(message, None, Box::new(|_, said| said.map(|_| Answer::ok()))))
}

/// Reads the request: which things it asks for, by default those of every event, and in which format.
fn read(exchange: &Exchange<'_>, channel: &str) -> Result<Ask, Refusal> {
    let mut ask = Ask::read(exchange, channel)?;
    if exchange.query_value("event").is_none() {
        ask.wants.events = Events::All;
    }
    Ok(ask)
}

/// The newest id, and the things that `wants` takes, the worst and then the newest first.
fn worst_first(hub: &Hub, wants: &Subscription) -> (u64, Vec<Thing>) {
    let (id, mut things) = hub.now(wants);
    things.sort_by_key(|thing| (rank(&thing.message.status), Reverse(thing.message.id)));
    (id, things)
}

/// The things that are bad, of those that `wants` takes. A query that asks for what is well hides none of them.
fn bad(hub: &Hub, wants: Subscription) -> Vec<Thing> {
    let statuses = vec![BAD.to_owned()];
    worst_first(hub, &Subscription { statuses, ..wants }).1
}

/// One line about all that is bad: the newest by their messages, and how many more there are.
fn bad_line(bad: &[Thing]) -> String {
    let lines: Vec<_> = bad.iter().take(MOST_NAMED).map(|thing| line(&thing.message)).collect();
    let more = bad.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{BAD}: {}{more}", lines.join("; "))
}

/// The line that a listener hears, or the name of the thing.
fn line(message: &Message) -> String {
    let line = encoded(message, Format::Lines);
    if line.is_empty() { name(message) } else { line }
}

/// The message as a listener gets it, without the end of its line.
fn encoded(message: &Message, format: Format) -> String {
    let mut bytes = vec![];
    encode(message, format, &mut bytes);
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

/// The name of the thing, with its channel.
fn name(message: &Message) -> String {
    let between = if message.channel.is_empty() { "" } else { "/" };
    [&message.channel, between, &message.key].concat()
}

/// One line for each thing, in columns.
fn table(things: &[Thing], now: u64) -> String {
    let mut rows = vec![["EVENT", "THING", "STATUS", "SINCE", "MESSAGE"].map(str::to_owned).to_vec()];
    for thing in things {
        let message = &thing.message;
        let since = spoken(Duration::from_micros(now.saturating_sub(thing.since)));
        let mut text = message.message.replace(char::is_control, " ");
        if message.event == NUMBER_EVENT {
            text = [text, drawn(thing.recent.iter().map(|brief| brief.figure))].join(" ");
        }
        rows.push(vec![message.event.to_string(), name(message), message.status.clone(), since, text]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count() + 2).max().unwrap_or(0);
    let room = TABLE_WIDTH.saturating_sub((0..4).map(width).sum()).max(LEAST_MESSAGE);
    for text in rows.iter_mut().filter_map(|row| row.last_mut()) {
        if let Some((end, _)) = text.char_indices().nth(room) {
            text.truncate(end);
            text.pop();
            text.push('…');
        }
    }
    columns(&rows)
}

/// The newest of `values` as block characters, from the smallest to the largest.
fn drawn(values: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator) -> String {
    let newest: Vec<f64> = values.rev().take(DRAWN).collect();
    let least = newest.iter().copied().fold(f64::INFINITY, f64::min);
    let range = newest.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
    let block =
        |value: &f64| ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][((value - least) / range * 7.0).round() as usize];
    if newest.len() < 2 { String::new() } else { newest.iter().rev().map(block).collect() }
}

/// The things as a JSON array: each as listeners get its newest message, with `since` and `recent`. The latter is a
/// list of `[seconds since 1970, value]` for a number, and of `[seconds since 1970, status, seconds it took or null]`
/// for any other thing.
fn array(things: &[Thing]) -> String {
    let objects: Vec<String> = things.iter().map(object).collect();
    format!("[{}]\n", objects.join(",\n"))
}

fn object(thing: &Thing) -> String {
    let message = encoded(&thing.message, Format::Json);
    let open = message.strip_suffix('}').unwrap_or_default();
    let recent: Vec<String> = thing.recent.iter().map(|brief| brief_array(&thing.message, brief)).collect();
    format!("{open},\"since\":\"{}\",\"recent\":[{}]}}", rfc3339(thing.since), recent.join(","))
}

fn brief_array(message: &Message, brief: &Brief) -> String {
    let time = format!("{}.{:03}", brief.time / 1_000_000, brief.time / 1000 % 1000);
    let figure = Value::from(brief.figure); // null where there is none
    match message.event == NUMBER_EVENT {
        true => format!("[{time},{figure}]"),
        false => format!("[{time},{},{figure}]", Value::from(&*brief.status)),
    }
}

/// How many things there are of each standing, for `/metrics`.
pub fn counts(things: &[Thing]) -> [(&'static str, usize); 4] {
    let mut counts = [(BAD, 0), (WARN, 0), ("other", 0), (OK, 0)];
    things.iter().for_each(|thing| counts[usize::from(rank(&thing.message.status))].1 += 1);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn thing(event: &'static str, key: &str, status: &str, text: &str, figures: &[f64]) -> Thing {
        let brief = |figure: &f64| Brief { time: 1_700_000_000_250_000, figure: *figure, status: "".into() };
        let (key, status, message) = (key.to_owned(), status.to_owned(), text.to_owned());
        let message = Message { id: 7, event: event.into(), key, status, message, ..Message::default() };
        Thing { message: Arc::new(message), since: 0, recent: Arc::new(figures.iter().map(brief).collect()) }
    }

    #[test]
    fn the_table_is_read_in_eighty_columns() {
        let things = [
            thing("ci", "grp/app main", "failed", &"Pipeline #5 failed ".repeat(9), &[]),
            thing("number", "temp", "ok", "21.5 °C", &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
            thing("number", "one", "warn", "1", &[1.0]),
            thing("number", "flat", "ok", "1", &[1.0, 1.0]),
            thing("message", "door", "open", "two\nlines \u{1b}[2J", &[]),
        ];
        let mut expected = String::from("EVENT    THING         STATUS  SINCE  MESSAGE\n");
        expected += "ci       grp/app main  failed  90 s   Pipeline #5 failed Pipeline #5 failed Pip…\n";
        expected += "number   temp          ok      90 s   21.5 °C ▁▂▃▄▅▆▇█\n";
        expected += "number   one           warn    90 s   1\n";
        expected += "number   flat          ok      90 s   1 ▁▁\n";
        expected += "message  door          open    90 s   two lines  [2J\n";
        assert_eq!(table(&things, 90_000_000), expected);
        assert!(table(&things, 0).lines().all(|line| line.chars().count() <= TABLE_WIDTH));
        let wide = table(&[thing("ci", &"x".repeat(128), "failed", &"y".repeat(99), &[])], 0);
        assert!(wide.lines().all(|line| line.chars().count() < 180) && wide.contains("yyyyyy…"), "{wide}");
        assert_eq!(table(&[], 0), "EVENT  THING  STATUS  SINCE  MESSAGE\n");
    }

    #[test]
    fn json_has_the_newest_message_since_when_and_the_newest_words_in_brief() {
        let things = [thing("number", "t", "ok", "", &[1.5, 2.0]), thing("ci", "p", "failed", "", &[f64::NAN])];
        let (start, time) = ("1970-01-01T00:00:00.000000Z", "1700000000.250");
        let object = |event: &str, key: &str, status: &str, recent: &str| {
            let head = format!(r#""id":"7","time":"{start}","event":"{event}","key":"{key}","status":"{status}""#);
            format!(r#"{{{head},"since":"{start}","recent":[{recent}]}}"#)
        };
        let number = object("number", "t", "ok", &format!("[{time},1.5],[{time},2.0]"));
        let other = object("ci", "p", "failed", &format!(r#"[{time},"",null]"#));
        assert_eq!(array(&things), format!("[{number},\n{other}]\n"));
        assert_eq!(array(&[]), "[]\n");
    }

    #[test]
    fn the_line_about_all_that_is_bad_names_the_newest_and_counts_the_rest() {
        let things: Vec<_> = (1..=5).map(|n| thing("ci", &n.to_string(), "failed", &format!("#{n}"), &[])).collect();
        assert_eq!(bad_line(&things), "bad: #1; #2; #3; and 2 more");
        let unnamed = [thing("x", "door", "firing", "", &[]), thing("x", "y", "late", "", &[])];
        assert_eq!(bad_line(&unnamed[..1]), "bad: door");
    }
}
