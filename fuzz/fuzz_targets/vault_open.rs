//! The vault: whatever is sealed opens, and nothing else does.

#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use protocol::ambient::SeededEntropy;
use vault::{Keyring, Place, Vault};

static VAULT: LazyLock<Vault> = LazyLock::new(|| {
    let entropy = Arc::new(SeededEntropy::new(1));
    Vault::new(Keyring::generate(&*entropy), entropy)
});

fuzz_target!(|data: &[u8]| {
    let place = Place { column: "messages.envelope", row: b"row" };
    assert!(VAULT.open_plain(place, data).is_err());
    let sealed = VAULT.seal(place, data);
    assert_eq!(VAULT.open_plain(place, &sealed).as_deref(), Ok(data));
    // Longer by what the fuzzer put before the last byte.
    let altered = [&sealed[..sealed.len() - 1], data, &sealed[sealed.len() - 1..]].concat();
    assert!(data.is_empty() || VAULT.open_plain(place, &altered).is_err());
});
