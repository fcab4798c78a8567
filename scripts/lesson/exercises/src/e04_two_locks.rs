//! Exercise 4. One listener moves from the first room to the second, while another moves back. Each holds one lock and
//! waits for the other's, for ever. Give the locks an order that does not depend on who moves where.

use std::sync::Mutex;

use crossbeam_channel::Sender;

/// A room; no two have the same number.
pub struct Room {
    pub number: u32,
    pub listeners: Mutex<Vec<Sender<String>>>,
}

/// Moves the listener that came last to another room. `worst_moment` is called between the two locks.
pub fn move_last(from: &Room, to: &Room, worst_moment: impl FnOnce()) {
    let mut leaves = from.listeners.lock().unwrap();
    worst_moment();
    let mut enters = to.listeners.lock().unwrap();
    enters.extend(leaves.pop());
}
