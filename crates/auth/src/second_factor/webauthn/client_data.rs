//! What a browser or app says of itself (section 5.8.1).

use protocol::base64;
use serde::Deserialize;

use super::{Challenge, Rejected};

/// Most bytes that are looked at. Browsers write a few hundred.
const LEN_MAX: usize = 16 * 1024;

/// What the authenticator was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CeremonyType {
    /// To make a passkey.
    Create,
    /// To use one.
    Get,
}

/// The client's data, read.
#[derive(Debug)]
pub(super) struct ClientData {
    pub(super) ceremony: CeremonyType,
    pub(super) challenge: Vec<u8>,
    pub(super) origin: String,
    /// The page was inside one of another site.
    pub(super) cross_origin: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    #[serde(rename = "type")]
    ceremony: String,
    challenge: String,
    origin: String,
    cross_origin: Option<bool>,
}

impl ClientData {
    /// The challenge, if it can be one of this server's.
    pub(super) fn challenge(&self) -> Result<Challenge, Rejected> {
        self.challenge[..].try_into().map_err(|_| Rejected::WrongChallenge)
    }

    /// Reads the JSON. What clients may add to it in future is passed over.
    pub(super) fn read(json: &[u8]) -> Result<Self, Rejected> {
        if json.len() > LEN_MAX {
            return Err(Rejected::Malformed);
        }
        let json: Json = serde_json::from_slice(json).map_err(|_| Rejected::Malformed)?;
        let ceremony = match json.ceremony.as_str() {
            "webauthn.create" => CeremonyType::Create,
            "webauthn.get" => CeremonyType::Get,
            _ => return Err(Rejected::WrongCeremony),
        };
        Ok(Self {
            ceremony,
            challenge: base64::decode_url_lenient(&json.challenge).ok_or(Rejected::Malformed)?,
            origin: json.origin,
            cross_origin: json.cross_origin.unwrap_or(false),
        })
    }
}
