//! Second factors and passkeys of native accounts, against the running server.

use anyhow::Context as _;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use testkit::{
    Answer, Authenticator, Call, Generator, HttpVersion, Https, NativeAccount, Server, ServerOptions,
    authenticator::from_base64url,
    native::{PASSWORD, REAUTHENTICATION, code},
    totp::present_step,
};

/// Wrong factors after which a log-in begins with the password again.
const TRIES: usize = 5;

/// What is wrong with an authenticator.
type Change = fn(&mut Authenticator);

async fn start() -> anyhow::Result<(Server, Https)> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let https = Https::connect(server.target(), HttpVersion::Http2).await?;
    Ok((server, https))
}

/// Status and code of a refusal.
fn refusal(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), code(answer))
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// A text in an answer.
fn text(value: &Value) -> anyhow::Result<&str> {
    value.as_str().context("a text")
}

/// Gives the account a generator. What it shows at the step that is answered is used up.
async fn add_totp(https: &mut Https, owner: &NativeAccount) -> anyhow::Result<(Generator, u64)> {
    let token = owner.reauthenticate(https).await?;
    let call = Call::post("/second-factors/totp").header(REAUTHENTICATION, &token);
    let answer = owner.send(https, call).await?.success()?;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let key = answer.json()?;
    let uri = text(&key["uri"])?;
    assert!(uri.starts_with(&format!("otpauth://totp/localhost:{}?", owner.username)), "{uri}");
    assert!(uri.contains("&issuer=localhost&") && uri.contains(text(&key["secret"])?));
    let (generator, step) = (Generator::from_uri(uri)?, present_step());
    let confirm = |password: String| {
        let body = json!({ "one_time_password": password, "name": "my phone" });
        Call::post("/second-factors/totp/confirm").json(&body)
    };
    let wrong = owner.send(https, confirm(generator.wrong())).await?;
    assert_eq!(refusal(&wrong), refused(403, "second_factor_failed"));
    let malformed = owner.send(https, confirm("12345".to_owned())).await?;
    assert_eq!(refusal(&malformed), refused(422, "invalid_second_factor"));
    assert_eq!(owner.send(https, confirm(generator.password(step))).await?.status, 201);
    Ok((generator, step))
}

async fn recovery_codes(
    https: &mut Https,
    owner: &NativeAccount,
    token: &str,
) -> anyhow::Result<Vec<String>> {
    let call = Call::post("/second-factors/recovery-codes").header(REAUTHENTICATION, token);
    let body = owner.send(https, call).await?.success()?.json()?;
    Ok(serde_json::from_value(body["recovery_codes"].clone())?)
}

/// Shows the right password, and answers what is asked for besides.
async fn halfway(https: &mut Https, username: &str, device: &str) -> anyhow::Result<Value> {
    let answer = NativeAccount::try_login(https, username, PASSWORD, device).await?;
    assert_eq!(refusal(&answer), refused(403, "second_factor_required"));
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.json()
}

async fn finish(https: &mut Https, asked: &Value, proof: &Value) -> anyhow::Result<Answer> {
    let mut body = proof.clone();
    body["login_token"] = asked["login_token"].clone();
    https.send(Call::post("/login/second-factor").json(&body)).await
}

async fn is_let_in(https: &mut Https, account: &NativeAccount) -> anyhow::Result<bool> {
    Ok(account.send(https, Call::get("/sessions")).await?.status == 200)
}

fn authenticator(owner: &NativeAccount) -> anyhow::Result<Authenticator> {
    let mut authenticator = Authenticator::es256("localhost", "https://localhost")?;
    authenticator.user_handle = Some(uuid_bytes(&owner.user_id)?);
    Ok(authenticator)
}

fn uuid_bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    let digits = text.replace('-', "");
    (0..16).map(|n| Ok(u8::from_str_radix(&digits[2 * n..2 * n + 2], 16)?)).collect()
}

