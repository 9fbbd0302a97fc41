//! How the native API says no: problem details (RFC 9457) with a code that programs can rely on.

use std::time::Duration;

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use limits::RetryAfter;
use messages::{QueueError, send::FULL_RETRY_AFTER};
use protocol::ambient::StorageError;
use serde::Serialize;
use utoipa::ToSchema;

use super::second_step::SecondStepFields;
use crate::reply::log_storage;

/// The media type of every refusal.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// How long a caller is asked to wait when the server is out of breath.
const BUSY_WAIT: Duration = Duration::from_secs(1);

macro_rules! codes {
    ($($name:ident = $status:ident, $code:literal, $title:literal;)*) => {
        /// Everything that can be wrong, each with a status, a stable code and a sentence.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// All of them.
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The status of the answer.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What programs go by.
            pub(super) const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What people read.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    MalformedBody = BAD_REQUEST, "malformed_body", "The body is not JSON.";
    InvalidBody = UNPROCESSABLE_ENTITY, "invalid_body", "The body is JSON of another shape than this takes.";
    InvalidQuery = BAD_REQUEST, "invalid_query", "A parameter of the query is out of its range.";
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body_too_large", "The body is longer than this takes.";
    Unauthorized = UNAUTHORIZED, "unauthorized", "This takes a valid access token.";
    LoginFailed = UNAUTHORIZED, "login_failed", "The username or the password is wrong.";
    SecondFactorRequired = FORBIDDEN, "second_factor_required", "The password is right; the account asks for a second factor as well.";
    SecondFactorFailed = FORBIDDEN, "second_factor_failed", "The second factor or passkey is wrong, or was used before.";
    InvalidSecondFactor = UNPROCESSABLE_ENTITY, "invalid_second_factor", "That cannot be a one-time password or a recovery code.";
    LoginExpired = UNAUTHORIZED, "login_expired", "The log-in is over; begin again with the password.";
    PasskeyFailed = UNAUTHORIZED, "passkey_failed", "The passkey is not good here.";
    ReauthenticationRequired = FORBIDDEN, "reauthentication_required", "This takes a fresh proof of who you are: POST /reauthenticate.";
    TooManyFactors = CONFLICT, "too_many_factors", "The account has as many second factors of that kind as it may; remove one first.";
    NoSecondFactor = CONFLICT, "no_second_factor", "Recovery codes stand in for a second factor, and the account has none.";
    RefreshFailed = UNAUTHORIZED, "refresh_failed", "The refresh token is not valid; log in again.";
    WrongPassword = FORBIDDEN, "wrong_password", "The present password is another.";
    MailCodeRefused = FORBIDDEN, "mail_code_refused", "The code is none, has been used, or is over; have another one mailed.";
    InvalidEmail = UNPROCESSABLE_ENTITY, "invalid_email", "That is not an e-mail address.";
    EmailRequired = FORBIDDEN, "email_required", "Registering takes an e-mail address, and the code that was sent there.";
    EmailNotAllowed = FORBIDDEN, "email_not_allowed", "Registration is not open to e-mail addresses of that domain.";
    NoMail = NOT_IMPLEMENTED, "no_mail", "This server sends no e-mail.";
    InvalidUsername = UNPROCESSABLE_ENTITY, "invalid_username", "That is not a username: 1 to 64 characters, no spaces.";
    PasswordTooShort = UNPROCESSABLE_ENTITY, "password_too_short", "The password is too short.";
    PasswordTooLong = UNPROCESSABLE_ENTITY, "password_too_long", "The password is too long.";
    PasswordTooCommon = UNPROCESSABLE_ENTITY, "password_too_common", "The password is one of those that are guessed first.";
    PasswordIsUsername = UNPROCESSABLE_ENTITY, "password_is_username", "The password is the username.";
    InvalidPassword = UNPROCESSABLE_ENTITY, "invalid_password", "That cannot be a password.";
    InviteRequired = FORBIDDEN, "invite_required", "Registering takes an invitation, and a good one.";
    RegistrationPending = FORBIDDEN, "registration_pending", "The operator has not decided yet; try again later.";
    RegistrationClosed = FORBIDDEN, "registration_closed", "Registration is not open to you.";
    UsernameTaken = CONFLICT, "username_taken", "Somebody else has that username.";
    TooManyDevices = CONFLICT, "too_many_devices", "The account has as many devices as it may; remove one first.";
    LinkCodeRefused = FORBIDDEN, "link_code_refused", "The code is none, has been used, or is over; have another one shown.";
    PushUnavailable = CONFLICT, "push_unavailable", "This server does not push by that service; GET /push says which ones.";
    InvalidPushToken = UNPROCESSABLE_ENTITY, "invalid_push_token", "That is not a token or subscription of that service.";
    PushEndpointRefused = UNPROCESSABLE_ENTITY, "push_endpoint_refused", "This server does not push to that address.";
    InvalidKey = UNPROCESSABLE_ENTITY, "invalid_key", "A key is incomplete or out of range.";
    WrongSignature = UNPROCESSABLE_ENTITY, "wrong_signature", "A key is not signed by the identity key.";
    TooManyKeys = UNPROCESSABLE_ENTITY, "too_many_keys", "More one-time keys of one kind than a device may leave.";
    IdentityMissing = CONFLICT, "identity_missing", "The first keys of a device come with the identity key, the signed pre-key and the last-resort key.";
    OtherIdentity = CONFLICT, "other_identity", "The account has another identity key.";
    PrimaryStays = FORBIDDEN, "primary_stays", "The primary device goes only with its account.";
    NotPrimary = FORBIDDEN, "not_primary", "Only the primary device may do this.";
    NotFound = NOT_FOUND, "not_found", "There is no such thing.";
    RecipientNotFound = NOT_FOUND, "recipient_not_found", "There is no such recipient.";
    SenderMismatch = FORBIDDEN, "sender_mismatch", "The sender is not the one whom the access token speaks for.";
    DeviceMismatch = CONFLICT, "device_mismatch", "The devices addressed are not the recipient's devices.";
    StaleDevices = GONE, "stale_devices", "Devices have been reinstalled since: their registration ids are others.";
    MessageTooLarge = PAYLOAD_TOO_LARGE, "message_too_large", "The payload is too large.";
    RecipientFull = TOO_MANY_REQUESTS, "recipient_full", "The recipient's queue is full.";
    ChallengeRequired = PRECONDITION_REQUIRED, "challenge_required", "Too many messages: wait until the limit has recovered.";
    ConnectedElsewhere = CONFLICT, "connected_elsewhere", "Another connection of the device reads its messages.";
    RateLimited = TOO_MANY_REQUESTS, "rate_limited", "Too often; Retry-After says when again.";
    Busy = SERVICE_UNAVAILABLE, "busy", "The server is busy; try again in a moment.";
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "The server cannot do this just now.";
    Internal = INTERNAL_SERVER_ERROR, "internal", "The server has failed.";
}

/// A request that was not granted.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    retry_after: Option<Duration>,
    devices: Devices,
    second_step: Option<Box<SecondStepFields>>,
}

