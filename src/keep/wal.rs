//! The write-ahead log of the [store](crate::keep::store). A transaction of redb writes about eight pages in different
//! places of the file. A record of the log is one write behind the record before, so it is on the disk in a third of
//! the time. When the log is full, one transaction takes over all its records, and the log begins again.
//!
//! ```text
//!  one file: │ header │ record │ record │ record │ left from before ... │ redb's own file ...
//!            └─ 4 kB ─┴──────────── the log ────────────────────────────┴─ behind REGION_BYTES
//! ```
//!
//! **A record** is a length (4 bytes, big end first), a seal (16 bytes), and a row of that length. The seal is a hash
//! over the row, the record's place, and the *lap*: a number that each transaction of the store draws anew and keeps in
//! redb. The log ends before the first wrong seal. The transaction that takes over the records makes all their seals
//! wrong in one instant, because it changes the lap. Nobody outside can know the lap, so no message can hold bytes that
//! pass for a record.
//!
//! **A power cut** leaves a part of the last record, or all of it. The records before it were synced before it was
//! begun, and stay as they are. This counts on a disk that changes nothing but what it was told to write, even if its
//! power is cut. redb counts on it too.

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use redb::StorageBackend;
use sha2::{Digest, Sha256};

/// The file through which the log and redb write.
pub type Raw = Arc<dyn StorageBackend>;

/// The part of the file that is ours, in bytes: the header and the log. The rest behind it is redb's. Our part is a
/// multiple of a page, so that redb's pages are pages of the file. If it were two or four times as long, transactions
/// would be rarer but take longer, and no speaker would be faster.
pub const REGION_BYTES: u64 = 64 * 1024;

/// The length of the header, in bytes. It has a page of its own, which no record touches.
const HEADER_BYTES: u64 = 4096;

/// The beginning of a store. The number is the version of this layout.
const MAGIC: &[u8] = b"aloud store 1\n";

/// The beginning of a store that was never finished. Nothing was kept in it.
const UNFINISHED: &[u8] = b"aloud store 1, not finished\n";

/// The beginning of a file of redb's.
const REDB_MAGIC: &[u8] = b"redb";

const LENGTH_BYTES: usize = 4;

/// The length of a seal, in bytes: the first part of a SHA-256. A chance match comes once in 2^128 times. A cut hash
/// cannot be carried on to the hash of a longer text.
const SEAL_BYTES: usize = 16;

const HEAD_BYTES: usize = LENGTH_BYTES + SEAL_BYTES;

/// Makes a new file ready for redb, or one whose making was cut short. Returns true if redb's part has to follow, and
/// then [`finish`]. Writes our part in full, so that no write of the log makes the file longer or needs new blocks.
///
/// # Errors
/// `InvalidData` if the file is no store, which is then left as it is. Other kinds if it cannot be read or written.
pub fn prepare(file: &Raw) -> io::Result<bool> {
    let length = file.len()?;
    let mut region = vec![0; length.min(REGION_BYTES) as usize];
    file.read(0, &mut region)?;
    let blank = header(UNFINISHED, REGION_BYTES as usize);
    let cut_short = || region.iter().zip(&blank).all(|(is, should_be)| is == should_be || *is == 0);
    let unfinished = region.starts_with(UNFINISHED) || length <= REGION_BYTES && cut_short();
    if unfinished {
        file.set_len(0)?;
        file.write(0, &blank)?;
        file.sync_data()?;
        return Ok(true);
    }
    let why = match &region {
        _ if region.starts_with(REDB_MAGIC) => "it is a database of redb's without aloud's header",
        _ if !region.starts_with(MAGIC) => "it does not begin as one",
        _ if length <= REGION_BYTES => "it is cut short",
        _ => return Ok(false),
    };
    Err(io::Error::new(ErrorKind::InvalidData, why))
}

/// Notes that a new file is a store now, because it has all that redb needs.
///
/// # Errors
/// Those of writing the file.
pub fn finish(file: &Raw) -> io::Result<()> {
    file.write(0, &header(MAGIC, HEADER_BYTES as usize))?;
    file.sync_data()
}

fn header(line: &[u8], length: usize) -> Vec<u8> {
    let mut header = line.to_vec();
    header.resize(length, 0);
    header
}

/// The log, and the place of its next record.
pub struct Log {
    file: Raw,
    lap: u64,
    end: u64,
}

