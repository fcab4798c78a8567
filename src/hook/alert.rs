//! Alerts, as Prometheus' Alertmanager posts them (its page "Webhook config"), and Grafana in the same shape. Each
//! alert of a delivery is a thing of its own, which fires until it is resolved.

use crate::hook::notice::{Notice, around, key_of, kind};
use crate::hook::payload::{Payload, readable};

/// How many alerts of a delivery are told one by one.
const MOST_ALERTS: usize = 100;

/// Reads a delivery: those alerts first that are resolved.
pub fn read(payload: Payload<'_>) -> Vec<Notice> {
    let alerts = payload.list("/alerts");
    let told = alerts.iter().take(MOST_ALERTS).map(Payload::new);
    let mut notices: Vec<_> = told.filter_map(|alert| read_one(payload, alert)).collect();
    notices.sort_by_key(|notice| notice.status == FIRING);
    let cut_by_sender = payload.number(["/truncatedAlerts"]).unwrap_or(0);
    let more = cut_by_sender.saturating_add(alerts.len().saturating_sub(MOST_ALERTS) as u64);
    if more > 0 {
        let sentence = format!("{more} more alerts have come that are not told one by one");
        let thing = payload.text(["/groupKey"]).map(|group| format!("{group} {more}"));
        let url = payload.url(["/externalURL"]);
        notices.push(Notice { kind: kind::ALERT, sentence, thing, url, ..Notice::default() });
    }
    notices
}

const FIRING: &str = "firing";

const RESOLVED: &str = "resolved";

fn read_one(all: Payload<'_>, alert: Payload<'_>) -> Option<Notice> {
    let words = [alert.word("/status"), all.word("/status")];
    let status =
        [FIRING, RESOLVED].into_iter().find(|status| words.iter().find(|word| !word.is_empty()) == Some(status))?;
    let name = alert.text(["/labels/alertname"]).or_else(|| all.text(["/commonLabels/alertname"]));
    let name = name.unwrap_or_else(|| "An alert".to_owned());
    let instance = alert.text(["/labels/instance", "/labels/host", "/labels/hostname", "/labels/node", "/labels/pod"]);
    let severity = alert.text(["/labels/severity"]).filter(|severity| severity != "none");
    let summary = alert
        .text(["/annotations/summary", "/annotations/message", "/annotations/title", "/annotations/description"])
        .or_else(|| all.text(["/commonAnnotations/summary", "/commonAnnotations/description"]));
    let how = severity.as_deref().filter(|_| status == FIRING);
    let sentence = format!(
        "{name}{} is {status}{}{}",
        around(" on ", instance.as_deref(), ""),
        around(" (", how, ")"),
        around(": ", summary.as_deref(), "")
    );
    let fingerprint = alert.text(["/fingerprint"]);
    let key = key(&name, alert, fingerprint.as_deref());
    let began = alert.text(["/startsAt"]);
    let id = fingerprint.as_deref().unwrap_or(&key);
    Some(Notice {
        kind: kind::ALERT,
        status,
        sentence,
        thing: began.as_deref().map(|began| [id, began].join(" ")),
        key: Some(key),
        title: summary,
        url: alert.url(["/generatorURL", "/panelURL", "/dashboardURL"]).or_else(|| all.url(["/externalURL"])),
        more: vec![("alertname", Some(name)), ("instance", instance), ("severity", severity), ("began", began)],
        ..Notice::default()
    })
}

/// The key of an alert: its name and the labels that tell it apart. Those that Grafana needs for itself are left out;
/// if that, or its length, could make it another alert's, the fingerprint completes it.
fn key(name: &str, alert: Payload<'_>, fingerprint: Option<&str>) -> String {
    let labels = alert.members("/labels").filter(|(label, _)| *label != "alertname");
    let (shown, hidden): (Vec<_>, Vec<_>) = labels.partition(|(label, _)| !label.starts_with("__"));
    let labels: Vec<_> = shown.iter().filter_map(|(label, value)| readable(&format!("{label}={value}"))).collect();
    let names = [name].into_iter().chain(labels.iter().map(String::as_str));
    key_of(names.chain(fingerprint.filter(|_| !hidden.is_empty())))
}