fn challenge(options: &Value) -> anyhow::Result<Vec<u8>> {
    from_base64url(text(&options["challenge"])?)
}

/// Asks for a passkey to be made, and answers what came of making it with that authenticator.
async fn add_passkey(
    https: &mut Https,
    owner: &NativeAccount,
    token: &str,
    authenticator: &Authenticator,
) -> anyhow::Result<Answer> {
    let call = Call::post("/second-factors/passkeys/options").header(REAUTHENTICATION, token);
    let options = owner.send(https, call).await?.success()?.json()?;
    assert_eq!(options["rp"]["id"], "localhost");
    assert_eq!(options["user"]["name"], owner.username.as_str());
    let handle = from_base64url(text(&options["user"]["id"])?)?;
    assert_eq!(handle, uuid_bytes(&owner.user_id)?);
    let created = authenticator.create(&challenge(&options)?).to_json(&authenticator.credential_id);
    let body = json!({ "passkey": created, "name": "blue key" });
    owner.send(https, Call::post("/second-factors/passkeys").json(&body)).await
}

async fn sign_in_options(https: &mut Https) -> anyhow::Result<Value> {
    let options = https.send(Call::post("/login/passkey/options")).await?.success()?.json()?;
    assert_eq!((&options["userVerification"], &options["rpId"]), (&json!("required"), &json!("localhost")));
    assert_eq!(options["allowCredentials"], json!([]));
    Ok(options)
}

async fn sign_in_with(https: &mut Https, passkey: &Value, device: &str) -> anyhow::Result<Answer> {
    let body = json!({ "passkey": passkey, "device_identifier": device });
    https.send(Call::post("/login/passkey").json(&body)).await
}

async fn sign_in(
    https: &mut Https,
    authenticator: &mut Authenticator,
    device: &str,
) -> anyhow::Result<Answer> {
    let options = sign_in_options(https).await?;
    let used = authenticator.get(&challenge(&options)?)?;
    sign_in_with(https, &used, device).await
}

#[tokio::test]
async fn with_a_generator_a_right_password_is_half_a_log_in() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let owner = NativeAccount::register(&mut https, "alice").await?;
    let before = NativeAccount::try_login(&mut https, "alice", "not the password", "x").await?;
    let (generator, step) = add_totp(&mut https, &owner).await?;
    let listed = owner.send(&mut https, Call::get("/second-factors")).await?.success()?.json()?;
    let [factor] = &listed["second_factors"].as_array().expect("a list")[..] else { panic!("{listed}") };
    assert_eq!((&factor["kind"], &factor["name"]), (&json!("totp"), &json!("my phone")));
    assert_eq!(listed["recovery_codes"], 0);

    let wrong = NativeAccount::try_login(&mut https, "alice", "not the password", "x").await?;
    assert_eq!((wrong.status, &wrong.body), (before.status, &before.body), "nobody else notices");

    let asked = halfway(&mut https, "alice", "tablet").await?;
    assert_eq!(asked["second_factors"], json!({ "totp": true, "passkey": null, "recovery_codes": 0 }));
    assert_eq!(asked["expires_in"], 300);
    let used = finish(&mut https, &asked, &json!({ "one_time_password": generator.password(step) })).await?;
    assert_eq!(refusal(&used), refused(403, "second_factor_failed"), "it confirmed the key");
    assert_eq!(used.json()?["second_factors"], asked["second_factors"]);
    assert!(used.json()?.get("login_token").is_none());
    let next = json!({ "one_time_password": generator.password(step + 1) });
    let answer = finish(&mut https, &asked, &next).await?.success()?;
    let mut tablet = NativeAccount::logged_in("alice", "tablet", &answer)?;
    assert_eq!((tablet.user_id.as_str(), tablet.device_id), (owner.user_id.as_str(), 2));
    assert!(is_let_in(&mut https, &tablet).await? && is_let_in(&mut https, &owner).await?);
    assert_eq!(tablet.refresh(&mut https).await?.status, 200, "a session like any other");

    assert_eq!(refusal(&finish(&mut https, &asked, &next).await?), refused(401, "login_expired"));
    let asked = halfway(&mut https, "alice", "desk").await?;
    assert_eq!(refusal(&finish(&mut https, &asked, &next).await?), refused(403, "second_factor_failed"));
    for nonsense in ["", "x", &"A".repeat(43), &owner.refresh_token] {
        let answer = finish(&mut https, &json!({ "login_token": nonsense }), &next).await?;
        assert_eq!(refusal(&answer), refused(401, "login_expired"), "{nonsense:.20}");
    }
    let both = json!({ "one_time_password": "000000", "recovery_code": "x" });
    assert_eq!(refusal(&finish(&mut https, &asked, &both).await?), refused(422, "invalid_body"));
    assert_eq!(refusal(&finish(&mut https, &asked, &json!({})).await?), refused(422, "invalid_body"));
    Ok(())
}

