//! How usage is written.

use crate::json;
use tithe_chat::Charge;
use tithe_pricing::Usage;

/// Appends the usage of an answer. `input_tokens` are the fresh ones only: Anthropic counts cache reads and writes apart from them.
pub(crate) fn encode(out: &mut Vec<u8>, usage: &Usage, charge: Option<&Charge>) {
    encode_counts(out, usage);
    encode_split(out, usage);
    if let Some(charge) = charge {
        encode_charge(out, charge);
    }
    out.push(b'}');
}

/// Appends what is known of the usage before the answer. It does not say how long cache writes are kept: the SDKs would keep that, and
/// not take it from the end of the stream.
pub(crate) fn encode_start(out: &mut Vec<u8>, input: &Usage) {
    encode_counts(out, input);
    out.push(b'}');
}

/// Begins the object.
fn encode_counts(out: &mut Vec<u8>, usage: &Usage) {
    let writes = usage.cache_write_tokens.saturating_add(usage.cache_write_1h_tokens);
    let cached = usage.cached_input_tokens.saturating_add(writes);
    let mut is_first = true;
    out.push(b'{');
    for (name, tokens) in [
        ("input_tokens", usage.input_tokens.saturating_sub(cached)),
        ("cache_creation_input_tokens", writes),
        ("cache_read_input_tokens", usage.cached_input_tokens),
        ("output_tokens", usage.output_tokens),
    ] {
        field(out, &mut is_first, name, tokens);
    }
    out.extend_from_slice(b",\"service_tier\":\"standard\"");
}

fn encode_split(out: &mut Vec<u8>, usage: &Usage) {
    out.extend_from_slice(b",\"cache_creation\":{");
    let mut is_first = true;
    field(out, &mut is_first, "ephemeral_5m_input_tokens", usage.cache_write_tokens);
    field(out, &mut is_first, "ephemeral_1h_input_tokens", usage.cache_write_1h_tokens);
    out.push(b'}');
    if usage.reasoning_tokens > 0 {
        out.extend_from_slice(b",\"output_tokens_details\":{\"thinking_tokens\":");
        json::number(out, usage.reasoning_tokens);
        out.push(b'}');
    }
}

fn encode_charge(out: &mut Vec<u8>, charge: &Charge) {
    let micros = charge.usd.get();
    let dollars = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let dollars = dollars.trim_end_matches('0').trim_end_matches('.');
    out.extend_from_slice(b",\"cost\":");
    out.extend_from_slice(dollars.as_bytes());
    field(out, &mut false, "cost_msats", charge.msats.get());
    field(out, &mut false, "absorbed_msats", charge.absorbed.get());
}

fn field(out: &mut Vec<u8>, is_first: &mut bool, name: &str, number: u64) {
    json::comma(out, is_first);
    json::string(out, name);
    out.push(b':');
    json::number(out, number);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tithe_money::{Msats, UsdMicros};

    fn encoded(usage: &Usage, charge: Option<&Charge>) -> Value {
        let mut out = Vec::new();
        encode(&mut out, usage, charge);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn input_tokens_are_the_fresh_ones_only() {
        let usage = Usage {
            input_tokens: 100,
            cached_input_tokens: 60,
            cache_write_tokens: 20,
            cache_write_1h_tokens: 10,
            output_tokens: 7,
            reasoning_tokens: 3,
        };
        let expected = json!({
            "input_tokens": 10, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 60, "output_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
            "output_tokens_details": {"thinking_tokens": 3}, "service_tier": "standard",
        });
        assert_eq!(encoded(&usage, None), expected);
        let odd = Usage { input_tokens: 1, cached_input_tokens: 9, ..Usage::ZERO };
        assert_eq!(encoded(&odd, None)["input_tokens"], 0);
    }

    #[test]
    fn the_cost_is_a_number_of_dollars() {
        for (micros, expected) in [
            (0, json!(0)),
            (1, json!(0.000_001)),
            (12_300, json!(0.0123)),
            (2_000_000, json!(2)),
            (10_000_000, json!(10)),
        ] {
            let charge = Charge {
                usd: UsdMicros::new(micros).unwrap(),
                msats: Msats::new(5_000).unwrap(),
                absorbed: Msats::new(1_000).unwrap(),
            };
            let usage = encoded(&Usage::ZERO, Some(&charge));
            assert_eq!(usage["cost"], expected);
            assert_eq!((&usage["cost_msats"], &usage["absorbed_msats"]), (&json!(5_000), &json!(1_000)));
        }
    }
}
