//! E-mail addresses and forgotten passwords against the running server: with the development outbox, and with a real
//! mail server.

use std::{fs, path::Path, time::Duration};

use http::Method;
use serde_json::{Value, json};
use testkit::{
    Answer, Call, HttpVersion, Https, NativeAccount, NativeStream, Server, ServerOptions,
    mail_server::{MailServer, MailTls},
    native::{PASSWORD, code as refusal},
    outbox::code_in,
};
use tokio::time::Instant;

const NEXT: &str = "another one is too";
/// The code that closes the socket of a session that has ended.
const ENDED: u16 = 4401;
/// How long a socket may stay open after a reset.
const SOON: Duration = Duration::from_secs(5);

async fn start(options: ServerOptions) -> anyhow::Result<(Server, Https)> {
    let server = Server::start(options).await?;
    let https = Https::connect(server.target(), HttpVersion::Http2).await?;
    Ok((server, https))
}

async fn ask(https: &mut Https, body: &Value) -> anyhow::Result<Answer> {
    https.send(Call::post("/password/reset").json(body)).await
}

async fn reset(https: &mut Https, token: &str, password: &str) -> anyhow::Result<Answer> {
    let body = json!({ "token": token, "new_password": password });
    https.send(Call::post("/password/reset/confirm").json(&body)).await
}

/// Registers an account with a confirmed address.
async fn with_address(
    server: &Server,
    https: &mut Https,
    name: &str,
    address: &str,
) -> anyhow::Result<NativeAccount> {
    let account = NativeAccount::register(https, name).await?;
    let body = json!({ "email": address, "password": PASSWORD });
    let answer = account.send(https, Call::put("/email").json(&body)).await?;
    assert_eq!(answer.status, 202);
    let code = server.outbox().mail(address).await?.code()?;
    account.send(https, Call::post("/email/confirm").json(&json!({ "code": code }))).await?.success()?;
    Ok(account)
}

/// Whether a text is in a file under that folder, in clear; but for the files of those names.
fn shows(folder: &Path, text: &str, but: &[&str]) -> anyhow::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if shows(&path, text, but)? {
                return Ok(true);
            }
        } else if !but.iter().any(|name| path.ends_with(name)) {
            let bytes = fs::read(&path)?;
            if bytes.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes())) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[tokio::test]
async fn an_address_counts_once_its_code_is_handed_in() -> anyhow::Result<()> {
    let (server, mut https) = start(ServerOptions::unlimited()).await?;
    let body = json!({ "username": "alice", "password": PASSWORD, "device_identifier": "phone",
        "email": "Alice@Example.org" });
    let made = https.send(Call::post("/register").json(&body)).await?.success()?.json()?;
    let token = format!("Bearer {}", made["tokens"]["access_token"].as_str().expect("a token"));
    let shown = async |https: &mut Https| {
        https.send(Call::get("/email").authorization(&token)).await?.success()?.json()
    };
    let state = shown(&mut https).await?;
    assert_eq!((&state["email"], &state["pending"]["email"]), (&Value::Null, &json!("alice@example.org")));
    let code = server.outbox().mail("alice@example.org").await?.code()?;
    let confirm = async |https: &mut Https, code: &str| {
        let call = Call::post("/email/confirm").json(&json!({ "code": code }));
        https.send(call.authorization(&token)).await
    };
    let other = if code.starts_with('z') { "y" } else { "z" };
    for wrong in ["", "0000", &code[1..], &code.replacen(&code[..1], other, 1)] {
        let answer = confirm(&mut https, wrong).await?;
        assert_eq!(
            (answer.status.as_u16(), refusal(&answer).as_str()),
            (403, "mail_code_refused"),
            "{wrong}"
        );
    }
    // Another account cannot use it.
    let eve = NativeAccount::register(&mut https, "eve").await?;
    let answer = eve.send(&mut https, Call::post("/email/confirm").json(&json!({ "code": code }))).await?;
    assert_eq!(refusal(&answer), "mail_code_refused");
    assert_eq!(confirm(&mut https, &code).await?.json()?["email"], "alice@example.org");
    assert_eq!(refusal(&confirm(&mut https, &code).await?), "mail_code_refused", "used");
    assert_eq!(shown(&mut https).await?, json!({ "email": "alice@example.org", "pending": null }));
    for (email, expected) in [("nobody", "invalid_email"), ("a@b", "invalid_email")] {
        let body = json!({ "email": email, "password": PASSWORD });
        let answer = eve.send(&mut https, Call::put("/email").json(&body)).await?;
        assert_eq!(refusal(&answer), expected);
    }
    // What is not there before a change is not there after it: another address takes the former's place, which is told.
    let body = json!({ "email": "alice@example.com", "password": PASSWORD });
    https.send(Call::put("/email").json(&body).authorization(&token)).await?.success()?;
    let code = server.outbox().mail("alice@example.com").await?.code()?;
    confirm(&mut https, &code).await?.success()?;
    let told = server.outbox().mail("alice@example.org").await?;
    assert!(told.text.contains("taken away"), "{}", told.text);
    let call =
        Call::new(Method::DELETE, "/email").json(&json!({ "password": PASSWORD })).authorization(&token);
    assert_eq!(https.send(call).await?.status, 204);
    assert_eq!(shown(&mut https).await?, json!({ "email": null, "pending": null }));
    Ok(())
}

