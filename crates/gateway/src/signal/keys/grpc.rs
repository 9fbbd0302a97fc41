//! `org.signal.chat.keys.Keys` and `KeysAnonymous`.

use bytes::Bytes;
use keys::{
    DeviceBundle, DeviceSelector, KeyBundles, KeyCounts, KeyError, KeyOwner, KeyService, KeyUpload,
    MAX_ONE_TIME_KEYS, Requester,
};
use protocol::{
    DeviceId, IdentityKind, UnidentifiedCredential,
    keys::{EcPreKey, EcPublicKey, EcSignedPreKey, KemPublicKey, KemSignedPreKey, KeyId, Signature},
};
use tonic::{Request, Response, Status};

use super::own_identity;
use crate::{
    grpc::{
        access,
        chat::{
            common,
            errors::{FailedUnidentifiedAuthorization, NotFound},
            keys::{
                AccountPreKeyBundles, DevicePreKeyBundle, GetPreKeyCountRequest, GetPreKeyCountResponse,
                GetPreKeysAnonymousRequest, GetPreKeysAnonymousResponse, GetPreKeysRequest,
                GetPreKeysResponse, SetEcSignedPreKeyRequest, SetKemLastResortPreKeyRequest,
                SetOneTimeEcPreKeysRequest, SetOneTimeKemSignedPreKeysRequest, SetPreKeyResponse,
                get_pre_keys_anonymous_request::Authorization,
                get_pre_keys_anonymous_response::Response as AnonymousOutcome,
                get_pre_keys_response::Response as Outcome, keys_anonymous_server, keys_server,
            },
        },
        convert, error,
    },
    services::Services,
};

/// The service for devices that say who they are.
pub(crate) struct Keys(KeyService);

/// The service for callers that do not.
pub(crate) struct KeysAnonymous(KeyService);

impl Keys {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        Self(services.parts().keys.clone())
    }

    async fn owner<T>(&self, request: &Request<T>, kind: IdentityKind) -> Result<KeyOwner, Status> {
        let device = access::device(request)?;
        let identity = own_identity(&device, device.pni, kind)
            .ok_or_else(|| error::constraint_violated("identity_type", "the account has no phone number"))?;
        self.0.owner(identity, device.device_id).await.map_err(status)
    }

    async fn counts<T>(&self, request: &Request<T>, kind: IdentityKind) -> Result<KeyCounts, Status> {
        let device = access::device(request)?;
        if own_identity(&device, device.pni, kind).is_none() {
            return Ok(KeyCounts::default());
        }
        let owner = self.owner(request, kind).await?;
        self.0.counts(owner).await.map_err(status)
    }

    async fn upload<T>(
        &self,
        request: &Request<T>,
        identity_type: i32,
        keys: KeyUpload,
    ) -> Result<Response<SetPreKeyResponse>, Status> {
        let owner = self.owner(request, convert::identity_kind(identity_type)?).await?;
        self.0.upload(owner, keys).await.map_err(status)?;
        Ok(Response::new(SetPreKeyResponse {}))
    }
}

impl KeysAnonymous {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        Self(services.parts().keys.clone())
    }
}

#[tonic::async_trait]
impl keys_server::Keys for Keys {
    async fn get_pre_key_count(
        &self,
        request: Request<GetPreKeyCountRequest>,
    ) -> Result<Response<GetPreKeyCountResponse>, Status> {
        let aci = self.counts(&request, IdentityKind::Aci).await?;
        let pni = self.counts(&request, IdentityKind::Pni).await?;
        Ok(Response::new(GetPreKeyCountResponse {
            aci_ec_pre_key_count: aci.ec,
            aci_kem_pre_key_count: aci.kem,
            pni_ec_pre_key_count: pni.ec,
            pni_kem_pre_key_count: pni.kem,
        }))
    }

    async fn get_pre_keys(
        &self,
        request: Request<GetPreKeysRequest>,
    ) -> Result<Response<GetPreKeysResponse>, Status> {
        let requester = Requester::Device(access::device(&request)?.address());
        let (target, devices) = target(request.into_inner())?;
        let outcome = match self.0.fetch(&requester, target, devices).await {
            Ok(found) => Outcome::PreKeys(bundles(found)),
            Err(KeyError::NotFound) => Outcome::TargetNotFound(NotFound {}),
            Err(failure) => return Err(status(failure)),
        };
        Ok(Response::new(GetPreKeysResponse { response: Some(outcome) }))
    }

