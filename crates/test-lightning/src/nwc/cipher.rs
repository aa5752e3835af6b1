//! Encryption between a client and the wallet service.

use nostr::event::Event;
use nostr::key::{Keys, PublicKey};
use nostr::nips::{nip04, nip44};

/// An encryption scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Nip44,
    Nip04,
}

/// The encryption schemes that a wallet service supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NwcEncryption {
    /// `nip44_v2` and `nip04`.
    #[default]
    Both,
    /// `nip44_v2`.
    Nip44,
    /// `nip04`, announced by a tag.
    Nip04,
    /// `nip04`, without a tag, as wallets did before there was a choice.
    Untold,
}

impl NwcEncryption {
    /// The value of the info event's tag `encryption`.
    pub(super) const fn tag(self) -> Option<&'static str> {
        match self {
            Self::Both => Some("nip44_v2 nip04"),
            Self::Nip44 => Some("nip44_v2"),
            Self::Nip04 => Some("nip04"),
            Self::Untold => None,
        }
    }

    /// The schemes, the best first.
    pub(super) const fn schemes(self) -> &'static [Scheme] {
        match self {
            Self::Both => &[Scheme::Nip44, Scheme::Nip04],
            Self::Nip44 => &[Scheme::Nip44],
            Self::Nip04 | Self::Untold => &[Scheme::Nip04],
        }
    }

    /// The scheme of a request, or the one to refuse it in.
    pub(super) fn of_request(self, request: &Event) -> Result<Scheme, Scheme> {
        let tag = request.tags.iter().find(|tag| tag.kind() == "encryption").and_then(|tag| tag.content());
        let wanted = match tag {
            None | Some("nip04") => Some(Scheme::Nip04),
            Some("nip44_v2") => Some(Scheme::Nip44),
            Some(_) => None,
        };
        let own = self.schemes().first().copied().unwrap_or(Scheme::Nip44);
        wanted.filter(|wanted| self.schemes().contains(wanted)).ok_or(own)
    }
}

impl Scheme {
    pub fn encrypt(self, keys: &Keys, to: &PublicKey, text: &str) -> Option<String> {
        match self {
            Self::Nip44 => nip44::encrypt(keys.secret_key(), to, text, nip44::Version::V2).ok(),
            Self::Nip04 => nip04::encrypt(keys.secret_key(), to, text).ok(),
        }
    }

    pub fn decrypt(self, keys: &Keys, from: &PublicKey, content: &str) -> Option<String> {
        match self {
            Self::Nip44 => nip44::decrypt(keys.secret_key(), from, content).ok(),
            Self::Nip04 => nip04::decrypt(keys.secret_key(), from, content).ok(),
        }
    }
}
