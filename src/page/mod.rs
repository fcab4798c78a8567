//! The dashboard: a page and its few files, part of the binary, served to browsers only. There is nothing to build. Its
//! script is written in modules, and served as one: a page that is asked for over a slow network takes three requests.
//! The page is a client like any other: it hears messages through `/listen`, or asks `/said` while nobody looks, asks
//! `/now` and `/hosts`, and speaks by `/say`.

use std::hash::{DefaultHasher, Hasher};
use std::sync::LazyLock;

use crate::http::answer::Answer;
use crate::http::exchange::{After, Exchange};

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
    text: String,
}

/// The modules of the script, in an order that compresses well. `aloud.js` is the last, because it begins at once.
const MODULES: [&str; 14] = [
    include_str!("model.js"),
    include_str!("rows.js"),
    include_str!("details.js"),
    include_str!("text.js"),
    include_str!("plot.js"),
    include_str!("headline.js"),
    include_str!("talk.js"),
    include_str!("screen.js"),
    include_str!("view.js"),
    include_str!("wall.js"),
    include_str!("stream.js"),
    include_str!("tell.js"),
    include_str!("door.js"),
    include_str!("aloud.js"),
];

const COMMENT: &str = " // ";

/// Signs of the script that stand in none of its texts, with the blanks and the ends of lines that it does without.
const SIGNS: [&str; 33] = [
    " => ", " === ", " !== ", " >= ", " <= ", " += ", " = ", " && ", " || ", " ?? ", " ? ", " : ", " + ", " - ", " * ",
    " / ", " < ", " > ", ") {", "{ ", " }", "), ", "], ", ", (", ", [", ", {", ", ...", "if (", ";\n", ",\n", "{\n",
    "(\n", "[\n",
];

static FILES: LazyLock<[File; 3]> = LazyLock::new(|| {
    let page = tight(lean(include_str!("index.html")), &[">\n<"]); // no part of a sentence ends so
    // Our style has no text in it that this could change.
    let style = tight(lean(include_str!("aloud.css")), &[": ", "; ", ", ", " {", "{ ", ";\n", ",\n", "{\n", "}\n"]);
    [
        File { name: "", content_type: "text/html; charset=utf-8", text: page },
        File { name: "aloud.css", content_type: "text/css; charset=utf-8", text: style },
        File { name: "aloud.js", content_type: "text/javascript; charset=utf-8", text: script() },
    ]
});

/// The entity tag of every file. It changes with any of them, so a page that asks for one tells whether it is an old
/// page.
static TAG: LazyLock<String> = LazyLock::new(|| tag(&FILES.each_ref().map(|file| file.text.as_str()).concat()));

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

/// One script out of all modules. They share one scope, so what a module imports is there, and what it exports too.
fn script() -> String {
    let text = lean(&MODULES.concat());
    let lines = text.lines().filter(|line| !line.starts_with("import "));
    tight(lines.flat_map(|line| [line.strip_prefix("export ").unwrap_or(line), "\n"]).collect(), &SIGNS)
}

/// `text` without the blanks and the ends of lines in `signs`, and without the last semicolon before a brace.
fn tight(text: String, signs: &[&str]) -> String {
    signs.iter().fold(text, |text, sign| text.replace(sign, &sign.replace([' ', '\n'], ""))).replace(";}", "}")
}

/// The lines of `text`, without their indentation and their comments, ` // like this`.
fn lean(text: &str) -> String {
    let lines = text.lines().map(|line| line.find(COMMENT).map_or(line, |comment| &line[..comment]));
    let lines = lines.map(str::trim).filter(|line| !["//", "/*"].iter().any(|comment| line.starts_with(comment)));
    lines.filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
}

/// Answers with `file`, or with 304 if the browser has it already (RFC 9110 section 13.1.2).
pub fn serve(exchange: Exchange<'_>, file: &File) -> After {
    let known = has(exchange.header("If-None-Match").unwrap_or(""), &TAG);
    let answer = if known { Answer::empty(304) } else { Answer::new(200, file.content_type, file.text.as_str()) };
    let answer = Answer { caching: "no-cache", ..answer } // asked again each time, answered with 304
        .with("ETag", &*TAG)
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
    fn the_page_asks_nobody_else_and_makes_no_markup() {
        for file in &*FILES {
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
        for line in MODULES.iter().flat_map(|module| module.lines()) {
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
