//! `/hook/FORGE`: a forge's news of its pipelines, pushes and releases becomes one readable line for every listener,
//! and fields for the dashboard.
//!
//! ```text
//!   delivery ─▶ proof ─▶ payload ─▶ gitlab | github | gitea ─▶ notice ─▶ memory ─▶ hub
//!               secret    JSON       what it says               a line     said already?
//! ```
//!
//! A forge cannot read a refusal: it shows it to nobody and switches a hook off after a few. So every delivery that is
//! JSON gets an empty 200, even if aloud makes nothing of it. Only a bad secret is a 401, and a body that is no JSON a
//! 400. A field that is missing, null or of another type than documented counts as absent: the line gets shorter, and
//! without the fields that matter there is no line.
//!
//! **Noise stays out.** Queued, pending and repeated states are published as [`CI_UPDATE_EVENT`], which only listeners
//! that ask for it hear; all else as [`CI_EVENT`]. Redeliveries are not published again.

mod gitea;
mod github;
mod gitlab;
mod memory;
pub mod notice;
mod payload;
mod proof;
mod push;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use crate::clock;
use crate::http::answer::{Answer, TEXT};
use crate::http::auth::{self, Door};
use crate::http::exchange::{Exchange, Outcome};
use crate::http::refusal::Refusal;
use crate::journal;
use crate::room::hub::Hub;
use crate::room::message::{CI_EVENT, CI_UPDATE_EVENT, Digest, Receipt, Refused};
use crate::text::shown;

pub use memory::Memory;
use memory::Worth;
pub use notice::Notice;
use payload::Payload;

/// The largest delivery taken, in bytes. A pipeline of a hundred jobs is some 100 kB; a push of the most commits a
/// forge lists in full is a few hundred.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// A forge that sends webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forge {
    /// gitlab.com and every other GitLab.
    GitLab,
    /// github.com and GitHub Enterprise.
    GitHub,
    /// Gitea, and Gogs, whose deliveries are a subset of Gitea's.
    Gitea,
    /// Forgejo, Codeberg's.
    Forgejo,
}

/// Finds the value of a header by its name.
type Header<'a> = dyn Fn(&str) -> Option<&'a str> + 'a;

impl Forge {
    /// The forge that `/hook/NAME` is for.
    pub fn named(name: &str) -> Option<Forge> {
        match name {
            "gitlab" => Some(Forge::GitLab),
            "github" => Some(Forge::GitHub),
            "gitea" => Some(Forge::Gitea),
            "forgejo" => Some(Forge::Forgejo),
            _ => None,
        }
    }

    /// The forge that has sent this, by its headers; `expected` if they do not say. Forgejo also sends Gitea's headers,
    /// and both send GitHub's, so those come last.
    fn of(header: &Header<'_>, expected: Forge) -> Forge {
        let signs = [
            ("X-Forgejo-Event", Forge::Forgejo),
            ("X-Gitea-Event", Forge::Gitea),
            ("X-Gogs-Event", Forge::Gitea),
            ("X-Gitlab-Event", Forge::GitLab),
            ("X-GitHub-Event", Forge::GitHub),
        ];
        signs.iter().find(|(name, _)| header(name).is_some()).map_or(expected, |(_, forge)| *forge)
    }

    /// Its name in `fields`, and in a path.
    pub fn name(self) -> &'static str {
        match self {
            Forge::GitLab => "gitlab",
            Forge::GitHub => "github",
            Forge::Gitea => "gitea",
            Forge::Forgejo => "forgejo",
        }
    }

    /// The headers that name the event, most telling first.
    fn event_headers(self) -> &'static [&'static str] {
        match self {
            Forge::GitLab => &["X-Gitlab-Event"],
            Forge::GitHub => &["X-GitHub-Event"],
            Forge::Gitea => &["X-Gitea-Event", "X-Gogs-Event", "X-GitHub-Event"],
            Forge::Forgejo => &["X-Forgejo-Event", "X-Gitea-Event", "X-GitHub-Event"],
        }
    }

    /// The headers that name a delivery and stay the same when it is sent again, most telling first.
    fn delivery_headers(self) -> &'static [&'static str] {
        match self {
            // X-Gitlab-Event-UUID is not among them: events that one request caused share it.
            Forge::GitLab => &["Idempotency-Key", "webhook-id"],
            Forge::GitHub => &["X-GitHub-Delivery"],
            Forge::Gitea | Forge::Forgejo => &["X-Forgejo-Delivery", "X-Gitea-Delivery", "X-Gogs-Delivery"],
        }
    }
}

