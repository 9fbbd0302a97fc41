//! Addresses, as much of them as may be kept.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use parking_lot::Mutex;

/// How much of an address is kept: bits of the network it is in. 0 keeps nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Bits of an IPv4 address, up to 32.
    pub v4_bits: u8,
    /// Bits of an IPv6 address, up to 128.
    pub v6_bits: u8,
}

impl Default for AddressPolicy {
    /// A network of 256 IPv4 addresses; of IPv6 what a provider gives to a site.
    fn default() -> Self {
        Self { v4_bits: 24, v6_bits: 48 }
    }
}

impl AddressPolicy {
    /// The network of an address as text, such as `192.0.2.0/24`; nothing if nothing is to be kept.
    pub fn network(self, address: IpAddr) -> Option<String> {
        let (network, bits) = self.shorten(address)?;
        Some(format!("{network}/{bits}"))
    }

    /// The first address of the network, and its bits.
    fn shorten(self, address: IpAddr) -> Option<(IpAddr, u32)> {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let bits = u32::from(self.v4_bits.min(32));
                let mask = u32::MAX.checked_shl(32 - bits)?;
                Some((Ipv4Addr::from_bits(address.to_bits() & mask).into(), bits))
            }
            IpAddr::V6(address) => {
                let bits = u32::from(self.v6_bits.min(128));
                let mask = u128::MAX.checked_shl(128 - bits)?;
                Some((Ipv6Addr::from_bits(address.to_bits() & mask).into(), bits))
            }
        }
    }
}

/// Whoever is beyond it is forgotten, and known again the next time. Each takes some 60 bytes.
const NETWORKS_MAX: usize = 65_536;

/// From which network somebody came last.
#[derive(Debug)]
pub struct Networks<K> {
    policy: AddressPolicy,
    known: Mutex<HashMap<K, IpAddr>>,
}

impl<K: Eq + Hash> Networks<K> {
    /// Of nobody yet. Only as much of an address is looked at as may be kept.
    pub fn new(policy: AddressPolicy) -> Self {
        Self { policy, known: Mutex::default() }
    }

    /// Notes from where somebody comes, and answers whether they are known to have come from elsewhere before.
    pub fn changed(&self, who: K, address: IpAddr) -> bool {
        let Some((network, _)) = self.policy.shorten(address) else { return false };
        let mut known = self.known.lock();
        if known.len() >= NETWORKS_MAX && !known.contains_key(&who) {
            known.clear();
        }
        known.insert(who, network).is_some_and(|before| before != network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_the_network() {
        let network = |v4_bits, v6_bits, address: &str| {
            AddressPolicy { v4_bits, v6_bits }.network(address.parse().unwrap())
        };
        for (found, expected) in [
            (network(24, 48, "192.0.2.77"), Some("192.0.2.0/24")),
            (network(24, 48, "::ffff:192.0.2.77"), Some("192.0.2.0/24")),
            (network(32, 48, "192.0.2.77"), Some("192.0.2.77/32")),
            (network(9, 48, "10.255.1.1"), Some("10.128.0.0/9")),
            (network(0, 48, "192.0.2.77"), None),
            (network(24, 48, "2001:db8:1:2::3"), Some("2001:db8:1::/48")),
            (network(24, 128, "2001:db8::3"), Some("2001:db8::3/128")),
            (network(24, 0, "2001:db8::3"), None),
        ] {
            assert_eq!(found.as_deref(), expected);
        }
    }

    #[test]
    fn another_network_is_noticed_and_another_address_of_it_is_not() {
        let networks = Networks::new(AddressPolicy::default());
        let changed = |who: u32, address: &str| networks.changed(who, address.parse().unwrap());
        assert!(!changed(1, "192.0.2.1"), "nothing was known");
        assert!(!changed(1, "192.0.2.99"));
        assert!(changed(1, "192.0.3.1"));
        assert!(!changed(2, "192.0.2.1"));
        assert!(changed(1, "2001:db8::1"));
        assert!(!changed(1, "2001:db8::2"));
    }
}
