//! How a new device is going to hear of its messages.

use serde::Deserialize;

use crate::{
    device::{PushService, PushToken},
    registration::InvalidRequest,
};

/// A push token as the JSON of a new device has it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tokens {
    apn_registration_id: Option<String>,
    gcm_registration_id: Option<String>,
}

/// A device either fetches messages by itself or is reached by one push token.
pub(crate) fn one_channel(
    fetches: bool,
    tokens: impl IntoIterator<Item = Option<Tokens>>,
) -> Result<Option<PushToken>, InvalidRequest> {
    let mut tokens = tokens.into_iter().flatten().flat_map(|tokens| {
        let apns = tokens.apn_registration_id.map(|token| (PushService::Apns, token));
        apns.into_iter().chain(tokens.gcm_registration_id.map(|token| (PushService::Fcm, token)))
    });
    match (fetches, tokens.next(), tokens.next()) {
        (true, None, None) => Ok(None),
        (false, Some((service, token)), None) => PushToken::new(service, token)
            .map(Some)
            .ok_or(InvalidRequest("the push token is empty or too long")),
        _ => Err(InvalidRequest("exactly one way for messages")),
    }
}
