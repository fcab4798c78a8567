//! Dead listeners, the wrong way: who has left stays on the list. Nothing breaks, and everything grows: memory, and the
//! time that each message takes.

use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

/// Says one message to all.
fn say(listeners: &[Sender<u64>], message: u64) {
    for listener in listeners {
        let _ = listener.send(message); // wrong: the error said that nobody is there
    }
}

fn main() -> ExitCode {
    let mut listeners = vec![];
    for message in 1..=1000 {
        let (listener, hears) = channel();
        listeners.push(listener);
        say(&listeners, message);
        drop(hears); // hangs up
    }
    say(&listeners, 1001);
    if listeners.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{} are on the list, and nobody listens", listeners.len());
    ExitCode::FAILURE
}
