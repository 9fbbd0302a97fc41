//! Envelopes: what decodes must survive being written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use protocol::{
    ServiceId,
    envelope::{Envelope, EnvelopeSummary},
};

fuzz_target!(|data: &[u8]| {
    let summary = EnvelopeSummary::of(data);
    let Ok(envelope) = Envelope::decode(data) else { return };
    let _ = envelope.r#type();
    let canonical = EnvelopeSummary::of(&envelope.encode_to_vec());
    assert_eq!(canonical.client_timestamp, envelope.client_timestamp.unwrap_or_default());
    assert_eq!(canonical.is_story, envelope.story.unwrap_or_default());
    let _ = summary;
    if let Some(source) = &envelope.source_service_id
        && let Ok(id) = ServiceId::from_binary(source)
    {
        assert_eq!(id.to_binary(), &source[..]);
    }
    assert_eq!(Envelope::decode(&envelope.encode_to_vec()[..]), Ok(envelope));
});
