//! Input that no honest client sends, against the real server: the right status, nothing lost, nothing
//! leaked, memory flat.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::{
    Account, Call, ChatSocket, HttpVersion, Https, KeySet, Refused, Server, ServerOptions,
    account::{self, basic, registration_body, test_number, verify_number},
    process, register_many, register_with, websocket,
    wire::put_request,
};
use tokio::time::timeout;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(10);

async fn started() -> anyhow::Result<(Server, Account, Https)> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let account = register_many(&server, 0, 1, 1).await?.remove(0);
    let https = Https::connect(server.target(), HttpVersion::Http1).await?;
    Ok((server, account, https))
}

/// The server still does its work.
async fn assert_well(server: &Server, account: &Account) -> anyhow::Result<()> {
    let mut socket = ChatSocket::connect(server.target(), Some(account)).await?;
    assert_eq!(socket.request("GET", "/v1/accounts/whoami", None).await?.status, 200);
    Ok(())
}

fn wrong_credentials(account: &Account) -> Vec<String> {
    let Account { aci, password, number, .. } = account;
    vec![
        basic(&format!("{aci}.1"), "wrong"),
        basic(&format!("{aci}.2"), password),
        basic(&format!("{aci}.0"), password),
        basic(&format!("{aci}.128"), password),
        basic(&format!("{aci}.x"), password),
        basic(&format!("{}.1", account.pni), password),
        basic(&Uuid::nil().to_string(), password),
        basic(&format!("{}.1", Uuid::max()), password),
        basic(number, "wrong"),
        basic(&aci.to_string(), ""),
        basic("", password),
        "Basic".to_owned(),
        "Basic !!!!".to_owned(),
        "Basic YQ==".to_owned(),
        format!("Bearer {password}"),
        format!("Basic {}", "A".repeat(4000)),
    ]
}

#[tokio::test]
async fn wrong_credentials_get_403_on_the_upgrade_and_401_elsewhere() -> anyhow::Result<()> {
    let (server, account, mut https) = started().await?;
    for header in wrong_credentials(&account) {
        // The phone number as user is how one client library opens its registration socket.
        let number_as_user = header == basic(&account.number, "wrong");
        match ChatSocket::upgrade(server.target(), Some(&header)).await {
            Ok(_) => assert!(number_as_user, "{header} was let in"),
            Err(error) => assert_eq!(error.downcast_ref(), Some(&Refused(403)), "{header}: {error:#}"),
        }
        let answer = https.send(Call::get("/v1/accounts/whoami").authorization(&header)).await?;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{header}");
        assert!(answer.headers.contains_key("x-signal-timestamp"), "{header}");
    }
    let answer = https.send(Call::get("/v1/accounts/whoami")).await?;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let mut anonymous = ChatSocket::connect(server.target(), None).await?;
    assert_eq!(anonymous.request("GET", "/v1/accounts/whoami", None).await?.status, 401);
    assert_well(&server, &account).await
}

#[tokio::test]
async fn malformed_frames_close_with_1007_and_only_those() -> anyhow::Result<()> {
    let (server, account, _) = started().await?;
    let mut good = Vec::new();
    put_request(&mut good, 1, "GET", "/v1/keepalive", &["a: b"], b"body");
    let mut no_verb = Vec::new();
    put_request(&mut no_verb, 1, "", "/v1/keepalive", &[], b"");
    let mut bad: Vec<Vec<u8>> =
        vec![vec![0xFF; 40], vec![0x08, 0x01], vec![0x08, 0x02], vec![0x12, 0x05, 0], vec![8]];
    bad.extend((1..good.len()).filter(|cut| *cut != 2).map(|cut| good[..cut].to_vec()));
    for payload in bad {
        for credentials in [None, Some(&account)] {
            let mut socket = ChatSocket::connect(server.target(), credentials).await?;
            socket.queue_frame(websocket::BINARY, &payload);
            let (code, _) = timeout(PATIENCE, socket.closed()).await??;
            assert_eq!(code, 1007, "{payload:x?}");
        }
    }
    let mut socket = ChatSocket::connect(server.target(), Some(&account)).await?;
    socket.queue_frame(websocket::TEXT, b"hello");
    socket.queue_ack(12_345);
    socket.queue_frame(websocket::PING, b"1");
    assert_eq!(timeout(PATIENCE, socket.request("GET", "/v1/keepalive", None)).await??.status, 200);
    Ok(())
}

