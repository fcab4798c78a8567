//! The whole idea: a thread for each connection, and one lock around the list of all listeners. It works, and it is easy
//! to break; the lesson (`src/lesson.rs`) says how. `cargo run --bin naive` serves port 4000, an argument is another port.
//!
//! ```text
//! curl localhost:4000/listen
//! curl localhost:4000/say -d 'name=Florian&message=Hi'
//! ```

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

use crossbeam_channel::{Sender, bounded};
use tiny_http::{Listener, Request, Response, Server, SslContextWrap};

/// Everyone who listens.
type Listeners = Mutex<Vec<Sender<String>>>;

/// A caller hears everything that is said from now on.
fn listen(request: Request, listeners: &Listeners) -> io::Result<()> {
    let mut writer = request.into_writer();
    write!(writer, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")?;
    writer.flush()?;
    let (speaker, hears) = bounded(1);
    listeners.lock().unwrap().push(speaker);
    for line in hears {
        write!(writer, "{line}\r\n")?;
        writer.flush()?;
    }
    Ok(())
}

/// A caller is heard.
fn say(mut request: Request, listeners: &Listeners) -> io::Result<()> {
    let mut body = String::new();
    request.as_reader().read_to_string(&mut body)?;
    let fields: HashMap<_, _> = form_urlencoded::parse(body.as_bytes()).collect();
    let field = |name| fields.get(name).map_or("", |value| value.as_ref());
    let line = format!("{} {}", field("name"), field("message"));
    listeners.lock().unwrap().retain(|listener| listener.send(line.clone()).is_ok());
    request.respond(Response::from_string("ok."))
}

fn serve(request: Request, listeners: &Listeners) -> io::Result<()> {
    match request.url().split('?').next() {
        Some("/listen") => listen(request, listeners),
        Some("/say") => say(request, listeners),
        _ => request.respond(Response::empty(404)),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let port: u16 = std::env::args().nth(1).map_or(Ok(4000), |port| port.parse())?;
    let socket = TcpListener::bind(("127.0.0.1", port))?;
    println!("Running at :{}", socket.local_addr()?.port());
    let (socket, tls) = (Listener::Tcp(socket), SslContextWrap::build_ssl_capabilities(None)?);
    let listeners = Arc::new(Listeners::default());
    loop {
        let Some(requests) = Server::accept_connection(&socket, &tls)? else { continue };
        let listeners = listeners.clone();
        thread::spawn(move || requests.flatten().for_each(|request| drop(serve(request, &listeners))));
    }
}