#[tokio::test]
async fn a_reset_ends_sessions_and_sockets_and_its_code_is_good_once() -> anyhow::Result<()> {
    let (server, mut https) = start(ServerOptions::unlimited()).await?;
    let alice = with_address(&server, &mut https, "alice", "alice@example.org").await?;
    let mut stream =
        NativeStream::connect(server.target(), HttpVersion::Http1, Some(&alice.authorization())).await?;
    assert_eq!(ask(&mut https, &json!({ "email": "alice@example.org" })).await?.status, 202);
    let token = server.outbox().mail("alice@example.org").await?.code()?;
    let answer = reset(&mut https, &token, "short").await?;
    assert_eq!(refusal(&answer), "password_too_short", "and the code is still good");
    assert_eq!(reset(&mut https, &token, NEXT).await?.status, 204);
    assert_eq!(tokio::time::timeout(SOON, stream.closed()).await??, ENDED);
    let answer = alice.send(&mut https, Call::get("/sessions")).await?;
    assert_eq!(refusal(&answer), "unauthorized");
    assert_eq!(refusal(&testkit::native::refresh(&mut https, &alice.refresh_token).await?), "refresh_failed");
    let answer = reset(&mut https, &token, PASSWORD).await?;
    assert_eq!((answer.status.as_u16(), refusal(&answer).as_str()), (403, "mail_code_refused"));
    let told = server.outbox().mail("alice@example.org").await?;
    assert!(told.text.contains("was reset"), "{}", told.text);
    let device = &alice.device_identifier;
    assert_eq!(NativeAccount::try_login(&mut https, "alice", PASSWORD, device).await?.status, 401);
    assert_eq!(NativeAccount::try_login(&mut https, "alice", NEXT, device).await?.status, 200);
    Ok(())
}

#[tokio::test]
async fn of_many_uses_of_one_code_one_counts() -> anyhow::Result<()> {
    let (server, mut https) = start(ServerOptions::unlimited()).await?;
    with_address(&server, &mut https, "alice", "alice@example.org").await?;
    ask(&mut https, &json!({ "username": "alice" })).await?.success()?;
    let token = server.outbox().mail("alice@example.org").await?.code()?;
    let tries = (0..4).map(async |number| {
        let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
        reset(&mut https, &token, &format!("a sentence for {number}")).await
    });
    let answers = futures_util::future::try_join_all(tries).await?;
    assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
    assert_eq!(answers.iter().filter(|answer| refusal(answer) == "mail_code_refused").count(), 3);
    Ok(())
}

