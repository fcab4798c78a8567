//! The messages that a listener wants.

use crate::names::is_within;
use crate::room::message::{Message, QUIET_EVENTS};
use crate::room::standing::standing;

/// Which messages a listener wants.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Hears these channels, with commas between, and everything below them; empty hears every channel.
    pub channels: String,
    /// Hears these events.
    pub events: Events,
    /// Hears messages with one of these statuses, or with a status that [means](standing) one of them; empty hears
    /// those without a status too.
    pub statuses: Vec<String>,
}

/// Which events a listener wants.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Events {
    /// Everything but the [quiet ones](QUIET_EVENTS), and what is [not said](Message::is_unsaid).
    #[default]
    AllButQuiet,
    /// Everything.
    All,
    /// The named ones.
    Only(Vec<String>),
}

impl Subscription {
    /// Whether `message` is wanted.
    pub fn takes(&self, message: &Message) -> bool {
        let is_wanted = |wanted: &String| *wanted == message.status || wanted == standing(&message.status);
        self.takes_kind(&message.channel, &message.event)
            && (self.events != Events::AllButQuiet || !message.is_unsaid())
            && (self.statuses.is_empty() || self.statuses.iter().any(is_wanted))
    }

    /// The sign of the channels that are heard. If it has no bit in common with the [sign of a channel](sign_of),
    /// nothing that is said there is wanted.
    pub fn sign(&self) -> u64 {
        if self.channels.is_empty() {
            u64::MAX
        } else {
            self.channels.split(',').fold(0, |sign, top| sign | bit_of(top))
        }
    }

    /// Whether messages on `channel` with this `event` are wanted, apart from their status.
    pub fn takes_kind(&self, channel: &str, event: &str) -> bool {
        (self.channels.is_empty() || self.channels.split(',').any(|top| is_within(channel, top)))
            && match &self.events {
                Events::All => true,
                Events::AllButQuiet => !QUIET_EVENTS.contains(&event),
                Events::Only(events) => events.iter().any(|wanted| wanted == event),
            }
    }
}

/// The sign of `channel`: the bits of this channel and of all channels above it.
pub fn sign_of(channel: &str) -> u64 {
    let above = channel.match_indices('/').map(|(end, _)| &channel[..end]);
    above.fold(bit_of(channel), |sign, top| sign | bit_of(top))
}

/// One of 64 bits, which one channel always has, and others may have too (Fibonacci hashing).
fn bit_of(channel: &str) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    1 << (channel.bytes().fold(0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(GOLDEN)) >> 58)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::room::memory_wire::message;

    #[test]
    fn a_subscription_takes_its_channel_what_is_below_and_its_events() {
        let check = |channel: &str, events: Events, said_on: &str, event: &str, expected: bool| {
            let wants = Subscription { channels: channel.to_owned(), events, statuses: vec![] };
            let mut message = message("x");
            message.channel = said_on.to_owned();
            message.event = event.to_owned().into();
            assert_eq!(wants.takes(&message), expected, "{wants:?} {said_on} {event}");
            assert!(!expected || wants.sign() & sign_of(said_on) != 0, "{wants:?} {said_on}");
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
        check("c,a/b", Events::All, "a/b/x", "message", true);
        check("c,a/b", Events::All, "c", "message", true);
        check("c,a/b", Events::All, "a", "message", false);
        check("c,a/b", Events::All, "", "message", false);
        check("c,a/b", Events::AllButQuiet, "c", "host", false);
        check("", Events::Only(vec!["ci".to_owned(), "host".to_owned()]), "", "host", true);
        check("", Events::Only(vec!["ci".to_owned()]), "", "message", false);

        let hears = |events: Events, field: &str| {
            let fields = vec![(field.to_owned(), "12".to_owned())];
            let change = Message { event: "host-state".into(), fields, ..message("is late") };
            (Subscription { events, ..Subscription::default() }.takes(&change), change.is_kept())
        };
        assert_eq!(hears(Events::AllButQuiet, "silent"), (true, true));
        assert_eq!(hears(Events::AllButQuiet, "among"), (false, false));
        assert_eq!(hears(Events::AllButQuiet, "flaps"), (false, false));
        assert_eq!(hears(Events::All, "among"), (true, false));
        assert_eq!(hears(Events::Only(vec!["host-state".to_owned()]), "flaps"), (true, false));
    }

    #[test]
    fn a_status_is_wanted_as_it_stands_or_by_what_it_means() {
        let check = |statuses: &str, status: &str, expected: bool| {
            let statuses = statuses.split_terminator(',').map(str::to_owned).collect();
            let wants = Subscription { statuses, ..Subscription::default() };
            let message = Message { status: status.to_owned(), ..message("x") };
            assert_eq!(wants.takes(&message), expected, "{wants:?} {status:?}");
        };
        for status in ["", "bad", "up", "odd"] {
            check("", status, true);
        }
        for status in ["bad", "down", "failed", "firing", "error", "critical"] {
            check("bad", status, true);
            check("warn,ok", status, false);
        }
        check("warn,bad", "late", true);
        check("ok", "resolved", true);
        check("bad", "", false);
        check("odd", "odd", true);
        check("odd", "bad", false);
        check("firing", "firing", true);
        check("firing", "down", false);
    }
}
