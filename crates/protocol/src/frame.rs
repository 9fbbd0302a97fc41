//! Frames of the chat socket: requests and responses, HTTP in miniature, as Protocol Buffers (proto2) in
//! binary websocket messages.
//!
//! This is the parser that reads every byte a client sends over its socket. It is written out instead of
//! derived so that the header count is bounded while reading and a body is a slice of what was received.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::{
    DecodeError,
    encoding::{
        DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint,
        skip_field,
    },
};

mod ready;

pub use ready::{JsonAnswer, ServerRequest};

/// Most headers in one request or response; more make the frame malformed. Clients send fewer than ten.
pub const MAX_HEADERS: usize = 64;

const KIND: u32 = 1;
const REQUEST: u32 = 2;
const RESPONSE: u32 = 3;
const REQUEST_KIND: u64 = 1;
const RESPONSE_KIND: u64 = 2;

/// One binary message of the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Asks the other side for something.
    Request(RequestFrame),
    /// Answers a request of the other side.
    Response(ResponseFrame),
}

/// A request, from either side.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RequestFrame {
    /// HTTP method, upper case.
    pub verb: String,
    /// Path and query.
    pub path: String,
    /// The body; an empty one differs from none.
    pub body: Option<Bytes>,
    /// Lines `name:value`, at most [`MAX_HEADERS`] when decoded.
    pub headers: Vec<String>,
    /// What the response will name; a request without one wants no response.
    pub id: Option<u64>,
}

/// The response to a request of the other side.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ResponseFrame {
    /// Id of the request.
    pub id: u64,
    /// HTTP status; 0 when the other side left it out.
    pub status: u16,
    /// Reason phrase, possibly empty.
    pub message: String,
    /// Lines `name:value`, at most [`MAX_HEADERS`] when decoded.
    pub headers: Vec<String>,
    /// The body; an empty one differs from none.
    pub body: Option<Bytes>,
}

/// Bytes that are not a frame: no valid protobuf, a kind without its content, a request without verb or
/// path, a response without id, too many headers. The socket is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame")]
pub struct MalformedFrame;