#[tokio::test]
async fn oversized_frames_close_with_1009() -> anyhow::Result<()> {
    let (server, account, _) = started().await?;
    for len in [12 * 1024 * 1024, usize::MAX >> 1] {
        let mut socket = ChatSocket::connect(server.target(), Some(&account)).await?;
        let mut header = Vec::new();
        websocket::put_header(&mut header, websocket::BINARY, len, [1, 2, 3, 4]);
        socket.queue_raw(&header);
        let (code, _) = timeout(PATIENCE, socket.closed()).await??;
        assert_eq!(code, 1009, "{len}");
    }
    assert_well(&server, &account).await
}

#[tokio::test]
async fn websocket_violations_end_the_connection() -> anyhow::Result<()> {
    let (server, account, _) = started().await?;
    // Unmasked; reserved bits; unknown opcode; a fragment of nothing; a ping that is too long.
    let long_ping = [&[0x89, 0xFE, 0x00, 0x7E][..], &[0; 130]].concat();
    let frames: [&[u8]; 5] = [
        &[0x82, 0x02, 0, 0],
        &[0xC2, 0x80, 0, 0, 0, 0],
        &[0x83, 0x80, 0, 0, 0, 0],
        &[0x80, 0x80, 0, 0, 0, 0],
        &long_ping,
    ];
    for frame in frames {
        let mut socket = ChatSocket::connect(server.target(), Some(&account)).await?;
        socket.queue_raw(frame);
        match timeout(PATIENCE, socket.closed()).await? {
            Ok((code, _)) => assert!(matches!(code, 1002 | 1007), "{frame:x?}: {code}"),
            Err(_ended_without_a_close) => {}
        }
    }
    assert_well(&server, &account).await
}

#[tokio::test]
async fn oversized_and_malformed_json_is_refused() -> anyhow::Result<()> {
    let (server, account, _) = started().await?;
    let message_path = format!("/v1/messages/{}", account.aci);
    let paths = [
        (Method::POST, "/v1/verification/session"),
        (Method::POST, "/v1/registration"),
        (Method::PUT, "/v2/keys"),
        (Method::PUT, message_path.as_str()),
    ];
    let deep = "[".repeat(100_000);
    for (method, path) in paths {
        for body in ["", "{", "null", "nul", "{\"a\":}", "\u{0}", "\"x\"", "7", deep.as_str()] {
            let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
            let call =
                Call::new(method.clone(), path).auth(&account).body("application/json", body.to_owned());
            let status = https.send(call).await?.status;
            assert!(status.is_client_error(), "{method} {path} {body:.20}: {status}");
        }
        let huge = format!("{{\"x\":\"{}\"}}", "x".repeat(16 * 1024 * 1024));
        let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
        let call = Call::new(method.clone(), path).auth(&account).body("application/json", huge);
        // The server may answer and close before it has read everything.
        if let Ok(answer) = timeout(PATIENCE, https.send(call)).await? {
            assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{method} {path}");
        }
    }
    assert_well(&server, &account).await
}

type Change = fn(&mut Vec<u8>);

/// Changes the bytes that are base64 text at a path inside a JSON value.
fn spoil(value: &mut Value, pointer: &str, change: Change) {
    let slot = value.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    let mut bytes = account::from_base64(slot.as_str().unwrap_or_default());
    change(&mut bytes);
    *slot = account::base64(&bytes).into();
}

