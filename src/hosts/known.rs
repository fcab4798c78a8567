//! The known hosts, and which of them are alive. A host beats: it says now and then that it is there. A host that stays
//! silent for longer than it announced is late, then down. Each change is said once. This module is pure: beats and the
//! time go in, messages come out.
//!
//! **Said first, then known.** The state of a host changes when the change was said ([`Hosts::follow`]). So a change
//! that cannot be said now is said later. Several servers can be one conversation: each server follows the messages of
//! all of them, so all know every host, at whichever server it beats. All servers see one change, and its
//! [digest](Announcement::once) lets only one of them say it. A change that waits to be kept is not said a second time
//! ([`Hosts::settle`]).
//!
//! The server's monotonic clock alone decides. A host's own clock may be wrong, and often is if the host is in trouble.
//! The caller reads the clock, so the tests need none. After a restart each host stands as the newest word on it says
//! ([`Hosts::restore`]), and its silence counts from the start.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::hosts::beat::{BEGUN, Beat, RUN, summary};
use crate::hosts::crowd::{Lines, MOST_ALONE};
use crate::hosts::host::{Announcement, Host, State, fields, message};
use crate::http::Refusal;
use crate::names::is_plain_name;
use crate::room::message::{AMONG, HOST_EVENT, HOST_STATE_EVENT, HOST_STATES, STATE};
use crate::room::{Message, Thing, standing::GONE};
use crate::sync::lock;

/// The most hosts known at once. With their figures they take about 30 MB at most.
pub const MOST_HOSTS: usize = 10_000;

/// The most changes that wait to be said. So no speaker waits at the commit queue behind ten thousand of them.
const MOST_WAITING: usize = 128;

/// A server whose ticks are further apart than this was stopped itself. It gives the hosts time to be heard again.
const STOPPED_AFTER: Duration = Duration::from_secs(3);

/// The state in the message that a host is forgotten.
const FORGOTTEN: &str = "forgotten";

/// The known hosts. They have a lock of their own. It is held for moments, and never together with the hub's.
#[derive(Default)]
pub struct Hosts {
    known: Mutex<Known>,
    /// Held from a change among the hosts until it is handed in or published. It is taken before the hub's lock.
    pub(super) turn: Mutex<()>,
}

#[derive(Default)]
struct Known {
    hosts: BTreeMap<String, Host>,
    /// Changes that were handed in and are not settled: of each host the newest state, and the number of its changes.
    waiting: HashMap<String, (State, usize)>,
    /// The lines about hosts that change to one state together, by state.
    lines: [Lines; HOST_STATES.len()],
    /// Silence before this moment does not count: the server itself could not hear.
    listening_since: Option<Instant>,
    /// The moment from which on nothing is heard of other servers. Silence after it does not count.
    deaf_since: Option<Instant>,
    /// The moment of the last tick.
    ticked: Option<Instant>,
}

impl Hosts {
    /// Makes known the hosts among the `things` that were kept. It is `now`: silence counts from now on.
    pub fn restore(things: &[Thing], now: Instant) -> Hosts {
        let known = Known { listening_since: Some(now), ticked: Some(now), ..Known::default() };
        let hosts = Hosts { known: Mutex::new(known), ..Hosts::default() };
        hosts.renew(things, now);
        hosts
    }

    /// Makes known the hosts among these `things` alone: the newest words on all, of which some may not have been
    /// followed. The other hosts were forgotten.
    pub fn renew(&self, things: &[Thing], now: Instant) {
        let hosts = &mut lock(&self.known).hosts;
        let mut before = std::mem::take(hosts);
        for Thing { message, since, .. } in things.iter().rev().take(MOST_HOSTS) {
            if message.channel.is_empty() && is_plain_name(&message.key) && State::of(message).is_some() {
                let host = Host::renewed(before.remove(&message.key), message, *since, now);
                hosts.insert(message.key.clone(), host);
            }
        }
    }