/// Reads a delivery; `None` if aloud makes nothing of it. `event` is the header that names the event. If it is empty,
/// as with a recorded delivery sent by hand, the payload tells.
pub fn read(forge: Forge, event: &str, payload: &Value) -> Option<Notice> {
    let payload = Payload::new(payload);
    match forge {
        Forge::GitLab => gitlab::read(event, payload),
        Forge::GitHub => github::read(event, payload),
        Forge::Gitea | Forge::Forgejo => gitea::read(event, payload),
    }
}

/// Takes a delivery for `/hook/EXPECTED/CHANNEL` in, publishes its line, and answers with an empty 200.
pub fn hook(mut exchange: Exchange<'_>, expected: Forge, channel: &str, hub: &Hub, memory: &Arc<Memory>) -> Outcome {
    let taken_in = match receive(&mut exchange, expected, channel, memory) {
        Ok(Some(taken_in)) => taken_in,
        Ok(None) => return exchange.answer(Answer::new(200, TEXT, "")).into(),
        Err(refusal) => return exchange.refuse(&refusal).into(),
    };
    let TakenIn { forge, notice, news, delivery } = taken_in;
    let event = if news == Worth::Said { CI_EVENT } else { CI_UPDATE_EVENT };
    let message = notice.clone().into_message(forge, event, channel);
    let memory = memory.clone();
    let answering = move |_: &Exchange<'_>, said: Result<Receipt, Refused>| {
        let answer = said.map(|_| Answer::new(200, TEXT, ""));
        answer.inspect_err(|_| memory.take_back(delivery, forge, &notice, news))
    };
    exchange.publish(hub, message, delivery, Box::new(answering))
}

/// A delivery that says something.
struct TakenIn {
    forge: Forge,
    notice: Notice,
    news: Worth,
    /// The digest of the delivery, if it has a name.
    delivery: Option<Digest>,
}

/// Takes a delivery in; `None` if it says nothing, or nothing new.
fn receive(
    exchange: &mut Exchange<'_>,
    expected: Forge,
    channel: &str,
    memory: &Memory,
) -> Result<Option<TakenIn>, Refusal> {
    let body = exchange.body()?;
    let header = |name: &str| exchange.header(name);
    let forge = Forge::of(&header, expected);
    if let Some(secret) = &exchange.config().hook_secret
        && !proof::holds(forge, secret, &header, &body, clock::machine_micros() / 1_000_000)
        && !auth::shows_token(Door::Say, channel, exchange)
    {
        journal::HOOKS
            .warn(format_args!("refused a hook of {}: it does not prove that it knows the secret", exchange.peer()));
        let line = format!("the hook does not prove its secret; set the one of --hook-secret in {}", forge.name());
        return Err(Refusal::new(401, line).with("WWW-Authenticate", "Bearer"));
    }
    let payload = json(&body)?;
    let delivery = memory::digest(&delivery(forge, channel, &header, &body));
    if memory.has_heard(delivery) {
        log::debug!("{} sent a delivery again, which was heard before", exchange.peer());
        return Ok(None);
    }
    let event = forge.event_headers().iter().find_map(|name| header(name)).unwrap_or("");
    let Some(notice) = read(forge, event, &payload) else {
        log::debug!("{} sent a delivery that is no message: {} {}", exchange.peer(), forge.name(), shown(event));
        return Ok(None);
    };
    let news = memory.news(forge, &notice);
    Ok((news != Worth::Late).then_some(TakenIn { forge, notice, news, delivery }))
}

/// The parts that identify this delivery; empty if nothing does. They include the channel, because a forge may give an
/// event one name in two hooks.
fn delivery<'a>(forge: Forge, channel: &'a str, header: &Header<'a>, body: &'a [u8]) -> Vec<&'a [u8]> {
    if let Some(name) = forge.delivery_headers().iter().find_map(|name| header(name)) {
        return vec![forge.name().as_bytes(), channel.as_bytes(), name.as_bytes()];
    }
    match header("X-Gitlab-Event-UUID") {
        // Before 17.4 GitLab does not name its deliveries. Then an equal event with an equal body counts as one
        // delivery.
        Some(event) => vec![forge.name().as_bytes(), channel.as_bytes(), event.as_bytes(), body],
        None => vec![],
    }
}

/// Parses the payload: the body, or the field `payload` of a form, as GitHub and Gitea send it if told so. A body that
/// looks like JSON counts as JSON whatever its type, because `curl -d @FILE` calls everything a form.
fn json(body: &[u8]) -> Result<Value, Refusal> {
    let text = match body.trim_ascii_start().first() {
        Some(b'{' | b'[') => String::from_utf8_lossy(body),
        _ => {
            form_urlencoded::parse(body).find(|(key, _)| key == "payload").map_or(Cow::Borrowed(""), |(_, value)| value)
        }
    };
    serde_json::from_str(&text).map_err(|_| {
        Refusal::new(
            400,
            "the body is no JSON; send what a forge sends, as application/json or in the form field payload",
        )
    })
}
