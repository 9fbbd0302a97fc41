//! Registering, logging in, going on and ending, against the running server.

use serde_json::{Value, json};
use testkit::{
    Answer, Call, HttpVersion, Https, NativeAccount, NativeStream, Refused, Server, ServerOptions,
    native::{PASSWORD, code, refresh},
};

/// The code that closes the socket of a session that has ended.
const ENDED: u16 = 4401;

async fn start() -> anyhow::Result<(Server, Https)> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let https = Https::connect(server.target(), HttpVersion::Http2).await?;
    Ok((server, https))
}

async fn register(https: &mut Https, body: &Value) -> anyhow::Result<Answer> {
    https.send(Call::post("/register").json(body)).await
}

fn body(username: &str, password: &str) -> Value {
    json!({ "username": username, "password": password, "device_identifier": "phone" })
}

async fn is_let_in(https: &mut Https, account: &NativeAccount) -> anyhow::Result<bool> {
    let answer = account.send(https, Call::get("/sessions")).await?;
    assert!(answer.status == 200 || code(&answer) == "unauthorized", "{answer:?}");
    Ok(answer.status == 200)
}

#[tokio::test]
async fn registering_makes_account_profile_and_session() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let answer = register(&mut https, &body("Alice", PASSWORD)).await?;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let made = answer.json()?;
    assert_eq!((&made["device_id"], &made["tokens"]["token_type"]), (&json!(1), &json!("Bearer")));
    assert_eq!(made["tokens"]["expires_in"], 900);
    let authorization = format!("Bearer {}", made["tokens"]["access_token"].as_str().expect("a token"));
    let path = format!("/profiles/{}", made["user_id"].as_str().expect("an id"));
    let profile = https.send(Call::get(path).authorization(&authorization)).await?.success()?.json()?;
    assert_eq!(profile, json!({ "user_id": made["user_id"], "username": "alice" }));
    let taken = register(&mut https, &body("\u{FF21}LICE", PASSWORD)).await?;
    assert_eq!((taken.status.as_u16(), code(&taken).as_str()), (409, "username_taken"));
    // Of many at once one gets the name.
    let mut registered = 0;
    let tries = (0..6).map(async |n| {
        let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
        register(&mut https, &body("shared", &format!("a sentence for {n}"))).await
    });
    for answer in futures_util::future::try_join_all(tries).await? {
        registered += usize::from(answer.status == 201);
    }
    assert_eq!(registered, 1);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_registered_is_refused_with_its_code() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let long = "x".repeat(257);
    for (username, password, expected) in [
        ("", PASSWORD, "invalid_username"),
        ("two words", PASSWORD, "invalid_username"),
        ("a\u{200B}b", PASSWORD, "invalid_username"),
        ("bob", "short", "password_too_short"),
        ("bob", &long, "password_too_long"),
        ("bob", "password", "password_too_common"),
        ("bob", "PassWord", "password_too_common"),
        ("bob-the-builder", "Bob-The-Builder", "password_is_username"),
        ("bob", "tab\tbed password", "invalid_password"),
    ] {
        let answer = register(&mut https, &body(username, password)).await?;
        assert_eq!(
            (answer.status.as_u16(), code(&answer).as_str()),
            (422, expected),
            "{username} {password:.20}"
        );
    }
    for (text, status, expected) in [
        ("", 400, "malformed_body"),
        ("{", 400, "malformed_body"),
        ("{}", 422, "invalid_body"),
        ("[]", 422, "invalid_body"),
        (r#"{"username":1,"password":"x","device_identifier":"x"}"#, 422, "invalid_body"),
        (r#"{"username":"bob","password":"a sentence is fine","device_identifier":""}"#, 422, "invalid_body"),
        (
            r#"{"username":"bob","password":"a sentence is fine","device_identifier":"x","registration_id":0}"#,
            422,
            "invalid_body",
        ),
    ] {
        let answer = https.send(Call::post("/register").body("application/json", text)).await?;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (status, expected), "{text}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    let huge = format!(r#"{{"username":"{}"}}"#, "x".repeat(1 << 20));
    let answer = https.send(Call::post("/register").body("application/json", huge)).await?;
    assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (413, "body_too_large"));
    // None of them left anything behind.
    register(&mut https, &body("bob", PASSWORD)).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn a_password_is_not_cut_and_the_same_from_every_keyboard() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let long = "correct horse ".repeat(18);
    register(&mut https, &body("long", &long)).await?.success()?;
    let shorter = &long[..long.len() - 1];
    assert_eq!(NativeAccount::try_login(&mut https, "long", shorter, "phone").await?.status, 401);
    assert_eq!(NativeAccount::try_login(&mut https, "LONG", &long, "phone").await?.status, 200);
    register(&mut https, &body("accents", "caf\u{e9} au lait")).await?.success()?;
    let typed = NativeAccount::try_login(&mut https, "accents", "cafe\u{301} au lait", "phone").await?;
    assert_eq!(typed.status, 200);
    Ok(())
}

#[tokio::test]
async fn wrong_names_and_wrong_passwords_are_answered_alike() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    for n in 0..4 {
        NativeAccount::register(&mut https, &format!("somebody-{n}")).await?;
    }
    let mut login = async |username: &str| {
        let began = tokio::time::Instant::now();
        let answer = NativeAccount::try_login(&mut https, username, "not the password", "x").await?;
        anyhow::Ok((answer, began.elapsed()))
    };
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    // Three each: after the fourth one waits.
    for n in 0..12 {
        let (wrong_password, took) = login(&format!("somebody-{}", n / 3)).await?;
        known.push(took);
        let (wrong_name, took) = login(&format!("nobody-{}", n / 3)).await?;
        unknown.push(took);
        assert_eq!((wrong_name.status, &wrong_name.body), (wrong_password.status, &wrong_password.body));
        assert_eq!(code(&wrong_name), "login_failed");
        let names = |answer: &Answer| answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&wrong_name), names(&wrong_password));
    }
    let median = |times: &mut Vec<std::time::Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (known, unknown) = (median(&mut known), median(&mut unknown));
    // Both hash once. On a busy machine times vary; without the hash it would be a fiftieth.
    assert!(unknown > known / 4 && known > unknown / 4, "{known:?} and {unknown:?}");
    Ok(())
}

