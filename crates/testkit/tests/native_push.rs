//! Native devices that are away are woken once, by whichever service they have registered with, and by none while they
//! are connected: against the running server and stand-ins that speak the real protocols.

use std::time::Duration;

use anyhow::ensure;
use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{
    Answer, Call, HttpVersion, Https, NativeAccount, NativeStream, Server, ServerOptions,
    account::base64,
    native::code,
    push::{FcmStandIn, WebPushStandIn},
};
use tokio::time::{Instant, sleep};

/// Nothing here takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// In which a push would come that must not. It follows its message within milliseconds.
const A_WHILE: Duration = Duration::from_millis(500);
const NOW: u64 = 1_700_000_000_000;

struct Scene {
    server: Server,
    https: Https,
    google: FcmStandIn,
    mozilla: WebPushStandIn,
    alice: NativeAccount,
    bob: NativeAccount,
    _files: TempDir,
}

impl Scene {
    async fn new() -> anyhow::Result<Self> {
        let (google, mozilla) = (FcmStandIn::start().await?, WebPushStandIn::start().await?);
        let files = tempfile::tempdir()?;
        let (account, roots) = (files.path().join("account.json"), files.path().join("roots.pem"));
        std::fs::write(&account, google.service_account())?;
        std::fs::write(&roots, format!("{}{}", google.server().ca_pem(), mozilla.server().ca_pem()))?;
        let config = format!(
            "{}\n[push]\nca_file = \"{}\"\n[web_push]\nallowed_hosts = [\"localhost\"]\n\
             allowed_networks = [\"127.0.0.0/8\", \"::1\"]\n[log]\nfilter = \"debug\"\n",
            google.config(&account),
            roots.display()
        );
        let options = ServerOptions::unlimited().with_config(&config);
        let server = Server::start(ServerOptions { log: "debug".to_owned(), ..options }).await?;
        let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
        let alice = NativeAccount::register(&mut https, "alice").await?;
        let bob = NativeAccount::register(&mut https, "bob").await?;
        Ok(Self { server, https, google, mozilla, alice, bob, _files: files })
    }

    async fn put(&mut self, by: &NativeAccount, body: &Value) -> anyhow::Result<Answer> {
        by.send(&mut self.https, Call::put("/push").json(body)).await
    }

    /// Registers that device under that name, and answers the secrets that it has told the server.
    async fn subscribed(&mut self, by: &NativeAccount, name: &str) -> anyhow::Result<[String; 3]> {
        let (endpoint, subscriber) = self.mozilla.subscribe(name)?;
        let (p256dh, auth) = (subscriber.p256dh(), subscriber.auth());
        self.put(by, &web_push(&endpoint, &p256dh, &auth)).await?.success()?;
        Ok([endpoint, p256dh, auth])
    }

    /// Alice writes to Bob.
    async fn write(&mut self, urgent: bool) -> anyhow::Result<()> {
        let body = json!({
            "recipient_id": self.bob.user_id, "encrypted_payload": base64(b"sealed"), "timestamp": NOW,
            "urgent": urgent,
        });
        self.alice.send(&mut self.https, Call::post("/messages").json(&body)).await?.success()?;
        Ok(())
    }

    /// Bob fetches and acknowledges all there is.
    async fn read(&mut self) -> anyhow::Result<usize> {
        let answer = self.bob.send(&mut self.https, Call::get("/messages")).await?.success()?.json()?;
        let messages = answer["messages"].as_array().cloned().unwrap_or_default();
        let ids: Vec<_> = messages.iter().map(|message| message["id"].clone()).collect();
        let acknowledge = Call::post("/messages/acknowledge").json(&json!({ "message_ids": ids }));
        self.bob.send(&mut self.https, acknowledge).await?.success()?;
        Ok(messages.len())
    }

    fn pushes(&self, name: &str) -> Vec<Value> {
        let taken = self.mozilla.taken().into_iter().filter(|message| message.name == name);
        taken.map(|message| message.content).collect()
    }

    async fn woken(&self, name: &str, times: usize) -> anyhow::Result<()> {
        eventually(&format!("{times} pushes to {name}"), async || Ok(self.pushes(name).len() >= times)).await
    }

    /// Who wakes Bob's device, as he is shown it.
    async fn shown(&mut self) -> anyhow::Result<Value> {
        let mut devices = self.bob.send(&mut self.https, Call::get("/devices")).await?.success()?.json()?;
        Ok(devices["devices"][0]["push"].take())
    }
}

