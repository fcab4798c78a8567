//! Routes: from a request to the one function that answers it. If there is none, the refusal says what would work.

use std::mem;

use crate::api::service::Service;
use crate::api::{listen, now, said, say, status};
use crate::config::{Bind, Config};
use crate::hook::{self, Sender};
use crate::hosts::beat::Report;
use crate::hosts::handlers;
use crate::http::auth::{self, Door};
use crate::http::{After, Answer, Exchange, Refusal, TEXT, head::BodyLimit};
use crate::names::{CHANNEL_DEPTH, PLAIN_NAME, is_channel, is_plain_name};
use crate::page;
use crate::text::shown;

/// The methods that at least one route answers.
const ANY_METHOD: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The methods of a route that only tells.
const READ: &str = "GET, HEAD, OPTIONS";

/// The most channels that one listener may name. Each is compared with every message.
const MOST_CHANNELS: usize = 32;

/// The headers that a page may want to send.
const HEADERS: &str = "Authorization, Content-Type, Last-Event-ID, Cache-Control";

/// The help that curl gets at `/`: commands, with a place for `curl` itself, which may need a socket file, and for the
/// server's host.
const HELP: &str = include_str!("help.txt");

/// The limit of a body that is sent to `path`. Of a delivery the beginning is kept: its sender would count a refusal as
/// a failure.
pub fn most_body(path: &str, config: &Config) -> BodyLimit {
    let takes_logs = path.starts_with("/beat/") && path.ends_with("/fail");
    let most = if takes_logs { hook::BODY_LIMIT } else { config.max_body };
    let is_hook = path.starts_with("/hook/");
    if is_hook { BodyLimit { most: usize::MAX, kept: hook::BODY_LIMIT } } else { BodyLimit::whole(most) }
}

