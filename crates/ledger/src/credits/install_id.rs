//! The id of an installation of an app.

use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// The id of one installation of an app: a UUID in lower case, such as `0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10`.
///
/// It is also what proves the install: whoever knows it can use its credits, so apps should make it at random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct InstallId(Uuid);

/// The text is not the id of an install.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInstallId {
    /// The text is empty.
    #[error("expected a UUID in lower case, got an empty text")]
    Empty,
    /// The text is a UUID in another spelling. One install must not have two names.
    #[error("expected a UUID in lower case with hyphens: {expected}")]
    Spelling {
        /// The id in the right spelling.
        expected: InstallId,
    },
    /// The text is not a UUID.
    #[error("expected a UUID in lower case, such as 0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10")]
    NotUuid,
}

impl InstallId {
    /// The id of this UUID.
    #[must_use]
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The UUID.
    #[must_use]
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl FromStr for InstallId {
    type Err = InvalidInstallId;

    fn from_str(text: &str) -> Result<Self, InvalidInstallId> {
        if text.is_empty() {
            return Err(InvalidInstallId::Empty);
        }
        let id = text.parse().map(Self).map_err(|_| InvalidInstallId::NotUuid)?;
        if id.to_string() == text { Ok(id) } else { Err(InvalidInstallId::Spelling { expected: id }) }
    }
}

impl fmt::Display for InstallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl TryFrom<String> for InstallId {
    type Error = InvalidInstallId;
    fn try_from(text: String) -> Result<Self, InvalidInstallId> {
        text.parse()
    }
}

impl From<InstallId> for String {
    fn from(id: InstallId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_install_has_one_spelling() {
        let text = "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e10";
        let id: InstallId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        let spellings =
            [text.to_uppercase(), text.replace('-', ""), format!("{{{text}}}"), format!("urn:uuid:{text}")];
        for other in spellings {
            assert_eq!(
                other.parse::<InstallId>(),
                Err(InvalidInstallId::Spelling { expected: id }),
                "{other}"
            );
        }
        for no in [" ", "install-1", "0b8e1a3c-6d2f-4f57-9a51-0d6f3c2b7e1", &format!("{text} "), "{}"] {
            assert_eq!(no.parse::<InstallId>(), Err(InvalidInstallId::NotUuid), "{no:?}");
        }
        assert_eq!("".parse::<InstallId>(), Err(InvalidInstallId::Empty));
    }
}
