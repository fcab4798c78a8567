//! The doors: speaking and listening. Each has a token, if the user has set one. A request that shows it gets in; it
//! can be sent in three ways. The refusal tells a wrong token from none, and costs equal work.

use std::borrow::Cow;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::Config;
use crate::http::exchange::Exchange;
use crate::http::refusal::Refusal;
use crate::origin;
use crate::secret::Secret;
use crate::text::shown;
pub use crate::tokens::Door;

/// The challenge for a request without a token (RFC 6750 section 3). Not `Basic`, though its password is taken: a
/// browser that was asked for one would then send it by itself with every request that any web page makes it send, and
/// `/say` speaks by GET. So nobody's browser is made to speak for others, and no dialog opens over a page that has its
/// own.
const CHALLENGE: &str = "Bearer realm=\"aloud\"";

/// The challenge for a request with a token that is not good here.
const WRONG_TOKEN: &str = "Bearer realm=\"aloud\", error=\"invalid_token\"";

/// Admits a request that may go through `door` to `channel`.
///
/// # Errors
/// 401 if the door has a token and the request does not show it.
pub fn admit(door: Door, channel: &str, exchange: &Exchange<'_>) -> Result<(), Refusal> {
    if !is_guarded(door, exchange.config) || shows_token(door, channel, exchange) {
        return Ok(());
    }
    let purpose = if door == Door::Say { "speaking" } else { "listening" };
    let none = offered(exchange).iter().all(|token| token.is_empty());
    let (wrong, challenge) =
        if none { ("takes a token here", CHALLENGE) } else { ("takes another token here than was sent", WRONG_TOKEN) };
    let send = "send Authorization: Bearer TOKEN, or curl -u :TOKEN, or ?token=TOKEN";
    Err(Refusal::new(401, format!("{purpose} {wrong}; {send}")).with("WWW-Authenticate", challenge))
}

/// Whether `door` asks for a token. A file of tokens guards both doors, even while it holds none.
pub fn is_guarded(door: Door, config: &Config) -> bool {
    door != Door::Open && (token(door, config).is_some() || config.tokens.is_some())
}

/// The token that a flag sets for `door`.
fn token(door: Door, config: &Config) -> Option<&Secret> {
    match door {
        Door::Open => None,
        Door::Say => config.say_token.as_ref(),
        Door::Listen => config.listen_token.as_ref(),
    }
}

/// Admits a request that no page sends, or whose page may use the server (`--allow-origin`). A page can make a browser
/// send a request without an `Origin`, for example for an image. Then `Sec-Fetch-Site` tells, which browsers send over
/// HTTPS and to localhost. A page of a neighbour's site (`same-site`) may show answers, but not speak.
///
/// # Errors
/// 403 if a page of another origin sends the request.
pub fn check_origin(door: Door, exchange: &Exchange<'_>) -> Result<(), Refusal> {
    let origins = &exchange.config.allow_origin;
    let site = exchange.header("Sec-Fetch-Site").unwrap_or("");
    let is_own = |origin: &str| site == "same-origin" || origin::is_own(origin, exchange.header("Host").unwrap_or(""));
    let page = match exchange.header("Origin") {
        _ if origins.is_every() => return Ok(()),
        Some(origin) if origins.hold(origin) || is_own(origin) => return Ok(()),
        Some(origin) => format!("pages of {}", shown(origin)),
        None if site == "cross-site" || (site == "same-site" && door == Door::Say) => "pages of other sites".to_owned(),
        None => return Ok(()),
    };
    Err(Refusal::new(403, format!("{page} may not use this server; ask from one that --allow-origin names")))
}

/// Whether a request shows a token for `door` and `channel`; false if the door has none.
pub fn shows_token(door: Door, channel: &str, exchange: &Exchange<'_>) -> bool {
    // All are compared, even if the request shows none: every refusal comes after equal work.
    let offered = offered(exchange);
    let (config, tokens) = (exchange.config, exchange.config.tokens.as_ref());
    let is_listed = door != Door::Open && tokens.is_some_and(|tokens| tokens.allow(&offered, door, channel));
    let is_flag = |offered: &[u8]| token(door, config).is_some_and(|token| token.is(offered));
    offered.iter().fold(is_listed, |found, offered| found | is_flag(offered))
}

