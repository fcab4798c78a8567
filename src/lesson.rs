//! The lesson: synchronous concurrency, learned from one server. For a reader who knows Rust and no concurrency; it
//! takes an evening. There is no code in this file but the examples, and they run.
//!
//! # The idea, in some forty lines
//!
//! Everything began with a program like this one, in Go. It works, and it is easy to love:
//!
//! ```go
//! package main
//!
//! import (
//!     "fmt"
//!     "net/http"
//! )
//!
//! // All listeners.
//! var listeners []chan string
//!
//! // A caller hears everything that is said from now on.
//! func listen(w http.ResponseWriter, r *http.Request) {
//!     w.Header().Set("Content-Type", "text/event-stream")
//!     w.(http.Flusher).Flush()
//!     hears := make(chan string)
//!     listeners = append(listeners, hears)
//!     for line := range hears {
//!         fmt.Fprintf(w, "%s\r\n", line)
//!         w.(http.Flusher).Flush()
//!     }
//! }
//!
//! // A caller is heard.
//! func say(w http.ResponseWriter, r *http.Request) {
//!     line := r.FormValue("name") + " " + r.FormValue("message")
//!     for _, listener := range listeners {
//!         listener <- line
//!     }
//!     fmt.Fprint(w, "ok.")
//! }
//!
//! func main() {
//!     http.HandleFunc("/listen", listen)
//!     http.HandleFunc("/say", say)
//!     fmt.Println("Running at :4000")
//!     http.ListenAndServe(":4000", nil)
//! }
//! ```
//!
//! # The idea in Rust, and six ways to break it
//!
//! `scripts/lesson/src/bin/naive.rs` is that program in Rust: a thread for each connection, a lock around a `Vec` of
//! senders, and a listener that is found gone is struck off. Read it, run it, listen in a second terminal, speak in a
//! third:
//!
//! ```sh
//! cd scripts/lesson && cargo run --bin naive
//! ```
//!
//! ```sh
//! curl localhost:4000/listen
//! ```
//!
//! ```sh
//! curl localhost:4000/say -d 'name=Florian&message=Hi'
//! ```
//!
//! Then break it. Guess first what will happen, and why; start it anew after each.
//!
//! **1. Two listeners, and one is stopped.** Listen in two terminals and press Ctrl-Z in the first. Then speak until
//! nobody answers any more, and look whether the second one hears you.
//!
//! ```sh
//! head -c 1M /dev/zero | tr '\0' x | curl --fail-early -m 5 'localhost:4000/say?[1-99]' --data-urlencode message@-
//! curl -m 5 localhost:4000/say -d 'name=Florian&message=Hi'; echo $?
//! ```
//!
//! The socket of the one that is stopped is full, then its channel is. The speaker waits for it, and holds the lock
//! meanwhile, so no one speaks, no one is heard, no one joins. Let it go on (`fg`), and all go on. The answer in aloud:
//! [`letterbox`](crate::room::letterbox), in which posting never waits, and [`listener`](crate::room::listener), whose
//! own thread waits for the full socket.
//!
//! **2. A hundred listeners that have left.** They come, they go, and nobody speaks. Count the threads:
//!
//! ```sh
//! for i in $(seq 100); do curl -sN localhost:4000/listen & curls+=" $!"; done
//! kill $curls
//! ls /proc/$(pgrep naive)/task | wc -l
//! ```
//!
//! A sender finds out only when it sends. The answer: [`watch`](crate::net::watch) is told by the kernel when a client
//! hangs up, and [`hub`](crate::room::hub) takes it off the list.
//!
//! **3. Ten thousand joins.** Start the program with few descriptors, as a small machine has them, and have many join:
//!
//! ```sh
//! (ulimit -n 256; cargo run --bin naive)
//! curl -sNZ --parallel-immediate --parallel-max 300 'localhost:4000/listen?[1-10000]'
//! ```
//!
//! Accepting fails, and with it ends the program, for those too that were listening. The answer:
//! [`newcomers`](crate::serve::newcomers) makes room or waits for some, and [`limits`](crate::os::limits) knows before
//! how many there may be.
//!
//! **4. A version that is none.** Ask for HTTP/2.0, which nobody here speaks, and count the threads again:
//!
//! ```sh
//! exec 3<>/dev/tcp/localhost/4000; printf 'GET / HTTP/2.0\r\n\r\n' >&3; timeout 2 cat <&3; echo $?
//! ```
//!
//! No answer comes (124 is `timeout`'s word for that), and the thread never ends, even when the client is gone. This is
//! a fault of the library, and a server has to live with its libraries. The answer: [`gate`](crate::http::gate) reads
//! each head before tiny_http does, and [`framing`](crate::http::framing) says what may pass.
//!
//! **5. A line without an end.** One client, one line, and the program keeps it all:
//!
//! ```sh
//! { printf 'GET / HTTP/1.1\r\nA: '; head -c 20000000 /dev/zero | tr '\0' x; } >/dev/tcp/localhost/4000
//! grep VmHWM /proc/$(pgrep naive)/status
//! ```
//!
//! The answer: [`framing`](crate::http::framing) has a bound for each head, and [`form`](crate::http::form) one for
//! each message.
//!
//! **6. A message in somebody else's name.** Listen, and let Ann speak:
//!
//! ```sh
//! curl localhost:4000/say -d 'name=Ann&message=Hi%0D%0ABob I+quit'
//! ```
//!
//! Ann said it, and Bob is heard. The answer: [`frame`](crate::room::frame), which knows for each format what ends a
//! message.
//!
//! Two things it never had: a listener that was away for a minute gets what it missed
//! ([`history`](crate::room::history)), and a server ends in order ([`server`](crate::serve::server)).
//!
//! # How it goes wrong
//!
//! | | what happens | why | the answer in aloud | see it fail |
//! |---|---|---|---|---|
//! | 1 | two listeners hear two orders | two speakers walk along the list at once and overtake each other | [`hub`](crate::room::hub): number and post under one lock | `order` |
//! | 2 | nobody hears anything any more | `listener <- line` waits for the slowest listener, one whose laptop is shut | [`letterbox`](crate::room::letterbox): post and send without ever waiting | `speaker` |
//! | 3 | memory grows, each message takes longer | nobody removes the listeners that have left | [`hub`](crate::room::hub) and [`listen`](crate::api::listen): a thread that finds a listener gone says so | `dead` |
//! | 4 | memory is gone | the first cure of 2 that comes to mind, a queue without an end | `Letterbox::limit`: a bound, and a decision at the bound | `queue` |
//! | 5 | somebody listens and hears nothing | two newcomers append at once, and one of the two is lost | a [`lock`](crate::sync::lock) around the list; and more than that, around *look and act* | `list` |
//!
//! The last column names a pair of small programs in `scripts/lesson`. `cargo run --bin order_wrong` there fails in
//! front of your eyes and says how; `order_right` differs in a few lines, and says what it shows. Read them in pairs,
//! beside each chapter.
//!
//! Rust finds the fifth at compile time, as far as it is a *data race*: two threads touch one `Vec`, one of them
//! writes, and nothing orders them. It cannot find the *race* that is left when each touch is guarded and the two
//! belong together. That one takes thought, and this page is about the thought.
//!
//! # 1. A channel: hand it over, do not share it
//!
//! A channel is a queue with two ends. A value that you send is no longer yours; its receiver owns it. A thread that
//! waits at the receiving end costs nothing until something comes. Three things matter more than the sending:
//!
//! * Its **capacity**. With a bounded channel, a sender finds out that the receiver is slow. With an unbounded one,
//!   nobody ever does.
//! * The meaning of **full**: wait (`send`), or be told (`try_send`).
//! * The meaning of **disconnected**. When the last sender is gone, the receiver is told, after everything that was
//!   sent. When the receiver is gone, each sender is told. So the end of a channel is a message too, and one that
//!   cannot be forgotten.
//!
//! ```
//! use crossbeam_channel::{RecvError, TrySendError, bounded};
//!
//! let (speaker, hears) = bounded(2);
//! speaker.send("one").unwrap();
//! speaker.send("two").unwrap();
//! // Full. `send` would wait for the listener, and a speaker must not.
//! assert_eq!(speaker.try_send("three"), Err(TrySendError::Full("three")));
//!
//! drop(speaker); // nobody will ever send again
//! assert_eq!(hears.recv(), Ok("one"));
//! assert_eq!(hears.recv(), Ok("two"));
//! assert_eq!(hears.recv(), Err(RecvError)); // an end, and not a wait for ever
//! ```
//!
//! In aloud: the letters of a [`letterbox`](crate::room::letterbox), its bell, the keeper's call in
//! [`hub`](crate::room::hub), the messages on the [`commit_queue`](crate::room::commit_queue), the first signal in
//! `main.rs`, and the end of all threads in [`pool`](crate::serve::pool). The comment on a field that is a channel says
//! who sends, who receives, how much it holds, and what it means when it is disconnected.
//!
//! **Why is the letterbox unbounded, then?** crossbeam's bounded channel allocates all its slots when it is made: 6 KiB
//! for each listener, and most listeners never have more than one letter waiting. The letterbox takes the unbounded one
//! and counts itself, so it has the bound without its price. The bound is what matters. Without it, one listener that
//! sleeps through an hour at the rate of the benchmark's paced scenario (200 messages a second) would keep 720,000
//! messages alive. With it, 256: then the listener is hung up on. It can come back with its last id, and gets the
//! messages it missed from the [`history`](crate::room::history), where a message lies once for everyone.
//!
//! # 2. A lock: look and act as one
//!
//! A `Mutex` lets one thread in at a time. It protects not only the data but a *sentence about the data* that holds
//! whenever nobody is inside: "every listener on this list gets every message after its place in the history". Inside,
//! the sentence may be broken for a moment. So the lock has to be held from the first look to the last act that
//! together keep the sentence true, and not longer.
//!
//! ```
//! use std::sync::Mutex;
//! use std::thread;
//!
//! struct Room {
//!     last: u64,
//!     said: Vec<u64>,
//! }
//!
//! let room = Mutex::new(Room { last: 0, said: vec![] });
//! thread::scope(|scope| {
//!     for _ in 0..4 {
//!         scope.spawn(|| {
//!             for _ in 0..1000 {
//!                 let mut room = room.lock().unwrap();
//!                 room.last += 1; // taking the number ...
//!                 let number = room.last;
//!                 room.said.push(number); // ... and posting it: nobody can come between
//!             }
//!         });
//!     }
//! });
//! let said = room.into_inner().unwrap().said;
//! assert!(said.is_sorted() && said.len() == 4000); // the order of posting is the order of numbers
//! ```
//!
//! In aloud one lock, `Hub::room`, makes three promises at once. Ids and letterboxes have one order
//! ([`Hub::publish_once`](crate::room::hub::Hub::publish_once)). A listener that comes back hears everything once
//! ([`Hub::join`](crate::room::hub::Hub::join) reads the history and appends to the list inside one lock). Nobody is
//! accepted after the stop. Under the lock nothing waits and no system call is made.
//!
//! **Why not hold the lock while writing to the sockets?** It would keep the order, and it is the shortest program. But
//! each `write` is a system call, and a thousand listeners are a thousand of them. The floor of the benchmark does
//! little else, and spends 5.50 us for each delivery. nginx with nchan writes to 1,000 listeners before it answers, and
//! its `/say` takes 6.36 ms (p50); aloud posts and answers, in 0.659 ms. And that is while all goes well. One socket
//! whose buffer is full would hold the lock until its listener reads, or is given up after [12
//! s](crate::room::wire::STALL_LIMIT). All who speak, join or leave would wait with it.
//!
//! Two locks are more than twice as hard as one: a thread that holds the first and waits for the second stands still
//! for ever if another does the reverse. So their order is written down where everyone looks, on the [first
//! page](crate): hub, then pen, never two pens.
//!
//! # 3. Letterbox and bell: whose time is spent
//!
//! The Go program wakes every listener's thread for every message. To wake a thread, have it run for a moment and put
//! it to sleep again costs more than the write it was woken for. Here it sleeps on, and the speaker, which
//! is awake anyway, writes. Only if a socket is full, so that somebody has to *wait*, does the listener's own thread do
//! it: its time is its own. The bell wakes it. A bell has a capacity of one, because ringing twice is ringing once:
//!
//! ```
//! use std::thread;
//! use std::time::Duration;
//!
//! use aloud::sync::sleep_until_rung;
//! use crossbeam_channel::bounded;
//!
//! let (bell, sleeper) = bounded(1);
//! let (letters, letterbox) = crossbeam_channel::unbounded();
//! let listener = thread::spawn(move || {
//!     let mut heard = vec![];
//!     while heard.len() < 3 {
//!         assert!(sleep_until_rung(&sleeper, Duration::from_secs(60)));
//!         heard.extend(letterbox.try_iter()); // all that lies there, not one for each ring
//!     }
//!     heard
//! });
//! for letter in ["one", "two", "three"] {
//!     letters.send(letter).unwrap(); // first the letter,
//!     let _ = bell.try_send(()); // then the bell; if it is rung already, good
//! }
//! assert_eq!(listener.join().unwrap(), ["one", "two", "three"]);
//! ```
//!
//! The order of the two lines in the loop is the whole art. Ring first, and the listener may look, find nothing and
//! fall asleep before the letter comes: a *lost wake-up*, which no test finds on the day it is written. With the letter
//! first, the thread that clears the bell looks afterwards, so it finds the letter.
//!
//! Two threads may not write to one socket at once, so writing takes the **pen**, which a speaker only ever *tries* to
//! take. And if it is taken? Then its holder sees to the new letter too, because it looks once more after it has put
//! the pen down:
//!
//! ```
//! use std::sync::Mutex;
//! use std::sync::atomic::{Ordering, fence};
//! use std::thread;
//!
//! use crossbeam_channel::{Receiver, Sender, unbounded};
//!
//! /// Puts a letter in and carries what it can. Never waits.
//! fn say(letters: &Sender<u32>, letterbox: &Receiver<u32>, pen: &Mutex<Vec<u32>>, letter: u32) {
//!     letters.send(letter).unwrap();
//!     loop {
//!         fence(Ordering::SeqCst); // letter in, then look at the pen; below: pen down, then look at the letters
//!         let Ok(mut socket) = pen.try_lock() else { return }; // its holder looks again
//!         socket.extend(letterbox.try_iter());
//!         drop(socket);
//!         fence(Ordering::SeqCst);
//!         if letterbox.is_empty() {
//!             return;
//!         }
//!     }
//! }
//!
//! let ((letters, letterbox), pen) = (unbounded(), Mutex::new(vec![]));
//! thread::scope(|scope| {
//!     for speaker in 0..4 {
//!         let (letters, letterbox, pen) = (&letters, &letterbox, &pen);
//!         scope.spawn(move || (0..1000).for_each(|number| say(letters, letterbox, pen, speaker * 1000 + number)));
//!     }
//! });
//! assert_eq!(pen.into_inner().unwrap().len(), 4000); // no letter is left lying
//! ```
//!
//! A test that has passed a thousand times does not prove that no letter is left lying.
//! [`letterbox`](crate::room::letterbox) says why it is so, and a model check (`--cfg loom`, see [`sync`](crate::sync))
//! runs the unchanged code through every order in which its threads can meet. Take one of the two fences away, and the
//! check shows you the order that loses a letter.
//!
//! **The gain.** CPU for each delivery with 1,000 listeners: 6.56 us here, 12.3 us from a program in Go that wakes
//! every listener by its own channel.
//!
//! # 4. Leader and followers: who waits for newcomers
//!
//! A thread for each connection is simple, and a waste for silent ones. One thread that waits for all and hands each
//! event to another thread costs a wake-up for each event. Leader and followers is the third way: threads take turns at
//! waiting. The leader waits. When something happens, it gives up the lead and serves the event *itself*, while a
//! follower leads.
//!
//! ```
//! use std::sync::Mutex;
//! use std::thread;
//!
//! use crossbeam_channel::unbounded;
//!
//! let (clients, happens) = unbounded::<&str>();
//! let (rescue, rescued) = unbounded();
//! let (answer, answers) = unbounded();
//! let lead = Mutex::new(happens);
//! thread::scope(|scope| {
//!     for _ in 0..2 {
//!         let (lead, rescue, rescued, answer) = (&lead, rescue.clone(), rescued.clone(), answer.clone());
//!         scope.spawn(move || {
//!             loop {
//!                 let leader = lead.lock().unwrap();
//!                 let Ok(what) = leader.recv() else { return }; // no more clients: everyone ends
//!                 drop(leader); // the next one waits, before this one works
//!                 match what {
//!                     "long" => rescued.recv().unwrap(), // takes until the short one is done
//!                     _ => rescue.send(()).unwrap(),
//!                 }
//!                 answer.send(what).unwrap();
//!             }
//!         });
//!     }
//!     clients.send("long").unwrap();
//!     clients.send("short").unwrap();
//!     drop(clients);
//! });
//! drop(answer);
//! assert_eq!(answers.iter().count(), 2); // the long one did not stand in the way of the short one
//! ```
//!
//! In aloud the kernel is the lock: many threads wait in one epoll, and it gives each event to one of them
//! ([`watch`](crate::net::watch), [`pool`](crate::serve::pool)). A leader never waits for a client there. A
//! conversation that lasts gets a thread of its own.
//!
//! # 5. Stopping: everyone is told, and everyone is waited for
//!
//! A thread that blocks cannot be stopped from outside; it has to be woken and to find out. So each thing that a thread
//! may block on has a way to wake it: epoll has an eventfd, a bell is rung, a channel is disconnected, a socket is cut.
//! The [table of threads](crate) has a column for that, and a thread without an entry there could not end. Waiting for
//! *all* needs no count and no list of handles: each holds a sender of a channel on which nothing is ever sent.
//!
//! ```
//! use std::convert::Infallible;
//! use std::thread;
//! use std::time::Duration;
//!
//! use crossbeam_channel::{RecvTimeoutError, bounded};
//!
//! let (alive, ended) = bounded::<Infallible>(0);
//! let (stop, stopped) = bounded::<Infallible>(0);
//! for _ in 0..3 {
//!     let (alive, stopped) = (alive.clone(), stopped.clone());
//!     thread::spawn(move || {
//!         let _ = stopped.recv(); // its life, until the stop
//!         drop(alive); // also if it panics: that is why it is a value and not a call
//!     });
//! }
//! drop(alive);
//! assert_eq!(ended.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout)); // all are alive
//! drop(stop); // one act tells everyone
//! assert_eq!(ended.recv_timeout(Duration::from_secs(60)), Err(RecvTimeoutError::Disconnected)); // all have ended
//! ```
//!
//! The order matters: first newcomers are refused, then the hub is closed, then the queues are delivered, then comes
//! the end, with a limit on all of it. `Stopping, in order` on the [first page](crate) is that list.
//!
//! # Why not ...
//!
//! All figures on this page are from `scripts/bench/results.md` (2 cores, the load generator on the same two), and a
//! test compares them. They cut both ways.
//!
//! **... async?** Because a broadcast is few events that reach many, and not many events. With 1,000 listeners a
//! message is heard after 5.47 ms (p50) here and after 6.72 ms from axum on tokio. Flat out it is 3,170,999 deliveries
//! a second against 1,181,466. A listener costs 13.1 kB here and 20.8 kB there. 16 clients that speak without a pause
//! are served 92,377 times a second against 86,090. In return, the kernel needs 28.0 kB against 5.22 kB, and 2,000
//! listeners join at 12,815 a second against 18,838. If you have tens of thousands of listeners that rarely hear
//! anything, take the evented one. No table shows this: a backtrace here says who waits for what, and the whole server
//! reads from top to bottom.
//!
//! **... one thread per core for everything?** That is nginx: a loop that never blocks, all state in it, no lock at
//! all. With nchan on top a listener costs 10.9 kB, and listeners join at 39,604 a second against 12,815. But work that
//! takes a while, such as a walk along a thousand sockets, stands in the way of everyone else on that core: `/say`
//! takes 6.36 ms (p50, 1,000 listeners) against 0.659 ms. And every function has to be written as a machine of states
//! that returns before it has waited. aloud waits that way in one place, where it is worth most, for clients that are
//! silent ([`watch`](crate::net::watch)).
//!
//! **... unbounded channels?** Because then a slow listener is everybody's problem, later, with no line in the log. See
//! chapter 1. The Go peer of the benchmark has the bound (256) without the helping hand: flat out at 100 listeners it
//! hung up on 100 of them in its worst round, and 5,554,574 deliveries were lost; here 0 were hung up on, because a
//! speaker that is far ahead carries letters before it speaks again.
//!
//! **... a lock held while writing?** See chapter 2: 6.36 ms against 0.659 ms when all goes well, and 12 s when it does
//! not.
//!
//! **... no locks at all?** A lock that nobody waits for is one atomic instruction. Locks are slow because of the work
//! done under them. Under these there is none.
//!
//! # Ten exercises
//!
//! `scripts/lesson/exercises` has ten small parts of a server, each with one fault and a test that is red until you
//! have mended it. In that folder, `cargo test e01` runs the first. They grow: prune the dead; never wait; look and
//! act; two locks; tell the gap; ring the bell; bound the head; one deadline; stop everyone; find the lost wake-up.
//! None is left to luck: if threads have to meet in an evil moment, the test makes them.
//!
//! [How to teach with it](crate::manual::teaching) makes three lessons of this page.
//!
//! # The patterns, and where they stand
//!
//! | pattern | where | what to look at |
//! |---|---|---|
//! | one lock, one sentence | [`hub`](crate::room::hub) | `Room`: its fields change together, and nothing waits under the lock |
//! | share one, change never | [`frame`](crate::room::frame) | a letter is encoded once for each format, and shared by all |
//! | try, and leave it to the holder | [`letterbox`](crate::room::letterbox) | `carry`, and the two fences |
//! | a bell of capacity one | [`letterbox`](crate::room::letterbox), [`sync`](crate::sync) | `ring`, `sleep_until_rung` |
//! | leader and followers | [`watch`](crate::net::watch), [`pool`](crate::serve::pool) | `Watch::wait`, one event at a time, edge-triggered |
//! | batching that grows with load | [`hub`](crate::room::hub) | `lend_a_hand`: a speaker that finds another one walking, or a rest, goes on |
//! | back pressure by work | [`hub`](crate::room::hub) | `FAR_BEHIND`: a speaker is slowed by exactly the work it causes |
//! | a bound, and a decision at it | [`letterbox`](crate::room::letterbox), [`history`](crate::room::history), [`gate`](crate::http::gate) | hang up, forget the oldest, refuse |
//! | look and act under one lock | [`hub`](crate::room::hub) | `join`: history and list |
//! | a name that is not reused | [`socket`](crate::net::socket) | the key of a descriptor whose number will be reused |
//! | the end as a disconnection | [`pool`](crate::serve::pool), `main.rs` | `Pool::ended` |
//! | a panic ends one conversation | [`pool`](crate::serve::pool) | `catch_unwind` around a thread's work, and the values dropped inside |
//! | count where it happens, read when asked | [`counters`](crate::counters) | one relaxed instruction |
//! | every order, not a thousand runs | [`sync`](crate::sync), tests of `letterbox` and `hub` | the model check |
