//! The devices of a native account: shown, named, removed, and let in by a code, against the running server.

use futures_util::future::{join_all, try_join};
use http::Method;
use serde_json::{Value, json};
use testkit::{
    Answer, Call, HttpVersion, Https, NativeAccount, NativeStream, Server, ServerOptions,
    account::base64,
    native::{PASSWORD, REAUTHENTICATION, code},
};

/// The code that closes the socket of a session that has ended.
const ENDED: u16 = 4401;
const NEW_PASSWORD: &str = "another sentence";
const NOW: u64 = 1_700_000_000_000;

async fn start() -> anyhow::Result<(Server, Https)> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let https = Https::connect(server.target(), HttpVersion::Http2).await?;
    Ok((server, https))
}

/// A device asks for a code, showing first that it is still in the right hands.
async fn offer(https: &mut Https, account: &NativeAccount, password: &str) -> anyhow::Result<Answer> {
    let token = account.reauthenticate_with(https, &json!({ "password": password })).await?;
    account.send(https, Call::post("/devices/link-code").header(REAUTHENTICATION, &token)).await
}

/// A device asks for a code and shows it.
async fn offered(https: &mut Https, account: &NativeAccount) -> anyhow::Result<Value> {
    let answer = offer(https, account, PASSWORD).await?;
    assert_eq!((answer.status.as_u16(), answer.headers["cache-control"].as_bytes()), (201, &b"no-store"[..]));
    answer.json()
}

fn link_body(code: &Value, identifier: &str) -> Value {
    json!({ "code": code, "device_identifier": identifier, "device_name": format!("{identifier}'s name") })
}

async fn link(https: &mut Https, code: &Value, identifier: &str) -> anyhow::Result<Answer> {
    https.send(Call::post("/link").json(&link_body(code, identifier))).await
}

/// What a device that was let in goes on with.
async fn linked(
    https: &mut Https,
    account: &NativeAccount,
    identifier: &str,
) -> anyhow::Result<NativeAccount> {
    let code = offered(https, account).await?["code"].take();
    NativeAccount::logged_in(&account.username, identifier, &link(https, &code, identifier).await?.success()?)
}

async fn is_refused(https: &mut Https, code_shown: &Value) -> anyhow::Result<()> {
    let answer = link(https, code_shown, "somebody").await?;
    assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (403, "link_code_refused"));
    Ok(())
}

async fn progress(https: &mut Https, account: &NativeAccount, wait: u64) -> anyhow::Result<Answer> {
    account.send(https, Call::get(format!("/devices/link-code?wait={wait}"))).await
}

async fn devices(https: &mut Https, account: &NativeAccount) -> anyhow::Result<Vec<Value>> {
    let answer = account.send(https, Call::get("/devices")).await?.success()?.json()?;
    Ok(answer["devices"].as_array().cloned().unwrap_or_default())
}

async fn password_changed(https: &mut Https, account: &NativeAccount) -> anyhow::Result<()> {
    let body = json!({ "password": PASSWORD, "new_password": NEW_PASSWORD });
    account.send(https, Call::put("/password").json(&body)).await?.success()?;
    Ok(())
}

#[tokio::test]
async fn a_device_is_let_in_by_a_code_and_its_owner_is_told() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    assert_eq!(progress(&mut https, &alice, 0).await?.status, 404, "there is no code");
    let offered = offered(&mut https, &alice).await?;
    let code_shown = offered["code"].as_str().expect("a code");
    assert_eq!((code_shown.len(), &offered["expires_in"]), (43, &json!(600)));
    assert_eq!(offered["uri"], format!("heliograph://link?server=localhost&code={code_shown}"));
    assert_eq!(progress(&mut https, &alice, 0).await?.json()?["state"], "open");

    // She waits while the other device shows it.
    let mut others = Https::connect(server.target(), HttpVersion::Http1).await?;
    let (told, answer) =
        try_join(progress(&mut https, &alice, 60), link(&mut others, &offered["code"], "tablet")).await?;
    assert_eq!(told.success()?.json()?, json!({ "state": "used", "expires_in": null, "device_id": 2 }));
    assert_eq!((answer.status.as_u16(), answer.headers["cache-control"].as_bytes()), (200, &b"no-store"[..]));
    let tablet = NativeAccount::logged_in("alice", "tablet", &answer)?;
    assert_eq!((&tablet.user_id, tablet.device_id), (&alice.user_id, 2));
    assert_eq!(progress(&mut https, &alice, 0).await?.json()?["device_id"], 2, "still");
    is_refused(&mut https, &offered["code"]).await?;

    // It is a device like any other: it reads, refreshes, and logs in again by its identifier.
    let bob = NativeAccount::register(&mut https, "bob").await?;
    let message =
        json!({ "recipient_id": alice.user_id, "encrypted_payload": base64(b"x"), "timestamp": NOW });
    let sent = bob.send(&mut https, Call::post("/messages").json(&message)).await?.success()?.json()?;
    assert_eq!(sent["devices"], json!([1, 2]));
    for device in [&alice, &tablet] {
        let got = device.send(&mut https, Call::get("/messages?wait=10")).await?.success()?.json()?;
        assert_eq!(got["messages"][0]["encrypted_payload"], base64(b"x"));
    }
    assert_eq!(tablet.clone().refresh(&mut https).await?.status, 200);
    let again = NativeAccount::login(&mut https, "alice", "tablet").await?;
    assert_eq!((again.device_id, again.registration_id), (2, tablet.registration_id));
    Ok(())
}

