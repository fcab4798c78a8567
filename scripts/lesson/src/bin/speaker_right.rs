//! Blocked speakers, the right way: `try_send` never waits. A listener whose queue is full is hung up on, and can come
//! back; everyone else hears every message.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

/// Messages that may wait for one listener.
const QUEUE: usize = 2;

/// Says one message to all.
fn say(listeners: &mut Vec<SyncSender<u64>>, message: u64) {
    listeners.retain(|listener| listener.try_send(message).is_ok()); // right: full is an answer too
}

fn main() -> ExitCode {
    let ((asleep, never_read), (awake, hears)) = (sync_channel(QUEUE), sync_channel(QUEUE));
    let (signal, signals) = channel();
    // The listener that is awake says when it has heard a message, so that it is never the slow one.
    thread::spawn(move || hears.iter().for_each(|message: u64| signal.send(message).unwrap()));
    let mut listeners = vec![asleep, awake];
    for message in 1..=10 {
        say(&mut listeners, message);
        if signals.recv() != Ok(message) {
            eprintln!("message {message} did not come");
            return ExitCode::FAILURE;
        }
    }
    let waited = Receiver::iter(&never_read).count();
    println!("all ten came; the one asleep was hung up on, with {waited} in its queue");
    ExitCode::SUCCESS
}
