//! Hosts outside the public internet.

use crate::host::{Host, assert_refused, sats};
use tithe_lightning::Network;
use tithe_lnurl::{LnurlResolver, LnurlSettings};
use tithe_payouts::{AddressResolver, LightningAddress};

fn resolver() -> LnurlResolver {
    LnurlResolver::new(LnurlSettings::new(Network::Regtest)).unwrap()
}

#[tokio::test]
async fn hosts_outside_the_public_internet_are_refused_without_connecting() {
    let host = Host::silent().await;
    let port = host.server.address().port();
    for (name, reason) in [
        ("127.0.0.1", "private address"),
        ("127.1", "private address"),
        ("2130706433", "private address"),
        ("0x7f.1", "private address"),
        ("0177.0.0.1", "private address"),
        ("0.0.0.0", "private address"),
        ("10.0.0.1", "private address"),
        ("169.254.169.254", "private address"),
        ("192.168.1.1", "private address"),
        ("localhost", "private address"),
        ("LOCALHOST", "private address"),
        ("foo.localhost", "private address"),
        ("printer.local", "private address"),
        ("metadata.google.internal", "private address"),
        ("intranet", "private address"),
        ("abcdefgh.onion", "onion service"),
        ("256.256.256.256", "invalid URL"),
        (&*format!("127.0.0.1:{port}"), "expected a host without a port"),
        ("example.com:443", "expected a host without a port"),
    ] {
        let address: LightningAddress = format!("alice@{name}").parse().unwrap();
        let reason = format!("the host is not allowed: {reason}");
        assert!(resolver().check(&address).unwrap_err().to_string().contains(&reason), "{address}");
        assert_refused(&resolver().invoice(&address, sats(21)).await, &reason);
    }
    assert!(host.requested().await.is_empty());
}

#[test]
fn hosts_in_the_public_internet_pass_the_check() {
    for name in ["example.com", "xn--bcher-kva.example.com", "1.1.1.1", "a.b.c.example.com"] {
        assert_eq!(resolver().check(&format!("alice@{name}").parse().unwrap()), Ok(()), "{name}");
    }
}
