//! Alerts, as Prometheus' Alertmanager posts them (its page "Webhook config"), and Grafana in the same shape. Each
//! alert of a delivery is a thing of its own, which fires until it is resolved.

use serde_json::json;

use crate::hook::notice::Notice;
use crate::hook::payload::Payload;
use crate::hook::sender::Sender;
use crate::hook::telling;

/// How many alerts of a delivery are told one by one.
const MOST_ALERTS: usize = 100;

/// Reads a delivery: those alerts first that are resolved.
pub fn read(sender: Sender, channel: &str, all: Payload<'_>) -> Vec<Notice> {
    let alerts = all.at("alerts").list();
    let untold = alerts.len().saturating_sub(MOST_ALERTS) as u64;
    let tell = |event: &str, object: Payload<'_>| telling::alert(sender, channel, event, all, object);
    let mut notices: Vec<_> = alerts.take(MOST_ALERTS).filter_map(|alert| tell("alert", alert)).collect();
    notices.sort_by_key(|notice| notice.message.status == "firing");
    let more = all.at("truncatedAlerts").0.as_u64().unwrap_or(0).saturating_add(untold);
    if more > 0 {
        notices.extend(tell("more", Payload(&json!({ "more": more.to_string() }))));
    }
    notices
}
