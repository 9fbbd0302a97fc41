//! Whether a change of number has thought of every device.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{DeviceId, RegistrationId};

use super::{ChangeNumberError, ChangeNumberRequest, DeviceSetMismatch, request::NewPniPart};
use crate::{account::Account, linking::store::SignedKeys};

/// What each device of an account has under its PNI.
pub(super) type PniParts = BTreeMap<DeviceId, (RegistrationId, SignedKeys)>;

/// The new parts of exactly the devices there are, if also exactly the others are told of them.
pub(super) fn check(
    account: &Account,
    caller: DeviceId,
    request: &ChangeNumberRequest,
) -> Result<PniParts, ChangeNumberError> {
    let stale = stale(account, request);
    if !stale.is_empty() {
        return Err(ChangeNumberError::StaleDevices(stale));
    }
    let all: BTreeSet<u8> = account.devices.iter().map(|device| device.id.get()).collect();
    let others: BTreeSet<u8> = all.iter().copied().filter(|id| *id != caller.get()).collect();
    let told: BTreeSet<u8> = request.messages.iter().map(|message| message.device_id).collect();
    let named: BTreeSet<u8> = request.devices.keys().copied().collect();
    let whole = |part: &NewPniPart| part.clone().whole().is_some();
    let renewed: BTreeSet<u8> =
        request.devices.iter().filter(|(_, part)| whole(part)).map(|(id, _)| *id).collect();
    let mismatch = DeviceSetMismatch {
        missing: others.difference(&told).chain(all.difference(&renewed)).copied().collect(),
        extra: told.difference(&others).chain(named.difference(&all)).copied().collect(),
    };
    if !mismatch.missing.is_empty() || !mismatch.extra.is_empty() {
        return Err(ChangeNumberError::MismatchedDevices(mismatch));
    }
    let part = |(id, part): (&u8, &NewPniPart)| {
        Some((DeviceId::try_from(u32::from(*id)).ok()?, part.clone().whole()?))
    };
    Ok(request.devices.iter().filter_map(part).collect())
}

/// The devices that have been reinstalled since the client learned of them.
fn stale(account: &Account, request: &ChangeNumberRequest) -> BTreeSet<u8> {
    let is_stale = |device: &&crate::Device| {
        let told = request.messages.iter().find(|message| message.device_id == device.id.get());
        told.is_some_and(|message| message.registration_id != u32::from(device.registration_id.get()))
    };
    account.devices.iter().filter(is_stale).map(|device| device.id.get()).collect()
}
