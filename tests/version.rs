//! Promise: `aloud --version` tells builds apart: by the commit and its date, by a `+` where that commit was changed, and
//! never by the commit of something else. Git is asked only when sources or commits have changed.

use std::path::Path;
use std::process::Command;

use crate::support::Folder;

fn run(folder: &Path, command: &str) -> String {
    let mut shell = Command::new("sh");
    let shell =
        shell.args(["-ec", command]).current_dir(folder).env_remove("GIT_DIR").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_build_names_its_commit_and_whether_that_was_changed() {
    let folder = Folder::new("version");
    let script = folder.0.join("script");
    let compiled = Command::new("rustc").args(["--edition", "2024", "scripts/build.rs", "-o"]).arg(&script).status();
    assert!(compiled.unwrap().success());
    let sources = folder.0.join("aloud");
    std::fs::create_dir_all(sources.join("src")).unwrap();
    let says = || run(&sources, &script.display().to_string());
    let build = || {
        let said = says();
        said.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=ALOUD_BUILD=")).unwrap().to_owned()
    };
    std::fs::write(sources.join("src/main.rs"), "fn main() {}").unwrap();
    assert_eq!(build(), "unknown", "sources without git");
    let commit = "git init -q && git add . && git -c user.name=a -c user.email=a@example commit -q -m One \
                  --date 2020-01-02T03:04:05Z && git rev-parse --short=9 HEAD";
    run(&folder.0, &format!("export GIT_COMMITTER_DATE=2020-01-02T03:04:05Z; {commit}"));
    assert_eq!(build(), "unknown", "sources in a repository of something else");
    let hash = run(&sources, &format!("export GIT_COMMITTER_DATE=2020-01-02T03:04:05Z; {commit}"));
    let hash = hash.trim();
    assert_eq!(build(), format!("{hash}, 2020-01-02"));
    std::fs::write(sources.join("notes"), "no source").unwrap();
    assert_eq!(build(), format!("{hash}, 2020-01-02"), "what no binary is made from");
    std::fs::write(sources.join("src/main.rs"), "fn main() { }").unwrap();
    assert_eq!(build(), format!("{hash}+, 2020-01-02"));
    // Cargo runs the script again for these alone.
    let watched = |said: String| said.lines().filter(|line| line.starts_with("cargo::rerun-if-changed=")).count();
    assert!(says().contains("rerun-if-changed=.git/logs/HEAD\n"), "{}", says());
    assert_eq!(watched(says()), 7, "{}", says());
}
