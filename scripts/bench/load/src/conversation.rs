//! Speakers and listeners at once, in one thread. Paced, messages are due at fixed times whatever the
//! server does (an open loop), and the latency of a `/say` counts from when it was due. Flat out, each
//! speaker says its next message as soon as the last one is answered (a closed loop).

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::dialect::{channel_path, listen_request};
use crate::histogram::Histogram;
use crate::listener::{Listener, State};
use crate::message::{self, Heard};
use crate::options::Options;
use crate::poller::{MILLISECOND, Poller, SECOND, now};
use crate::speaker::{Answer, Speaker};

/// Listeners read between two looks at the speakers, so that a big room holds no speaker up for long.
const READS_BETWEEN_LOOKS: usize = 64;
/// One read takes at most this much: a listener that fell behind catches up in a few.
const READ_BYTES: usize = 256 * 1024;
/// A join that takes longer than this has failed.
const JOIN_NANOSECONDS: u64 = 10 * SECOND;
/// The drain gives up when nothing came for this long, or after `DRAIN_NANOSECONDS` in all.
const STALL_NANOSECONDS: u64 = SECOND;
const DRAIN_NANOSECONDS: u64 = 6 * SECOND;
/// Time between the last join and the first message: some servers answer before they subscribe.
const SETTLE_NANOSECONDS: u64 = 300 * MILLISECOND;
/// Stands for all speakers among the listeners' tokens.
const SPEAKERS_TOKEN: usize = usize::MAX;

/// A listener and what it remembers.
struct Ear {
    listener: Listener,
    memory: Memory,
}

/// A listener's record of what it heard.
struct Memory {
    /// The last count heard of each speaker.
    last_counts: Box<[u32]>,
    /// A hash of everything heard, in order: equal for all who heard the same.
    order: u64,
}

/// The events since the last `talk` began.
pub struct Tally {
    pub started: u64,
    /// Messages due, whether or not they could be sent.
    pub due: u64,
    pub answered: u64,
    pub last_answer: u64,
    /// Lines heard whose count was above the last one of the same speaker.
    pub heard: u64,
    pub last_heard: u64,
    /// Lines heard whose count was not: repeats, and messages going backwards.
    pub out_of_order: u64,
    /// From due to answered.
    pub say_latency: Histogram,
    /// From sent to heard.
    pub delivery_latency: Histogram,
}

pub struct Conversation {
    address: SocketAddr,
    channels: usize,
    /// How many messages were said, over all channels.
    said: usize,
    listeners: Vec<Option<Ear>>,
    speakers: Vec<Speaker>,
    /// Speakers without a message on its way.
    free: VecDeque<usize>,
    /// Messages that are due and wait for a speaker: when each was due.
    backlog: VecDeque<u64>,
    /// Listeners, and `speaking` as one of them.
    listening: Poller,
    speaking: Poller,
    ready: Vec<usize>,
    buffer: Vec<u8>,
    pub hung_up: u64,
    pub tally: Tally,
}

/// When messages are due.
#[derive(Clone, Copy)]
enum Pace {
    FlatOut,
    /// So many a second since `started`.
    Rate(u64),
    /// No more new ones.
    Over,
}

impl Memory {
    fn new(speakers: usize) -> Memory {
        Memory { last_counts: vec![0; speakers].into(), order: 0 }
    }

    /// Whether this is news: neither a repeat nor a step back of its speaker.
    fn hear(&mut self, heard: &Heard) -> bool {
        let this = (heard.speaker as u64) << 32 | u64::from(heard.count);
        // Any odd number with well-mixed bits would do.
        self.order = (self.order.rotate_left(7) ^ this).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        match self.last_counts.get_mut(heard.speaker) {
            Some(last) if *last < heard.count => {
                *last = heard.count;
                true
            }
            _ => false,
        }
    }
}

impl Tally {
    fn new() -> Tally {
        Tally {
            started: now(),
            due: 0,
            answered: 0,
            last_answer: 0,
            heard: 0,
            last_heard: 0,
            out_of_order: 0,
            say_latency: Histogram::new(),
            delivery_latency: Histogram::new(),
        }
    }
}

