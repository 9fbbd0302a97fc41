//! The server's half of the websocket protocol (RFC 6455), without I/O.
//!
//! [`Decoder`] turns what clients send into messages. It takes bytes in whatever pieces they come in and
//! keeps no more than the message that is not whole yet, so that an idle connection costs next to nothing.
//! The functions beside it write what a server sends. Extensions are not offered: the reserved bits are 0.

use bytes::Bytes;

/// Most bytes of a close frame's reason, and of any control frame less its close code.
const REASON_MAX: usize = CONTROL_MAX - 2;

/// Most bytes in a control frame (RFC 6455 §5.5).
const CONTROL_MAX: usize = 125;

/// The longest head of a frame: two bytes, a length of eight, a mask of four.
pub const FRAME_HEAD_MAX: usize = 14;

/// Room that is made for a message on its announcement alone; what is longer has to arrive first.
const ANNOUNCED_MAX: usize = 4 * 1024;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0F;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;
const LEN: u8 = 0x7F;
/// The length follows in two bytes.
const LEN_16: u8 = 126;
/// The length follows in eight bytes.
const LEN_64: u8 = 127;

/// What a client has sent, whole and unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Bytes.
    Binary(Bytes),
    /// Text.
    Text(String),
    /// A question whether anybody is there, to be answered with the same bytes.
    Ping(Bytes),
    /// The answer to one.
    Pong,
    /// The client closes, with this code if it gave one. Nothing may follow.
    Close(Option<u16>),
}

/// What a client must not send. The connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The frames are not as the RFC wants them.
    #[error("the websocket protocol was broken: {0}")]
    Protocol(&'static str),
    /// Text, or the reason of a close, is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A message is longer than the decoder takes.
    #[error("a message that is too long")]
    TooLong,
}

impl Violation {
    /// The code to close with (RFC 6455 §7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLong => 1009,
        }
    }
}

/// Reads what one client sends.
#[derive(Debug)]
pub struct Decoder {
    message_max: usize,
    /// A frame's head as far as it has come in.
    head: [u8; FRAME_HEAD_MAX],
    head_len: u8,
    /// The frame whose payload is coming in.
    frame: Option<Frame>,
    /// The message that is coming in, and whether it is text.
    message: Option<(bool, Vec<u8>)>,
    /// The payload of a control frame that is coming in; one may stand between the frames of a message.
    control: Vec<u8>,
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    last: bool,
    mask: [u8; 4],
    remaining: usize,
}

impl Decoder {
    /// A decoder that takes messages of up to so many bytes, in one frame or in several.
    pub fn new(message_max: usize) -> Self {
        Self {
            message_max,
            head: [0; FRAME_HEAD_MAX],
            head_len: 0,
            frame: None,
            message: None,
            control: Vec::new(),
            closed: false,
        }
    }

