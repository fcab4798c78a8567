//! What was said lately, kept in memory for those who come later. Bounded by count and by bytes: the oldest goes first.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::message::Message;

/// The newest messages, oldest first. The hub's lock guards it, so what is kept and what is heard never disagree.
pub struct History {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    most_messages: usize,
    most_bytes: usize,
}

impl History {
    /// Keeps at most `most_messages` messages that weigh at most `most_bytes` together. Zero of either keeps none.
    pub fn new(most_messages: usize, most_bytes: usize) -> History {
        History { messages: VecDeque::new(), bytes: 0, most_messages, most_bytes }
    }

    /// Keeps `message` as the newest, and lets go of the oldest until both bounds hold.
    pub fn keep(&mut self, message: Arc<Message>) {
        self.bytes += message.weight();
        self.messages.push_back(message);
        while self.messages.len() > self.most_messages || self.bytes > self.most_bytes {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.weight();
        }
    }

    /// How many messages are kept, and how many bytes they weigh.
    pub fn size(&self) -> (usize, usize) {
        (self.messages.len(), self.bytes)
    }

    /// What is kept, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Arc<Message>> {
        self.messages.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;

    fn message(id: u64, text: &str) -> Arc<Message> {
        Arc::new(Message {
            id,
            time: id,
            event: Cow::Borrowed("message"),
            channel: String::new(),
            name: String::new(),
            message: text.to_owned(),
            fields: vec![],
        })
    }

    fn ids(history: &History) -> Vec<u64> {
        history.messages().map(|message| message.id).collect()
    }

    #[test]
    fn the_oldest_goes_when_the_count_is_reached() {
        let mut history = History::new(3, usize::MAX);
        (1..=5).for_each(|id| history.keep(message(id, "x")));
        assert_eq!(ids(&history), [3, 4, 5]);
    }

    #[test]
    fn the_oldest_goes_when_the_bytes_are_reached() {
        let one = message(1, &"x".repeat(1000)).weight();
        let mut history = History::new(100, 3 * one);
        (1..=5).for_each(|id| history.keep(message(id, &"x".repeat(1000))));
        assert_eq!(ids(&history), [3, 4, 5]);
        history.keep(message(6, &"x".repeat(2000)));
        assert_eq!(ids(&history), [5, 6], "a heavy one pushes out two");
    }

    #[test]
    fn zero_keeps_nothing() {
        let mut history = History::new(0, 1_000_000);
        history.keep(message(1, "x"));
        assert_eq!(ids(&history), [0u64; 0]);
        assert_eq!(history.bytes, 0);
    }
}
