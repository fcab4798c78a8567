//! Tells the binary which sources it is made from, for `aloud --version`: the commit and its date, with a `+` after a
//! commit that was changed; `unknown` where git does not know, as in an unpacked archive.
//!
//! Makes the files of the dashboard out of those in `src/page`. Its script is written in modules, and made one file: a
//! page that is asked for over a slow network takes three requests.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::process::Command;

/// All that a binary is made from.
const SOURCES: [&str; 5] = ["src", "scripts/build.rs", "Cargo.toml", "Cargo.lock", ".cargo"];

/// The folder of the page.
const PAGE: &str = "src/page";

/// The modules of the script, in an order that compresses well. `aloud.js` is the last, because it begins at once.
pub const MODULES: [&str; 14] = [
    "model.js",
    "rows.js",
    "details.js",
    "text.js",
    "plot.js",
    "headline.js",
    "talk.js",
    "screen.js",
    "view.js",
    "wall.js",
    "stream.js",
    "tell.js",
    "door.js",
    "aloud.js",
];

/// The beginning of a comment behind code.
pub const COMMENT: &str = " // ";

/// Signs of the script that stand in none of its texts, with the blanks and the ends of lines that it does without.
pub const SIGNS: [&str; 33] = [
    " => ", " === ", " !== ", " >= ", " <= ", " += ", " = ", " && ", " || ", " ?? ", " ? ", " : ", " + ", " - ", " * ",
    " / ", " < ", " > ", ") {", "{ ", " }", "), ", "], ", ", (", ", [", ", {", ", ...", "if (", ";\n", ",\n", "{\n",
    "(\n", "[\n",
];

fn main() {
    // Git is asked again when one of these changes, and not at every build. A commit, a branch and a checkout each write
    // a line to the second of git's files.
    SOURCES.iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
    let files = ["HEAD", "logs/HEAD"].iter().filter_map(|file| git(&["rev-parse", "--git-path", file]));
    files.filter(|file| Path::new(file).exists()).for_each(|file| println!("cargo::rerun-if-changed={file}"));
    println!("cargo::rustc-env=ALOUD_BUILD={}", build().as_deref().unwrap_or("unknown"));
    if let Some(folder) = std::env::var_os("OUT_DIR").filter(|_| Path::new(PAGE).exists()) {
        println!("cargo::rustc-env=ALOUD_PAGE_TAG={}", write_page(Path::new(&folder)));
    }
}

fn build() -> Option<String> {
    // Sources that lie in a repository of something else are no commit of it.
    git(&["rev-parse", "--show-prefix"]).filter(String::is_empty)?;
    let (commit, date) = (git(&["rev-parse", "--short=9", "HEAD"])?, git(&["log", "-1", "--format=%cs"])?);
    let changes = git(&[&["status", "--porcelain", "--"], &SOURCES[..]].concat())?;
    Some(format!("{commit}{}, {date}", if changes.is_empty() { "" } else { "+" }))
}

/// One line that git prints, if it is there and has no objection.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Writes the page, its style and its script into `folder`. Returns a tag that changes with each of them.
fn write_page(folder: &Path) -> String {
    let page = tight(lean(&source("index.html")), &[">\n<"]); // no part of a sentence ends so
    // Our style has no text in it that this could change.
    let signs = [": ", "; ", ", ", " {", "{ ", ";\n", ",\n", "{\n", "}\n"];
    let files =
        [("index.html", page), ("aloud.css", tight(lean(&source("aloud.css")), &signs)), ("aloud.js", script())];
    for (name, text) in &files {
        fs::write(folder.join(name), text).expect("the folder for what is built can be written");
    }
    tag(&files.map(|(_, text)| text).concat())
}

/// A tag for `text`. It changes with the text and with nothing else: the hasher's keys are fixed.
pub fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    format!("{:016x}", hasher.finish())
}

/// The text of a file in `src/page`.
pub fn source(name: &str) -> String {
    fs::read_to_string(Path::new(PAGE).join(name)).expect("the page's files are there")
}

/// One script out of all modules. They share one scope, so what a module imports is there, and what it exports too.
pub fn script() -> String {
    let text = lean(&MODULES.map(source).concat());
    let lines = text.lines().filter(|line| !line.starts_with("import "));
    tight(lines.flat_map(|line| [line.strip_prefix("export ").unwrap_or(line), "\n"]).collect(), &SIGNS)
}

/// `text` without the blanks and the ends of lines in `signs`, and without the last semicolon before a brace.
fn tight(text: String, signs: &[&str]) -> String {
    signs.iter().fold(text, |text, sign| text.replace(sign, &sign.replace([' ', '\n'], ""))).replace(";}", "}")
}

/// The lines of `text`, without their indentation and their comments, ` // like this`.
pub fn lean(text: &str) -> String {
    let lines = text.lines().map(|line| line.find(COMMENT).map_or(line, |comment| &line[..comment]));
    let lines = lines.map(str::trim).filter(|line| !["//", "/*"].iter().any(|comment| line.starts_with(comment)));
    lines.filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
}
