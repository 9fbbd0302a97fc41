//! Walks every route of the server, REST and gRPC, as callers that may not call it and as one that may.
//!
//! A route that has no case below fails the test, and so does one that lets others in than its case says.

use gateway::{Access, Interface, Route};
use http::Method;
use serde_json::{Value, json};
use testkit::{
    Account, Answer, Call, ChatSocket, HttpVersion, Https, NativeAccount, Server, ServerOptions,
    account::{basic, from_base64},
    native::{REAUTHENTICATION, code},
    register_many,
};

/// Who may call a route, and what one who may is answered.
struct Case {
    method: Method,
    path: &'static str,
    access: Access,
    body: &'static str,
    /// A status, or for gRPC the reason of the error.
    permitted: &'static str,
    /// What callers without credentials get where the answer depends on what else they bring.
    without: Option<&'static str>,
}

/// The status of a success without a body.
const DONE: &str = "204";
/// The code that closes a socket whose credentials are no longer valid.
const REAUTHENTICATE: u16 = 4401;
/// The reason of a gRPC call that succeeded.
const OK: &str = "";
/// The answer of a method to an empty message that passed every check of the caller.
const EMPTY: &str = "CONSTRAINT_VIOLATED";

const LOCK: &str =
    r#"{"registrationLock":"45b43bb819964ad8ba1c7bcb42a3175eeaf7dd8d2f95728f811517c20dfe72e0"}"#;
const ATTRIBUTES: &str =
    r#"{"fetchesMessages":true,"registrationId":1,"unrestrictedUnidentifiedAccess":true}"#;
const DIGEST: &str = r#"{"identityType":"aci","digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#;
const TOKENS: &str = r#"{"number":"+15550100001","tokens":["user:password"]}"#;
const ARCHIVE: &str = r#"{"destinationDeviceId":2,"destinationDeviceRegistrationId":1,"transferArchive":{"error":"RELINK_REQUESTED"}}"#;
const CHOICE: &str = r#"{"method":"DECLINE","deviceTransferBootstrap":null}"#;
const CAPTCHA: &str = r#"{"type":"captcha","token":"token","captcha":"captcha"}"#;
/// To a device that does not exist, so that it is answered without anything happening.
const MESSAGE: &str = r#"{"timestamp":1,"messages":[{"type":1,"destinationDeviceId":2,"destinationRegistrationId":1,"content":"AA=="}]}"#;

const NEW_PASSWORD: &str = r#"{"password":"not the present one","new_password":"another fine sentence"}"#;
const EMAIL: &str = r#"{"email":"ann@example.org","password":"a sentence is fine"}"#;
/// To an account that does not exist.
const NATIVE_MESSAGE: &str =
    r#"{"timestamp":1,"recipient_id":"00000000-0000-4000-8000-000000000000","encrypted_payload":"AA=="}"#;

