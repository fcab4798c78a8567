//! The messages that a listener wants.

use crate::names::is_within;
use crate::room::message::{Message, QUIET_EVENTS};

/// Which messages a listener wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Hears this channel and everything below it; empty hears every channel.
    pub channel: String,
    /// Hears these events.
    pub events: Events,
}

/// Which events a listener wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Events {
    /// Everything but the [quiet ones](QUIET_EVENTS).
    AllButQuiet,
    /// Everything.
    All,
    /// The named ones.
    Only(Vec<String>),
}

impl Subscription {
    /// Whether `message` is wanted.
    pub fn takes(&self, message: &Message) -> bool {
        self.takes_kind(&message.channel, &message.event)
    }

    /// Whether a message on `channel` with this `event` is wanted.
    pub fn takes_kind(&self, channel: &str, event: &str) -> bool {
        is_within(channel, &self.channel)
            && match &self.events {
                Events::All => true,
                Events::AllButQuiet => !QUIET_EVENTS.contains(&event),
                Events::Only(events) => events.iter().any(|wanted| wanted == event),
            }
    }
}
