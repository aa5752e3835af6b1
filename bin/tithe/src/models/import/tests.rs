use super::*;

const FILE: &str = include_str!("../prices_fixture.json");

fn compared() -> Comparison {
    let now = Timestamp::parse_rfc3339("2026-11-29T00:00:00Z").unwrap();
    compare(&Catalogue::built_in(), &genai_prices::read(FILE).unwrap(), false, now)
}

#[test]
fn only_prices_that_differ_are_named() {
    let comparison = compared();
    let changed: Vec<(&str, Vec<String>)> = comparison
        .changed
        .iter()
        .map(|(model, differences)| {
            (model.name.as_str(), differences.iter().map(ToString::to_string).collect())
        })
        .collect();
    let sonnet = [
        "input_usd: 2 -> 3",
        "cache_write_usd: 2.5 -> 3.75",
        "cache_write_1h_usd: 4 -> 6",
        "output_usd: 10 -> 15",
        "reasoning_usd: 10 -> 15",
    ];
    assert_eq!(changed, [("claude-sonnet-5-5", sonnet.map(str::to_owned).to_vec())]);
    // Haiku with its tier, Argon and Carbon with their dates.
    assert_eq!(comparison.unchanged, 3);
    let refused: Vec<&str> = comparison.refused.iter().map(|(model, _)| model.as_str()).collect();
    assert_eq!(refused, ["deepseek-flash", "deepseek-v4-pro", "grok-4.7"]);
    assert!(comparison.missing.iter().any(|model| model == "gpt-4.1-mini"));
}

#[test]
fn a_tier_and_a_date_that_are_no_longer_there_are_named() {
    let catalogue = Catalogue::built_in();
    let now = Timestamp::parse_rfc3339("2026-11-29T00:00:00Z").unwrap();
    let gone = |name: &str| {
        let old = catalogue.model(name).unwrap();
        let new = Model { rates: old.rates.base.into(), price_changes: Vec::new(), ..old.clone() };
        diff::between(old, &new, now).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(gone("grok-4.3").first().unwrap(), "above 199999 input tokens: input_usd: 2.5 -> none");
    assert_eq!(gone("gemini-4-argon").first().unwrap(), "from 2026-12-01: input_usd: 4 -> none");
}

#[test]
fn a_written_file_has_the_operators_models_and_the_changed_ones_and_is_replaced_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let (prices, own, written) =
        (folder.path().join("prices.json"), folder.path().join("own.toml"), folder.path().join("new.toml"));
    std::fs::write(&prices, FILE).unwrap();
    let mine = Model { name: "mine".to_owned(), ..Catalogue::built_in().model("sim-small").unwrap().clone() };
    let mine: Catalogue = [mine].into_iter().collect();
    std::fs::write(&own, mine.to_toml()).unwrap();
    let import = |may_replace| {
        run(Some(&own), &prices, Some("anthropic"), Some(Destination { path: &written, may_replace }))
    };
    import(false).unwrap();
    let read = Catalogue::parse(&std::fs::read_to_string(&written).unwrap()).unwrap();
    assert_eq!(
        read.models().map(|model| model.name.as_str()).collect::<Vec<_>>(),
        ["claude-sonnet-5-5", "mine"]
    );
    assert_eq!(read.model("claude-sonnet-5-5").unwrap().rates.base.input.to_string(), "3");
    assert!(read.source().contains("prices.json"));
    assert!(import(false).unwrap_err().to_string().contains("--yes replaces it"));
    import(true).unwrap();
    assert!(run(None, &prices, Some("nobody"), None).unwrap_err().to_string().contains("unknown provider"));
}
