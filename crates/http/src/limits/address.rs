//! Addresses of clients.

use super::forwarded::ForwardedHeader;
use actix_web::http::header::HeaderMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many leading bits of an IPv6 address belong to one customer of a provider (RFC 6177).
const IPV6_PREFIX: u8 = 56;

/// The IPv4 address that a translator has written as an IPv6 one (RFC 6052): all of them have one prefix.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() else { return None };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// The addresses that count as one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressBlock(IpNet);

impl AddressBlock {
    /// The block of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpNet::V4(Ipv4Net::from(address)),
            IpAddr::V6(address) => match translated(address) {
                Some(address) => IpNet::V4(Ipv4Net::from(address)),
                None => {
                    IpNet::V6(Ipv6Net::new(address, IPV6_PREFIX).unwrap_or_else(|_| address.into()).trunc())
                }
            },
        })
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(network) => network.addr().fmt(f),
            IpNet::V6(network) => network.fmt(f),
        }
    }
}

/// The address of the client: the peer's own, or, if the peer is a trusted proxy, the last one in the header of proxies that is not a
/// trusted proxy. What a client has written in front of that is not believed.
pub(super) fn client(
    peer: IpAddr,
    headers: &HeaderMap,
    header: ForwardedHeader,
    trusted: &[IpNet],
) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(&client) {
        return client;
    }
    for address in header.addresses(headers) {
        // What cannot be read ends the search: what comes before it may be the client's words.
        let Some(address) = address else { break };
        client = address;
        if !is_trusted(&client) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_ipv4_address_or_an_ipv6_network_of_56_bits_is_one_client() {
        let shown = |text: &str| AddressBlock::of(address(text)).to_string();
        assert_eq!(shown("192.0.2.7"), "192.0.2.7");
        assert_eq!(shown("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(shown("64:ff9b::192.0.2.7"), "192.0.2.7");
        assert_eq!(shown("2001:db8:1:22ff::1"), "2001:db8:1:2200::/56");
        assert_eq!(AddressBlock::of(address("2001:db8::1")), AddressBlock::of(address("2001:db8:0:ff::2")));
        assert_ne!(AddressBlock::of(address("2001:db8::1")), AddressBlock::of(address("2001:db8:0:100::1")));
    }

    #[test]
    fn only_what_trusted_proxies_have_added_is_believed() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap()];
        let ours = ForwardedHeader::XForwardedFor;
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["198.51.100.9"][..], "192.0.2.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["198.51.100.9"], "198.51.100.9"),
            ("::ffff:127.0.0.1", &["198.51.100.9"], "198.51.100.9"),
            ("127.0.0.1", &["203.0.113.5, 198.51.100.9, 10.1.2.3"], "198.51.100.9"),
            ("127.0.0.1", &["203.0.113.5", "198.51.100.9"], "198.51.100.9"),
            ("127.0.0.1", &["198.51.100.9:4711"], "198.51.100.9"),
            ("127.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
            ("127.0.0.1", &["198.51.100.9, unknown"], "127.0.0.1"),
            ("127.0.0.1", &["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        ] {
            assert_eq!(
                of(peer, &[("x-forwarded-for", forwarded)], ours, &trusted),
                address(expected),
                "{peer} {forwarded:?}"
            );
            // The other header is the client's word.
            let lies = ("forwarded", &["for=203.0.113.66"][..]);
            assert_eq!(of(peer, &[("x-forwarded-for", forwarded), lies], ours, &trusted), address(expected));
        }
    }

    #[test]
    fn the_other_header_is_believed_only_where_it_is_the_one_that_proxies_write() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let lies = ("x-forwarded-for", &["203.0.113.66"][..]);
        for (forwarded, expected) in [
            (&["for=198.51.100.9"][..], "198.51.100.9"),
            (&["for=203.0.113.5, for=198.51.100.9, for=10.1.2.3"], "198.51.100.9"),
            (&["for=203.0.113.5", "for=\"[2001:db8::1]:80\";proto=https"], "2001:db8::1"),
            (&["for=198.51.100.9, for=_hidden"], "10.0.0.1"),
            (&["for=\"198.51.100.9, for=203.0.113.5"], "10.0.0.1"),
            (&[], "10.0.0.1"),
        ] {
            let found =
                of("10.0.0.1", &[lies, ("forwarded", forwarded)], ForwardedHeader::Forwarded, &trusted);
            assert_eq!(found, address(expected), "{forwarded:?}");
        }
    }

    fn of(
        peer: &str,
        lines: &[(&'static str, &[&'static str])],
        header: ForwardedHeader,
        trusted: &[IpNet],
    ) -> IpAddr {
        let mut headers = HeaderMap::new();
        for (name, line) in
            lines.iter().flat_map(|(name, lines)| lines.iter().map(move |line| (*name, *line)))
        {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(line));
        }
        client(address(peer), &headers, header, trusted)
    }
}