#[tokio::test]
async fn wrong_keys_and_signatures_register_nothing() -> anyhow::Result<()> {
    let (server, _, mut https) = started().await?;
    let number = test_number(42);
    let session = verify_number(server.outbox(), &mut https, &number).await?;
    let good = registration_body(&session, &KeySet::generate(), &KeySet::generate(), (1, 2));
    let keys = [
        "/aciIdentityKey",
        "/pniIdentityKey",
        "/aciSignedPreKey/publicKey",
        "/pniSignedPreKey/publicKey",
        "/aciPqLastResortPreKey/publicKey",
        "/pniPqLastResortPreKey/publicKey",
    ];
    let signatures =
        ["/aciSignedPreKey", "/pniSignedPreKey", "/aciPqLastResortPreKey", "/pniPqLastResortPreKey"];
    let mut bodies = Vec::new();
    let mut add = |pointer: &str, change: Change| {
        let mut body = good.clone();
        spoil(&mut body, pointer, change);
        bodies.push((pointer.to_owned(), body));
    };
    for pointer in keys {
        add(pointer, |key| key.truncate(key.len() - 1));
        add(pointer, |key| key.push(0));
        add(pointer, |key| key[0] ^= 1);
        add(pointer, |key| key[9] ^= 1);
        add(pointer, Vec::clear);
    }
    for pointer in signatures {
        let pointer = format!("{pointer}/signature");
        add(&pointer, |signature| signature[40] ^= 1);
        add(&pointer, |signature| signature.truncate(63));
        add(&pointer, |signature| signature[63] ^= 0x80);
    }
    for (what, body) in bodies {
        let call = Call::post("/v1/registration").authorization(&basic(&number, "password")).json(&body);
        let status = https.send(call).await?.status;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{what}");
    }
    let call = Call::post("/v1/registration").authorization(&basic(&number, "password")).json(&good);
    let answer = https.send(call).await?.success()?.json()?;
    assert_eq!(answer["reregistration"], false, "a refused request has left an account behind");
    Ok(())
}

#[tokio::test]
async fn wrong_key_uploads_store_nothing() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let keys = KeySet::generate();
    let account = register_with(&server, &test_number(3), (&keys, &KeySet::generate())).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let good = keys.one_time_keys(10, 3, 3);
    let cases: [(&str, Change); 7] = [
        ("/preKeys/2/publicKey", |key| key.truncate(32)),
        ("/preKeys/2/publicKey", |key| key.push(0)),
        ("/preKeys/2/publicKey", |key| key[0] = 6),
        ("/pqPreKeys/2/publicKey", |key| key.truncate(1568)),
        ("/pqPreKeys/2/publicKey", |key| key[0] = 7),
        ("/pqPreKeys/2/publicKey", |key| key[9] ^= 1),
        ("/pqPreKeys/2/signature", |signature| signature[5] ^= 1),
    ];
    for (pointer, change) in cases {
        let mut body = good.clone();
        spoil(&mut body, pointer, change);
        let status = https.send(Call::put("/v2/keys").auth(&account).json(&body)).await?.status;
        assert!(matches!(status.as_u16(), 400 | 422), "{pointer}: {status}");
    }
    let too_many = keys.one_time_keys(10, 101, 0);
    let status = https.send(Call::put("/v2/keys").auth(&account).json(&too_many)).await?.status;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let others = KeySet::generate().one_time_keys(10, 0, 3);
    let status = https.send(Call::put("/v2/keys").auth(&account).json(&others)).await?.status;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "signed by another identity");
    let counts = https.send(Call::get("/v2/keys").auth(&account)).await?.success()?.json()?;
    assert_eq!(counts, json!({ "count": 0, "pqCount": 0 }));
    Ok(())
}

#[tokio::test]
async fn unknown_routes_are_404_everywhere() -> anyhow::Result<()> {
    let (server, account, mut https) = started().await?;
    let mut socket = ChatSocket::connect(server.target(), Some(&account)).await?;
    for path in ["/", "/v1", "/v1/nothing", "/v9/keys", "/../etc/passwd", "/v1/messages/not-a-uuid/x", "/%00"]
    {
        let answer = https.send(Call::get(path).auth(&account)).await?;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.headers.contains_key("x-signal-timestamp"), "{path}");
        assert_eq!(socket.request("GET", path, None).await?.status, 404, "{path}");
    }
    Ok(())
}