#[tokio::test]
async fn codes_are_void_when_they_should_be() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let shown = async |https: &mut Https, account: &NativeAccount| -> anyhow::Result<Value> {
        Ok(offered(https, account).await?["code"].take())
    };
    for nonsense in [json!(""), json!("A".repeat(43)), json!("x".repeat(10_000))] {
        is_refused(&mut https, &nonsense).await?;
    }
    let replaced = shown(&mut https, &alice).await?;
    let withdrawn = shown(&mut https, &alice).await?;
    is_refused(&mut https, &replaced).await?;
    alice.send(&mut https, Call::new(Method::DELETE, "/devices/link-code")).await?.success()?;
    is_refused(&mut https, &withdrawn).await?;
    assert_eq!(code(&progress(&mut https, &alice, 0).await?), "not_found");

    // With the session, and with the device.
    let tablet = linked(&mut https, &alice, "tablet").await?;
    let of_tablet = shown(&mut https, &tablet).await?;
    tablet.send(&mut https, Call::post("/logout")).await?.success()?;
    is_refused(&mut https, &of_tablet).await?;
    let tablet = NativeAccount::login(&mut https, "alice", "tablet").await?;
    let of_tablet = shown(&mut https, &tablet).await?;
    alice.send(&mut https, Call::new(Method::DELETE, "/devices/2")).await?.success()?;
    is_refused(&mut https, &of_tablet).await?;

    // With the password, whoever has changed it.
    let tablet = linked(&mut https, &alice, "tablet").await?;
    let (of_alice, of_tablet) = (shown(&mut https, &alice).await?, shown(&mut https, &tablet).await?);
    password_changed(&mut https, &alice).await?;
    for code_shown in [of_alice, of_tablet] {
        is_refused(&mut https, &code_shown).await?;
    }
    assert_eq!(progress(&mut https, &alice, 0).await?.status, 404);
    let good = offer(&mut https, &alice, NEW_PASSWORD).await?.success()?.json()?["code"].take();
    link(&mut https, &good, "desk").await?.success()?;
    Ok(())
}

#[tokio::test]
async fn a_code_is_good_once_also_at_once_and_over_a_kill() -> anyhow::Result<()> {
    let (mut server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let code_shown = offered(&mut https, &alice).await?["code"].take();
    server.kill()?;
    server.restart().await?;
    let tries = (0..8).map(async |number| -> anyhow::Result<u16> {
        let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
        Ok(link(&mut https, &code_shown, &format!("device {number}")).await?.status.as_u16())
    });
    let mut statuses = join_all(tries).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 403, 403, 403, 403, 403, 403, 403]);
    server.kill()?;
    server.restart().await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    assert_eq!(devices(&mut https, &alice).await?.len(), 2);
    is_refused(&mut https, &code_shown).await?;
    assert_eq!(progress(&mut https, &alice, 0).await?.json()?["state"], "used");
    Ok(())
}

#[tokio::test]
async fn an_account_has_at_most_six_devices_and_the_code_survives() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    for number in 2..=6 {
        assert_eq!(linked(&mut https, &alice, &format!("device {number}")).await?.device_id, number);
    }
    let code_shown = offered(&mut https, &alice).await?["code"].take();
    let answer = link(&mut https, &code_shown, "one too many").await?;
    assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (409, "too_many_devices"));
    alice.send(&mut https, Call::new(Method::DELETE, "/devices/4")).await?.success()?;
    let answer = link(&mut https, &code_shown, "one too many").await?.success()?;
    assert_eq!(answer.json()?["device_id"], 4, "the lowest free id");
    Ok(())
}

#[tokio::test]
async fn bodies_that_make_no_sense_leave_the_code_alone() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let code_shown = offered(&mut https, &alice).await?["code"].take();
    for (name, value) in [
        ("code", json!(1)),
        ("device_identifier", json!("")),
        ("device_identifier", json!("x".repeat(256))),
        ("device_name", json!("two\nlines")),
        ("registration_id", json!(0)),
        ("registration_id", json!(0x4000)),
        ("keys", json!({})),
    ] {
        let mut body = link_body(&code_shown, "tablet");
        body[name] = value;
        let answer = https.send(Call::post("/link").json(&body)).await?;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (422, "invalid_body"), "{name}");
    }
    for wait in ["61", "-1", "x"] {
        let answer = alice.send(&mut https, Call::get(format!("/devices/link-code?wait={wait}"))).await?;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (400, "invalid_query"), "{wait}");
    }
    link(&mut https, &code_shown, "tablet").await?.success()?;
    Ok(())
}

