//! The floor: one thread, one epoll, and for each message one write(2) per listener. It knows just enough
//! HTTP for the load generator: requests come whole, a POST says, anything else listens, names and messages
//! need no decoding. No server that writes each message to each listener can spend less processor time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// The token of the listening socket; connections have their place in the list.
const ACCEPT: u64 = u64::MAX;
/// Events taken at once.
const EVENTS: usize = 1024;
/// More than any request of the load generator.
const REQUEST_BYTES: usize = 4096;
const LISTEN_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const SAY_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok.";

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Undecided,
    Listener,
}

struct Connection {
    stream: TcpStream,
    role: Role,
}

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some("--bind"), Some(bind)) = (arguments.next().as_deref(), arguments.next()) else {
        return Err(std::io::Error::other("usage: floor --bind ADDRESS"));
    };
    let socket = TcpListener::bind(bind)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &socket, EventData::new_u64(ACCEPT), EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in &events {
            let token = event.data.u64();
            if token != ACCEPT {
                serve(&mut connections, token as usize);
                continue;
            }
            let (stream, _) = socket.accept()?;
            stream.set_nodelay(true)?;
            let token = EventData::new_u64(connections.len() as u64);
            epoll::add(&epoll, &stream, token, EventFlags::IN)?;
            connections.push(Some(Connection { stream, role: Role::Undecided }));
        }
    }
}

/// Reads one request, answers it, and delivers what it says.
fn serve(connections: &mut [Option<Connection>], token: usize) {
    let Some(connection) = &mut connections[token] else {
        return;
    };
    let mut request = [0; REQUEST_BYTES];
    let length = connection.stream.read(&mut request).unwrap_or(0);
    if length == 0 {
        connections[token] = None;
        return;
    }
    if !request.starts_with(b"POST") {
        connection.role = Role::Listener;
        let _ = connection.stream.write_all(LISTEN_HEAD);
        return;
    }
    let _ = connection.stream.write_all(SAY_ANSWER);
    if let Some(line) = line(&request[..length]) {
        let listeners = connections.iter_mut().flatten();
        for listener in listeners.filter(|connection| connection.role == Role::Listener) {
            // A listener that has gone is noticed when its end is read.
            let _ = listener.stream.write_all(&line);
        }
    }
}

/// `name=NAME&message=MESSAGE` as `NAME MESSAGE\r\n`.
fn line(request: &[u8]) -> Option<Vec<u8>> {
    let body = memchr::memmem::find(request, b"\r\n\r\nname=")? + "\r\n\r\nname=".len();
    let name_length = memchr::memmem::find(&request[body..], b"&message=")?;
    let (name, message) = request[body..].split_at(name_length);
    let message = &message["&message=".len()..];
    Some([name, b" ", message, b"\r\n"].concat())
}
