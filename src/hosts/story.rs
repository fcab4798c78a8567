//! Stories for tests: what happens to hosts at which second, at one server or at several.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock;
use crate::hosts::beat::{Beat, Report};
use crate::hosts::host::{Announcement, State, message};
use crate::hosts::known::Hosts;
use crate::http::form::Pairs;
use crate::room::message::{HOST_EVENT, HOST_STATE_EVENT};
use crate::room::{Digest, Message, things::Things};

pub fn pairs(text: &str) -> Pairs {
    crate::http::form::pairs(text, None, b"").unwrap()
}

/// An event at one second.
pub enum Happens {
    Beats(&'static str),
    Starts,
    Fails(&'static str),
    Nothing,
    Forgotten,
    Restarts,
    /// Somebody says with the key of the host that it stands so.
    Says(&'static str),
}

/// Servers that are one conversation: all follow the messages of each.
pub struct Servers {
    pub each: Vec<Hosts>,
    start: Instant,
    pub ids: u64,
    digests: HashSet<Digest>,
    /// The messages without the beats, each after its second.
    pub said: Vec<String>,
    /// The newest word on each host. It outlives the servers.
    pub things: Things,
}

impl Servers {
    pub fn new(count: usize) -> Servers {
        let start = Instant::now();
        let each = (0..count).map(|_| Hosts::restore(&[], start)).collect();
        Servers { each, start, ids: 0, digests: HashSet::new(), said: vec![], things: Things::new(10_000) }
    }

    pub fn at(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    /// One of the servers says these changes.
    pub fn announce(&mut self, server: usize, second: u64, changes: impl IntoIterator<Item = Announcement>) {
        for Announcement { message, once } in changes {
            let host = message.name.clone();
            self.say(second, message, once);
            self.each[server].settle(&host);
        }
    }

    pub fn say(&mut self, second: u64, mut message: Message, once: Option<Digest>) {
        if once.is_some_and(|digest| !self.digests.insert(digest)) {
            return;
        }
        self.ids += 1;
        message.id = self.ids;
        message.time = second * 1_000_000;
        self.things.complete(&mut message);
        self.each.iter().for_each(|hosts| hosts.follow(&message, || self.at(second)));
        if message.event == HOST_STATE_EVENT && !message.is_unsaid() {
            self.said.push(format!("{second}: {} {}", message.name, message.message));
        }
        self.things.note(&Arc::new(message));
    }

    /// All servers look, then each says what it has found.
    pub fn tick(&mut self, second: u64) {
        let found: Vec<_> = self.each.iter().map(|hosts| hosts.tick(self.at(second)).0).collect();
        found.into_iter().enumerate().for_each(|(server, changes)| self.announce(server, second, changes));
    }

    pub fn beat(&mut self, server: usize, second: u64, figures: &str) {
        self.report(server, second, "web1", Report::Beat, figures);
    }

    pub fn report(&mut self, server: usize, second: u64, host: &str, report: Report, figures: &str) {
        let beat = Beat::read(pairs(figures), report).unwrap();
        let (change, beat) = self.each[server].beat(host, beat, self.at(second)).unwrap();
        assert_eq!(beat.event, HOST_EVENT, "every beat goes out");
        self.announce(server, second, change);
        self.say(second, beat, None);
    }

    /// All servers start anew.
    pub fn restart(&mut self, second: u64) {
        clock::set(Some(second * 1_000_000));
        let things: Vec<_> = self.things.all().cloned().collect();
        self.each = self.each.iter().map(|_| Hosts::restore(&things, self.at(second))).collect();
        clock::set(None);
    }

    pub fn states(&self, second: u64) -> Vec<State> {
        self.each.iter().flat_map(|hosts| hosts.list(self.at(second))).map(|host| host.state).collect()
    }
}

/// Plays `story` with a tick each second, and compares the messages. Plays it at one server, and at three servers
/// that get the beats in turn.
pub fn check(story: &[(u64, Happens)], expected: &[&str]) {
    for count in [1, 3] {
        let mut servers = Servers::new(count);
        let mut second = 0;
        for (number, (at, happens)) in story.iter().enumerate() {
            while second < *at {
                second += 1;
                servers.tick(second);
            }
            use Happens::{Beats, Fails, Forgotten, Nothing, Restarts, Says, Starts};
            match happens {
                Beats(figures) => servers.beat(number % count, *at, figures),
                Starts => servers.report(number % count, *at, "web1", Report::Start, ""),
                Fails(why) => servers.report(number % count, *at, "web1", Report::Fail, why),
                Nothing => {}
                Restarts => servers.restart(*at),
                Says(status) => {
                    let (key, status) = ("web1".to_owned(), (*status).to_owned());
                    let word = message(HOST_STATE_EVENT, "Florian", "I see".to_owned(), vec![]);
                    servers.say(*at, Message { key, status, ..word }, None);
                    servers.said.pop();
                }
                Forgotten => {
                    let message = servers.each[number % count].forget("web1").unwrap();
                    servers.say(*at, message, None);
                }
            }
        }
        assert_eq!(servers.said, expected, "{count} servers");
    }
}
