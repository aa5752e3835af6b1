//! Short names for the kinds of things that a service adds to Tithe's own.
//!
//! The ledger has accounts, transfers have kinds, and invoices have purposes. Tithe names its own; a service that links the
//! domain crates names others: an account for each of its customers, a kind of transfer for deposits. Such a name is a
//! [`Label`]: 1 to 24 characters `a` to `z`, `0` to `9` and `_`, beginning with a letter. It is copied like a number and can be
//! a constant.
//!
//! A label belongs to a [`Vocabulary`], whose reserved words it cannot be. So a service's `wallet` cannot be taken for Tithe's,
//! and the name of an account cannot be taken for the name of a transfer's kind.
//!
//! ```
//! use tithe_label::{Label, Vocabulary};
//!
//! #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
//! struct Colours;
//! impl Vocabulary for Colours {
//!     const RESERVED: &'static [&'static str] = &["red"];
//! }
//!
//! const MAUVE: Label<Colours> = Label::literal("mauve");
//! assert_eq!(MAUVE.as_str(), "mauve");
//! assert!("red".parse::<Label<Colours>>().is_err());
//! assert!("Light blue".parse::<Label<Colours>>().is_err());
//! ```

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::str::FromStr;

/// A set of names to which services may add.
pub trait Vocabulary: Copy + Ord + Hash + fmt::Debug + Send + Sync + 'static {
    /// The names that have a meaning already. No [`Label`] of this vocabulary is one of them.
    const RESERVED: &'static [&'static str];
}

/// A name that a service has chosen: 1 to 24 characters `a` to `z`, `0` to `9` and `_`, beginning with a letter, and not
/// reserved by its vocabulary. Labels are ordered alphabetically.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label<V: Vocabulary> {
    /// The characters, followed by zeros.
    text: [u8; LENGTH_MAX],
    vocabulary: PhantomData<V>,
}

/// The most characters that a label has.
const LENGTH_MAX: usize = 24;

/// The text is not a label of the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLabel {
    /// The text is empty, too long, or has other characters.
    #[error("invalid name: expected 1 to 24 characters a to z, 0 to 9 and _, beginning with a letter")]
    Form,
    /// The name has a meaning already.
    #[error("reserved name: expected a name that Tithe does not use itself")]
    Reserved,
}

impl<V: Vocabulary> Label<V> {
    /// Parses a label.
    ///
    /// # Errors
    /// [`InvalidLabel`].
    #[expect(
        clippy::indexing_slicing,
        reason = "both indices are below the checked length; get() is not const"
    )]
    pub const fn new(text: &str) -> Result<Self, InvalidLabel> {
        let bytes = text.as_bytes();
        if bytes.is_empty() || bytes.len() > LENGTH_MAX || !bytes[0].is_ascii_lowercase() {
            return Err(InvalidLabel::Form);
        }
        let mut kept = [0; LENGTH_MAX];
        let mut at = 0;
        while at < bytes.len() {
            if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'_') {
                return Err(InvalidLabel::Form);
            }
            kept[at] = bytes[at];
            at += 1;
        }
        let mut word = 0;
        while word < V::RESERVED.len() {
            if equal(V::RESERVED[word].as_bytes(), bytes) {
                return Err(InvalidLabel::Reserved);
            }
            word += 1;
        }
        Ok(Self { text: kept, vocabulary: PhantomData })
    }

    /// A label that is written in the source: `const CUSTOMER: AccountName = AccountName::literal("customer");`.
    ///
    /// # Panics
    /// If the text is not a label. In a constant, that is a compile-time error.
    #[must_use]
    #[expect(clippy::panic, reason = "for constants, where a panic is a compile-time error")]
    pub const fn literal(text: &'static str) -> Self {
        match Self::new(text) {
            Ok(label) => label,
            Err(InvalidLabel::Form) => {
                panic!("a label has 1 to 24 characters a to z, 0 to 9 and _, and begins with a letter")
            }
            Err(InvalidLabel::Reserved) => panic!("this name is reserved by the vocabulary"),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.text.iter().position(|byte| *byte == 0).unwrap_or(LENGTH_MAX);
        self.text.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

#[expect(clippy::indexing_slicing, reason = "the index is below both lengths; get() is not const")]
const fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

impl<V: Vocabulary> FromStr for Label<V> {
    type Err = InvalidLabel;
    fn from_str(text: &str) -> Result<Self, InvalidLabel> {
        Self::new(text)
    }
}

impl<V: Vocabulary> fmt::Display for Label<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<V: Vocabulary> fmt::Debug for Label<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<V: Vocabulary> serde::Serialize for Label<V> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de, V: Vocabulary> serde::Deserialize<'de> for Label<V> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Words;
    impl Vocabulary for Words {
        const RESERVED: &'static [&'static str] = &["wallet", "job"];
    }
    type Name = Label<Words>;

    #[test]
    fn only_short_lowercase_names_that_mean_nothing_yet_are_labels() {
        for right in ["a", "customer", "wallet2", "jobs", "a_1", "abcdefghijklmnopqrstuvwx"] {
            let label: Name = right.parse().unwrap();
            assert_eq!((label.as_str(), label.to_string().as_str()), (right, right));
        }
        for wrong in ["", "_a", "1a", "A", "a-b", "a b", "a:b", "é", "a\0", "abcdefghijklmnopqrstuvwxy"] {
            assert_eq!(wrong.parse::<Name>(), Err(InvalidLabel::Form), "{wrong:?}");
        }
        for reserved in ["wallet", "job"] {
            assert_eq!(reserved.parse::<Name>(), Err(InvalidLabel::Reserved));
        }
    }

    #[test]
    fn labels_are_ordered_like_their_names() {
        let mut names = ["b", "ab", "a", "a_", "a1", "aa"];
        let mut labels = names.map(Name::literal);
        names.sort_unstable();
        labels.sort_unstable();
        assert_eq!(labels.map(|label| label.to_string()), names);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn a_label_is_stored_as_its_text() {
        let label = Name::literal("customer");
        assert_eq!(serde_json::to_string(&label).unwrap(), "\"customer\"");
        assert_eq!(serde_json::from_str::<Name>("\"customer\"").unwrap(), label);
        assert!(serde_json::from_str::<Name>("\"wallet\"").is_err());
    }
}
