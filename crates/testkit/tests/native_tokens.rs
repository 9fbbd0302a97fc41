//! Access tokens and the keys that sign them, against the running server. What a token that is forged in any other way
//! is worth, and the times it is good for, is shown beside `auth::native::access`.

use std::process::Command;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use testkit::{Call, HttpVersion, Https, NativeAccount, Server, ServerOptions, server::binary};
use tokio::time::{Duration, Instant, sleep};

fn part(token: &str, n: usize) -> anyhow::Result<Value> {
    let part = token.split('.').nth(n).unwrap_or_default();
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part)?)?)
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

async fn is_let_in(https: &mut Https, token: &str) -> anyhow::Result<bool> {
    let answer = https.send(Call::get("/sessions").authorization(&format!("Bearer {token}"))).await?;
    assert!([200, 401].contains(&answer.status.as_u16()), "{answer:?}");
    if answer.status == 401 {
        assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    }
    Ok(answer.status == 200)
}

async fn key_ids(https: &mut Https) -> anyhow::Result<Vec<String>> {
    let keys = https.send(Call::get("/.well-known/jwks.json")).await?.success()?.json()?;
    let id = |key: &Value| key["kid"].as_str().unwrap_or_default().to_owned();
    Ok(keys["keys"].as_array().into_iter().flatten().map(id).collect())
}

#[tokio::test]
async fn a_token_says_who_and_for_whom_and_its_key_is_published() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let account = NativeAccount::register(&mut https, "alice").await?;
    let (header, claims) = (part(&account.access_token, 0)?, part(&account.access_token, 1)?);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
    assert_eq!(key_ids(&mut https).await?, [header["kid"].as_str().expect("a kid")]);
    assert_eq!((&claims["sub"], &claims["sid"]), (&json!(account.user_id), &json!(account.session_id)));
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("heliograph"), &json!("heliograph")));
    assert_eq!(claims["exp"].as_u64(), claims["iat"].as_u64().map(|at| at + 900));
    assert_eq!(claims["nbf"], claims["iat"]);
    assert!(claims["jti"].is_string());
    Ok(())
}

#[tokio::test]
async fn forged_tokens_are_refused() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let account = NativeAccount::register(&mut https, "alice").await?;
    let victim = NativeAccount::register(&mut https, "bob").await?;
    let token = &account.access_token;
    let (header, claims) = (part(token, 0)?, part(token, 1)?);
    let signature = token.rsplit('.').next().unwrap_or_default();
    let mut forged =
        vec![String::new(), "a.b.c".to_owned(), format!("{token}A"), token[..token.len() - 1].to_owned()];
    for algorithm in ["none", "NONE", "HS256", "RS256", "ES256"] {
        let mut header = header.clone();
        header["alg"] = json!(algorithm);
        for signature in ["", signature] {
            forged.push(format!("{}.{}.{signature}", encoded(&header), encoded(&claims)));
        }
    }
    for (name, value) in [
        ("sub", json!(victim.user_id)),
        ("sid", json!(victim.session_id)),
        ("exp", json!(u32::MAX)),
        ("aud", json!("another")),
    ] {
        let mut claims = claims.clone();
        claims[name] = value;
        forged.push(format!("{}.{}.{signature}", encoded(&header), encoded(&claims)));
    }
    for (name, value) in [
        ("kid", json!("unknown")),
        (
            "jwk",
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
        ),
        ("jku", json!("https://evil.example.org/jwks.json")),
        ("crit", json!(["exp"])),
    ] {
        let mut header = header.clone();
        header[name] = value;
        forged.push(format!("{}.{}.{signature}", encoded(&header), encoded(&claims)));
    }
    for token in forged {
        assert!(!is_let_in(&mut https, &token).await?, "{token}");
    }
    assert!(is_let_in(&mut https, token).await?);
    Ok(())
}

#[tokio::test]
async fn tokens_for_another_audience_or_by_another_issuer_are_refused() -> anyhow::Result<()> {
    let mut server = Server::start(ServerOptions::unlimited()).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let mut account = NativeAccount::register(&mut https, "alice").await?;
    let config = server.data().with_file_name("heliograph.toml");
    let before = std::fs::read_to_string(&config)?;
    for change in ["audience = \"another\"", "issuer = \"https://other.example.org\""] {
        std::fs::write(&config, format!("{before}\n[access_tokens]\n{change}\n"))?;
        server.kill()?;
        server.restart().await?;
        let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
        assert!(!is_let_in(&mut https, &account.access_token).await?, "{change}");
        // The session goes on: refresh tokens are this server's own.
        assert_eq!(account.refresh(&mut https).await?.status, 200);
        assert!(is_let_in(&mut https, &account.access_token).await?);
    }
    Ok(())
}

#[tokio::test]
async fn keys_rotate_by_command_while_the_server_runs() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let mut account = NativeAccount::register(&mut https, "alice").await?;
    let first = key_ids(&mut https).await?;
    let rotate = |arguments: &[&str]| -> anyhow::Result<()> {
        let data = server.data();
        let output = Command::new(binary()?)
            .args(["keys", "rotate", "access-token", "--data"])
            .arg(&data)
            .args(arguments)
            .output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        Ok(kill_process(pid, Signal::HUP)?)
    };
    let taken_up = async |https: &mut Https, before: &[String]| {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let ids = key_ids(https).await?;
            if ids[0] != before[0] {
                return anyhow::Ok(ids);
            }
            anyhow::ensure!(Instant::now() < deadline, "the key was not taken up");
            sleep(Duration::from_millis(50)).await;
        }
    };
    rotate(&[])?;
    let second = taken_up(&mut https, &first).await?;
    assert_eq!(second[1..], first, "the former key is still published");
    assert!(is_let_in(&mut https, &account.access_token).await?, "and what it signed believed");
    account.refresh(&mut https).await?.success()?;
    assert_eq!(part(&account.access_token, 0)?["kid"], second[0]);
    rotate(&["--at-once"])?;
    let third = taken_up(&mut https, &second).await?;
    assert_eq!(third.len(), 1);
    assert!(!is_let_in(&mut https, &account.access_token).await?);
    account.refresh(&mut https).await?.success()?;
    assert!(is_let_in(&mut https, &account.access_token).await?);
    Ok(())
}

#[tokio::test]
async fn the_description_is_served_with_a_strict_policy() -> anyhow::Result<()> {
    let server = Server::start(ServerOptions::unlimited()).await?;
    let mut https = Https::connect(server.target(), HttpVersion::Http2).await?;
    let api = https.send(Call::get("/openapi.json")).await?.success()?.json()?;
    assert!(api["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    for path in ["/register", "/login", "/messages", "/keys", "/token/refresh"] {
        assert!(api["paths"][path].is_object(), "{path}");
    }
    let page = https.send(Call::get("/docs")).await?.success()?;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"].to_str()?;
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
    assert_eq!(
        https.send(Call::get("/docs/style.css")).await?.success()?.headers["content-type"],
        "text/css; charset=utf-8"
    );
    Ok(())
}
