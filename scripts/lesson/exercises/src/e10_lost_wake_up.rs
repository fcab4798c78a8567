//! Exercise 10. All speakers write to one socket, and the one that holds the pen writes the letters of the others too, so
//! nobody waits. Now and then a letter is left lying until somebody speaks again. Find out when, and mend it: nobody may
//! wait for the pen.

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
        let Ok(mut socket) = self.pen.try_lock() else { return }; // its holder carries the letter
        socket.extend(self.waiting.try_iter());
        worst_moment();
    }
}
