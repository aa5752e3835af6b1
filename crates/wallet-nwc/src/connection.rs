//! The connection string, which is a secret: whoever has it can spend from the wallet.

use nostr::key::{Keys, PublicKey, SecretKey};
use std::fmt;
use std::str::FromStr;
use url::Url;
use url::form_urlencoded;

/// The schemes in use: that of NIP-47 first, then the older spellings that wallets still hand out.
const PREFIXES: [&str; 4] =
    ["nostr+walletconnect://", "nostr+walletconnect:", "nostrwalletconnect://", "nostrwalletconnect:"];

/// The reason why a text is not a connection string. It never contains a part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The scheme is another one.
    #[error("invalid connection string: expected it to start with nostr+walletconnect://")]
    Scheme,
    /// The part before the question mark is not a public key.
    #[error("invalid wallet public key: expected 64 hex digits of a Nostr public key before the `?`")]
    WalletKey,
    /// There is no secret, or more than one.
    #[error("invalid secret: expected exactly one `secret` parameter, got {0}")]
    SecretCount(usize),
    /// The secret is not a secret key.
    #[error("invalid secret: expected 64 hex digits of a Nostr secret key")]
    Secret,
    /// There is no relay.
    #[error("missing relay: expected at least one `relay` parameter")]
    NoRelay,
    /// A relay is not the URL of a WebSocket.
    #[error("invalid relay number {0}: expected a percent-encoded URL that starts with wss:// or ws://")]
    Relay(usize),
}

/// A relay of the connection string.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RelayAddress {
    url: Url,
}

impl RelayAddress {
    fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        (matches!(url.scheme(), "ws" | "wss") && url.has_host()).then_some(Self { url })
    }

    /// The whole URL, which may hold an access token.
    pub fn reveal(&self) -> &str {
        self.url.as_str()
    }

    /// Whether the connection is made by TLS.
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "wss"
    }
}

/// The host and the port only: the path may hold an access token.
impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.host_str().unwrap_or_default())?;
        self.url.port().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelayAddress({self})")
    }
}

/// A parsed connection string (`nostr+walletconnect://…`, NIP-47). It is as secret as a password: `Debug` shows the
/// hosts of the relays only.
#[derive(Clone)]
pub struct NwcConnection {
    wallet: PublicKey,
    keys: Keys,
    relays: Vec<RelayAddress>,
    lightning_address: Option<String>,
}

impl NwcConnection {
    /// The Lightning address of the wallet (`lud16`), if the connection string names one.
    #[must_use]
    pub fn lightning_address(&self) -> Option<&str> {
        self.lightning_address.as_deref()
    }

    /// Names the connection without its secret: the public keys of the wallet service and of the client, in hex. A wallet service may
    /// show each client its own payments only.
    #[must_use]
    pub fn public_name(&self) -> String {
        format!("{}:{}", self.wallet.to_hex(), self.keys.public_key().to_hex())
    }

    /// The public key that the wallet service signs with.
    pub(crate) const fn wallet(&self) -> PublicKey {
        self.wallet
    }

    /// Our keys for this connection.
    pub(crate) const fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(crate) fn relays(&self) -> &[RelayAddress] {
        &self.relays
    }
}

impl FromStr for NwcConnection {
    type Err = ConnectionError;

    fn from_str(text: &str) -> Result<Self, ConnectionError> {
        let text = text.trim();
        let rest =
            PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).ok_or(ConnectionError::Scheme)?;
        let (wallet, query) = rest.split_once('?').unwrap_or((rest, ""));
        let wallet = PublicKey::from_hex(wallet.trim_end_matches('/'))
            .ok()
            .filter(|key| key.xonly().is_ok())
            .ok_or(ConnectionError::WalletKey)?;

        let (mut secrets, mut relays, mut lightning_address) = (Vec::new(), Vec::new(), None);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "secret" => secrets.push(value),
                "relay" => {
                    let relay =
                        RelayAddress::parse(&value).ok_or(ConnectionError::Relay(relays.len() + 1))?;
                    if !relays.contains(&relay) {
                        relays.push(relay);
                    }
                }
                "lud16" if !value.is_empty() => lightning_address = Some(value.into_owned()),
                _ => {}
            }
        }
        let [secret] = secrets.as_slice() else {
            return Err(ConnectionError::SecretCount(secrets.len()));
        };
        let secret = SecretKey::from_hex(secret).map_err(|_| ConnectionError::Secret)?;
        if relays.is_empty() {
            return Err(ConnectionError::NoRelay);
        }
        Ok(Self { wallet, keys: Keys::new(secret), relays, lightning_address })
    }
}

