//! `heliograph sessions`: an operator sees who is logged in and logs them out, while the server runs.

use std::{process::Command, time::Duration};

use anyhow::ensure;
use serde_json::Value;
use testkit::{
    Call, HttpVersion, Https, NativeAccount, NativeStream, Server, ServerOptions, native::refresh,
    server::binary,
};
use tokio::time::timeout;

/// The code that closes the socket of a session that has ended.
const ENDED: u16 = 4401;

/// A running server closes sockets within a second; this is for a busy machine.
const SOON: Duration = Duration::from_secs(10);

fn command(server: &Server, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(binary()?).args(arguments).arg("--data").arg(server.data()).output()?;
    let (out, err) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "{err}");
    Ok(out)
}

fn lines(text: &str) -> anyhow::Result<Vec<Value>> {
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

async fn open(server: &Server, account: &NativeAccount) -> anyhow::Result<NativeStream> {
    NativeStream::connect(server.target(), HttpVersion::Http1, Some(&account.authorization())).await
}

#[tokio::test]
async fn an_operator_ends_the_sessions_of_one_and_of_everybody() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    let tablet = NativeAccount::login(&mut https, "alice", "her tablet").await?;
    let bob = NativeAccount::register(&mut https, "bob").await?;
    let mut sockets = [open(&server, &alice).await?, open(&server, &tablet).await?];
    let mut bobs = open(&server, &bob).await?;

    let shown = lines(&command(&server, &["sessions", "list", "Alice"])?)?;
    assert_eq!(shown, lines(&command(&server, &["sessions", "list", &alice.user_id])?)?);
    let ids: Vec<_> = shown.iter().filter_map(|line| line["session"].as_str()).collect();
    assert_eq!(ids, [&alice.session_id, &tablet.session_id]);
    assert_eq!(shown[0].as_object().map_or(0, serde_json::Map::len), 5, "and nothing that is for her eyes");

    command(&server, &["sessions", "end", "alice"])?;
    for socket in &mut sockets {
        assert_eq!(timeout(SOON, socket.closed()).await??, ENDED);
    }
    for account in [&alice, &tablet] {
        assert_eq!(account.send(&mut https, Call::get("/sessions")).await?.status, 401);
        assert_eq!(refresh(&mut https, &account.refresh_token).await?.status, 401);
    }
    assert!(command(&server, &["sessions", "list", "alice"])?.is_empty());
    assert_eq!(bob.send(&mut https, Call::get("/sessions")).await?.status, 200);

    // Her password is as good as before, and her next session is her own.
    let again = NativeAccount::login(&mut https, "alice", "her tablet").await?;
    let mut her_next = open(&server, &again).await?;
    command(&server, &["sessions", "end", "--all"])?;
    assert_eq!(timeout(SOON, bobs.closed()).await??, ENDED);
    assert_eq!(timeout(SOON, her_next.closed()).await??, ENDED);

    let log = lines(&command(&server, &["audit", "export"])?)?;
    let ended: Vec<_> = log.iter().filter(|record| record["action"] == "revoke_session").collect();
    let on = |record: &Value| record["on"].as_str().map(ToOwned::to_owned);
    let on: Vec<_> = ended.iter().map(|record| on(record)).collect();
    assert_eq!(on, [Some(format!("account:{}", alice.user_id)), None]);
    for record in ended {
        assert!(record["by"].as_str().is_some_and(|by| by.starts_with("operator:")), "{record}");
        assert_eq!(record["detail"], "all");
    }
    Ok(())
}

#[tokio::test]
async fn what_names_nobody_is_refused() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    for arguments in [
        &["sessions", "end"][..],
        &["sessions", "end", "nobody"],
        &["sessions", "end", "alice", "--all"],
        &["sessions", "list", "two words"],
    ] {
        assert!(command(&server, arguments).is_err(), "{arguments:?}");
    }
    Ok(())
}
