//! Passkeys in the JSON forms that browsers read and write (Web Authentication Level 3, section 5.1).

use auth::{
    native::factors::PasskeySetup,
    second_factor::{
        CHALLENGE_LIFE, PasskeyOffer,
        webauthn::{Algorithm, CredentialId},
    },
};
use protocol::base64;
use serde::Serialize;
use utoipa::ToSchema;

/// The only type of credential there is.
const PUBLIC_KEY: &str = "public-key";

/// What to hand to `PublicKeyCredential.parseRequestOptionsFromJSON()`: by which passkey somebody may show who they are.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PublicKeyCredentialRequestOptionsJSON)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestOptions {
    challenge: String,
    /// Milliseconds for which the challenge is good.
    timeout: u64,
    rp_id: String,
    /// Empty if any passkey of the domain will do.
    allow_credentials: Vec<Descriptor>,
    /// `required` where the passkey stands alone, else `preferred`.
    #[schema(example = "required")]
    user_verification: &'static str,
}

/// What to hand to `PublicKeyCredential.parseCreationOptionsFromJSON()`: what passkey is to be made.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PublicKeyCredentialCreationOptionsJSON)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreationOptions {
    rp: RelyingParty,
    user: User,
    challenge: String,
    pub_key_cred_params: [Parameters; 3],
    /// Milliseconds for which the challenge is good.
    timeout: u64,
    /// Passkeys that the account has. An authenticator with one of them makes no other.
    exclude_credentials: Vec<Descriptor>,
    authenticator_selection: Selection,
    /// What the authenticator is made of is not asked.
    #[schema(example = "none")]
    attestation: &'static str,
}

/// The server, as authenticators know it.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RelyingParty {
    id: String,
    name: String,
}

/// The account, as authenticators know it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct User {
    id: String,
    name: String,
    display_name: String,
}

/// A kind of key that will do, by its number for COSE.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Parameters {
    r#type: &'static str,
    alg: i64,
}

/// A passkey.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Descriptor {
    r#type: &'static str,
    id: String,
}

/// What kind of authenticator is wished for.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Selection {
    /// A passkey that its authenticator finds by itself can stand in for the name as well.
    resident_key: &'static str,
    user_verification: &'static str,
}

impl From<PasskeyOffer> for RequestOptions {
    fn from(offer: PasskeyOffer) -> Self {
        Self {
            challenge: base64::encode_url(offer.challenge),
            timeout: timeout(),
            rp_id: offer.relying_party,
            allow_credentials: descriptors(&offer.credentials),
            user_verification: if offer.user_verification { "required" } else { "preferred" },
        }
    }
}

impl From<PasskeySetup> for CreationOptions {
    fn from(PasskeySetup { username, challenge, options }: PasskeySetup) -> Self {
        let name = username.as_str().to_owned();
        Self {
            rp: RelyingParty { name: options.relying_party.clone(), id: options.relying_party },
            user: User { id: base64::encode_url(options.user_handle), display_name: name.clone(), name },
            challenge: base64::encode_url(challenge),
            pub_key_cred_params: options
                .algorithms
                .map(Algorithm::cose_id)
                .map(|alg| Parameters { r#type: PUBLIC_KEY, alg }),
            timeout: timeout(),
            exclude_credentials: descriptors(&options.exclude),
            authenticator_selection: Selection { resident_key: "preferred", user_verification: "preferred" },
            attestation: "none",
        }
    }
}

fn descriptors(credentials: &[CredentialId]) -> Vec<Descriptor> {
    let descriptor =
        |id: &CredentialId| Descriptor { r#type: PUBLIC_KEY, id: base64::encode_url(id.as_bytes()) };
    credentials.iter().map(descriptor).collect()
}

fn timeout() -> u64 {
    u64::try_from(CHALLENGE_LIFE.as_millis()).unwrap_or(u64::MAX)
}
