//! Trust and the free tier.

use super::error::ConfigError;
use super::setting::Setting;
use super::values::Values;
use std::time::Duration;
use tithe_engine::books::Rules;
use tithe_free_tier::{Budgets, FreeTierPolicy};
use tithe_money::{BasisPoints, MoneyError, Sats};
use tithe_trust::{Score, TrustPolicy};

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "FREE_TIER_POOL_INITIAL_SATS",
        "free_tier_pool_initial_sats",
        "10000",
        "What the operator puts into the pool when the first server starts, in sats. The pool pays for the work of trusted identities",
    )
    .same(),
    Setting::new(
        "FREE_TIER_POOL_CREDIT_PCT",
        "free_tier_pool_credit_pct",
        "10",
        "The part of all paid work that goes into the pool, in percent",
    )
    .same(),
    Setting::new(
        "FREE_TIER_BUDGET_NEW",
        "free_tier_budget_new",
        "0",
        "What the pool pays in a day for a new identity, in sats",
    )
    .same(),
    Setting::new(
        "FREE_TIER_BUDGET_ESTABLISHED",
        "free_tier_budget_established",
        "50",
        "What the pool pays in a day for an established identity, in sats",
    )
    .same(),
    Setting::new(
        "FREE_TIER_BUDGET_TRUSTED",
        "free_tier_budget_trusted",
        "200",
        "What the pool pays in a day for a trusted identity, in sats",
    )
    .same(),
    Setting::new(
        "FREE_TIER_BUDGET_ELITE",
        "free_tier_budget_elite",
        "1000",
        "What the pool pays in a day for an elite identity, in sats",
    )
    .same(),
    Setting::new(
        "TITHE_FREE_TIER_OFFERS_PCT",
        "free_tier_offers_pct",
        "50",
        "The part of the pool that may be reserved for customers who have not paid their own part yet, in percent",
    )
    .same(),
    Setting::new(
        "TITHE_TRUST_ESTABLISHED",
        "trust_established",
        "10",
        "The score from which an identity is established, in points",
    )
    .same(),
    Setting::new(
        "TITHE_TRUST_TRUSTED",
        "trust_trusted",
        "50",
        "The score from which an identity is trusted, in points",
    )
    .same(),
    Setting::new(
        "TITHE_TRUST_ELITE",
        "trust_elite",
        "200",
        "The score from which an identity is elite, in points",
    )
    .same(),
    Setting::new(
        "TITHE_TRUST_SUCCESS",
        "trust_success",
        "2",
        "The points that a full payment for work earns",
    )
    .same(),
    Setting::new(
        "TITHE_TRUST_FULL_PAYMENT_SATS",
        "trust_full_payment_sats",
        "50",
        "The amount of a full payment, in sats. A smaller payment earns in proportion; what the pool pays earns nothing",
    )
    .same(),
    Setting::new(
        "TITHE_TRUST_FAULT",
        "trust_fault",
        "5",
        "The points that an identity loses when its request is rejected or makes the work fail",
    )
    .same(),
    Setting::new(
        "TITHE_TRUST_DAY_GAIN_MAX",
        "trust_day_gain_max",
        "6",
        "The most points that an identity can earn in a day",
    )
    .same(),
    Setting::new(
        "TITHE_TRUST_AWAY_AFTER_DAYS",
        "trust_away_after_days",
        "30",
        "How long an identity that pays nothing keeps its points, in days",
    )
    .same(),
    Setting::new(
        "TITHE_TRUST_FADE_PER_DAY",
        "trust_fade_per_day",
        "1",
        "The points that an identity loses on each day after that",
    )
    .same(),
    Setting::new(
        "TITHE_IDENTITY_TOKEN_SECONDS",
        "identity_token_seconds",
        "86400",
        "How long the token of an identity is valid, in seconds",
    )
    .same(),
];

/// The longest absence that can be set, in days.
const DAYS_MAX: u64 = 36_500;

/// Trust and the free tier.
pub(super) struct FreeTier {
    pub(super) rules: Rules,
    pub(super) identity_token_life: Duration,
}

impl FreeTier {
    pub(super) fn read(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            rules: Rules { trust: trust(values)?, free_tier: free_tier(values)? },
            identity_token_life: values.seconds("TITHE_IDENTITY_TOKEN_SECONDS")?,
        })
    }
}