/// A recipient that holds its socket open and reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_does_not_read_costs_little_and_loses_nothing() -> anyhow::Result<()> {
    const MESSAGES: usize = 2_400;
    /// Until the store's caches and the allocator's pools are full: what they hold is no cost of the reader's.
    const WARM_UP: usize = 800;
    /// Messages under way at a time.
    const TOGETHER: usize = 32;
    const CONTENT_LEN: usize = 32 * 1024;
    /// A third of what is sent after that.
    const GROWTH_KIB_MAX: u64 = ((MESSAGES - WARM_UP) * CONTENT_LEN / 1024 / 3) as u64;
    let server = Server::start(ServerOptions::unlimited()).await?;
    let accounts = register_many(&server, 0, 2, 2).await?;
    let (sender, reader) = (&accounts[0], &accounts[1]);
    let _unread = ChatSocket::connect(server.target(), Some(reader)).await?;
    let mut socket = ChatSocket::connect(server.target(), Some(sender)).await?;
    let body = json!({
        "messages": [{
            "type": 1,
            "destinationDeviceId": 1,
            "destinationRegistrationId": reader.registration_id,
            "content": account::base64(&vec![7; CONTENT_LEN]),
        }],
    });
    let path = format!("/v1/messages/{}", reader.aci);
    let body = body.to_string();
    let mut send = async |count: usize| -> anyhow::Result<()> {
        for _ in 0..count / TOGETHER {
            for _ in 0..TOGETHER {
                socket.queue_request("PUT", &path, &["content-type: application/json"], body.as_bytes());
            }
            for _ in 0..TOGETHER {
                let (_, answer) = timeout(PATIENCE, socket.any_answer()).await??;
                assert_eq!(answer.status, 200);
            }
        }
        Ok(())
    };
    send(WARM_UP).await?;
    let before = process::memory(server.pid())?.anonymous_kib;
    send(MESSAGES - WARM_UP).await?;
    let after = process::memory(server.pid())?.anonymous_kib;
    assert!(after < before + GROWTH_KIB_MAX, "memory grew from {before} KiB to {after} KiB");
    let mut again = ChatSocket::connect(server.target(), Some(reader)).await?;
    for n in 0..MESSAGES {
        let delivery = timeout(PATIENCE, again.delivery()).await??;
        assert!(delivery.envelope.len() > CONTENT_LEN, "{n}");
        again.queue_ack(delivery.id);
    }
    timeout(PATIENCE, again.queue_empty()).await??;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_bad_requests_leave_memory_flat() -> anyhow::Result<()> {
    const ROUNDS: usize = 4;
    const REQUESTS: usize = 500;
    const GROWTH_KIB_MAX: u64 = 6 * 1024;
    let (server, account, mut https) = started().await?;
    let wrong = wrong_credentials(&account);
    let mut after_first = None;
    for _ in 0..ROUNDS {
        for n in 0..REQUESTS {
            let body = format!("{{\"number\":\"{}\"", "5".repeat(n * 7));
            let call = Call::post("/v1/verification/session").body("application/json", body);
            assert!(https.send(call).await?.status.is_client_error());
            let call = Call::get(format!("/v1/{}", "x".repeat(n))).authorization(&wrong[n % wrong.len()]);
            assert!(https.send(call).await?.status.is_client_error());
            if n.is_multiple_of(5) {
                let mut socket = ChatSocket::connect(server.target(), None).await?;
                socket.queue_frame(websocket::BINARY, &vec![0xEE; n * 100]);
                timeout(PATIENCE, socket.closed()).await??;
            }
        }
        after_first.get_or_insert(process::memory(server.pid())?.anonymous_kib);
    }
    let (before, after) = (after_first.unwrap_or_default(), process::memory(server.pid())?.anonymous_kib);
    assert!(after < before + GROWTH_KIB_MAX, "memory grew from {before} KiB to {after} KiB");
    assert_well(&server, &account).await
}
