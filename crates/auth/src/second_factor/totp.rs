//! One-time passwords by time: RFC 6238 with HMAC-SHA-256, six digits, a new one every thirty seconds.

use std::{fmt, ops::RangeInclusive, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use protocol::ambient::{Entropy, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Time for which a password is shown.
pub const STEP: Duration = Duration::from_secs(30);

/// Digits of a password.
pub const DIGITS: u32 = 6;

/// The name that Signal's clients know the algorithm by.
pub const ALGORITHM: &str = "HmacSHA256";

/// Steps before and after the present one whose passwords are good: for clocks that are a little off, and
/// people who type slowly (RFC 6238, section 5.2).
const TOLERANCE: u64 = 1;

/// The key that both sides derive passwords from: 256 random bits.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TotpKey([u8; Self::LEN]);

impl TotpKey {
    /// Bytes of a key: as many as the hash has (RFC 6238, section 3, R6).
    pub const LEN: usize = 32;

    /// A fresh key.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// The key, to be shown once to whoever sets up their generator.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The key as people type it into a generator (RFC 4648, section 6).
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(base32(&self.0))
    }

    /// What a QR code says, so that generators take over the key (the key URI format of Google Authenticator).
    pub fn uri(&self, issuer: &str, account: &str) -> String {
        let (issuer, account) = (percent_encoded(issuer), percent_encoded(account));
        let secret = self.to_base32();
        format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA256&digits={DIGITS}&period={}",
            *secret,
            STEP.as_secs()
        )
    }

    /// The step whose password this is, if it is that of a step about now that is later than `after`. Takes as
    /// long whichever it is.
    pub fn matching_step(&self, password: OneTimePassword, now: Timestamp, after: u64) -> Option<u64> {
        let mut found = None;
        for step in steps_about(now) {
            let right: bool = self.password(step).0.ct_eq(&password.0).into();
            if right && step > after && found.is_none() {
                found = Some(step);
            }
        }
        found
    }

    /// The password of a step: the number of [`STEP`]s since the epoch.
    pub fn password(&self, step: u64) -> OneTimePassword {
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { unreachable!("HMAC takes any key") };
        let digest = mac.chain_update(step.to_be_bytes()).finalize().into_bytes();
        // RFC 4226, section 5.3: four bytes from where the last half byte says, without the sign.
        let offset = usize::from(digest[digest.len() - 1] & 0x0F);
        let chosen = [digest[offset], digest[offset + 1], digest[offset + 2], digest[offset + 3]];
        OneTimePassword((u32::from_be_bytes(chosen) & 0x7FFF_FFFF) % 10_u32.pow(DIGITS))
    }

    /// Whether it is the same key; takes the same time for any other.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The step of a moment.
pub fn step_at(moment: Timestamp) -> u64 {
    moment.as_secs() / STEP.as_secs()
}

fn steps_about(now: Timestamp) -> RangeInclusive<u64> {
    let present = step_at(now);
    present.saturating_sub(TOLERANCE)..=present.saturating_add(TOLERANCE)
}

/// A password as somebody typed it: a number of six digits, leading zeros left out.
#[derive(Clone, Copy)]
pub struct OneTimePassword(u32);

impl OneTimePassword {
    /// The password that is that number. One with more digits than there are is no password, and matches none.
    pub const fn from_number(number: u32) -> Self {
        Self(number)
    }

    /// Reads exactly six digits.
    pub fn from_text(text: &str) -> Option<Self> {
        let digits = text.len() == DIGITS as usize && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok().map(Self)).flatten()
    }

    /// The password as a number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// RFC 4648, section 6, without padding, as key URIs have it.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: [u8; 32] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let symbol = |bits: u32| char::from(ALPHABET[(bits & 31) as usize]);
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let (mut held, mut count) = (0_u32, 0);
    for byte in bytes {
        held = (held & 0xFF) << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(symbol(held >> count));
        }
    }
    if count > 0 {
        text.push(symbol(held << (5 - count)));
    }
    text
}

/// What may not stand in a URI's path or query becomes its UTF-8 bytes in hexadecimal (RFC 3986).
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;

    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            write!(encoded, "%{byte:02X}").ok();
        }
        encoded
    })
}

macro_rules! debug_without_content {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

debug_without_content!(TotpKey, OneTimePassword);

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 6238's appendix B for SHA-256.
    fn rfc_key() -> TotpKey {
        TotpKey(*b"12345678901234567890123456789012")
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn the_vectors_of_rfc_6238() {
        // Appendix B has eight digits; six are the last of them.
        for (seconds, eight_digits) in [
            (59, 46_119_246),
            (1_111_111_109, 68_084_774),
            (1_111_111_111, 67_062_674),
            (1_234_567_890, 91_819_424),
            (2_000_000_000, 90_698_825),
            (20_000_000_000, 77_737_706),
        ] {
            assert_eq!(rfc_key().password(step_at(at(seconds))).number(), eight_digits % 1_000_000);
        }
    }

    #[test]
    fn neighbouring_steps_are_good_and_no_others() {
        let (key, now) = (rfc_key(), at(1_111_111_109));
        let present = step_at(now);
        for (step, good) in [(present - 2, false), (present - 1, true), (present, true), (present + 1, true)]
        {
            let found = key.matching_step(key.password(step), now, 0);
            assert_eq!(found, good.then_some(step));
        }
        assert_eq!(key.matching_step(key.password(present + 2), now, 0), None);
        assert_eq!(key.matching_step(key.password(present), now, present), None, "it was used");
        assert_eq!(key.matching_step(key.password(present + 1), now, present), Some(present + 1));
        assert_eq!(key.matching_step(OneTimePassword::from_number(u32::MAX), now, 0), None);
    }

    #[test]
    fn the_beginning_of_time_is_no_trap() {
        let key = rfc_key();
        assert_eq!(key.matching_step(key.password(1), at(0), 0), Some(1));
    }

    #[test]
    fn passwords_are_six_digits() {
        assert_eq!(OneTimePassword::from_text("000123").unwrap().number(), 123);
        for text in ["", "12345", "1234567", "+12345", "12345a", "１２３４５６"] {
            assert!(OneTimePassword::from_text(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_qr_code_says_everything_a_generator_needs() {
        let uri = rfc_key().uri("chat.example.org", "ann smith");
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA";
        assert_eq!(
            uri,
            format!(
                "otpauth://totp/chat.example.org:ann%20smith?secret={secret}&issuer=chat.example.org\
                 &algorithm=SHA256&digits=6&period=30"
            )
        );
        for (bytes, text) in
            [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foobar", "MZXW6YTBOI")]
        {
            assert_eq!(base32(bytes.as_bytes()), text, "RFC 4648, section 10");
        }
    }

    #[test]
    fn keys_do_not_print() {
        assert_eq!(format!("{:?}", rfc_key()), "TotpKey(…)");
    }
}