/// The destination of a path.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Help,
    Say(&'a str),
    Listen(&'a str),
    Health,
    Metrics,
    Said(&'a str),
    Now(&'a str),
    Status,
    Badge,
    Hook(Sender, &'a str),
    Beat(&'a str, Report),
    Hosts,
    Page(&'static page::File),
}

impl Route<'_> {
    fn of(path: &str) -> Result<Route<'_>, Refusal> {
        let nowhere = || {
            let ways = "say at /say, listen at /listen, beat at /beat/HOST, read / for help";
            Refusal::new(404, format!("there is no {}; {ways}", shown(path)))
        };
        let below_root = path.strip_prefix('/').ok_or_else(nowhere)?;
        match split(below_root) {
            ("", None) => Ok(Route::Help),
            ("say", channel) => Ok(Route::Say(checked_channel(channel)?)),
            ("listen", channel) => Ok(Route::Listen(checked_channels(channel)?)),
            ("said", channel) => Ok(Route::Said(checked_channels(channel)?)),
            ("now", channel) => Ok(Route::Now(checked_channels(channel)?)),
            ("status", None) => Ok(Route::Status),
            ("status.svg", None) => Ok(Route::Badge),
            ("health", None) => Ok(Route::Health),
            ("metrics", None) => Ok(Route::Metrics),
            ("hook", Some(below)) => {
                let (sender, channel) = split(below);
                Ok(Route::Hook(Sender::named(sender).ok_or_else(nowhere)?, checked_channel(channel)?))
            }
            ("beat", Some(below)) => {
                let (host, report) = match split(below) {
                    (host, Some("start")) => (host, Report::Start),
                    (host, Some("fail")) => (host, Report::Fail),
                    _ => (below, Report::Beat),
                };
                if is_plain_name(host) {
                    return Ok(Route::Beat(host, report));
                }
                Err(Refusal::bad(format!("{} is no host name; send {PLAIN_NAME}", shown(host))))
            }
            ("hosts", None) => Ok(Route::Hosts),
            ("page", Some(name)) => page::file(name).map(Route::Page).ok_or_else(nowhere),
            _ => Err(nowhere()),
        }
    }

    /// The methods that it answers, as in the header `Allow`, the door that it lies behind, and the channel that it is
    /// about, or several with commas between. A route that tells nothing of the messages is open. One that is about all
    /// channels names none.
    fn rule(&self) -> (&'static str, Door, &str) {
        match self {
            Route::Help | Route::Health | Route::Page(_) => (READ, Door::Open, ""),
            Route::Metrics | Route::Hosts | Route::Status | Route::Badge => (READ, Door::Listen, ""),
            Route::Listen(channels) | Route::Said(channels) => (READ, Door::Listen, channels),
            Route::Now(channels) => ("GET, HEAD, DELETE, OPTIONS", Door::Listen, channels),
            Route::Beat(_, Report::Beat) => ("GET, POST, PUT, DELETE, OPTIONS", Door::Say, ""),
            Route::Beat(..) => ("GET, POST, PUT, OPTIONS", Door::Say, ""),
            Route::Say(channel) => ("GET, POST, PUT, PATCH, OPTIONS", Door::Say, channel),
            Route::Hook(_, channel) => ("POST, OPTIONS", Door::Say, channel),
        }
    }

    /// Checks that the method does something here, and that whoever asks may.
    fn admit(&self, exchange: &Exchange<'_>) -> Result<(), Refusal> {
        let (method, (allow, door, channel)) = (&*exchange.request.method, self.rule());
        if !allow.split(", ").any(|allowed| allowed == method) {
            let line = format!("{} does nothing here; send {allow}", shown(method));
            return Err(Refusal::new(405, line).with("Allow", allow));
        }
        let door = match self {
            Route::Now(_) if method == "DELETE" => Door::Say,
            // A sender that shares a secret with us proves itself in its own way: `hook` checks it.
            Route::Hook(..) if !exchange.config.hook_secrets.is_empty() => Door::Open,
            _ => door,
        };
        // Links from anywhere may open the page, and the page loads its own files.
        if !matches!(self, Route::Help | Route::Page(_)) {
            auth::check_origin(door, exchange)?;
        }
        auth::admit(door, channel, exchange)
    }
}

impl Service {
    /// Answers one request.
    pub fn answer(&self, exchange: &mut Exchange<'_>) -> After {
        self.take(exchange).unwrap_or_else(|refusal| self.refuse(exchange, &refusal))
    }

    /// Refuses a request. An `EventSource` that may succeed later is told so in its own way.
    pub fn refuse(&self, exchange: &mut Exchange<'_>, refusal: &Refusal) -> After {
        let listens = || matches!(Route::of(exchange.path()), Ok(Route::Listen(_)));
        if refusal.status == 503 && listens() && listen::wants_events(exchange) {
            return listen::turn_away(exchange, refusal);
        }
        exchange.refuse(refusal)
    }

    fn take(&self, exchange: &mut Exchange<'_>) -> Result<After, Refusal> {
        let path = exchange.path().to_owned();
        let route = Route::of(&path);
        // A long answer may have to wait for its client.
        if matches!(route, Ok(Route::Said(_) | Route::Now(_) | Route::Hosts)) && !exchange.patient {
            return Ok(After::AnswerAtLength(Box::new(mem::take(&mut exchange.request))));
        }
        let shown_path = path.split(['=', '%']).next().unwrap_or(""); // a token may stand behind a typing error
        log::debug!("{} asks {} {}", exchange.peer(), shown(&exchange.request.method), shown(shown_path));
        if path == "*" {
            return Ok(exchange.answer(preflight(ANY_METHOD, ""))); // OPTIONS for the server as a whole
        }
        let route = route?;
        if exchange.request.method == "OPTIONS" {
            let asked = exchange.header("Access-Control-Request-Headers").unwrap_or("");
            return Ok(exchange.answer(preflight(route.rule().0, asked)));
        }
        route.admit(exchange)?;
        let deletes = exchange.request.method == "DELETE";
        let answer = match route {
            Route::Help if page::is_wanted(exchange) => page::answer(exchange, page::page()),
            Route::Help => Answer::new(200, TEXT, self.help(exchange)),
            Route::Say(channel) => return say::say(exchange, channel),
            Route::Listen(channel) => return listen::listen(exchange, channel),
            Route::Health => status::health(&self.hub, self.started),
            Route::Metrics => status::metrics(&self.hub, self.started),
            Route::Said(channel) => return said::said(exchange, channel),
            Route::Now(channel) if deletes => return now::forget(exchange, channel),
            Route::Now(channel) => return now::now(exchange, channel),
            Route::Status => now::status(exchange)?,
            Route::Badge => now::badge(exchange)?,
            Route::Hook(sender, channel) => return hook::hook(exchange, sender, channel, &self.hooks),
            Route::Beat(host, _) if deletes => return handlers::forget(exchange, host, &self.hosts),
            Route::Beat(host, report) => return handlers::beat(exchange, host, report, &self.hosts),
            Route::Hosts => handlers::list(exchange, &self.hosts)?,
            Route::Page(file) => page::answer(exchange, file),
        };
        Ok(exchange.answer(answer))
    }

    /// The help that curl gets at `/`: commands that work as they stand, with the host that was asked, also through a
    /// proxy.
    fn help(&self, exchange: &Exchange<'_>) -> String {
        let plain = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:[]-_".contains(&byte));
        let host = exchange.header("Host").filter(plain).filter(|host| !host.is_empty()).unwrap_or("localhost:4000");
        let of_proxy = |name: &str| {
            let is_trusted = self.config.trust_proxy.trust(exchange.socket.peer_address());
            exchange.header(name).filter(|_| is_trusted)
        };
        let is_https = of_proxy("X-Forwarded-Proto") == Some("https");
        let page = format!("{}://{host}", if is_https { "https" } else { "http" });
        let host = if is_https { &page } else { host }; // curl takes a bare host for http
        let curl = match &self.config.bind {
            Bind::Unix(path) if of_proxy("X-Forwarded-For").is_none() => {
                format!("curl --unix-socket '{}'", path.display())
            }
            _ => "curl".to_owned(),
        };
        let guarded = [Door::Say, Door::Listen].iter().any(|door| auth::is_guarded(*door, &self.config));
        let token = if guarded { "\nThis server takes a token: give it to curl with -u :TOKEN\n" } else { "" };
        HELP.replace("{page}", &page).replace("{host}", host).replace("{curl}", &curl) + token
    }
}

/// The first segment of a path, and the rest below it; `None` if there is no rest.
fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(first, below)| (first, Some(below)))
}

/// The channel that a path names; empty if it names none.
///
/// # Errors
/// 400 if the name is no channel.
fn checked_channel(channel: Option<&str>) -> Result<&str, Refusal> {
    match channel {
        None => Ok(""),
        Some(channel) if is_channel(channel) => Ok(channel),
        Some(channel) => {
            let rule = format!("up to {CHANNEL_DEPTH} names of {PLAIN_NAME} joined by /, none of them . or ..");
            Err(Refusal::bad(format!("{} is no channel; send {rule}", shown(channel))))
        }
    }
}

/// The channels that a path names, with commas between; empty if it names none.
///
/// # Errors
/// 400 if one of the names is no channel, or there are too many.
fn checked_channels(channels: Option<&str>) -> Result<&str, Refusal> {
    let Some(names) = channels else { return Ok("") };
    if names.split(',').count() > MOST_CHANNELS {
        return Err(Refusal::bad(format!("these are too many channels; send at most {MOST_CHANNELS}")));
    }
    names.split(',').try_for_each(|name| checked_channel(Some(name)).map(drop)).map(|()| names)
}

/// The answer to a CORS preflight (WHATWG Fetch section 3.2.2), and to a plain OPTIONS. A page may send all headers
/// that it has `asked` for. Libraries add their own, such as `X-Requested-With`; a header that nobody reads does no
/// harm.
fn preflight(allow: &str, asked: &str) -> Answer {
    let is_list = asked.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~, ".contains(&byte));
    let headers = if is_list && !asked.is_empty() { asked } else { HEADERS };
    Answer::empty(204)
        .with("Allow", allow)
        .with("Access-Control-Allow-Methods", allow)
        .with("Access-Control-Allow-Headers", headers)
        .with("Access-Control-Max-Age", 86400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_routes() {
        let check = |path: &str, route: Route<'_>| assert_eq!(Route::of(path).unwrap(), route, "{path}");
        check("/", Route::Help);
        check("/say", Route::Say(""));
        check("/say/build/main", Route::Say("build/main"));
        check("/listen", Route::Listen(""));
        check("/listen/a", Route::Listen("a"));
        check("/beat/web-1.example", Route::Beat("web-1.example", Report::Beat));
        check("/beat/backup/start", Route::Beat("backup", Report::Start));
        check("/beat/backup/fail", Route::Beat("backup", Report::Fail));
        check("/hosts", Route::Hosts);
        check("/page/aloud.css", Route::Page(page::file("aloud.css").unwrap()));
        check("/health", Route::Health);
        check("/metrics", Route::Metrics);
        check("/said", Route::Said(""));
        check("/listen/a,b/c", Route::Listen("a,b/c"));
        check("/said/a,a", Route::Said("a,a"));
        check("/now/a,b", Route::Now("a,b"));
        let most = ["a"; 32].join(",");
        check(&format!("/listen/{most}"), Route::Listen(&most));
        check("/said/a/b", Route::Said("a/b"));
        check("/now", Route::Now(""));
        check("/now/a/b", Route::Now("a/b"));
        check("/status", Route::Status);
        check("/status.svg", Route::Badge);
        check("/hook/gitlab", Route::Hook(Sender::GitLab, ""));
        check("/hook/github/ci/app", Route::Hook(Sender::GitHub, "ci/app"));
        check("/hook/gitea", Route::Hook(Sender::Gitea, ""));
        check("/hook/forgejo/ci", Route::Hook(Sender::Forgejo, "ci"));
    }

    #[test]
    fn other_paths_are_refused_with_what_would_work() {
        let check = |path: &str, status: u16| assert_eq!(Route::of(path).unwrap_err().status, status, "{path}");
        for path in ["/beat", "/hosts/a", "/page", "/page/", "/page/x", "/page/index.html"] {
            check(path, 404);
        }
        for path in ["/beat/", "/beat/a/b", "/beat/a%20b"] {
            check(path, 400);
        }
        for path in [
            "/nothing",
            "/sayx",
            "/saids",
            "/listening",
            "say",
            "//say",
            "/a/b",
            "/health/a",
            "/metrics/",
            "*",
            "/hook",
            "/hook/",
            "/hook/svn",
            "/hook/svn/a",
        ] {
            check(path, 404);
        }
        for path in [
            "/say/",
            "/listen/",
            "/said/",
            "/say//a",
            "/say/a/",
            "/say/a%20b",
            "/say/a,b",
            "/hook/gitlab/a,b",
            "/listen/a,",
            "/listen/,a",
            "/said/a,b//c",
            &format!("/listen/{}", ["a"; 33].join(",")),
            "/say/1/2/3/4/5/6/7/8/9",
            "/hook/gitlab/",
        ] {
            check(path, 400);
        }
    }
}
