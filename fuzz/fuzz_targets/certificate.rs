//! Certificates of sealed sender: reading and verifying.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use protocol::{
    ambient::Timestamp,
    certificate::{SenderCertificate, ServerCertificate},
    keys::EcPublicKey,
    xeddsa::PrivateKey,
};

static ROOT: LazyLock<EcPublicKey> = LazyLock::new(|| PrivateKey::from_bytes([7; 32]).public_key());

fuzz_target!(|data: &[u8]| {
    if let Ok(certificate) = ServerCertificate::from_bytes(data) {
        assert_eq!(certificate.as_bytes(), data);
        assert!(!certificate.verify(&ROOT));
    }
    if let Ok(certificate) = SenderCertificate::from_bytes(data) {
        assert!(!certificate.verify(&ROOT, Timestamp::from_millis(0)));
    }
});
