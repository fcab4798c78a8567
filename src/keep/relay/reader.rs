//! The reader's side: what is in Redis is posted here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use redis::{Connection, Pipeline, RedisResult, cmd};

use crate::journal;
use crate::keep::Hearing;
use crate::keep::relay::entry::{
    ADD, BACK, Entry, Ours, PASSING, SAID, SILENT, THINGS, Told, entries, things, write_thing,
};
use crate::keep::relay::{BLOCK, LIMIT, Place, READ_LIMIT, Relay, connect, why};
use crate::room::{Events, Hub, Receipt, Refused, Subscription, Thing, things::name};
use crate::sync::lock;

/// The pause before the next try to connect.
const PAUSE: Duration = Duration::from_millis(100);

impl Relay {
    /// The reader's life: posts what is new until everything was sent and the hub is closed. Calls `tell` with each
    /// change in how the other servers are heard.
    pub fn read_all(&self, hub: &Hub, tell: &dyn Fn(Hearing)) {
        let mut place = lock(&self.place);
        loop {
            let gone = self.read(&mut place, hub, tell);
            if gone.as_ref().is_err_and(|error| error.is_io_error() && error.to_string().contains("(os error 4)")) {
                continue; // EINTR: the process was stopped and goes on; Redis is not away
            }
            self.cuts.fetch_add(1, Ordering::SeqCst);
            let was_connected = self.set_connected(false, hub);
            self.answer_all(None, |_, _, _| true);
            let Err(error) = gone else { return };
            if was_connected {
                tell(Hearing::Cut);
                journal::KEEPING
                    .warn(format_args!("Redis is away ({}); listeners stay, speakers are refused", why(&error)));
            }
            if self.is_over(hub) {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    fn is_over(&self, hub: &Hub) -> bool {
        hub.is_closed() && self.all_sent.load(Ordering::SeqCst)
    }

    /// Notes whether the reader is connected; returns whether it was.
    fn set_connected(&self, connected: bool, hub: &Hub) -> bool {
        if let Some(commit_queue) = hub.commit_queue() {
            commit_queue.set_well(connected);
        }
        self.connected.swap(connected, Ordering::SeqCst)
    }

    /// Connects and reads until the server stops, or an error.
    fn read(&self, place: &mut Place, hub: &Hub, tell: &dyn Fn(Hearing)) -> RedisResult<()> {
        let mut reader = Reader { relay: self, hub, tell, connection: connect(&self.client)?, place };
        // Messages that came while nobody read are heard before anybody is answered again.
        reader.look_for_loss()?;
        while reader.read_once(None)? > 0 {}
        if !self.connected.load(Ordering::SeqCst) {
            tell(Hearing::Back);
        }
        self.stalled.store(false, Ordering::SeqCst);
        if !self.set_connected(true, hub) {
            log::info!("Redis is back");
        }
        loop {
            let is_over = self.is_over(hub);
            let count = reader.read_once(if is_over { None } else { Some(BLOCK) })?;
            self.stalled.store(false, Ordering::SeqCst);
            if count == 0 {
                if is_over {
                    return Ok(());
                }
                reader.look_for_loss()?;
            }
            // A message that had been kept when all entries were asked for, and is not among them, was lost, or is in
            // another Redis than this.
            let asked = self.reads.load(Ordering::SeqCst);
            let is_late = |_, reads, taken: Instant| reads < asked && taken.elapsed() > LIMIT.saturating_sub(BLOCK);
            if count < READ_LIMIT && self.answer_all(Some(Refused::CannotKeep), is_late) > 0 {
                let line = "a message that it has taken does not come back";
                return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, line).into());
            }
        }
    }
}

/// A reader that is connected.
struct Reader<'a> {
    relay: &'a Relay,
    hub: &'a Hub,
    tell: &'a dyn Fn(Hearing),
    connection: Connection,
    place: &'a mut Place,
}

