//! The peer on tokio: axum, a broadcast channel for each room, one task per connection. Same endpoints, same answers,
//! same lines as aloud. A listener that falls more than the queue behind misses messages and stays: that
//! is what tokio's broadcast channel does, and it is kinder to this peer than to end the stream.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Form, Router};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

/// Messages that may wait for one listener, as in the other servers.
const QUEUE: usize = 256;

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    name: String,
    #[serde(default)]
    message: String,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let bind = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--bind"), Some(address)) => address,
        _ => return Err(std::io::Error::other("usage: axum-peer --bind ADDRESS")),
    };
    let app = Router::new()
        .route("/listen", get(listen))
        .route("/listen/{channel}", get(listen))
        .route("/say", post(say))
        .route("/say/{channel}", post(say))
        .with_state(Rooms::default());
    // Without it, small chunks wait for the acknowledgement of the one before.
    let listener = TcpListener::bind(bind).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await
}

/// The rooms by their channels; no channel is a room too.
#[derive(Clone, Default)]
struct Rooms(Arc<Mutex<HashMap<Option<String>, broadcast::Sender<Bytes>>>>);

impl Rooms {
    fn room(&self, channel: Option<Path<String>>) -> broadcast::Sender<Bytes> {
        let mut rooms = self.0.lock().unwrap();
        rooms.entry(channel.map(|Path(name)| name)).or_insert_with(|| broadcast::channel(QUEUE).0).clone()
    }
}

async fn listen(State(rooms): State<Rooms>, channel: Option<Path<String>>) -> Response {
    let lines = BroadcastStream::new(rooms.room(channel).subscribe()).filter(Result::is_ok);
    let headers = [(CONTENT_TYPE, "text/event-stream")];
    (headers, Body::from_stream(lines)).into_response()
}

async fn say(State(rooms): State<Rooms>, channel: Option<Path<String>>, Form(said): Form<Said>) -> &'static str {
    // An error says that nobody listens, which is fine.
    let _ = rooms.room(channel).send(format!("{} {}\r\n", said.name, said.message).into());
    "ok."
}
