//! `GET /v1/accounts/whoami`, and how an account's identity looks in JSON.

use auth::{AccountService, settings::AccountIdentity};
use axum::{Json, extract::State};
use protocol::{Aci, PhoneNumber, Pni};
use serde::Serialize;

use super::refuse;
use crate::{caller::AuthenticatedDevice, reply::Refusal};

/// An account as it may know itself. Clients need every key, also where there is nothing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::signal) struct AccountIdentityBody {
    uuid: Aci,
    number: Option<PhoneNumber>,
    pni: Option<Pni>,
    /// Never in the answer to a registration: Signal's network library and its apps expect different
    /// alphabets there.
    username_hash: Option<String>,
    username_link_handle: Option<String>,
    storage_capable: bool,
    entitlements: Entitlements,
    /// Only accounts without a number have one.
    auth_credential_salt: Option<String>,
}

/// What an account has paid for: nothing, here.
#[derive(Serialize)]
struct Entitlements {
    badges: [(); 0],
    backup: Option<()>,
}

pub(super) async fn whoami(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
) -> Result<Json<AccountIdentityBody>, Refusal> {
    let identity = accounts.identity(&device).await.map_err(refuse)?;
    Ok(Json(identity.into()))
}

impl From<AccountIdentity> for AccountIdentityBody {
    fn from(AccountIdentity { aci, number, pni, storage_capable }: AccountIdentity) -> Self {
        Self {
            uuid: aci,
            number,
            pni,
            username_hash: None,
            username_link_handle: None,
            storage_capable,
            entitlements: Entitlements { badges: [], backup: None },
            auth_credential_salt: None,
        }
    }
}
