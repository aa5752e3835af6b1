//! Warnings: the owner of a session is told by a webhook when half, four fifths or all of a balance or a limit is used.

use std::fmt;
use std::str::FromStr;
use tithe_money::Msats;

/// The longest URL of a webhook, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// Where the owner of a session wants warnings: an http or https URL. Whether messages may be sent there is for the sender to decide.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(into = "String", try_from = "String"))]
pub struct WebhookUrl(String);

/// The text is no URL of a webhook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid URL: expected one that begins with https:// and has at most {URL_BYTES_MAX} bytes")]
pub struct InvalidWebhookUrl;

impl WebhookUrl {
    /// The URL as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebhookUrl {
    type Err = InvalidWebhookUrl;

    fn from_str(text: &str) -> Result<Self, InvalidWebhookUrl> {
        let is_http = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
        let is_plain = text.chars().all(|c| c.is_ascii_graphic());
        if is_http && is_plain && text.len() <= URL_BYTES_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidWebhookUrl)
        }
    }
}

impl From<WebhookUrl> for String {
    fn from(url: WebhookUrl) -> Self {
        url.0
    }
}

impl TryFrom<String> for WebhookUrl {
    type Error = InvalidWebhookUrl;
    fn try_from(text: String) -> Result<Self, InvalidWebhookUrl> {
        text.parse()
    }
}

/// How much of a balance or a limit is used, as far as warnings distinguish it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum UsageLevel {
    /// Less than half.
    #[default]
    Low,
    /// Half or more.
    Half,
    /// Four fifths or more.
    High,
    /// All, but for less than a sat.
    All,
}

impl UsageLevel {
    /// All levels, from the lowest.
    pub const EACH: [Self; 4] = [Self::Low, Self::Half, Self::High, Self::All];

    /// The percentage at which the level begins.
    #[must_use]
    pub const fn percent(self) -> u8 {
        match self {
            Self::Low => 0,
            Self::Half => 50,
            Self::High => 80,
            Self::All => 100,
        }
    }

    /// The level that begins at this percentage, or `None`.
    #[must_use]
    pub fn from_percent(percent: u8) -> Option<Self> {
        Self::EACH.into_iter().find(|level| level.percent() == percent)
    }

    /// The level when `used` of an amount of `whole` is used.
    #[must_use]
    pub fn of_amount(used: Msats, whole: Msats) -> Self {
        const SAT: u64 = 1_000;
        if whole.saturating_sub(used).get() < SAT.min(whole.get().max(1)) {
            return Self::All;
        }
        Self::of(used.get(), whole.get())
    }

    /// The level when `used` of a count of `whole` is used.
    #[must_use]
    pub fn of_count(used: u64, whole: u64) -> Self {
        if used >= whole { Self::All } else { Self::of(used, whole) }
    }

    fn of(used: u64, whole: u64) -> Self {
        let percent = u128::from(used) * 100 / u128::from(whole.max(1));
        let reached = Self::EACH.into_iter().filter(|level| *level != Self::All);
        reached.filter(|level| percent >= u128::from(level.percent())).max().unwrap_or_default()
    }
}

impl fmt::Display for UsageLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.percent())
    }
}

/// How much is used, and how much of that the owner was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Warned {
    /// The level that is reached.
    pub reached: UsageLevel,
    /// The highest level that the owner was told since then.
    pub notified: UsageLevel,
}

impl Warned {
    /// The same at another level. When it falls, because of a top-up or a new period, later levels are told again.
    #[must_use]
    pub fn observed(self, level: UsageLevel) -> Self {
        Self { reached: level, notified: self.notified.min(level) }
    }

    /// The owner was told this level.
    #[must_use]
    pub fn notified(self, level: UsageLevel) -> Self {
        Self { notified: self.notified.max(level.min(self.reached)), ..self }
    }

    /// Whether there is something that the owner was not told.
    #[must_use]
    pub fn is_due(self) -> bool {
        self.reached > self.notified
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_begin_at_their_percentages() {
        let level =
            |used, whole| UsageLevel::of_amount(Msats::new(used).unwrap(), Msats::new(whole).unwrap());
        for (used, wanted) in [(0, 0), (49_999, 0), (50_000, 50), (79_999, 50), (80_000, 80), (99_000, 80)] {
            assert_eq!(level(used, 100_000).percent(), wanted, "{used}");
        }
        for used in [99_001, 100_000, 200_000] {
            assert_eq!(level(used, 100_000), UsageLevel::All, "less than a sat is left");
        }
        assert_eq!((level(0, 500), level(500, 500)), (UsageLevel::Low, UsageLevel::All));
        assert_eq!(UsageLevel::of_count(1, 2), UsageLevel::Half);
        assert_eq!(
            (UsageLevel::of_count(2, 2), UsageLevel::of_count(0, 0)),
            (UsageLevel::All, UsageLevel::All)
        );
        for level in UsageLevel::EACH {
            assert_eq!(UsageLevel::from_percent(level.percent()), Some(level));
        }
        assert_eq!(UsageLevel::from_percent(51), None);
    }

    #[test]
    fn every_level_is_told_once_until_it_falls() {
        let half = Warned::default().observed(UsageLevel::Half);
        assert!(half.is_due() && !half.observed(UsageLevel::Half).notified(UsageLevel::Half).is_due());
        let all = half.notified(UsageLevel::Half).observed(UsageLevel::All);
        assert!(all.is_due(), "the next one");
        // What was sent before more was used is not taken for more.
        assert!(all.notified(UsageLevel::Half).is_due());
        let topped_up = all.notified(UsageLevel::All).observed(UsageLevel::Low);
        assert!(!topped_up.is_due() && topped_up.observed(UsageLevel::Half).is_due());
        assert!(!Warned::default().notified(UsageLevel::All).observed(UsageLevel::Low).is_due());
    }

    #[test]
    fn urls_are_http() {
        for fine in ["https://example.com/hook?x=1", "http://127.0.0.1:9/"] {
            assert_eq!(fine.parse::<WebhookUrl>().unwrap().as_str(), fine);
        }
        let long = format!("https://h/{}", "a".repeat(URL_BYTES_MAX));
        for wrong in ["", "ftp://h", "example.com", "https://h/a b", "https://h/\n", "https://ü", &long] {
            assert_eq!(wrong.parse::<WebhookUrl>(), Err(InvalidWebhookUrl), "{wrong}");
        }
    }
}