/// Whether a request shows `secret` where a token may stand.
pub fn shows(secret: &Secret, exchange: &Exchange<'_>) -> bool {
    let [in_header, in_query] = offered(exchange);
    secret.is_in_header(&in_header) | secret.is(&in_query)
}

/// The tokens in the header and in the query; empty if there is none. Both count: a browser may send along a password
/// that was meant for something else.
fn offered<'a>(exchange: &'a Exchange<'_>) -> [Cow<'a, [u8]>; 2] {
    let in_query = exchange.query_value("token").unwrap_or_default().into_owned().into_bytes();
    [exchange.header("Authorization").and_then(in_authorization).unwrap_or_default(), in_query.into()]
}

/// The token in an `Authorization` header: the text after `Bearer` (RFC 6750 section 2.1), or, after `Basic`, the
/// password after the first colon (RFC 7617 section 2).
fn in_authorization(value: &str) -> Option<Cow<'_, [u8]>> {
    let (scheme, credentials) = value.trim().split_once(' ')?;
    let credentials = credentials.trim_start().as_bytes();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(Cow::Borrowed(credentials)),
        "basic" => {
            let mut password = STANDARD.decode(credentials).ok()?;
            let colon = password.iter().position(|byte| *byte == b':')?;
            Some(Cow::Owned(password.split_off(colon + 1)))
        }
        _ => None,
    }
}

/// A warning for a user who opened the server to more than this machine: who can come in without a token. `address` is
/// where it listens. It is `None` for a socket file, whose permissions say who comes in.
pub fn warning(config: &Config, address: Option<SocketAddr>) -> Option<String> {
    if address?.ip().to_canonical().is_loopback() {
        return None;
    }
    let who = match (is_guarded(Door::Say, config), is_guarded(Door::Listen, config)) {
        (false, false) => "speak and listen; --say-token and --listen-token restrict",
        (false, true) => "speak, with the listen token listen; --say-token restricts",
        (true, false) => "listen, with the say token speak; --listen-token restricts",
        (true, true) => return None,
    };
    Some(format!("Everybody who can reach it can {who} that"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_an_authorization_header() {
        let check = |header: &str, expected: Option<&str>| {
            assert_eq!(in_authorization(header).as_deref(), expected.map(str::as_bytes), "{header}");
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        check("Bearer hush", Some("hush"));
        check("bearer   hush ", Some("hush"));
        check(&basic(":hush"), Some("hush"));
        check(&basic("florian:hush"), Some("hush"));
        check(&basic("florian:hu:sh"), Some("hu:sh"));
        check(&basic("florian:"), Some(""));
        check(&basic("hush"), None);
        check("", None);
        check("Bearer", None);
        check("hush", None);
        check("Digest hush", None);
        check("Basic *", None);
        check("Basic \u{e4}", None);
    }

    #[test]
    fn who_opens_more_than_this_machine_is_told_who_comes_in() {
        let check = |address: &str, say: bool, listen: bool, expected: Option<&str>| {
            let token = |set: bool| set.then(|| Secret::read("hush").unwrap());
            let config = Config { say_token: token(say), listen_token: token(listen), ..Config::default() };
            let warning = warning(&config, address.parse().ok());
            assert_eq!(warning.is_some(), expected.is_some(), "{address} {say} {listen}");
            assert!(warning.as_deref().unwrap_or("").contains(expected.unwrap_or("")), "{warning:?} {expected:?}");
        };
        check("0.0.0.0:4000", false, false, Some("can speak and listen;"));
        check("[::]:4000", true, false, Some("can listen,"));
        check("10.0.0.1:4000", false, true, Some("can speak,"));
        check("10.0.0.1:4000", true, true, None);
        check("127.0.0.1:4000", false, false, None);
        check("127.1.2.3:4000", false, false, None);
        check("[::1]:4000", false, false, None);
        check("[::ffff:127.0.0.1]:4000", false, false, None);
        check("a socket file", false, false, None);
    }
}
