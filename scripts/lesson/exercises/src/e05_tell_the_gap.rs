//! Exercise 5. The history keeps the newest messages alone, so that memory has an end. A listener comes back with the id
//! it heard last, and gets what it missed. But some of that may be forgotten, and this history does not say so.

use std::collections::VecDeque;

/// The most messages that are kept.
pub const KEPT: usize = 3;

/// The messages that a listener missed.
#[derive(Debug, PartialEq)]
pub struct Missed {
    /// Whether some of it is forgotten.
    pub gap: bool,
    pub messages: Vec<(u64, String)>,
}

/// The newest messages, each with its id: 1, 2, 3 and so on.
#[derive(Default)]
pub struct History {
    last: u64,
    kept: VecDeque<(u64, String)>,
}

impl History {
    pub fn add(&mut self, message: &str) {
        self.last += 1;
        self.kept.push_back((self.last, message.to_owned()));
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }

    /// Everything after the message `heard`, which a listener heard last; 0 for one that has heard nothing.
    pub fn after(&self, heard: u64) -> Missed {
        let messages = self.kept.iter().filter(|(id, _)| *id > heard).cloned().collect();
        Missed { gap: false, messages }
    }
}
