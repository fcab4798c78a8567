//! The state of the server: `/health` for a load balancer that decides whether to send it traffic, `/metrics` for
//! Prometheus. Both read the counters (`counters.rs`) and ask the hub for the rest, which costs its lock for a moment.

use std::fmt::{Display, Write};

use crate::api::now;
use crate::counters::{Counters, Ended};
use crate::http::answer::Answer;
use crate::room::hub::Hub;
use crate::room::message::{HOST_STATE_EVENT, HOST_STATES, NUMBER_EVENT, STATE};
use crate::room::subscription::{Events, Subscription};
use crate::room::things::{MOST_NUMBERS, Thing};
use crate::text::decimal;

/// The text format of Prometheus, version 0.0.4
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

const DELIVERIES: &str = "Messages put into the queues of listeners, each once for every queue.";
const BACKING_UP: &str = "Whether what keeps the messages could keep the last ones.";
const HIGH_WATER: &str = "The most messages that waited for one listener since the start.";

/// Answers `/health`: 200 while the server takes messages and listeners, 503 once it stops. A member named after the
/// store or Redis says whether it could keep the last messages. The status stays 200 if it could not, because listeners
/// are still served. It is 503 if the store's file is gone, because only a new start mends that.
pub fn health(hub: &Hub) -> Answer {
    let (status, word) = match hub.commit_queue() {
        _ if hub.is_closed() => (503, "stopping"),
        Some(commit_queue) if commit_queue.is_lost() => (503, "failing"),
        _ => (200, "ok"),
    };
    let (listeners, uptime) = (hub.listeners(), hub.counters().uptime().as_secs());
    let storage = hub.commit_queue().map_or_else(String::new, |commit_queue| {
        format!(",\"{}\":\"{}\"", commit_queue.kind, if commit_queue.is_well() { "ok" } else { "failing" })
    });
    let body = format!("{{\"status\":\"{word}\",\"listeners\":{listeners},\"uptime_seconds\":{uptime}{storage}}}\n");
    Answer::new(status, "application/json", body)
}

/// Answers `/metrics`.
pub fn metrics(hub: &Hub) -> Answer {
    Answer::new(200, EXPOSITION, exposition(hub))
}

