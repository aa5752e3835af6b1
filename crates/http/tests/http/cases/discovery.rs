//! Discovery of what can be paid for (draft-payment-discovery-00).

use crate::app::{Metered, Options, Says, TestApp, TestUpstream, mount};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use tithe_money::{Msats, Sats};
use tithe_pricing::CallPrice;

const DOCUMENTS: [&str; 2] = ["/openapi.json", "/openapi-payable.json"];

/// The operations of a document that have `x-payment-info`, with their paths.
fn payable(document: &Value) -> Vec<(&str, &Map<String, Value>)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().values().map(|operation| (path.as_str(), operation.as_object().unwrap()))
    });
    operations.filter(|(_, operation)| operation.contains_key("x-payment-info")).collect()
}

/// The rules of the JSON schema in the draft's appendix "JSON Schema for x-payment-info", for the form with several offers.
fn check_offers(info: &Value) {
    let wrapper = info.as_object().unwrap();
    assert_eq!(wrapper.keys().collect::<Vec<_>>(), ["offers"]);
    let offers = wrapper["offers"].as_array().unwrap();
    assert!(!offers.is_empty());
    for offer in offers {
        let offer = offer.as_object().unwrap();
        let known = ["intent", "method", "amount", "currency", "description"];
        assert!(offer.keys().all(|key| known.contains(&key.as_str())), "{offer:?}");
        assert!(matches!(offer["intent"].as_str().unwrap(), "charge" | "session"));
        assert_eq!(offer["method"], "lightning");
        match &offer["amount"] {
            Value::Null => {}
            Value::String(amount) => {
                assert!(amount.parse::<u64>().is_ok_and(|number| number.to_string() == *amount), "{amount}");
            }
            other => panic!("expected a string of digits or null, got {other}"),
        }
        assert!(offer.get("currency").is_none_or(Value::is_string));
        assert!(offer.get("description").is_none_or(Value::is_string));
    }
}

#[tokio::test]
async fn both_documents_say_what_can_be_paid_for_as_the_draft_wants_it() {
    let app = TestApp::standing();
    for document in DOCUMENTS {
        let answer = app.get(document).await;
        assert!(answer.header("content-type").starts_with("application/json"), "{document}");
        assert!(answer.header("cache-control").contains("max-age=300"), "{document}");
        let served = answer.ok(200);
        assert!(served["openapi"].as_str().unwrap().starts_with("3."), "{document}");
        assert!(served["info"]["title"].is_string() && served["info"]["version"].is_string());
        let service = served["x-service-info"].as_object().unwrap();
        assert!(service.keys().all(|key| matches!(key.as_str(), "categories" | "docs")));
        let categories = service["categories"].as_array().unwrap();
        assert!(!categories.is_empty() && categories.len() <= 5);
        let payable = payable(&served);
        let paths: BTreeSet<&str> = payable.iter().map(|(path, _)| *path).collect();
        let metered: BTreeSet<&str> = Metered::ALL.iter().map(|route| route.path()).collect();
        assert_eq!(paths, metered, "{document}");
        for (path, operation) in payable {
            check_offers(&operation["x-payment-info"]);
            assert!(operation["responses"]["402"]["description"].is_string(), "{path}");
            assert!(operation["requestBody"].is_object(), "{path}");
        }
    }
}

/// Whoever is told of an operation that it can be paid for gets a challenge of each method and intent that was announced.
#[tokio::test]
async fn what_is_announced_is_what_a_402_offers() {
    let app = TestApp::new();
    let document = app.get("/openapi.json").await.ok(200);
    for route in Metered::ALL {
        let body = route.body("Why is the sky blue?", false);
        let answer = app.ai_send(app.metered(route, &body, false)).await;
        assert_eq!(answer.status, 402);
        let lines: Vec<&str> =
            answer.headers.get_all("www-authenticate").iter().map(|line| line.to_str().unwrap()).collect();
        let challenged = lines.iter().filter(|line| line.starts_with("Payment ")).count();
        let offers = document["paths"][route.path()]["post"]["x-payment-info"]["offers"].as_array().unwrap();
        assert_eq!(offers.len(), challenged, "{lines:?}");
        for offer in offers {
            let (method, intent) = (offer["method"].as_str().unwrap(), offer["intent"].as_str().unwrap());
            let announced = format!("method=\"{method}\", intent=\"{intent}\"");
            assert!(lines.iter().any(|line| line.contains(&announced)), "{announced}: {lines:?}");
        }
    }
}

#[tokio::test]
async fn the_document_of_payable_operations_is_whole_and_small_enough_for_registries() {
    let app = TestApp::standing();
    let answer = app.get("/openapi-payable.json").await;
    assert!(answer.text.len() < 64 * 1_024, "{}", answer.text.len());
    let small = answer.ok(200);
    let full = app.get("/openapi.json").await.ok(200);
    for (path, item) in small["paths"].as_object().unwrap() {
        assert_eq!(*item, full["paths"][path], "{path}");
    }
    let schemas = small["components"]["schemas"].as_object().unwrap();
    let mut used = BTreeSet::new();
    let text = small.to_string();
    for (_, rest) in
        text.match_indices("#/components/schemas/").map(|(at, found)| (at, &text[at + found.len()..]))
    {
        used.insert(rest.split('"').next().unwrap());
    }
    assert!(!used.is_empty());
    for name in &used {
        assert_eq!(schemas.get(*name), full["components"]["schemas"].get(*name), "{name}");
        assert!(schemas.contains_key(*name), "{name}");
    }
    assert!(schemas.keys().all(|name| used.contains(name.as_str())), "unused schemas");
}

#[tokio::test]
async fn mounted_routes_are_announced_with_their_price() {
    let address = TestUpstream::start(Says::Nothing).await.address;
    let price = CallPrice::PerToken { msats: Msats::new(1).unwrap(), tokens_max: 1 };
    let mounts = vec![
        mount("/paid/weather", address, CallPrice::Fixed(Sats::new(7).unwrap())),
        mount("/paid/files/*", address, price),
    ];
    let app = TestApp::with(Options { mounts, ..Options::default() });
    for document in DOCUMENTS {
        let served = app.get(document).await.ok(200);
        for (path, amount) in [("/paid/weather", Value::from("7")), ("/paid/files/{below}", Value::Null)] {
            for method in ["get", "post"] {
                let operation = &served["paths"][path][method];
                check_offers(&operation["x-payment-info"]);
                let offers = &operation["x-payment-info"]["offers"];
                assert_eq!(offers[0]["amount"], amount, "{document} {path}");
                assert_eq!(offers[1]["intent"], "session", "{document} {path}");
                assert!(operation["responses"]["402"]["description"].is_string(), "{document} {path}");
            }
            assert!(served["paths"][path].get("put").is_none());
        }
        assert_eq!(payable(&served).len(), Metered::ALL.len() + 4, "{document}");
    }
}
