//! The solution of exercise 10.

use std::sync::Mutex;

use crossbeam_channel::{Receiver, Sender};

pub struct Letterbox {
    pub letters: Sender<String>,
    pub waiting: Receiver<String>,
    /// The socket. Only the one that has the pen writes.
    pub pen: Mutex<Vec<String>>,
}

impl Letterbox {
    /// Puts a letter in, and carries what it can. `worst_moment` is called when the box was found empty and the pen is
    /// not yet put down.
    pub fn say(&self, letter: &str, worst_moment: impl Fn()) {
        self.letters.send(letter.to_owned()).unwrap();
        while !self.waiting.is_empty() {
            let Ok(mut socket) = self.pen.try_lock() else { return }; // its holder looks again
            socket.extend(self.waiting.try_iter());
            worst_moment();
        } // the pen is put down, and only then looks its holder again
    }
}
