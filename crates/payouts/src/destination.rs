//! Where a customer wants to be paid.

use crate::{InvalidLightningAddress, LightningAddress};
use std::fmt;
use std::str::FromStr;
use tithe_lightning::{Bolt11, Bolt11Error};
use uuid::Uuid;

/// What the text of a session begins with, as that of its account in the ledger does.
const SESSION: &str = "session:";

/// Where a customer wants to be paid. Its text is the payment request, the address, or `session:` with the session's id.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub enum Destination {
    /// To this invoice, once.
    Invoice(Box<Bolt11>),
    /// To this Lightning address, which gives a new invoice for every payment.
    Address(LightningAddress),
    /// To the balance of this session: nothing is sent, so that there is no routing fee, and nothing is too small.
    Session(Uuid),
}

/// The text is no destination.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDestination {
    /// It looks like a payment request, and is none.
    #[error(transparent)]
    Invoice(#[from] Bolt11Error),
    /// It is no Lightning address.
    #[error(transparent)]
    Address(#[from] InvalidLightningAddress),
    /// It is no id of a session.
    #[error("malformed session id: expected a UUID, got {0:?}")]
    Session(String),
}

impl FromStr for Destination {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        if let Some(id) = text.strip_prefix(SESSION) {
            let id = Uuid::try_parse(id).map_err(|_| InvalidDestination::Session(id.to_owned()))?;
            return Ok(Self::Session(id));
        }
        if text.contains('@') {
            return Ok(Self::Address(text.parse()?));
        }
        Ok(Self::Invoice(Box::new(text.parse()?)))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invoice(request) => f.write_str(request.as_str()),
            Self::Address(address) => address.fmt(f),
            Self::Session(id) => write!(f, "{SESSION}{id}"),
        }
    }
}

/// An invoice is shown by its payment hash.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invoice(request) => write!(f, "invoice {}", request.payment_hash()),
            Self::Address(address) => write!(f, "address {address}"),
            Self::Session(id) => write!(f, "session {id}"),
        }
    }
}

impl From<LightningAddress> for Destination {
    fn from(address: LightningAddress) -> Self {
        Self::Address(address)
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

impl TryFrom<String> for Destination {
    type Error = InvalidDestination;
    fn try_from(text: String) -> Result<Self, InvalidDestination> {
        text.parse()
    }
}