#[tokio::test]
async fn an_access_token_alone_changes_no_factor() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let owner = NativeAccount::register(&mut https, "alice").await?;
    let attempt = async |https: &mut Https, body: Value| {
        anyhow::Ok(refusal(&owner.send(https, Call::post("/reauthenticate").json(&body)).await?))
    };
    assert_eq!(attempt(&mut https, json!({})).await?, refused(422, "invalid_body"));
    assert_eq!(
        attempt(&mut https, json!({ "password": "a wrong guess" })).await?,
        refused(403, "wrong_password")
    );
    let (generator, step) = add_totp(&mut https, &owner).await?;
    let only_password =
        owner.send(&mut https, Call::post("/reauthenticate").json(&json!({ "password": PASSWORD }))).await?;
    assert_eq!(refusal(&only_password), refused(403, "second_factor_required"));
    assert_eq!(only_password.json()?["second_factors"]["totp"], true);
    let wrong = json!({ "password": PASSWORD, "one_time_password": generator.wrong() });
    assert_eq!(attempt(&mut https, wrong).await?, refused(403, "second_factor_failed"));
    // The factor alone will not do either, unless it is a passkey.
    let factor = generator.password(step + 1);
    assert_eq!(
        attempt(&mut https, json!({ "one_time_password": factor })).await?,
        refused(422, "invalid_body")
    );
    let both = json!({ "password": PASSWORD, "one_time_password": factor });
    let token = owner.reauthenticate_with(&mut https, &both).await?;
    let [code, other_code] = &recovery_codes(&mut https, &owner, &token).await?[..2] else { panic!() };

    // Of another session of the same account, the token is worth nothing.
    let asked = halfway(&mut https, "alice", "tablet").await?;
    let answer = finish(&mut https, &asked, &json!({ "recovery_code": code })).await?.success()?;
    let tablet = NativeAccount::logged_in("alice", "tablet", &answer)?;
    let remove = |token: &str| Call::delete("/second-factors/0").header(REAUTHENTICATION, token);
    let stolen = tablet.send(&mut https, remove(&token)).await?;
    assert_eq!(refusal(&stolen), refused(403, "reauthentication_required"));
    // A fresh one takes the place of the one before.
    let again = json!({ "password": PASSWORD, "recovery_code": other_code });
    let fresh = owner.reauthenticate_with(&mut https, &again).await?;
    let former = owner.send(&mut https, remove(&token)).await?;
    assert_eq!(refusal(&former), refused(403, "reauthentication_required"));
    assert_eq!(owner.send(&mut https, remove(&fresh)).await?.status, 204);
    assert_eq!(refusal(&owner.send(&mut https, remove(&fresh)).await?), refused(404, "not_found"));
    // With the last factor the codes are gone, and the password is enough again.
    let listed = owner.send(&mut https, Call::get("/second-factors")).await?.success()?.json()?;
    assert_eq!(listed, json!({ "second_factors": [], "recovery_codes": 0 }));
    NativeAccount::login(&mut https, "alice", "desk").await?;
    Ok(())
}