#[tokio::test]
async fn a_device_logs_in_anew_and_others_join() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let first = NativeAccount::register(&mut https, "alice").await?;
    let again = NativeAccount::login(&mut https, "Alice", &first.device_identifier).await?;
    assert_eq!((again.device_id, again.registration_id), (1, first.registration_id));
    assert_eq!(again.user_id, first.user_id);
    assert!(!is_let_in(&mut https, &first).await?, "the device's former session has ended");
    for expected in 2..=6 {
        let other = NativeAccount::login(&mut https, "alice", &format!("device {expected}")).await?;
        assert_eq!(other.device_id, expected);
    }
    let one_more = NativeAccount::try_login(&mut https, "alice", PASSWORD, "device 7").await?;
    assert_eq!((one_more.status.as_u16(), code(&one_more).as_str()), (409, "too_many_devices"));
    assert!(is_let_in(&mut https, &again).await?);
    Ok(())
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_twice_ends_the_session() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let mut account = NativeAccount::register(&mut https, "alice").await?;
    let first = account.refresh_token.clone();
    for _ in 0..3 {
        let before = account.clone();
        assert_eq!(account.refresh(&mut https).await?.status, 200);
        assert_ne!(before.refresh_token, account.refresh_token);
        assert!(is_let_in(&mut https, &account).await? && is_let_in(&mut https, &before).await?);
    }
    let mut other = NativeAccount::login(&mut https, "alice", "tablet").await?;
    let mut stream =
        NativeStream::connect(server.target(), HttpVersion::Http1, Some(&account.authorization())).await?;
    let reused = refresh(&mut https, &first).await?;
    assert_eq!((reused.status.as_u16(), code(&reused).as_str()), (401, "refresh_failed"));
    assert_eq!(stream.closed().await?, ENDED);
    assert!(!is_let_in(&mut https, &account).await?, "the family is revoked");
    assert_eq!(account.refresh(&mut https).await?.status, 401);
    assert!(is_let_in(&mut https, &other).await?, "another session goes on");
    assert_eq!(other.refresh(&mut https).await?.status, 200);
    for nonsense in ["", "x", &"A".repeat(64), &other.access_token] {
        assert_eq!(code(&refresh(&mut https, nonsense).await?), "refresh_failed", "{nonsense:.20}");
    }
    Ok(())
}

