//! `account.Accounts/ChangeNumber`, between gRPC's messages and those of the service.

use std::{collections::BTreeMap, time::Duration};

use auth::{
    change_number::{
        ChangeNumberError, ChangeNumberRequest, DeviceMessage, DeviceSetMismatch, NewPniPart, NumberEvidence,
    },
    secrets::{RecoveryPassword, RegistrationLockToken},
    settings::AccountIdentity,
};
use protocol::RegistrationId;
use tonic::Status;

use super::grpc::{bytes_32, identifiers};
use crate::{
    grpc::{
        chat::{
            account::{
                ChangeNumberRequest as Request, ChangeNumberResponse, RegistrationLockFailure, StaleDevices,
                Svr2Credentials, change_number_request::Verification, change_number_response::Response,
            },
            errors::FailedPrecondition,
            messages::{
                IndividualRecipientMessageBundle, MismatchedDevices, SendMessageType,
                individual_recipient_message_bundle::Message,
            },
        },
        error,
    },
    signal::keys::grpc::{ec_public_key, ec_signed_pre_key, kem_signed_pre_key},
};

/// What a client asks for.
pub(super) fn request(request: Request) -> Result<ChangeNumberRequest, Status> {
    let registration_lock = match &request.registration_lock[..] {
        [] => None,
        bytes => Some(RegistrationLockToken::from_binary(bytes_32("registration_lock", bytes)?)),
    };
    let messages = request.device_messages.unwrap_or_default();
    Ok(ChangeNumberRequest {
        number: request.number,
        evidence: request.verification.map(evidence).transpose()?,
        registration_lock,
        pni_identity_key: ec_public_key(&request.pni_identity_key)?,
        messages: device_messages(messages)?,
        devices: parts(
            request.device_pni_signed_pre_keys,
            request.device_pni_pq_last_resort_pre_keys,
            request.pni_registration_ids,
        )?,
    })
}

/// What a client is answered.
pub(super) fn response(
    outcome: Result<AccountIdentity, ChangeNumberError>,
) -> Result<ChangeNumberResponse, Status> {
    let because = |description: &str| FailedPrecondition { description: description.to_owned() };
    let response = match outcome {
        Ok(identity) => Response::AccountIdentifiers(identifiers(&identity)),
        Err(ChangeNumberError::MismatchedDevices(DeviceSetMismatch { missing, extra })) => {
            Response::MismatchedDevices(MismatchedDevices {
                missing_devices: missing.into_iter().map(u32::from).collect(),
                extra_devices: extra.into_iter().map(u32::from).collect(),
                ..MismatchedDevices::default()
            })
        }
        Err(ChangeNumberError::StaleDevices(stale)) => {
            Response::StaleDevices(StaleDevices { stale_devices: stale.into_iter().map(u32::from).collect() })
        }
        Err(ChangeNumberError::Locked { time_remaining }) => {
            Response::RegistrationLockFailure(locked(time_remaining))
        }
        Err(ChangeNumberError::TooLarge) => Response::MessageTooLarge(because("a message is too large")),
        Err(ChangeNumberError::NotVerified) => {
            Response::UnverifiedRegistrationSession(because("the session is not verified"))
        }
        Err(ChangeNumberError::WrongSession) => {
            Response::InvalidRegistrationSession(because("the session is not of that number"))
        }
        Err(ChangeNumberError::WrongRecoveryPassword) => {
            Response::RecoveryPasswordVerificationFailed(because("the recovery password is wrong"))
        }
        Err(failure) => return Err(status(failure)),
    };
    Ok(ChangeNumberResponse { response: Some(response) })
}

fn evidence(verification: Verification) -> Result<NumberEvidence, Status> {
    match verification {
        Verification::SessionId(id) => String::from_utf8(id.into())
            .map(NumberEvidence::Session)
            .map_err(|_| error::constraint_violated("session_id", "not the id of a session")),
        Verification::RecoveryPassword(password) => {
            let bytes = bytes_32("recovery_password", &password)?;
            Ok(NumberEvidence::RecoveryPassword(RecoveryPassword::from(*bytes)))
        }
    }
}

