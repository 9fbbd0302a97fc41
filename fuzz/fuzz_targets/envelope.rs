//! Envelopes: what decodes must survive being written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use protocol::{ServiceId, envelope::Envelope};

fuzz_target!(|data: &[u8]| {
    let Ok(envelope) = Envelope::decode(data) else { return };
    let _ = envelope.r#type();
    if let Some(source) = &envelope.source_service_id
        && let Ok(id) = ServiceId::from_binary(source)
    {
        assert_eq!(id.to_binary(), &source[..]);
    }
    assert_eq!(Envelope::decode(&envelope.encode_to_vec()[..]), Ok(envelope));
});
