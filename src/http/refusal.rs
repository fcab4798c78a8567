//! Why a request is refused, in one line.

use crate::room::Refused;
use crate::text::shown;

/// Seconds after which a client that found no room is asked to come back.
pub const RETRY_AFTER: &str = "5";

/// The refusal of a request, for the client to read: what is wrong, and what to send instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// `WHAT is wrong; WHAT to send instead`, one line.
    pub line: String,
    /// One more header, such as `Allow` for 405, ended by a line break.
    pub(super) header: String,
}

impl Refusal {
    /// A refusal without further headers.
    pub fn new(status: u16, line: impl Into<String>) -> Refusal {
        Refusal { status, line: line.into(), header: String::new() }
    }

    /// The refusal of a request that breaks a rule: 400.
    pub fn bad(line: impl Into<String>) -> Refusal {
        Refusal::new(400, line)
    }

    /// The refusal of a `part` of a request: 400. The line shows the part and goes on with `rest`.
    pub fn of(part: impl AsRef<[u8]>, rest: &str) -> Refusal {
        Refusal::bad(format!("{} {rest}", shown(part)))
    }

    /// The refusal of the `value` of a parameter: 400. The line shows `KEY=VALUE` and goes on with `rest`.
    pub fn of_value(key: &str, value: &str, rest: &str) -> Refusal {
        Refusal::bad(format!("{key}={} {rest}", shown(value)))
    }

    /// The refusal of a client that may succeed later: 503.
    pub fn busy(what: &str) -> Refusal {
        Refusal::new(503, format!("{what}; try again in a moment")).with("Retry-After", RETRY_AFTER)
    }

    /// Adds a header to the refusal.
    pub fn with(self, name: &str, value: &str) -> Refusal {
        Refusal { header: format!("{name}: {value}\r\n"), ..self }
    }
}

/// The refusal of the hub, as a client is told it.
impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        let line = match refused {
            Refused::Full => return Refusal::busy("as many listen as may"),
            Refused::Stopping => return Refusal::busy("the server stops"),
            Refused::CannotKeep => return Refusal::busy("the message cannot be kept now"),
            Refused::NoRoom => "no room is left to keep the message; make room on the server's disk and say it again",
            Refused::NoRoomInRedis => {
                "no room is left in Redis for the message; make room there (maxmemory) and say it again"
            }
        };
        Refusal::new(507, line)
    }
}
