//! `PUT /keys`, `GET /keys`, `GET /keys/{user_id}`: pre-keys of Signal's protocol.

#![expect(unused_qualifications, reason = "the macro that describes queries writes them out")]

use auth::{
    native::{Bearer, NativeService, error::PublishError},
    store::IdentityKeys,
};
use axum::{
    Json,
    extract::{FromRef, Path, State},
};
use http::StatusCode;
use keys::{
    DeviceBundle, DeviceSelector, KeyBundles, KeyCounts, KeyError, KeyOwner, KeyService, KeyUpload, Requester,
};
use protocol::{
    Aci, RegistrationId, base64,
    keys::{EcPreKey, EcPublicKey, EcSignedPreKey, KemPublicKey, KemSignedPreKey, KeyId, Signature},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    extract::{Body, Parameters},
    problem::{Code, Problem, ProblemBody},
};
use crate::{caller::BearerDevice, services::Services};

/// The keys with which a device begins. All of them are in base64, as Signal's library serializes them.
#[expect(clippy::struct_field_names, reason = "they are what clients call them")]
#[derive(Deserialize, ToSchema)]
pub(super) struct FirstKeys {
    /// The account's public identity key.
    identity_key: String,
    signed_pre_key: SignedKey,
    pq_last_resort_pre_key: SignedKey,
}

/// A public key without a signature.
#[derive(Deserialize, Serialize, ToSchema)]
struct PlainKey {
    key_id: u32,
    public_key: String,
}

/// A public key signed by the identity key.
#[derive(Deserialize, Serialize, ToSchema)]
pub(super) struct SignedKey {
    key_id: u32,
    public_key: String,
    signature: String,
}

/// Keys of the device that calls. A kind that is left out stays as it is.
#[derive(Deserialize, ToSchema)]
#[schema(as = PublishKeys)]
pub(super) struct PublishBody {
    /// The account's public identity key, with the first keys of a device; the two that follow then must be there too.
    identity_key: Option<String>,
    /// The device's registration id, if it is to be another than that drawn at the beginning. Goes with `identity_key`.
    #[schema(value_type = Option<u16>)]
    registration_id: Option<RegistrationId>,
    /// Whether another identity key may take the place of the account's, as after a reinstallation. All keys under the
    /// former one go. Only the primary device may.
    #[serde(default)]
    replace_identity: bool,
    signed_pre_key: Option<SignedKey>,
    pq_last_resort_pre_key: Option<SignedKey>,
    /// Up to 100 one-time keys.
    #[serde(default)]
    pre_keys: Vec<PlainKey>,
    /// Up to 100 one-time Kyber keys.
    #[serde(default)]
    pq_pre_keys: Vec<SignedKey>,
}

/// How many one-time keys the device has left.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyCounts)]
pub(super) struct CountsBody {
    pre_keys: u32,
    pq_pre_keys: u32,
}

/// What starts sessions with the devices of an account.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyBundles)]
pub(super) struct BundlesBody {
    user_id: String,
    identity_key: String,
    devices: Vec<BundleBody>,
}

/// What starts one session with one device.
#[derive(Serialize, ToSchema)]
#[schema(as = KeyBundle)]
struct BundleBody {
    device_id: u8,
    registration_id: u16,
    signed_pre_key: SignedKey,
    /// A one-time key; absent once they are used up.
    pre_key: Option<PlainKey>,
    /// A one-time Kyber key, or the last-resort key.
    pq_pre_key: SignedKey,
}

/// Which devices are meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FetchQuery {
    /// Only this device; all of them without it.
    #[param(value_type = Option<u8>)]
    device_id: Option<String>,
}

/// Both services that keys go to: the first keys of a device are the account's business too.
pub(super) struct KeyServices {
    native: NativeService,
    keys: KeyService,
}

impl FromRef<Services> for KeyServices {
    fn from_ref(services: &Services) -> Self {
        Self { native: NativeService::from_ref(services), keys: KeyService::from_ref(services) }
    }
}

