//! The native API: JSON for people who build apps of their own. One file per resource.
//!
//! It stands beside Signal's API and calls the same services: an account made here can be written to by official clients,
//! and the other way round. Paths are those that the design draws. Refusals are [`problem`] details; the description of
//! it all follows from the handlers ([`docs`]).

mod account;
mod device_fields;
mod devices;
mod docs;
mod email;
pub(crate) mod envelope;
pub(crate) mod extract;
mod factor_proof;
mod jwks;
mod keys;
mod linking;
mod login;
pub(crate) mod messages;
mod passkey_login;
pub(crate) mod problem;
mod push;
mod reauthentication;
mod register;
pub(crate) mod reset;
mod second_factors;
mod second_step;
mod sessions;
mod tokens;
mod webauthn;

pub use docs::openapi_json;

use crate::routes::Routes;

/// Largest body that holds no payloads: a full upload of keys, most of it Kyber keys in base64.
const BODY_MAX: usize = 512 * 1024;

/// Largest body of a send: a copy of the largest payload for a handful of devices, in base64.
const SEND_BODY_MAX: usize = 1024 * 1024;

/// Largest body that holds names, passwords and tokens.
const SMALL_BODY_MAX: usize = 32 * 1024;

/// Every route of the native API.
pub(crate) fn routes() -> Routes {
    let small = Routes::default()
        .post("/login", login::login)
        .post("/login/second-factor", second_step::finish)
        .post("/login/passkey/options", passkey_login::options)
        .post("/login/passkey", passkey_login::login)
        .post("/reauthenticate", reauthentication::reauthenticate)
        .get("/second-factors", second_factors::list)
        .put("/second-factors/{factor_id}", second_factors::rename)
        .delete("/second-factors/{factor_id}", second_factors::remove)
        .post("/second-factors/totp", second_factors::totp::start)
        .post("/second-factors/totp/confirm", second_factors::totp::confirm)
        .post("/second-factors/passkeys/options", second_factors::passkeys::options)
        .post("/second-factors/passkeys", second_factors::passkeys::add)
        .post("/second-factors/recovery-codes", second_factors::recovery_codes::make)
        .post("/token/refresh", login::refresh)
        .post("/logout", login::logout)
        .get("/sessions", sessions::list)
        .delete("/sessions", sessions::end_others)
        .delete("/sessions/{session_id}", sessions::end)
        .put("/password", account::change_password)
        .post("/password/reset", reset::request)
        .post("/password/reset/confirm", reset::confirm)
        .get("/email", email::show)
        .put("/email", email::set)
        .delete("/email", email::remove)
        .post("/email/confirm", email::confirm)
        .post("/register/email", email::prove)
        .delete("/account", account::delete)
        .get("/profiles/{user_id}", account::profile)
        .get("/devices", devices::list)
        .patch("/devices/{device_id}", devices::rename)
        .delete("/devices/{device_id}", devices::remove)
        .post("/devices/link-code", linking::offer)
        .get("/devices/link-code", linking::progress)
        .delete("/devices/link-code", linking::withdraw)
        .get("/push", push::offer)
        .put("/push", push::register)
        .delete("/push", push::unregister)
        .get("/messages", messages::fetch)
        .post("/messages/acknowledge", messages::acknowledge)
        .delete("/messages/{message_id}", messages::acknowledge_one)
        .get("/.well-known/jwks.json", jwks::show)
        .get("/openapi.json", docs::openapi)
        .get("/docs", docs::page)
        .get("/docs/style.css", docs::style);
    let keys = Routes::default()
        .post("/register", register::register)
        .post("/link", linking::link)
        .put("/keys", keys::publish)
        .get("/keys", keys::counts)
        .get("/keys/{user_id}", keys::fetch);
    let sending = Routes::default().post("/messages", messages::send);
    small.body_max(SMALL_BODY_MAX).merge(keys.body_max(BODY_MAX)).merge(sending.body_max(SEND_BODY_MAX))
}
