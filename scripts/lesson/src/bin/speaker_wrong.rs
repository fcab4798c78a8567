//! Blocked speakers, the wrong way: `send` waits while a listener's queue is full. One listener falls asleep, and nobody
//! hears anything any more.

use std::process::ExitCode;
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

/// Messages that may wait for one listener.
const QUEUE: usize = 2;

/// Says one message to all.
fn say(listeners: &mut Vec<SyncSender<u64>>, message: u64) {
    listeners.retain(|listener| listener.send(message).is_ok()); // wrong: waits for the slowest
}

fn main() -> ExitCode {
    let ((asleep, _never_read), (awake, hears)) = (sync_channel(QUEUE), sync_channel(QUEUE));
    let (signal, signals) = channel();
    thread::spawn(move || {
        let mut listeners = vec![asleep, awake];
        (1..=10).for_each(|message| say(&mut listeners, message));
    });
    thread::spawn(move || {
        hears.iter().for_each(|message| signal.send(message).unwrap());
    });
    let mut heard = 0;
    while heard < 10 {
        // This waits for a thread that waits for ever, so the limit only says when we have seen enough.
        let Ok(message) = signals.recv_timeout(Duration::from_secs(2)) else {
            eprintln!("message {} does not come: its speaker waits for a listener that sleeps", heard + 1);
            return ExitCode::FAILURE;
        };
        heard = message;
    }
    ExitCode::SUCCESS
}