impl Reader<'_> {
    /// Reads what there is after what was read last, or waits for it so long, and posts it. Returns how many entries.
    fn read_once(&mut self, block: Option<Duration>) -> RedisResult<usize> {
        let mut read = cmd("XREAD");
        if let Some(block) = block {
            read.arg("BLOCK").arg(block.as_millis() as u64);
        }
        read.arg("COUNT").arg(READ_LIMIT).arg("STREAMS").arg(SAID).arg(PASSING);
        [self.place.said, self.place.passing].iter().for_each(|(id, more)| _ = read.arg(format!("{id}-{more}")));
        self.relay.reads.fetch_add(1, Ordering::SeqCst);
        let (new, is_all) = merge(read.query(&mut self.connection)?);
        let (count, newest) = (new.len(), new.last().map_or(0, |(_, entry)| entry.raw.0));
        let mut reached = None;
        for (is_said, Entry { raw, ours }) in new {
            if let Some(ours) = ours {
                reached = reached.max(Some(self.post(is_said, raw.0, ours)?));
            }
            if is_said {
                self.relay.last_read.fetch_max(raw.0, Ordering::SeqCst);
                self.place.said = raw;
            } else {
                self.place.passing = raw;
            }
        }
        if let Some(reached) = reached {
            self.hub.lend_a_hand(reached); // once for all: so batches grow with the load here too
            // An entry that was cut away, or lost, before it was read.
            self.relay.answer_all(Some(Refused::CannotKeep), |id, _, _| id <= newest);
        }
        if is_all {
            self.hub.confirm();
        }
        if self.place.has_lost {
            self.put_back(None)?;
            self.place.has_lost = false;
        }
        if self.place.is_stale {
            self.hub.renew(&things(cmd("HVALS").arg(THINGS).query(&mut self.connection)?));
            (self.tell)(Hearing::Renewed);
            self.place.is_stale = false;
        }
        Ok(count)
    }

    /// Posts what was said at any server; returns how many listeners here it reached. After an error nothing is posted,
    /// and the entry is read again.
    fn post(&mut self, is_said: bool, id: u64, ours: Ours) -> RedisResult<usize> {
        let (hub, last_read) = (self.hub, self.relay.last_read.load(Ordering::SeqCst));
        let on_this = if is_said { self.place.said.0 } else { self.place.passing.0 };
        self.place.has_lost |= ours.after.is_some_and(|after| after < on_this);
        self.place.is_stale |= if is_said { ours.message.is_none() } else { ours.after > Some(on_this) };
        // A server that found nothing in Redis has missed what was lost since, and nothing from before.
        if is_said && ours.before > if last_read > 0 { last_read } else { hub.last_id() } {
            journal::KEEPING.warn("some messages were gone from Redis before they were read here; listeners are told");
            hub.skip(ours.before);
            let place = &mut *self.place;
            (place.broken, place.is_stale, place.has_lost) = (false, true, false);
        }
        let is_posted = ours.message.is_some() && id > hub.last_id();
        if is_said && !self.place.broken && (ours.before < last_read || (ours.message.is_some() && !is_posted)) {
            self.tell_of_loss(Some(id))?;
            self.place.broken = true;
        }
        let receipt = match ours.message {
            Some(message) if is_posted => hub.post(Arc::new(message)),
            _ => Receipt { id, listeners: 0 },
        };
        if ours.from.0 == self.relay.server {
            self.relay.answer(ours.from.1, Ok(receipt));
        }
        hub.catch_up(receipt.listeners);
        Ok(receipt.listeners)
    }

    /// Looks whether Redis has lost what was read here last. Then the reader goes on with what Redis has.
    fn look_for_loss(&mut self) -> RedisResult<()> {
        let mut tops = Pipeline::new();
        [SAID, PASSING].iter().for_each(|key| _ = tops.cmd("XREVRANGE").arg(key).arg("+").arg("-").arg("COUNT").arg(1));
        let tops: [Vec<Told>; 2] = tops.query(&mut self.connection)?;
        let [said, passing] = tops.map(|top| entries(top).pop().map_or((0, 0), |newest| newest.raw));
        let is_said = said < self.place.said;
        if is_said || (said == self.place.said && passing < self.place.passing) {
            journal::KEEPING.warn("Redis has lost what it had last; the other servers and their listeners are told");
            // If its newest entry was not read here, others have spoken since.
            let is_broken = is_said && said.0 > 0 && !self.hub.knows(said.0);
            self.put_back(is_broken.then_some(said.0))?;
            (self.place.said, self.place.broken) = (said, is_broken);
        }
        self.place.passing = self.place.passing.min(passing);
        Ok(())
    }

    /// Puts back the newest words that Redis has lost, and [tells](Self::tell_of_loss) all servers to take them in.
    fn put_back(&mut self, broken: Option<u64>) -> RedisResult<()> {
        let mut back = cmd("EVAL");
        back.arg(BACK).arg(2).arg(THINGS).arg(SILENT).arg(self.relay.things);
        let (_, things) = self.hub.now(&Subscription { events: Events::All, ..Subscription::default() });
        for Thing { message, since, .. } in things {
            back.arg(name(&message)).arg(message.id).arg(write_thing(&message, since));
        }
        back.exec(&mut self.connection)?;
        self.tell_of_loss(broken)
    }

    /// Adds an entry that names the last one read here; with `broken`, an entry that was said by a server that did not
    /// have it, one that says that anything before may be lost.
    fn tell_of_loss(&mut self, broken: Option<u64>) -> RedisResult<()> {
        let number = self.relay.next.fetch_add(1, Ordering::Relaxed);
        let once = broken.map(|id| format!("lost:{id}"));
        self.relay.addition(["EVAL", ADD], number, None, once, self.hub).exec(&mut self.connection)
    }
}

/// The entries of both streams in the order of their ids, each with whether it was said; and whether these are all. If
/// one stream has more, entries of the other one that come after its last one here are left out.
fn merge(streams: Vec<(String, Vec<Told>)>) -> (Vec<(bool, Entry)>, bool) {
    let (mut all, mut end) = (vec![], u64::MAX);
    for (name, new) in streams {
        let new = entries(new);
        if new.len() >= READ_LIMIT {
            end = end.min(new[new.len() - 1].raw.0);
        }
        all.extend(new.into_iter().map(|entry| (name == SAID, entry)));
    }
    all.retain(|(_, entry)| entry.raw.0 <= end);
    all.sort_by_key(|(_, entry)| entry.raw);
    (all, end == u64::MAX)
}
