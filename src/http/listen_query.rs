//! Reads the query and the headers of `/listen` and `/said`: which format, which channels, events and statuses, and
//! from when on.

use std::borrow::Cow;
use std::time::Duration;

use crate::http::answer::TEXT;
use crate::http::exchange::Exchange;
use crate::http::refusal::Refusal;
use crate::names::is_plain_name;
use crate::room::{Events, Format, Since, Subscription, replay::Point};

/// The type of server-sent events. Without the charset, some readers take it for Latin-1.
pub const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// The type of JSON objects, one a line.
const NDJSON: &str = "application/x-ndjson";

/// The most names in `event=`, and in `status=`. Each is kept for the listener and compared with every message.
const MOST_NAMES: usize = 32;

/// The least id that can be ours, as ids are microseconds since 1970. People send 0 and 1 to get everything.
const LEAST_ID: u64 = 1_000_000;

/// The wishes of a listener.
#[derive(Debug)]
pub struct Ask {
    /// Channels, events and statuses.
    pub wants: Subscription,
    /// From when on; `None` if the request does not say.
    pub since: Option<Since>,
    /// The format.
    pub format: Format,
    /// Whether the query names the format.
    is_named: bool,
    /// The content type of the answer.
    pub content_type: &'static str,
}

/// The formats: the name for `as=`, the type that `Accept` may name, the format, and the type of the answer. If a
/// client names none of them, as with curl's `*/*`, it gets the first: lines under the content type of the seed
/// program.
const OFFERS: [(&str, &str, Format, &str); 7] = [
    ("", "text/html", Format::Lines, EVENT_STREAM),
    ("sse", "text/event-stream", Format::Sse, EVENT_STREAM),
    ("lines", "text/plain", Format::Lines, TEXT),
    ("json", "application/x-ndjson", Format::Json, NDJSON),
    ("", "application/jsonl", Format::Json, NDJSON),
    ("", "application/json", Format::Json, NDJSON),
    ("tsv", "text/tab-separated-values", Format::Tsv, "text/tab-separated-values; charset=utf-8"),
];

impl Ask {
    /// Reads the wishes of a request on `channel`.
    ///
    /// # Errors
    /// 400 if a value of the query is unknown, 413 if the request has a body.
    pub fn read(exchange: &Exchange<'_>, channel: &str) -> Result<Ask, Refusal> {
        if !exchange.request.body.is_empty() {
            return Err(Refusal::new(413, "a body says nothing here; leave it out"));
        }
        let named = exchange.query_value("as");
        let (_, _, format, content_type) = match &named {
            Some(name) => *OFFERS.iter().find(|(known, ..)| !known.is_empty() && known == name).ok_or_else(|| {
                Refusal::of_value("as", name, "is no format; send as=lines, as=sse, as=json or as=tsv")
            })?,
            None => OFFERS[exchange.preferred(&OFFERS.map(|offer| offer.1)).unwrap_or(0)],
        };
        let events = exchange.query_list("event").map_or(Ok(Events::AllButQuiet), |list| events(&list))?;
        let statuses = exchange.query_list("status").map_or(Ok(vec![]), |list| statuses(&list))?;
        let in_header = exchange.header("Last-Event-ID").map(Cow::from);
        let in_query = ["lastEventId", "last_event_id"].map(|key| exchange.query_value(key)); // polyfills send these
        let heard = [in_header].into_iter().chain(in_query).flatten().find(|id| !id.is_empty());
        let [since_when, last] = ["since", "last"].map(|key| exchange.query_value(key));
        let since = since(since_when.as_deref(), last.as_deref(), heard.as_deref())?;
        let wants = Subscription { channels: channel.to_owned(), events, statuses };
        Ok(Ask { wants, since, format, is_named: named.is_some(), content_type })
    }

