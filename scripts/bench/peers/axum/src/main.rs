//! The peer on tokio: axum, one broadcast channel, one task per connection. Same endpoints, same answers,
//! same lines as aloud. A listener that falls more than the queue behind misses messages and stays: that
//! is what tokio's broadcast channel does, and it is kinder to this peer than to end the stream.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Form, Router};
use serde::Deserialize;
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
        .route("/say", post(say))
        .with_state(broadcast::channel::<Bytes>(QUEUE).0);
    // Without it, small chunks wait for the acknowledgement of the one before.
    let listener = TcpListener::bind(bind).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, app).await
}

async fn listen(State(sender): State<broadcast::Sender<Bytes>>) -> Response {
    let lines = BroadcastStream::new(sender.subscribe()).filter(Result::is_ok);
    let headers = [(CONTENT_TYPE, "text/event-stream")];
    (headers, Body::from_stream(lines)).into_response()
}

async fn say(State(sender): State<broadcast::Sender<Bytes>>, Form(said): Form<Said>) -> &'static str {
    // An error says that nobody listens, which is fine.
    let _ = sender.send(format!("{} {}\r\n", said.name, said.message).into());
    "ok."
}
