//! The committer's side: what is handed in goes to Redis.

use std::sync::atomic::Ordering;
use std::time::Instant;

use redis::{Connection, ErrorKind, RedisError, RedisResult, ServerErrorKind, cmd, from_redis_value};

use crate::clock::now_micros;
use crate::journal;
use crate::keep::relay::entry::{ADD, hexadecimal};
use crate::keep::relay::{BLOCK, LIMIT, Relay, Waiting, connect, why};
use crate::room::commit_queue::{Committer, Pending};
use crate::room::{Digest, Hub, Message, Receipt, Refused};
use crate::sync::lock;

/// The committer's connection.
struct Link {
    connection: Connection,
    /// The digest by which Redis knows the script.
    script: String,
    /// How often the reader had been cut off when this was connected.
    cuts: u64,
}

/// A message, its number among those of this server, and its digest if it is to be said once.
type Numbered = (u64, Message, Option<Digest>);

impl Relay {
    /// The committer's loop: sends what is handed in until the commit queue is closed.
    pub fn send_all(&self, mut committer: Committer, hub: &Hub) {
        let mut link = None;
        while let Some(batch) = committer.take(BLOCK) {
            if batch.is_empty() {
                self.keep_alive(&mut link);
                continue;
            }
            let sent = self.send(batch, &mut link, hub);
            if let Some(commit_queue) = hub.commit_queue() {
                commit_queue.note(sent.is_ok());
            }
            if let Err(error) = sent {
                journal::KEEPING.warn(format_args!("Redis does not take messages ({}); they are refused", why(&error)));
            }
        }
        self.all_sent.store(true, Ordering::SeqCst);
    }

    /// Says something on a silent connection, so that neither Redis nor a router on the way drops it. If it is gone, it
    /// is made anew before somebody needs it.
    fn keep_alive(&self, link: &mut Option<Link>) {
        if let Err(error) = self.link(link).and_then(|link| cmd("PING").exec(&mut link.connection)) {
            self.drop_link(link, error);
            let _ = self.link(link).map(drop);
        }
    }

    fn send(&self, batch: Vec<Pending>, link: &mut Option<Link>, hub: &Hub) -> RedisResult<()> {
        let (time, taken) = (now_micros(), Instant::now());
        let mut messages = vec![];
        for mut speaker in batch {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let message = Message { time, ..std::mem::take(&mut speaker.message) };
            messages.push((number, message, speaker.once));
            lock(&self.waiting).insert(number, Waiting { speaker, taken, kept: None });
        }
        let mut first_error = None;
        for is_last in [false, true] {
            let answers = self.ask(&messages, link, hub);
            for (one, answer) in std::mem::take(&mut messages).into_iter().zip(answers) {
                match answer {
                    Ok(0) => self.answer(one.0, Ok(Receipt { id: 0, listeners: 0 })),
                    Ok(id) => self.note_id(one.0, id),
                    Err(error) if !is_last && is_not_added(&error) => messages.push(one),
                    Err(error) => {
                        self.answer(one.0, Err(refused(&error)));
                        first_error = first_error.or(Some(error));
                    }
                }
            }
            if messages.is_empty() {
                break;
            }
            *link = None; // Redis has forgotten the script, or is not the one that takes messages any more
        }
        first_error.map_or(Ok(()), |error| Err(self.drop_link(link, error)))
    }

    /// Makes one round trip, with an answer for each message. After a missing answer no other is waited for:
    /// `Pipeline::query` would wait for each in turn, and a Redis that hangs would hold up a hundred speakers for
    /// minutes.
    fn ask(&self, messages: &[Numbered], link: &mut Option<Link>, hub: &Hub) -> Vec<RedisResult<u64>> {
        let mut answers = vec![];
        let all = self.link(link).and_then(|link| {
            let command = |(number, message, once): &Numbered| {
                let how = ["EVALSHA", &link.script];
                self.addition(how, *number, Some(message), once.as_ref().map(hexadecimal), hub).get_packed_command()
            };
            let commands: Vec<_> = messages.iter().map(command).collect();
            link.connection.send_packed_command(&commands.concat())?;
            for _ in messages {
                let answer = link.connection.recv_response()?;
                answers.push(answer.extract_error().and_then(|id| Ok(from_redis_value(id)?)));
            }
            Ok(())
        });
        if let Err(error) = all {
            answers.resize(messages.len(), Err(error));
        }
        answers
    }

