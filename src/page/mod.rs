//! The dashboard: a page and its few files, part of the binary. Served as they stand in `src/page`, to browsers only;
//! there is nothing to build. The page is a client like any other: it hears messages through `/listen` and asks
//! `/now` and `/hosts`.

use std::hash::{DefaultHasher, Hasher};

use crate::http::answer::Answer;
use crate::http::exchange::{After, Exchange};

/// The page's content security policy: it may load its own files and talk to its own server, nothing else. No inline
/// script or style, no markup out of text (`trusted-types`: the one policy is for the address of the shared worker), no
/// framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types aloud";

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// The last part of its path; empty for the page itself.
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

const FILES: [File; 12] = [
    File { name: "", content_type: "text/html; charset=utf-8", text: include_str!("index.html") },
    File { name: "aloud.css", content_type: "text/css; charset=utf-8", text: include_str!("aloud.css") },
    File { name: "aloud.js", content_type: SCRIPT, text: include_str!("aloud.js") },
    File { name: "headline.js", content_type: SCRIPT, text: include_str!("headline.js") },
    File { name: "model.js", content_type: SCRIPT, text: include_str!("model.js") },
    File { name: "plot.js", content_type: SCRIPT, text: include_str!("plot.js") },
    File { name: "rows.js", content_type: SCRIPT, text: include_str!("rows.js") },
    File { name: "stream.js", content_type: SCRIPT, text: include_str!("stream.js") },
    File { name: "talk.js", content_type: SCRIPT, text: include_str!("talk.js") },
    File { name: "text.js", content_type: SCRIPT, text: include_str!("text.js") },
    File { name: "icon.svg", content_type: IMAGE, text: include_str!("icon.svg") },
    File { name: "icon-bad.svg", content_type: IMAGE, text: include_str!("icon-bad.svg") },
];

/// The page itself, for `/`.
pub const PAGE: &File = &FILES[0];

/// The file at `/page/NAME`.
pub fn file(name: &str) -> Option<&'static File> {
    FILES[1..].iter().find(|file| file.name == name)
}

/// Whether the page is wanted rather than the help: a browser names HTML. Curl's `*/*` does not.
pub fn is_wanted(exchange: &Exchange<'_>) -> bool {
    exchange.preferred(&["text/plain", "text/html"]) == Some(1)
}

/// Answers with `file`, or with 304 if the browser has it already (RFC 9110 section 13.1.2).
pub fn serve(exchange: Exchange<'_>, file: &File) -> After {
    let tag = tag(file.text);
    let known = has(exchange.header("If-None-Match").unwrap_or(""), &tag);
    let answer = if known { Answer::empty(304) } else { Answer::new(200, file.content_type, file.text) };
    let answer = Answer { caching: "no-cache", ..answer } // asked again each time, answered with 304
        .with("ETag", tag)
        .with("Content-Security-Policy", POLICY)
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer");
    exchange.answer(answer)
}

/// An entity tag for `text`. It changes with the text and with nothing else: the hasher's keys are fixed.
fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    format!("\"{:016x}\"", hasher.finish())
}

/// Whether the list `tags` of `If-None-Match` holds `tag`, by weak comparison.
fn has(tags: &str, tag: &str) -> bool {
    tags.trim() == "*" || tags.split(',').map(str::trim).any(|known| known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_stays_small_and_asks_nobody_else() {
        let bytes: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(bytes < 66_000, "{bytes} bytes");
        for file in &FILES {
            let foreign = file.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("src=\"http") && !foreign.contains("url(http"), "{}", file.name);
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!file.text.contains(forbidden), "{forbidden} in {}", file.name);
            }
        }
        for inline in ["<script>", "<style", " style=", " onclick="] {
            assert!(!PAGE.text.contains(inline), "{inline}");
        }
    }

    #[test]
    fn tags_are_compared_as_lists() {
        let tag = tag("x");
        let check = |tags: String, expected: bool| assert_eq!(has(&tags, &tag), expected, "{tags}");
        check(tag.clone(), true);
        check(format!("\"other\", W/{tag}"), true);
        check("*".to_owned(), true);
        check("\"other\"".to_owned(), false);
        check(String::new(), false);
        assert_ne!(tag, super::tag("y"));
    }
}