    /// Whether JSON is asked for, where the answer is text or JSON and no stream.
    ///
    /// # Errors
    /// 400 if another format is asked for.
    pub fn is_json(&self) -> Result<bool, Refusal> {
        match self.format {
            Format::Sse | Format::Tsv if self.is_named => {
                Err(Refusal::bad("as= names a format of streams; send as=lines or as=json"))
            }
            format => Ok(format == Format::Json),
        }
    }

    /// The headers of the answer, but those about its framing. `caching` is `no-cache` for a stream, else `no-store`.
    pub fn headers(&self, caching: &str) -> String {
        format!(
            "Content-Type: {}\r\nCache-Control: {caching}, no-transform\r\nX-Accel-Buffering: no\r\n\
             X-Content-Type-Options: nosniff\r\n",
            self.content_type
        )
    }
}

fn events(list: &str) -> Result<Events, Refusal> {
    let names: Vec<_> = list.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| !is_plain_name(name)) {
        _ if names.iter().any(|name| name == "*") => Ok(Events::All),
        _ if names.len() > MOST_NAMES => {
            let send = format!("send at most {MOST_NAMES}, or event=* for every one");
            Err(Refusal::bad(format!("event= holds too many names; {send}")))
        }
        None => Ok(Events::Only(names)),
        Some(name) => Err(Refusal::of(name, "is no event name; send event=NAME,NAME or event=* for every one")),
    }
}

fn statuses(list: &str) -> Result<Vec<String>, Refusal> {
    let words: Vec<_> = list.split(',').map(str::to_owned).collect();
    if words.len() > MOST_NAMES || words.iter().any(String::is_empty) {
        let rest = format!("cannot be read; send 1 to {MOST_NAMES} words, as in status=bad,warn");
        return Err(Refusal::of_value("status", list, &rest));
    }
    Ok(words)
}

/// From when on. The id heard last, from the header or a polyfill's query, wins over `since`: an `EventSource` that
/// comes back sends the query it was made with and, in the header, the id it has heard since. That id is never refused,
/// because an `EventSource` gives up for good on a 400. An id that is none of ours counts as before all of them, so its
/// sender is told of a gap and hears all that is kept.
fn since(since: Option<&str>, last: Option<&str>, heard: Option<&str>) -> Result<Option<Since>, Refusal> {
    let point = since.map(point).transpose()?;
    let wrong = |text| Refusal::of_value("last", text, "is no number; send last=N for the newest N messages");
    let most = last.map(|text| whole(text).ok_or_else(|| wrong(text))).transpose()?;
    let most = most.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    Ok(match heard {
        Some(id) => Some(Since { point: Point::After(whole(id).unwrap_or(0)), most: usize::MAX }),
        None if point.is_none() && most.is_none() => None,
        None => Some(Since { point: point.unwrap_or(Point::Oldest), most: most.unwrap_or(usize::MAX) }),
    })
}

/// Reads an id, an age or `all`.
fn point(text: &str) -> Result<Point, Refusal> {
    let units = [('s', 1), ('m', 60), ('h', 60 * 60), ('d', 24 * 60 * 60)];
    let seconds = units.iter().find_map(|(unit, seconds)| whole(text.strip_suffix(*unit)?)?.checked_mul(*seconds));
    match (whole(text), seconds) {
        (Some(2..LEAST_ID), _) => {
            let send = format!("send since={text}s or since={text}m for a time, or since=ID");
            Err(Refusal::bad(format!("since={text} is no id of ours; {send}")))
        }
        (Some(id), _) => Ok(Point::After(id)),
        (None, Some(seconds)) => Ok(Point::Ago(Duration::from_secs(seconds))),
        _ if text == "all" => Ok(Point::Oldest),
        _ => {
            let rest = "is no point in time; send since=ID, since=10m (s, m, h or d) or since=all";
            Err(Refusal::of_value("since", text, rest))
        }
    }
}

