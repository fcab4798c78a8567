//! The dashboard: a page and its few files, part of the binary, served to browsers only. The page is a client like any
//! other: it hears messages through `/listen`, or asks `/said` while nobody looks, asks `/now` and `/hosts`, and speaks
//! by `/say`.

use crate::http::{Answer, Exchange};

/// The page's content security policy: it may load its own files and talk to its own server, nothing else. No inline
/// script or style, no markup out of text (`trusted-types`: the one policy is for the address of the shared worker), no
/// framing. An image may be `data:`, which is how the page draws its icon with a count.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types aloud";

/// A file of the page.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// The last part of its path; empty for the page itself.
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
}

/// The text of a file that the build script has made (`scripts/build.rs`).
macro_rules! made {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $name))
    };
}

/// The page, its style and its script.
static FILES: [File; 3] = [
    File { name: "", content_type: "text/html; charset=utf-8", text: made!("index.html") },
    File { name: "aloud.css", content_type: "text/css; charset=utf-8", text: made!("aloud.css") },
    File { name: "aloud.js", content_type: "text/javascript; charset=utf-8", text: made!("aloud.js") },
];

/// The entity tag of every file. It changes with any of them, so a page that asks for one tells whether it is an old
/// page.
const TAG: &str = concat!("\"", env!("ALOUD_PAGE_TAG"), "\"");

/// The page itself, for `/`.
pub fn page() -> &'static File {
    &FILES[0]
}

/// The file at `/page/NAME`.
pub fn file(name: &str) -> Option<&'static File> {
    FILES[1..].iter().find(|file| file.name == name)
}

/// Whether the page is wanted rather than the help: a browser names HTML. Curl's `*/*` does not.
pub fn is_wanted(exchange: &Exchange<'_>) -> bool {
    exchange.preferred(&["text/plain", "text/html"]) == Some(1)
}

/// Answers with `file`, or with 304 if the browser has it already (RFC 9110 section 13.1.2).
pub fn answer(exchange: &Exchange<'_>, file: &File) -> Answer {
    let known = has(exchange.header("If-None-Match").unwrap_or(""), TAG);
    let answer = if known { Answer::empty(304) } else { Answer::new(200, file.content_type, file.text) };
    Answer { caching: "no-cache", ..answer } // asked again each time, answered with 304
        .with("ETag", TAG)
        .with("Content-Security-Policy", POLICY)
        .with("X-Content-Type-Options", "nosniff")
        .with("Referrer-Policy", "no-referrer")
}

/// Whether the list `tags` of `If-None-Match` holds `tag`, by weak comparison.
fn has(tags: &str, tag: &str) -> bool {
    tags.trim() == "*" || tags.split(',').map(str::trim).any(|known| known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
#[allow(dead_code)] // only cargo runs it
#[path = "../../scripts/build.rs"]
mod build;

#[cfg(test)]
mod tests {
    use super::build::{COMMENT, MODULES, SIGNS, lean, script, source, tag};
    use super::*;

    #[test]
    fn the_page_asks_nobody_else_and_makes_no_markup() {
        for file in &FILES {
            let foreign = file.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("src=\"http") && !foreign.contains("url(http"), "{}", file.name);
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!file.text.contains(forbidden), "{forbidden} in {}", file.name);
            }
        }
        for inline in ["<script>", "<style", " style=", " onclick="] {
            assert!(!page().text.contains(inline), "{inline}");
        }
    }

    #[test]
    fn one_script_is_made_of_modules_that_can_be_taken_line_by_line() {
        assert_eq!(lean("// no\na {\n  // no\n\n  b; // no\n}\n"), "a {\nb;\n}\n");
        for line in MODULES.map(source).iter().flat_map(|module| module.lines()) {
            let text = line.split(COMMENT).next().unwrap_or(line);
            let is_whole = |quote: char| text.starts_with("//") || text.matches(quote).count() % 2 == 0;
            assert!(is_whole('`'), "a text of several lines would lose its indentation: {line}");
            assert!(is_whole('\'') || !line.contains(COMMENT), "a text would be taken for a comment: {line}");
            let mut quoted = text.split('\'').skip(1).step_by(2);
            let signs = if text.starts_with("//") { &[][..] } else { &SIGNS };
            assert!(
                !quoted.any(|quoted| signs.iter().any(|sign| quoted.contains(sign))),
                "a text would change: {line}"
            );
            assert!(!line.starts_with("import ") || line.ends_with("';"), "an import is one line: {line}");
            assert!(!line.starts_with("export {") && !line.starts_with("export default"), "{line}");
        }
        assert!(!script().lines().any(|line| line.starts_with("import ") || line.starts_with("export ")));
    }

    #[test]
    fn tags_are_compared_as_lists() {
        let tag = format!("\"{}\"", tag("x"));
        let check = |tags: String, expected: bool| assert_eq!(has(&tags, &tag), expected, "{tags}");
        check(tag.clone(), true);
        check(format!("\"other\", W/{tag}"), true);
        check("*".to_owned(), true);
        check("\"other\"".to_owned(), false);
        check(String::new(), false);
        assert_ne!(super::build::tag("x"), super::build::tag("y"));
    }
}
