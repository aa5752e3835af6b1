use super::*;

fn read(publisher: Publisher, body: &str) -> Result<(String, Option<i64>), AnswerError> {
    publisher
        .read(body.as_bytes())
        .map(|answer| (answer.price.to_string(), answer.as_of.map(Timestamp::unix_seconds)))
}

/// Answers as the publishers give them.
const ANSWERS: [(Publisher, &str, &str, Option<i64>); 9] = [
    (
        Publisher::Coinbase,
        r#"{"data":{"amount":"97123.455","base":"BTC","currency":"USD"}}"#,
        "97123.455 USD",
        None,
    ),
    (
        Publisher::Kraken,
        r#"{"error":[],"result":{"XXBTZUSD":{"a":["97130.00000","1","1.000"],"b":["97129.90000","2","2.000"],"c":["97130.10000","0.00110402"],"v":["1190.53","2411.35"],"p":["97006.1","96877.7"],"t":[29846,58843],"l":["96000.0","95710.1"],"h":["97900.0","97900.0"],"o":"96550.00000"}}}"#,
        "97130.1 USD",
        None,
    ),
    (
        Publisher::Bitstamp,
        r#"{"timestamp":"1769860800","open":"96500","high":"97901","low":"95700","last":"97125","volume":"1033.17","vwap":"96882","bid":"97124","ask":"97126","side":"0","open_24":"96800","percent_change_24":"0.34"}"#,
        "97125 USD",
        Some(1_769_860_800),
    ),
    (Publisher::Bitstamp, r#"{"timestamp":1769860800,"last":97125.5}"#, "97125.5 USD", Some(1_769_860_800)),
    (
        Publisher::Bitfinex,
        "[97110,11.29,97111,7.42,310,0.00320248,97112.5,512.82,97899,95689]",
        "97112.5 USD",
        None,
    ),
    (
        Publisher::Gemini,
        r#"{"bid":"97118.33","ask":"97120.02","volume":{"BTC":"401.3","USD":"38976611.42","timestamp":1769860800000},"last":"97119.01"}"#,
        "97119.01 USD",
        Some(1_769_860_800),
    ),
    (
        Publisher::MempoolSpace,
        r#"{"time":1769860802,"USD":97120,"EUR":83515,"GBP":71200,"CAD":134010,"CHF":77300,"AUD":141000,"JPY":15012000}"#,
        "97120 USD",
        Some(1_769_860_802),
    ),
    (Publisher::MempoolSpace, r#"{"USD":97120}"#, "97120 USD", None),
    (
        Publisher::CoinGecko,
        r#"{"bitcoin":{"usd":97117.25,"last_updated_at":1769860769}}"#,
        "97117.25 USD",
        Some(1_769_860_769),
    ),
];

#[test]
fn each_publisher_s_answer_is_read() {
    for (publisher, body, price, as_of) in ANSWERS {
        assert_eq!(read(publisher, body), Ok((price.to_owned(), as_of)), "{publisher}");
    }
    for publisher in Publisher::ALL {
        assert!(ANSWERS.iter().any(|(answered, ..)| *answered == publisher), "{publisher}");
    }
}

#[test]
fn an_answer_that_ends_early_or_says_something_else_is_no_price() {
    for (publisher, body, ..) in ANSWERS {
        for end in 0..body.len() {
            assert!(publisher.read(&body.as_bytes()[..end]).is_err(), "{publisher}: {}", &body[..end]);
        }
        for other in ["null", "{}", "[]", "\"97000\"", "97000", "<html></html>", "{\"data\":{}}", "\u{feff}"]
        {
            assert!(read(publisher, other).is_err(), "{publisher}: {other}");
        }
    }
}

#[test]
fn errors_that_are_reported_as_answers_are_errors() {
    let cases = [
        (Publisher::Kraken, r#"{"error":["EGeneral:Too many requests"]}"#, AnswerError::Reported),
        (
            Publisher::Kraken,
            r#"{"error":["EService:Busy"],"result":{"XXBTZUSD":{"c":["97130.1","1"]}}}"#,
            AnswerError::Reported,
        ),
        (Publisher::Kraken, r#"{"error":[],"result":{}}"#, AnswerError::Missing),
        (Publisher::Kraken, r#"{"error":[],"result":{"XXBTZUSD":{"c":[]}}}"#, AnswerError::Missing),
        (Publisher::Bitfinex, r#"["error",11010,"ratelimit: error"]"#, AnswerError::Missing),
    ];
    for (publisher, body, error) in cases {
        assert_eq!(read(publisher, body), Err(error));
    }
}

#[test]
fn a_time_that_is_none_makes_the_answer_unusable() {
    for (publisher, body) in [
        (Publisher::Bitstamp, r#"{"last":"97125","timestamp":"yesterday"}"#),
        (Publisher::Gemini, r#"{"last":"97125","volume":{"timestamp":1.5}}"#),
        (Publisher::CoinGecko, r#"{"bitcoin":{"usd":97117,"last_updated_at":{}}}"#),
    ] {
        assert_eq!(read(publisher, body), Err(AnswerError::Number(NumberError::NotATime)), "{publisher}");
    }
}

#[test]
fn an_error_repeats_nothing_of_the_answer() {
    let error = read(Publisher::Coinbase, r#"{"data":"a secret"}"#).unwrap_err();
    assert_eq!(error.to_string(), "invalid response: unexpected JSON at line 1, column 18");
}

#[test]
fn addresses_are_the_publishers_own_unless_another_is_given() {
    let kraken = Source::of(Publisher::Kraken);
    assert_eq!(kraken.url(), "https://api.kraken.com/0/public/Ticker?pair=XBTUSD");
    let mirror = Source::at(Publisher::Kraken, "http://localhost:8080/mirror/");
    assert_eq!(mirror.url(), "http://localhost:8080/mirror/0/public/Ticker?pair=XBTUSD");
    assert_eq!(mirror.publisher().to_string(), "kraken");
}