    /// Hears a beat of `host`. Returns the messages to say, in this order: the change, if there is one, and the beat.
    ///
    /// # Errors
    /// 503 if the host is new and [`MOST_HOSTS`] are known.
    pub fn beat(&self, host: &str, beat: Beat, now: Instant) -> Result<(Option<Announcement>, Message), Refusal> {
        let known = &mut *lock(&self.known);
        let waiting = known.waiting.get(host).map(|(state, _)| *state);
        let new = Host::new(host, now);
        let found = match known.hosts.get(host) {
            None if known.hosts.len() >= MOST_HOSTS && waiting.is_none() => {
                let line =
                    format!("{MOST_HOSTS} hosts are known, as many as may be; forget one with DELETE /beat/HOST first");
                return Err(Refusal::new(503, line));
            }
            found => found.unwrap_or(&new),
        };
        let change = match waiting {
            Some(_) if found.last == 0 => None, // that it is known waits to be said already
            _ => found.news_by_beat(&beat, waiting, now),
        };
        let state = State::by(&beat, waiting.unwrap_or(found.state));
        let mut fields = fields(state, found.rhythm(&beat));
        fields.extend(beat.begins.then(|| (RUN.to_owned(), BEGUN.to_owned())));
        let summary = summary(&beat.figures);
        fields.extend(beat.figures);
        let found = known.hosts.get_mut(host).into_iter();
        found.for_each(|found| (found.heard, found.beaten) = (now, true)); // even if it cannot be said
        change.iter().for_each(|change| known.wait(change));
        Ok((change, message(HOST_EVENT, host, summary, fields)))
    }

    /// Notes that a change of `host` no longer waits: it was said, or refused.
    pub fn settle(&self, host: &str) {
        let known = &mut *lock(&self.known);
        if let Some((_, changes)) = known.waiting.get_mut(host) {
            *changes -= 1;
            if *changes == 0 {
                known.waiting.remove(host);
            }
        }
    }

    /// Looks for hosts that have been silent for too long. Returns the changes to say, and whether there are more. If
    /// there are more, it is to be called again soon, else about once a second.
    pub fn tick(&self, now: Instant) -> (Vec<Announcement>, bool) {
        let known = &mut *lock(&self.known);
        let before = known.ticked.replace(now);
        if before.is_some_and(|before| now.saturating_duration_since(before) > STOPPED_AFTER) {
            known.listening_since = Some(now);
        }
        let now = known.deaf_since.unwrap_or(now);
        let since = known.listening_since;
        let said = |host: &Host| known.waiting.get(&host.name).map_or(host.state, |(state, _)| *state);
        let mut room = MOST_WAITING.saturating_sub(known.waiting.len());
        let (mut changes, mut is_more) = (vec![], false);
        for state in [State::Late, State::Down] {
            let hosts = || known.hosts.values();
            let untold: Vec<&Host> = hosts().filter(|host| host.state == state && host.untold.is_some()).collect();
            let is_new = |host: &&Host| host.judge(since, now) == state && said(host) < state;
            let silent: Vec<&Host> = hosts().filter(is_new).collect();
            let count = silent.iter().filter(|host| !host.flaps).count();
            let lines = &known.lines[state as usize];
            let is_paused = lines.pause.is_some_and(|pause| now < pause);
            for host in silent.iter().take(room) {
                let mut change = host.news_by_silence(state, said(host), now);
                if !host.flaps && (count > MOST_ALONE || is_paused || !untold.is_empty()) {
                    change.message.fields.push((AMONG.to_owned(), count.to_string()));
                }
                changes.push(change);
            }
            let is_cut = silent.len() > room;
            room = room.saturating_sub(silent.len());
            let mut waiting = known.waiting.iter();
            let waits = waiting.any(|(name, (waiting, _))| name.is_empty() || *waiting == state);
            let is_due = !untold.is_empty() && !is_paused;
            changes.extend((is_due && !is_cut && !waits).then(|| lines.line(state, &untold)));
            is_more |= is_cut || is_due;
        }
        let settled = known.hosts.values().filter(|host| !known.waiting.contains_key(&host.name));
        changes.extend(settled.filter_map(|host| host.news_by_calm(now)));
        changes.iter().for_each(|change| known.wait(change));
        (changes, is_more)
    }