    async fn set_one_time_ec_pre_keys(
        &self,
        mut request: Request<SetOneTimeEcPreKeysRequest>,
    ) -> Result<Response<SetPreKeyResponse>, Status> {
        let keys = std::mem::take(&mut request.get_mut().pre_keys);
        let one_time = some(keys)?.iter().map(ec_pre_key).collect::<Result<_, _>>()?;
        let identity_type = request.get_ref().identity_type;
        self.upload(&request, identity_type, KeyUpload { one_time, ..KeyUpload::default() }).await
    }

    async fn set_one_time_kem_signed_pre_keys(
        &self,
        mut request: Request<SetOneTimeKemSignedPreKeysRequest>,
    ) -> Result<Response<SetPreKeyResponse>, Status> {
        let keys = std::mem::take(&mut request.get_mut().pre_keys);
        let kem_one_time = some(keys)?.iter().map(kem_signed_pre_key).collect::<Result<_, _>>()?;
        let identity_type = request.get_ref().identity_type;
        self.upload(&request, identity_type, KeyUpload { kem_one_time, ..KeyUpload::default() }).await
    }

    async fn set_ec_signed_pre_key(
        &self,
        mut request: Request<SetEcSignedPreKeyRequest>,
    ) -> Result<Response<SetPreKeyResponse>, Status> {
        let key = request.get_mut().signed_pre_key.take().ok_or_else(|| invalid("must be present"))?;
        let signed = Some(ec_signed_pre_key(&key)?);
        let identity_type = request.get_ref().identity_type;
        self.upload(&request, identity_type, KeyUpload { signed, ..KeyUpload::default() }).await
    }

    async fn set_kem_last_resort_pre_key(
        &self,
        mut request: Request<SetKemLastResortPreKeyRequest>,
    ) -> Result<Response<SetPreKeyResponse>, Status> {
        let key = request.get_mut().signed_pre_key.take().ok_or_else(|| invalid("must be present"))?;
        let last_resort = Some(kem_signed_pre_key(&key)?);
        let identity_type = request.get_ref().identity_type;
        self.upload(&request, identity_type, KeyUpload { last_resort, ..KeyUpload::default() }).await
    }
}

#[tonic::async_trait]
impl keys_anonymous_server::KeysAnonymous for KeysAnonymous {
    async fn get_pre_keys(
        &self,
        request: Request<GetPreKeysAnonymousRequest>,
    ) -> Result<Response<GetPreKeysAnonymousResponse>, Status> {
        let request = request.into_inner();
        let credential = credential(request.authorization)?;
        let missing = || error::constraint_violated("request", "must be present");
        let (target, devices) = target(request.request.ok_or_else(missing)?)?;
        if target.kind() == IdentityKind::Pni
            && !matches!(credential, Some(UnidentifiedCredential::GroupSendToken(_)))
        {
            return Err(error::constraint_violated("target_identifier", "a PNI has no access key"));
        }
        let fetched = match credential {
            Some(credential) => self.0.fetch(&credential.into(), target, devices).await,
            None => Err(KeyError::Unauthorized),
        };
        let outcome = match fetched {
            Ok(found) => AnonymousOutcome::PreKeys(bundles(found)),
            Err(KeyError::NotFound) => AnonymousOutcome::TargetNotFound(NotFound {}),
            Err(KeyError::Unauthorized) => {
                AnonymousOutcome::FailedUnidentifiedAuthorization(FailedUnidentifiedAuthorization::default())
            }
            Err(failure) => return Err(status(failure)),
        };
        Ok(Response::new(GetPreKeysAnonymousResponse { response: Some(outcome) }))
    }
}

/// `None` for a group send token that is none: it admits nobody.
fn credential(authorization: Option<Authorization>) -> Result<Option<UnidentifiedCredential>, Status> {
    match authorization {
        Some(Authorization::UnidentifiedAccessKey(key)) => convert::access_key(&key).map(Some),
        Some(Authorization::GroupSendToken(token)) => Ok(convert::group_send_token(&token)),
        Some(Authorization::UnrestrictedAccess(())) => Ok(Some(UnidentifiedCredential::Unrestricted)),
        None => Err(error::constraint_violated("authorization", "must be present")),
    }
}

fn target(request: GetPreKeysRequest) -> Result<(protocol::ServiceId, DeviceSelector), Status> {
    let target = convert::service_id(request.target_identifier)?;
    let devices = match request.device_id.map(DeviceId::try_from) {
        None => DeviceSelector::All,
        Some(Ok(device)) => DeviceSelector::One(device),
        Some(Err(_)) => return Err(error::constraint_violated("device_id", "out of range")),
    };
    Ok((target, devices))
}

