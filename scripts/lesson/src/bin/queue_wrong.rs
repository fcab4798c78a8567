//! Unbounded queues, the wrong way: nobody waits and nothing is lost, until the memory is. One listener that does not
//! read costs as much as is said.

use std::process::ExitCode;
use std::sync::mpsc::channel;

/// The most messages that may wait for one listener.
const QUEUE: usize = 256;

fn main() -> ExitCode {
    let (listener, sleeps) = channel();
    for _ in 0..100_000 {
        if listener.send([0_u8; 100]).is_err() {
            break; // wrong: this never happens as long as it holds the receiver
        }
    }
    drop(listener);
    let waiting = sleeps.iter().count();
    if waiting <= QUEUE {
        return ExitCode::SUCCESS;
    }
    eprintln!("{waiting} messages wait for one listener, and nothing would have stopped at that");
    ExitCode::FAILURE
}