fn free_tier(values: &Values) -> Result<FreeTierPolicy, ConfigError> {
    Ok(FreeTierPolicy {
        budgets: Budgets {
            new: sats(values, "FREE_TIER_BUDGET_NEW", 0)?,
            established: sats(values, "FREE_TIER_BUDGET_ESTABLISHED", 0)?,
            trusted: sats(values, "FREE_TIER_BUDGET_TRUSTED", 0)?,
            elite: sats(values, "FREE_TIER_BUDGET_ELITE", 0)?,
        },
        pool_initial: sats(values, "FREE_TIER_POOL_INITIAL_SATS", 0)?,
        tithe: part(values, "FREE_TIER_POOL_CREDIT_PCT")?,
        offers_share: part(values, "TITHE_FREE_TIER_OFFERS_PCT")?,
    })
}

fn trust(values: &Values) -> Result<TrustPolicy, ConfigError> {
    let score = |name| values.parse(name, str::parse::<Score>);
    let policy = TrustPolicy {
        established: score("TITHE_TRUST_ESTABLISHED")?,
        trusted: score("TITHE_TRUST_TRUSTED")?,
        elite: score("TITHE_TRUST_ELITE")?,
        success: score("TITHE_TRUST_SUCCESS")?,
        // With nothing for a full payment, dust would buy everything.
        full_payment: sats(values, "TITHE_TRUST_FULL_PAYMENT_SATS", 1)?.to_msats(),
        fault: score("TITHE_TRUST_FAULT")?,
        day_gain_max: score("TITHE_TRUST_DAY_GAIN_MAX")?,
        away_after: Duration::from_hours(24 * values.number("TITHE_TRUST_AWAY_AFTER_DAYS", 0, DAYS_MAX)?),
        fade_per_day: score("TITHE_TRUST_FADE_PER_DAY")?,
    };
    if policy.is_in_order() {
        return Ok(policy);
    }
    Err(ConfigError::Together(format!(
        "invalid tiers: expected TITHE_TRUST_ESTABLISHED ≤ TITHE_TRUST_TRUSTED ≤ TITHE_TRUST_ELITE, got {}, {} and {}",
        policy.established, policy.trusted, policy.elite
    )))
}

fn sats(values: &Values, name: &'static str, least: u64) -> Result<Sats, ConfigError> {
    let number = values.number(name, least, Sats::MAX.get())?;
    values.parse(name, |_| Sats::new(number))
}