impl Conversation {
    pub fn new(options: &Options) -> Result<Self, String> {
        let speaking = Poller::new()?;
        let listening = Poller::new()?;
        listening.watch(&speaking, SPEAKERS_TOKEN)?;
        let speakers =
            (0..options.speakers).map(|number| Speaker::open(options, number)).collect::<Result<Vec<_>, _>>()?;
        for (number, speaker) in speakers.iter().enumerate() {
            speaking.watch(speaker.stream(), number)?;
        }
        Ok(Conversation {
            address: options.address(),
            channels: options.channels,
            said: 0,
            listeners: Vec::new(),
            free: (0..speakers.len()).collect(),
            speakers,
            backlog: VecDeque::new(),
            listening,
            speaking,
            ready: Vec::new(),
            buffer: vec![0; READ_BYTES],
            hung_up: 0,
            tally: Tally::new(),
        })
    }

    /// Joins so many listeners, at most `outstanding` of them without their response head at a time.
    pub fn join(&mut self, listeners: usize, outstanding: usize) -> Result<(), String> {
        let deadline = now() + JOIN_NANOSECONDS;
        let mut joined = 0;
        while joined < listeners {
            while self.listeners.len() < listeners && self.listeners.len() - joined < outstanding {
                self.open_listener()?;
            }
            if now() > deadline {
                return Err(format!("only {joined} of {listeners} joined in time"));
            }
            self.listening.wait(deadline, &mut self.ready)?;
            for token in std::mem::take(&mut self.ready) {
                if token == SPEAKERS_TOKEN {
                    return Err("a speaker's connection ended while listeners joined".into());
                }
                if self.read_listener(token)? == State::Joined {
                    joined += 1;
                }
            }
        }
        Ok(())
    }

    /// Cuts all listeners' connections.
    pub fn cut_all(&mut self) {
        self.listeners.clear();
    }

    fn open_listener(&mut self) -> Result<(), String> {
        let channel = channel_path(self.listeners.len() % self.channels, self.channels);
        let listener = Listener::join(self.address, &listen_request(&channel))?;
        self.listening.watch(listener.stream(), self.listeners.len())?;
        self.listeners.push(Some(Ear { listener, memory: Memory::new(self.speakers.len()) }));
        Ok(())
    }

    /// Lets the server come to rest after the joins.
    pub fn settle(&mut self) -> Result<(), String> {
        let end = now() + SETTLE_NANOSECONDS;
        while now() < end {
            self.turn(end, Pace::Over)?;
        }
        Ok(())
    }

    /// Talks for so long, at `rate` messages a second or, at 0, flat out; then waits until everything
    /// that was answered is heard, or nothing comes any more.
    pub fn talk(&mut self, rate: u64, seconds: f64) -> Result<(), String> {
        self.tally = Tally::new();
        let end = self.tally.started + (seconds * SECOND as f64) as u64;
        let pace = match rate {
            0 => Pace::FlatOut,
            rate => Pace::Rate(rate),
        };
        while now() < end {
            self.speak(pace)?;
            let next = match pace {
                Pace::Rate(rate) => self.due_time(rate).min(end),
                _ => end,
            };
            self.turn(next, pace)?;
        }
        self.drain()
    }

    /// Says one message and waits for its answer.
    pub fn say_once(&mut self) -> Result<(), String> {
        self.tally = Tally::new();
        self.tally.due = 1;
        self.backlog.push_back(self.tally.started);
        self.speak(Pace::Over)?;
        self.drain()?;
        match self.tally.answered {
            1 => Ok(()),
            _ => Err("the server did not take the first message".into()),
        }
    }

    fn drain(&mut self) -> Result<(), String> {
        let start = now();
        loop {
            let progress = self.tally.last_heard.max(self.tally.last_answer).max(start);
            let give_up = (progress + STALL_NANOSECONDS).min(start + DRAIN_NANOSECONDS);
            if self.lost() == 0 && self.free.len() == self.speakers.len() || now() >= give_up {
                return Ok(());
            }
            self.turn(give_up, Pace::Over)?;
        }
    }

    /// Messages answered and not heard, over all listeners that ever joined.
    pub fn lost(&self) -> u64 {
        (self.tally.answered * (self.listeners.len() / self.channels) as u64).saturating_sub(self.tally.heard)
    }

    /// How many listeners heard another order than the first one did; makes sense if nothing was lost.
    pub fn other_orders(&self) -> usize {
        let mut orders = self.listeners.iter().flatten().map(|ear| ear.memory.order);
        let first = orders.next();
        orders.filter(|order| Some(*order) != first).count()
    }

