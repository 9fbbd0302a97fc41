//! Multi-recipient messages: what parses must parse to the same when it is written again.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protocol::{
    IdentityKind, ServiceId,
    multi_recipient::{MultiRecipient, MultiRecipientMessage},
};

fuzz_target!(|data: &[u8]| {
    let Ok(message) = MultiRecipientMessage::parse(&Bytes::copy_from_slice(data)) else { return };
    assert!(message.shared().len() >= 32 && data.ends_with(message.shared()));
    for recipient in message.recipients() {
        assert!(!recipient.devices.is_empty());
        assert_eq!(recipient.head().len() + message.shared().len(), message.content_len());
        let _ = recipient.repeats_a_device();
    }
    let again = MultiRecipientMessage::parse(&Bytes::from(write(&message))).expect("what was parsed");
    assert_eq!(again.excluded(), message.excluded());
    assert_eq!(again.shared(), message.shared());
    assert!(again.recipients().iter().zip(message.recipients()).all(|(a, b)| same(a, b)));
});

fn same(a: &MultiRecipient, b: &MultiRecipient) -> bool {
    a.service_id == b.service_id && a.devices == b.devices && a.head() == b.head()
}

fn write(message: &MultiRecipientMessage) -> Vec<u8> {
    let mut out = vec![0x23];
    let mut count = message.recipients().len() + message.excluded().len();
    while count >= 0x80 {
        out.push(count as u8 | 0x80);
        count >>= 7;
    }
    out.push(count as u8);
    for recipient in message.recipients() {
        write_id(&mut out, recipient.service_id);
        for (index, device) in recipient.devices.iter().enumerate() {
            let more = if index + 1 < recipient.devices.len() { 0x8000 } else { 0 };
            out.push(device.device_id);
            out.extend((device.registration_id | more).to_be_bytes());
        }
        out.extend(&recipient.head()[1..]);
    }
    for id in message.excluded() {
        write_id(&mut out, *id);
        out.push(0);
    }
    out.extend(&message.shared()[..]);
    out
}

fn write_id(out: &mut Vec<u8>, id: ServiceId) {
    out.push(u8::from(id.kind() == IdentityKind::Pni));
    out.extend(id.uuid().as_bytes());
}