/// A part of a whole, so at most all of it.
fn part(values: &Values, name: &'static str) -> Result<BasisPoints, ConfigError> {
    values.parse(name, |text| match BasisPoints::parse_percent(text) {
        Ok(part) if part <= BasisPoints::WHOLE => Ok(part),
        Ok(_) | Err(MoneyError::TooLarge) => Err("expected at most 100 percent"),
        Err(_) => Err("expected a number from 0 to 100 with at most two decimals"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, GROUPS};

    fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::of(Values::from_parts(GROUPS, None, environment)?)
    }

    #[test]
    fn what_nobody_sets_is_what_the_policies_say() {
        // The simulated provisioner, which is the default of a server, has a plan of its own.
        let engine = with(&[("TITHE_PROVISIONER", "none")]).unwrap().engine;
        let defaults = tithe_engine::Settings::default();
        assert_eq!(engine.rules.trust, TrustPolicy::default());
        assert_eq!(engine.rules.free_tier, FreeTierPolicy::default());
        assert_eq!(engine.identity_token_life, defaults.identity_token_life);
        assert_eq!(engine, defaults, "nor is anything else another");
    }

    #[test]
    fn every_rule_can_be_set() {
        let config = with(&[
            ("FREE_TIER_BUDGET_NEW", "1"),
            ("FREE_TIER_BUDGET_ESTABLISHED", "2"),
            ("FREE_TIER_BUDGET_TRUSTED", "3"),
            ("FREE_TIER_BUDGET_ELITE", "2100000000000000"),
            ("FREE_TIER_POOL_INITIAL_SATS", "0"),
            ("FREE_TIER_POOL_CREDIT_PCT", "12.5"),
            ("TITHE_FREE_TIER_OFFERS_PCT", "100"),
            ("TITHE_TRUST_ESTABLISHED", "0"),
            ("TITHE_TRUST_TRUSTED", "1.5"),
            ("TITHE_TRUST_ELITE", "1.5"),
            ("TITHE_TRUST_SUCCESS", "0.125"),
            ("TITHE_TRUST_FULL_PAYMENT_SATS", "7"),
            ("TITHE_TRUST_FAULT", "9"),
            ("TITHE_TRUST_DAY_GAIN_MAX", "1000000"),
            ("TITHE_TRUST_AWAY_AFTER_DAYS", "0"),
            ("TITHE_TRUST_FADE_PER_DAY", "0.5"),
            ("TITHE_IDENTITY_TOKEN_SECONDS", "60"),
            ("TITHE_PUBLIC_URL", "https://tithe.example/"),
        ])
        .unwrap();
        let sats = |n| Sats::new(n).unwrap();
        assert_eq!(
            config.engine.rules.free_tier,
            FreeTierPolicy {
                budgets: Budgets { new: sats(1), established: sats(2), trusted: sats(3), elite: Sats::MAX },
                pool_initial: Sats::ZERO,
                tithe: BasisPoints::parse_percent("12.5").unwrap(),
                offers_share: BasisPoints::WHOLE,
            }
        );
        assert_eq!(
            config.engine.rules.trust,
            TrustPolicy {
                established: Score::ZERO,
                trusted: Score::from_millis(1_500),
                elite: Score::from_millis(1_500),
                success: Score::from_millis(125),
                full_payment: sats(7).to_msats(),
                fault: Score::points(9),
                day_gain_max: Score::points(1_000_000),
                away_after: Duration::ZERO,
                fade_per_day: Score::from_millis(500),
            }
        );
        assert_eq!(config.engine.identity_token_life, Duration::from_mins(1));
        assert_eq!(config.server.public_urls[0].to_string(), "https://tithe.example");
    }

    #[test]
    fn a_rule_that_cannot_be_is_named_with_what_it_must_be() {
        let whole = "expected a whole number from 0 to 2100000000000000";
        let percent = "expected a number from 0 to 100 with at most two decimals";
        let points = "expected a number of points from 0 to 1000000 with at most three decimals";
        for (name, value, problem) in [
            ("FREE_TIER_BUDGET_NEW", "-1", whole),
            ("FREE_TIER_BUDGET_ESTABLISHED", "lots", whole),
            ("FREE_TIER_BUDGET_TRUSTED", "1.5", whole),
            ("FREE_TIER_BUDGET_ELITE", "2100000000000001", whole),
            ("FREE_TIER_POOL_INITIAL_SATS", "", whole),
            ("FREE_TIER_POOL_CREDIT_PCT", "100.01", "expected at most 100 percent"),
            ("FREE_TIER_POOL_CREDIT_PCT", "10001", "expected at most 100 percent"),
            ("FREE_TIER_POOL_CREDIT_PCT", "-1", percent),
            ("FREE_TIER_POOL_CREDIT_PCT", "10%", percent),
            ("TITHE_FREE_TIER_OFFERS_PCT", "0.001", percent),
            ("TITHE_TRUST_ESTABLISHED", "-1", points),
            ("TITHE_TRUST_SUCCESS", "1.2345", points),
            ("TITHE_TRUST_FAULT", "many", points),
            ("TITHE_TRUST_DAY_GAIN_MAX", "1000001", points),
            ("TITHE_TRUST_FADE_PER_DAY", "", points),
            ("TITHE_TRUST_FULL_PAYMENT_SATS", "0", "expected a whole number from 1 to 2100000000000000"),
            ("TITHE_TRUST_AWAY_AFTER_DAYS", "-1", "expected a whole number from 0 to 36500"),
            ("TITHE_IDENTITY_TOKEN_SECONDS", "0", "expected a whole number from 1 to 31536000"),
            ("TITHE_PUBLIC_URL", "https://tithe.example/api", "expected an http:// or https:// URL"),
        ] {
            let found = with(&[(name, value)]).err().unwrap().to_string();
            let told = format!("invalid {name} (from the environment): {problem}");
            assert!(found.starts_with(&told), "{found}");
        }
    }

    #[test]
    fn a_tier_that_needs_less_than_the_one_below_is_refused_with_all_three() {
        for (trusted, elite) in [("9.999", "200"), ("50", "49")] {
            let pairs = [("TITHE_TRUST_TRUSTED", trusted), ("TITHE_TRUST_ELITE", elite)];
            let found = with(&pairs).err().unwrap().to_string();
            assert!(found.ends_with(&format!("got 10, {trusted} and {elite}")), "{found}");
        }
    }

    #[test]
    fn a_name_of_ours_that_is_no_setting_is_a_mistake_but_the_customer_s_key_is_none() {
        for name in ["FREE_TIER_BUDGET_NEWEST", "TITHE_TRUST_TRUST"] {
            let found = with(&[(name, "1")]).err().unwrap().to_string();
            assert!(found.starts_with(&format!("unknown setting {name} in the environment")), "{found}");
        }
        assert!(with(&[("TITHE_IDENTITY", "/my/key.nsec"), ("FREE_TIERS", "4")]).is_ok());
    }
}
