//! What the checks buy, and how prices are compared.

use crate::selftest::answer::Answer;
use crate::selftest::outcome::Checked;
use crate::selftest::run::Run;
use serde_json::json;

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

/// That a price in msats is the price in dollars, at a price of bitcoin. Dollars are rounded to the micro-dollar, so they
/// may be off by what that is worth.
pub(super) fn agree(answer: &Answer, msats: u64, usd: f64, btc_usd: f64) -> Checked {
    answer.holds(btc_usd > 0.0, "a price of bitcoin above 0", btc_usd)?;
    let msats_per_usd = 100_000_000_000.0 / btc_usd;
    let expected = usd * msats_per_usd;
    let tolerance = msats_per_usd / 1_000_000.0 + 2.0;
    // Prices that are too large for this never agree, which is as it should be.
    let found = f64::from(u32::try_from(msats).unwrap_or(u32::MAX));
    let text = format!("about {expected:.0} msats, which is {usd} dollars at {btc_usd} dollars per bitcoin");
    answer.holds((found - expected).abs() <= tolerance, text, msats)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_must_agree_with_its_dollars() {
        let answer =
            Answer::new("GET /x".to_owned(), 200, reqwest::header::HeaderMap::default(), String::new());
        for (msats, usd, btc_usd, agrees) in [
            (12_484, 0.012_484, 100_000.0, true),
            (12_483, 0.012_484, 100_000.0, true),
            (12_584, 0.012_484, 100_000.0, false),
            (0, 0.0, 100_000.0, true),
            (12_484, 0.012_484, 0.0, false),
        ] {
            assert_eq!(agree(&answer, msats, usd, btc_usd).is_ok(), agrees, "{msats} {usd} {btc_usd}");
        }
    }
}
