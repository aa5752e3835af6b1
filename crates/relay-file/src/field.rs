//! The fields of a row.

use std::fmt;

/// A field of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `tier_snapshot`: the plan.
    TierSnapshot,
    /// `lifetime_consumed`: requests since the install was first seen.
    LifetimeConsumed,
    /// `lifetime_gemini_consumed`: requests in the cloud since the install was first seen.
    LifetimeGeminiConsumed,
    /// `last_renewal_at`: when the current period began.
    LastRenewalAt,
    /// `month`: the month of the current period, in rows that are older than `last_renewal_at`.
    Month,
    /// `anniversary_day`: the day of the month on which periods begin.
    AnniversaryDay,
    /// `monthly_consumed`: requests since the last renewal.
    MonthlyConsumed,
    /// `monthly_gemini_consumed`: requests in the cloud since the last renewal.
    MonthlyGeminiConsumed,
    /// `last_active_at`: the time of the last request.
    LastActiveAt,
}

impl Field {
    /// Every field, in the order of the file.
    pub const ALL: [Self; 9] = [
        Self::TierSnapshot,
        Self::LifetimeConsumed,
        Self::LifetimeGeminiConsumed,
        Self::LastRenewalAt,
        Self::Month,
        Self::AnniversaryDay,
        Self::MonthlyConsumed,
        Self::MonthlyGeminiConsumed,
        Self::LastActiveAt,
    ];

    /// The name in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TierSnapshot => "tier_snapshot",
            Self::LifetimeConsumed => "lifetime_consumed",
            Self::LifetimeGeminiConsumed => "lifetime_gemini_consumed",
            Self::LastRenewalAt => "last_renewal_at",
            Self::Month => "month",
            Self::AnniversaryDay => "anniversary_day",
            Self::MonthlyConsumed => "monthly_consumed",
            Self::MonthlyGeminiConsumed => "monthly_gemini_consumed",
            Self::LastActiveAt => "last_active_at",
        }
    }

    /// The field of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
