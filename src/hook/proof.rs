//! How a forge proves that it knows the secret: it shows the secret, or signs the raw bytes of the delivery with it.
//! Every comparison takes as long when it fails as when it succeeds.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::hook::sender::{Header, Sender};
use crate::secret::Secret;

/// How old, or how far ahead, a signed delivery may be, in seconds. Standard Webhooks' own libraries allow as much.
/// Without a limit, an eavesdropper could send a delivery again for ever.
const TOLERANCE: u64 = 5 * 60;

/// The beginning of a secret that is a key in base64 (Standard Webhooks, "Signature scheme").
const KEY_PREFIX: &str = "whsec_";

/// Whether a delivery of `sender` with this body proves `secret` at `now`, in seconds since 1970.
///
/// GitLab shows the secret in `X-Gitlab-Token`, or signs with its signing token; if it signs, the signature decides.
/// The other forges sign: GitHub in `X-Hub-Signature-256`, which Gitea and Forgejo also send beside their own headers.
/// The SHA-1 of `X-Hub-Signature` is ignored; Bitbucket puts a SHA-256 there. Grafana signs in a header of its own.
pub fn holds(sender: Sender, secret: &Secret, header: &Header<'_>, body: &[u8], now: u64) -> bool {
    let sent = |name: &str| header(name).filter(|value| !value.is_empty());
    if sender == Sender::GitLab {
        return match sent("webhook-signature") {
            Some(signatures) => standard_webhook(secret.as_bytes(), signatures, header, body, now),
            None => sent("X-Gitlab-Token").is_some_and(|token| secret.is_in_header(token.as_bytes())),
        };
    }
    let plain = match sender {
        Sender::GitHub | Sender::GitLab | Sender::Alertmanager => None,
        Sender::Grafana => sent("X-Grafana-Alerting-Signature"),
        Sender::Json => sent("X-Hub-Signature").and_then(|signature| signature.strip_prefix("sha256=")),
        Sender::Gitea | Sender::Forgejo => {
            sent("X-Forgejo-Signature").or_else(|| sent("X-Gitea-Signature")).or_else(|| sent("X-Gogs-Signature"))
        }
    };
    let signature = plain.or_else(|| sent("X-Hub-Signature-256")?.strip_prefix("sha256="));
    signature.and_then(from_hex).is_some_and(|signature| signed(secret.as_bytes(), &[body], &signature))
}

/// Whether one of `signatures` (`v1,BASE64 v1,BASE64`) signs `ID.TIMESTAMP.BODY`, and the timestamp is recent.
fn standard_webhook(secret: &[u8], signatures: &str, header: &Header<'_>, body: &[u8], now: u64) -> bool {
    let (Some(id), Some(timestamp)) = (header("webhook-id"), header("webhook-timestamp")) else { return false };
    let is_fresh = timestamp.parse().is_ok_and(|then: u64| now.abs_diff(then) <= TOLERANCE);
    let key = match secret.strip_prefix(KEY_PREFIX.as_bytes()) {
        Some(encoded) => STANDARD.decode(encoded).ok(),
        None => Some(secret.to_vec()),
    };
    let Some(key) = key.filter(|_| is_fresh) else { return false };
    let content = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
    signatures.split(' ').any(|signature| {
        let bytes = signature.strip_prefix("v1,").and_then(|encoded| STANDARD.decode(encoded).ok());
        bytes.is_some_and(|bytes| signed(&key, &content, &bytes))
    })
}

