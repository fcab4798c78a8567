//! Exercise 3. At most `MOST` may listen, and there are more. Rust is content: each touch of the list is under its lock.

use std::sync::Mutex;

use crossbeam_channel::Sender;

/// The most listeners that there may be.
pub const MOST: usize = 2;

/// Lets a listener in. Returns whether there was room.
pub fn join(room: &Mutex<Vec<Sender<String>>>, listener: Sender<String>, worst_moment: impl FnOnce()) -> bool {
    if room.lock().unwrap().len() >= MOST {
        return false;
    }
    worst_moment();
    room.lock().unwrap().push(listener);
    true
}
