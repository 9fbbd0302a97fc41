//! Signal's chat frames and envelopes, read without copying and written without allocating.

/// Bytes that are not the message they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("malformed protobuf from the server")
    }
}

impl std::error::Error for Malformed {}

/// The value of one protobuf field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A variable-length integer.
    Varint(u64),
    /// Length-delimited bytes.
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message, in the order they were written.
#[derive(Clone, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Reads the fields of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| Malformed)?;
        match key & 7 {
            0 => Ok((number, Value::Varint(self.varint()?))),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
                let (bytes, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
                self.0 = rest;
                Ok((number, Value::Bytes(bytes)))
            }
            _ => Err(Malformed),
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() { None } else { Some(self.field()) }
    }
}

/// One chat frame from the server.
#[derive(Clone, Copy, Debug)]
pub enum FrameView<'a> {
    /// The server asks: a delivery, or the end of the queue.
    Request(RequestView<'a>),
    /// The server answers a request of ours.
    Response(ResponseView<'a>),
}

/// A request of the server's.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestView<'a> {
    /// The HTTP method.
    pub verb: &'a [u8],
    /// The path.
    pub path: &'a [u8],
    /// What the answer has to carry.
    pub id: u64,
    /// The body, empty when absent.
    pub body: &'a [u8],
    raw: &'a [u8],
}

/// An answer of the server's.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseView<'a> {
    /// The id of the request it answers.
    pub id: u64,
    /// The HTTP status.
    pub status: u16,
    /// The body, empty when absent.
    pub body: &'a [u8],
    raw: &'a [u8],
}

impl<'a> FrameView<'a> {
    /// Reads a frame.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut kind, mut inner) = (0, None);
        for field in Fields::new(bytes) {
            match field? {
                (1, Value::Varint(value)) => kind = value,
                (2 | 3, Value::Bytes(bytes)) => inner = Some(bytes),
                _ => return Err(Malformed),
            }
        }
        let inner = inner.ok_or(Malformed)?;
        match kind {
            1 => RequestView::parse(inner).map(Self::Request),
            2 => ResponseView::parse(inner).map(Self::Response),
            _ => Err(Malformed),
        }
    }
}

impl<'a> RequestView<'a> {
    fn parse(raw: &'a [u8]) -> Result<Self, Malformed> {
        let mut view = Self { raw, ..Self::default() };
        let mut id = None;
        for field in Fields::new(raw) {
            match field? {
                (1, Value::Bytes(verb)) => view.verb = verb,
                (2, Value::Bytes(path)) => view.path = path,
                (3, Value::Bytes(body)) => view.body = body,
                (4, Value::Varint(value)) => id = Some(value),
                (5, Value::Bytes(_)) => {}
                _ => return Err(Malformed),
            }
        }
        // The official client drops a request without an id.
        view.id = id.ok_or(Malformed)?;
        Ok(view)
    }

    /// Whether this is a message for us.
    pub fn is_delivery(&self) -> bool {
        self.verb == b"PUT" && self.path == b"/api/v1/message"
    }

    /// Whether this says that what waited at connect has all been delivered.
    pub fn is_queue_empty(&self) -> bool {
        self.verb == b"PUT" && self.path == b"/api/v1/queue/empty"
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        header(self.raw, name)
    }
}

impl<'a> ResponseView<'a> {
    fn parse(raw: &'a [u8]) -> Result<Self, Malformed> {
        let mut view = Self { raw, ..Self::default() };
        for field in Fields::new(raw) {
            match field? {
                (1, Value::Varint(id)) => view.id = id,
                (2, Value::Varint(status)) => view.status = u16::try_from(status).map_err(|_| Malformed)?,
                (4, Value::Bytes(body)) => view.body = body,
                (3 | 5, Value::Bytes(_)) => {}
                _ => return Err(Malformed),
            }
        }
        Ok(view)
    }

    /// The lines of the headers, in the order in which they came.
    pub fn headers(&self) -> impl Iterator<Item = &'a str> {
        header_lines(self.raw)
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        header(self.raw, name)
    }
}

fn header<'a>(raw: &'a [u8], name: &str) -> Option<&'a str> {
    header_lines(raw).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Headers are field 5 of requests and responses alike.
fn header_lines(raw: &[u8]) -> impl Iterator<Item = &str> {
    Fields::new(raw).flatten().filter_map(|field| {
        let (5, Value::Bytes(line)) = field else { return None };
        std::str::from_utf8(line).ok()
    })
}

