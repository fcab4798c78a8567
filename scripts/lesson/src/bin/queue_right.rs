//! Unbounded queues, the right way: a bound, and a decision about what happens at it. Here the listener is hung up on; to
//! drop the oldest, or the newest, would be others. To wait is the one that is none.

use std::process::ExitCode;
use std::sync::mpsc::sync_channel;

/// The most messages that may wait for one listener.
const QUEUE: usize = 256;

fn main() -> ExitCode {
    let (listener, sleeps) = sync_channel(QUEUE);
    for _ in 0..100_000 {
        if listener.try_send([0_u8; 100]).is_err() {
            break; // right: full, so it is hung up on
        }
    }
    drop(listener);
    let waiting = sleeps.iter().count();
    if waiting <= QUEUE {
        println!("{waiting} messages wait for one listener, which was hung up on then");
        return ExitCode::SUCCESS;
    }
    eprintln!("{waiting} messages wait for one listener, and nothing would have stopped at that");
    ExitCode::FAILURE
}