/// Reads a number written in digits alone.
fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::accept;
    use crate::text::shown;

    #[test]
    fn the_format_follows_accept() {
        let check = |accept: &str, format: Format, content_type: &str| {
            let (.., found, answer) = OFFERS[accept::best(accept, &OFFERS.map(|offer| offer.1)).unwrap_or(0)];
            assert_eq!((found, answer), (format, content_type), "{accept}");
        };
        check("", Format::Lines, EVENT_STREAM);
        check("*/*", Format::Lines, EVENT_STREAM);
        check("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Lines, EVENT_STREAM);
        check("text/plain", Format::Lines, TEXT);
        check("text/event-stream", Format::Sse, EVENT_STREAM);
        check("Text/Event-Stream; charset=utf-8", Format::Sse, EVENT_STREAM);
        check("application/x-ndjson", Format::Json, "application/x-ndjson");
        check("application/jsonl", Format::Json, "application/x-ndjson");
        check("application/json, */*", Format::Json, "application/x-ndjson");
        check("application/json;q=0.5, text/event-stream", Format::Sse, EVENT_STREAM);
        check("text/event-stream;q=0, */*;q=0.1", Format::Lines, EVENT_STREAM);
        check("image/png", Format::Lines, EVENT_STREAM);
        check("text/tab-separated-values", Format::Tsv, "text/tab-separated-values; charset=utf-8");
        check("text/*", Format::Lines, EVENT_STREAM);
        check(";;,q=,,\u{1F600};q=x", Format::Lines, EVENT_STREAM);
    }

    #[test]
    fn from_when_on_is_an_id_an_age_all_or_the_newest_so_many() {
        let check = |query: Option<&str>, last: Option<&str>, heard: Option<&str>, expected: Option<Since>| {
            assert_eq!(since(query, last, heard), Ok(expected), "{query:?} {last:?} {heard:?}");
        };
        let from = |point: Point, most: usize| Some(Since { point, most });
        let ago = |seconds: u64| Point::Ago(Duration::from_secs(seconds));
        check(None, None, None, None);
        check(Some("1700000000000000"), None, None, from(Point::After(1_700_000_000_000_000), usize::MAX));
        check(Some("0"), None, None, from(Point::After(0), usize::MAX));
        check(Some("10s"), None, None, from(ago(10), usize::MAX));
        check(Some("10m"), None, None, from(ago(600), usize::MAX));
        check(Some("2h"), None, None, from(ago(7200), usize::MAX));
        check(Some("1d"), None, None, from(ago(86400), usize::MAX));
        check(Some("all"), None, None, Some(Since::OLDEST));
        check(None, Some("5"), None, from(Point::Oldest, 5));
        check(None, Some("0"), None, from(Point::Oldest, 0));
        check(Some("10m"), Some("5"), None, from(ago(600), 5));
        check(None, None, Some("17"), from(Point::After(17), usize::MAX));
        check(Some("all"), Some("5"), Some("17"), from(Point::After(17), usize::MAX));
        check(Some("4m"), None, Some("an id of another server"), from(Point::After(0), usize::MAX));
        check(None, None, Some("99999999999999999999"), from(Point::After(0), usize::MAX));
    }

    #[test]
    fn what_is_no_point_in_time_is_refused_in_one_line() {
        let check = |query: Option<&str>, last: Option<&str>, line: &str| {
            assert_eq!(since(query, last, Some("17")), Err(Refusal::bad(line)));
        };
        let line = "since=10 is no id of ours; send since=10s or since=10m for a time, or since=ID";
        assert_eq!(since(Some("10"), None, None), Err(Refusal::bad(line)));
        let say = "is no point in time; send since=ID, since=10m (s, m, h or d) or since=all";
        for bad in ["", "yesterday", "-1", "+1", "1.5h", "m", "10 m", "10M", "99999999999999999999", "1w", "ü"] {
            check(Some(bad), None, &format!("since={} {say}", shown(bad)));
        }
        check(Some("999999999999999999d"), None, &format!("since=\"999999999999999999d\" {say}"));
        for bad in ["", "x", "-1", "1m", "99999999999999999999"] {
            check(None, Some(bad), &format!("last={} is no number; send last=N for the newest N messages", shown(bad)));
        }
    }
}
