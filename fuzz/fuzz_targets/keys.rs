//! Key uploads: from the JSON body to verified keys.

#![no_main]

use std::sync::LazyLock;

use keys::{KeyUpload, KeyUploadBody, MAX_ONE_TIME_KEYS};
use libfuzzer_sys::fuzz_target;
use protocol::{base64, keys::EcPublicKey};

/// By this one the seeds are signed.
static IDENTITY: LazyLock<EcPublicKey> = LazyLock::new(|| {
    let bytes = base64::decode_lenient("Bep8MCy4zjpsGofPnTJvEqh8DLh2LLgVI4gxs1BkMMgx").expect("base64");
    EcPublicKey::try_from(&bytes[..]).expect("a key")
});

fuzz_target!(|data: &[u8]| {
    let Ok(body) = serde_json::from_slice::<KeyUploadBody>(data) else { return };
    let Ok(upload) = KeyUpload::try_from(body) else { return };
    assert!(upload.one_time.len() <= MAX_ONE_TIME_KEYS && upload.kem_one_time.len() <= MAX_ONE_TIME_KEYS);
    let _ = upload.verify(&IDENTITY);
    for key in &upload.one_time {
        let text = serde_json::to_string(key).expect("keys are JSON");
        assert_eq!(&serde_json::from_str::<protocol::keys::EcPreKey>(&text).expect("the same key"), key);
    }
});