#[tokio::test]
async fn guessing_and_asking_have_limits() -> anyhow::Result<()> {
    let limits = "[limits]\nlink_address = { size = 3, interval_ms = 600000 }\n\
                  allocate_device = { size = 2, interval_ms = 600000 }\n\
                  wait_for_linked_device = { size = 2, interval_ms = 600000 }\n";
    let server = Server::start(ServerOptions::default().with_config(limits)).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let code_shown = offered(&mut https, &alice).await?["code"].take();
    for _ in 0..3 {
        is_refused(&mut https, &json!("A".repeat(43))).await?;
    }
    let asked = offered(&mut https, &alice).await?;
    let calls = [
        https.send(Call::post("/link").json(&link_body(&asked["code"], "tablet"))).await?,
        offer(&mut https, &alice, PASSWORD).await?,
    ];
    for answer in calls {
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (429, "rate_limited"));
        assert!(answer.headers.contains_key("retry-after"));
    }
    for status in [200, 200, 429] {
        assert_eq!(progress(&mut https, &alice, 0).await?.status, status);
    }
    assert_ne!(code_shown, asked["code"]);
    Ok(())
}

#[tokio::test]
async fn who_waits_is_told_that_the_code_is_withdrawn() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    offered(&mut https, &alice).await?;
    let mut other = Https::connect(server.target(), HttpVersion::Http1).await?;
    let withdraw = alice.send(&mut other, Call::new(Method::DELETE, "/devices/link-code"));
    let (waited, withdrawn) = try_join(progress(&mut https, &alice, 60), withdraw).await?;
    assert_eq!((waited.status.as_u16(), withdrawn.status.as_u16()), (404, 204));
    Ok(())
}

#[tokio::test]
async fn devices_are_shown_named_and_removed() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let tablet = linked(&mut https, &alice, "tablet").await?;
    let desk = linked(&mut https, &alice, "desk").await?;
    let shown = devices(&mut https, &tablet).await?;
    let summary: Vec<_> = shown
        .iter()
        .map(|device| {
            ["device_id", "device_name", "kind", "push", "current"].map(|name| device[name].clone())
        })
        .collect();
    let expected = [
        [json!(1), json!(null), json!("primary"), json!(null), json!(false)],
        [json!(2), json!("tablet's name"), json!("linked"), json!(null), json!(true)],
        [json!(3), json!("desk's name"), json!("linked"), json!(null), json!(false)],
    ];
    assert_eq!(summary, expected);
    for device in &shown {
        assert!(
            device["created"].as_u64() > Some(NOW) && device["last_seen"].as_u64() > Some(NOW),
            "{device}"
        );
        assert!((1..=16383).contains(&device["registration_id"].as_u64().unwrap_or(0)), "{device}");
    }

    let rename = async |https: &mut Https, by: &NativeAccount, id: &str, name: Value| {
        let body = json!({ "device_name": name });
        let answer = by.send(https, Call::new(Method::PATCH, format!("/devices/{id}")).json(&body)).await?;
        let refusal = if answer.status == 204 { String::new() } else { code(&answer) };
        anyhow::Ok((answer.status.as_u16(), refusal))
    };
    let done = (204, String::new());
    assert_eq!(rename(&mut https, &alice, "2", json!("Anna's \u{1F4F1}")).await?, done);
    assert_eq!(rename(&mut https, &desk, "3", json!(null)).await?, done);
    assert_eq!(rename(&mut https, &desk, "2", json!("mine")).await?, (403, "not_primary".to_owned()));
    for (id, name, status, refusal) in [
        ("9", json!("x"), 404, "not_found"),
        ("128", json!("x"), 404, "not_found"),
        ("x", json!("x"), 404, "not_found"),
        ("2", json!(""), 422, "invalid_body"),
        ("2", json!("x".repeat(226)), 422, "invalid_body"),
        ("2", json!("a\u{7}b"), 422, "invalid_body"),
        ("2", json!(1), 422, "invalid_body"),
    ] {
        assert_eq!(rename(&mut https, &alice, id, name).await?, (status, refusal.to_owned()), "{id}");
    }
    let nothing = Call::new(Method::PATCH, "/devices/2").json(&json!({}));
    assert_eq!(
        code(&alice.send(&mut https, nothing).await?),
        "invalid_body",
        "it has said nothing of the name"
    );
    let names: Vec<_> =
        devices(&mut https, &alice).await?.iter().map(|device| device["device_name"].clone()).collect();
    assert_eq!(names, [json!(null), json!("Anna's \u{1F4F1}"), json!(null)]);

    let authorization = tablet.authorization();
    let mut stream = NativeStream::connect(server.target(), HttpVersion::Http1, Some(&authorization)).await?;
    alice.send(&mut https, Call::new(Method::DELETE, "/devices/2")).await?.success()?;
    assert_eq!(stream.closed().await?, ENDED);
    assert_eq!(code(&tablet.send(&mut https, Call::get("/devices")).await?), "unauthorized");
    assert_eq!(devices(&mut https, &alice).await?.len(), 2);
    Ok(())
}
