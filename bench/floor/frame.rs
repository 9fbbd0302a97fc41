//! The floor's frames: a length, a kind, a number or two, the payload. Shared by `heliograph-floor` and the
//! load generator.
//!
//! All integers are big-endian. A frame's length counts what follows it.

/// Bytes of the length.
const LEN_BYTES: usize = 4;
/// Longest frame: a payload as large as Signal's largest content, and its numbers.
const FRAME_LEN_MAX: usize = 128 * 1024;

const HELLO: u8 = 0;
const MESSAGE: u8 = 1;
const DELIVERY: u8 = 2;
const ACK: u8 = 3;
const ANSWER: u8 = 4;
const EMPTY: u8 = 5;

/// A frame, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// From a client, first: who it is. Clients are numbered from 0.
    Hello {
        /// The client.
        client: u32,
    },
    /// From a sender.
    Message {
        /// The client it is for.
        to: u32,
        /// What the answer has to carry.
        number: u64,
        /// The content.
        payload: &'a [u8],
    },
    /// To a recipient.
    Delivery {
        /// What the acknowledgement has to carry.
        token: u64,
        /// The content.
        payload: &'a [u8],
    },
    /// From a recipient.
    Ack {
        /// The delivery's token.
        token: u64,
    },
    /// To a sender: its message was accepted.
    Answer {
        /// The message's number.
        number: u64,
    },
    /// To a recipient: what had waited for it has been delivered.
    Empty,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a frame of the floor's")
    }
}

impl std::error::Error for Malformed {}

impl<'a> Frame<'a> {
    /// The first frame of the buffer and its length, or `None` if it is not whole yet.
    pub fn first(buffer: &'a [u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let Some((len, rest)) = buffer.split_first_chunk() else { return Ok(None) };
        let len = u32::from_be_bytes(*len) as usize;
        if len > FRAME_LEN_MAX {
            return Err(Malformed);
        }
        let Some(body) = rest.get(..len) else { return Ok(None) };
        Ok(Some((Self::parse(body).ok_or(Malformed)?, LEN_BYTES + len)))
    }

    fn parse(body: &'a [u8]) -> Option<Self> {
        let (kind, rest) = body.split_first()?;
        Some(match *kind {
            HELLO => Self::Hello { client: u32::from_be_bytes(rest.try_into().ok()?) },
            MESSAGE => {
                let (to, rest) = rest.split_first_chunk()?;
                let (number, payload) = rest.split_first_chunk()?;
                Self::Message { to: u32::from_be_bytes(*to), number: u64::from_be_bytes(*number), payload }
            }
            DELIVERY => {
                let (token, payload) = rest.split_first_chunk()?;
                Self::Delivery { token: u64::from_be_bytes(*token), payload }
            }
            ACK => Self::Ack { token: u64::from_be_bytes(rest.try_into().ok()?) },
            ANSWER => Self::Answer { number: u64::from_be_bytes(rest.try_into().ok()?) },
            EMPTY if rest.is_empty() => Self::Empty,
            _ => return None,
        })
    }

    /// Appends the frame.
    pub fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Hello { client } => put(out, HELLO, &[&client.to_be_bytes()]),
            Self::Message { to, number, payload } => {
                put(out, MESSAGE, &[&to.to_be_bytes(), &number.to_be_bytes(), payload]);
            }
            Self::Delivery { token, payload } => put(out, DELIVERY, &[&token.to_be_bytes(), payload]),
            Self::Ack { token } => put(out, ACK, &[&token.to_be_bytes()]),
            Self::Answer { number } => put(out, ANSWER, &[&number.to_be_bytes()]),
            Self::Empty => put(out, EMPTY, &[]),
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let len = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
    // Payloads are bounded far below.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    out.push(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_written_and_only_when_whole() {
        let frames = [
            Frame::Hello { client: 7 },
            Frame::Message { to: 9, number: 1 << 40, payload: &[5; 300] },
            Frame::Delivery { token: 3, payload: b"" },
            Frame::Ack { token: u64::MAX },
            Frame::Answer { number: 1 },
            Frame::Empty,
        ];
        for frame in frames {
            let mut out = Vec::new();
            frame.put(&mut out);
            assert_eq!(Frame::first(&out), Ok(Some((frame, out.len()))));
            assert_eq!(Frame::first(&out[..out.len() - 1]), Ok(None));
        }
        assert_eq!(Frame::first(&[0, 0, 0, 2, EMPTY, 0]), Err(Malformed));
        assert_eq!(Frame::first(&[0xFF; 8]), Err(Malformed));
    }
}
