//! The senders of webhooks: how each is told by its name and by its headers.

use crate::room::message::{ALERT_EVENT, CI_EVENT, DEFAULT_EVENT};

/// A sender of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Forgejo, Codeberg's.
    Forgejo,
    /// Gitea, and Gogs, whose deliveries are a subset of Gitea's.
    Gitea,
    /// gitlab.com and every other GitLab.
    GitLab,
    /// github.com and GitHub Enterprise.
    GitHub,
    /// Prometheus' Alertmanager.
    Alertmanager,
    /// Grafana's alerts, which come in Alertmanager's shape.
    Grafana,
    /// Anything else that posts JSON.
    Json,
}

type Names = &'static [&'static str];

/// A row for each sender: its name in `fields` and in a path, the event of its messages, the headers that name an
/// event, and the headers that name a delivery and stay the same when it is sent again. Forgejo also sends Gitea's
/// headers, and both send GitHub's. So a delivery comes from the first sender whose header it has.
///
/// X-Gitlab-Event-UUID names no delivery: events that one request caused share it.
const SENDERS: [(Sender, &str, &str, Names, Names); 7] = [
    (Sender::Forgejo, "forgejo", CI_EVENT, &["X-Forgejo-Event"], GITEAS),
    (Sender::Gitea, "gitea", CI_EVENT, &["X-Gitea-Event", "X-Gogs-Event"], GITEAS),
    (Sender::GitLab, "gitlab", CI_EVENT, &["X-Gitlab-Event"], &["Idempotency-Key", "webhook-id"]),
    (Sender::GitHub, "github", CI_EVENT, &["X-GitHub-Event"], &["X-GitHub-Delivery"]),
    (Sender::Alertmanager, "alertmanager", ALERT_EVENT, &[], &[]),
    (Sender::Grafana, "grafana", ALERT_EVENT, &[], &[]),
    (Sender::Json, "json", DEFAULT_EVENT, &[], &[]),
];

const GITEAS: Names = &["X-Forgejo-Delivery", "X-Gitea-Delivery", "X-Gogs-Delivery"];

/// Finds the value of a header by its name.
pub type Header<'a> = dyn Fn(&str) -> Option<&'a str> + 'a;

impl Sender {
    /// The sender that `/hook/NAME` is for.
    pub fn named(name: &str) -> Option<Sender> {
        SENDERS.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    /// The forge that has sent this, by its headers; `expected` if they do not say, or it is no forge.
    pub fn of(header: &Header<'_>, expected: Sender) -> Sender {
        let has_sent = |sender: &Sender| expected.is_forge() && sender.event_in(header).is_some();
        SENDERS.iter().map(|row| row.0).find(has_sent).unwrap_or(expected)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        SENDERS[self as usize].1
    }

    /// The event of its messages.
    pub fn event(self) -> &'static str {
        SENDERS[self as usize].2
    }

    /// Whether it is a forge.
    pub fn is_forge(self) -> bool {
        self.event() == CI_EVENT
    }

    /// The event, if the headers name one.
    pub fn event_in<'a>(self, header: &Header<'a>) -> Option<&'a str> {
        SENDERS[self as usize].3.iter().find_map(|name| header(name))
    }

    /// The name of the delivery, if the headers tell it.
    pub fn delivery_in<'a>(self, header: &Header<'a>) -> Option<&'a str> {
        SENDERS[self as usize].4.iter().find_map(|name| header(name))
    }
}