fn bundles(found: KeyBundles) -> AccountPreKeyBundles {
    let bundle = |device: DeviceBundle| {
        let bundle = DevicePreKeyBundle {
            ec_signed_pre_key: Some(common::EcSignedPreKey {
                key_id: key_id(device.signed_pre_key.key_id),
                public_key: Bytes::copy_from_slice(device.signed_pre_key.public_key.as_bytes()),
                signature: Bytes::copy_from_slice(device.signed_pre_key.signature.as_bytes()),
            }),
            ec_one_time_pre_key: device.pre_key.map(|key| common::EcPreKey {
                key_id: key_id(key.key_id),
                public_key: Bytes::copy_from_slice(key.public_key.as_bytes()),
            }),
            kem_one_time_pre_key: Some(common::KemSignedPreKey {
                key_id: key_id(device.pq_pre_key.key_id),
                public_key: Bytes::copy_from_slice(device.pq_pre_key.public_key.as_bytes()),
                signature: Bytes::copy_from_slice(device.pq_pre_key.signature.as_bytes()),
            }),
            registration_id: device.registration_id.get().into(),
        };
        (device.device_id.get().into(), bundle)
    };
    AccountPreKeyBundles {
        identity_key: Bytes::copy_from_slice(found.identity_key.as_bytes()),
        device_pre_keys: found.devices.into_iter().map(bundle).collect(),
        unrestricted_unidentified_access: found.unrestricted_access,
        unidentified_access_key_fingerprint: found
            .access_key_fingerprint
            .map(|fingerprint| Bytes::copy_from_slice(&fingerprint))
            .unwrap_or_default(),
    }
}

fn some<K>(keys: Vec<K>) -> Result<Vec<K>, Status> {
    if (1..=MAX_ONE_TIME_KEYS).contains(&keys.len()) {
        Ok(keys)
    } else {
        Err(invalid("must be 1 to 100 keys"))
    }
}

fn ec_pre_key(key: &common::EcPreKey) -> Result<EcPreKey, Status> {
    Ok(EcPreKey { key_id: read_key_id(key.key_id)?, public_key: ec_public_key(&key.public_key)? })
}

pub(in crate::signal) fn ec_signed_pre_key(key: &common::EcSignedPreKey) -> Result<EcSignedPreKey, Status> {
    Ok(EcSignedPreKey {
        key_id: read_key_id(key.key_id)?,
        public_key: ec_public_key(&key.public_key)?,
        signature: signature(&key.signature)?,
    })
}

pub(in crate::signal) fn kem_signed_pre_key(
    key: &common::KemSignedPreKey,
) -> Result<KemSignedPreKey, Status> {
    Ok(KemSignedPreKey {
        key_id: read_key_id(key.key_id)?,
        public_key: KemPublicKey::try_from(&key.public_key[..]).map_err(|_| invalid("not a Kyber key"))?,
        signature: signature(&key.signature)?,
    })
}

pub(in crate::signal) fn ec_public_key(bytes: &[u8]) -> Result<EcPublicKey, Status> {
    EcPublicKey::try_from(bytes).map_err(|_| invalid("not a Curve25519 key"))
}

fn signature(bytes: &[u8]) -> Result<Signature, Status> {
    Signature::try_from(bytes).map_err(|_| invalid("not a signature"))
}

fn read_key_id(id: i32) -> Result<KeyId, Status> {
    u32::try_from(id)
        .ok()
        .and_then(|id| KeyId::try_from(id).ok())
        .ok_or_else(|| invalid("key id out of range"))
}

/// Key ids have 31 bits.
fn key_id(id: KeyId) -> i32 {
    i32::try_from(id.get()).unwrap_or(i32::MAX)
}

fn invalid(rule: &'static str) -> Status {
    error::constraint_violated("pre_keys", rule)
}

fn status(failure: KeyError) -> Status {
    match failure {
        KeyError::InvalidKey => invalid("incomplete or out of range"),
        KeyError::InvalidSignature => invalid("a signature does not verify"),
        KeyError::TooManyKeys => invalid("too many keys"),
        KeyError::ContradictoryCredentials => error::bad_authentication(),
        KeyError::Unauthorized => error::invalid_credentials(),
        KeyError::RateLimited(wait) => error::rate_limited(wait),
        KeyError::Storage(cause) => error::storage(&cause),
        // An answer, given by the caller of this.
        KeyError::NotFound => Status::internal(""),
    }
}
