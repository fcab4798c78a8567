//! A secret that the user has set, such as a token. It is read from a flag or a file, never shown, and compared in a
//! time that tells nothing about it.

use std::fs::File;
use std::io::Read;

use percent_encoding::percent_decode;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The longest secret, in bytes: four times the length of a 512-bit key in hex, and short enough to be sent in a URL.
pub const SECRET_LIMIT: usize = 512;

/// The most bytes read of a file: the longest secret, a line break, and one more byte, which tells that it is too long.
const READ_LIMIT: u64 = SECRET_LIMIT as u64 + 3;

/// The remedy for a bad token. A token has only characters that a header can carry (RFC 9110 section 5.5). The space is
/// not among them: clients send it differently in a header, in a URL and from a file.
const GOOD: &str = "give 1 to 512 visible ASCII characters, or @FILE with a file that holds them";

/// The remedy for a bad secret of webhooks. Nobody sends it, so it may be any text.
const GOOD_TEXT: &str = "give a text of 1 to 512 bytes, or @FILE with a file that holds it";

/// A secret, and its digest. It has no `Debug`, so that nothing can show it. Digests are compared, because all have one
/// length and `subtle` compares in constant time only if the lengths are equal. So comparing takes equally long however
/// long the secret is.
#[derive(Clone)]
pub struct Secret {
    bytes: Vec<u8>,
    digest: [u8; 32],
}

impl Secret {
    /// Reads a token: `text`, or the content of FILE if `text` is `@FILE`, without one line break at its end.
    ///
    /// # Errors
    /// The fault and a remedy, to be read after the flag's name. Holds nothing of a secret.
    pub fn read(text: &str) -> Result<Secret, String> {
        let secret = Secret::read_either(text, GOOD)?;
        match Secret::may_be_token(secret.as_bytes()) {
            true => Ok(secret),
            false => Err(format!("holds a space or what is no visible ASCII character; {GOOD}")),
        }
    }

    /// Reads a secret like [`read`](Self::read), but takes any text, because forges do.
    ///
    /// # Errors
    /// The fault and a remedy, as from [`read`](Self::read).
    pub fn read_text(text: &str) -> Result<Secret, String> {
        Secret::read_either(text, GOOD_TEXT)
    }

    /// Whether a client can send `bytes` in every way in which a token is sent.
    pub fn may_be_token(bytes: &[u8]) -> bool {
        (1..=SECRET_LIMIT).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    }

    fn read_either(text: &str, good: &str) -> Result<Secret, String> {
        let mut bytes = vec![];
        let bytes = match text.strip_prefix('@') {
            None => text.as_bytes(),
            Some(path) => {
                File::open(path)
                    .and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes))
                    .map_err(|error| format!("cannot be read from \"{}\" ({error}); {good}", path.escape_debug()))?;
                let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
                line.strip_suffix(b"\r").unwrap_or(line)
            }
        };
        match bytes.len() {
            0 => Err(format!("is empty; {good}")),
            1..=SECRET_LIMIT => Ok(Secret { bytes: bytes.to_vec(), digest: Sha256::digest(bytes).into() }),
            _ => Err(format!("is too long; {good}")),
        }
    }

    /// The secret's bytes, for signing.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether `offered` is this secret. Comparing takes equally long in both cases.
    pub fn is(&self, offered: &[u8]) -> bool {
        self.digest[..].ct_eq(&Sha256::digest(offered)[..]).into()
    }

    /// Whether `offered`, out of a header, is this secret. Bytes beyond ASCII in a header reach us percent-encoded.
    pub fn is_in_header(&self, offered: &[u8]) -> bool {
        self.is(offered) | self.is(&percent_decode(offered).collect::<Vec<u8>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_and_nothing_else() {
        let longest = "x".repeat(SECRET_LIMIT);
        let check = |secret: &str, offered: &[u8], expected: bool| {
            assert_eq!(Secret::read(secret).unwrap().is(offered), expected, "{secret} {offered:?}");
        };
        check("hush", b"hush", true);
        check("a:b/c==?&%\"", b"a:b/c==?&%\"", true);
        check(&longest, longest.as_bytes(), true);
        check("hush", b"", false);
        check("hush", b"hus", false);
        check("hush", b"hushh", false);
        check("hush", b"Hush", false);
        check("hush", b"hush\0", false);
        check("hush", b"hush\n", false);
        check(&longest, format!("{longest}x").as_bytes(), false);
        check("x", longest.as_bytes(), false);
    }

    #[test]
    fn the_limit_stated_is_the_one_that_holds() {
        for good in [GOOD, GOOD_TEXT] {
            assert!(good.contains(&format!(" 1 to {SECRET_LIMIT} ")));
        }
    }

    #[test]
    fn what_is_no_secret_is_refused_without_showing_it() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Secret::read(text).err().unwrap(), format!("{expected}; {GOOD}"), "{text:?}");
        };
        check("", "is empty");
        check("two words", "holds a space or what is no visible ASCII character");
        check("h\u{fc}sh", "holds a space or what is no visible ASCII character");
        check("hush\n", "holds a space or what is no visible ASCII character");
        check(&"x".repeat(SECRET_LIMIT + 1), "is too long");
        check(
            "@/no/such\x1bfile",
            "cannot be read from \"/no/such\\u{1b}file\" (No such file or directory (os error 2))",
        );
        check("@/", "cannot be read from \"/\" (Is a directory (os error 21))");
        check("@/dev/null", "is empty");
        check("@/dev/zero", "is too long");
    }

    #[test]
    fn a_secret_that_nobody_has_to_send_may_be_any_text() {
        for text in ["It's a Secret to Everybody", "J\u{fc}rgen", " ", "two\nlines\t"] {
            assert_eq!(Secret::read_text(text).unwrap().as_bytes(), text.as_bytes());
        }
        assert_eq!(Secret::read_text("").err().unwrap(), format!("is empty; {GOOD_TEXT}"));
        assert_eq!(Secret::read_text(&"x".repeat(513)).err().unwrap(), format!("is too long; {GOOD_TEXT}"));
    }

    #[test]
    fn one_line_break_at_the_end_of_a_file_is_no_part_of_the_secret() {
        let path = std::env::temp_dir().join(format!("aloud-secret-{}", std::process::id()));
        let longest = "x".repeat(SECRET_LIMIT);
        let check = |content: &str, expected: Option<&str>| {
            std::fs::write(&path, content).unwrap();
            let secret = Secret::read(&format!("@{}", path.display()));
            assert_eq!(secret.is_ok(), expected.is_some(), "{content:?}");
            assert!(secret.is_ok_and(|secret| secret.is(expected.unwrap().as_bytes())) || expected.is_none());
        };
        check("hush", Some("hush"));
        check("hush\n", Some("hush"));
        check("hush\r\n", Some("hush"));
        check(&format!("{longest}\r\n"), Some(&longest));
        check(&format!("{longest}x\n"), None);
        check("hush\n\n", None);
        check("one\ntwo\n", None);
        check("\n", None);
        std::fs::remove_file(path).unwrap();
    }
}
