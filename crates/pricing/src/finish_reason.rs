//! Why the output of work ended.

use std::fmt;
use std::str::FromStr;

/// Why the model's output ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum FinishReason {
    /// The output is complete.
    Stop,
    /// A limit was reached: of the output's length, or of the time that it may take. The output may be cut, or even empty, if
    /// the model's reasoning took all of it.
    Length,
    /// A content filter ended it.
    ContentFilter,
    /// It broke off.
    Interrupted,
}

impl FinishReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Stop, Self::Length, Self::ContentFilter, Self::Interrupted];

    /// The name used by the API and the stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
            Self::Interrupted => "interrupted",
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no finish reason of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown finish reason: {0:?}")]
pub struct UnknownFinishReason(String);

impl FromStr for FinishReason {
    type Err = UnknownFinishReason;
    fn from_str(text: &str) -> Result<Self, UnknownFinishReason> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        found.ok_or_else(|| UnknownFinishReason(text.to_owned()))
    }
}
