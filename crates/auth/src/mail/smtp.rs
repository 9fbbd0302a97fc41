//! Handing messages to a mail server by SMTP (RFC 5321, 8314), always under TLS.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
        extension::ClientId,
        response::Response,
    },
};
use tokio::{sync::Semaphore, time};
use zeroize::Zeroizing;

use super::{MailError, MailMessage, Mailer};

/// Messages on their way at once; more wait. A mail server that answers slowly must not collect connections.
const AT_ONCE_MAX: usize = 8;

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte, usually on port 465.
    Tls,
    /// TLS after `STARTTLS`, usually on port 587. A server that does not offer it gets nothing.
    StartTls,
}

/// Where messages are handed over, and who hands them over.
pub struct SmtpSettings {
    /// The mail server's name, which its certificate must bear.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// User and password, where the server asks for them.
    pub credentials: Option<(String, Zeroizing<String>)>,
    /// Whom messages are from: `chat@example.org` or `Chat <chat@example.org>`.
    pub from: String,
    /// Certificates, in PEM, that are trusted besides those of the system.
    pub trusted: Option<Vec<u8>>,
    /// What a message may take from beginning to end.
    pub timeout: Duration,
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SmtpSettingsError {
    /// The sender is no address.
    #[error("the sender is not an address such as Chat <chat@example.org>")]
    From(#[source] lettre::address::AddressError),
    /// The certificates cannot be read, or the name is none.
    #[error("TLS cannot be set up")]
    Tls(#[source] lettre::transport::smtp::Error),
}

/// Hands messages to one mail server.
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    timeout: Duration,
    at_once: Semaphore,
}

impl SmtpMailer {
    /// One that uses those settings. Nothing is connected yet.
    pub fn new(settings: SmtpSettings) -> Result<Self, SmtpSettingsError> {
        let from: Mailbox = settings.from.parse().map_err(SmtpSettingsError::From)?;
        let tls = tls_parameters(&settings).map_err(SmtpSettingsError::Tls)?;
        let tls = match settings.security {
            Security::Tls => Tls::Wrapper(tls),
            Security::StartTls => Tls::Required(tls),
        };
        let builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(settings.timeout))
            // The sender's domain: what this machine calls itself is nobody's business.
            .hello_name(ClientId::Domain(from.email.domain().to_owned()));
        let builder = match settings.credentials {
            Some((user, password)) => builder.credentials(Credentials::new(user, (*password).clone())),
            None => builder,
        };
        let at_once = Semaphore::new(AT_ONCE_MAX);
        Ok(Self { transport: builder.build(), from, timeout: settings.timeout, at_once })
    }

    fn message(&self, MailMessage { to, subject, text }: MailMessage) -> Result<Message, MailError> {
        let to: Mailbox = to.as_str().parse().map_err(refused)?;
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(refused)
    }
}

fn tls_parameters(settings: &SmtpSettings) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let builder = TlsParameters::builder(settings.host.clone());
    let trusted = settings.trusted.as_deref().map(Certificate::from_pem).transpose()?;
    match trusted {
        Some(certificate) => builder.add_root_certificate(certificate),
        None => builder,
    }
    .build_rustls()
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, message: MailMessage) -> Result<String, MailError> {
        let message = self.message(message)?;
        // The transport's own time-out is one of connecting; this one is of the whole.
        let sent = time::timeout(self.timeout, async {
            let _permit = self.at_once.acquire().await;
            self.transport.send(message).await
        });
        match sent.await {
            Ok(Ok(answer)) => Ok(in_words(&answer)),
            // What the server says for good about the message is about the message, unless it is about us.
            Ok(Err(error)) if error.is_permanent() && !is_about_credentials(&error) => Err(refused(error)),
            Ok(Err(error)) => Err(MailError::Unavailable(error.into())),
            Err(elapsed) => Err(MailError::Unavailable(elapsed.into())),
        }
    }
}

/// Number and text of an answer, on one line.
fn in_words(answer: &Response) -> String {
    let text: Vec<_> = answer.message().collect();
    format!("{} {}", answer.code(), text.join(" "))
}

/// 530, 534, 535, 538: the server wants credentials, or others (RFC 4954, section 6).
fn is_about_credentials(error: &lettre::transport::smtp::Error) -> bool {
    error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538))
}

fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> MailError {
    MailError::Refused(error.into())
}

impl fmt::Debug for SmtpMailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpMailer").finish_non_exhaustive()
    }
}
