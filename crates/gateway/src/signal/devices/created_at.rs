//! When a device was added: told to the account's devices, and to nobody who reads along.
//!
//! HPKE (RFC 9180) in base mode to the account's identity key, with X25519, HKDF-SHA256 and AES-256-GCM. What
//! clients read is a type byte, the encapsulated key (32 bytes), and the sealed time with its tag (24 bytes).

use auth::devices::DeviceInfo;
use http::StatusCode;
use protocol::keys::EcPublicKey;
use rustls::crypto::{
    aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256,
    hpke::{Hpke, HpkePublicKey},
};

use crate::reply::Refusal;

/// Stands for the algorithms above.
const TYPE: u8 = 1;

/// Binds the seal to its purpose.
const INFO: &[u8] = b"deviceCreatedAt";

/// It could not be sealed: the identity key that the account was registered with is not a point of the curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotSealed;

impl From<NotSealed> for Refusal {
    fn from(NotSealed: NotSealed) -> Self {
        tracing::error!("when a device was added could not be sealed to its account's identity key");
        Self::bare(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// The moment at which the device was added, sealed.
pub(super) fn seal(device: &DeviceInfo, identity_key: &EcPublicKey) -> Result<Vec<u8>, NotSealed> {
    let mut aad = [0; 5];
    aad[0] = device.id.get();
    aad[1..].copy_from_slice(&u32::from(device.registration_id.get()).to_be_bytes());
    let moment = device.created.as_millis().to_be_bytes();
    // Without the type byte in front.
    let key = HpkePublicKey(identity_key.as_bytes()[1..].to_vec());
    let (encapsulated, sealed) =
        DH_KEM_X25519_HKDF_SHA256_AES_256.seal(INFO, &aad, &moment, &key).map_err(|_| NotSealed)?;
    Ok([&[TYPE], &encapsulated.0[..], &sealed].concat())
}

#[cfg(test)]
mod tests {
    use protocol::{DeviceId, RegistrationId, ambient::Timestamp};
    use rustls::crypto::hpke::EncapsulatedSecret;

    use super::*;

    #[test]
    fn only_the_identity_key_opens_it_and_only_for_that_device() {
        let suite = DH_KEM_X25519_HKDF_SHA256_AES_256;
        let (public, private) = suite.generate_key_pair().unwrap();
        let identity_key = EcPublicKey::try_from(&[&[5], &public.0[..]].concat()[..]).unwrap();
        let device = DeviceInfo {
            id: DeviceId::try_from(2).unwrap(),
            name: None,
            last_seen: Timestamp::from_millis(0),
            registration_id: RegistrationId::try_from(0x1234).unwrap(),
            created: Timestamp::from_millis(1_700_000_000_000),
        };
        let sealed = seal(&device, &identity_key).unwrap();
        assert_eq!((sealed.len(), sealed[0]), (57, 1));
        let open = |aad: &[u8]| {
            let encapsulated = EncapsulatedSecret(sealed[1..33].to_vec());
            suite.open(&encapsulated, INFO, aad, &sealed[33..], &private)
        };
        assert_eq!(open(&[2, 0, 0, 0x12, 0x34]).unwrap(), 1_700_000_000_000_u64.to_be_bytes());
        assert!(open(&[3, 0, 0, 0x12, 0x34]).is_err());
    }
}
