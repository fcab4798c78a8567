//! Many hosts may change to one state in one moment, because a network fails or a server comes back. One line says them
//! all. Each host's own message has a field, `among`, and is heard only by listeners that ask for it.
//!
//! All servers follow those messages, so all know of which hosts no line has spoken yet (`Host::untold`). The line says
//! up to which id it speaks of them. So servers that make a line at once say one, and no host is left out.

use std::time::{Duration, Instant};

use crate::hosts::host::{Announcement, Host, State, announcement};
use crate::room::{Message, message::STATE};

/// More hosts than this that change in one moment are a crowd.
pub(super) const MOST_ALONE: usize = 3;

/// The field of the line: up to which id it speaks of the hosts.
const UNTIL: &str = "until";

/// The time between two lines about one state: one interval of the hosts, within these bounds. If hosts fall silent
/// together, they are missed within one interval. So there are two lines, seldom more.
const SHORTEST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The lines about one state.
#[derive(Default)]
pub(super) struct Lines {
    /// No line is said before this moment, because one was said a short while ago.
    pub(super) pause: Option<Instant>,
    /// The id of the last line.
    last: u64,
}

impl Lines {
    /// The line about the `untold` hosts: `12 hosts are late: web1, web2 and 10 more`.
    pub(super) fn line(&self, state: State, untold: &[&Host]) -> Announcement {
        let (count, word) = (untold.len(), state.word());
        let line = match untold {
            [one] => format!("1 host is {word}: {}", one.name),
            [one, two] => format!("2 hosts are {word}: {} and {}", one.name, two.name),
            [one, two, ..] => format!("{count} hosts are {word}: {}, {} and {} more", one.name, two.name, count - 2),
            [] => String::new(),
        };
        let until = untold.iter().filter_map(|host| host.untold).max().unwrap_or(0);
        let fields = [(STATE, word.to_owned()), ("hosts", count.to_string()), (UNTIL, until.to_string())];
        let fields = fields.map(|(key, value)| (key.to_owned(), value)).to_vec();
        announcement("", state, self.last, line, fields)
    }

    /// Follows a `line` that was said about some of these `hosts`, which are in its state.
    pub(super) fn follow<'a>(&mut self, line: &Message, hosts: impl Iterator<Item = &'a mut Host>, now: Instant) {
        let Some(until) = line.field(UNTIL).and_then(|until| until.parse::<u64>().ok()) else { return };
        let told = hosts.filter_map(|host| host.untold.take_if(|id| *id <= until).map(|_| host.every));
        let longest = told.max().unwrap_or_default();
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