impl Log {
    /// Reads the log of this `lap` in `file`. Returns it, and the rows of its records, one behind the other.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn read(file: Raw, lap: u64) -> io::Result<(Log, Vec<u8>)> {
        let mut region = vec![0; REGION_BYTES as usize];
        file.read(0, &mut region)?;
        let (mut log, mut kept) = (Log { file, lap, end: HEADER_BYTES }, vec![]);
        while let Some(row) = log.record_in(&region[log.end as usize..]) {
            kept.extend_from_slice(row);
            log.end += (HEAD_BYTES + row.len()) as u64;
        }
        Ok((log, kept))
    }

    /// The row of the next record, if `bytes` begin with one.
    fn record_in<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
        let (seal, rest) = rest.split_first_chunk::<SEAL_BYTES>()?;
        let row = rest.get(..u32::from_be_bytes(*length) as usize)?;
        (self.seal(row) == *seal).then_some(row)
    }

    /// Whether a record with `row` fits into the rest of the log.
    pub fn has_room_for(&self, row: &[u8]) -> bool {
        self.end + (HEAD_BYTES + row.len()) as u64 <= REGION_BYTES
    }

    /// Appends a record with `row`, for which there has to be room. When this returns, it is on the disk.
    ///
    /// # Errors
    /// Those of the file. The record may then be there, or a part of it, until the next record is written over it.
    pub fn append(&mut self, row: &[u8]) -> io::Result<()> {
        let mut record = Vec::with_capacity(HEAD_BYTES + row.len());
        record.extend_from_slice(&(row.len() as u32).to_be_bytes());
        record.extend_from_slice(&self.seal(row));
        record.extend_from_slice(row);
        self.file.write(self.end, &record)?;
        self.file.sync_data()?;
        self.end += record.len() as u64;
        Ok(())
    }

    /// Begins the log again with this `lap`. The records that are there belong to another lap, so they count no more.
    pub fn begin(&mut self, lap: u64) {
        (self.lap, self.end) = (lap, HEADER_BYTES);
    }

    /// The seal of a record with `row`, for this lap and the next place.
    fn seal(&self, row: &[u8]) -> [u8; SEAL_BYTES] {
        let hash = Sha256::new().chain_update(self.lap.to_be_bytes()).chain_update(self.end.to_be_bytes());
        let hash: [u8; 32] = hash.chain_update(row).finalize().into();
        *hash.first_chunk().expect("16 of 32 bytes")
    }
}

/// The file as redb sees it: only the part behind [`REGION_BYTES`]. It has no locks; the store has locked the file.
#[derive(Debug)]
pub struct Behind(pub Raw);

