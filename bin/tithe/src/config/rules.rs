//! The settings of trust and of the free tier.

use super::ConfigError;
use super::values::Values;
use std::time::Duration;
use tithe_engine::Rules;
use tithe_free_tier::{Budgets, FreeTierPolicy};
use tithe_money::{BasisPoints, MoneyError, Sats};
use tithe_trust::{Score, TrustPolicy};

/// The longest absence that anybody would forgive, in days.
const DAYS_MAX: u64 = 36_500;

pub(super) fn read(values: &Values) -> Result<Rules, ConfigError> {
    Ok(Rules { trust: trust(values)?, free_tier: free_tier(values)? })
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
        "TITHE_TRUST_ESTABLISHED is {}, TITHE_TRUST_TRUSTED {} and TITHE_TRUST_ELITE {}: no tier may need less than the one \
         below it",
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
        Ok(_) | Err(MoneyError::TooLarge) => Err("more than 100, which is all of it"),
        Err(_) => Err("not a number of percents from 0 to 100, with at most two decimals"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::of(Values::from_parts(None, environment)?)
    }

    #[test]
    fn what_nobody_sets_is_what_the_policies_say() {
        let engine = with(&[]).unwrap().engine;
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
        assert_eq!(config.public_url.unwrap().to_string(), "https://tithe.example");
    }

    #[test]
    fn a_rule_that_cannot_be_is_named_with_what_it_must_be() {
        let whole = "not a whole number from 0 to 2100000000000000";
        let percent = "not a number of percents from 0 to 100, with at most two decimals";
        let points = "not a number of points from 0 to 1000000 with at most three decimals";
        for (name, value, problem) in [
            ("FREE_TIER_BUDGET_NEW", "-1", whole),
            ("FREE_TIER_BUDGET_ESTABLISHED", "lots", whole),
            ("FREE_TIER_BUDGET_TRUSTED", "1.5", whole),
            ("FREE_TIER_BUDGET_ELITE", "2100000000000001", whole),
            ("FREE_TIER_POOL_INITIAL_SATS", "", whole),
            ("FREE_TIER_POOL_CREDIT_PCT", "100.01", "more than 100, which is all of it"),
            ("FREE_TIER_POOL_CREDIT_PCT", "10001", "more than 100, which is all of it"),
            ("FREE_TIER_POOL_CREDIT_PCT", "-1", percent),
            ("FREE_TIER_POOL_CREDIT_PCT", "10%", percent),
            ("TITHE_FREE_TIER_OFFERS_PCT", "0.001", percent),
            ("TITHE_TRUST_ESTABLISHED", "-1", points),
            ("TITHE_TRUST_SUCCESS", "1.2345", points),
            ("TITHE_TRUST_FAULT", "many", points),
            ("TITHE_TRUST_DAY_GAIN_MAX", "1000001", points),
            ("TITHE_TRUST_FADE_PER_DAY", "", points),
            ("TITHE_TRUST_FULL_PAYMENT_SATS", "0", "not a whole number from 1 to 2100000000000000"),
            ("TITHE_TRUST_AWAY_AFTER_DAYS", "-1", "not a whole number from 0 to 36500"),
            ("TITHE_IDENTITY_TOKEN_SECONDS", "0", "not a whole number from 1 to 31536000"),
            ("TITHE_PUBLIC_URL", "https://tithe.example/api", "this is no public address: "),
        ] {
            let found = with(&[(name, value)]).err().unwrap().to_string();
            let told = format!("{name} (from the environment) is {value:?}: {problem}");
            assert!(found.starts_with(&told), "{found}");
        }
    }

    #[test]
    fn a_tier_that_needs_less_than_the_one_below_is_refused_with_all_three() {
        for (trusted, elite) in [("9.999", "200"), ("50", "49")] {
            let pairs = [("TITHE_TRUST_TRUSTED", trusted), ("TITHE_TRUST_ELITE", elite)];
            let found = with(&pairs).err().unwrap().to_string();
            let told = format!(
                "TITHE_TRUST_ESTABLISHED is 10, TITHE_TRUST_TRUSTED {trusted} and TITHE_TRUST_ELITE {elite}: "
            );
            assert!(found.starts_with(&told), "{found}");
        }
    }

    #[test]
    fn a_name_of_ours_that_is_no_setting_is_a_mistake_but_the_customer_s_key_is_none() {
        for name in ["FREE_TIER_BUDGET_NEWEST", "TITHE_TRUST_TRUST"] {
            let found = with(&[(name, "1")]).err().unwrap().to_string();
            assert!(found.starts_with(&format!("{name} is set, but is no setting")), "{found}");
        }
        assert!(with(&[("TITHE_IDENTITY", "/my/key.nsec"), ("FREE_TIERS", "4")]).is_ok());
    }
}
