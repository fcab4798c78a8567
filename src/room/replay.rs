//! Earlier messages: the point from which on a client asks for them, and the answer. And those that were kept
//! from before the process began.

use std::sync::Arc;
use std::time::Duration;

use crate::room::message::Message;

/// The earlier messages that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The point from which on.
    pub point: Point,
    /// The most messages after that point; the newest ones.
    pub most: usize,
}

/// A point in the order of all messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Behind the newest.
    Now,
    /// Behind the message of this id.
    After(u64),
    /// So long ago, by the clock of this process.
    Ago(Duration),
    /// Before the oldest that is kept.
    Oldest,
}

impl Since {
    /// No earlier messages.
    pub const NOW: Since = Since { point: Point::Now, most: 0 };
    /// Everything that is kept.
    pub const OLDEST: Since = Since { point: Point::Oldest, most: usize::MAX };
}

/// The earlier messages that a client gets.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// The gap to tell first, if not everything asked for is kept.
    pub gap: Option<Gap>,
    /// The kept messages, the newest first: they are taken from the end.
    pub messages: Vec<Arc<Message>>,
}

/// A hole: messages after the id asked for are not kept, or may not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The id asked for.
    pub after: u64,
    /// The oldest id that is kept, on any channel; `None` if nothing is.
    pub oldest: Option<u64>,
}

impl Replay {
    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.gap.is_none() && self.messages.is_empty()
    }
}

/// The messages that a store kept from before the process began.
#[derive(Debug, Default)]
pub struct Restored {
    /// The time at which the store began, as an id. All ids it was ever given are larger.
    pub begun: u64,
    /// The newest id that it has forgotten; at first `begun`.
    pub forgotten: u64,
    /// The newest id that it was ever given; at first `begun`.
    pub last: u64,
    /// The messages it has, oldest first.
    pub messages: Vec<Arc<Message>>,
}
