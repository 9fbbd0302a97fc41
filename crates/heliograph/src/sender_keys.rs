//! `heliograph keys`: the keys behind sender certificates, listed and rotated.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use protocol::{
    ambient::{Clock, SystemClock, Timestamp},
    base64,
};

use crate::secrets::{Former, Issued, Secrets, SenderTrust, TrustRoot};

/// What there is, with dates and without secrets.
pub(crate) fn list(secrets: &Secrets) -> Result<String> {
    Ok(describe(&secrets.sender_trust()?, SystemClock.now()))
}

/// Issues a new server certificate, and says which.
pub(crate) fn rotate_certificate(secrets: &Secrets, trust_root: Option<&Path>) -> Result<String> {
    let trust = secrets.rotate_sender_certificate(trust_root)?;
    let Issued { certificate, trust_root, .. } = trust.current();
    Ok(format!(
        "server certificate {}, under trust root {trust_root}, signs sender certificates from now on; a running \
         server takes it up within a minute",
        certificate.id()
    ))
}

/// Makes a new trust root, and says what is to be done with it.
pub(crate) fn rotate_trust_root(secrets: &Secrets) -> Result<String> {
    let (trust, file) = secrets.rotate_sender_trust_root()?;
    Ok(format!(
        "trust root {} is in client-config from now on, its private half in {}; when your clients have it, run \
         `heliograph keys rotate sender-certificate`",
        trust.newest_root(),
        file.display()
    ))
}

fn describe(trust: &SenderTrust, now: Timestamp) -> String {
    let mut text = String::from("Sender trust roots\n");
    for (number, root) in trust.trust_roots() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", root_line(trust, number, root, now));
    }
    text.push_str("Server certificates\n");
    for former in trust.former() {
        let _ = writeln!(text, "{}", former_line(former, now));
    }
    let _ = write!(text, "{}, signs sender certificates", certificate_line(trust.current()));
    text
}

fn root_line(trust: &SenderTrust, number: usize, root: &TrustRoot, now: Timestamp) -> String {
    let key = base64::encode_padded(root.key.as_bytes());
    let published = if trust.is_published(number, now) { "published" } else { "no longer published" };
    let newest = if number == trust.newest_root() { ", signs the next server certificate" } else { "" };
    format!("  {number}  {key}  made {}, {published}{newest}", moment(root.made))
}

fn certificate_line(Issued { certificate, trust_root, at }: &Issued) -> String {
    format!("  {}  under trust root {trust_root}, issued {}", certificate.id(), moment(*at))
}

fn former_line(former: &Former, now: Timestamp) -> String {
    let until = former.counts_until();
    let counts = if now <= until { "counts until" } else { "over since" };
    let (issued, replaced) = (certificate_line(&former.issued), former.replaced.to_rfc3339());
    format!("{issued}, replaced {replaced}, {counts} {}", until.to_rfc3339())
}

fn moment(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "long ago".to_owned(), Timestamp::to_rfc3339)
}
