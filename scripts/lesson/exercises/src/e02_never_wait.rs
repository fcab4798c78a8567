//! Exercise 2. One listener sleeps, its queue is full, and the speaker waits for it. Have the speaker wait for nobody. A
//! listener whose queue is full is hung up on.

use crossbeam_channel::Sender;

/// Says one line to all who are on the list. The queues are bounded.
pub fn say(listeners: &mut Vec<Sender<String>>, line: &str) {
    listeners.retain(|listener| listener.send(line.to_owned()).is_ok());
}
