//! Which addresses may be connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks that are not the public internet (IANA's registries of special-purpose addresses), in which a
/// server must not go by a stranger's word.
const SPECIAL_V4: [(Ipv4Addr, u8); 15] = [
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// What IPv6 has given out for the public internet; everything else is special.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Parts of it that are special all the same: protocol assignments (Teredo among them) and documentation.
const SPECIAL_V6: [(Ipv6Addr, u8); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Which addresses may be connected to: those of the public internet, and those of the networks it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    networks: Vec<IpNet>,
}

/// That is no network.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a network such as 10.0.0.0/8 or fd00::/8")]
pub struct InvalidNetwork(String);

impl AddressPolicy {
    /// The public internet alone.
    pub fn public() -> Self {
        Self::default()
    }

    /// The public internet and these networks, each in the notation `10.0.0.0/8`, or a single address.
    pub fn with_networks(networks: &[String]) -> Result<Self, InvalidNetwork> {
        let network = |text: &String| {
            let single = || text.parse::<IpAddr>().map(IpNet::from);
            text.parse().or_else(|_| single()).map_err(|_| InvalidNetwork(text.clone()))
        };
        Ok(Self { networks: networks.iter().map(network).collect::<Result<_, _>>()? })
    }

    /// Every address. For peers that only the operator names.
    pub fn everywhere() -> Self {
        let everything = [IpNet::from(IpAddr::from([0; 4])), IpNet::from(IpAddr::from([0_u8; 16]))];
        Self { networks: everything.iter().filter_map(|net| IpNet::new(net.addr(), 0).ok()).collect() }
    }

    /// Whether that address may be connected to.
    pub fn allows(&self, address: IpAddr) -> bool {
        // A mapped address reaches the IPv4 address in it, and is judged as that.
        let address = address.to_canonical();
        is_public(address) || self.networks.iter().any(|network| network.contains(&address))
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !SPECIAL_V4.iter().any(|&(network, prefix)| {
        Ipv4Net::new(network, prefix).is_ok_and(|network| network.contains(&address))
    })
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |&(network, prefix): &(Ipv6Addr, u8)| {
        Ipv6Net::new(network, prefix).is_ok_and(|network| network.contains(&address))
    };
    if let Some(translated) = translated(address) {
        return is_public_v4(translated);
    }
    within(&GLOBAL_V6) && !SPECIAL_V6.iter().any(within)
}

/// The IPv4 address that a gateway on the way makes of it: NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = address.octets();
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some([octets[12], octets[13], octets[14], octets[15]].into()),
        [0x2002, ..] => Some([octets[2], octets[3], octets[4], octets[5]].into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: &AddressPolicy, address: &str) -> bool {
        policy.allows(address.parse().unwrap())
    }

    #[test]
    fn what_is_not_public_is_not_reached() {
        let policy = AddressPolicy::public();
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "100::1",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!allows(&policy, address), "{address}");
        }
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "193.0.0.1",
            "::ffff:1.1.1.1",
            "2606:4700::1111",
            "64:ff9b::1.1.1.1",
            "2002:101:101::",
        ] {
            assert!(allows(&policy, address), "{address}");
        }
    }

    #[test]
    fn the_operator_may_name_networks() {
        let named = ["10.1.0.0/16".to_owned(), "127.0.0.1".to_owned(), "fd00::/8".to_owned()];
        let policy = AddressPolicy::with_networks(&named).unwrap();
        for address in ["10.1.2.3", "127.0.0.1", "::ffff:127.0.0.1", "fd00::1", "1.1.1.1"] {
            assert!(allows(&policy, address), "{address}");
        }
        for address in ["10.2.0.1", "127.0.0.2", "::1"] {
            assert!(!allows(&policy, address), "{address}");
        }
        assert!(AddressPolicy::with_networks(&["10.0.0.0/33".to_owned()]).is_err());
        assert!(AddressPolicy::with_networks(&["localhost".to_owned()]).is_err());
        assert!(["10.0.0.1", "::1", "fe80::1"].iter().all(|at| allows(&AddressPolicy::everywhere(), at)));
    }
}
