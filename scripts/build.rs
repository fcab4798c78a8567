//! Tells the binary which sources it is made from, for `aloud --version`: the commit and its date, with a `+` after a
//! commit that was changed; `unknown` where git does not know, as in an unpacked archive. Makes the files of the page.

mod page;

use std::path::Path;
use std::process::Command;

/// All that a binary is made from.
const SOURCES: [&str; 6] = ["src", "scripts/build.rs", "scripts/page.rs", "Cargo.toml", "Cargo.lock", ".cargo"];

fn main() {
    // Git is asked again when one of these changes, and not at every build. A commit, a branch and a checkout each write
    // a line to the second of git's files.
    SOURCES.iter().for_each(|path| println!("cargo::rerun-if-changed={path}"));
    let files = ["HEAD", "logs/HEAD"].iter().filter_map(|file| git(&["rev-parse", "--git-path", file]));
    files.filter(|file| Path::new(file).exists()).for_each(|file| println!("cargo::rerun-if-changed={file}"));
    println!("cargo::rustc-env=ALOUD_BUILD={}", build().as_deref().unwrap_or("unknown"));
    if let Some(folder) = std::env::var_os("OUT_DIR") {
        page::write_into(Path::new(&folder));
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