impl fmt::Debug for NwcConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NwcConnection").field("relays", &self.relays).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WALLET: &str = "b889ff5b1513b641e2a139f661a661364979c5beee91842f8f0ef42ab558e9d4";
    const SECRET: &str = "71a8c14c1407c113601079c4302dab36460f0ccd0ad506f1f2dc73b5100e4f3c";

    fn example() -> String {
        format!("nostr+walletconnect://{WALLET}?relay=wss%3A%2F%2Frelay.damus.io&secret={SECRET}")
    }

    #[test]
    fn the_example_of_the_standard_parses() {
        let connection: NwcConnection = example().parse().unwrap();
        assert_eq!(connection.wallet().to_hex(), WALLET);
        assert_eq!(connection.keys().secret_key().to_secret_hex(), SECRET);
        assert_eq!(connection.relays().len(), 1);
        assert_eq!(connection.relays()[0].reveal(), "wss://relay.damus.io/");
        assert!(connection.relays()[0].is_secure());
        assert_eq!(connection.lightning_address(), None);
        let name = connection.public_name();
        assert!(name.starts_with(WALLET) && name.len() == 129 && !name.contains(SECRET), "{name}");
    }

    #[test]
    fn several_relays_an_address_and_the_older_spellings_parse() {
        for prefix in PREFIXES {
            let text = format!(
                " {prefix}{WALLET}?lud16=me%40example.com&secret={SECRET}&relay=wss://a.example/x?t=1&relay=ws://127.0.0.1:7&relay=wss://a.example/x?t=1\n"
            );
            let connection: NwcConnection = text.parse().unwrap();
            let relays: Vec<_> = connection.relays().iter().map(ToString::to_string).collect();
            assert_eq!(relays, ["a.example", "127.0.0.1:7"], "{prefix}");
            assert_eq!(connection.lightning_address(), Some("me@example.com"));
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_being_shown() {
        let text = example();
        let cases = [
            (text.replace("nostr+", "other+"), "expected it to start with nostr+walletconnect://"),
            (text.replace(WALLET, &WALLET[1..]), "64 hex digits of a Nostr public key"),
            (text.replace(WALLET, &"f".repeat(64)), "64 hex digits of a Nostr public key"),
            (text.replace("secret=", "sacred="), "exactly one `secret` parameter, got 0"),
            (format!("{text}&secret={SECRET}"), "exactly one `secret` parameter, got 2"),
            (text.replace(SECRET, &SECRET[2..]), "64 hex digits of a Nostr secret key"),
            (text.replace(SECRET, &"0".repeat(64)), "64 hex digits of a Nostr secret key"),
            (text.replace("relay=", "really="), "missing relay"),
            (text.replace("wss", "https"), "invalid relay number 1"),
            (format!("{text}&relay=relay.example"), "invalid relay number 2"),
        ];
        for (text, message) in cases {
            let error = text.parse::<NwcConnection>().unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert!(
                !error.to_string().contains(&SECRET[2..20]) && !format!("{error:?}").contains(&SECRET[2..20])
            );
        }
    }

    #[test]
    fn debug_shows_neither_the_secret_nor_the_path_of_a_relay() {
        let text = format!("{}&relay=wss://b.example/token-1234", example());
        let connection: NwcConnection = text.parse().unwrap();
        assert_eq!(
            format!("{connection:?}"),
            "NwcConnection { relays: [RelayAddress(relay.damus.io), RelayAddress(b.example)], .. }"
        );
    }

    proptest! {
        #[test]
        fn any_text_parses_or_fails_cleanly(text in "(nostr\\+walletconnect://)?[0-9a-f]{0,70}\\PC{0,80}") {
            let _parsed = text.parse::<NwcConnection>();
        }
    }
}
