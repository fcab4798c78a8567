//! The state of the server: `/health` for a load balancer that decides whether to send it traffic, `/metrics` for
//! Prometheus. Both read the counters (`counters.rs`) and ask the hub for the rest, which costs its lock for a moment.

use std::fmt::Display;
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::api::now;
use crate::http::Answer;
use crate::room::message::{HOST_STATE_EVENT, HOST_STATES, NUMBER_EVENT, STATE};
use crate::room::{Events, Hub, Subscription, Thing, commit_queue::CommitQueue, things::MOST_NUMBERS};
use crate::text::decimal;

/// The text format of Prometheus, version 0.0.4
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Each metric: its name and its meaning.
const METRICS: &str = include_str!("metrics.txt");

/// The samples of a metric: of each the labels in braces, or nothing, and the value.
type Samples = Vec<(String, String)>;

/// Answers `/health`: 200 while the server takes messages and listeners, 503 once it stops. A member named after the
/// store or Redis says whether it could keep the last messages. The status stays 200 if it could not, because listeners
/// are still served. It is 503 if the store's file is gone, because only a new start mends that.
pub fn health(hub: &Hub, started: Instant) -> Answer {
    let (status, word) = match hub.commit_queue() {
        _ if hub.is_closed() => (503, "stopping"),
        Some(commit_queue) if commit_queue.is_lost() => (503, "failing"),
        _ => (200, "ok"),
    };
    let (listeners, uptime) = (hub.listeners(), started.elapsed().as_secs());
    let storage = hub.commit_queue().map_or_else(String::new, |commit_queue| {
        format!(",\"{}\":\"{}\"", commit_queue.kind, if commit_queue.is_well() { "ok" } else { "failing" })
    });
    let body = format!("{{\"status\":\"{word}\",\"listeners\":{listeners},\"uptime_seconds\":{uptime}{storage}}}\n");
    Answer::new(status, "application/json", body)
}

/// Answers `/metrics`.
pub fn metrics(hub: &Hub, started: Instant) -> Answer {
    let (counters, uptime) = (hub.counters(), started.elapsed());
    let (kept, bytes) = hub.kept();
    let counted = |count: &AtomicU64| one(count.load(Relaxed));
    let (_, things) = hub.now(&Subscription { events: Events::All, ..Subscription::default() });
    let of_queue =
        |value: fn(&CommitQueue) -> u64| each("kind", hub.commit_queue().map(|queue| (queue.kind, value(queue))));
    let samples = |name: &str| match name {
        "aloud_listeners" => one(hub.listeners()),
        "aloud_connections" => counted(&counters.connections),
        "aloud_threads" => counted(&counters.threads),
        "aloud_uptime_seconds" => one(format!("{}.{:03}", uptime.as_secs(), uptime.subsec_millis())),
        "aloud_messages_total" => counted(&counters.messages),
        "aloud_deliveries_total" => counted(&counters.deliveries),
        "aloud_queue_high_water" => counted(&counters.fullest_queue),
        "aloud_history_messages" => one(kept),
        "aloud_history_bytes" => one(bytes),
        "aloud_things" => each("status", now::counts(&things)),
        "aloud_hosts" => each("state", hosts(&things)),
        "aloud_number" => numbers(&things),
        "aloud_backing_up" => of_queue(|queue| queue.is_well().into()),
        "aloud_backing_batches_total" => of_queue(|queue| queue.batches.load(Relaxed)),
        "aloud_backing_failures_total" => of_queue(|queue| queue.failures.load(Relaxed)),
        "aloud_hang_ups_total" => each("cause", counters.ends()),
        "aloud_refusals_total" => each("status", counters.refusals()),
        "aloud_build_info" => each("version", [(VERSION, 1)]),
        other => unreachable!("{other} has samples"),
    };
    let known = METRICS.lines().filter_map(|line| line.split_once(' '));
    let there = known.filter(|(name, _)| hub.commit_queue().is_some() || !name.starts_with("aloud_backing"));
    let exposition: String = there.map(|(name, meaning)| written(name, meaning, samples(name))).collect();
    Answer::new(200, EXPOSITION, exposition)
}

