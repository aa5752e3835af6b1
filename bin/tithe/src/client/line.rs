//! Short texts of a server that are shown to the user.

use serde::{Deserialize, Deserializer};
use std::fmt::{self, Display};
use std::ops::Deref;

/// A short text without control characters: a server must not move the cursor, retitle the window or write the clipboard of a user who
/// reads an identifier, a time or the reason of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line(String);

impl From<String> for Line {
    fn from(mut text: String) -> Self {
        text.retain(|c| !c.is_control());
        Self(text)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl PartialEq<&str> for Line {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_controls_no_terminal() {
        for (json, shown) in [
            (r#""gpt-4o""#, "gpt-4o"),
            (r#""\u001b]0;title\u0007after""#, "]0;titleafter"),
            (r#""a\nb\r\u009b2J""#, "ab2J"),
        ] {
            assert_eq!(&*serde_json::from_str::<Line>(json).unwrap(), shown);
        }
    }
}