#[tokio::test]
async fn of_two_who_refresh_at_once_one_gets_tokens_and_the_session_ends() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let account = NativeAccount::register(&mut https, "alice").await?;
    let tries = (0..2).map(async |_| {
        let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
        refresh(&mut https, &account.refresh_token).await
    });
    let answers = futures_util::future::try_join_all(tries).await?;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert!(!is_let_in(&mut https, &account).await?);
    Ok(())
}

#[tokio::test]
async fn sessions_are_shown_and_ended_by_their_owner_alone() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let phone = NativeAccount::register(&mut https, "alice").await?;
    let mut tablet = NativeAccount::login(&mut https, "alice", "tablet").await?;
    let desk = NativeAccount::login(&mut https, "alice", "desk").await?;
    let stranger = NativeAccount::register(&mut https, "mallory").await?;
    let shown = phone.send(&mut https, Call::get("/sessions")).await?.success()?.json()?;
    let shown = shown["sessions"].as_array().expect("a list").clone();
    assert_eq!(shown.len(), 3);
    let current: Vec<_> = shown.iter().filter(|session| session["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["session_id"], phone.session_id);
    assert!(shown.iter().all(|session| session["created"].as_u64() <= session["last_used"].as_u64()));

    let path = format!("/sessions/{}", tablet.session_id);
    let delete = |path: &str| Call::new(http::Method::DELETE, path);
    assert_eq!(stranger.send(&mut https, delete(&path)).await?.status, 404, "somebody else's");
    let mut stream =
        NativeStream::connect(server.target(), HttpVersion::Http2, Some(&tablet.authorization())).await?;
    assert_eq!(phone.send(&mut https, delete(&path)).await?.status, 204);
    assert_eq!(stream.closed().await?, ENDED);
    assert!(!is_let_in(&mut https, &tablet).await?);
    assert_eq!(tablet.refresh(&mut https).await?.status, 401);
    assert_eq!(phone.send(&mut https, delete(&path)).await?.status, 404);
    assert_eq!(phone.send(&mut https, delete("/sessions")).await?.status, 204);
    assert!(is_let_in(&mut https, &phone).await? && !is_let_in(&mut https, &desk).await?);
    assert_eq!(phone.send(&mut https, Call::post("/logout")).await?.status, 204);
    assert!(!is_let_in(&mut https, &phone).await? && is_let_in(&mut https, &stranger).await?);
    Ok(())
}

#[tokio::test]
async fn a_changed_password_ends_the_other_sessions() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let phone = NativeAccount::register(&mut https, "alice").await?;
    let mut tablet = NativeAccount::login(&mut https, "alice", "tablet").await?;
    let mut stream =
        NativeStream::connect(server.target(), HttpVersion::Http1, Some(&tablet.authorization())).await?;
    let next = "another fine sentence";
    let change = async |https: &mut Https, password: &str, new: &str| {
        let body = json!({ "password": password, "new_password": new });
        phone.send(https, Call::put("/password").json(&body)).await
    };
    assert_eq!(code(&change(&mut https, "not the password", next).await?), "wrong_password");
    assert_eq!(code(&change(&mut https, PASSWORD, "password").await?), "password_too_common");
    assert_eq!(code(&change(&mut https, PASSWORD, "alice").await?), "password_too_short");
    assert!(is_let_in(&mut https, &tablet).await?);
    assert_eq!(change(&mut https, PASSWORD, next).await?.status, 204);
    assert_eq!(stream.closed().await?, ENDED);
    assert!(is_let_in(&mut https, &phone).await? && !is_let_in(&mut https, &tablet).await?);
    assert_eq!(tablet.refresh(&mut https).await?.status, 401);
    assert_eq!(NativeAccount::try_login(&mut https, "alice", PASSWORD, "x").await?.status, 401);
    assert_eq!(NativeAccount::try_login(&mut https, "alice", next, "x").await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_deleted_account_is_gone_with_its_sockets_and_its_name_free() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let mut alice = NativeAccount::register(&mut https, "alice").await?;
    let bob = NativeAccount::register(&mut https, "bob").await?;
    let mut stream =
        NativeStream::connect(server.target(), HttpVersion::Http1, Some(&alice.authorization())).await?;
    let delete = Call::new(http::Method::DELETE, "/account");
    assert_eq!(alice.send(&mut https, delete).await?.status, 204);
    assert_eq!(stream.closed().await?, ENDED);
    assert!(!is_let_in(&mut https, &alice).await?);
    assert_eq!(alice.refresh(&mut https).await?.status, 401);
    assert_eq!(NativeAccount::try_login(&mut https, "alice", PASSWORD, "x").await?.status, 401);
    let profile = Call::get(format!("/profiles/{}", alice.user_id));
    assert_eq!(bob.send(&mut https, profile).await?.status, 404);
    let refused =
        NativeStream::connect(server.target(), HttpVersion::Http1, Some(&alice.authorization())).await;
    assert_eq!(refused.unwrap_err().downcast_ref(), Some(&Refused(401)));
    let anew = NativeAccount::register(&mut https, "alice").await?;
    assert_ne!(anew.user_id, alice.user_id);
    Ok(())
}

#[tokio::test]
async fn a_removed_device_is_out_at_once() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let phone = NativeAccount::register(&mut https, "alice").await?;
    let mut tablet = NativeAccount::login(&mut https, "alice", "tablet").await?;
    let shown = phone.send(&mut https, Call::get("/devices")).await?.success()?.json()?;
    let ids = |shown: &Value| {
        let devices = shown["devices"].as_array().expect("a list").iter();
        devices.map(|device| (device["device_id"].clone(), device["current"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(ids(&shown), [(json!(1), json!(true)), (json!(2), json!(false))]);
    let mut stream =
        NativeStream::connect(server.target(), HttpVersion::Http1, Some(&tablet.authorization())).await?;
    let remove = |id: u64| Call::new(http::Method::DELETE, format!("/devices/{id}"));
    assert_eq!(code(&tablet.send(&mut https, remove(1)).await?), "not_primary");
    assert_eq!(code(&phone.send(&mut https, remove(1)).await?), "primary_stays");
    assert_eq!(phone.send(&mut https, remove(0)).await?.status, 404);
    assert_eq!(phone.send(&mut https, remove(2)).await?.status, 204);
    assert_eq!(stream.closed().await?, ENDED);
    assert!(!is_let_in(&mut https, &tablet).await? && is_let_in(&mut https, &phone).await?);
    assert_eq!(tablet.refresh(&mut https).await?.status, 401);
    Ok(())
}

#[tokio::test]
async fn sessions_and_tokens_outlive_a_restart() -> anyhow::Result<()> {
    let (mut server, mut https) = start().await?;
    let mut account = NativeAccount::register(&mut https, "alice").await?;
    server.kill()?;
    server.restart().await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    assert!(is_let_in(&mut https, &account).await?);
    assert_eq!(account.refresh(&mut https).await?.status, 200);
    NativeAccount::login(&mut https, "alice", "tablet").await?;
    Ok(())
}
