//! Linked devices are told when their primary has not been seen for long.

use rusqlite::Connection;
use testkit::{
    Account, ChatSocket, HttpVersion, Https, KeySet, Server, ServerOptions, link_over, register_with,
};

/// A primary and a device linked to it.
async fn two_devices(server: &Server) -> anyhow::Result<(Account, Account)> {
    let keys = (KeySet::generate(), KeySet::generate());
    let primary = register_with(server, "+15550100001", (&keys.0, &keys.1)).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let linked = link_over(&mut https, &primary, (&keys.0, &keys.1)).await?;
    Ok((primary, linked))
}

async fn alert(server: &Server, account: Option<&Account>) -> anyhow::Result<Option<String>> {
    Ok(ChatSocket::connect(server.target(), account).await?.alert().map(str::to_owned))
}

/// Lets the days since the primary was seen go by.
async fn forget_primary(server: &mut Server) -> anyhow::Result<()> {
    server.kill()?;
    let store = Connection::open(server.data().join("accounts.sqlite"))?;
    store.execute("UPDATE auth_devices SET last_seen = last_seen - 40 * 86400000 WHERE device = 1", [])?;
    drop(store);
    server.restart().await
}

#[tokio::test]
async fn an_idle_primary_is_told_to_linked_devices_alone() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let (primary, linked) = two_devices(&server).await?;
    assert_eq!(alert(&server, Some(&linked)).await?, None);
    forget_primary(&mut server).await?;
    assert_eq!(alert(&server, Some(&linked)).await?.as_deref(), Some("idle-primary-device"));
    assert_eq!(alert(&server, None).await?, None);
    assert_eq!(alert(&server, Some(&primary)).await?, None);
    Ok(())
}

#[tokio::test]
async fn the_time_can_be_configured() -> anyhow::Result<()> {
    let days = ServerOptions::unlimited().with_config("[devices]\nprimary_idle_days = 50\n");
    let mut server = Server::start(days).await?;
    let (_, linked) = two_devices(&server).await?;
    forget_primary(&mut server).await?;
    assert_eq!(alert(&server, Some(&linked)).await?, None);
    Ok(())
}