#[tokio::test]
async fn of_many_who_show_the_same_at_once_one_is_let_in() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let owner = NativeAccount::register(&mut https, "alice").await?;
    let token = owner.reauthenticate(&mut https).await?;
    let (generator, step) = add_totp(&mut https, &owner).await?;
    // The token of before was replaced by that of adding the generator.
    let stale = Call::post("/second-factors/recovery-codes").header(REAUTHENTICATION, &token);
    assert_eq!(owner.send(&mut https, stale).await?.status, 403);
    let both = json!({ "password": PASSWORD, "one_time_password": generator.password(step + 1) });
    let token = owner.reauthenticate_with(&mut https, &both).await?;
    let codes = recovery_codes(&mut https, &owner, &token).await?;
    assert_eq!(codes.len(), 10);

    let at_once = async |pairs: Vec<(Value, Value)>| -> anyhow::Result<usize> {
        let all = pairs.into_iter().map(async |(asked, proof)| {
            let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
            finish(&mut https, &asked, &proof).await
        });
        Ok(try_join_all(all).await?.iter().filter(|answer| answer.status == 200).count())
    };
    // One code, several log-ins.
    let mut pairs = Vec::new();
    for n in 0..4 {
        let asked = halfway(&mut https, "alice", &format!("device {n}")).await?;
        pairs.push((asked, json!({ "recovery_code": codes[0] })));
    }
    assert_eq!(at_once(pairs).await?, 1);
    // One log-in, several codes: the others are still good.
    let asked = halfway(&mut https, "alice", "desk").await?;
    let pairs = codes[1..5].iter().map(|code| (asked.clone(), json!({ "recovery_code": code }))).collect();
    assert_eq!(at_once(pairs).await?, 1);
    let listed = owner.send(&mut https, Call::get("/second-factors")).await?.success()?.json()?;
    assert_eq!(listed["recovery_codes"], 8, "the one log-in used up one code");
    Ok(())
}

#[tokio::test]
async fn a_log_in_is_over_after_a_few_wrong_factors_and_guesses_cost_time() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let owner = NativeAccount::register(&mut https, "alice").await?;
    let (generator, step) = add_totp(&mut https, &owner).await?;
    let asked = halfway(&mut https, "alice", "stranger").await?;
    let wrong = json!({ "one_time_password": generator.wrong() });
    for n in 1..TRIES {
        assert_eq!(refusal(&finish(&mut https, &asked, &wrong).await?).1, "second_factor_failed", "{n}");
    }
    assert_eq!(refusal(&finish(&mut https, &asked, &wrong).await?), refused(401, "login_expired"));
    let right = json!({ "one_time_password": generator.password(step + 1) });
    assert_eq!(refusal(&finish(&mut https, &asked, &right).await?), refused(401, "login_expired"));
    // With the password again the guesses go on no sooner than they may, and the log-in waits meanwhile.
    let asked = halfway(&mut https, "alice", "stranger").await?;
    for _ in 0..2 * TRIES {
        let answer = finish(&mut https, &asked, &wrong).await?;
        assert_eq!(refusal(&answer), refused(429, "rate_limited"));
        assert!(answer.headers.contains_key("retry-after"));
    }
    assert!(is_let_in(&mut https, &owner).await?, "who is logged in notices nothing");
    Ok(())
}

#[tokio::test]
async fn a_changed_password_ends_log_ins_that_wait_for_a_factor() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let owner = NativeAccount::register(&mut https, "alice").await?;
    let (generator, step) = add_totp(&mut https, &owner).await?;
    let asked = halfway(&mut https, "alice", "stranger").await?;
    let body = json!({ "password": PASSWORD, "new_password": "another fine sentence" });
    owner.send(&mut https, Call::put("/password").json(&body)).await?.success()?;
    let proof = json!({ "one_time_password": generator.password(step + 1) });
    assert_eq!(refusal(&finish(&mut https, &asked, &proof).await?), refused(401, "login_expired"));
    assert!(is_let_in(&mut https, &owner).await?);
    Ok(())
}