#[tokio::test]
async fn who_asks_learns_nothing_from_the_answer_nor_from_its_time() -> anyhow::Result<()> {
    const ROUNDS: usize = 60;
    let (server, mut https) = start(ServerOptions::unlimited()).await?;
    with_address(&server, &mut https, "alice", "alice@example.org").await?;
    NativeAccount::register(&mut https, "without-address").await?;
    let asked = [
        json!({ "username": "alice" }),
        json!({ "username": "nobody" }),
        json!({ "username": "without-address" }),
        json!({ "email": "alice@example.org" }),
        json!({ "email": "nobody@example.org" }),
    ];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); asked.len()];
    // Side by side, so that whatever else the machine does strikes all of them.
    for _ in 0..ROUNDS {
        for (body, times) in asked.iter().zip(&mut times) {
            let begin = Instant::now();
            let answer = ask(&mut https, body).await?;
            times.push(begin.elapsed());
            assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0), "{body}");
            let names: Vec<_> = answer.headers.keys().map(|name| name.as_str().to_owned()).collect();
            assert!(!names.iter().any(|name| name == "retry-after"), "{names:?}");
        }
    }
    let medians: Vec<_> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[ROUNDS / 2]
        })
        .collect();
    let (least, most) = (medians.iter().min().expect("some"), medians.iter().max().expect("some"));
    // A commit on the disk takes milliseconds, a hash of a password tens of them.
    assert!(*most < *least * 3 + Duration::from_millis(3), "{medians:?}");
    for (body, expected) in [
        (json!({}), "invalid_body"),
        (json!({ "username": "alice", "email": "alice@example.org" }), "invalid_body"),
        (json!({ "username": "two words" }), "invalid_username"),
        (json!({ "email": "nobody" }), "invalid_email"),
    ] {
        assert_eq!(refusal(&ask(&mut https, &body).await?), expected, "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn an_address_of_somebody_else_is_answered_like_any_other() -> anyhow::Result<()> {
    let (server, mut https) = start(ServerOptions::unlimited()).await?;
    with_address(&server, &mut https, "alice", "alice@example.org").await?;
    let eve = NativeAccount::register(&mut https, "eve").await?;
    for address in ["alice@example.org", "free@example.org"] {
        let body = json!({ "email": address, "password": PASSWORD });
        let answer = eve.send(&mut https, Call::put("/email").json(&body)).await?;
        assert_eq!((answer.status.as_u16(), &answer.json()?["pending"]["email"]), (202, &json!(address)));
        let answer = https.send(Call::post("/register/email").json(&json!({ "email": address }))).await?;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
        for _ in 0..2 {
            let mail = server.outbox().mail(address).await?;
            assert_eq!(mail.code().is_ok(), address == "free@example.org", "{}", mail.text);
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_page_resets_a_password_without_a_script() -> anyhow::Result<()> {
    let (server, mut https) = start(ServerOptions::unlimited()).await?;
    with_address(&server, &mut https, "alice", "alice@example.org").await?;
    let page = https.send(Call::get("/password/reset")).await?;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["referrer-policy"], "no-referrer");
    assert_eq!(page.headers["cache-control"], "no-store");
    let policy = page.headers["content-security-policy"].to_str()?;
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script"), "{policy}");
    let text = String::from_utf8(page.body.to_vec())?;
    assert!(text.contains("method=\"post\" action=\"/password/reset/form\""), "{text}");
    ask(&mut https, &json!({ "username": "alice" })).await?.success()?;
    let token = server.outbox().mail("alice@example.org").await?.code()?;
    let mut submit = async |code: &str, password: &str, again: &str| {
        let encode = |text: &str| text.replace(' ', "+");
        let body = format!("code={}&password={}&again={}", encode(code), encode(password), encode(again));
        let call = Call::post("/password/reset/form").body("application/x-www-form-urlencoded", body);
        let answer = https.send(call).await?;
        let text = String::from_utf8(answer.body.to_vec())?;
        assert!(!text.contains(password) && !text.contains(&token), "nothing that was typed comes back");
        anyhow::Ok((answer.status.as_u16(), text))
    };
    assert_eq!(submit(&token, NEXT, PASSWORD).await?.0, 422, "typed differently");
    assert_eq!(submit("0000", NEXT, NEXT).await?.0, 403);
    let (status, text) = submit(&token, NEXT, NEXT).await?;
    assert!(status == 200 && text.contains("Your password is set"), "{text}");
    let (status, text) = submit(&token, NEXT, NEXT).await?;
    assert_eq!(status, 403, "{text}");
    Ok(())
}

#[tokio::test]
async fn where_domains_are_listed_a_newcomer_proves_an_address() -> anyhow::Result<()> {
    let options = ServerOptions::unlimited().with_config("[registration]\nemail_domains = ['example.org']");
    let (server, mut https) = start(options).await?;
    let mut register = async |extra: Value| {
        let mut body = json!({ "username": "alice", "password": PASSWORD, "device_identifier": "phone" });
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        https.send(Call::post("/register").json(&body)).await
    };
    assert_eq!(refusal(&register(json!({})).await?), "email_required");
    assert_eq!(refusal(&register(json!({ "email": "alice@example.org" })).await?), "email_required");
    let wrong = json!({ "email": "alice@example.org", "email_code": "0000" });
    assert_eq!(refusal(&register(wrong).await?), "mail_code_refused");
    let mut other = Https::connect(server.target(), HttpVersion::Http1).await?;
    let mut prove = async |address: &str| {
        other.send(Call::post("/register/email").json(&json!({ "email": address }))).await
    };
    assert_eq!(refusal(&prove("alice@example.com").await?), "email_not_allowed");
    assert_eq!(prove("alice@example.org").await?.status, 202);
    let code = server.outbox().mail("alice@example.org").await?.code()?;
    let right = json!({ "email": "alice@example.org", "email_code": code });
    let made = register(right.clone()).await?.success()?.json()?;
    let token = format!("Bearer {}", made["tokens"]["access_token"].as_str().expect("a token"));
    let mut again = right;
    again["username"] = json!("alice2");
    assert_eq!(refusal(&register(again).await?), "mail_code_refused", "used");
    let mut https = Https::connect(server.target(), HttpVersion::Http1).await?;
    let email = https.send(Call::get("/email").authorization(&token)).await?.json()?;
    assert_eq!(email["email"], "alice@example.org");
    Ok(())
}

fn smtp(mail: &MailServer, security: &str, password: &str) -> String {
    format!(
        "public_url = 'https://chat.example.org'\n[mail]\nserver = 'localhost'\nport = {}\nsecurity = '{security}'\n\
         user = '{}'\npassword = '{password}'\nsender = 'Chat <chat@example.org>'\nca_file = '{}'\n",
        mail.port,
        MailServer::USER,
        mail.certificate().display(),
    )
}

/// With the rate limits out of the way, which stand last for the keys before them to be outside of a section.
fn options(config: &str) -> ServerOptions {
    ServerOptions::default().with_config(config).with_config(testkit::server::UNLIMITED)
}

#[tokio::test]
async fn a_real_mail_server_delivers_and_no_address_is_kept_in_clear() -> anyhow::Result<()> {
    for (tls, security) in [(MailTls::StartTls, "starttls"), (MailTls::Implicit, "tls")] {
        let mut mail = MailServer::start(tls).await?;
        let (server, mut https) = start(options(&smtp(&mail, security, MailServer::PASSWORD))).await?;
        let alice = NativeAccount::register(&mut https, "alice").await?;
        let body = json!({ "email": "alice@private.example", "password": PASSWORD });
        alice.send(&mut https, Call::put("/email").json(&body)).await?.success()?;
        let letter = mail.next().await?;
        assert_eq!(
            (&letter.sender[..], &letter.recipients[..]),
            ("chat@example.org", &["alice@private.example".to_owned()][..])
        );
        assert_eq!(letter.upgraded, tls == MailTls::StartTls);
        let code = code_in(&letter.text)?;
        let confirm = Call::post("/email/confirm").json(&json!({ "code": code }));
        alice.send(&mut https, confirm).await?.success()?;
        assert_eq!(ask(&mut https, &json!({ "email": "alice@private.example" })).await?.status, 202);
        let letter = mail.next().await?;
        assert!(letter.text.contains("https://chat.example.org/password/reset"), "{}", letter.text);
        let code = code_in(&letter.text)?;
        assert_eq!(reset(&mut https, &code, NEXT).await?.status, 204);
        assert!(mail.next().await?.subject.contains("was reset"));
        // One that is wished for is sealed like one that counts.
        let alice = NativeAccount::register(&mut https, "bob").await?;
        let body = json!({ "email": "bob@private.example", "password": PASSWORD });
        alice.send(&mut https, Call::put("/email").json(&body)).await?.success()?;
        mail.next().await?;
        assert!(shows(&server.data(), "auth_password_resets", &[])?, "the search finds what is not sealed");
        for secret in ["private.example", &code, MailServer::PASSWORD] {
            assert!(!shows(&server.data(), secret, &[])?, "{secret}");
        }
        assert!(!server.log().contains("private.example"), "{}", server.log());
    }
    Ok(())
}

#[tokio::test]
async fn a_mail_server_that_fails_changes_no_answer() -> anyhow::Result<()> {
    let mail = MailServer::start(MailTls::StartTls).await?;
    let (server, mut https) = start(options(&smtp(&mail, "starttls", "wrong horse"))).await?;
    let alice = NativeAccount::register(&mut https, "alice").await?;
    for address in ["alice@private.example", MailServer::UNKNOWN, MailServer::BUSY] {
        let body = json!({ "email": address, "password": PASSWORD });
        let answer = alice.send(&mut https, Call::put("/email").json(&body)).await?;
        assert_eq!((answer.status.as_u16(), &answer.json()?["pending"]["email"]), (202, &json!(address)));
    }
    assert_eq!(ask(&mut https, &json!({ "username": "alice" })).await?.status, 202);
    // It is stopped while letters wait.
    server.terminate()?;
    let mut server = server;
    assert!(server.exited(Duration::from_secs(20)).await?.success());
    let log = server.log();
    assert!(log.contains("did not take a message"), "{log}");
    for secret in ["private.example", "unknown@", "busy@", "horse"] {
        assert!(!log.contains(secret), "{log}");
    }
    Ok(())
}

#[tokio::test]
async fn the_operator_is_told_what_the_mail_server_answers() -> anyhow::Result<()> {
    let mail = MailServer::start(MailTls::StartTls).await?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("heliograph.toml");
    for (password, address, expected) in [
        (MailServer::PASSWORD, "ann@example.org", Ok("250 taken")),
        (MailServer::PASSWORD, MailServer::UNKNOWN, Err("550")),
        (MailServer::PASSWORD, "ann", Err("not an e-mail address")),
        ("wrong horse", "ann@example.org", Err("535")),
    ] {
        fs::write(&config, smtp(&mail, "starttls", password))?;
        let mut command = tokio::process::Command::new(testkit::server::binary()?);
        command.args(["mail", "test", address, "--config"]).arg(&config);
        let output = command.output().await?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let (success, words) = match expected {
            Ok(words) => (true, words),
            Err(words) => (false, words),
        };
        assert_eq!(output.status.success(), success, "{said}{complained}");
        assert!((if success { said } else { complained }).contains(words), "{words}");
    }
    Ok(())
}