/// A metric in the text format, with its type. That follows from the name: only a counter ends in `_total`.
fn written(name: &str, meaning: &str, samples: Samples) -> String {
    let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
    let head = format!("# HELP {name} {meaning}\n# TYPE {name} {kind}\n");
    let lines = samples.into_iter().map(|(labels, value)| format!("{name}{labels} {value}\n"));
    iter::once(head).chain(lines).collect()
}

/// The one sample of a metric.
fn one(value: impl ToString) -> Samples {
    vec![(String::new(), value.to_string())]
}

/// A sample for each value of `label`.
fn each<L: Display, V: Display>(label: &str, samples: impl IntoIterator<Item = (L, V)>) -> Samples {
    samples.into_iter().map(|(word, value)| (format!("{{{label}=\"{word}\"}}"), value.to_string())).collect()
}

/// How many hosts are in each state.
fn hosts(things: &[Thing]) -> [(&'static str, usize); HOST_STATES.len()] {
    HOST_STATES.map(|state| {
        let hosts = things.iter().filter(|thing| thing.message.event == HOST_STATE_EVENT);
        (state, hosts.filter(|host| host.message.field(STATE) == Some(state)).count())
    })
}

/// The newest value of each number of which values are known.
fn numbers(things: &[Thing]) -> Samples {
    let numbers = things.iter().filter(|thing| thing.message.event == NUMBER_EVENT).rev().take(MOST_NUMBERS);
    let sample = |thing: &Thing| {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (channel, key) = (quoted(&thing.message.channel), quoted(&thing.message.key));
        Some((format!("{{channel={channel},key={key}}}"), decimal(thing.recent.back()?.figure)))
    };
    numbers.filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::frame::Format;
    use crate::room::hub::Limits;
    use crate::room::letterbox::Recipient;
    use crate::room::memory_wire::{MemoryWire, message};
    use crate::room::subscription::{Events, Subscription};

    fn hub() -> Hub {
        Hub::new(Limits { listeners: 10, queue: 8, history: 3, history_bytes: 1 << 20, things: 9 }).0
    }

    fn join(hub: &Hub, wire: &std::sync::Arc<MemoryWire>) -> Recipient {
        let recipient = Recipient::new(wire.clone(), Format::Lines, false, vec![], 8);
        let everything = Subscription { events: Events::All, ..Subscription::default() };
        hub.join(everything, None, recipient.letterbox()).unwrap();
        recipient
    }

    #[test]
    fn health_is_ok_until_the_server_stops() {
        let hub = hub();
        let _recipient = join(&hub, &MemoryWire::new(usize::MAX));
        let healthy = health(&hub, Instant::now());
        assert_eq!(healthy.status, 200);
        assert!(healthy.body.starts_with(r#"{"status":"ok","listeners":1,"uptime_seconds":"#), "{}", healthy.body);
        hub.close();
        let stopping = health(&hub, Instant::now());
        assert_eq!(stopping.status, 503);
        assert!(stopping.body.starts_with(r#"{"status":"stopping","listeners":1,"#), "{}", stopping.body);
    }

    #[test]
    fn what_happened_is_counted() {
        let hub = hub();
        let (_quick, _slow) = (join(&hub, &MemoryWire::new(usize::MAX)), join(&hub, &MemoryWire::new(0)));
        for _ in 0..3 {
            hub.publish(message("x")).unwrap();
        }
        let check = |line: &str| {
            let metrics = metrics(&hub, Instant::now()).body;
            assert!(metrics.contains(&format!("\n{line}\n")), "{line}: {metrics}");
        };
        check("aloud_listeners 2");
        check("aloud_messages_total 3");
        check("aloud_deliveries_total 6");
        check("aloud_queue_high_water 3");
        hub.lend_a_hand(2);
        for _ in 0..9 {
            hub.lend_a_hand(hub.publish(message("x")).unwrap().listeners);
        }
        check("aloud_queue_high_water 8");
        check("aloud_listeners 1");
        check("aloud_history_messages 3");
        check(&format!("aloud_history_bytes {}", 3 * message("x").weight()));
    }
}
