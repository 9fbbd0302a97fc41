//! `org.signal.chat.account.Accounts` and `AccountsAnonymous`.

use std::sync::Arc;

use auth::{
    AccountService,
    capabilities::{Capabilities, Capability},
    change_number::ChangeNumberService,
    second_factor::FactorKind,
    secrets::{RecoveryPassword, RegistrationLockToken},
    settings::{AccountError, AccountIdentity, ShownCapabilitiesError},
};
use bytes::Bytes;
use limits::RateLimits;
use protocol::{AccessKey, PhoneNumber, ServiceId};
use tonic::{Request, Response, Status};

use super::{
    change_number_grpc as change_number,
    data_report::DataReportBody,
    existence::{self, Unanswered},
    mfa::Mfa,
};
use crate::{
    caller::Peer,
    grpc::{
        access,
        chat::{
            account::{
                Capabilities as CapabilityList, ChangeNumberRequest, ChangeNumberResponse,
                CheckAccountExistenceRequest, CheckAccountExistenceResponse, ClearRegistrationLockRequest,
                ClearRegistrationLockResponse, ConfigureUnidentifiedAccessRequest,
                ConfigureUnidentifiedAccessResponse, ConfirmTotpKeyRequest, ConfirmTotpKeyResponse,
                DeleteAccountRequest, DeleteAccountResponse, FinishMfaVerificationRequest,
                FinishMfaVerificationResponse, FinishWebAuthnRegistrationRequest,
                FinishWebAuthnRegistrationResponse, GenerateTotpKeyRequest, GenerateTotpKeyResponse,
                GetAccountDataReportRequest, GetAccountDataReportResponse, GetAccountIdentityRequest,
                GetAccountIdentityResponse, GetCapabilitiesAnonymousRequest,
                GetCapabilitiesAnonymousResponse, GetCapabilitiesRequest, GetCapabilitiesResponse,
                GetEntitlementsRequest, GetEntitlementsResponse, ListMfaKeysRequest, ListMfaKeysResponse,
                ListTotpKeysRequest, ListTotpKeysResponse, RemoveMfaKeyRequest, RemoveMfaKeyResponse,
                RemoveTotpKeyRequest, RemoveTotpKeyResponse, SetDiscoverableByPhoneNumberRequest,
                SetDiscoverableByPhoneNumberResponse, SetMfaKeyMetadataRequest, SetMfaKeyMetadataResponse,
                SetRegistrationLockRequest, SetRegistrationLockResponse,
                SetRegistrationRecoveryPasswordRequest, SetRegistrationRecoveryPasswordResponse,
                SetTotpKeyMetadataRequest, SetTotpKeyMetadataResponse, StartMfaVerificationRequest,
                StartMfaVerificationResponse, StartWebAuthnRegistrationRequest,
                StartWebAuthnRegistrationResponse, accounts_anonymous_server, accounts_server,
                configure_unidentified_access_request::Access,
                get_capabilities_anonymous_request::Authorization,
                get_capabilities_anonymous_response::Response as Shown,
            },
            common::AccountIdentifiers,
            errors::FailedUnidentifiedAuthorization,
        },
        convert, error,
    },
    services::Services,
};

/// The service for devices that say who they are.
#[expect(clippy::struct_field_names, reason = "both are called what they are")]
pub(crate) struct Accounts {
    accounts: AccountService,
    change_number: Arc<ChangeNumberService>,
    mfa: Mfa,
}

/// The service for callers that do not.
pub(crate) struct AccountsAnonymous {
    accounts: AccountService,
    limits: Arc<RateLimits>,
}

impl Accounts {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        let parts = services.parts();
        Self {
            accounts: parts.accounts.clone(),
            change_number: Arc::clone(&parts.change_number),
            mfa: Mfa(Arc::clone(&parts.second_factors)),
        }
    }
}

impl AccountsAnonymous {
    /// The service as part of those.
    pub(crate) fn new(services: &Services) -> Self {
        Self { accounts: services.parts().accounts.clone(), limits: Arc::clone(&services.parts().limits) }
    }
}

#[tonic::async_trait]
impl accounts_server::Accounts for Accounts {
    async fn get_account_identity(
        &self,
        request: Request<GetAccountIdentityRequest>,
    ) -> Result<Response<GetAccountIdentityResponse>, Status> {
        let identity = self.accounts.identity(&access::device(&request)?).await.map_err(status)?;
        Ok(Response::new(GetAccountIdentityResponse { account_identifiers: Some(identifiers(&identity)) }))
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        self.accounts.delete(&access::device(&request)?).await.map_err(|cause| error::storage(&cause))?;
        Ok(Response::new(DeleteAccountResponse {}))
    }

