//! Promise: each wrong twin fails, in the way it says, every time; its right twin does not, and says what it shows.

use std::process::Command;

fn check(wrong: &str, right: &str, failure: &str, success: &str) {
    for _ in 0..3 {
        let output = Command::new(wrong).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.trim_end()), (Some(1), failure), "{wrong}");
        let output = Command::new(right).output().unwrap();
        let shown = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!((output.status.code(), shown), (Some(0), [format!("{success}\n"), String::new()]), "{right}");
    }
}

/// Runs `NAME_wrong` and `NAME_right`.
macro_rules! check {
    ($name:literal, $failure:literal, $success:literal) => {
        check(
            env!(concat!("CARGO_BIN_EXE_", $name, "_wrong")),
            env!(concat!("CARGO_BIN_EXE_", $name, "_right")),
            $failure,
            $success,
        )
    };
}

#[test]
fn two_listeners_hear_two_orders() {
    check!("order", "one hears [1, 2], the other [2, 1]", "both hear [1, 2]");
}

#[test]
fn one_sleeper_holds_up_everyone() {
    check!(
        "speaker",
        "message 3 does not come: its speaker waits for a listener that sleeps",
        "all ten came; the one asleep was hung up on, with 2 in its queue"
    );
}

#[test]
fn the_list_fills_up_with_those_who_left() {
    check!("dead", "1000 are on the list, and nobody listens", "1000 came and left, and none is on the list");
}

#[test]
fn one_sleeper_takes_all_memory() {
    check!(
        "queue",
        "100000 messages wait for one listener, and nothing would have stopped at that",
        "256 messages wait for one listener, which was hung up on then"
    );
}

#[test]
fn a_newcomer_misses_what_is_said_while_it_joins() {
    check!("list", "1, 2 and 3 were said, and [1, 3] was heard", "1, 2 and 3 were said, and [1, 2, 3] was heard");
}