    /// Waits until `deadline` for anything, and attends to everything that came.
    fn turn(&mut self, deadline: u64, pace: Pace) -> Result<(), String> {
        if self.listeners.is_empty() {
            self.speaking.wait(deadline, &mut self.ready)?;
            return self.attend_speakers(pace);
        }
        self.listening.wait(deadline, &mut self.ready)?;
        let ready = std::mem::take(&mut self.ready);
        for some in ready.chunks(READS_BETWEEN_LOOKS) {
            for &token in some.iter().filter(|token| **token != SPEAKERS_TOKEN) {
                self.read_listener(token)?;
            }
            // A look costs a system call, which after a read or two is not worth it without a reason.
            if some.len() == READS_BETWEEN_LOOKS || some.contains(&SPEAKERS_TOKEN) {
                self.speaking.wait(0, &mut self.ready)?;
                self.attend_speakers(pace)?;
            }
        }
        Ok(())
    }

    fn read_listener(&mut self, token: usize) -> Result<State, String> {
        let Some(ear) = &mut self.listeners[token] else {
            return Ok(State::Ended);
        };
        let (tally, memory) = (&mut self.tally, &mut ear.memory);
        let state = ear.listener.read(&mut self.buffer, now, |now, line| {
            let Some(heard) = message::parse(line) else {
                return;
            };
            match memory.hear(&heard) {
                true => tally.heard += 1,
                false => tally.out_of_order += 1,
            }
            tally.last_heard = now;
            tally.delivery_latency.record(now.saturating_sub(heard.stamp));
        })?;
        if state == State::Ended {
            self.listeners[token] = None;
            self.hung_up += 1;
        }
        Ok(state)
    }

    /// Takes the answers of the speakers in `ready`, then lets whoever is free say what is due.
    fn attend_speakers(&mut self, pace: Pace) -> Result<(), String> {
        for number in std::mem::take(&mut self.ready) {
            let speaker = &mut self.speakers[number];
            let answer = speaker.read()?;
            if matches!(answer, Answer::Pending) {
                continue;
            }
            let due = speaker.take_due();
            match answer {
                Answer::Gone => self.reopen_speaker(number)?,
                Answer::Taken => {
                    let now = now();
                    self.tally.answered += 1;
                    self.tally.last_answer = now;
                    let since = due.ok_or("an answer came to a /say that was not sent")?;
                    self.tally.say_latency.record(now - since);
                }
                _ => {}
            }
            if due.is_some() {
                self.free.push_back(number);
            }
        }
        self.speak(pace)
    }

    fn reopen_speaker(&mut self, number: usize) -> Result<(), String> {
        let speaker = &mut self.speakers[number];
        speaker.reopen(self.address)?;
        self.speaking.watch(speaker.stream(), number)
    }

    /// Says what is due, as far as speakers are free.
    fn speak(&mut self, pace: Pace) -> Result<(), String> {
        let mut now = now();
        if let Pace::Rate(rate) = pace {
            while self.due_time(rate) <= now {
                self.backlog.push_back(self.due_time(rate));
                self.tally.due += 1;
            }
        }
        while let Some(&number) = self.free.front() {
            let due = match (self.backlog.pop_front(), pace) {
                (Some(due), _) => due,
                (None, Pace::FlatOut) => {
                    self.tally.due += 1;
                    now
                }
                (None, _) => break,
            };
            self.free.pop_front();
            now = crate::poller::now();
            self.said += 1;
            if self.speakers[number].say(self.said % self.channels, due, now).is_err() {
                self.speakers[number].take_due();
                self.reopen_speaker(number)?;
                self.free.push_back(number);
            }
        }
        Ok(())
    }

    fn due_time(&self, rate: u64) -> u64 {
        self.tally.started + self.tally.due * SECOND / rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(memory: &mut Memory, said: &[(usize, u32)]) -> Vec<bool> {
        let heard = said.iter().map(|&(speaker, count)| Heard { speaker, count, stamp: 0 });
        heard.map(|heard| memory.hear(&heard)).collect()
    }

    #[test]
    fn repeats_steps_back_and_strangers_are_no_news() {
        let mut memory = Memory::new(2);
        let said = [(0, 1), (1, 1), (0, 3), (0, 2), (1, 1), (1, 2), (2, 1)];
        let news = [true, true, true, false, false, true, false];
        assert_eq!(hear(&mut memory, &said), news);
    }

    #[test]
    fn two_speakers_in_another_order_make_another_memory() {
        let (mut one, mut other) = (Memory::new(2), Memory::new(2));
        hear(&mut one, &[(0, 1), (1, 1), (0, 2)]);
        hear(&mut other, &[(1, 1), (0, 1), (0, 2)]);
        assert_ne!(one.order, other.order);
    }
}