#[tokio::test]
async fn a_passkey_is_a_second_factor_and_a_way_in_by_itself() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let owner = NativeAccount::register(&mut https, "alice").await?;
    let mut passkey = authenticator(&owner)?;
    let token = owner.reauthenticate(&mut https).await?;
    assert_eq!(add_passkey(&mut https, &owner, &token, &passkey).await?.status, 201);
    let twice = add_passkey(&mut https, &owner, &token, &passkey).await?;
    assert_eq!(refusal(&twice), refused(403, "second_factor_failed"), "it is there already");
    let rename = Call::put("/second-factors/0").json(&json!({ "name": "green key" }));
    assert_eq!(owner.send(&mut https, rename).await?.status, 204);
    let listed = owner.send(&mut https, Call::get("/second-factors")).await?.success()?.json()?;
    assert_eq!(listed["second_factors"][0]["name"], "green key");
    assert_eq!(listed["second_factors"][0]["kind"], "passkey");

    // Beside the password.
    let asked = halfway(&mut https, "alice", "tablet").await?;
    let offered = &asked["second_factors"]["passkey"];
    assert_eq!(from_base64url(text(&offered["allowCredentials"][0]["id"])?)?, passkey.credential_id);
    let elsewhere = Authenticator::es256("localhost", "https://localhost")?.get(&challenge(offered)?)?;
    let answer = finish(&mut https, &asked, &json!({ "passkey": elsewhere })).await?;
    assert_eq!(refusal(&answer), refused(403, "second_factor_failed"));
    // The challenge is used up; the refusal brings another.
    let offered = answer.json()?["second_factors"]["passkey"].take();
    let used = passkey.get(&challenge(&offered)?)?;
    let answer = finish(&mut https, &asked, &json!({ "passkey": used })).await?.success()?;
    assert!(is_let_in(&mut https, &NativeAccount::logged_in("alice", "tablet", &answer)?).await?);

    // Alone.
    let options = sign_in_options(&mut https).await?;
    let used = passkey.get(&challenge(&options)?)?;
    let answer = sign_in_with(&mut https, &used, "desk").await?.success()?;
    assert_eq!(answer.headers["cache-control"], "no-store");
    let mut desk = NativeAccount::logged_in("alice", "desk", &answer)?;
    assert_eq!((desk.user_id.as_str(), desk.device_id), (owner.user_id.as_str(), 3));
    assert_eq!(desk.refresh(&mut https).await?.status, 200);
    let replayed = sign_in_with(&mut https, &used, "desk").await?;
    assert_eq!(refusal(&replayed), refused(401, "passkey_failed"));

    // And to show again who one is: what was asked for logging in does, what was asked as a second factor does not.
    let offered = halfway(&mut https, "alice", "x").await?["second_factors"]["passkey"].take();
    let proof = json!({ "passkey": passkey.get(&challenge(&offered)?)? });
    let answer = desk.send(&mut https, Call::post("/reauthenticate").json(&proof)).await?;
    assert_eq!(refusal(&answer), refused(403, "second_factor_failed"));
    let proof = json!({ "passkey": passkey.get(&challenge(&sign_in_options(&mut https).await?)?)? });
    let token = desk.reauthenticate_with(&mut https, &proof).await?;
    let mallory = NativeAccount::register(&mut https, "mallory").await?;
    let proof = json!({ "passkey": passkey.get(&challenge(&sign_in_options(&mut https).await?)?)? });
    let answer = mallory.send(&mut https, Call::post("/reauthenticate").json(&proof)).await?;
    assert_eq!(refusal(&answer), refused(403, "second_factor_failed"), "somebody else's");

    let remove = Call::delete("/second-factors/0").header(REAUTHENTICATION, &token);
    assert_eq!(desk.send(&mut https, remove).await?.status, 204);
    assert_eq!(refusal(&sign_in(&mut https, &mut passkey, "desk").await?), refused(401, "passkey_failed"));
    NativeAccount::login(&mut https, "alice", "desk").await?;
    Ok(())
}

