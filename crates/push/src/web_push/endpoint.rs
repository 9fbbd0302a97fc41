//! Where a subscription may point to.

use http::{Uri, uri::Authority};
use outgoing::AddressPolicy;
use protocol::WebPushSubscription;

/// Which push servers are used.
#[derive(Clone, Debug)]
pub struct EndpointPolicy {
    /// Hosts, such as `push.example.org`, or with all under it `*.example.org`. None: any host.
    pub hosts: Vec<String>,
    /// Which addresses they may have.
    pub addresses: AddressPolicy,
}

/// A push server is not one that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointRefused {
    /// It is not an address.
    #[error("the endpoint is not an address")]
    Malformed,
    /// The host is not on the list.
    #[error("the endpoint's host is not one of those that are allowed")]
    Host,
    /// The address is a private one.
    #[error("the endpoint is at an address that is not allowed")]
    Address,
}

/// An endpoint that may be used.
pub(super) struct Endpoint {
    pub(super) uri: Uri,
    /// Scheme, host and port.
    pub(super) origin: String,
}

impl EndpointPolicy {
    /// Checks an endpoint. What its name resolves to is checked when a connection is made.
    pub(super) fn check(&self, subscription: &WebPushSubscription) -> Result<Endpoint, EndpointRefused> {
        let uri: Uri = subscription.endpoint().parse().map_err(|_| EndpointRefused::Malformed)?;
        let authority = uri.authority().ok_or(EndpointRefused::Malformed)?;
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        if uri.scheme_str() != Some("https") || host.is_empty() {
            return Err(EndpointRefused::Malformed);
        }
        if !self.hosts.is_empty() && !self.hosts.iter().any(|allowed| matches(allowed, &host)) {
            return Err(EndpointRefused::Host);
        }
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse();
        if literal.is_ok_and(|address| !self.addresses.allows(address)) {
            return Err(EndpointRefused::Address);
        }
        let origin = origin(authority, &host);
        Ok(Endpoint { uri, origin })
    }
}

/// As RFC 6454 writes it: without the port that is the usual one.
fn origin(authority: &Authority, host: &str) -> String {
    match authority.port_u16() {
        Some(port) if port != 443 => format!("https://{host}:{port}"),
        _ => format!("https://{host}"),
    }
}

fn matches(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix("*.") {
        Some(parent) => host
            .strip_suffix(&parent.to_ascii_lowercase())
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => allowed.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: &EndpointPolicy, endpoint: &str) -> Result<String, EndpointRefused> {
        let key = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        let subscription = WebPushSubscription::new(endpoint, key, "BTBZMqHH6r4Tts7J_aSIgg").unwrap();
        policy.check(&subscription).map(|endpoint| endpoint.origin)
    }

    #[test]
    fn any_host_with_a_public_address() {
        let policy = EndpointPolicy { hosts: Vec::new(), addresses: AddressPolicy::public() };
        assert_eq!(check(&policy, "https://Push.Example.org/abc").unwrap(), "https://push.example.org");
        assert_eq!(check(&policy, "https://a.example:443/").unwrap(), "https://a.example");
        assert_eq!(check(&policy, "https://a.example:8443/?x").unwrap(), "https://a.example:8443");
        assert_eq!(check(&policy, "https://1.1.1.1/").unwrap(), "https://1.1.1.1");
        for endpoint in
            ["https://127.0.0.1/", "https://[::1]:8443/", "https://10.0.0.1", "https://169.254.169.254/x"]
        {
            assert_eq!(check(&policy, endpoint), Err(EndpointRefused::Address), "{endpoint}");
        }
        assert_eq!(check(&policy, "https://[x/"), Err(EndpointRefused::Malformed));
    }

    #[test]
    fn a_list_of_hosts_is_all_there_is() {
        let hosts = ["ntfy.example.org", "*.push.example.net"].map(str::to_owned).to_vec();
        let policy = EndpointPolicy { hosts, addresses: AddressPolicy::public() };
        for endpoint in
            ["https://ntfy.example.org/up", "https://NTFY.example.org./", "https://a.b.push.example.net/"]
        {
            assert!(check(&policy, endpoint).is_ok(), "{endpoint}");
        }
        for endpoint in [
            "https://example.org/",
            "https://evil-ntfy.example.org/",
            "https://push.example.net/",
            "https://.push.example.net/",
            "https://xpush.example.net/",
            "https://ntfy.example.org.evil.example/",
        ] {
            assert_eq!(check(&policy, endpoint), Err(EndpointRefused::Host), "{endpoint}");
        }
    }
}
