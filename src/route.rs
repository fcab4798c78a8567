//! From a request to the one function that answers it, and to the refusals that help where there is none.

use std::sync::Arc;

use tiny_http::{Method, Request};

use crate::config::{Bind, Config};
use crate::door::{self, Door};
use crate::exchange::{After, Answer, Exchange, Refusal, TEXT, shown};
use crate::gate::path_of;
use crate::hook::{self, Forge, Memory};
use crate::hub::{Hub, Refused};
use crate::message::{CHANNEL_DEPTH, NAME_LIMIT, is_channel};
use crate::socket::Socket;
use crate::{listen, said, say, status};

/// Seconds after which a client that found no room is asked to come back.
pub const RETRY_AFTER: &str = "5";

/// What every request can reach.
pub struct Service {
    /// What the user set.
    pub config: Config,
    /// Who listens and what was said.
    pub hub: Hub,
    /// What the forges have said lately.
    pub hooks: Memory,
}

/// What came of a request.
pub struct Outcome {
    /// What the connection does then.
    pub after: After,
    /// How many listeners' letterboxes a message was put in: so many may have to be lent a hand.
    pub reached: usize,
}

impl From<After> for Outcome {
    fn from(after: After) -> Outcome {
        Outcome { after, reached: 0 }
    }
}

/// Whether the answer to `request` may be long, so that whoever sends it has to wait for the client.
pub fn answers_at_length(request: &Request) -> bool {
    let path = path_of(request.url()).split('?').next().unwrap_or("");
    matches!(Route::of(path), Ok(Route::Said(_)))
}

/// Whether the answer has to wait until a message is kept (see `desk.rs`).
pub fn waits_to_be_kept(exchange: &Exchange<'_>, hub: &Hub) -> bool {
    hub.desk().is_some() && matches!(Route::of(exchange.path()), Ok(Route::Say(_) | Route::Hook(..)))
}

