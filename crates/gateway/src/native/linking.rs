//! `POST`, `GET` and `DELETE /devices/link-code`, `POST /link`: letting another device in without the password.

#![expect(unused_qualifications, reason = "the macro that describes queries writes them out")]

use std::time::Duration;

use auth::{
    linking::LinkCode,
    native::{
        NativeService,
        error::{LinkError, OfferError},
        linking::{CodeProgress, LinkRequest, OfferedCode},
    },
};
use axum::{Json, extract::State, response::Response};
use http::{StatusCode, header::HOST, request::Parts};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    device_fields::DeviceFields,
    extract::{Body, Parameters, Secret},
    keys::FirstKeys,
    problem::{Code, Problem, ProblemBody},
    tokens::{self, LoggedInBody},
};
use crate::caller::{Anybody, BearerDevice, Peer, ReauthenticatedDevice};

/// The longest a client may ask to wait for a device, in seconds.
const WAIT_MAX: u64 = 60;

/// A code that lets one device in.
#[derive(Serialize, ToSchema)]
#[schema(as = LinkCode)]
pub(super) struct LinkCodeBody {
    /// A secret: who has it gets into the account.
    #[schema(example = "uq8rVnq1J3b0C9lyF2tXoW5m7pA4kZ6sE0dGhTyRcQw")]
    code: String,
    /// The same for a QR code: of the scheme `heliograph`, for `link`, with `code` and, as `server`, the host of this server.
    uri: String,
    /// Seconds for which it is good.
    #[schema(example = 600)]
    expires_in: u64,
}

/// How far a link code has got.
#[derive(Serialize, ToSchema)]
#[schema(as = LinkProgress)]
pub(super) struct ProgressBody {
    state: LinkState,
    /// While it is open: seconds for which it is good.
    expires_in: Option<u64>,
    /// Once it is used: the device that it has let in.
    device_id: Option<u8>,
}

/// What has become of a link code.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LinkState {
    /// Nobody has shown it yet.
    Open,
    /// It has let a device in.
    Used,
}

/// How long to wait for a device.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ProgressQuery {
    /// How many seconds to wait while nobody has shown the code, 0 to 60.
    #[param(value_type = Option<u8>, minimum = 0, maximum = 60, default = 0)]
    wait: Option<u64>,
}

/// A device that wants to be let in.
#[derive(Deserialize, ToSchema)]
#[schema(as = Link)]
pub(super) struct LinkBody {
    /// The code that another device of the account shows.
    #[schema(value_type = String)]
    code: Secret,
    #[serde(flatten)]
    device: DeviceFields,
    /// Keys of Signal's protocol, now or later (`PUT /keys`), under the identity key that the account has.
    keys: Option<FirstKeys>,
}

