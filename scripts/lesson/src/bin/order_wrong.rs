//! Lost order, the wrong way: the number is taken under the lock, but what was numbered is sent after it. Two speakers
//! overtake each other on the way, and two listeners hear two different conversations.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Everyone who listens, and the last number given.
struct Room {
    listeners: Vec<Sender<u64>>,
    last: u64,
}

/// Says one message. `worst_moment` is called when it has reached the first listener and not yet the second.
fn say(room: &Mutex<Room>, worst_moment: impl FnOnce()) {
    let (number, listeners) = {
        let mut room = room.lock().unwrap();
        room.last += 1;
        (room.last, room.listeners.clone())
    }; // wrong: from here on somebody else may be faster
    listeners[0].send(number).unwrap();
    worst_moment();
    listeners[1].send(number).unwrap();
}

fn main() -> ExitCode {
    let ((ann, ann_hears), (bob, bob_hears)) = (channel(), channel());
    let room = Mutex::new(Room { listeners: vec![ann, bob], last: 0 });
    let (signal, signals) = channel();
    thread::scope(|scope| {
        let room = &room;
        say(room, || {
            scope.spawn(move || {
                say(room, || ());
                signal.send(()).unwrap();
            });
            signals.recv().unwrap(); // the second speaker has said it all
        });
    });
    drop(room);
    let (ann, bob): (Vec<_>, Vec<_>) = (ann_hears.iter().collect(), bob_hears.iter().collect());
    if ann == bob {
        return ExitCode::SUCCESS;
    }
    eprintln!("one hears {ann:?}, the other {bob:?}");
    ExitCode::FAILURE
}
