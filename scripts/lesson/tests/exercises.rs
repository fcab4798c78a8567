//! Promise: each exercise is red as it is given, and green with its solution, which changes its file and no test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The names of the exercises' files in `folder`.
fn files(folder: &str) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('e')).collect()
}

/// Runs the tests of the package `exercises` in `folder`, built in a folder of that `name`: cargo would take one copy for
/// the other. Returns the numbers of those that end with `verdict`.
fn run(folder: &Path, name: &str, verdict: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--offline", "--lib", "--package", "exercises"]).current_dir(folder);
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    let output = cargo.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    let tests = printed.lines().filter_map(|line| line.strip_prefix("test tests::")?.strip_suffix(verdict));
    tests.map(|name| name[..3].to_owned()).collect()
}

/// A copy of the workspace `lesson` without its programs, in which the exercises are solved.
fn solved() -> PathBuf {
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("solved");
    let _ = fs::remove_dir_all(&copy);
    fs::create_dir_all(copy.join("exercises/src")).unwrap();
    fs::create_dir_all(copy.join("src")).unwrap();
    fs::write(copy.join("src/lib.rs"), "").unwrap();
    let given = ["Cargo.toml", "Cargo.lock", "exercises/Cargo.toml", "exercises/src/lib.rs", "exercises/src/tests.rs"];
    for file in given {
        fs::copy(file, copy.join(file)).unwrap();
    }
    for file in files("tests/solutions") {
        fs::copy(Path::new("tests/solutions").join(&file), copy.join("exercises/src").join(&file)).unwrap();
    }
    copy
}

#[test]
fn each_exercise_is_red_until_it_is_solved() {
    let exercises = files("exercises/src");
    assert_eq!(exercises, files("tests/solutions"), "each exercise has a solution");
    let numbers: BTreeSet<String> = exercises.iter().map(|name| name[..3].to_owned()).collect();
    assert_eq!(numbers.len(), 10);
    assert_eq!(run(Path::new("."), "given-build", " ... FAILED"), numbers, "red as given");
    assert_eq!(run(&solved(), "solved-build", " ... ok"), numbers, "green when solved");
}
