//! Between gRPC's messages and the types of the services.

use bytes::Bytes;
use protocol::{
    AccessKey, Aci, IdentityKind, Pni, ServiceId, UnidentifiedCredential, group_send::GroupSendToken,
};
use tonic::Status;
use uuid::Uuid;

use super::{
    chat::common::{IdentityType, ServiceIdentifier},
    error,
};

/// Which identity is meant.
pub(crate) fn identity_kind(identity_type: i32) -> Result<IdentityKind, Status> {
    match IdentityType::try_from(identity_type) {
        Ok(IdentityType::Aci) => Ok(IdentityKind::Aci),
        Ok(IdentityType::Pni) => Ok(IdentityKind::Pni),
        Ok(IdentityType::Unspecified) | Err(_) => Err(error::constraint_violated("identity_type", "unknown")),
    }
}

/// The service id a request names.
pub(crate) fn service_id(identifier: Option<ServiceIdentifier>) -> Result<ServiceId, Status> {
    let identifier =
        identifier.ok_or_else(|| error::constraint_violated("service_identifier", "must be present"))?;
    let uuid = Uuid::from_slice(&identifier.uuid)
        .map_err(|_| error::constraint_violated("service_identifier.uuid", "must be 16 bytes"))?;
    Ok(ServiceId::new(identity_kind(identifier.identity_type)?, uuid))
}

/// The access key a request shows.
pub(crate) fn access_key(bytes: &[u8]) -> Result<UnidentifiedCredential, Status> {
    AccessKey::try_from(bytes)
        .map(UnidentifiedCredential::AccessKey)
        .map_err(|_| error::constraint_violated("unidentified_access_key", "must be 16 bytes"))
}

/// The group send token a request shows; `None` if it is none.
pub(crate) fn group_send_token(bytes: &[u8]) -> Option<UnidentifiedCredential> {
    GroupSendToken::try_from(bytes).map(UnidentifiedCredential::GroupSendToken).ok()
}

/// A service id as a response names it.
pub(crate) fn service_identifier(id: ServiceId) -> ServiceIdentifier {
    let (identity_type, uuid) = match id {
        ServiceId::Aci(Aci(uuid)) => (IdentityType::Aci, uuid),
        ServiceId::Pni(Pni(uuid)) => (IdentityType::Pni, uuid),
    };
    ServiceIdentifier { identity_type: identity_type.into(), uuid: Bytes::copy_from_slice(uuid.as_bytes()) }
}
