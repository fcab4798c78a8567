//! The web pages that may use the server (`--allow-origin`), known by the origins that browsers send (RFC 6454).

use url::Url;

/// The origins whose pages may use the server; none means every page.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Reads `*`, or origins between commas. `None` if one of them is written as no browser writes it: it would never
    /// match.
    pub fn read(text: &str) -> Option<Origins> {
        if text == "*" {
            return Some(Origins::default());
        }
        let origins = text.split(',').map(|origin| Some(origin.trim()).filter(|origin| is_origin(origin)));
        origins.map(|origin| origin.map(str::to_owned)).collect::<Option<_>>().map(Origins)
    }

    /// Whether every page may use the server.
    pub fn is_every(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `Access-Control-Allow-Origin`: the origin that `asked` if it is listed, else the first one listed.
    pub fn answer_to(&self, asked: Option<&str>) -> &str {
        let known = self.0.iter().find(|origin| asked == Some(origin));
        known.or(self.0.first()).map_or("*", String::as_str)
    }

    /// Whether pages of `origin` may use the server.
    pub fn hold(&self, origin: &str) -> bool {
        self.is_every() || self.0.iter().any(|known| known == origin)
    }
}

/// Whether a page of `origin` is one of the server's own. `host` is the name by which the server was reached. A browser
/// leaves out the default port in `origin`; a proxy may write it in `host`.
pub fn is_own(origin: &str, host: &str) -> bool {
    let scheme = origin.split("://").next().unwrap_or("");
    let origin_of = |address: &str| Url::parse(address).ok().map(|address| address.origin());
    origin_of(origin).is_some_and(|page| origin_of(&format!("{scheme}://{host}")) == Some(page))
}

/// Whether a browser may send `text` as `Origin` (WHATWG HTML section 7.1.1): scheme, host, and the port unless it is
/// the scheme's own, all in lower case, and nothing else. For a page without an address it sends `null`.
fn is_origin(text: &str) -> bool {
    let Ok(page) = Url::parse(text) else { return text == "null" };
    let port = page.port().map(|port| format!(":{port}")).unwrap_or_default();
    let written = page.host_str().map(|host| format!("{}://{host}{port}", page.scheme()));
    written.as_deref() == Some(text) && !text.contains(|char: char| char.is_ascii_uppercase() || char == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_only_as_a_browser_sends_it() {
        for good in [
            "*",
            "null",
            "https://a.example",
            "http://localhost:8080",
            "https://a.example,http://b.example:81, null",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "https://xn--jrgen-kva.example",
            "http://build_1.lan",
            "moz-extension://5c2d-1",
        ] {
            assert!(Origins::read(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "https://",
            "://a.example",
            "https://a.example/",
            "https://a.example/page",
            "https://a.example?x",
            "HTTPS://a.example",
            "https://A.example",
            "https://j\u{fc}rgen.example",
            "https://a.example:443",
            "http://a.example:80",
            "http://a.example:080",
            "http://a.example:",
            "http://a.example:x",
            "http://a.example:65536",
            "http://me@a.example",
            "http://*.example",
            "http://127.1",
            "http://[::0:1]",
            "http://::1",
            "https://a.example,",
            "https://a.example,*",
            "https://a.example https://b.example",
        ] {
            assert!(Origins::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_one_that_asked_is_named_if_it_is_allowed() {
        let check = |origins: &str, asked: Option<&str>, expected: &str| {
            assert_eq!(Origins::read(origins).unwrap().answer_to(asked), expected, "{origins} {asked:?}");
        };
        let two = "https://a.example,https://b.example";
        check("*", Some("https://c.example"), "*");
        check(two, Some("https://b.example"), "https://b.example");
        check(two, Some("https://c.example"), "https://a.example");
        check(two, None, "https://a.example");
    }

    #[test]
    fn a_page_of_the_server_is_known_by_its_host() {
        let check =
            |origin: &str, host: &str, expected: bool| assert_eq!(is_own(origin, host), expected, "{origin} {host}");
        check("http://host:4000", "host:4000", true);
        check("http://host:4000", "Host:4000", true);
        check("https://host", "host", true);
        check("https://host", "host:443", true);
        check("http://host", "host:80", true);
        check("http://host", "host:443", false);
        check("http://host:4001", "host:4000", false);
        check("http://other", "host", false);
        check("null", "", false);
        check("", "", false);
    }
}