/// Whether `signature` is the HMAC-SHA256 (RFC 2104) of `content` under `key`.
fn signed(key: &[u8], content: &[&[u8]], signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    content.iter().for_each(|part| mac.update(part));
    mac.verify_slice(signature).is_ok()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// HMAC-SHA256 of [`BODY`] under the key `hush`, by `openssl dgst -sha256 -hmac hush`.
    const SIGNATURE: &str = "bb15471ebcd5dc06525d29a72d8d7e1e3c52c7bf9a497b0d590e2eadc5095fe4";
    const BODY: &[u8] = br#"{"zen":"Keep it simple."}"#;

    /// The HMAC of `msg_1.1700000000.` and [`BODY`] under 32 zeros and under `hush`, by `openssl dgst -sha256 -mac
    /// HMAC`.
    const KEY: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const BY_KEY: &str = "v1,L0ITg0eECoOHujzSbeENTlNgIt42CAz+rhWE9rKrGPk=";
    const BY_WORD: &str = "v1,TUTzF9waY0ABLiLWMyb6Wp3anS/fFRnqLFHsQA7V+Mk=";
    const THEN: u64 = 1_700_000_000;

    fn check(sender: Sender, secret: &str, headers: &[(&str, &str)], expected: bool) {
        check_at(THEN, sender, secret, headers, expected);
    }

    fn check_at(now: u64, sender: Sender, secret: &str, headers: &[(&str, &str)], expected: bool) {
        let header = |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        assert_eq!(
            holds(sender, &Secret::read(secret).unwrap(), &header, BODY, now),
            expected,
            "{sender:?} {secret} {headers:?}"
        );
    }

    #[test]
    fn gitlab_shows_its_token() {
        check(Sender::GitLab, "hush", &[("X-Gitlab-Token", "hush")], true);
        check(Sender::GitLab, "hush", &[("X-Gitlab-Token", "hus")], false);
        check(Sender::GitLab, "hush", &[("X-Gitlab-Token", "hush ")], false);
        check(Sender::GitLab, "hush", &[("X-Gitlab-Token", "")], false);
        check(Sender::GitLab, "hush", &[], false);
        check(Sender::GitHub, "hush", &[("X-Gitlab-Token", "hush")], false);
    }

    /// The secret, the body and the signature are those of GitHub's documentation, "Testing the webhook payload
    /// validation".
    #[test]
    fn a_secret_may_be_any_text() {
        let secret = Secret::read_text("It's a Secret to Everybody").unwrap();
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let header = |name: &str| (name == "X-Hub-Signature-256").then_some(signature);
        assert!(holds(Sender::GitHub, &secret, &header, b"Hello, World!", 0));
        for (secret, sent) in [("two words", "two words"), ("J\u{fc}rgen", "J%C3%BCrgen"), ("50%25", "50%25")] {
            let header = |name: &str| (name == "X-Gitlab-Token").then_some(sent);
            assert!(holds(Sender::GitLab, &Secret::read_text(secret).unwrap(), &header, b"", 0), "{secret}");
        }
    }

    #[test]
    fn the_others_sign_the_body() {
        let with_prefix = format!("sha256={SIGNATURE}");
        check(Sender::GitHub, "hush", &[("X-Hub-Signature-256", &with_prefix)], true);
        check(Sender::GitHub, "hush", &[("X-Hub-Signature-256", &with_prefix.to_uppercase())], false);
        check(Sender::GitHub, "hush", &[("X-Hub-Signature-256", SIGNATURE)], false);
        check(Sender::GitHub, "hush", &[("X-Hub-Signature-256", "sha256=")], false);
        check(Sender::GitHub, "hush", &[("X-Hub-Signature-256", &with_prefix[..with_prefix.len() - 2])], false);
        check(Sender::GitHub, "hush", &[("X-Hub-Signature-256", "sha256=\u{fc}\u{fc}")], false);
        check(Sender::GitHub, "Hush", &[("X-Hub-Signature-256", &with_prefix)], false);
        check(Sender::GitHub, "hush", &[("X-Hub-Signature", &with_prefix)], false);
        check(Sender::GitHub, "hush", &[("X-Gitea-Signature", SIGNATURE)], false);
        check(Sender::Gitea, "hush", &[("X-Gitea-Signature", SIGNATURE)], true);
        check(Sender::Gitea, "hush", &[("X-Gitea-Signature", &SIGNATURE.to_uppercase())], true);
        check(Sender::Gitea, "hush", &[("X-Gitea-Signature", ""), ("X-Hub-Signature-256", "sha256=")], false);
        check(Sender::Gitea, "hush", &[("X-Gogs-Signature", SIGNATURE)], true);
        check(Sender::Gitea, "hush", &[("X-Hub-Signature-256", &with_prefix)], true);
        check(Sender::Forgejo, "hush", &[("X-Forgejo-Signature", SIGNATURE)], true);
        check(Sender::Forgejo, "hush", &[("X-Forgejo-Signature", &SIGNATURE[2..])], false);
        check(Sender::Forgejo, "hush", &[], false);
    }

    #[test]
    fn a_standard_webhook_is_signed_with_its_time_and_refused_when_old() {
        let signed = |signature| {
            [("webhook-id", "msg_1"), ("webhook-timestamp", "1700000000"), ("webhook-signature", signature)]
        };
        let several = format!("v2,x v1,AAAA {BY_KEY}");
        check(Sender::GitLab, KEY, &signed(BY_KEY), true);
        check(Sender::GitLab, "hush", &signed(BY_WORD), true);
        check(Sender::GitLab, KEY, &signed(&several), true);
        check(Sender::GitLab, KEY, &signed(BY_WORD), false);
        check(Sender::GitLab, "hush", &signed(BY_KEY), false);
        check(Sender::GitLab, "whsec_no*base64", &signed(BY_KEY), false);
        check(Sender::GitLab, KEY, &signed("v1,"), false);
        check(Sender::GitLab, KEY, &signed(&BY_KEY[3..]), false);
        check(Sender::GitLab, KEY, &signed(BY_KEY)[1..], false);
        check(Sender::GitLab, KEY, &[("webhook-id", "msg_1"), ("webhook-timestamp", "soon"), signed(BY_KEY)[2]], false);
        check(
            Sender::GitLab,
            KEY,
            &[("webhook-id", "msg_1"), ("webhook-timestamp", "1700000001"), signed(BY_KEY)[2]],
            false,
        );
        check_at(THEN + 300, Sender::GitLab, KEY, &signed(BY_KEY), true);
        check_at(THEN - 300, Sender::GitLab, KEY, &signed(BY_KEY), true);
        check_at(THEN + 301, Sender::GitLab, KEY, &signed(BY_KEY), false);
        check_at(THEN - 301, Sender::GitLab, KEY, &signed(BY_KEY), false);
    }

    #[test]
    fn a_bad_signature_is_not_mended_by_a_token() {
        let headers = [
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", "1700000000"),
            ("webhook-signature", BY_WORD),
            ("X-Gitlab-Token", "hush"),
        ];
        check(Sender::GitLab, "hush", &headers, true);
        check_at(THEN + 1000, Sender::GitLab, "hush", &headers, false);
    }
}
