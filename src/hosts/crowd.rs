//! Many hosts that change to one state in one moment, because a network fails or a server comes back: they are said
//! together in one line. Each host's own message has a field, `among`, and is heard only by those who ask for it.
//!
//! All servers follow those messages, so all know which hosts are [untold](Crowd::note). The line says up to which id
//! it speaks of them. So servers that make a line at once say one, and no host is left out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::hosts::host::{Announcement, State, message};
use crate::room::message::{HOST_STATE_EVENT, Message, digest_of};

/// More hosts than this that change in one moment are a crowd.
pub(super) const MOST_ALONE: usize = 3;

/// The field of a host's own message: how many it is among.
pub(super) const AMONG: &str = "among";

/// The field of the line: up to which id it speaks of the hosts.
const UNTIL: &str = "until";

/// The time between two lines about one state: one interval of the hosts, within these bounds. If hosts fall silent
/// together, they are missed within one interval. So there are two lines, seldom more.
const SHORTEST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Hosts that have changed to one state.
#[derive(Default)]
pub(super) struct Crowd {
    /// The hosts that no line has spoken of, each after the id of its message.
    untold: VecDeque<(u64, String)>,
    /// No line is said before.
    pause: Option<Instant>,
    /// The id of the last line.
    last: u64,
}

impl Crowd {
    /// Whether a host that changes now belongs to it.
    pub(super) fn gathers(&self, now: Instant) -> bool {
        !self.untold.is_empty() || self.pause.is_some_and(|pause| now < pause)
    }

    /// Whether there is a line to say.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.untold.is_empty() && self.pause.is_none_or(|pause| now >= pause)
    }

    /// Notes the message with this id, by which `host` came to it.
    pub(super) fn note(&mut self, id: u64, host: &str) {
        self.untold.push_back((id, host.to_owned()));
    }

    /// Notes that `host` is in another state now.
    pub(super) fn forget(&mut self, host: &str) {
        self.untold.retain(|(_, name)| name != host);
    }

    /// The line: `12 hosts are late: web1, web2 and 10 more`.
    pub(super) fn line(&self, state: State) -> Announcement {
        let count = self.untold.len();
        let name = |place: usize| self.untold.get(place).map_or("", |(_, name)| name);
        let word = state.word();
        let line = match count {
            1 => format!("1 host is {word}: {}", name(0)),
            2 => format!("2 hosts are {word}: {} and {}", name(0), name(1)),
            _ => format!("{count} hosts are {word}: {}, {} and {} more", name(0), name(1), count - 2),
        };
        let until = self.untold.back().map_or(0, |(id, _)| *id);
        let fields = [("state", word.to_owned()), ("hosts", count.to_string()), (UNTIL, until.to_string())];
        let fields = fields.map(|(key, value)| (key.to_owned(), value)).to_vec();
        let message = Message { status: word.to_owned(), ..message(HOST_STATE_EVENT, "", line, fields) };
        let once = Some(digest_of(&[HOST_STATE_EVENT.as_bytes(), b"", word.as_bytes(), &self.last.to_be_bytes()]));
        Announcement { message, once }
    }

    /// Follows a `line` that was said. `every` tells the interval of a host.
    pub(super) fn follow(&mut self, line: &Message, every: impl Fn(&str) -> Duration, now: Instant) {
        let Some(until) = line.field(UNTIL).and_then(|until| until.parse::<u64>().ok()) else { return };
        let told = self.untold.partition_point(|(id, _)| *id <= until);
        let longest = self.untold.drain(..told).map(|(_, host)| every(&host)).max().unwrap_or_default();
        self.pause = Some(now + longest.clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        self.last = line.id;
    }
}

#[cfg(test)]
mod tests {
    use crate::hosts::beat::Report;
    use crate::hosts::story::Servers;

    /// So many hosts beat once, one after the other at several servers, within so many seconds.
    fn fall_silent(hosts: u64, within: u64, every: u64, until: u64) -> Vec<String> {
        let mut servers = Servers::new(3);
        for second in 0..until {
            servers.tick(second);
            for host in (0..hosts).filter(|host| host * within / hosts == second) {
                servers.report(host as usize % 3, second, &format!("h{host}"), Report::Beat, &format!("every={every}"));
            }
        }
        assert_eq!(servers.states(until).len() as u64, 3 * hosts);
        assert!(servers.things.all().all(|thing| thing.message.status == "down"), "each is known");
        servers.said.split_off(hosts as usize)
    }

    #[test]
    fn many_that_fall_silent_in_one_moment_are_said_in_one_line() {
        let lines = ["46:  12 hosts are late: h0, h1 and 10 more", "91:  12 hosts are down: h0, h1 and 10 more"];
        assert_eq!(fall_silent(12, 1, 30, 200), lines);
        let three = fall_silent(3, 1, 30, 200);
        assert_eq!((three.len(), three[0].as_str()), (6, "45: h0 is late: last heard 45 s ago"));
        let drop_by_drop = fall_silent(600, 30, 30, 300);
        let told = |line: &String| line.split(' ').nth(2).unwrap().parse::<u64>().unwrap();
        assert_eq!(drop_by_drop.len(), 4, "{drop_by_drop:?}");
        assert_eq!(drop_by_drop.iter().map(told).sum::<u64>(), 2 * 600, "nobody is left out: {drop_by_drop:?}");
    }
}