/// An envelope as it is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeView<'a> {
    /// 1 double ratchet, 3 pre-key, 5 server delivery receipt, 6 unidentified sender, 8 plaintext.
    pub kind: u64,
    /// The sender's timestamp, milliseconds.
    pub client_timestamp: u64,
    /// The sender's device; 0 when absent.
    pub source_device: u64,
    /// The ciphertext, empty for a receipt.
    pub content: &'a [u8],
    /// When the server accepted it, milliseconds.
    pub server_timestamp: u64,
    /// The sender's service id in binary form; empty when absent.
    pub source: &'a [u8],
    /// The service id it was addressed to, in binary form.
    pub destination: &'a [u8],
    /// The stored copy's id, 16 bytes.
    pub guid: &'a [u8],
}

/// The envelope type of a server delivery receipt.
pub const RECEIPT: u64 = 5;

impl<'a> EnvelopeView<'a> {
    /// Reads an envelope.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut view = Self::default();
        for field in Fields::new(bytes) {
            match field? {
                (1, Value::Varint(kind)) => view.kind = kind,
                (5, Value::Varint(at)) => view.client_timestamp = at,
                (7, Value::Varint(device)) => view.source_device = device,
                (8, Value::Bytes(content)) => view.content = content,
                (10, Value::Varint(at)) => view.server_timestamp = at,
                (19, Value::Bytes(source)) => view.source = source,
                (20, Value::Bytes(destination)) => view.destination = destination,
                (21, Value::Bytes(guid)) => view.guid = guid,
                _ => {}
            }
        }
        Ok(view)
    }
}

fn varint_len(value: u64) -> usize {
    usize::try_from((64 - (value | 1).leading_zeros()).div_ceil(7)).unwrap_or(10)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7F) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7F) as u8);
}

fn field_len(bytes: &[u8]) -> usize {
    1 + varint_len(bytes.len() as u64) + bytes.len()
}

fn put_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    out.push(number << 3);
    put_varint(out, value);
}

/// Appends a request frame. The id follows everything of variable length but the headers, and an empty
/// body is left out.
pub fn put_request(out: &mut Vec<u8>, id: u64, verb: &str, path: &str, headers: &[&str], body: &[u8]) {
    let body_len = if body.is_empty() { 0 } else { field_len(body) };
    let headers_len: usize = headers.iter().map(|line| field_len(line.as_bytes())).sum();
    let inner =
        field_len(verb.as_bytes()) + field_len(path.as_bytes()) + body_len + 1 + varint_len(id) + headers_len;
    put_number(out, 1, 1);
    out.push(2 << 3 | 2);
    put_varint(out, inner as u64);
    put_field(out, 1, verb.as_bytes());
    put_field(out, 2, path.as_bytes());
    if !body.is_empty() {
        put_field(out, 3, body);
    }
    put_number(out, 4, id);
    for line in headers {
        put_field(out, 5, line.as_bytes());
    }
}

/// Appends an acknowledgement, as the official client writes it, or any other bare answer.
pub fn put_response(out: &mut Vec<u8>, id: u64, status: u16, message: &str) {
    let inner = 2 + varint_len(id) + varint_len(u64::from(status)) + field_len(message.as_bytes());
    put_number(out, 1, 2);
    out.push(3 << 3 | 2);
    put_varint(out, inner as u64);
    put_number(out, 1, id);
    put_number(out, 2, u64::from(status));
    put_field(out, 3, message.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The acknowledgement of request 77 as the official client sent it.
    const CLIENT_ACK: [u8; 13] = [0x08, 2, 0x1a, 9, 0x08, 0x4d, 0x10, 0xc8, 1, 0x1a, 2, b'O', b'K'];

    #[test]
    fn an_acknowledgement_is_written_as_the_official_client_does() {
        let mut out = Vec::new();
        put_response(&mut out, 77, 200, "OK");
        assert_eq!(out, CLIENT_ACK);
        let Ok(FrameView::Response(view)) = FrameView::parse(&out) else { panic!("not a response") };
        assert_eq!((view.id, view.status), (77, 200));
    }

    #[test]
    fn requests_come_back_as_written() {
        for id in [0, 127, 128, 1 << 35, u64::MAX] {
            let mut out = Vec::new();
            put_request(&mut out, id, "PUT", "/api/v1/message", &["X-Signal-Timestamp:17"], &[7; 300]);
            let Ok(FrameView::Request(view)) = FrameView::parse(&out) else { panic!("not a request") };
            assert!(view.is_delivery() && !view.is_queue_empty());
            assert_eq!((view.id, view.body), (id, &[7; 300][..]));
            assert_eq!(view.header("x-signal-timestamp"), Some("17"));
            assert!(FrameView::parse(&out[..out.len() - 1]).is_err());
        }
    }
}
