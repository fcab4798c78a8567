//! Promise: each figure of the lesson (`src/lesson.rs`) is one of `scripts/bench/results.md`, as it stands there now.

/// The sentences with figures. `{SCENARIO|ROW|SERVER}` is a cell of the results.
const SENTENCES: [&str; 11] = [
    "spends {1,000 listeners, 30 messages/s|CPU per delivery (us)|floor} us for each delivery",
    "its `/say` takes {1,000 listeners, 30 messages/s|`/say` p50 (ms)|nchan} ms (p50); aloud posts and answers, in \
     {1,000 listeners, 30 messages/s|`/say` p50 (ms)|aloud} ms",
    "with 1,000 listeners: {1,000 listeners, 30 messages/s|CPU per delivery (us)|aloud} us here, \
     {1,000 listeners, 30 messages/s|CPU per delivery (us)|go} us from a program in Go",
    "With 1,000 listeners a message is heard after {1,000 listeners, 30 messages/s|delivery p50 (ms)|aloud} ms (p50) \
     here and after {1,000 listeners, 30 messages/s|delivery p50 (ms)|axum} ms from axum on tokio. Flat out it is \
     {1,000 listeners, flat out|deliveries/s|aloud} deliveries a second against \
     {1,000 listeners, flat out|deliveries/s|axum}. A listener costs \
     {memory, 1,000 listeners|RSS per listener (kB)|aloud} kB here and \
     {memory, 1,000 listeners|RSS per listener (kB)|axum} kB there.",
    "16 clients that speak without a pause are served {`/say` flat out, 16 connections|requests/s|aloud} times a second \
     against {`/say` flat out, 16 connections|requests/s|axum}.",
    "the kernel needs {memory, 1,000 listeners|kernel memory per listener, both ends (kB)|aloud} kB against \
     {memory, 1,000 listeners|kernel memory per listener, both ends (kB)|axum} kB, and 2,000 listeners join at \
     {2,000 joins, at most 64 at a time|joins/s|aloud} a second against \
     {2,000 joins, at most 64 at a time|joins/s|axum}.",
    "a listener costs {memory, 1,000 listeners|RSS per listener (kB)|nchan} kB, and listeners join at \
     {2,000 joins, at most 64 at a time|joins/s|nchan} a second against \
     {2,000 joins, at most 64 at a time|joins/s|aloud}.",
    "`/say` takes {1,000 listeners, 30 messages/s|`/say` p50 (ms)|nchan} ms (p50, 1,000 listeners) against \
     {1,000 listeners, 30 messages/s|`/say` p50 (ms)|aloud} ms.",
    "hung up on {100 listeners, flat out|hung up on|go} of them in its worst round, and \
     {100 listeners, flat out|lost|go} deliveries were lost; here {100 listeners, flat out|hung up on|aloud} were \
     hung up on",
    "See chapter 2: {1,000 listeners, 30 messages/s|`/say` p50 (ms)|nchan} ms against \
     {1,000 listeners, 30 messages/s|`/say` p50 (ms)|aloud} ms when all goes well",
    "at the rate of the benchmark's paced scenario (200 messages a second)",
];

/// The cell of the results in `row` under the heading `scenario`, for `server`.
fn cell(results: &str, scenario: &str, row: &str, server: &str) -> String {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let (mut column, mut is_there) = (None, false);
    for line in results.lines().filter(|line| line.starts_with('|')).map(cells) {
        if line[1].is_empty() {
            column = line.iter().position(|name| name == server);
        } else if line[1].starts_with("**") {
            is_there = line[1] == format!("**{scenario}**");
        } else if let (true, true, Some(column)) = (is_there, line[1] == row, column) {
            return line[column].trim_end_matches('†').to_owned(); // the mark of one that lost too much
        }
    }
    panic!("scripts/bench/results.md has no {scenario}, {row}, {server}")
}

/// The sentence with its figures.
fn filled(sentence: &str, results: &str) -> String {
    let mut pieces = sentence.split(['{', '}']);
    let mut text = pieces.next().unwrap().to_owned();
    while let (Some(place), Some(rest)) = (pieces.next(), pieces.next()) {
        let [scenario, row, server] = place.split('|').collect::<Vec<_>>().try_into().unwrap();
        text += &cell(results, scenario, row, server);
        text += rest;
    }
    text
}

/// Whether a word is a unit of what is measured.
fn is_unit(word: &str) -> bool {
    ["ms", "us", "kB", "MB", "million", "deliveries", "times"].contains(&word.trim_end_matches(['.', ',', ';', ':']))
}

/// The measured figures in a text: numbers with a unit behind them, or with "a second".
fn figures(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let is_figure = |words: &[&str]| {
        let per_second = words[1] == "a" && words[2].starts_with("second");
        words[0].starts_with(|first: char| first.is_ascii_digit()) && (is_unit(words[1]) || per_second)
    };
    words.windows(3).filter(|words| is_figure(words)).map(|words| words.join(" ")).collect()
}

/// The lesson as running text.
fn prose(lesson: &str) -> String {
    let lines = lesson.lines().filter_map(|line| line.strip_prefix("//!"));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_figure_of_the_lesson_is_one_of_the_results() {
    let [lesson, results] =
        ["src/lesson.rs", "scripts/bench/results.md"].map(|path| std::fs::read_to_string(path).unwrap());
    let mut rest = prose(&lesson);
    for sentence in SENTENCES {
        let sentence = filled(sentence, &results);
        assert!(rest.contains(&sentence), "src/lesson.rs has to say\n{sentence}");
        rest = rest.replace(&sentence, "");
    }
    assert_eq!(figures(&rest), [""; 0], "these figures are in none of the sentences that are compared");
}

#[test]
fn a_figure_is_found_where_it_stands() {
    let results = "|  | aloud | go |\n|---|--:|--:|\n| **joins** | | |\n| p50 (ms) | 1.5 | 2 |\n\
                   | **says** | | |\n| p50 (ms) | 3 | 4 |\n";
    assert_eq!(filled("{says|p50 (ms)|go} ms, {joins|p50 (ms)|aloud} ms", results), "4 ms, 1.5 ms");
    assert_eq!(figures("in 5 ms, 1,000 listeners; 3 a second, no ms"), ["5 ms, 1,000", "3 a second,"]);
}
