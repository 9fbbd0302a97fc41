//! Multi-recipient messages: one body, accepted for all recipients or for none.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use protocol::{
    AccessKey, DeviceId, ServiceId,
    access::CombinedAccess,
    ambient::StorageError,
    envelope::{EnvelopeType, MAX_CONTENT_LEN},
    group_send::GroupSendToken,
    multi_recipient::{MultiRecipient, MultiRecipientMessage},
};

use super::{DeviceMismatch, Entering, MessageService, SendOptions, Stamp};
use crate::{
    queue::QueueError,
    queued::{QueuedEnvelope, SharedBody},
    recipients::Roster,
    store::Volume,
};

/// Recipients after which other tasks get a turn: what is done for one takes microseconds, and a message
/// may have thousands.
const TURN: usize = 256;

/// On what ground a multi-recipient message is sent.
#[derive(Clone, Debug)]
pub enum MultiRecipientCredential {
    /// The access keys of all recipients, combined.
    CombinedAccessKey(AccessKey),
    /// Proof of sharing a group with all recipients.
    GroupSendToken(GroupSendToken),
    /// None: it is part of a story.
    Story,
}

/// Why a multi-recipient message was not accepted; no copy of it is promised to anybody.
#[derive(Debug, thiserror::Error)]
pub enum SendManyError {
    /// No recipient has a device, or a device is addressed twice.
    #[error("the message addresses nobody, or a device twice")]
    Invalid,
    /// What the sender shows does not entitle it to send to these recipients.
    #[error("the sender may not send to these recipients")]
    Unauthorized,
    /// A recipient whose access key the combined one should hold does not exist.
    #[error("there is no such recipient")]
    RecipientNotFound,
    /// The devices addressed are not the devices there are: for each recipient where they differ.
    #[error("the devices addressed are not the recipients' devices")]
    MismatchedDevices(Vec<(ServiceId, DeviceMismatch)>),
    /// What a device would get exceeds [`MAX_CONTENT_LEN`].
    #[error("the message is too large")]
    TooLarge,
    /// Too many messages; try again after this time.
    #[error("too many messages")]
    RateLimited(Duration),
    /// A queue did not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl From<StorageError> for SendManyError {
    fn from(error: StorageError) -> Self {
        Self::Queue(error.into())
    }
}

/// A recipient and the account behind it.
struct Addressee<'a> {
    recipient: &'a MultiRecipient,
    roster: Arc<Roster>,
}

impl MessageService {
    /// Sends a multi-recipient message. Answers which recipients do not exist; for stories nobody is to know.
    pub async fn send_to_many(
        &self,
        credential: &MultiRecipientCredential,
        message: &MultiRecipientMessage,
        options: &SendOptions,
    ) -> Result<Vec<ServiceId>, SendManyError> {
        let recipients = message.recipients();
        if recipients.is_empty() || recipients.iter().any(MultiRecipient::repeats_a_device) {
            return Err(SendManyError::Invalid);
        }
        if let MultiRecipientCredential::GroupSendToken(token) = credential {
            let ids: Vec<_> = recipients.iter().map(|recipient| recipient.service_id).collect();
            if !self.0.group_send_tokens.admits(token, &ids) {
                return Err(SendManyError::Unauthorized);
            }
        }
        let (addressees, unresolved) = self.resolve(recipients).await?;
        self.authorise(credential, &addressees, &unresolved)?;
        let story = matches!(credential, MultiRecipientCredential::Story);
        if message.content_len() > MAX_CONTENT_LEN && !addressees.is_empty() {
            return Err(SendManyError::TooLarge);
        }
        let mismatches = compare(&addressees);
        if !mismatches.is_empty() {
            return Err(SendManyError::MismatchedDevices(mismatches));
        }
        let stamp = self.stamp(None, options, story);
        self.deliver_to_many(&stamp, &addressees, message, options.ephemeral).await?;
        Ok(if story { Vec::new() } else { unresolved })
    }

