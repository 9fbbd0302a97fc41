//! Group send tokens: a sender's proof that it shares a group with its recipients, without saying who it is
//! or which group.

use std::fmt;

use crate::{
    ambient::Timestamp,
    ids::{InvalidId, ServiceId},
};

/// Whole length of a serialized token.
const LEN: usize = 33;
/// Length of the part that proves something.
const PROOF_LEN: usize = 16;

/// A group send token as it travels: version byte 0, the proof's length as a little-endian `u64`, the proof,
/// and the moment it expires in seconds since the epoch as a little-endian `u64`.
///
/// Whoever has it may send to its recipients until it expires: it is not shown by `Debug`.
#[derive(Clone, Copy)]
pub struct GroupSendToken {
    proof: [u8; PROOF_LEN],
    expiration_secs: u64,
}

impl GroupSendToken {
    /// The part that proves something.
    pub fn proof(&self) -> &[u8; PROOF_LEN] {
        &self.proof
    }

    /// The second in which it is good for the last time, since the epoch.
    pub fn expiration_secs(&self) -> u64 {
        self.expiration_secs
    }

    /// Whether it is over at that moment, whatever it proves.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now.as_secs() > self.expiration_secs
    }
}

impl TryFrom<&[u8]> for GroupSendToken {
    type Error = InvalidId;

    fn try_from(bytes: &[u8]) -> Result<Self, InvalidId> {
        let invalid = InvalidId("group send token");
        let bytes: &[u8; LEN] = bytes.try_into().map_err(|_| invalid)?;
        let ([0], rest) = bytes.split_first_chunk().ok_or(invalid)? else { return Err(invalid) };
        let (proof_len, rest) = rest.split_first_chunk().ok_or(invalid)?;
        let (proof, rest) = rest.split_first_chunk().ok_or(invalid)?;
        let (expiration, _) = rest.split_first_chunk().ok_or(invalid)?;
        if u64::from_le_bytes(*proof_len) != PROOF_LEN as u64 {
            return Err(invalid);
        }
        Ok(Self { proof: *proof, expiration_secs: u64::from_le_bytes(*expiration) })
    }
}

impl fmt::Debug for GroupSendToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupSendToken(…)")
    }
}

/// Judges group send tokens.
pub trait GroupSendTokens: Send + Sync + 'static {
    /// Whether the token is good now, for exactly this set of recipients.
    fn admits(&self, token: &GroupSendToken, recipients: &[ServiceId]) -> bool;
}

/// Refuses every token: for a server without groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoGroupSendTokens;

impl GroupSendTokens for NoGroupSendTokens {
    fn admits(&self, _token: &GroupSendToken, _recipients: &[ServiceId]) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64;

    #[test]
    fn a_token_of_the_official_library_is_read() {
        let bytes = base64::decode_lenient("ABAAAAAAAAAA/g340FG4Nxj53S/NvO89+wAlBmsAAAAA").unwrap();
        let token = GroupSendToken::try_from(&bytes[..]).unwrap();
        assert_eq!(hex::encode(token.proof()), "fe0df8d051b83718f9dd2fcdbcef3dfb");
        assert_eq!(token.expiration_secs(), 1_795_564_800);
        assert!(!token.is_expired(Timestamp::from_millis(1_795_564_800_999)));
        assert!(token.is_expired(Timestamp::from_millis(1_795_564_801_000)));
    }

    #[test]
    fn other_structures_are_refused() {
        let good = base64::decode_lenient("ABAAAAAAAAAA/g340FG4Nxj53S/NvO89+wAlBmsAAAAA").unwrap();
        let spoil = |at: usize| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            GroupSendToken::try_from(&bytes[..]).is_ok()
        };
        assert!(!spoil(0) && !spoil(1) && !spoil(8), "version and length");
        assert!(spoil(9) && spoil(32), "what it proves is judged elsewhere");
        assert!(GroupSendToken::try_from(&good[..32]).is_err());
        assert!(GroupSendToken::try_from(&[&good[..], &[0]].concat()[..]).is_err());
    }
}
