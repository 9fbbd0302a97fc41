//! Second factors, as `account.Accounts` has them. There is no REST form.

use std::sync::Arc;

use auth::second_factor::{
    CHALLENGE_LIFE, Ceremony, EncryptedLabel, Factor, FactorError, FactorId, FactorKind, Label,
    SecondFactors,
    totp::{self, OneTimePassword, TotpKey},
    webauthn::{Algorithm, AssertionResponse, AttestationResponse, CredentialId},
};
use bytes::Bytes;
use protocol::Aci;
use tonic::Status;

use crate::grpc::{
    chat::{
        account::{
            ConfirmTotpKeyRequest, ConfirmTotpKeyResponse, FinishMfaVerificationRequest,
            FinishMfaVerificationResponse, FinishWebAuthnRegistrationRequest,
            FinishWebAuthnRegistrationResponse, GenerateTotpKeyResponse, ListMfaKeysResponse,
            ListTotpKeysResponse, MfaKeyConfirmed, MfaKeyType, SetMfaKeyMetadataResponse,
            SetTotpKeyMetadataResponse, StartMfaVerificationResponse, StartWebAuthnRegistrationResponse,
            TotpParameters, confirm_totp_key_response,
            finish_mfa_verification_request::Credential,
            finish_web_authn_registration_response,
            generate_totp_key_response::{self, KeyGenerated},
            list_mfa_keys_response, list_totp_keys_response, set_mfa_key_metadata_response,
            set_totp_key_metadata_response,
            start_mfa_verification_response::WebAuthn,
            start_web_authn_registration_response::{self, Parameters},
        },
        errors::{FailedPrecondition, NotFound},
    },
    error,
};

/// The calls about second factors, each of them for an account whose device has said who it is.
#[derive(Clone)]
pub(super) struct Mfa(pub(super) Arc<SecondFactors>);

impl Mfa {
    pub(super) async fn generate_totp_key(&self, aci: Aci) -> Result<GenerateTotpKeyResponse, Status> {
        use generate_totp_key_response::Response;

        let response = match self.0.generate_totp(aci).await {
            Ok(key) => Response::KeyGenerated(key_generated(&key)),
            Err(FactorError::TooManyTotpKeys) => Response::TooManyTotpKeys(precondition()),
            Err(FactorError::TooMany) => Response::TooManyMfaKeys(precondition()),
            Err(failure) => return Err(status(failure)),
        };
        Ok(GenerateTotpKeyResponse { response: Some(response) })
    }

    pub(super) async fn confirm_totp_key(
        &self,
        aci: Aci,
        request: &ConfirmTotpKeyRequest,
    ) -> Result<ConfirmTotpKeyResponse, Status> {
        use confirm_totp_key_response::Response;

        let label = label(&request.metadata_ciphertext)?;
        let password = OneTimePassword::from_number(request.one_time_password);
        let response = match self.0.confirm_totp(aci, password, label).await {
            Ok(id) => Response::KeyConfirmed(confirmed(id)),
            Err(FactorError::NotVerified) => Response::OneTimePasswordNotVerified(precondition()),
            Err(FactorError::TooMany) => Response::TooManyMfaKeys(precondition()),
            Err(failure) => return Err(status(failure)),
        };
        Ok(ConfirmTotpKeyResponse { response: Some(response) })
    }

    pub(super) async fn start_web_authn_registration(
        &self,
        aci: Aci,
    ) -> Result<StartWebAuthnRegistrationResponse, Status> {
        use start_web_authn_registration_response::Response;

        let response = match self.0.passkey_options(aci, Ceremony::Unchallenged).await {
            Ok(options) => Response::Parameters(Parameters {
                user_handle: options.user_handle.into(),
                allowed_algorithms: options.algorithms.map(Algorithm::cose_id).into(),
                exclude_credential_ids: credential_ids(&options.exclude),
            }),
            Err(FactorError::TooMany) => Response::TooManyMfaKeys(precondition()),
            Err(failure) => return Err(status(failure)),
        };
        Ok(StartWebAuthnRegistrationResponse { response: Some(response) })
    }

