//! What the sources say, and what counts.

use crate::bench::{Bench, MINUTE, bitstamp};
use std::time::Duration;
use tithe_clock::Clock;
use tithe_price_feed::{LivePriceFeed, PriceFeedError, PriceSettings, Publisher, Source, TooFewAnswers};
use tithe_pricing::{PriceError, PriceFeed};
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, ResponseTemplate};

async fn price(bench: &Bench) -> String {
    bench.feed().btc_price().await.unwrap().price.to_string()
}

#[tokio::test]
async fn every_publisher_is_asked_at_its_own_path_and_the_median_counts() {
    let bench = Bench::new(&Publisher::ALL).await;
    let time = bench.clock.now().unix_seconds();
    let answers = [
        (
            "/v2/prices/BTC-USD/spot",
            None,
            r#"{"data":{"amount":"97101","base":"BTC","currency":"USD"}}"#.to_owned(),
        ),
        (
            "/0/public/Ticker",
            Some(("pair", "XBTUSD")),
            r#"{"error":[],"result":{"XXBTZUSD":{"c":["97102.00000","0.1"]}}}"#.to_owned(),
        ),
        ("/api/v2/ticker/btcusd/", None, bitstamp("97103", bench.clock.now())),
        ("/v2/ticker/tBTCUSD", None, "[1,2,3,4,5,6,97104,8,9,10]".to_owned()),
        ("/v1/pubticker/btcusd", None, format!(r#"{{"last":"97105","volume":{{"timestamp":{time}000}}}}"#)),
        ("/api/v1/prices", None, format!(r#"{{"time":{time},"USD":97106,"EUR":83000}}"#)),
        (
            "/api/v3/simple/price",
            Some(("vs_currencies", "usd")),
            format!(r#"{{"bitcoin":{{"usd":97107,"last_updated_at":{time}}}}}"#),
        ),
    ];
    for (server, (at, query, body)) in bench.servers.iter().zip(answers) {
        let mut mock = Mock::given(method("GET")).and(path(at));
        if let Some((name, value)) = query {
            mock = mock.and(query_param(name, value));
        }
        let response = ResponseTemplate::new(200).set_body_raw(body, "application/json");
        mock.respond_with(response).expect(1).mount(server).await;
    }
    let bench = Bench { settings: PriceSettings { answers_min: 7, ..bench.settings.clone() }, ..bench };
    let quote = bench.feed().btc_price().await.unwrap();
    assert_eq!(quote.price.to_string(), "97104 USD");
    assert_eq!(quote.as_of, bench.clock.now());
}

#[tokio::test]
async fn of_an_even_number_the_lower_middle_counts() {
    assert_eq!(price(&Bench::of_bitstamps(&["97104", "97101", "97103", "97102"]).await).await, "97102 USD");
    assert_eq!(price(&Bench::of_bitstamps(&["97102", "97101"]).await).await, "97101 USD");
}

#[tokio::test]
async fn a_source_whose_own_time_is_too_old_does_not_count() {
    let bench = Bench::of_bitstamps(&["97101", "97102", "97103"]).await;
    let oldest = bench.clock.now() - bench.settings.source_max_age;
    bench.says(2, &bitstamp("97103", oldest)).await;
    assert_eq!(price(&bench).await, "97102 USD");
    bench.says(2, &bitstamp("97103", oldest - Duration::from_secs(1))).await;
    assert_eq!(price(&bench).await, "97101 USD");
    // One that is ahead of us is not old.
    bench.says(2, &bitstamp("97103", bench.clock.now() + MINUTE)).await;
    assert_eq!(price(&bench).await, "97102 USD");
}

#[tokio::test]
async fn what_is_no_price_does_not_count() {
    let bench = Bench::of_bitstamps(&["97101", "97102", "97103"]).await;
    let garbage = ["0", "-97000", "99.99", "100000001", "9.7e4", "NaN", "", "9".repeat(400).as_str()]
        .map(|text| bitstamp(text, bench.clock.now()));
    for body in garbage.iter().map(String::as_str).chain(["", "<html>busy</html>", "{\"last\":null}"]) {
        bench.says(2, body).await;
        assert_eq!(price(&bench).await, "97101 USD", "{body}");
        bench.says(1, body).await;
        let failure = bench.feed().refresh().await;
        assert_eq!(failure, Err(TooFewAnswers { answered: 1, needed: 2 }), "{body}");
        bench.says(1, &bitstamp("97102", bench.clock.now())).await;
    }
    bench.responds(2, ResponseTemplate::new(500).set_body_string(bitstamp("97103", bench.clock.now()))).await;
    assert_eq!(price(&bench).await, "97101 USD");
}

#[tokio::test]
async fn a_source_that_hangs_or_is_gone_holds_nobody_up_beyond_its_time() {
    let mut bench = Bench::of_bitstamps(&["97101", "97102", "97103"]).await;
    bench.settings.timeout = Duration::from_millis(300);
    let hangs = ResponseTemplate::new(200).set_delay(Duration::from_hours(1));
    bench.responds(2, hangs.set_body_string(bitstamp("97103", bench.clock.now()))).await;
    // Nobody can listen on port 0.
    bench.settings.sources.push(Source::at(Publisher::Bitstamp, "http://127.0.0.1:0"));
    let answer = tokio::time::timeout(Duration::from_secs(30), bench.feed().btc_price()).await;
    assert_eq!(answer.unwrap().unwrap().price.to_string(), "97101 USD");
}

#[tokio::test]
async fn an_answer_of_megabytes_is_not_read() {
    let bench = Bench::of_bitstamps(&["97101", "97102", "97103"]).await;
    let padded = |bytes: usize| {
        let body = bitstamp("97103", bench.clock.now());
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    bench.says(2, &padded(5 * 1024 * 1024)).await;
    assert_eq!(price(&bench).await, "97101 USD");
    bench.says(2, &padded(bench.settings.body_bytes_max + 1)).await;
    assert_eq!(price(&bench).await, "97101 USD");
    bench.says(2, &padded(bench.settings.body_bytes_max)).await;
    assert_eq!(price(&bench).await, "97102 USD");
}

#[tokio::test]
async fn one_answer_is_not_enough() {
    let bench = Bench::of_bitstamps(&["97101", "97102"]).await;
    bench.responds(0, ResponseTemplate::new(429)).await;
    assert_eq!(bench.feed().btc_price().await, Err(PriceError::NeverKnown));
    let bench = Bench { settings: PriceSettings { answers_min: 1, ..bench.settings.clone() }, ..bench };
    assert_eq!(price(&bench).await, "97102 USD");
}

#[tokio::test]
async fn settings_that_can_never_give_a_price_are_refused() {
    let bench = Bench::of_bitstamps(&["97101", "97102"]).await;
    let make = |answers_min| {
        LivePriceFeed::new(PriceSettings { answers_min, ..bench.settings.clone() }, bench.clock.clone())
    };
    assert!(matches!(make(0), Err(PriceFeedError::NoneNeeded)));
    assert!(make(2).is_ok());
    assert!(matches!(make(3), Err(PriceFeedError::TooFewSources { needed: 3, sources: 2 })));
}
