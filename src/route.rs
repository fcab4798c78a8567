//! From a request to the one function that answers it, and to the refusals that help where there is none.

use std::sync::Arc;

use tiny_http::{Method, Request};

use crate::config::{Bind, Config, URL_LIMIT};
use crate::exchange::{After, Answer, Exchange, Refusal, TEXT, shown};
use crate::hook::{self, Forge, Memory};
use crate::hub::{Hub, Refused};
use crate::message::{CHANNEL_DEPTH, NAME_LIMIT, is_channel};
use crate::socket::Socket;
use crate::{listen, say};

/// Seconds after which a client that found no room is asked to come back.
const RETRY_AFTER: &str = "5";

/// What every request can reach.
pub struct Service {
    /// What the user set.
    pub config: Config,
    /// Who listens and what was said.
    pub hub: Hub,
    /// What the forges have said lately.
    pub hooks: Memory,
}

/// Where a path leads.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Help,
    Say(&'a str),
    Listen(&'a str),
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
        if let (Some(channel), "say" | "listen" | "hook") = (channel, first)
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
            _ => Err(Refusal::new(
                404,
                format!("there is no {}; say at /say, listen at /listen, read / for help", shown(path)),
            )),
        }
    }

    /// The methods it answers, as in `Allow`.
    fn allow(&self) -> &'static str {
        match self {
            Route::Help | Route::Listen(_) => "GET, HEAD, OPTIONS",
            Route::Say(_) => "GET, POST, PUT, PATCH, OPTIONS",
            Route::Hook(..) => "POST, OPTIONS",
        }
    }
}

impl Service {
    /// Answers one request that came on `socket`, where that is known. Where `spare_thread` is false nobody else is left
    /// to accept connections, so this conversation must not last.
    pub fn answer(&self, request: Request, socket: Option<&Arc<Socket>>, spare_thread: bool) -> After {
        let exchange = Exchange::new(request, socket, &self.config);
        log::debug!("{} asks {} {}", exchange.peer(), shown(exchange.method().as_str()), shown(exchange.url()));
        if exchange.url().len() > URL_LIMIT {
            let line = format!("the URL is longer than {URL_LIMIT} bytes; send the message in the body");
            return exchange.refuse(&Refusal::new(414, line));
        }
        let path = exchange.path().to_owned();
        let route = match Route::of(&path) {
            Ok(route) => route,
            Err(refusal) => return exchange.refuse(&refusal),
        };
        let allow = route.allow();
        if *exchange.method() == Method::Options {
            return exchange.answer(preflight(allow));
        }
        if !allow.split(", ").any(|method| method == exchange.method().as_str()) {
            let line = format!("{} does nothing here; send {allow}", shown(exchange.method().as_str()));
            return exchange.refuse(&Refusal::new(405, line).with("Allow", allow));
        }
        match route {
            Route::Help => {
                let help = self.help(exchange.header("Host"));
                exchange.answer(Answer::new(200, TEXT, help))
            }
            Route::Say(channel) => say::say(exchange, channel, &self.hub),
            Route::Listen(channel) => listen::listen(exchange, channel, &self.hub, spare_thread),
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
        format!(
            "aloud: say it once, everyone listening hears it\n\n\
             hear everything:     {curl} -sN {host}/listen\n\
             say something:       {curl} {host}/say -d 'name=Florian&message=Hi'\n\
             say a file:          {curl} -T FILE '{host}/say?name=Florian'\n\
             on a channel:        {curl} -sN {host}/listen/build\n\
             \x20                    {curl} {host}/say/build/main -d 'name=ci&message=done'\n\
             as JSON, as SSE:     {curl} -sN '{host}/listen?as=json'\n\
             \x20                    {curl} -sN '{host}/listen?as=sse'\n\
             a forge's webhook:   http://{host}/hook/gitlab, also github, gitea, forgejo\n"
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
            "/listening",
            "say",
            "//say",
            "/a/b",
            "*",
            "/hook",
            "/hook/",
            "/hook/svn",
            "/hook/svn/a",
        ] {
            check(path, 404);
        }
        for path in ["/say/", "/listen/", "/say//a", "/say/a/", "/say/a%20b", "/say/1/2/3/4/5/6/7/8/9", "/hook/gitlab/"]
        {
            check(path, 400);
        }
    }
}