fn exposition(hub: &Hub) -> String {
    let counters = hub.counters();
    let Counters { connections, threads, messages, deliveries, fullest_queue, .. } = counters;
    let (kept, bytes) = hub.kept();
    let uptime = counters.uptime();
    let uptime = format!("{}.{:03}", uptime.as_secs(), uptime.subsec_millis());
    let mut text = String::with_capacity(4096); // all of it fits
    for (name, value, meaning) in [
        ("aloud_listeners", &hub.listeners() as &dyn Display, "Listeners now."),
        ("aloud_connections", &connections.get(), "Connections open now, those of the listeners among them."),
        ("aloud_threads", &threads.get(), "Threads now."),
        ("aloud_uptime_seconds", &uptime, "Seconds since the start."),
        ("aloud_messages_total", &messages.get(), "Messages said."),
        ("aloud_deliveries_total", &deliveries.get(), DELIVERIES),
        ("aloud_queue_high_water", &fullest_queue.get(), HIGH_WATER),
        ("aloud_history_messages", &kept, "Messages kept for replay."),
        ("aloud_history_bytes", &bytes, "Bytes of the messages kept for replay."),
    ] {
        family(&mut text, name, meaning, [("", value)]);
    }
    let (_, things) = hub.now(&Subscription { events: Events::All, ..Subscription::default() });
    let counts = now::counts(&things).map(|(status, count)| (format!("{{status=\"{status}\"}}"), count));
    family(&mut text, "aloud_things", "Things by how they stand, see /now.", counts);
    let hosts = HOST_STATES.map(|state| {
        let is_so =
            |thing: &&Thing| thing.message.event == HOST_STATE_EVENT && thing.message.field(STATE) == Some(state);
        (format!("{{state=\"{state}\"}}"), things.iter().filter(is_so).count())
    });
    family(&mut text, "aloud_hosts", "Hosts by their state, those that are among the things.", hosts);
    let numbers = things.iter().filter(|thing| thing.message.event == NUMBER_EVENT).rev().take(MOST_NUMBERS);
    let numbers = numbers.filter_map(|thing| {
        let figure = thing.recent.back()?.figure;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (channel, key) = (quoted(&thing.message.channel), quoted(&thing.message.key));
        Some((format!("{{channel={channel},key={key}}}"), decimal(figure)))
    });
    family(&mut text, "aloud_number", "The newest value of each number.", numbers);
    if let Some(queue) = hub.commit_queue() {
        let (kept, failed) = queue.counts();
        for (name, value, meaning) in [
            ("aloud_backing_up", u64::from(queue.is_well()), BACKING_UP),
            ("aloud_backing_batches_total", kept, "Batches of messages kept together."),
            ("aloud_backing_failures_total", failed, "Batches that could not be kept."),
        ] {
            family(&mut text, name, meaning, [(format!("{{kind=\"{}\"}}", queue.kind), value)]);
        }
    }
    let causes = [
        ("queue_full", Ended::QueueFull),
        ("stalled", Ended::Stalled),
        ("left", Ended::Left),
        ("stopped", Ended::Stopped),
    ];
    family(
        &mut text,
        "aloud_hang_ups_total",
        "Streams that ended: the queue was full, the socket took nothing, the listener left, the server stops.",
        causes.map(|(cause, why)| (format!("{{cause=\"{cause}\"}}"), counters.streams_ended(why))),
    );
    let refusals = counters.refusals().map(|(status, count)| (format!("{{status=\"{status}\"}}"), count));
    family(&mut text, "aloud_refusals_total", "Requests refused, by the status they were answered with.", refusals);
    let build = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    family(&mut text, "aloud_build_info", "Which aloud this is; the value says nothing.", [(build, 1)]);
    text
}

/// Writes a metric, its meaning and its type. The type follows from the name: only a counter ends in `_total`. A sample
/// is its labels in braces, or nothing, and its value.
fn family<L: Display, V: Display>(
    text: &mut String,
    name: &str,
    meaning: &str,
    samples: impl IntoIterator<Item = (L, V)>,
) {
    let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
    let _ = writeln!(text, "# HELP {name} {meaning}\n# TYPE {name} {kind}");
    for (labels, value) in samples {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::frame::Format;
    use crate::room::hub::Limits;
    use crate::room::letterbox::Recipient;
    use crate::room::memory_wire::{MemoryWire, message};
    use crate::room::replay::Since;
    use crate::room::subscription::{Events, Subscription};

    fn hub() -> Hub {
        Hub::new(Limits { listeners: 10, queue: 8, history: 3, history_bytes: 1 << 20, things: 9 }).0
    }

    fn join(hub: &Hub, wire: &std::sync::Arc<MemoryWire>) -> Recipient {
        let recipient = Recipient::new(wire.clone(), Format::Lines, false, vec![], 8);
        let everything = Subscription { events: Events::All, ..Subscription::default() };
        hub.join(everything, Since::NOW, recipient.letterbox().clone()).unwrap();
        recipient
    }

    #[test]
    fn health_is_ok_until_the_server_stops() {
        let hub = hub();
        let _recipient = join(&hub, &MemoryWire::new(usize::MAX));
        let healthy = health(&hub);
        assert_eq!(healthy.status, 200);
        assert!(healthy.body.starts_with(r#"{"status":"ok","listeners":1,"uptime_seconds":"#), "{}", healthy.body);
        hub.close();
        let stopping = health(&hub);
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
        let check =
            |line: &str| assert!(exposition(&hub).contains(&format!("\n{line}\n")), "{line}: {}", exposition(&hub));
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
