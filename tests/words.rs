//! Promise: each comment can be understood where it stands. No sentence begins with "The same", which says nothing in
//! rustdoc where it stands alone, and none with Who, Whoever, What or Where as a relative clause. A question may.

use std::path::{Path, PathBuf};

const OPENERS: [&str; 7] = ["The same", "Who", "Whose", "Whoever", "What", "Whatever", "Where"];

/// All Rust files below `folder`, but what a build has left there.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| !path.ends_with("target"))
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The text of a comment that has the line to itself, without marks of lists, headings and emphasis.
fn comment(line: &str) -> Option<&str> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.trim_start_matches(['/', '!', ' ']))
}

/// Sentences that break the rule, each with the number of its paragraph's first line.
fn faults(source: &str) -> Vec<(usize, String)> {
    let mut paragraphs: Vec<(usize, String)> = vec![];
    let (mut continues, mut is_drawing) = (false, false);
    for (number, line) in (1..).zip(source.lines()) {
        let text = comment(line).unwrap_or("");
        is_drawing ^= text.starts_with("```");
        let begins = text.starts_with(['*', '#', '-', '|']);
        if !is_drawing && !text.is_empty() {
            match paragraphs.last_mut() {
                Some((_, paragraph)) if continues && !begins => *paragraph += &format!(" {text}"),
                _ => paragraphs.push((number, text.to_owned())),
            }
        }
        continues = !is_drawing && !text.is_empty() && !text.starts_with('#');
    }
    let sentences = paragraphs.iter().flat_map(|(number, paragraph)| {
        paragraph.split_inclusive(['.', '?', '!']).map(move |sentence| (*number, sentence.trim_start()))
    });
    let opens = |sentence: &str| {
        let words = sentence.trim_start_matches(['*', '#', '-', '|', ' ', '"']);
        OPENERS.iter().any(|opener| {
            words.strip_prefix(opener).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
        })
    };
    sentences
        .filter(|(_, sentence)| !sentence.ends_with('?') && opens(sentence))
        .map(|(number, sentence)| (number, sentence.to_owned()))
        .collect()
}

#[test]
fn no_comment_opens_with_a_relative_clause() {
    let mut found = vec![];
    for path in ["src", "tests", "scripts"].iter().flat_map(|folder| sources(Path::new(folder))) {
        let source = std::fs::read_to_string(&path).unwrap();
        found.extend(faults(&source).iter().map(|(number, text)| format!("{}:{number}: {text}", path.display())));
    }
    found.sort();
    assert_eq!(found, [""; 0], "{} sentences; say it with the subject first:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_rule_is_about_sentences() {
    let check = |source: &str, expected: &[usize]| {
        let numbers: Vec<usize> = faults(source).into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, expected, "{source}");
    };
    check("/// The same, but longer.\nfn f() {}", &[1]);
    check("fn f() {\n    // Who comes back\n    // is told.\n}", &[2]);
    check("//! One.\n//!\n//! It goes. Where it is full, it waits.", &[3]);
    check("//! **Who comes back** is told.\n//! * What is kept.\n//! # What is absent", &[1, 2, 3]);
    check(
        "/// Who holds the pen?\n/// Whole lines. The samewhat. It says what\n/// Who says.\nlet what = 1; // What",
        &[],
    );
    check("//! ```text\n//! Who ──▶ What\n//! ```\n//! ok", &[]);
}
