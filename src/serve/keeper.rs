//! The keeper: the thread for all work that no other thread does.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use crate::hosts::handlers;
use crate::journal;
use crate::os::raw::give_memory_back;
use crate::serve::server::Server;
use crate::serve::threads::STACK_BYTES;
use crate::sync::sleep_until_rung;

/// The time between two ticks. At each tick the keeper looks around, even if nobody calls it.
const KEEPER_TICK: Duration = Duration::from_secs(1);

/// The time to the next tick after many hosts have fallen silent at once: each tick tells of some of them.
const SOON: Duration = Duration::from_millis(25);

/// The keeper's ticks after which freed memory is given back to the system. Once a minute is enough: it takes half a
/// millisecond when a thousand listeners have left.
const TICKS_TO_GIVE_BACK: u32 = 60;

impl Server {
    /// Starts the keeper. It carries letters when speakers call it, as a second hand. At each tick it watches
    /// for newcomers again, closes connections that have waited too long, says which hosts have fallen silent, and logs
    /// the counts of troubles. Once a minute it gives memory back.
    ///
    /// # Errors
    /// That of starting a thread.
    pub(super) fn start_keeper(self: &Arc<Server>, called: Receiver<()>) -> io::Result<()> {
        let server = self.clone();
        let mut next_tick = Instant::now() + KEEPER_TICK;
        let mut ticks = 0;
        let life = move || {
            while !server.stopping() {
                if sleep_until_rung(&called, next_tick.saturating_duration_since(Instant::now())) {
                    server.service.hub.lend_a_second_hand();
                }
                if Instant::now() >= next_tick {
                    server.look_for_newcomers_again();
                    server.end_overdue();
                    let is_more = handlers::tick(&server.service.hosts, &server.service.hub);
                    next_tick = Instant::now() + if is_more { SOON } else { KEEPER_TICK };
                    journal::settle_all();
                    ticks += 1;
                    if ticks % TICKS_TO_GIVE_BACK == 0 {
                        give_memory_back();
                    }
                }
            }
        };
        self.start_thread("keeper", STACK_BYTES, Box::new(life))
    }
}
