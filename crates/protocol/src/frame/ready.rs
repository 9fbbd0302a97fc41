//! Frames written without being put together first: those that every message costs.

use bytes::BufMut;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::{
    REQUEST, REQUEST_KIND, RESPONSE, RESPONSE_KIND, chunk_len, chunk_len_of, put_chunk, put_start,
    put_varint, request, response, varint_len,
};
use crate::ambient::Timestamp;

/// The header by which a client learns the server's time, in milliseconds since the epoch.
const TIMESTAMP_HEADER: &str = "X-Signal-Timestamp:";
/// The same in an answer, whose header names are written as the router writes them.
const ANSWERED_HEADER: &str = "x-signal-timestamp:";
const JSON_HEADER: &str = "content-type:application/json";
const LENGTH_HEADER: &str = "content-length:";

/// A request of the server to a client: every delivered message passes here.
#[derive(Clone, Copy)]
pub struct ServerRequest<'a> {
    path: &'static str,
    body: Option<&'a [&'a [u8]]>,
    id: u64,
    now: Timestamp,
}

impl<'a> ServerRequest<'a> {
    /// Hands an envelope to a client: `PUT /api/v1/message`. The envelope is the pieces in a row.
    pub fn delivery(id: u64, envelope: &'a [&'a [u8]], now: Timestamp) -> Self {
        Self { path: "/api/v1/message", body: Some(envelope), id, now }
    }

    /// Tells a client that it has everything that had waited: `PUT /api/v1/queue/empty`.
    pub fn queue_empty(id: u64, now: Timestamp) -> Self {
        Self { path: "/api/v1/queue/empty", body: None, id, now }
    }

    /// Bytes that [`encode`](Self::encode) writes.
    pub fn encoded_len(&self) -> usize {
        varint_len(REQUEST_KIND) + chunk_len_of(self.len())
    }

    /// Writes the frame.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_start(out, REQUEST_KIND, REQUEST, self.len());
        put_chunk(out, request::VERB, b"PUT");
        put_chunk(out, request::PATH, self.path.as_bytes());
        if let Some(pieces) = self.body {
            encode_key(request::BODY, WireType::LengthDelimited, out);
            encode_varint(total_len(pieces) as u64, out);
            for piece in pieces {
                out.put_slice(piece);
            }
        }
        put_varint(out, request::ID, self.id);
        put_numeric_header(out, request::HEADERS, TIMESTAMP_HEADER, self.now.as_millis());
    }

    /// Bytes of the request inside the frame.
    fn len(&self) -> usize {
        chunk_len(b"PUT")
            + chunk_len(self.path.as_bytes())
            + self.body.map_or(0, |pieces| chunk_len_of(total_len(pieces)))
            + varint_len(self.id)
            + numeric_header_len(TIMESTAMP_HEADER, self.now.as_millis())
    }
}

/// An answer of 200 with a body in JSON, which every accepted message gets.
#[derive(Clone, Copy)]
pub struct JsonAnswer<'a> {
    /// Id of the request.
    pub id: u64,
    /// The body, in JSON.
    pub body: &'a [u8],
    /// The server's time.
    pub now: Timestamp,
}

impl JsonAnswer<'_> {
    const STATUS: u64 = 200;

    /// Bytes that [`encode`](Self::encode) writes.
    pub fn encoded_len(&self) -> usize {
        varint_len(RESPONSE_KIND) + chunk_len_of(self.len())
    }

    /// Writes the frame.
    pub fn encode(&self, out: &mut impl BufMut) {
        put_start(out, RESPONSE_KIND, RESPONSE, self.len());
        put_varint(out, response::ID, self.id);
        put_varint(out, response::STATUS, Self::STATUS);
        put_chunk(out, response::MESSAGE, b"OK");
        put_chunk(out, response::BODY, self.body);
        put_chunk(out, response::HEADERS, JSON_HEADER.as_bytes());
        put_numeric_header(out, response::HEADERS, LENGTH_HEADER, self.body.len() as u64);
        put_numeric_header(out, response::HEADERS, ANSWERED_HEADER, self.now.as_millis());
    }

    /// Bytes of the response inside the frame.
    fn len(&self) -> usize {
        varint_len(self.id)
            + varint_len(Self::STATUS)
            + chunk_len(b"OK")
            + chunk_len(self.body)
            + chunk_len(JSON_HEADER.as_bytes())
            + numeric_header_len(LENGTH_HEADER, self.body.len() as u64)
            + numeric_header_len(ANSWERED_HEADER, self.now.as_millis())
    }
}

fn total_len(pieces: &[&[u8]]) -> usize {
    pieces.iter().map(|piece| piece.len()).sum()
}

fn numeric_header_len(name: &str, value: u64) -> usize {
    chunk_len_of(name.len() + decimal_len(value))
}

/// Writes the header line of that name, which ends in its colon.
fn put_numeric_header(out: &mut impl BufMut, field: u32, name: &str, value: u64) {
    encode_key(field, WireType::LengthDelimited, out);
    encode_varint((name.len() + decimal_len(value)) as u64, out);
    out.put_slice(name.as_bytes());
    put_decimal(out, value);
}

fn decimal_len(value: u64) -> usize {
    value.checked_ilog10().unwrap_or(0) as usize + 1
}

fn put_decimal(out: &mut impl BufMut, value: u64) {
    // The largest has twenty digits.
    let mut digits = [0; 20];
    let mut first = digits.len();
    let mut rest = value;
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(&digits[first..]);
}
