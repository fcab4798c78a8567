//! `/beat/HOST` and `/hosts`: beats in, a list out.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::hosts::beat::{self, Beat, REASON, Report, figure};
use crate::hosts::host::{Announcement, Host};
use crate::hosts::known::Hosts;
use crate::http::{After, Answer, Ask, Exchange, Refusal, TEXT, form};
use crate::journal;
use crate::room::{Hub, Message, Receipt, Refused, message::STATE};
use crate::sync::lock;
use crate::text::{columns, shown, spoken};

/// The most characters of a note in the table: as many as a terminal's line has left.
const NOTE_WIDTH: usize = 60;

/// Takes in what is reported of `host`, says what has changed by it, and answers `ok.`
///
/// # Errors
/// The refusal of what cannot be read, or cannot be remembered.
pub fn beat(exchange: &mut Exchange<'_>, host: &str, report: Report, hosts: &Arc<Hosts>) -> Result<After, Refusal> {
    let body = exchange.body()?;
    let is_form = |sent: &&str| report != Report::Fail || beat::is_form(sent, &body);
    let sent = exchange.header("Content-Type").filter(is_form);
    let beat = Beat::read(form::pairs(exchange.query(), sent, &body)?, report)?;
    let complaint = beat.complaint.clone();
    let message = hear(host, beat, hosts, exchange.hub)?;
    let mut body = json!({ "host": host, "state": message.field(STATE) });
    let text = complaint.as_ref().map_or("ok.".to_owned(), |complaint| format!("ok, but {complaint}\n"));
    complaint.into_iter().for_each(|complaint| body["complaint"] = complaint.into());
    let answer = |exchange: &Exchange<'_>, said: Result<Receipt, Refused>| {
        said.map(|_| exchange.text_or_json(200, text, || body))
    };
    Ok(exchange.publish(message, None, Box::new(answer)))
}

/// Forgets `host` and tells those who follow the beats.
///
/// # Errors
/// 404 if it is not known.
pub fn forget(exchange: &mut Exchange<'_>, host: &str, hosts: &Hosts) -> Result<After, Refusal> {
    let unknown = || Refusal::new(404, format!("no host {} is known; GET /hosts lists them", shown(host)));
    let message = hosts.forget(host).ok_or_else(unknown)?;
    Ok(exchange.publish(message, None, Box::new(|_, said| said.map(|_| Answer::ok()))))
}

/// Lists every host: a table to read, or JSON where it is asked for by `Accept` or `?as=json`.
pub fn list(exchange: &Exchange<'_>, hosts: &Hosts) -> Result<Answer, Refusal> {
    let now = Instant::now();
    let hosts = hosts.list(now);
    Ok(match Ask::read(exchange, "")?.is_json()? {
        true => Answer::json(200, &hosts.iter().map(|host| object(host, now)).collect()),
        false => Answer::new(200, TEXT, table(&hosts, now)),
    })
}

/// Hears a beat of `host` and says what changes by it. Returns the message that the beat itself is.
fn hear(host: &str, beat: Beat, hosts: &Arc<Hosts>, hub: &Hub) -> Result<Message, Refusal> {
    let _turn = lock(&hosts.turn);
    let log = |refusal: &Refusal| journal::FULL.warn(format_args!("took no beat of {host} in: {}", refusal.line));
    let (change, message) = hosts.beat(host, beat, Instant::now()).inspect_err(log)?;
    change.into_iter().for_each(|change| announce(change, hosts, hub));
    Ok(message)
}

/// Says which hosts have fallen silent. The keeper calls it about once a second, or soon if it returns that there are
/// more: if a network fails, ten thousand hosts are late in one second.
pub fn tick(hosts: &Arc<Hosts>, hub: &Hub) -> bool {
    let _turn = lock(&hosts.turn);
    let (changes, is_more) = hosts.tick(Instant::now());
    changes.into_iter().for_each(|change| announce(change, hosts, hub));
    is_more
}

/// Publishes what has changed with a host, without waiting until it is kept. The caller has the turn, so changes are
/// said in the order in which they happen: a host that is heard just as it is found to be down is not left for dead.
fn announce(Announcement { message, once }: Announcement, hosts: &Arc<Hosts>, hub: &Hub) {
    let (hosts, host) = (hosts.clone(), message.name.clone());
    hub.publish_aside(message, once, Box::new(move |_| hosts.settle(&host)));
}