    async fn set_registration_lock(
        &self,
        request: Request<SetRegistrationLockRequest>,
    ) -> Result<Response<SetRegistrationLockResponse>, Status> {
        let device = access::device(&request)?;
        let token = bytes_32("registration_lock", &request.get_ref().registration_lock)?;
        let token = RegistrationLockToken::from_binary(token);
        self.accounts.set_registration_lock(&device, Some(token)).await.map_err(status)?;
        Ok(Response::new(SetRegistrationLockResponse {}))
    }

    async fn clear_registration_lock(
        &self,
        request: Request<ClearRegistrationLockRequest>,
    ) -> Result<Response<ClearRegistrationLockResponse>, Status> {
        self.accounts.set_registration_lock(&access::device(&request)?, None).await.map_err(status)?;
        Ok(Response::new(ClearRegistrationLockResponse {}))
    }

    async fn set_registration_recovery_password(
        &self,
        request: Request<SetRegistrationRecoveryPasswordRequest>,
    ) -> Result<Response<SetRegistrationRecoveryPasswordResponse>, Status> {
        let device = access::device(&request)?;
        let field = "registration_recovery_password";
        let password: &[u8; RecoveryPassword::LEN] =
            bytes_32(field, &request.get_ref().registration_recovery_password)?;
        self.accounts
            .set_recovery_password(&device, RecoveryPassword::from(*password))
            .await
            .map_err(status)?;
        Ok(Response::new(SetRegistrationRecoveryPasswordResponse {}))
    }

    async fn set_discoverable_by_phone_number(
        &self,
        request: Request<SetDiscoverableByPhoneNumberRequest>,
    ) -> Result<Response<SetDiscoverableByPhoneNumberResponse>, Status> {
        let device = access::device(&request)?;
        let discoverable = request.get_ref().discoverable_by_phone_number;
        self.accounts.set_discoverable(&device, discoverable).await.map_err(status)?;
        Ok(Response::new(SetDiscoverableByPhoneNumberResponse {}))
    }

    async fn configure_unidentified_access(
        &self,
        request: Request<ConfigureUnidentifiedAccessRequest>,
    ) -> Result<Response<ConfigureUnidentifiedAccessResponse>, Status> {
        let device = access::device(&request)?;
        let key = match &request.get_ref().access {
            Some(Access::UnidentifiedAccessKey(key)) => Some(access_key(key)?),
            Some(Access::AllowUnrestrictedUnidentifiedAccess(())) => None,
            None => return Err(error::constraint_violated("access", "must be present")),
        };
        self.accounts.set_unidentified_access(&device, key).await.map_err(status)?;
        Ok(Response::new(ConfigureUnidentifiedAccessResponse {}))
    }

    async fn get_account_data_report(
        &self,
        request: Request<GetAccountDataReportRequest>,
    ) -> Result<Response<GetAccountDataReportResponse>, Status> {
        let report = self.accounts.data_report(&access::device(&request)?).await.map_err(status)?;
        let report = DataReportBody::from(report);
        let json = serde_json::to_string(&report).map_err(|_| Status::internal(""))?;
        Ok(Response::new(GetAccountDataReportResponse { json, text: report.text }))
    }

    async fn get_entitlements(
        &self,
        request: Request<GetEntitlementsRequest>,
    ) -> Result<Response<GetEntitlementsResponse>, Status> {
        self.accounts.identity(&access::device(&request)?).await.map_err(status)?;
        // Nothing is sold here.
        Ok(Response::new(GetEntitlementsResponse { badges: Vec::new(), backup: None }))
    }

    async fn get_capabilities(
        &self,
        request: Request<GetCapabilitiesRequest>,
    ) -> Result<Response<GetCapabilitiesResponse>, Status> {
        let found = self.accounts.capabilities(&access::device(&request)?).await.map_err(status)?;
        Ok(Response::new(GetCapabilitiesResponse { capabilities: Some(capability_list(found)) }))
    }

    async fn change_number(
        &self,
        request: Request<ChangeNumberRequest>,
    ) -> Result<Response<ChangeNumberResponse>, Status> {
        let device = access::device(&request)?;
        let asked = change_number::request(request.into_inner())?;
        let outcome = self.change_number.change(&device, asked).await;
        Ok(Response::new(change_number::response(outcome)?))
    }

