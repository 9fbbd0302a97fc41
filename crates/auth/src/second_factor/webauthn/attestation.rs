//! A passkey that was made (section 7.1).

use protocol::base64;
use serde::Deserialize;

use super::{
    AuthenticatorData, CeremonyType, Challenge, ClientData, Credential, Expected, Rejected,
    cbor::{self, Value},
};

/// What an authenticator answers when it has made a passkey: `RegistrationResponseJSON` (section 5.1). What browsers
/// say besides, such as the parts of the attestation object one by one, is passed over.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Json")]
pub struct RegistrationResponse {
    client_data: Vec<u8>,
    attestation_object: Vec<u8>,
}

impl RegistrationResponse {
    /// What counts of it. The passkey's id is in the attestation object.
    pub fn attestation(&self) -> AttestationResponse<'_> {
        AttestationResponse { client_data: &self.client_data, attestation_object: &self.attestation_object }
    }
}

#[derive(Deserialize)]
struct Json {
    #[serde(rename = "type")]
    kind: String,
    response: JsonResponse,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonResponse {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    attestation_object: String,
}

impl TryFrom<Json> for RegistrationResponse {
    type Error = Rejected;

    fn try_from(Json { kind, response }: Json) -> Result<Self, Rejected> {
        if kind != "public-key" {
            return Err(Rejected::Malformed);
        }
        let bytes = |text: &str| base64::decode_url_lenient(text).ok_or(Rejected::Malformed);
        Ok(Self {
            client_data: bytes(&response.client_data)?,
            attestation_object: bytes(&response.attestation_object)?,
        })
    }
}

/// What an authenticator answers when it has made a passkey.
#[derive(Clone, Copy, Debug)]
pub struct AttestationResponse<'a> {
    /// What the client said of itself: JSON, as it was hashed.
    pub client_data: &'a [u8],
    /// The attestation object.
    pub attestation_object: &'a [u8],
}

impl AttestationResponse<'_> {
    /// The challenge that it says it was made for, by which it is found what was asked.
    pub fn challenge(&self) -> Result<Challenge, Rejected> {
        ClientData::read(self.client_data)?.challenge()
    }

    /// The passkey and its first counter, if everything is as expected.
    pub fn verify(&self, expected: Expected<'_>) -> Result<(Credential, u32), Rejected> {
        expected.check_client_data(&ClientData::read(self.client_data)?, CeremonyType::Create)?;
        let data = AuthenticatorData::read(self.authenticator_data()?)?;
        expected.check_authenticator(&data)?;
        let (id, public_key) = data.credential.ok_or(Rejected::Malformed)?;
        Ok((Credential { id, public_key, user_verified: data.user_verified }, data.counter))
    }

    fn authenticator_data(&self) -> Result<&[u8], Rejected> {
        let (Value::Map(object), []) =
            cbor::read(self.attestation_object).map_err(|_| Rejected::Malformed)?
        else {
            return Err(Rejected::Malformed);
        };
        // The statement has to be there. With the format "none" it says nothing, and then it must be empty.
        let format = object.get(&Value::Text("fmt"));
        match (format, object.get(&Value::Text("attStmt"))) {
            (Some(Value::Text("none")), Some(Value::Map(statement))) if !statement.is_empty() => {
                return Err(Rejected::Malformed);
            }
            (Some(Value::Text(_)), Some(Value::Map(_))) => {}
            _ => return Err(Rejected::Malformed),
        }
        object.bytes(&Value::Text("authData")).ok_or(Rejected::Malformed)
    }
}
