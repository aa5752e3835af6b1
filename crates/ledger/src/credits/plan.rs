//! Plans and what they include.

use std::fmt;
use std::str::FromStr;

/// What an install may use. A plan other than `core` is proven by a licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Plan {
    /// What every install has.
    Core,
    /// A paid plan.
    Pro,
    /// The largest paid plan.
    Max,
}

/// The text is not the name of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown plan: expected core, pro or max")]
pub struct UnknownPlan;

impl Plan {
    /// Every plan.
    pub const ALL: [Self; 3] = [Self::Core, Self::Pro, Self::Max];

    /// The name used by the stores, the API and the licences.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Pro => "pro",
            Self::Max => "max",
        }
    }

    /// Whether the plan must be proven.
    #[must_use]
    pub const fn is_paid(self) -> bool {
        !matches!(self, Self::Core)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Plan {
    type Err = UnknownPlan;
    fn from_str(text: &str) -> Result<Self, UnknownPlan> {
        Self::ALL.into_iter().find(|plan| plan.as_str() == text).ok_or(UnknownPlan)
    }
}

/// Over what time requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Counted {
    /// Since the install was first seen. Nothing is ever renewed.
    Lifetime,
    /// Since the last renewal.
    Monthly,
}

impl Counted {
    /// The name used by the stores.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lifetime => "lifetime",
            Self::Monthly => "monthly",
        }
    }
}

/// What one plan includes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Quota {
    /// Over what time its requests are counted.
    pub counted: Counted,
    /// How many requests it includes; `None` means any number.
    pub requests: Option<u64>,
    /// How many of them may go to the cloud; `None` means any number of them.
    pub cloud: Option<u64>,
}

impl Quota {
    /// Over what time the requests are limited; `None` if the plan includes any number.
    #[must_use]
    pub const fn capped(&self) -> Option<Counted> {
        match self.requests {
            Some(_) => Some(self.counted),
            None => None,
        }
    }
}

/// What the plans include.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Plans {
    /// What every install has.
    pub core: Quota,
    /// The paid plan.
    pub pro: Quota,
    /// The largest paid plan.
    pub max: Quota,
}

/// `core`: 50 requests altogether. `pro`: 1000 a month. `max`: any number, of which 5000 a month in the cloud.
impl Default for Plans {
    fn default() -> Self {
        Self {
            core: Quota { counted: Counted::Lifetime, requests: Some(50), cloud: None },
            pro: Quota { counted: Counted::Monthly, requests: Some(1_000), cloud: None },
            max: Quota { counted: Counted::Monthly, requests: None, cloud: Some(5_000) },
        }
    }
}

impl Plans {
    /// What a plan includes.
    #[must_use]
    pub const fn quota(&self, plan: Plan) -> &Quota {
        match plan {
            Plan::Core => &self.core,
            Plan::Pro => &self.pro,
            Plan::Max => &self.max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_named_as_they_are_read() {
        for plan in Plan::ALL {
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        for unknown in ["", "Core", "gold", " pro"] {
            assert_eq!(unknown.parse::<Plan>(), Err(UnknownPlan));
        }
    }
}
