//! Exercise 1. A listener that has left stays on the list for ever. Strike it off when it is found gone.

use crossbeam_channel::Sender;

/// Says one line to all who are on the list.
pub fn say(listeners: &mut Vec<Sender<String>>, line: &str) {
    for listener in listeners {
        let _ = listener.send(line.to_owned());
    }
}