    /// The message that makes all servers forget `host`; `None` if the host is not known.
    pub fn forget(&self, host: &str) -> Option<Message> {
        lock(&self.known).hosts.get(host)?;
        let fields = vec![(STATE.to_owned(), FORGOTTEN.to_owned())];
        let (key, status) = (host.to_owned(), GONE.to_owned());
        Some(Message { key, status, ..message(HOST_STATE_EVENT, host, "is forgotten".to_owned(), fields) })
    }

    /// Follows `message`, which was said here or at another server: takes over a beat or a change, or forgets the host.
    /// Old news changes nothing. Only news of a host asks for the time, `now`.
    pub fn follow(&self, message: &Message, now: impl FnOnce() -> Instant) {
        let Message { id, event, .. } = message;
        let is_change = event == HOST_STATE_EVENT;
        let name = if is_change { &message.key } else { &message.name };
        if !(is_change || event == HOST_EVENT) || !message.channel.is_empty() {
            return;
        }
        let (id, state, now) = (*id, State::of(message), now());
        let Known { hosts, lines, .. } = &mut *lock(&self.known);
        if let (true, Some(state), "") = (is_change, state, name.as_str()) {
            let hosts = hosts.values_mut().filter(|host| host.state == state);
            return lines[state as usize].follow(message, hosts, now);
        }
        let found = hosts.get(name);
        let is_old = found.is_some_and(|host| host.last >= id) || (found.is_none() && hosts.len() >= MOST_HOSTS);
        if is_old || !is_plain_name(name) {
            return;
        }
        match state {
            _ if is_change && message.status == GONE => _ = hosts.remove(name),
            Some(State::Up | State::Failed) if !is_change => {
                let host = hosts.entry(name.clone()).or_insert_with(|| Host::new(name, now));
                host.take(Beat::of(message.fields.clone()), id, now);
            }
            Some(state) if is_change && message.status == state.word() => match hosts.get_mut(name) {
                Some(host) => host.take_state(message, state, now),
                None => _ = hosts.insert(name.clone(), Host::kept(message, message.time, now)),
            },
            _ => {} // a message that a user has written
        }
    }

    /// Follows `messages` from before this server began, which is `now`. Their hosts are silent at least since then.
    pub fn recall(&self, messages: &[Arc<Message>], now: Instant) {
        messages.iter().for_each(|message| self.follow(message, || now));
        lock(&self.known).hosts.values_mut().filter(|host| host.heard == now).for_each(|host| host.beaten = false);
    }

    /// Notes that from `now` on other servers cannot be heard, where hosts beat too. No silence counts.
    pub fn go_deaf(&self, now: Instant) {
        lock(&self.known).deaf_since = Some(now);
    }

    /// Notes that other servers could not be heard until `now`. Silence counts from `now` on.
    pub fn listen_anew(&self, now: Instant) {
        let known = &mut *lock(&self.known);
        (known.listening_since, known.deaf_since) = (Some(now), None);
    }

    /// Every known host as it stands, by its silence until `now` too. Sorted by name.
    pub fn list(&self, now: Instant) -> Vec<Host> {
        let known = lock(&self.known);
        let now = known.deaf_since.unwrap_or(now);
        known.hosts.values().map(|host| host.at(known.listening_since, now)).collect()
    }
}

