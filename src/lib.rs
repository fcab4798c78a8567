//! `aloud`: say it once, everyone listening hears it. A synchronous HTTP broadcast server: threads, channels, and locks
//! you can count. This page is the map; each file opens with its own idea.
//!
//! # The journey of a message
//!
//! ```text
//!  speaker                                                                            listener
//!  POST /say ─▶ pool ─▶ route ─▶ say ─▶ form ─▶ message ─▶ hub ─▶ letterbox ─▶ frame ─▶ GET /listen
//!                                        │                  │         ▲
//!                              "ok." ◀───┘                  │         └─ carried by the speaker's own hand;
//!                                                           ▼            the listener's thread sleeps
//!                                                        history
//! ```
//!
//! 1. A thread of the [`pool`] has accepted the connection and serves it to its end. [`route`] finds the function that
//!    answers; [`exchange`] reads the body within bounds; [`form`] makes a [`message`](message::Message) of it.
//! 2. [`hub`] takes its one lock, gives the message its id, keeps it in the [`history`] and puts one shared letter into
//!    the letterbox of everyone who wants it. Then the speaker has its answer, `ok.`
//! 3. The speaker's thread lends a hand: it walks along the letterboxes and sends what lies there, many letters in one
//!    send, with sends that never wait. In a big room the keeper lends a second hand from the other end. [`frame`] encodes
//!    a letter once for each format somebody listens in.
//! 4. Where a socket is full, the speaker rings that listener's bell and goes on. The listener's own thread
//!    ([`listen`]) wakes, waits for its socket and writes the rest. [`letterbox`] says why no letter is left lying.
//!
//! A forge speaks too: [`hook`] makes a message of what it delivers, and from the hub on it goes the same way.
//!
//! # The threads
//!
//! | thread | how many | blocks on | woken by | ends when |
//! |---|---|---|---|---|
//! | main | 1 | the receiver of signals | SIGINT, SIGTERM, SIGHUP | the others have ended, or after 5 s |
//! | ctrl-c | 1 (the ctrlc crate's) | a signal | a signal | the process ends |
//! | conversation, while it waits | at least one for each core | the turn to accept; with it, `accept` | the one before it; a connection | more than two for each core wait, or the server stops |
//! | conversation, while it serves | one for each open connection | the next request; a listener: its own bell | bytes; the bell, or the heartbeat's time | the connection ends; then it waits again |
//! | keeper | 1 | the receiver on which it is called | a speaker that wants a second hand or has walked enough; once a second | the server stops |
//!
//! A thread that accepts becomes the conversation and first starts another if too few are left waiting (leader and
//! followers). If no thread can be started, or the descriptors are spent, those that are connected are served on, the
//! log says so, and newcomers wait until somebody leaves.
//!
//! # The locks
//!
//! Two kinds lie on the path of a message, and nobody waits for a socket under either:
//!
//! * the hub's, one (`Hub::room`): who listens, what was said, the last id. Held while a message is posted, while
//!   somebody joins, leaves, or starts a walk.
//! * the pens, one for each listener (`Letterbox::pen`): what was half sent. Its holder alone writes to that listener.
//!   A speaker that finds a pen taken goes on, because the holder looks again afterwards.
//!
//! The order is hub, then pen, never the other way, and never two pens. Beside the path: `Hub::turn` (who walks),
//! `hook::Memory` (what forges have said), `Shared::turn` (who accepts), `Shared::descriptors` and `Shared::open` (the pool's books), and `Socket::open`, held
//! for one system call so that no number is used after it was given back.
//!
//! # Stopping, in order
//!
//! Newcomers are refused (the listening socket is shut down, which wakes who accepts). The hub is closed: whoever speaks
//! now is refused, every listener delivers what its letterbox holds and ends its stream with the last chunk. Idle
//! connections are cut. Then main waits for the last thread, at most 5 s, and exits 0. A second signal exits 130 at once.
//!
//! # What is absent
//!
//! * No async runtime, and no thread beside a listener's own.
//! * No I/O and no waiting in `hub.rs`; no waiting for anybody in [`say`]; no wire format outside `frame.rs`; no HTTP in
//!   `socket.rs`; no `unsafe` outside it, and there one line.
//! * No queue without a bound: listeners, connections, descriptors, letters waiting, history by count and by bytes, body,
//!   URL, fields, deliveries and pipelines remembered, the time a listener may take nothing, the time to stop, log lines
//!   about the same trouble.
//! * No order but one: all listeners hear the order of ids.
//!
//! # Known flaws
//!
//! * tiny_http refuses some valid heads (a tab or a non-ASCII byte in a header's value, a dot in its name) with an empty
//!   400, answers a client that half-closes or idles with a stray 400, and trusts a hostile client in ways that a gate in
//!   front of it (between [`pool`] and [`route`]) is to close. Until that stands, keep aloud off the open internet.
//! * A listener whose machine vanishes in silence is missed at the second heartbeat (30 s), not at once.
//! * SIGHUP stops it as SIGTERM does, under `nohup` too, because the ctrlc crate takes all three; start it with `setsid` to
//!   have it outlive a terminal.
//! * A full TCP window is indistinguishable from a stalled reader: one that takes nothing for 12 s is hung up on.

pub mod config;
#[cfg(not(loom))]
pub mod journal;

#[cfg(not(loom))]
pub mod socket;

#[cfg(not(loom))]
pub mod pool;

#[cfg(not(loom))]
pub mod exchange;
#[cfg(not(loom))]
pub mod route;

#[cfg(not(loom))]
pub mod form;
#[cfg(not(loom))]
pub mod hook;
#[cfg(not(loom))]
pub mod say;

pub mod message;

pub mod history;
pub mod hub;
pub mod sync;

pub mod frame;
pub mod letterbox;
#[cfg(not(loom))]
pub mod listen;