    async fn generate_totp_key(
        &self,
        request: Request<GenerateTotpKeyRequest>,
    ) -> Result<Response<GenerateTotpKeyResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.generate_totp_key(device.aci).await.map(Response::new)
    }

    async fn confirm_totp_key(
        &self,
        request: Request<ConfirmTotpKeyRequest>,
    ) -> Result<Response<ConfirmTotpKeyResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.confirm_totp_key(device.aci, request.get_ref()).await.map(Response::new)
    }

    async fn start_web_authn_registration(
        &self,
        request: Request<StartWebAuthnRegistrationRequest>,
    ) -> Result<Response<StartWebAuthnRegistrationResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.start_web_authn_registration(device.aci).await.map(Response::new)
    }

    async fn finish_web_authn_registration(
        &self,
        request: Request<FinishWebAuthnRegistrationRequest>,
    ) -> Result<Response<FinishWebAuthnRegistrationResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.finish_web_authn_registration(device.aci, request.get_ref()).await.map(Response::new)
    }

    async fn start_mfa_verification(
        &self,
        request: Request<StartMfaVerificationRequest>,
    ) -> Result<Response<StartMfaVerificationResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.start_mfa_verification(device.aci).await.map(Response::new)
    }

    async fn finish_mfa_verification(
        &self,
        request: Request<FinishMfaVerificationRequest>,
    ) -> Result<Response<FinishMfaVerificationResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.finish_mfa_verification(device.aci, request.get_ref()).await.map(Response::new)
    }

    async fn list_mfa_keys(
        &self,
        request: Request<ListMfaKeysRequest>,
    ) -> Result<Response<ListMfaKeysResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.list_mfa_keys(device.aci).await.map(Response::new)
    }

    async fn list_totp_keys(
        &self,
        request: Request<ListTotpKeysRequest>,
    ) -> Result<Response<ListTotpKeysResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.list_totp_keys(device.aci).await.map(Response::new)
    }

    async fn set_mfa_key_metadata(
        &self,
        request: Request<SetMfaKeyMetadataRequest>,
    ) -> Result<Response<SetMfaKeyMetadataResponse>, Status> {
        let device = access::device(&request)?;
        let SetMfaKeyMetadataRequest { key_id, metadata_ciphertext } = request.get_ref();
        self.mfa.set_mfa_key_metadata(device.aci, *key_id, metadata_ciphertext).await.map(Response::new)
    }

    async fn set_totp_key_metadata(
        &self,
        request: Request<SetTotpKeyMetadataRequest>,
    ) -> Result<Response<SetTotpKeyMetadataResponse>, Status> {
        let device = access::device(&request)?;
        let SetTotpKeyMetadataRequest { key_id, metadata_ciphertext } = request.get_ref();
        self.mfa.set_totp_key_metadata(device.aci, *key_id, metadata_ciphertext).await.map(Response::new)
    }

    async fn remove_mfa_key(
        &self,
        request: Request<RemoveMfaKeyRequest>,
    ) -> Result<Response<RemoveMfaKeyResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.remove(device.aci, request.get_ref().key_id, None).await?;
        Ok(Response::new(RemoveMfaKeyResponse {}))
    }

    async fn remove_totp_key(
        &self,
        request: Request<RemoveTotpKeyRequest>,
    ) -> Result<Response<RemoveTotpKeyResponse>, Status> {
        let device = access::device(&request)?;
        self.mfa.remove(device.aci, request.get_ref().key_id, Some(FactorKind::Totp)).await?;
        Ok(Response::new(RemoveTotpKeyResponse {}))
    }
}

#[tonic::async_trait]
impl accounts_anonymous_server::AccountsAnonymous for AccountsAnonymous {
    async fn check_account_existence(
        &self,
        request: Request<CheckAccountExistenceRequest>,
    ) -> Result<Response<CheckAccountExistenceResponse>, Status> {
        let peer = Peer::of(request.extensions());
        let id = convert::service_id(request.into_inner().service_identifier)?;
        match existence::exists(&self.accounts, &self.limits, peer, id).await {
            Ok(account_exists) => Ok(Response::new(CheckAccountExistenceResponse { account_exists })),
            Err(Unanswered::RateLimited(wait)) => Err(error::rate_limited(wait.0)),
            Err(Unanswered::Storage(cause)) => Err(error::storage(&cause)),
        }
    }