    async fn resolve<'a>(
        &self,
        recipients: &'a [MultiRecipient],
    ) -> Result<(Vec<Addressee<'a>>, Vec<ServiceId>), StorageError> {
        let mut addressees = Vec::with_capacity(recipients.len());
        let mut unresolved = Vec::new();
        for (index, recipient) in recipients.iter().enumerate() {
            match self.0.recipients.roster(recipient.service_id).await? {
                Some(roster) => addressees.push(Addressee { recipient, roster }),
                None => unresolved.push(recipient.service_id),
            }
            take_turns(index).await;
        }
        Ok((addressees, unresolved))
    }

    fn authorise(
        &self,
        credential: &MultiRecipientCredential,
        addressees: &[Addressee<'_>],
        unresolved: &[ServiceId],
    ) -> Result<(), SendManyError> {
        match credential {
            // Judged before anybody was looked up.
            MultiRecipientCredential::GroupSendToken(_) => Ok(()),
            MultiRecipientCredential::Story => addressees
                .iter()
                .try_for_each(|addressee| self.0.limits.story(addressee.roster.aci))
                .map_err(SendManyError::RateLimited),
            MultiRecipientCredential::CombinedAccessKey(key) => {
                if !unresolved.is_empty() {
                    return Err(SendManyError::RecipientNotFound);
                }
                let mut combined = CombinedAccess::none();
                let all_by_aci = addressees.iter().all(|Addressee { recipient, roster }| {
                    matches!(recipient.service_id, ServiceId::Aci(_))
                        && combined.add(&roster.unidentified_access)
                });
                if all_by_aci && combined.is(key) { Ok(()) } else { Err(SendManyError::Unauthorized) }
            }
        }
    }

    async fn deliver_to_many(
        &self,
        stamp: &Stamp,
        addressees: &[Addressee<'_>],
        message: &MultiRecipientMessage,
        ephemeral: bool,
    ) -> Result<(), QueueError> {
        if !ephemeral {
            for Addressee { recipient, roster } in addressees {
                let copies = recipient.devices.len();
                let volume = Volume::of(copies, copies * message.content_len());
                self.0.queue.admit(roster.aci, volume).await?;
            }
        }
        let body = self.0.queue.share(message.shared().clone())?;
        let mut entering = Entering::new(&self.0.queue, ephemeral, stamp);
        for (index, Addressee { recipient, roster }) in addressees.iter().enumerate() {
            for device in &recipient.devices {
                let Ok(device_id) = DeviceId::try_from(u32::from(device.device_id)) else { continue };
                let envelope = self.envelope_around(stamp, recipient, &body);
                entering.enter(roster.address(device_id), envelope)?;
            }
            take_turns(index).await;
        }
        entering.settled().await
    }

    /// The envelope for a device of that recipient. Its content ends in the shared body and stands last.
    fn envelope_around(
        &self,
        stamp: &Stamp,
        recipient: &MultiRecipient,
        body: &SharedBody,
    ) -> QueuedEnvelope {
        let guid = self.0.entropy.uuid();
        let envelope = stamp.envelope(guid, recipient.service_id, EnvelopeType::UnidentifiedSender);
        let head = envelope.encode_with_open_content(&recipient.head(), body.bytes.len());
        QueuedEnvelope { head: Bytes::from(head), shared: Some(body.clone()) }
    }
}

fn compare(addressees: &[Addressee<'_>]) -> Vec<(ServiceId, DeviceMismatch)> {
    addressees
        .iter()
        .map(|Addressee { recipient, roster }| {
            let addressed =
                recipient.devices.iter().map(|device| (device.device_id, device.registration_id.into()));
            let mismatch = DeviceMismatch::between(roster, recipient.service_id, None, addressed);
            (recipient.service_id, mismatch)
        })
        .filter(|(_, mismatch)| !mismatch.is_empty())
        .collect()
}

async fn take_turns(index: usize) {
    if index % TURN == TURN - 1 {
        tokio::task::yield_now().await;
    }
}
