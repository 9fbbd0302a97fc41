//! The push providers that are configured.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, Result};
use protocol::ambient::{Clock, Entropy};
use push::{
    Provider, Providers,
    apns::{self, Apns, ApnsSettings},
    fcm::{self, Fcm, FcmSettings, ServiceAccount},
    web_push::{EndpointPolicy, WebPush, WebPushSettings},
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use vault::Vault;
use zeroize::Zeroizing;

use crate::{config::Config, secrets::Secrets};

/// Makes them. Keys are read and checked; nothing is connected.
pub(super) fn providers(
    config: &Config,
    secrets: &Secrets,
    vault: &Vault,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Providers> {
    let roots = extra_roots(&config.push.ca_file)?;
    Ok(Providers {
        apns: apns(config, &roots, clock)?,
        fcm: fcm(config, &roots, clock)?,
        web_push: web_push(config, secrets, vault, roots, clock, entropy)?,
    })
}

fn apns(
    config: &Config,
    roots: &[CertificateDer<'static>],
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Provider>>> {
    let section = &config.apns;
    if section.key_file.as_os_str().is_empty() {
        return Ok(None);
    }
    let usual = if section.sandbox { apns::SANDBOX } else { apns::PRODUCTION };
    let settings = ApnsSettings {
        key_pem: read(&section.key_file)?,
        key_id: section.key_id.clone(),
        team_id: section.team_id.clone(),
        topic: section.topic.clone(),
        url: or_usual(&section.url, usual),
        extra_roots: roots.to_vec(),
    };
    let apns = Apns::new(settings, Arc::clone(clock)).context("apns cannot be used")?;
    Ok(Some(Arc::new(apns)))
}

fn fcm(
    config: &Config,
    roots: &[CertificateDer<'static>],
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Provider>>> {
    let section = &config.fcm;
    if section.service_account_file.as_os_str().is_empty() {
        return Ok(None);
    }
    let account = ServiceAccount::from_json(&read(&section.service_account_file)?);
    let settings = FcmSettings {
        account: account.context("fcm.service_account_file cannot be used")?,
        url: or_usual(&section.url, fcm::PRODUCTION),
        extra_roots: roots.to_vec(),
    };
    let fcm = Fcm::new(settings, Arc::clone(clock)).context("fcm cannot be used")?;
    Ok(Some(Arc::new(fcm)))
}

fn web_push(
    config: &Config,
    secrets: &Secrets,
    vault: &Vault,
    extra_roots: Vec<CertificateDer<'static>>,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Option<Arc<WebPush>>> {
    let section = &config.web_push;
    if !section.enabled {
        return Ok(None);
    }
    let contact = [&section.contact, &config.public_url].into_iter().find(|text| !text.is_empty()).cloned();
    let settings = WebPushSettings {
        key: secrets.vapid_key(vault)?,
        contact,
        endpoints: EndpointPolicy { hosts: section.allowed_hosts.clone(), addresses: section.addresses() },
        extra_roots,
    };
    Ok(Some(Arc::new(WebPush::new(settings, Arc::clone(clock), Arc::clone(entropy))?)))
}

pub(super) fn extra_roots(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    if file.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .with_context(|| format!("{} holds no certificate", file.display()))
}

fn read(file: &Path) -> Result<Zeroizing<String>> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(Zeroizing::new(text))
}

fn or_usual(configured: &str, usual: &str) -> String {
    if configured.is_empty() { usual.to_owned() } else { configured.to_owned() }
}
