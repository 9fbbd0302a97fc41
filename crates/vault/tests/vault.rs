//! What must never open, what must always open, and how the keys are kept.

use std::sync::Arc;

use proptest::prelude::*;
use protocol::ambient::{Entropy, SeededEntropy};
use vault::{Keyring, KeyringError, MasterKey, OpenError, Place, Vault};

const PLACE: Place<'_> = Place { column: "messages.envelope", row: b"row 1" };

fn entropy(seed: u64) -> Arc<dyn Entropy> {
    Arc::new(SeededEntropy::new(seed))
}

fn keyring(seed: u64) -> Keyring {
    Keyring::generate(&*entropy(seed))
}

fn rotated_keyring() -> Keyring {
    let mut keyring = keyring(1);
    keyring.rotate(&*entropy(3));
    keyring
}

fn vault(keyring: Keyring) -> Vault {
    Vault::new(keyring, entropy(7))
}

#[test]
fn sealed_data_opens_in_its_place_only() {
    let vault = vault(keyring(1));
    let sealed = vault.seal(PLACE, b"secret");
    assert_eq!(vault.open(PLACE, &sealed).unwrap()[..], b"secret"[..]);

    // The last two are other ways to cut the same letters into column and row.
    let elsewhere = [
        Place { row: b"row 2", ..PLACE },
        Place { row: b"", ..PLACE },
        Place { column: "messages.sender", ..PLACE },
        Place { column: "messages.enveloper", row: b"ow 1" },
        Place { column: "messages.envelop", row: b"erow 1" },
    ];
    for place in elsewhere {
        assert_eq!(vault.open_plain(place, &sealed), Err(OpenError::Refused), "{place:?}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let vault = vault(keyring(1));
    let sealed = vault.seal(PLACE, b"secret");
    for bit in 0..sealed.len() * 8 {
        let mut altered = sealed.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(vault.open_plain(PLACE, &altered).is_err(), "bit {bit}");
    }
}

#[test]
fn truncated_and_extended_data_is_refused() {
    let vault = vault(keyring(1));
    let sealed = vault.seal(PLACE, b"secret");
    assert_eq!(sealed.len(), b"secret".len() + Vault::OVERHEAD);
    for len in 0..sealed.len() {
        assert!(vault.open_plain(PLACE, &sealed[..len]).is_err(), "{len} bytes");
    }
    assert_eq!(vault.open_plain(PLACE, &sealed[..31]), Err(OpenError::Truncated));
    assert_eq!(vault.open_plain(PLACE, &[&sealed[..], &[0]].concat()), Err(OpenError::Refused));
}

#[test]
fn another_key_does_not_open() {
    let sealed = vault(keyring(1)).seal(PLACE, b"secret");
    assert_eq!(vault(keyring(2)).open_plain(PLACE, &sealed), Err(OpenError::Refused));

    // The id of the key names one that exists but did not seal this, and one that does not exist.
    let mut relabelled = sealed.clone();
    relabelled[3] = 2;
    assert_eq!(vault(rotated_keyring()).open_plain(PLACE, &relabelled), Err(OpenError::Refused));
    assert_eq!(vault(keyring(1)).open_plain(PLACE, &relabelled), Err(OpenError::UnknownKey(2)));
}

#[test]
fn rotation_keeps_old_data_readable_and_indexes_stable() {
    let before = vault(keyring(1));
    let after = vault(rotated_keyring());
    let old = before.seal(PLACE, b"old");
    let new = after.seal(PLACE, b"new");

    assert_eq!(after.open_plain(PLACE, &old).unwrap(), b"old");
    assert_eq!(after.open_plain(PLACE, &new).unwrap(), b"new");
    assert_eq!(before.open_plain(PLACE, &new), Err(OpenError::UnknownKey(2)));
    assert_eq!(before.index("phone", b"+15550100001"), after.index("phone", b"+15550100001"));
}

#[test]
fn indexes_depend_on_domain_value_and_keyring() {
    let vault_1 = vault(keyring(1));
    let index = vault_1.index("phone", b"value");
    assert_eq!(index, vault_1.index("phone", b"value"));
    assert_ne!(index, vault_1.index("phone", b"valuf"));
    assert_ne!(index, vault_1.index("email", b"value"));
    assert_ne!(index, vault_1.index("phonev", b"alue"));
    assert_ne!(index, vault(keyring(2)).index("phone", b"value"));
}

#[test]
fn the_same_value_is_sealed_differently_each_time() {
    let vault = vault(keyring(1));
    assert_ne!(vault.seal(PLACE, b"secret"), vault.seal(PLACE, b"secret"));
}

#[test]
fn keyrings_survive_their_file_and_open_under_their_master_key_only() {
    let master = MasterKey::generate(&*entropy(4));
    let json = rotated_keyring().to_json(&master, &*entropy(5));
    let original = vault(rotated_keyring());

    let read = vault(Keyring::from_json(&master, &json).unwrap());
    assert_eq!(read.open_plain(PLACE, &original.seal(PLACE, b"secret")).unwrap(), b"secret");
    assert_eq!(read.index("a", b"b"), original.index("a", b"b"));

    let other = MasterKey::generate(&*entropy(6));
    assert!(matches!(Keyring::from_json(&other, &json), Err(KeyringError::WrongMasterKey)));
}

#[test]
fn altered_keyring_files_are_refused() {
    let master = MasterKey::generate(&*entropy(4));
    let json = rotated_keyring().to_json(&master, &*entropy(5));
    let file: serde_json::Value = serde_json::from_str(&json).unwrap();
    let read = |file: &serde_json::Value| Keyring::from_json(&master, &file.to_string()).unwrap_err();

    let mut swapped = file.clone();
    swapped["data_keys"]["1"] = file["data_keys"]["2"].clone();
    assert!(matches!(read(&swapped), KeyringError::WrongMasterKey));
    let mut renumbered = file.clone();
    renumbered["data_keys"]["3"] = file["data_keys"]["2"].clone();
    assert!(matches!(read(&renumbered), KeyringError::WrongMasterKey));
    let mut huge = file.clone();
    huge["data_keys"]["4294967295"] = file["data_keys"]["2"].clone();
    assert!(matches!(read(&huge), KeyringError::Incomplete));
    let mut empty = file.clone();
    empty["data_keys"] = serde_json::json!({});
    assert!(matches!(read(&empty), KeyringError::Incomplete));
    let mut newer = file.clone();
    newer["version"] = 2.into();
    assert!(matches!(read(&newer), KeyringError::UnsupportedVersion(2)));
    assert!(matches!(Keyring::from_json(&master, "{}"), Err(KeyringError::Malformed(_))));
}

#[test]
fn master_keys_are_read_from_base64_and_hexadecimal() {
    let master = MasterKey::generate(&*entropy(4));
    let text = master.to_text();
    let json = keyring(1).to_json(&master, &*entropy(5));
    let as_hex = hex::encode(protocol::base64::decode_lenient(text.trim()).unwrap());
    for text in [text.as_str(), &as_hex, &format!(" {}\r\n", as_hex.to_uppercase())] {
        assert!(Keyring::from_json(&MasterKey::from_text(text).unwrap(), &json).is_ok());
    }
    for text in ["", "AAAA", &as_hex[1..], &as_hex[2..], &format!("{as_hex}00")] {
        assert!(MasterKey::from_text(text).is_err(), "{} characters", text.len());
    }
}

#[test]
fn debug_shows_no_keys() {
    assert_eq!(format!("{:?}", MasterKey::generate(&*entropy(4))), "MasterKey(…)");
    assert_eq!(format!("{:?}", keyring(1)), "Keyring { newest: 1, .. }");
    assert_eq!(format!("{:?}", vault(keyring(1))), "Vault { newest: 1, .. }");
}

proptest! {
    #[test]
    fn everything_sealed_opens(row: Vec<u8>, plaintext: Vec<u8>) {
        let vault = vault(keyring(1));
        let place = Place { row: &row, ..PLACE };
        let sealed = vault.seal(place, &plaintext);
        prop_assert_eq!(vault.open_plain(place, &sealed), Ok(plaintext));
    }

    #[test]
    fn arbitrary_bytes_do_not_open(bytes: Vec<u8>) {
        prop_assert!(vault(keyring(1)).open_plain(PLACE, &bytes).is_err());
    }
}