impl StorageBackend for Behind {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len()?.saturating_sub(REGION_BYTES))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(REGION_BYTES + offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(REGION_BYTES + length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(REGION_BYTES + offset, data)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::{Mutex, MutexGuard};

    use crate::sync::lock;

    /// The place where each lap begins.
    pub const FIRST_RECORD: usize = HEADER_BYTES as usize;

    /// A disk that can be full or broken. It remembers all that was done to it, in order.
    #[derive(Debug, Clone)]
    pub struct Disk(Arc<Mutex<Platter>>);

    #[derive(Debug)]
    pub struct Platter {
        pub content: Vec<u8>,
        pub done: Vec<Done>,
        pub room: usize,
        pub syncs: bool,
    }

    #[derive(Debug, Clone)]
    pub enum Done {
        Written(usize, Vec<u8>),
        Cut(usize),
        Synced,
    }

    impl Disk {
        pub fn new(content: Vec<u8>) -> Disk {
            Disk(Arc::new(Mutex::new(Platter { content, done: vec![], room: usize::MAX, syncs: true })))
        }

        pub fn platter(&self) -> MutexGuard<'_, Platter> {
            lock(&self.0)
        }
    }

    impl Done {
        pub fn to(&self, content: &mut Vec<u8>) {
            match self {
                Done::Written(place, bytes) => {
                    content.resize(content.len().max(place + bytes.len()), 0);
                    content[*place..place + bytes.len()].copy_from_slice(bytes);
                }
                Done::Cut(length) => content.resize(*length, 0),
                Done::Synced => {}
            }
        }

        /// Does nothing of it, or all of it, or any beginning of it if it is a write.
        pub fn in_part_to(&self, content: &mut Vec<u8>, dice: &mut Dice) {
            match (self, dice.roll(3)) {
                (_, 0) => {}
                (Done::Written(place, bytes), 1) => {
                    let length = dice.roll(bytes.len() + 1);
                    Done::Written(*place, bytes[..length].to_vec()).to(content);
                }
                _ => self.to(content),
            }
        }
    }

    impl Platter {
        fn note(&mut self, done: Done) -> io::Result<()> {
            let end = match &done {
                Done::Written(place, bytes) => place + bytes.len(),
                Done::Cut(length) => *length,
                Done::Synced => 0,
            };
            if end > self.room {
                return Err(ErrorKind::StorageFull.into());
            }
            done.to(&mut self.content);
            self.done.push(done);
            Ok(())
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            Ok(self.platter().content.len() as u64)
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            let place = offset as usize;
            let platter = self.platter();
            let bytes = platter.content.get(place..place + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            self.platter().note(Done::Cut(length as usize))
        }

        fn sync_data(&self) -> io::Result<()> {
            let mut platter = self.platter();
            if !platter.syncs {
                return Err(io::Error::other("the disk is broken"));
            }
            platter.note(Done::Synced)
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.platter().note(Done::Written(offset as usize, data.to_vec()))
        }
    }

    /// Numbers that look random but are alike in every run (xorshift).
    pub struct Dice(pub u64);

    impl Dice {
        pub fn roll(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % sides as u64) as usize
        }
    }

    /// A disk with a log of this `lap` that holds `rows`.
    fn log(lap: u64, rows: &[&[u8]]) -> (Disk, Log) {
        let disk = Disk::new(header(MAGIC, REGION_BYTES as usize));
        let (mut log, _) = Log::read(Arc::new(disk.clone()), lap).unwrap();
        rows.iter().for_each(|row| log.append(row).unwrap());
        (disk, log)
    }

    fn kept(disk: &Disk, lap: u64) -> Vec<u8> {
        Log::read(Arc::new(disk.clone()), lap).unwrap().1
    }

    #[test]
    fn what_is_appended_is_read_and_the_log_goes_on_behind_it() {
        let (disk, _) = log(7, &[b"one", b"", b"three"]);
        let (mut log, rows) = Log::read(Arc::new(disk.clone()), 7).unwrap();
        assert_eq!(rows, b"onethree");
        log.append(b"four").unwrap();
        assert_eq!(kept(&disk, 7), b"onethreefour");
        let room = (REGION_BYTES - log.end) as usize - HEAD_BYTES;
        assert!(log.has_room_for(&vec![0; room]) && !log.has_room_for(&vec![0; room + 1]));
        log.append(&vec![b'x'; room]).unwrap();
        assert!(!log.has_room_for(b"") && disk.platter().content.len() == REGION_BYTES as usize);
        assert_eq!(kept(&disk, 7).len(), 12 + room);
    }

    #[test]
    fn what_an_earlier_lap_has_left_is_not_read() {
        let (disk, mut log) = log(7, &[b"one", b"two", b"three"]);
        log.begin(8);
        assert_eq!(kept(&disk, 8), b"");
        log.append(b"uno").unwrap(); // as long as "one" was, so "two" lies where the next record would
        assert_eq!(kept(&disk, 8), b"uno");
        assert_eq!(kept(&disk, 7), b"", "nor is what has been written over");
        let (first, second) = (FIRST_RECORD, log.end as usize);
        disk.platter().content.copy_within(first..second, second);
        assert_eq!(kept(&disk, 8), b"uno", "nor is a record in another place");
    }

    #[test]
    fn a_record_that_a_power_cut_has_left_in_part_is_none_and_those_before_it_are() {
        let (disk, mut log) = log(6, &[b"old", b"old, of which the end stays"]);
        log.begin(7);
        log.append(b"one").unwrap();
        let before = disk.platter().content.clone();
        let place = log.end as usize;
        log.append(b"new, and takes its place").unwrap();
        let record = disk.platter().content[place..log.end as usize].to_vec();
        for cut in 1..record.len() {
            let mut content = before.clone();
            content[place..place + cut].copy_from_slice(&record[..cut]);
            assert_eq!(kept(&Disk::new(content), 7), b"one", "cut at {cut}");
        }
    }

    /// A message is refused, so the next record is written over its beginning. A speaker has made the rest of it such
    /// that a forged record comes next.
    #[test]
    fn a_message_that_holds_a_record_is_not_taken_for_one() {
        let check = |guessed: u64, expected: &[u8]| {
            let (disk, mut log) = log(7, &[b"one"]);
            let forged = Log { file: log.file.clone(), lap: guessed, end: log.end + (HEAD_BYTES + 3) as u64 };
            let mut message = b"xyz".to_vec();
            message.extend_from_slice(&6_u32.to_be_bytes());
            message.extend_from_slice(&forged.seal(b"forged"));
            message.extend_from_slice(b"forged");
            disk.platter().syncs = false;
            log.append(&message).unwrap_err();
            disk.platter().syncs = true;
            log.append(b"two").unwrap();
            assert_eq!(kept(&disk, 7), expected);
        };
        check(8, b"onetwo");
        check(7, b"onetwoforged"); // a speaker that knew the lap could do it
    }

    #[test]
    fn a_file_that_is_no_store_is_left_as_it_is() {
        let check = |content: &[u8], why: &str| {
            let disk = Disk::new(content.to_vec());
            let raw: Raw = Arc::new(disk.clone());
            let error = prepare(&raw).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::InvalidData, why));
            assert!(disk.platter().content == content && disk.platter().done.is_empty());
        };
        check(b"a text\n", "it does not begin as one");
        check(&b"a text\n".repeat(100_000), "it does not begin as one");
        check(b"redb\x1a\x0a\xa9\x0d\x0a", "it is a database of redb's without aloud's header");
        check(b"aloud store 2\n", "it does not begin as one");
        check(b"aloud store 1\nx", "it is cut short");
        check(&header(MAGIC, REGION_BYTES as usize), "it is cut short");
        check(&vec![0; REGION_BYTES as usize + 1], "it does not begin as one");
    }
}
