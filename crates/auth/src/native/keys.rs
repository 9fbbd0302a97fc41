//! Publishing the first keys of a device, and with them the account's identity key.

use protocol::RegistrationId;

use super::{
    Bearer, NativeService,
    error::PublishError,
    store::{Publication, PublishOutcome},
};
use crate::{
    audit::{Action, Detail},
    store::IdentityKeys,
};

impl NativeService {
    /// Publishes the account's identity key and the keys of the calling device under it: from then on sessions of
    /// Signal's protocol can be started with that device. With `replace`, the primary device may bring another identity
    /// key than the account has, as after a reinstallation; all keys under the former one go.
    pub async fn publish_identity(
        &self,
        bearer: &Bearer,
        keys: IdentityKeys,
        registration_id: Option<RegistrationId>,
        replace: bool,
    ) -> Result<(), PublishError> {
        if replace && !bearer.device.device_id.is_primary() {
            return Err(PublishError::NotPrimary);
        }
        if !keys.are_signed() {
            return Err(PublishError::WrongSignature);
        }
        self.0.audit.ready()?;
        let publication = Publication { device: bearer.device.address(), keys, registration_id, replace };
        match self.0.store.publish_identity(publication).await? {
            PublishOutcome::Published => {
                let event = Action::ChangeKeys.by(bearer.device.address()).detail(Detail::IdentityKey);
                self.0.audit.record(event).await;
                Ok(())
            }
            PublishOutcome::OtherIdentity => Err(PublishError::OtherIdentity),
            PublishOutcome::NoSuchDevice => Err(PublishError::Gone),
        }
    }
}
