//! What happens at the same moment, against the real server.

use std::{collections::HashSet, time::Duration};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use testkit::{
    Account, Call, ChatSocket, HttpVersion, Https, KeySet, Server, ServerOptions, account, register,
    register_many, register_with, wire::EnvelopeView,
};
use tokio::time::timeout;

const FETCHERS: usize = 64;
const LAST_KEYS: u32 = 10;
/// Nothing here takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn the_last_one_time_keys_are_handed_out_once_each() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let keys = KeySet::generate();
    let owner = register_with(&server, &account::test_number(1), (&keys, &KeySet::generate())).await?;
    let caller = register(&server, &account::test_number(2)).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let upload = Call::put("/v2/keys").auth(&owner).json(&keys.one_time_keys(100, LAST_KEYS, LAST_KEYS));
    https.send(upload).await?.success()?;

    let connections = (0..FETCHERS).map(|_| Https::connect(server.target(), HttpVersion::Http1));
    let mut connections = try_join_all(connections).await?;
    let path = format!("/v2/keys/{}/*", owner.aci);
    let fetches = connections.iter_mut().map(async |https| -> anyhow::Result<Value> {
        https.send(Call::get(&path).auth(&caller)).await?.success()?.json()
    });
    let bundles = try_join_all(fetches).await?;

    let one_time = |kind: &str| -> Vec<u64> {
        let ids = bundles.iter().filter_map(|bundle| bundle["devices"][0][kind]["keyId"].as_u64());
        ids.filter(|id| *id >= 100).collect()
    };
    for ids in [one_time("preKey"), one_time("pqPreKey")] {
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), LAST_KEYS as usize, "{ids:?}");
        assert_eq!(ids.len(), LAST_KEYS as usize, "handed out more than once: {ids:?}");
    }
    for bundle in &bundles {
        let device = &bundle["devices"][0];
        assert!(device["signedPreKey"].is_object() && device["pqPreKey"].is_object(), "{bundle}");
        assert!(device["preKey"].is_object() || device["preKey"].is_null(), "{bundle}");
    }
    Ok(())
}

/// Sends numbered messages, keeping that many under way, and returns the statuses in the order of sending.
async fn send_all(
    mut socket: ChatSocket,
    to: Account,
    count: u32,
    under_way: u32,
) -> anyhow::Result<Vec<u16>> {
    let path = format!("/v1/messages/{}", to.aci);
    let mut statuses = vec![0; count as usize];
    let mut sent = 0;
    for answered in 0..count {
        while sent < count.min(answered + under_way) {
            let body = message(&to, &sent.to_be_bytes()).to_string();
            socket.queue_request("PUT", &path, &["content-type: application/json"], body.as_bytes());
            sent += 1;
        }
        // A socket counts its requests from zero.
        let answer = timeout(PATIENCE, socket.any_answer()).await;
        let (id, answer) = answer.with_context(|| format!("{answered} answers to {sent} requests"))??;
        *statuses.get_mut(usize::try_from(id)?).context("an answer to nothing")? = answer.status;
    }
    Ok(statuses)
}

fn message(to: &Account, content: &[u8]) -> Value {
    json!({
        "messages": [{
            "type": 1,
            "destinationDeviceId": 1,
            "destinationRegistrationId": to.registration_id,
            "content": account::base64(content),
        }],
        "timestamp": 1_700_000_000_000_u64,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_socket_takes_over_and_nothing_is_lost() -> anyhow::Result<()> {
    const MESSAGES: u32 = 2_000;
    const TAKEOVERS: u32 = 5;
    let server = Server::start(ServerOptions::unlimited()).await?;
    let accounts = register_many(&server, 0, 2, 2).await?;
    let (sender, reader) = (&accounts[0], &accounts[1]);
    let mut socket = ChatSocket::connect(server.target(), Some(reader)).await?;
    let sending = ChatSocket::connect(server.target(), Some(sender)).await?;
    let sending = tokio::spawn(send_all(sending, reader.clone(), MESSAGES, 1));

    let mut seen = HashSet::new();
    for takeover in 1..=TAKEOVERS {
        // Some of what comes in is acknowledged, some is left for the next connection.
        while seen.len() < (takeover * MESSAGES / (TAKEOVERS + 1)) as usize {
            let delivery = timeout(PATIENCE, socket.delivery()).await;
            let delivery =
                delivery.with_context(|| format!("takeover {takeover}, {} seen", seen.len()))??;
            let number = number_of(&delivery.envelope)?;
            if !number.is_multiple_of(10) {
                socket.queue_ack(delivery.id);
            }
            seen.insert(number);
        }
        let next = ChatSocket::connect(server.target(), Some(reader)).await?;
        let closed = timeout(PATIENCE, socket.closed()).await;
        let (code, _) = closed.context("the old socket was not closed")??;
        assert_eq!(code, 4409);
        socket = next;
    }
    // Every tenth message was left unacknowledged by all connections before this one.
    let (mut last, mut left_over) = (None, HashSet::new());
    while seen.len() < MESSAGES as usize || left_over.len() < MESSAGES.div_ceil(10) as usize {
        let delivery = timeout(PATIENCE, socket.delivery()).await;
        let delivery =
            delivery.with_context(|| format!("{} seen, {} left over", seen.len(), left_over.len()))??;
        let number = number_of(&delivery.envelope)?;
        assert!(last < Some(number), "{number} came after {last:?}");
        last = Some(number);
        socket.queue_ack(delivery.id);
        seen.insert(number);
        if number.is_multiple_of(10) {
            left_over.insert(number);
        }
    }
    assert!(sending.await??.iter().all(|status| *status == 200));
    timeout(PATIENCE, socket.queue_empty()).await.context("the end of the queue was not said")??;
    Ok(())
}

fn number_of(envelope: &[u8]) -> anyhow::Result<u32> {
    let envelope = EnvelopeView::parse(envelope)?;
    envelope.content.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).context("content")
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_to_an_account_that_is_being_deleted_ends_cleanly() -> anyhow::Result<()> {
    const VICTIMS: usize = 12;
    const MESSAGES: u32 = 400;
    let server = Server::start(ServerOptions::unlimited()).await?;
    let accounts = register_many(&server, 0, VICTIMS + 1, 4).await?;
    let (sender, victims) = accounts.split_first().context("accounts")?;
    for (n, victim) in victims.iter().enumerate() {
        // Half of them are online when it happens.
        let online = n.is_multiple_of(2);
        let socket =
            if online { Some(ChatSocket::connect(server.target(), Some(victim)).await?) } else { None };
        let sending = ChatSocket::connect(server.target(), Some(sender)).await?;
        let sending = tokio::spawn(send_all(sending, victim.clone(), MESSAGES, 64));
        tokio::time::sleep(Duration::from_millis(2 * n as u64)).await;
        let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
        let delete = Call::new(http::Method::DELETE, "/v1/accounts/me").auth(victim);
        https.send(delete).await?.success()?;

        let statuses =
            timeout(2 * PATIENCE, sending).await.with_context(|| format!("sending to victim {n}"))???;
        assert!(statuses.iter().all(|status| matches!(status, 200 | 404)), "{statuses:?}");
        if let Some(mut socket) = socket {
            let (code, _) = timeout(PATIENCE, socket.closed()).await??;
            assert_eq!(code, 4401);
        }
        let whoami = https.send(Call::get("/v1/accounts/whoami").auth(victim)).await?;
        assert_eq!(whoami.status, 401);
        let after = ChatSocket::connect(server.target(), Some(sender)).await?;
        assert_eq!(send_all(after, victim.clone(), 1, 1).await?, [404]);
    }
    Ok(())
}
