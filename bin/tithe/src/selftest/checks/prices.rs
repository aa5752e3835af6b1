//! What the checks buy, and how prices are compared.

use crate::selftest::answer::Answer;
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;
use serde_json::json;
use tithe_money::{BtcPrice, Msats, UsdMicros};

/// The request that is bought.
pub(super) const REQUEST: &str = "In one short sentence: why is the sky blue?";

/// How long its answer may be, in tokens: cheap, and long enough for a model that thinks first.
pub(super) const OUTPUT_TOKENS_MAX: u64 = 200;

/// The body that buys it.
pub(super) fn order() -> serde_json::Value {
    json!({ "request": REQUEST, "maxOutputTokens": OUTPUT_TOKENS_MAX })
}

/// The most that the request costs, in sats, with its evaluation.
pub(super) async fn most_sats(run: &Run) -> Checked<u64> {
    let answer = run.api.post("/api/estimate").json(&order()).send().await?.status(200)?;
    answer.number("/range/maxSats")
}

/// That a price in msats is the price in dollars, at a price of bitcoin. Msats and micro-dollars are both rounded.
pub(super) fn agree(answer: &Answer, msats: u64, usd: UsdMicros, btc: BtcPrice) -> Checked {
    let too_much = |_| answer.fault("a price of at most 21 million bitcoin", msats);
    let value =
        |msats: u64| Msats::new(msats).and_then(|msats| btc.value_rounding_up(msats)).map_err(too_much);
    let (worth, tolerance) = (value(msats)?, value(1)?.get() + 1);
    let btc = btc.usd_micros();
    let expected =
        format!("{usd} dollars to be {msats} msats at {btc} dollars per bitcoin, which are {worth} dollars");
    answer.holds(worth.get().abs_diff(usd.get()) <= tolerance, expected, format!("{usd} dollars"))
}

/// That an amount is a price in dollars, rounded up to the sat.
pub(super) fn rounds_up(answer: &Answer, sats: u64, usd: UsdMicros, btc: BtcPrice) -> Checked {
    let too_much = |_| answer.fault("a price of at most 21 million bitcoin", sats);
    let value =
        |msats: u64| Msats::new(msats).and_then(|msats| btc.value_rounding_up(msats)).map_err(too_much);
    let tolerance = value(1)?.get() + 1;
    let (most, least) =
        (value(sats.saturating_mul(1_000))?, value(sats.saturating_sub(1).saturating_mul(1_000))?);
    let holds = usd.get() <= most.get() + tolerance && least.get() <= usd.get() + tolerance;
    let btc = btc.usd_micros();
    let expected =
        format!("{sats} sats to be {usd} dollars at {btc} dollars per bitcoin, rounded up to the sat");
    answer.holds(holds, expected, format!("between {least} and {most} dollars"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_must_agree_with_its_dollars() {
        let answer =
            Answer::new("GET /x".to_owned(), 200, reqwest::header::HeaderMap::default(), String::new());
        let btc = BtcPrice::parse("100000").unwrap();
        for (msats, usd, agrees) in [
            (12_484, "0.012484", true),
            (12_483, "0.012484", true),
            (12_487, "0.012484", false),
            (12_481, "0.012484", false),
            (0, "0", true),
            (u64::MAX, "0", false),
        ] {
            let usd = UsdMicros::parse(usd).unwrap();
            assert_eq!(agree(&answer, msats, usd, btc).is_ok(), agrees, "{msats} {usd}");
        }
    }

    #[test]
    fn an_amount_must_be_the_price_rounded_up_to_the_sat() {
        let answer =
            Answer::new("GET /x".to_owned(), 200, reqwest::header::HeaderMap::default(), String::new());
        let btc = BtcPrice::parse("100000").unwrap();
        for (sats, usd, holds) in [
            (2, "0.001463", true),
            (2, "0.002", true),
            (1, "0.001463", false),
            (3, "0.001463", false),
            (0, "0", true),
            (1, "0", true),
            (u64::MAX, "0", false),
        ] {
            assert_eq!(
                rounds_up(&answer, sats, UsdMicros::parse(usd).unwrap(), btc).is_ok(),
                holds,
                "{sats} {usd}"
            );
        }
    }
}
