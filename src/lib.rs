//! `aloud`: say it once, everyone listening hears it. A synchronous HTTP broadcast server: threads, channels, and locks
//! you can count. This page is the map; each file opens with its own idea. If threads, locks and channels are new to
//! you, begin with the [`lesson`]. How aloud is used stands in the [`manual`].
//!
//! # The journey of a message
//!
//! ```text
//!  speaker                                                                                   listener
//!  POST /say ─▶ pool ─▶ gate ─▶ route ─▶ say ─▶ form ─▶ message ─▶ hub ─▶ letterbox ─▶ frame ─▶ GET /listen
//!                                         │                         │         ▲
//!                               "ok." ◀───┘                         │         └─ carried by the speaker's own hand;
//!                                                                   ▼            the listener's thread sleeps
//!                                                                history
//! ```
//!
//! 1. A connection that waits for its client is parked with the [`connections`](serve::connections) and has no thread.
//!    A thread of the [`pool`](serve::pool) that waits in [`watch`](net::watch) hears that something has come. The
//!    [`gate`](http::gate) reads it and lets whole, well-formed requests through ([`http::request`]).
//!    [`route`](api::route) finds the function that answers, [`auth`](http::auth) checks [`tokens`] and [`origin`],
//!    [`exchange`](http::exchange) has the body and sends the answer, and [`form`](http::form) makes a
//!    [`message`](room::message::Message) of the body.
//! 2. [`hub`](room::hub) takes its one lock, gives the message its id, keeps it in the [`history`](room::history) and
//!    puts one shared letter into the letterbox of every listener that wants it. Then the speaker has its answer, `ok.`
//! 3. The speaker's thread lends a hand: it walks along the letterboxes and sends what lies there, many letters in one
//!    send, with sends that never wait. This is called carrying. In a big room the keeper lends a second hand from the
//!    other end, and after a walk there is a rest, in which letters gather. [`frame`](room::frame) encodes a letter
//!    once for each format in use.
//! 4. If a socket is full, the speaker rings that listener's bell and goes on. The listener's own thread
//!    ([`listener`](room::listener)) wakes, waits for its socket and writes the rest. [`letterbox`](room::letterbox)
//!    says why no letter is left lying.
//!
//! A listener that comes back names the id it heard last ([`listen_query`](http::listen_query)). It joins and gets the
//! messages it missed under the one lock, so there is no hole between the two and nothing comes twice. If messages may
//! be missing, [`history`](room::history) knows, and the listener is told first: this is the gap. [`said`](api::said)
//! gives the kept messages without joining.
//!
//! A message that has to outlive the process takes one more step, between `say` and `hub`. It is handed in at the
//! [`commit_queue`](room::commit_queue). The commit queue's committer keeps all that lies there together (group
//! commit), in the file of the `store`, a SQLite database, or in Redis (`relay`). Only then the hub posts it and its
//! speaker is answered. Until then the speaker's connection waits there without a thread. With Redis many servers are
//! one conversation: each reads there the messages of all.
//!
//! A message that has a key is the newest word on a thing: a host, a pipeline, an alert, a number. The hub keeps the
//! newest word on each thing under the same lock ([`things`](room::things)), for longer than the history. All that
//! tells how things stand reads it there: [`now`](api::now), the metrics, the page, and the hosts after a restart.
//!
//! A forge or a monitor speaks too: [`hook`] makes a message of what it delivers, and from the hub on it goes the same
//! way. Beside the journey: [`hosts`] knows which hosts are alive, and says their changes as messages like any other;
//! [`page`] is the dashboard, a listener in a browser. Around it all: [`config`] holds the user's settings, [`journal`]
//! is the log, [`clock`] tells the time, [`service_manager`](os::service_manager) tells a service manager that we are
//! ready, [`check`] asks a server how it is.
//!
//! # The house
//!
//! The folders are layers: a higher one imports lower ones, never the other way (`tests/layers.rs`).
//!
//! | folder | what it knows |
//! |---|---|
//! | `main.rs`, [`check`] | flags, the log, start, wait for a signal, stop; how to ask a server whether it is well |
//! | [`serve`] | threads that wait and serve |
//! | [`api`] | one file for each thing that a client can ask for |
//! | [`hook`], [`hosts`], [`page`] | deliveries of forges and other senders, hosts and their beats, the dashboard |
//! | [`http`] | requests and answers |
//! | [`net`], [`keep`] | sockets; storage that outlives the process |
//! | [`room`] | the heart: messages, listeners, and the one lock |
//! | files in no folder | settings, the log, counters, secrets, names, words |
//! | [`os`] | the operating system |
//!
//! To read the heart in an evening: [`message`](room::message), [`subscription`](room::subscription),
//! [`frame`](room::frame), [`wire`](room::wire), [`letterbox`](room::letterbox), [`carriers`](room::carriers),
//! [`history`](room::history), [`things`](room::things), [`hub`](room::hub), [`listener`](room::listener),
//! [`commit_queue`](room::commit_queue). Then the threads: [`watch`](net::watch), [`pool`](serve::pool).
//!
//! # The threads
//!
//! | thread | how many | blocks on | woken by | ends when |
//! |---|---|---|---|---|
//! | main | 1 | the receiver of signals | SIGINT, SIGTERM, SIGHUP | the others have ended, or after 5 s |
//! | log | 1 | stderr; lines to write | a line that is logged | the process ends, after 0.5 s for the lines that are left |
//! | ctrl-c | 1 (the ctrlc crate's) | a signal | a signal | the process ends |
//! | waiting | one for each core | epoll | a connection, bytes on one, its end; messages that are kept, to be answered | the server stops |
//! | listener | one for each listener | its own bell; its socket; when the stream has ended, the channel of the next listener | the bell, or the heartbeat's time; bytes, or room for them; a listener that joins | the stream has ended for 5 s, or the server stops |
//! | conversation | one for a long answer | its socket | bytes, or room for them | the answer ends |
//! | committer | 1 with `--store` or `--redis`, else none | the [`commit_queue`](room::commit_queue); the disk, or Redis for 1.9 s | a message that is handed in | the hub is closed, and all that was handed in is kept |
//! | reader | 1 with `--redis`, else none | Redis, 0.5 s at a time | a message said at any server | the committer has ended |
//! | keeper | 1 | the receiver on which it is called; a rest, 0.1 s at most | a speaker that wants a second hand, has walked enough or meets a rest; once a second | the server stops |
//!
//! The waiting threads are leader and followers: the kernel gives an event to one of them, which serves it while the
//! next one waits. Serving never waits for a client; longer work gets a thread of its own. If a client asks again as
//! soon as it is answered, the thread polls for its next request for 0.1 ms before it sleeps. If no thread can be
//! started, that client is told so, and all others are served. If the descriptors are spent, the connections that have
//! been silent longest make room for newcomers, those of the client that holds most. No address holds more than half.
//!
//! # The locks
//!
//! Two kinds lie on the path of a message, and nobody waits for a socket under either:
//!
//! * the hub's, one (`Hub::room`): the listeners, the history, the things, the last id. Held while a message is posted,
//!   and while a listener joins or leaves, or a walk starts.
//! * the pens, one for each listener (`Letterbox::pen`): the bytes that are half sent. Only its holder writes to that
//!   listener. A speaker that finds a pen taken goes on, because the holder looks again afterwards.
//!
//! The order is hub, then pen, never the other way, and never two pens. Beside the path there are minor locks, each
//! described at its field. Two of them are held while these are taken: `Carriers::turn` for a walk, `Hosts::turn` while
//! a change among the hosts is published. The others are held for moments, and nothing but
//! `Socket::descriptor` is taken under them.
//!
//! # The counters
//!
//! The hub owns the [`counters`]. The code that does a thing counts it there by one relaxed instruction.
//! [`status`](api::status) reports them as `/health` and `/metrics`.
//!
//! # Stopping, in order
//!
//! Newcomers are refused (the listening socket is shut down, or left to the service manager it is from). The hub is
//! closed: speakers are refused from now on. Messages that lie on the commit queue are kept, posted and answered, for
//! which main waits. Then every listener delivers what its letterbox holds and ends its stream with the last chunk.
//! Every thread that waits is woken to end. Parked connections are closed. Then main waits for the last thread, at most
//! 5 s, and exits 0. A second signal exits 130 at once.
//!
//! # Absent
//!
//! * No async runtime, and no thread for a connection but a listener's own, or while a long answer lasts.
//! * No I/O in `room/hub.rs`, and no waiting under its lock. No waiting in [`say`](api::say) but on a thread of its
//!   own. No wire format outside `room/frame.rs`. No HTTP in `net/socket.rs`. No `unsafe` but one attribute in
//!   `main.rs`, and seven blocks in `os/raw.rs` and `net/socket.rs`.
//! * No wait for a client in a thread that others need, and no byte of a client's that tiny_http reads: it accepts the
//!   connections, and the gate reads the requests.
//! * No queue without a bound: listeners, connections and what each of them has on the commit queue, descriptors,
//!   letters waiting, history by count and by bytes, head, body and fields of a request and the time for them,
//!   deliveries and pipelines remembered, hosts and their figures, the time a listener may take nothing, the time to
//!   stop, log lines that wait and those about the same trouble.
//! * No order but one: all listeners hear the order of ids.
//!
//! # Known flaws
//!
//! * An `EventSource` that has not heard a message yet has no id to come back with, so it is not told what it missed:
//!   an `id:` at the start of the stream would need a blank line after it, which some readers (httpx-sse) take for an
//!   event.
//! * After a crash, with `--store`, a listener that heard a host's beat last is told of a gap that is none: beats are
//!   not kept, and the newest id is noted when the server stops.
//! * With `--store`, a refused message is written over before its speaker is told. If the disk has taken the message,
//!   but could not sync it, and then does not take that write either, the message is there if the server is killed
//!   next.
//! * With `--redis`, a message that Redis was sent in the moment it went away may be heard although it was refused. And
//!   each server remembers for itself how pipelines stand (`hook::Memory`).
//! * A listener whose machine vanishes in silence is missed at the second heartbeat (30 s), not at once.
//! * A full TCP window is indistinguishable from a stalled reader: one that takes nothing for 12 s is hung up on.

pub mod lesson;
pub mod manual;

#[cfg(not(loom))]
pub mod serve;

#[cfg(not(loom))]
pub mod api;
#[cfg(not(loom))]
pub mod hook;
#[cfg(not(loom))]
pub mod hosts;
#[cfg(not(loom))]
pub mod page;

#[cfg(not(loom))]
pub mod http;
#[cfg(not(loom))]
pub mod keep;
#[cfg(not(loom))]
pub mod net;

pub mod room;

#[cfg(not(loom))]
pub mod check;
pub mod clock;
pub mod config;
pub mod counters;
pub mod flags;
#[cfg(not(loom))]
pub mod journal;
pub mod names;
pub mod origin;
pub mod parameters;
pub mod proxies;
pub mod secret;
pub mod sync;
pub mod text;
pub mod tokens;

pub mod os;
