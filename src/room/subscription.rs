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
    /// Everything but the [quiet ones](QUIET_EVENTS), and what is [not said](Message::is_unsaid).
    AllButQuiet,
    /// Everything.
    All,
    /// The named ones.
    Only(Vec<String>),
}

impl Subscription {
    /// Whether `message` is wanted.
    pub fn takes(&self, message: &Message) -> bool {
        let is_quiet = self.events == Events::AllButQuiet && message.is_unsaid();
        self.takes_kind(&message.channel, &message.event) && !is_quiet
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::room::memory_wire::message;

    #[test]
    fn a_subscription_takes_its_channel_what_is_below_and_its_events() {
        let check = |channel: &str, events: Events, said_on: &str, event: &str, expected: bool| {
            let wants = Subscription { channel: channel.to_owned(), events };
            let mut message = message("x");
            message.channel = said_on.to_owned();
            message.event = event.to_owned().into();
            assert_eq!(wants.takes(&message), expected, "{wants:?} {said_on} {event}");
        };
        check("", Events::AllButQuiet, "", "message", true);
        check("", Events::AllButQuiet, "a/b", "ci", true);
        check("", Events::AllButQuiet, "", "host", false);
        check("", Events::AllButQuiet, "", "ci.update", false);
        check("", Events::All, "", "host", true);
        check("a", Events::All, "a", "message", true);
        check("a", Events::All, "a/b", "message", true);
        check("a", Events::All, "ab", "message", false);
        check("a", Events::All, "", "message", false);
        check("a/b", Events::All, "a", "message", false);
        check("", Events::Only(vec!["ci".to_owned(), "host".to_owned()]), "", "host", true);
        check("", Events::Only(vec!["ci".to_owned()]), "", "message", false);

        let hears = |events: Events, field: &str| {
            let fields = vec![(field.to_owned(), "12".to_owned())];
            let change = Message { event: "host-state".into(), fields, ..message("is late") };
            (Subscription { channel: String::new(), events }.takes(&change), change.is_kept())
        };
        assert_eq!(hears(Events::AllButQuiet, "silent"), (true, true));
        assert_eq!(hears(Events::AllButQuiet, "among"), (false, false));
        assert_eq!(hears(Events::AllButQuiet, "flaps"), (false, false));
        assert_eq!(hears(Events::All, "among"), (true, false));
        assert_eq!(hears(Events::Only(vec!["host-state".to_owned()]), "flaps"), (true, false));
    }
}
