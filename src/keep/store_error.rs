//! The faults of a [store](crate::keep::store), and the words for them.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::path::Path;

use rusqlite::ErrorCode;

use crate::room::Refused;

/// A fault of the file: the system's, SQLite's, or a line for the user, in which `FILE` stands for the file's name.
pub type Fault = Box<dyn Error>;

/// Another process has the file open.
pub const IN_USE: &str = "the store FILE is in use by another process; give each server a file of its own";

/// An aloud before 0.2 kept the file.
pub const OLD: &str = "the store FILE was kept by aloud before 0.2; take what it holds out with that aloud \
    (curl HOST/said?as=json), then move it away, or give another file with --store";

/// The file is no store.
pub const FOREIGN: &str = "FILE is no store of aloud's; move it away, or give another file with --store";

/// A newer aloud kept the file, with tables of this `version`.
pub fn newer(version: i32) -> Fault {
    let is = format!("kept by a newer aloud (version {version} of its tables)");
    format!("the store FILE was {is}; start that aloud, or move it away, or give another file with --store").into()
}

/// The file is not as it was written; `why` says how that was found.
pub fn damaged(why: impl Display) -> Fault {
    let line = "is left as it is: move it away, or give another file with --store";
    format!("the store FILE is damaged ({why}); it {line}").into()
}

/// The refusal for a speaker.
pub fn refused(fault: &Fault) -> Refused {
    let of_system = fault.downcast_ref::<io::Error>().map(io::Error::kind);
    let of_sqlite = fault.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    let is_full =
        matches!(of_system, Some(ErrorKind::FileTooLarge | ErrorKind::QuotaExceeded | ErrorKind::StorageFull))
            || of_sqlite == Some(ErrorCode::DiskFull);
    if is_full { Refused::NoRoom } else { Refused::CannotKeep }
}

/// The line for the user who wants to open `file`.
pub fn line(fault: &Fault, file: &Path) -> String {
    let line = match fault.downcast_ref::<rusqlite::Error>().map(rusqlite::Error::sqlite_error_code) {
        Some(Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) | None) => damaged(fault).to_string(),
        None if !fault.is::<io::Error>() => fault.to_string(),
        _ => format!("cannot open the store FILE ({fault}); give another file with --store"),
    };
    line.replacen("FILE", &file.display().to_string(), 1).replace(char::is_control, " ")
}
