//! Handing messages to a real mail server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, time::Duration};

use auth::mail::{MailError, MailMessage, Mailer, Security, SmtpMailer, SmtpSettings};
use testkit::mail_server::{MailServer, MailTls};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

const TIMEOUT: Duration = Duration::from_secs(10);

fn settings(server: &MailServer, security: Security) -> SmtpSettings {
    SmtpSettings {
        host: "localhost".to_owned(),
        port: server.port,
        security,
        credentials: Some((MailServer::USER.to_owned(), Zeroizing::new(MailServer::PASSWORD.to_owned()))),
        from: "Chat <chat@example.org>".to_owned(),
        trusted: Some(fs::read(server.certificate()).unwrap()),
        timeout: TIMEOUT,
    }
}

/// Each kind of mail server, with settings that are right for it.
async fn servers() -> Vec<(MailServer, Security)> {
    let mut servers = Vec::new();
    for (tls, security) in [(MailTls::Implicit, Security::Tls), (MailTls::StartTls, Security::StartTls)] {
        servers.push((MailServer::start(tls).await.unwrap(), security));
    }
    servers
}

fn message(to: &str) -> MailMessage {
    MailMessage {
        to: to.parse().unwrap(),
        subject: "Grüße".to_owned(),
        text: "A line.\n.\nAnother, after one that would end the message: ✓\n".to_owned(),
    }
}

async fn send(settings: SmtpSettings, to: &str) -> Result<String, MailError> {
    SmtpMailer::new(settings).unwrap().send(message(to)).await
}

#[tokio::test]
async fn messages_arrive_over_both_kinds_of_tls() {
    for (mut server, security) in servers().await {
        let mailer = SmtpMailer::new(settings(&server, security)).unwrap();
        for _ in 0..2 {
            mailer.send(message("ann@example.org")).await.unwrap();
            let received = server.next().await.unwrap();
            assert_eq!(received.sender, "chat@example.org");
            assert_eq!(received.recipients, ["ann@example.org"]);
            assert_eq!(received.subject, "Grüße");
            let text = received.text.replace("\r\n", "\n");
            assert_eq!(text.trim_end(), message("ann@example.org").text.trim_end());
            assert_eq!(received.upgraded, security == Security::StartTls);
            assert_eq!(received.hello, "example.org", "the machine's own name is not told");
        }
    }
}

#[tokio::test]
async fn wrong_credentials_are_the_servers_trouble_and_not_the_messages() {
    for (server, security) in servers().await {
        for credentials in [
            Some((MailServer::USER.to_owned(), Zeroizing::new("wrong horse".to_owned()))),
            // None, where some are asked for.
            None,
        ] {
            let settings = SmtpSettings { credentials, ..settings(&server, security) };
            assert!(matches!(send(settings, "ann@example.org").await, Err(MailError::Unavailable(_))));
        }
    }
}

#[tokio::test]
async fn a_message_refused_for_good_is_told_from_one_refused_for_now() {
    for (server, security) in servers().await {
        let refused = send(settings(&server, security), MailServer::UNKNOWN).await;
        assert!(matches!(refused, Err(MailError::Refused(_))), "{refused:?}");
        let later = send(settings(&server, security), MailServer::BUSY).await;
        assert!(matches!(later, Err(MailError::Unavailable(_))), "{later:?}");
        send(settings(&server, security), "ann@example.org").await.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_nothing() {
    for (server, security) in servers().await {
        let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        for (host, trusted) in [
            ("localhost", stranger.cert.pem().into_bytes()),
            // The right certificate, under another name.
            ("127.0.0.1", fs::read(server.certificate()).unwrap()),
        ] {
            let settings =
                SmtpSettings { host: host.to_owned(), trusted: Some(trusted), ..settings(&server, security) };
            assert!(matches!(send(settings, "ann@example.org").await, Err(MailError::Unavailable(_))));
        }
    }
}

#[tokio::test]
async fn without_starttls_nothing_is_said_in_clear() {
    let server = MailServer::start(MailTls::Implicit).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings =
        SmtpSettings { port: listener.local_addr().unwrap().port(), ..settings(&server, Security::StartTls) };
    let heard = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").await.unwrap();
        let (mut heard, mut buffer) = (Vec::new(), [0; 512]);
        loop {
            let read = stream.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return String::from_utf8(heard).unwrap();
            }
            heard.extend_from_slice(&buffer[..read]);
            stream.write_all(b"250-mail.example.org\r\n250 AUTH PLAIN LOGIN\r\n").await.ok();
        }
    });
    assert!(matches!(send(settings, "ann@example.org").await, Err(MailError::Unavailable(_))));
    let heard = heard.await.unwrap();
    assert!(heard.starts_with("EHLO example.org"), "{heard}");
    assert!(!heard.contains("AUTH") && !heard.contains("MAIL"), "{heard}");
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_does_not_keep_anybody_waiting() {
    let server = MailServer::start(MailTls::Implicit).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for security in [Security::Tls, Security::StartTls] {
        let timeout = Duration::from_millis(300);
        let silent = SmtpSettings { port, timeout, ..settings(&server, security) };
        let begin = tokio::time::Instant::now();
        assert!(matches!(send(silent, "ann@example.org").await, Err(MailError::Unavailable(_))));
        assert!(begin.elapsed() < TIMEOUT, "{:?}", begin.elapsed());
    }
    drop(listener);
    let away = SmtpSettings { port, ..settings(&server, Security::Tls) };
    assert!(matches!(send(away, "ann@example.org").await, Err(MailError::Unavailable(_))));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_told_at_the_start() {
    let server = MailServer::start(MailTls::Implicit).await.unwrap();
    let from = SmtpSettings { from: "nobody".to_owned(), ..settings(&server, Security::Tls) };
    assert!(SmtpMailer::new(from).is_err());
    let trusted = Some(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".to_vec());
    assert!(SmtpMailer::new(SmtpSettings { trusted, ..settings(&server, Security::Tls) }).is_err());
}
