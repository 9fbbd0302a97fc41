//! The store cannot be read: nobody is let in, and nobody is told that their password is wrong.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    process::Command,
};

use anyhow::{bail, ensure};
use testkit::{
    Call, ChatSocket, HttpVersion, Https, Refused, Server, ServerOptions, register_many, server::binary,
};

/// Overwrites every page of the file but the first, as a failing disk might.
fn damage(path: &Path) -> anyhow::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut head = [0; 18];
    file.read_exact(&mut head)?;
    let page = u64::from(u16::from_be_bytes([head[16], head[17]]));
    ensure!(page >= 512, "pages of {page} bytes");
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(page))?;
    file.write_all(&vec![0xA5; usize::try_from(length - page)?])?;
    Ok(())
}

#[tokio::test]
async fn a_socket_is_refused_with_500_and_credentials_are_not_called_wrong() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let account = register_many(&server, 0, 1, 1).await?.remove(0);
    // Everything is in the file itself after an orderly stop.
    server.terminate()?;
    server.exited(std::time::Duration::from_secs(20)).await?;
    server.restart().await?;
    // Another process writes, so that the server believes nothing that it still has in memory.
    let written = Command::new(binary()?).args(["invite", "create", "--data"]).arg(server.data()).output()?;
    ensure!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    damage(&server.data().join("accounts.sqlite"))?;

    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let refused = ChatSocket::connect_over(server.target(), version, Some(&account)).await;
        let Err(error) = refused else { bail!("somebody was let in") };
        assert_eq!(error.downcast_ref(), Some(&Refused(500)), "{error:#}");
        let mut https = Https::connect(server.target(), version).await?;
        let answer = https.send(Call::get("/v1/accounts/whoami").auth(&account)).await?;
        assert!(answer.status.is_server_error(), "{}", answer.status);
    }
    // What needs no account goes on.
    let mut anonymous = ChatSocket::connect(server.target(), None).await?;
    assert_eq!(anonymous.request("GET", "/v1/keepalive", None).await?.status, 200);
    Ok(())
}
