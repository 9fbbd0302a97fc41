//! Waking devices that are away, from the message to the push server: over a crash, with a provider that is down,
//! and with no token to be found on disk or in the log.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tempfile::TempDir;
use testkit::{
    Account, Call, ChatSocket, HttpVersion, Https, Server, ServerOptions,
    account::base64,
    push::{FcmStandIn, WebPushStandIn},
    register_many,
    server::binary,
};
use tokio::time::{Instant, sleep};

/// Nothing here takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Until the server has noted whom it has woken.
const NOTED: Duration = Duration::from_secs(7);
/// Longer than after a start those are woken who were not before.
const RECOVERED: Duration = Duration::from_secs(22);

struct Scene {
    server: Server,
    google: FcmStandIn,
    mozilla: WebPushStandIn,
    accounts: Vec<Account>,
    sender: ChatSocket,
    _files: TempDir,
}

impl Scene {
    async fn new(accounts: usize) -> anyhow::Result<Self> {
        let (google, mozilla) = (FcmStandIn::start().await?, WebPushStandIn::start().await?);
        let files = tempfile::tempdir()?;
        let (account, roots) = (files.path().join("account.json"), files.path().join("roots.pem"));
        std::fs::write(&account, google.service_account())?;
        std::fs::write(&roots, format!("{}{}", google.server().ca_pem(), mozilla.server().ca_pem()))?;
        let config = format!(
            "{}\n[log]\nfilter = \"debug\"\n[push]\nca_file = \"{}\"\n[web_push]\nallowed_networks = [\"127.0.0.0/8\", \"::1\"]\n",
            google.config(&account),
            roots.display()
        );
        let options =
            ServerOptions { log: "debug".to_owned(), ..ServerOptions::unlimited().with_config(&config) };
        let server = Server::start(options).await?;
        let accounts = register_many(&server, 0, accounts, 2).await?;
        let sender = ChatSocket::connect(server.target(), Some(&accounts[0])).await?;
        Ok(Self { server, google, mozilla, accounts, sender, _files: files })
    }

    async fn give_token(&self, account: usize, token: &str) -> anyhow::Result<()> {
        let mut https = Https::connect(self.server.target(), HttpVersion::Http1).await?;
        let call = Call::put("/v1/accounts/gcm").auth(&self.accounts[account]);
        https.send(call.json(&json!({ "gcmRegistrationId": token }))).await?.success()?;
        Ok(())
    }

    async fn send(&mut self, to: usize) -> anyhow::Result<()> {
        let recipient = &self.accounts[to];
        let message = json!({
            "timestamp": 1,
            "urgent": true,
            "messages": [{
                "type": 1,
                "destinationDeviceId": 1,
                "destinationRegistrationId": recipient.registration_id,
                "content": base64(b"hello"),
            }],
        });
        let path = format!("/v1/messages/{}", recipient.aci);
        let answer = self.sender.request("PUT", &path, Some(&message)).await?;
        ensure!(answer.status == 200, "{}", answer.status);
        Ok(())
    }

    async fn restart(&mut self) -> anyhow::Result<()> {
        self.server.restart().await?;
        self.sender = ChatSocket::connect(self.server.target(), Some(&self.accounts[0])).await?;
        Ok(())
    }

    fn pushes(&self, token: &str) -> usize {
        self.google.taken().iter().filter(|push| push.token == token).count()
    }

    async fn pushed(&self, token: &str, count: usize) -> anyhow::Result<()> {
        eventually(&format!("{count} pushes to {token}"), || self.pushes(token) >= count).await
    }

