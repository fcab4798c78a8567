//! Alerts, as Prometheus' Alertmanager posts them (its page "Webhook config"), and Grafana in the same shape. Each
//! alert of a delivery is a thing of its own, which fires until it is resolved.

use crate::hook::notice::{Notice, key_of};
use crate::hook::payload::{Payload, readable};
use crate::hook::sender::Sender;
use crate::hook::telling;

/// How many alerts of a delivery are told one by one.
const MOST_ALERTS: usize = 100;

/// Reads a delivery: those alerts first that are resolved.
pub fn read(sender: Sender, all: Payload<'_>) -> Vec<Notice> {
    let alerts = all.at("alerts").list();
    let untold = alerts.len().saturating_sub(MOST_ALERTS) as u64;
    let mut notices: Vec<_> = alerts.take(MOST_ALERTS).filter_map(|alert| read_one(sender, all, alert)).collect();
    notices.sort_by_key(|notice| notice.status == "firing");
    let more = all.at("truncatedAlerts").0.as_u64().unwrap_or(0).saturating_add(untold);
    if more > 0 {
        let sentence = format!("{more} more alerts have come that are not told one by one");
        let thing = all.at("groupKey").text().map(|group| format!("{group} {more}"));
        let url = all.at("externalURL").url().map(|url| ("url", url));
        notices.push(Notice { kind: "alert", sentence, thing, fields: url.into_iter().collect(), ..Notice::default() });
    }
    notices
}

fn read_one(sender: Sender, all: Payload<'_>, alert: Payload<'_>) -> Option<Notice> {
    let notice = telling::alert(sender, all, alert)?;
    let fingerprint = alert.at("fingerprint").text();
    let key = key(notice.field("alertname")?, alert, fingerprint.as_deref());
    let thing = notice.field("began").map(|began| [fingerprint.as_deref().unwrap_or(&key), began].join(" "));
    Some(Notice { key: Some(key), thing, ..notice })
}

/// The key of an alert: its name and the labels that tell it apart. Those that Grafana needs for itself are left out;
/// if that, or its length, could make it another alert's, the fingerprint completes it.
fn key(name: &str, alert: Payload<'_>, fingerprint: Option<&str>) -> String {
    let labels = alert.at("labels").members().filter(|(label, _)| *label != "alertname");
    let (shown, hidden): (Vec<_>, Vec<_>) = labels.partition(|(label, _)| !label.starts_with("__"));
    let labels = shown.iter().filter_map(|(label, value)| readable(&format!("{label}={value}")));
    let fingerprint = fingerprint.filter(|_| !hidden.is_empty()).map(str::to_owned);
    key_of(&[name.to_owned()].into_iter().chain(labels).chain(fingerprint).collect::<Vec<_>>().join(" "))
}