impl From<DecodeError> for MalformedFrame {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

impl Frame {
    /// Reads a frame. Bodies are slices of the given bytes and keep them alive.
    pub fn decode(bytes: Bytes) -> Result<Self, MalformedFrame> {
        let mut kind = None;
        let mut request: Option<PartialRequest> = None;
        let mut response: Option<PartialResponse> = None;
        for_each_field(bytes, |field, wire_type, rest| {
            match field {
                KIND => kind = Some(varint(wire_type, rest)?),
                REQUEST => request.get_or_insert_default().merge(chunk(wire_type, rest)?)?,
                RESPONSE => response.get_or_insert_default().merge(chunk(wire_type, rest)?)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        match (kind, request, response) {
            (Some(REQUEST_KIND), Some(request), _) => request.finish().map(Self::Request),
            (Some(RESPONSE_KIND), _, Some(response)) => response.finish().map(Self::Response),
            _ => Err(MalformedFrame),
        }
    }

    /// Bytes that [`encode_to`](Self::encode_to) writes.
    pub fn encoded_len(&self) -> usize {
        let (kind, len) = match self {
            Self::Request(request) => (REQUEST_KIND, request.len()),
            Self::Response(response) => (RESPONSE_KIND, response.len()),
        };
        varint_len(kind) + chunk_len_of(len)
    }

    /// Writes the frame.
    pub fn encode_to(&self, out: &mut impl BufMut) {
        match self {
            Self::Request(request) => request.encode(out),
            Self::Response(response) => response.encode(out),
        }
    }

    /// Writes the frame into a buffer of exactly its size.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.encode_to(&mut out);
        out.freeze()
    }
}

/// Splits a header line at its first colon and trims both sides; `None` without a colon.
pub fn parse_header(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim(), value.trim()))
}

mod request {
    pub(super) const VERB: u32 = 1;
    pub(super) const PATH: u32 = 2;
    pub(super) const BODY: u32 = 3;
    pub(super) const ID: u32 = 4;
    pub(super) const HEADERS: u32 = 5;
}

mod response {
    pub(super) const ID: u32 = 1;
    pub(super) const STATUS: u32 = 2;
    pub(super) const MESSAGE: u32 = 3;
    pub(super) const BODY: u32 = 4;
    pub(super) const HEADERS: u32 = 5;
}

/// A request while its fields are being read.
#[derive(Default)]
struct PartialRequest {
    verb: Option<String>,
    path: Option<String>,
    rest: RequestFrame,
}

impl PartialRequest {
    fn merge(&mut self, bytes: Bytes) -> Result<(), MalformedFrame> {
        for_each_field(bytes, |field, wire_type, rest| {
            match field {
                request::VERB => self.verb = Some(text(wire_type, rest)?),
                request::PATH => self.path = Some(text(wire_type, rest)?),
                request::BODY => self.rest.body = Some(chunk(wire_type, rest)?),
                request::ID => self.rest.id = Some(varint(wire_type, rest)?),
                request::HEADERS => push_header(&mut self.rest.headers, wire_type, rest)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn finish(self) -> Result<RequestFrame, MalformedFrame> {
        let (Some(verb), Some(path)) = (self.verb, self.path) else { return Err(MalformedFrame) };
        Ok(RequestFrame { verb, path, ..self.rest })
    }
}

/// A response while its fields are being read.
#[derive(Default)]
struct PartialResponse {
    id: Option<u64>,
    rest: ResponseFrame,
}

impl PartialResponse {
    fn merge(&mut self, bytes: Bytes) -> Result<(), MalformedFrame> {
        for_each_field(bytes, |field, wire_type, rest| {
            match field {
                response::ID => self.id = Some(varint(wire_type, rest)?),
                response::STATUS => {
                    self.rest.status = varint(wire_type, rest)?.try_into().map_err(|_| MalformedFrame)?;
                }
                response::MESSAGE => self.rest.message = text(wire_type, rest)?,
                response::BODY => self.rest.body = Some(chunk(wire_type, rest)?),
                response::HEADERS => push_header(&mut self.rest.headers, wire_type, rest)?,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn finish(self) -> Result<ResponseFrame, MalformedFrame> {
        let id = self.id.ok_or(MalformedFrame)?;
        Ok(ResponseFrame { id, ..self.rest })
    }
}

/// Hands each field to `read`, which answers whether it knew and consumed it; skips those it did not.
fn for_each_field(
    mut bytes: Bytes,
    mut read: impl FnMut(u32, WireType, &mut Bytes) -> Result<bool, MalformedFrame>,
) -> Result<(), MalformedFrame> {
    while bytes.has_remaining() {
        let (field, wire_type) = decode_key(&mut bytes)?;
        if !read(field, wire_type, &mut bytes)? {
            skip_field(wire_type, field, &mut bytes, DecodeContext::default())?;
        }
    }
    Ok(())
}

fn varint(wire_type: WireType, bytes: &mut Bytes) -> Result<u64, MalformedFrame> {
    if wire_type == WireType::Varint { Ok(decode_varint(bytes)?) } else { Err(MalformedFrame) }
}

fn chunk(wire_type: WireType, bytes: &mut Bytes) -> Result<Bytes, MalformedFrame> {
    if wire_type != WireType::LengthDelimited {
        return Err(MalformedFrame);
    }
    let len = usize::try_from(decode_varint(bytes)?).map_err(|_| MalformedFrame)?;
    if len <= bytes.len() { Ok(bytes.split_to(len)) } else { Err(MalformedFrame) }
}

fn text(wire_type: WireType, bytes: &mut Bytes) -> Result<String, MalformedFrame> {
    let chunk = chunk(wire_type, bytes)?;
    str::from_utf8(&chunk).map(str::to_owned).map_err(|_| MalformedFrame)
}

fn push_header(
    headers: &mut Vec<String>,
    wire_type: WireType,
    bytes: &mut Bytes,
) -> Result<(), MalformedFrame> {
    if headers.len() == MAX_HEADERS {
        return Err(MalformedFrame);
    }
    headers.push(text(wire_type, bytes)?);
    Ok(())
}

impl RequestFrame {
    fn len(&self) -> usize {
        chunk_len(self.verb.as_bytes())
            + chunk_len(self.path.as_bytes())
            + self.body.as_deref().map_or(0, chunk_len)
            + self.id.map_or(0, varint_len)
            + self.headers.iter().map(|line| chunk_len(line.as_bytes())).sum::<usize>()
    }

    fn encode(&self, out: &mut impl BufMut) {
        put_start(out, REQUEST_KIND, REQUEST, self.len());
        put_chunk(out, request::VERB, self.verb.as_bytes());
        put_chunk(out, request::PATH, self.path.as_bytes());
        if let Some(body) = &self.body {
            put_chunk(out, request::BODY, body);
        }
        if let Some(id) = self.id {
            put_varint(out, request::ID, id);
        }
        for line in &self.headers {
            put_chunk(out, request::HEADERS, line.as_bytes());
        }
    }
}

impl ResponseFrame {
    fn message(&self) -> Option<&[u8]> {
        Some(self.message.as_bytes()).filter(|message| !message.is_empty())
    }

    fn len(&self) -> usize {
        varint_len(self.id)
            + varint_len(self.status.into())
            + self.message().map_or(0, chunk_len)
            + self.body.as_deref().map_or(0, chunk_len)
            + self.headers.iter().map(|line| chunk_len(line.as_bytes())).sum::<usize>()
    }

    fn encode(&self, out: &mut impl BufMut) {
        put_start(out, RESPONSE_KIND, RESPONSE, self.len());
        put_varint(out, response::ID, self.id);
        put_varint(out, response::STATUS, self.status.into());
        if let Some(message) = self.message() {
            put_chunk(out, response::MESSAGE, message);
        }
        if let Some(body) = &self.body {
            put_chunk(out, response::BODY, body);
        }
        for line in &self.headers {
            put_chunk(out, response::HEADERS, line.as_bytes());
        }
    }
}

/// Writes the kind and the head of the only other field, of which `len` bytes are to follow.
fn put_start(out: &mut impl BufMut, kind: u64, field: u32, len: usize) {
    put_varint(out, KIND, kind);
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

// Every field number in a frame is below 16: its key takes one byte.
const KEY_LEN: usize = 1;

fn varint_len(value: u64) -> usize {
    KEY_LEN + encoded_len_varint(value)
}

fn chunk_len(bytes: &[u8]) -> usize {
    chunk_len_of(bytes.len())
}

fn chunk_len_of(len: usize) -> usize {
    KEY_LEN + encoded_len_varint(len as u64) + len
}

fn put_varint(out: &mut impl BufMut, field: u32, value: u64) {
    encode_key(field, WireType::Varint, out);
    encode_varint(value, out);
}

fn put_chunk(out: &mut impl BufMut, field: u32, bytes: &[u8]) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.put_slice(bytes);
}

// Paths hold ids, headers hold credentials: neither may reach a log.
impl fmt::Debug for RequestFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestFrame").field("verb", &self.verb).field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for ResponseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFrame")
            .field("id", &self.id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