/// Devices that a problem is about.
#[expect(clippy::struct_field_names, reason = "they are what clients call them")]
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(super) struct Devices {
    /// Devices of the recipient that were not addressed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) missing_devices: Vec<u8>,
    /// Addressed devices that do not exist.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) extra_devices: Vec<u8>,
    /// Devices that have been reinstalled since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stale_devices: Vec<u8>,
}

/// Problem details (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody {
    /// Where the problem is explained, relative to the server.
    #[schema(example = "/docs#login_failed")]
    r#type: String,
    /// What is wrong, for people.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What is wrong, for programs. It does not change.
    #[schema(example = "login_failed")]
    code: &'static str,
    #[serde(flatten)]
    devices: Devices,
    #[serde(flatten)]
    second_step: SecondStepFields,
}

impl Problem {
    /// A problem of that kind.
    pub(crate) fn of(code: Code) -> Self {
        Self { code, retry_after: None, devices: Devices::default(), second_step: None }
    }

    /// One that passes in that time.
    pub(super) fn later(code: Code, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::of(code) }
    }

    /// Which kind.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// Too often.
    pub(super) fn rate_limited(RetryAfter(wait): RetryAfter) -> Self {
        Self::later(Code::RateLimited, wait)
    }

    /// Too much at once.
    pub(super) fn busy() -> Self {
        Self::later(Code::Busy, BUSY_WAIT)
    }

    /// One that is about devices.
    pub(super) fn about(code: Code, devices: Devices) -> Self {
        Self { devices, ..Self::of(code) }
    }

    /// One that asks for a second factor.
    pub(super) fn asking(code: Code, fields: SecondStepFields) -> Self {
        Self { second_step: Some(Box::new(fields)), ..Self::of(code) }
    }
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        log_storage(&error);
        match error {
            StorageError::Unavailable(_) | StorageError::Full => Self::of(Code::Unavailable),
            StorageError::Corrupt { .. } => Self::of(Code::Internal),
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Overloaded => Self::busy(),
            QueueError::Full => Self::later(Code::RecipientFull, FULL_RETRY_AFTER),
            QueueError::Storage(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.code.status();
        let asks = self.second_step.is_some();
        let body = ProblemBody {
            r#type: format!("/docs#{}", self.code.code()),
            title: self.code.title(),
            status: status.as_u16(),
            code: self.code.code(),
            devices: self.devices,
            second_step: self.second_step.map(|fields| *fields).unwrap_or_default(),
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(wait) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(RetryAfter(wait).seconds()));
        }
        if asks {
            // It may bring a token.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if self.code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_problem_has_a_code_of_its_own() {
        let codes: HashSet<_> = Code::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
            assert!(code.title().ends_with('.'), "{code:?}");
        }
    }
}
