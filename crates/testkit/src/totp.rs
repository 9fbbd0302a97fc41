//! A generator of one-time passwords (RFC 6238), set up by a QR code's text.

use anyhow::{Context as _, ensure};
use aws_lc_rs::hmac;
use protocol::ambient::{Clock as _, SystemClock};

const PERIOD: u64 = 30;

/// One key in it: SHA-256, six digits, thirty seconds.
#[derive(Debug)]
pub struct Generator {
    key: hmac::Key,
}

impl Generator {
    /// Takes over the key of a key URI, as a QR code has it.
    pub fn from_uri(uri: &str) -> anyhow::Result<Self> {
        ensure!(uri.starts_with("otpauth://totp/"), "not of one-time passwords by time: {uri}");
        for part in ["algorithm=SHA256", "digits=6", "period=30"] {
            ensure!(uri.contains(part), "{part} is not in {uri}");
        }
        let (_, rest) = uri.split_once("secret=").context("a secret")?;
        let secret = rest.split('&').next().unwrap_or_default();
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &from_base32(secret)?) })
    }

    /// The password of a step.
    pub fn password(&self, step: u64) -> String {
        let digest = hmac::sign(&self.key, &step.to_be_bytes());
        let digest = digest.as_ref();
        let offset = usize::from(digest[31] & 0x0F);
        let chosen = digest[offset..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        format!("{:06}", (chosen & 0x7FFF_FFFF) % 1_000_000)
    }

    /// Six digits that are the password of no step about now.
    pub fn wrong(&self) -> String {
        let near: Vec<_> = (0..7).map(|offset| self.password(present_step() - 3 + offset)).collect();
        (0..1_000_000)
            .map(|number: u32| format!("{number:06}"))
            .find(|text| !near.contains(text))
            .unwrap_or_default()
    }
}

/// The step of this moment.
pub fn present_step() -> u64 {
    SystemClock.now().as_secs() / PERIOD
}

/// RFC 4648, section 6, without padding.
fn from_base32(text: &str) -> anyhow::Result<Vec<u8>> {
    let (mut bytes, mut held, mut count) = (Vec::new(), 0_u32, 0);
    for symbol in text.bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'2'..=b'7' => symbol - b'2' + 26,
            other => anyhow::bail!("{other} is no symbol of base 32"),
        };
        held = (held & 0xFF) << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(held >> count & 0xFF)?);
        }
    }
    Ok(bytes)
}