/// `{"host":"web1","state":"up","ago":1.5,"every":30,"figures":{…}}`, with the `reason` of a job that has failed. Times
/// are in seconds; `ago` is the least if the time is not known. A figure is a number if its name is that of one.
fn object(host: &Host, now: Instant) -> Value {
    let figures = host.figures.iter().filter(|(key, _)| key != REASON).map(|(key, text)| {
        let number = text.parse().ok().filter(|_| beat::is_number(key));
        (key.clone(), number.map_or_else(|| text.as_str().into(), Value::Number))
    });
    let mut object = json!({
        "host": host.name,
        "state": host.state.word(),
        "ago": (now.saturating_duration_since(host.heard).as_secs_f64() * 1000.0).round() / 1000.0,
        "every": host.every.as_secs_f64(),
        "figures": figures.collect::<Map<_, _>>(),
    });
    host.reason().into_iter().for_each(|reason| object[REASON] = reason.into());
    object
}

/// One line a host, in columns.
fn table(hosts: &[Host], now: Instant) -> String {
    let head = ["HOST", "STATE", "HEARD", "LOAD", "MEMORY", "DISK", "UP", "NOTE"].map(str::to_owned).to_vec();
    columns(&std::iter::once(head).chain(hosts.iter().map(|host| row(host, now))).collect::<Vec<_>>())
}

/// The cells of a host. Control characters become spaces, so no note can drive the reader's terminal.
fn row(host: &Host, now: Instant) -> Vec<String> {
    let figure = |key: &str| figure(&host.figures, key);
    let note = host.reason().and_then(|reason| reason.lines().last()).or(figure("note")).unwrap_or_default();
    vec![
        host.name.clone(),
        host.state.word().to_owned(),
        format!("{} ago", host.silence(now)),
        figure("load1").unwrap_or_default().to_owned(),
        beat::share(&host.figures, "mem").unwrap_or_default(),
        beat::share(&host.figures, "disk").unwrap_or_default(),
        figure("up").and_then(beat::seconds).map(spoken).unwrap_or_default(),
        note.chars().take(NOTE_WIDTH).map(|char| if char.is_control() { ' ' } else { char }).collect(),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hosts::host::State;

    /// A host that was heard 12.345 s before the time that is returned.
    fn host(name: &str, figures: &str) -> (Host, Instant) {
        let heard = Instant::now();
        let mut host = Host::new(name, heard);
        host.figures = form::pairs(figures, None, b"").unwrap();
        (host, heard + Duration::from_millis(12_345))
    }

    fn failed(figures: &str) -> (Host, Instant) {
        let (mut host, now) = host("job", &format!("reason=first%0Alast&{figures}"));
        host.state = State::Failed;
        (host, now)
    }

    #[test]
    fn hosts_are_listed_in_columns_that_no_note_can_break() {
        let (one, now) = host("a", "load1=0.5&mem_used=1&mem_total=4&up=90&note=two%0Alines%1b%5B2J");
        let mut other = one.clone();
        (other.name, other.figures, other.beaten) = ("a-longer-name".to_owned(), vec![], false);
        assert_eq!(
            table(&[one, other], now),
            "HOST           STATE  HEARD              LOAD  MEMORY  DISK  UP    NOTE\n\
             a              up     12 s ago           0.5   25 %          90 s  two lines [2J\n\
             a-longer-name  up     at least 12 s ago\n"
        );
        let (failed, now) = failed("note=n");
        assert!(table(&[failed], now).ends_with("  last\n"));
        assert_eq!(table(&[], now), "HOST  STATE  HEARD  LOAD  MEMORY  DISK  UP  NOTE\n");
    }

    #[test]
    fn hosts_are_listed_as_json_with_numbers_where_they_are_some() {
        let (one, now) = host("a", "load1=0.50&mem_used=12345678901&up=90.5&fans=2&note=%22");
        assert_eq!(
            object(&one, now).to_string(),
            r#"{"ago":12.345,"every":30.0,"figures":{"fans":"2","load1":0.5,"mem_used":12345678901,"note":"\"","up":90.5},"host":"a","state":"up"}"#
        );
        let (failed, now) = failed("");
        let failed = object(&failed, now);
        assert_eq!((&failed["reason"], &failed["figures"]), (&"first\nlast".into(), &json!({})));
    }
}
