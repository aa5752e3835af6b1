use super::*;

const FILE: &str = include_str!("../prices_fixture.json");

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-29T00:00:00Z").unwrap()
}

fn prices(provider: &str, model: &str) -> Option<Result<Imported, String>> {
    let providers = read(FILE).unwrap();
    providers.iter().find(|listed| listed.is(provider))?.prices(model, Purpose::Chat, now())
}

fn usd(dollars: &str) -> UsdMicros {
    UsdMicros::parse(dollars).unwrap()
}

#[test]
fn tiers_are_read_and_prices_of_batches_and_searches_are_skipped() {
    let Imported { rates, changes } = prices("anthropic", "claude-haiku-5-5").unwrap().unwrap();
    let short = TokenRates {
        input: usd("0.1"),
        cached_input: usd("0.01"),
        cache_write: usd("0.125"),
        cache_write_1h: usd("0.2"),
        output: usd("0.5"),
        reasoning: usd("0.5"),
    };
    let long = TokenRates {
        input: usd("0.5"),
        cached_input: usd("0.05"),
        cache_write: usd("0.625"),
        cache_write_1h: usd("1"),
        output: usd("2.5"),
        reasoning: usd("2.5"),
    };
    assert_eq!((rates.at_size(100_000), rates.at_size(100_001)), (&short, &long));
    assert_eq!((rates.tiers.len(), changes.len()), (1, 0));
}

#[test]
fn tiers_of_different_sizes_are_joined_and_reasoning_is_priced_apart() {
    let rates = prices("xai", "thinker").unwrap().unwrap().rates;
    let at = |tokens| {
        let rates = rates.at_size(tokens);
        (rates.input, rates.output, rates.reasoning)
    };
    assert_eq!(at(10), (usd("1"), usd("3"), usd("5")));
    assert_eq!(at(11), (usd("2"), usd("3"), usd("5")));
    assert_eq!(at(21), (usd("2"), usd("4"), usd("5")));
}

#[test]
fn the_last_day_that_has_passed_is_in_force_and_later_days_are_changes() {
    let Imported { rates, changes } = prices("google", "gemini-4-argon").unwrap().unwrap();
    assert_eq!(rates.base.input, usd("2"));
    let [change] = changes.as_slice() else { panic!("{changes:?}") };
    assert_eq!(change.from, Timestamp::parse_rfc3339("2026-12-01T00:00:00Z").unwrap());
    assert_eq!((change.rates.base.input, change.rates.base.cached_input), (usd("4"), usd("0.2")));
}

#[test]
fn a_name_is_exactly_one_of_those_listed() {
    assert!(prices("google", "gemini-4-carbon").is_some());
    assert!(prices("google", "gemini-4-argon-preview").is_none());
    assert!(prices("anthropic", "claude-haiku-5.5").is_none());
}

#[test]
fn an_embedding_model_has_a_price_of_input_only() {
    let read = |purpose| {
        let set = [r#"{"input_mtok": 0.02}"#, r#"{"input_mtok": 0.02, "output_mtok": 0.02}"#];
        set.map(|prices| imported(&RawValue::from_string(prices.to_owned()).unwrap(), purpose, now()))
    };
    for embeds in read(Purpose::Embeddings) {
        assert_eq!(embeds.unwrap().rates.base, TokenRates::uniform(usd("0.02"), UsdMicros::ZERO));
    }
    let [chat, _] = read(Purpose::Chat);
    assert_eq!(chat.unwrap_err(), "there is no output_mtok");
}

#[test]
fn what_a_catalogue_cannot_say_is_refused() {
    for (provider, model, reason) in [
        ("deepseek", "deepseek-flash", "prices depend on end_time and start_time"),
        ("deepseek", "deepseek-v4-pro", "input_mtok is 0.4350001"),
        ("x-ai", "grok-4.7", "all prices are 0"),
    ] {
        let refused = prices(provider, model).unwrap().unwrap_err();
        assert!(refused.contains(reason), "{refused}");
    }
}
