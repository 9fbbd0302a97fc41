//! Devices that nobody uses are unlinked, and accounts that nobody uses are deleted.

use std::time::Duration;

use http::{Method, StatusCode};
use rusqlite::Connection;
use testkit::{
    Account, Call, ChatSocket, HttpVersion, Https, KeySet, Server, ServerOptions, link_over, register_with,
};
use tokio::time::{sleep, timeout};

/// How long what happens at the start of a server may take.
const SOON: Duration = Duration::from_secs(20);

/// A primary and a device linked to it.
async fn two_devices(server: &Server) -> anyhow::Result<(Account, Account)> {
    let keys = (KeySet::generate(), KeySet::generate());
    let primary = register_with(server, "+15550100001", (&keys.0, &keys.1)).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let linked = link_over(&mut https, &primary, (&keys.0, &keys.1)).await?;
    Ok((primary, linked))
}

/// Lets days go by in which that device is not seen.
async fn days_pass(server: &mut Server, device: u8, days: i64) -> anyhow::Result<()> {
    server.kill()?;
    let store = Connection::open(server.data().join("accounts.sqlite"))?;
    store.execute(
        "UPDATE auth_devices SET last_seen = last_seen - ?1 * 86400000 WHERE device = ?2",
        [days, device.into()],
    )?;
    drop(store);
    server.restart().await
}

/// The devices that the store has.
fn devices(server: &Server) -> anyhow::Result<Vec<u8>> {
    let store = Connection::open(server.data().join("accounts.sqlite"))?;
    let mut select = store.prepare("SELECT device FROM auth_devices ORDER BY device")?;
    let devices = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(devices)
}

async fn until_devices_are(server: &Server, expected: &[u8]) -> anyhow::Result<()> {
    timeout(SOON, async {
        while devices(server)? != expected {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
    .await?
}

async fn exists(server: &Server, account: &Account) -> anyhow::Result<bool> {
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let path = format!("/v1/accounts/account/{}", account.aci);
    Ok(https.send(Call::new(Method::HEAD, path)).await?.status == StatusCode::OK)
}

#[tokio::test]
async fn a_linked_device_goes_after_its_time_and_no_earlier() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let (primary, linked) = two_devices(&server).await?;
    days_pass(&mut server, 2, 44).await?;
    ChatSocket::connect(server.target(), Some(&linked)).await?;
    days_pass(&mut server, 2, 47).await?;
    until_devices_are(&server, &[1]).await?;
    assert!(ChatSocket::connect(server.target(), Some(&linked)).await.is_err(), "it is let in");
    ChatSocket::connect(server.target(), Some(&primary)).await?;
    Ok(())
}

#[tokio::test]
async fn linked_devices_go_with_a_primary_that_is_not_used() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let (primary, linked) = two_devices(&server).await?;
    days_pass(&mut server, 1, 80).await?;
    let socket = ChatSocket::connect(server.target(), Some(&linked)).await?;
    assert_eq!(socket.alert(), Some("critical-idle-primary-device"));
    days_pass(&mut server, 1, 11).await?;
    until_devices_are(&server, &[1]).await?;
    assert!(ChatSocket::connect(server.target(), Some(&linked)).await.is_err(), "it is let in");
    assert!(exists(&server, &primary).await?);
    ChatSocket::connect(server.target(), Some(&primary)).await?;
    Ok(())
}

#[tokio::test]
async fn an_account_that_is_not_used_is_deleted() -> anyhow::Result<()> {
    let config = "[devices]\nunlink_days = 0\nunlink_with_primary_days = 0\n";
    let mut server = Server::start(ServerOptions::unlimited().with_config(config)).await?;
    let (primary, _) = two_devices(&server).await?;
    days_pass(&mut server, 2, 400).await?;
    days_pass(&mut server, 1, 179).await?;
    assert!(exists(&server, &primary).await?);
    days_pass(&mut server, 1, 2).await?;
    until_devices_are(&server, &[]).await?;
    assert!(!exists(&server, &primary).await?);
    Ok(())
}

#[tokio::test]
async fn where_it_is_switched_off_everybody_stays() -> anyhow::Result<()> {
    let off = "[devices]\nprimary_idle_days = 0\nprimary_critical_days = 0\nunlink_days = 0\n\
               unlink_with_primary_days = 0\ndelete_account_days = 0\n";
    let mut server = Server::start(ServerOptions::unlimited().with_config(off)).await?;
    let (primary, linked) = two_devices(&server).await?;
    days_pass(&mut server, 1, 1000).await?;
    days_pass(&mut server, 2, 1000).await?;
    let socket = ChatSocket::connect(server.target(), Some(&linked)).await?;
    assert_eq!(socket.alert(), None);
    ChatSocket::connect(server.target(), Some(&primary)).await?;
    Ok(())
}
