//! What accounts may ask and set about themselves, and what anybody may ask about them:
//! `/v1/accounts`, `/v2/accounts`, `account.Accounts` and `account.AccountsAnonymous`.

mod attributes;
mod change_number;
mod change_number_grpc;
mod data_report;
mod deletion;
mod device_name;
mod discoverability;
mod existence;
pub(crate) mod grpc;
pub(super) mod identity;
mod mfa;
mod push_token;
pub(crate) mod recovery_check;
mod registration_lock;

use auth::settings::AccountError;
use http::StatusCode;

use crate::{reply::Refusal, routes::Routes};

pub(super) fn routes() -> Routes {
    Routes::default()
        .get("/v1/accounts/whoami", identity::whoami)
        .put("/v1/accounts/attributes", attributes::set)
        .put("/v1/devices/capabilities", attributes::set_capabilities)
        .put("/v1/accounts/registration_lock", registration_lock::set)
        .delete("/v1/accounts/registration_lock", registration_lock::clear)
        .put("/v1/accounts/gcm", push_token::set_fcm)
        .delete("/v1/accounts/gcm", push_token::clear_fcm)
        .put("/v1/accounts/apn", push_token::set_apns)
        .delete("/v1/accounts/apn", push_token::clear_apns)
        .put("/v1/accounts/name", device_name::set)
        .delete("/v1/accounts/me", deletion::delete)
        .head("/v1/accounts/account/{service_id}", existence::check)
        .put("/v2/accounts/phone_number_discoverability", discoverability::set)
        .get("/v2/accounts/data_report", data_report::show)
        .put("/v2/accounts/number", change_number::change)
        // The second is what Signal's Android app calls it.
        .post("/v2/backup/auth/check", recovery_check::check)
        .post("/v2/svr/auth/check", recovery_check::check)
}

/// What became of a change, as REST says it.
fn done(outcome: Result<(), AccountError>) -> Result<StatusCode, Refusal> {
    outcome.map(|()| StatusCode::NO_CONTENT).map_err(refuse)
}

pub(super) fn refuse(error: AccountError) -> Refusal {
    match error {
        AccountError::Gone => Refusal::bare(StatusCode::UNAUTHORIZED),
        AccountError::NoNumber => Refusal::new(StatusCode::BAD_REQUEST, "the account has no phone number"),
        AccountError::NoIdentityKey => {
            Refusal::new(StatusCode::BAD_REQUEST, "the account has no identity key")
        }
        AccountError::Storage(error) => error.into(),
    }
}
