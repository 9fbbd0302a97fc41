//! A passkey that was used (section 7.2).

use aws_lc_rs::digest::{SHA256, digest};
use protocol::base64;
use serde::Deserialize;

use super::{
    AuthenticatorData, CeremonyType, Challenge, ClientData, Credential, CredentialId, Expected, Rejected,
};

/// What an authenticator answers when a passkey is used: `AuthenticationResponseJSON` (section 5.1).
#[derive(Debug, Deserialize)]
#[serde(try_from = "Json")]
pub struct AssertionResponse {
    /// Which passkey it is.
    pub credential: CredentialId,
    /// Whose passkey the authenticator takes it for.
    pub user_handle: Option<Vec<u8>>,
    client_data: Vec<u8>,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    id: Option<String>,
    raw_id: Option<String>,
    #[serde(rename = "type")]
    kind: String,
    response: JsonResponse,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResponse {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    authenticator_data: String,
    signature: String,
    user_handle: Option<String>,
}

impl TryFrom<Json> for AssertionResponse {
    type Error = Rejected;

    fn try_from(json: Json) -> Result<Self, Rejected> {
        if json.kind != "public-key" {
            return Err(Rejected::Malformed);
        }
        let bytes = |text: &str| base64::decode_url_lenient(text).ok_or(Rejected::Malformed);
        // Both say the same.
        let id = json.raw_id.or(json.id).ok_or(Rejected::Malformed)?;
        Ok(Self {
            credential: bytes(&id)?.try_into()?,
            user_handle: json.response.user_handle.as_deref().map(bytes).transpose()?,
            client_data: bytes(&json.response.client_data)?,
            authenticator_data: bytes(&json.response.authenticator_data)?,
            signature: bytes(&json.response.signature)?,
        })
    }
}

impl AssertionResponse {
    /// Reads the JSON.
    pub fn from_json(json: &str) -> Result<Self, Rejected> {
        serde_json::from_str(json).map_err(|_| Rejected::Malformed)
    }

    /// The challenge that it says it signs, by which it is found what was asked.
    pub fn challenge(&self) -> Result<Challenge, Rejected> {
        ClientData::read(&self.client_data)?.challenge()
    }

    /// The passkey's counter, if everything is as expected.
    pub fn verify(&self, credential: &Credential, expected: Expected<'_>) -> Result<u32, Rejected> {
        if self.credential != credential.id {
            return Err(Rejected::WrongCredential);
        }
        expected.check_client_data(&ClientData::read(&self.client_data)?, CeremonyType::Get)?;
        let data = AuthenticatorData::read(&self.authenticator_data)?;
        expected.check_authenticator(&data)?;
        let client_data_hash = digest(&SHA256, &self.client_data);
        let signed = [&self.authenticator_data[..], client_data_hash.as_ref()].concat();
        credential.public_key.verify(&signed, &self.signature)?;
        Ok(data.counter)
    }
}
