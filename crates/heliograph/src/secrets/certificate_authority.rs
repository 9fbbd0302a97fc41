//! A private CA and one certificate under it, for servers without a public name.
//!
//! Clients must be given the CA's certificate (`heliograph client-config` prints it).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::files;

pub(super) const CERTIFICATE: &str = "tls-certificate.pem";
pub(super) const CERTIFICATE_KEY: &str = "tls-key.pem";
const CA_CERTIFICATE: &str = "ca-certificate.pem";
const CA_KEY: &str = "ca-key.pem";

/// The CA's certificate.
pub(super) fn ca_file(folder: &Path) -> PathBuf {
    folder.join(CA_CERTIFICATE)
}

/// Makes a CA, and a certificate for those DNS names and addresses. P-256, which every client of ours
/// speaks.
pub(super) fn make(folder: &Path, names: &[String]) -> Result<()> {
    let issuer = CertifiedIssuer::self_signed(ca_params(), KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names).context("a name cannot stand in a certificate")?;
    params.distinguished_name.push(DnType::CommonName, "Heliograph");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    validity(&mut params);
    let certificate = params.signed_by(&key, &issuer)?;
    files::write_secret(&folder.join(CA_KEY), issuer.key().serialize_pem().as_bytes())?;
    files::write_public(&ca_file(folder), issuer.pem().as_bytes())?;
    files::write_secret(&folder.join(CERTIFICATE_KEY), key.serialize_pem().as_bytes())?;
    // Last: where the certificate is, the rest is.
    files::write_public(&folder.join(CERTIFICATE), certificate.pem().as_bytes())
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Heliograph private CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    validity(&mut params);
    params
}

/// Long: a private CA that ends locks every client out at once, and nobody watches it.
fn validity(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2050, 1, 1);
}
