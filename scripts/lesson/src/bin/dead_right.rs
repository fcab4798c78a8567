//! Dead listeners, the right way: whoever sends and finds nobody there strikes that listener off. The list is never
//! longer than by those who left since the last message (where that may be long ago, a heartbeat is a message).

use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

/// Says one message to all.
fn say(listeners: &mut Vec<Sender<u64>>, message: u64) {
    listeners.retain(|listener| listener.send(message).is_ok()); // right
}

fn main() -> ExitCode {
    let mut listeners = vec![];
    for message in 1..=1000 {
        let (listener, hears) = channel();
        listeners.push(listener);
        say(&mut listeners, message);
        drop(hears); // hangs up
    }
    say(&mut listeners, 1001);
    if listeners.is_empty() {
        println!("1000 came and left, and none is on the list");
        return ExitCode::SUCCESS;
    }
    eprintln!("{} are on the list, and nobody listens", listeners.len());
    ExitCode::FAILURE
}