fn web_push(endpoint: &str, p256dh: &str, auth: &str) -> Value {
    // As a browser writes its subscription down, and by which service.
    json!({
        "service": "web_push", "endpoint": endpoint, "expirationTime": null,
        "keys": { "p256dh": p256dh, "auth": auth },
    })
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await? {
        ensure!(Instant::now() < deadline, "{what}: not in time");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_is_woken_once_urgent_or_not_and_who_is_connected_is_not() -> anyhow::Result<()> {
    let mut scene = Scene::new().await?;
    let bob = scene.bob.clone();
    scene.subscribed(&bob, "phone").await?;
    assert_eq!(scene.shown().await?, "web_push");

    // Not urgent: the first of two.
    scene.write(false).await?;
    scene.woken("phone", 1).await?;
    scene.write(false).await?;
    sleep(A_WHILE).await;
    assert_eq!(scene.pushes("phone"), [json!({ "urgent": false })]);
    assert_eq!(scene.read().await?, 2);

    // While it waits in a request, and while it has a socket.
    let mut waiting = Https::connect(scene.server.target(), HttpVersion::Http1).await?;
    let wait = async {
        let answer = bob.send(&mut waiting, Call::get("/messages?wait=60")).await?.success()?.json()?;
        anyhow::Ok(answer["messages"][0]["id"].clone())
    };
    let write = async {
        // It has begun to wait once it is no longer told that something comes.
        sleep(A_WHILE).await;
        scene.write(true).await
    };
    let (id, ()) = tokio::try_join!(wait, write)?;
    let acknowledge = Call::post("/messages/acknowledge").json(&json!({ "message_ids": [id] }));
    bob.send(&mut waiting, acknowledge).await?.success()?;
    let authorization = bob.authorization();
    let target = scene.server.target().clone();
    let mut stream = NativeStream::connect(&target, HttpVersion::Http1, Some(&authorization)).await?;
    scene.write(true).await?;
    let message = stream.message().await?;
    stream.acknowledge(&message).await?;
    scene.write(true).await?;
    let message = stream.message().await?;
    stream.acknowledge(&message).await?;
    sleep(A_WHILE).await;
    assert_eq!(scene.pushes("phone").len(), 1, "nobody is woken who is there");
    drop(stream);

    // Urgent, and with nothing that says what or from whom.
    eventually("the socket is gone", async || {
        scene.write(true).await?;
        Ok(scene.pushes("phone").len() == 2)
    })
    .await?;
    assert_eq!(scene.pushes("phone")[1], json!({ "urgent": true }));
    assert_eq!(scene.mozilla.refused(), [""; 0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_registration_counts_until_it_is_given_up_or_reaches_nobody() -> anyhow::Result<()> {
    let mut scene = Scene::new().await?;
    let bob = scene.bob.clone();
    let offer = bob.send(&mut scene.https, Call::get("/push")).await?.success()?.json()?;
    assert_eq!((&offer["fcm"], &offer["apns"]), (&json!(true), &json!(false)));
    let secrets = scene.subscribed(&bob, "very-secret-endpoint").await?;
    let token = json!({ "service": "fcm", "token": "very-secret-token" });
    scene.put(&bob, &token).await?.success()?;
    assert_eq!(scene.shown().await?, "fcm");
    scene.write(true).await?;
    eventually("Google is told", async || Ok(scene.google.count() == 1)).await?;
    assert_eq!(scene.google.taken()[0].token, "very-secret-token");
    scene.read().await?;

    scene.subscribed(&bob, "phone").await?;
    scene.write(true).await?;
    scene.woken("phone", 1).await?;
    assert_eq!(scene.mozilla.signers(), [offer["web_push"]["public_key"].as_str().unwrap_or_default()]);
    scene.read().await?;
    for _ in 0..2 {
        bob.send(&mut scene.https, Call::new(Method::DELETE, "/push")).await?.success()?;
    }
    assert_eq!(scene.shown().await?, json!(null));
    scene.write(true).await?;
    sleep(A_WHILE).await;
    assert_eq!((scene.pushes("phone").len(), scene.google.count()), (1, 1));
    scene.read().await?;

    scene.subscribed(&bob, "gone").await?;
    scene.mozilla.answer("gone", 410, None);
    scene.write(true).await?;
    eventually("the subscription is forgotten", async || Ok(scene.shown().await? == json!(null))).await?;

    for path in [scene.server.data(), scene.server.data().join("secrets")] {
        for entry in std::fs::read_dir(path)?.map_while(Result::ok).filter(|entry| entry.path().is_file()) {
            let content = std::fs::read(entry.path())?;
            for secret in secrets.iter().map(String::as_str).chain(["very-secret-token"]) {
                let shown = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!shown, "{} shows {secret}", entry.path().display());
            }
        }
    }
    let log = scene.server.log();
    assert!(!log.contains("very-secret") && !log.contains(&secrets[2]), "the log shows a token");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_logged_out_is_not_woken_until_it_is_back() -> anyhow::Result<()> {
    let mut scene = Scene::new().await?;
    let bob = scene.bob.clone();
    scene.subscribed(&bob, "phone").await?;
    bob.send(&mut scene.https, Call::post("/logout")).await?.success()?;
    scene.write(true).await?;
    sleep(A_WHILE).await;
    assert_eq!(scene.pushes("phone").len(), 0);
    scene.bob = NativeAccount::login(&mut scene.https, "bob", &bob.device_identifier).await?;
    assert_eq!(scene.read().await?, 1);
    scene.write(true).await?;
    scene.woken("phone", 1).await?;

    // A device that is removed takes its registration along, and the next of its id has none.
    let bob = scene.bob.clone();
    let tablet = NativeAccount::login(&mut scene.https, "bob", "tablet").await?;
    scene.subscribed(&tablet, "tablet").await?;
    bob.send(&mut scene.https, Call::new(Method::DELETE, "/devices/2")).await?.success()?;
    let refused = scene.put(&tablet, &json!({ "service": "fcm", "token": "x" })).await?;
    assert_eq!(code(&refused), "unauthorized");
    let desk = NativeAccount::login(&mut scene.https, "bob", "desk").await?;
    assert_eq!(desk.device_id, 2);
    scene.write(true).await?;
    sleep(A_WHILE).await;
    assert_eq!(scene.pushes("tablet").len(), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_registered_is_refused_with_its_code() -> anyhow::Result<()> {
    let mut scene = Scene::new().await?;
    let bob = scene.bob.clone();
    let (endpoint, subscriber) = scene.mozilla.subscribe("phone")?;
    let (p256dh, auth) = (subscriber.p256dh(), subscriber.auth());
    let at = |endpoint: &str| web_push(endpoint, &p256dh, &auth);
    let off_the_curve = base64(&[&[4][..], &[1; 64]].concat());
    let platform = |service: &str, token: &str| json!({ "service": service, "token": token });
    for (body, status, refusal) in [
        (json!({}), 422, "invalid_body"),
        (platform("carrier pigeon", "x"), 422, "invalid_body"),
        (json!({ "service": "web_push", "endpoint": endpoint }), 422, "invalid_body"),
        (json!({ "service": "fcm" }), 422, "invalid_body"),
        (platform("apns", "00aa"), 409, "push_unavailable"),
        (platform("fcm", ""), 422, "invalid_push_token"),
        (platform("fcm", &"x".repeat(4097)), 422, "invalid_push_token"),
        (at("http://localhost/x"), 422, "invalid_push_token"),
        (at("https://somebody@localhost/x"), 422, "invalid_push_token"),
        (at(&format!("https://localhost/{}", "x".repeat(2048))), 422, "invalid_push_token"),
        (web_push(&endpoint, &auth, &auth), 422, "invalid_push_token"),
        (web_push(&endpoint, &p256dh, &p256dh), 422, "invalid_push_token"),
        (
            web_push(&endpoint, &off_the_curve.replace('+', "-").replace('/', "_"), &auth),
            422,
            "invalid_push_token",
        ),
        (at("https://push.example.org/x"), 422, "push_endpoint_refused"),
        (at("https://10.0.0.1/x"), 422, "push_endpoint_refused"),
        (at("https://[::ffff:169.254.169.254]/x"), 422, "push_endpoint_refused"),
    ] {
        let answer = scene.put(&bob, &body).await?;
        assert_eq!((answer.status.as_u16(), code(&answer).as_str()), (status, refusal), "{body}");
    }
    assert_eq!(scene.shown().await?, json!(null));
    scene.put(&bob, &at(&endpoint)).await?.success()?;
    Ok(())
}
