//! The client's half of RFC 6455, as far as the chat socket needs it: whole frames, always masked.

/// A text frame.
pub const TEXT: u8 = 1;
/// A binary frame.
pub const BINARY: u8 = 2;
/// A close frame.
pub const CLOSE: u8 = 8;
/// A ping.
pub const PING: u8 = 9;
/// A pong.
pub const PONG: u8 = 10;

const CONTINUATION: u8 = 0;
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const MASKED: u8 = 0x80;
/// The length follows in two bytes.
const LEN_16: u8 = 0x7E;
/// The length follows in eight bytes.
const LEN_64: u8 = 0x7F;

/// What the peer must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A server must not mask.
    Masked,
    /// The server has no reason to fragment, and the client libraries need not reassemble.
    Fragmented,
    /// Reserved bits without an extension that uses them.
    Reserved,
    /// More than any client accepts.
    TooLong,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server broke the websocket protocol: {self:?}")
    }
}

impl std::error::Error for Violation {}

/// The official client drops the connection above 16 MiB.
const FRAME_LEN_MAX: u64 = 16 * 1024 * 1024;

/// Where one frame lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSpan {
    /// What kind of frame.
    pub opcode: u8,
    /// Where the payload starts, relative to the frame.
    pub payload: usize,
    /// Length of the frame with its header.
    pub len: usize,
}

/// Finds the first frame of the buffer. `Ok(Err(n))` says how many bytes it must hold at least before
/// asking again.
pub fn first_frame(buffer: &[u8]) -> Result<Result<FrameSpan, usize>, Violation> {
    let [first, second, rest @ ..] = buffer else { return Ok(Err(2)) };
    if first & RESERVED != 0 {
        return Err(Violation::Reserved);
    }
    if first & FIN == 0 || first & OPCODE == CONTINUATION {
        return Err(Violation::Fragmented);
    }
    if second & MASKED != 0 {
        return Err(Violation::Masked);
    }
    let (header, payload_len) = match second {
        &LEN_16 => match rest.first_chunk() {
            Some(len) => (4, u64::from(u16::from_be_bytes(*len))),
            None => return Ok(Err(4)),
        },
        &LEN_64 => match rest.first_chunk() {
            Some(len) => (10, u64::from_be_bytes(*len)),
            None => return Ok(Err(10)),
        },
        len => (2, u64::from(*len)),
    };
    if payload_len > FRAME_LEN_MAX {
        return Err(Violation::TooLong);
    }
    let len = header + usize::try_from(payload_len).map_err(|_| Violation::TooLong)?;
    if buffer.len() < len {
        return Ok(Err(len));
    }
    Ok(Ok(FrameSpan { opcode: first & OPCODE, payload: header, len }))
}

/// Appends a whole frame, masked.
pub fn put_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    put_header(out, opcode, payload.len(), mask);
    let start = out.len();
    out.extend_from_slice(payload);
    // In words of eight so that the compiler makes vector code of it.
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (words, tail) = out[start..].as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends the header of a frame whose payload will follow, or, for a test of bad input, will not.
pub fn put_header(out: &mut Vec<u8>, opcode: u8, payload_len: usize, mask: [u8; 4]) {
    out.push(FIN | opcode);
    if let Ok(len @ 0..=125) = u8::try_from(payload_len) {
        out.push(MASKED | len);
    } else if let Ok(len) = u16::try_from(payload_len) {
        out.push(MASKED | LEN_16);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(MASKED | LEN_64);
        out.extend_from_slice(&(payload_len as u64).to_be_bytes());
    }
    out.extend_from_slice(&mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_frame_is_the_one_of_rfc_6455() {
        // RFC 6455, section 5.7: a single-frame masked text message, "Hello".
        let mut out = Vec::new();
        put_frame(&mut out, TEXT, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn frames_are_found_only_when_whole() {
        for payload_len in [0_usize, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            put_header(&mut frame, BINARY, payload_len, [0; 4]);
            frame.truncate(frame.len() - 4);
            frame[1] &= 0x7F;
            let payload = frame.len();
            frame.resize(payload + payload_len, 1);
            for cut in [0, 1, frame.len() - 1] {
                assert!(matches!(first_frame(&frame[..cut]), Ok(Err(needed)) if needed > cut));
            }
            frame.push(0x81);
            let span = FrameSpan { opcode: BINARY, payload, len: frame.len() - 1 };
            assert_eq!(first_frame(&frame), Ok(Ok(span)));
        }
        assert_eq!(first_frame(&[0x82, 0x80]), Err(Violation::Masked));
        assert_eq!(first_frame(&[0x02, 0x00]), Err(Violation::Fragmented));
    }
}