    /// Takes bytes from the front of `input` until a message is whole or nothing is left. After a violation
    /// or a close it takes no more.
    pub fn decode(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Violation> {
        if self.closed {
            *input = &[];
            return Ok(None);
        }
        let decoded = self.decode_some(input);
        self.closed |= matches!(decoded, Err(_) | Ok(Some(Message::Close(_))));
        decoded
    }

    fn decode_some(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Violation> {
        loop {
            let frame = match self.frame {
                Some(frame) => frame,
                None => match self.take_head(input)? {
                    Some(frame) => self.begin(frame, input.len())?,
                    None => return Ok(None),
                },
            };
            let frame = self.take_payload(frame, input);
            self.frame = Some(frame).filter(|frame| frame.remaining > 0);
            if self.frame.is_some() {
                return Ok(None);
            }
            if let Some(message) = self.finish(frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// The head of a frame, once all of it is there.
    fn take_head(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Violation> {
        loop {
            let have = usize::from(self.head_len);
            let needed = head_len(&self.head[..have]);
            let (taken, rest) = input.split_at(input.len().min(needed - have));
            self.head[have..have + taken.len()].copy_from_slice(taken);
            *input = rest;
            let have = have + taken.len();
            self.head_len = u8::try_from(have).unwrap_or(0);
            if have < needed {
                return Ok(None);
            }
            if head_len(&self.head[..have]) == have {
                self.head_len = 0;
                return parse_head(&self.head[..have]).map(Some);
            }
        }
    }

    /// Checks that the frame may come now, and makes room.
    fn begin(&mut self, frame: Frame, available: usize) -> Result<Frame, Violation> {
        if frame.opcode & CONTROL != 0 {
            self.control.clear();
            return Ok(frame);
        }
        match (frame.opcode, &self.message) {
            (CONTINUATION, None) => return Err(Violation::Protocol("a continuation of nothing")),
            (TEXT | BINARY, Some(_)) => return Err(Violation::Protocol("a message inside another")),
            _ => {}
        }
        let (_, payload) = self.message.get_or_insert_with(|| (frame.opcode == TEXT, Vec::new()));
        if frame.remaining > self.message_max - payload.len() {
            return Err(Violation::TooLong);
        }
        if payload.is_empty() {
            payload.reserve_exact(frame.remaining.min(available.max(ANNOUNCED_MAX)));
        }
        Ok(frame)
    }

    fn take_payload(&mut self, mut frame: Frame, input: &mut &[u8]) -> Frame {
        let (taken, rest) = input.split_at(input.len().min(frame.remaining));
        *input = rest;
        let payload = match &mut self.message {
            Some((_, payload)) if frame.opcode & CONTROL == 0 => payload,
            _ => &mut self.control,
        };
        let start = payload.len();
        payload.extend_from_slice(taken);
        unmask(&mut payload[start..], frame.mask);
        frame.mask.rotate_left(taken.len() % 4);
        frame.remaining -= taken.len();
        frame
    }

    /// What a frame whose payload is complete amounts to.
    fn finish(&mut self, frame: Frame) -> Result<Option<Message>, Violation> {
        match frame.opcode {
            PING => Ok(Some(Message::Ping(std::mem::take(&mut self.control).into()))),
            PONG => {
                self.control = Vec::new();
                Ok(Some(Message::Pong))
            }
            CLOSE => close(&std::mem::take(&mut self.control)).map(Some),
            _ if !frame.last => Ok(None),
            _ => match self.message.take() {
                Some((true, text)) => {
                    String::from_utf8(text).map(|text| Some(Message::Text(text))).or(Err(Violation::NotUtf8))
                }
                Some((false, bytes)) => Ok(Some(Message::Binary(bytes.into()))),
                None => Ok(None),
            },
        }
    }
}

/// How long a head is that begins so: as far as can be said yet.
fn head_len(head: &[u8]) -> usize {
    let Some(second) = head.get(1) else { return 2 };
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    match second & LEN {
        LEN_16 => 4 + mask,
        LEN_64 => 10 + mask,
        _ => 2 + mask,
    }
}

fn parse_head(head: &[u8]) -> Result<Frame, Violation> {
    let [first, second, rest @ ..] = head else { return Err(Violation::Protocol("no head")) };
    if first & RESERVED != 0 {
        return Err(Violation::Protocol("a reserved bit"));
    }
    let opcode = first & OPCODE;
    if !matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG) {
        return Err(Violation::Protocol("an unknown opcode"));
    }
    let Some((len, mask)) = rest.split_last_chunk().filter(|_| second & MASKED != 0) else {
        return Err(Violation::Protocol("a frame without a mask"));
    };
    let len = match (<[u8; 2]>::try_from(len), <[u8; 8]>::try_from(len)) {
        (Ok(len), _) => Some(u64::from(u16::from_be_bytes(len))).filter(|len| *len >= LEN_16.into()),
        (_, Ok(len)) => Some(u64::from_be_bytes(len))
            .filter(|len| *len > u16::MAX.into() && *len <= i64::MAX.unsigned_abs()),
        _ => Some(u64::from(second & LEN)),
    };
    let len = len.ok_or(Violation::Protocol("a length in the wrong form"))?;
    let remaining = usize::try_from(len).map_err(|_| Violation::TooLong)?;
    let last = first & FIN != 0;
    if opcode & CONTROL != 0 && (!last || remaining > CONTROL_MAX) {
        return Err(Violation::Protocol("a control frame in pieces, or too long"));
    }
    Ok(Frame { opcode, last, mask: *mask, remaining })
}

/// The payload of a close frame: nothing, or a code and a reason (RFC 6455 §5.5.1, §7.4).
fn close(payload: &[u8]) -> Result<Message, Violation> {
    let (code, reason) = match payload.split_first_chunk() {
        Some((code, reason)) => (u16::from_be_bytes(*code), reason),
        None if payload.is_empty() => return Ok(Message::Close(None)),
        None => return Err(Violation::Protocol("half a close code")),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Protocol("a close code that is never sent"));
    }
    std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    Ok(Message::Close(Some(code)))
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// Writes the head of a binary message of `len` bytes, which are to follow.
pub fn put_binary_head(out: &mut Vec<u8>, len: usize) {
    put_head(out, BINARY, len);
}

/// Writes the head of a text message of `len` bytes, which are to follow and must be UTF-8.
pub fn put_text_head(out: &mut Vec<u8>, len: usize) {
    put_head(out, TEXT, len);
}

/// Writes a ping, which whoever is there answers.
pub fn put_ping(out: &mut Vec<u8>) {
    put_head(out, PING, 0);
}

/// Writes the answer to a ping.
pub fn put_pong(out: &mut Vec<u8>, payload: &[u8]) {
    let payload = &payload[..payload.len().min(CONTROL_MAX)];
    put_head(out, PONG, payload.len());
    out.extend_from_slice(payload);
}

/// Writes a close frame. A reason of more than 123 bytes is left out.
pub fn put_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let reason = if reason.len() <= REASON_MAX { reason } else { "" };
    put_head(out, CLOSE, 2 + reason.len());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

fn put_head(out: &mut Vec<u8>, opcode: u8, len: usize) {
    out.push(FIN | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < LEN_16 => out.push(len),
        (_, Ok(len)) => {
            out.push(LEN_16);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(LEN_64);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}
