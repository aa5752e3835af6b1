//! The node that was made.

use std::collections::BTreeMap;
use std::fmt;

/// The most entries that credentials have, and the most bytes of one name, of one value, and of a host.
const ENTRIES_MAX: usize = 32;
const NAME_MAX: usize = 64;
const VALUE_MAX: usize = 16 * 1024;
const HOST_MAX: usize = 253;

/// What opens a node: names and values, such as `user` and `password`. `Debug` shows the names only.
#[derive(Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Credentials(pub BTreeMap<String, String>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A node that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Node {
    /// The host name or the IP address.
    pub host: String,
    /// What opens it.
    pub credentials: Credentials,
}

/// A provisioner has returned something that is no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNode {
    /// The host is no host.
    #[error("invalid host: expected a host name or an IP address of at most {HOST_MAX} bytes")]
    Host,
    /// The credentials are too many, or too long, or have no name.
    #[error(
        "invalid credentials: expected at most {ENTRIES_MAX}, with names of 1 to {NAME_MAX} bytes and values of at most {VALUE_MAX}"
    )]
    Credentials,
}

impl Node {
    /// Checks what a provisioner has returned before it is stored and shown.
    ///
    /// # Errors
    /// [`InvalidNode`] says what is wrong, without showing it.
    pub fn check(self) -> Result<Self, InvalidNode> {
        let is_of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        let is_host = (1..=HOST_MAX).contains(&self.host.len()) && self.host.chars().all(is_of_host);
        if !is_host {
            return Err(InvalidNode::Host);
        }
        let fits = |(name, value): (&String, &String)| {
            (1..=NAME_MAX).contains(&name.len())
                && !name.chars().any(char::is_control)
                && value.len() <= VALUE_MAX
        };
        if self.credentials.0.len() > ENTRIES_MAX || !self.credentials.0.iter().all(fits) {
            return Err(InvalidNode::Credentials);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, credentials: &[(&str, &str)]) -> Node {
        let credentials = credentials.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Node { host: host.to_owned(), credentials: Credentials(credentials.collect()) }
    }

    #[test]
    fn what_a_provisioner_returns_is_checked() {
        for host in ["203.0.113.7", "2001:db8::7", "node-1.example.com"] {
            assert!(node(host, &[("user", "root"), ("password", "x")]).check().is_ok(), "{host}");
        }
        for host in ["", "a b", "a\nb", "<script>", &"a".repeat(254)] {
            assert_eq!(node(host, &[]).check(), Err(InvalidNode::Host), "{host}");
        }
        let long = "a".repeat(VALUE_MAX + 1);
        for wrong in [("", "x"), ("a\u{1b}", "x"), ("a", &long)] {
            assert_eq!(node("h", &[wrong]).check(), Err(InvalidNode::Credentials), "{}", wrong.0);
        }
    }

    #[test]
    fn credentials_are_not_shown_in_logs() {
        let shown = format!("{:?}", node("h", &[("password", "hunter2")]));
        assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
    }
}