fn device_messages(bundle: IndividualRecipientMessageBundle) -> Result<Vec<DeviceMessage>, Status> {
    bundle.messages.into_iter().map(|(device, message)| device_message(device, message)).collect()
}

fn device_message(device: u32, message: Message) -> Result<DeviceMessage, Status> {
    use protocol::envelope::EnvelopeType;

    let invalid = |rule| error::constraint_violated("device_messages", rule);
    let kind = match message.r#type() {
        SendMessageType::DoubleRatchet => EnvelopeType::DoubleRatchet,
        SendMessageType::PrekeyMessage => EnvelopeType::PreKey,
        SendMessageType::PlaintextContent => EnvelopeType::PlaintextContent,
        SendMessageType::UnidentifiedSender | SendMessageType::Unspecified => {
            return Err(invalid("not of this kind of sender"));
        }
    };
    if message.payload.is_empty() {
        return Err(invalid("must not be empty"));
    }
    Ok(DeviceMessage {
        device_id: device_id(device)?,
        registration_id: message.registration_id,
        kind,
        content: message.payload.into(),
    })
}

fn parts(
    signed: impl IntoIterator<Item = (u32, crate::grpc::chat::common::EcSignedPreKey)>,
    last_resort: impl IntoIterator<Item = (u32, crate::grpc::chat::common::KemSignedPreKey)>,
    registration_ids: impl IntoIterator<Item = (u32, u32)>,
) -> Result<BTreeMap<u8, NewPniPart>, Status> {
    let mut parts: BTreeMap<u8, NewPniPart> = BTreeMap::new();
    for (device, key) in signed {
        parts.entry(device_id(device)?).or_default().signed_pre_key = Some(ec_signed_pre_key(&key)?);
    }
    for (device, key) in last_resort {
        parts.entry(device_id(device)?).or_default().last_resort_pre_key = Some(kem_signed_pre_key(&key)?);
    }
    for (device, id) in registration_ids {
        let id = RegistrationId::try_from(id)
            .map_err(|_| error::constraint_violated("pni_registration_ids", "out of range"))?;
        parts.entry(device_id(device)?).or_default().registration_id = Some(id);
    }
    Ok(parts)
}

fn device_id(id: u32) -> Result<u8, Status> {
    u8::try_from(id).map_err(|_| error::constraint_violated("device", "not a device id"))
}

/// There is no service that recovers PINs, and nothing to log in to it with.
fn locked(time_remaining: Duration) -> RegistrationLockFailure {
    RegistrationLockFailure {
        time_remaining_millis: u64::try_from(time_remaining.as_millis()).unwrap_or(u64::MAX),
        svr2_credentials: Some(Svr2Credentials { username: "none".to_owned(), password: "none".to_owned() }),
    }
}

/// Failures that are not among the answers.
fn status(failure: ChangeNumberError) -> Status {
    match failure {
        ChangeNumberError::NotPrimary => error::bad_authentication(),
        ChangeNumberError::Gone => error::invalid_credentials(),
        ChangeNumberError::NoNumber => error::constraint_violated("account", "has no phone number"),
        ChangeNumberError::InvalidNumber => error::constraint_violated("number", "not a phone number"),
        ChangeNumberError::Incomplete => error::constraint_violated("verification", "must be present"),
        ChangeNumberError::WrongSignature => {
            error::constraint_violated("pni_identity_key", "a signature does not verify")
        }
        ChangeNumberError::RateLimited(wait) => error::rate_limited(wait.0),
        ChangeNumberError::Storage(cause) => error::storage(&cause),
        // All are answers, given by the caller of this.
        ChangeNumberError::MismatchedDevices(_)
        | ChangeNumberError::StaleDevices(_)
        | ChangeNumberError::Locked { .. }
        | ChangeNumberError::TooLarge
        | ChangeNumberError::NotVerified
        | ChangeNumberError::WrongSession
        | ChangeNumberError::WrongRecoveryPassword => Status::internal(""),
    }
}