    /// The connection, made anew if there is none or the reader was cut off since. If the reader is not connected, or
    /// Redis has left an answer out, it is away, and nobody waits here to learn it.
    fn link<'a>(&self, link: &'a mut Option<Link>) -> RedisResult<&'a mut Link> {
        if !self.connected.load(Ordering::SeqCst) || self.stalled.load(Ordering::SeqCst) {
            return Err(std::io::Error::from(std::io::ErrorKind::NotConnected).into());
        }
        let (cuts, begun) = (self.cuts.load(Ordering::SeqCst), Instant::now());
        let link = match link.take() {
            Some(of_now) if of_now.cuts == cuts => link.insert(of_now),
            _ => {
                let mut connection = connect(&self.client)?;
                let script = cmd("SCRIPT").arg("LOAD").arg(ADD).query(&mut connection)?;
                link.insert(Link { connection, script, cuts })
            }
        };
        let left = LIMIT.saturating_sub(begun.elapsed()).max(BLOCK); // to connect and to ask: both in time
        link.connection.set_read_timeout(Some(left))?;
        Ok(link)
    }

    /// Closes the connection after an `error`. Notes it if Redis has left an answer out.
    fn drop_link(&self, link: &mut Option<Link>, error: RedisError) -> RedisError {
        *link = None;
        self.stalled.fetch_or(error.is_timeout(), Ordering::SeqCst);
        error
    }

    /// Notes that Redis has the message of this `number`. Its receipt comes from the reader, or from here if the reader
    /// is not connected.
    fn note_id(&self, number: u64, id: u64) {
        if let Some(waiting) = lock(&self.waiting).get_mut(&number) {
            waiting.kept = Some((id, self.reads.load(Ordering::SeqCst)));
        }
        if !self.connected.load(Ordering::SeqCst) {
            self.answer(number, Ok(Receipt { id, listeners: 0 }));
        }
    }

    /// Tells the speaker of this number the result.
    pub(super) fn answer(&self, number: u64, answer: Result<Receipt, Refused>) {
        let waiting = lock(&self.waiting).remove(&number);
        if let Some(waiting) = waiting {
            waiting.speaker.answer(answer);
        }
    }

    /// Tells speakers whose message Redis has the `refusal`, or their receipt if there is none: those for whom `is_over`
    /// says so. It is given the id, how often the reader had asked for entries before Redis had the message, and the
    /// moment at which the message was taken from the queue. Returns how many were told.
    pub(super) fn answer_all(&self, refusal: Option<Refused>, is_over: impl Fn(u64, u64, Instant) -> bool) -> usize {
        let is_over = |one: &Waiting| one.kept.is_some_and(|(id, reads)| is_over(id, reads, one.taken));
        let over: Vec<_> = lock(&self.waiting).extract_if(|_, one| is_over(one)).collect();
        let count = over.len();
        for (_, Waiting { speaker, kept, .. }) in over {
            let receipt = Receipt { id: kept.map_or(0, |(id, _)| id), listeners: 0 };
            speaker.answer(refusal.map_or(Ok(receipt), Err));
        }
        count
    }
}

/// Whether Redis has said that it has not run the script, and another connection may lead to one that does.
fn is_not_added(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::NoScript | ServerErrorKind::ReadOnly))
}

/// The refusal for a speaker. Before Redis 7, the code of an error in a script is in its text.
fn refused(error: &RedisError) -> Refused {
    let is_full = error.code() == Some("OOM") || error.detail().is_some_and(|detail| detail.contains("-OOM "));
    if is_full { Refused::NoRoomInRedis } else { Refused::CannotKeep }
}
