//! Guessing passwords at the running server, with its limits as they are by default.

use serde_json::json;
use testkit::{
    Answer, Call, HttpVersion, Https, NativeAccount, Server, ServerOptions,
    native::{PASSWORD, code},
};

fn retry_after(answer: &Answer) -> Option<u64> {
    answer.headers.get("retry-after")?.to_str().ok()?.parse().ok()
}

#[tokio::test]
async fn whoever_guesses_waits_longer_and_longer_and_the_owner_does_not() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::default()).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let owner = NativeAccount::register(&mut https, "alice").await?;
    for username in ["alice", "nobody"] {
        let mut guess =
            async || NativeAccount::try_login(&mut https, username, "a wrong guess", "stranger").await;
        for _ in 0..4 {
            assert_eq!(code(&guess().await?), "login_failed");
        }
        let refused = guess().await?;
        assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (429, "rate_limited"), "{username}");
        assert_eq!(retry_after(&refused), Some(1));
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        assert_eq!(code(&guess().await?), "login_failed");
        let refused = guess().await?;
        assert_eq!(retry_after(&refused), Some(2), "twice as long");
        // Not even the right password is looked at before its time.
        let right = NativeAccount::try_login(&mut https, username, PASSWORD, "stranger").await?;
        assert_eq!(code(&right), "rate_limited");
    }
    // From the same address, but with the device that the account knows.
    let device = &owner.device_identifier;
    let again = NativeAccount::try_login(&mut https, "alice", PASSWORD, device).await?;
    assert_eq!(again.status, 200);
    Ok(())
}

#[tokio::test]
async fn who_is_logged_in_cannot_guess_the_password_either() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::default()).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let owner = NativeAccount::register(&mut https, "alice").await?;
    let body = json!({ "password": "a wrong guess", "new_password": "another fine sentence" });
    let mut last = String::new();
    for _ in 0..5 {
        last = code(&owner.send(&mut https, Call::put("/password").json(&body)).await?);
    }
    assert_eq!(last, "rate_limited");
    Ok(())
}

#[tokio::test]
async fn one_address_registers_only_so_many() -> anyhow::Result<()> {
    let server = Server::start(
        ServerOptions::default()
            .with_config("[limits]\nnative_registration = { size = 2, interval_ms = 600000 }"),
    )
    .await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    for n in 0..2 {
        NativeAccount::register(&mut https, &format!("person-{n}")).await?;
    }
    let body = json!({ "username": "one-more", "password": PASSWORD, "device_identifier": "x" });
    let refused = https.send(Call::post("/register").json(&body)).await?;
    assert_eq!((refused.status.as_u16(), code(&refused).as_str()), (429, "rate_limited"));
    assert!(retry_after(&refused).is_some_and(|seconds| (1..=600).contains(&seconds)));
    Ok(())
}
