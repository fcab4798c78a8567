//! All that differs between the servers: aloud and those written after its contract take a form,
//! nchan takes the line itself as the body.

/// How a server wants to be spoken to.
#[derive(Clone, Copy, PartialEq)]
pub enum Dialect {
    Aloud,
    Nchan,
}

/// The end of the path where a channel is spoken to, or listened at; empty where there is one channel alone. It has as
/// many bytes for each channel.
pub fn channel_path(channel: usize, channels: usize) -> String {
    if channels > 1 { format!("/c{channel:04}") } else { String::new() }
}

/// The request of a listener at a channel.
pub fn listen_request(channel_path: &str) -> String {
    format!("GET /listen{channel_path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n")
}

impl Dialect {
    pub fn named(name: &str) -> Result<Dialect, String> {
        match name {
            "aloud" => Ok(Dialect::Aloud),
            "nchan" => Ok(Dialect::Nchan),
            _ => Err(format!("no dialect {name}; there are aloud and nchan")),
        }
    }

    /// The request that makes listeners hear `NAME MESSAGE\r\n`. Neither may need percent-encoding.
    pub fn say_request(self, channel_path: &str, name: &str, message: &str) -> String {
        let (kind, body) = match self {
            Dialect::Aloud => ("application/x-www-form-urlencoded", format!("name={name}&message={message}")),
            Dialect::Nchan => ("text/plain", format!("{name} {message}")),
        };
        format!(
            "POST /say{channel_path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}
