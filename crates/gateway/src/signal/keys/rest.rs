//! `/v2/keys`.

use auth::AccountService;
use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use keys::{DeviceSelector, KeyCounts, KeyError, KeyOwner, KeyService, KeyUpload, KeyUploadBody, Requester};
use protocol::{IdentityKind, ServiceId, base64};
use serde::{Deserialize, Serialize};

use super::{super::unidentified::Presented, own_identity};
use crate::{
    body::JsonBody,
    caller::{AuthenticatedDevice, MaybeAuthenticated},
    reply::Refusal,
};

/// Which of the account's identities is meant; the account identity unless said otherwise.
#[derive(Default, Deserialize)]
pub(super) struct IdentityQuery {
    identity: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    count: u32,
    pq_count: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckRequest {
    identity_type: String,
    #[serde(with = "base64::padded")]
    digest: Vec<u8>,
}

pub(super) async fn upload(
    device: AuthenticatedDevice,
    State(service): State<KeyService>,
    State(accounts): State<AccountService>,
    Query(query): Query<IdentityQuery>,
    JsonBody(body): JsonBody<KeyUploadBody>,
) -> Result<StatusCode, Refusal> {
    let owner = owner(&service, &accounts, &device, query.identity.as_deref()).await?;
    let keys = KeyUpload::try_from(body).map_err(refuse)?;
    service.upload(owner, keys).await.map_err(refuse)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn counts(
    device: AuthenticatedDevice,
    State(service): State<KeyService>,
    State(accounts): State<AccountService>,
    Query(query): Query<IdentityQuery>,
) -> Result<Response, Refusal> {
    let owner = owner(&service, &accounts, &device, query.identity.as_deref()).await?;
    let KeyCounts { ec, kem } = service.counts(owner).await.map_err(refuse)?;
    Ok(Json(Counts { count: ec, pq_count: kem }).into_response())
}

pub(super) async fn check(
    device: AuthenticatedDevice,
    State(service): State<KeyService>,
    State(accounts): State<AccountService>,
    JsonBody(body): JsonBody<CheckRequest>,
) -> Result<StatusCode, Refusal> {
    let digest = body.digest.as_slice().try_into().map_err(|_| Refusal::invalid("a digest has 32 bytes"))?;
    let owner = owner(&service, &accounts, &device, Some(&body.identity_type)).await?;
    let same = service.check(owner, digest).await.map_err(refuse)?;
    Ok(if same { StatusCode::OK } else { StatusCode::CONFLICT })
}

pub(super) async fn fetch(
    MaybeAuthenticated(device): MaybeAuthenticated,
    State(service): State<KeyService>,
    Path((target, devices)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let target: ServiceId = target.parse().map_err(|_| Refusal::bare(StatusCode::NOT_FOUND))?;
    let devices: DeviceSelector = devices.parse().map_err(|_| Refusal::invalid("not a device id"))?;
    let Presented { access_key, group_send_token } = Presented::of(&headers)?;
    let device = device.map(|device| device.address());
    let requester = Requester::from_credentials(device, access_key, group_send_token).map_err(refuse)?;
    let bundles = service.fetch(&requester, target, devices).await.map_err(refuse)?;
    Ok(Json(bundles).into_response())
}

async fn owner(
    service: &KeyService,
    accounts: &AccountService,
    AuthenticatedDevice(device): &AuthenticatedDevice,
    identity: Option<&str>,
) -> Result<KeyOwner, Refusal> {
    let kind = match identity {
        None => IdentityKind::Aci,
        Some(text) if text.eq_ignore_ascii_case("aci") => IdentityKind::Aci,
        Some(text) if text.eq_ignore_ascii_case("pni") => IdentityKind::Pni,
        Some(_) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "not an identity")),
    };
    let no_number = Refusal::new(StatusCode::BAD_REQUEST, "the account has no phone number");
    let pni = match kind {
        IdentityKind::Aci => None,
        IdentityKind::Pni => accounts.present_pni(device).await?,
    };
    let identity = own_identity(device, pni, kind).ok_or(no_number)?;
    service.owner(identity, device.device_id).await.map_err(refuse)
}

fn refuse(error: KeyError) -> Refusal {
    match error {
        KeyError::InvalidKey => Refusal::invalid("a key is incomplete or out of range"),
        KeyError::InvalidSignature => Refusal::invalid("a signature does not verify"),
        KeyError::TooManyKeys => Refusal::invalid("too many one-time keys"),
        KeyError::ContradictoryCredentials => {
            Refusal::new(StatusCode::BAD_REQUEST, "credentials exclude each other")
        }
        KeyError::Unauthorized => Refusal::bare(StatusCode::UNAUTHORIZED),
        KeyError::NotFound => Refusal::bare(StatusCode::NOT_FOUND),
        KeyError::RateLimited(wait) => Refusal::rate_limited(wait),
        KeyError::Storage(error) => error.into(),
    }
}