    async fn get_capabilities(
        &self,
        request: Request<GetCapabilitiesAnonymousRequest>,
    ) -> Result<Response<GetCapabilitiesAnonymousResponse>, Status> {
        let GetCapabilitiesAnonymousRequest { account_identifier, authorization } = request.into_inner();
        let target = convert::service_id(account_identifier)?;
        let credential = match authorization {
            Some(Authorization::UnidentifiedAccessKey(key)) => Some(convert::access_key(&key)?),
            Some(Authorization::GroupSendToken(token)) => convert::group_send_token(&token),
            None => return Err(error::constraint_violated("authorization", "must be present")),
        };
        let shown = match credential {
            Some(credential) => self.accounts.shown_capabilities(target, &credential).await,
            None => Err(ShownCapabilitiesError::Unauthorized),
        };
        let response = match shown {
            Ok(shown) => Shown::Capabilities(capability_list(shown)),
            Err(ShownCapabilitiesError::Unauthorized) => {
                Shown::FailedUnidentifiedAuthorization(FailedUnidentifiedAuthorization::default())
            }
            Err(ShownCapabilitiesError::Storage(cause)) => return Err(error::storage(&cause)),
        };
        Ok(Response::new(GetCapabilitiesAnonymousResponse { response: Some(response) }))
    }
}

pub(super) fn identifiers(identity: &AccountIdentity) -> AccountIdentifiers {
    let ids = [Some(ServiceId::from(identity.aci)), identity.pni.map(ServiceId::from)];
    AccountIdentifiers {
        service_identifiers: ids.into_iter().flatten().map(convert::service_identifier).collect(),
        e164: identity.number.as_ref().map(PhoneNumber::as_str).unwrap_or_default().to_owned(),
        // Usernames are not offered yet.
        username_hash: Bytes::new(),
        username_link_handle: Bytes::new(),
    }
}

fn capability_list(capabilities: Capabilities) -> CapabilityList {
    let number = |capability: Capability| i32::from(capability.number());
    CapabilityList { capabilities: capabilities.iter().map(number).collect() }
}

fn access_key(bytes: &[u8]) -> Result<AccessKey, Status> {
    AccessKey::try_from(bytes)
        .map_err(|_| error::constraint_violated("unidentified_access_key", "must be 16 bytes"))
}

/// A field of 32 bytes.
pub(super) fn bytes_32<'a>(field: &'static str, bytes: &'a [u8]) -> Result<&'a [u8; 32], Status> {
    bytes.try_into().map_err(|_| error::constraint_violated(field, "must be 32 bytes"))
}

/// What became of a call that failed.
pub(in crate::signal) fn status(failure: AccountError) -> Status {
    match failure {
        AccountError::Gone => error::invalid_credentials(),
        AccountError::NoNumber => error::constraint_violated("account", "has no phone number"),
        AccountError::NoIdentityKey => error::constraint_violated("account", "has no identity key"),
        AccountError::Storage(cause) => error::storage(&cause),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Aci, Pni};
    use tonic::Code;
    use uuid::Uuid;

    use super::*;
    use crate::grpc::chat::common::{IdentityType, ServiceIdentifier};

    #[test]
    fn secrets_of_another_length_are_refused() {
        for len in [0, 31, 33] {
            assert_eq!(bytes_32("field", &vec![0; len]).unwrap_err().code(), Code::InvalidArgument);
        }
        assert_eq!(access_key(&[0; 15]).unwrap_err().code(), Code::InvalidArgument);
        assert!(access_key(&[0; 16]).is_ok() && bytes_32("field", &[0; 32]).is_ok());
    }

    #[test]
    fn both_identities_are_named_and_a_missing_number_is_empty() {
        let (aci, pni) = (Aci(Uuid::from_u128(1)), Pni(Uuid::from_u128(2)));
        let number = "+15550100001".parse().unwrap();
        let mut identity =
            AccountIdentity { aci, number: Some(number), pni: Some(pni), storage_capable: false };
        let full = identifiers(&identity);
        let kinds: Vec<_> = full.service_identifiers.iter().map(ServiceIdentifier::identity_type).collect();
        assert_eq!(kinds, [IdentityType::Aci, IdentityType::Pni]);
        assert_eq!(full.e164, "+15550100001");
        (identity.number, identity.pni) = (None, None);
        let bare = identifiers(&identity);
        assert_eq!((bare.service_identifiers.len(), bare.e164.as_str()), (1, ""));
    }
}
