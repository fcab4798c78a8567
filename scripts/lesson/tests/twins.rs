//! Promise: each wrong twin fails, in the way it says, every time; its right twin does not.

use std::process::Command;

fn check(wrong: &str, right: &str, failure: &str) {
    for _ in 0..3 {
        let output = Command::new(wrong).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.trim_end()), (Some(1), failure), "{wrong}");
        let output = Command::new(right).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{right}");
    }
}

/// Runs `NAME_wrong` and `NAME_right`.
macro_rules! check {
    ($name:literal, $failure:expr) => {
        check(
            env!(concat!("CARGO_BIN_EXE_", $name, "_wrong")),
            env!(concat!("CARGO_BIN_EXE_", $name, "_right")),
            $failure,
        )
    };
}

#[test]
fn two_listeners_hear_two_orders() {
    check!("order", "one hears [1, 2], the other [2, 1]");
}

#[test]
fn one_sleeper_holds_up_everyone() {
    check!("speaker", "message 3 does not come: its speaker waits for a listener that sleeps");
}

#[test]
fn the_list_fills_up_with_those_who_left() {
    check!("dead", "1000 are on the list, and nobody listens");
}

#[test]
fn one_sleeper_takes_all_memory() {
    check!("queue", "100000 messages wait for one listener, and nothing would have stopped at that");
}

#[test]
fn a_newcomer_misses_what_is_said_while_it_joins() {
    check!("list", "1, 2 and 3 were said, and [1, 3] was heard");
}
