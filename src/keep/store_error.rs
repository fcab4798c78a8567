//! The faults of a [store](crate::keep::store), and the words for them.

use std::fmt::{Display, Formatter};
use std::io;
use std::path::Path;

use rusqlite::ErrorCode;

use crate::room::message::Refused;

/// A fault of the file.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has it open.
    InUse,
    /// An aloud before 0.2 kept it.
    Old,
    /// A newer aloud kept it, with tables of this version.
    Newer(i32),
    /// It is no store.
    Foreign,
    /// It is not as it was written.
    Damaged(String),
    /// The system's fault.
    Io(io::Error),
    /// SQLite's fault.
    Sql(rusqlite::Error),
}

impl StoreError {
    /// The refusal for a speaker.
    pub fn refused(&self) -> Refused {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match self {
            StoreError::Sql(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => Refused::NoRoom,
            StoreError::Io(error) if [FileTooLarge, QuotaExceeded, StorageFull].contains(&error.kind()) => {
                Refused::NoRoom
            }
            _ => Refused::CannotKeep,
        }
    }

    /// The line for the user who wants to open `file`.
    pub fn line(&self, file: &Path) -> String {
        let file = file.display();
        let other = "move it away, or give another file with --store";
        let line = match self {
            StoreError::InUse => format!("the store {file} is {self}; give each server a file of its own"),
            StoreError::Old => format!(
                "the store {file} was {self}; take what it holds out with that aloud (curl HOST/said?as=json), then {other}"
            ),
            StoreError::Newer(_) => format!("the store {file} was {self}; start that aloud, or {other}"),
            StoreError::Foreign => format!("{file} is {self}; {other}"),
            StoreError::Damaged(_) => format!("the store {file} is damaged ({self}); it is left as it is: {other}"),
            _ => format!("cannot open the store {file} ({self}); give another file with --store"),
        };
        line.replace(char::is_control, " ")
    }
}

impl Display for StoreError {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::InUse => formatter.write_str("in use by another process"),
            StoreError::Old => formatter.write_str("kept by aloud before 0.2"),
            StoreError::Newer(version) => write!(formatter, "kept by a newer aloud (version {version} of its tables)"),
            StoreError::Foreign => formatter.write_str("no store of aloud's"),
            StoreError::Damaged(why) => formatter.write_str(why),
            StoreError::Io(error) => error.fmt(formatter),
            StoreError::Sql(error) => error.fmt(formatter),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        StoreError::Io(error)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None => StoreError::Damaged(error.to_string()),
            _ => StoreError::Sql(error),
        }
    }
}