/// Which account a route is about does not depend on the caller anywhere but where the path names one, and
/// those routes are for everybody: sending to an account, fetching its pre-keys, asking whether it exists.
#[expect(clippy::too_many_lines, reason = "a line a route")]
fn cases() -> Vec<Case> {
    use Access::{Anonymous, Anybody, Bearer, Device, MaybeDevice, Newcomer, Reauthenticated};
    let rest = |access, method: Method, path, body, permitted| Case {
        method,
        path,
        access,
        body,
        permitted,
        without: None,
    };
    let grpc = |access, path, permitted| rest(access, Method::POST, path, "", permitted);
    let (get, put, post, patch, delete) =
        (Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE);
    vec![
        rest(Device, get.clone(), "/v1/accounts/whoami", "", "200"),
        rest(Device, put.clone(), "/v1/accounts/attributes", ATTRIBUTES, DONE),
        rest(Device, get.clone(), "/v1/devices", "", "200"),
        // A device that the account does not have, and that is as good as removed.
        rest(Device, delete.clone(), "/v1/devices/{device}", "", DONE),
        rest(Device, get.clone(), "/v1/devices/provisioning/code", "", "200"),
        rest(Newcomer, put.clone(), "/v1/devices/link", "{}", "422"),
        // Identifiers of codes are 32 bytes.
        rest(Device, get.clone(), "/v1/devices/wait_for_linked_device/{code}", "", "400"),
        rest(Device, put.clone(), "/v1/devices/transfer_archive", ARCHIVE, DONE),
        // A wait of no time is refused.
        rest(Device, get.clone(), "/v1/devices/transfer_archive", "", "400"),
        rest(Anybody, put.clone(), "/v1/devices/restore_account/{token}", CHOICE, DONE),
        rest(Anybody, get.clone(), "/v1/devices/restore_account/{token}", "", "200"),
        rest(Device, put.clone(), "/v1/provisioning/{address}", r#"{"body":"AA=="}"#, "404"),
        rest(Device, put.clone(), "/v1/devices/capabilities", r#"{"spqr":true}"#, DONE),
        rest(Device, put.clone(), "/v1/accounts/registration_lock", LOCK, DONE),
        rest(Device, delete.clone(), "/v1/accounts/registration_lock", "", DONE),
        rest(Device, put.clone(), "/v1/accounts/gcm", r#"{"gcmRegistrationId":"token"}"#, DONE),
        rest(Device, delete.clone(), "/v1/accounts/gcm", "", DONE),
        rest(Device, put.clone(), "/v1/accounts/apn", r#"{"apnRegistrationId":"token"}"#, DONE),
        rest(Device, delete.clone(), "/v1/accounts/apn", "", DONE),
        rest(Device, put.clone(), "/v1/accounts/name", r#"{"deviceName":"bmFtZQ=="}"#, DONE),
        rest(Device, delete.clone(), "/v1/accounts/me", "", DONE),
        rest(Anonymous, Method::HEAD, "/v1/accounts/account/{service_id}", "", "200"),
        rest(
            Device,
            put.clone(),
            "/v2/accounts/phone_number_discoverability",
            r#"{"discoverableByPhoneNumber":false}"#,
            DONE,
        ),
        rest(Device, get.clone(), "/v2/accounts/data_report", "", "200"),
        rest(Device, put.clone(), "/v2/accounts/number", "{}", "422"),
        rest(Anybody, post.clone(), "/v2/backup/auth/check", TOKENS, "200"),
        rest(Anybody, post.clone(), "/v2/svr/auth/check", TOKENS, "200"),
        rest(Device, get.clone(), "/v1/certificate/delivery", "", "200"),
        // Challenges are switched off: there is nothing to push, and nothing that an answer would not do.
        rest(Device, post.clone(), "/v1/challenge/push", "", "404"),
        rest(Device, put.clone(), "/v1/challenge", CAPTCHA, "200"),
        rest(Device, get.clone(), "/v2/config", "", "200"),
        rest(Anybody, get.clone(), "/invite", "", "200"),
        rest(Anybody, get.clone(), "/v1/keepalive", "", "200"),
        rest(Anybody, get.clone(), "/v1/keepalive/provisioning", "", "200"),
        rest(Device, put.clone(), "/v2/keys", "{}", DONE),
        rest(Device, get.clone(), "/v2/keys", "", "200"),
        rest(Device, post.clone(), "/v2/keys/check", DIGEST, "409"),
        // Without credentials it takes the account's access key.
        Case {
            without: Some("401"),
            ..rest(MaybeDevice, get.clone(), "/v2/keys/{target}/{devices}", "", "200")
        },
        Case {
            // Without credentials an access key or a token must come with it.
            without: Some("401"),
            ..rest(MaybeDevice, put.clone(), "/v1/messages/{destination}", MESSAGE, "409")
        },
        // What a caller shows for a multi-recipient message is not credentials of a device.
        rest(Anybody, put.clone(), "/v1/messages/multi_recipient", "", "415"),
        rest(Device, post.clone(), "/v1/messages/report/{source}/{guid}", "", "202"),
        rest(Newcomer, post.clone(), "/v1/registration", "{}", "422"),
        rest(Anybody, post.clone(), "/v1/verification/session", r#"{"number":"+15550109999"}"#, "200"),
        rest(Anybody, post.clone(), "/register", "{}", "422"),
        rest(Anybody, post.clone(), "/login", "{}", "422"),
        rest(Anybody, post.clone(), "/login/second-factor", "{}", "422"),
        rest(Anybody, post.clone(), "/login/passkey/options", "", "200"),
        rest(Anybody, post.clone(), "/login/passkey", "{}", "422"),
        rest(Anybody, post.clone(), "/token/refresh", "{}", "422"),
        rest(Anybody, get.clone(), "/.well-known/jwks.json", "", "200"),
        rest(Anybody, get.clone(), "/openapi.json", "", "200"),
        rest(Anybody, get.clone(), "/docs", "", "200"),
        rest(Anybody, get.clone(), "/docs/style.css", "", "200"),
        rest(Anybody, post.clone(), "/register/email", "{}", "422"),
        rest(Anybody, post.clone(), "/password/reset", "{}", "422"),
        rest(Anybody, post.clone(), "/password/reset/confirm", "{}", "422"),
        rest(Anybody, get.clone(), "/password/reset", "", "200"),
        // It takes what a browser's form sends.
        rest(Anybody, post.clone(), "/password/reset/form", "{}", "415"),
        rest(Bearer, get.clone(), "/email", "", "200"),
        rest(Bearer, put.clone(), "/email", EMAIL, "202"),
        rest(Bearer, delete.clone(), "/email", EMAIL, DONE),
        rest(Bearer, post.clone(), "/email/confirm", r#"{"code":"0000"}"#, "403"),
        rest(Bearer, get.clone(), "/sessions", "", "200"),
        rest(Bearer, delete.clone(), "/sessions", "", DONE),
        rest(Bearer, delete.clone(), "/sessions/{session_id}", "", "404"),
        rest(Bearer, put.clone(), "/password", NEW_PASSWORD, "403"),
        rest(Bearer, post.clone(), "/reauthenticate", r#"{"password":"not the present one"}"#, "403"),
        rest(Bearer, get.clone(), "/second-factors", "", "200"),
        rest(Bearer, put.clone(), "/second-factors/{factor_id}", r#"{"name":"x"}"#, "404"),
        rest(Reauthenticated, delete.clone(), "/second-factors/{factor_id}", "", "404"),
        rest(Reauthenticated, post.clone(), "/second-factors/totp", "", "200"),
        rest(Bearer, post.clone(), "/second-factors/totp/confirm", "{}", "422"),
        rest(Reauthenticated, post.clone(), "/second-factors/passkeys/options", "", "200"),
        rest(Bearer, post.clone(), "/second-factors/passkeys", "{}", "422"),
        // The account has no factor that they could stand in for.
        rest(Reauthenticated, post.clone(), "/second-factors/recovery-codes", "", "409"),
        rest(Bearer, get.clone(), "/profiles/{user_id}", "", "404"),
        rest(Bearer, get.clone(), "/devices", "", "200"),
        rest(Anybody, post.clone(), "/link", "{}", "422"),
        rest(Reauthenticated, post.clone(), "/devices/link-code", "", "201"),
        // The session has made none.
        rest(Bearer, get.clone(), "/devices/link-code", "", "404"),
        rest(Bearer, delete.clone(), "/devices/link-code", "", DONE),
        rest(Bearer, get.clone(), "/push", "", "200"),
        rest(Bearer, put.clone(), "/push", "{}", "422"),
        rest(Bearer, delete.clone(), "/push", "", DONE),
        rest(Bearer, patch.clone(), "/devices/{device_id}", r#"{"device_name":null}"#, "403"),
        // Of another device, by one that is not the primary.
        rest(Bearer, delete.clone(), "/devices/{device_id}", "", "403"),
        rest(Bearer, get.clone(), "/messages", "", "200"),
        rest(Bearer, post.clone(), "/messages", NATIVE_MESSAGE, "404"),
        rest(Bearer, post.clone(), "/messages/acknowledge", r#"{"message_ids":[]}"#, DONE),
        rest(Bearer, delete.clone(), "/messages/{message_id}", "", "404"),
        // The first keys come with the identity key.
        rest(Bearer, put.clone(), "/keys", "{}", "409"),
        rest(Bearer, get.clone(), "/keys", "", "200"),
        rest(Bearer, get.clone(), "/keys/{user_id}", "", "200"),
        rest(Bearer, post.clone(), "/logout", "", DONE),
        rest(Bearer, delete, "/account", "", DONE),
        rest(Anybody, get, "/v1/verification/session/{id}", "", "404"),
        rest(Anybody, patch, "/v1/verification/session/{id}", "{}", "404"),
        rest(Anybody, post, "/v1/verification/session/{id}/code", r#"{"transport":"sms"}"#, "404"),
        rest(Anybody, put, "/v1/verification/session/{id}/code", r#"{"code":"123456"}"#, "404"),
        grpc(Device, "/org.signal.chat.account.Accounts/GetAccountIdentity", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/DeleteAccount", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/SetRegistrationLock", EMPTY),
        grpc(Device, "/org.signal.chat.account.Accounts/ClearRegistrationLock", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/SetRegistrationRecoveryPassword", EMPTY),
        grpc(Device, "/org.signal.chat.account.Accounts/SetDiscoverableByPhoneNumber", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/ConfigureUnidentifiedAccess", EMPTY),
        grpc(Device, "/org.signal.chat.account.Accounts/GetAccountDataReport", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/GetEntitlements", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/GetCapabilities", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/ChangeNumber", EMPTY),
        grpc(Device, "/org.signal.chat.account.Accounts/GenerateTotpKey", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/ConfirmTotpKey", EMPTY),
        // Passkeys of Signal's are for accounts without a number.
        grpc(Device, "/org.signal.chat.account.Accounts/StartWebAuthnRegistration", EMPTY),
        grpc(Device, "/org.signal.chat.account.Accounts/FinishWebAuthnRegistration", EMPTY),
        grpc(Device, "/org.signal.chat.account.Accounts/StartMfaVerification", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/FinishMfaVerification", EMPTY),
        grpc(Device, "/org.signal.chat.account.Accounts/ListMfaKeys", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/SetMfaKeyMetadata", EMPTY),
        grpc(Device, "/org.signal.chat.account.Accounts/RemoveMfaKey", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/ListTotpKeys", OK),
        grpc(Device, "/org.signal.chat.account.Accounts/SetTotpKeyMetadata", EMPTY),
        grpc(Device, "/org.signal.chat.account.Accounts/RemoveTotpKey", OK),
        grpc(Anonymous, "/org.signal.chat.account.AccountsAnonymous/CheckAccountExistence", EMPTY),
        grpc(Anonymous, "/org.signal.chat.account.AccountsAnonymous/GetCapabilities", EMPTY),
        grpc(Anonymous, "/org.signal.chat.credentials.CredentialsAnonymous/CheckSvrCredentials", EMPTY),
        grpc(Device, "/org.signal.chat.challenge.Challenge/HandleChallengeResponse", EMPTY),
        grpc(Device, "/org.signal.chat.credentials.Credentials/GetDeliveryCertificate", OK),
        grpc(Device, "/org.signal.chat.remoteconfiguration.RemoteConfiguration/GetConfiguration", OK),
        grpc(Device, "/org.signal.chat.device.Devices/GetDevices", OK),
        grpc(Device, "/org.signal.chat.device.Devices/RemoveDevice", EMPTY),
        grpc(Device, "/org.signal.chat.device.Devices/SetDeviceName", EMPTY),
        grpc(Device, "/org.signal.chat.device.Devices/SetPushToken", EMPTY),
        grpc(Device, "/org.signal.chat.device.Devices/ClearPushToken", OK),
        grpc(Device, "/org.signal.chat.device.Devices/SetCapabilities", OK),
        grpc(Device, "/org.signal.chat.keys.Keys/GetPreKeyCount", OK),
        grpc(Device, "/org.signal.chat.keys.Keys/GetPreKeys", EMPTY),
        grpc(Device, "/org.signal.chat.keys.Keys/SetOneTimeEcPreKeys", EMPTY),
        grpc(Device, "/org.signal.chat.keys.Keys/SetOneTimeKemSignedPreKeys", EMPTY),
        grpc(Device, "/org.signal.chat.keys.Keys/SetEcSignedPreKey", EMPTY),
        grpc(Device, "/org.signal.chat.keys.Keys/SetKemLastResortPreKey", EMPTY),
        grpc(Anonymous, "/org.signal.chat.keys.KeysAnonymous/GetPreKeys", EMPTY),
        grpc(Device, "/org.signal.chat.messages.Messages/SendMessage", EMPTY),
        grpc(Device, "/org.signal.chat.messages.Messages/SendSyncMessage", EMPTY),
        grpc(Anonymous, "/org.signal.chat.messages.MessagesAnonymous/SendSingleRecipientMessage", EMPTY),
        grpc(Anonymous, "/org.signal.chat.messages.MessagesAnonymous/SendStory", EMPTY),
        grpc(Anonymous, "/org.signal.chat.messages.MessagesAnonymous/SendMultiRecipientMessage", EMPTY),
        grpc(Anonymous, "/org.signal.chat.messages.MessagesAnonymous/SendMultiRecipientStory", EMPTY),
    ]
}

impl Case {
    fn takes_access_token(&self) -> bool {
        matches!(self.access, Access::Bearer | Access::Reauthenticated)
    }

    fn is_of(&self, route: &Route) -> bool {
        (&self.method, self.path) == (&route.method, route.path.as_str())
    }

    fn is_grpc(&self) -> bool {
        self.path.starts_with("/org.signal.")
    }

    /// The path with its variable parts filled in, about that account.
    fn path(&self, about: &Account) -> String {
        let aci = about.aci.to_string();
        [
            ("{service_id}", aci.as_str()),
            ("{destination}", &aci),
            ("{target}", &aci),
            ("{source}", &aci),
            ("{guid}", &aci),
            ("{devices}", "*"),
            ("{device}", "9"),
            ("{device_id}", "9"),
            ("{user_id}", &aci),
            ("{session_id}", "AAAA"),
            ("{message_id}", "1"),
            ("{factor_id}", "1"),
            ("{code}", "AAAA"),
            ("{address}", "AAAA"),
            ("{token}", "AAAA"),
            ("/transfer_archive", "/transfer_archive?timeout=0"),
            ("{id}", "AAAAAAAAAAAAAAAAAAAAAAAA"),
        ]
        .iter()
        .fold(self.path.to_owned(), |path, (name, value)| path.replace(name, value))
    }

    fn call(&self, about: &Account, authorization: Option<&str>) -> Call {
        let call = Call::new(self.method.clone(), self.path(about));
        let call = authorization.into_iter().fold(call, Call::authorization);
        if self.is_grpc() {
            // One message, without fields.
            call.body("application/grpc", vec![0; 5])
        } else {
            call.body("application/json", self.body)
        }
    }

    /// What those get whose credentials, or whose lack of them, keep them from calling.
    fn refusal(&self, credentials: Credentials) -> Option<&'static str> {
        let (rest, grpc) = match (self.access, credentials) {
            (Access::Device, Credentials::None) => ("401", "BAD_AUTHENTICATION"),
            (Access::Device | Access::MaybeDevice, Credentials::Wrong) => ("401", "INVALID_CREDENTIALS"),
            (Access::Anonymous, Credentials::Wrong | Credentials::Right) => ("400", "BAD_AUTHENTICATION"),
            // Passwords of devices are nothing here: it takes an access token.
            (Access::Bearer | Access::Reauthenticated, _) => ("401", ""),
            (Access::Newcomer, Credentials::None) => ("401", "UNAUTHENTICATED"),
            _ => return None,
        };
        Some(if self.is_grpc() { grpc } else { rest })
    }

    fn expected(&self, credentials: Credentials) -> &'static str {
        let without = self.without.filter(|_| credentials == Credentials::None);
        self.refusal(credentials).or(without).unwrap_or(self.permitted)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Credentials {
    None,
    Wrong,
    Right,
}

/// The status of an answer, or for gRPC the reason of its error.
fn outcome(case: &Case, answer: &Answer) -> String {
    if !case.is_grpc() {
        return answer.status.as_str().to_owned();
    }
    let Some(status) = answer.headers.get("grpc-status") else { return OK.to_owned() };
    let details = answer.headers.get("grpc-status-details-bin").map_or(&[][..], |value| value.as_bytes());
    let details = from_base64(&String::from_utf8_lossy(details));
    let details = String::from_utf8_lossy(&details);
    let known = ["BAD_AUTHENTICATION", "INVALID_CREDENTIALS", "CONSTRAINT_VIOLATED"];
    known
        .into_iter()
        .find(|reason| details.contains(reason))
        .map_or_else(|| format!("grpc-status {}", String::from_utf8_lossy(status.as_bytes())), str::to_owned)
}

/// Credentials that look like those of that account, and are not.
fn wrong_credentials(account: &Account, other: &Account) -> [String; 4] {
    [
        basic(&format!("{}.1", account.aci), "wrong"),
        basic(&format!("{}.1", account.aci), &other.password),
        // A device that the account does not have, with the password of one that it has.
        basic(&format!("{}.2", account.aci), &account.password),
        basic(&format!("{}.1", account.pni), &account.password),
    ]
}

/// What the server knows of an account, except when it was asked.
async fn state(https: &mut Https, account: &Account) -> anyhow::Result<Value> {
    let mut get = async |path: &str| https.send(Call::get(path).auth(account)).await?.success()?.json();
    let report = get("/v2/accounts/data_report").await?["data"].take();
    Ok(json!([get("/v1/accounts/whoami").await?, get("/v2/keys").await?, report]))
}

#[test]
fn every_route_has_a_case() {
    let (table, cases) = (gateway::route_table(), cases());
    for route in &table {
        let found: Vec<_> = cases.iter().filter(|case| case.is_of(route)).collect();
        let [case] = found[..] else { panic!("{} cases for {} {}", found.len(), route.method, route.path) };
        assert_eq!(case.access, route.access, "{} {}", route.method, route.path);
        assert_eq!(case.is_grpc(), route.interface == Interface::Grpc, "{}", route.path);
    }
    for case in &cases {
        let routes = table.iter().filter(|route| case.is_of(route)).count();
        assert_eq!(routes, 1, "routes of {} {}", case.method, case.path);
    }
}

#[tokio::test]
async fn nobody_gets_further_than_they_may() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let cases = cases();
    let accounts = register_many(&server, 0, cases.len() + 1, 4).await?;
    let (victim, callers) = accounts.split_first().expect("registered");
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let before = state(&mut https, victim).await?;
    for (case, caller) in cases.iter().zip(callers) {
        let what = format!("{} {}", case.method, case.path);
        let answer = https.send(case.call(victim, None)).await?;
        assert_eq!(outcome(case, &answer), case.expected(Credentials::None), "{what} without credentials");
        for wrong in wrong_credentials(victim, caller) {
            let answer = https.send(case.call(victim, Some(&wrong))).await?;
            assert_eq!(outcome(case, &answer), case.expected(Credentials::Wrong), "{what} as {wrong}");
        }
        // Another account, which may do to itself what it likes.
        let answer = https.send(case.call(victim, Some(&caller.authorization()))).await?;
        assert_eq!(outcome(case, &answer), case.expected(Credentials::Right), "{what} as somebody else");
    }
    assert_eq!(state(&mut https, victim).await?, before, "somebody has changed another account");
    Ok(())
}

/// Access tokens that are not good, though each comes close.
fn wrong_tokens(account: &NativeAccount, ended: &NativeAccount) -> Vec<String> {
    let parts: Vec<_> = account.access_token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("a JWT has three parts") };
    let other: Vec<_> = ended.access_token.split('.').collect();
    vec![
        "Bearer".to_owned(),
        "Bearer x".to_owned(),
        account.access_token.clone(),
        basic(&account.user_id, &account.access_token),
        format!("Bearer {}", account.refresh_token),
        ended.authorization(),
        format!("Bearer {header}.{claims}."),
        format!("Bearer {header}.{}.{signature}", other[1]),
        format!("Bearer {header}.{claims}.{}", other[2]),
    ]
}

#[tokio::test]
async fn native_routes_take_an_access_token_of_a_session_that_is() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let victim = &register_many(&server, 0, 1, 1).await?[0];
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let ended = NativeAccount::register(&mut https, "ended").await?;
    ended.send(&mut https, Call::post("/logout")).await?.success()?;
    let caller = NativeAccount::register(&mut https, "caller").await?;
    let other = NativeAccount::register(&mut https, "other").await?.reauthenticate(&mut https).await?;
    for case in cases().iter().filter(|case| case.takes_access_token()) {
        let what = format!("{} {}", case.method, case.path);
        for wrong in wrong_tokens(&caller, &ended) {
            let answer = https.send(case.call(victim, Some(&wrong))).await?;
            assert_eq!(answer.status, 401, "{what} with {wrong}");
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
        }
    }
    for case in cases().iter().filter(|case| case.takes_access_token()) {
        let what = format!("{} {}", case.method, case.path);
        // Each with a session of its own, since some end it.
        let caller = NativeAccount::login(&mut https, "caller", "another device").await;
        let caller = match caller {
            Ok(caller) => caller,
            Err(_) => NativeAccount::register(&mut https, "caller").await?,
        };
        let mut call = case.call(victim, Some(&caller.authorization()));
        if case.access == Access::Reauthenticated {
            for without in [call.clone(), call.clone().header(REAUTHENTICATION, &other)] {
                let answer = https.send(without).await?;
                assert_eq!(code(&answer), "reauthentication_required", "{what}");
                assert_eq!(answer.status, 403, "{what}");
            }
            call = call.header(REAUTHENTICATION, &caller.reauthenticate(&mut https).await?);
        }
        let answer = https.send(call).await?;
        assert_eq!(answer.status.as_str(), case.permitted, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn in_a_socket_its_own_identity_counts() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let cases: Vec<_> = cases().into_iter().filter(|case| !case.is_grpc()).collect();
    let accounts = register_many(&server, 0, cases.len() + 1, 4).await?;
    let (victim, callers) = accounts.split_first().expect("registered");
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let before = state(&mut https, victim).await?;
    let mut nobody = ChatSocket::connect(server.target(), None).await?;
    let header = format!("Authorization: {}", victim.authorization());
    for (case, caller) in cases.iter().zip(callers) {
        let what = format!("{} {}", case.method, case.path);
        let path = case.path(victim);
        let ask = async |socket: &mut ChatSocket, headers: &[&str]| {
            let id = socket.queue_request(case.method.as_str(), &path, headers, case.body.as_bytes());
            match socket.answer(id).await {
                Ok(answer) => Ok(answer.status.to_string()),
                // Deleting an account closes its sockets, and may do so before it is answered.
                Err(_) if socket.close_code() == Some(REAUTHENTICATE) => Ok(DONE.to_owned()),
                Err(error) => Err(error),
            }
        };
        assert_eq!(
            ask(&mut nobody, &[]).await?,
            case.expected(Credentials::None),
            "{what} without credentials"
        );
        // A header does not make a device of a socket without credentials. Only registering looks at it.
        let expected = match case.access {
            Access::Newcomer => case.permitted,
            _ => case.expected(Credentials::None),
        };
        assert_eq!(ask(&mut nobody, &[&header]).await?, expected, "{what} with a header");
        let mut socket = ChatSocket::connect(server.target(), Some(caller)).await?;
        let right = case.expected(Credentials::Right);
        // Nor does such a socket keep the password that opened it: registering needs a header of its own.
        let expected = match case.access {
            Access::Newcomer => case.expected(Credentials::None),
            _ => right,
        };
        assert_eq!(ask(&mut socket, &[]).await?, expected, "{what} as somebody else");
        if case.path != "/v1/accounts/me" {
            assert_eq!(ask(&mut socket, &[&header]).await?, right, "{what} as one, with another's header");
        }
    }
    assert_eq!(state(&mut https, victim).await?, before, "somebody has changed another account");
    Ok(())
}
