//! The settings.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// How `DigitalOcean` is used.
#[derive(Debug, Clone)]
pub struct DigitalOceanSettings {
    /// The access token. It needs the scopes `droplet:create`, `droplet:read`, `droplet:delete`, `tag:create` and `tag:read`.
    pub token: ApiToken,
    /// The address of the API. Default: `https://api.digitalocean.com`.
    pub base_url: Url,
    /// The droplet for each plan, by the plan's name.
    pub plans: BTreeMap<String, DropletPlan>,
    /// The script that every droplet runs once, on its first boot. Default: none.
    pub setup_script: Option<SetupScript>,
    /// The timeout of each request, including connecting; a call sends at most two. Default: 30 seconds.
    pub request_timeout: Duration,
}

impl DigitalOceanSettings {
    /// Settings with the defaults.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "the address is a constant, and a test reads it"
    )]
    pub fn new(token: ApiToken, plans: BTreeMap<String, DropletPlan>) -> Self {
        Self {
            token,
            base_url: Url::parse("https://api.digitalocean.com").expect("an absolute URL"),
            plans,
            setup_script: None,
            request_timeout: Duration::from_secs(30),
        }
    }
}

/// The droplet of a plan. The values are `DigitalOcean`'s names ("slugs").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropletPlan {
    /// The size, such as `s-1vcpu-1gb`.
    pub size: String,
    /// The image, such as `debian-13-x64`, or the number of an image or snapshot of the operator's own. It needs cloud-init 22.2
    /// or later.
    pub image: String,
    /// The region, such as `fra1`.
    pub region: String,
}

/// An access token of `DigitalOcean`. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken(String);

/// The text is not an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid DigitalOcean token: expected visible ASCII characters without spaces")]
pub struct ApiTokenError;

impl ApiToken {
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for ApiToken {
    type Err = ApiTokenError;

    /// Reads a token; the white space around it, such as the line feed at the end of a file, is not part of it.
    fn from_str(text: &str) -> Result<Self, ApiTokenError> {
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ApiTokenError);
        }
        Ok(Self(token.to_owned()))
    }
}

impl fmt::Debug for ApiToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiToken(hidden)")
    }
}

/// A script that sets a node up. It may contain the operator's secrets, so `Debug` shows only its length; the customer, who has
/// `root`, can read it all the same.
#[derive(Clone, PartialEq, Eq)]
pub struct SetupScript(String);

/// The text is not a set-up script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupScriptError {
    /// The kernel would not know how to run it.
    #[error("invalid set-up script: expected a first line such as #!/bin/sh")]
    NoInterpreter,
    /// It does not fit into a droplet's user data, whose limit is 64 KiB after encoding.
    #[error("invalid set-up script: expected at most {max} bytes, got {bytes}", max = SetupScript::BYTES_MAX)]
    TooLong {
        /// Its size, in bytes.
        bytes: usize,
    },
}

impl SetupScript {
    /// The maximum size, in bytes.
    pub const BYTES_MAX: usize = 32 * 1024;

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SetupScript {
    type Err = SetupScriptError;

    fn from_str(text: &str) -> Result<Self, SetupScriptError> {
        if !text.starts_with("#!") {
            return Err(SetupScriptError::NoInterpreter);
        }
        if text.len() > Self::BYTES_MAX {
            return Err(SetupScriptError::TooLong { bytes: text.len() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for SetupScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SetupScript({} bytes)", self.0.len())
    }
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DigitalOceanError {
    /// The base URL is not an http or https URL, or it contains a user name or password, which would appear in logs.
    #[error("invalid DigitalOcean URL: expected an http or https URL without a user name or password")]
    BaseUrl,
    /// The HTTP client cannot be created: the system's certificates or its random source are unusable.
    #[error("cannot create the HTTP client for DigitalOcean")]
    Client(#[source] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_words_and_never_shown() {
        let settings = DigitalOceanSettings::new("dop_v1_Secret\n".parse().unwrap(), BTreeMap::new());
        assert_eq!(settings.token.reveal(), "dop_v1_Secret");
        assert!(!format!("{settings:?}").contains("Secret"), "{settings:?}");
        for wrong in ["", " ", "a b", "a\r\nX-Evil: 1", "schlüssel"] {
            assert_eq!(wrong.parse::<ApiToken>(), Err(ApiTokenError), "{wrong:?}");
        }
    }

    #[test]
    fn setup_scripts_name_their_interpreter_and_fit() {
        let script: SetupScript = "#!/bin/sh\nSecret\n".parse().unwrap();
        assert_eq!(format!("{script:?}"), "SetupScript(17 bytes)");
        assert_eq!("echo".parse::<SetupScript>(), Err(SetupScriptError::NoInterpreter));
        let long = format!("#!{}", "x".repeat(SetupScript::BYTES_MAX));
        assert_eq!(
            long.parse::<SetupScript>(),
            Err(SetupScriptError::TooLong { bytes: SetupScript::BYTES_MAX + 2 })
        );
    }
}
