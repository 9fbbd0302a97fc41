//! `PUT` and `DELETE /v1/accounts/gcm` and `/v1/accounts/apn`: where a push reaches the device.

use auth::{
    AccountService,
    device::{PushService, PushToken},
};
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use super::done;
use crate::{body::JsonBody, caller::AuthenticatedDevice, reply::Refusal};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FcmToken {
    gcm_registration_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApnsToken {
    apn_registration_id: String,
}

pub(super) async fn set_fcm(
    device: AuthenticatedDevice,
    State(accounts): State<AccountService>,
    JsonBody(token): JsonBody<FcmToken>,
) -> Result<StatusCode, Refusal> {
    set(device, &accounts, PushService::Fcm, token.gcm_registration_id).await
}

pub(super) async fn clear_fcm(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
) -> Result<StatusCode, Refusal> {
    done(accounts.clear_push_token(&device, PushService::Fcm).await)
}

pub(super) async fn set_apns(
    device: AuthenticatedDevice,
    State(accounts): State<AccountService>,
    JsonBody(token): JsonBody<ApnsToken>,
) -> Result<StatusCode, Refusal> {
    set(device, &accounts, PushService::Apns, token.apn_registration_id).await
}

pub(super) async fn clear_apns(
    AuthenticatedDevice(device): AuthenticatedDevice,
    State(accounts): State<AccountService>,
) -> Result<StatusCode, Refusal> {
    done(accounts.clear_push_token(&device, PushService::Apns).await)
}

async fn set(
    AuthenticatedDevice(device): AuthenticatedDevice,
    accounts: &AccountService,
    service: PushService,
    token: String,
) -> Result<StatusCode, Refusal> {
    let token =
        PushToken::new(service, token).ok_or(Refusal::invalid("the push token is empty or too long"))?;
    done(accounts.set_push_token(&device, token).await)
}