/// The longest body that may be sent to `path`, in bytes.
pub fn most_body(path: &str, config: &Config) -> usize {
    match Route::of(path.split('?').next().unwrap_or(path)) {
        Ok(Route::Hook(..)) => hook::BODY_LIMIT,
        _ => config.max_body,
    }
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Help,
    Say(&'a str),
    Listen(&'a str),
    Health,
    Metrics,
    Said(&'a str),
    Hook(Forge, &'a str),
}

impl Route<'_> {
    fn of(path: &str) -> Result<Route<'_>, Refusal> {
        let (first, channel) = match path.strip_prefix('/').map(|below| below.split_once('/').ok_or(below)) {
            Some(Ok((first, channel))) => (first, Some(channel)),
            Some(Err(first)) => (first, None),
            None => ("*", None), // `OPTIONS *` and whatever else is no path
        };
        // A hook's path names the forge before the channel.
        let (forge, channel) = match (first, channel) {
            ("hook", Some(below)) => {
                below.split_once('/').map_or((below, None), |(forge, channel)| (forge, Some(channel)))
            }
            _ => ("", channel),
        };
        if let (Some(channel), "say" | "listen" | "said" | "hook") = (channel, first)
            && !is_channel(channel)
        {
            return Err(Refusal::new(
                400,
                format!(
                    "{} is no channel; send up to {CHANNEL_DEPTH} names of 1 to {NAME_LIMIT} of A-Z a-z 0-9 _ . - joined by /",
                    shown(channel)
                ),
            ));
        }
        if let Some(forge) = Forge::named(forge) {
            return Ok(Route::Hook(forge, channel.unwrap_or("")));
        }
        match (first, channel) {
            ("", None) => Ok(Route::Help),
            ("say", channel) => Ok(Route::Say(channel.unwrap_or(""))),
            ("listen", channel) => Ok(Route::Listen(channel.unwrap_or(""))),
            ("health", None) => Ok(Route::Health),
            ("metrics", None) => Ok(Route::Metrics),
            ("said", channel) => Ok(Route::Said(channel.unwrap_or(""))),
            _ => Err(Refusal::new(
                404,
                format!("there is no {}; say at /say, listen at /listen, read / for help", shown(path)),
            )),
        }
    }

    /// The methods it answers, as in `Allow`.
    fn allow(&self) -> &'static str {
        match self {
            Route::Help | Route::Listen(_) | Route::Said(_) | Route::Health | Route::Metrics => "GET, HEAD, OPTIONS",
            Route::Say(_) => "GET, POST, PUT, PATCH, OPTIONS",
            Route::Hook(..) => "POST, OPTIONS",
        }
    }

    /// The door it lies behind: what tells nothing of what is said is open.
    fn door(&self, config: &Config) -> Door {
        match self {
            Route::Help | Route::Health => Door::Open,
            // A forge proves itself in its own way where the two share a secret; `hook` sees to it.
            Route::Hook(..) if config.hook_secret.is_some() => Door::Open,
            Route::Say(_) | Route::Hook(..) => Door::Say,
            Route::Listen(_) | Route::Said(_) | Route::Metrics => Door::Listen,
        }
    }
}

impl Service {
    /// A request that came on `socket`, on its way to its answer; the `last` one there if that is set.
    pub fn exchange<'a>(&'a self, request: Request, socket: &'a Arc<Socket>, last: bool) -> Exchange<'a> {
        Exchange::new(request, socket, &self.config, self.hub.counters(), last)
    }

    /// Answers one request.
    pub fn answer(&self, exchange: Exchange<'_>) -> Outcome {
        if log::log_enabled!(log::Level::Debug) {
            let url = door::without_token(exchange.url());
            log::debug!("{} asks {} {}", exchange.peer(), shown(exchange.method().as_str()), shown(&url));
        }
        let path = exchange.path().to_owned();
        let route = match Route::of(&path) {
            Ok(route) => route,
            Err(refusal) => return exchange.refuse(&refusal).into(),
        };
        let allow = route.allow();
        if *exchange.method() == Method::Options {
            return exchange.answer(preflight(allow)).into();
        }
        if !allow.split(", ").any(|method| method == exchange.method().as_str()) {
            let line = format!("{} does nothing here; send {allow}", shown(exchange.method().as_str()));
            return exchange.refuse(&Refusal::new(405, line).with("Allow", allow)).into();
        }
        if let Err(refusal) = door::admit(route.door(&self.config), &exchange) {
            return exchange.refuse(&refusal).into();
        }
        match route {
            Route::Help => {
                let help = self.help(exchange.header("Host"));
                exchange.answer(Answer::new(200, TEXT, help)).into()
            }
            Route::Say(channel) => say::say(exchange, channel, &self.hub),
            Route::Listen(channel) => listen::listen(exchange, channel, &self.hub).into(),
            Route::Health => exchange.answer(status::health(&self.hub)).into(),
            Route::Metrics => exchange.answer(status::metrics(&self.hub)).into(),
            Route::Said(channel) => said::said(exchange, channel, &self.hub).into(),
            Route::Hook(forge, channel) => hook::hook(exchange, forge, channel, &self.hub, &self.hooks),
        }
    }

    /// What curl gets at `/`: commands that work as they stand, with the host that was asked.
    fn help(&self, host: Option<&str>) -> String {
        let plain = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:[]-_".contains(&byte));
        let host = host.filter(plain).filter(|host| !host.is_empty()).unwrap_or("localhost:4000");
        let curl = match &self.config.bind {
            Bind::Unix(path) => format!("curl --unix-socket '{}'", path.display()),
            _ => "curl".to_owned(),
        };
        let guarded = self.config.say_token.is_some() || self.config.listen_token.is_some();
        let token = if guarded { "\nThis server takes a token: give it to curl with -u :TOKEN\n" } else { "" };
        format!(
            "aloud: say it once, everyone listening hears it\n\n\
             hear everything:     {curl} -sN {host}/listen\n\
             say something:       {curl} {host}/say -d 'name=Florian&message=Hi'\n\
             say a file:          {curl} -T FILE '{host}/say?name=Florian'\n\
             on a channel:        {curl} -sN {host}/listen/build\n\
             \x20                    {curl} {host}/say/build/main -d 'name=ci&message=done'\n\
             as JSON, as SSE:     {curl} -sN '{host}/listen?as=json'\n\
             \x20                    {curl} -sN '{host}/listen?as=sse'\n\
             what was said:       {curl} '{host}/said?last=5'\n\
             \x20                    {curl} -sN '{host}/listen?since=10m'\n\
             a forge's webhook:   http://{host}/hook/gitlab, also github, gitea, forgejo\n{token}"
        )
    }
}

/// The answer to a CORS preflight (WHATWG Fetch section 3.2.2), and to a plain OPTIONS.
fn preflight(allow: &str) -> Answer {
    Answer { status: 204, headers: String::new(), body: String::new() }
        .with("Allow", allow)
        .with("Access-Control-Allow-Methods", allow)
        .with("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID, Cache-Control")
        .with("Access-Control-Max-Age", 86400)
}

/// The hub's no, in HTTP.
pub fn refusal_of(refused: Refused) -> Refusal {
    match refused {
        Refused::Full => {
            Refusal::new(503, "as many listen as may; try again in a moment").with("Retry-After", RETRY_AFTER)
        }
        Refused::Stopping => {
            Refusal::new(503, "the server stops; try again in a moment").with("Retry-After", RETRY_AFTER)
        }
        Refused::NoRoom => {
            Refusal::new(507, "no room is left to keep the message; make room on the server's disk and say it again")
        }
        Refused::CannotKeep => {
            Refusal::new(503, "the message cannot be kept now; try again in a moment").with("Retry-After", RETRY_AFTER)
        }
    }
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
        check("/health", Route::Health);
        check("/metrics", Route::Metrics);
        check("/said", Route::Said(""));
        check("/said/a/b", Route::Said("a/b"));
        check("/hook/gitlab", Route::Hook(Forge::GitLab, ""));
        check("/hook/github/ci/app", Route::Hook(Forge::GitHub, "ci/app"));
        check("/hook/gitea", Route::Hook(Forge::Gitea, ""));
        check("/hook/forgejo/ci", Route::Hook(Forge::Forgejo, "ci"));
    }

    #[test]
    fn other_paths_are_refused_with_what_would_work() {
        let check = |path: &str, status: u16| assert_eq!(Route::of(path).unwrap_err().status, status, "{path}");
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
            "/say/1/2/3/4/5/6/7/8/9",
            "/hook/gitlab/",
        ] {
            check(path, 400);
        }
    }
}
