//! The solution of exercise 5.

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
        // The oldest that is kept comes after the next one that the listener wants to hear.
        let gap = self.kept.front().is_some_and(|(oldest, _)| *oldest > heard + 1);
        Missed { gap, messages }
    }
}
