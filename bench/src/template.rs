//! Messages that differ in a few bytes only, so that making one costs the generator next to nothing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use floor_frame::Frame;
use rand::Rng as _;
use testkit::{Account, wire};

use crate::link::Party;

/// Request ids start here, so that every one is five bytes long on the wire: the id can be overwritten.
const FIRST_ID: u64 = 1 << 28;
const ID_LEN: usize = 5;
/// Twelve bytes of the content carry the number: sixteen characters of base64, without remainder.
const NUMBER_LEN: usize = 12;
const NUMBER_TEXT_LEN: usize = 16;
const CONTENT_KEY: &[u8] = b"\"content\":\"";
const OPTIONS: &str = r#""online":false,"urgent":true,"timestamp":1700000000000"#;
const HEADER: &str = "content-type: application/json";

/// In the floor's message the number follows the length, the kind and the recipient; the payload follows it.
const FLOOR_NUMBER_AT: usize = 4 + 1 + 4;

/// A message to one recipient, to be sent again and again.
#[derive(Clone, Debug)]
pub(crate) enum Template {
    /// A request to the server.
    Request { payload: Vec<u8>, id_at: usize, number_at: usize },
    /// A frame for the floor.
    Frame(Vec<u8>),
}

impl Template {
    /// A message of `content_len` random bytes (at least 12) to that party.
    pub(crate) fn new(to: &Party, content_len: usize) -> Self {
        let mut content = vec![0; content_len.max(NUMBER_LEN)];
        rand::rng().fill_bytes(&mut content);
        match to {
            Party::Account(account) => Self::request(account, &content),
            Party::Client(client) => {
                let mut frame = Vec::new();
                Frame::Message { to: *client, number: 0, payload: &content }.put(&mut frame);
                Self::Frame(frame)
            }
        }
    }

    /// A send to the account's primary device.
    fn request(to: &Account, content: &[u8]) -> Self {
        let body = format!(
            r#"{{"messages":[{{"type":1,"destinationDeviceId":1,"destinationRegistrationId":{},"content":"{}"}}],{OPTIONS}}}"#,
            to.registration_id,
            STANDARD.encode(content),
        );
        let path = format!("/v1/messages/{}", to.aci);
        let mut payload = Vec::new();
        wire::put_request(&mut payload, FIRST_ID, "PUT", &path, &[HEADER], body.as_bytes());
        // The header is one short field behind the id: key, length, text.
        let id_at = payload.len() - (2 + HEADER.len()) - ID_LEN;
        let key_at = payload.windows(CONTENT_KEY.len()).position(|window| window == CONTENT_KEY);
        let number_at = key_at.unwrap_or_default() + CONTENT_KEY.len();
        Self::Request { payload, id_at, number_at }
    }

    /// The message with this number, as its id and in its content.
    pub(crate) fn numbered(&mut self, number: u64) -> &[u8] {
        match self {
            Self::Request { payload, id_at, number_at } => {
                let mut id = FIRST_ID + number;
                for byte in &mut payload[*id_at..*id_at + ID_LEN - 1] {
                    *byte = (id & 0x7F) as u8 | 0x80;
                    id >>= 7;
                }
                payload[*id_at + ID_LEN - 1] = (id & 0x7F) as u8;
                let mut plain = [0; NUMBER_LEN];
                plain[..8].copy_from_slice(&number.to_le_bytes());
                let text = &mut payload[*number_at..*number_at + NUMBER_TEXT_LEN];
                // The lengths fit by construction.
                let _ = STANDARD.encode_slice(plain, text);
                payload
            }
            Self::Frame(frame) => {
                let (id, content) = frame[FLOOR_NUMBER_AT..].split_at_mut(8);
                id.copy_from_slice(&number.to_be_bytes());
                content[..8].copy_from_slice(&number.to_le_bytes());
                frame
            }
        }
    }
}

/// The number of the request that this response answers; `None` for another kind of request.
pub(crate) fn answered_number(response_id: u64) -> Option<u64> {
    response_id.checked_sub(FIRST_ID)
}

/// The number in a delivered envelope's content.
pub(crate) fn content_number(content: &[u8]) -> Option<u64> {
    content.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use testkit::wire::{Fields, Value};

    use super::*;

    #[test]
    fn overwriting_gives_the_request_that_building_would() {
        let to = Party::Account(Box::new(Account {
            aci: uuid::Uuid::from_u128(7),
            pni: uuid::Uuid::nil(),
            device_id: 1,
            number: String::new(),
            password: String::new(),
            registration_id: 12,
            pni_registration_id: 1,
        }));
        let mut template = Template::new(&to, 1024);
        for number in [0, 1, 300, 1 << 33] {
            let frame = template.numbered(number);
            let Some(Ok((2, Value::Bytes(request)))) = Fields::new(frame).nth(1) else { panic!() };
            let fields: Vec<_> = Fields::new(request).collect::<Result<_, _>>().unwrap();
            let (_, Value::Bytes(body)) = fields[2] else { panic!() };
            let (_, Value::Varint(id)) = fields[3] else { panic!() };
            assert_eq!(answered_number(id), Some(number));
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            let content = STANDARD.decode(body["messages"][0]["content"].as_str().unwrap()).unwrap();
            assert_eq!((content.len(), content_number(&content)), (1024, Some(number)));
            assert_eq!(fields[4], (5, Value::Bytes(HEADER.as_bytes())));
        }
    }

    #[test]
    fn the_floor_s_frames_carry_the_number_twice() {
        let mut template = Template::new(&Party::Client(5), 1024);
        for number in [0, 77, 1 << 39] {
            let Ok(Some((Frame::Message { to, number: found, payload }, _))) =
                Frame::first(template.numbered(number))
            else {
                panic!("not a message")
            };
            assert_eq!((to, found, payload.len()), (5, number, 1024));
            assert_eq!(content_number(payload), Some(number));
        }
    }
}