/// Makes a code that lets another device into the account, to be shown to it as a QR code. It takes what a log-in would.
/// The code is good once and for ten minutes; it is void when this session ends, after the password has changed, and
/// when the session makes another.
#[utoipa::path(
    post, path = "/devices/link-code", tag = "devices", security(("bearer" = [])),
    params(("Reauthentication-Token" = String, Header, description = "Of `POST /reauthenticate`.")),
    responses(
        (status = 201, body = LinkCodeBody),
        (status = "4XX", description = "`unauthorized`, `reauthentication_required`, `rate_limited`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn offer(
    ReauthenticatedDevice(bearer): ReauthenticatedDevice,
    State(service): State<NativeService>,
    parts: Parts,
) -> Result<Response, Problem> {
    let offered = service.offer_code(&bearer).await.map_err(refuse_offer)?;
    Ok(tokens::answer(StatusCode::CREATED, LinkCodeBody::of(&offered, reached_at(&parts))))
}

/// Tells what has become of the session's code, waiting for a device to show it.
#[utoipa::path(
    get, path = "/devices/link-code", tag = "devices", security(("bearer" = [])),
    params(ProgressQuery),
    responses(
        (status = 200, body = ProgressBody),
        (status = 204, description = "The server is stopping; ask again."),
        (status = "4XX", description = "`not_found` if the session has no code that is good; `unauthorized`, `rate_limited`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn progress(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
    Parameters(query): Parameters<ProgressQuery>,
) -> Result<Json<ProgressBody>, Problem> {
    let wait = query.wait.unwrap_or_default();
    if wait > WAIT_MAX {
        return Err(Problem::of(Code::InvalidQuery));
    }
    let progress = service.await_linked(&bearer, Duration::from_secs(wait)).await.map_err(refuse_offer)?;
    progress.map(|progress| Json(progress.into())).ok_or(Problem::of(Code::NotFound))
}

/// Voids the session's code.
#[utoipa::path(
    delete, path = "/devices/link-code", tag = "devices", security(("bearer" = [])),
    responses(
        (status = 204, description = "There is none that is good."),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn withdraw(
    BearerDevice(bearer): BearerDevice,
    State(service): State<NativeService>,
) -> Result<StatusCode, Problem> {
    service.withdraw_code(&bearer).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lets a device into the account whose code it shows, and logs it in. A device that the account knows already is so anew.
#[utoipa::path(
    post, path = "/link", tag = "devices",
    request_body = LinkBody,
    responses(
        (status = 200, description = "The device is one of the account's, and logged in.", body = LoggedInBody),
        (status = "4XX", description = "`link_code_refused`, `too_many_devices`, `other_identity`, `wrong_signature`, \
             `rate_limited`",
            body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn link(
    _: Anybody,
    State(service): State<NativeService>,
    peer: Peer,
    Body(body): Body<LinkBody>,
) -> Result<Response, Problem> {
    let request = LinkRequest {
        code: LinkCode::shown(body.code.0.to_string()),
        device: body.device.try_into()?,
        keys: body.keys.map(TryInto::try_into).transpose()?,
    };
    let logged_in = service.link(request, peer.origin()).await.map_err(|error| match error {
        LinkError::WrongCode => Problem::of(Code::LinkCodeRefused),
        LinkError::TooManyDevices => Problem::of(Code::TooManyDevices),
        LinkError::WrongSignature => Problem::of(Code::WrongSignature),
        LinkError::OtherIdentity => Problem::of(Code::OtherIdentity),
        LinkError::RateLimited(wait) => Problem::rate_limited(wait),
        LinkError::Storage(error) => error.into(),
    })?;
    Ok(tokens::answer(StatusCode::OK, LoggedInBody::from(&logged_in)))
}

fn refuse_offer(error: OfferError) -> Problem {
    match error {
        OfferError::Gone => Problem::of(Code::Unauthorized),
        OfferError::RateLimited(wait) => Problem::rate_limited(wait),
        OfferError::Storage(error) => error.into(),
    }
}

/// Under which name and port the caller has reached the server: what has worked for one device works for the next. It
/// comes back to nobody but who said it, in characters that need no escaping.
fn reached_at(parts: &Parts) -> Option<&str> {
    let said = match parts.uri.authority() {
        Some(authority) => authority.as_str(),
        None => parts.headers.get(HOST)?.to_str().ok()?,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    (!said.is_empty() && said.bytes().all(plain)).then_some(said)
}

impl LinkCodeBody {
    fn of(offered: &OfferedCode, server: Option<&str>) -> Self {
        let code = offered.code.as_str();
        let server = server.map(|server| format!("server={server}&")).unwrap_or_default();
        Self {
            code: code.to_owned(),
            uri: format!("heliograph://link?{server}code={code}"),
            expires_in: offered.lifetime.as_secs(),
        }
    }
}

impl From<CodeProgress> for ProgressBody {
    fn from(progress: CodeProgress) -> Self {
        match progress {
            CodeProgress::Open { lifetime } => {
                Self { state: LinkState::Open, expires_in: Some(lifetime.as_secs()), device_id: None }
            }
            CodeProgress::Used(device) => {
                Self { state: LinkState::Used, expires_in: None, device_id: Some(device.get()) }
            }
        }
    }
}
