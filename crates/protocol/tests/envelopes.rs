//! Envelopes against the official bytes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use protocol::envelope::{Envelope, EnvelopeType};
use serde_json::Value;

fn from_fields(fields: &Value) -> Envelope {
    let number = |name: &str| fields.get(name).map(|value| value.as_str().unwrap().parse().unwrap());
    let data = |name: &str| {
        let text = fields.get(format!("{name}_hex"))?.as_str().unwrap();
        Some(hex::decode(text).unwrap())
    };
    Envelope {
        r#type: fields["type"].as_i64().map(|kind| kind.try_into().unwrap()),
        client_timestamp: number("clientTimestamp"),
        source_device: fields.get("sourceDevice").map(|id| id.as_u64().unwrap().try_into().unwrap()),
        content: data("content").map(Bytes::from),
        server_timestamp: number("serverTimestamp"),
        ephemeral: None,
        urgent: fields.get("urgent").and_then(Value::as_bool),
        story: fields.get("story").and_then(Value::as_bool),
        report_spam_token: data("reportSpamToken"),
        source_service_id: data("sourceServiceId"),
        destination_service_id: data("destinationServiceId"),
        server_guid: data("serverGuid"),
        updated_pni: data("updatedPni"),
    }
}

#[test]
fn envelopes_are_byte_for_byte_the_official_ones() {
    let file: Value = serde_json::from_str(include_str!("vectors/envelopes.json")).unwrap();
    let vectors = file["envelopes"].as_array().unwrap();
    assert_eq!(vectors.len(), 7);
    for vector in vectors {
        let envelope = from_fields(&vector["fields"]);
        let bytes = envelope.encode_to_vec();
        assert_eq!(hex::encode(&bytes), vector["envelope_hex"].as_str().unwrap(), "{}", vector["name"]);
        assert_eq!(Envelope::decode(&bytes[..]).as_ref(), Ok(&envelope), "{}", vector["name"]);
        assert_ne!(envelope.r#type(), EnvelopeType::Unknown);
    }
}

#[test]
fn debug_shows_neither_content_nor_sender() {
    let envelope = Envelope {
        r#type: Some(EnvelopeType::PreKey as i32),
        content: Some(Bytes::from_static(b"secret")),
        source_device: Some(113),
        ..Envelope::default()
    };
    assert_eq!(format!("{envelope:?}"), "Envelope { type: Some(3), .. }");
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
        if let Ok(envelope) = Envelope::decode(&bytes[..]) {
            prop_assert_eq!(Envelope::decode(&envelope.encode_to_vec()[..]), Ok(envelope));
        }
    }
}
