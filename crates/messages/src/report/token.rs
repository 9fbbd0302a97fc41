//! The token by which a report shows that the message was really sent.
//!
//! It goes with the message and comes back with the report, so that nothing need be remembered in between:
//! seconds since the epoch (4 bytes, big endian), and the first 16 bytes of HMAC-SHA-256 over guid, sender,
//! recipient and those seconds.

use std::{fmt, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use protocol::{Aci, ambient::Timestamp};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long after a message it can be reported. Signal's server remembers messages so long for this.
pub const TOKEN_LIFE: Duration = Duration::from_hours(7 * 24);

const TIME_LEN: usize = 4;
const TAG_LEN: usize = 16;

/// A copy of a message, as far as a report is about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportedMessage {
    /// What names the copy on this server.
    pub guid: Uuid,
    /// Who sent it.
    pub source: Aci,
    /// Whom it was for: nobody else can report it.
    pub recipient: Aci,
}

/// Makes and checks tokens.
#[derive(Clone)]
pub struct ReportTokens(Hmac<Sha256>);

impl ReportTokens {
    /// Length of a token.
    pub const LEN: usize = TIME_LEN + TAG_LEN;

    /// Tokens under that key. Under another one they are worth nothing.
    pub fn new(key: &[u8; 32]) -> Self {
        // HMAC fills a short key up to its block with zeros.
        let mut block = Zeroizing::new([0; 64]);
        block[..key.len()].copy_from_slice(key);
        Self(Hmac::new((&*block).into()))
    }

    /// The token of a message accepted at that time.
    pub fn issue(&self, message: &ReportedMessage, accepted: Timestamp) -> [u8; Self::LEN] {
        let time = u32::try_from(accepted.as_secs()).unwrap_or(u32::MAX).to_be_bytes();
        let tag = self.mac(message, time).finalize().into_bytes();
        let mut token = [0; Self::LEN];
        token[..TIME_LEN].copy_from_slice(&time);
        token[TIME_LEN..].copy_from_slice(&tag[..TAG_LEN]);
        token
    }

    /// Whether that is the token of exactly that message, and the message is not older than [`TOKEN_LIFE`].
    pub fn accepts(&self, token: &[u8], message: &ReportedMessage, now: Timestamp) -> bool {
        let Some((time, tag)) = token.split_first_chunk::<TIME_LEN>() else { return false };
        let accepted = Timestamp::from_millis(u64::from(u32::from_be_bytes(*time)) * 1000);
        tag.len() == TAG_LEN
            && self.mac(message, *time).verify_truncated_left(tag).is_ok()
            && now.saturating_since(accepted) <= TOKEN_LIFE
    }

    fn mac(&self, message: &ReportedMessage, time: [u8; TIME_LEN]) -> Hmac<Sha256> {
        let ReportedMessage { guid, source: Aci(source), recipient: Aci(recipient) } = message;
        let mut mac = self.0.clone();
        for part in [guid, source, recipient] {
            mac.update(part.as_bytes());
        }
        mac.update(&time);
        mac
    }
}

impl fmt::Debug for ReportTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Timestamp = Timestamp::from_millis(1_700_000_000_999);

    fn message() -> ReportedMessage {
        let [guid, source, recipient] = [1, 2, 3].map(Uuid::from_u128);
        ReportedMessage { guid, source: Aci(source), recipient: Aci(recipient) }
    }

    #[test]
    fn a_token_is_good_for_its_message_and_a_week() {
        let tokens = ReportTokens::new(&[7; 32]);
        let token = tokens.issue(&message(), SENT);
        let last = SENT.saturating_add(TOKEN_LIFE);
        for now in [Timestamp::default(), SENT, Timestamp::from_millis(last.as_millis() - 999)] {
            assert!(tokens.accepts(&token, &message(), now));
        }
        assert!(!tokens.accepts(&token, &message(), last));
    }

    #[test]
    fn a_token_is_good_for_nothing_else() {
        let tokens = ReportTokens::new(&[7; 32]);
        let token = tokens.issue(&message(), SENT);
        let other = Uuid::from_u128(9);
        for message in [
            ReportedMessage { guid: other, ..message() },
            ReportedMessage { source: Aci(other), ..message() },
            ReportedMessage { recipient: Aci(other), ..message() },
            ReportedMessage { source: message().recipient, recipient: message().source, ..message() },
        ] {
            assert!(!tokens.accepts(&token, &message, SENT));
        }
        assert!(!ReportTokens::new(&[8; 32]).accepts(&token, &message(), SENT));
    }

    #[test]
    fn no_bit_of_it_can_be_changed_and_no_byte_left_out_or_added() {
        let tokens = ReportTokens::new(&[7; 32]);
        let token = tokens.issue(&message(), SENT);
        for bit in 0..token.len() * 8 {
            let mut changed = token;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!tokens.accepts(&changed, &message(), SENT), "bit {bit}");
        }
        for length in 0..token.len() {
            assert!(!tokens.accepts(&token[..length], &message(), SENT), "{length} bytes");
        }
        assert!(!tokens.accepts(&[&token[..], &[0]].concat(), &message(), SENT));
    }
}
