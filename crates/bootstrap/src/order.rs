//! What a provisioner is asked to make.

use crate::SshPublicKey;
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The id of a bootstrap. The provisioner knows the node by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BootstrapId(pub Uuid);

impl fmt::Display for BootstrapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BootstrapId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// The password that a new node is given. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RootPassword(String);

impl RootPassword {
    /// A password of 32 hexadecimal digits, from 16 random bytes.
    #[must_use]
    pub fn from_random(random: [u8; 16]) -> Self {
        let digits = random.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        Self(digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect())
    }

    /// A password that was made before.
    #[must_use]
    pub const fn restore(password: String) -> Self {
        Self(password)
    }

    /// The password itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RootPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootPassword(hidden)")
    }
}

/// An order for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "camelCase"))]
pub struct Order {
    /// The order's id. The same order always has the same one.
    pub id: BootstrapId,
    /// The name of the plan that was bought.
    pub plan: String,
    /// The customer's key for SSH, if the customer gave one. Then nobody else needs credentials.
    pub ssh_public_key: Option<SshPublicKey>,
    /// The password for the node's `root`, if the customer gave no key.
    pub root_password: Option<RootPassword>,
}
