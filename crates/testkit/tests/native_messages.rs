//! Messages of the native API, among native accounts and between them and Signal's.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{
    Call, ChatSocket, HttpVersion, Https, KeySet, NativeAccount, NativeStream, Server, ServerOptions,
    account::{base64, from_base64},
    native::{NativeEvent, code},
    register,
    wire::{EnvelopeView, RECEIPT},
};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

const NOW: u64 = 1_700_000_000_000;

async fn start() -> anyhow::Result<(Server, Https)> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let https = Https::connect(server.target(), HttpVersion::Http2).await?;
    Ok((server, https))
}

fn to(recipient: &str, payload: &[u8], timestamp: u64) -> Call {
    Call::post("/messages").json(&json!({
        "recipient_id": recipient, "encrypted_payload": base64(payload), "timestamp": timestamp,
    }))
}

async fn waiting(https: &mut Https, account: &NativeAccount) -> anyhow::Result<Vec<Value>> {
    let answer = account.send(https, Call::get("/messages")).await?.success()?.json()?;
    Ok(answer["messages"].as_array().cloned().unwrap_or_default())
}

#[tokio::test]
async fn the_flow_that_the_design_draws() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let bob = NativeAccount::register(&mut https, "bob").await?;
    let message = json!({
        "encrypted_payload": base64(b"sealed"), "recipient_id": bob.user_id, "sender_id": alice.user_id,
        "timestamp": NOW,
    });
    let refused = https.send(Call::post("/messages").json(&message)).await?;
    assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (401, "unauthorized"));
    let accepted = alice.send(&mut https, Call::post("/messages").json(&message)).await?;
    assert_eq!(accepted.status, 200);
    assert_eq!(accepted.json()?, json!({ "devices": [1], "needs_sync": false }));
    let path = format!("/messages?user_id={}", bob.user_id);
    assert_eq!(https.send(Call::get(&path)).await?.status, 401);
    let fetched = bob.send(&mut https, Call::get(&path)).await?.success()?.json()?;
    let [message] = &fetched["messages"].as_array().expect("a list")[..] else { panic!("{fetched}") };
    assert_eq!(message["encrypted_payload"], base64(b"sealed"));
    assert_eq!((&message["sender_id"], &message["timestamp"]), (&json!(alice.user_id), &json!(NOW)));
    assert_eq!((&message["type"], &message["sender_device_id"]), (&json!("ciphertext"), &json!(1)));
    // Somebody else's may be neither sent nor read.
    let forged = json!({
        "encrypted_payload": "AA==", "recipient_id": bob.user_id, "sender_id": bob.user_id, "timestamp": NOW,
    });
    let forged = alice.send(&mut https, Call::post("/messages").json(&forged)).await?;
    assert_eq!((forged.status.as_u16(), code(&forged).as_str()), (403, "sender_mismatch"));
    assert_eq!(alice.send(&mut https, Call::get(&path)).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn messages_wait_until_they_are_acknowledged_and_the_sender_is_told() -> anyhow::Result<()> {
    let (mut server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let bob = NativeAccount::register(&mut https, "bob").await?;
    for n in 0..5 {
        alice.send(&mut https, to(&bob.user_id, &[n], NOW + u64::from(n))).await?.success()?;
    }
    server.kill()?;
    server.restart().await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let page = bob.send(&mut https, Call::get("/messages?limit=2")).await?.success()?.json()?;
    assert_eq!((page["messages"].as_array().map(Vec::len), &page["more"]), (Some(2), &json!(true)));
    let all = waiting(&mut https, &bob).await?;
    let payloads: Vec<_> = all.iter().map(|message| message["encrypted_payload"].clone()).collect();
    assert_eq!(
        payloads,
        (0..5).map(|n| json!(base64(&[n]))).collect::<Vec<_>>(),
        "in order, all of them, again"
    );

    let one = format!("/messages/{}", all[0]["id"].as_str().expect("an id"));
    let delete = || Call::new(http::Method::DELETE, one.clone());
    assert_eq!(alice.send(&mut https, delete()).await?.status, 404, "not hers to acknowledge");
    assert_eq!(bob.send(&mut https, delete()).await?.status, 204);
    assert_eq!(bob.send(&mut https, delete()).await?.status, 404);
    let ids = json!({ "message_ids": [all[1]["id"], all[2]["id"], "1"] });
    let acknowledge = Call::post("/messages/acknowledge").json(&ids);
    assert_eq!(bob.send(&mut https, acknowledge).await?.status, 204);
    assert_eq!(waiting(&mut https, &bob).await?.len(), 2);

    let receipts = waiting(&mut https, &alice).await?;
    let told: Vec<_> = receipts.iter().map(|receipt| receipt["timestamp"].as_u64()).collect();
    assert_eq!(told, [Some(NOW), Some(NOW + 1), Some(NOW + 2)]);
    assert!(
        receipts.iter().all(|receipt| receipt["type"] == "receipt" && receipt["sender_id"] == bob.user_id)
    );
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_sent_or_asked_is_refused_with_its_code() -> anyhow::Result<()> {
    let (_server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let bob = NativeAccount::register(&mut https, "bob").await?;
    let id = &bob.user_id;
    let copy = |device: u64, registration: u64| json!({ "device_id": device, "registration_id": registration, "encrypted_payload": "AA==" });
    let registration = bob.registration_id;
    let large = base64(&vec![0; 98_305]);
    for (change, status, expected) in [
        (json!({ "recipient_id": "00000000-0000-4000-8000-000000000000" }), 404, "recipient_not_found"),
        (json!({ "recipient_id": "bob" }), 404, "recipient_not_found"),
        (json!({ "encrypted_payload": "not base64!" }), 422, "invalid_body"),
        (json!({ "encrypted_payload": "" }), 422, "invalid_body"),
        (json!({ "encrypted_payload": large }), 413, "message_too_large"),
        (json!({ "encrypted_payload": null }), 422, "invalid_body"),
        (json!({ "timestamp": -1 }), 422, "invalid_body"),
        (json!({ "timestamp": 8_640_000_000_000_001_u64 }), 422, "invalid_body"),
        (json!({ "type": "other" }), 422, "invalid_body"),
        (json!({ "messages": [copy(1, registration)] }), 422, "invalid_body"),
        (json!({ "encrypted_payload": null, "messages": [] }), 422, "invalid_body"),
        (
            json!({ "encrypted_payload": null, "messages": [copy(1, registration), copy(1, registration)] }),
            422,
            "invalid_body",
        ),
        (json!({ "encrypted_payload": null, "messages": [copy(2, 1)] }), 409, "device_mismatch"),
        (
            json!({ "encrypted_payload": null, "messages": [copy(1, registration % 16_383 + 1)] }),
            410,
            "stale_devices",
        ),
    ] {
        let mut body = json!({ "recipient_id": id, "encrypted_payload": "AA==", "timestamp": NOW });
        for (name, value) in change.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let answer = alice.send(&mut https, Call::post("/messages").json(&body)).await?;
        let what = format!("{change:.100}");
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (status, expected), "{what}");
        match expected {
            "device_mismatch" => {
                let body = answer.json()?;
                assert_eq!((&body["missing_devices"], &body["extra_devices"]), (&json!([1]), &json!([2])));
            }
            "stale_devices" => assert_eq!(answer.json()?["stale_devices"], json!([1])),
            _ => {}
        }
    }
    for query in ["limit=0", "limit=101", "limit=x", "wait=61", "wait=-1"] {
        let answer = bob.send(&mut https, Call::get(format!("/messages?{query}"))).await?;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (400, "invalid_query"), "{query}");
    }
    assert!(waiting(&mut https, &bob).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn waiting_for_messages_ends_with_one_with_patience_or_with_the_session() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let bob = NativeAccount::register(&mut https, "bob").await?;
    let began = Instant::now();
    let nothing = bob.send(&mut https, Call::get("/messages?wait=1")).await?.success()?.json()?;
    assert_eq!(nothing, json!({ "messages": [], "more": false }));
    assert!(began.elapsed() >= Duration::from_secs(1));

    let wait = async |seconds: u64| {
        let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
        bob.send(&mut https, Call::get(format!("/messages?wait={seconds}"))).await
    };
    let sending = async {
        // Long enough that it most likely waits already; if not, it is answered at once.
        tokio::time::sleep(Duration::from_millis(200)).await;
        alice.send(&mut https, to(&bob.user_id, b"now", NOW)).await?.success()
    };
    let (waited, sent) = tokio::join!(timeout(Duration::from_secs(20), wait(60)), sending);
    sent?;
    let messages = waited??.success()?.json()?["messages"].take();
    let id = messages[0]["id"].as_str().expect("a message").to_owned();
    let delete = Call::new(http::Method::DELETE, format!("/messages/{id}"));
    bob.send(&mut https, delete).await?.success()?;

    let log_out = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        bob.send(&mut https, Call::post("/logout")).await?.success()
    };
    let (waited, ended) = tokio::join!(timeout(Duration::from_secs(20), wait(60)), log_out);
    ended?;
    assert_eq!(waited??.status, 401);
    Ok(())
}

#[tokio::test]
async fn the_stream_delivers_and_takes_acknowledgements() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let bob = NativeAccount::register(&mut https, "bob").await?;
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        alice.send(&mut https, to(&bob.user_id, b"before", NOW)).await?.success()?;
        let mut stream = NativeStream::connect(server.target(), version, Some(&bob.authorization())).await?;
        let before = stream.message().await?;
        assert_eq!(before["encrypted_payload"], base64(b"before"));
        stream.acknowledge(&before).await?;
        assert_eq!(stream.next().await?, NativeEvent::Json(json!({ "type": "queue_empty" })));
        // The sender's answer waits for the acknowledgement at most for the queue's grace.
        let (sent, received) =
            tokio::join!(alice.send(&mut https, to(&bob.user_id, b"online", NOW + 1)), stream.message());
        sent?.success()?;
        stream.acknowledge(&received?).await?;
        // Not acknowledged: for the next connection.
        alice.send(&mut https, to(&bob.user_id, b"kept", NOW + 2)).await?.success()?;
        stream.message().await?;
        let mut next = NativeStream::connect(server.target(), version, Some(&bob.authorization())).await?;
        assert_eq!(stream.closed().await?, 4409, "a device has one reader");
        let kept = next.message().await?;
        assert_eq!(kept["encrypted_payload"], base64(b"kept"));
        next.acknowledge(&kept).await?;
        assert_eq!(next.next().await?, NativeEvent::Json(json!({ "type": "queue_empty" })));
        next.send("nonsense").await?;
        assert_eq!(next.closed().await?, 1007);
        assert!(waiting(&mut https, &bob).await?.is_empty());
    }
    Ok(())
}