    pub(super) async fn finish_web_authn_registration(
        &self,
        aci: Aci,
        request: &FinishWebAuthnRegistrationRequest,
    ) -> Result<FinishWebAuthnRegistrationResponse, Status> {
        use finish_web_authn_registration_response::Response;

        let label = label(&request.metadata_ciphertext)?;
        let attestation = AttestationResponse {
            client_data: &request.collected_client_data_json,
            attestation_object: &request.attestation_object,
        };
        let response = match self.0.finish_passkey(aci, Ceremony::Unchallenged, attestation, label).await {
            Ok(id) => Response::KeyConfirmed(confirmed(id)),
            Err(FactorError::NotVerified) => Response::KeyNotConfirmed(precondition()),
            Err(FactorError::TooMany) => Response::TooManyMfaKeys(precondition()),
            Err(failure) => return Err(status(failure)),
        };
        Ok(FinishWebAuthnRegistrationResponse { response: Some(response) })
    }

    pub(super) async fn start_mfa_verification(
        &self,
        aci: Aci,
    ) -> Result<StartMfaVerificationResponse, Status> {
        let offer = self.0.start_verification(aci).await.map_err(status)?;
        let webauthn = offer.passkeys.map(|passkeys| WebAuthn {
            challenge: Bytes::copy_from_slice(&passkeys.challenge),
            timeout_seconds: u32::try_from(CHALLENGE_LIFE.as_secs()).unwrap_or(u32::MAX),
            allowed_credential_ids: credential_ids(&passkeys.credentials),
        });
        Ok(StartMfaVerificationResponse { has_totp: offer.has_totp, webauthn })
    }

    pub(super) async fn finish_mfa_verification(
        &self,
        aci: Aci,
        request: &FinishMfaVerificationRequest,
    ) -> Result<FinishMfaVerificationResponse, Status> {
        let verified = match &request.credential {
            Some(Credential::TotpPassword(number)) => {
                self.0.verify_totp(aci, OneTimePassword::from_number(*number)).await
            }
            Some(Credential::WebauthnAuthenticationResponseJson(json)) => {
                match AssertionResponse::from_json(json) {
                    Ok(response) => self.0.verify_passkey(aci, &response).await,
                    Err(malformed) => Err(malformed.into()),
                }
            }
            None => return Err(error::constraint_violated("credential", "must be present")),
        };
        match verified {
            Ok(()) => Ok(FinishMfaVerificationResponse { success: true }),
            Err(FactorError::NotVerified) => Ok(FinishMfaVerificationResponse { success: false }),
            Err(failure) => Err(status(failure)),
        }
    }