    /// Runs `heliograph push` on the data of the server, which goes on running.
    fn command(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(binary()?);
        command.arg("push").args(arguments).arg("--data").arg(self.server.data());
        let config = self.server.data().with_file_name("heliograph.toml");
        let output = command.arg("--config").arg(config).output()?;
        let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        ensure!(output.status.success(), "{err}");
        Ok(out)
    }
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        ensure!(Instant::now() < deadline, "{what}: not in time");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_nobody_asleep_and_wakes_nobody_twice() -> anyhow::Result<()> {
    let mut scene = Scene::new(4).await?;
    for (account, token) in [(1, "told"), (2, "untold"), (3, "came")] {
        scene.give_token(account, token).await?;
    }
    scene.send(1).await?;
    scene.send(3).await?;
    scene.pushed("told", 1).await?;
    scene.pushed("came", 1).await?;
    let mut came = ChatSocket::connect(scene.server.target(), Some(&scene.accounts[3])).await?;
    let delivery = came.delivery().await?;
    came.queue_ack(delivery.id);
    came.settle().await?;
    sleep(NOTED).await;
    scene.google.server().set_away(true);
    scene.google.server().cut();
    scene.send(2).await?;
    drop(came);
    scene.server.kill()?;
    scene.google.server().set_away(false);
    scene.restart().await?;
    scene.pushed("untold", 1).await?;
    sleep(RECOVERED).await;
    let counts = ["told", "untold", "came"].map(|token| scene.pushes(token));
    assert_eq!(counts, [1, 1, 1], "{:?}", scene.google.refused());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_delays_no_message_and_loses_no_wake_up() -> anyhow::Result<()> {
    let mut scene = Scene::new(21).await?;
    for account in 1..=20 {
        scene.give_token(account, &format!("token-{account}")).await?;
    }
    scene.google.server().set_away(true);
    let began = Instant::now();
    for account in 1..=20 {
        scene.send(account).await?;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "senders wait for no push: {:?}", began.elapsed());
    sleep(Duration::from_millis(500)).await;
    scene.google.server().set_away(false);
    for account in 1..=20 {
        scene.pushed(&format!("token-{account}"), 1).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn web_push_is_registered_by_command_and_tokens_show_nowhere() -> anyhow::Result<()> {
    let mut scene = Scene::new(3).await?;
    let (endpoint, subscriber) = scene.mozilla.subscribe("very-secret-endpoint")?;
    let aci = scene.accounts[1].aci.to_string();
    let register = |endpoint: &str| {
        scene.command(&["register", &aci, "1", endpoint, &subscriber.p256dh(), &subscriber.auth()])
    };
    let refused = register("https://10.0.0.1/x").err().context("a private address")?.to_string();
    assert!(refused.contains("address"), "{refused}");
    register(&endpoint)?;
    let said = scene.command(&["test", &aci, "1"])?;
    assert!(said.contains("WebPush answered: 201"), "{said}");
    scene.send(1).await?;
    eventually("the device is woken", || scene.mozilla.taken().len() == 2).await?;
    assert_eq!(scene.mozilla.taken()[1].content, json!({ "urgent": true }));
    let config =
        Command::new(binary()?).arg("client-config").arg("--data").arg(scene.server.data()).output()?;
    let config: serde_json::Value = serde_json::from_slice(&config.stdout)?;
    assert_eq!(scene.mozilla.signers(), [config["web_push_key"].as_str().context("no key")?]);

    scene.give_token(2, "very-secret-token").await?;
    scene.send(2).await?;
    scene.pushed("very-secret-token", 1).await?;
    scene.mozilla.answer("", 410, None);
    scene.send(1).await?;
    let nothing = || {
        scene.command(&["test", &aci, "1"]).is_err_and(|error| error.to_string().contains("no push token"))
    };
    eventually("the subscription is forgotten", nothing).await?;
    scene.command(&["unregister", &aci, "1"]).err().context("there is none")?;

    let log = scene.server.log();
    for entry in std::fs::read_dir(scene.server.data())? {
        let path = entry?.path();
        if path.is_file() {
            let content = std::fs::read(&path)?;
            for secret in ["very-secret", &subscriber.auth(), &subscriber.p256dh()] {
                let shown = content.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!shown, "{} shows {secret}", path.display());
            }
        }
    }
    assert!(!log.contains("very-secret") && !log.contains(&subscriber.auth()), "the log shows a token");
    Ok(())
}