#[tokio::test]
async fn an_official_client_and_a_native_one_reach_each_other() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let signal = register(&server, "+15550100001").await?;
    let native = NativeAccount::register(&mut https, "alice").await?;
    let aci = signal.aci.to_string();
    let mut socket = ChatSocket::connect(server.target(), Some(&signal)).await?;

    // From the native one, with a payload for each device.
    let message = json!({
        "recipient_id": aci,
        "timestamp": NOW,
        "messages": [{
            "device_id": 1, "registration_id": signal.registration_id, "type": "prekey",
            "encrypted_payload": base64(b"to signal"),
        }],
    });
    let sending = native.send(&mut https, Call::post("/messages").json(&message));
    let (sent, delivery) = tokio::join!(sending, socket.delivery());
    sent?.success()?;
    let delivery = delivery?;
    let envelope = EnvelopeView::parse(&delivery.envelope)?;
    assert_eq!((envelope.kind, envelope.client_timestamp, envelope.source_device), (3, NOW, 1));
    assert_eq!(envelope.content, b"to signal");
    let sender: Uuid = native.user_id.parse()?;
    assert_eq!(envelope.source, sender.as_bytes());
    socket.queue_ack(delivery.id);
    socket.flush().await?;

    // And back.
    let body = json!({
        "timestamp": NOW + 1,
        "messages": [{
            "type": 1, "destinationDeviceId": 1, "destinationRegistrationId": native.registration_id,
            "content": base64(b"to native"),
        }],
    });
    let answer = socket.request("PUT", &format!("/v1/messages/{}", native.user_id), Some(&body)).await?;
    assert_eq!(answer.status, 200);
    // The receipt for the first message may come a moment later.
    let mut messages = Vec::new();
    while messages.len() < 2 {
        let fetched = native.send(&mut https, Call::get("/messages?wait=5")).await?.success()?.json()?;
        messages.clone_from(fetched["messages"].as_array().expect("a list"));
    }
    let of = |kind: &str| messages.iter().find(|message| message["type"] == kind).expect("both came");
    assert_eq!(of("receipt")["timestamp"], NOW);
    let back = of("ciphertext");
    assert_eq!((&back["sender_id"], &back["timestamp"]), (&json!(aci), &json!(NOW + 1)));
    assert_eq!(from_base64(back["encrypted_payload"].as_str().expect("a payload")), b"to native");
    let delete =
        Call::new(http::Method::DELETE, format!("/messages/{}", back["id"].as_str().expect("an id")));
    native.send(&mut https, delete).await?.success()?;
    let receipt = socket.delivery().await?;
    assert_eq!(EnvelopeView::parse(&receipt.envelope)?.kind, RECEIPT);
    Ok(())
}