impl Known {
    /// Notes that a `change` waits to be said.
    fn wait(&mut self, change: &Announcement) {
        if let Some(state) = State::of(&change.message) {
            let (newest, changes) = self.waiting.entry(change.message.name.clone()).or_insert((state, 0));
            (*newest, *changes) = (state, *changes + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::beat::Report;
    use crate::hosts::story::Happens::{Beats, Forgotten, Nothing};
    use crate::hosts::story::{Servers, check, pairs};

    #[test]
    fn each_change_is_said_once() {
        check(&[(0, Beats("")), (30, Beats("")), (60, Beats("")), (70, Nothing)], &["0: web1 is up"]);
        check(
            &[(0, Beats("")), (500, Nothing)],
            &["0: web1 is up", "45: web1 is late: last heard 45 s ago", "90: web1 is down: last heard 90 s ago"],
        );
        check(
            &[(0, Beats("every=10")), (16, Beats("")), (26, Beats("")), (200, Beats("every=60")), (280, Beats(""))],
            &[
                "0: web1 is up",
                "15: web1 is late: last heard 15 s ago",
                "16: web1 is up again after 16 s",
                "41: web1 is late: last heard 15 s ago",
                "56: web1 is down: last heard 30 s ago",
                "200: web1 is up again after 2 min 54 s",
            ],
        );
    }

    #[test]
    fn falling_uptime_is_a_reboot() {
        check(
            &[(0, Beats("up=50")), (9, Beats("up=59")), (18, Beats("up=3"))],
            &["0: web1 is up", "18: web1 has rebooted"],
        );
        check(
            &[(0, Beats("up=50")), (9, Beats("")), (18, Beats("up=3.5"))],
            &["0: web1 is up", "18: web1 has rebooted"],
        );
        check(
            &[(0, Beats("up=50")), (90, Beats("up=20"))],
            &[
                "0: web1 is up",
                "45: web1 is late: last heard 45 s ago",
                "90: web1 is down: last heard 90 s ago",
                "90: web1 is up again after 90 s: it has rebooted",
            ],
        );
    }

    #[test]
    fn the_interval_has_a_floor_and_nonsense_is_no_interval() {
        let late_at_5 = ["0: web1 is up", "5: web1 is late: last heard 5 s ago"];
        check(&[(0, Beats("every=0.001")), (6, Nothing)], &late_at_5);
        check(&[(0, Beats("every=0")), (6, Nothing)], &late_at_5);
        for nonsense in ["every=-1", "every=NaN", "every=inf", "every=1e999", "every=x", "every="] {
            let story = [(0, Beats(nonsense)), (46, Nothing)];
            check(&story, &["0: web1 is up", "45: web1 is late: last heard 45 s ago"]);
        }
        check(&[(0, Beats("every=1e300")), (1000, Nothing)], &["0: web1 is up"]);
    }

    #[test]
    fn a_host_that_is_forgotten_is_not_missed() {
        check(&[(0, Beats("")), (10, Forgotten), (500, Nothing)], &["0: web1 is up", "10: web1 is forgotten"]);
        let story = [(0, Beats("")), (10, Forgotten), (20, Beats(""))];
        check(&story, &["0: web1 is up", "10: web1 is forgotten", "20: web1 is up"]);
        assert!(Hosts::default().forget("web1").is_none());
    }

    #[test]
    fn what_cannot_be_said_now_is_said_later_and_the_last_change_only() {
        let mut servers = Servers::new(1);
        servers.beat(0, 0, "");
        for second in 1..7200 {
            let (changes, _) = servers.each[0].tick(servers.at(second));
            changes.iter().for_each(|change| servers.each[0].settle(&change.message.name)); // nobody takes it
        }
        assert_eq!(servers.states(7200), [State::Down], "but it is seen");
        servers.tick(7200);
        servers.tick(7201);
        assert_eq!(servers.said, ["0: web1 is up", "7200: web1 is down: last heard 2 h ago"]);
        servers.each[0].beat("web1", Beat::default(), servers.at(7210)).unwrap();
        servers.each[0].settle("web1"); // nobody takes that either
        servers.beat(0, 7220, "");
        assert_eq!(servers.said[2..], ["7220: web1 is up again after 10 s"]);
    }

    #[test]
    fn what_waits_to_be_kept_is_not_said_twice_and_what_happens_meanwhile_follows_it() {
        let mut servers = Servers::new(1);
        let beat =
            |servers: &Servers, second| servers.each[0].beat("web1", Beat::default(), servers.at(second)).unwrap();
        let (up, first) = beat(&servers, 0);
        let (none, second) = beat(&servers, 1);
        assert!(none.is_none(), "that it is up waits to be said");
        servers.announce(0, 1, up);
        [first, second].into_iter().for_each(|beat| servers.say(1, beat, None));

        (2..46).for_each(|second| servers.tick(second));
        let (late, _) = servers.each[0].tick(servers.at(48));
        assert!(servers.each[0].tick(servers.at(51)).0.is_empty(), "that it is late waits to be said");
        let (up, heard) = beat(&servers, 52);
        servers.announce(0, 53, late);
        servers.announce(0, 53, up);
        servers.say(53, heard, None);
        (54..80).for_each(|second| servers.tick(second));
        let said = ["1: web1 is up", "53: web1 is late: last heard 47 s ago", "53: web1 is up again after 51 s"];
        assert_eq!((servers.said.as_slice(), servers.states(80)), (&said.map(str::to_owned)[..], vec![State::Up]));
        assert!(lock(&servers.each[0].known).waiting.is_empty());
    }

    #[test]
    fn of_very_many_changes_a_part_waits_to_be_said_at_a_time_so_that_speakers_come_between() {
        let mut servers = Servers::new(1);
        for host in 0..1000 {
            servers.report(0, 0, &format!("h{host}"), Report::Beat, "");
        }
        (1..45).for_each(|second| servers.tick(second));
        for second in [45, 46] {
            let (changes, is_more) = servers.each[0].tick(servers.at(second));
            assert_eq!((changes.len(), is_more), (MOST_WAITING, true));
            let (none, is_more) = servers.each[0].tick(servers.at(second));
            assert_eq!((none.len(), is_more), (0, true), "they wait");
            changes.into_iter().for_each(|change| servers.announce(0, second, Some(change)));
        }
    }

    #[test]
    fn who_could_not_hear_gives_hosts_time() {
        let check = |deaf: fn(&mut Servers)| {
            let mut servers = Servers::new(1);
            servers.beat(0, 0, "every=10");
            deaf(&mut servers);
            servers.tick(1000);
            (1001..1015).for_each(|second| servers.tick(second));
            assert_eq!((servers.said.len(), servers.states(1014)), (1, vec![State::Up]));
            servers.tick(1015);
            assert_eq!(servers.said[1], "1015: web1 is late: last heard 16 min 55 s ago");
        };
        check(|servers| servers.tick(1)); // the server was stopped
        check(|_| {}); // the server was stopped in its first second
        check(|servers| {
            for second in 1..1000 {
                let (changes, _) = servers.each[0].tick(servers.at(second));
                changes.iter().for_each(|change| servers.each[0].settle(&change.message.name));
            }
            servers.each[0].listen_anew(servers.at(1000));
        });
        check(|servers| {
            servers.each[0].go_deaf(servers.at(9));
            (1..1000).for_each(|second| servers.tick(second));
            assert_eq!(servers.states(1000), [State::Up], "nor is it said to be silent meanwhile");
            servers.each[0].listen_anew(servers.at(1000));
        });
    }

    #[test]
    fn a_server_that_has_missed_words_knows_the_hosts_by_the_newest_ones() {
        let mut servers = Servers::new(2);
        for host in ["backup", "forgotten", "web1"] {
            servers.report(0, 0, host, Report::Beat, "every=10&load1=1");
        }
        servers.report(0, 5, "web1", Report::Beat, "load1=2");
        let deaf = servers.each.pop().unwrap();
        let forgotten = servers.each[0].forget("forgotten").unwrap();
        servers.say(6, forgotten, None);
        servers.report(0, 7, "backup", Report::Fail, "message=why");
        servers.report(0, 7, "new", Report::Beat, "");
        deaf.renew(&servers.things.all().cloned().collect::<Vec<_>>(), servers.at(8));
        let hosts = deaf.list(servers.at(8));
        let told = |host: &Host| format!("{} {} {}", host.name, host.state.word(), summary(&host.figures));
        assert_eq!(
            hosts.iter().map(told).collect::<Vec<_>>(),
            ["backup failed load 1, why", "new up ", "web1 up load 2"]
        );
        assert_eq!(hosts[2].heard, servers.at(5), "what it has followed stays");
    }

    #[test]
    fn what_was_said_before_a_start_is_no_sign_of_life_after_it() {
        let mut servers = Servers::new(1);
        servers.beat(0, 0, "every=10");
        let (_, mut beat) = servers.each[0].beat("web1", Beat::default(), servers.at(5)).unwrap();
        beat.id = 9;
        servers.restart(9);
        servers.each[0].recall(&[Arc::new(beat)], servers.at(9));
        (10..25).for_each(|second| servers.tick(second));
        assert_eq!(servers.said, ["0: web1 is up", "24: web1 is late: last heard at least 15 s ago"]);
    }

    #[test]
    fn servers_that_find_out_in_the_same_moment_say_it_once_and_all_know_it() {
        let mut servers = Servers::new(3);
        servers.beat(0, 0, "up=50&every=10");
        for (second, server) in [(9, 1), (18, 2), (27, 0)] {
            servers.tick(second);
            servers.beat(server, second, "up=60");
        }
        assert_eq!(servers.states(27), [State::Up; 3], "each hears a third of it and knows all of it");
        let beats = [0, 1].map(|server| {
            let beat = Beat::read(pairs("up=1&note=hot"), Report::Beat).unwrap();
            (server, servers.each[server].beat("web1", beat, servers.at(36)).unwrap())
        });
        for (server, (change, beat)) in beats {
            servers.announce(server, 36, change);
            servers.say(36, beat, None);
        }
        assert_eq!(servers.said, ["0: web1 is up", "36: web1 has rebooted"]);
        let figures = |hosts: &Hosts| hosts.list(servers.at(36))[0].figures.clone();
        servers.each.iter().for_each(|hosts| assert_eq!(figures(hosts), pairs("up=1&note=hot")));
        let older = Message { id: servers.ids, ..Message::clone(&servers.things.all().next().unwrap().message) };
        servers.each[0].follow(&older, || servers.at(36));
        assert_eq!(servers.states(36), [State::Up; 3], "an older message changes nothing");
        (37..81).for_each(|second| servers.tick(second));
        let (up, beat) = servers.each[1].beat("web1", Beat::default(), servers.at(81)).unwrap();
        servers.announce(1, 81, up);
        servers.tick(81);
        servers.say(81, beat, None);
        let said = [
            "52: web1 is late: last heard 16 s ago",
            "67: web1 is down: last heard 31 s ago",
            "81: web1 is up again after 45 s",
        ];
        assert_eq!(servers.said[2..], said, "a server that looks between the two does not take it for silent");
        servers.say(81, message(HOST_EVENT, "Florian", "Hi".to_owned(), vec![]), None);
        assert_eq!(servers.states(81).len(), 3, "nor does a message that is no beat");
    }

    #[test]
    fn more_hosts_than_may_be_known_are_refused() {
        let (hosts, now) = (Hosts::default(), Instant::now());
        let mut ids = 0;
        let mut follow = |message: &Message| {
            ids += 1;
            hosts.follow(&Message { id: ids, ..message.clone() }, || now);
        };
        let beat = |host: &str| {
            let (change, beat) = hosts.beat(host, Beat::default(), now)?;
            change.iter().for_each(|_| hosts.settle(host));
            Ok::<Message, Refusal>(beat)
        };
        (0..MOST_HOSTS).for_each(|number| follow(&beat(&format!("h{number}")).unwrap()));
        assert_eq!(beat("one-more").unwrap_err().status, 503);
        follow(&beat("h7").unwrap());
        follow(&hosts.forget("h7").unwrap());
        follow(&beat("one-more").unwrap());
        assert_eq!(hosts.list(now).len(), MOST_HOSTS);
        let other = message(HOST_EVENT, "too-many", String::new(), vec![(STATE.to_owned(), "up".to_owned())]);
        follow(&other);
        assert_eq!(hosts.list(now).len(), MOST_HOSTS, "nor may another server bring more");
    }
}
