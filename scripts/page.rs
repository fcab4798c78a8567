//! Makes the files of the dashboard out of those in `src/page`, before the binary is compiled. The script is written in
//! modules, and made one file: a page that is asked for over a slow network takes three requests.

use std::fs;
use std::path::Path;

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

/// Signs of the script that stand in none of its texts, with the blanks around them that it does without.
pub const SIGNS: [&str; 20] = [
    " => ", " === ", " !== ", " >= ", " <= ", " += ", " = ", " && ", " || ", " ?? ", " ? ", " : ", " + ", " - ", " * ",
    " < ", " > ", ") {", "{ ", " }",
];

/// Writes the page, its style and its script into `folder`.
pub fn write_into(folder: &Path) {
    // Our style has no text in it that this could change.
    let style = tight(lean(&source("aloud.css")), &[": ", "; ", ", ", " {", "{ "]);
    for (name, text) in [("index.html", lean(&source("index.html"))), ("aloud.css", style), ("aloud.js", script())] {
        fs::write(folder.join(name), text).expect("the folder for what is built can be written");
    }
}

/// The text of a file in `src/page`.
pub fn source(name: &str) -> String {
    fs::read_to_string(Path::new("src/page").join(name)).expect("the page's files are there")
}

/// One script out of all modules. They share one scope, so what a module imports is there, and what it exports too.
pub fn script() -> String {
    let text = lean(&MODULES.map(source).concat());
    let lines = text.lines().filter(|line| !line.starts_with("import "));
    tight(lines.flat_map(|line| [line.strip_prefix("export ").unwrap_or(line), "\n"]).collect(), &SIGNS)
}

/// `text` without the blanks around `signs`.
fn tight(text: String, signs: &[&str]) -> String {
    signs.iter().fold(text, |text, sign| text.replace(sign, &sign.replace(' ', "")))
}

/// The lines of `text`, without their indentation and their comments, ` // like this`.
pub fn lean(text: &str) -> String {
    let lines = text.lines().map(|line| line.find(COMMENT).map_or(line, |comment| &line[..comment]));
    let lines = lines.map(str::trim).filter(|line| !["//", "/*"].iter().any(|comment| line.starts_with(comment)));
    lines.filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect()
}