#[tokio::test]
async fn keys_are_published_once_and_found_by_both() -> anyhow::Result<()> {
    let (server, mut https) = start().await?;
    let signal = register(&server, "+15550100001").await?;
    let native = NativeAccount::register(&mut https, "alice").await?;
    let theirs = format!("/v2/keys/{}/*", native.user_id);
    let mine = format!("/keys/{}", native.user_id);
    assert_eq!(https.send(Call::get(&theirs).auth(&signal)).await?.status, 404, "nothing is published yet");
    assert_eq!(native.send(&mut https, Call::get(&mine)).await?.status, 404);

    let publish = async |https: &mut Https, account: &NativeAccount, body: &Value| {
        account.send(https, Call::put("/keys").json(body)).await
    };
    let (keys, others) = (KeySet::generate(), KeySet::generate());
    let mut mixed = keys.native_body(2);
    mixed["signed_pre_key"] = others.native_body(0)["signed_pre_key"].clone();
    assert_eq!(code(&publish(&mut https, &native, &mixed).await?), "wrong_signature");
    let mut late = keys.native_body(2);
    late["pq_pre_keys"] = others.native_body(2)["pq_pre_keys"].clone();
    assert_eq!(code(&publish(&mut https, &native, &late).await?), "wrong_signature");
    assert_eq!(
        code(&publish(&mut https, &native, &json!({ "identity_key": keys.identity_key() })).await?),
        "identity_missing"
    );
    assert_eq!(native.send(&mut https, Call::get(&mine)).await?.status, 404, "none of it was kept");
    assert_eq!(publish(&mut https, &native, &keys.native_body(2)).await?.status, 204);
    let counts = native.send(&mut https, Call::get("/keys")).await?.json()?;
    assert_eq!(counts, json!({ "pre_keys": 2, "pq_pre_keys": 2 }));

    let found = https.send(Call::get(&theirs).auth(&signal)).await?.success()?.json()?;
    let identity = from_base64(found["identityKey"].as_str().expect("a key"));
    assert_eq!(identity, from_base64(&keys.identity_key()));
    assert_eq!(found["devices"][0]["registrationId"], native.registration_id);
    let taken =
        native.send(&mut https, Call::get(format!("/keys/{}", signal.aci))).await?.success()?.json()?;
    assert_eq!(taken["devices"][0]["registration_id"], signal.registration_id);
    assert_eq!(taken["user_id"], signal.aci.to_string());

    // A device that joins is not written to until it has keys, or official clients could not encrypt for it.
    let tablet = NativeAccount::login(&mut https, "alice", "tablet").await?;
    assert_eq!(code(&publish(&mut https, &tablet, &json!({ "pre_keys": [] })).await?), "identity_missing");
    let sent = tablet.send(&mut https, to(&signal.aci.to_string(), b"x", NOW)).await?;
    assert_eq!(sent.status, 200, "it can write");
    let message = json!({ "timestamp": NOW, "messages": [{ "type": 1, "destinationDeviceId": 1,
        "destinationRegistrationId": native.registration_id, "content": "AA==" }] });
    let path = format!("/v1/messages/{}", native.user_id);
    assert_eq!(https.send(Call::put(&path).auth(&signal).json(&message)).await?.status, 200);
    assert_eq!(code(&publish(&mut https, &tablet, &others.native_body(0)).await?), "other_identity");
    let mut replacing = others.native_body(0);
    replacing["replace_identity"] = json!(true);
    assert_eq!(code(&publish(&mut https, &tablet, &replacing).await?), "not_primary");
    assert_eq!(publish(&mut https, &tablet, &keys.native_body(0)).await?.status, 204);
    assert_eq!(https.send(Call::put(&path).auth(&signal).json(&message)).await?.status, 409);
    // After a reinstallation the primary begins anew, and the other is out until it follows.
    replacing["registration_id"] = json!(native.registration_id % 16_383 + 1);
    assert_eq!(publish(&mut https, &native, &replacing).await?.status, 204);
    assert_eq!(https.send(Call::put(&path).auth(&signal).json(&message)).await?.status, 410);
    let found = https.send(Call::get(&theirs).auth(&signal)).await?.success()?.json()?;
    assert_eq!(found["devices"].as_array().map(Vec::len), Some(1));
    Ok(())
}