    pub(super) async fn list_mfa_keys(&self, aci: Aci) -> Result<ListMfaKeysResponse, Status> {
        let factors = self.0.list(aci).await.map_err(status)?;
        let key = |factor: &Factor| list_mfa_keys_response::Key {
            metadata_ciphertext: metadata(&factor.label),
            r#type: match factor.secret.kind() {
                FactorKind::Totp => MfaKeyType::Totp.into(),
                FactorKind::Passkey => MfaKeyType::Webauthn.into(),
            },
        };
        let keys = factors.iter().map(|factor| (u32::from(factor.id.get()), key(factor)));
        Ok(ListMfaKeysResponse { keys: keys.collect() })
    }

    pub(super) async fn list_totp_keys(&self, aci: Aci) -> Result<ListTotpKeysResponse, Status> {
        let factors = self.0.list(aci).await.map_err(status)?;
        let key = |factor: &Factor| list_totp_keys_response::Key {
            metadata_ciphertext: metadata(&factor.label),
            totp_parameters: Some(parameters()),
        };
        let totp = factors.iter().filter(|factor| factor.secret.kind() == FactorKind::Totp);
        let keys = totp.map(|factor| (i32::from(factor.id.get()), key(factor)));
        Ok(ListTotpKeysResponse { keys: keys.collect() })
    }

    pub(super) async fn set_mfa_key_metadata(
        &self,
        aci: Aci,
        key_id: u32,
        ciphertext: &[u8],
    ) -> Result<SetMfaKeyMetadataResponse, Status> {
        use set_mfa_key_metadata_response::Response;

        let found = self.set_metadata(aci, key_id, ciphertext).await?;
        let response = if found { Response::Success(()) } else { Response::KeyNotFound(NotFound {}) };
        Ok(SetMfaKeyMetadataResponse { response: Some(response) })
    }

    pub(super) async fn set_totp_key_metadata(
        &self,
        aci: Aci,
        key_id: u32,
        ciphertext: &[u8],
    ) -> Result<SetTotpKeyMetadataResponse, Status> {
        use set_totp_key_metadata_response::Response;

        let found = self.set_metadata(aci, key_id, ciphertext).await?;
        let response = if found { Response::Success(()) } else { Response::KeyNotFound(NotFound {}) };
        Ok(SetTotpKeyMetadataResponse { response: Some(response) })
    }

    /// Removes a key, of that kind if one is named. That there is none is no mistake.
    pub(super) async fn remove(&self, aci: Aci, key_id: u32, kind: Option<FactorKind>) -> Result<(), Status> {
        self.0.remove(aci, factor_id(key_id)?, kind).await.map(drop).map_err(status)
    }

    async fn set_metadata(&self, aci: Aci, key_id: u32, ciphertext: &[u8]) -> Result<bool, Status> {
        self.0.set_label(aci, factor_id(key_id)?, label(ciphertext)?).await.map_err(status)
    }
}

fn key_generated(key: &TotpKey) -> KeyGenerated {
    KeyGenerated { key: Bytes::copy_from_slice(key.as_bytes()), totp_parameters: Some(parameters()) }
}

fn parameters() -> TotpParameters {
    TotpParameters {
        algorithm: totp::ALGORITHM.to_owned(),
        password_length: totp::DIGITS,
        time_step_seconds: u32::try_from(totp::STEP.as_secs()).unwrap_or(u32::MAX),
    }
}

fn confirmed(id: FactorId) -> MfaKeyConfirmed {
    MfaKeyConfirmed { key_id: id.get().into() }
}

fn credential_ids(ids: &[CredentialId]) -> Vec<Bytes> {
    ids.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect()
}

fn factor_id(key_id: u32) -> Result<FactorId, Status> {
    FactorId::try_from(key_id).map_err(|_| error::constraint_violated("key_id", "must be at most 127"))
}

fn label(ciphertext: &[u8]) -> Result<Label, Status> {
    EncryptedLabel::new(ciphertext)
        .map(Label::Encrypted)
        .ok_or_else(|| error::constraint_violated("metadata_ciphertext", "must be 160 bytes"))
}

/// What the owner's devices have encrypted. Where the server has a name in clear instead, clients get as many
/// zeros, which they show as a name that cannot be read, and can set another.
fn metadata(label: &Label) -> Bytes {
    match label {
        Label::Encrypted(label) => Bytes::copy_from_slice(label.as_bytes()),
        Label::Plain(_) => Bytes::from_static(&[0; EncryptedLabel::LEN]),
    }
}

fn precondition() -> FailedPrecondition {
    FailedPrecondition::default()
}

/// What became of a call that failed in none of the ways that its answer provides for.
fn status(failure: FactorError) -> Status {
    match failure {
        FactorError::Gone => error::invalid_credentials(),
        FactorError::HasNumber => error::constraint_violated("account", "has a phone number"),
        FactorError::RateLimited(wait) => error::rate_limited(wait.0),
        FactorError::Storage(cause) => error::storage(&cause),
        FactorError::NotVerified | FactorError::TooMany | FactorError::TooManyTotpKeys => {
            Status::failed_precondition("")
        }
    }
}
