//! Multi-recipient messages against vectors made and judged by the official library.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use proptest::prelude::*;
use protocol::{
    ServiceId, base64,
    multi_recipient::{MultiRecipient, MultiRecipientDevice, MultiRecipientMessage},
};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/multi-recipient-message.json")).unwrap()
}

fn parse(message: &Value) -> MultiRecipientMessage {
    let bytes = base64::decode_lenient(message["message_b64"].as_str().unwrap()).unwrap();
    MultiRecipientMessage::parse(&Bytes::from(bytes)).unwrap()
}

fn content(recipient: &MultiRecipient, message: &MultiRecipientMessage) -> String {
    let content = [&recipient.head()[..], message.shared()].concat();
    assert_eq!(content.len(), message.content_len());
    hex::encode(content)
}

#[test]
fn every_recipient_gets_what_the_official_library_would_give_it() {
    let vectors = vectors();
    let message = parse(&vectors["v23"]);
    let (excluded, addressed): (Vec<_>, Vec<_>) = vectors["v23"]["recipientsInOrder"]
        .as_array()
        .unwrap()
        .iter()
        .partition(|recipient| recipient["excluded"] == true);
    assert_eq!(message.recipients().len(), addressed.len());
    for (recipient, expected) in message.recipients().iter().zip(addressed) {
        assert_eq!(recipient.service_id.to_string(), expected["serviceId"]);
        let devices: Vec<_> = expected["devices"].as_array().unwrap().iter().map(device).collect();
        assert_eq!(recipient.devices, devices);
        assert!(!recipient.repeats_a_device());
        assert_eq!(content(recipient, &message), expected["deliveredContent_hex"]);
    }
    let names: Vec<_> = message.excluded().iter().map(ToString::to_string).collect();
    let expected: Vec<_> =
        excluded.iter().map(|recipient| recipient["serviceId"].as_str().unwrap()).collect();
    assert_eq!(names, expected);
}

fn device(json: &Value) -> MultiRecipientDevice {
    MultiRecipientDevice {
        device_id: json["deviceId"].as_u64().unwrap().try_into().unwrap(),
        registration_id: json["registrationId"].as_u64().unwrap().try_into().unwrap(),
    }
}

#[test]
fn the_older_form_names_account_identities_only() {
    let vectors = vectors();
    let message = parse(&vectors["v22"]);
    let [recipient] = message.recipients() else { panic!() };
    assert!(matches!(recipient.service_id, ServiceId::Aci(_)));
    assert_eq!(content(recipient, &message), vectors["v22"]["deliveredContent_hex"]);
}

#[test]
fn a_recipient_named_twice_is_one_with_the_devices_of_both() {
    let vectors = vectors();
    let message = parse(&vectors["sameRecipientTwice"]);
    let [recipient] = message.recipients() else { panic!() };
    let devices: Vec<_> =
        recipient.devices.iter().map(|device| (device.device_id, device.registration_id)).collect();
    assert_eq!(devices, [(1, 1), (3, 16383)]);
    assert_eq!(content(recipient, &message), vectors["sameRecipientTwice"]["deliveredContent_hex"]);
}

#[test]
fn the_verdicts_are_those_of_the_official_parser() {
    for case in vectors()["structural"].as_array().unwrap() {
        let bytes = hex::decode(case["message_hex"].as_str().unwrap()).unwrap();
        let parsed = MultiRecipientMessage::parse(&Bytes::from(bytes));
        assert_eq!(parsed.is_ok(), case["parses"].as_bool().unwrap(), "{}", case["name"]);
    }
}

#[test]
fn a_device_named_twice_is_noticed() {
    let mut bytes = vec![0x22, 1];
    bytes.extend([7; 16]);
    bytes.extend([1, 0x80, 5, 1, 0, 6]);
    bytes.extend([0; 48 + 32]);
    let message = MultiRecipientMessage::parse(&Bytes::from(bytes)).unwrap();
    assert!(message.recipients()[0].repeats_a_device());
}

proptest! {
    #[test]
    fn no_cut_and_no_flip_is_a_panic(cut in 0_usize..586, at in 0_usize..586, bit in 0_u8..8) {
        let mut bytes = base64::decode_lenient(vectors()["v23"]["message_b64"].as_str().unwrap()).unwrap();
        bytes[at] ^= 1 << bit;
        let _ = MultiRecipientMessage::parse(&Bytes::copy_from_slice(&bytes));
        bytes.truncate(cut);
        // The shared part has no length of its own: what is cut there goes unnoticed until decryption.
        let _ = MultiRecipientMessage::parse(&Bytes::from(bytes));
    }
}