/// Publishes keys of the device that calls.
#[utoipa::path(
    put, path = "/keys", tag = "keys", security(("bearer" = [])),
    request_body = PublishBody,
    responses(
        (status = 204, description = "They are published."),
        (status = "4XX", description = "`invalid_key`, `wrong_signature`, `identity_missing`, `other_identity`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn publish(
    BearerDevice(bearer): BearerDevice,
    State(services): State<KeyServices>,
    Body(body): Body<PublishBody>,
) -> Result<StatusCode, Problem> {
    let (registration_id, replace) = (body.registration_id, body.replace_identity);
    let (first, rest) = body.read()?;
    match first {
        Some(first) => {
            // Before anything is written: what comes with the first keys is written after them.
            rest.verify(&first.identity_key).map_err(refuse)?;
            let published = services.native.publish_identity(&bearer, first, registration_id, replace).await;
            published.map_err(refuse_identity)?;
        }
        None if bearer.keyless => return Err(Problem::of(Code::IdentityMissing)),
        None => {}
    }
    if rest != KeyUpload::default() {
        let owner = owner(&services.keys, &bearer).await?;
        services.keys.upload(owner, rest).await.map_err(refuse)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Counts the one-time keys that the device that calls has left.
#[utoipa::path(
    get, path = "/keys", tag = "keys", security(("bearer" = [])),
    responses(
        (status = 200, body = CountsBody),
        (status = "4XX", description = "`unauthorized`, `identity_missing`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn counts(
    BearerDevice(bearer): BearerDevice,
    State(service): State<KeyService>,
) -> Result<Json<CountsBody>, Problem> {
    if bearer.keyless {
        return Ok(Json(CountsBody { pre_keys: 0, pq_pre_keys: 0 }));
    }
    let owner = owner(&service, &bearer).await?;
    let KeyCounts { ec, kem } = service.counts(owner).await.map_err(refuse)?;
    Ok(Json(CountsBody { pre_keys: ec, pq_pre_keys: kem }))
}

/// Takes the keys that start a session with each device of an account. One-time keys go to one taker only.
#[utoipa::path(
    get, path = "/keys/{user_id}", tag = "keys", security(("bearer" = [])),
    params(("user_id" = String, Path, description = "The account."), FetchQuery),
    responses(
        (status = 200, body = BundlesBody),
        (status = "4XX", description = "`not_found` also if nothing has been published; `rate_limited`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn fetch(
    BearerDevice(bearer): BearerDevice,
    State(service): State<KeyService>,
    Path(user_id): Path<String>,
    Parameters(query): Parameters<FetchQuery>,
) -> Result<Json<BundlesBody>, Problem> {
    let aci: Aci = user_id.parse().map_err(|_| Problem::of(Code::NotFound))?;
    let selector = match query.device_id {
        None => DeviceSelector::All,
        Some(text) => text.parse().map(DeviceSelector::One).map_err(|_| Problem::of(Code::InvalidQuery))?,
    };
    let requester = Requester::Device(bearer.device.address());
    let bundles = service.fetch(&requester, aci.into(), selector).await.map_err(refuse)?;
    Ok(Json(BundlesBody::new(aci, bundles)))
}

async fn owner(service: &KeyService, bearer: &Bearer) -> Result<KeyOwner, Problem> {
    service.owner(bearer.device.aci.into(), bearer.device.device_id).await.map_err(refuse)
}

impl PublishBody {
    /// The first keys, if they are that, and the others.
    fn read(self) -> Result<(Option<IdentityKeys>, KeyUpload), Problem> {
        let mut upload = KeyUpload {
            one_time: self.pre_keys.into_iter().map(PlainKey::read).collect::<Result<_, _>>()?,
            kem_one_time: self.pq_pre_keys.into_iter().map(SignedKey::kem).collect::<Result<_, _>>()?,
            ..KeyUpload::default()
        };
        let Some(identity_key) = self.identity_key else {
            upload.signed = self.signed_pre_key.map(SignedKey::ec).transpose()?;
            upload.last_resort = self.pq_last_resort_pre_key.map(SignedKey::kem).transpose()?;
            return Ok((None, upload));
        };
        let missing = || Problem::of(Code::IdentityMissing);
        let first = FirstKeys {
            identity_key,
            signed_pre_key: self.signed_pre_key.ok_or_else(missing)?,
            pq_last_resort_pre_key: self.pq_last_resort_pre_key.ok_or_else(missing)?,
        };
        Ok((Some(first.try_into()?), upload))
    }
}

impl TryFrom<FirstKeys> for IdentityKeys {
    type Error = Problem;

    fn try_from(keys: FirstKeys) -> Result<Self, Problem> {
        Ok(Self {
            identity_key: ec_key(&keys.identity_key)?,
            signed_pre_key: keys.signed_pre_key.ec()?,
            last_resort_pre_key: keys.pq_last_resort_pre_key.kem()?,
        })
    }
}

impl PlainKey {
    fn read(self) -> Result<EcPreKey, Problem> {
        Ok(EcPreKey { key_id: key_id(self.key_id)?, public_key: ec_key(&self.public_key)? })
    }
}

impl SignedKey {
    fn ec(self) -> Result<EcSignedPreKey, Problem> {
        let (key_id, signature) = (key_id(self.key_id)?, signature(&self.signature)?);
        Ok(EcSignedPreKey { key_id, public_key: ec_key(&self.public_key)?, signature })
    }

    fn kem(self) -> Result<KemSignedPreKey, Problem> {
        let (key_id, signature) = (key_id(self.key_id)?, signature(&self.signature)?);
        let public_key = KemPublicKey::try_from(bytes(&self.public_key)?).map_err(|_| invalid())?;
        Ok(KemSignedPreKey { key_id, public_key, signature })
    }

    fn of(key_id: KeyId, public_key: &[u8], signature: &Signature) -> Self {
        Self {
            key_id: key_id.get(),
            public_key: base64::encode_padded(public_key),
            signature: base64::encode_padded(signature.as_bytes()),
        }
    }
}

impl BundlesBody {
    fn new(aci: Aci, bundles: KeyBundles) -> Self {
        Self {
            user_id: aci.to_string(),
            identity_key: base64::encode_padded(bundles.identity_key.as_bytes()),
            devices: bundles.devices.into_iter().map(BundleBody::from).collect(),
        }
    }
}

impl From<DeviceBundle> for BundleBody {
    fn from(bundle: DeviceBundle) -> Self {
        let (signed, kem) = (&bundle.signed_pre_key, &bundle.pq_pre_key);
        Self {
            device_id: bundle.device_id.get(),
            registration_id: bundle.registration_id.get(),
            signed_pre_key: SignedKey::of(signed.key_id, signed.public_key.as_bytes(), &signed.signature),
            pre_key: bundle.pre_key.map(|key| PlainKey {
                key_id: key.key_id.get(),
                public_key: base64::encode_padded(key.public_key.as_bytes()),
            }),
            pq_pre_key: SignedKey::of(kem.key_id, kem.public_key.as_bytes(), &kem.signature),
        }
    }
}

fn invalid() -> Problem {
    Problem::of(Code::InvalidKey)
}

fn bytes(text: &str) -> Result<Vec<u8>, Problem> {
    base64::decode_lenient(text).ok_or_else(invalid)
}

fn key_id(id: u32) -> Result<KeyId, Problem> {
    KeyId::try_from(id).map_err(|_| invalid())
}

fn ec_key(text: &str) -> Result<EcPublicKey, Problem> {
    EcPublicKey::try_from(&bytes(text)?[..]).map_err(|_| invalid())
}

fn signature(text: &str) -> Result<Signature, Problem> {
    Signature::try_from(&bytes(text)?[..]).map_err(|_| invalid())
}

fn refuse_identity(error: PublishError) -> Problem {
    match error {
        PublishError::WrongSignature => Problem::of(Code::WrongSignature),
        PublishError::OtherIdentity => Problem::of(Code::OtherIdentity),
        PublishError::NotPrimary => Problem::of(Code::NotPrimary),
        PublishError::Gone => Problem::of(Code::Unauthorized),
        PublishError::Storage(error) => error.into(),
    }
}

fn refuse(error: KeyError) -> Problem {
    match error {
        KeyError::InvalidKey => invalid(),
        KeyError::InvalidSignature => Problem::of(Code::WrongSignature),
        KeyError::TooManyKeys => Problem::of(Code::TooManyKeys),
        KeyError::ContradictoryCredentials | KeyError::Unauthorized => Problem::of(Code::Unauthorized),
        KeyError::NotFound => Problem::of(Code::NotFound),
        KeyError::RateLimited(wait) => Problem::later(Code::RateLimited, wait),
        KeyError::Storage(error) => error.into(),
    }
}
