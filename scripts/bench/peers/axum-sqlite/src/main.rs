//! The peer that keeps what is said: axum, and one thread that writes into SQLite, with the settings of aloud's store
//! (a write-ahead log, synced at each commit). A speaker is answered when its message is committed. Nobody listens.
//!
//! Each message is one transaction, as such a server is mostly written. With `--together`, all that lies on the channel
//! is one, as in aloud. There is no history to cut: unlike aloud's, the file grows.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::ListenerExt;
use axum::{Form, Router};
use rusqlite::Connection;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    name: String,
    #[serde(default)]
    message: String,
}

/// A message, and the way to the speaker that waits for its commit.
type Handed = (Said, oneshot::Sender<bool>);

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_, address, _, file, more @ ..] = &arguments[..] else {
        return Err("usage: axum-sqlite-peer --bind ADDRESS --store FILE [--together]".into());
    };
    let database = Connection::open(file)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database.execute_batch("create table if not exists messages(id integer primary key, time, name, message)")?;
    let most = if more.is_empty() { 1 } else { 256 };
    let (sender, messages) = mpsc::channel(1024);
    std::thread::spawn(move || write(database, messages, most));
    let app = Router::new().route("/say", post(say)).with_state(sender);
    let listener = TcpListener::bind(address).await?.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, app).await?)
}

async fn say(State(sender): State<mpsc::Sender<Handed>>, Form(said): Form<Said>) -> Result<&'static str, StatusCode> {
    let (answer, answered) = oneshot::channel();
    let _ = sender.send((said, answer)).await;
    match answered.await {
        Ok(true) => Ok("ok."),
        _ => Err(StatusCode::INSUFFICIENT_STORAGE),
    }
}

/// The writer's life: commits what comes, at most so many messages in one transaction.
fn write(mut database: Connection, mut messages: mpsc::Receiver<Handed>, most: usize) {
    let mut batch = vec![];
    while messages.blocking_recv_many(&mut batch, most) > 0 {
        let is_kept = keep(&mut database, &batch).is_ok();
        batch.drain(..).for_each(|(_, answer)| _ = answer.send(is_kept));
    }
}

fn keep(database: &mut Connection, batch: &[Handed]) -> rusqlite::Result<()> {
    let writing = database.transaction()?;
    for (said, _) in batch {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        writing.prepare_cached("insert into messages(time, name, message) values(?1, ?2, ?3)")?.execute((
            time,
            &said.name,
            &said.message,
        ))?;
    }
    writing.commit()
}