#[tokio::test]
async fn a_passkey_that_does_not_fit_opens_nothing() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let owner = NativeAccount::register(&mut https, "alice").await?;
    let other = NativeAccount::register(&mut https, "bob").await?;
    let token = owner.reauthenticate(&mut https).await?;
    let mut passkey = authenticator(&owner)?;
    assert_eq!(add_passkey(&mut https, &owner, &token, &passkey).await?.status, 201);
    let bobs = other.reauthenticate(&mut https).await?;
    let again = add_passkey(&mut https, &other, &bobs, &passkey).await?;
    assert_eq!(refusal(&again), refused(403, "second_factor_failed"), "a passkey has one owner");

    let changes: [(&str, Change); 5] = [
        ("its user was not checked", |passkey| passkey.user_verified = false),
        ("nobody was there", |passkey| passkey.user_present = false),
        ("on another page", |passkey| passkey.origin = "https://elsewhere.example".to_owned()),
        ("of another domain", |passkey| passkey.relying_party = "elsewhere.example".to_owned()),
        ("taken for somebody else's", |passkey| passkey.user_handle = Some(vec![7; 16])),
    ];
    for (what, change) in changes {
        change(&mut passkey);
        let answer = sign_in(&mut https, &mut passkey, "desk").await?;
        assert_eq!(refusal(&answer), refused(401, "passkey_failed"), "{what}");
        passkey.user_verified = true;
        passkey.user_present = true;
        "https://localhost".clone_into(&mut passkey.origin);
        "localhost".clone_into(&mut passkey.relying_party);
        passkey.user_handle = Some(uuid_bytes(&owner.user_id)?);
    }
    let never_asked = passkey.get(&[9; 32])?;
    assert_eq!(
        refusal(&sign_in_with(&mut https, &never_asked, "desk").await?),
        refused(401, "passkey_failed")
    );
    let counted = passkey.counter;
    assert_eq!(sign_in(&mut https, &mut passkey, "desk").await?.status, 200);
    passkey.counter = counted;
    let copy = sign_in(&mut https, &mut passkey, "desk").await?;
    assert_eq!(refusal(&copy), refused(401, "passkey_failed"), "a copy counts what was counted before");
    for malformed in
        [json!({}), json!({ "passkey": {} }), json!({ "passkey": "x", "device_identifier": "x" })]
    {
        let answer = https.send(Call::post("/login/passkey").json(&malformed)).await?;
        assert_eq!(refusal(&answer), refused(422, "invalid_body"), "{malformed}");
    }
    Ok(())
}

#[tokio::test]
async fn one_address_asks_for_passkeys_only_so_often() -> anyhow::Result<()> {
    let limits = "[limits]\nlogin_address = { size = 3, interval_ms = 600000 }";
    let server = Server::start(ServerOptions::default().with_config(limits)).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    for _ in 0..3 {
        https.send(Call::post("/login/passkey/options")).await?.success()?;
    }
    let refusals = [
        https.send(Call::post("/login/passkey/options")).await?,
        sign_in_with(
            &mut https,
            &Authenticator::eddsa("localhost", "https://localhost")?.get(&[1; 32])?,
            "x",
        )
        .await?,
        finish(&mut https, &json!({ "login_token": "x" }), &json!({ "one_time_password": "000000" })).await?,
    ];
    for answer in refusals {
        assert_eq!(refusal(&answer), refused(429, "rate_limited"));
    }
    Ok(())
}
