//! Whether a node is the expected one.

use crate::answers::NodeInfo;
use tithe_lightning::{Network, WalletError};

/// The first version that finds outgoing payments by their hash.
const VERSION_MIN: (u32, u32) = (0, 5);

/// Checks the network and the version.
pub(crate) fn check(node: &NodeInfo, network: Network) -> Result<(), WalletError> {
    if network_of(&node.chain) != Some(network) {
        let chain = &node.chain;
        return Err(WalletError::Nonsense(format!(
            "wrong network: expected {network}, got phoenixd on {chain:?}"
        )));
    }
    // Other servers with the same API number their versions as they like.
    if version_of(&node.version).is_some_and(|version| version < VERSION_MIN) {
        let version = &node.version;
        return Err(WalletError::Nonsense(format!(
            "phoenixd too old: expected version 0.5 or later, got {version:?}"
        )));
    }
    Ok(())
}

fn network_of(chain: &str) -> Option<Network> {
    match chain {
        "mainnet" => Some(Network::Mainnet),
        "testnet" | "testnet3" | "testnet4" => Some(Network::Testnet),
        "signet" => Some(Network::Signet),
        "regtest" => Some(Network::Regtest),
        _ => None,
    }
}

/// The first two numbers of, for example, `0.8.0-1a2b3c4`.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.').map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(chain: &str, version: &str, network: Network) -> Result<(), String> {
        let node = NodeInfo { chain: chain.to_owned(), version: version.to_owned(), channels: Vec::new() };
        check(&node, network).map_err(|error| error.to_string())
    }

    #[test]
    fn the_node_must_be_on_the_expected_network() {
        for (chain, network) in [
            ("mainnet", Network::Mainnet),
            ("testnet3", Network::Testnet),
            ("testnet", Network::Testnet),
            ("signet", Network::Signet),
            ("regtest", Network::Regtest),
        ] {
            assert_eq!(checked(chain, "0.8.0", network), Ok(()));
            for other in Network::ALL.into_iter().filter(|other| *other != network) {
                let problem = format!(
                    "invalid wallet response: wrong network: expected {other}, got phoenixd on {chain:?}"
                );
                assert_eq!(checked(chain, "0.8.0", other), Err(problem));
            }
        }
        assert!(checked("", "0.8.0", Network::Mainnet).is_err());
    }

    #[test]
    fn the_node_must_find_payments_by_their_hash() {
        for version in ["0.5.0", "0.8.0-1a2b3c4", "1.0", "0.10.1", "lnserve"] {
            assert_eq!(checked("mainnet", version, Network::Mainnet), Ok(()), "{version}");
        }
        for version in ["0.4.2", "0.4.2-1a2b3c4"] {
            assert!(checked("mainnet", version, Network::Mainnet).is_err(), "{version}");
        }
    }
}
