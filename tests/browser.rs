//! Promise: a web page needs no more than `new EventSource('/listen')`. Cut off again and again, it comes back by
//! itself, has every message once and in order, or is told once where some may be missing. And the tutorial's page
//! works as it is.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::readers::Reader;
use crate::support::Server;

const TIMES: usize = 10;

/// Between two messages; the pace of the test, not a wait for something.
const PACE: Duration = Duration::from_millis(10);

#[test]
fn a_page_cut_off_ten_times_has_every_message_once_and_in_order() {
    let server = Server::start(&["--history", "100000"]);
    let between = Between::start(server.address());
    let page = page(&between);
    while_something_is_said(&server, |_| {
        let mut expected = None;
        for time in 0..=TIMES {
            for _ in 0..20 {
                let number = match next(&page) {
                    Heard::Message(text) => text.parse::<u64>().unwrap(),
                    Heard::Gap => panic!("everything is kept"),
                };
                assert_eq!(number, expected.unwrap_or(number), "after {time} cuts");
                expected = Some(number + 1);
            }
            between.cut();
        }
    });
}

#[test]
fn a_page_whose_server_is_killed_ten_times_is_told_of_one_gap_each_and_has_the_rest_in_order() {
    let mut server = Server::start(&["--history", "100000"]);
    let between = Between::start(server.address());
    let page = page(&between);
    for time in 0..=TIMES {
        while_something_is_said(&server, |_| {
            if time > 0 {
                assert!(matches!(next(&page), Heard::Gap), "the new server has a new memory ({time})");
            }
            let mut expected = None;
            for _ in 0..20 {
                let Heard::Message(text) = next(&page) else { panic!("one gap, not two ({time})") };
                let number = text.parse::<u64>().unwrap();
                // After a restart it starts at 0: it also hears the messages from before the page came back.
                assert_eq!(number, expected.unwrap_or(if time > 0 { 0 } else { number }), "run {time}");
                expected = Some(number + 1);
            }
        });
        if time == TIMES {
            break;
        }
        drop(server); // SIGKILL
        server = Server::start(&["--history", "100000"]);
        between.lead_to(server.address());
        // The page may still get words of the old server, before it loses it.
        while !page.line("the loss of the stream").starts_with("error") {}
    }
}

#[test]
fn the_page_of_the_tutorial_hears_and_speaks() {
    let server = Server::start(&[]);
    let page = Reader::start(&["node", "chromium.mjs", "tutorial.html"], &["/usr/bin/chromium"], &server.url("/"));
    let form = ["Content-Type: application/x-www-form-urlencoded"];
    assert_eq!(server.request("POST", "/say", &form, b"name=Florian&message=Hi").status, 200);
    assert_eq!(page.line("the first message"), "Florian: Hi");
    server.say("say something");
    assert_eq!(page.line("the second message"), ": say something");
    assert_eq!(page.line("what it said itself"), "the page: Hällo & bye");
}

fn page(between: &Between) -> Reader {
    let url = format!("http://{}/listen", between.address);
    Reader::start(&["node", "chromium.mjs"], &["/usr/bin/chromium"], &url)
}

enum Heard {
    Message(String),
    Gap,
}

/// The next event of the page, whatever it reports of its connection in between.
fn next(page: &Reader) -> Heard {
    loop {
        let line = page.line("the next event");
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        if event["type"] == "gap" {
            return Heard::Gap;
        }
        let data: Value = serde_json::from_str(event["data"].as_str().unwrap()).unwrap();
        return Heard::Message(data["message"].as_str().unwrap().to_owned());
    }
}

/// Says numbers, from 0 on, until `body` is through.
fn while_something_is_said(server: &Server, body: impl FnOnce(&Server)) {
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let numbers = (0..).take_while(|_| !over.load(Ordering::Relaxed));
            numbers.for_each(|number: u64| {
                server.say(&number.to_string());
                std::thread::sleep(PACE);
            });
        });
        let _over = Over(&over); // when this thread panics, too
        body(server);
    });
}

/// Stands between a client and a server at an address that stays, and cuts what goes through it.
struct Between {
    address: SocketAddr,
    server: Arc<Mutex<SocketAddr>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Between {
    fn start(server: SocketAddr) -> Between {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = Between {
            address: listener.local_addr().unwrap(),
            server: Arc::new(Mutex::new(server)),
            open: Arc::default(),
        };
        let (server, open) = (between.server.clone(), between.open.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = *server.lock().unwrap();
                let Ok(server) = TcpStream::connect(server) else { continue }; // hangs up on the client
                let ends = [&client, &server].map(|end| end.try_clone().unwrap());
                open.lock().unwrap().extend(ends);
                carry(&client, &server);
                carry(&server, &client);
            }
        });
        between
    }

    fn lead_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap() = server;
        self.cut();
    }

    fn cut(&self) {
        self.open.lock().unwrap().drain(..).for_each(|end| drop(end.shutdown(Shutdown::Both)));
    }
}

/// Carries bytes from one connection to the other until one ends, then ends both.
fn carry(from: &TcpStream, to: &TcpStream) {
    let [mut from, mut to] = [from, to].map(|end| end.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}
